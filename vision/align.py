"""Pairs each picture with the samples that sound from the previous picture up to it."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from vision.clock import AS_LAID_OUT, Relation
from vision.frame import (
    NO_SOUND,
    SPEECH_HZ,
    ClockQuality,
    ClockStep,
    Frame,
    Losses,
    Picture,
    ResetReason,
    Samples,
    Sound,
)
from vision.resampling import SpeechResampler

__all__ = ["Aligner", "SoundBuffer", "TimedPicture"]

_TOLERANCE_S = 0.002  # rounding in containers and RTP clocks; less than this is no gap
_LONGEST_FILL_S = 5.0  # a longer hole is a restart of the source, not missing samples
_REORDER_S = 1.0  # in a file, a decoder may hold pictures back that belong before the newest sound
_MOST_PENDING = 60  # pictures of a file held for their sound; more would fill the memory
_MOST_BEHIND = 25  # blocks in a row that lie far in the past: the sound has begun anew there
_MOST_STRETCHES = 16  # whoever begins anew so often before any picture comes wants to fill the memory
_STEP_S = 0.001  # a relation that moves by less has not moved


@dataclass(frozen=True, slots=True)
class TimedPicture:
    """A picture on the media clock that waits for its sound."""

    time_s: float
    arrival_s: float
    picture: Picture
    key_frame: bool = False
    corrupt: bool = False
    transport: Mapping[str, float | None] = field(default_factory=dict)
    lost_before: Losses = field(default_factory=dict)
    reset: ResetReason | None = None


class _Samples:
    """Samples in a row, by their number, of which the first ones are taken away."""

    def __init__(self, begin: int) -> None:
        self.begin = self.end = begin
        self._chunks: deque[Samples] = deque()

    def append(self, samples: Samples) -> None:
        """Add samples."""
        if samples.size:
            self._chunks.append(samples)
            self.end += samples.size

    def take(self, end: int) -> Samples:
        """Remove and return those before number `end`."""
        taken = list(self._pop(end - self.begin))
        self.begin = max(self.begin, end)
        return np.concatenate(taken) if taken else np.zeros(0, np.float32)

    def _pop(self, count: int) -> Iterator[Samples]:
        while count > 0:
            chunk = self._chunks.popleft()
            if chunk.size > count:
                self._chunks.appendleft(chunk[count:])
                chunk = chunk[:count]
            count -= chunk.size
            yield chunk


class _Stretch:
    """Contiguous samples, at their own rate and at 16 kHz, by where they were laid out on the media clock."""

    def __init__(self, start: int, rate_hz: int, *, speech: bool) -> None:
        self.rate_hz = rate_hz
        self._samples = _Samples(start)
        self._resampler = SpeechResampler(rate_hz) if speech else None
        self._speech_s = start / rate_hz  # of the first sample at 16 kHz that was not taken
        self._missing: list[tuple[int, int]] = []  # absolute first sample, count
        self._lost: deque[tuple[int, int]] = deque()  # absolute first sample of a hole, packets lost in it
        self._finished = False

    @property
    def end(self) -> int:
        """Number of the sample behind the last one."""
        return self._samples.end

    @property
    def begin_s(self) -> float:
        """Time of the first sample that is there."""
        return self._samples.begin / self.rate_hz

    @property
    def end_s(self) -> float:
        """Time of the end of the last sample."""
        return self._samples.end / self.rate_hz

    def append(self, samples: Samples) -> None:
        """Add samples."""
        self._samples.append(samples)

    def fill(self, count: int, lost: int) -> None:
        """Add zeros for samples that are missing, where so many packets are known to have been lost."""
        self._missing.append((self._samples.end, count))
        if lost:
            self._lost.append((self._samples.end, lost))
        self.append(np.zeros(count, np.float32))

    def finish(self) -> None:
        """Nothing more will come."""
        self._finished = True

    def take(self, until_s: float) -> Sound:
        """Remove and return the samples before a time."""
        start = self._samples.begin
        end = round(min(max(until_s * self.rate_hz, start), self._samples.end))
        samples, speech_s = self._samples.take(end), self._speech_s
        speech = self._speech(samples)
        self._speech_s += speech.size / SPEECH_HZ
        missing, lost = tuple(self._marks(start, end)), sum(self._lost_until(end))
        return Sound(samples, self.rate_hz, start / self.rate_hz, missing, speech, speech_s, lost)

    def _lost_until(self, end: int) -> Iterator[int]:
        while self._lost and self._lost[0][0] < end:
            yield self._lost.popleft()[1]

    def _speech(self, samples: Samples) -> Samples:
        """Samples at 16 kHz; the resampler holds a few back until more come, or are known not to."""
        if self._resampler is None:
            return np.zeros(0, np.float32)
        speech = self._resampler.add(samples)
        if self._finished and self._samples.begin == self._samples.end:
            self._finished = False
            speech = np.concatenate([speech, self._resampler.end()])
        return speech

    def _marks(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        rest = []
        for first, count in self._missing:
            inside = min(first + count, end) - max(first, start)
            if inside > 0:
                yield max(first, start) - start, inside
            if first + count > end:
                rest.append((max(first, end), first + count - max(first, end)))
        self._missing = rest


class SoundBuffer:
    """Samples that no frame has taken yet, by where they were laid out on the media clock.

    Blocks that overlap what is there are cut; holes between blocks are filled with zeros and marked missing. Behind a
    hole of more than 5 s, or at another rate, the sound begins anew; what is left from before it goes first.

    :param speech: give them out at 16 kHz as well.
    """

    def __init__(self, *, speech: bool = True) -> None:
        self._speech = speech
        self._stretches: deque[_Stretch] = deque()
        self._behind = 0  # blocks in a row that were passed over

    @property
    def is_heard(self) -> bool:
        """Whether any sound has come."""
        return bool(self._stretches)

    @property
    def is_left(self) -> bool:
        """Whether there are samples that no frame has taken."""
        return any(stretch.end_s > stretch.begin_s for stretch in self._stretches)

    @property
    def end_s(self) -> float:
        """Time of the end of the last sample that is there."""
        return self._stretches[-1].end_s if self._stretches else float("-inf")

    @property
    def begin_s(self) -> float:
        """Time of the first sample that is there."""
        return self._stretches[0].begin_s if self._stretches else float("inf")

    def push(self, start_s: float, samples: Samples, rate_hz: int, lost_before: int = 0) -> None:
        """Add a block; `samples` is `(N,) float32` mono, its first one was laid out at `start_s`.

        :param lost_before: packets known to have been lost between the block before and this one.
        """
        start = round(start_s * rate_hz)
        if not self._stretches or self._stretches[-1].rate_hz != rate_hz:
            self._begin(start, rate_hz)
        hole = start - self._stretches[-1].end
        if hole < -_LONGEST_FILL_S * rate_hz and self._behind < _MOST_BEHIND:
            self._behind += 1
            return
        self._behind = 0
        if abs(hole) > _LONGEST_FILL_S * rate_hz:
            self._begin(start, rate_hz)
        elif hole > _TOLERANCE_S * rate_hz:
            self._stretches[-1].fill(hole, lost_before)
        elif hole < -_TOLERANCE_S * rate_hz:
            samples = samples[-hole:]
        self._stretches[-1].append(samples)

    def end(self) -> None:
        """Nothing more will come."""
        if self._stretches:
            self._stretches[-1].finish()

    def take(self, until_s: float) -> Sound:
        """Remove and return the samples that were laid out before `until_s`, or what is left before a new start."""
        while len(self._stretches) > 1 and self._is_over(until_s):
            left = self._stretches.popleft().take(float("inf"))
            if left.samples.size or left.samples_16k.size:
                return left
        return self._stretches[0].take(until_s) if self._stretches else NO_SOUND

    def _is_over(self, until_s: float) -> bool:
        """Whether the first stretch is at its end by that time, or time went back behind it."""
        first, second = self._stretches[0], self._stretches[1]
        return first.end_s <= until_s or second.begin_s < first.end_s

    def _begin(self, start: int, rate_hz: int) -> None:
        if self._stretches:
            self._stretches[-1].finish()
        self._stretches.append(_Stretch(start, rate_hz, speech=self._speech))
        if len(self._stretches) > _MOST_STRETCHES:
            self._stretches.popleft()


class Aligner:
    """Turns pictures and samples on the media clock into frames; synchronous, time is given to it.

    A picture waits until its sound is complete, at most `deadline_s` on the scale of `now_s` (in a file: until sixty
    wait); sound that comes later goes to the next frame. After such a picture none waits until sound comes again. When
    no picture has come for `tick_s`, a frame without one carries the sound; polled often, that is more than five times
    a second.

    :param expects_sound: pictures wait for sound before any has come.
    :param live: ticks follow `now_s`; else they follow the sound itself, and only `_MOST_PENDING` bounds the wait.
    :param speech: somebody reads sound, and is to have it at 16 kHz as well.
    """

    def __init__(
        self, *, live: bool, expects_sound: bool, speech: bool = True, deadline_s: float = 0.3, tick_s: float = 0.15
    ) -> None:
        self._live, self._waits = live, expects_sound
        self._deadline_s, self._tick_s = deadline_s, tick_s
        self._pending: deque[TimedPicture] = deque()
        self._sound = SoundBuffer(speech=speech)
        self._index = 0
        self._last_time_s = 0.0
        self._last_emit_s: float | None = None
        self._relation = self._told = AS_LAID_OUT
        self._step: ClockStep | None = None
        self._ended = False

    def push_picture(self, picture: TimedPicture) -> None:
        """Add a picture."""
        self._pending.append(picture)

    def push_sound(self, start_s: float, samples: Samples, rate_hz: int, lost_before: int = 0) -> None:
        """Add a block of samples that was laid out at `start_s`, see `SoundBuffer.push`."""
        self._waits = True
        self._sound.push(start_s, samples, rate_hz, lost_before)

    def end(self) -> None:
        """Nothing more will come; `poll` then gives out all that is left."""
        self._ended = True
        self._sound.end()

    def poll(
        self,
        now_s: float,
        quality: Callable[[], ClockQuality],
        relation: Relation = AS_LAID_OUT,
        *,
        expected: bool = False,
    ) -> Iterator[Frame]:
        """The frames that are ready at `now_s` (on the scale of arrivals).

        :param quality: tells how well the relation between picture and sound is known now; asked only for a frame.
        :param relation: what that relation is; where it moves, samples that are already out stay where they were, and
            the next frame says by how much.
        :param expected: pictures are known to be on their way, so that no frame goes out without one.
        """
        self._relate(relation)
        while self._pending and self._complete(self._pending[0], now_s):
            yield self._emit(self._pending.popleft(), now_s, quality())
        if not self._pending and not (expected and self._live):
            yield from self._without_picture(now_s, quality)

    def _relate(self, relation: Relation) -> None:
        """Take the newest relation; movements add up until they are worth telling."""
        if relation == self._relation:
            return
        self._relation = relation
        step_s = self._told.laid_out(self._last_time_s) - relation.laid_out(self._last_time_s)
        if not self._sound.is_heard:
            self._told = relation
        elif abs(step_s) >= _STEP_S:
            slipped = relation.slips != self._told.slips
            step = ClockStep(1000 * step_s, slipped, relation.slip_s if slipped else None)
            self._step = step.after(self._step)
            self._told = relation
        else:  # slips that make up for each other are over, and what is corrected later is none
            self._told = dataclasses.replace(self._told, slips=relation.slips)

    @property
    def _heard_until_s(self) -> float:
        """Media time of the end of the last sample."""
        return self._relation.media(self._sound.end_s)

    def _complete(self, picture: TimedPicture, now_s: float) -> bool:
        if self._ended or not self._waits or self._heard_until_s >= picture.time_s:
            return True
        overdue = now_s - picture.arrival_s >= self._deadline_s if self._live else len(self._pending) > _MOST_PENDING
        self._waits = not overdue
        return overdue

    def _emit(self, timed: TimedPicture, now_s: float, clock: ClockQuality) -> Frame:
        index, self._index = self._index, self._index + 1
        frame = Frame(
            index=index,
            time_s=timed.time_s,
            arrival_s=timed.arrival_s,
            clock=clock,
            key_frame=timed.key_frame,
            corrupt=timed.corrupt,
            transport=timed.transport,
            maybe_picture=timed.picture,
            lost_before=timed.lost_before,
            reset=timed.reset,
        )
        return self._with_sound(frame, now_s)

    def _bare(self, time_s: float, now_s: float, clock: ClockQuality, *, all_of_it: bool = False) -> Frame:
        frame = Frame(index=None, time_s=time_s, arrival_s=now_s, clock=clock)
        return self._with_sound(frame, now_s, until_s=float("inf") if all_of_it else None)

    def _with_sound(self, frame: Frame, now_s: float, until_s: float | None = None) -> Frame:
        """The frame with what sounds up to its time, and the word of a step before it."""
        self._last_time_s, self._last_emit_s = frame.time_s, now_s
        sound = self._sound.take(self._relation.laid_out(frame.time_s) if until_s is None else until_s)
        if sound.rate_hz:
            start_s, start_16k_s = (self._relation.media(each_s) for each_s in (sound.start_s, sound.start_16k_s))
            sound = dataclasses.replace(sound, start_s=start_s, start_16k_s=start_16k_s)
        step, self._step = self._step, None
        return dataclasses.replace(frame, sound=sound, clock_step=step)

    def _without_picture(self, now_s: float, quality: Callable[[], ClockQuality]) -> Iterator[Frame]:
        if self._live and not self._ended:
            if self._last_emit_s is None:
                self._last_emit_s = now_s
            elif now_s - self._last_emit_s >= self._tick_s:
                yield self._bare(self._stalled_until_s(now_s - self._last_emit_s), now_s, quality())
            return
        slack_s = 0.0 if self._ended else _REORDER_S
        # sound that begins long after the last picture is a jump in the file's time, not a gap to fill
        begin_s = self._relation.media(self._sound.begin_s)
        self._last_time_s = max(self._last_time_s, min(begin_s, self._heard_until_s))
        while self._heard_until_s - slack_s >= self._last_time_s + self._tick_s:
            yield self._bare(self._last_time_s + self._tick_s, now_s, quality())
        while self._ended and self._sound.is_left:
            yield self._bare(max(self._heard_until_s, self._last_time_s + _STEP_S), now_s, quality(), all_of_it=True)

    def _stalled_until_s(self, elapsed_s: float) -> float:
        if self._heard_until_s > self._last_time_s:
            return self._heard_until_s
        return self._last_time_s + elapsed_s
