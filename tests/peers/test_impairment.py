"""The impairment proxy: what it does to packets is exact and repeatable, and what it says of them is true."""

from __future__ import annotations

import asyncio
import gc
from itertools import pairwise
from typing import Any

import pytest
from aiortc.rtp import (
    HeaderExtensions,
    HeaderExtensionsMap,
    RtcpPsfbPacket,
    RtcpRtpfbPacket,
    RtcpSenderInfo,
    RtcpSrPacket,
    RtpPacket,
    wrap_rtx,
)
from pydantic import SecretStr

from tests.connectors.sender import Sender, pictures, sound
from tests.connectors.server import Server
from tests.connectors.support import Collector, run_clean
from tests.peers.impairment import Blackout, Burst, ImpairedWhep, Impairment, ImpairmentProxy, Link
from tests.peers.ledger import Ledger, RtcpHeader, rtcp_header, rtp_header
from vision.connectors.session_api import SessionApi
from vision.connectors.whep import WhepOptions, receive_whep
from vision.errors import SourceError
from vision.simulator.process import launched
from vision.simulator.settings import SimulatorSettings

VIDEO, AUDIO, RTX = 101, 96, 102
GOOD = Impairment()
STUN = b"\x00\x01\x00\x00\x21\x12\xa4\x42" + bytes(12)
DTLS = b"\x16\xfe\xfd" + bytes(20)
RTCP = bytes(RtcpPsfbPacket(fmt=1, ssrc=1, media_ssrc=2))
SDP = (
    "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 96\r\na=rtpmap:96 opus/48000/2\r\n"
    "m=video 9 UDP/TLS/RTP/SAVPF 101 102\r\na=rtpmap:101 H264/90000\r\na=rtpmap:102 rtx/90000\r\n"
)


def extension_map() -> HeaderExtensionsMap:
    """The one that aiortc's video has."""
    found = HeaderExtensionsMap()
    found._HeaderExtensionsMap__ids.abs_send_time = 3  # type: ignore[attr-defined]
    return found


def packet(number: int, payload_type: int = VIDEO, *, size: int = 1000, timestamp: int | None = None) -> RtpPacket:
    """An RTP packet, of a picture of its own unless a timestamp is given."""
    made_ = RtpPacket(
        payload_type=payload_type,
        sequence_number=number % 65536,
        timestamp=3000 * number if timestamp is None else timestamp,
        ssrc=payload_type,
        payload=bytes(size),
    )
    made_.extensions = HeaderExtensions(abs_send_time=number)
    return made_


def wire(rtp: RtpPacket) -> bytes:
    """As it is on the wire, but for SRTP's encryption."""
    return rtp.serialize(extension_map())


def report(ssrc: int) -> bytes:
    """A sender report of a stream."""
    return bytes(RtcpSrPacket(ssrc, RtcpSenderInfo(ntp_timestamp=1, rtp_timestamp=2, packet_count=3, octet_count=4)))


def fates(link: Link, count: int, payload_type: int = VIDEO, interval_s: float = 0.01) -> list[str | None]:
    """Why each of so many packets was dropped, if it was."""
    return [link.passage(wire(packet(n, payload_type)), n * interval_s).dropped for n in range(count)]


def test_headers_are_read_as_they_were_written() -> None:
    """What aiortc serialises is what is read back, extensions and all; RTCP, STUN and DTLS are told from it."""
    data = wire(packet(70, timestamp=12345))
    header = rtp_header(data)
    assert header is not None
    assert (header.payload_type, header.sequence_number, header.timestamp) == (VIDEO, 70, 12345)
    assert (header.ssrc, header.marker, header.size_bytes) == (VIDEO, False, len(data))
    assert header.extensions[:2] == b"\xbe\xde"
    assert header.extensions[4:8] == b"\x32\x00\x00\x46"
    assert [rtp_header(other) for other in (STUN, DTLS, RTCP, b"", data[:11])] == [None] * 5
    assert [rtcp_header(other) for other in (STUN, DTLS, data, b"")] == [None] * 4
    nack = bytes(RtcpRtpfbPacket(fmt=1, ssrc=1, media_ssrc=2, lost=[1, 2, 100]))
    assert rtcp_header(nack) == RtcpHeader(205, 1, 2, 1)


def test_the_same_seed_loses_the_same_packets() -> None:
    """About the share that was asked for; of another seed, others; whatever flows in between."""

    def lost(seed: str, mixed: bool = False) -> list[int]:
        link = Link(Impairment(loss=0.1), seed)
        found = []
        for n in range(2000):
            if mixed:
                link.passage(wire(packet(n, AUDIO)), n * 0.01)
                link.passage(RTCP, n * 0.01)
            if link.passage(wire(packet(n)), n * 0.01).dropped:
                found.append(n)
        return found

    one = lost("1")
    assert 150 < len(one) < 250
    assert lost("1") == one
    assert lost("1", mixed=True) == one
    assert lost("2") != one


def test_what_is_lost_does_not_depend_on_payload_types() -> None:
    """A session that has agreed on other numbers loses the same packets of its video, and others of its sound."""

    def of(sdp: str, payload_type: int) -> list[str | None]:
        link = Link(Impairment(loss=0.1), "1")
        link.formats.learn(sdp)
        return fates(link, 200, payload_type)

    assert of(SDP, VIDEO) == of(SDP.replace("101", "120"), 120)
    assert len({tuple(of(SDP, payload_type)) for payload_type in (VIDEO, AUDIO, RTX)}) == 3


def test_media_only_spares_what_makes_a_connection() -> None:
    """All RTP and RTCP is lost, no STUN and no DTLS; unless everything is to be hit."""
    link, every = Link(Impairment(loss=1), "1"), Link(Impairment(loss=1, media_only=False), "1")
    for data, hit in ((wire(packet(1)), True), (RTCP, True), (STUN, False), (DTLS, False)):
        assert (link.passage(data, 0).dropped == "loss") is hit
        assert every.passage(data, 0).dropped == "loss"
    assert link.dropped == {"loss": 2}


def test_delay_and_jitter() -> None:
    """Without jitter everything is late alike and in order; with it, within its bounds, and some overtake."""
    still = Link(Impairment(delay_s=0.05), "1")
    assert [still.passage(STUN, at_s).departures_s for at_s in (1.0, 2.0)] == [(1.05,), (2.05,)]
    shaky = Link(Impairment(delay_s=0.05, jitter_s=0.02), "1")
    leaves_s = [shaky.passage(wire(packet(n)), n * 0.001).departures_s[0] for n in range(1000)]
    added_s = [at_s - n * 0.001 - 0.05 for n, at_s in enumerate(leaves_s)]
    assert 0 <= min(added_s) < 0.001
    assert 0.019 < max(added_s) <= 0.02
    assert sum(later < sooner for sooner, later in pairwise(leaves_s)) > 200


def test_one_stream_may_be_later_than_the_other() -> None:
    """Its RTP, its retransmissions and its reports are later by so much; all else is not; as is the other one's."""
    link = Link(Impairment(delay_s=0.05, delay_of={"video": 0.1}), "1")
    link.formats.learn(SDP)
    assert link.passage(report(VIDEO), 0.0).departures_s == (0.05,)  # nothing of the stream has come by
    later = [wire(packet(1)), wire(packet(2, RTX)), report(VIDEO), report(RTX)]
    others = [wire(packet(1, AUDIO)), report(AUDIO), RTCP, STUN, DTLS]
    assert [link.passage(data, 1.0).departures_s[0] for data in later] == pytest.approx([1.15] * len(later))
    assert [link.passage(data, 1.0).departures_s[0] for data in others] == pytest.approx([1.05] * len(others))


def test_a_stream_keeps_its_order_where_its_delay_changes() -> None:
    """What comes after the delay has gone waits for what was delayed, and no longer."""
    link = Link(Impairment(delay_of={"audio": 0.1}), "1")
    link.formats.learn(SDP)
    leaves_s = []
    for n in range(20):
        if n == 5:
            link.impairment = GOOD
        leaves_s.append(link.passage(wire(packet(n, AUDIO)), n * 0.02).departures_s[0])
    assert leaves_s == pytest.approx([max(0.02 * n, 0.1 + 0.02 * min(n, 4)) for n in range(20)])


def test_duplicates() -> None:
    """The share that was asked for comes twice, each copy with a delay of its own; nothing is lost."""
    link = Link(Impairment(duplicates=0.2, jitter_s=0.01), "1")
    passages = [link.passage(wire(packet(n)), 0) for n in range(1000)]
    twice = [passage.departures_s for passage in passages if len(passage.departures_s) == 2]
    assert 150 < len(twice) < 250
    assert all(one != other for one, other in twice)
    assert not link.dropped


def test_a_rate_is_kept_and_its_queue_is_bounded() -> None:
    """Ten times too much: a tenth goes through, evenly, never later than the queue allows; STUN waits, but passes."""
    link = Link(Impairment(rate_bps=80_000, queue_s=0.3), "1")
    data = bytes(1000)
    media = b"\x80" + data[1:]  # 0.1 s each
    arrived = [(at_s, link.passage(media, at_s)) for at_s in (n * 0.01 for n in range(1000))]
    passed = [(at_s, passage.departures_s[0]) for at_s, passage in arrived if not passage.dropped]
    assert 100 <= len(passed) <= 103
    assert {round(later - sooner, 6) for (_, sooner), (_, later) in pairwise(passed)} == {0.1}
    assert max(leaves_s - at_s for at_s, leaves_s in passed) <= 0.3
    assert link.dropped["queue"] == 1000 - len(passed)
    stun = link.passage(STUN, 9.99)
    assert stun.dropped is None
    assert stun.departures_s[0] > passed[-1][1]
    assert Link(Impairment(rate_bps=80_000), "1").passage(media, 5.0).departures_s == (5.1,)


def test_blackouts_hit_everything_in_their_time() -> None:
    """Times count from the first media packet; a blackout may also begin at a word."""
    link = Link(Impairment(blackouts=(Blackout(1.0, 0.5),)), "1")
    assert link.passage(STUN, 101.2).dropped is None  # nothing has begun
    link.begin(100.0)
    link.begin(101.0)
    times_s = (100.99, 101.0, 101.49, 101.5)
    for data in (STUN, wire(packet(1))):
        assert [link.passage(data, at_s).dropped for at_s in times_s] == [None, "blackout", "blackout", None]
    link.black_out(102.0, 0.1)
    assert [link.passage(DTLS, at_s).dropped for at_s in (102.05, 102.1)] == ["blackout", None]


def test_bursts_drop_so_many_media_packets() -> None:
    """From their time on, media only, and exactly as many; also at a word."""
    link = Link(Impairment(bursts=(Burst(0.1, 5), Burst(0.3, 2))), "1")
    link.begin(0.0)
    dropped = [n for n, fate in enumerate(fates(link, 50)) if fate == "burst"]
    assert dropped == [10, 11, 12, 13, 14, 30, 31]
    link.drop_next(2)
    assert link.passage(STUN, 1.0).dropped is None
    assert [link.passage(wire(packet(n)), 1.0).dropped for n in range(3)] == ["burst", "burst", None]


@pytest.mark.parametrize(
    "wrong",
    [
        {"loss": 1.1},
        {"duplicates": -1},
        {"delay_s": -1},
        {"rate_bps": 0},
        {"delay_of": {"audio": -1.0}},
        {"delay_of": {"text": 1.0}},
    ],
)
def test_impossible_impairments_are_refused(wrong: dict[str, Any]) -> None:
    """Shares beyond 0..1, times that run backwards, a rate of nothing, streams that there are none of."""
    with pytest.raises(ValueError, match=r"allowed|must not"):
        Impairment(**wrong)


def entered(*events: tuple[RtpPacket, str | None]) -> Ledger:
    """A ledger of packets, each with why it was dropped."""
    ledger = Ledger()
    ledger.formats.learn(SDP)
    for at_s, (rtp, dropped) in enumerate(events):
        header = rtp_header(wire(rtp))
        assert header is not None
        ledger.note_media(header, float(at_s), dropped)
    return ledger


def test_resends_are_matched_by_number() -> None:
    """One that repairs, one for what had arrived, one that is lost too, one for what was repaired before."""
    ledger = entered(
        (packet(1), None),
        (packet(2), "loss"),
        (packet(3), "loss"),
        (packet(2), None),  # repairs
        (packet(1), None),  # needless
        (packet(3), "loss"),
        (packet(2), None),  # needless by now
    )
    (video,) = ledger.of("video")
    assert (len(video.packets), video.dropped, video.retransmissions, video.retransmissions_dropped) == (3, 2, 4, 1)
    assert (video.repaired, video.needless, video.unmatched, video.unseen) == (1, 2, 0, 0)
    assert [fate.timestamp for fate in video.lost()] == [9000]
    assert video.lost(end_s=2.0) == []


def test_rtx_is_matched_by_what_is_in_the_clear() -> None:
    """Packets of one picture are told apart by their extensions; RTX makes no stream of its own."""
    one, other, unknown = packet(1, timestamp=5), packet(2, timestamp=5), packet(9, timestamp=5)
    again = [wrap_rtx(each, payload_type=RTX, sequence_number=7, ssrc=77) for each in (other, one, unknown)]
    ledger = entered((one, None), (other, "loss"), (again[0], None), (again[1], None), (again[2], None))
    assert list(ledger.streams) == [VIDEO]
    video = ledger.streams[VIDEO]
    assert (video.retransmissions, video.repaired, video.needless, video.unmatched) == (3, 1, 1, 1)
    assert not video.lost()


def test_numbers_go_on_behind_their_wrap() -> None:
    """A wrap is no retransmission, late packets are in their place, and gaps before the proxy are seen."""
    ledger = entered(*[(packet(n), None) for n in (65534, 65536, 65535, 65538)])
    video = ledger.streams[VIDEO]
    assert sorted(video.packets) == [65534, 65535, 65536, 65538]
    assert (video.retransmissions, video.unseen) == (0, 1)


CANDIDATES = (
    "v=0\r\nm=audio 9 X 96\r\na=candidate:a 1 udp 1 10.0.0.5 5000 typ host\r\n"
    "a=candidate:b 1 udp 1 127.0.0.1 5001 typ host\r\na=candidate:c 1 tcp 1 127.0.0.1 9 typ host\r\n"
    "a=end-of-candidates\r\nm=video 9 X 101\r\na=mid:1\r\n"
)


def test_both_sides_are_shown_the_proxy_only() -> None:
    """All candidates give way to one, where there were any; an SDP that offers no way through is refused."""

    async def scenario() -> None:
        with ImpairmentProxy() as proxy:
            answer, offer = proxy.through(CANDIDATES), proxy.towards(CANDIDATES)
            assert proxy._server == ("127.0.0.1", 5001)
            for sdp in (answer, offer):
                lines = [line for line in sdp.split("\r\n") if line.startswith("a=candidate:")]
                assert len(lines) == 1
                assert lines[0].startswith("a=candidate:1 1 udp 2130706431 127.0.0.1 ")
                assert "a=end-of-candidates\r\nm=video" in sdp
            assert answer != offer
            with pytest.raises(ValueError, match="no UDP host candidate"):
                proxy.through(CANDIDATES.replace("udp", "tcp"))
        proxy.close()
        gc.collect()  # a socket left open would be a ResourceWarning

    run_clean(scenario())


def streamed(
    down: Impairment = GOOD, up: Impairment = GOOD, seconds: float = 2.0
) -> tuple[Collector, ImpairmentProxy, str]:
    """What our receiver makes of a stream over a bad path, and how it ended."""

    async def scenario() -> tuple[Collector, ImpairmentProxy, str]:
        intake = Collector()
        async with (
            Server(Sender([pictures(seconds), sound(seconds)], closes_after=True)) as server,
            ImpairedWhep(f"{server.url}/whep/session/1", down, up, seed=3) as front,
        ):
            options = WhepOptions.model_validate({"url": front.url, "connect_timeout_s": 2})
            with pytest.raises(SourceError) as ended:
                await receive_whep(front.url, None, options, [], intake)
            assert [request.method for request in server.requests] == ["POST", "DELETE"]
            return intake, front.proxies[-1], str(ended.value)

    return run_clean(scenario())


def timestamps(proxy: ImpairmentProxy, kind: str) -> set[int]:
    """Those of all frames that were sent."""
    streams = [stream for stream in proxy.ledger.streams.values() if stream.kind == kind]
    return {fate.timestamp for stream in streams for fate in stream.packets.values()}


def received(intake: Collector) -> tuple[set[int], set[int]]:
    """The RTP timestamps of the pictures and of the sounds."""
    return (
        {round(unit.track_s * 90_000) % (1 << 32) for unit, _ in intake.pictures},
        {round(unit.track_s * 48_000) % (1 << 32) for unit, _ in intake.sounds},
    )


def test_a_good_path_changes_nothing() -> None:
    """Real peers: every frame that came out had been sent, and all but those held back at the end came out."""
    intake, proxy, reason = streamed()
    assert "closed by the sender" in reason
    pictures_got, sounds_got = received(intake)
    assert (len(timestamps(proxy, "video")), len(timestamps(proxy, "audio"))) == (50, 100)
    for got, kind, held in ((pictures_got, "video", 2), (sounds_got, "audio", 10)):
        assert got <= timestamps(proxy, kind)
        assert len(timestamps(proxy, kind) - got) <= held
    assert not proxy.down.dropped
    assert not proxy.up.dropped
    assert proxy.unsent == 0


def test_a_delay_is_what_it_says() -> None:
    """Real peers, 60 ms each way: the connection comes about, and frames come as much later than they are sent."""
    with_delay, proxy, reason = streamed(Impairment(delay_s=0.06), Impairment(delay_s=0.06), seconds=1.0)
    assert "closed by the sender" in reason
    assert len(with_delay.sounds) > 35
    (audio,) = proxy.ledger.of("audio")
    sent_s = {fate.timestamp: fate.sent_s for fate in audio.packets.values()}
    start_s = with_delay._started_s
    late_s = [
        unit.arrival_s + start_s - sent_s[round(unit.track_s * 48_000) % (1 << 32)] for unit, _ in with_delay.sounds
    ]
    assert min(late_s) >= 0.06
    assert sorted(late_s)[len(late_s) // 2] < 0.09


def test_what_is_lost_for_good_does_not_come_out() -> None:
    """Real peers, a burst of sound and picture: no frame of a lost packet comes out, and the proxy knows which."""
    intake, proxy, _ = streamed(Impairment(bursts=(Burst(1.0, 12),)))
    (audio,) = proxy.ledger.of("audio")
    lost = {fate.timestamp for fate in audio.lost()}
    assert len(lost) > 3
    assert audio.dropped == len(lost)  # nobody sends sound again
    assert not lost & received(intake)[1]
    assert proxy.down.dropped == {"burst": 12}


def test_a_path_that_is_dark_from_the_start() -> None:
    """Real peers that lose all but STUN and DTLS connect; where even that is lost, there is no connection."""
    intake, proxy, reason = streamed(Impairment(loss=1.0), seconds=0.5)
    assert not intake.pictures
    assert proxy.ledger.of("audio")
    assert "no connection" not in reason
    everything = Impairment(loss=1.0, media_only=False)
    intake, proxy, reason = streamed(everything, everything, seconds=0.5)
    assert "no connection within 2 s" in reason
    assert not proxy.ledger.streams


@pytest.mark.slow
def test_every_retransmission_of_a_real_sender_is_accounted_for() -> None:
    """The simulator answers NACKs by RTX, whose payload is encrypted: each is matched to what it repeats."""

    async def scenario() -> ImpairmentProxy:
        settings = SimulatorSettings(size=(640, 360), bitrate_bps=1_000_000)
        async with launched(settings, None) as service, SessionApi(service.url) as api:
            session = await api.create(SecretStr(service.admin_ks), "0" * 24)
            url = (await api.init_client(session.sessionId, session.token)).whepUrl
            async with ImpairedWhep(url, Impairment(loss=0.05, delay_s=0.02), Impairment(delay_s=0.02)) as front:
                options = WhepOptions.model_validate({"url": front.url})
                receiving = asyncio.create_task(receive_whep(front.url, None, options, [], Collector()))
                await asyncio.wait([receiving], timeout=6)
                assert not receiving.done()
                receiving.cancel()
                await asyncio.wait([receiving])
                return front.proxies[-1]

    proxy = run_clean(scenario())
    (video,) = proxy.ledger.of("video")
    assert video.dropped > 5
    assert video.unmatched == 0
    assert 0 < video.repaired <= video.dropped
    assert video.retransmissions >= video.repaired + video.needless
    assert proxy.ledger.feedback["nack"] > 0
