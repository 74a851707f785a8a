"""The WebRTC side of a live source: offers, connects, decodes, and hands everything in at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal

import av
from aiortc import (
    MediaStreamTrack,
    RTCBundlePolicy,
    RTCConfiguration,
    RTCIceServer,
    RTCIceTransportPolicy,
    RTCPeerConnection,
    RTCRtpTransceiver,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError
from pydantic import Field, SecretStr

from vision.connectors.decoding import picture_of, samples_of
from vision.connectors.receiver import PacketLog, chosen_pair, gather_on_loopback, require_known_aiortc
from vision.errors import SourceError
from vision.intake import DecodedPicture, DecodedSound, Intake
from vision.processor import Options

__all__ = ["Exchange", "IceServer", "Peer", "PeerOptions"]

Exchange = Callable[[str], Awaitable[str]]


class IceServer(Options):
    """A STUN or TURN server."""

    urls: list[str] = Field(min_length=1, description="such as turn:turn.example.com:443?transport=udp")
    username: str | None = Field(None, description="of a TURN server")
    credential: SecretStr | None = Field(None, description="of a TURN server")


class PeerOptions(Options):
    """Options of every source that comes over WebRTC."""

    connect_timeout_s: float = Field(10, gt=0, le=120, description="seconds that ICE and DTLS may take together")
    ice_transport_policy: Literal["all", "relay"] = Field("all", description="relay: through a TURN server only")


class Peer:
    """One receiving peer connection, for one offer and its answer; use it as `async with`."""

    def __init__(self, options: PeerOptions, ice_servers: Sequence[IceServer], *, loopback: bool) -> None:
        require_known_aiortc()
        self._options = options
        self._connection = RTCPeerConnection(_configuration(options, ice_servers, loopback))
        self._video = self._connection.addTransceiver("video", direction="recvonly")
        self._audio = self._connection.addTransceiver("audio", direction="recvonly")
        if loopback and options.ice_transport_policy == "all":
            gather_on_loopback(self._video)
        self._settled = asyncio.Event()
        self._connection.on("connectionstatechange", self._on_state)

    async def __aenter__(self) -> Peer:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._connection.close()

    async def receive(self, exchange: Exchange, intake: Intake) -> str:
        """Offer through `exchange`, connect, and hand in what comes; returns why it ended.

        :raises SourceError: when the answer cannot be used, or the connection fails or does not come about.
        """
        logs = [PacketLog(transceiver.receiver, intake.now_s) for transceiver in (self._video, self._audio)]
        await self._connection.setLocalDescription(await self._connection.createOffer())
        await self._answer(await exchange(self._connection.localDescription.sdp))
        await self._connect()
        intake.facts["ice"] = chosen_pair(self._video)
        try:
            return await self._drain(logs, intake)
        finally:
            for kind, log in zip(("video", "audio"), logs, strict=True):
                intake.facts.setdefault(kind, {}).update(codec=log.codec, packets=log.packets, lost=log.lost())

    async def _answer(self, sdp: str) -> None:
        try:
            await self._connection.setRemoteDescription(RTCSessionDescription(sdp, "answer"))
            await self._connection.addIceCandidate(None)  # all candidates are in the answer: ICE may fail
        except Exception as error:  # aiortc raises whatever its parser trips over
            raise SourceError(
                f"whep: the server's SDP answer cannot be used: {' '.join(str(error).split())}"
            ) from error
        if self._video.currentDirection == "inactive":
            raise SourceError("whep: the server answered with inactive video; it speaks neither H264 nor VP8")

    async def _connect(self) -> None:
        limit_s = self._options.connect_timeout_s
        try:
            async with asyncio.timeout(limit_s):
                await self._settled.wait()
        except TimeoutError as error:
            raise SourceError(
                f"webrtc: no connection within {limit_s:g} s (ICE: {self._connection.iceConnectionState});"
                " is UDP blocked, or the TURN server wrong? (connect_timeout_s)"
            ) from error
        if self._connection.connectionState != "connected":
            raise SourceError("webrtc: the connection failed: no network path to the server, or DTLS was refused")

    def _on_state(self) -> None:
        if self._connection.connectionState in ("connected", "failed", "closed"):
            self._settled.set()

    async def _drain(self, logs: Sequence[PacketLog], intake: Intake) -> str:
        """Take every frame the moment it is decoded: aiortc's own queues have no bound."""
        video, audio = logs
        async with asyncio.TaskGroup() as group:
            group.create_task(_drain_track(_track(self._video), lambda frame: _picture(frame, video, intake), intake))
            group.create_task(_drain_track(_track(self._audio), lambda frame: _sound(frame, audio, intake), intake))
        if self._connection.connectionState == "failed":
            raise SourceError("webrtc: the connection was lost")
        return "closed by the sender"


def _configuration(options: PeerOptions, servers: Sequence[IceServer], loopback: bool) -> RTCConfiguration:
    relay_only = options.ice_transport_policy == "relay"
    return RTCConfiguration(
        # a server on this machine is reached without help; an empty list, for None means a public STUN server
        iceServers=[] if loopback and not relay_only else [_ice_server(server) for server in servers],
        iceTransportPolicy=RTCIceTransportPolicy.RELAY if relay_only else RTCIceTransportPolicy.ALL,
        bundlePolicy=RTCBundlePolicy.MAX_BUNDLE,
    )


def _ice_server(server: IceServer) -> RTCIceServer:
    credential = server.credential.get_secret_value() if server.credential else None
    return RTCIceServer(urls=server.urls, username=server.username, credential=credential)


def _track(transceiver: RTCRtpTransceiver) -> MediaStreamTrack:
    return transceiver.receiver.track


async def _drain_track(track: MediaStreamTrack, unit_of: Callable[[Any], Any], intake: Intake) -> None:
    while True:
        try:
            frame = await track.recv()
        except MediaStreamError:
            return
        await intake.put(unit_of(frame))


def _picture(frame: av.VideoFrame, log: PacketLog, intake: Intake) -> DecodedPicture:
    assert frame.pts is not None
    assert frame.time_base is not None
    video = intake.facts.setdefault("video", {})
    video["width"], video["height"] = frame.width, frame.height
    arrival_s = log.arrival_of(frame.pts)
    return DecodedPicture(
        track_s=float(frame.pts * frame.time_base),
        arrival_s=intake.now_s() if arrival_s is None else arrival_s,
        picture=picture_of(frame),
        key_frame=bool(frame.key_frame),
        corrupt=bool(frame.is_corrupt),
        transport={"rtp_timestamp": frame.pts % (1 << 32), "packets": log.packets, "lost": log.lost()},
    )


def _sound(frame: av.AudioFrame, log: PacketLog, intake: Intake) -> DecodedSound:
    assert frame.pts is not None
    assert frame.time_base is not None
    arrival_s = log.arrival_of(frame.pts)
    return DecodedSound(
        track_s=float(frame.pts * frame.time_base),
        arrival_s=intake.now_s() if arrival_s is None else arrival_s,
        samples=samples_of(frame),
        rate_hz=frame.sample_rate,
    )
