"""The bounded queue between the connector and the processors: it waits or drops, and it counts."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from vision.frame import Frame, with_losses

__all__ = ["FrameStream", "Policy", "StreamStatistics"]

Policy = Literal["every", "latest"]


@dataclass(frozen=True, slots=True)
class StreamStatistics:
    """What went through a `FrameStream` so far.

    `received`, `delivered` and `dropped` count pictures; `waiting` counts frames in the queue now; `worst_age_ms`
    is the longest that a frame has waited in the queue.
    """

    size: int
    policy: Policy
    received: int
    delivered: int
    dropped: int
    waiting: int
    worst_age_ms: float


class FrameStream:
    """An async-iterable queue of frames, for one producer and one consumer.

    With policy `every`, `put` waits for room: the source is slowed down, nothing is lost. With `latest`, `put`
    never waits: the oldest frame loses its picture and leaves its sound to the next one, so that sound stays whole.

    :param size: how many frames may wait, at least 1.
    """

    def __init__(self, size: int, policy: Policy, now: Callable[[], float] = time.monotonic) -> None:
        if size < 1:
            raise ValueError(f"a queue of size {size}; allowed: 1 or more")
        self._size, self._policy, self._now = size, policy, now
        self._waiting: deque[tuple[float, Frame]] = deque()
        self._closed = False
        self._filled, self._emptied = asyncio.Event(), asyncio.Event()
        self._received = self._delivered = self._dropped = 0
        self._worst_age_s = 0.0

    async def put(self, frame: Frame) -> None:
        """Add a frame; after `close` it is ignored."""
        while self._policy == "every" and len(self._waiting) >= self._size and not self._closed:
            self._emptied.clear()
            await self._emptied.wait()
        self.put_nowait(frame)

    def put_nowait(self, frame: Frame) -> None:
        """Add a frame without waiting: where there is no room, the oldest one gives up its picture."""
        if self._closed:
            return
        self._received += frame.maybe_picture is not None
        if len(self._waiting) >= self._size:
            frame = self._drop_oldest(frame)
        self._waiting.append((self._now(), frame))
        self._filled.set()

    def close(self) -> None:
        """No more frames will come; those that wait are still delivered."""
        self._closed = True
        self._filled.set()
        self._emptied.set()

    def discard(self) -> None:
        """Close, and give up what waits, as if it had not come: the run ends before it."""
        self._received -= sum(frame.maybe_picture is not None for _, frame in self._waiting)
        self._waiting.clear()
        self.close()

    def __aiter__(self) -> FrameStream:
        return self

    async def __anext__(self) -> Frame:
        while not self._waiting:
            if self._closed:
                raise StopAsyncIteration
            self._filled.clear()
            await self._filled.wait()
        put_at, frame = self._waiting.popleft()
        self._emptied.set()
        self._worst_age_s = max(self._worst_age_s, self._now() - put_at)
        self._delivered += frame.maybe_picture is not None
        return frame

    def statistics(self) -> StreamStatistics:
        """The counts so far."""
        return StreamStatistics(
            size=self._size,
            policy=self._policy,
            received=self._received,
            delivered=self._delivered,
            dropped=self._dropped,
            waiting=len(self._waiting),
            worst_age_ms=1000 * self._worst_age_s,
        )

    def _drop_oldest(self, newest: Frame) -> Frame:
        """Make room; what the frame that goes leaves is put before what the one behind it has."""
        _, victim = self._waiting.popleft()
        self._dropped += victim.maybe_picture is not None
        if not self._waiting:
            return _heir(victim, newest)
        put_at, heir = self._waiting[0]
        self._waiting[0] = (put_at, _heir(victim, heir))
        return newest


def _heir(dropped: Frame, later: Frame) -> Frame:
    """The later frame with the sound of the one that was dropped before it, and the word that it was."""
    lost = with_losses(dropped.lost_before, later.lost_before)
    step = later.clock_step
    heard = dropped.sound.shifted(step.ms / 1000) if step is not None else dropped.sound
    if dropped.maybe_picture is not None:
        lost = with_losses(lost, {"overload": 1})
    return dataclasses.replace(
        later,
        sound=later.sound.after(heard),
        lost_before=lost,
        reset=dropped.reset or later.reset,
        clock_step=step.after(dropped.clock_step) if step is not None else dropped.clock_step,
    )
