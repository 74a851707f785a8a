"""Whether a voice sounds and a mouth moves, and what follows from both."""

from __future__ import annotations

from collections import deque
from enum import IntEnum
from itertools import pairwise

import numpy as np

from processors.lip_sync.features import Floats
from processors.lip_sync.history import History
from processors.speech import SETTLED_AFTER_S

__all__ = ["STATE_DELAY_S", "Activity", "State"]

STATE_DELAY_S = 1.1
"""How long ago was what a state tells: speech settles in half a second, and a mouth that moves is compared with the
voice around it."""

_NEAR_VOICE_S = STATE_DELAY_S - SETTLED_AFTER_S  # lips prepare for a voice, and close after it
# to each side, of which a movement is taken; lips also rest within speech, and in a pause, only what moves there counts
_IN_SPEECH_S, _IN_PAUSE_S = 0.4, 0.25
# standard deviation of the inner lips' gap over half a second, in distances of the eyes: of talking people it is above
# 0.01 nine times of ten, of people who listen below 0.006
_MOVES, _RESTS = 0.01, 0.006
_NEAR_S = 0.1
_IDLE_AFTER_S = 10.0
_KEPT_S = 8.0


class State(IntEnum):
    """What the head does; the values are those in the records."""

    IDLE = 0
    """No voice, and the lips rest, for ten seconds."""
    LISTENING = 1
    """No voice, and the lips rest."""
    SPEAKING = 2
    SILENT_MOVING = 3
    """The lips move, and no voice is near."""
    TALKING_FROZEN = 4
    """A voice, and the lips rest."""
    NO_FACE = 5


class Activity:
    """Tells states one after the other."""

    def __init__(self) -> None:
        self._moves = False
        self._quiet_since_s: float | None = None
        self._told: deque[tuple[float, State]] = deque()

    def at(self, time_s: float, history: History, segments_s: Floats) -> State:
        """The state at a time, of which `STATE_DELAY_S` more are known.

        :param segments_s: where speech is, from and to, `(K, 2)`.
        """
        times_s, distances = history.mouths(time_s - _IN_SPEECH_S, time_s + _IN_SPEECH_S)
        if not len(times_s) or np.abs(times_s - time_s).min() > _NEAR_S:
            return State.NO_FACE
        speaks = _sounds(segments_s, time_s, time_s)
        near = np.abs(times_s - time_s) <= (_IN_SPEECH_S if speaks else _IN_PAUSE_S)
        movement = float(distances[near, 0].std())
        self._moves = movement > (_RESTS if self._moves else _MOVES)
        state = self._state(speaks, _sounds(segments_s, time_s - _NEAR_VOICE_S, time_s + _NEAR_VOICE_S))
        self._told.append((time_s, state))
        while self._told[0][0] < time_s - _KEPT_S:
            self._told.popleft()
        return self._idle_or(state, time_s)

    def apart_s(self, start_s: float, end_s: float) -> float:
        """How long in a stretch of the last seconds lips moved without a voice, or a voice was without lips."""
        told = [each for each in self._told if start_s <= each[0] < end_s]
        return sum(
            next_s - time_s
            for (time_s, state), (next_s, _) in pairwise(told)
            if state in (State.SILENT_MOVING, State.TALKING_FROZEN)
        )

    def _state(self, speaks: bool, speaks_nearby: bool) -> State:
        if speaks:
            return State.SPEAKING if self._moves else State.TALKING_FROZEN
        return State.SILENT_MOVING if self._moves and not speaks_nearby else State.LISTENING

    def _idle_or(self, state: State, time_s: float) -> State:
        if state != State.LISTENING:
            self._quiet_since_s = None
            return state
        if self._quiet_since_s is None:
            self._quiet_since_s = time_s
        return State.IDLE if time_s - self._quiet_since_s >= _IDLE_AFTER_S else state


def _sounds(segments_s: Floats, start_s: float, end_s: float) -> bool:
    return bool(((segments_s[:, 0] <= end_s) & (segments_s[:, 1] >= start_s)).any())
