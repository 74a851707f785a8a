"""The benchmark of coded noise: how it judges."""

from __future__ import annotations

import pytest

from benchmarks.coded_noise import Found, Stream, bursts_of, held_against, table
from vision.incidents import Incident
from vision.simulator.settings import Fault

STREAM = Stream("h264", 108, 1, fps=25)
FAULTS = [Fault(kind="noise", start_s=start_s, duration_s=1) for start_s in (3.01, 6.0, 9.0)]


def _found(*incidents: tuple[float, float]) -> Found:
    told = [Incident("noise", "rendered", start_s, end_s, "error", {}) for start_s, end_s in incidents]
    return held_against(STREAM, FAULTS, told)


def _right(found: Found) -> list[bool]:
    return [burst.is_right for burst in found.bursts]


def test_a_burst_is_right_where_one_incident_has_its_ends() -> None:
    """Within 100 ms of the pictures with which it begins and ends."""
    found = _found((3.04, 4.04), (6.1, 7.1), (8.96, 10.12))
    assert _right(found) == [True, True, False]
    assert found.elsewhere == 0
    assert found.bursts[2].end_s == pytest.approx(0.12)


def test_a_burst_without_its_incident_or_with_two_is_wrong() -> None:
    """What overlaps none is elsewhere."""
    found = _found((1.0, 2.0), (6.0, 6.4), (6.6, 7.0), (12.0, 13.0))
    assert _right(found) == [False, False, False]
    assert found.elsewhere == 2


def test_verdicts_are_of_all_bursts_of_a_stream() -> None:
    """Of the simulator's streams but the one that codes noise away; an incident elsewhere is one too many."""
    good, bad = _found((3.04, 4.04), (6, 7), (9, 10)), _found((3.04, 4.04), (6, 7))
    astray = _found((3.04, 4.04), (6, 7), (9, 10), (12, 13))
    assert [holds for holds, _ in table([good, good])] == [True]
    assert [holds for holds, _ in table([good, bad])] == [False]
    assert [holds for holds, _ in table([good, astray])] == [False]
    (known,) = table([Found(Stream("vp8", 720, 1), bad.bursts, 0)])
    assert known[0] is None
    assert "2 of   3" in known[1]


@pytest.mark.slow
def test_planted_bursts_are_found() -> None:
    """In a small stream of the simulator."""
    found = bursts_of(STREAM, 4)
    assert _right(found) == [True] * 5
    assert found.elsewhere == 0
