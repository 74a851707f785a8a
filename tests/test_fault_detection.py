"""The benchmark of fault detection: what it plants, and how it judges."""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import yaml

from benchmarks.fault_detection import judged, rows, table, unexplained
from benchmarks.fault_planting import GROUPS, KINDS, Incident, Planted, Session, sessions
from benchmarks.fault_runs import Outcome, carried_out
from vision.config import load
from vision.simulator.performance import Performance
from vision.simulator.settings import FAULT_KINDS, Fault


def test_every_kind_of_fault_is_planted_as_often_as_asked_for() -> None:
    """Seeded: the same each time. Those of a run follow each other with a rest between."""
    planned = list(sessions(GROUPS, 5, 1, 600))
    assert planned == list(sessions(GROUPS, 5, 1, 600))
    assert planned != list(sessions(GROUPS, 5, 2, 600))
    assert Counter(one.fault.kind for session in planned for one in session.planted) == dict.fromkeys(FAULT_KINDS, 5)
    assert set(KINDS) == set(FAULT_KINDS)
    for session in planned:
        for one, other in pairwise(session.planted):
            assert other.fault.start_s >= one.fault.end_s + one.kind.rest_s - 0.01
        assert all(one.fault.end_s < session.duration_s for one in session.planted)
    assert len({session.seed for session in planned if session.group != "clean"}) == len(planned) - 1


def test_what_is_to_be_heard_is_planted_where_the_avatar_speaks() -> None:
    """On both sides of both ends of the fault, so that these can be found."""
    for session in sessions(["sound", "lips"], 6, 3, 0):
        performance = Performance(session.seed)
        for one in session.planted:
            if one.kind.voiced:
                fault = one.fault
                ends_s = np.add.outer((fault.start_s, fault.end_s), (-0.15, 0.15)).ravel()
                assert performance.speaking(ends_s).all()
                assert fault.start_s <= one.start_s < one.end_s
                # lips that stood still are seen to move again when they part
                assert one.end_s <= fault.end_s + (0.5 if fault.kind == "mouth_still" else 0)


def test_the_runs_are_good_configurations(tmp_path: Path) -> None:
    """Of each group."""
    for session in sessions(GROUPS, 1, 1, 10):
        path = tmp_path / f"{session.group}-{session.seed}.yaml"
        path.write_text(yaml.safe_dump(session.config()))
        assert load(path).source.use == "simulator"


def _planted(kind: str, start_s: float, end_s: float, **amount: float) -> Planted:
    fault = Fault.model_validate({"kind": kind, "start_s": start_s, "duration_s": end_s - start_s, **amount})
    return Planted(fault, start_s, end_s)


def _found(kind: str, start_s: float, end_s: float, cause: str = "rendered") -> Incident:
    return Incident(kind, cause, start_s, end_s, {})


def _outcome(planted: list[Planted], found: list[Incident], group: str = "picture", pace: float = 1.0) -> Outcome:
    return Outcome(Session(group, 1, 60, tuple(planted)), tuple(found), 0, pace)


def test_found_missed_and_false_are_told_apart() -> None:
    """By kind and by time; what follows from a fault is no false alarm, and no find either."""
    planted = [_planted("black", 10, 11), _planted("black", 20, 21), _planted("drop", 30, 31)]
    found = [
        _found("black", 10.04, 11.2),
        _found("scene_cut", 11, 11.04),
        _found("black", 40, 41),
        _found("no_picture", 29.96, 31.0, "network"),
        _found("noise", 50, 51),
    ]
    outcome = _outcome(planted, found)
    assert [one.start_s for one in unexplained(outcome)] == [40, 50]
    black, drop = rows([outcome])
    assert (black.planted, black.found, black.right, black.false) == (2, 1, 1, 1)
    assert (black.recall, black.precision, black.cause_right) == (0.5, 0.5, 1.0)
    assert (black.starts_s, black.ends_s) == ([0.04], [0.2])
    assert (drop.found, drop.caused, drop.cause_right) == (1, 0, 0.0)
    held = {text.split(" of at least")[0]: holds for holds, text in judged([outcome])}
    assert held == {
        "recall": False,
        "precision": False,
        "starts within 100 ms": True,
        "ends within 100 ms": False,
        "right causes": False,
        "the machine kept up in all 1 runs": True,
    }
    assert "black" in table(rows([outcome]))


def test_pictures_that_are_sent_late_by_their_own_reports_slip_at_both_ends() -> None:
    """Each end is to be found, at its own time; what is late enough is late besides, and nothing else may be told."""
    planted = [
        _planted("send_time_reports", 10, 14, offset_ms=100),
        _planted("send_time_reports", 20, 24, offset_ms=260),
    ]
    slips = [_found("clock_slip", at_s, at_s + 0.04, "sender") for at_s in (9.98, 13.99, 19.97, 24.15)]
    middle, late, rightly_late = (
        _found("clock_slip", 12, 12, "sender"),
        _found("late", 10, 14, "sender"),
        _found("late", 20, 24, "sender"),
    )
    (row,) = rows([_outcome(planted, [*slips, middle, late, rightly_late], "reports")])
    assert (row.planted, row.found, row.caused, row.right, row.false) == (4, 4, 4, 4, 1)
    assert row.starts_s == [-0.02, -0.01, -0.03, 0.15]
    assert unexplained(_outcome(planted, [*slips, middle, late, rightly_late])) == [middle, late]
    assert rows([_outcome(planted, slips[:3])])[0].recall == 0.75


@pytest.mark.parametrize(("found", "holds"), [([], True), ([_found("noise", 3, 4)], False)])
def test_a_clean_run_and_odd_reports_must_have_no_incident(found: list[Incident], holds: bool) -> None:
    """One is enough for a negative verdict."""
    report = _planted("no_reports", 2, 5)
    verdicts = [*judged([_outcome([], found, "clean"), _outcome([report], found, "reports")])]
    assert [verdict for verdict, _ in verdicts] == [holds, holds, True]


def test_a_run_on_a_machine_that_does_not_keep_up_is_told() -> None:
    """Its figures are worth nothing."""
    *_, (holds, text) = judged([_outcome([], [], "clean", pace=0.9)])
    assert not holds
    assert "clean 1" in text
    busy = _outcome([_planted("black", 10, 11)], [], pace=0.9)
    assert rows([busy]) == []


@pytest.mark.slow
def test_a_short_session_through_real_webrtc() -> None:
    """A black stretch and a drop are found with their causes; where the machine is too busy, that is told."""
    planted = (_planted("black", 3.0, 4.0), _planted("drop", 6.0, 6.8))
    session = Session("picture", 1, 9.0, planted)
    (outcome,) = asyncio.run(carried_out([session], jobs=1, tries=1, tell=lambda outcome: None))
    if not outcome.is_sound:
        pytest.skip("the machine is too busy")
    black, drop = rows([outcome])
    assert (black.recall, drop.recall, drop.cause_right) == (1, 1, 1)


@pytest.mark.slow
def test_pictures_sent_late_slip_when_they_are_and_not_when_a_report_tells() -> None:
    """Through real WebRTC: both slips within 100 ms; where the machine is too busy, that is told."""
    planted = (_planted("send_time_reports", 5.0, 8.0, offset_ms=150),)
    session = Session("reports", 1, 11.0, planted)
    (outcome,) = asyncio.run(carried_out([session], jobs=1, tries=1, tell=lambda outcome: None))
    if not outcome.is_sound:
        pytest.skip("the machine is too busy")
    (row,) = rows([outcome])
    assert (row.planted, row.found, row.caused, row.false) == (2, 2, 2, 0)
    assert max(abs(error_s) for error_s in (*row.starts_s, *row.ends_s)) <= 0.1
