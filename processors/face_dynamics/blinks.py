"""Blinks, by how far the lids close against what is usual for these eyes."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from dataclasses import dataclass

import numpy as np

__all__ = ["Baseline", "Blink", "BlinkCounter", "BlinkDetector"]

_BASELINE_S, _BASELINE_LEAST_S, _BASELINE_SHARE = 10.0, 1.0, 0.9
_BEGINS, _ENDS = 0.4, 0.3
"""Closures between which nothing changes: lids tremble, and a smile narrows the eyes by up to a quarter."""
_SHORTEST_S, _LONGEST_S = 0.03, 0.6  # beyond, eyes are shut, and that is no blink
_FARTHEST_S = 0.25  # between two pictures of one blink
_RATE_S, _RATE_LEAST_S = 60.0, 10.0


@dataclass(frozen=True, slots=True)
class Blink:
    """Lids that closed and opened again.

    :ivar start_s: when they were a third closed, between two pictures; `end_s` when they were so again.
    :ivar depth_left: how far the subject's left eye closed, 0..1; `depth_right` the right one; `None` for one that was
        turned away.
    """

    start_s: float
    end_s: float
    depth_left: float | None
    depth_right: float | None

    @property
    def duration_s(self) -> float:
        """Its length."""
        return self.end_s - self.start_s


class Baseline:
    """How open an eye is when it is open: the 90th percentile of the last ten seconds."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, float]] = deque()
        self._in_order: list[float] = []

    def closure(self, time_s: float, openness: float) -> float | None:
        """How far the eye is closed, 0 (as open as it usually is) to 1; `None` in the first second."""
        self._seen.append((time_s, openness))
        insort(self._in_order, openness)
        while time_s - self._seen[0][0] > _BASELINE_S:
            _, old = self._seen.popleft()
            del self._in_order[bisect_left(self._in_order, old)]
        if time_s - self._seen[0][0] < _BASELINE_LEAST_S:
            return None
        usual = self._in_order[round(_BASELINE_SHARE * (len(self._in_order) - 1))]
        return min(max(1 - openness / usual, 0.0), 1.0) if usual > 0 else None


class BlinkDetector:
    """Finds blinks in the closures of both eyes, or of the one that is seen; an eye that winks alone blinks too.

    :ivar under_way: the lids are closing, closed, or opening.
    """

    def __init__(self) -> None:
        self.under_way = False
        self._before: tuple[float, float] | None = None  # time and closure of the picture before
        self._start_s = 0.0
        self._depths: tuple[float | None, float | None] = (None, None)

    def add(self, time_s: float, left: float | None, right: float | None) -> Blink | None:
        """Take the closures of a picture, 0..1, one of them at least; the blink that it ends, if it does."""
        closure = max(each for each in (left, right) if each is not None)
        before, self._before = self._before, (time_s, closure)
        if before is None or not 0 < time_s - before[0] <= _FARTHEST_S:
            self.under_way = False  # what went on meanwhile is not known
            return None
        if self.under_way:
            self._depths = _deeper(self._depths[0], left), _deeper(self._depths[1], right)
            return self._ended(before) if closure < _ENDS else None
        if closure > _BEGINS:
            self.under_way, self._depths = True, (left, right)
            self._start_s = _crossing_s(before, self._before)
        return None

    def _ended(self, before: tuple[float, float]) -> Blink | None:
        self.under_way = False
        assert self._before is not None
        blink = Blink(self._start_s, _crossing_s(before, self._before), *self._depths)
        return blink if _SHORTEST_S <= blink.duration_s <= _LONGEST_S else None


def _deeper(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else max(one, other)


def _crossing_s(before: tuple[float, float], after: tuple[float, float]) -> float:
    """When the closure was a third, on the straight line between two pictures; the first of them where it is not."""
    (time_s, closure), (later_s, later) = before, after
    share = (_ENDS - closure) / (later - closure) if later != closure else 0.0
    return time_s + float(np.clip(share, 0, 1)) * (later_s - time_s)


class BlinkCounter:
    """How often the eyes blink, over the last minute in which they were seen."""

    def __init__(self) -> None:
        self._blinks: deque[float] = deque()  # on the time that eyes were seen
        self._seen_s = 0.0
        self._last_s: float | None = None

    @property
    def since_last_s(self) -> float:
        """For how long eyes were seen without a blink."""
        return self._seen_s - (self._blinks[-1] if self._blinks else 0.0)

    @property
    def per_minute(self) -> float | None:
        """Blinks a minute; `None` in the first ten seconds."""
        if self._seen_s < _RATE_LEAST_S:
            return None
        recent = sum(at_s > self._seen_s - _RATE_S for at_s in self._blinks)
        return 60 * recent / min(self._seen_s, _RATE_S)

    @property
    def seen_s(self) -> float:
        """For how long eyes were seen at all."""
        return self._seen_s

    def add(self, time_s: float, blink: Blink | None) -> None:
        """Take a picture with eyes, and the blink that it ended."""
        if self._last_s is not None:
            self._seen_s += min(max(time_s - self._last_s, 0.0), _FARTHEST_S)
        self._last_s = time_s
        if blink is not None:
            self._blinks.append(self._seen_s)
        while len(self._blinks) > 1 and self._blinks[0] < self._seen_s - _RATE_S:
            self._blinks.popleft()
