"""How loud a voice is, and all else: where a voice may be, and where there is none for sure."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import deque

import numpy as np

from processors.lip_sync.features import Floats
from processors.speech import JUMP_S, RATE_HZ, SETTLED_AFTER_S
from vision import Sound

__all__ = ["Levels"]

_BLOCK_S = 0.02
_BLOCK = round(_BLOCK_S * RATE_HZ)
_LEVELS_S = 30.0
_LEARNT_EVERY_S = 1.0
_FLOOR_DB = -100.0
_QUIET_PERCENT = 10.0
_LEAST_RATIO_DB, _MOST_BELOW_DB = 12.0, 25.0
_LEAST_VOICES = 50  # blocks, a second
_LEAST_PAUSE = 8  # blocks; for less long a voice may be quiet and still go on


class Levels:
    """The level of the sound. A detector of voices is late where one sets in at once, and misses some at first: what is
    as loud as a voice may be one."""

    def __init__(self) -> None:
        self._rest = np.zeros(0, np.float32)
        self._times_s: list[float] = []
        self._db: list[float] = []
        self._voices_db: deque[float] = deque(maxlen=round(_LEVELS_S / _BLOCK_S))
        self._learnt_s = -math.inf
        self.limit_db: float | None = None
        """From which on sound may be a voice; `None`: no voice is known, or none that is louder than all else."""

    @property
    def is_learning(self) -> bool:
        """A voice was heard, too short to say how loud voices are."""
        return 0 < len(self._voices_db) < _LEAST_VOICES

    def hear(self, sound: Sound) -> None:
        """Take the sound of a frame. What never came is as loud as a voice: it may have been one."""
        if not sound.samples_16k.size:
            return
        start_s = sound.start_16k_s - self._rest.size / RATE_HZ
        if self._times_s and abs(start_s - self._times_s[-1] - _BLOCK_S / 2) > JUMP_S:
            self._rest, self._times_s, self._db = np.zeros(0, np.float32), [], []
            self._learnt_s, start_s = -math.inf, sound.start_16k_s
        samples = np.concatenate([self._rest, sound.samples_16k])
        count = samples.size // _BLOCK
        blocks = samples[: count * _BLOCK].reshape(count, _BLOCK)
        self._rest = samples[count * _BLOCK :]
        levels_db = 10 * np.log10(np.mean(blocks**2, axis=1) + 10 ** (_FLOOR_DB / 10))
        for first, length in sound.missing:
            begin_s = sound.start_s + first / sound.rate_hz
            places = start_s + _BLOCK_S * np.arange(count)
            levels_db[(places > begin_s - _BLOCK_S) & (places < begin_s + length / sound.rate_hz)] = 0.0
        self._times_s.extend(start_s + _BLOCK_S * (number + 0.5) for number in range(count))
        self._db.extend(levels_db.tolist())
        if self._times_s and self._times_s[0] < self._times_s[-1] - _LEVELS_S - _LEARNT_EVERY_S:
            first = bisect_left(self._times_s, self._times_s[-1] - _LEVELS_S)
            del self._times_s[:first], self._db[:first]

    def shift(self, step_s: float) -> None:
        """All of it belongs so much later."""
        self._times_s = [each + step_s for each in self._times_s]

    def learn(self, segments_s: Floats) -> None:
        """Learn once a second how loud a voice is, and all else.

        :param segments_s: where speech is, from and to, `(K, 2)`.
        """
        if not self._times_s or self._times_s[-1] - self._learnt_s < _LEARNT_EVERY_S:
            return
        times_s, levels_db = np.array(self._times_s), np.array(self._db)
        settled_s = times_s[-1] - SETTLED_AFTER_S
        new = (times_s > self._learnt_s - SETTLED_AFTER_S) & (times_s <= settled_s)
        voiced = ((times_s >= segments_s[:, :1]) & (times_s < segments_s[:, 1:])).any(axis=0)
        self._voices_db.extend(levels_db[new & voiced].tolist())
        self._learnt_s = float(times_s[-1])
        if len(self._voices_db) < _LEAST_VOICES:
            return
        voice_db, quiet_db = float(np.median(self._voices_db)), float(np.percentile(levels_db, _QUIET_PERCENT))
        limit_db = max((voice_db + quiet_db) / 2, voice_db - _MOST_BELOW_DB)
        self.limit_db = limit_db if voice_db - quiet_db >= _LEAST_RATIO_DB else None

    def pause_at(self, time_s: float, first_s: float, last_s: float) -> tuple[float, float] | None:
        """The pause around a moment, as far as it lies between these; `None`: there is none."""
        assert self.limit_db is not None
        after = bisect_left(self._times_s, time_s)
        before = after
        while before > 0 and self._db[before - 1] < self.limit_db and self._times_s[before - 1] > first_s:
            before -= 1
        while after < len(self._db) and self._db[after] < self.limit_db and self._times_s[after] < last_s:
            after += 1
        if after - before < _LEAST_PAUSE:
            return None
        return self._times_s[before] - _BLOCK_S / 2, self._times_s[after - 1] + _BLOCK_S / 2
