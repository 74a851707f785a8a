"""What the simulator needs of aiortc and aioice that they do not offer: the only place that touches private names."""

import struct
from collections.abc import Callable

from aioice import Candidate, Connection
from aiortc import RTCPeerConnection, RTCRtpSender
from aiortc.rtp import (
    AnyRtcpPacket,
    HeaderExtensions,
    HeaderExtensionsMap,
    RtcpSrPacket,
    pack_header_extensions,
    unpack_header_extensions,
)
from aiortc.sdp import SessionDescription

from vision.simulator.reports import CaptureTimes, Reports
from vision.simulator.tracks import PacedTrack

CAPTURE_TIME_URI = "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time"


def gather_on_loopback(peer: RTCPeerConnection) -> None:
    """Makes a peer offer 127.0.0.1, which aioice leaves out, and nothing else. To be called before it gathers."""
    for transceiver in peer.getTransceivers():
        _gather_on_loopback(transceiver.sender.transport.transport._connection)


def _gather_on_loopback(connection: Connection) -> None:
    gather = connection.get_component_candidates

    async def on_loopback(component: int, addresses: list[str]) -> list[Candidate]:
        return await gather(component=component, addresses=["127.0.0.1"])

    connection.get_component_candidates = on_loopback  # type: ignore[assignment, method-assign]


def on_key_frame_request(sender: RTCRtpSender, requested: Callable[[], None]) -> None:
    """Calls `requested` for each PLI and FIR."""
    sender._send_keyframe = requested  # type: ignore[method-assign]


def report(sender: RTCRtpSender, reports: Reports) -> None:
    """Makes a sender's reports state the times of `reports`."""
    send_rtcp = sender._send_rtcp

    async def send(packets: list[AnyRtcpPacket]) -> None:
        for packet in packets:
            if isinstance(packet, RtcpSrPacket):
                ntp = reports.ntp(packet.sender_info.ntp_timestamp)
                if ntp is None:
                    return
                packet.sender_info.ntp_timestamp = ntp
        await send_rtcp(packets)

    sender._send_rtcp = send  # type: ignore[method-assign]


def send_capture_times(peer: RTCPeerConnection, offer: SessionDescription) -> None:
    """Accepts abs-capture-time for the tracks for which it is offered, and sends it.

    To be called between the offer and the answer.
    """
    offered = {media.rtp.muxId: media.rtp.headerExtensions for media in offer.media}
    for transceiver in peer.getTransceivers():
        track = transceiver.sender.track
        extension = next((one for one in offered.get(transceiver.mid or "", []) if one.uri == CAPTURE_TIME_URI), None)
        if extension is None or not isinstance(track, PacedTrack):
            continue
        if extension not in transceiver._headerExtensions:
            transceiver._headerExtensions.append(extension)
        extensions = _WithCaptureTime(extension.id, CaptureTimes(track))
        transceiver.sender._RTCRtpSender__rtp_header_extensions_map = extensions  # type: ignore[attr-defined]


class _WithCaptureTime(HeaderExtensionsMap):
    """Writes abs-capture-time beside the header extensions that aiortc knows."""

    def __init__(self, number: int, times: CaptureTimes) -> None:
        super().__init__()
        self._number = number
        self._times = times

    def set(self, values: HeaderExtensions) -> tuple[int, bytes]:
        """Packs the extensions of a packet; those of one that is sent again are the same."""
        remembered = vars(values)
        if "abs_capture_time" not in remembered:
            remembered["abs_capture_time"] = self._times.due()
        ntp: int | None = remembered["abs_capture_time"]
        packed = super().set(values)
        if ntp is None:
            return packed
        return pack_header_extensions([*unpack_header_extensions(*packed), (self._number, struct.pack("!Q", ntp))])
