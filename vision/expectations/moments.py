"""Frames and incidents as far as expectations care: from a run as it goes, or from its files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vision.expectations.vocabulary import CLOCK
from vision.record import Measured, Record

__all__ = [
    "Happening",
    "Moment",
]


@dataclass(frozen=True, slots=True)
class Moment:
    """A frame, as far as expectations care; from a record, or from a line of frames.jsonl."""

    index: int | None
    time_s: float
    corrupt: bool
    results: Mapping[str, Measured | None]
    errors: Mapping[str, str]
    clock: str | None

    @classmethod
    def of(cls, record: Record) -> Moment:
        """A record's."""
        frame = record.frame
        results = {**record.results, CLOCK: {"error_ms": frame.clock.error_ms}}
        index = frame.index if frame.maybe_picture is not None else None
        return cls(index, round(frame.time_s, 6), frame.corrupt, results, record.errors, frame.clock.kind)

    @classmethod
    def from_dict(cls, line: Mapping[str, Any]) -> Moment:
        """That of a line of frames.jsonl."""
        clock = line.get("clock") or {}
        results = {name: value for name, value in line.items() if isinstance(value, dict) or value is None}
        return cls(
            line["index"], line["time_s"], bool(line["corrupt"]), results, line.get("errors", {}), clock.get("kind")
        )


@dataclass(frozen=True, slots=True)
class Happening:
    """An incident, as far as expectations care."""

    kind: str
    cause: str
    severity: str
    start_s: float
    end_s: float
    pictures_missing: float = 0.0

    @classmethod
    def from_dict(cls, line: Mapping[str, Any]) -> Happening:
        """That of a line of incidents.jsonl."""
        evidence = line.get("evidence") or {}
        # those that the queue dropped have a number, and are counted by it
        missing = evidence.get("pictures_missing", 0) - evidence.get("dropped", 0)
        return cls(
            kind=line["kind"],
            cause=line["cause"],
            severity=line["severity"],
            start_s=line["start_s"],
            end_s=line["end_s"],
            pictures_missing=max(missing, 0) if line["kind"] == "no_picture" else 0,
        )
