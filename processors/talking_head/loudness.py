"""How loud the sound is at a moment: RMS of 50 ms, every 50 ms, interpolated, as librosa and THEval have it."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from vision import Sound

__all__ = ["Loudness"]

_HOP_S = 0.05
_KEPT_S = 10.0  # of blocks; whoever asks does so within a second
_JUMP_S = 0.1  # sound that goes on elsewhere is not the sound from before


class Loudness:
    """RMS of blocks of 50 ms whose centres are 50 ms apart, the first one centred on the first sample.

    Before that sample, and behind the last one, are zeros. Blocks in which samples never arrived have none.
    """

    def __init__(self) -> None:
        self._rate_hz = 0
        self.end_s = 0.0
        """Where the sound ends that is known."""
        self.begin_s: float | None = None
        """Where it began, on the relation of sound to pictures that holds now; `None`: nothing was heard."""
        self._centres_s: deque[float] = deque()
        self._rms: deque[float] = deque()
        self._taken = 0  # samples of the block that is not full
        self._squares = 0.0
        self._hole = False

    def add(self, sound: Sound) -> None:
        """Take the sound of a frame."""
        if not sound.samples.size:
            return
        if self.begin_s is None or sound.rate_hz != self._rate_hz or abs(sound.start_s - self.end_s) > _JUMP_S:
            self._begin(sound)
        size = int(_HOP_S * sound.rate_hz)
        squares = np.square(sound.samples, dtype=np.float64)
        first = 0
        while first < squares.size:
            last = min(first + size - self._taken, squares.size)
            self._squares += float(squares[first:last].sum())
            self._hole |= any(start < last and start + count > first for start, count in sound.missing)
            self._taken += last - first
            if self._taken == size:
                # the middle of a block, of which this is the end
                self._finish(size, sound.start_s + (last - (size - size // 2)) / sound.rate_hz)
            first = last
        self.end_s = sound.start_s + sound.samples.size / sound.rate_hz

    def at(self, times_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """RMS, linear between the centres of blocks, if the sound ends here; `(N,)`; NaN where nothing was heard."""
        if self.begin_s is None:
            return np.full(times_s.shape, np.nan)
        size = int(_HOP_S * self._rate_hz)
        centre_s = self.end_s + (size // 2 - self._taken) / self._rate_hz
        centres_s, rms = [*self._centres_s, centre_s], [*self._rms, self._of_block(size)]
        outside = (times_s < self.begin_s - _JUMP_S) | (times_s > self.end_s + _JUMP_S)
        return np.where(outside, np.nan, np.interp(times_s, centres_s, rms))

    def shift(self, step_s: float) -> None:
        """All sound so far belongs so much later."""
        self._centres_s = deque(centre_s + step_s for centre_s in self._centres_s)
        self.end_s += step_s
        self.begin_s = None if self.begin_s is None else self.begin_s + step_s

    def _begin(self, sound: Sound) -> None:
        self._rate_hz, self.begin_s = sound.rate_hz, sound.start_s
        self._centres_s.clear()
        self._rms.clear()
        self._squares, self._hole = 0.0, False
        self._taken = int(_HOP_S * sound.rate_hz) // 2  # zeros before the first sample

    def _finish(self, size: int, centre_s: float) -> None:
        self._centres_s.append(centre_s)
        self._rms.append(self._of_block(size))
        self._squares, self._taken, self._hole = 0.0, 0, False
        while centre_s - self._centres_s[0] > _KEPT_S:
            self._centres_s.popleft()
            self._rms.popleft()

    def _of_block(self, size: int) -> float:
        return float("nan") if self._hole else float(np.sqrt(self._squares / size))
