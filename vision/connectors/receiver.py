"""The only place that touches names that aiortc and aioice keep to themselves.

What is taken from them: the raw RTP timestamp of every frame and the time its first packet arrived (aiortc counts
each track from its own first packet), host candidates on the loopback interface (aioice leaves 127.0.0.1 out), and
the candidate pair that was chosen.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import aiortc
from aiortc import RTCRtpReceiver, RTCRtpTransceiver
from aiortc.codecs.vpx import VpxPayloadDescriptor

from vision.errors import SourceError

__all__ = [
    "FirstPacket",
    "PacketLog",
    "RawTimestamps",
    "chosen_pair",
    "drop_sockets",
    "require_known_aiortc",
    "said_goodbye",
    "set_up_gathering",
]

_KNOWN = "1.16."
_MOST_OPEN = 4096  # timestamps whose frame has not come out yet
_HALF, _WRAP = 1 << 31, 1 << 32
_RECEIVED_SHUTDOWN = 2  # SSL_get_shutdown(3)


def require_known_aiortc() -> None:
    """Refuse a version whose inner workings were not looked at.

    :raises SourceError: when aiortc is not 1.16.x.
    """
    if not aiortc.__version__.startswith(_KNOWN):
        raise SourceError(f"aiortc {aiortc.__version__} is installed; needed: 1.16.x (pip install 'aiortc~=1.16.0')")


class RawTimestamps:
    """RTP timestamps beyond their 32 bits: the nearest value to the one before (RFC 3550, 5.1)."""

    def __init__(self) -> None:
        self._last: int | None = None

    def map(self, timestamp: int) -> int:
        """The unwrapped timestamp; the name is that of the object it replaces."""
        if self._last is None:
            self._last = timestamp
        else:
            self._last += (timestamp - self._last + _HALF) % _WRAP - _HALF
        return self._last


@dataclass(frozen=True, slots=True)
class FirstPacket:
    """The packet that a frame began with.

    :ivar arrival_s: when it came.
    :ivar key_frame: the frame needs no other; said by VP8 only, whose decoder in FFmpeg does not tell.
    """

    arrival_s: float
    key_frame: bool


class PacketLog:
    """What came in for one track: put between aiortc's router and its receiver."""

    def __init__(self, receiver: RTCRtpReceiver, now: Callable[[], float]) -> None:
        self.packets = self.octets = 0
        self.codec: str | None = None
        self._first: OrderedDict[int, FirstPacket] = OrderedDict()
        inner: Any = receiver
        self._receiver, self._now, self._handle = inner, now, inner._handle_rtp_packet
        inner._handle_rtp_packet = self._on_packet
        inner._RTCRtpReceiver__timestamp_mapper = RawTimestamps()

    async def _on_packet(self, packet: Any, arrival_time_ms: int) -> None:
        codec = self._receiver._RTCRtpReceiver__codecs.get(packet.payload_type)
        if codec is not None and codec.name.lower() != "rtx":
            self.codec = codec.name
            if packet.timestamp not in self._first:
                key_frame = codec.name.lower() == "vp8" and _begins_vp8_key_frame(packet.payload)
                self._first[packet.timestamp] = FirstPacket(self._now(), key_frame)
            if len(self._first) > _MOST_OPEN:
                self._first.popitem(last=False)
        self.packets += 1
        self.octets += len(packet.payload)
        await self._handle(packet, arrival_time_ms)

    def first_of(self, timestamp: int) -> FirstPacket | None:
        """The first packet of a frame, by its (unwrapped) timestamp; asked for once."""
        return self._first.pop(timestamp % _WRAP, None)

    def lost(self) -> int:
        """Packets lost and not repaired so far, over all sources of the track (RFC 3550, 6.4.1)."""
        streams = self._receiver._RTCRtpReceiver__remote_streams
        return sum(int(stream.packets_lost) for stream in streams.values())


def _begins_vp8_key_frame(payload: bytes) -> bool:
    """RFC 7741, 4.2 and 4.3: the start of partition 0, whose first bit is the inverse of `key frame`."""
    try:
        descriptor, data = VpxPayloadDescriptor.parse(payload)
    except ValueError:
        return False
    return bool(descriptor.partition_start and descriptor.partition_id == 0 and data and not data[0] & 1)


def set_up_gathering(transceiver: RTCRtpTransceiver, *, loopback: bool, limit_s: float) -> None:
    """Where the candidates come from, and how long STUN and TURN servers are waited for; call it before the offer.

    :param loopback: 127.0.0.1 is the first host candidate; for a server on this machine, also where there is no
        network. The others stay: a server in a container of this machine is spoken to through localhost, but has an
        address of its own, to which nothing can be sent from 127.0.0.1.
    """
    connection: Any = _connection(transceiver)
    gather = connection.get_component_candidates

    async def gather_within(component: int, addresses: list[str]) -> Any:
        chosen = ["127.0.0.1", *addresses] if loopback else addresses
        return await gather(component=component, addresses=chosen, timeout=limit_s)

    connection.get_component_candidates = gather_within


def chosen_pair(transceiver: RTCRtpTransceiver) -> dict[str, str] | None:
    """The candidate pair in use: types and addresses."""
    for pair in _connection(transceiver)._nominated.values():
        local, remote = pair.local_candidate, pair.remote_candidate
        return {
            "local": f"{local.type} {local.host}:{local.port}/{local.transport}",
            "remote": f"{remote.type} {remote.host}:{remote.port}/{remote.transport}",
        }
    return None


def said_goodbye(transceiver: RTCRtpTransceiver) -> bool:
    """Whether a connection whose tracks have ended was closed by its sender, by RTCP BYE or DTLS close_notify.

    aiortc says `closed` in that case and in that of a path that is lost.
    """
    dtls: Any = transceiver.receiver.transport
    return dtls.state == "connected" or bool(dtls._ssl.get_shutdown() & _RECEIVED_SHUTDOWN)


def drop_sockets(transceiver: RTCRtpTransceiver) -> None:
    """Close the sockets of a connection that did not close."""
    for protocol in _connection(transceiver)._protocols:
        protocol.transport.close()


def _connection(transceiver: RTCRtpTransceiver) -> Any:
    return transceiver.receiver.transport.transport._connection
