"""The only place that touches names that aiortc and aioice keep to themselves.

What is taken from them: the raw RTP timestamp of every frame and the time its first packet arrived (aiortc counts
each track from its own first packet), host candidates on the loopback interface (aioice leaves 127.0.0.1 out), and
the candidate pair that was chosen.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import aiortc
from aiortc import RTCRtpReceiver, RTCRtpTransceiver

from vision.errors import SourceError

__all__ = [
    "PacketLog",
    "RawTimestamps",
    "chosen_pair",
    "gather_on_loopback",
    "is_loopback",
    "require_known_aiortc",
]

_KNOWN = "1.16."
_MOST_OPEN = 4096  # timestamps whose frame has not come out yet
_HALF, _WRAP = 1 << 31, 1 << 32


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


class PacketLog:
    """What came in for one track: put between aiortc's router and its receiver."""

    def __init__(self, receiver: RTCRtpReceiver, now: Callable[[], float]) -> None:
        self.packets = self.octets = 0
        self.codec: str | None = None
        self._arrivals: OrderedDict[int, float] = OrderedDict()
        inner: Any = receiver
        self._receiver, self._now, self._handle = inner, now, inner._handle_rtp_packet
        inner._handle_rtp_packet = self._on_packet
        inner._RTCRtpReceiver__timestamp_mapper = RawTimestamps()

    async def _on_packet(self, packet: Any, arrival_time_ms: int) -> None:
        codec = self._receiver._RTCRtpReceiver__codecs.get(packet.payload_type)
        if codec is not None and codec.name.lower() != "rtx":
            self.codec = codec.name
            self._arrivals.setdefault(packet.timestamp, self._now())
            if len(self._arrivals) > _MOST_OPEN:
                self._arrivals.popitem(last=False)
        self.packets += 1
        self.octets += len(packet.payload)
        await self._handle(packet, arrival_time_ms)

    def arrival_of(self, timestamp: int) -> float | None:
        """When the first packet of a frame came, by its (unwrapped) timestamp; asked for once."""
        return self._arrivals.pop(timestamp % _WRAP, None)

    def lost(self) -> int:
        """Packets lost and not repaired so far, over all sources of the track (RFC 3550, 6.4.1)."""
        streams = self._receiver._RTCRtpReceiver__remote_streams
        return sum(int(stream.packets_lost) for stream in streams.values())


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine's own."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def gather_on_loopback(transceiver: RTCRtpTransceiver) -> None:
    """Make 127.0.0.1 the only host candidate; for a server on this machine, also where there is no network."""
    connection: Any = _connection(transceiver)
    gather = connection.get_component_candidates

    async def on_loopback(component: int, addresses: list[str], **options: Any) -> Any:
        return await gather(component=component, addresses=["127.0.0.1"], **options)

    connection.get_component_candidates = on_loopback


def chosen_pair(transceiver: RTCRtpTransceiver) -> dict[str, str] | None:
    """The candidate pair in use: types and addresses."""
    for pair in _connection(transceiver)._nominated.values():
        local, remote = pair.local_candidate, pair.remote_candidate
        return {
            "local": f"{local.type} {local.host}:{local.port}/{local.transport}",
            "remote": f"{remote.type} {remote.host}:{remote.port}/{remote.transport}",
        }
    return None


def _connection(transceiver: RTCRtpTransceiver) -> Any:
    return transceiver.receiver.transport.transport._connection
