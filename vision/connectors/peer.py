"""The WebRTC side of a live source: offers, connects, decodes, and hands everything in at once."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Annotated, Any, Literal

import av
from aiortc import (
    MediaStreamTrack,
    RTCBundlePolicy,
    RTCConfiguration,
    RTCIceServer,
    RTCIceTransportPolicy,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError
from pydantic import AfterValidator, Field, SecretStr

from vision.connectors.decoding import picture_of, samples_of
from vision.connectors.receiver import (
    PacketLog,
    chosen_pair,
    drop_sockets,
    require_known_aiortc,
    said_goodbye,
    set_up_gathering,
)
from vision.connectors.release import uninterrupted
from vision.errors import SourceError
from vision.hosts import is_loopback
from vision.intake import DecodedPicture, DecodedSound, Intake
from vision.processor import Options

__all__ = ["Exchange", "IceServer", "Peer", "PeerOptions", "is_ice_url"]

_log = logging.getLogger(__name__)
_GATHER_S = 3.0  # a TURN server that has not answered by then is taken to be gone
_CLOSE_S = 2.0  # closing may wait for a TURN server that is gone

Exchange = Callable[[str], Awaitable[str]]
_Unit = DecodedPicture | DecodedSound

# What aiortc can parse; a host with colons (an IPv6 address) it cannot.
_ICE_URL = re.compile(r"stuns?:[^?:@/\s]+(:\d{1,5})?|turns?:[^?:@/\s]+(:\d{1,5})?(\?transport=(udp|tcp))?")


def is_ice_url(url: str) -> bool:
    """Whether it names a STUN or TURN server in a way that can be used."""
    return _ICE_URL.fullmatch(url) is not None


def _ice_url(url: str) -> str:
    if not is_ice_url(url):
        raise ValueError("not stun:HOST[:PORT], turn:HOST[:PORT][?transport=udp|tcp] or turns:...")
    return url


class IceServer(Options):
    """A STUN or TURN server."""

    urls: list[Annotated[str, AfterValidator(_ice_url)]] = Field(
        min_length=1, description="such as turn:turn.example.com:443?transport=udp"
    )
    username: str | None = Field(None, description="of a TURN server")
    credential: SecretStr | None = Field(None, description="of a TURN server")

    @property
    def is_turn(self) -> bool:
        """Whether it relays."""
        return any(url.startswith("turn") for url in self.urls)

    @property
    def is_here(self) -> bool:
        """Whether it is on this machine."""
        return all(is_loopback(url.split(":")[1].partition("?")[0]) for url in self.urls)


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
        use_loopback = loopback and options.ice_transport_policy == "all"
        set_up_gathering(self._video, loopback=use_loopback, limit_s=_GATHER_S)
        self._settled = asyncio.Event()
        self._gathering: asyncio.Task[None] | None = None
        self._connection.on("connectionstatechange", self._on_state)

    async def __aenter__(self) -> Peer:
        return self

    async def __aexit__(self, *_: object) -> None:
        await uninterrupted(self._close())

    async def receive(self, exchange: Exchange, intake: Intake) -> str:
        """Offer through `exchange`, connect, and hand in what comes; returns why it ended.

        :raises SourceError: when the answer cannot be used, or the connection fails or does not come about.
        """
        logs = [PacketLog(transceiver.receiver, intake.now_s) for transceiver in (self._video, self._audio)]
        await self._answer(await exchange(await self._offer()))
        await self._connect()
        intake.facts["ice"] = chosen_pair(self._video)
        try:
            return await self._drain(logs, intake)
        finally:
            for kind, log in zip(("video", "audio"), logs, strict=True):
                intake.facts.setdefault(kind, {}).update(
                    codec=log.codec, packets=log.packets, bytes=log.octets, lost=log.lost()
                )

    async def _offer(self) -> str:
        """The offer, with all candidates: they are gathered before it is sent."""
        offer = await self._connection.createOffer()
        self._gathering = asyncio.create_task(self._connection.setLocalDescription(offer))
        await asyncio.shield(self._gathering)
        sdp: str = self._connection.localDescription.sdp
        if "a=candidate:" not in sdp:
            raise SourceError(
                "webrtc: no TURN server gave an address; are host, username and credential right? (ice_servers)"
                if self._options.ice_transport_policy == "relay"
                else "webrtc: this machine has no network address to be reached at"
            )
        return sdp

    async def _answer(self, sdp: str) -> None:
        if "a=fingerprint:" not in sdp:  # aiortc would only notice when nobody listens any more
            raise SourceError("whep: the server's SDP answer cannot be used: it has no DTLS fingerprint")
        try:
            await self._connection.setRemoteDescription(RTCSessionDescription(sdp, "answer"))
            await self._connection.addIceCandidate(None)  # all candidates are in the answer: ICE may fail
        except Exception as error:  # aiortc raises whatever its parser trips over
            # only its type: its words may quote the answer, and that may quote the token
            raise SourceError(f"whep: the server's SDP answer cannot be used ({type(error).__name__})") from error
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
        try:
            async with asyncio.TaskGroup() as group:
                for track, unit_of in (
                    (self._video.receiver.track, lambda frame: _picture(frame, video, intake)),
                    (self._audio.receiver.track, lambda frame: _sound(frame, audio, intake)),
                ):
                    if track is not None:  # a track that the answer rejects does not exist
                        group.create_task(_drain_track(track, unit_of, intake))
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None  # both tracks go through the same intake: one reason is the reason
        if not said_goodbye(self._video):
            raise SourceError("webrtc: the connection was lost")
        return "closed by the sender"

    async def _close(self) -> None:
        """Close everything, within a bounded time, whatever state it is in."""
        if self._gathering is not None:
            await _ended(self._gathering)  # it ends by itself; cancelled, it would leave its sockets open
        closing = asyncio.create_task(self._shut())
        await asyncio.wait([closing], timeout=_CLOSE_S)
        if not closing.done():
            _log.debug("webrtc: closing was given up after %g s", _CLOSE_S)
            closing.cancel()
        await _ended(closing)
        drop_sockets(self._video)

    async def _shut(self) -> None:
        await self._connection.close()
        for transceiver in (self._video, self._audio):
            # a handshake that ended while `close` was under way may have started a decoder after it
            await transceiver.receiver.stop()


async def _ended(task: asyncio.Task[None]) -> None:
    await asyncio.wait([task])
    if not task.cancelled() and task.exception() is not None:
        _log.debug("webrtc: closing", exc_info=task.exception())


def _configuration(options: PeerOptions, servers: Sequence[IceServer], loopback: bool) -> RTCConfiguration:
    relay_only = options.ice_transport_policy == "relay"
    return RTCConfiguration(
        # an empty list where there is none, for None means a public STUN server
        iceServers=list(_ice_servers(servers, without_local=loopback and not relay_only)),
        iceTransportPolicy=RTCIceTransportPolicy.RELAY if relay_only else RTCIceTransportPolicy.ALL,
        bundlePolicy=RTCBundlePolicy.MAX_BUNDLE,
    )


def _ice_servers(servers: Iterable[IceServer], *, without_local: bool) -> Iterable[RTCIceServer]:
    """What aiortc is told; a server on this machine is no help in reaching this machine, and may not even exist."""
    for server in servers:
        if not (without_local and server.is_here):
            credential = server.credential.get_secret_value() if server.credential else None
            yield RTCIceServer(urls=server.urls, username=server.username, credential=credential)


async def _drain_track(track: MediaStreamTrack, unit_of: Callable[[Any], _Unit], intake: Intake) -> None:
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
    first = log.first_of(frame.pts)
    return DecodedPicture(
        track_s=float(frame.pts * frame.time_base),
        arrival_s=first.arrival_s if first else intake.now_s(),
        picture=picture_of(frame),
        key_frame=bool(frame.key_frame) or (first is not None and first.key_frame),
        corrupt=bool(frame.is_corrupt),
        transport={"rtp_timestamp": frame.pts % (1 << 32), "packets": log.packets, "lost": log.lost()},
    )


def _sound(frame: av.AudioFrame, log: PacketLog, intake: Intake) -> DecodedSound:
    assert frame.pts is not None
    assert frame.time_base is not None
    first = log.first_of(frame.pts)
    return DecodedSound(
        track_s=float(frame.pts * frame.time_base),
        arrival_s=first.arrival_s if first else intake.now_s(),
        samples=samples_of(frame),
        rate_hz=frame.sample_rate,
    )
