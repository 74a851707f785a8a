"""Level over time: DC offset, noise floor and signal-to-noise ratio, from blocks of 20 ms."""

from __future__ import annotations

import math
from collections import deque

import numpy as np
from numpy.typing import NDArray

__all__ = ["FLOOR_DBFS", "FULL_SCALE", "STEP", "BlockLevels", "decibels"]

Samples = NDArray[np.float32]

FLOOR_DBFS = -120.0

FULL_SCALE = 0.95
"""From here on a sample counts as clipped: a codec rounds flat tops, and of a voice that was, Opus leaves few samples
at 1.0 and many above this."""

STEP = 2.5 / 32768
"""Of digital silence, no two samples in a row are farther apart: two steps of 16 bits. The samples may be far
from zero, for the high-pass filter of an Opus encoder lets an offset fade for 0.2 s where a voice was cut."""

_BLOCK_S = 0.02
_WINDOW = 500  # blocks: 10 s, in which everybody who speaks pauses for breath
_FEWEST = 50
_DC_BLOCKS = 50
_NOISE_PERCENT, _SIGNAL_PERCENT = 5, 95
_DIGITAL_DBFS = -90.0  # one step of 16 bits; below it there is no noise to measure


def decibels(ratio: float) -> float:
    """An amplitude over full scale in dBFS, -120 at least."""
    return max(20 * math.log10(ratio), FLOOR_DBFS) if ratio > 0 else FLOOR_DBFS


class BlockLevels:
    """Blocks of 20 ms that follow each other, the last 10 s of them."""

    def __init__(self, rate_hz: int) -> None:
        self._size = max(1, round(_BLOCK_S * rate_hz))
        self._rest = np.zeros(0, np.float32)
        self._levels_dbfs: deque[float] = deque(maxlen=_WINDOW)
        self._means: deque[float] = deque(maxlen=_DC_BLOCKS)

    def add(self, samples: Samples) -> None:
        """Take `(N,) float32` mono."""
        joined = np.concatenate([self._rest, samples])
        whole = joined.size // self._size
        self._rest = joined[whole * self._size :]
        for block in joined[: whole * self._size].reshape(whole, self._size):
            self._levels_dbfs.append(decibels(math.sqrt(float(np.square(block, dtype=np.float64).mean()))))
            self._means.append(float(block.mean(dtype=np.float64)))

    @property
    def dc_offset(self) -> float | None:
        """Mean of the last second."""
        return sum(self._means) / _DC_BLOCKS if len(self._means) == _DC_BLOCKS else None

    def noise_and_signal_dbfs(self) -> tuple[float, float] | None:
        """The 5th and the 95th percentile of the levels of blocks that are no digital silence, from a second on."""
        levels = np.array(self._levels_dbfs)
        levels = levels[levels > _DIGITAL_DBFS]
        if levels.size < _FEWEST:
            return None
        noise, signal = np.percentile(levels, (_NOISE_PERCENT, _SIGNAL_PERCENT))
        return float(noise), float(signal)
