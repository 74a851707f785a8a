"""Frames of sound that is known: the simulator's voice, and the sound of a clip."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from vision import Frame
from vision.connectors.decoding import samples_of
from vision.resampling import resampled
from vision.simulator.performance import Performance
from vision.simulator.voice import SAMPLE_RATE_HZ, Voice
from vision.testing import make_frame

__all__ = ["RATE_HZ", "framed", "sound_of", "spoken", "voice"]

RATE_HZ = 16_000
Samples = NDArray[np.float32]


def voice(seconds: float, seed: int = 1) -> Samples:
    """What the simulator's avatar says, at 16 kHz."""
    times_s = np.arange(round(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    return resampled(Voice(Performance(seed)).at(times_s), SAMPLE_RATE_HZ)


def spoken(times_s: NDArray[np.float64], seed: int = 1) -> NDArray[np.bool_]:
    """Whether it says something at these times."""
    return Performance(seed).speaking(times_s)


def sound_of(clip: Path) -> Samples:
    """The sound of a clip, at 16 kHz."""
    with av.open(str(clip)) as container:
        track = container.streams.audio[0]
        return resampled(np.concatenate([samples_of(block) for block in container.decode(track)]), track.rate)


def framed(samples: Samples, fps: float = 25.0) -> Iterator[Frame]:
    """Frames that carry it; the first one comes before any sound."""
    ends = np.arange(0, samples.size + RATE_HZ / fps, RATE_HZ / fps).round().astype(int)
    for index, end in enumerate(ends):
        begin = 0 if index == 0 else ends[index - 1]
        yield make_frame(index=index, fps=fps, samples=samples[begin:end])
