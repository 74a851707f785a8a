"""Packets of video into frames: complete ones go out at once, missing packets are waited for, but not for ever."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from vision.rtp.payload import PayloadFormat

__all__ = ["EncodedFrame", "FrameBuffer", "VideoPacket"]

_JOIN_S = 0.3  # how long the beginning of a stream is waited for
_MOST_HELD = 4096  # packets; seconds of any talking head


class VideoPacket(NamedTuple):
    """A packet of video: unwrapped numbers, when it came, its payload as sent and as the decoder wants it."""

    sequence: int
    timestamp: int
    marker: bool
    arrival_s: float
    payload: bytes
    data: bytes


@dataclass(frozen=True, slots=True)
class EncodedFrame:
    """A whole frame, ready to be decoded.

    :ivar timestamp: unwrapped RTP timestamp.
    :ivar arrival_s: when its first packet came.
    :ivar complete_s: when its last one did.
    :ivar key_frame: it needs no other frame.
    :ivar packets: how many it came in.
    :ivar lost_before: packets between the frame before and this one that were given up.
    :ivar restarted: the source counts anew from here.
    :ivar detached: it is the first one of another source, or of one that numbers its packets anew: what it builds on,
        if it builds on anything, has not come.
    """

    data: bytes
    timestamp: int
    arrival_s: float
    complete_s: float
    key_frame: bool
    packets: int
    lost_before: int = 0
    restarted: bool = False
    detached: bool = False


class _Hole(NamedTuple):
    last: int  # the last missing packet
    since_s: float


class FrameBuffer:
    """Assembles frames in the order of their packets.

    A frame goes out with the packet that carries the marker bit (RFC 3550, 5.1), or with the first one of the next
    frame, where the sender does not use the bit as it should. A hole is waited for `hold_s` from when it was noticed;
    then the frames it touches are given up, and the next whole one goes out. What comes first may not be the first:
    nothing goes out until a packet has come that a decoder can begin with, or for 0.3 s.

    :ivar lost: packets given up.
    :ivar late: packets that came after they had been given up, or before the first one that came.
    :ivar repeated: packets that had come before.
    :ivar incomplete: frames given up of which something had come.
    """

    def __init__(self, payload_format: PayloadFormat, hold_s: float) -> None:
        self.lost = self.late = self.repeated = self.incomplete = 0
        self._format, self._hold_s = payload_format, hold_s
        self._next: int | None = None
        self._joining_s = 0.0
        self._first = 0
        self._held: dict[int, VideoPacket] = {}
        self._frame: list[VideoPacket] = []
        self._holes: deque[_Hole] = deque()
        self._highest = 0
        self._given_up: set[int] = set()
        self._lost_before = 0
        self._restarted = self._detached = False
        self._unusable: int | None = None  # timestamp of a frame whose beginning is lost
        self._out_last: int | None = None
        self._marker_ends_frame, self._marker_seen = True, False

    @property
    def waits(self) -> bool:
        """Whether frames are held back for a missing packet."""
        return bool(self._held)

    @property
    def due_s(self) -> float | None:
        """When `expire` has something to do."""
        if self._next is None:
            return self._joining_s + _JOIN_S if self._held else None
        return self._holes[0].since_s + self._hold_s if self._held and self._holes else None

    @property
    def next(self) -> int | None:
        """The packet that is wanted next; those before it are of no use any more. `None` before there is a first."""
        return self._next

    def restart(self, *, restarted: bool) -> list[EncodedFrame]:
        """The source numbers its packets anew: whole frames that are held go out, the rest is given up.

        :param restarted: its timestamps count anew as well.
        """
        out = self.end()
        self._detached = self._detached or self._next is not None
        self._next, self._unusable, self._out_last = None, None, None
        self._given_up.clear()
        self._restarted = self._restarted or restarted
        return out

    def add(self, packet: VideoPacket) -> list[EncodedFrame]:
        """Take a packet; returns the frames that it completes."""
        sequence = packet.sequence
        if self._next is None:
            return self._join(packet)
        if sequence < self._next:
            self._note_too_late(sequence)
            return []
        if sequence > self._highest:
            if sequence > self._highest + 1:
                self._holes.append(_Hole(sequence - 1, packet.arrival_s))
            self._highest = sequence
        elif sequence in self._held:
            self.repeated += 1
            return []
        if sequence != self._next:
            self._held[sequence] = packet
            return self._skip() if len(self._held) > _MOST_HELD else []
        out: list[EncodedFrame] = []
        self._append(packet, out)
        if self._held:
            self._follow(out)
        return out

    def expire(self, now_s: float) -> list[EncodedFrame]:
        """Give up what has been waited for long enough; returns the frames that waited behind it."""
        out: list[EncodedFrame] = []
        while (due_s := self.due_s) is not None and now_s >= due_s:
            out += self._begin(min(self._held), now_s) if self._next is None else self._skip()
        return out

    def end(self) -> list[EncodedFrame]:
        """Nothing more will come: the whole frames that are held.

        A last one without its marker bit is whole only where the sender makes no use of the bit.
        """
        out: list[EncodedFrame] = []
        if self._next is None and self._held:
            out += self._begin(min(self._held), 0.0)
        while self._held:
            out += self._skip()
        if self._frame and self._marker_seen and self._marker_ends_frame:
            self._frame = []
            self.incomplete += 1
        elif self._frame:
            self._emit(out)
        self._holes.clear()
        return out

    def _join(self, packet: VideoPacket) -> list[EncodedFrame]:
        """Take a packet before it is known which is the first."""
        sequence = packet.sequence
        if sequence in self._held:
            self.repeated += 1
            return []
        if not self._held:
            self._joining_s = packet.arrival_s
        self._held[sequence] = packet
        if self._format.begins_stream(packet.payload):
            return self._begin(sequence, packet.arrival_s)
        return self._begin(min(self._held), packet.arrival_s) if len(self._held) > _MOST_HELD else []

    def _begin(self, first: int, now_s: float) -> list[EncodedFrame]:
        """Begin with a packet; what came before it is of no use."""
        for sequence in [number for number in self._held if number < first]:
            del self._held[sequence]
            self.late += 1
        self._next = self._first = first
        came = sorted(self._held)
        self._highest = came[-1]
        self._holes.extend(_Hole(later - 1, now_s) for sooner, later in pairwise(came) if later > sooner + 1)
        packet = self._held[first]
        if not self._format.begins_frame(packet.payload):
            self._unusable = packet.timestamp  # joined in the middle of a frame
        out: list[EncodedFrame] = []
        self._follow(out)
        return out

    def _note_too_late(self, sequence: int) -> None:
        if sequence in self._given_up or sequence < self._first:
            self._given_up.discard(sequence)
            self.late += 1
        else:
            self.repeated += 1

    def _follow(self, out: list[EncodedFrame]) -> None:
        while (packet := self._held.pop(self._next or 0, None)) is not None:
            self._append(packet, out)
        while self._holes and self._holes[0].last < (self._next or 0):
            self._holes.popleft()

    def _append(self, packet: VideoPacket, out: list[EncodedFrame]) -> None:
        """Take the packet whose turn it is."""
        self._next = packet.sequence + 1
        if packet.timestamp == self._unusable or not packet.payload:  # padding has no payload
            return
        self._unusable = None
        frame = self._frame
        if frame and frame[0].timestamp != packet.timestamp:
            self._emit(out)
            frame = self._frame
        elif not frame and packet.timestamp == self._out_last:
            self._marker_ends_frame = False  # it was set in the middle of a frame
        frame.append(packet)
        self._marker_seen = self._marker_seen or packet.marker
        if packet.marker and self._marker_ends_frame:
            self._emit(out)

    def _emit(self, out: list[EncodedFrame]) -> None:
        packets, self._frame = self._frame, []
        first = packets[0]
        self._out_last = first.timestamp
        out.append(
            EncodedFrame(
                data=first.data if len(packets) == 1 else b"".join([packet.data for packet in packets]),
                timestamp=first.timestamp,
                arrival_s=min([packet.arrival_s for packet in packets]),
                complete_s=max([packet.arrival_s for packet in packets]),
                key_frame=any(self._format.is_key_frame(packet.payload) for packet in packets),
                packets=len(packets),
                lost_before=self._lost_before,
                restarted=self._restarted,
                detached=self._detached,
            )
        )
        self._lost_before, self._restarted, self._detached = 0, False, False

    def _skip(self) -> list[EncodedFrame]:
        """Give up the first hole, and what of the frames around it has come."""
        assert self._next is not None
        first = min(self._held)
        missing = range(self._next, first)
        self.lost += len(missing)
        self._lost_before += len(missing)
        self._given_up = {number for number in self._given_up if number > first - _MOST_HELD} | set(missing)
        packet = self._held[first]
        begun = self._frame[0].timestamp if self._frame else None
        if begun is not None:
            self._frame = []
            self.incomplete += 1
        if packet.timestamp == begun:
            self._unusable = begun
        elif packet.timestamp != self._unusable and not self._format.begins_frame(packet.payload):
            self._unusable = packet.timestamp
            self.incomplete += 1
        self._next = first
        out: list[EncodedFrame] = []
        self._follow(out)
        return out
