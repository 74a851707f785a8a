"""Where pictures are missing."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision.frame import Cause, Frame, Losses
from vision.gaps import PictureGaps
from vision.incidents import Incident
from vision.testing import make_frame


def _picture(time_s: float, lost: Losses | None = None) -> Frame:
    return dataclasses.replace(make_frame(), time_s=time_s, lost_before=lost or {})


def _bare(time_s: float, lost: Losses | None = None) -> Frame:
    return dataclasses.replace(_picture(time_s, lost), index=None, maybe_picture=None)


def _without(missing: Sequence[int], told: dict[int, Losses], count: int = 90) -> list[Frame]:
    """Thirty pictures a second but for some; what is `told` comes with those numbers."""
    return [_picture(i / 30, told.get(i)) for i in range(count) if i not in missing]


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
    assert (gap.kind, gap.cause) == ("no_picture", "sender")
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


@pytest.mark.parametrize(
    ("missing", "told", "cause", "evidence"),
    [
        (range(40, 49), {}, "sender", {}),
        (range(40, 42), {42: {"network": 5}}, "network", {"packets_lost": 5}),
        (range(40, 60), {60: {"network": 0}}, "network", {}),
        (range(40, 42), {42: {"receiver": 2}}, "receiver", {"not_decoded": 2}),
        (range(40, 43), {43: {"overload": 3}}, "overload", {"dropped": 3}),
        (range(40, 70), {70: {"network": 1, "receiver": 3}}, "network", {"packets_lost": 1, "not_decoded": 3}),
        (range(40, 44), {44: {"network": 9, "receiver": 3}}, "receiver", {"packets_lost": 9, "not_decoded": 3}),
        (range(40, 50), {50: {"overload": 8, "network": 2}}, "overload", {"dropped": 8, "packets_lost": 2}),
        (range(40, 70), {70: {"overload": 2}}, "sender", {"dropped": 2}),
        (range(40, 70), {70: {"sender": 0}}, "sender", {}),
        (range(40, 70), {70: {"sender": 0, "network": 3}}, "sender", {"packets_lost": 3}),
        (range(40, 70), {70: {"sender": 0, "network": 40}}, "network", {"packets_lost": 40}),
    ],
)
def test_the_cause_is_what_explains_most(
    missing: Sequence[int], told: dict[int, Losses], cause: Cause, evidence: dict[str, float]
) -> None:
    """What the queue and the decoder counted is theirs; the rest is the network's if it lost anything, else unsent."""
    (gap,), count = _follow(_without(missing, told))
    assert gap.cause == cause
    assert gap.start_s == pytest.approx((missing[0] - 1) / 30)
    assert gap.end_s == pytest.approx((missing[-1] + 1) / 30)
    assert gap.severity == ("error" if len(missing) >= 15 else "warning")
    named = {key: gap.evidence[key] for key in ("packets_lost", "not_decoded", "dropped") if key in gap.evidence}
    assert named == evidence
    assert gap.evidence["pictures_missing"] == len(missing)
    assert gap.evidence["gaps"] == 1
    assert count == pytest.approx(len(missing) - evidence.get("dropped", 0))


def test_a_gap_that_never_ends_is_unknown_unless_somebody_said_why() -> None:
    """At the end of a run nobody knows what would have come."""
    (gap,), _ = _follow([*_STEADY, _bare(2.5), _bare(3.5)])
    assert gap.cause == "unknown"
    (gap,), _ = _follow([*_STEADY, _bare(2.5, {"network": 0}), _bare(3.5)])
    assert gap.cause == "network"


def test_what_bare_frames_tell_counts_for_the_gap_they_are_in() -> None:
    """And for no other one."""
    first = _without(range(30, 60), {})
    (gap, other), _ = _follow([*first[:30], _bare(1.5, {"network": 0}), *first[30:], _picture(4.0), _picture(4.1)])
    assert (gap.cause, other.cause) == ("network", "sender")


@given(st.lists(st.integers(1, 3), min_size=12, max_size=80), st.integers(0, 3))
def test_a_rate_that_varies_is_no_gap(steps: list[int], few: int) -> None:
    """Senders leave pictures out where nothing moves; up to three times the usual interval nobody is accused."""
    time_s, frames = 0.0, [_picture(0.0)]
    for step in [1] * 6 + steps[few:]:
        time_s += min(step, 2) / 30
        frames.append(_picture(time_s))
    found, _ = _follow(frames)
    assert found == []


def test_a_rate_that_falls_for_good_is_usual_after_a_while() -> None:
    """From 30 to 5 pictures a second: told once, for as long as most of the last second was otherwise."""
    slow = [_picture(59 / 30 + 0.2 * (i + 1)) for i in range(100)]
    (gap,), _ = _follow([*_STEADY, *slow])
    assert gap.cause == "sender"
    assert gap.end_s - gap.start_s == pytest.approx(3.0, abs=0.21)


def test_a_queue_that_drops_from_the_beginning() -> None:
    """Pictures that come through seldom are not the usual rate where it is known that there were more."""
    frames = [_picture(i / 30, {"overload": 2} if i else None) for i in range(0, 90, 3)]
    (gap,), missing = _follow(frames)
    assert gap.cause == "overload"
    assert gap.evidence["dropped"] == pytest.approx(2 * gap.evidence["gaps"])
    assert missing == pytest.approx(0)


def test_a_lost_picture_at_a_variable_rate_is_no_gap_where_no_time_was_passed_over() -> None:
    """Packets that belonged to no picture, or to pictures that would not have been shown."""
    assert _follow(_without([], {40: {"network": 3}}))[0] == []
    assert _follow(_without([], {40: {"network": 0}}))[0] == []


def test_gaps_of_one_cause_within_a_second_are_one_incident() -> None:
    """With the sum of what is missing; however long the second one is."""
    told: dict[int, Losses] = {40: {"network": 1}, 50: {"network": 2}, 145: {"network": 4}}
    (gap,), _ = _follow(_without([*range(37, 40), *range(47, 50), *range(60, 145)], told, 170))
    assert gap.start_s == pytest.approx(36 / 30)
    assert gap.end_s == pytest.approx(145 / 30)
    assert gap.evidence == {"metric": "time_s", "pictures_missing": 91, "gaps": 3, "packets_lost": 7}
    assert gap.severity == "error"


def test_gaps_further_apart_or_of_other_causes_are_incidents_of_their_own() -> None:
    """A second without any, or another cause between."""
    told: dict[int, Losses] = {40: {"network": 1}, 80: {"network": 1}, 90: {"overload": 3}, 100: {"network": 1}}
    missing = [*range(37, 40), *range(77, 80), *range(87, 90), *range(97, 100)]
    found, _ = _follow(_without(missing, told, 140))
    assert [gap.cause for gap in found] == ["network", "network", "overload", "network"]
    assert [gap.evidence["gaps"] for gap in found] == [1] * 4


_CAUSES: dict[Cause, Losses] = {"sender": {}, "network": {"network": 4}, "receiver": {}, "overload": {}}


@given(st.lists(st.tuples(st.sampled_from(sorted(_CAUSES)), st.integers(8, 40)), min_size=1, max_size=8))
def test_planted_gaps_are_found_with_their_causes(planted: list[tuple[Cause, int]]) -> None:
    """Each is more than a second from the others; all are told, in order, from picture to picture."""
    missing: list[int] = []
    told: dict[int, Losses] = {}
    at = 60
    for cause, length in planted:
        missing += range(at, at + length)
        told[at + length] = {cause: length} if cause in ("receiver", "overload") else _CAUSES[cause]
        at += length + 60
    found, _ = _follow(_without(missing, told, at))
    assert [gap.cause for gap in found] == [cause for cause, _ in planted]
    assert [gap.evidence["pictures_missing"] for gap in found] == [length for _, length in planted]
