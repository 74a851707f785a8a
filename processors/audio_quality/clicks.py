"""Clicks: a jump between two samples that nothing around it resembles."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from processors.audio_quality.levels import FULL_SCALE, STEP

__all__ = ["Click", "Clicks"]

Samples = NDArray[np.float32]

_SIDE_S, _CORE_S = 0.02, 0.002  # what is compared with, on each side; what a codec makes of a click
_FAR_S = 0.025  # by then Opus has come to digital silence
_FLOOR = 1e-4


class Click(NamedTuple):
    """The sharpest jump of a stretch of sound.

    :ivar jump: second difference of the samples there.
    :ivar ratio: over the RMS of the second difference within 20 ms before or behind it, whichever is greater.
    """

    jump: float
    ratio: float


class Clicks:
    """Compares second differences of samples with those around them.

    A plosive is quiet before and loud behind, glottal pulses are alike; a click stands alone. Where sound is clipped
    within 50 ms, or digitally silent there, the jump belongs to that. It is told 50 ms later, when what follows is
    known.
    """

    AROUND_S = 0.05
    """Where clipping and cuts are looked for, and how long after a click it is told."""

    def __init__(self, rate_hz: int) -> None:
        self._side, self._core = round(_SIDE_S * rate_hz), max(1, round(_CORE_S * rate_hz))
        self._around, self._far = round(self.AROUND_S * rate_hz), round(_FAR_S * rate_hz)
        self._tail = np.zeros(0, np.float32)

    def break_off(self) -> None:
        """What comes next does not continue what came before."""
        self._tail = np.zeros(0, np.float32)

    def add(self, samples: Samples, least_jump: float) -> Click:
        """Take `(N,) float32` mono; returns the click of the greatest ratio among the jumps of `least_jump` or more."""
        joined = np.concatenate([self._tail, samples])
        around = self._around
        count = joined.size - 2 - 2 * around
        if count <= 0:
            self._tail = joined
            return Click(0.0, 0.0)
        self._tail = joined[count:]
        jumps = np.abs(np.diff(joined, 2))
        middle = jumps[around : around + count]
        at = np.flatnonzero(middle >= least_jump) + around
        at = at[self._alone(joined, at)] if at.size else at
        if not at.size:
            return Click(float(middle.max()), 0.0)
        ratios = jumps[at] / self._beside(jumps, at)
        best = int(ratios.argmax())
        return Click(float(jumps[at[best]]), float(ratios[best]))

    def _beside(self, jumps: Samples, at: NDArray[np.int64]) -> NDArray[np.float64]:
        """RMS of the jumps on the side that has more."""
        side, core = self._side, self._core
        sums = _sums(np.square(jumps, dtype=np.float64))
        before, behind = sums[at - core] - sums[at - side], sums[at + side] - sums[at + core]
        return np.maximum(np.sqrt(np.maximum(before, behind) / (side - core)), _FLOOR)

    def _alone(self, samples: Samples, at: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether no other fault is near."""
        around, far = self._around, self._far
        clipped = _sums(np.abs(samples) >= FULL_SCALE)
        moves = _sums(np.abs(np.diff(samples)) > STEP)
        before, behind = moves[at - far] - moves[at - around], moves[at + around] - moves[at + far]
        return np.asarray((clipped[at + around] == clipped[at - around]) & (before > 0) & (behind > 0))


def _sums(values: NDArray[np.float64] | NDArray[np.bool_]) -> NDArray[np.float64]:
    """Sums of the first 0, 1, 2... values."""
    return np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])
