"""What is usual for a figure in this stream, and whether it has left that."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable

__all__ = ["Departure", "Usual"]

_FEWEST = 5  # values, and how long they must reach back, before anything counts as usual
_SETTLED_S = 0.4
_THERE_S = 1.0

Limit = Callable[[float], float]


class Usual:
    """The median of a figure over the last seconds."""

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._values: deque[tuple[float, float]] = deque()
        self._sorted: list[float] = []

    @property
    def level(self) -> float | None:
        """`None` until enough was seen."""
        if len(self._values) < _FEWEST or self._values[-1][0] - self._values[0][0] < _SETTLED_S:
            return None
        return self._sorted[len(self._sorted) // 2]

    def add(self, time_s: float, value: float) -> None:
        """Take the next value."""
        self._values.append((time_s, value))
        insort(self._sorted, value)
        while self._values[0][0] < time_s - self._window_s:
            _, oldest = self._values.popleft()
            del self._sorted[bisect_left(self._sorted, oldest)]

    def forget(self) -> None:
        """What comes next has its own usual level."""
        self._values.clear()
        self._sorted.clear()


class Departure:
    """Whether a figure has risen above what is usual for it.

    It is back when it has come half the way (of its logarithm) from where it went, so that an encoder that takes a few
    pictures to recover does not count.
    """

    def __init__(self, window_s: float, begin: Limit, keep: Limit, *, from_start: float | None = None) -> None:
        """`begin` makes the limit of the usual level, which is taken to be `from_start` until it is known.

        `keep` makes a lower one, below which it is back in any case.
        """
        self._usual, self._there = Usual(window_s), Usual(_THERE_S)
        self._begin, self._keep, self._from_start = begin, keep, from_start
        self._departed = False

    def judge(self, time_s: float, value: float, *, held: bool = False) -> bool | None:
        """Take the next value; `None` while nothing is usual yet. Where `held`, a departure goes on in any case."""
        level = self._level
        if level is None:
            return None
        self._departed = (self._departed and held) or value > self._limit(level)
        if self._departed:
            self._there.add(time_s, value)
        elif value <= self._begin(level):  # else it is on its way back
            self._there.forget()
        return self._departed

    def learn(self, time_s: float, value: float) -> None:
        """What was judged last is usual, unless it is still on its way back."""
        level = self._level
        if level is None or value <= self._begin(level):
            self._usual.add(time_s, value)

    @property
    def _level(self) -> float | None:
        known = self._usual.level
        return self._from_start if known is None else known

    def _limit(self, level: float) -> float:
        there = self._there.level
        if there is not None:
            return max(self._keep(level), math.sqrt(level * there))
        return self._keep(level) if self._departed else self._begin(level)

    def forget(self) -> None:
        """What comes next has its own usual level."""
        self._usual.forget()
        self._there.forget()
        self._departed = False
