"""The part that touches aiortc's own names: the guard on the version, and what is put in the place of its receivers."""

from __future__ import annotations

import aiortc
import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpReceiver
from aiortc.codecs import CODECS, HEADER_EXTENSIONS
from aiortc.rtcrtpparameters import RTCRtpHeaderExtensionParameters, RTCRtpReceiveParameters
from aiortc.rtp import pack_header_extensions

from tests.connectors.sender import Sender, pictures, sound
from tests.connectors.server import Server
from tests.connectors.support import TOKEN, Collector, made, refused, run_clean
from vision.connectors import receiver
from vision.connectors.receiver import TrackReceiver, offer_more, require_known_aiortc
from vision.connectors.whep import WhepConnector
from vision.errors import SourceError

_CAPTURE_TIME = "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time"


def test_an_unknown_aiortc_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another minor version of aiortc is one line that says what to install; the one at hand is known."""
    require_known_aiortc()
    monkeypatch.setattr(aiortc, "__version__", "1.17.0")
    with pytest.raises(SourceError, match=r"aiortc 1\.17\.0 is installed; needed: 1\.16\.x"):
        require_known_aiortc()
    assert "aiortc" in run_clean(refused(made(WhepConnector, url="http://127.0.0.1:9/", token=TOKEN)))


def test_the_private_names_are_there() -> None:
    """What is touched inside aiortc exists: this fails when the version moves and they do not."""

    async def scenario() -> None:
        connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        transceiver = connection.addTransceiver("video", direction="recvonly")
        assert transceiver._RTCRtpTransceiver__receiver is transceiver.receiver  # type: ignore[attr-defined]
        for name in ("_handle_rtp_packet", "_handle_rtcp_packet", "_handle_disconnect", "_set_rtcp_ssrc"):
            assert name in vars(RTCRtpReceiver), name
            assert name in vars(TrackReceiver), name
        dtls = transceiver.receiver.transport
        assert isinstance(transceiver.sender._ssrc, int)
        for name in ("_rx_srtp", "_rtp_router", "_rtp_header_extensions_map", "_register_rtp_receiver", "_ssl"):
            assert hasattr(dtls, name), name
        assert callable(dtls.transport._connection.data_received)
        await connection.close()

    run_clean(scenario())


def test_more_profiles_are_offered_once() -> None:
    """Main and High stand beside Baseline, each with its retransmissions, and no payload type is used twice."""
    offer_more()
    offer_more()
    profiles = [codec.parameters["profile-level-id"] for codec in CODECS["video"] if codec.name == "H264"]
    assert profiles == ["42001f", "42e01f", "4d001f", "64001f", "640c1f"]
    types = [codec.payloadType for codec in CODECS["video"]]
    assert len(set(types)) == len(types)
    assert max(kind or 0 for kind in types) < 128
    repeated = {codec.parameters["apt"] for codec in CODECS["video"] if codec.name == "rtx"}
    assert repeated == {codec.payloadType for codec in CODECS["video"] if codec.name != "rtx"}


def test_the_time_of_capture_is_offered_and_read() -> None:
    """abs-capture-time in both of its forms, the sender's clock in the end; what is neither is left alone."""
    offer_more()
    offer_more()
    for extensions in HEADER_EXTENSIONS.values():
        numbers = [extension.id for extension in extensions]
        assert len(set(numbers)) == len(numbers)
        assert [extension.uri for extension in extensions].count(_CAPTURE_TIME) == 1
    reader = receiver._HeaderExtensions()
    parameters = RTCRtpReceiveParameters(headerExtensions=[RTCRtpHeaderExtensionParameters(4, _CAPTURE_TIME)])
    captured, ahead = 0xE9A1_0000_8000_0000, 3 << 31  # by a clock that is a second and a half ahead of the sender's
    for value, expected in (
        (captured.to_bytes(8), captured),
        (captured.to_bytes(8) + ahead.to_bytes(8, signed=True), captured - ahead),
        (captured.to_bytes(8)[:5], None),
    ):
        packed = pack_header_extensions([(4, value)])
        assert getattr(reader.get(*packed), "abs_capture_time", None) is None  # it was not agreed on
        agreed = receiver._HeaderExtensions()
        agreed.configure(parameters)
        assert getattr(agreed.get(*packed), "abs_capture_time", None) == expected


def test_what_goes_wrong_in_a_packet_ends_the_connection_and_not_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """A defect behind the socket comes out where the source is watched, once, and nothing fails unseen."""

    def broken(block: object) -> None:
        raise RuntimeError("no such samples")

    monkeypatch.setattr(receiver, "samples_of", broken)

    async def scenario() -> None:
        async with Server(Sender([pictures(5), sound(5)])) as server:
            with pytest.raises(RuntimeError, match="no such samples"):
                await made(WhepConnector, url=f"{server.url}/whep/session/1").stream(Collector())
            assert len(server.sent("DELETE")) == 1

    run_clean(scenario())
