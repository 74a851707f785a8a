"""What is said: babble from the seed, or the turns handed in from outside; the mouth and the sound of it."""

import numpy as np
from numpy.typing import NDArray

from vision.simulator.effects import Sound, clipped
from vision.simulator.faults import FaultPlan
from vision.simulator.performance import Curve, Performance, Times
from vision.simulator.turns import Turns
from vision.simulator.voice import SAMPLE_RATE_HZ, Voice

ROOM_TONE = 0.0004
"""RMS of the room (-68 dBFS): a pause between phrases is quiet, but only planted silence is digital zero."""

_MOUTH_MOVES = 0.02
"""A turn counts as speaking where its mouth is open further than this."""


class Speech:
    """Mouth and voice of one viewer's avatar, before faults."""

    def __init__(self, performance: Performance, turns: Turns, babble: bool) -> None:
        self._performance = performance
        self._voice = Voice(performance)
        self._turns = turns
        self._babble = babble

    def mouth_opening(self, times_s: Times) -> Curve:
        """How far the mouth is open at the media times (N,), 0..1."""
        opening = self._performance.mouth_opening(times_s) if self._babble else np.zeros(len(times_s))
        for turn in self._turns.during(times_s):
            mask = turn.mask(times_s)
            opening[mask] = turn.mouth_opening(times_s[mask])
        return opening

    def speaking(self, times_s: Times) -> NDArray[np.bool_]:
        """Whether something is being said at the media times (N,)."""
        speaking = self._performance.speaking(times_s) & self._babble
        for turn in self._turns.during(times_s):
            mask = turn.mask(times_s)
            speaking[mask] = turn.mouth_opening(times_s[mask]) > _MOUTH_MOVES
        return speaking

    def sound(self, times_s: Times) -> Sound:
        """What is heard (N,) where sound and picture agree, at the ascending media times (N,)."""
        sound = self._voice.at(times_s) if self._babble else np.zeros(len(times_s), np.float32)
        for turn in self._turns.during(times_s):
            mask = turn.mask(times_s)
            sound[mask] = turn.sound(times_s[mask])
        return sound


class Soundtrack:
    """The sound that is sent: speech in a room, shifted and spoilt as planned."""

    def __init__(self, speech: Speech, faults: FaultPlan, seed: int) -> None:
        self._speech = speech
        self._faults = faults
        tone = np.random.default_rng((seed, 3)).standard_normal(SAMPLE_RATE_HZ) * ROOM_TONE
        self._room = tone.astype(np.float32)

    def at(self, first_sample: int, count: int) -> Sound:
        """`count` samples, float32 mono in -1..1, from the media time `first_sample` / 48000 s."""
        samples = np.arange(first_sample, first_sample + count)
        times_s = samples / SAMPLE_RATE_HZ
        sound = self._speech.sound(times_s - self._faults.offset_s(times_s))
        sound[self._faults.mask("mouth_moving", times_s)] = 0.0
        sound = sound + self._room[samples % SAMPLE_RATE_HZ]
        sound = np.where(self._faults.mask("clipping", times_s), clipped(sound), np.clip(sound, -1.0, 1.0))
        sound[self._faults.mask("silence", times_s)] = 0.0
        return sound.astype(np.float32)
