"""Mean and spread of many figures at once, over a window that moves or over a run of any length."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["Moments"]

Vector = NDArray[np.float64]


class Moments:
    """Running mean and standard deviation of vectors of `(size,)`, which may be taken out again.

    Sums are of the distances from the first vector, so that they cancel little.
    """

    def __init__(self, size: int) -> None:
        self.count = 0
        self._origin: Vector = np.zeros(size)
        self._sum: Vector = np.zeros(size)
        self._squares: Vector = np.zeros(size)

    def add(self, values: Vector) -> None:
        """Take a vector."""
        if not self.count:
            self._origin, self._sum, self._squares = values, np.zeros_like(values), np.zeros_like(values)
        away = values - self._origin
        self._sum += away
        self._squares += away * away
        self.count += 1

    def remove(self, values: Vector) -> None:
        """Take a vector out that was added before."""
        away = values - self._origin
        self._sum -= away
        self._squares -= away * away
        self.count -= 1

    @property
    def mean(self) -> Vector:
        """Of each figure; needs a vector."""
        return self._origin + self._sum / self.count

    @property
    def variance(self) -> Vector:
        """Of each figure (ddof 0); needs a vector."""
        mean = self._sum / self.count
        return np.maximum(self._squares / self.count - mean * mean, 0.0)
