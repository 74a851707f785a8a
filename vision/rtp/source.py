"""One source of RTP packets (an SSRC): its numbers beyond 16 and 32 bits, and the statistics of RFC 3550, app. A."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Reception", "Unwrapper"]

_MAX_DROPOUT = _MAX_MISORDER = 3000  # RFC 3550, A.1; late packets are repaired ones, so the same is allowed backwards
_MAX_STEP = 100  # how far numbers may go on where timestamps do not


class Unwrapper:
    """Numbers beyond their bits: the nearest value to the one before (RFC 3550, 5.1)."""

    __slots__ = ("_half", "_last", "_wrap")

    def __init__(self, bits: int) -> None:
        self._half, self._wrap = 1 << (bits - 1), 1 << bits
        self._last: int | None = None

    def unwrapped(self, number: int) -> int:
        """The number with the wraps it has gone through; may go back as well as on."""
        self._last = near = self.nearest(number)
        return near

    def nearest(self, number: int) -> int:
        """As `unwrapped`, but what comes later is not measured against it."""
        last = self._last
        return number if last is None else last + (number - last + self._half) % self._wrap - self._half


@dataclass(slots=True)
class Reception:
    """What was received of one source, by its sequence numbers.

    :ivar received: packets, repaired and repeated ones included (RFC 3550, 6.4.1).
    :ivar jitter_s: interarrival jitter in seconds (RFC 3550, 6.4.1 and A.8).
    """

    ssrc: int
    clock_rate_hz: int
    received: int = 0
    jitter_s: float = 0.0
    _first: int | None = None
    _highest: int = 0
    _suspect: int | None = None
    _transit: tuple[float, int] | None = None
    _before: tuple[int, int] = (0, 0)

    def extended(self, sequence: int, *, in_time: bool | None = None) -> tuple[int, bool] | None:
        """The sequence number beyond its 16 bits, and whether the source has begun anew with it.

        `None` for a stray: a number far from all others counts only when the next one follows it (RFC 3550, A.1).

        :param in_time: whether the packet's timestamp goes on as time does, which tells the loss of very many packets
            from a new beginning, and a new beginning that happens to be near from packets that are late or lost; `None`
            where it cannot be told.
        """
        if self._first is None:
            self._first = self._highest = sequence
            self.received = 1
            return sequence, False
        extended = self._highest + (sequence - self._highest + 0x8000) % 0x10000 - 0x8000
        if self._goes_on(extended - self._highest, in_time):
            self._highest = max(self._highest, extended)
            self._first = min(self._first, extended)  # the first to come need not be the first that was sent
            self.received += 1
            return extended, False
        if sequence != self._suspect:
            self._suspect = (sequence + 1) % 0x10000
            return None
        self._suspect = None
        # what was lost before stays counted: the new numbers go on behind the old ones
        behind = self._highest + 0x10000
        extended = behind + (sequence - behind) % 0x10000
        self._first += extended - self._highest - 1
        self._highest = extended
        self.received += 1
        return extended, True

    @staticmethod
    def _goes_on(step: int, in_time: bool | None) -> bool:
        if in_time is False:
            return 0 < step <= _MAX_STEP
        return step >= -_MAX_MISORDER and (in_time is True or step <= _MAX_DROPOUT)

    @property
    def highest(self) -> int:
        """The highest sequence number received, extended."""
        return self._highest

    @property
    def expected(self) -> int:
        """Packets that should have come."""
        return 0 if self._first is None else self._highest - self._first + 1

    @property
    def lost(self) -> int:
        """Packets lost and not repaired; duplicates make it smaller, even negative (RFC 3550, 6.4.1)."""
        return self.expected - self.received

    def fraction_lost(self) -> int:
        """The share lost since it was last asked for, in 256ths (RFC 3550, A.3)."""
        expected, received = self.expected - self._before[0], self.received - self._before[1]
        self._before = (self.expected, self.received)
        return max(0, ((expected - received) << 8) // expected) if expected > 0 else 0

    @property
    def transit_s(self) -> float | None:
        """Arrival of the newest packet that was no repair, less its RTP time; only differences mean something."""
        return None if self._transit is None else self._transit[0] - self._transit[1] / self.clock_rate_hz

    def note_transit(self, timestamp: int, arrival_s: float) -> None:
        """Take a packet's unwrapped RTP timestamp and its arrival into the jitter."""
        if self._transit is not None:
            before_s, before = self._transit
            if timestamp == before:
                return
            difference_s = abs((arrival_s - before_s) - (timestamp - before) / self.clock_rate_hz)
            self.jitter_s += (difference_s - self.jitter_s) / 16
        self._transit = (arrival_s, timestamp)

    def forget_transit(self) -> None:
        """The timestamps have begun anew."""
        self._transit = None
