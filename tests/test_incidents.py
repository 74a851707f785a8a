"""Intervals made of flags."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision.frame import Cause, Frame, Losses, Sound
from vision.incidents import Incident, IncidentTracker
from vision.record import Record
from vision.result import Hysteresis, IncidentRule, MetricInfo, Result, metric, metrics_of
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


def test_what_goes_on_is_known_while_it_does() -> None:
    """From the picture on with which it counts until the one that ends it, as if it ended with the last bad one."""
    tracker = IncidentTracker({"p": (_INFO,)})
    running = []
    for i, flag in enumerate((False, True, True, None, True, False, False)):
        list(tracker.add(Record(make_frame(index=i, fps=10), {"p": None if flag is None else {"flag": flag}})))
        running.append([(found.kind, found.start_s, found.end_s) for found in tracker.running()])
    until = [[("dark", 0.1, end_s)] for end_s in (0.2, 0.2, 0.4)]
    assert running == [[], [], *until, [], []]


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
    corruption, incident = sorted(found + list(tracker.end()), key=lambda one: one.kind)
    assert (incident.kind, incident.start_s, incident.end_s) == ("dark", 0.2, 0.6)
    assert incident.evidence["pictures"] == 2
    assert (corruption.kind, corruption.start_s, corruption.end_s) == ("corruption", 0.1, 0.5)
    alone = IncidentTracker({"p": (_INFO,)})
    for i in range(9):
        frame = dataclasses.replace(make_frame(index=i, fps=10), corrupt=True)
        assert list(alone.add(Record(frame, {"p": {"flag": True}}))) == []
    assert [incident.kind for incident in alone.end()] == ["corruption"]


@dataclass(frozen=True, slots=True)
class _Blocky(Result):
    blockiness: float | None = metric(
        "Blockiness",
        unit="1",
        good="low",
        incident=IncidentRule("blockiness", when=Hysteresis(2.0, 1.5), min_s=0.2, join_s=0.3),
    )
    torn: bool = metric("Torn", unit="bool", incident=IncidentRule("torn", when=True, min_s=0.0, worst="whole"))
    whole: float = metric("How much of it is whole", unit="1", range=(0, 1), good="high")


def _follow(values: Sequence[float | None], fps: float = 10) -> list[Incident]:
    """Pictures with this blockiness; those that have some at all are torn, as far as they are blocky."""
    tracker = IncidentTracker({"p": metrics_of(_Blocky)})
    found: list[Incident] = []
    for i, value in enumerate(values):
        measured = {"blockiness": value, "torn": bool(value and value > 2), "whole": 1 / (value or 1)}
        found += tracker.add(Record(make_frame(index=i, fps=fps), {"p": measured}))
    return found + list(tracker.end())


def test_a_number_is_bad_from_one_limit_on_until_it_is_back_at_another() -> None:
    """Between the limits it stays as it was, on both sides of a stretch."""
    (found,) = _follow([1.0, 1.9, 2.0, 1.7, 1.6, 1.5, 1.9, 1.0])
    assert (found.kind, found.start_s, found.end_s) == ("blockiness", 0.2, 0.5)
    assert found.evidence["limit"] == 2.0
    assert _follow([1.0, 1.9, 1.6, 1.9, 1.0]) == []


@given(st.lists(st.one_of(st.none(), st.floats(0, 3)), max_size=60))
def test_high_and_low_limits_are_mirrored(values: list[float | None]) -> None:
    """What is bad above two limits is so below them where all signs are turned; each stretch is inside the values."""
    high, low = Hysteresis(2.0, 1.5), Hysteresis(-2.0, -1.5)
    bad = [False, False]
    for value in values:
        if value is not None:
            bad = [high.is_bad(value, already=bad[0]), low.is_bad(-value, already=bad[1])]
            assert bad[0] == bad[1]
            assert bad[0] or value < 2.0
            assert not bad[0] or value > 1.5
    assert high.high_is_bad
    assert not low.high_is_bad


def test_stretches_that_follow_each_other_soon_are_one() -> None:
    """Up to `join_s` from the end of one to the start of the next; the shortest length is that of the whole."""
    (joined,) = (one for one in _follow([1, 3, 1, 1, 1, 3, 1, 1, 1, 1, 1]) if one.kind == "blockiness")
    assert (joined.start_s, joined.end_s) == (0.1, 0.6)
    assert joined.evidence["pictures"] == 2
    apart = _follow([1, 3, 3, 1, 1, 1, 1, 3, 3, 1, 1, 1, 1])
    assert [(one.start_s, one.end_s) for one in apart if one.kind == "blockiness"] == [(0.1, 0.3), (0.7, 0.9)]


def test_the_worst_value_is_told_with_those_around_it() -> None:
    """By the limits of a number, and by the good end of another metric that is named."""
    values = [1.0, 1.1, 1.2, 1.3, 2.5, 4.0, 3.0, 1.25, 1.15, 1.05, 1.0]
    torn, blocky = _follow(values)
    assert blocky.evidence["worst"] == {"metric": "p.blockiness", "value": 4.0, "time_s": 0.5}
    assert blocky.evidence["values"] == [[round(i / 10, 6), values[i]] for i in range(1, 10)]
    assert torn.evidence["worst"] == {"metric": "p.whole", "value": 0.25, "time_s": 0.5}
    assert torn.evidence["values"][3:6] == [[0.4, 0.4], [0.5, 0.25], [0.6, 0.333333]]


def test_evidence_of_a_long_stretch_is_bounded() -> None:
    """However long it is, a few values stand for it, from its beginning to near its end."""
    (found,) = (
        one for one in _follow([1.0, *(2.5 + i / 10_000 for i in range(5000)), 1.0]) if one.kind == "blockiness"
    )
    values = found.evidence["values"]
    assert len(values) <= 3 + 16 + 3
    within = [time_s for time_s, value in values if value >= 2.5]
    assert within[0] == 0.1
    assert within[-1] > 400
    assert found.evidence["worst"]["time_s"] == 500.0


def test_what_is_open_is_known_before_it_is_told() -> None:
    """From the first bad picture on until the incident is told, with the time of the worst one so far."""
    tracker = IncidentTracker({"p": metrics_of(_Blocky)})
    seen: list[list[tuple[float, float]]] = []
    for i, value in enumerate([1.0, 2.5, 3.0, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0]):
        measured = {"blockiness": value, "torn": False, "whole": 1.0}
        told = list(tracker.add(Record(make_frame(index=i, fps=10), {"p": measured})))
        seen.append([(stretch.start_s, stretch.worst_s) for stretch in tracker.open])
        assert bool(told) == (i == 7)
    assert seen == [[], [(0.1, 0.1)], *[[(0.1, 0.2)]] * 5, [], []]


def test_what_is_known_late_is_told_of_when_it_was() -> None:
    """By the delay that the rule states, and not from before the beginning."""
    rule = dataclasses.replace(_RULE, delay_s=0.3)
    tracker = IncidentTracker({"p": (dataclasses.replace(_INFO, incident=rule),)})
    found: list[Incident] = []
    for i in range(12):
        found += tracker.add(Record(make_frame(index=i, fps=10), {"p": {"flag": i in (1, 2, 7, 8, 9)}}))
    assert [(one.start_s, one.end_s) for one in found] == [(0.0, 0.0), (0.4, 0.7)]


def test_a_rule_that_does_not_fit_its_metric_is_refused() -> None:
    """With what is allowed, when the fields are looked at: before a run."""

    @dataclass(frozen=True, slots=True)
    class Unlimited(Result):
        level: float = metric("Level", unit="1", incident=IncidentRule("loud", when=True, min_s=0))

    @dataclass(frozen=True, slots=True)
    class Nameless(Result):
        loud: bool = metric("Loud", unit="bool", incident=IncidentRule("loud", when=True, min_s=0, worst="levl"))
        level: float = metric("Level", unit="1", good="low")

    with pytest.raises(TypeError, match=r"Unlimited.level is a number: its incident 'loud' needs when=Hysteresis"):
        metrics_of(Unlimited)
    with pytest.raises(TypeError, match=r"worst='levl'; allowed: level"):
        metrics_of(Nameless)
    with pytest.raises(ValueError, match="begin and end are both 1"):
        Hysteresis(1, 1)


def _damaged(index: int, lost: Losses | None = None) -> Frame:
    return dataclasses.replace(make_frame(index=index, fps=10), corrupt=True, lost_before=lost or {})


@pytest.mark.parametrize(
    ("lost", "cause", "evidence"),
    [
        ({"network": 2}, "network", {"packets_lost": 2}),
        ({"receiver": 1}, "receiver", {"not_decoded": 1}),
        ({"network": 2, "receiver": 1}, "network", {"packets_lost": 2, "not_decoded": 1}),
        ({}, "network", {}),
    ],
)
def test_damaged_pictures_are_corruption(lost: Losses, cause: Cause, evidence: dict[str, int]) -> None:
    """From the first damaged picture to the first whole one; what was lost before it says whose fault it is."""
    frames = [make_frame(index=i, fps=10) for i in range(20)]
    frames[5:8] = [_damaged(5, lost), _damaged(6), _damaged(7)]
    frames[10] = _damaged(10)
    tracker = IncidentTracker({})
    found = [incident for frame in frames for incident in tracker.add(Record(frame, {}))]
    (found_one,) = found or list(tracker.end())
    assert (found_one.kind, found_one.cause, found_one.severity) == ("corruption", cause, "error")
    assert (found_one.start_s, found_one.end_s) == (0.5, 1.1)
    assert found_one.evidence == {"metric": "corrupt", "value": True, "pictures": 4} | evidence


@pytest.mark.parametrize(("lost", "cause"), [(3, "network"), (0, "sender")])
def test_sound_that_is_missing_says_whose_fault_it_is(lost: int, cause: Cause) -> None:
    """Where a rule leaves it to the frames: lost packets are the network's, what was never sent is the sender's."""
    rule = IncidentRule("dropout", when=True, min_s=0.05, cause=None)
    info = MetricInfo("gap", "A gap", "bool", (None, None), "false", "boolean", incident=rule)
    tracker = IncidentTracker({"ears": (info,)}, listeners=["ears"])
    found: list[Incident] = []
    for i in range(10):
        gap = 3 <= i < 6
        sound = Sound(
            np.zeros(1600, np.float32), 16_000, i / 10, ((0, 1600),) if gap else (), lost=lost if i == 3 else 0
        )
        frame = dataclasses.replace(make_frame(index=i, fps=10), sound=sound, lost_before={"receiver": 1})
        found += tracker.add(Record(frame, {"ears": {"gap": gap}}))
    (dropout,) = found
    assert (dropout.cause, dropout.start_s, dropout.end_s) == (cause, 0.3, 0.6)
