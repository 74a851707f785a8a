"""A WHEP server with a real WebRTC peer behind it, inside the running loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
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
from aiortc.mediastreams import MediaStreamError

from tests.connectors.recording import Video, picture, tone
from tests.connectors.server import Request, reply

FPS, RATE_HZ, BLOCK = 25, 48_000, 960  # aiortc's VP8 encoder rounds times to microseconds: 40 ms are exact
LOCATION = "/whep/session/1/viewer/2"


class Paced(MediaStreamTrack):
    """Gives a frame when it is due, `count` of them, then nothing more until it is stopped."""

    def __init__(self, kind: str, count: int, interval_s: float, frame_of: Callable[[int], av.frame.Frame]) -> None:
        super().__init__()
        self.kind = kind
        self._count, self._interval_s, self._frame_of = count, interval_s, frame_of
        self._next = 0
        self._begun_s: float | None = None
        self.over = asyncio.Event()

    async def recv(self) -> av.frame.Frame:
        if self._next >= self._count:
            self.over.set()
            await asyncio.Event().wait()
        if self.readyState != "live":
            raise MediaStreamError
        now_s = asyncio.get_running_loop().time()
        self._begun_s = now_s if self._begun_s is None else self._begun_s
        await asyncio.sleep(self._begun_s + self._next * self._interval_s - now_s)
        self._next += 1
        return self._frame_of(self._next - 1)


def pictures(seconds: float = 2.0) -> Paced:
    """Flat pictures, 160x120, whose luma rises."""

    def frame_of(index: int) -> av.VideoFrame:
        frame = picture(Video(), 60 + index % 120)
        frame.pts, frame.time_base = index * 3600, Fraction(1, 90_000)
        return frame

    return Paced("video", round(seconds * FPS), 1 / FPS, frame_of)


def sound(seconds: float = 2.0) -> Paced:
    """A tone."""
    samples = np.repeat((32767 * tone(RATE_HZ, 1000)).astype(np.int16), 2)  # mono would be sent 3 dB lower

    def frame_of(index: int) -> av.AudioFrame:
        start = index * BLOCK % RATE_HZ
        frame = av.AudioFrame.from_ndarray(samples[None, 2 * start : 2 * (start + BLOCK)], "s16", "stereo")
        frame.sample_rate, frame.pts, frame.time_base = RATE_HZ, index * BLOCK, Fraction(1, RATE_HZ)
        return frame

    return Paced("audio", round(seconds * RATE_HZ / BLOCK), BLOCK / RATE_HZ, frame_of)


class Sender:
    """The behaviour of such a server: POST starts a peer, DELETE ends it.

    :param edited: the answer's SDP as it is sent.
    :param closes_after: when its tracks are through, the peer is closed orderly.
    """

    def __init__(
        self,
        tracks: Sequence[Paced],
        codec: str = "video/VP8",
        edited: Callable[[str], str] = lambda sdp: sdp,
        *,
        closes_after: bool = False,
        dead: bool = False,
    ) -> None:
        self.tracks, self._codec, self._edited = tracks, codec, edited
        self._closes_after, self._dead = closes_after, dead
        self.peer: RTCPeerConnection | None = None
        self._ending: asyncio.Task[None] | None = None
        self.answered = asyncio.Event()
        self.delay_s = 0.0

    async def __call__(self, request: Request, writer: asyncio.StreamWriter) -> None:
        if request.method == "DELETE":
            await self.close()
            writer.write(reply(200))
        elif self._ending is not None and self._ending.done():
            writer.write(reply(404, "nothing is being sent any more"))
        else:
            answer = self._edited(await self._answer(request.body))
            await asyncio.sleep(self.delay_s)
            writer.write(reply(201, answer, Content_Type="application/sdp", Location=LOCATION))
            self.answered.set()
        await writer.drain()

    async def answer_to(self, offer: str) -> str:
        """The peer's answer to an offer, before it is edited."""
        return await self._answer(offer)

    async def _answer(self, offer: str) -> str:
        self.peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        for track in self.tracks:
            transceiver = self.peer.addTransceiver(track, direction="sendonly")
            if track.kind == "video":
                codecs = RTCRtpSender.getCapabilities("video").codecs
                transceiver.setCodecPreferences([codec for codec in codecs if codec.mimeType == self._codec])
        await self.peer.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        for transceiver in self.peer.getTransceivers():
            gather_on_loopback(transceiver)
        await self.peer.setLocalDescription(await self.peer.createAnswer())
        sdp = self.peer.localDescription.sdp
        if self._dead:
            await self.close()
        elif self._closes_after:
            self._ending = asyncio.create_task(self._close_when_over())
        return sdp

    async def offers(self) -> str:
        """An offer of the peer's own, as a server makes it that does not take ours."""
        self.peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        for track in self.tracks:
            transceiver = self.peer.addTransceiver(track, direction="sendonly")
            if track.kind == "video":
                codecs = RTCRtpSender.getCapabilities("video").codecs
                transceiver.setCodecPreferences([codec for codec in codecs if codec.mimeType == self._codec])
            gather_on_loopback(transceiver)
        await self.peer.setLocalDescription(await self.peer.createOffer())
        sdp: str = self.peer.localDescription.sdp
        return sdp

    async def takes(self, answer: str) -> None:
        """The answer to that."""
        assert self.peer is not None
        await self.peer.setRemoteDescription(RTCSessionDescription(answer, "answer"))

    async def _close_when_over(self) -> None:
        for track in self.tracks:
            await track.over.wait()
        assert self.peer is not None
        await asyncio.sleep(0.1)  # the last packets are on their way
        await self.peer.close()

    async def close(self) -> None:
        """End the peer, if there is one."""
        if self._ending is not None:
            self._ending.cancel()
        if self.peer is not None:
            await self._settled(self.peer)
            await self.peer.close()
        for track in self.tracks:
            track.stop()

    @staticmethod
    async def _settled(peer: RTCPeerConnection) -> None:
        """aiortc that is closed while it connects begins to send all the same, and leaves a task behind."""
        settled = asyncio.Event()
        peer.on("connectionstatechange", settled.set)
        if peer.connectionState == "connecting":
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(settled.wait(), 1)


def gather_on_loopback(transceiver: RTCRtpTransceiver) -> None:
    """The peer is on 127.0.0.1 only, which aioice leaves out."""
    connection: Any = transceiver.receiver.transport.transport._connection
    gather = type(connection).get_component_candidates

    async def on_loopback(component: int, addresses: list[str]) -> Any:
        return await gather(connection, component=component, addresses=["127.0.0.1"])

    connection.get_component_candidates = on_loopback
