"""Silence: how long no sample has exceeded a threshold; and digital silence where a stream has a room tone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from processors.audio_quality.levels import STEP

__all__ = ["LEAST_S", "QUIET", "Muting", "QuietRun"]

Samples = NDArray[np.float32]

LEAST_S = 0.01
"""Shorter runs are between the zero crossings of a voice, or at its crests."""

QUIET = 10 ** (-50 / 20)
"""No voice stays below this."""


class QuietRun:
    """The run of samples below a threshold at the end of what was heard, as libavfilter's `silencedetect` counts it.

    :ivar longest_ended_s: of the runs that ended in the sound that was taken last; 0: none did.
    """

    def __init__(self, threshold: float, rate_hz: int) -> None:
        self.longest_ended_s = 0.0
        self._threshold, self._rate_hz = threshold, rate_hz
        self._length = 0

    @property
    def length_s(self) -> float:
        """How long it is so far."""
        return self._length / self._rate_hz

    def add(self, samples: Samples) -> None:
        """Take `(N,) float32` mono."""
        loud = np.flatnonzero(np.abs(samples) >= self._threshold)
        self.longest_ended_s = 0.0
        if not loud.size:
            self._length += samples.size
            return
        between = int(np.diff(loud).max(initial=1)) - 1
        self.longest_ended_s = max(self._length + int(loud[0]), between) / self._rate_hz
        self._length = samples.size - 1 - int(loud[-1])


class Muting:
    """Digital silence in a stream whose own pauses are not digital.

    An avatar may send zeros while it listens; that is its way, and no fault. So is what begins with 0.5 s of zeros.
    Where pauses have a room tone (0.25 s that is quiet and no digital silence), zeros are a fault: the sound was cut.

    :ivar muted: the sound is cut now, at its end.
    :ivar hole_s: the longest cut that has ended in the sound that was taken last, shorter than `LONG_S`; 0: none.
    """

    LONG_S = 0.5
    """A shorter cut is a dropout, a longer one silence."""
    _SHORT_S = 0.02
    _TONE_S = 0.25

    def __init__(self, rate_hz: int, expected: bool | None) -> None:
        """:param expected: whether the stream is known to send digital silence in its pauses; `None`: find out."""
        self.muted = False
        self.hole_s = 0.0
        self._rate_hz = rate_hz
        self._steps, self._quiet = QuietRun(STEP, rate_hz), QuietRun(QUIET, rate_hz)
        self._expected = expected
        self._last: float | None = None
        self._heard_s = self._tone_s = 0.0

    def add(self, samples: Samples) -> None:
        """Take `(N,) float32` mono, at least one."""
        steps = self._steps
        steps.add(np.diff(samples, prepend=samples[0] if self._last is None else self._last))
        self._last = float(samples[-1])
        faulty, ended_s = self._expected is False, steps.longest_ended_s
        self.hole_s = ended_s if faulty and self._SHORT_S <= ended_s < self.LONG_S else 0.0
        begun_anew = self.muted and ended_s > 0
        self.muted = faulty and not begun_anew and steps.length_s >= LEAST_S
        if self._expected is None:
            self._learn(samples)

    def _learn(self, samples: Samples) -> None:
        """What the stream's own pauses are like."""
        self._quiet.add(samples)
        heard_s = samples.size / self._rate_hz
        self._heard_s += heard_s
        quiet, digital = self._quiet.length_s >= heard_s, self._steps.length_s >= LEAST_S
        self._tone_s = self._tone_s + heard_s if quiet and not digital else 0.0
        if self._tone_s >= self._TONE_S:
            self._expected = False
        elif self._heard_s >= self.LONG_S and self._steps.length_s >= self._heard_s:
            self._expected = True
