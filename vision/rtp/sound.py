"""Packets of sound in their order: without delay where they come so, and a short wait where one is missing."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["SoundPacket", "SoundReorder"]

_MOST_HELD = 256


class SoundPacket(NamedTuple):
    """A packet of sound: unwrapped numbers, when it came, and its coded samples.

    `lost_before` packets before it never came; with `restarted` the source counts anew.
    """

    sequence: int
    timestamp: int
    arrival_s: float
    data: bytes
    lost_before: int = 0
    restarted: bool = False


class SoundReorder:
    """Puts packets in order. One that is missing is waited for 60 ms from when that was noticed, then it is lost.

    :ivar lost: packets given up.
    :ivar late: packets that came after they had been given up, or before the first one that came; they are thrown
        away.
    :ivar repeated: packets that had come before.
    """

    def __init__(self, wait_s: float = 0.06) -> None:
        self.lost = self.late = self.repeated = 0
        self._wait_s = wait_s
        self._next: int | None = None
        self._held: dict[int, SoundPacket] = {}
        self._first = self._highest = 0
        self._holes: deque[tuple[int, float]] = deque()  # the last missing packet, and when that was noticed
        self._given_up: set[int] = set()
        self._lost_before = 0

    def add(self, packet: SoundPacket, now_s: float) -> list[SoundPacket]:
        """Take a packet; returns those whose turn it is."""
        if self._next is None:
            self._next = self._first = self._highest = packet.sequence
        if packet.sequence < self._next:
            if packet.sequence in self._given_up or packet.sequence < self._first:
                self._given_up.discard(packet.sequence)
                self.late += 1
            else:
                self.repeated += 1
            return []
        if packet.sequence in self._held:
            self.repeated += 1
            return []
        return self._take(packet, now_s)

    def expire(self, now_s: float) -> list[SoundPacket]:
        """Give up what has been waited for long enough; returns the packets that waited behind it."""
        out: list[SoundPacket] = []
        while (due_s := self.due_s) is not None and (now_s >= due_s or len(self._held) > _MOST_HELD):
            out += self._skip()
        return out

    @property
    def due_s(self) -> float | None:
        """When `expire` has something to do."""
        return self._holes[0][1] + self._wait_s if self._holes else None

    def end(self) -> list[SoundPacket]:
        """Nothing more will come: what is held, in order."""
        out: list[SoundPacket] = []
        while self._held:
            out += self._skip()
        return out

    def restart(self) -> list[SoundPacket]:
        """The source numbers its packets anew; what is held goes out."""
        rest = self.end()
        self._next = None
        self._given_up.clear()
        return rest

    def _take(self, packet: SoundPacket, now_s: float) -> list[SoundPacket]:
        if packet.sequence > self._highest + 1:
            self._holes.append((packet.sequence - 1, now_s))
        self._highest = max(self._highest, packet.sequence)
        self._held[packet.sequence] = packet
        out = list(self._released())
        if len(self._held) > _MOST_HELD:
            out += self.expire(now_s)
        return out

    def _released(self) -> Iterator[SoundPacket]:
        while (packet := self._held.pop(self._next or 0, None)) is not None:
            self._next = packet.sequence + 1
            if self._lost_before:
                packet, self._lost_before = packet._replace(lost_before=self._lost_before), 0
            yield packet
        while self._holes and self._holes[0][0] < (self._next or 0):
            self._holes.popleft()

    def _skip(self) -> list[SoundPacket]:
        first = min(self._held)
        missing = range(self._next or 0, first)
        self.lost += len(missing)
        self._lost_before += len(missing)
        self._given_up = {number for number in self._given_up if number > first - _MOST_HELD} | set(missing)
        self._next = first
        return list(self._released())
