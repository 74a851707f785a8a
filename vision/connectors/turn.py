"""STUN and TURN servers: how they are named, how several are asked at once, and what a user says and hears of them."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar

from pydantic import AfterValidator, Field, SecretStr

from vision.hosts import is_loopback
from vision.processor import Options

__all__ = ["AllocationError", "IceServer", "IceUrl", "Race", "Reached", "ServerOutcome", "is_ice_url", "parsed_url"]

T = TypeVar("T")

_LATE_S = 1.0  # what is under way when the race is over has this long to come about, so that it can be given back

# RFC 7064 and 7065. An IPv6 address is in brackets; aioice asks STUN servers over IPv4 only.
_ICE_URL = re.compile(
    r"(?P<scheme>stun|turns?):(?P<host>[^?:@/\s\[\]]+|\[[0-9A-Fa-f:.]+\])(:(?P<port>\d{1,5}))?"
    r"(\?transport=(?P<transport>udp|tcp))?"
)
_ALLOWED = "not stun:HOST[:PORT], turn:HOST[:PORT][?transport=udp|tcp] or turns:HOST[:PORT][?transport=tcp]"
_PORTS = {"stun": 3478, "turn": 3478, "turns": 5349}

# RFC 8489, 14.8, and RFC 8656, 19.3. The server's own words are not shown: they are anybody's.
_CODES = {
    300: "Try Alternate (it wants another server to be used)",
    400: "Bad Request",
    401: "Unauthorized (wrong username or credential)",
    403: "Forbidden",
    437: "Allocation Mismatch",
    438: "Stale Nonce",
    440: "Address Family not Supported",
    441: "Wrong Credentials (they belong to another user)",
    442: "Unsupported Transport Protocol",
    486: "Allocation Quota Reached (too many sessions of this user)",
    500: "Server Error",
    508: "Insufficient Capacity",
}


@dataclass(frozen=True, slots=True)
class IceUrl:
    """One way to one server (RFC 7064, 7065).

    :ivar text: as it was written; there is nothing secret in it.
    :ivar scheme: `stun`, `turn` or `turns`.
    :ivar host: a name or an address; of IPv6 without the brackets.
    :ivar transport: `udp` or `tcp`, between us and the server.
    """

    text: str
    scheme: str
    host: str
    port: int
    transport: str

    @property
    def is_turn(self) -> bool:
        """Whether it relays."""
        return self.scheme != "stun"

    @property
    def tls(self) -> bool:
        """Whether it is spoken to over TLS, with its certificate checked."""
        return self.scheme == "turns"

    @property
    def is_here(self) -> bool:
        """Whether it is on this machine."""
        return is_loopback(self.host)


def parsed_url(text: str) -> IceUrl:
    """The parts of a URL; the ports are 3478 and, with TLS, 5349 where none is given.

    :raises ValueError: when it is none, or of a kind that cannot be used (`stuns`, DTLS, STUN over IPv6).
    """
    match = _ICE_URL.fullmatch(text)
    if match is None:
        raise ValueError(_ALLOWED)
    scheme, host, transport = match["scheme"], match["host"], match["transport"]
    port = int(match["port"]) if match["port"] else _PORTS[scheme]
    if not 1 <= port <= 65_535 or (scheme == "stun" and transport):
        raise ValueError(_ALLOWED)
    if scheme == "turns" and transport == "udp":
        raise ValueError("turns: over UDP (DTLS) is not supported; use turns:HOST[:PORT]?transport=tcp")
    if host.startswith("["):
        if scheme == "stun":
            raise ValueError("a STUN server is asked over IPv4 only; use its name or IPv4 address")
        host = str(ipaddress.IPv6Address(host[1:-1]))
    return IceUrl(text, scheme, host, port, transport or ("tcp" if scheme == "turns" else "udp"))


def is_ice_url(url: str) -> bool:
    """Whether it names a STUN or TURN server in a way that can be used."""
    try:
        parsed_url(url)
    except ValueError:
        return False
    return True


def _ice_url(url: str) -> str:
    parsed_url(url)
    return url


class IceServer(Options):
    """A STUN or TURN server."""

    urls: list[Annotated[str, AfterValidator(_ice_url)]] = Field(
        min_length=1, description="best first, such as turn:turn.example.com:443?transport=udp"
    )
    username: str | None = Field(None, description="of a TURN server")
    credential: SecretStr | None = Field(None, description="of a TURN server")

    @property
    def parsed(self) -> list[IceUrl]:
        """Its URLs, in order."""
        return [parsed_url(url) for url in self.urls]

    @property
    def is_turn(self) -> bool:
        """Whether it relays."""
        return any(url.is_turn for url in self.parsed)


@dataclass(frozen=True, slots=True)
class ServerOutcome:
    """What became of asking one URL.

    :ivar ok: whether it gave an address.
    :ivar took_s: seconds until that was known, or until it was no longer waited for.
    :ivar said: in plain words, without a credential.
    """

    url: str
    ok: bool
    took_s: float
    said: str

    def as_dict(self) -> dict[str, Any]:
        """For the facts of a run."""
        return {"url": self.url, "ok": self.ok, "took_s": round(self.took_s, 3), "said": self.said}


class AllocationError(Exception):
    """A server answered, and with an error; `code` is that of STUN (RFC 8489, 14.8)."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True)
class Reached(Generic[T]):
    """What a server gave.

    :ivar said: in words, such as `relay 10.0.0.1:49152`.
    :ivar held: what stands for it here, and has to be given back.
    """

    said: str
    held: T


class Race(Generic[T]):
    """Asks several servers at once and takes all that answer within a short grace after the first one.

    aiortc asks the first URL only, and waits for it in vain when it is dead. Times are those of the running loop.

    :param entrants: the URLs, best first, and how each is asked; cancelled, that must leave nothing open.
    :param release: gives back what came too late, or is not wanted any more; must be bounded in time.
    :param limit_s: seconds after which nobody is waited for.
    :param grace_s: seconds that the others have when one has answered.
    :param late_s: seconds that those have which are under way at the end, to be given back in good order: a TURN
        server keeps what it has allocated for ten minutes, which may count against a quota (RFC 8656, 7.2).
    """

    def __init__(
        self,
        entrants: Sequence[tuple[IceUrl, Callable[[], Coroutine[Any, Any, Reached[T]]]]],
        release: Callable[[T], Awaitable[None]],
        *,
        limit_s: float,
        grace_s: float,
        late_s: float = _LATE_S,
    ) -> None:
        self.outcomes: list[ServerOutcome] = []  # in the order of the entrants, when it has been run
        self._entrants, self._release = entrants, release
        self._limit_s, self._grace_s, self._late_s = limit_s, grace_s, late_s
        self._letting_go: list[asyncio.Task[None]] = []

    async def run(self) -> list[tuple[int, T]]:
        """What was given, best first, each with the place of its entrant; the rest is let go in the background."""
        loop = asyncio.get_running_loop()
        begun_s = loop.time()
        tasks = [asyncio.create_task(_timed(ask)) for _, ask in self._entrants]
        try:
            answered = await self._wait(tasks, begun_s)
        except asyncio.CancelledError:
            self._let_go(tasks)
            raise
        took_s = min(loop.time() - begun_s, self._limit_s)  # a busy machine is not the server's fault
        won = []
        for index, ((url, _), task) in enumerate(zip(self._entrants, tasks, strict=True)):
            outcome, reached = _judged(url, task, took_s, answered=answered)
            self.outcomes.append(outcome)
            if reached is not None:
                won.append((index, reached.held))
        self._let_go([task for task in tasks if not task.done()])
        return won

    async def settled(self) -> None:
        """Wait until what came too late is given back: not longer than `late_s` and one release."""
        if self._letting_go:
            await asyncio.wait(self._letting_go)

    async def _wait(self, tasks: Sequence[asyncio.Task[_Finish[T]]], begun_s: float) -> bool:
        """Until the race is over; whether anybody answered."""
        loop = asyncio.get_running_loop()
        pending, end_s, answered = set(tasks), begun_s + self._limit_s, False
        while pending and (left_s := end_s - loop.time()) > 0:
            done, pending = await asyncio.wait(pending, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
            if not answered and any(isinstance(task.result()[1], Reached) for task in done):
                answered, end_s = True, min(end_s, loop.time() + self._grace_s)
        return answered

    def _let_go(self, tasks: Sequence[asyncio.Task[_Finish[T]]]) -> None:
        self._letting_go += [asyncio.create_task(self._let_one_go(task)) for task in tasks]

    async def _let_one_go(self, task: asyncio.Task[_Finish[T]]) -> None:
        try:
            await asyncio.wait([task], timeout=self._late_s)
        finally:
            task.cancel()  # nothing, where it is done
        await asyncio.wait([task])
        if not task.cancelled() and isinstance(reached := task.result()[1], Reached):
            await self._release(reached.held)


_Finish = tuple[float, Reached[T] | Exception]  # seconds, and how it ended


async def _timed(ask: Callable[[], Coroutine[Any, Any, Reached[T]]]) -> _Finish[T]:
    loop = asyncio.get_running_loop()
    begun_s = loop.time()
    try:
        finish: Reached[T] | Exception = await ask()
    except Exception as error:  # the network's, the resolver's, TLS's: each is the outcome of its server only
        finish = error
    return loop.time() - begun_s, finish


def _judged(
    url: IceUrl, task: asyncio.Task[_Finish[T]], took_s: float, *, answered: bool
) -> tuple[ServerOutcome, Reached[T] | None]:
    if not task.done():
        others = " (not waited for: another was first)" if answered else ""
        return ServerOutcome(url.text, False, took_s, f"no answer within {_seconds(took_s)}{others}"), None
    took_s, finish = task.result()
    if isinstance(finish, Reached):
        return ServerOutcome(url.text, True, took_s, f"{finish.said} in {_seconds(took_s)}"), finish
    return ServerOutcome(url.text, False, took_s, _in_words(finish, took_s)), None


def _seconds(value_s: float) -> str:
    return f"{max(value_s, 0.01):.2f}".rstrip("0").rstrip(".") + " s"


def _in_words(error: Exception, took_s: float) -> str:
    """What went wrong, in plain words; nothing that came from the server is repeated."""
    if isinstance(error, AllocationError):
        return f"{error.code} {_CODES.get(error.code, 'is its error')}"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its TLS certificate cannot be trusted ({error.verify_message.rstrip('.')})"
    if isinstance(error, ssl.SSLError):
        return "TLS failed; is it a TURN server that speaks TLS?"
    if isinstance(error, socket.gaierror | UnicodeError):
        return "host not found"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, TimeoutError):
        return f"no answer within {_seconds(took_s)}"
    if isinstance(error, OSError):
        return _os_error(error)
    return f"cannot be used ({type(error).__name__})"


def _os_error(error: OSError) -> str:
    # asyncio puts several addresses' errors into the text of one without a number
    number = error.errno or next((int(found) for found in re.findall(r"\[Errno (\d+)\]", str(error))), None)
    return os.strerror(number).lower() if number else "its answer cannot be understood"
