"""A metric over time in bounded memory: every value of a short run, and the envelope of a long one."""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["Points", "Series"]

_EXACT = 6_000  # values that are kept as they are: more than three minutes at 30 pictures a second
_BINS = 6_000  # from then on; ten minutes are bins of an eighth of a second
_FINEST_S = 1 / 64  # bins are this wide, or twice that, or four times, ...

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Points:
    """What is drawn of a metric.

    :ivar time_s: `(N,)`, rising; of values their own, of bins their middle.
    :ivar mean: `(N,)`; of a flag the share of the pictures in which it was set.
    :ivar low: `(N,)`, least value of each bin.
    :ivar high: `(N,)`, greatest one.
    :ivar bin_s: how wide the bins are; `None`: these are the values themselves.
    """

    time_s: Floats
    mean: Floats
    low: Floats
    high: Floats
    bin_s: float | None


@dataclass(slots=True)
class _Bins:
    """Counts, sums and ends per bin; bin `i` covers `[(first + i) * width_s, (first + i + 1) * width_s)`."""

    width_s: float = _FINEST_S
    first: int = 0
    count: Floats = field(default_factory=lambda: np.zeros(0))
    total: Floats = field(default_factory=lambda: np.zeros(0))
    low: Floats = field(default_factory=lambda: np.zeros(0))
    high: Floats = field(default_factory=lambda: np.zeros(0))

    def add(self, time_s: Floats, values: Floats, most: int) -> None:
        """Take values; bins are widened until no more than `most` of them are needed."""
        while self._needed(float(time_s.min()), float(time_s.max())) > most:
            self.widen()
        at = np.floor(time_s / self.width_s).astype(np.int64)
        self._gather(at, np.ones_like(values), values, values, values)

    def _needed(self, first_s: float, last_s: float) -> int:
        """Bins from the first time to the last, with those that are there; on either side of 0 there is always one."""
        first, last = math.floor(first_s / self.width_s), math.floor(last_s / self.width_s)
        if self.count.size:
            first, last = min(first, self.first), max(last, self.first + self.count.size - 1)
        return 0 if (first, last) == (-1, 0) else last - first + 1

    def widen(self) -> None:
        """Make one bin of two."""
        at = (self.first + np.arange(self.count.size)) // 2
        parts = self.count, self.total, self.low, self.high
        self.width_s, self.count = 2 * self.width_s, np.zeros(0)
        if at.size:
            self._gather(at, *parts)

    def _gather(self, at: NDArray[np.int64], count: Floats, total: Floats, low: Floats, high: Floats) -> None:
        first, last = int(at.min()), int(at.max())
        if self.count.size:
            own = self.first + np.arange(self.count.size)
            first, last = min(first, self.first), max(last, int(own[-1]))
            at = np.concatenate([own, at])
            count, total = np.concatenate([self.count, count]), np.concatenate([self.total, total])
            low, high = np.concatenate([self.low, low]), np.concatenate([self.high, high])
        size, at = last - first + 1, at - first
        self.first = first
        self.count, self.total = np.zeros(size), np.zeros(size)
        np.add.at(self.count, at, count)
        np.add.at(self.total, at, total)
        self.low, self.high = np.full(size, np.inf), np.full(size, -np.inf)
        np.minimum.at(self.low, at, low)
        np.maximum.at(self.high, at, high)

    def points(self) -> Points:
        """Of the bins that hold something."""
        full = np.flatnonzero(self.count)
        middle_s = np.asarray((self.first + full + 0.5) * self.width_s, np.float64)
        return Points(middle_s, self.total[full] / self.count[full], self.low[full], self.high[full], self.width_s)


class Series:
    """Takes the values of a metric in the order of their times, more or less."""

    def __init__(self) -> None:
        self._time_s, self._values = array("d"), array("d")
        self._bins: _Bins | None = None

    def add(self, time_s: float, value: float) -> None:
        """Take a value that was measured."""
        self._time_s.append(time_s)
        self._values.append(value)
        if len(self._values) > _EXACT:
            self._fold()

    def _fold(self) -> None:
        self._bins = self._bins or _Bins()
        self._bins.add(np.array(self._time_s), np.array(self._values), _BINS)
        self._time_s, self._values = array("d"), array("d")

    def points(self, most: int = _BINS) -> Points:
        """At most so many points; no value lies outside of what they span."""
        bins = self._bins
        if bins is None and len(self._values) <= most:
            order = np.argsort(np.array(self._time_s), kind="stable")
            time_s, values = np.array(self._time_s)[order], np.array(self._values)[order]
            return Points(time_s, values, values, values, None)
        coarse = (
            _Bins() if bins is None else _Bins(bins.width_s, bins.first, bins.count, bins.total, bins.low, bins.high)
        )
        if self._values:
            coarse.add(np.array(self._time_s), np.array(self._values), most)
        while coarse.count.size > max(most, 2):
            coarse.widen()
        return coarse.points()
