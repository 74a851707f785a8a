"""Motion that repeats itself: the idle loop of an avatar that plays the same few seconds again and again."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["LoopDetector", "Repetition"]

_RATE_HZ = 10.0
_KEPT_S, _LEAST_S = 60.0, 8.0
_LAGS_S = (1.5, 25.0)
_UNALIKE = 0.5  # somewhere before a repetition the motion must have been otherwise
_STRIDE_S = 1.0


@dataclass(frozen=True, slots=True)
class Repetition:
    """The period after which the motion is most like it was.

    :ivar period_s: its length; `None` where there is none.
    :ivar likeness: of the motion to that one period before, by the signal that repeats least: 1 the same.
    """

    period_s: float | None
    likeness: float


class LoopDetector:
    """Compares how a head moves with how it moved before, over the last minute, once a second.

    :param floors: standard deviations below which a signal stands still and says nothing; `(D,)`.
    """

    def __init__(self, floors: NDArray[np.float64]) -> None:
        self._floors = floors
        self._seen: deque[tuple[float, NDArray[np.float64]]] = deque()
        self._looked_s: float | None = None
        self._found: Repetition | None = None

    def add(self, time_s: float, signals: NDArray[np.float64]) -> Repetition | None:
        """Take the signals `(D,)` of a picture; what is known of repetitions, `None` while it is too little."""
        if self._seen and time_s - self._seen[-1][0] < 0.9 / _RATE_HZ:
            return self._found
        self._seen.append((time_s, signals))
        while time_s - self._seen[0][0] > _KEPT_S:
            self._seen.popleft()
        if self._looked_s is None or time_s - self._looked_s >= _STRIDE_S:
            self._looked_s, self._found = time_s, self._look()
        return self._found

    def _look(self) -> Repetition | None:
        times_s = np.array([at_s for at_s, _ in self._seen])
        span_s = times_s[-1] - times_s[0]
        if span_s < _LEAST_S:
            return None
        seen = np.stack([signals for _, signals in self._seen], axis=1)
        grid_s = np.arange(times_s[0], times_s[-1], 1 / _RATE_HZ)
        even = np.stack([np.interp(grid_s, times_s, signal) for signal in seen])
        moving = even[even.std(axis=1) > self._floors]
        if not len(moving):
            return None  # a head that stands still repeats nothing
        longest = min(round(_LAGS_S[1] * _RATE_HZ), moving.shape[1] // 2)
        return _best(_likenesses(moving, longest))


def _likenesses(moving: NDArray[np.float64], longest: int) -> NDArray[np.float64]:
    """By lag, from 0 up to the longest: 1 less the mean squared difference over twice the variance, least of all."""
    alike = np.ones(longest + 1)
    for lag in range(1, longest + 1):
        later, earlier = moving[:, lag:], moving[:, :-lag]
        spread = later.var(axis=1) + earlier.var(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            alike[lag] = np.nanmin(1 - np.square(later - earlier).mean(axis=1) / spread)
    return np.maximum(alike, 0.0)


def _best(alike: NDArray[np.float64]) -> Repetition:
    """The first of the highest peaks behind a lag at which the motion was otherwise."""
    otherwise = np.flatnonzero(alike < _UNALIKE)
    first = max(otherwise[0] if len(otherwise) else len(alike), round(_LAGS_S[0] * _RATE_HZ))
    inner = alike[first:]
    if len(inner) < 3:
        return Repetition(None, 0.0)
    peaks = 1 + np.flatnonzero((inner[1:-1] >= inner[:-2]) & (inner[1:-1] >= inner[2:]))
    if not len(peaks):
        return Repetition(None, 0.0)
    highest = inner[peaks].max()
    peak = first + peaks[np.flatnonzero(inner[peaks] >= highest - 0.02)[0]]
    return Repetition(float(peak / _RATE_HZ), float(highest))
