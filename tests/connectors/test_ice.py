"""Candidates, relays and paths: a receiving peer with an `IcePath`, a real sending peer, and a real TURN server."""

from __future__ import annotations

import asyncio
import importlib.metadata
import json
import re
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aioice import stun
from aiortc import (
    RTCBundlePolicy,
    RTCConfiguration,
    RTCPeerConnection,
    RTCSessionDescription,
)

from tests.connectors.sender import Sender, pictures
from tests.connectors.support import checked, run_clean, until
from tests.peers.coturn import PASSWORD, USER, Coturn, certificate, coturn, dead_port, silent_port
from vision.connectors import ice, turn
from vision.connectors.ice import IcePath, probe
from vision.connectors.turn import IceServer
from vision.errors import SourceError

SETTLED = ("connected", "failed", "closed")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Coturn]:
    """A TURN server that works."""
    with coturn(tmp_path) as running:
        yield running


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """No server counts as one of this machine, which would be left out."""
    monkeypatch.setattr(turn, "is_loopback", lambda _: False)
    monkeypatch.setattr(ice, "is_loopback", lambda _: False)


def known(*urls: str, credential: str = PASSWORD) -> list[IceServer]:
    """Such servers, with the right user."""
    return [IceServer(urls=list(urls), username=USER, credential=credential)]


class Viewer:
    """A receiving peer, as far as its ICE goes."""

    def __init__(self, servers: Sequence[IceServer], *, relay_only: bool, limit_s: float, clock: Clock) -> None:
        self.rtc = RTCPeerConnection(RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE))
        self.video = self.rtc.addTransceiver("video", direction="recvonly")
        self.rtc.addTransceiver("audio", direction="recvonly")
        self.path = IcePath(
            self.video, servers, relay_only=relay_only, loopback=True, limit_s=limit_s, now_s=clock or time.monotonic
        )
        self.offer = ""
        self.gathered_s = 0.0

    async def gather(self) -> None:
        """Make the offer."""
        begun_s = time.monotonic()
        await self.rtc.setLocalDescription(await self.rtc.createOffer())
        self.gathered_s = time.monotonic() - begun_s
        self.offer = self.rtc.localDescription.sdp

    async def take(self, answer: str) -> None:
        """Take the answer."""
        await self.rtc.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        await self.rtc.addIceCandidate(None)

    async def connected(self) -> bool:
        """Whether it is, when that is known; then a picture has come, too."""
        await until(lambda: self.rtc.connectionState in SETTLED)
        if self.rtc.connectionState != "connected":
            return False
        await self.video.receiver.track.recv()
        return True

    def facts(self) -> dict[str, Any]:
        """What it says of itself, which holds no secret."""
        facts = self.path.facts()
        assert PASSWORD not in json.dumps(facts)
        checked(self.path.why_not())
        assert PASSWORD not in self.path.why_not() + self.path.relay_missing()
        return facts


Clock = Callable[[], float] | None


@asynccontextmanager
async def viewing(
    servers: Sequence[IceServer], *, relay_only: bool = False, limit_s: float = 3.0, clock: Clock = None
) -> AsyncIterator[Viewer]:
    """A viewer that has gathered, and is closed at the end, which never takes long."""
    viewer = Viewer(servers, relay_only=relay_only, limit_s=limit_s, clock=clock)
    try:
        await viewer.gather()
        yield viewer
    finally:
        begun_s = time.monotonic()
        await viewer.rtc.close()
        assert time.monotonic() - begun_s < 2.5


@asynccontextmanager
async def connected(
    servers: Sequence[IceServer], *, relay_only: bool = False, limit_s: float = 3.0, clock: Clock = None
) -> AsyncIterator[tuple[Viewer, Sender]]:
    """A viewer that is connected to a sender, and has seen a picture."""
    sender = Sender([pictures(20)])
    try:
        async with viewing(servers, relay_only=relay_only, limit_s=limit_s, clock=clock) as viewer:
            await viewer.take(await sender._answer(viewer.offer))
            assert await viewer.connected()
            yield viewer, sender
    finally:
        await sender.close()


def vanish(sender: Sender) -> None:
    """Close its sockets without a word, as a machine does that loses its network."""
    assert sender.peer is not None
    connection: Any = sender.peer.getTransceivers()[0].receiver.transport.transport._connection
    for protocol in connection._protocols:
        protocol.transport.close()


def forgotten(server: Coturn, count: int) -> bool:
    """Whether so many allocations are gone."""
    return server.forgotten == count


def relayed(offer: str) -> list[int]:
    """The priorities of the relayed candidates, in order; there are no others."""
    lines = re.findall(r"a=candidate:\S+ 1 udp (\d+) \S+ \d+ typ (\S+)", offer.partition("m=audio")[0])
    assert {kind for _, kind in lines} == {"relay"}
    return [int(priority) for priority, _ in lines]


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_through_a_relay_only(server: Coturn, transport: str) -> None:
    """Relay only: pictures come through the server, the facts say so, and the allocation is given back at the end."""
    url = server.url(transport)

    async def scenario() -> dict[str, Any]:
        async with connected(known(url), relay_only=True) as (viewer, _):
            assert viewer.path.has_relay
            assert len(relayed(viewer.offer)) == 1
            assert "raddr 0.0.0.0" in viewer.offer  # our own address is not told
            return viewer.facts()

    facts = run_clean(scenario())
    assert facts["pair"]["local"].startswith("relay 127.0.0.1:")
    assert facts["pair"]["remote"].startswith("host 127.0.0.1:")
    assert facts["pair"]["via"] == url
    assert 0 < facts["pair"]["rtt_ms"] < 500
    (outcome,) = facts["servers"]
    assert (outcome["url"], outcome["ok"]) == (url, True)
    assert re.fullmatch(r"relay 127\.0\.0\.1:\d+ in 0\.\d+ s", outcome["said"])
    assert facts["failed_pairs"] == []
    assert (server.allocated, server.given_back) == (1, 1)


def test_over_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """turns: works with a certificate that is trusted, and is refused with one that is not."""
    paths = certificate(tmp_path)
    with coturn(tmp_path, tls=paths) as server:

        async def scenario() -> dict[str, Any]:
            async with viewing(known(server.tls_url), relay_only=True) as viewer:
                assert not viewer.path.has_relay
                assert viewer.path.relay_missing() == (
                    f"no TURN server gave an address: {server.tls_url}:"
                    " its TLS certificate cannot be trusted (self-signed certificate)"
                )
            monkeypatch.setenv("SSL_CERT_FILE", str(paths[0]))
            async with connected(known(server.tls_url), relay_only=True) as (viewer, _):
                return viewer.facts()

        facts = run_clean(scenario())
    assert facts["pair"]["via"] == server.tls_url


def test_a_dead_first_url(server: Coturn) -> None:
    """Dead URLs before a good one cost a quarter of a second, and each is named with what it said."""
    with silent_port() as silent:
        urls = [f"turn:127.0.0.1:{silent}", f"turn:127.0.0.1:{dead_port()}?transport=tcp", server.url()]

        async def scenario() -> tuple[dict[str, Any], float]:
            async with connected(known(*urls), relay_only=True) as (viewer, _):
                return viewer.facts(), viewer.gathered_s

        facts, gathered_s = run_clean(scenario())
    assert gathered_s < 1.5  # aiortc alone waits 5 s, and then has nothing
    assert facts["pair"]["via"] == urls[2]
    assert [outcome["url"] for outcome in facts["servers"]] == urls
    assert [outcome["ok"] for outcome in facts["servers"]] == [False, False, True]
    assert "not waited for: another was first" in facts["servers"][0]["said"]
    assert facts["servers"][1]["said"] == "connection refused"


@pytest.mark.parametrize("transports", [("udp", "tcp"), ("tcp", "udp")])
def test_the_better_relay_has_the_higher_priority(
    server: Coturn, transports: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two that work both are offered, and the order of the URLs decides, not who answered first."""
    monkeypatch.setattr(ice, "_GRACE_S", 3)  # the machine may be busy
    urls = [server.url(transport) for transport in transports]

    async def scenario() -> dict[str, Any]:
        async with connected(known(*urls), relay_only=True) as (viewer, _):
            first, second = relayed(viewer.offer)
            assert first > second
            foundations = re.findall(r"a=candidate:(\S+) .* typ relay", viewer.offer.partition("m=audio")[0])
            assert len(set(foundations)) == 2
            return viewer.facts()

    facts = run_clean(scenario())
    assert facts["pair"]["via"] == urls[0]
    assert (server.allocated, server.given_back) == (2, 2)


def delay_checks(viewer: Viewer, delays_s: Sequence[float], fails: bool = False) -> None:
    """Have the checks through each relay, in order, begin later; the first may fail thereupon."""
    for place, (protocol, delay_s) in enumerate(zip(viewer.path._connection._protocols, delays_s, strict=True)):
        protocol.request = partial(late, protocol.request, delay_s, fails and place == 0)


async def late(request: Callable[..., Any], delay_s: float, fails: bool, *given: Any, **named: Any) -> Any:
    """A check that takes longer."""
    await asyncio.sleep(delay_s)
    if fails:
        raise stun.TransactionTimeout
    return await request(*given, **named)


def test_a_better_relay_that_is_slower_is_used(server: Coturn, monkeypatch: pytest.MonkeyPatch) -> None:
    """The better relay has the traffic, also where the other would have answered first; where it fails, the other."""
    urls = [server.url("tcp"), server.url("udp")]

    async def used(grace_s: float, delay_s: float, *, fails: bool = False) -> str:
        monkeypatch.setattr(ice, "_GRACE_S", 3)  # the machine may be busy
        sender = Sender([pictures(20)])
        try:
            async with viewing(known(*urls), relay_only=True) as viewer:
                monkeypatch.setattr(ice, "_GRACE_S", grace_s)
                delay_checks(viewer, [delay_s, 0], fails)
                await viewer.take(await sender._answer(viewer.offer))
                assert await viewer.connected()
                return str(viewer.facts()["pair"]["via"])
        finally:
            await sender.close()

    assert run_clean(used(60, 0.3)) == urls[0]
    assert run_clean(used(60, 0.1, fails=True)) == urls[1]  # at once
    assert run_clean(used(0.25, 60)) == urls[1]


@pytest.mark.parametrize("relay_only", [True, False])
@pytest.mark.usefixtures("elsewhere")
def test_a_wrong_password(server: Coturn, relay_only: bool) -> None:
    """Relay-only, it is the whole story; else the connection comes about without the server, and it is in the facts."""
    servers = known(server.url(), server.url("tcp"), credential="wrong-Sw0rdfish")

    async def scenario() -> dict[str, Any]:
        if not relay_only:
            async with connected(servers) as (viewer, _):
                return viewer.facts()
        async with viewing(servers, relay_only=True) as viewer:
            assert "a=candidate:" not in viewer.offer
            assert viewer.path.relay_missing() == (
                f"no TURN server gave an address: {server.url()}, {server.url('tcp')}:"
                " 401 Unauthorized (wrong username or credential)"
            )
            assert "401 Unauthorized" in viewer.path.why_not()
            return viewer.facts()

    facts = run_clean(scenario())
    assert "Sw0rdfish" not in json.dumps(facts)
    assert [outcome["said"] for outcome in facts["servers"]] == ["401 Unauthorized (wrong username or credential)"] * 2
    assert (facts["pair"] is None) == relay_only
    if not relay_only:
        assert facts["pair"]["local"].startswith("host 127.0.0.1:")
    assert server.allocated == 0


@pytest.mark.usefixtures("elsewhere")
def test_a_direct_path_is_better_than_a_relay(server: Coturn) -> None:
    """With the policy `all`, a relay is offered, and not used where the direct path works."""

    async def scenario() -> dict[str, Any]:
        async with connected(known(server.url())) as (viewer, _):
            assert "typ relay" in viewer.offer
            return viewer.facts()

    facts = run_clean(scenario())
    assert facts["pair"]["local"].startswith("host 127.0.0.1:")
    assert "via" not in facts["pair"]
    assert facts["servers"][0]["ok"]
    assert (server.allocated, server.given_back) == (1, 1)


def test_a_quota_is_not_used_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that grants one allocation at a time is enough for one session after the other."""
    monkeypatch.setattr(ice, "_GRACE_S", 3)  # the machine may be busy
    with coturn(tmp_path, "--user-quota=1") as server:

        async def scenario() -> None:
            for session in range(1, 3):
                async with connected(known(server.url()), relay_only=True) as (viewer, _):
                    assert viewer.facts()["servers"][0]["ok"]
                await until(partial(forgotten, server, session))
            async with viewing(known(server.url(), server.url("tcp")), relay_only=True) as viewer:
                said = {outcome.ok: outcome.said for outcome in viewer.path.servers}
                assert said[True].startswith("relay ")
                assert said[False] == "486 Allocation Quota Reached (too many sessions of this user)"

        run_clean(scenario())
        assert (server.allocated, server.given_back) == (3, 3)


def test_servers_of_this_machine_are_left_out() -> None:
    """To reach this machine, a server on it is no help and not asked, which is said; nor is STUN for a relay."""
    with silent_port() as silent:
        urls = [f"turn:127.0.0.1:{silent}", f"stun:127.0.0.1:{silent}"]

        async def scenario() -> None:
            async with connected(known(*urls)) as (viewer, _):
                assert viewer.gathered_s < 0.5
                assert [outcome["said"] for outcome in viewer.facts()["servers"]] == [
                    "not asked: it is on this machine, and so is the WHEP server"
                ] * 2
            async with viewing(known(*urls), relay_only=True, limit_s=0.3) as viewer:
                assert [outcome["said"] for outcome in viewer.facts()["servers"]] == [
                    "no answer within 0.3 s",
                    "not asked: a STUN server does not relay",
                ]

        run_clean(scenario())


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
def test_nobody_answers(kind: socket.SocketKind) -> None:
    """A silent server costs the time it is given, and is said to be silent; closing leaves nothing of it."""
    with silent_port(kind) as silent:
        url = f"turn:127.0.0.1:{silent}?transport={'udp' if kind == socket.SOCK_DGRAM else 'tcp'}"

        async def scenario() -> str:
            async with viewing(known(url), relay_only=True, limit_s=0.5) as viewer:
                assert 0.5 <= viewer.gathered_s < 1.5
                assert viewer.facts()["pair"] is None
                return viewer.path.relay_missing()

        assert run_clean(scenario()) == f"no TURN server gave an address: {url}: no answer within 0.5 s"


def test_no_turn_server_at_all() -> None:
    """Relay-only without a TURN server says what is missing."""

    async def scenario() -> str:
        async with viewing([], relay_only=True) as viewer:
            assert not viewer.path.has_relay
            return viewer.path.relay_missing()

    assert run_clean(scenario()) == "no TURN server gave an address: none is known (ice_servers)"


def test_many_servers_make_one_line_that_can_be_read() -> None:
    """Any number of URLs, which a server may send, is bounded: in what is asked, and in what is said."""
    urls = [f"turn:127.0.0.1:{port}?transport=tcp" for port in range(1, 41)]

    async def scenario() -> list[str]:
        async with viewing(known(*urls), relay_only=True, limit_s=1) as viewer:
            assert len(checked(viewer.path.relay_missing())) < 450
            return [outcome["said"] for outcome in viewer.facts()["servers"]]

    said = run_clean(scenario())
    assert said == ["connection refused"] * 16 + ["not asked: only the first 16 are"] * 24


def test_cancelled_while_gathering() -> None:
    """Gathering that is cancelled leaves no socket and no task once the connection is closed."""
    with silent_port() as silent:

        async def scenario() -> None:
            viewer = Viewer(known(f"turn:127.0.0.1:{silent}"), relay_only=True, limit_s=3, clock=None)
            gathering = asyncio.create_task(viewer.gather())
            await asyncio.sleep(0.2)
            gathering.cancel()
            with pytest.raises(asyncio.CancelledError):
                await gathering
            await viewer.rtc.close()

        run_clean(scenario())


def test_closed_while_gathering(server: Coturn) -> None:
    """What is gathered after the connection was closed is given back."""
    with silent_port() as silent:

        async def scenario() -> None:
            servers = known(f"turn:127.0.0.1:{silent}", server.url())
            viewer = Viewer(servers, relay_only=True, limit_s=3, clock=None)
            gathering = asyncio.create_task(viewer.gather())
            await until(lambda: server.allocated)
            await viewer.rtc.close()
            await gathering
            assert "a=candidate:" not in viewer.offer

        run_clean(scenario())
    assert server.given_back == 1


def test_closed_while_asking() -> None:
    """A check that is under way when the connection is closed ends with it."""

    async def scenario() -> None:
        async with connected([]) as (viewer, sender):
            vanish(sender)
            asking = asyncio.create_task(viewer.path.answers(30))
            await asyncio.sleep(0.1)
        assert not await asking
        await asyncio.sleep(0.6)  # when it would be repeated

    run_clean(scenario())


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_closing_when_the_turn_server_is_gone(tmp_path: Path, transport: str) -> None:
    """A TURN server that is gone does not hold up the end: aioice would wait a minute for it."""

    async def scenario() -> None:
        with ExitStack() as running:
            server = running.enter_context(coturn(tmp_path))
            async with connected(known(server.url(transport)), relay_only=True) as (viewer, _):
                running.close()
                assert not await viewer.path.answers(0.7)

    run_clean(scenario())


def towards(port: int) -> Callable[[str], str]:
    """An edit of an answer: its candidate is at another port."""
    return lambda sdp: re.sub(r"(a=candidate:.* 127\.0\.0\.1) \d+ typ", rf"\1 {port} typ", sdp)


def test_why_there_is_no_connection(server: Coturn) -> None:
    """The error names the servers that gave nothing, and what became of the pairs that were tried."""

    async def scenario() -> None:
        with silent_port() as silent, silent_port() as other:
            sender = Sender([pictures(1)], dead=True)
            servers = known(f"turn:127.0.0.1:{other}", server.url())
            async with viewing(servers, relay_only=True) as viewer:
                await viewer.take(towards(silent)(await sender._answer(viewer.offer)))
                await asyncio.sleep(1)
                assert viewer.rtc.iceConnectionState == "checking"
                facts, why_not = viewer.facts(), viewer.path.why_not()
                assert facts["pair"] is None
                (failed,) = facts["failed_pairs"]
                assert failed["local"].startswith("relay 127.0.0.1:")
                assert failed["remote"] == f"host 127.0.0.1:{silent}/udp"
                assert re.fullmatch(r"without an answer within [01]\.\d s", failed["why"])
                assert re.fullmatch(
                    rf"turn:127\.0\.0\.1:{other}: no answer within 0\.\d+ s \(not waited for: another was first\);"
                    r" 1 candidate pair was tried \(1 without an answer within \S+ s\)",
                    why_not,
                )
                assert viewer.path.silent_s() is None
                assert not await viewer.path.answers()

    run_clean(scenario())


def test_no_candidates_of_the_server() -> None:
    """An answer without candidates fails at once, and is said to have had none."""

    async def scenario() -> str:
        sender = Sender([pictures(1)], dead=True)
        async with viewing([]) as viewer:
            answer = await sender._answer(viewer.offer)
            await viewer.take(re.sub(r"a=candidate:.*\r\n", "", answer))
            await until(lambda: viewer.rtc.connectionState in SETTLED)
            assert viewer.rtc.connectionState == "failed"
            return viewer.path.why_not()

    assert re.fullmatch(
        r"no candidate pair was tried \(candidates: \d+ of ours, 0 of the server's\)", run_clean(scenario())
    )


def test_a_refusal_that_anybody_could_have_sent() -> None:
    """Checks are refused where the answer's ICE credentials are wrong; unsigned, that counts for nothing (RFC 8489)."""

    async def scenario() -> dict[str, Any]:
        sender = Sender([pictures(1)])
        async with viewing([]) as viewer:
            answer = await sender._answer(viewer.offer)
            await viewer.take(re.sub(r"a=ice-ufrag:.*\r\n", "a=ice-ufrag:wrong\r\n", answer))
            await until(lambda: viewer.facts()["failed_pairs"])
            await sender.close()
            return viewer.facts()

    facts = run_clean(scenario())
    assert facts["pair"] is None
    assert "without an answer" in facts["failed_pairs"][0]["why"]


def test_a_stall_is_told_from_a_dead_path() -> None:
    """A living path answers when it is asked, whether media come or not; a dead one does not, and grows silent."""
    now_s = [1000.0]

    async def scenario() -> None:
        async with connected([], clock=lambda: now_s[0]) as (viewer, sender):
            assert viewer.path.silent_s() == 0
            now_s[0] += 5
            assert viewer.path.silent_s() == 5
            sender.tracks[0].stop()  # nothing more is sent, and the path lives
            assert await viewer.path.answers()
            assert viewer.path.silent_s() == 0
            vanish(sender)
            now_s[0] += 3
            begun_s = time.monotonic()
            assert not await viewer.path.answers(0.8)
            assert time.monotonic() - begun_s < 1.5
            assert viewer.path.silent_s() == 3

    run_clean(scenario())


def test_checks_of_the_other_side_are_signs_of_life() -> None:
    """What the other side asks counts as much as what it answers."""
    now_s = [1000.0]

    async def scenario() -> None:
        async with connected([], clock=lambda: now_s[0]) as (viewer, sender):
            now_s[0] += 7
            assert viewer.path.silent_s() == 7
            assert sender.peer is not None
            connection: Any = sender.peer.getTransceivers()[0].receiver.transport.transport._connection
            (pair,) = connection._nominated.values()
            request = connection.build_request(pair, nominate=False)
            await pair.protocol.request(request, pair.remote_addr, integrity_key=connection.remote_password.encode())
            assert viewer.path.silent_s() == 0

    run_clean(scenario())


def test_the_pair_is_known_after_closing() -> None:
    """aioice forgets the pair when it closes, as it does by itself when consent expires; the facts do not."""

    async def scenario() -> tuple[Any, Any]:
        async with connected([]) as (viewer, _):
            before = viewer.facts()["pair"]
        assert not await viewer.path.answers()
        return before, viewer.facts()["pair"]

    before, after = run_clean(scenario())
    assert before == after
    assert before["local"].startswith("host 127.0.0.1:")


@pytest.mark.usefixtures("elsewhere")
def test_room_for_bursts(server: Coturn, monkeypatch: pytest.MonkeyPatch) -> None:
    """UDP sockets get the receive buffer that is asked for, or as much of it as the system grants; TCP tunes itself."""
    most = Path("/proc/sys/net/core/rmem_max")
    if not most.exists():
        pytest.skip("only Linux says how much it grants")
    monkeypatch.setattr(ice, "_GRACE_S", 3)  # the machine may be busy

    async def scenario() -> list[tuple[str, int]]:
        async with viewing(known(server.url(), server.url("tcp"))) as viewer:
            transports = [protocol.transport for protocol in viewer.path._connection._protocols]
            inner = [getattr(one, "_TurnTransport__inner_protocol", None) for one in transports]
            assert sum(one is not None for one in inner) == 2
            sockets = [
                (outer if client is None else client.transport).get_extra_info("socket")
                for outer, client in zip(transports, inner, strict=True)
            ]
            sizes = [one.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) for one in sockets]
            return [(one.type.name, size) for one, size in zip(sockets, sizes, strict=True)]

    sizes = run_clean(scenario())
    wanted = 2 * min(2 << 20, int(most.read_text()))  # Linux doubles it, for its own needs
    udp = [size for kind, size in sizes if kind == "SOCK_DGRAM"]
    assert len(udp) >= 2
    assert set(udp) == {wanted}
    assert all(size != wanted for kind, size in sizes if kind == "SOCK_STREAM")


class Reflector(asyncio.DatagramProtocol):
    """A STUN server that sees everybody at the same address, as one behind a NAT does."""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        request = stun.parse_message(data)
        answer = stun.Message(request.message_method, stun.Class.RESPONSE, request.transaction_id)
        answer.attributes["XOR-MAPPED-ADDRESS"] = ("203.0.113.7", 4321)
        self._transport.sendto(bytes(answer), address)


@pytest.mark.usefixtures("elsewhere")
def test_stun_servers_race_as_well() -> None:
    """A dead first STUN server costs a quarter of a second; the address that the second sees is offered once."""

    async def scenario() -> None:
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Reflector, local_addr=("127.0.0.1", 0))
        port = transport.get_extra_info("sockname")[1]
        with silent_port() as silent:
            urls = [f"stun:127.0.0.1:{silent}", f"stun:127.0.0.1:{port}"]
            async with connected([IceServer(urls=urls)]) as (viewer, _):
                assert viewer.gathered_s < 1.5
                section = viewer.offer.partition("m=audio")[0]
                assert len(re.findall(r" 203\.0\.113\.7 4321 typ srflx raddr ", section)) == 1
                dead, good = viewer.facts()["servers"]
                assert (dead["url"], dead["ok"], good["url"], good["ok"]) == (urls[0], False, urls[1], True)
                assert re.fullmatch(r"seen as 203\.0\.113\.7:4321 in 0(\.\d+)? s", good["said"])
        transport.close()

    run_clean(scenario())


def test_what_each_server_says(server: Coturn) -> None:
    """For a doctor: each URL by itself, none cut short by another, and what was given is given back."""
    with silent_port() as silent:
        urls = [f"turn:127.0.0.1:{silent}", server.url(), "stun:127.0.0.1", server.url("tcp")]

        async def scenario() -> list[tuple[str, bool, str]]:
            outcomes = await probe(known(*urls) + known(server.url(), credential="wrong"), limit_s=1)
            return [(outcome.url, outcome.ok, outcome.said.partition(" in ")[0]) for outcome in outcomes]

        said = run_clean(scenario())
    assert [(url, ok) for url, ok, _ in said] == [
        (urls[0], False),
        (urls[1], True),
        (urls[3], True),
        (urls[1], False),
    ]
    assert said[0][2].startswith("no answer within 1 s")
    assert said[1][2].startswith("relay 127.0.0.1:")
    assert said[3][2] == "401 Unauthorized (wrong username or credential)"
    assert (server.allocated, server.given_back) == (2, 2)


def test_an_unknown_aioice_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another minor version of aioice is one line that says what to install; the one at hand is known."""
    ice.require_known_aioice()
    monkeypatch.setattr(importlib.metadata, "version", lambda _: "0.14.1")
    with pytest.raises(SourceError, match=r"aioice 0\.14\.1 is installed; needed: 0\.13\.x"):
        ice.require_known_aioice()
