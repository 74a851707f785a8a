"""Where a connector hands in what it decodes: onto the media clock, aligned, and into the queue."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from vision.align import Aligner, TimedPicture
from vision.clock import MediaClock, Track
from vision.frame import Picture, Samples
from vision.stream import FrameStream

__all__ = ["DecodedPicture", "DecodedSound", "Intake"]

_TICK_S = 0.05
_ROUNDING_S = 1e-6
_MOST_HELD = 900  # units held until the clock is ready


@dataclass(frozen=True, slots=True)
class DecodedPicture:
    """A picture as it comes from a connector; `track_s` is on the track's own time, `arrival_s` on the run's."""

    track_s: float
    arrival_s: float
    picture: Picture
    key_frame: bool = False
    corrupt: bool = False
    transport: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DecodedSound:
    """A block of samples, `(N,) float32` mono in -1..1, whose first one sounds at `track_s`."""

    track_s: float
    arrival_s: float
    samples: Samples
    rate_hz: int


class Intake:
    """The connector's side of a run.

    :ivar facts: what the connector found out of its source (codecs, sizes, the path taken); goes into run.json.
    :ivar complete: set when a frame has come that lies beyond `until_s`; it and all later ones are ignored.
    :ivar last_media_s: when something last came.
    """

    def __init__(
        self,
        clock: MediaClock,
        aligner: Aligner,
        stream: FrameStream,
        *,
        until_s: float | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.facts: dict[str, Any] = {}
        self.complete = asyncio.Event()
        self.last_media_s: float | None = None
        self._until_s = until_s
        self._clock, self._aligner, self._stream = clock, aligner, stream
        self._now, self._started_s = now, now()
        self._held: list[DecodedPicture | DecodedSound] = []
        self._turn = asyncio.Lock()

    def silent_s(self) -> float:
        """For how long nothing has come."""
        return self.now_s() - (self.last_media_s or 0.0)

    def now_s(self) -> float:
        """Seconds since the intake was made, the scale of arrivals; may be called from any thread."""
        return self._now() - self._started_s

    async def put(self, unit: DecodedPicture | DecodedSound) -> None:
        """Hand in a picture or a block of samples; waits where the queue's policy is to wait.

        :raises ValueError: when its times are no numbers.
        """
        if not (math.isfinite(unit.track_s) and math.isfinite(unit.arrival_s)):
            raise ValueError(f"a unit at the time {unit.track_s} that arrived at {unit.arrival_s}")
        self.last_media_s = self.now_s()
        track: Track = "picture" if isinstance(unit, DecodedPicture) else "sound"
        self._clock.observe(track, unit.track_s, unit.arrival_s)
        self._held.append(unit)
        if len(self._held) > _MOST_HELD:
            self._clock.settle()
        await self._advance()

    async def tick(self) -> None:
        """Let time pass where nothing arrives; runs until cancelled."""
        while True:
            await asyncio.sleep(_TICK_S)
            await self._advance()

    async def end(self) -> None:
        """Nothing more will come: what is held goes out."""
        self._clock.settle()
        self._aligner.end()
        await self._advance()

    async def _advance(self) -> None:
        async with self._turn:  # the tracks and the tick come from tasks of their own
            now_s = self.now_s()
            if not self._clock.ready(now_s):
                return
            held, self._held = self._held, []
            for unit in held:
                self._push(unit)
            for frame in self._aligner.poll(now_s, self._clock.quality):
                if self._until_s is not None and frame.time_s >= self._until_s - _ROUNDING_S:
                    self.complete.set()
                    return
                await self._stream.put(frame)

    def _push(self, unit: DecodedPicture | DecodedSound) -> None:
        if isinstance(unit, DecodedSound):
            start_s = self._clock.media_from_track("sound", unit.track_s)
            self._aligner.push_sound(start_s, unit.samples, unit.rate_hz)
            return
        self._aligner.push_picture(
            TimedPicture(
                time_s=self._clock.media_from_track("picture", unit.track_s),
                arrival_s=unit.arrival_s,
                picture=unit.picture,
                clock=self._clock.quality,
                key_frame=unit.key_frame,
                corrupt=unit.corrupt,
                transport=unit.transport,
            )
        )
