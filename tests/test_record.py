"""The line that is written per frame."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass

import numpy as np
import pytest

from vision.record import Record
from vision.result import Outline, Readout, Result, array, metric, metrics_of, record_of
from vision.testing import make_frame


@dataclass(frozen=True, slots=True)
class _All(Result):
    number: float | None = metric("A number", unit="1")
    flag: bool = metric("A flag", unit="bool")
    whole: int = metric("A count", unit="1", default=3)


def test_the_record_is_that_of_the_design() -> None:
    """Names and order of the fields; what is not measured is null."""
    results = {"a": {"value": 1.5}, "lip_sync": None}
    line = json.loads(Record(make_frame(index=3), results, {"lip_sync": "ValueError: no"}).as_json())
    assert line == {
        "index": 3,
        "time_s": 0.1,
        "arrival_s": 0.1,
        "width": 64,
        "height": 48,
        "key_frame": False,
        "corrupt": False,
        "clock": {"kind": "file", "error_ms": 0.0},
        "transport": {},
        "a": {"value": 1.5},
        "lip_sync": None,
        "errors": {"lip_sync": "ValueError: no"},
    }


def test_a_frame_without_picture_has_nulls() -> None:
    """Neither number nor size where there is no picture."""
    bare = dataclasses.replace(make_frame(), index=None, maybe_picture=None)
    line = json.loads(Record(bare, {}).as_json())
    assert [line[key] for key in ("index", "width", "height", "key_frame", "corrupt")] == [None] * 5
    with pytest.raises(ValueError, match="has no picture"):
        _ = bare.picture


def test_values_are_plain_numbers() -> None:
    """Numpy scalars become Python's; what is not finite was not measured."""
    infos = metrics_of(_All)
    assert record_of(_All(np.float32(0.5), np.bool_(True), np.int64(4)), infos) == {  # type: ignore[arg-type]
        "number": 0.5,
        "flag": True,
        "whole": 4,
    }
    assert record_of(_All(float("nan"), False), infos) == {"number": None, "flag": False, "whole": 3}
    assert record_of(_All(float("inf"), False), infos)["number"] is None
    with pytest.raises(TypeError, match="a metric holds list"):
        record_of(_All([1], False), infos)  # type: ignore[arg-type]


def test_fields_must_say_what_they_are() -> None:
    """A field without metric() is refused, and so is a result that is no dataclass."""

    @dataclass(frozen=True, slots=True)
    class Bare(Result):
        value: float

    with pytest.raises(TypeError, match=r"Bare.value has no metric"):
        metrics_of(Bare)
    with pytest.raises(TypeError, match="is not a dataclass"):
        metrics_of(Result)


def test_what_is_drawn_fits_what_there_is() -> None:
    """An outline needs points in px that are there, and a readout names metrics of its own result."""
    for unit, shape, message in (
        ("1", (3, 2), r"needs points in px, \(N, 2\)"),
        ("px", (3, 3), r"needs points in px, \(N, 2\)"),
        ("px", (2, 2), "names points beyond the 2"),
    ):
        with pytest.raises(ValueError, match=message):
            array("Points", unit=unit, shape=shape, outline=Outline("points", ((0, 1, 2),)))

    @dataclass(frozen=True, slots=True)
    class Late(Result):
        late_ms: float = metric("Late", unit="ms", readout=Readout("late", error="eror_ms"))
        error_ms: float = metric("Its error", unit="ms")

    with pytest.raises(TypeError, match=r"Late.late_ms: readout 'late': error='eror_ms'; allowed: late_ms, error_ms"):
        metrics_of(Late)
