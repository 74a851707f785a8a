"""From readings of windows to what is said of the stream: drift, and steps."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from processors.lip_sync.gate import Reading

__all__ = ["Drift", "Step", "Tracker"]

_SAME_S = 0.04  # readings of one offset are no farther apart
_STEP_S = 0.06  # what is less is told by the offset and the drift
_STEP_READINGS = 3
_LEVEL = 5  # readings before a step of which the median is the level
_SLOPE = 10  # readings of which the slope is taken
_SLOPES = 0.5  # of their deviation that is left where there is one
_DRIFT_KEPT_S = 600.0
_DRIFT_LEAST_S = 60.0
_DRIFT_LEAST_READINGS = 20
_NINE_OF_TEN = 1.645  # standard deviations


@dataclass(frozen=True, slots=True)
class Drift:
    """How fast the offset moves, ms a minute, and half the interval that holds the truth in nine of ten."""

    ms_per_min: float
    error_ms_per_min: float


@dataclass(frozen=True, slots=True)
class Step:
    """The offset is another since about `time_s`.

    :ivar before_s: what it was until then, and by how much it grew in a second, in seconds (`slope`).
    :ivar after_s: what it is since then.
    :ivar readings: that say so, believed or not at first.
    """

    time_s: float
    before_s: float
    slope: float
    after_s: float
    readings: tuple[Reading, ...]

    @property
    def step_s(self) -> float:
        """By how much it has changed."""
        return self.after_s - self.before_s


class Tracker:
    """Follows the offset, by readings that are believed; the others only tell since when it is another.

    :param window_s: how long their windows are.
    """

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._readings: deque[Reading] = deque()  # since the last step
        self._elsewhere: list[Reading] = []  # the last ones, believed or not, where they may be a step
        self._step: Step | None = None

    def shift(self, step_s: float) -> None:
        """All sound so far belongs so much later, and was so much later than was said."""
        self._readings = deque(replace(each, offset_s=each.offset_s + step_s) for each in self._readings)
        self._elsewhere = [replace(each, offset_s=each.offset_s + step_s) for each in self._elsewhere]

    def add(self, reading: Reading) -> None:
        """Take the next one."""
        level_s = self._level_s()
        if level_s is not None and abs(reading.offset_s - level_s) >= _STEP_S:
            self._elsewhere = [*(each for each in self._elsewhere if _agree(each, reading)), reading]
            self._look_for_step()
        elif reading.is_believed:
            self._elsewhere = []
            self._readings.append(reading)
        while self._readings and reading.time_s - self._readings[0].time_s > _DRIFT_KEPT_S:
            self._readings.popleft()

    def _level_s(self) -> float | None:
        if len(self._readings) < _LEVEL:
            return None
        return float(np.median([each.offset_s for each in list(self._readings)[-_LEVEL:]]))

    def _look_for_step(self) -> None:
        """A step is where several readings agree with each other, and not with those before; the last is believed."""
        since = self._elsewhere
        if len(since) < _STEP_READINGS or not since[-1].is_believed:
            return
        offset_s = float(np.median([each.offset_s for each in since]))
        time_s = (self._readings[-1].time_s + since[0].time_s) / 2
        self._step = Step(time_s, *self._before(time_s), offset_s, tuple(since))
        self._readings, self._elsewhere = deque(since), []

    def _before(self, time_s: float) -> tuple[float, float]:
        """What the offset would be, and its slope, if it had gone on as in the windows that do not reach so far."""
        clear = [each for each in self._readings if each.time_s < time_s - self._window_s / 2][-_SLOPE:]
        if len(clear) < _LEVEL:
            clear = list(self._readings)[-_LEVEL:]
        times_s, offsets_s = np.array([(each.time_s, each.offset_s) for each in clear]).T
        level_s = float(np.median(offsets_s[-_LEVEL:]))
        slope, height_s = np.polyfit(times_s - time_s, offsets_s, 1)
        off_s = offsets_s - (slope * (times_s - time_s) + height_s)
        if off_s.std() > _SLOPES * offsets_s.std():
            return level_s, 0.0
        return float(height_s), float(slope)

    def take_step(self) -> Step | None:
        """A step that was found and not yet taken."""
        step, self._step = self._step, None
        return step

    def drift(self) -> Drift | None:
        """Since the last step, of the last ten minutes; `None` before a minute of it."""
        readings = self._readings
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
