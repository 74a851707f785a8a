"""Sound at 16 kHz, the rate that what listens to speech is made for."""

from __future__ import annotations

import av
import numpy as np

from vision.frame import SPEECH_HZ, Samples

__all__ = ["SpeechResampler", "resampled"]


class SpeechResampler:
    """A stream of samples at any rate, block by block, to 16 kHz by libswresample.

    The first sample out is of the time of the first one in. It looks 1 ms ahead, at 8 kHz 2 ms: so much comes later.
    """

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._resampler = av.AudioResampler("flt", "mono", SPEECH_HZ)

    def add(self, samples: Samples) -> Samples:
        """Take `(N,) float32` mono; returns what is ready, `(M,) float32`."""
        if not samples.size:
            return np.zeros(0, np.float32)
        block = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples)[np.newaxis], "flt", "mono")
        block.sample_rate = self._rate_hz
        return self._out(block)

    def end(self) -> Samples:
        """Nothing more will come: the rest."""
        return self._out(None)

    def _out(self, block: av.AudioFrame | None) -> Samples:
        ready = [resampled.to_ndarray()[0] for resampled in self._resampler.resample(block)]
        return np.concatenate(ready) if ready else np.zeros(0, np.float32)


def resampled(samples: Samples, rate_hz: int) -> Samples:
    """All of a sound at once."""
    resampler = SpeechResampler(rate_hz)
    return np.concatenate([resampler.add(samples), resampler.end()]) if samples.size else samples
