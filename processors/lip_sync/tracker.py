"""From estimates of windows to what is said of the stream: offsets that others bear out, drift, and steps."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from processors.lip_sync.estimator import Estimate

__all__ = ["Drift", "Reading", "Step", "Tracker"]

_POSSIBLE = 0.15  # confidence of an estimate that counts where another one says the same
_SAME_S = 0.04
_APART_S = 1.0  # windows that overlap more say the same of themselves
_RECENT_S = 5.0
_MAJORITY = 0.5  # more of the windows of that time, the sure and the unsure, must say the same
_STEP_S = 0.06  # what is less is told by the offset and the drift
_STEP_READINGS = 3
_LEVEL = 5  # readings before a step of which the median is the level
_DRIFT_KEPT_S = 600.0
_DRIFT_LEAST_S = 60.0
_DRIFT_LEAST_READINGS = 20
_NINE_OF_TEN = 1.645  # standard deviations


@dataclass(frozen=True, slots=True)
class Reading:
    """An offset at a time: the middle of the window."""

    time_s: float
    offset_s: float
    error_s: float
    confidence: float


@dataclass(frozen=True, slots=True)
class Drift:
    """How fast the offset moves, ms a minute, and half the interval that holds the truth in nine of ten."""

    ms_per_min: float
    error_ms_per_min: float


@dataclass(frozen=True, slots=True)
class Step:
    """The offset is another since `time_s`, by `step_s`."""

    time_s: float
    step_s: float


class Tracker:
    """Follows the offset.

    An estimate is told where it is sure, or another says the same of a window at least a second away; and more than
    half of the windows of the last seconds agree.

    :param least_confidence: from which an estimate is sure by itself.
    :param window_s: how long windows are.
    """

    def __init__(self, least_confidence: float, window_s: float) -> None:
        self._least_confidence, self._window_s = least_confidence, window_s
        self.forget()

    def forget(self) -> None:
        """Begin anew."""
        self._recent: deque[Reading] = deque()
        self._accepted: deque[Reading] = deque()
        self._elsewhere: list[Reading] = []
        self._step: Step | None = None

    def shift(self, step_s: float) -> None:
        """All sound so far belongs so much later, and was so much later than was said."""
        self._recent = deque(replace(each, offset_s=each.offset_s + step_s) for each in self._recent)
        self._accepted = deque(replace(each, offset_s=each.offset_s + step_s) for each in self._accepted)
        self._elsewhere = [replace(each, offset_s=each.offset_s + step_s) for each in self._elsewhere]

    def add(self, time_s: float, found: Estimate) -> Reading | None:
        """Take the estimate of a window with this middle; the reading, or `None` where it is not borne out."""
        reading = Reading(time_s, found.offset_s, found.error_s, found.confidence)
        while self._recent and time_s - self._recent[0].time_s > _RECENT_S:
            self._recent.popleft()
        self._recent.append(reading)
        if not self._is_possible(reading):
            return None
        self._look_for_step(reading)
        if not self._is_borne_out(reading):
            return None
        self._accepted.append(reading)
        while time_s - self._accepted[0].time_s > _DRIFT_KEPT_S:
            self._accepted.popleft()
        return reading

    def _is_possible(self, reading: Reading) -> bool:
        return reading.confidence >= min(_POSSIBLE, self._least_confidence)

    def _is_borne_out(self, reading: Reading) -> bool:
        same = [each for each in self._recent if _agree(each, reading)]
        if len(same) <= _MAJORITY * len(self._recent):
            return False
        apart = (each for each in same if reading.time_s - each.time_s >= _APART_S)
        return reading.confidence >= self._least_confidence or any(map(self._is_possible, apart))

    def _look_for_step(self, reading: Reading) -> None:
        """A step is where the last readings agree with each other and not with those before them."""
        before = list(self._accepted)[-_LEVEL:]
        if len(before) < _LEVEL:
            return
        level_s = float(np.median([each.offset_s for each in before]))
        if abs(reading.offset_s - level_s) < _STEP_S:
            self._elsewhere = []
            return
        self._elsewhere = [*(each for each in self._elsewhere if _agree(each, reading)), reading]
        since = self._elsewhere
        if len(since) < _STEP_READINGS or since[-1].time_s - since[0].time_s < _APART_S:
            return
        offset_s = float(np.median([each.offset_s for each in since]))
        begun_s = (max(each.time_s for each in before) + since[0].time_s) / 2
        self._step = Step(begun_s, offset_s - level_s)
        self._accepted, self._elsewhere = deque(since), []
        self._recent = deque(each for each in self._recent if each.time_s >= since[0].time_s)

    def take_step(self) -> Step | None:
        """A step that was found and not yet taken."""
        step, self._step = self._step, None
        return step

    def drift(self) -> Drift | None:
        """Since the last step, of the last ten minutes; `None` before a minute of it."""
        readings = self._accepted
        if len(readings) < _DRIFT_LEAST_READINGS or readings[-1].time_s - readings[0].time_s < _DRIFT_LEAST_S:
            return None
        return _line(readings, self._window_s)


def _agree(one: Reading, other: Reading) -> bool:
    return abs(one.offset_s - other.offset_s) <= _SAME_S


def _line(readings: Sequence[Reading], window_s: float) -> Drift:
    """Least squares, again without what is far off; windows that overlap count as one."""
    times_s, offsets_s = (np.array([getattr(each, name) for each in readings]) for name in ("time_s", "offset_s"))
    kept = np.ones(len(times_s), bool)
    for _ in range(2):
        slope, height = np.polyfit(times_s[kept], offsets_s[kept], 1)
        off_s = np.abs(offsets_s - (slope * times_s + height))
        kept = off_s <= max(4 * float(np.median(off_s)), 0.005)
    deviation = float(np.sqrt(np.mean(off_s[kept] ** 2)))
    between_s = max(float(times_s[-1] - times_s[0]) / (len(times_s) - 1), 1e-3)
    alike = max(window_s / between_s, 1.0)
    error = _NINE_OF_TEN * deviation * np.sqrt(alike / kept.sum()) / float(times_s[kept].std())
    return Drift(60_000 * float(slope), 60_000 * float(error))
