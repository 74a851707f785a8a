"""A run cut into seconds: for each of them and each metric, the sum of the values and how many they are."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vision.report.contents import FPS, Metric, described_metrics, hearing_metrics, processor_rates
from vision.report.reading import Folder, Row, every_second, mapping, open_folder

__all__ = ["SecondsOfRun", "seconds_of"]

Floats = NDArray[np.float64]


@dataclass(slots=True)
class SecondsOfRun:
    """A run as the comparison needs it; seconds are rows.

    :ivar names: of the metrics, in the order of the columns.
    :ivar total: `(N, M)`, sums of the values.
    :ivar count: `(N, M)`, how many values; of pictures a second, 1.
    :ivar due: `(N, M)`, how many there would be if all had been measured.
    """

    folder: Folder
    metrics: Mapping[str, Metric]
    names: tuple[str, ...]
    total: Floats
    count: Floats
    due: Floats
    incidents: Counter[str] = field(default_factory=Counter)

    @property
    def duration_s(self) -> float:
        """As long as there were frames."""
        return float(len(self.total))

    def column(self, name: str) -> int | None:
        """Where a metric is, if this run has it."""
        return self.names.index(name) if name in self.names else None


def seconds_of(path: Path) -> SecondsOfRun:
    """Read a run's folder.

    :raises ConfigError: when it is none, or holds no records.
    """
    folder = open_folder(path)
    totals: defaultdict[str, dict[int, float]] = defaultdict(lambda: defaultdict(float))
    counts: defaultdict[str, Counter[int]] = defaultdict(Counter)
    frames: Counter[int] = Counter()
    pictures: Counter[int] = Counter()
    hearing = hearing_metrics(folder.run)
    for row in folder.rows():
        second = math.floor(row.time_s)
        frames[second] += 1
        pictures[second] += row.has_picture
        for name, value in row.values.items():
            if _counts(row, name, hearing):
                totals[name][second] += value
                counts[name][second] += 1
    metrics = described_metrics(folder.run, folder.summary or {}, totals)
    span = every_second(frames)
    whole = span[1:-1] if len(span) > 2 else span  # the first and the last one are cut
    totals[FPS] = {second: float(pictures[second]) for second in whole}
    counts[FPS] = Counter(dict.fromkeys(whole, 1))
    names = tuple(totals)
    due = {name: frames if _listens(folder.run, name) else pictures for name in names} | {FPS: Counter(whole)}
    every = processor_rates(folder.run)
    return SecondsOfRun(
        folder=folder,
        metrics=metrics,
        names=names,
        total=_table(totals, names, span),
        count=_table(counts, names, span),
        due=_table(due, names, span) / np.array([every.get(name.partition(".")[0], 1) for name in names]),
        incidents=Counter(incident.kind for incident in folder.incidents),
    )


def _counts(row: Row, name: str, hearing: set[str]) -> bool:
    return not row.corrupt or name in hearing


def _listens(run: Mapping[str, Any], name: str) -> bool:
    about = mapping(mapping(run.get("metrics")).get(name))
    return bool(about.get("reads", "picture") != "picture")


def _table(columns: Mapping[str, Mapping[int, float]], names: tuple[str, ...], span: Sequence[int]) -> Floats:
    table, rows = np.zeros((len(span), len(names))), {second: row for row, second in enumerate(span)}
    for column, name in enumerate(names):
        for second, value in columns[name].items():
            table[rows[second], column] = value
    return table
