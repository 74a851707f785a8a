"""Lips that rest while a voice sounds, and lips that move while none does: from when to when."""

from __future__ import annotations

import math
import statistics
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterator, Sequence

import numpy as np

from processors.lip_sync.features import Floats
from processors.lip_sync.gate import spoken_s
from processors.lip_sync.levels import Levels
from processors.speech import SETTLED_AFTER_S
from vision import Sound

__all__ = ["MISMATCH_DELAY_S", "Mismatch"]

MISMATCH_DELAY_S = 3.6
"""How long ago was what a mismatch tells: by then it has lasted long enough, or not. A whole number of pictures at 25
and at 30 a second, so that it is told of pictures and not of what is between them."""

# standard deviation of the inner lips' gap over a window, in distances of the eyes: that of lips that rest is below,
# and none of their pictures is far from the others
_RESTS, _FAR = 0.006, 0.012
_IN_SPEECH_S, _IN_PAUSE_S = 0.8, 0.3  # windows: within speech, lips rest for some time anyway
_FEWEST, _FULL = 4, 0.8  # pictures in a window; share of it that they must cover

_LEAST_REST_S, _LEAST_VOICED_S, _LEAST_SYLLABLE_S = 1.5, 0.75, 0.15
_LEAST_MOVES_S = 0.5
_NEAR_VOICE_S = 0.6  # lips prepare for a voice, and close after it
_AROUND_S = 2.5  # of a moment: in there is looked for what it belongs to
_SAME_S = 1e-3  # times are floats
# of silero's segments: the padding, and at the end also by how much its probability lags behind
_LEAD_S, _LAG_S = 0.03, 0.05

Span = tuple[float, float]
Seen = tuple[float, float]  # when, and the gap


class Mismatch:
    """Follows the gap of the lips and the level of the sound; tells of a picture once what is around it is known."""

    def __init__(self) -> None:
        self._times_s: deque[float] = deque()
        self._window: deque[Seen] = deque()
        self._seen, self._rests, self._rests_long = _Runs(), _Runs(), _Runs()
        self._levels = Levels()

    def see(self, time_s: float, gap: float | None) -> None:
        """Take a picture's inner lips, in distances of the eyes; `None`: no face. One that is no later is left out."""
        if self._times_s and time_s <= self._times_s[-1]:
            return
        self._times_s.append(time_s)
        oldest_s = time_s - MISMATCH_DELAY_S - _AROUND_S
        while self._times_s[0] < oldest_s:
            self._times_s.popleft()
        for runs in (self._seen, self._rests, self._rests_long):
            runs.forget_before(oldest_s)
        if gap is None:
            self._window.clear()
            return
        self._window.append((time_s, gap))
        while self._window[0][0] < time_s - _IN_SPEECH_S - _SAME_S:
            self._window.popleft()
        self._look(list(self._window), time_s)

    def _look(self, window: Sequence[Seen], time_s: float) -> None:
        short = window[bisect_left(window, (time_s - _IN_PAUSE_S - _SAME_S,)) :]
        if _is_full(short, _IN_PAUSE_S):
            self._seen.add(short[0][0], time_s)
            if (rest := _rest(short)) is not None:
                self._rests.add(*rest)
        if _is_full(window, _IN_SPEECH_S) and (rest := _rest(window)) is not None:
            self._rests_long.add(*rest)

    def hear(self, sound: Sound) -> None:
        """Take the sound of a frame."""
        self._levels.hear(sound)

    def shift(self, step_s: float) -> None:
        """All sound so far belongs so much later."""
        self._levels.shift(step_s)

    def at(self, time_s: float, segments_s: Floats, known_s: float) -> tuple[bool | None, bool | None]:
        """Whether there was a voice without a mouth, and a mouth without a voice; `None`: it cannot be told.

        :param time_s: of which `MISMATCH_DELAY_S` more are known; it is told of the picture that was shown then.
        :param segments_s: where speech is, from and to, `(K, 2)`.
        :param known_s: until when sound is known.
        """
        self._levels.learn(segments_s)
        number = bisect_right(self._times_s, time_s + _SAME_S)
        shown_s = self._times_s[number - 1] if number else -math.inf
        if self._seen.at(shown_s) is None:
            return None, None
        return self._is_still(shown_s, segments_s), self._is_mute(shown_s, segments_s, known_s)

    def _is_still(self, time_s: float, segments_s: Floats) -> bool:
        """A voice, and lips that rest for long enough, with enough of it."""
        rest = self._rests_long.at(time_s)
        if rest is None or rest[1] - rest[0] < _LEAST_REST_S:
            return False
        voices = _voices(segments_s)
        now = (voices[:, 0] <= time_s) & (time_s < voices[:, 1])
        return spoken_s(voices, *rest) >= _LEAST_VOICED_S and spoken_s(voices[now], *rest) >= _LEAST_SYLLABLE_S

    def _is_mute(self, time_s: float, segments_s: Floats, known_s: float) -> bool | None:
        """Lips move, and in this pause they do so for long enough where no voice is near."""
        if self._rests.at(time_s) is not None:
            return False
        if self._levels.is_learning:
            return None
        earliest_s = time_s - _AROUND_S - _NEAR_VOICE_S
        if self._levels.limit_db is None:
            pause = _between(_voices(segments_s), time_s, earliest_s, known_s - SETTLED_AFTER_S)
        else:
            pause = self._levels.pause_at(time_s, earliest_s, known_s)
        if pause is None:
            return False
        first_s, last_s = max(pause[0] + _NEAR_VOICE_S, time_s - _AROUND_S), pause[1] - _NEAR_VOICE_S
        return any(end_s - start_s >= _LEAST_MOVES_S for start_s, end_s in self._moves(first_s, last_s))

    def _moves(self, first_s: float, last_s: float) -> Iterator[Span]:
        """Where lips move between two moments."""
        for start_s, end_s in self._seen.within(first_s, last_s):
            for rest_s, moves_s in self._rests.within(start_s, end_s):
                yield start_s, rest_s
                start_s = moves_s
            yield start_s, end_s


def _voices(segments_s: Floats) -> Floats:
    """Speech without its padding."""
    return np.asarray(segments_s + np.array((_LEAD_S, -_LAG_S)))


def _is_full(window: Sequence[Seen], length_s: float) -> bool:
    return len(window) >= _FEWEST and window[-1][0] - window[0][0] >= _FULL * length_s


def _rest(window: Sequence[Seen]) -> Span | None:
    """Where lips rest in a window: from its first to its last picture that is like the others."""
    gaps = [gap for _, gap in window]
    # two of n values that are so far apart alone make a deviation of this: most windows of speech need no more
    if max(gaps) - min(gaps) >= _RESTS * math.sqrt(2 * len(gaps)) or np.std(gaps) >= _RESTS:
        return None
    middle = statistics.median(gaps)
    near_s = [time_s for time_s, gap in window if abs(gap - middle) <= _FAR]
    return near_s[0], near_s[-1]


def _between(voices: Floats, time_s: float, first_s: float, last_s: float) -> Span | None:
    """The pause around a moment that voices leave, as far as it lies between these; `None`: there is a voice."""
    starts_s, ends_s = voices.T
    if ((starts_s <= time_s) & (time_s < ends_s)).any():
        return None
    return max([first_s, *ends_s[ends_s <= time_s]]), min([last_s, *starts_s[starts_s > time_s]])


class _Runs:
    """Stretches of pictures, ascending; those that overlap are one."""

    def __init__(self) -> None:
        self._runs: deque[Span] = deque()

    def add(self, start_s: float, end_s: float) -> None:
        """Take a stretch, from its first to its last picture, that ends behind all others."""
        while self._runs and self._runs[-1][1] >= start_s:
            earlier_s, until_s = self._runs.pop()
            start_s, end_s = min(earlier_s, start_s), max(until_s, end_s)
        self._runs.append((start_s, end_s))

    def forget_before(self, time_s: float) -> None:
        """Drop what has ended before."""
        while self._runs and self._runs[0][1] < time_s:
            self._runs.popleft()

    def at(self, time_s: float) -> Span | None:
        """The one with the picture of that time."""
        return next((run for run in self._runs if run[0] <= time_s <= run[1]), None)

    def within(self, first_s: float, last_s: float) -> Iterator[Span]:
        """Those between two moments, or their parts there."""
        for start_s, end_s in self._runs:
            if end_s > first_s and start_s < last_s:
                yield max(start_s, first_s), min(end_s, last_s)
