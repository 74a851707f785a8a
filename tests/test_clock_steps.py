"""Where sound turns out to belong elsewhere: who is told, when, and what is written down."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from tests.connectors.support import executed
from tests.stepping import STEPS
from vision.align import Aligner, TimedPicture
from vision.clock import Relation
from vision.frame import ClockQuality, ClockStep, Frame, Sound
from vision.incidents import clock_slips
from vision.record import Record
from vision.stream import FrameStream
from vision.testing import make_frame, make_picture

_SUMS_MS = [0.0, 80.0, 50.0]


def _stepped(index: int, ms: float, *, by_sender: bool = False) -> Frame:
    return make_frame(index=index, clock_step=ClockStep(ms, by_sender))


@pytest.mark.parametrize("placement", ["thread", "process"])
def test_processors_are_told_between_the_frames(tmp_path: Path, placement: str) -> None:
    """Those that listen, at the frame of the step; one that says nothing of shifts begins anew; others hear nothing."""
    text = "source: {use: 'tests.stepping:SteppingSource'}\nsinks: [{use: jsonl}]\nprocessors:\n" + "".join(
        f"  - {{use: 'tests.stepping:{name}', name: {name.lower()}, placement: {placement}}}\n"
        for name in ("Told", "Forgetful", "Deaf")
    )
    outcome = asyncio.run(executed(tmp_path, text))
    assert (outcome.exit_status, outcome.error) == (0, None)
    records = [json.loads(line) for line in (tmp_path / "out" / "frames.jsonl").read_text().splitlines()]
    steps = {
        record["index"]: record["clock"]["step_ms"] for record in records if record["clock"].get("step_ms") is not None
    }
    assert steps == {at: pytest.approx(1000 * step_s) for at, step_s, _ in STEPS}
    for record in (record for record in records if record["index"] is not None):
        told = sum(record["index"] >= at for at, _, _ in STEPS)
        assert record["told"] == {"shifted_ms": pytest.approx(_SUMS_MS[told]), "resets": 0}
        assert record["forgetful"] == {"shifted_ms": 0.0, "resets": told}
        assert record["deaf"] == {"shifted_ms": 0.0, "resets": 0}
    incidents = [json.loads(line) for line in (tmp_path / "out" / "incidents.jsonl").read_text().splitlines()]
    assert [(each["kind"], each["cause"]) for each in incidents] == [("clock_slip", "sender")]
    assert incidents[0]["start_s"] == incidents[0]["end_s"] == pytest.approx(30 / 25)
    assert incidents[0]["evidence"]["value"] == pytest.approx(-30)
    assert outcome.summary["clock"]["steps"] == 2
    assert outcome.summary["clock"]["kinds"]["file"]["frames"] == len(records)
    facts = json.loads((tmp_path / "out" / "run.json").read_text())["source"]["clock"]
    assert facts["kind"] == "file"


def test_a_step_outlives_the_picture_that_it_came_with() -> None:
    """Frames that the queue drops hand their steps on, added up."""

    async def scenario() -> list[Frame]:
        stream = FrameStream(2, "latest")
        for index, ms in enumerate((10.0, -4.0, 0.0, 0.0, 7.0)):
            stream.put_nowait(_stepped(index, ms, by_sender=ms < 0) if ms else make_frame(index=index))
        stream.close()
        return [frame async for frame in stream]

    first, second = asyncio.run(scenario())
    assert (first.index, first.clock_step) == (3, ClockStep(6.0, by_sender=True))
    assert (second.index, second.clock_step) == (4, ClockStep(7.0))


def test_sound_of_a_dropped_picture_goes_where_the_step_says() -> None:
    """What was said of it is from before the step; who gets it is told of the step first."""

    async def scenario() -> list[Frame]:
        stream = FrameStream(1, "latest")
        relation = Relation()
        for index in range(4):
            if index == 2:
                relation = Relation(shift_s=0.08)
            laid_out_s = index / 30
            sound = Sound(np.full(533, laid_out_s, np.float32), 16_000, relation.media(laid_out_s))
            step = ClockStep(80.0) if index == 2 else None
            stream.put_nowait(dataclasses.replace(make_frame(index=index), sound=sound, clock_step=step))
        stream.close()
        return [frame async for frame in stream]

    (frame,) = asyncio.run(scenario())
    assert frame.clock_step == ClockStep(80.0)
    assert frame.sound.samples.size == 4 * 533
    assert frame.sound.start_s == pytest.approx(0.08)


def test_what_fails_to_shift_begins_anew(tmp_path: Path) -> None:
    """With the next frame; the error is in the record of the step."""
    text = (
        "source: {use: 'tests.stepping:SteppingSource'}\n"
        "sinks: [{use: jsonl}]\n"
        "processors: [{use: 'tests.stepping:Clumsy'}]\n"
    )
    outcome = asyncio.run(executed(tmp_path, text))
    assert outcome.exit_status == 0
    records = [json.loads(line) for line in (tmp_path / "out" / "frames.jsonl").read_text().splitlines()]
    failed = [record["index"] for record in records if record["errors"]]
    assert failed == [at for at, _, _ in STEPS]
    resets = {record["index"]: record["clumsy"]["resets"] for record in records if record["clumsy"]}
    assert (resets[19], resets[21], resets[29], resets[31]) == (0, 1, 1, 2)


def test_small_movements_add_up() -> None:
    """A step is told when they come to a millisecond; a drift that is known is none."""
    aligner = Aligner(live=True, expects_sound=True)
    told: list[float] = []
    for number in range(100):
        aligner.push_sound(number / 50, np.zeros(320, np.float32), 16_000)
        aligner.push_picture(TimedPicture(number / 50, number / 50, make_picture()))
        relation = Relation(shift_s=0.0004 * number)
        frames = aligner.poll(number / 50, lambda: ClockQuality("sender_report", 1.0), relation)
        told += [frame.clock_step.ms for frame in frames if frame.clock_step is not None]
    assert all(1.0 <= ms < 1.5 for ms in told)
    assert sum(told) == pytest.approx(0.4 * 99, abs=1)


def test_only_the_senders_steps_are_incidents() -> None:
    """A correction of ours says nothing of anybody, and nobody sees or hears a slip of less than 15 ms."""
    assert not list(clock_slips(make_frame()))
    assert not list(clock_slips(_stepped(3, 40.0)))
    assert not list(clock_slips(_stepped(3, -14.9, by_sender=True)))
    (slip,) = clock_slips(_stepped(3, -15.0, by_sender=True))
    assert (slip.kind, slip.cause, slip.start_s, slip.evidence["value"]) == ("clock_slip", "sender", 0.1, -15.0)


def test_a_slip_is_dated_when_it_was_and_not_when_it_was_told() -> None:
    """As far as that is known; the evidence has both."""
    step = ClockStep(40.0, by_sender=True, between_s=(2.04, 2.08))
    (slip,) = clock_slips(make_frame(index=90, clock_step=step))
    assert (slip.start_s, slip.end_s, slip.evidence["told_s"]) == (2.04, 2.08, 3.0)
    both = step.after(ClockStep(-5.0)).after(ClockStep(20.0, by_sender=True, between_s=(1.0, 2.0)))
    assert both == ClockStep(55.0, by_sender=True, between_s=(1.0, 2.08))


def test_the_record_says_how_the_clock_is() -> None:
    """Kind and bound always, the step where there is one."""
    frame = dataclasses.replace(_stepped(0, -12.3456), clock=ClockQuality("sender_report", 1.2, 30.0, -5.0))
    assert Record(frame, {}).as_dict()["clock"] == {"kind": "sender_report", "error_ms": 1.2, "step_ms": -12.346}
    assert Record(make_frame(), {}).as_dict()["clock"] == {"kind": "file", "error_ms": 0.0}
