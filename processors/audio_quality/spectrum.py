"""How far up the sound reaches: the roll-off of its power spectrum."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

__all__ = ["Spectrum"]

Samples = NDArray[np.float32]

_LENGTH_S = 0.04  # 2048 samples at 48 kHz, the next power of two
_WINDOW_S = 1.0
_LEAST = 1e-9  # mean square: -90 dBFS


class Spectrum:
    """The mean power spectrum of the last second (Welch: Hann windows that overlap by half)."""

    def __init__(self, rate_hz: int) -> None:
        self._length = 1 << int(np.ceil(np.log2(_LENGTH_S * rate_hz)))
        self._hann = np.hanning(self._length).astype(np.float32)
        self._frequencies_hz = np.fft.rfftfreq(self._length, 1 / rate_hz)
        self._rest = np.zeros(0, np.float32)
        spectra = max(1, round(_WINDOW_S * rate_hz / (self._length // 2)))
        self._powers: deque[NDArray[np.float32]] = deque(maxlen=spectra)
        self._rolloffs: tuple[float, float] | None = None

    def add(self, samples: Samples) -> None:
        """Take `(N,) float32` mono."""
        joined, hop, first = np.concatenate([self._rest, samples]), self._length // 2, 0
        while first + self._length <= joined.size:
            window = joined[first : first + self._length]
            spectrum = np.fft.rfft((window - window.mean()) * self._hann)  # an offset is no bandwidth
            self._powers.append((spectrum.real**2 + spectrum.imag**2).astype(np.float32))
            first += hop
        self._rest = joined[first:]
        if first:
            self._rolloffs = self._measured()

    @property
    def rolloffs_hz(self) -> tuple[float, float] | None:
        """Below which 95 % and 99 % of the power lie; `None` without a second of sound, or in silence."""
        return self._rolloffs

    def _measured(self) -> tuple[float, float] | None:
        if len(self._powers) < (self._powers.maxlen or 1):
            return None
        below = np.cumsum(np.mean(self._powers, axis=0, dtype=np.float64))
        if 2 * below[-1] / (self._length * np.square(self._hann).sum()) < _LEAST:
            return None
        low, high = np.searchsorted(below, (0.95 * below[-1], 0.99 * below[-1]))
        return float(self._frequencies_hz[low]), float(self._frequencies_hz[high])
