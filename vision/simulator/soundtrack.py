"""The sound of a show as it is sent: in a room, shifted and spoilt as planned."""

from collections.abc import Callable

import numpy as np

from vision.simulator.effects import Sound, clipped
from vision.simulator.faults import FaultPlan
from vision.simulator.performance import Times
from vision.simulator.voice import SAMPLE_RATE_HZ

ROOM_TONE = 0.0004
"""RMS of the room (-68 dBFS): a pause between phrases is quiet, but only planted silence is digital zero."""


class Soundtrack:
    """Plays `sound`, what is heard (N,) at ascending media times (N,) where sound and picture agree."""

    def __init__(self, sound: Callable[[Times], Sound], faults: FaultPlan, seed: int) -> None:
        self._sound = sound
        self._faults = faults
        tone = np.random.default_rng((seed, 3)).standard_normal(SAMPLE_RATE_HZ) * ROOM_TONE
        self._room = tone.astype(np.float32)

    def at(self, first_sample: int, count: int) -> Sound:
        """`count` samples, float32 mono in -1..1, from the media time `first_sample` / 48000 s."""
        samples = np.arange(first_sample, first_sample + count)
        times_s = samples / SAMPLE_RATE_HZ
        sound = self._sound(times_s - self._faults.offset_s(times_s))
        sound[self._faults.mask("mouth_moving", times_s)] = 0.0
        sound = sound + self._room[samples % SAMPLE_RATE_HZ]
        sound = np.where(self._faults.mask("clipping", times_s), clipped(sound), np.clip(sound, -1.0, 1.0))
        sound[self._faults.mask("silence", times_s)] = 0.0
        return sound.astype(np.float32)
