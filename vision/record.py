"""One record per frame: what the sinks get, and a line of frames.jsonl; and how such lines are read again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vision.frame import Frame
from vision.result import Result

__all__ = ["RESERVED", "Line", "Measured", "Record", "read_lines"]

Measured = Mapping[str, float | bool | None]
RESERVED = frozenset(
    [
        "index",
        "time_s",
        "arrival_s",
        "width",
        "height",
        "key_frame",
        "corrupt",
        "clock",
        "transport",
        "errors",
    ]
)
"""Fields of every record, which no processor can be named after."""


@dataclass(frozen=True, slots=True)
class Record:
    """What was measured of one frame.

    :ivar results: per processor its metrics by name, or `None` where it measured nothing.
    :ivar errors: per processor why it failed on this frame, one line.
    :ivar outputs: per processor its result as it gave it, arrays included, or `None`; for sinks that write those.
    """

    frame: Frame
    results: Mapping[str, Measured | None]
    errors: Mapping[str, str] = field(default_factory=dict)
    outputs: Mapping[str, Result | None] = field(default_factory=dict)

    def value(self, processor: str, metric: str) -> float | bool | None:
        """One metric's value, `None` where it was not measured."""
        measured = self.results.get(processor)
        return None if measured is None else measured.get(metric)

    def as_dict(self) -> dict[str, Any]:
        """The record as JSON knows it; times are rounded to the microsecond."""
        frame, picture = self.frame, self.frame.maybe_picture
        return {
            "index": frame.index,
            "time_s": round(frame.time_s, 6),
            "arrival_s": round(frame.arrival_s, 6),
            "width": picture.width if picture else None,
            "height": picture.height if picture else None,
            "key_frame": frame.key_frame if picture else None,
            "corrupt": frame.corrupt if picture else None,
            "clock": _clock(frame),
            "transport": dict(frame.transport),
            **{name: None if measured is None else dict(measured) for name, measured in self.results.items()},
            "errors": dict(self.errors),
        }

    def as_json(self) -> str:
        """The record as one line of JSON, without the line end."""
        return json.dumps(self.as_dict(), separators=(",", ":"), allow_nan=False)


def _clock(frame: Frame) -> dict[str, Any]:
    known: dict[str, Any] = {"kind": frame.clock.kind, "error_ms": frame.clock.error_ms}
    return known if frame.clock_step is None else known | {"step_ms": round(frame.clock_step.ms, 3)}


@dataclass(frozen=True, slots=True)
class Line:
    """A line of one of a run's `.jsonl` files.

    :ivar number: from 1.
    :ivar content: its JSON object; `None` where there is none.
    :ivar is_whole: it has its end, which a last line that was cut off does not.
    """

    number: int
    content: dict[str, Any] | None
    is_whole: bool


def read_lines(path: Path) -> Iterator[Line]:
    """All lines that are not blank, one after the other; what becomes of those without an object is up to the caller.

    :raises OSError: when the file cannot be read.
    """
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield Line(number, _parsed(line), line.endswith(b"\n"))


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
