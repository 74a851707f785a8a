"""How STUN and TURN servers are named, and how several are asked at once; no sockets, and time that is made up."""

from __future__ import annotations

import asyncio
import selectors
import socket
import ssl
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest
from pydantic import ValidationError

from vision.connectors.turn import (
    AllocationError,
    IceServer,
    IceUrl,
    Race,
    Reached,
    ServerOutcome,
    is_ice_url,
    parsed_url,
)

T = TypeVar("T")


class MadeUpTime(asyncio.SelectorEventLoop):
    """A loop in which waiting takes no time: its clock goes to the next moment at which anything is due."""

    def __init__(self) -> None:
        self.now_s = 100.0
        super().__init__(self._Selector(self))

    def time(self) -> float:
        return self.now_s

    class _Selector(selectors.DefaultSelector):
        def __init__(self, loop: MadeUpTime) -> None:
            super().__init__()
            self._loop = loop

        def select(self, timeout: float | None = None) -> Any:
            assert timeout is not None, "nothing will ever happen"
            self._loop.now_s += timeout
            return super().select(0)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run in made-up time; nothing may be left behind."""

    async def main() -> T:
        result = await work
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, f"tasks left behind: {left}"
        return result

    with asyncio.Runner(loop_factory=MadeUpTime) as runner:
        return runner.run(main())


class Servers:
    """Servers that answer after so many seconds, with what is theirs, or fail; and what became of it."""

    def __init__(self, *answers: tuple[float, str | Exception]) -> None:
        self._answers = answers
        self.asked: list[int] = []
        self.held: set[str] = set()
        self.released: list[tuple[float, str]] = []
        self.cancelled: list[int] = []

    def race(self, limit_s: float = 3.0) -> Race[str]:
        """One among them, in order."""
        entrants = [(parsed_url(f"turn:host{place}"), self._ask(place)) for place in range(len(self._answers))]
        return Race(entrants, self._release, limit_s=limit_s, grace_s=0.25)

    def _ask(self, place: int) -> Callable[[], Coroutine[Any, Any, Reached[str]]]:
        async def ask() -> Reached[str]:
            self.asked.append(place)
            after_s, answer = self._answers[place]
            try:
                await asyncio.sleep(after_s)
            except asyncio.CancelledError:
                self.cancelled.append(place)
                raise
            if isinstance(answer, Exception):
                raise answer
            self.held.add(answer)
            return Reached(f"relay {answer}", answer)

        return ask

    async def _release(self, answer: str) -> None:
        self.held.remove(answer)
        self.released.append((round(asyncio.get_running_loop().time() - 100, 6), answer))


async def raced(servers: Servers, limit_s: float = 3.0) -> tuple[list[tuple[int, str]], list[ServerOutcome], float]:
    """Who won, what is said of each, and how long it took until it was known; then all is settled."""
    race, loop = servers.race(limit_s), asyncio.get_running_loop()
    begun_s = loop.time()
    won = await race.run()
    took_s = loop.time() - begun_s
    await race.settled()
    return won, race.outcomes, took_s


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("stun:h", IceUrl("stun:h", "stun", "h", 3478, "udp")),
        ("turn:h", IceUrl("turn:h", "turn", "h", 3478, "udp")),
        ("turns:h", IceUrl("turns:h", "turns", "h", 5349, "tcp")),
        ("turn:h:80?transport=tcp", IceUrl("turn:h:80?transport=tcp", "turn", "h", 80, "tcp")),
        ("turns:h:443?transport=tcp", IceUrl("turns:h:443?transport=tcp", "turns", "h", 443, "tcp")),
        ("turn:10.0.0.1:65535", IceUrl("turn:10.0.0.1:65535", "turn", "10.0.0.1", 65535, "udp")),
        ("turn:[2001:DB8:0::1]:80", IceUrl("turn:[2001:DB8:0::1]:80", "turn", "2001:db8::1", 80, "udp")),
        ("turns:[::1]", IceUrl("turns:[::1]", "turns", "::1", 5349, "tcp")),
    ],
)
def test_the_parts_of_a_url(text: str, url: IceUrl) -> None:
    """RFC 7064 and 7065: default ports, the transport that a scheme has, IPv6 in brackets."""
    assert parsed_url(text) == url
    assert is_ice_url(text)
    assert (url.is_turn, url.tls) == (text.startswith("turn"), text.startswith("turns"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("h:80", "not stun:HOST"),
        ("turn:", "not stun:HOST"),
        ("turn:h:0", "not stun:HOST"),
        ("turn:h:65536", "not stun:HOST"),
        ("turn:h:80?transport=sctp", "not stun:HOST"),
        ("turn:h:80?transport=udp&x=1", "not stun:HOST"),
        ("turn:user@h:80", "not stun:HOST"),
        ("turn:h h", "not stun:HOST"),
        ("turn:::1:80", "not stun:HOST"),
        ("stun:h?transport=udp", "not stun:HOST"),
        ("stuns:h", "not stun:HOST"),
        ("turn:[1::2::3]", "1::2::3"),
        ("stun:[::1]", "IPv4 only"),
        ("turns:h:443?transport=udp", r"DTLS\) is not supported; use turns:HOST"),
    ],
)
def test_urls_that_cannot_be_used(text: str, words: str) -> None:
    """What nothing could be done with is an error of the configuration that says what is allowed."""
    assert not is_ice_url(text)
    with pytest.raises(ValidationError, match=words):
        IceServer(urls=["turn:fine", text])


def test_servers_of_this_machine() -> None:
    """By their looks; IPv6 is seen through."""
    here = IceServer(urls=["turn:127.0.0.1:80", "turns:[::1]", "stun:localhost"])
    elsewhere = IceServer(urls=["turn:[::2]", "turn:example.com", "stun:10.0.0.1"])
    assert [url.is_here for url in here.parsed] == [True] * 3
    assert [url.is_here for url in elsewhere.parsed] == [False] * 3


def test_the_credential_is_not_shown() -> None:
    """Neither printed nor dumped."""
    server = IceServer(urls=["turn:h"], username="u", credential="Sw0rdfish")
    assert "Sw0rdfish" not in f"{server!r} {server.model_dump_json()}"


def test_all_are_asked_at_once_and_the_better_ones_come_first() -> None:
    """The race ends 0.25 s after the first answer; whoever is there by then has won, in the order of the URLs."""
    servers = Servers((0.3, "a"), (0.1, "b"), (0.2, "c"))
    won, outcomes, took_s = run(raced(servers))
    assert won == [(0, "a"), (1, "b"), (2, "c")]
    assert took_s == pytest.approx(0.3)
    assert servers.asked == [0, 1, 2]
    assert [outcome.as_dict() for outcome in outcomes] == [
        {"url": "turn:host0", "ok": True, "took_s": 0.3, "said": "relay a in 0.3 s"},
        {"url": "turn:host1", "ok": True, "took_s": 0.1, "said": "relay b in 0.1 s"},
        {"url": "turn:host2", "ok": True, "took_s": 0.2, "said": "relay c in 0.2 s"},
    ]
    assert not servers.released


def test_a_dead_first_url_costs_the_grace_only() -> None:
    """Once another has answered, a silent one is waited for 0.25 s, and then let go within a second."""
    servers = Servers((1e6, "never"), (0.1, "b"))
    won, outcomes, took_s = run(raced(servers))
    assert won == [(1, "b")]
    assert took_s == pytest.approx(0.35)
    assert servers.cancelled == [0]
    assert not outcomes[0].ok
    assert outcomes[0].said == "no answer within 0.35 s (not waited for: another was first)"


def test_nobody_answers() -> None:
    """The limit is a limit."""
    servers = Servers((1e6, "never"), (3.01, "late"))
    won, outcomes, took_s = run(raced(servers))
    assert not won
    assert took_s == pytest.approx(3)
    assert [outcome.said for outcome in outcomes] == ["no answer within 3 s"] * 2
    assert servers.released == [(3.01, "late")]
    assert not servers.held


def test_failures_do_not_end_the_race() -> None:
    """Those that fail at once leave their time to the others; when all have failed, nobody is waited for."""
    servers = Servers((0.01, ConnectionRefusedError()), (2.9, "slow"), (0.02, AllocationError(401)))
    won, outcomes, took_s = run(raced(servers))
    assert won == [(1, "slow")]
    assert took_s == pytest.approx(2.9)
    assert [outcome.ok for outcome in outcomes] == [False, True, False]
    won, outcomes, took_s = run(raced(Servers((0.01, ConnectionRefusedError()), (0.5, AllocationError(486)))))
    assert not won
    assert took_s == pytest.approx(0.5)
    assert outcomes[1].said == "486 Allocation Quota Reached (too many sessions of this user)"


def test_what_comes_too_late_is_given_back() -> None:
    """An allocation that comes about after the race is released when it does; one that takes longer is given up."""
    servers = Servers((0.1, "a"), (0.9, "late"), (1.5, "later"))
    won, outcomes, _ = run(raced(servers))
    assert won == [(0, "a")]
    assert servers.released == [(0.9, "late")]
    assert servers.cancelled == [2]
    assert servers.held == {"a"}
    assert [outcome.ok for outcome in outcomes] == [True, False, False]


@pytest.mark.parametrize("after_s", [0.05, 0.2])
def test_cancelled(after_s: float) -> None:
    """A race that is cancelled holds nothing in the end, neither what was won by then nor what comes after."""
    servers = Servers((0.1, "won"), (0.9, "late"), (1e6, "never"))

    async def scenario() -> None:
        race = servers.race()
        running = asyncio.create_task(race.run())
        await asyncio.sleep(after_s)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await race.settled()

    run(scenario())
    assert [answer for _, answer in servers.released] == ["won", "late"]
    assert servers.cancelled == [2]
    assert not servers.held


def test_nobody_to_ask() -> None:
    """A race without servers is over."""
    assert run(raced(Servers())) == ([], [], 0)


def certificate_error() -> ssl.SSLCertVerificationError:
    """As OpenSSL raises it."""
    error = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed")
    error.verify_message = "self-signed certificate"
    return error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (AllocationError(401), "401 Unauthorized (wrong username or credential)"),
        (AllocationError(499), "499 is its error"),
        (ConnectionRefusedError(111, "Connect call failed"), "connection refused"),
        (OSError("Multiple exceptions: [Errno 111] Connect, [Errno 111] Connect"), "connection refused"),
        (OSError(101, "whatever"), "network is unreachable"),
        (socket.gaierror(-2, "Name or service not known"), "host not found"),
        (UnicodeError("label empty or too long"), "host not found"),
        (TimeoutError(), "no answer within 0.1 s"),
        (certificate_error(), "its TLS certificate cannot be trusted (self-signed certificate)"),
        (ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER]"), "TLS failed; is it a TURN server that speaks TLS?"),
        (ConnectionError("TURN allocation response is missing LIFETIME"), "its answer cannot be understood"),
        (KeyError("Sw0rdfish"), "cannot be used (KeyError)"),
    ],
)
def test_failures_in_plain_words(error: Exception, words: str) -> None:
    """Each failure is said in words of ours; those of a server or a library may hold anything."""
    _, (outcome,), _ = run(raced(Servers((0.1, error))))
    assert (outcome.ok, outcome.said) == (False, words)
