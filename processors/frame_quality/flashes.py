"""Flashes that can harm: general flashes of WCAG 2.2 (2.3.1), over a quarter of the picture as in ITU-R BT.1702."""

from __future__ import annotations

from collections import deque

import cv2
import numpy as np
from numpy.typing import NDArray

from vision import Picture

__all__ = ["FlashCounter", "MOST_CHANGES"]

MOST_CHANGES = 6
"""Opposing changes, two of which are a flash, that may lie within a second: three flashes."""

_CHANGE, _DARKER_BELOW = 0.10, 0.80  # relative luminance
_AREA = 0.25
_TOGETHER_S = 0.1  # squares that change within so long change together
_SECOND_S = 1.0
_ROWS = 18

Grid = NDArray[np.float32]


def _luminances(low: int, span: int) -> Grid:
    """Relative luminance (sRGB) of the grey of each luma."""
    signal = np.clip((np.arange(256) - low) / span, 0, 1)
    return np.where(signal > 0.04045, ((signal + 0.055) / 1.055) ** 2.4, signal / 12.92).astype(np.float32)


_VIDEO, _FULL = _luminances(16, 219), _luminances(0, 255)


class FlashCounter:
    """Counts opposing changes of relative luminance, taken from luma on a grid of 18 rows."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """What comes next does not continue what came before."""
        self._low: Grid | None = None
        self._high: Grid | None = None
        self._risen_s: NDArray[np.float64] | None = None
        self._fallen_s: NDArray[np.float64] | None = None
        self._last = 0
        self._changes_s: deque[float] = deque()

    def add(self, time_s: float, picture: Picture) -> int:
        """Take a picture; the number of opposing changes in the second up to it."""
        now = _luminance(picture)
        if self._low is None or self._high is None:
            self._low, self._high = now.copy(), now.copy()
            self._risen_s, self._fallen_s = (np.full(now.shape, -np.inf) for _ in range(2))
        self._follow(time_s, now)
        while self._changes_s and self._changes_s[0] <= time_s - _SECOND_S:
            self._changes_s.popleft()
        return len(self._changes_s)

    def _follow(self, time_s: float, now: Grid) -> None:
        assert self._low is not None
        assert self._high is not None
        assert self._risen_s is not None
        assert self._fallen_s is not None
        rise, fall = now - self._low, self._high - now
        if max(rise.max(), fall.max()) < _CHANGE:
            np.minimum(self._low, now, out=self._low)
            np.maximum(self._high, now, out=self._high)
            return
        risen = (rise >= _CHANGE) & (self._low < _DARKER_BELOW)
        fallen = (fall >= _CHANGE) & (now < _DARKER_BELOW)
        changed = risen | fallen
        np.minimum(self._low, now, out=self._low)
        np.maximum(self._high, now, out=self._high)
        if not changed.any():
            return
        self._low[changed] = self._high[changed] = now[changed]
        self._risen_s[risen], self._fallen_s[fallen] = time_s, time_s
        for direction, times_s, seen in ((1, self._risen_s, risen), (-1, self._fallen_s, fallen)):
            together = float(np.mean(times_s > time_s - _TOGETHER_S))
            if seen.any() and together >= _AREA and direction != self._last:
                self._last = direction
                self._changes_s.append(time_s)


def _luminance(picture: Picture) -> Grid:
    rows = min(_ROWS, picture.grid.shape[0])
    size = (max(1, round(picture.grid.shape[1] * rows / picture.grid.shape[0])), rows)
    means = cv2.resize(picture.grid, size, interpolation=cv2.INTER_AREA)
    return np.asarray((_FULL if picture.full_range else _VIDEO)[means], np.float32)
