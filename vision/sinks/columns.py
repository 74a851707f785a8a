"""Records as rows of a table: which columns there are, and what is in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from vision.record import Record
from vision.result import MetricInfo

__all__ = ["Column", "columns_of", "row_of"]


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    :ivar name: as in expectations: `frame_quality.sharpness`.
    :ivar path: where it is in a line of frames.jsonl.
    :ivar unit: empty for texts.
    """

    name: str
    path: tuple[str, ...]
    kind: Literal["integer", "number", "boolean", "text"]
    unit: str
    description: str
    range: tuple[float | None, float | None] = (None, None)
    good: str = "neither"


_FRAME = (
    Column("index", ("index",), "integer", "1", "Number of the picture; none where there was no picture", (0, None)),
    Column("time_s", ("time_s",), "number", "s", "Media time, zero at the first picture"),
    Column("arrival_s", ("arrival_s",), "number", "s", "When the picture came, from the start of the run"),
    Column("width", ("width",), "integer", "px", "Width of the picture", (1, None)),
    Column("height", ("height",), "integer", "px", "Height of the picture", (1, None)),
    Column("key_frame", ("key_frame",), "boolean", "bool", "Coded without reference to others"),
    Column("corrupt", ("corrupt",), "boolean", "bool", "Damaged on the way; its figures are in no statistic"),
    Column("clock.kind", ("clock", "kind"), "text", "", "How sound was related to the pictures"),
    Column("clock.error_ms", ("clock", "error_ms"), "number", "ms", "Bound on the error of that", (0, None), "low"),
    Column("clock.step_ms", ("clock", "step_ms"), "number", "ms", "By how much that was corrected in this frame"),
)


def columns_of(fields: Mapping[str, Sequence[MetricInfo]]) -> tuple[Column, ...]:
    """The columns of a run: of the frame, of each metric, and of each processor's errors.

    What is counted of the network once a second (`transport`) is not among them, since its names are not known before.

    :param fields: those of each processor's result.
    """
    metrics = [_metric(name, info) for name, infos in fields.items() for info in infos if info.recorded]
    errors = [Column(f"errors.{name}", ("errors", name), "text", "", f"Why {name} failed here") for name in fields]
    return (*_FRAME, *metrics, *errors)


def _metric(processor: str, info: MetricInfo) -> Column:
    name = f"{processor}.{info.name}"
    return Column(name, (processor, info.name), info.kind, info.unit, info.description, info.range, info.good)


def row_of(record: Record, columns: Sequence[Column]) -> list[Any]:
    """The values of a record; `None` for what was not measured."""
    line = record.as_dict()
    return [_value(line, column.path) for column in columns]


def _value(line: Mapping[str, Any], path: Sequence[str]) -> Any:
    found: Any = line
    for key in path:
        found = None if found is None else found.get(key)
    return found
