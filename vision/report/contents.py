"""What a report is made of: the folder of a run, walked once, and put into the terms of the page."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vision.report.reading import Folder, Incident, Row, every_second, figure, mapping, open_folder
from vision.report.series import Series
from vision.statistics import Column

__all__ = ["Contents", "Metric", "Verdict", "contents_of", "described_metrics", "hearing_metrics", "processor_rates"]

FPS, LOST, CONCEALED, CLOCK_ERROR = "pictures a second", "packets lost", "samples concealed", "clock error"
TRUE_MOUTH = "mouth as drawn"
_PARTLY = 0.5  # coverage below which the page says why
_COUNTED = {"video_packets_lost": LOST, "audio_packets_lost": LOST, "audio_concealed_samples": CONCEALED}


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric of the run.

    :ivar name: with its processor's, `speech.speaking`.
    :ivar good: `high`, `low`, `zero`, `true`, `false`, or `neither`.
    :ivar totals: by the names of summary.json; without `mean` and the like where nothing was measured.
    """

    name: str
    description: str
    unit: str
    good: str
    is_flag: bool
    coverage: float
    totals: Mapping[str, float]
    range: tuple[float | None, float | None] = (None, None)

    @property
    def processor(self) -> str:
        """Its processor's name."""
        return self.name.partition(".")[0]

    @property
    def field(self) -> str:
        """Its own name."""
        return self.name.partition(".")[2]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether one expectation was met, as summary.json has it."""

    name: str
    that: str
    level: str
    outcome: str
    value: float | bool | None
    unit: str | None
    limit: str | None
    coverage: float | None
    reason: str | None
    window: str | None

    @property
    def is_bad(self) -> bool:
        """Not measured is as bad as not met."""
        return self.outcome in ("failed", "not_measured")


@dataclass(slots=True)
class _Walked:
    """What the records come to."""

    frames: int = 0
    pictures: int = 0
    corrupt: int = 0
    first_s: float = math.inf
    last_s: float = -math.inf
    series: dict[str, Series] = field(default_factory=lambda: defaultdict(Series))
    columns: dict[str, Column] = field(default_factory=lambda: defaultdict(Column))
    errors: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    clocks: dict[str, Column] = field(default_factory=lambda: defaultdict(Column))
    clock_frames: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class Contents:
    """All that the page tells.

    :ivar series: by metric, and by the names of what is counted beside them.
    :ivar faults: what a simulator planted: kind, from, to.
    :ivar totals: summary.json, or as much of it as the records say.
    :ivar is_whole: the run came to its end and wrote its summary.
    """

    folder: Folder
    metrics: Mapping[str, Metric]
    series: Mapping[str, Series]
    faults: tuple[tuple[str, float, float], ...]
    totals: Mapping[str, Any]
    verdicts: tuple[Verdict, ...]
    is_whole: bool
    errors: Mapping[str, Mapping[str, int]]

    @property
    def incidents(self) -> tuple[Incident, ...]:
        """In the order of their beginnings."""
        return self.folder.incidents

    @property
    def duration_s(self) -> float | None:
        """From the first frame to the last."""
        return figure(self.totals.get("duration_s"))

    def never_measured(self) -> Iterator[Metric]:
        """Metrics without a single value."""
        return (metric for metric in self.metrics.values() if not metric.totals.get("count"))

    def partly_measured(self) -> Iterator[Metric]:
        """Metrics with some, in less than half of the pictures they were due for."""
        for metric in self.metrics.values():
            if metric.totals.get("count") and metric.coverage < _PARTLY:
                yield metric


def contents_of(path: Path) -> Contents:
    """Read a run's folder.

    :raises ConfigError: when it is none.
    """
    folder = open_folder(path)
    walked = _walk(folder, hearing_metrics(folder.run))
    totals = folder.summary if folder.summary is not None else _totals(walked, folder)
    series = dict(walked.series)
    if (mouth := _true_mouth(folder)) is not None:
        series[TRUE_MOUTH] = mouth
    return Contents(
        folder=folder,
        metrics=described_metrics(folder.run, totals),
        series=series,
        faults=tuple(_faults(folder)),
        totals=totals,
        verdicts=tuple(_verdicts(totals)),
        is_whole=folder.summary is not None,
        errors=walked.errors,
    )


def _table(found: Any) -> Mapping[str, Mapping[str, Any]]:
    """Names with what is said of each; empty where a file says something else."""
    is_one = isinstance(found, dict) and all(isinstance(value, dict) for value in found.values())
    return found if is_one else {}


def _walk(folder: Folder, hearing: set[str]) -> _Walked:
    walked = _Walked()
    seconds: Counter[int] = Counter()
    needs_totals = folder.summary is None
    for row in folder.rows():
        walked.frames += 1
        walked.pictures += row.has_picture
        walked.corrupt += row.corrupt
        walked.first_s, walked.last_s = min(walked.first_s, row.time_s), max(walked.last_s, row.time_s)
        if row.has_picture:
            seconds[math.floor(row.time_s)] += 1
        for processor, reason in row.errors.items():
            walked.errors[processor][reason] += 1
        for name, value in row.values.items():
            if row.corrupt and name not in hearing:
                continue  # what was damaged on the way says nothing of the avatar
            walked.series[name].add(row.time_s, value)
            if needs_totals:
                walked.columns[name].add(value)
        _count(walked, row)
    for second in every_second(seconds)[:-1]:  # the last one is cut
        walked.series[FPS].add(second + 0.5, seconds[second])
    return walked


def _count(walked: _Walked, row: Row) -> None:
    """What is told of the clock and the network."""
    walked.clock_frames[row.clock_kind] += 1
    if row.clock_error_ms is not None:
        walked.clocks[row.clock_kind].add(row.clock_error_ms)
        walked.series[CLOCK_ERROR].add(row.time_s, row.clock_error_ms)
    told: Counter[str] = Counter()
    for name, series in _COUNTED.items():
        if name in row.transport:
            told[series] += int(row.transport[name])
    for series, count in told.items():
        walked.series[series].add(row.time_s, count)


def _totals(walked: _Walked, folder: Folder) -> dict[str, Any]:
    """As summary.json would have them, as far as the records say."""
    known = _table(folder.run.get("metrics"))
    every = processor_rates(folder.run)
    kinds: Counter[str] = Counter(incident.kind for incident in folder.incidents)
    metrics = {}
    for name in dict.fromkeys([*known, *walked.columns]):
        about = known.get(name, {})
        frames = walked.pictures if about.get("reads") == "picture" else walked.frames
        due = -(-frames // every.get(name.partition(".")[0], 1))
        spread = walked.columns[name].distribution() if name in walked.columns else None
        metrics[name] = {
            "unit": about.get("unit", "1"),
            "coverage": min(spread.count / due, 1.0) if spread and due else 0.0,
            **(spread.as_dict() if spread else {"count": 0}),
        }
    return {
        "frames": walked.frames,
        "pictures": walked.pictures,
        "pictures_corrupt": walked.corrupt,
        "duration_s": walked.last_s - walked.first_s if walked.frames else None,
        "metrics": metrics,
        "clock": {"kinds": {kind: _clock(walked, kind) for kind in walked.clock_frames}},
        "incidents": dict(kinds),
    }


def processor_rates(run: Mapping[str, Any]) -> dict[str, int]:
    processors = mapping(run.get("config")).get("processors")
    found = [mapping(one) for one in processors] if isinstance(processors, list) else []
    return {str(one.get("name")): int(min(max(figure(one.get("every")) or 1, 1), 1e6)) for one in found}


def _clock(walked: _Walked, kind: str) -> dict[str, Any]:
    spread = walked.clocks[kind].distribution() if kind in walked.clocks else None
    named = spread.as_dict() if spread else {}
    return {
        "frames": walked.clock_frames[kind],
        "error_ms": {key: named.get(key) for key in ("p50", "p95", "max")},
    }


def hearing_metrics(run: Mapping[str, Any]) -> set[str]:
    """Those of sound alone, which damaged pictures do not concern."""
    return {name for name, known in _table(run.get("metrics")).items() if known.get("reads") == "sound"}


def described_metrics(
    run: Mapping[str, Any], totals: Mapping[str, Any], others: Iterable[str] = ()
) -> dict[str, Metric]:
    """The metrics by name, with what run.json says of their meaning.

    :param others: names of metrics that were seen in records.
    """
    known, measured = _table(run.get("metrics")), _table(totals.get("metrics"))
    return {
        name: _metric(name, known.get(name, {}), measured.get(name, {})) for name in dict.fromkeys([*measured, *others])
    }


def _metric(name: str, known: Mapping[str, Any], one: Mapping[str, Any]) -> Metric:
    unit = str(known.get("unit") or one.get("unit") or "1")
    return Metric(
        name=name,
        description=str(known.get("description", "")),
        unit=unit,
        good=str(known.get("good", "neither")),
        is_flag=unit == "bool",
        coverage=figure(one.get("coverage")) or 0.0,
        totals={key: value for key, found in one.items() if (value := figure(found)) is not None},
        range=_range(known.get("range")),
    )


def _range(found: Any) -> tuple[float | None, float | None]:
    ends = [figure(end) for end in found] if isinstance(found, list) and len(found) == 2 else [None, None]
    return ends[0], ends[1]


def _verdicts(totals: Mapping[str, Any]) -> Iterator[Verdict]:
    found = totals.get("verdicts")
    for one in found if isinstance(found, list) else []:
        if isinstance(one, dict):
            that = str(one.get("that", ""))
            yield Verdict(
                name=str(one.get("name") or that),
                that=that,
                level=str(one.get("level", "error")),
                outcome=str(one.get("verdict", "")),
                value=_judged(one.get("value")),
                unit=_text(one.get("unit")),
                limit=_text(one.get("limit")),
                coverage=figure(one.get("coverage")),
                reason=_text(one.get("reason")),
                window=_text(one.get("window")),
            )


def _judged(value: Any) -> float | bool | None:
    return value if isinstance(value, bool) else figure(value)


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _faults(folder: Folder) -> Iterator[tuple[str, float, float]]:
    """The faults that a simulator was told to plant: kind, from, to."""
    faults = mapping(mapping(folder.run.get("config")).get("source")).get("faults")
    for fault in map(mapping, faults if isinstance(faults, list) else []):
        start_s, duration_s = figure(fault.get("start_s")), figure(fault.get("duration_s"))
        if start_s is not None and duration_s is not None:
            yield str(fault.get("kind", "fault")), start_s, start_s + duration_s


def _true_mouth(folder: Folder) -> Series | None:
    """The mouth as the simulator drew it."""
    drawn = Series()
    for time_s, line in folder.truth():
        opening = figure(line.get("mouth_opening"))
        if opening is not None:
            drawn.add(time_s, opening)
    return drawn if drawn.points(1).time_s.size else None
