"""The whole connector through a real TURN server: what arrives, by which way, and what is said when nothing does."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.connectors.sender import Sender, pictures, sound
from tests.connectors.server import Server
from tests.connectors.support import Collector, checked, made, refused, run_clean
from tests.peers.coturn import PASSWORD, USER, Coturn, coturn, dead_port, silent_port
from vision.connectors import ice, turn
from vision.connectors.base import Connector
from vision.connectors.recovery import MediaLostError
from vision.connectors.whep import WhepConnector
from vision.errors import SourceError


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[Coturn]:
    """A TURN server that works."""
    with coturn(tmp_path) as running:
        yield running


def viewer(server: Server, *urls: str, policy: str = "relay", credential: str = PASSWORD) -> Connector:
    """The connector to a WHEP server, with such TURN servers, for one connection."""
    return made(
        WhepConnector,
        url=f"{server.url}/whep/session/1",
        ice_servers=[{"urls": list(urls), "username": USER, "credential": credential}],
        ice_transport_policy=policy,
        connect_timeout_s=5,
        stall_s=1,
        recovery_timeout_s=0,
    )


async def arriving(
    *urls: str, policy: str = "relay", credential: str = PASSWORD, seconds: float = 2
) -> tuple[Collector, dict[str, Any]]:
    """What arrives of so many seconds, all of which does, and what is known of the way."""
    intake = Collector()
    async with Server(Sender([pictures(seconds), sound(seconds)], closes_after=True)) as server:
        reason = await viewer(server, *urls, policy=policy, credential=credential).stream(intake)
        assert reason == "closed by the sender"
        assert len(server.sent("DELETE")) == 1
    assert (len(intake.pictures), len(intake.sounds)) == (25 * seconds, 50 * seconds)
    assert PASSWORD not in json.dumps(intake.facts)
    return intake, intake.facts["ice"]


def facts_of(*urls: str, policy: str = "relay", credential: str = PASSWORD) -> dict[str, Any]:
    """What is known of the way, when all has arrived that was sent over it."""
    _, facts = run_clean(arriving(*urls, policy=policy, credential=credential))
    return facts


def refusal(*urls: str, policy: str = "relay", credential: str = PASSWORD) -> tuple[str, float]:
    """The one line with which it fails, without having asked the WHEP server, and after how many seconds."""

    async def scenario() -> tuple[str, float]:
        async with Server(Sender([pictures(), sound()])) as server:
            begun_s = time.monotonic()
            message = await refused(viewer(server, *urls, policy=policy, credential=credential))
            assert not server.requests
            return message, time.monotonic() - begun_s

    return run_clean(scenario())


@pytest.mark.slow
def test_every_frame_comes_through_the_relay(relay: Coturn) -> None:
    """Relay only, all of 20 s arrives, by UDP and by TCP; the pair says so, and nothing stays on the server."""
    urls = [relay.url(transport) for transport in ("udp", "tcp")]

    async def side_by_side() -> list[tuple[Collector, dict[str, Any]]]:
        return await asyncio.gather(*(arriving(url, seconds=20) for url in urls))

    for url, (intake, facts) in zip(urls, run_clean(side_by_side(), limit_s=40), strict=True):
        assert facts["pair"]["local"].startswith("relay 127.0.0.1:")
        assert facts["pair"]["remote"].startswith("host 127.0.0.1:")
        assert facts["pair"]["via"] == url
        assert [(outcome["url"], outcome["ok"]) for outcome in facts["servers"]] == [(url, True)]
        assert facts["failed_pairs"] == []
        video = intake.facts["video"]
        assert video["frames_received"] == video["frames_decoded"] == len(intake.pictures)
        assert (video["packets_lost"], video["frames_dropped"]) == (0, 0)
    assert (relay.allocated, relay.given_back) == (2, 2)


def test_the_first_url_is_dead(relay: Coturn) -> None:
    """The next one is used, at once, and the facts say what the dead ones said."""
    with silent_port() as silent:
        urls = [f"turn:127.0.0.1:{silent}", f"turn:127.0.0.1:{dead_port()}?transport=tcp", relay.url("tcp")]
        facts = facts_of(*urls)
    assert facts["pair"]["via"] == urls[2]
    silent_one, refusing_one, good = facts["servers"]
    assert silent_one["said"].endswith("(not waited for: another was first)")
    assert refusing_one["said"] == "connection refused"
    assert good["ok"]
    assert good["took_s"] < 1


def test_the_first_of_two_is_used(relay: Coturn, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where both work, the better one has the traffic."""
    monkeypatch.setattr(ice, "_GRACE_S", 3)  # the machine may be busy
    urls = [relay.url("tcp"), relay.url("udp")]
    facts = facts_of(*urls)
    assert facts["pair"]["via"] == urls[0]
    assert [outcome["ok"] for outcome in facts["servers"]] == [True, True]
    assert (relay.allocated, relay.given_back) == (2, 2)


def test_a_direct_way_needs_no_relay(relay: Coturn, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the policy `all` the relay is a reserve, and a wrong password is no reason to fail."""
    monkeypatch.setattr(turn, "is_loopback", lambda _: False)  # else it would not even be asked
    facts = facts_of(relay.url(), policy="all")
    assert facts["pair"]["local"].startswith("host ")
    assert facts["servers"][0]["ok"]
    facts = facts_of(relay.url(), policy="all", credential="wrong")
    assert facts["pair"]["local"].startswith("host ")
    assert facts["servers"][0]["said"] == "401 Unauthorized (wrong username or credential)"
    assert (relay.allocated, relay.given_back) == (1, 1)


def test_a_wrong_password(relay: Coturn) -> None:
    """Relay only, the error names the server and says what is wrong, at once and without the password."""
    message, took_s = refusal(relay.url(), relay.url("tcp"), credential="Sw0rdfish")
    assert message == (
        f"webrtc: no TURN server gave an address: {relay.url()}, {relay.url('tcp')}:"
        " 401 Unauthorized (wrong username or credential)"
    )
    assert took_s < 2
    assert relay.allocated == 0


def test_all_are_dead() -> None:
    """Relay only, the error says of each what became of it, within the three seconds that servers have."""
    with silent_port() as silent:
        urls = [f"turn:127.0.0.1:{silent}", f"turn:127.0.0.1:{dead_port()}?transport=tcp", "turn:no.host.invalid:80"]
        message, took_s = refusal(*urls)
    assert message == (
        f"webrtc: no TURN server gave an address: {urls[0]}: no answer within 3 s;"
        f" {urls[1]}: connection refused; {urls[2]}: host not found"
    )
    assert took_s < 6


def test_the_server_dies_on_the_way(tmp_path: Path) -> None:
    """A TURN server that ends takes the path with it: the network's fault, not the sender's; closing takes no time."""

    async def scenario() -> tuple[str, float]:
        intake = Collector()
        async with Server(Sender([pictures(20), sound(20)])) as server:
            with coturn(tmp_path) as relay:
                streaming = asyncio.create_task(viewer(server, relay.url()).stream(intake))
                await intake.begun.wait()
            begun_s = time.monotonic()
            with pytest.raises(SourceError) as caught:
                await streaming
            assert isinstance(caught.value, MediaLostError)
            assert caught.value.cause == "network"
            return checked(str(caught.value)), time.monotonic() - begun_s

    message, took_s = run_clean(scenario())
    assert "nor does the server answer" in message
    assert took_s < 6
