"""One WHEP viewer: the peer connection, its tracks, and the moment the show begins."""

import asyncio
import logging
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from aiortc import RTCBundlePolicy, RTCConfiguration, RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from aiortc.exceptions import OperationError
from aiortc.sdp import SessionDescription

from vision.simulator.encoder import BLOCK_SAMPLES
from vision.simulator.faults import FaultPlan
from vision.simulator.internals import gather_on_loopback, on_key_frame_request, report, send_capture_times
from vision.simulator.reports import Reports
from vision.simulator.settings import SimulatorSettings
from vision.simulator.studio import Parcel, Studio
from vision.simulator.tracks import MediaClock, PacedTrack
from vision.simulator.truth import TruthLog
from vision.simulator.turns import Turns
from vision.simulator.voice import SAMPLE_RATE_HZ

logger = logging.getLogger(__name__)

LOOK_AHEAD_S = 0.5
CONNECT_DEADLINE_S = 30.0
MIME_TYPES = {"h264": "video/H264", "vp8": "video/VP8"}


class OfferError(ValueError):
    """The SDP offer cannot be answered."""


class Viewer:
    """Streams one performance from its beginning to one peer.

    `on_gone` is called once, when the connection has failed or was closed.
    """

    def __init__(
        self, settings: SimulatorSettings, turns: Turns, truth: TruthLog, loopback: bool, on_gone: Callable[[], None]
    ) -> None:
        self.id = secrets.token_hex(8)
        self._settings = settings
        self._truth = truth
        self._loopback = loopback
        self._on_gone = on_gone
        self._studio = Studio(settings, turns)
        self._faults = FaultPlan(settings.faults)
        self._clock = MediaClock()
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="studio")
        self._peer = RTCPeerConnection(RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE))
        self._peer.on("connectionstatechange", self._state_changed)
        self._tracks: list[PacedTrack] = []
        self._beginning: asyncio.Task[None] | None = None
        self._connect_timer: asyncio.TimerHandle | None = None
        self._key_frame_pending = False

    async def answer(self, offer_sdp: str) -> str:
        """The SDP answer to an offer.

        :raises OfferError: when the offer does not parse, or has nothing that can be answered.
        """
        offer = _parsed(offer_sdp)
        for media in offer.media:
            if media.kind == "video":
                self._add_video(any(codec.mimeType == self._mime_type for codec in media.rtp.codecs))
            elif media.kind == "audio":
                self._add_audio()
        try:
            await self._peer.setRemoteDescription(RTCSessionDescription(offer_sdp, "offer"))
            if self._loopback:
                gather_on_loopback(self._peer)
            if self._settings.capture_time:
                send_capture_times(self._peer, offer)
            await self._peer.setLocalDescription(await self._peer.createAnswer())
        except (ValueError, KeyError, AttributeError, OperationError) as error:
            raise OfferError(f"the offer cannot be answered: {error}") from error
        self._connect_timer = asyncio.get_running_loop().call_later(CONNECT_DEADLINE_S, self._give_up)
        return self._peer.localDescription.sdp

    async def close(self) -> None:
        """Ends the stream and frees everything."""
        self._stop_timer()
        if self._beginning is not None:
            self._beginning.cancel()
        await self._peer.close()
        self._executor.shutdown(wait=False, cancel_futures=True)

    @property
    def _mime_type(self) -> str:
        return MIME_TYPES[self._settings.codec]

    def _add_video(self, codec_offered: bool) -> None:
        if not codec_offered:
            # As the vendor's server does: the answer is 201, and no picture ever comes.
            self._peer.addTransceiver("video", direction="inactive")
            return
        depth = max(1, round(LOOK_AHEAD_S * self._settings.fps))
        track = self._track("video", self._studio.next_picture, depth)
        track.on_sent = self._picture_sent
        transceiver = self._peer.addTransceiver(track, direction="sendonly")
        capabilities = RTCRtpSender.getCapabilities("video").codecs
        transceiver.setCodecPreferences(
            [codec for codec in capabilities if codec.mimeType in (self._mime_type, "video/rtx")]
        )
        report(transceiver.sender, Reports(track, self._faults))
        on_key_frame_request(transceiver.sender, self._key_frame_requested)

    def _add_audio(self) -> None:
        depth = max(1, round(LOOK_AHEAD_S * SAMPLE_RATE_HZ / BLOCK_SAMPLES))
        track = self._track("audio", self._studio.next_sound, depth)
        transceiver = self._peer.addTransceiver(track, direction="sendonly")
        capabilities = RTCRtpSender.getCapabilities("audio").codecs
        transceiver.setCodecPreferences([codec for codec in capabilities if codec.mimeType == "audio/opus"])
        report(transceiver.sender, Reports(track, self._faults))

    def _track(self, kind: str, make: Callable[[], Parcel], depth: int) -> PacedTrack:
        track = PacedTrack(kind, self._clock, self._executor, make, depth)
        self._tracks.append(track)
        return track

    def _key_frame_requested(self) -> None:
        """Picture loss: one key frame, at the end of the look-ahead, however often it is asked for till then."""
        if not self._key_frame_pending:
            self._key_frame_pending = True
            self._studio.want_key_frame()

    def _picture_sent(self, parcel: Parcel) -> None:
        if parcel.packet.is_keyframe:
            self._key_frame_pending = False
        if parcel.truth is not None:
            self._truth.write(self, parcel.truth)

    def _state_changed(self) -> None:
        state = self._peer.connectionState
        logger.debug("viewer %s is %s", self.id, state)
        if state == "connected":
            self._stop_timer()
            self._beginning = asyncio.ensure_future(self._begin())
        elif state in ("failed", "closed"):
            self._on_gone()

    async def _begin(self) -> None:
        """Starts the show when there is somebody to see it and something to be seen."""
        self._truth.claim(self)
        for track in self._tracks:
            await track.ready()
        self._clock.start()

    def _give_up(self) -> None:
        logger.warning("viewer %s did not connect within %.0f s", self.id, CONNECT_DEADLINE_S)
        self._on_gone()

    def _stop_timer(self) -> None:
        if self._connect_timer is not None:
            self._connect_timer.cancel()


def _parsed(offer_sdp: str) -> SessionDescription:
    try:
        offer = SessionDescription.parse(offer_sdp)
    except (ValueError, KeyError, IndexError, AttributeError, AssertionError) as error:
        raise OfferError(f"the SDP does not parse: {error}") from error
    if not offer.media:
        raise OfferError("the SDP does not parse: it has no media section")
    return offer
