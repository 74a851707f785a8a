"""Which picture of the reference a received one is: by its marker, by its time, or by what it looks like."""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Iterable
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from processors.full_reference.marker import read_marker
from processors.full_reference.reference import Reference
from vision import Frame

__all__ = ["ByLooks", "ByMarker", "ByTime", "Matcher", "difference"]

_AHEAD_S = 10.0  # how much of the reference is looked through at once for a marker
_UNIQUE = 0.95  # the best must differ by less than so much of the second best
_ALIKE = 10.0  # code values: one that differs more on the average is not taken for the same, however unique
_AS_ALIKE = 2.0  # nor one that differs by more than so many times what is usual
_FLOOR = 0.5  # code values; less is rounding
_USUAL = 25  # sure ones that say what is usual
_REACH_S = 0.5  # around where time says that it is
_LOST_S = 2.0  # without a unique one: then it is looked for farther away
_TRUSTED_S = 10.0  # and after this, time is not believed any more


class Matcher(Protocol):
    """A way to match."""

    def match(self, frame: Frame) -> int | None:
        """Number of the picture of the reference that a frame shows; `None` where that is not known."""

    def reset(self) -> None:
        """What comes does not continue what came."""


class ByMarker:
    """By the number that is in the picture (`marker`)."""

    def __init__(self, reference: Reference) -> None:
        self._reference = reference

    def match(self, frame: Frame) -> int | None:
        """Look the number up; the reference is read on until it has been seen, to the end if need be."""
        marker = read_marker(frame.picture.y)
        if marker is None:
            return None
        found = self._reference.marked(marker)
        while found is None and self._reference.scouted < len(self._reference):
            before = self._reference.scouted
            self._reference.scout(before + max(1, round(_AHEAD_S * self._reference.rate)))
            self._reference.forget(self._reference.scouted)
            found = self._reference.marked(marker)
            if self._reference.scouted == before:
                return None
        return found

    def reset(self) -> None:
        """A marker needs no memory."""


class ByTime:
    """By media time: the run's zero is at a time of the reference."""

    def __init__(self, reference: Reference, start_s: float) -> None:
        self._reference, self._start_s = reference, start_s
        self._reach_s = 0.5 / float(reference.rate) + 0.001

    def match(self, frame: Frame) -> int | None:
        """The picture at the same time, within half a picture."""
        time_s = self._start_s + frame.time_s
        number = self._reference.nearest(time_s)
        return number if abs(self._reference.times_s[number] - time_s) <= self._reach_s else None

    def reset(self) -> None:
        """Media time goes on."""


class ByLooks:
    """By the least mean difference of luma, averaged over squares of an eighth of 720p, where it is a unique minimum.

    Once it is known how time relates to the reference, half a second around is looked at; where none is unique there
    (nothing moves, or the picture is spoilt), time alone decides.
    """

    def __init__(self, reference: Reference, search_s: float) -> None:
        self._reference, self._search_s = reference, search_s
        self._offset_s: float | None = None  # reference time less media time
        self._last: int | None = None
        self._sure_s = 0.0
        self._differences: deque[float] = deque(maxlen=_USUAL)
        reference.scout(len(reference.between(0, search_s)))

    def match(self, frame: Frame) -> int | None:
        """The picture that looks like it."""
        reference = self._reference
        if self._offset_s is None:
            return self._found(frame, reference.between(0, self._search_s))
        expected_s = frame.time_s + self._offset_s
        reach_s = _REACH_S if frame.time_s - self._sure_s <= _LOST_S else self._search_s
        found = self._found(frame, reference.between(expected_s - reach_s, expected_s + reach_s))
        reference.forget(reference.between(0, expected_s - self._search_s).stop)
        return self._by_time(frame.time_s, expected_s) if found is None else found

    def _by_time(self, time_s: float, expected_s: float) -> int | None:
        """Where time says it is, as long as that has been confirmed not long ago, and there is something."""
        reference = self._reference
        if time_s - self._sure_s > _TRUSTED_S or not -_REACH_S <= expected_s <= reference.times_s[-1] + _REACH_S:
            return None
        return reference.nearest(expected_s)

    def reset(self) -> None:
        """Time may relate otherwise; it is looked for around where it was."""
        self._sure_s = -math.inf
        self._differences.clear()

    def _found(self, frame: Frame, candidates: range) -> int | None:
        """The one of the candidates that is surely it: one at their edge is not, for those beyond may be more alike."""
        self._reference.scout(candidates.stop)
        least, number = self._unique(frame.picture.grid, candidates)
        if number in _edges(candidates, len(self._reference)):
            return None
        if number is not None and number != self._last:  # a picture that stays says nothing of time
            self._offset_s = self._reference.times_s[number] - frame.time_s
            self._last, self._sure_s = number, frame.time_s
            self._differences.append(least)
        return number

    def _unique(self, grid: NDArray[np.uint8], candidates: Iterable[int]) -> tuple[float, int | None]:
        """The least difference, and the candidate that has it, if no other one is nearly as alike."""
        grids = ((number, self._reference.grid(number)) for number in candidates)
        ordered = sorted((difference(grid, other), number) for number, other in grids if other is not None)
        if not ordered or ordered[0][0] > self._most_alike():
            return math.inf, None
        if len(ordered) > 1 and ordered[0][0] > _UNIQUE * ordered[1][0]:
            return math.inf, None
        return ordered[0]

    def _most_alike(self) -> float:
        """How much the same picture may differ."""
        if not self._differences:
            return _ALIKE
        return min(_ALIKE, _AS_ALIKE * max(statistics.median(self._differences), _FLOOR))


def _edges(candidates: range, count: int) -> set[int | None]:
    """The first and the last one, unless the reference begins or ends there."""
    return {number for number in (candidates[0], candidates[-1]) if 0 < number < count - 1} if candidates else set()


def difference(grid: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Mean absolute difference of two small versions, code values; of other proportions, they are brought together."""
    if grid.shape != other.shape:
        grid = np.asarray(cv2.resize(grid, other.shape[::-1], interpolation=cv2.INTER_AREA), np.uint8)
    return float(cv2.norm(grid, other, cv2.NORM_L1)) / other.size
