"""The WebRTC side of a live source: offers, connects, and hands in what its receivers decode."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Sequence
from typing import Any, Literal, NoReturn, Protocol

from aiortc import RTCBundlePolicy, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from pydantic import Field

from vision.connectors.ice import IcePath, probe
from vision.connectors.receiver import (
    SoundReceiver,
    TrackReceiver,
    Unit,
    VideoReceiver,
    offer_more,
    require_known_aiortc,
    said_goodbye,
)
from vision.connectors.recovery import MediaLostError, RecoveryOptions, RefusedError
from vision.connectors.release import ended, uninterrupted
from vision.connectors.sdp import RemoteDescription, begins_with_audio, codecs_of, direction_of, sanitised
from vision.connectors.turn import IceServer
from vision.errors import SourceError
from vision.intake import Intake, Transport
from vision.rtp.statistics import PerSecond

__all__ = ["NotConnectedError", "Peer", "PeerOptions", "Signalling"]

_log = logging.getLogger(__name__)
_GATHER_S = 3.0  # a TURN server that has not answered by then is taken to be gone
_CLOSE_S = 3.0  # closing may wait for a TURN server that is gone
_LOOK_S = 0.1
_NO_ANSWER_WANTED = 422
_GOODBYE_S = 0.5  # some senders say BYE and go on


class NotConnectedError(SourceError):
    """The descriptions were exchanged, and no connection came about."""


class Signalling(Protocol):
    """How offers and answers are exchanged with the server."""

    async def offer(self, sdp: str) -> RemoteDescription:
        """Send our offer; its answer, or an offer of the server's own."""

    async def answer(self, sdp: str) -> None:
        """Send our answer to the server's offer."""

    @property
    def link_servers(self) -> Sequence[IceServer]:
        """STUN and TURN servers that the server has named in its answer, for those who know of none."""


class PeerOptions(RecoveryOptions):
    """Options of every source that comes over WebRTC."""

    connect_timeout_s: float = Field(10, gt=0, le=120, description="seconds that ICE and DTLS may take together")
    ice_transport_policy: Literal["all", "relay"] = Field("all", description="relay: through a TURN server only")
    stall_s: float = Field(
        4, gt=0, le=600, description="seconds without a packet (of video, where there is any) after which it is lost"
    )


class _Connection:
    """One RTCPeerConnection, for one exchange of descriptions, with receivers of our own.

    :param audio_first: the other side's offer begins with sound. aiortc keeps the transport of the section that is
        first there; with max-bundle, that of the transceiver that is first here is the only one.
    """

    def __init__(
        self,
        options: PeerOptions,
        ice_servers: Sequence[IceServer],
        intake: Intake,
        *,
        loopback: bool,
        audio_first: bool,
    ) -> None:
        self.failure: Exception | None = None
        self.settled = asyncio.Event()
        # an empty list of servers: `None` would mean a public one; IcePath knows ours
        self.rtc = RTCPeerConnection(RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE))
        self.rtc.on("connectionstatechange", self._on_state)
        transport = intake.transport = intake.transport or Transport()
        counts = {"video": transport.video, "audio": transport.audio}
        figures = PerSecond(counts, intake.now_s(), self.update_statistics)
        kinds = ("audio", "video") if audio_first else ("video", "audio")
        made = {kind: self.rtc.addTransceiver(kind, direction="recvonly") for kind in kinds}
        self._video, self._audio = made["video"], made["audio"]
        self.video = VideoReceiver(self._video, transport.video, self._hand_in, intake.now_s, figures)
        self.sound = SoundReceiver(self._audio, transport.audio, self._hand_in, intake.now_s)
        self._intake = intake
        self.video.on_sender_time = functools.partial(intake.relate, "picture")
        self.sound.on_sender_time = functools.partial(intake.relate, "sound")
        self.video.sound = self.sound
        self.video.on_wait = self._hold
        self.video.on_lost = lambda count: intake.note("network", count)
        self._relay_only = options.ice_transport_policy == "relay"
        self.path = IcePath(self._video, ice_servers, relay_only=self._relay_only, loopback=loopback, limit_s=_GATHER_S)
        self._gathering: asyncio.Task[None] | None = None

    @property
    def receivers(self) -> tuple[TrackReceiver, ...]:
        """That of pictures and that of sound."""
        return self.video, self.sound

    async def offer(self) -> str:
        """Our offer, with all candidates: they are gathered before it is sent."""
        return await self._local(await self.rtc.createOffer())

    async def accept(self, answer: str) -> None:
        """Take the answer to our offer."""
        await self._remote(RTCSessionDescription(answer, "answer"))

    async def answer(self, offer: str) -> str:
        """Our answer to the server's offer."""
        await self._remote(RTCSessionDescription(offer, "offer"))
        return await self._local(await self.rtc.createAnswer())

    async def finish(self) -> None:
        """Hand on what the receivers hold."""
        for receiver in self.receivers:
            await receiver.finish()

    def update_statistics(self) -> None:
        """Bring all sums up to date."""
        for receiver in self.receivers:
            receiver.update_statistics()

    def write_facts(self) -> None:
        """Write down what was found out so far."""
        self.update_statistics()
        facts, transport = self._intake.facts, self._intake.transport
        facts["ice"] = self.path.facts()
        for kind, receiver in zip(("video", "audio"), self.receivers, strict=True):
            known = facts.setdefault(kind, {})
            known["codec"] = receiver.codec or known.get("codec")
            known["sender_reports"] = receiver.sender_reports
            if transport is not None:
                known |= transport.as_dict()[kind]
        if self.video.size is not None:
            facts["video"] |= dict(zip(("width", "height"), self.video.size, strict=True))

    async def close(self) -> None:
        """Close everything, within a bounded time, whatever state it is in."""
        if self._gathering is not None:
            await ended(self._gathering)  # it ends by itself; cancelled, it would leave its sockets open
        closing = asyncio.create_task(self._shut())
        await asyncio.wait([closing], timeout=_CLOSE_S)
        if not closing.done():
            _log.debug("the peer connection did not close in time")
            closing.cancel()
            self.path.drop_sockets()
        await ended(closing)

    async def _local(self, description: RTCSessionDescription) -> str:
        self._gathering = asyncio.create_task(self.rtc.setLocalDescription(description))
        await asyncio.shield(self._gathering)
        sdp: str = self.rtc.localDescription.sdp
        if "a=candidate:" not in sdp:
            raise SourceError(
                f"webrtc: {self.path.relay_missing()}"
                if self._relay_only
                else "webrtc: this machine has no network address to be reached at"
            )
        return sdp

    async def _remote(self, description: RTCSessionDescription) -> None:
        if "a=fingerprint:" not in description.sdp:  # aiortc would only notice when nobody listens any more
            raise SourceError(f"whep: the server's SDP {description.type} cannot be used: it has no DTLS fingerprint")
        try:
            await self.rtc.setRemoteDescription(description)
            await self.rtc.addIceCandidate(None)  # all candidates are in it: ICE may fail
        except Exception as error:  # aiortc raises whatever its parser trips over
            # only its type: its words may quote the description, and that may quote the token
            kind = type(error).__name__
            raise SourceError(f"whep: the server's SDP {description.type} cannot be used ({kind})") from error

    async def _shut(self) -> None:
        await self.rtc.close()
        self.rtc.remove_all_listeners()

    def _on_state(self) -> None:
        if self.rtc.connectionState in ("connected", "failed", "closed"):
            self.settled.set()

    def _hand_in(self, unit: Unit) -> None:
        """Hand everything in the moment it is decoded: only the queue before the processors may drop."""
        try:
            self._intake.put_nowait(unit)
        except Exception as error:  # its clock may be anybody's
            self.failure = self.failure or error

    def _hold(self, waits: bool) -> None:
        self._intake.holding = waits


class Peer:
    """One receiving peer, for one session of a server; use it as `async with`."""

    def __init__(
        self, options: PeerOptions, ice_servers: Sequence[IceServer], intake: Intake, *, loopback: bool
    ) -> None:
        require_known_aiortc()
        offer_more()
        self._options, self._ice_servers, self._loopback = options, ice_servers, loopback
        self._intake = intake
        self._connection = self._made(ice_servers)
        self._offered: _Connection | None = None  # kept until the answer to a counter-offer is taken

    async def __aenter__(self) -> Peer:
        return self

    async def __aexit__(self, *_: object) -> None:
        await uninterrupted(self._close())

    async def receive(self, signalling: Signalling) -> NoReturn:
        """Negotiate, connect, and hand in what comes until nothing more does.

        :raises MediaLostError: when it was connected, and has ended: by the sender, by a stall, or by a lost path.
        :raises SourceError: when the description cannot be used, or the connection does not come about.
        """
        await self._negotiate(signalling)
        await self._connect()
        connection = self._connection
        lost: MediaLostError | None = None
        try:
            lost = await self._watch(connection)
            await connection.finish()
        finally:
            # behind an orderly end there may be nothing to miss: that is seen when another connection is asked for
            self._intake.expecting, self._intake.holding = lost is not None and lost.orderly, False
            self._write_facts()
        raise lost

    async def _negotiate(self, signalling: Signalling) -> None:
        connection = self._connection
        if self._intake.thorough:
            self._intake.facts["turn"] = [outcome.as_dict() for outcome in await probe(self._ice_servers)]
        offer = await connection.offer()
        self._note_startup(offered_s=self._intake.now_s())
        remote = await signalling.offer(offer)
        self._note_startup(answered_s=self._intake.now_s())
        self._intake.facts["negotiation"] = {"answered_with": remote.type, **codecs_of(remote.sdp)}
        if remote.type == "answer":
            await connection.accept(_with_video(sanitised(remote.sdp, offer=offer)))
        else:
            await self._counter(signalling, remote.sdp, offer)

    async def _counter(self, signalling: Signalling, counter_offer: str, offer: str) -> None:
        """Answer the server's own offer.

        A server that takes no answer has meant it as one, whatever it says: some pass on what a media server of theirs
        offers as if it were the answer to ours.
        """
        sdp = _with_video(sanitised(counter_offer, offer=None))
        # a connection that has offered cannot take an offer (there is no rollback): another one does
        servers = self._ice_servers or signalling.link_servers
        offered, answering = self._connection, self._made(servers, audio_first=begins_with_audio(sdp))
        self._connection, self._offered = answering, offered
        try:
            await signalling.answer(await answering.answer(sdp))
        except RefusedError as refusal:
            if refusal.status != _NO_ANSWER_WANTED:
                raise
            self._connection, self._offered = offered, answering
            await offered.accept(sanitised(counter_offer, offer=offer))
        unused, self._offered = self._offered, None
        await unused.close()

    async def _close(self) -> None:
        if self._offered is not None:
            await self._offered.close()
        await self._connection.close()

    async def _connect(self) -> None:
        limit_s, connection = self._options.connect_timeout_s, self._connection
        try:
            async with asyncio.timeout(limit_s):
                await connection.settled.wait()
        except TimeoutError as error:
            connection.write_facts()
            raise NotConnectedError(
                f"webrtc: no connection within {limit_s:g} s (connect_timeout_s;"
                f" ICE is {connection.rtc.iceConnectionState}): {connection.path.why_not()}"
            ) from error
        if connection.rtc.connectionState != "connected":
            connection.write_facts()
            why = "DTLS was refused" if connection.path.facts()["pair"] else connection.path.why_not()
            raise NotConnectedError(f"webrtc: the connection failed: {why}")
        self._note_startup(connected_s=self._intake.now_s())
        connection.write_facts()

    async def _watch(self, connection: _Connection) -> MediaLostError:
        """Why nothing more comes."""
        while True:
            for failure in (connection.failure, *(receiver.failure for receiver in connection.receivers)):
                if failure is not None:
                    raise failure
            if (lost := self._lost(connection) or await self._stalled(connection)) is not None:
                return lost
            if self._intake.thorough:
                self._write_facts()  # somebody is watching
            await asyncio.sleep(_LOOK_S)

    def _lost(self, connection: _Connection) -> MediaLostError | None:
        now_s = self._intake.now_s()
        if connection.rtc.connectionState != "connected":
            if said_goodbye(connection.rtc):
                return MediaLostError("webrtc: closed by the sender", "sender", orderly=True)
            return MediaLostError("webrtc: the path to the server was lost", "network")
        for receiver in connection.receivers:
            goodbye_s, last_s = receiver.goodbye_s, receiver.last_packet_s
            if goodbye_s is None:
                continue
            if last_s is not None and last_s > goodbye_s:
                receiver.goodbye_s = None  # it was another source's, or none at all
                self._intake.expecting = False
                continue
            self._intake.expecting = True  # whether there is anything to wait for is not known yet
            if now_s - goodbye_s > _GOODBYE_S:
                return MediaLostError("webrtc: closed by the sender (BYE)", "sender", orderly=True)
        return None

    async def _stalled(self, connection: _Connection) -> MediaLostError | None:
        begun = connection.video if connection.video.last_packet_s is not None else connection.sound
        last_s, limit_s = begun.last_packet_s, self._options.stall_s
        if last_s is None or self._intake.now_s() - last_s <= limit_s:
            return None
        answers = await connection.path.answers()
        if begun.last_packet_s != last_s:
            return None  # it goes on
        what = "pictures" if begun is connection.video else "sound"
        path = "the server still answers" if answers else "nor does the server answer"
        return MediaLostError(
            f"webrtc: no {what} for {limit_s:g} s, {path} (stall_s)", "sender" if answers else "network"
        )

    def _write_facts(self) -> None:
        """Write down what was found out so far."""
        connection = self._connection
        connection.write_facts()
        firsts = [receiver.first_packet_s for receiver in connection.receivers if receiver.first_packet_s is not None]
        self._note_startup(
            first_packet_s=min(firsts, default=None),
            first_picture_s=connection.video.first_decoded_s,
            first_sound_s=connection.sound.first_decoded_s,
        )

    def _note_startup(self, **seconds: float | None) -> None:
        """Keep when each step was reached, on the first connection: seconds since the run began."""
        startup: dict[str, Any] = self._intake.facts.setdefault("startup", {})
        for name, value in seconds.items():
            if value is not None:
                startup.setdefault(name, round(value, 3))

    def _made(self, ice_servers: Sequence[IceServer], *, audio_first: bool = False) -> _Connection:
        return _Connection(self._options, ice_servers, self._intake, loopback=self._loopback, audio_first=audio_first)


def _with_video(sdp: str) -> str:
    if direction_of(sdp, "video") in (None, "inactive"):
        raise SourceError("whep: the server answered with inactive video: it has none, or none in H264 or VP8")
    return sdp
