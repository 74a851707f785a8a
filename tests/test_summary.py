"""What a run amounts to."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from tests.troublesome import Counting
from vision.config import ProcessorConfig
from vision.plan import Step
from vision.record import Record
from vision.stream import StreamStatistics
from vision.summary import Summary
from vision.testing import make_frame


def _summed(frames: Sequence[tuple[float, bool]], *, missing: int = 0, dropped: int = 0) -> dict[str, Any]:
    """The summary of a run with so many pictures: what was measured on each, and whether it was damaged."""
    processor: Any = Counting
    config = ProcessorConfig("counting", "counting", processor, Counting.Options(), 1, "thread", 5.0, 3)
    summary = Summary((Step(config, ()),))
    for index, (value, corrupt) in enumerate(frames):
        frame = dataclasses.replace(make_frame(index=index), corrupt=corrupt)
        summary.add(Record(frame, {"counting": {"value": value}}))
    summary.pictures_missing = missing
    received = len(frames) + dropped
    return summary.as_dict(StreamStatistics(8, "latest", received, len(frames), dropped, 0, 0.0))


def test_damaged_pictures_are_counted_and_say_nothing() -> None:
    """What was broken on the way is in no metric, and lowers the coverage."""
    summed = _summed([(1.0, False), (100.0, True), (3.0, False), (100.0, True)])
    assert (summed["pictures"], summed["pictures_corrupt"], summed["frames"]) == (4, 2, 4)
    metric = summed["metrics"]["counting.value"]
    assert (metric["count"], metric["mean"], metric["max"]) == (2, 2.0, 3.0)
    assert metric["coverage"] == 0.5


def test_without_damage_nothing_is_left_out() -> None:
    """The same pictures, whole."""
    summed = _summed([(1.0, False), (100.0, False), (3.0, False)])
    assert summed["pictures_corrupt"] == 0
    assert summed["metrics"]["counting.value"]["max"] == 100.0
    assert summed["metrics"]["counting.value"]["coverage"] == 1.0


def test_a_run_of_damaged_pictures_measures_nothing() -> None:
    """Its metrics have no values, which is told as such."""
    summed = _summed([(1.0, True)] * 3)
    assert summed["pictures_corrupt"] == 3
    assert summed["metrics"]["counting.value"] == {"unit": "1", "coverage": 0.0, "count": 0}
    assert summed["duration_s"] == round(2 / 30, 6)


def test_coverage_counts_what_is_missing_dropped_and_damaged() -> None:
    """Each of them is a picture that should have been measured."""
    summed = _summed([(1.0, False)] * 5 + [(1.0, True)], missing=2, dropped=2)
    assert summed["metrics"]["counting.value"]["coverage"] == 0.5
