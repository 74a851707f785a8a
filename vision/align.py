"""Pairs each picture with the samples that sound from the previous picture up to it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from vision.frame import NO_SOUND, ClockQuality, Frame, Picture, Samples, Sound

__all__ = ["Aligner", "SoundBuffer", "TimedPicture"]

_TOLERANCE_S = 0.002  # rounding in containers and RTP clocks; less than this is no gap
_LONGEST_FILL_S = 5.0  # a longer hole is a restart of the source, not missing samples
_REORDER_S = 1.0  # in a file, a decoder may hold pictures back that belong before the newest sound
_MOST_PENDING = 60  # pictures of a file held for their sound; more would fill the memory
_MOST_BEHIND = 25  # blocks in a row that lie far in the past: the sound has begun anew there


@dataclass(frozen=True, slots=True)
class TimedPicture:
    """A picture on the media clock that waits for its sound."""

    time_s: float
    arrival_s: float
    picture: Picture
    clock: ClockQuality
    key_frame: bool = False
    corrupt: bool = False
    transport: Mapping[str, float | None] = field(default_factory=dict)


class SoundBuffer:
    """Samples that no frame has taken yet, by position on the media clock.

    Blocks that overlap what is there are cut; holes between blocks are filled with zeros and marked missing.
    """

    def __init__(self) -> None:
        self.rate_hz = 0
        self._chunks: deque[Samples] = deque()
        self._missing: list[tuple[int, int]] = []  # absolute first sample, count
        self._begin = self._end = 0  # absolute sample positions
        self._behind = 0  # blocks in a row that were passed over

    @property
    def end_s(self) -> float:
        """Media time up to which samples are known."""
        return self._end / self.rate_hz if self.rate_hz else float("-inf")

    @property
    def begin_s(self) -> float:
        """Media time of the first sample that is there."""
        return self._begin / self.rate_hz if self.rate_hz else float("inf")

    def push(self, start_s: float, samples: Samples, rate_hz: int) -> None:
        """Add a block; `samples` is `(N,) float32` mono, its first one sounds at `start_s`."""
        start = round(start_s * rate_hz)
        if rate_hz != self.rate_hz:
            self._restart(start, rate_hz)
        hole = start - self._end
        if hole < -_LONGEST_FILL_S * rate_hz and self._behind < _MOST_BEHIND:
            self._behind += 1
            return
        self._behind = 0
        if abs(hole) > _LONGEST_FILL_S * rate_hz:
            self._restart(start, rate_hz)
        elif hole > _TOLERANCE_S * rate_hz:
            self._missing.append((self._end, hole))
            self._append(np.zeros(hole, np.float32))
        elif hole < -_TOLERANCE_S * rate_hz:
            samples = samples[-hole:]
        self._append(samples)

    def take(self, until_s: float) -> Sound:
        """Remove and return the samples before `until_s`."""
        if not self.rate_hz:
            return NO_SOUND
        end = min(max(round(until_s * self.rate_hz), self._begin), self._end)
        taken, start = list(self._pop(end - self._begin)), self._begin
        self._begin = end
        samples = np.concatenate(taken) if taken else np.zeros(0, np.float32)
        return Sound(samples, self.rate_hz, start / self.rate_hz, tuple(self._marks(start, end)))

    def _restart(self, start: int, rate_hz: int) -> None:
        self.rate_hz, self._begin, self._end = rate_hz, start, start
        self._chunks.clear()
        self._missing.clear()

    def _append(self, samples: Samples) -> None:
        if samples.size:
            self._chunks.append(samples)
            self._end += samples.size

    def _pop(self, count: int) -> Iterator[Samples]:
        while count > 0:
            chunk = self._chunks.popleft()
            if chunk.size > count:
                self._chunks.appendleft(chunk[count:])
                chunk = chunk[:count]
            count -= chunk.size
            yield chunk

    def _marks(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        rest = []
        for first, count in self._missing:
            inside = min(first + count, end) - max(first, start)
            if inside > 0:
                yield max(first, start) - start, inside
            if first + count > end:
                rest.append((max(first, end), first + count - max(first, end)))
        self._missing = rest


class Aligner:
    """Turns pictures and samples on the media clock into frames; synchronous, time is given to it.

    A picture waits until its sound is complete, at most `deadline_s` on the scale of `now_s` (in a file: until sixty
    wait); sound that comes later goes to the next frame. After such a picture none waits until sound comes again. When
    no picture has come for `tick_s`, a frame without one carries the sound; polled often, that is more than five times
    a second.

    :param expects_sound: pictures wait for sound before any has come.
    :param live: ticks follow `now_s`; else they follow the sound itself, and only `_MOST_PENDING` bounds the wait.
    """

    def __init__(self, *, live: bool, expects_sound: bool, deadline_s: float = 0.3, tick_s: float = 0.15) -> None:
        self._live, self._waits = live, expects_sound
        self._deadline_s, self._tick_s = deadline_s, tick_s
        self._pending: deque[TimedPicture] = deque()
        self._sound = SoundBuffer()
        self._index = 0
        self._last_time_s = 0.0
        self._last_emit_s: float | None = None
        self._ended = False

    def push_picture(self, picture: TimedPicture) -> None:
        """Add a picture."""
        self._pending.append(picture)

    def push_sound(self, start_s: float, samples: Samples, rate_hz: int) -> None:
        """Add a block of samples, see `SoundBuffer.push`."""
        self._waits = True
        self._sound.push(start_s, samples, rate_hz)

    def end(self) -> None:
        """Nothing more will come; `poll` then gives out all that is left."""
        self._ended = True

    def poll(self, now_s: float, clock: ClockQuality) -> Iterator[Frame]:
        """The frames that are ready at `now_s` (on the scale of arrivals)."""
        while self._pending and self._complete(self._pending[0], now_s):
            yield self._emit(self._pending.popleft(), now_s)
        if not self._pending:
            yield from self._without_picture(now_s, clock)

    def _complete(self, picture: TimedPicture, now_s: float) -> bool:
        if self._ended or not self._waits or self._sound.end_s >= picture.time_s:
            return True
        overdue = now_s - picture.arrival_s >= self._deadline_s if self._live else len(self._pending) > _MOST_PENDING
        self._waits = not overdue
        return overdue

    def _emit(self, timed: TimedPicture, now_s: float) -> Frame:
        self._last_time_s, self._last_emit_s = timed.time_s, now_s
        index, self._index = self._index, self._index + 1
        return Frame(
            index=index,
            time_s=timed.time_s,
            arrival_s=timed.arrival_s,
            clock=timed.clock,
            sound=self._sound.take(timed.time_s),
            key_frame=timed.key_frame,
            corrupt=timed.corrupt,
            transport=timed.transport,
            maybe_picture=timed.picture,
        )

    def _without_picture(self, now_s: float, clock: ClockQuality) -> Iterator[Frame]:
        if self._live and not self._ended:
            if self._last_emit_s is None:
                self._last_emit_s = now_s
            elif now_s - self._last_emit_s >= self._tick_s:
                yield self._bare(self._stalled_until_s(now_s - self._last_emit_s), now_s, clock)
            return
        slack_s = 0.0 if self._ended else _REORDER_S
        # sound that begins long after the last picture is a jump in the file's time, not a gap to fill
        self._last_time_s = max(self._last_time_s, min(self._sound.begin_s, self._sound.end_s))
        while self._sound.end_s - slack_s >= self._last_time_s + self._tick_s:
            yield self._bare(self._last_time_s + self._tick_s, now_s, clock)
        if self._ended and self._sound.end_s > self._last_time_s:
            yield self._bare(self._sound.end_s, now_s, clock)

    def _stalled_until_s(self, elapsed_s: float) -> float:
        if self._sound.end_s > self._last_time_s:
            return self._sound.end_s
        return self._last_time_s + elapsed_s

    def _bare(self, time_s: float, now_s: float, clock: ClockQuality) -> Frame:
        self._last_time_s, self._last_emit_s = time_s, now_s
        sound = self._sound.take(time_s)
        return Frame(index=None, time_s=time_s, arrival_s=now_s, clock=clock, sound=sound)
