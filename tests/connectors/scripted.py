"""A WHEP server whose peers send RTP by a script: timestamps, sequence numbers and SSRCs are set and changed at will.

aiortc keeps signalling, ICE, DTLS, SRTP, RTCP and retransmissions; the loop in which its sender numbers packets is
replaced. Pictures carry their number (`tests.peers.numbered`) and are encoded here, so that each can be accounted for.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import av
import numpy as np
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpSender,
    RTCRtpTransceiver,
    RTCSessionDescription,
)
from aiortc.clock import current_ntp_time
from aiortc.codecs import get_encoder
from aiortc.rtp import RtcpByePacket, RtpPacket
from av.video.frame import PictureType

from tests.connectors.sender import gather_on_loopback
from tests.connectors.server import Request, reply
from tests.peers.numbered import write_number
from vision.simulator.encoder import BLOCK_SAMPLES, SoundEncoder
from vision.simulator.voice import SAMPLE_RATE_HZ

__all__ = ["Content", "Numbering", "Script", "Scripted", "Sent"]

FPS, VIDEO_HZ = 25, 90_000
_BLOCK_S = BLOCK_SAMPLES / SAMPLE_RATE_HZ
_WRAP = 1 << 32
_HISTORY = 128  # aiortc's own; more cannot be asked for again
_DRAWN = 16  # different pictures of noise


@dataclass(frozen=True, slots=True)
class Content:
    """What is shown: numbered pictures of noise, 25 a second, H264.

    :ivar b_frames: at most so many in a row; the encoder then takes no wishes for key frames.
    :ivar key_every_s: a key frame at least so often.
    """

    size: tuple[int, int] = (160, 120)
    bitrate_bps: int = 300_000
    b_frames: int = 0
    key_every_s: float = 2.0


@dataclass(frozen=True, slots=True)
class Numbering:
    """How the packets of a track are numbered from the media time `at_s` on; `None`: as before, first at random.

    :ivar timestamp: of the first packet that is numbered so.
    :ivar key_frame: the pictures begin with a key frame there.
    """

    at_s: float = 0.0
    ssrc: int | None = None
    sequence: int | None = None
    timestamp: int | None = None
    key_frame: bool = False


@dataclass(frozen=True, slots=True)
class Script:
    """What one connection does, on the media time of the show, which begins with the first connection.

    :ivar bye_at_s: when RTCP BYE is said for each track.
    :ivar silent_from_s: from when on nothing is sent; the connection stays.
    :ivar resends: whether what is asked for is sent again, as far as aiortc remembers it.
    :ivar cut_from_s: from when on the first picture is cut short that is no key frame: no packet of it is missing.
    """

    video: Sequence[Numbering] = ()
    audio: Sequence[Numbering] = ()
    bye_at_s: float | None = None
    silent_from_s: float = float("inf")
    resends: bool = True
    cut_from_s: float = float("inf")


@dataclass(frozen=True, slots=True)
class Sent:
    """A picture or a block of sound that was sent.

    :ivar number: of the picture, from 0 at the beginning of the show; of the block likewise.
    :ivar packets: how many it took.
    """

    kind: str
    number: int
    timestamp: int
    ssrc: int
    packets: int
    key_frame: bool


@dataclass(slots=True)
class _Show:
    """The time that goes on whoever looks."""

    begun_s: float | None = None

    def now_s(self) -> float:
        now_s = asyncio.get_running_loop().time()
        self.begun_s = now_s if self.begun_s is None else self.begun_s
        return now_s - self.begun_s

    async def reach(self, time_s: float) -> None:
        await asyncio.sleep(max(time_s - self.now_s(), 0.0))


class _Pictures:
    """Encodes the numbered pictures from one on; packets come in the order of decoding."""

    def __init__(self, content: Content, first: int) -> None:
        self._number = first
        self.wants_key_frame = False
        width, height = content.size
        noise = np.random.default_rng(1)
        self._drawn = [noise.integers(16, 236, (height * 3 // 2, width), np.uint8) for _ in range(_DRAWN)]
        self._codec: Any = av.CodecContext.create("libx264", "w")
        self._codec.width, self._codec.height, self._codec.pix_fmt = width, height, "yuv420p"
        self._codec.bit_rate = content.bitrate_bps
        self._codec.framerate, self._codec.time_base = Fraction(FPS), Fraction(1, FPS)
        self._codec.gop_size = round(content.key_every_s * FPS)
        self._codec.max_b_frames = content.b_frames
        self._codec.thread_count = 1
        rate_kbps = content.bitrate_bps // 1000
        parameters = f"vbv-maxrate={rate_kbps}:vbv-bufsize={rate_kbps // 4}:scenecut=0:repeat-headers=1"
        if content.b_frames:
            parameters += f":bframes={content.b_frames}:b-adapt=0:rc-lookahead=0:sync-lookahead=0:mbtree=0"
        self._codec.options = {
            "preset": "ultrafast",
            "forced-idr": "1",
            "x264-params": parameters,
            **({} if content.b_frames else {"tune": "zerolatency"}),
        }

    def __iter__(self) -> Iterator[Any]:
        while True:
            yield from self._codec.encode(self._picture())

    def _picture(self) -> av.VideoFrame:
        planes = self._drawn[self._number % _DRAWN].copy()
        frame_height = planes.shape[0] * 2 // 3
        write_number(planes[:frame_height], self._number)
        frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        frame.pts, frame.time_base = self._number, Fraction(1, FPS)
        wanted, self.wants_key_frame = self.wants_key_frame, False
        frame.pict_type = PictureType.I if wanted else PictureType.NONE
        self._number += 1
        return frame


class _Silent(MediaStreamTrack):
    """Stands for a track in the negotiation; nothing is taken from it."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    async def recv(self) -> Any:
        await asyncio.Event().wait()


@dataclass(slots=True)
class _Numbers:
    """The numbers of a track as they stand."""

    pending: list[Numbering]
    ssrc: int
    sequence: int
    clock_hz: int
    origin: int = field(default_factory=lambda: random.getrandbits(32))

    def turn(self, time_s: float, ticks: int) -> Numbering | None:
        """Number anew where that is due with the packet of a media time; `ticks` is that time on the RTP clock."""
        if not self.pending or time_s < self.pending[0].at_s - 1e-6:
            return None
        new = self.pending.pop(0)
        self.ssrc = self.ssrc if new.ssrc is None else new.ssrc
        self.sequence = self.sequence if new.sequence is None else new.sequence
        self.origin = self.origin if new.timestamp is None else new.timestamp - ticks
        return new


class _Connection:
    """One peer that sends by a script."""

    def __init__(self, content: Content, script: Script, show: _Show, sent: list[Sent]) -> None:
        self._content, self._script, self._show, self._sent = content, script, show, sent
        self._pictures: _Pictures | None = None
        self.rtc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        for kind in ("video", "audio"):
            self._prepare(self.rtc.addTransceiver(_Silent(kind), direction="sendonly"))

    async def answer(self, offer: str) -> str:
        await self.rtc.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        for transceiver in self.rtc.getTransceivers():
            gather_on_loopback(transceiver)
        await self.rtc.setLocalDescription(await self.rtc.createAnswer())
        sdp: str = self.rtc.localDescription.sdp
        return sdp

    def _prepare(self, transceiver: RTCRtpTransceiver) -> None:
        sender: Any = transceiver.sender
        run = self._send_video if transceiver.kind == "video" else self._send_audio
        if transceiver.kind == "video":
            codecs = RTCRtpSender.getCapabilities("video").codecs
            transceiver.setCodecPreferences(
                [codec for codec in codecs if codec.mimeType in ("video/H264", "video/rtx")]
            )
            sender._send_keyframe = self._want_key_frame

        async def run_rtp(codec: Any) -> None:
            sender._RTCRtpSender__rtp_started.set()
            try:
                await run(sender, codec)
            except (asyncio.CancelledError, ConnectionError):
                pass
            finally:
                sender._RTCRtpSender__rtp_exited.set()

        sender._run_rtp = run_rtp

    def _want_key_frame(self) -> None:
        if self._pictures is not None and not self._content.b_frames:
            self._pictures.wants_key_frame = True

    async def _send_video(self, sender: Any, codec: Any) -> None:
        encoder: Any = get_encoder(codec)
        first = number = int(np.ceil(self._show.now_s() * FPS - 1e-6))
        self._pictures = _Pictures(self._content, first)
        numbers = _Numbers(list(self._script.video), sender._ssrc, random.getrandbits(16), VIDEO_HZ)
        upcoming = iter(self._pictures)
        cut = False
        while number < self._script.silent_from_s * FPS - 1e-6:  # numbers go by the order of sending here
            await self._show.reach(number / FPS)
            if numbers.pending and number / FPS >= numbers.pending[0].at_s - 1e-6 and numbers.pending[0].key_frame:
                self._pictures.wants_key_frame = True
            packet = next(upcoming)
            if not cut and number / FPS >= self._script.cut_from_s - 1e-6 and not packet.is_keyframe:
                packet, cut = _cut_short(packet), True
            payloads, ticks = encoder.pack(packet)
            numbers.turn(number / FPS, ticks)
            self._note(sender, "video", packet.pts, ticks, numbers, payloads, packet.is_keyframe)
            await self._send(sender, codec, numbers, payloads, ticks)
            number += 1

    async def _send_audio(self, sender: Any, codec: Any) -> None:
        encoder: Any = get_encoder(codec)
        encode = SoundEncoder()
        number = int(np.ceil(self._show.now_s() / _BLOCK_S - 1e-6))
        times_s = np.arange(BLOCK_SAMPLES) / SAMPLE_RATE_HZ
        tone = (0.3 * np.sin(2 * np.pi * 1000 * times_s)).astype(np.float32)
        numbers = _Numbers(list(self._script.audio), sender._ssrc, random.getrandbits(16), SAMPLE_RATE_HZ)
        saying_bye = self._script.bye_at_s
        while number * _BLOCK_S < self._script.silent_from_s - 1e-6 or saying_bye is not None:
            await self._show.reach(number * _BLOCK_S)
            if saying_bye is not None and number * _BLOCK_S >= saying_bye:
                saying_bye = None
                await self._say_bye()
            if number * _BLOCK_S < self._script.silent_from_s - 1e-6:
                payloads, ticks = encoder.pack(encode.encode(tone, number * BLOCK_SAMPLES))
                numbers.turn(number * _BLOCK_S, ticks)
                self._note(sender, "audio", number, ticks, numbers, payloads, True)
                await self._send(sender, codec, numbers, payloads, ticks)
            number += 1

    async def _say_bye(self) -> None:
        for transceiver in self.rtc.getTransceivers():
            transport: Any = transceiver.sender.transport
            await transport._send_rtp(bytes(RtcpByePacket(sources=[transceiver.sender._ssrc])))

    def _note(
        self, sender: Any, kind: str, number: int, ticks: int, numbers: _Numbers, payloads: list[bytes], key: bool
    ) -> None:
        timestamp = (numbers.origin + ticks) % _WRAP
        sender._ssrc = numbers.ssrc  # sender reports are of this source
        sender._RTCRtpSender__rtp_timestamp = timestamp
        sender._RTCRtpSender__ntp_timestamp = current_ntp_time()
        self._sent.append(Sent(kind, number, timestamp, numbers.ssrc, len(payloads), key))

    async def _send(self, sender: Any, codec: Any, numbers: _Numbers, payloads: list[bytes], ticks: int) -> None:
        for i, payload in enumerate(payloads):
            packet = RtpPacket(
                payload_type=codec.payloadType,
                sequence_number=numbers.sequence,
                timestamp=(numbers.origin + ticks) % _WRAP,
                marker=int(i == len(payloads) - 1),
            )
            packet.ssrc, packet.payload = numbers.ssrc, payload
            packet.extensions.abs_send_time = (current_ntp_time() >> 14) & 0x00FFFFFF
            packet.extensions.mid = sender._RTCRtpSender__mid
            if self._script.resends:
                sender._RTCRtpSender__rtp_history[packet.sequence_number % _HISTORY] = packet
            await sender.transport._send_rtp(packet.serialize(sender._RTCRtpSender__rtp_header_extensions_map))
            sender._RTCRtpSender__packet_count += 1
            sender._RTCRtpSender__octet_count += len(payload)
            numbers.sequence = (numbers.sequence + 1) % (1 << 16)


def _cut_short(packet: Any) -> Any:
    """The first two thirds of a coded picture."""
    short: Any = av.Packet(bytes(packet)[: packet.size * 2 // 3])
    short.pts, short.dts, short.time_base = packet.pts, packet.dts, packet.time_base
    return short


class Scripted:
    """The behaviour of such a server: the n-th POST starts a peer with the n-th script, the last one again and again.

    :ivar sent: all that was sent, over all connections, in its order.
    :ivar refuses: where it returns true, a POST is answered 404.
    """

    def __init__(self, *scripts: Script, content: Content = Content()) -> None:
        self.sent: list[Sent] = []
        self.refuses: Callable[[], bool] = lambda: False
        self.posts = 0
        self._scripts = scripts or (Script(),)
        self._content, self._show = content, _Show()
        self._open: dict[str, _Connection] = {}

    def of(self, kind: str) -> list[Sent]:
        """What was sent of one track."""
        return [one for one in self.sent if one.kind == kind]

    @property
    def open(self) -> int:
        """How many connections nobody has deleted."""
        return len(self._open)

    async def __call__(self, request: Request, writer: asyncio.StreamWriter) -> None:
        if request.method == "DELETE":
            if connection := self._open.pop(request.target, None):
                await connection.rtc.close()
            writer.write(reply(200))
        elif self.refuses():
            writer.write(reply(404, "nothing is being sent"))
        else:
            script = self._scripts[min(self.posts, len(self._scripts) - 1)]
            self.posts += 1
            location = f"{request.target}/viewer/{self.posts}"
            connection = self._open[location] = _Connection(self._content, script, self._show, self.sent)
            answer = await connection.answer(request.body)
            writer.write(reply(201, answer, Content_Type="application/sdp", Location=location))
        await writer.drain()

    async def close(self) -> None:
        """End what nobody has deleted."""
        for connection in self._open.values():
            await connection.rtc.close()
