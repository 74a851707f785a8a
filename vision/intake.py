"""Where a connector hands in what it decodes: onto the media clock, aligned, and into the queue."""

from __future__ import annotations

import asyncio
import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from vision.align import Aligner, TimedPicture
from vision.clock import MediaClock, SaidBy, Track
from vision.frame import NO_SOUND, Cause, Frame, Losses, Picture, ResetReason, Samples, with_losses
from vision.rtp.statistics import SoundStatistics, VideoStatistics
from vision.stream import FrameStream

__all__ = ["DecodedPicture", "DecodedSound", "Intake", "Transport"]

_TICK_S, _STALLED_S = 0.05, 0.3
_HELD_UP_S, _DRAINED_S = 0.05, 0.1  # what waited in the sockets meanwhile is taken within the latter
_ROUNDING_S = 1e-6
_MOST_HOLDING_S = 1.5  # a missing packet is waited for 1 s; where no picture follows all the same, time goes on
_MOST_HELD = 900  # units held until the clock is ready


@dataclass(frozen=True, slots=True)
class DecodedPicture:
    """A picture as it comes from a connector; `track_s` is on the track's own time, `arrival_s` on the run's.

    :ivar lost_before: what is known to be missing between the picture before and this one.
    :ivar restarted: the track counts anew from here.
    """

    track_s: float
    arrival_s: float
    picture: Picture
    key_frame: bool = False
    corrupt: bool = False
    transport: Mapping[str, float | None] = field(default_factory=dict)
    lost_before: Losses = field(default_factory=dict)
    restarted: bool = False


@dataclass(frozen=True, slots=True)
class DecodedSound:
    """A block of samples, `(N,) float32` mono in -1..1, whose first one sounds at `track_s`.

    :ivar restarted: the track counts anew from here.
    :ivar lost_before: packets that were lost between the block before and this one.
    """

    track_s: float
    arrival_s: float
    samples: Samples
    rate_hz: int
    restarted: bool = False
    lost_before: int = 0


@dataclass(frozen=True, slots=True)
class Transport:
    """What was counted of a source that comes over RTP, on all its connections together."""

    video: VideoStatistics = field(default_factory=VideoStatistics)
    audio: SoundStatistics = field(default_factory=SoundStatistics)

    def as_dict(self) -> dict[str, dict[str, Any]]:
        """The counts by track and name."""
        return {"video": self.video.as_dict(), "audio": self.audio.as_dict()}


class Intake:
    """The connector's side of a run.

    :ivar facts: what the connector found out of its source (codecs, sizes, the path taken); goes into run.json.
    :ivar thorough: the source is being examined: every way to it is tried, also where the first one serves.
    :ivar transport: what a source that comes over RTP counts; others leave it alone.
    :ivar complete: set when a frame has come that lies beyond `until_s`; it and all later ones are ignored.
    :ivar last_media_s: when something last came.
    :ivar expecting: set by a connector while it is not known whether anything is missing at all; meanwhile no frames go
        out without a picture.
    :ivar holding: set by a connector that holds pictures back for what is missing before them; the same, for 1.5 s at
        most since the last picture.
    """

    def __init__(
        self,
        clock: MediaClock,
        aligner: Aligner,
        stream: FrameStream,
        *,
        until_s: float | None = None,
        thorough: bool = False,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.facts: dict[str, Any] = {}
        self.thorough = thorough
        self.transport: Transport | None = None
        self.complete = asyncio.Event()
        self.last_media_s: float | None = None
        self.expecting = self.holding = False
        self._until_s = until_s
        self._clock, self._aligner, self._stream = clock, aligner, stream
        self._now, self._started_s = now, now()
        self._holding_s = self._looked_s = self._last_frame_s = 0.0
        self._due_s, self._woke_s = math.inf, -math.inf  # when the loop was last held up
        self._held: list[DecodedPicture | DecodedSound] = []
        self._noted: Losses = {}
        self._reset: ResetReason | None = None
        self._turn = asyncio.Lock()

    def silent_s(self) -> float:
        """For how long nothing has come."""
        return self.now_s() - (self.last_media_s or 0.0)

    def now_s(self) -> float:
        """Seconds since the intake was made, the scale of arrivals; may be called from any thread."""
        return self._now() - self._started_s

    def note(self, cause: Cause, count: int = 0) -> None:
        """Say why pictures are missing where none follows that could say it."""
        self._noted = with_losses(self._noted, {cause: count})

    async def restart(self, cause: Cause) -> None:
        """The source begins anew, on another connection; what is missing between is put down to `cause`."""
        self._clock.settle()
        await self._advance()
        self._clock.restart("picture")
        self._clock.restart("sound")
        self.note(cause)
        self._reset = "reconnect"

    def note_clock(self) -> None:
        """Write into `facts` what is known of the clock at the end."""
        self.facts["clock"] = self._clock.facts()

    async def put(self, unit: DecodedPicture | DecodedSound) -> None:
        """Hand in a picture or a block of samples; waits where the queue's policy is to wait.

        :raises ValueError: when its times are no numbers.
        """
        self._take(unit)
        await self._advance()

    def put_nowait(self, unit: DecodedPicture | DecodedSound) -> None:
        """Hand in a picture or a block of samples of a live source, whose queue never waits.

        :raises ValueError: when its times are no numbers.
        """
        self._take(unit)
        for frame in self._frames():
            self._stream.put_nowait(frame)

    def relate(self, track: Track, track_s: float, sender_s: float, said_by: SaidBy) -> None:
        """The sender says that at `track_s` of a track its own time was `sender_s`, in seconds of any beginning.

        :raises ValueError: when these are no numbers.
        """
        if not (math.isfinite(track_s) and math.isfinite(sender_s)):
            raise ValueError(f"a sender's time of {sender_s} for {track_s}")
        self._clock.relate(track, track_s, sender_s, self.now_s(), said_by)

    def _take(self, unit: DecodedPicture | DecodedSound) -> None:
        if not (math.isfinite(unit.track_s) and math.isfinite(unit.arrival_s)):
            raise ValueError(f"a unit at the time {unit.track_s} that arrived at {unit.arrival_s}")
        self.last_media_s = self.now_s()
        track: Track = "picture" if isinstance(unit, DecodedPicture) else "sound"
        if unit.restarted:
            self._clock.restart(track)
        self._clock.observe(track, unit.track_s, unit.arrival_s)
        self._held.append(unit)
        if len(self._held) > _MOST_HELD:
            self._clock.settle()

    async def tick(self) -> None:
        """Let time pass where nothing arrives; runs until cancelled."""
        while True:
            asleep_s = self.now_s()
            await asyncio.sleep(_TICK_S)
            woke_s, due_s = self.now_s(), asleep_s + _TICK_S
            if woke_s - due_s >= _HELD_UP_S:
                self._due_s, self._woke_s = due_s, woke_s
            held_up = woke_s - asleep_s >= _STALLED_S  # what waits in the sockets goes first
            if not held_up and self._looked_s < asleep_s:  # nothing has come meanwhile that let time pass
                await self._advance()

    async def end(self) -> None:
        """Nothing more will come: what is held goes out."""
        self._clock.settle()
        self._aligner.end()
        await self._advance()
        now_s = self.now_s()
        if self._noted and self._clock.ready(now_s):  # no frame came that could have said it
            last = Frame(None, self._last_frame_s, now_s, self._clock.quality, NO_SOUND)
            await self._stream.put(self._with_notes(last))

    async def _advance(self) -> None:
        async with self._turn:  # the tracks and the tick come from tasks of their own
            for frame in self._frames():
                await self._stream.put(frame)

    def _frames(self) -> Iterator[Frame]:
        """The frames that are ready now."""
        now_s = self.now_s()
        if not self._clock.ready(now_s):
            return
        held, self._held = self._held, []
        for unit in held:
            self._push(unit)
        self._holding_s += now_s - self._looked_s if self.holding else 0.0
        self._looked_s = now_s
        expected = self.expecting or (self.holding and self._holding_s < _MOST_HOLDING_S)
        clock = self._clock
        for frame in self._aligner.poll(now_s, lambda: clock.quality, clock.relation, expected=expected):
            if self._until_s is not None and frame.time_s >= self._until_s - _ROUNDING_S:
                self.complete.set()
                return
            self._last_frame_s = frame.time_s
            yield self._with_notes(frame)

    def _with_notes(self, frame: Frame) -> Frame:
        """What was noted goes out with the next frame, whatever that is."""
        if not self._noted:
            return frame
        noted, self._noted = self._noted, {}
        return dataclasses.replace(frame, lost_before=with_losses(frame.lost_before, noted))

    def _push(self, unit: DecodedPicture | DecodedSound) -> None:
        if isinstance(unit, DecodedSound):
            start_s = self._clock.media_from_track("sound", unit.track_s)
            self._aligner.push_sound(start_s, unit.samples, unit.rate_hz, unit.lost_before)
            return
        reset: ResetReason | None = "reconnect" if unit.restarted else self._reset
        self._reset = None
        self._holding_s = 0.0
        self._aligner.push_picture(
            TimedPicture(
                time_s=self._clock.media_from_track("picture", unit.track_s),
                arrival_s=unit.arrival_s,
                picture=unit.picture,
                key_frame=unit.key_frame,
                corrupt=unit.corrupt,
                transport={**unit.transport, **self._held_up(unit.arrival_s)},
                lost_before=unit.lost_before,
                reset=reset,
            )
        )

    def _held_up(self, arrival_s: float) -> dict[str, float]:
        """For how long nothing could be taken, where something came while that was so, or waited for it to end."""
        if not self._due_s <= arrival_s <= self._woke_s + _DRAINED_S:
            return {}
        return {"held_up_ms": round(1000 * (self._woke_s - self._due_s), 3)}
