"""The tracks that aiortc sends: packets made ahead of their time, handed over on the beat of the media clock."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any

import av
from aiortc.clock import current_ntp_time
from aiortc.mediastreams import MediaStreamTrack

from vision.simulator.studio import Parcel


class MediaClock:
    """Media time 0 is the moment of `start()`; one clock for both tracks of a viewer."""

    def __init__(self) -> None:
        self._started = asyncio.Event()
        self._start_s = 0.0
        self._start_ntp = 0

    def start(self) -> None:
        """Starts the clock; again is no harm."""
        if not self._started.is_set():
            self._start_s, self._start_ntp = time.monotonic(), current_ntp_time()
            self._started.set()

    async def reach(self, time_s: float) -> None:
        """Returns at the media time, or at once where it has passed."""
        await self._started.wait()
        delay_s = self._start_s + time_s - time.monotonic()
        if delay_s > 0:
            await asyncio.sleep(delay_s)

    def ntp(self, time_s: float) -> int:
        """The media time as a 64-bit NTP time stamp (RFC 3550, section 4)."""
        return self._start_ntp + int(time_s * (1 << 32))


class PacedTrack(MediaStreamTrack):
    """Sends what `make` makes, each parcel when it is due; `depth` parcels are in the making ahead of time."""

    def __init__(
        self, kind: str, clock: MediaClock, executor: Executor, make: Callable[[], Parcel], depth: int
    ) -> None:
        super().__init__()
        self.kind = kind
        self.clock = clock
        self.on_sent: Callable[[Parcel], None] = lambda parcel: None
        self.last_time_s: float | None = None
        """Media time of the parcel handed over last."""
        self._executor = executor
        self._make = make
        self._making: deque[asyncio.Future[Parcel]] = deque()
        for _ in range(depth):
            self._order()

    async def ready(self) -> None:
        """Returns once the first parcel has been made, or could not be."""
        await asyncio.wait([self._making[0]])

    async def recv(self) -> "av.Packet[Any]":
        """The next packet, when it is due."""
        parcel = await self._making.popleft()
        self._order()
        await self.clock.reach(parcel.due_s)
        self.last_time_s = parcel.time_s
        self.on_sent(parcel)
        return parcel.packet

    def stop(self) -> None:
        """Ends the track; what is in the making is thrown away."""
        super().stop()
        while self._making:
            self._making.pop().cancel()

    def _order(self) -> None:
        self._making.append(asyncio.get_running_loop().run_in_executor(self._executor, self._make))
