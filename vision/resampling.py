"""Sound at another rate: at 16 kHz for what listens to speech, at 48 kHz for what is played."""

from __future__ import annotations

import av
import numpy as np

from vision.frame import SPEECH_HZ, Samples

__all__ = ["Resampler", "SpeechResampler", "resampled"]


class Resampler:
    """A stream of samples at one rate, block by block, to another by libswresample.

    The first sample out is of the time of the first one in. It looks ahead by sixteen samples of the lower rate: so
    much comes later.
    """

    def __init__(self, rate_hz: int, to_hz: int) -> None:
        self._rate_hz = rate_hz
        self._resampler = av.AudioResampler("flt", "mono", to_hz)

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


class SpeechResampler(Resampler):
    """The same to 16 kHz."""

    def __init__(self, rate_hz: int) -> None:
        super().__init__(rate_hz, SPEECH_HZ)


def resampled(samples: Samples, rate_hz: int) -> Samples:
    """All of a sound at once."""
    resampler = SpeechResampler(rate_hz)
    return np.concatenate([resampler.add(samples), resampler.end()]) if samples.size else samples
