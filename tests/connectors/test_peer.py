"""The WebRTC side against a real peer: ICE, DTLS and SRTP on loopback."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import struct
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any

import av
import numpy as np
import pytest
from aioice import ice

from tests.connectors.recording import AMPLITUDE
from tests.connectors.sender import FPS, Paced, Sender, pictures, sound
from tests.connectors.server import Server
from tests.connectors.support import Collector, made, refused, run_clean, until
from vision.connectors import peer, turn
from vision.connectors.base import Connector
from vision.connectors.whep import WhepConnector
from vision.errors import SourceError
from vision.intake import DecodedPicture, DecodedSound


def received(make: Callable[[], Sender], intake: Collector | None = None) -> tuple[Collector, str]:
    """What arrives from a sender that closes when it is through, and the reason for the end."""
    intake = intake or Collector()

    async def scenario() -> tuple[Collector, str]:
        async with Server(make()) as server:
            reason = await connector(server).stream(intake)
            assert len(server.sent("DELETE")) == 1
        return intake, reason

    return run_clean(scenario())


def connector(server: Server, **options: object) -> Connector:
    """The connector to a local server."""
    return made(WhepConnector, url=f"{server.url}/whep/session/1", **options)


@pytest.mark.parametrize("codec", ["video/VP8", "video/H264"])
def test_pictures_and_sound_arrive(codec: str) -> None:
    """All of them arrive, the last ones included, in time and on their track's own time, with their content."""
    intake, reason = received(lambda: Sender([pictures(), sound()], codec, closes_after=True))
    assert reason == "closed by the sender"
    assert (len(intake.pictures), len(intake.sounds)) == (50, 100)
    units = [unit for unit, _ in intake.pictures]
    assert [round((b.track_s - a.track_s) * 90_000) for a, b in pairwise(units)] == [3600] * (len(units) - 1)
    assert {(unit.picture.width, unit.picture.height) for unit in units} == {(160, 120)}
    lumas = [float(unit.picture.y.mean()) for unit in units]
    np.testing.assert_allclose(np.diff(lumas), 1, atol=2)
    assert lumas[-1] - lumas[0] == pytest.approx(len(units) - 1, abs=4)
    assert units[0].key_frame
    assert sum(unit.key_frame for unit in units) < 5
    sounds = [unit for unit, _ in intake.sounds]
    assert {round((b.track_s - a.track_s) * 48_000) for a, b in pairwise(sounds)} == {960}
    samples = np.concatenate([unit.samples for unit in sounds[10:]])
    assert float(np.sqrt(2 * np.mean(samples**2))) == pytest.approx(AMPLITUDE, rel=0.1)


def noise(seconds: float) -> Paced:
    """Pictures that take several packets each."""
    random = np.random.default_rng(1)

    def frame_of(index: int) -> av.VideoFrame:
        frame = av.VideoFrame.from_ndarray(random.integers(0, 256, (180, 160), np.uint8), "yuv420p")
        frame.pts, frame.time_base = index * 3600, Fraction(1, 90_000)
        return frame

    return Paced("video", round(seconds * FPS), 1 / FPS, frame_of)


def test_arrivals_are_those_of_the_packets(monkeypatch: pytest.MonkeyPatch) -> None:
    """A frame's arrival is when the socket gave its first packet: increasing, and before it was decoded."""
    intake = Collector()
    # by SSRC and timestamp: not before, and not after
    arrivals_s: dict[int, dict[int, tuple[float, float]]] = defaultdict(dict)
    take = ice.StunProtocol.datagram_received

    def noted(self: ice.StunProtocol, data: bytes, address: tuple[Any, ...]) -> None:
        before_s = intake.now_s()
        take(self, data, address)
        if 127 < data[0] < 192 and not 191 < data[1] < 224:  # RTP; its header is not encrypted (RFC 3711, 3.1)
            timestamp, ssrc = struct.unpack("!II", data[4:12])
            arrivals_s[ssrc].setdefault(timestamp, (before_s, intake.now_s()))

    monkeypatch.setattr(ice.StunProtocol, "datagram_received", noted)
    received(lambda: Sender([noise(1), sound(1)], closes_after=True), intake)
    assert sum((unit.transport["packets"] or 0) > 1 for unit, _ in intake.pictures) > 10
    tracks: list[tuple[Sequence[tuple[DecodedPicture | DecodedSound, float]], int]]
    tracks = [(intake.pictures, 90_000), (intake.sounds, 48_000)]
    for track, rate_hz in tracks:
        timestamps = [round(unit.track_s * rate_hz) % (1 << 32) for unit, _ in track]
        (expected_s,) = [one for one in arrivals_s.values() if one.keys() == set(timestamps)]
        for (unit, put_s), timestamp in zip(track, timestamps, strict=True):
            not_before_s, not_after_s = expected_s[timestamp]
            assert not_before_s <= unit.arrival_s <= not_after_s
            assert unit.arrival_s < put_s
        assert [unit.arrival_s for unit, _ in track] == sorted(unit.arrival_s for unit, _ in track)


def test_facts_say_what_came() -> None:
    """Codecs, size, packets and the path taken are known afterwards."""
    intake, _ = received(lambda: Sender([pictures(0.5), sound(0.5)], closes_after=True))
    video, audio = intake.facts["video"], intake.facts["audio"]
    assert (video["codec"], video["width"], video["height"], audio["codec"]) == ("VP8", 160, 120, "opus")
    assert video["packets_received"] == sum(unit.transport["packets"] or 0 for unit, _ in intake.pictures)
    assert video["frames_received"] == video["frames_decoded"] == len(intake.pictures)
    assert (video["packets_lost"], video["frames_dropped"], video["nack_count"], video["pli_count"]) == (0, 0, 0, 0)
    assert video["bytes_received"] > video["packets_received"] > 0
    assert 0 < video["jitter_s"] < 0.1
    assert audio["packets_received"] == len(intake.sounds)
    assert audio["total_samples_received"] == sum(unit.samples.size for unit, _ in intake.sounds)
    assert audio["concealed_samples"] == 0
    assert "127.0.0.1:" in json.dumps(intake.facts["ice"])


def test_each_second_is_told_once() -> None:
    """The first picture after a second carries what was counted in it, by track."""
    intake, _ = received(lambda: Sender([pictures(3.5), sound(3.5)], closes_after=True))
    told = [unit.transport for unit, _ in intake.pictures if "video_packets_received" in unit.transport]
    assert len(told) == 3
    assert all(20 <= (second["video_frames_decoded"] or 0) <= 30 for second in told[1:])
    assert all(40 <= (second["audio_packets_received"] or 0) <= 60 for second in told[1:])


@pytest.mark.parametrize("kind", ["video", "audio"])
def test_one_track_alone(kind: str) -> None:
    """A sender of pictures only is received; one that has no pictures to send is told from one that is silent."""
    make: Callable[[float], Paced] = pictures if kind == "video" else sound

    async def scenario() -> str:
        async with Server(Sender([make(0.5)], closes_after=True)) as server:
            if kind == "video":
                return await connector(server).stream(Collector())
            message = await refused(connector(server))
            assert len(server.sent("DELETE")) == 1
            return message

    assert run_clean(scenario()) == (
        "closed by the sender"
        if kind == "video"
        else "whep: the server answered with inactive video: it has none, or none in H264 or VP8"
    )


def test_nothing_is_sent_for_ever() -> None:
    """A peer that connects and sends nothing is waited for; cancelled, nothing of it stays."""

    async def scenario() -> None:
        async with Server(Sender([pictures(0), sound(0)])) as server:
            intake = Collector()
            streaming = asyncio.create_task(connector(server).stream(intake))
            await until(lambda: "ice" in intake.facts)
            await asyncio.sleep(0.1)
            assert not streaming.done()
            streaming.cancel()
            await asyncio.wait([streaming])
            assert len(server.sent("DELETE")) == 1

    run_clean(scenario())


TRAPS = {
    "no fingerprint": (r"a=fingerprint:.*\r\n", "", "no DTLS fingerprint"),
    "no ice": (r"a=ice-(ufrag|pwd):.*\r\n", "", "cannot be used"),
    "unknown codec": ("VP8/90000", "XYZ/90000", "cannot be used"),
    "no end": (r"a=candidate:.*\r\n", "", "the connection failed"),
}


@pytest.mark.parametrize("trap", TRAPS)
def test_answers_that_aiortc_trips_over(trap: str) -> None:
    """Whatever aiortc raises at an answer is one line, and the slot is given back; nothing fails unseen."""
    pattern, replacement, words = TRAPS[trap]

    async def scenario() -> str:
        sender = Sender([pictures(), sound()], edited=lambda sdp: re.sub(pattern, replacement, sdp))
        async with Server(sender) as server:
            message = await refused(connector(server, connect_timeout_s=1))
            assert len(server.sent("DELETE")) == 1
            return message

    assert words in run_clean(scenario())


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize("policy", ["all", "relay"])
def test_a_turn_server_that_is_silent(transport: str, policy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dead TURN server costs the time it is given, no more, and nothing of it stays; relay-only, it is the error."""
    monkeypatch.setattr(peer, "_GATHER_S", 0.5)
    monkeypatch.setattr(turn, "is_loopback", lambda _: False)  # else it would not even be asked

    async def scenario() -> str:
        kind = socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM
        with socket.socket(socket.AF_INET, kind) as silent:
            silent.bind(("127.0.0.1", 0))
            if transport == "tcp":
                silent.listen()
            url = f"turn:127.0.0.1:{silent.getsockname()[1]}?transport={transport}"
            servers = [{"urls": [url], "username": "u", "credential": "c"}]
            async with Server(Sender([pictures(0.2), sound(0.2)], closes_after=True)) as server:
                source = connector(server, ice_servers=servers, ice_transport_policy=policy)
                begun_s = time.monotonic()
                end = await (refused(source) if policy == "relay" else source.stream(Collector()))
                assert time.monotonic() - begun_s < 4
                return end

    assert ("no TURN server gave an address" if policy == "relay" else "closed by the sender") in run_clean(scenario())


def test_cancelled_while_a_turn_server_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while a TURN server is waited for ends within that wait, with no socket open."""
    monkeypatch.setattr(peer, "_GATHER_S", 0.5)
    monkeypatch.setattr(turn, "is_loopback", lambda _: False)

    async def scenario() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
            silent.bind(("127.0.0.1", 0))
            servers = [{"urls": [f"turn:127.0.0.1:{silent.getsockname()[1]}"], "username": "u", "credential": "c"}]
            async with Server(Sender([pictures(0.2)])) as server:
                streaming = asyncio.create_task(connector(server, ice_servers=servers).stream(Collector()))
                await asyncio.sleep(0.1)
                streaming.cancel()
                await asyncio.wait([streaming])
                assert streaming.cancelled()
                assert not server.requests

    run_clean(scenario())


def test_a_failing_intake_is_the_reason() -> None:
    """What goes wrong behind the connector comes out as it is, not as a group of one."""

    class Full(Collector):
        def put_nowait(self, unit: object) -> None:
            raise OSError("no space left")

    async def scenario() -> None:
        async with Server(Sender([pictures(), sound()])) as server:
            with pytest.raises(OSError, match="no space left"):
                await connector(server).stream(Full())
            assert len(server.sent("DELETE")) == 1

    run_clean(scenario())


def test_a_path_that_is_lost_is_told_from_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sender that vanishes without a word is a lost connection, once its consent has run out."""
    monkeypatch.setattr(ice, "CONSENT_INTERVAL", 0.1)
    monkeypatch.setattr(ice, "CONSENT_FAILURES", 1)

    async def scenario() -> None:
        sender, intake = Sender([pictures(), sound()]), Collector()
        async with Server(sender) as server:
            streaming = asyncio.create_task(connector(server, recovery_timeout_s=0).stream(intake))
            await intake.begun.wait()
            assert sender.peer is not None
            connection = sender.peer.getTransceivers()[0].receiver.transport.transport._connection
            for protocol in connection._protocols:
                protocol.transport.abort()  # the process was killed: no goodbye of any layer
            with pytest.raises(SourceError, match="the path to the server was lost"):
                await streaming
            assert len(server.sent("DELETE")) == 1

    run_clean(scenario())


def test_closing_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that does not close holds neither the slot nor the run, and no decoder thread stays."""
    from aiortc import RTCIceTransport

    monkeypatch.setattr(peer, "_CLOSE_S", 0.3)
    whole = RTCIceTransport.stop
    stuck = True

    async def stop(self: RTCIceTransport) -> None:
        if stuck and threading.current_thread() is threading.main_thread() and self.role == "controlling":
            await asyncio.Event().wait()
        await whole(self)

    async def scenario() -> None:
        nonlocal stuck
        sender, intake = Sender([pictures(), sound()]), Collector()
        monkeypatch.setattr(RTCIceTransport, "stop", stop)
        async with Server(sender) as server:
            source = connector(server)
            streaming = asyncio.create_task(source.stream(intake))
            await intake.begun.wait()
            streaming.cancel()
            begun_s = time.monotonic()
            await asyncio.wait([streaming])
            assert time.monotonic() - begun_s < 2
            assert len(server.sent("DELETE")) == 1
            stuck = False

    asyncio.run(scenario())
    assert not [thread for thread in threading.enumerate() if "decoder" in thread.name]
