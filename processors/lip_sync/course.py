"""What the offset was some seconds ago, and whether it exceeded limits: judged with what came after it."""

from __future__ import annotations

import math
import statistics
from bisect import bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass, replace

from processors.lip_sync.limits import Limits

__all__ = ["COURSE_DELAY_S", "Course", "Here", "Known", "Verdict"]

COURSE_DELAY_S = 5.6
"""How long ago was what a verdict tells: until then a step is known, where it was, and what the offset is behind it. A
whole number of pictures at 25 and at 30 a second."""

_NEAR_S = 1.5  # offsets of windows that are no farther away are of a moment
_FAR_S = 4.0  # where there is none of these, the nearest one holds, but none that is farther away
_FEWEST = 3  # offsets that must be sure
_KEPT_S = 20.0


@dataclass(frozen=True, slots=True)
class Known:
    """What a window said of its middle: how late the sound was, and half the interval around that."""

    time_s: float
    offset_ms: float
    error_ms: float


@dataclass(frozen=True, slots=True)
class Here:
    """What is known of a moment.

    :ivar since: what was told of it and what came later, until it changed at once.
    """

    time_s: float
    offset_ms: float
    since: Sequence[Known]


class Course:
    """The offsets that were told, and the moments when it changed at once.

    :param window_s: how long the windows of the offsets are.
    """

    def __init__(self, window_s: float) -> None:
        self._half_s = window_s / 2
        self._known: list[Known] = []
        self._changes_s: list[float] = []

    def add(self, known: Known) -> None:
        """Take an offset; most come in order."""
        insort(self._known, known, key=lambda each: each.time_s)
        while self._known[0].time_s < self._known[-1].time_s - _KEPT_S:
            del self._known[0]
        self._changes_s = [each for each in self._changes_s if each >= known.time_s - _KEPT_S]

    def change(self, time_s: float) -> None:
        """Since then, it is another."""
        insort(self._changes_s, time_s)

    def shift(self, step_s: float) -> None:
        """All sound so far belongs so much later, and was so much later than was said."""
        self._known = [replace(each, offset_ms=each.offset_ms + 1000 * step_s) for each in self._known]
        self._changes_s = [each + step_s for each in self._changes_s]

    def at(self, time_s: float) -> Here | None:
        """What is known of a moment; `None`: nothing near it."""
        around = self._around(time_s)
        near = [each for each in around if abs(each.time_s - time_s) <= _NEAR_S]
        if not near:
            nearest = min(around, key=lambda each: abs(each.time_s - time_s), default=None)
            near = [] if nearest is None or abs(nearest.time_s - time_s) > _FAR_S else [nearest]
        if not near:
            return None
        offset_ms = statistics.median([each.offset_ms for each in near])
        return Here(time_s, offset_ms, [each for each in around if each.time_s >= time_s - _NEAR_S])

    def _around(self, time_s: float) -> Sequence[Known]:
        """What was told between the changes before and behind a moment, by windows that hold neither."""
        place = bisect_right(self._changes_s, time_s)
        begin_s = self._changes_s[place - 1] if place else -math.inf
        end_s = self._changes_s[place] if place < len(self._changes_s) else math.inf
        return [each for each in self._known if begin_s + self._half_s <= each.time_s <= end_s - self._half_s]


class Verdict:
    """Whether the offset exceeds limits: from where it does, if it then exceeds them for sure, until it no longer
    does."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._exceeds = False

    def of(self, here: Here | None) -> bool | None:
        """Of the next moment; `None`: nothing is known of it, and what was before goes on."""
        if here is None:
            return None
        exceeds = self._excess_ms(here.offset_ms) > 0
        self._exceeds = exceeds and (self._exceeds or self._will(here))
        return self._exceeds

    def _will(self, here: Here) -> bool:
        """Whether the offset exceeds the limits for sure before it is within them again."""
        sure = 0
        for each in here.since:
            excess_ms = self._excess_ms(each.offset_ms)
            if excess_ms <= 0 and each.time_s > here.time_s:
                return False
            sure += excess_ms > each.error_ms
            if sure >= _FEWEST:
                return True
        return False

    def _excess_ms(self, offset_ms: float) -> float:
        return self._limits.excess_ms(offset_ms)
