"""Intervals made of flags."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from vision.incidents import Incident, IncidentTracker
from vision.record import Record
from vision.result import IncidentRule, MetricInfo
from vision.testing import make_frame

_RULE = IncidentRule("dark", when=True, min_s=0.1, severity="warning")
_INFO = MetricInfo("flag", "A flag", "bool", (None, None), "false", "boolean", incident=_RULE)


def _track(flags: Sequence[bool | None]) -> list[Incident]:
    tracker = IncidentTracker({"p": (_INFO,)})
    found: list[Incident] = []
    for i, flag in enumerate(flags):
        found += tracker.add(Record(make_frame(index=i, fps=10), {"p": None if flag is None else {"flag": flag}}))
    return found + list(tracker.end())


def test_a_stretch_is_one_incident() -> None:
    """It starts with the first picture that is bad and ends with the first that is well."""
    (found,) = _track([False, True, True, True, False, False])
    assert (found.kind, found.cause, found.severity) == ("dark", "rendered", "warning")
    assert (found.start_s, found.end_s) == (0.1, 0.4)
    assert found.evidence == {"metric": "p.flag", "value": True, "pictures": 3}


def test_what_is_not_measured_neither_ends_nor_begins() -> None:
    """A picture without a value in the middle does not make two of one."""
    (found,) = _track([None, True, None, None, True, False])
    assert (found.start_s, found.end_s) == (0.1, 0.5)
    assert _track([None, None]) == []


def test_short_stretches_do_not_count_and_open_ones_end_with_the_run() -> None:
    """Below the least length there is no incident; one that is open at the end is told."""
    assert _track([True]) == []
    (found,) = _track([False, True, True, True])
    assert (found.start_s, found.end_s) == (0.1, 0.3)


def test_a_stretch_of_exactly_the_least_length_counts_wherever_it_is() -> None:
    """Times are floats; rounding decides nothing."""
    for start in range(0, 3000, 7):
        tracker = IncidentTracker({"p": (_INFO,)})
        found: list[Incident] = []
        for i, flag in enumerate((False, True, True, True, False)):
            found += tracker.add(Record(make_frame(index=start + i, fps=30), {"p": {"flag": flag}}))
        assert len(found) == 1, start


def test_pictures_that_were_damaged_on_the_way_say_nothing() -> None:
    """They neither begin a stretch nor end one, nor count in it."""
    flags = [(False, False), (True, True), (True, False), (False, True), (True, True), (True, False), (False, False)]
    tracker = IncidentTracker({"p": (_INFO,)})
    found: list[Incident] = []
    for i, (flag, corrupt) in enumerate(flags):
        frame = dataclasses.replace(make_frame(index=i, fps=10), corrupt=corrupt)
        found += tracker.add(Record(frame, {"p": {"flag": flag}}))
    (incident,) = found + list(tracker.end())
    assert (incident.start_s, incident.end_s) == (0.2, 0.6)
    assert incident.evidence["pictures"] == 2
    alone = IncidentTracker({"p": (_INFO,)})
    for i in range(9):
        frame = dataclasses.replace(make_frame(index=i, fps=10), corrupt=True)
        assert list(alone.add(Record(frame, {"p": {"flag": True}}))) == []
    assert list(alone.end()) == []
