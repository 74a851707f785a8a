"""The names that a run knows: its metrics, and its kinds of incidents."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from vision.errors import did_you_mean
from vision.expectations.syntax import ExpectationError
from vision.expectations.tree import Name
from vision.processor import Processor, Reads
from vision.result import MetricInfo, metrics_of

__all__ = [
    "CLOCK",
    "Measure",
    "Producer",
    "UnknownNameError",
    "Vocabulary",
    "place_of",
]

CLOCK = "clock"

_CLOCK_ERROR = MetricInfo("error_ms", "Bound on the error of the clock", "ms", (0, None), "low", "number")

_OF_THE_RUN = ("clock_slip", "corruption", "no_picture")  # incidents of the run itself


class UnknownNameError(ExpectationError):
    """A metric or a kind of incident that this run does not have."""


@dataclass(frozen=True, slots=True)
class Producer:
    """A processor, as far as expectations care.

    :ivar every: it measures each n-th picture.
    :ivar listens: it is called with frames that have no picture, too.
    :ivar hears_only: a damaged picture is nothing to it.
    :ivar pairs: it relates sound to pictures, for which the clock must be good.
    :ivar needs: the processors whose results it gets.
    """

    name: str
    metrics: tuple[MetricInfo, ...]
    every: int = 1
    listens: bool = False
    hears_only: bool = False
    pairs: bool = False
    needs: tuple[str, ...] = ()

    @classmethod
    def of(cls, processor: type[Processor[Any]], name: str, every: int = 1) -> Producer:
        """A processor of that name."""
        metrics, reads = metrics_of(processor.result_type()), processor.reads
        return cls(name, metrics, every, reads != Reads.PICTURE, reads == Reads.SOUND, reads == Reads.BOTH)


@dataclass(frozen=True, slots=True)
class Measure:
    """A metric of a run."""

    producer: Producer
    info: MetricInfo

    @property
    def name(self) -> str:
        """As it is written."""
        return f"{self.producer.name}.{self.info.name}"


class Vocabulary:
    """The names that a run knows."""

    def __init__(self, producers: Iterable[Producer]) -> None:
        clock = Producer(CLOCK, (_CLOCK_ERROR,), listens=True, hears_only=True)
        self.producers = {producer.name: producer for producer in (*producers, clock)}
        self.kinds: dict[str, tuple[Measure, ...]] = dict.fromkeys(_OF_THE_RUN, ())
        for measure in self._measures():
            if measure.info.incident is not None:
                kind = measure.info.incident.kind
                self.kinds[kind] = (*self.kinds.get(kind, ()), measure)
        self.units = {measure.info.unit for measure in self._measures()}

    def _measures(self) -> Iterable[Measure]:
        for producer in self.producers.values():
            for info in producer.metrics:
                if info.recorded:
                    yield Measure(producer, info)

    def measure(self, name: Name) -> tuple[Measure, str | None]:
        """The metric that a name begins with, and the statistic that it ends with.

        :raises UnknownNameError: when there is no such metric, with the nearest one.
        """
        parts = name.parts
        flags = [m for m in self._measures() if m.info.name == parts[0] and m.info.kind == "boolean"]
        if parts[0] not in self.producers and len(flags) == 1:
            return flags[0], _only(name, 1)
        if len(parts) == 1 or parts[0] not in self.producers:
            raise UnknownNameError(self._no_metric(".".join(parts[:2])), name.at)
        producer = self.producers[parts[0]]
        infos = {info.name: info for info in producer.metrics if info.recorded}
        if parts[1] not in infos:
            hint = did_you_mean(parts[1], infos) or ";"
            told = f"{producer.name} has no metric '{parts[1]}'{hint} it has {', '.join(infos) or 'none'}"
            raise UnknownNameError(told, place_of(name, 1))
        return Measure(producer, infos[parts[1]]), _only(name, 2)

    def _no_metric(self, name: str) -> str:
        if name in self.producers:
            metrics = ", ".join(info.name for info in self.producers[name].metrics if info.recorded)
            return f"'{name}' is a processor; write one of its metrics behind it: {metrics or 'it has none'}"
        hint = did_you_mean(name, [measure.name for measure in self._measures()])
        return f"this run has no metric '{name}'{hint or ';'} its processors: {', '.join(self.producers)}"


def _only(name: Name, known: int) -> str | None:
    if len(name.parts) > known + 1:
        raise ExpectationError("has more parts than processor.metric.statistic", place_of(name, known + 1))
    return name.parts[known] if len(name.parts) > known else None


def place_of(name: Name, part: int) -> int:
    return name.at + sum(len(before) + 1 for before in name.parts[:part])
