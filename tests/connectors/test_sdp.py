"""Descriptions as servers send them: what can be used is made usable, the rest is one clear line."""

from __future__ import annotations

import asyncio
import functools
import re
from collections.abc import Callable

import pytest
from aiortc import RTCBundlePolicy, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.sdp import SessionDescription
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.connectors.sender import Sender, pictures, sound
from tests.connectors.server import Server
from tests.connectors.support import Collector, checked, made, run_clean
from vision.connectors.sdp import direction_of, is_offer, sanitised
from vision.connectors.whep import WhepConnector
from vision.errors import SourceError

Edit = Callable[[str], str]


async def _viewer() -> tuple[RTCPeerConnection, str]:
    """A peer as ours: it receives, picture first, over one transport; and its offer."""
    viewer = RTCPeerConnection(RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE))
    viewer.addTransceiver("video", direction="recvonly")
    viewer.addTransceiver("audio", direction="recvonly")
    await viewer.setLocalDescription(await viewer.createOffer())
    return viewer, viewer.localDescription.sdp


async def _accepted(edit: Edit, *, clean: bool) -> list[str | None]:
    """The directions that a peer ends up with when it is given an edited answer.

    :param clean: whether the answer goes through `sanitised`.
    """
    viewer, offer = await _viewer()
    answer = edit(pair()[1])
    try:
        answer = sanitised(answer, offer=offer) if clean else answer
        await viewer.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        return [transceiver.currentDirection for transceiver in viewer.getTransceivers()]
    finally:
        await viewer.close()


@functools.cache
def pair() -> tuple[str, str]:
    """A real offer, and a real answer to it."""

    async def negotiated() -> tuple[str, str]:
        viewer, offer = await _viewer()
        sender = Sender([pictures(), sound()], codec="video/H264")
        try:
            return offer, await sender.answer_to(offer)
        finally:
            await sender.close()
            await viewer.close()

    return run_clean(negotiated())


def replaced(pattern: str, by: str, count: int = 0) -> Edit:
    """Lines that match, replaced; with nothing they are gone."""
    return lambda sdp: re.sub(rf"(?m)^{pattern}\r\n", f"{by}\r\n" if by else "", sdp, count=count)


def added(*lines: str, kind: str = "video") -> Edit:
    """Lines at the end of a section."""

    def edit(sdp: str) -> str:
        first, *sections = re.split(r"(?m)^(?=m=)", sdp)
        text = "".join(f"{line}\r\n" for line in lines)
        return first + "".join(part + text if part.startswith(f"m={kind}") else part for part in sections)

    return edit


def rejected(kind: str) -> Edit:
    """A section as RFC 3264 has it where it is rejected: nothing but the m-line and the mid."""

    def edit(sdp: str) -> str:
        first, *sections = re.split(r"(?m)^(?=m=)", sdp)
        bare = [re.sub(r"^m=(\w+) \d+ (\S+) (\d+)[^\r]*", r"m=\1 0 \2 \3", part) for part in sections]
        bare = ["\r\n".join(re.findall(r"(?m)^(?:m=|a=mid:)[^\r]*", part)) + "\r\n" for part in bare]
        return first + "".join(
            short if part.startswith(f"m={kind}") else part for part, short in zip(sections, bare, strict=True)
        )

    return edit


def without_section(kind: str) -> Edit:
    """An answer that forgets a section."""
    return lambda sdp: "".join(part for part in re.split(r"(?m)^(?=m=)", sdp) if not part.startswith(f"m={kind}"))


def swapped(sdp: str) -> str:
    """The sections in another order than the offer's."""
    first, one, other = re.split(r"(?m)^(?=m=)", sdp)
    return first + other + one


def both(*edits: Edit) -> Edit:
    """One edit after the other."""
    return lambda sdp: functools.reduce(lambda text, edit: edit(text), edits, sdp)


BOTH, PICTURE, SOUND = ["recvonly", "recvonly"], ["recvonly", "inactive"], ["inactive", "recvonly"]

# what the answer has; whether the library by itself takes it, or may, after a peer of ours has taught it more profiles
# of H264; what comes of it
TRAPS: dict[str, tuple[Edit, bool, list[str]]] = {
    "nothing special": (lambda sdp: sdp, True, BOTH),
    "rejected sound": (rejected("audio"), False, PICTURE),
    "rejected picture": (rejected("video"), False, SOUND),
    "no sound section": (without_section("audio"), False, PICTURE),
    "setup:actpass": (replaced("a=setup:.*", "a=setup:actpass"), False, BOTH),
    "setup:holdconn": (replaced("a=setup:.*", "a=setup:holdconn"), False, BOTH),
    "no setup": (replaced("a=setup:.*", ""), False, BOTH),
    "no rtcp-mux": (replaced("a=rtcp-mux", ""), False, BOTH),
    "ssrc without a value": (added("a=ssrc:42 foo"), False, BOTH),
    "ssrc that is none": (added("a=ssrc:nothing", "a=ssrc:1x cname:y", "a=ssrc", "a=ssrc-group:FID x"), False, BOTH),
    "extmap with attributes": (added("a=extmap:9 urn:x foo=bar"), False, BOTH),
    "extmap without a name": (added("a=extmap:9", "a=extmap:x urn:y", "a=extmap:3/a/b urn:z"), False, BOTH),
    "fmtp without rtpmap": (added("a=fmtp:77 x=y"), False, BOTH),
    "fmtp without parameters": (added("a=fmtp:99", "a=fmtp:"), False, BOTH),
    "fmtp that is no number": (added("a=fmtp:96 useinbandfec=yes", kind="audio"), False, BOTH),
    "rtpmap without a clock": (added("a=rtpmap:120 VP9"), False, BOTH),
    "rtcp-fb without a kind": (added("a=rtcp-fb:99"), False, BOTH),
    "mid changed": (both(replaced("a=mid:0", "a=mid:v"), replaced("a=group:.*", "a=group:BUNDLE v 1")), False, BOTH),
    "mid missing": (replaced("a=mid:.*", ""), False, BOTH),
    "mids the same": (replaced("a=mid:.*", "a=mid:x"), False, BOTH),
    "bundle of nothing known": (replaced("a=group:.*", "a=group:BUNDLE nobody 1 0"), True, BOTH),
    "bundle without a value": (replaced("a=group:.*", "a=group"), False, BOTH),
    "no payload types": (replaced(r"(m=\w+ \d+ \S+) .*", r"\1"), False, BOTH),
    "payload types that are none": (replaced(r"(m=\w+ \d+ \S+) (.*)", r"\1 x 72 999 \2"), False, BOTH),
    "a port range": (replaced(r"m=video (\d+) (.*)", r"m=video \1/2 \2"), False, BOTH),
    "static types without rtpmap": (
        both(replaced("m=audio (.*) 96.*", r"m=audio \1 0 8"), replaced("a=rtpmap:(96|0|8|9) .*", "")),
        False,
        BOTH,
    ),
    "sections in another order": (swapped, False, BOTH),
    "line ends of one character": (lambda sdp: sdp.replace("\r\n", "\n"), True, BOTH),
    "no BUNDLE": (replaced("a=group:.*", ""), True, BOTH),
    "no end-of-candidates": (replaced("a=end-of-candidates", ""), True, BOTH),
    "a candidate that breaks off": (added("a=candidate:1 1 udp"), False, BOTH),
    "a candidate without numbers": (added("a=candidate:1 x udp y 10.0.0.1 z typ host"), False, BOTH),
    "transport of the whole": (
        lambda sdp: (
            both(replaced("a=(ice-ufrag|ice-pwd|fingerprint|setup):.*", ""))(sdp).replace(
                "t=0 0\r\n",
                "t=0 0\r\n" + "".join(f"{line}\r\n" for line in dict.fromkeys(_transport_lines(sdp))),
            )
        ),
        True,
        BOTH,
    ),
    "transport in the first section only": (
        lambda sdp: replaced("a=(ice-ufrag|ice-pwd|fingerprint|setup|candidate):.*", "")(sdp).replace(
            "a=mid:0\r\n", "a=mid:0\r\n" + "".join(f"{line}\r\n" for line in dict.fromkeys(_transport_lines(sdp)))
        ),
        False,
        BOTH,
    ),
    "a fingerprint that is none": (added("a=fingerprint:sha-256"), False, BOTH),
    "a connection line without an address": (replaced("c=IN.*", "c=IN"), False, BOTH),
    "rtcp without a port": (replaced("a=rtcp:.*", "a=rtcp:x"), False, BOTH),
    "a version that is none": (replaced("v=0", "v=0 1"), False, BOTH),
    "inactive sound": (lambda sdp: sdp[::-1].replace("a=sendonly"[::-1], "a=inactive"[::-1], 1)[::-1], True, PICTURE),
    "sendrecv": (replaced("a=sendonly", "a=sendrecv"), True, BOTH),
    "no direction": (replaced("a=sendonly", ""), True, BOTH),
    "H264 Main": (replaced("(a=fmtp:.*profile-level-id=).{6}(.*)", r"\g<1>4d0029\2"), True, BOTH),
    "H264 High": (replaced("(a=fmtp:.*profile-level-id=).{6}(.*)", r"\g<1>640028\2"), True, BOTH),
    "H264 of an unknown level": (replaced("(a=fmtp:.*profile-level-id=).{6}(.*)", r"\g<1>42e0ff\2"), False, BOTH),
    "H264 without a profile": (replaced("(a=fmtp:.*)profile-level-id=.{6}(.*)", r"\1x=y\2"), True, BOTH),
    "H264 in mode 0": (replaced("(a=fmtp:.*)packetization-mode=1(.*)", r"\1packetization-mode=0\2"), False, BOTH),
    "H264 in a mode without a value": (replaced("(a=fmtp.*packetization-mode)=1(.*)", r"\1\2"), False, BOTH),
}  # fmt: skip


def _transport_lines(sdp: str) -> list[str]:
    return re.findall(r"(?m)^a=(?:ice-ufrag|ice-pwd|fingerprint|setup|candidate):[^\r]*", sdp)


@pytest.mark.parametrize("name", TRAPS)
def test_a_trap_is_made_acceptable(name: str) -> None:
    """What the library trips over is taken when it has gone through `sanitised`, and means what it should."""
    edit, _, expected = TRAPS[name]
    pair()
    assert run_clean(_accepted(edit, clean=True)) == expected


@pytest.mark.parametrize("name", [name for name, (_, is_taken, _) in TRAPS.items() if not is_taken])
def test_a_trap_is_one(name: str) -> None:
    """Without `sanitised` the library refuses: where it no longer does, the case proves nothing."""
    edit, *_ = TRAPS[name]
    pair()
    with pytest.raises(Exception, match=r"(?s).*"):  # ValueErrors, AssertionErrors, RuntimeErrors, ...
        run_clean(_accepted(edit, clean=False))


@pytest.mark.parametrize(
    "name",
    [
        "nothing special",
        "transport in the first section only",
        "H264 High",
        "rejected sound",
        "mid missing",
    ],
)
def test_media_come_through(name: str) -> None:
    """Pictures come from behind such an answer."""
    edit, *_ = TRAPS[name]

    async def scenario() -> None:
        sender, intake = Sender([pictures(), sound()], codec="video/H264", edited=edit), Collector()
        async with Server(sender) as server:
            streaming = asyncio.create_task(made(WhepConnector, url=f"{server.url}/whep").stream(intake))
            while not intake.pictures and not streaming.done():  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            streaming.cancel()
            await asyncio.wait([streaming])
            assert intake.pictures
            assert streaming.cancelled()

    run_clean(scenario())


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (both(rejected("audio"), rejected("video")), "rejects both picture and sound"),
        (replaced("a=fingerprint:.*", ""), "no DTLS fingerprint"),
        (replaced("a=ice-pwd:.*", ""), "no ICE credentials"),
        (replaced("m=video.*", "m=nonsense"), "one of its m= lines is none"),
        (lambda sdp: sdp.partition("m=")[0], "no media section"),
        (replaced(r"a=rtpmap:(\d+) H264/.*", r"a=rtpmap:\1 AV1/90000"), "chooses AV1 for video, which was not offered"),
        (replaced(r"a=rtpmap:(\d+) opus/.*", r"a=rtpmap:\1 speex/8000"), ""),
        (lambda sdp: "", "no media section"),
    ],
)
def test_what_cannot_be_used_says_why(edit: Edit, words: str) -> None:
    """One line, with the reason, and without anything of the description but a codec's name."""
    offer, answer = pair()
    edited = edit(answer)
    if not words:  # PCMU is left: that is taken
        assert "PCMU" in sanitised(edited, offer=offer)
        return
    with pytest.raises(SourceError) as caught:
        sanitised(edited, offer=offer)
    message = checked(str(caught.value))
    assert message.startswith("whep: the server's SDP answer cannot be used: ")
    assert words in message


def test_an_offer_that_cannot_be_used_says_so() -> None:
    """The message knows whose turn it is."""
    with pytest.raises(
        SourceError, match="the server's SDP offer cannot be used: it has a media section that is neither"
    ):
        sanitised(pair()[0].replace("m=video", "m=text"), offer=None)


@pytest.mark.parametrize(
    ("candidate", "kept"),
    [
        ("1 1 udp 2130706431 192.0.2.1 5000 typ host", "1 1 udp 2130706431 192.0.2.1 5000 typ host"),
        ("1 1 UDP 1 2001:db8::1 5001 typ host generation 0 network-id 1", "1 1 udp 1 2001:db8::1 5001 typ host"),
        (
            "1 1 udp 1 192.0.2.2 5002 typ srflx raddr 10.0.0.1 rport 6 generation 0",
            "1 1 udp 1 192.0.2.2 5002 typ srflx raddr 10.0.0.1 rport 6",
        ),
        ("1 1 udp 1 192.0.2.3 5003 typ relay raddr 0.0.0.0", "1 1 udp 1 192.0.2.3 5003 typ relay"),
        ("1 1 udp 1 media.example.com 5004 typ host", None),
        ("1 1 udp 1 3f2a.local 5005 typ host", None),
        ("1 1 tcp 1 192.0.2.4 9 typ host tcptype active", None),
        ("1 2 udp 1 192.0.2.5 5006 typ host", None),
        ("1 1 udp 1 192.0.2.6 5007 typ prflx", None),
        ("1 1 udp 1 192.0.2.7 0 typ host", None),
        ("1 1 udp 1 192.0.2.8 65536 typ host", None),
        ("1 1 udp 1 0.0.0.0 5008 typ host", None),
        ("1 1 udp 1 224.0.0.1 5009 typ host", None),
        ("1 1 udp 1 fe80::1%eth0 5010 typ host", None),
        ("1 1 udp 99999999999 192.0.2.9 5011 typ host", None),
        ("1 1 udp 1 192.0.2.10 5012 xyz host", None),
    ],
)
def test_candidates(candidate: str, kept: str | None) -> None:
    """What the ICE library can use is kept, in its plain form, in every section; the rest is gone."""
    offer, answer = pair()
    answer = added(f"a=candidate:{candidate}")(replaced("a=candidate:.*", "")(answer))
    found = re.findall(r"(?m)^a=candidate:([^\r]*)", sanitised(answer, offer=offer))
    assert found == ([] if kept is None else [kept, kept])


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["1 cname:x", "2 cname:x", "3 cname:x"], [1, 2, 3]),
        (["1 cname:x", "2 cname:x", "3 cname:x", "group:FID 3 1"], [3, 1]),
        (
            ["1 cname:x", "2 cname:x", "3 cname:x", "4 cname:x", "group:SIM 1 2", "group:FID 1 3", "group:FID 2 4"],
            [1, 3],
        ),
        (["1 cname:x", "1 msid:a b", "2 cname:x", "group:FID 2 1"], [2, 1]),
        (["1 cname:x", "group:FID 1 9"], [1]),
    ],
)
def test_retransmissions(lines: list[str], expected: list[int]) -> None:
    """The library takes the second of exactly two SSRCs for retransmissions: those that belong together are left."""
    offer, answer = pair()
    written = [f"a=ssrc-{line}" if line.startswith("group") else f"a=ssrc:{line}" for line in lines]
    answer = added(*written)(replaced("a=ssrc.*", "")(answer))
    description = SessionDescription.parse(sanitised(answer, offer=offer))
    assert [entry.ssrc for entry in description.media[0].ssrc] == expected


def test_what_is_kept() -> None:
    """Codecs with their feedback, extensions and unknown attributes survive; so does ice-lite, wherever it stands."""
    offer, answer = pair()
    answer = added("a=ice-lite", "a=x-unknown:what it may", "a=extmap:4/sendonly urn:4")(answer)
    clean = sanitised(answer, offer=offer)
    given, kept = SessionDescription.parse(answer), SessionDescription.parse(clean)
    for before, after in zip(given.media, kept.media, strict=True):
        assert [str(codec) for codec in after.rtp.codecs] == [str(codec) for codec in before.rtp.codecs]
        assert [codec.rtcpFeedback for codec in after.rtp.codecs] == [codec.rtcpFeedback for codec in before.rtp.codecs]
        assert [codec.parameters for codec in after.rtp.codecs] == [codec.parameters for codec in before.rtp.codecs]
        assert after.rtp.headerExtensions == before.rtp.headerExtensions
        assert after.dtls == before.dtls
        assert after.ice_candidates == before.ice_candidates
        assert after.ice
        assert after.ice.iceLite
    assert "a=x-unknown:what it may\r\n" in clean


def test_an_offer_stays_an_offer() -> None:
    """In an offer of the server's `actpass`, both ways and the names of its sections are left as they are."""
    offer = pair()[0].replace("a=recvonly", "a=sendrecv").replace("a=mid:1", "a=mid:sound")
    clean = sanitised(offer, offer=None)
    assert is_offer(clean)
    assert direction_of(clean, "video") == "sendrecv"
    assert re.findall(r"a=mid:(\S+)", clean) == ["0", "sound"]
    assert sanitised(re.sub(r"a=mid:\S+\r\n", "", offer), offer=None).count("a=mid:") == 2


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (lambda sdp: sdp, False),
        (replaced("a=setup:.*", "a=setup:actpass"), True),
        (replaced("a=setup:.*", "a=setup:ACTPASS"), True),
        (replaced("a=setup:.*", "a=setup:actpass", count=1), False),
        (both(replaced("a=setup:.*", "a=setup:actpass"), rejected("audio")), True),
        (both(rejected("video"), rejected("audio")), False),
        (replaced("a=setup:.*", ""), False),
        (lambda sdp: replaced("a=setup:.*", "")(sdp).replace("t=0 0", "t=0 0\r\na=setup:actpass"), True),
        (lambda sdp: "", False),
        (lambda sdp: "v=0\r\nm=nonsense", False),
    ],
)
def test_is_offer(edit: Edit, expected: bool) -> None:
    """All sections that are not rejected leave the DTLS role open: that is what an offer does."""
    assert is_offer(edit(pair()[1])) == expected
    assert is_offer(pair()[0])


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (lambda sdp: sdp, "sendonly"),
        (replaced("a=sendonly", "a=inactive"), "inactive"),
        (replaced("a=sendonly", ""), "sendrecv"),
        (lambda sdp: replaced("a=sendonly", "")(sdp).replace("t=0 0", "t=0 0\r\na=inactive"), "inactive"),
        (rejected("video"), "inactive"),
        (without_section("video"), None),
        (lambda sdp: "", None),
    ],
)
def test_direction_of(edit: Edit, expected: str | None) -> None:
    """The section's own direction, else that of the whole, else both ways; rejected counts as inactive."""
    assert direction_of(edit(pair()[1]), "video") == expected


_NAMES = sorted(
    set(re.findall(r"(?m)^a=([a-z-]+)", "".join(pair()))) | {"ssrc-group", "sctp-port", "sctpmap", "msid-semantic"}
)
_ODD = st.text(st.sampled_from("0123456789 :/;=*-.abHxü\x0b\u2028\x00"), max_size=20)
_LINE = st.one_of(
    st.text(max_size=20),
    st.builds("a={}:{}".format, st.sampled_from(_NAMES), _ODD),
    st.builds("a={}".format, st.sampled_from(_NAMES)),
    st.builds("m={} {} {} {}".format, st.sampled_from(["video", "audio", "application", ""]), _ODD, _ODD, _ODD),
)


@st.composite
def _mutilated(draw: st.DrawFn, text: str) -> str:
    lines = text.split("\r\n")
    for _ in range(draw(st.integers(1, 8))):
        at = draw(st.integers(0, len(lines) - 1))
        match draw(st.sampled_from(["drop", "twice", "move", "break off", "put in", "garble"])):
            case "drop" if len(lines) > 1:
                del lines[at]
            case "twice":
                lines.insert(draw(st.integers(0, len(lines))), lines[at])
            case "move":
                lines.insert(draw(st.integers(0, len(lines) - 1)), lines.pop(at))
            case "break off":
                lines[at] = lines[at][: draw(st.integers(0, 30))]
            case "put in":
                lines.insert(at, draw(_LINE))
            case _:
                cut = draw(st.integers(0, len(lines[at])))
                lines[at] = lines[at][:cut] + draw(_ODD) + lines[at][cut + draw(st.integers(0, 3)) :]
    return draw(st.sampled_from(["\r\n", "\n"])).join(lines)


def _holds(sdp: str, offer: str | None) -> None:
    try:
        clean = sanitised(sdp, offer=offer)
    except SourceError as error:
        message = checked(str(error))
        assert not any(word in message for word in re.findall(r"a=ice-pwd:(\S{8,})", sdp))
        return
    parsed = SessionDescription.parse(clean)
    assert all(media.ice and media.ice.usernameFragment and media.ice.password for media in parsed.media)
    assert all(media.dtls and media.dtls.fingerprints for media in parsed.media)
    assert all(media.rtcp_mux and media.rtp.codecs for media in parsed.media if media.kind in ("audio", "video"))
    assert sanitised(clean, offer=offer) == clean
    assert direction_of(sdp, "video") is None or direction_of(clean, "video") is not None
    if offer is not None:
        expected = [(media.kind, media.rtp.muxId) for media in SessionDescription.parse(offer).media]
        assert [(media.kind, media.rtp.muxId) for media in parsed.media] == expected
        assert {media.dtls.role for media in parsed.media if media.dtls} <= {"client", "server"}


@settings(max_examples=400, deadline=None)
@given(_mutilated(pair()[1]))
def test_any_mutilation_of_an_answer(sdp: str) -> None:
    """Either one line says why it cannot be used, or the parser takes it, and twice cleaned is once cleaned."""
    _holds(sdp, pair()[0])


@settings(max_examples=200, deadline=None)
@given(_mutilated(pair()[0]))
def test_any_mutilation_of_an_offer(sdp: str) -> None:
    """The same of an offer of the server's."""
    _holds(sdp, None)


@settings(max_examples=100, deadline=None)
@given(st.text())
def test_any_text(sdp: str) -> None:
    """Nothing else than a SourceError comes of what is no SDP."""
    _holds(sdp, pair()[0])
    assert is_offer(sdp) in (True, False)
