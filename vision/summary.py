"""What a run amounts to: every metric with its coverage, every processor with its cost, the queue."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from vision.frame import ClockKind, Frame
from vision.incidents import Incident
from vision.plan import Step
from vision.processor import Reads
from vision.record import Record
from vision.result import MetricInfo, metrics_of
from vision.statistics import Column
from vision.stream import StreamStatistics

__all__ = ["ProcessorTally", "Summary"]

_MOST_SHOWN = 20  # incidents kept for the terminal; all of them are in incidents.jsonl


@dataclass(slots=True)
class ProcessorTally:
    """What happened to one processor: frames it measured, was not called for (`skipped`), or failed on."""

    frames: int = 0
    skipped: int = 0
    errors: int = 0
    quarantined: str | None = None
    last_error: str | None = None
    ms: Column = field(default_factory=Column)

    def as_dict(self) -> dict[str, Any]:
        """With the names of summary.json; `ms` is the time of a call in milliseconds."""
        spent = self.ms.distribution()
        named = spent.as_dict() if spent else None
        return {
            "frames": self.frames,
            "skipped": self.skipped,
            "errors": self.errors,
            "last_error": self.last_error,
            "quarantined": self.quarantined,
            "ms": {key: round(named[key], 3) for key in ("p50", "p95")} if named else None,
        }


class Summary:
    """Collects records; memory stays bounded however long the run is."""

    def __init__(self, steps: tuple[Step, ...]) -> None:
        self.tallies = {step.config.name: ProcessorTally() for step in steps}
        self.incidents: Counter[str] = Counter()
        self.first_incidents: list[Incident] = []
        self._every = {step.config.name: step.config.every for step in steps}
        self.listeners = frozenset(step.config.name for step in steps if step.config.processor.reads == Reads.SOUND)
        self._listens = {step.config.name: step.config.processor.reads != Reads.PICTURE for step in steps}
        self.metrics: dict[str, tuple[MetricInfo, ...]] = {
            step.config.name: metrics_of(step.config.processor.result_type()) for step in steps
        }
        self._clock_errors: defaultdict[ClockKind, Column] = defaultdict(Column)
        self._clock_frames: Counter[ClockKind] = Counter()
        self._clock_steps = 0
        self._columns: dict[str, dict[str, Column]] = {
            name: {info.name: Column() for info in infos if info.recorded} for name, infos in self.metrics.items()
        }
        self.frames = self.pictures = self.pictures_missing = self.pictures_corrupt = 0
        self.first_time_s: float | None = None
        self.last_time_s: float | None = None

    def add(self, record: Record) -> None:
        """Take a record."""
        self.frames += 1
        self.pictures += record.frame.maybe_picture is not None
        if self.first_time_s is None:
            self.first_time_s = record.frame.time_s
        self.last_time_s = record.frame.time_s
        self.pictures_corrupt += record.frame.corrupt
        self._add_clock(record.frame)
        for name, columns in self._columns.items():
            if record.frame.corrupt and name not in self.listeners:
                continue  # what was damaged on the way says nothing of the avatar
            for metric, column in columns.items():
                value = record.value(name, metric)
                if value is not None:
                    column.add(float(value))

    def _add_clock(self, frame: Frame) -> None:
        clock = frame.clock
        self._clock_frames[clock.kind] += 1
        self._clock_steps += frame.clock_step is not None
        if clock.error_ms is not None:
            self._clock_errors[clock.kind].add(clock.error_ms)

    def add_incident(self, incident: Incident) -> None:
        """Take an incident."""
        self.incidents[incident.kind] += 1
        if len(self.first_incidents) < _MOST_SHOWN:
            self.first_incidents.append(incident)

    def as_dict(self, queue: StreamStatistics) -> dict[str, Any]:
        """The content of summary.json.

        `coverage` of a metric is the share of the pictures it was due for in which it was measured; due are those
        that came, those the queue dropped, and about as many as are missing where none came; measured is what is not
        corrupt. For processors that listen, it is the share of all frames. Booleans count as 0 and 1, so that their
        mean is a share.
        """
        return {
            "frames": self.frames,
            "pictures": self.pictures,
            "pictures_missing": self.pictures_missing,
            "pictures_corrupt": self.pictures_corrupt,
            "duration_s": self._duration_s(),
            "metrics": {
                f"{name}.{info.name}": self._metric(name, info, queue)
                for name, infos in self.metrics.items()
                for info in infos
                if info.recorded
            },
            "clock": self._clock(),
            "processors": {name: tally.as_dict() for name, tally in self.tallies.items()},
            "incidents": dict(self.incidents),
            "queue": asdict(queue) | {"worst_age_ms": round(queue.worst_age_ms, 3)},
        }

    def troubles(self) -> dict[str, str]:
        """What is wrong with processors, by their names."""
        found: dict[str, str] = {}
        for name, tally in self.tallies.items():
            if tally.quarantined:
                found[name] = f"quarantined: {tally.quarantined}"
            elif tally.last_error:
                found[name] = f"last error: {tally.last_error}"
        return found

    def _clock(self) -> dict[str, Any]:
        """How picture and sound were related, on how many frames, and how well."""
        kinds: dict[str, Any] = {}
        for kind, frames in self._clock_frames.items():
            spread = self._clock_errors[kind].distribution()
            named = spread.as_dict() if spread else {}
            kinds[kind] = {"frames": frames, "error_ms": {key: named.get(key) for key in ("p50", "p95", "max")}}
        return {"kinds": kinds, "steps": self._clock_steps}

    def _duration_s(self) -> float | None:
        if self.first_time_s is None or self.last_time_s is None:
            return None
        return round(self.last_time_s - self.first_time_s, 6)

    def _metric(self, name: str, info: MetricInfo, queue: StreamStatistics) -> Mapping[str, Any]:
        spread = self._columns[name][info.name].distribution()
        frames = self.frames if self._listens[name] else queue.received + self.pictures_missing
        due = -(-frames // self._every[name])
        measured = spread.count if spread else 0
        return {
            "unit": info.unit,
            "coverage": round(min(measured / due, 1.0), 6) if due else 0.0,
            **(spread.as_dict() if spread else {"count": 0}),
        }
