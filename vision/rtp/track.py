"""A received track: which source it listens to, its buffers, its repairs, its statistics."""

from __future__ import annotations

import math
from typing import NamedTuple

from vision.rtp.nack import NackList
from vision.rtp.payload import PayloadFormat
from vision.rtp.pictures import EncodedFrame, FrameBuffer, VideoPacket
from vision.rtp.sound import SoundPacket, SoundReorder
from vision.rtp.source import Reception, Unwrapper
from vision.rtp.statistics import SoundStatistics, TrackStatistics, VideoStatistics

__all__ = ["Arrived", "SoundTrack", "VideoTrack"]

_HOLD_S = 1.0  # how long a missing packet of video is asked for and waited for
_JUMP_S = 0.5  # timestamps that go so far from the time that passed count anew
_REACH_BACK = 8  # packets before the first one that came, where that is not the beginning
_PLI_FIRST_S = 0.15  # the beginning may be on its way
_PLI_EVERY_S = 0.5  # a key frame takes a while; asking more often only makes more of them
_FAR_S = 10.0  # no packet is so late: timestamps so far away are of another count
_GONE_S = 1.0  # a source that was left is listened to again only when the other has been silent for so long


class Arrived(NamedTuple):
    """A packet as it came: numbers as on the wire, retransmissions already restored to what they repeat.

    `payload` is as sent, `data` what the decoder wants of it; `arrival_s` is on the run's scale.
    """

    ssrc: int
    sequence: int
    timestamp: int
    marker: bool
    payload: bytes
    data: bytes
    arrival_s: float
    repaired: bool = False


class _Numbered(NamedTuple):
    sequence: int
    timestamp: int
    source_changed: bool
    restarted: bool


class _Sources:
    """The source that a track listens to, and those it has left."""

    def __init__(self, clock_rate_hz: int) -> None:
        self._clock_rate_hz = clock_rate_hz
        self._timestamps = Unwrapper(32)
        self._left: list[Reception] = []
        self._last: tuple[float, int] | None = None
        self.now: Reception | None = None

    def numbered(self, packet: Arrived) -> _Numbered | None:
        """The packet's numbers, unwrapped; `None` where it is not to be listened to."""
        changed = self._turn_to(packet)
        if changed is None or self.now is None:
            return None
        in_time = self._in_time(packet)
        extended = self.now.extended(packet.sequence, in_time=in_time)
        if extended is None:
            return None
        sequence, anew = extended
        timestamp = self._timestamps.unwrapped(packet.timestamp)
        restarted = (changed or anew) and self._jumps(timestamp, packet.arrival_s)
        if changed or anew or in_time is False:
            self.now.forget_transit()
        if not packet.repaired:
            self.now.note_transit(timestamp, packet.arrival_s)
            self._last = (packet.arrival_s, timestamp)
        return _Numbered(sequence, timestamp, changed or anew, restarted)

    def timestamp_near(self, ssrc: int, timestamp: int) -> int | None:
        """A timestamp of the source, unwrapped; `None` where it is of another one."""
        if self.now is None or self.now.ssrc != ssrc:
            return None
        return self._timestamps.nearest(timestamp)

    @property
    def lost(self) -> int:
        """Packets lost and not repaired, of all sources (RFC 3550, 6.4.1)."""
        return sum(reception.lost for reception in (*self._left, *([self.now] if self.now else [])))

    def _turn_to(self, packet: Arrived) -> bool | None:
        """Whether the source changes with this packet; `None` where it is of one that was left."""
        now = self.now
        if now is None:
            self.now = Reception(packet.ssrc, self._clock_rate_hz)
            return False
        if now.ssrc == packet.ssrc:
            return False
        silent = self._last is not None and packet.arrival_s - self._last[0] > _GONE_S
        if packet.repaired or (not silent and any(packet.ssrc == left.ssrc for left in self._left)):
            return None
        self._left.append(now)
        self.now = Reception(packet.ssrc, self._clock_rate_hz)
        return True

    def _in_time(self, packet: Arrived) -> bool | None:
        """Whether the timestamp goes on as time does; late packets lag behind it, which is neither yes nor no."""
        if self._last is None:
            return None
        counted = (packet.timestamp - self._last[1] + (1 << 31)) % (1 << 32) - (1 << 31)
        off_s = abs(counted / self._clock_rate_hz - (packet.arrival_s - self._last[0]))
        return True if off_s <= _JUMP_S else False if off_s > _FAR_S else None

    def _jumps(self, timestamp: int, arrival_s: float) -> bool:
        if self._last is None:
            return False
        passed_s, counted = arrival_s - self._last[0], timestamp - self._last[1]
        return abs(counted / self._clock_rate_hz - passed_s) > _JUMP_S


class _Track:
    """What both kinds of track have in common."""

    def __init__(self, statistics: TrackStatistics, buffer: FrameBuffer | SoundReorder, clock_rate_hz: int) -> None:
        self.clock_rate_hz = clock_rate_hz
        self._counted, self._counting = statistics, buffer
        self._sources = _Sources(clock_rate_hz)
        self._lost_before, self._repeated = statistics.packets_lost, 0

    @property
    def reception(self) -> Reception | None:
        """What receiver reports tell of the source."""
        return self._sources.now

    def time_s(self, ssrc: int, timestamp: int) -> float | None:
        """The track's time of a timestamp that a sender names, in seconds; `None` where it is of another source."""
        unwrapped = self._sources.timestamp_near(ssrc, timestamp)
        return None if unwrapped is None else unwrapped / self.clock_rate_hz

    def update_statistics(self) -> None:
        """Bring the sums up to date that are not counted packet by packet."""
        counted, buffer = self._counted, self._counting
        self._repeated += buffer.repeated
        counted.packets_lost = self._lost_before + self._sources.lost + self._repeated
        counted.packets_discarded += buffer.late
        counted.packets_repeated += buffer.repeated
        buffer.late = buffer.repeated = 0
        if self.reception is not None:
            counted.jitter_s = self.reception.jitter_s


class VideoTrack(_Track):
    """Pictures: packets in, whole frames out, and what is to be asked for meanwhile."""

    def __init__(self, payload_format: PayloadFormat, statistics: VideoStatistics, clock_rate_hz: int = 90_000) -> None:
        self.statistics = statistics
        self._buffer = FrameBuffer(payload_format, _HOLD_S)
        super().__init__(statistics, self._buffer, clock_rate_hz)
        self._nacks = NackList(_HOLD_S)
        self._format = payload_format
        self._key_frame_wanted = True
        self._asked_s: float | None = None  # `None`: nothing has come yet

    @property
    def given_up(self) -> int:
        """Packets that are no longer waited for."""
        return self._buffer.lost

    @property
    def waits(self) -> bool:
        """Whether frames are held back for missing packets."""
        return self._buffer.waits

    @property
    def due_s(self) -> float | None:
        """When `tick` has something to do."""
        if not self._buffer.waits:
            return self._nacks.tail_due_s
        return min((due for due in (self._buffer.due_s, self._nacks.due_s()) if due is not None), default=None)

    def add(self, packet: Arrived) -> list[EncodedFrame]:
        """Take a packet; returns the frames that it completes."""
        numbered = self._sources.numbered(packet)
        if numbered is None:
            return []
        out: list[EncodedFrame] = []
        if numbered.source_changed:
            out += self._buffer.restart(restarted=numbered.restarted)
            self._nacks = NackList(_HOLD_S)
            self._key_frame_wanted, self._asked_s = True, None
        if self._asked_s is None:
            self._begin(numbered.sequence, packet)
        given_up = self._nacks.note(
            numbered.sequence, packet.arrival_s, repaired=packet.repaired, ends_frame=packet.marker
        )
        out += self._buffer.add(
            VideoPacket(
                numbered.sequence,
                numbered.timestamp,
                packet.marker,
                packet.arrival_s,
                packet.payload,
                packet.data,
            )
        )
        if given_up:  # nothing of it is asked for, so that nothing of it is worth waiting for
            self.want_key_frame()
            out += self._buffer.expire(math.inf)
        return self._out(out, packet.arrival_s)

    def _begin(self, sequence: int, packet: Arrived) -> None:
        """The first packet of a source: of the key frame that is to be expected, or of what was lost of it."""
        begins = self._format.begins_stream(packet.payload)
        self._asked_s = packet.arrival_s - (0.0 if begins else _PLI_EVERY_S - _PLI_FIRST_S)
        if not begins:
            self._nacks.reach_back(sequence, _REACH_BACK, packet.arrival_s)

    def tick(self, now_s: float) -> tuple[list[EncodedFrame], list[int]]:
        """Let time pass: the frames that waited behind what is given up now, and the packets to ask for (16 bits)."""
        out = self._buffer.expire(now_s)
        if self._buffer.next is not None and (out or not self._buffer.waits):
            self._nacks.forget(self._buffer.next)
        # in the order of their 16 bits: aiortc packs them so, and fails where they wrap
        asked = sorted(number & 0xFFFF for number in self._nacks.due(now_s))
        return self._out(out, now_s), asked

    def end(self, now_s: float) -> list[EncodedFrame]:
        """Nothing more will come: the frames that are held."""
        return self._out(self._buffer.end(), now_s)

    def want_key_frame(self) -> None:
        """A picture was lost, or could not be decoded."""
        self._key_frame_wanted = True

    def asks_for_key_frame(self, now_s: float) -> bool:
        """Whether to send a picture loss indication now (RFC 4585, 6.3.1); again until a key frame comes."""
        if not self._key_frame_wanted or self._asked_s is None or now_s - self._asked_s < _PLI_EVERY_S:
            return False
        self._asked_s = now_s
        return True

    def update_statistics(self) -> None:
        """Bring the sums up to date that are not counted packet by packet."""
        super().update_statistics()
        self.statistics.frames_dropped += self._buffer.incomplete
        self._buffer.incomplete = 0

    def _out(self, frames: list[EncodedFrame], now_s: float) -> list[EncodedFrame]:
        for frame in frames:
            self.statistics.frames_received += 1
            self.statistics.jitter_buffer_delay_s += now_s - frame.arrival_s
            self.statistics.jitter_buffer_emitted_count += 1
            if frame.key_frame:
                self._key_frame_wanted = False
            elif frame.lost_before:
                self._key_frame_wanted = True
        return frames


class SoundTrack(_Track):
    """Sound: packets in, packets in order out."""

    def __init__(self, statistics: SoundStatistics, clock_rate_hz: int) -> None:
        self.statistics = statistics
        self._reorder = SoundReorder()
        super().__init__(statistics, self._reorder, clock_rate_hz)

    @property
    def due_s(self) -> float | None:
        """When `tick` has something to do."""
        return self._reorder.due_s

    def add(self, packet: Arrived) -> list[SoundPacket]:
        """Take a packet; returns those whose turn it is."""
        numbered = self._sources.numbered(packet)
        if numbered is None:
            return []
        out: list[SoundPacket] = []
        if numbered.source_changed:
            out += self._reorder.restart()
        out += self._reorder.add(
            SoundPacket(
                numbered.sequence, numbered.timestamp, packet.arrival_s, packet.data, restarted=numbered.restarted
            ),
            packet.arrival_s,
        )
        return out

    def tick(self, now_s: float) -> list[SoundPacket]:
        """Let time pass: the packets that waited behind what is given up now."""
        return self._reorder.expire(now_s)

    def end(self) -> list[SoundPacket]:
        """Nothing more will come: the packets that are held."""
        return self._reorder.end()
