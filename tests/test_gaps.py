"""Where pictures are missing."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pytest

from vision.frame import Frame
from vision.gaps import PictureGaps
from vision.incidents import Incident
from vision.testing import make_frame


def _picture(time_s: float) -> Frame:
    return dataclasses.replace(make_frame(), time_s=time_s)


def _bare(time_s: float) -> Frame:
    return dataclasses.replace(make_frame(), time_s=time_s, index=None, maybe_picture=None)


def _follow(frames: Sequence[Frame]) -> tuple[list[Incident], float]:
    gaps = PictureGaps()
    found = [incident for frame in frames for incident in gaps.add(frame)]
    return found + list(gaps.end()), gaps.missing


_STEADY = [_picture(i / 30) for i in range(60)]


def test_a_steady_stream_has_none() -> None:
    """Nor has one of low rate, with frames of sound between its pictures."""
    assert _follow(_STEADY) == ([], 0)
    slow = [frame for i in range(10) for frame in (_picture(float(i)), _bare(i + 0.5))]
    found, missing = _follow(slow[:-1])
    assert found == []
    assert missing == pytest.approx(0)


def test_a_gap_ends_with_the_next_picture() -> None:
    """It starts with the last picture before it; about as many are missing as would have come."""
    after = [_picture(4 + i / 30) for i in range(10)]
    (gap,), missing = _follow([*_STEADY, _bare(2.2), _bare(3.9), *after])
    assert (gap.kind, gap.cause) == ("no_picture", "unknown")
    assert gap.start_s == pytest.approx(59 / 30)
    assert gap.end_s == 4.0
    assert missing == pytest.approx(60)


def test_a_picture_that_comes_late_does_not_hide_the_gap() -> None:
    """One from before the gap may be released behind it; the gap begins with it."""
    (gap,), _ = _follow([*_STEADY[:-1], _bare(2.2), _bare(3.9), _STEADY[-1], _picture(4.0)])
    assert gap.start_s == pytest.approx(59 / 30)
    assert gap.end_s == 4.0


def test_pictures_that_come_late_and_all_are_no_gap() -> None:
    """Where nothing is missing, a stall of a third of a second is no incident."""
    found, missing = _follow([*_STEADY[:50], _bare(1.8), _bare(1.95), *_STEADY[50:]])
    assert found == []
    assert missing < 1


def test_a_gap_at_the_end_ends_with_the_run() -> None:
    """A source that fell silent is missed until the run is over."""
    (gap,), missing = _follow([*_STEADY, _bare(2.2), _bare(3.0)])
    assert gap.end_s == 3.0
    assert missing == pytest.approx(30, abs=1)


def test_a_run_without_any_picture_is_one_gap() -> None:
    """Sound alone is told as such; how many are missing nobody knows."""
    (gap,), missing = _follow([_bare(i / 5) for i in range(20)])
    assert gap.start_s == 0
    assert gap.end_s == 3.8
    assert missing == 0
