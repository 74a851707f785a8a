"""Intervals in which something was wrong, made from boolean metrics as the records come."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from vision.frame import Cause, Frame
from vision.record import Record
from vision.result import IncidentRule, MetricInfo

__all__ = ["Incident", "IncidentTracker", "clock_slips"]

_ROUNDING_S = 1e-6  # times are floats: three pictures at 30 fps are a tenth of a second, and no less


@dataclass(frozen=True, slots=True)
class Incident:
    """A stretch of the run, `[start_s, end_s)` on the media clock.

    :ivar cause: whose fault it is.
    :ivar evidence: the metric it was seen in, and on how many pictures.
    """

    kind: str
    cause: Cause
    start_s: float
    end_s: float
    severity: str
    evidence: Mapping[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """As a line of incidents.jsonl."""
        return asdict(self)


@dataclass(slots=True)
class _Open:
    start_s: float
    last_s: float
    pictures: int


class IncidentTracker:
    """Follows the metrics that carry an `IncidentRule`.

    A stretch ends with the first picture that is measured to be well; one that was not measured, or was damaged on
    the way, neither ends it nor begins it. A stretch that is still open when the run ends, ends with its last picture.
    """

    def __init__(self, metrics: Mapping[str, Iterable[MetricInfo]], listeners: Container[str] = ()) -> None:
        self._rules: list[tuple[str, str, IncidentRule]] = [
            (processor, info.name, info.incident)
            for processor, infos in metrics.items()
            for info in infos
            if info.incident is not None
        ]
        self._listeners = listeners
        self._open: dict[tuple[str, str], _Open] = {}

    def add(self, record: Record) -> Iterator[Incident]:
        """Take a record; yields the incidents that it ends."""
        time_s = record.frame.time_s
        for processor, metric, rule in self._rules:
            if record.frame.corrupt and processor not in self._listeners:
                continue  # what was damaged on the way says nothing of the avatar
            value = record.value(processor, metric)
            key = (processor, metric)
            if value is None:
                continue
            if value == rule.when:
                stretch = self._open.setdefault(key, _Open(time_s, time_s, 0))
                stretch.last_s, stretch.pictures = time_s, stretch.pictures + 1
            elif stretch_ended := self._open.pop(key, None):
                yield from _incident(key, rule, stretch_ended, time_s)

    def end(self) -> Iterator[Incident]:
        """The run is over; yields the incidents that are still open."""
        for processor, metric, rule in self._rules:
            if stretch := self._open.pop((processor, metric), None):
                yield from _incident((processor, metric), rule, stretch, stretch.last_s)


def _incident(key: tuple[str, str], rule: IncidentRule, stretch: _Open, end_s: float) -> Iterator[Incident]:
    if end_s - stretch.start_s >= rule.min_s - _ROUNDING_S:
        evidence = {"metric": ".".join(key), "value": rule.when, "pictures": stretch.pictures}
        start_s, end_s = round(stretch.start_s, 6), round(end_s, 6)
        yield Incident(rule.kind, rule.cause, start_s, end_s, rule.severity, evidence)


def clock_slips(frame: Frame) -> Iterator[Incident]:
    """Where the sender's relation between picture and sound has slipped by its own word, at the frame that knows it."""
    step = frame.clock_step
    if step is not None and step.by_sender:
        time_s = round(frame.time_s, 6)
        evidence = {"metric": "clock.step_ms", "value": round(step.ms, 1)}
        yield Incident("clock_slip", "sender", time_s, time_s, "warning", evidence)
