"""What went over a path, read from the headers that SRTP leaves in the clear: nothing here decrypts anything.

RTP headers with their extensions are authenticated, not encrypted (RFC 3711, 3.1), and so are the first eight bytes of
an RTCP packet (RFC 3711, 3.4). That is enough to say which packets were lost for good, which retransmissions repaired
one, and which were needless.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["Fate", "Formats", "Kind", "Ledger", "RtcpHeader", "RtpHeader", "StreamLedger", "rtcp_header", "rtp_header"]

Kind = Literal["audio", "video"]
_HALF, _WRAP = 1 << 15, 1 << 16
_RTCP_TYPES = range(192, 224)  # the second byte of RTCP that shares a port with RTP (RFC 5761, 4)
_FEEDBACK = {(205, 1): "nack", (206, 1): "pli", (206, 4): "fir"}  # RFC 4585, 6.2.1 and 6.3.1; RFC 5104, 4.3.1
_RTPMAP = re.compile(r"a=rtpmap:(\d+) ([^/\s]+)/")
_SECTION = re.compile(r"m=(audio|video) \S+ \S+")


@dataclass(frozen=True, slots=True)
class RtpHeader:
    """An RTP header (RFC 3550, 5.1); `extensions` as they are on the wire, `size_bytes` that of the whole packet."""

    payload_type: int
    marker: bool
    sequence_number: int
    timestamp: int
    ssrc: int
    extensions: bytes
    size_bytes: int


@dataclass(frozen=True, slots=True)
class RtcpHeader:
    """The header of the first packet in an RTCP datagram (RFC 3550, 6.4.1); `ssrc` is that of who sent it, `entries`
    are the words behind it and the other SSRC of a feedback packet: of a generic NACK, its pairs of PID and BLP."""

    packet_type: int
    format: int
    entries: int
    ssrc: int


def rtp_header(data: bytes) -> RtpHeader | None:
    """The header of a datagram; `None` where that is STUN, DTLS or RTCP (RFC 7983, 7; RFC 5761, 4)."""
    if len(data) < 12 or not 128 <= data[0] < 192 or data[1] in _RTCP_TYPES:
        return None
    end = start = 12 + 4 * (data[0] & 15)
    if data[0] & 16:
        end += 4 + 4 * int.from_bytes(data[start + 2 : start + 4])
    return RtpHeader(
        payload_type=data[1] & 127,
        marker=bool(data[1] & 128),
        sequence_number=int.from_bytes(data[2:4]),
        timestamp=int.from_bytes(data[4:8]),
        ssrc=int.from_bytes(data[8:12]),
        extensions=data[start:end],
        size_bytes=len(data),
    )


def rtcp_header(data: bytes) -> RtcpHeader | None:
    """The first header of an RTCP datagram; `None` where that is something else."""
    if len(data) < 8 or not 128 <= data[0] < 192 or data[1] not in _RTCP_TYPES:
        return None
    entries = max(0, int.from_bytes(data[2:4]) - 2)
    return RtcpHeader(data[1], data[0] & 31, entries, int.from_bytes(data[4:8]))


@dataclass(slots=True)
class Formats:
    """What the payload types of a session mean.

    :ivar kinds: audio or video, by payload type.
    :ivar retransmissions: the payload types of RFC 4588.
    """

    kinds: dict[int, Kind] = field(default_factory=dict)
    retransmissions: set[int] = field(default_factory=set)

    def name(self, payload_type: int) -> str:
        """A name for a stream that is the same in every session, whatever numbers that has agreed on."""
        kind = self.kinds.get(payload_type, payload_type)
        return f"rtx of {kind}" if payload_type in self.retransmissions else f"rtp of {kind}"

    def learn(self, sdp: str) -> None:
        """Take the payload types from an SDP."""
        kind: Kind | None = None
        for line in sdp.splitlines():
            if line.startswith("m="):
                section = _SECTION.match(line)
                kind = None if section is None else "audio" if section[1] == "audio" else "video"
            found = _RTPMAP.match(line)
            if found and kind:
                self.kinds[int(found[1])] = kind
                if found[2].lower() == "rtx":
                    self.retransmissions.add(int(found[1]))


@dataclass(slots=True)
class Fate:
    """One packet of a sender, and what became of it.

    :ivar sent_s: when it came by first, on the scale that the ledger is told.
    :ivar dropped: why its first copy was dropped; `None` where it was let through.
    :ivar arrived: a copy of it was let through, be it a retransmission.
    """

    timestamp: int
    sent_s: float
    dropped: str | None
    arrived: bool


@dataclass(slots=True)
class StreamLedger:
    """The media packets of one SSRC by their sequence number (beyond its 16 bits), and what was sent for them again.

    :ivar needless: retransmissions of what had arrived, arrives yet, or had been repaired before.
    :ivar repaired: dropped packets of which a retransmission was let through.
    :ivar unmatched: RTX packets whose original the clear headers do not tell; they are in no other count but
        `retransmissions`.
    """

    ssrc: int
    kind: Kind | None
    packets: dict[int, Fate] = field(default_factory=dict)
    retransmissions: int = 0
    retransmissions_dropped: int = 0
    needless: int = 0
    repaired: int = 0
    unmatched: int = 0
    _last: int | None = None

    @property
    def dropped(self) -> int:
        """Packets whose first copy was dropped."""
        return sum(fate.dropped is not None for fate in self.packets.values())

    @property
    def unseen(self) -> int:
        """Sequence numbers that never came by: lost before this path, or left out by the sender."""
        return max(self.packets) - min(self.packets) + 1 - len(self.packets) if self.packets else 0

    def lost(self, begin_s: float = float("-inf"), end_s: float = float("inf")) -> list[Fate]:
        """The packets sent in a time of which no copy was let through: they are truly lost."""
        return [fate for fate in self.sent(begin_s, end_s) if not fate.arrived]

    def sent(self, begin_s: float = float("-inf"), end_s: float = float("inf")) -> list[Fate]:
        """The packets sent in a time."""
        return [fate for fate in self.packets.values() if begin_s <= fate.sent_s < end_s]

    def note(self, header: RtpHeader, now_s: float, dropped: str | None) -> Fate:
        """Enter a packet of this SSRC; one that came by before is a retransmission."""
        number = self._unwrapped(header.sequence_number)
        fate = self.packets.get(number)
        if fate is None:
            fate = self.packets[number] = Fate(header.timestamp, now_s, dropped, arrived=dropped is None)
        else:
            self.note_again(fate, dropped)
        return fate

    def note_again(self, fate: Fate | None, dropped: str | None) -> None:
        """Enter a retransmission of a packet; `None`: of one that is not known."""
        self.retransmissions += 1
        self.retransmissions_dropped += dropped is not None
        if fate is None:
            self.unmatched += 1
        elif fate.arrived:
            self.needless += 1
        elif dropped is None:
            fate.arrived = True
            self.repaired += 1

    def _unwrapped(self, number: int) -> int:
        last = number if self._last is None else self._last
        found = last + (number - last + _HALF) % _WRAP - _HALF
        self._last = max(last, found)
        return found


class Ledger:
    """The accounts of one session, in the direction of its media; the other one is counted as RTCP.

    :ivar streams: by SSRC; those of RTX are accounted for with the packets they repeat.
    :ivar feedback: RTCP packets of the receiver: `nack`, `nack_entry` (pairs of PID and BLP), `pli`, `fir`, `other`;
        only the first packet of a compound one can be read.
    """

    def __init__(self) -> None:
        self.formats = Formats()
        self.streams: dict[int, StreamLedger] = {}
        self.feedback: Counter[str] = Counter()
        self._by_header: dict[tuple[Kind | None, int, bool, bytes], tuple[StreamLedger, Fate] | None] = {}

    def of(self, kind: Kind) -> list[StreamLedger]:
        """The streams of a kind, in the order they appeared."""
        return [stream for stream in self.streams.values() if stream.kind == kind]

    def note_media(self, header: RtpHeader, now_s: float, dropped: str | None) -> None:
        """Enter an RTP packet of the sender."""
        kind = self.formats.kinds.get(header.payload_type)
        # a retransmission in a stream of its own has the timestamp, the marker and the extensions of its original
        # (RFC 4588, 4, wants the first two); abs-send-time among them tells the packets of a picture apart
        signature = (kind, header.timestamp, header.marker, header.extensions)
        if header.payload_type in self.formats.retransmissions:
            self._note_rtx(kind, self._by_header.get(signature), dropped)
            return
        stream = self.streams.setdefault(header.ssrc, StreamLedger(header.ssrc, kind))
        known = len(stream.packets)
        fate = stream.note(header, now_s, dropped)
        if len(stream.packets) > known:
            self._by_header[signature] = None if signature in self._by_header else (stream, fate)

    def _note_rtx(self, kind: Kind | None, found: tuple[StreamLedger, Fate] | None, dropped: str | None) -> None:
        if found is not None:
            stream, fate = found
            stream.note_again(fate, dropped)
            return
        for stream in self.streams.values():
            if stream.kind == kind:
                stream.note_again(None, dropped)
                return

    def note_feedback(self, header: RtcpHeader) -> None:
        """Enter an RTCP packet of the receiver."""
        name = _FEEDBACK.get((header.packet_type, header.format), "other")
        self.feedback[name] += 1
        if name == "nack":
            self.feedback["nack_entry"] += header.entries
