"""What a column of numbers looks like, in bounded memory."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from dataclasses import dataclass

import numpy as np

__all__ = ["PERCENTILES", "Column", "Distribution"]

PERCENTILES = (5, 50, 95, 99)
_EXACT = 50_000  # values kept as they are: 27 minutes at 30 pictures a second
_ACCURACY = 0.001


@dataclass(frozen=True, slots=True)
class Distribution:
    """Count, moments, ends and percentiles of the values that were measured, and the last one of them."""

    count: int
    mean: float
    std: float
    min: float
    max: float
    last: float
    percentiles: tuple[float, ...]

    def as_dict(self) -> dict[str, float]:
        """With the names of summary.json."""
        named = {f"p{p}": value for p, value in zip(PERCENTILES, self.percentiles, strict=True)}
        moments = {"mean": self.mean, "std": self.std, "min": self.min, "max": self.max}
        values = moments | named | {"last": self.last}
        return {"count": self.count, **{name: round(value, 6) for name, value in values.items()}}


class Column:
    """Collects values. Percentiles are exact (linear interpolation) up to 50,000 values; beyond, values are binned
    logarithmically as in DDSketch (Masson et al., VLDB 2019), and percentiles are right within 0.1 % of the value.
    """

    def __init__(self) -> None:
        self._count = 0
        self._mean = self._m2 = 0.0
        self._min, self._max, self._last = math.inf, -math.inf, math.nan
        self._values = array("d")
        self._bins: Counter[int] = Counter()

    def add(self, value: float) -> None:
        """Take one finite value."""
        self._count += 1
        self._last = value
        step = value - self._mean
        self._mean += step / self._count  # Welford: no cancellation in long runs
        self._m2 += step * (value - self._mean)
        self._min, self._max = min(self._min, value), max(self._max, value)
        if self._bins:
            self._bins[_bin(value)] += 1
            return
        self._values.append(value)
        if len(self._values) > _EXACT:
            self._bins.update(_bin(value) for value in self._values)
            self._values = array("d")

    def __len__(self) -> int:
        return self._count

    def distribution(self) -> Distribution | None:
        """Of what was added so far; `None` when that is nothing."""
        if not self._count:
            return None
        std = math.sqrt(self._m2 / self._count)
        percentiles = tuple(self.percentile(p) for p in PERCENTILES)
        return Distribution(self._count, self._mean, std, self._min, self._max, self._last, percentiles)

    def percentile(self, percent: float) -> float:
        """One percentile of what was added so far, which must be something."""
        if not self._bins:
            return float(np.percentile(np.asarray(self._values), percent))
        rank, seen = percent / 100 * (self._count - 1), 0
        for index in sorted(self._bins):
            seen += self._bins[index]
            if seen > rank:
                return min(max(_middle(index), self._min), self._max)
        return self._max


_LOG_GAMMA = math.log((1 + _ACCURACY) / (1 - _ACCURACY))
_SMALLEST = 1e-9  # nearer to zero than this is zero
_SHIFT = math.ceil(-math.log(_SMALLEST) / _LOG_GAMMA) + 1  # makes the index of the smallest magnitude positive


def _bin(value: float) -> int:
    """Signed index: 0 holds zero, the sign is the value's."""
    magnitude = abs(value)
    if magnitude < _SMALLEST:
        return 0
    index = math.ceil(math.log(magnitude) / _LOG_GAMMA) + _SHIFT
    return index if value > 0 else -index


def _middle(index: int) -> float:
    if index == 0:
        return 0.0
    upper = math.exp((abs(index) - _SHIFT) * _LOG_GAMMA)
    value = upper * (1 - _ACCURACY)
    return value if index > 0 else -value
