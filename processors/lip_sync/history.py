"""The last seconds of sound and mouth, as they come, and windows of them on one grid."""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from processors.lip_sync.estimator import BESIDE_S, Stretch
from processors.lip_sync.features import BANDS, DISTANCES, HOP_S, Floats, Mask, log_mel, pchip
from processors.speech import JUMP_S, RATE_HZ
from vision import Sound

__all__ = ["History", "Window"]

_HOP = round(HOP_S * RATE_HZ)
_NEEDED = 401  # samples, for one moment
_MIDDLE = 200.5
_AT_ONCE_S = 1.0
_NEAR_S = 0.1  # a mouth that was seen no farther away is known here: half the time between pictures at 5 fps


@dataclass(frozen=True, slots=True)
class Window:
    """Some seconds of sound and mouth.

    :ivar stretch: these and what is beside them.
    :ivar part: which moments of the stretch are the window.
    :ivar seen: share of the window with a mouth.
    :ivar heard: share of the window whose samples came.
    :ivar movement: standard deviation of the inner lips' gap, in distances of the eyes.
    """

    stretch: Stretch
    part: slice
    seen: float
    heard: float
    movement: float

    @property
    def start_s(self) -> float:
        """Media time of its first moment."""
        return float(self.stretch.times_s[self.part.start])

    @property
    def end_s(self) -> float:
        """Media time of its last moment."""
        return float(self.stretch.times_s[self.part.stop - 1])

    @property
    def middle_s(self) -> float:
        """Media time of its middle."""
        return (self.start_s + self.end_s) / 2


class History:
    """What was heard and seen. The grid is the sound's own: a moment every 160 samples, wherever they belong."""

    def __init__(self) -> None:
        self._sound = _Sound()
        self._pictures_s: list[float] = []
        self._distances: list[Floats | None] = []

    @property
    def known_s(self) -> float:
        """Until when both are known; `-inf` while one of them is not."""
        if not self._pictures_s:
            return -math.inf
        return min(self._pictures_s[-1], self._sound.end_s)

    @property
    def begun_s(self) -> float:
        """Time of the first picture that is kept; `inf` without one."""
        return self._pictures_s[0] if self._pictures_s else math.inf

    def hear(self, sound: Sound) -> None:
        """Take the sound of a frame."""
        if not sound.samples_16k.size:
            return
        if not self._sound.goes_on_at(sound.start_16k_s):
            self._sound = _Sound()
        self._sound.add(sound)

    def see(self, time_s: float, distances: Floats | None) -> None:
        """Take a picture's mouth, `(7,)`; `None`: no face. One that is not later than the last one is left out."""
        if self._pictures_s and time_s <= self._pictures_s[-1]:
            return
        self._pictures_s.append(time_s)
        self._distances.append(distances)

    def shift(self, step_s: float) -> None:
        """All sound so far belongs so much later."""
        self._sound.shift(step_s)

    def forget_before(self, time_s: float) -> None:
        """Drop what is older, a second of it at once."""
        if self._pictures_s and self._pictures_s[0] < time_s - _AT_ONCE_S:
            first = bisect_left(self._pictures_s, time_s)
            del self._pictures_s[:first], self._distances[:first]
        if self._sound.begin_s < time_s - _AT_ONCE_S:
            self._sound.forget_before(time_s)

    def mouths(self, start_s: float, end_s: float) -> tuple[Floats, Floats]:
        """Times `(N,)` and distances `(N, 7)` of the mouths seen from then until then."""
        first, last = (bisect_left(self._pictures_s, each) for each in (start_s, end_s))
        seen = [i for i in range(first, last) if self._distances[i] is not None]
        distances = [each for i in seen if (each := self._distances[i]) is not None]
        return np.array([self._pictures_s[i] for i in seen]), np.array(distances).reshape(-1, DISTANCES)

    def window(self, start_s: float, end_s: float) -> Window | None:
        """From then until then; `None` where not all of it is known, or no mouth was seen."""
        times_s, mel, came = self._sound.between(start_s - BESIDE_S, end_s + BESIDE_S)
        first, last = (int(each) for each in np.searchsorted(times_s, (start_s, end_s)))
        if last - first < math.floor((end_s - start_s) / HOP_S) - 1:
            return None
        pictures_s, distances = self.mouths(times_s[0] - _NEAR_S, times_s[-1] + _NEAR_S)
        if len(pictures_s) < 2 or not came[first:last].any():
            return None
        mouth = pchip(pictures_s, distances, times_s)
        part = slice(first, last)
        return Window(
            stretch=Stretch(times_s, mel, came, mouth),
            part=part,
            seen=float((_away_s(pictures_s, times_s[part]) <= _NEAR_S).mean()),
            heard=float(came[part].mean()),
            movement=float(mouth[part, 0].std()),
        )


def _away_s(pictures_s: Floats, times_s: Floats) -> Floats:
    """How far the nearest picture is from each time."""
    behind = np.clip(np.searchsorted(pictures_s, times_s), 1, len(pictures_s) - 1)
    return np.minimum(np.abs(times_s - pictures_s[behind - 1]), np.abs(pictures_s[behind] - times_s))


class _Sound:
    """Bands of sound that has no gaps, worked out when they are asked for."""

    def __init__(self) -> None:
        self._number, self._size = 0, 0  # of the first sample that is kept, and how many are
        self._pieces: list[NDArray[np.float32]] = []
        self._anchors: list[tuple[int, float]] = []  # numbers of samples, and where these belong
        self._missing: list[tuple[float, float]] = []
        self._times_s: Floats = np.zeros(0)
        self._mel: Floats = np.zeros((0, BANDS))
        self._came: Mask = np.zeros(0, bool)

    @property
    def end_s(self) -> float:
        """Until when bands can be worked out; `-inf` where nothing was heard."""
        return self._end_s - (_NEEDED - _MIDDLE) / RATE_HZ

    @property
    def _end_s(self) -> float:
        if not self._anchors:
            return -math.inf
        number, start_s = self._anchors[-1]
        return start_s + (self._number + self._size - number) / RATE_HZ

    @property
    def begin_s(self) -> float:
        """Where what is kept begins; `inf` where nothing is."""
        if len(self._times_s):
            return float(self._times_s[0])
        return self._anchors[0][1] if self._anchors else math.inf

    def goes_on_at(self, start_s: float) -> bool:
        """Whether samples from there on continue these."""
        return not self._anchors or abs(start_s - self._end_s) <= JUMP_S

    def add(self, sound: Sound) -> None:
        """Take samples."""
        self._anchors.append((self._number + self._size, sound.start_16k_s))
        self._pieces.append(sound.samples_16k)
        self._missing.extend(
            (sound.start_s + begin / sound.rate_hz, sound.start_s + (begin + count) / sound.rate_hz)
            for begin, count in sound.missing
        )
        self._size += sound.samples_16k.size

    def shift(self, step_s: float) -> None:
        """All of it belongs so much later."""
        self._anchors = [(number, start_s + step_s) for number, start_s in self._anchors]
        self._missing = [(begin_s + step_s, end_s + step_s) for begin_s, end_s in self._missing]
        self._times_s = self._times_s + step_s

    def forget_before(self, time_s: float) -> None:
        """Drop older sound."""
        self._work_out()
        first = int(np.searchsorted(self._times_s, time_s))
        self._times_s, self._mel, self._came = self._times_s[first:], self._mel[first:], self._came[first:]
        self._missing = [(begin_s, end_s) for begin_s, end_s in self._missing if end_s >= time_s]

    def between(self, start_s: float, end_s: float) -> tuple[Floats, Floats, Mask]:
        """Times, bands, and where the samples came."""
        self._work_out()
        first, last = np.searchsorted(self._times_s, (start_s, end_s))
        return self._times_s[first:last], self._mel[first:last], self._came[first:last]

    def _work_out(self) -> None:
        count = max((self._size - _NEEDED) // _HOP + 1, 0)
        if not count:
            return
        samples = np.concatenate(self._pieces)
        middles = self._number + _MIDDLE + _HOP * np.arange(count)
        numbers, starts_s = np.array(self._anchors).T
        piece = np.maximum(np.searchsorted(numbers, middles, side="right") - 1, 0)
        times_s = starts_s[piece] + (middles - numbers[piece]) / RATE_HZ
        self._times_s = np.concatenate([self._times_s, times_s])
        self._mel = np.concatenate([self._mel, log_mel(samples, count)])
        self._came = np.concatenate([self._came, self._came_at(times_s)])
        taken = count * _HOP
        self._number, self._size, self._pieces = self._number + taken, self._size - taken, [samples[taken:]]
        begun = int(np.searchsorted(numbers, self._number, side="right"))
        self._anchors = self._anchors[max(begun - 1, 0) :]

    def _came_at(self, times_s: Floats) -> Mask:
        came = np.ones(len(times_s), bool)
        for begin_s, end_s in self._missing:
            came[(times_s >= begin_s) & (times_s < end_s)] = False
        return came
