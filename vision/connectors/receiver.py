"""The only place that touches names that aiortc keeps to itself: its receivers, replaced by our own.

aiortc keeps negotiation, DTLS, SRTP and the parsing of packets. From the packet on everything is ours: order, repair,
frames, decoding, statistics (`vision.rtp`, `vision.connectors.decoder`). Why: aiortc's buffers lose five packets of
sound for each one that the network loses, ask once for what is missing, wait two seconds for it, and give a frame out
only when the next one begins.
"""

from __future__ import annotations

import asyncio
import random
import struct
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import aiortc
import av
import pylibsrtp
from aiortc import RTCDtlsTransport, RTCPeerConnection, RTCRtpCodecParameters, RTCRtpReceiver, RTCRtpTransceiver
from aiortc.clock import current_ms
from aiortc.codecs import CODECS, HEADER_EXTENSIONS, depayload, get_decoder, is_rtx
from aiortc.jitterbuffer import JitterFrame
from aiortc.rate import RemoteBitrateEstimator
from aiortc.rtcrtpparameters import RTCRtcpFeedback, RTCRtpHeaderExtensionParameters
from aiortc.rtp import (
    RTCP_PSFB_APP,
    HeaderExtensions,
    HeaderExtensionsMap,
    RtcpByePacket,
    RtcpPsfbPacket,
    RtcpReceiverInfo,
    RtcpRrPacket,
    RtcpSrPacket,
    RtpPacket,
    clamp_packets_lost,
    pack_remb_fci,
    unpack_header_extensions,
)

from vision.clock import SaidBy
from vision.connectors.decoder import Decoded, VideoDecoder
from vision.connectors.decoding import samples_of
from vision.errors import SourceError
from vision.intake import DecodedPicture, DecodedSound
from vision.rtp.payload import H264, VP8, PayloadFormat
from vision.rtp.pictures import EncodedFrame
from vision.rtp.sender_time import ntp_seconds
from vision.rtp.sound import SoundPacket
from vision.rtp.source import Reception
from vision.rtp.statistics import PerSecond, SoundStatistics, TrackStatistics, VideoStatistics
from vision.rtp.track import Arrived, SoundTrack, VideoTrack

__all__ = [
    "SenderReport",
    "SoundReceiver",
    "TrackReceiver",
    "VideoReceiver",
    "offer_more",
    "require_known_aiortc",
    "said_goodbye",
]

_KNOWN = "1.16."
_RECEIVED_SHUTDOWN = 2  # SSL_get_shutdown(3)
_CAPTURE_TIME, _CAPTURE_TIME_ID = "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time", 4
_CAPTURED = "abs_capture_time"
_FORMATS: dict[str, PayloadFormat] = {"H264": H264(), "VP8": VP8()}
_PROFILES = ("4d001f", "64001f", "640c1f")  # Main, High and Constrained High, level 3.1 as aiortc's own

Unit = DecodedPicture | DecodedSound


def require_known_aiortc() -> None:
    """Refuse a version whose inner workings were not looked at.

    :raises SourceError: when aiortc is not 1.16.x.
    """
    if not aiortc.__version__.startswith(_KNOWN):
        raise SourceError(f"aiortc {aiortc.__version__} is installed; needed: 1.16.x (pip install 'aiortc~=1.16.0')")


def offer_more() -> None:
    """Offer what aiortc does not by itself; once is enough.

    H.264 Main and High, which its decoder takes as well as Baseline; abs-capture-time, which is read here.
    """
    for extensions in HEADER_EXTENSIONS.values():
        if all(extension.uri != _CAPTURE_TIME for extension in extensions):
            extensions.append(RTCRtpHeaderExtensionParameters(_CAPTURE_TIME_ID, _CAPTURE_TIME))
    video = CODECS["video"]
    known = {codec.parameters.get("profile-level-id") for codec in video}
    payload_type = max(codec.payloadType or 0 for codec in video)
    for profile in _PROFILES:
        if profile in known:
            continue
        payload_type += 2
        feedback = [RTCRtcpFeedback("nack"), RTCRtcpFeedback("nack", "pli"), RTCRtcpFeedback("goog-remb")]
        parameters: dict[str, int | str | None] = {
            "level-asymmetry-allowed": "1",
            "packetization-mode": "1",
            "profile-level-id": profile,
        }
        video += [
            RTCRtpCodecParameters("video/H264", 90_000, None, payload_type - 1, feedback, parameters),
            RTCRtpCodecParameters("video/rtx", 90_000, None, payload_type, [], {"apt": payload_type - 1}),
        ]


@dataclass(frozen=True, slots=True)
class SenderReport:
    """What a sender says of its own clock (RFC 3550, 6.4.1), and when that came on the run's scale."""

    ssrc: int
    arrival_s: float
    ntp_timestamp: int
    rtp_timestamp: int
    packets_sent: int


class TrackReceiver(RTCRtpReceiver):
    """Takes the place of a transceiver's own receiver; hands what it decodes to `emit`.

    :ivar codec: the one in use, once something has come.
    :ivar first_packet_s: when a packet first came.
    :ivar last_packet_s: when one last came.
    :ivar first_decoded_s: when something was first decoded.
    :ivar goodbye_s: when the sender said BYE.
    :ivar failure: what went wrong in here, if anything did.
    :ivar sender_reports: how many came; `sender_report` is the newest.
    :ivar on_sender_time: called with a time of the track, what the sender's own time was then, both in seconds, and how
        the sender said so.
    """

    def __init__(
        self,
        transceiver: RTCRtpTransceiver,
        statistics: TrackStatistics,
        emit: Callable[[Unit], None],
        now: Callable[[], float],
    ) -> None:
        super().__init__(transceiver.kind, transceiver.receiver.transport)
        self._set_rtcp_ssrc(transceiver.sender._ssrc)
        inner: Any = transceiver
        inner._RTCRtpTransceiver__receiver = self
        self.codec: str | None = None
        self.first_packet_s: float | None = None
        self.last_packet_s: float | None = None
        self.first_decoded_s: float | None = None
        self.goodbye_s: float | None = None
        self.failure: Exception | None = None
        self.sender_report: SenderReport | None = None
        self.sender_reports = 0
        self.on_sender_time: Callable[[float, float, SaidBy], None] = lambda track_s, sender_s, said_by: None
        self._statistics, self._emit, self._now = statistics, emit, now
        self._by_type: dict[int, RTCRtpCodecParameters] = {}
        self._reporting: asyncio.Task[None] | None = None
        self._sending: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._rings_s = 0.0

    def _set_rtcp_ssrc(self, ssrc: int) -> None:
        super()._set_rtcp_ssrc(ssrc)
        self._own_ssrc = ssrc

    async def receive(self, parameters: Any) -> None:
        """Begin: aiortc calls it when the connection is up."""
        if self._reporting is None:
            self._by_type = {codec.payloadType: codec for codec in parameters.codecs}
            _read_capture_times(self.transport)
            self.transport._register_rtp_receiver(self, parameters)
            _take_at_once(self.transport)
            self._reporting = asyncio.create_task(self._report())

    async def stop(self) -> None:
        """End; what has come in full is decoded and handed on."""
        if self._reporting is None:
            return
        self.transport._unregister_rtp_receiver(self)
        if self._timer is not None:
            self._timer.cancel()
        tasks = [self._reporting, *self._sending]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.finish()

    @abstractmethod
    async def finish(self) -> None:
        """Hand on all that is held; nothing more comes. Again is no harm."""

    @property
    @abstractmethod
    def _received(self) -> VideoTrack | SoundTrack | None:
        """The track, once something has come."""

    @property
    def reception(self) -> Reception | None:
        """What is known of the source that is listened to."""
        return self._received.reception if self._received is not None else None

    def update_statistics(self) -> None:
        """Bring all sums up to date."""
        if self._received is not None:
            self._received.update_statistics()

    @abstractmethod
    def _take(self, packet: Arrived, codec: RTCRtpCodecParameters) -> None:
        """Take a packet of a media codec."""

    @abstractmethod
    def _due_s(self) -> float | None:
        """When `_tick` has something to do."""

    @abstractmethod
    def _tick(self) -> None:
        """Let time pass."""

    def _handle_disconnect(self) -> None:
        """The connection has ended; the peer sees that by its state."""

    async def _handle_rtcp_packet(self, packet: Any) -> None:
        if isinstance(packet, RtcpSrPacket):
            info = packet.sender_info
            self.sender_reports += 1
            self.sender_report = SenderReport(
                packet.ssrc, self._now(), info.ntp_timestamp, info.rtp_timestamp, info.packet_count
            )
            self._note_sender_time(packet.ssrc, info.rtp_timestamp, info.ntp_timestamp, "sender_report")
        elif isinstance(packet, RtcpByePacket):
            self.goodbye_s = self._now()

    def _note_sender_time(self, ssrc: int, rtp: int, ntp: int, said_by: SaidBy) -> None:
        """Pass on what a sender says of its own time; 0 is said by those that do not know it (RFC 3550, 6.4.1)."""
        track_s = self._received.time_s(ssrc, rtp) if self._received is not None and ntp else None
        if track_s is not None:
            self.on_sender_time(track_s, ntp_seconds(ntp), said_by)

    async def _handle_rtp_packet(self, packet: RtpPacket, arrival_time_ms: int) -> None:
        self.take(packet, arrival_time_ms)

    def take(self, packet: RtpPacket, arrival_time_ms: int) -> None:
        """Take a packet that has just arrived; what goes wrong is kept in `failure`, and not raised at the socket."""
        try:
            self._take_packet(packet, arrival_time_ms)
        except Exception as error:
            self.failure = self.failure or error

    def _take_packet(self, packet: RtpPacket, arrival_time_ms: int) -> None:
        codec = self._by_type.get(packet.payload_type)
        if codec is None:
            return
        now_s = self._now()
        self.last_packet_s = now_s
        if self.first_packet_s is None:
            self.first_packet_s = now_s
        statistics = self._statistics
        statistics.packets_received += 1
        statistics.bytes_received += len(packet.payload)
        self._note_rate(packet, arrival_time_ms)
        repaired = is_rtx(codec)
        sequence, payload, ssrc = packet.sequence_number, packet.payload, packet.ssrc
        if repaired:
            original = self._by_type.get(codec.parameters.get("apt") or -1)  # type: ignore[arg-type]
            statistics.retransmitted_packets_received += 1
            if original is None or len(payload) < 2 or self.reception is None:
                return
            codec, ssrc = original, self._source_ssrc
            sequence, payload = int.from_bytes(payload[:2]), payload[2:]  # RFC 4588, 4
        try:
            data = depayload(codec, payload) if payload else b""
        except ValueError:
            payload = data = b""  # nothing to decode, but it did arrive
        arrived = Arrived(ssrc, sequence, packet.timestamp, bool(packet.marker), payload, data, now_s, repaired)
        self._take(arrived, codec)
        captured = getattr(packet.extensions, _CAPTURED, None)
        if captured is not None:
            self._note_sender_time(ssrc, packet.timestamp, captured, "capture_time")
        self._arm()

    def _hand_on(self, unit: Unit) -> None:
        if self.first_decoded_s is None:
            self.first_decoded_s = self._now()
        self._emit(unit)

    @property
    def _source_ssrc(self) -> int:
        """The source that is listened to; late packets of one that was left do not change that."""
        return self.reception.ssrc if self.reception is not None else 0

    def _note_rate(self, packet: RtpPacket, arrival_ms: int) -> None:
        """What the sender's congestion control wants to know; pictures only."""

    def _arm(self) -> None:
        """Have `_tick` called when it is due, if it is not so anyway."""
        due_s = self._due_s()
        if due_s is None or (self._timer is not None and self._rings_s <= due_s):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._rings_s = due_s
        self._timer = asyncio.get_running_loop().call_later(max(due_s - self._now(), 0.0), self._ring)

    def _ring(self) -> None:
        self._timer = None
        try:
            self._tick()
        except Exception as error:
            self.failure = self.failure or error
        self._arm()

    def _send_soon(self, sending: Any) -> None:
        task = asyncio.ensure_future(sending)
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _report(self) -> None:
        """Receiver reports, at aiortc's (random) intervals (RFC 3550, 6.4.2)."""
        while True:
            await asyncio.sleep(0.5 + random.random())
            reception, last = self.reception, self.sender_report
            if reception is None:
                continue
            heard = last if last is not None and last.ssrc == reception.ssrc else None
            info = RtcpReceiverInfo(
                ssrc=reception.ssrc,
                fraction_lost=reception.fraction_lost(),
                packets_lost=clamp_packets_lost(reception.lost),
                highest_sequence=reception.highest & 0xFFFFFFFF,
                jitter=round(reception.jitter_s * reception.clock_rate_hz),
                lsr=(heard.ntp_timestamp >> 16) & 0xFFFFFFFF if heard else 0,
                dlsr=min(int((self._now() - heard.arrival_s) * 65536), 0xFFFFFFFF) if heard else 0,
            )
            await self._send_rtcp(RtcpRrPacket(ssrc=self._own_ssrc, reports=[info]))


class VideoReceiver(TrackReceiver):
    """Pictures.

    :ivar size: width and height of the newest picture, px.
    :ivar on_lost: called at the end with the packets given up since the last picture, if there are any.
    :ivar on_wait: called with whether pictures are held back for what is missing before them, when that changes.
    :ivar sound: the receiver beside it, whose figures pictures tell as well.
    """

    _statistics: VideoStatistics

    def __init__(
        self,
        transceiver: RTCRtpTransceiver,
        statistics: VideoStatistics,
        emit: Callable[[Unit], None],
        now: Callable[[], float],
        figures: PerSecond,
    ) -> None:
        super().__init__(transceiver, statistics, emit, now)
        self.size: tuple[int, int] | None = None
        self.on_wait: Callable[[bool], None] = lambda waits: None
        self.on_lost: Callable[[int], None] = lambda count: None
        self.sound: TrackReceiver | None = None
        self._payload_type: int | None = None
        self._told = 0  # of the packets given up, those that pictures have told of
        self._waits = False
        self._figures = figures
        self._rate = RemoteBitrateEstimator()
        self._video: VideoTrack | None = None
        self._decoder: VideoDecoder | None = None

    @property
    def _received(self) -> VideoTrack | None:
        return self._video

    async def finish(self) -> None:
        """Hand on all that is held."""
        if self._video is not None:
            self._decode(self._video.end(self._now()))
        decoder, self._decoder = self._decoder, None
        if decoder is not None:
            await decoder.close()
            await asyncio.sleep(0)  # what it delivered last is on its way through the loop
        if self._video is not None and (untold := self._video.given_up - self._told) > 0:
            self._told += untold
            self.on_lost(untold)
        self.update_statistics()

    def _take(self, packet: Arrived, codec: RTCRtpCodecParameters) -> None:
        if codec.name != self.codec:
            self._begin(codec)
        assert self._video is not None
        self._decode(self._video.add(packet))
        self._note_waiting(self._video.waits)
        self._ask()

    def _begin(self, codec: RTCRtpCodecParameters) -> None:
        """With the first packet, or where the sender changes to another of the codecs."""
        if self._video is not None:
            self._decode(self._video.end(self._now()))
            self._video.update_statistics()
        self._statistics.sent.restart()
        self.codec, self._payload_type, self._told = codec.name, codec.payloadType, 0
        old, self._decoder = self._decoder, VideoDecoder(_decode_with(codec), self._deliver)
        if old is not None:
            self._send_soon(old.close())
        self._video = VideoTrack(_FORMATS[codec.name], self._statistics, codec.clockRate)

    def _due_s(self) -> float | None:
        return self._video.due_s if self._video is not None else None

    def _tick(self) -> None:
        if self._video is None:
            return
        frames, asked = self._video.tick(self._now())
        self._decode(frames)
        self._note_waiting(self._video.waits)
        if asked:
            self._statistics.nack_count += 1
            self._statistics.nacked_packets += len(asked)
            self._send_soon(self._send_rtcp_nack(self._source_ssrc, asked))
        self._ask()

    def _note_waiting(self, waits: bool) -> None:
        if waits != self._waits:
            self._waits = waits
            self.on_wait(waits)

    def _ask(self) -> None:
        if self._video is not None and self._video.asks_for_key_frame(self._now()):
            self._statistics.pli_count += 1
            self._send_soon(self._send_rtcp_pli(self._source_ssrc))

    def _decode(self, frames: Sequence[EncodedFrame]) -> None:
        for frame in frames:
            if self._decoder is None or not self._decoder.put(frame):
                self._statistics.frames_dropped += 1
                if self._video is not None:
                    self._video.want_key_frame()

    def _deliver(self, pictures: list[Decoded], undecoded: int, failed: bool) -> None:
        statistics = self._statistics
        statistics.frames_dropped += undecoded
        if failed and self._video is not None:
            self._video.want_key_frame()
            self._ask()
        for decoded in pictures:
            frame, now_s = decoded.frame, self._now()
            self.size = (decoded.picture.width, decoded.picture.height)
            statistics.frames_decoded += 1
            self._told += decoded.lost_before.get("network", 0)
            statistics.key_frames_decoded += decoded.key_frame
            track_s = frame.timestamp / 90_000
            statistics.rendered.add(now_s)
            if frame.restarted or decoded.lost_before:
                statistics.sent.restart()  # what was lost is no freeze of the sender's
            statistics.sent.add(track_s)
            self._hand_on(
                DecodedPicture(
                    track_s=track_s,
                    arrival_s=frame.arrival_s,
                    picture=decoded.picture,
                    key_frame=decoded.key_frame,
                    corrupt=decoded.damaged,
                    transport=self._transport(frame, now_s),
                    lost_before=decoded.lost_before,
                    restarted=frame.restarted,
                )
            )

    def _transport(self, frame: EncodedFrame, now_s: float) -> dict[str, float | None]:
        figures: dict[str, float | None] = {
            "rtp_timestamp": frame.timestamp & 0xFFFFFFFF,
            "payload_type": self._payload_type,
            "packets": frame.packets,
            "assembly_ms": round(1000 * (frame.complete_s - frame.arrival_s), 3),
        }
        if self.sound is not None and self.sound.reception is not None:
            transit_s = self.sound.reception.transit_s
            figures["audio_transit_s"] = None if transit_s is None else round(transit_s, 6)
        in_second = self._figures.taken(now_s)
        return figures | in_second | self._firsts() if in_second else figures

    def _firsts(self) -> dict[str, float | None]:
        """When something first came, seconds from the start of the run."""
        receivers: list[TrackReceiver] = [self] if self.sound is None else [self, self.sound]
        packets = [each.first_packet_s for each in receivers if each.first_packet_s is not None]
        times = {
            "first_packet_s": min(packets, default=None),
            "first_picture_s": self.first_decoded_s,
            "first_sound_s": None if self.sound is None else self.sound.first_decoded_s,
        }
        return {name: None if time_s is None else round(time_s, 6) for name, time_s in times.items()}

    def _note_rate(self, packet: RtpPacket, arrival_ms: int) -> None:
        sent = packet.extensions.abs_send_time
        if sent is None:
            return
        size = len(packet.payload) + packet.padding_size
        estimate = self._rate.add(abs_send_time=sent, arrival_time_ms=arrival_ms, payload_size=size, ssrc=packet.ssrc)
        if estimate is not None:
            fci = pack_remb_fci(*estimate)
            self._send_soon(
                self._send_rtcp(RtcpPsfbPacket(fmt=RTCP_PSFB_APP, ssrc=self._own_ssrc, media_ssrc=0, fci=fci))
            )


class SoundReceiver(TrackReceiver):
    """Sound; decoded where it comes in, for the way to a thread and back costs more than decoding."""

    _statistics: SoundStatistics

    def __init__(
        self,
        transceiver: RTCRtpTransceiver,
        statistics: SoundStatistics,
        emit: Callable[[Unit], None],
        now: Callable[[], float],
    ) -> None:
        super().__init__(transceiver, statistics, emit, now)
        self._sound: SoundTrack | None = None
        self._decode_block: Callable[[bytes, int], Sequence[av.AudioFrame]] | None = None
        self._end: int | None = None  # of what was decoded last, in ticks of the RTP clock

    @property
    def _received(self) -> SoundTrack | None:
        return self._sound

    async def finish(self) -> None:
        """Hand on all that is held."""
        if self._sound is not None:
            self._decode(self._sound.end())
        self.update_statistics()

    def _take(self, packet: Arrived, codec: RTCRtpCodecParameters) -> None:
        if codec.name != self.codec:
            self._begin(codec)
        assert self._sound is not None
        self._decode(self._sound.add(packet))

    def _begin(self, codec: RTCRtpCodecParameters) -> None:
        if self._sound is not None:
            self._decode(self._sound.end())
            self._sound.update_statistics()
        self.codec = codec.name
        self._decode_block = _decode_with(codec)
        self._sound = SoundTrack(self._statistics, codec.clockRate)

    def _due_s(self) -> float | None:
        return self._sound.due_s if self._sound is not None else None

    def _tick(self) -> None:
        if self._sound is not None:
            self._decode(self._sound.tick(self._now()))

    def _decode(self, packets: Sequence[SoundPacket]) -> None:
        assert self._sound is not None
        assert self._decode_block is not None
        rate_hz = self._sound.clock_rate_hz
        for packet in packets:
            try:
                blocks = self._decode_block(packet.data, packet.timestamp) if packet.data else ()
            except av.FFmpegError:
                continue  # it leaves a hole
            lost = packet.lost_before
            for block in blocks:
                self._count(packet, block, rate_hz)
                self._hand_on(
                    DecodedSound(
                        track_s=packet.timestamp / rate_hz,
                        arrival_s=packet.arrival_s,
                        samples=samples_of(block),
                        rate_hz=block.sample_rate,
                        restarted=packet.restarted,
                        lost_before=lost,
                    )
                )
                lost = 0

    def _count(self, packet: SoundPacket, block: av.AudioFrame, rate_hz: int) -> None:
        statistics = self._statistics
        samples = block.samples * rate_hz // block.sample_rate
        if packet.lost_before and self._end is not None and packet.timestamp > self._end and not packet.restarted:
            statistics.concealed_samples += packet.timestamp - self._end
            statistics.total_samples_received += packet.timestamp - self._end
            statistics.concealment_events += 1
        self._end = packet.timestamp + samples
        statistics.total_samples_received += samples
        statistics.jitter_buffer_delay_s += (self._now() - packet.arrival_s) * samples
        statistics.jitter_buffer_emitted_count += samples


class _HeaderExtensions(HeaderExtensionsMap):
    """aiortc's, and abs-capture-time."""

    def __init__(self) -> None:
        super().__init__()
        self._captured_id: int | None = None

    def configure(self, parameters: Any) -> None:
        super().configure(parameters)
        for extension in parameters.headerExtensions:
            if extension.uri == _CAPTURE_TIME:
                self._captured_id = extension.id

    def get(self, extension_profile: int, extension_value: bytes) -> HeaderExtensions:
        values = super().get(extension_profile, extension_value)
        if self._captured_id is not None and extension_value:
            for number, value in unpack_header_extensions(extension_profile, extension_value):
                if number == self._captured_id:
                    setattr(values, _CAPTURED, _captured(value))
        return values


def _captured(value: bytes) -> int | None:
    """When something was captured, by the clock of its sender, as a 64-bit NTP timestamp; `None` where it is not said.

    https://webrtc.github.io/webrtc-org/experiments/rtp-hdrext/abs-capture-time: the time (UQ32.32) by the clock of
    where it was captured, and, where others passed it on, by how much that clock is ahead of the sender's (Q32.32).
    """
    if len(value) not in (8, 16) or not any(value[:8]):
        return None
    offset = int.from_bytes(value[8:], signed=True) if len(value) == 16 else 0
    return (int.from_bytes(value[:8]) - offset) % (1 << 64)


def _read_capture_times(transport: RTCDtlsTransport) -> None:
    dtls: Any = transport
    if not isinstance(dtls._rtp_header_extensions_map, _HeaderExtensions):
        dtls._rtp_header_extensions_map = _HeaderExtensions()


def _take_at_once(transport: RTCDtlsTransport) -> None:
    """Have RTP packets taken where they arrive, not through aioice's queue and aiortc's task.

    It saves a switch between tasks for every packet, and their times of arrival hold nothing but their arrival.
    """
    dtls: Any = transport
    connection: Any = dtls.transport._connection
    if getattr(connection, "takes_at_once", False):
        return
    connection.takes_at_once = True
    queued = connection.data_received

    def data_received(data: bytes, component: int) -> None:
        # RFC 7983: RTP and RTCP begin with 128 to 191; RFC 5761, 4: of these, RTCP has a second byte of 192 to 223
        if not (len(data) > 1 and 127 < data[0] < 192) or 191 < data[1] < 224 or dtls.state != "connected":
            queued(data, component)
            return
        try:
            packet = RtpPacket.parse(dtls._rx_srtp.unprotect(data), dtls._rtp_header_extensions_map)
        except (ValueError, struct.error, pylibsrtp.Error):
            return  # not what it seems, or not from whom it seems
        receiver = dtls._rtp_router.route_rtp(packet)
        if isinstance(receiver, TrackReceiver):
            receiver.take(packet, current_ms())

    connection.data_received = data_received


def _decode_with(codec: RTCRtpCodecParameters) -> Callable[[bytes | None, int], Any]:
    """aiortc's decoder for a codec, on one thread: slices side by side cost more than they give at such sizes."""
    decoder: Any = get_decoder(codec)
    context = getattr(decoder, "codec", None)
    if context is not None and codec.mimeType.lower().startswith("video/"):
        context.thread_count = 1

    def decode(data: bytes | None, timestamp: int) -> Any:
        if data is None:
            return context.decode(None) if context is not None else []
        if not data:
            return []  # an empty packet would be taken for the end of the stream
        return decoder.decode(JitterFrame(data, timestamp))

    return decode


def said_goodbye(connection: RTCPeerConnection) -> bool:
    """Whether a connection that ended was closed by its sender, by DTLS close_notify.

    aiortc says `closed` in that case and in that of a path that is lost.
    """
    dtls: Any = connection.getTransceivers()[0].receiver.transport
    return bool(dtls._ssl and dtls._ssl.get_shutdown() & _RECEIVED_SHUTDOWN)
