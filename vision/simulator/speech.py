"""What is said: babble from the seed, or the turns handed in from outside; the mouth and the sound of it."""

import numpy as np
from numpy.typing import NDArray

from vision.simulator.effects import Sound
from vision.simulator.performance import Curve, Performance, Times
from vision.simulator.turns import Turns
from vision.simulator.voice import Voice

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
