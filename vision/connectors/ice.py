"""The only place that touches names that aioice keeps to itself: where candidates come from, and what becomes of them.

aioice keeps the checks and the nomination; only a worse relay's check begins later. Taken over from it: host candidates
on the loopback interface (it leaves 127.0.0.1 out), STUN and TURN servers (it asks the first of each only), and closing
(it waits a minute for a TURN server that is gone). Listened to: checks and their answers, never media.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import socket
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import Any

from aioice import ice, stun
from aioice.candidate import Candidate, candidate_foundation, candidate_priority
from aiortc import RTCRtpTransceiver

from vision.connectors.turn import AllocationError, IceServer, IceUrl, Race, Reached, ServerOutcome
from vision.errors import SourceError
from vision.hosts import is_loopback

__all__ = ["IcePath", "probe", "require_known_aioice"]

_KNOWN = "0.13."
_MOST_URLS = 16  # of each kind; a server may send any number in its Link headers
_MOST_WORDS = 360
_RECEIVE_BUFFER_BYTES = 2 << 20  # aioice sets 256 KiB; a key frame is a burst
_RELEASE_S = 1.0
_GRACE_S = 0.25  # a better server that is a little slower than a worse one is still taken, and still used
_HIGHEST_PREFERENCE, _STEP = 65_535, 1000  # RFC 8445, 5.1.2.1

_Ask = Callable[[], Coroutine[Any, Any, Reached[Any]]]


def require_known_aioice() -> None:
    """Refuse a version whose inner workings were not looked at.

    :raises SourceError: when aioice is not 0.13.x.
    """
    version = importlib.metadata.version("aioice")
    if not version.startswith(_KNOWN):
        raise SourceError(f"aioice {version} is installed; needed: 0.13.x (pip install 'aioice~=0.13.0')")


class IcePath:
    """The ICE side of one peer connection: gathers its candidates, and knows what became of them.

    Make it before the offer. aiortc is to be told of no servers at all (`iceServers=[]`).

    :param transceiver: any of the connection's; with max-bundle they have one transport.
    :param servers: best first. All URLs are asked at once; what comes within a short grace after the first answer is
        taken, the better ones with higher priority. STUN and TURN servers race separately.
    :param relay_only: candidates of TURN servers only (RFC 9429, 3.5.3).
    :param loopback: the other side is on this machine: 127.0.0.1 is the first host candidate, so that no network is
        needed, and servers on this machine, which cannot be of help, are left out; with `relay_only` neither. The other
        host candidates stay: a server in a container of this machine is spoken to through localhost, but has an address
        of its own, to which nothing can be sent from 127.0.0.1.
    :param limit_s: seconds that the servers have.
    :param now_s: any clock that does not go back.
    :raises SourceError: when the installed aioice is not known.
    """

    def __init__(
        self,
        transceiver: RTCRtpTransceiver,
        servers: Sequence[IceServer],
        *,
        relay_only: bool,
        loopback: bool,
        limit_s: float = 3.0,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        require_known_aioice()
        self._connection = connection = _connection(transceiver)
        self._relay_only, self._loopback, self._limit_s, self._now_s = relay_only, loopback, limit_s, now_s
        self._turn, self._stun, self._left_out = _chosen(servers, relay_only=relay_only, loopback=loopback)
        self._relaying: Race[Any] | None = None
        self._reflecting: Race[Any] | None = None
        self._stun_outcomes: list[ServerOutcome] = []
        self._via: dict[int, str] = {}  # protocols of aioice, and the URLs they relay through
        self._checks = _Checks(now_s)
        self._asking: set[asyncio.Task[Any]] = set()
        self._chosen: Any = None
        self._relays_checked_s: float | None = None  # when the first check through a relay began
        connection.stun_server = connection.turn_server = None
        if relay_only:
            connection._transport_policy = ice.TransportPolicy.RELAY  # names of mDNS are not looked up, either
        self._bind = connection.get_component_candidates
        self._shut = connection.close
        connection.get_component_candidates = self._gather
        connection.close = self._close
        connection.query_consent = self._unless_closed(connection.query_consent)
        connection.check_start = self._in_turn(connection.check_start)
        connection.check_complete = self._completing(connection.check_complete)
        connection.check_incoming = self._hearing(connection.check_incoming)

    @property
    def has_relay(self) -> bool:
        """Whether a TURN server gave an address."""
        return bool(self._via)

    @property
    def servers(self) -> list[ServerOutcome]:
        """What became of each URL, TURN servers first; those that were not asked at the end."""
        relayed = self._relaying.outcomes if self._relaying else []
        return [*relayed, *self._stun_outcomes, *self._left_out]

    def facts(self) -> dict[str, Any]:
        """What is known now, for run.json; there are no credentials in it.

        `pair` is null until one is chosen, and stays when the connection is closed; `failed_pairs` are those that were
        tried besides, and why they were not it.
        """
        return {
            "pair": self._pair_facts(),
            "servers": [outcome.as_dict() for outcome in self.servers],
            "failed_pairs": [self._described(pair) | {"why": why} for pair, why in self._failed()],
        }

    def why_not(self) -> str:
        """One line on why no connection came about: the servers that gave nothing, and the pairs that were tried."""
        words = [*_failures(self.servers), self._tried()]
        line = "; ".join(words)
        return line if len(line) <= _MOST_WORDS else line[:_MOST_WORDS] + " ..."

    def relay_missing(self) -> str:
        """One line on why there is no relayed address: what each TURN server said."""
        failed = "; ".join(_failures(outcome for outcome in self.servers if not outcome.url.startswith("stun")))
        failed = failed if len(failed) <= _MOST_WORDS else failed[:_MOST_WORDS] + " ..."
        return f"no TURN server gave an address: {failed or 'none is known (ice_servers)'}"

    def silent_s(self) -> float | None:
        """Seconds since the other side last answered a check or made one; `None` when it never has.

        Consent checks are made each 4 to 6 s (RFC 7675, 5.1), so that it is about that on a living path; `answers`
        asks at once.
        """
        heard_s = self._checks.heard_s
        return None if heard_s is None else max(self._now_s() - heard_s, 0.0)

    async def answers(self, limit_s: float = 1.0) -> bool:
        """Whether the other side answers now: one more consent check (RFC 7675), repeated after 0.5 s.

        What tells a sender that has stopped from a path that is gone.
        """
        pair = self._nominated()
        if pair is None or self._connection._closing:
            return False
        request = self._connection.build_request(pair, nominate=False)
        key = self._connection.remote_password.encode()
        asking = asyncio.create_task(_answered(pair.protocol.request(request, pair.remote_addr, integrity_key=key)))
        self._asking.add(asking)
        try:
            await asyncio.wait([asking], timeout=limit_s)
        finally:
            asking.cancel()
            self._asking.discard(asking)
        return asking.done() and not asking.cancelled() and asking.result()

    def drop_sockets(self) -> None:
        """Close all sockets at once, without a word to TURN servers."""
        for protocol in self._connection._protocols:
            _drop(protocol)

    async def _gather(self, component: int, addresses: list[str]) -> list[Candidate]:
        if self._relay_only:
            addresses = []
        elif self._loopback:
            addresses = ["127.0.0.1", *addresses]
        hosts: list[Candidate] = await self._bind(component=component, addresses=addresses)
        protocols = list(self._connection._protocols)
        reflexive, relayed = await asyncio.gather(self._reflexive(protocols), self._relayed(component))
        for protocol in self._connection._protocols:
            self._checks.follow(protocol)
            _enlarge_buffer(protocol)
        if self._connection._closing:  # it has been closed meanwhile, and will not be again
            await asyncio.gather(*(_released(protocol) for protocol in self._connection._protocols))
            if self._relaying is not None:
                await self._relaying.settled()
            return []
        return [*hosts, *reflexive, *relayed]

    async def _relayed(self, component: int) -> list[Candidate]:
        """Candidates of the TURN servers."""
        entrants = [
            (url, _allocation(self._connection, component, url, server, hidden=self._relay_only))
            for url, server in self._turn
        ]
        self._relaying = race = Race(entrants, _released, limit_s=self._limit_s, grace_s=_GRACE_S)
        candidates = []
        for place, protocol in await race.run():
            url, candidate = self._turn[place][0], protocol.local_candidate
            candidate.priority = candidate_priority(component, "relay", max(_HIGHEST_PREFERENCE - place * _STEP, 0))
            # another server, or another way to it, is another foundation (RFC 8445, 5.1.1.3)
            candidate.foundation = candidate_foundation("relay", "udp", f"{url.text} {candidate.host}")
            self._via[protocol.id] = url.text
            self._connection._protocols.append(protocol)
            candidates.append(candidate)
        return candidates

    async def _reflexive(self, protocols: Sequence[Any]) -> list[Candidate]:
        """Candidates of the STUN servers, each asked from each host candidate (RFC 8445, 5.1.1.2)."""
        entrants = [(url, _binding(protocol, url)) for url in self._stun for protocol in _may_ask(protocols, url)]
        # nothing is held by a STUN server: what is under way at the end is cancelled
        self._reflecting = race = Race(entrants, _nothing_to_release, limit_s=self._limit_s, grace_s=_GRACE_S, late_s=0)
        known = {(protocol.local_candidate.host, protocol.local_candidate.port) for protocol in protocols}
        candidates = []
        for _, candidate in await race.run():
            if (candidate.host, candidate.port) not in known:  # redundant otherwise (RFC 8445, 5.1.3)
                known.add((candidate.host, candidate.port))
                candidates.append(candidate)
        self._stun_outcomes = _best_of_each(race.outcomes)
        return candidates

    async def _close(self) -> None:
        """As aioice closes, but bounded: TURN servers are let go all at once, and not waited for when they are gone."""
        connection = self._connection
        for task in self._asking:
            task.cancel()
        if self._asking:
            await asyncio.wait(self._asking)
        if self._reflecting is not None:
            await self._reflecting.settled()  # its requests go through sockets that are about to close
        for protocol in connection._protocols:
            if _is_relayed(protocol):
                protocol.transport.close()
        impatience = asyncio.get_running_loop().call_later(_RELEASE_S, self.drop_sockets)
        try:
            await self._shut()
        finally:
            impatience.cancel()
            if self._relaying is not None:
                await self._relaying.settled()

    def _unless_closed(self, query: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], Coroutine[Any, Any, None]]:
        async def query_consent() -> None:
            if not self._connection._closing:  # aioice may begin with it after it was closed, and then never ends
                await query()

        return query_consent

    def _in_turn(self, check: Callable[[Any], Awaitable[None]]) -> Callable[[Any], Coroutine[Any, Any, None]]:
        """aioice takes the pair that is answered first: a relay's check waits for those of better relays, for a grace.

        The head start that pairs have by their priority is 20 ms; a better relay that is a little farther loses by it.
        """

        async def check_start(pair: Any) -> None:
            if pair.protocol.id in self._via:
                now_s = asyncio.get_running_loop().time()
                self._relays_checked_s = begun_s = now_s if self._relays_checked_s is None else self._relays_checked_s
                better = [other.task for other in self._connection._check_list if self._is_better(other, pair)]
                if better:
                    await asyncio.wait(better, timeout=max(begun_s + _GRACE_S - now_s, 0))
            await check(pair)

        return check_start

    def _is_better(self, other: Any, pair: Any) -> bool:
        """Whether another pair is being checked, through a better relay."""
        if other.task is None or other.protocol.id not in self._via:
            return False
        return bool(other.local_candidate.priority > pair.local_candidate.priority)

    def _completing(self, complete: Callable[[Any], None]) -> Callable[[Any], None]:
        def completed(pair: Any) -> None:
            complete(pair)
            self._chosen = self._nominated() or self._chosen  # aioice forgets it when it closes

        return completed

    def _hearing(self, incoming: Callable[..., None]) -> Callable[..., None]:
        def heard(message: Any, address: Any, protocol: Any) -> None:  # called with authenticated ones only
            self._checks.heard_s = self._now_s()
            incoming(message, address, protocol)

        return heard

    def _nominated(self) -> Any:
        return next(iter(self._connection._nominated.values()), None)

    def _pair_facts(self) -> dict[str, Any] | None:
        pair = self._nominated() or self._chosen
        if pair is None:
            return None
        rtt_s = self._checks.rtt_s(pair)
        return self._described(pair) | {"rtt_ms": None if rtt_s is None else round(rtt_s * 1000, 1)}

    def _described(self, pair: Any) -> dict[str, Any]:
        via = self._via.get(pair.protocol.id)
        return _described(pair) | ({"via": via} if via else {})

    def _failed(self) -> list[tuple[Any, str]]:
        """The pairs that were tried and not chosen, and why."""
        chosen = self._nominated() or self._chosen
        tried = ((pair, self._checks.why_not(pair)) for pair in self._connection._check_list if pair is not chosen)
        return [(pair, why) for pair, why in tried if why is not None]

    def _tried(self) -> str:
        failed = self._failed()
        if failed:
            reasons = Counter(why for _, why in failed)
            said = ", ".join(f"{count} {why}" for why, count in reasons.most_common(3))
            pairs = "1 candidate pair was" if len(failed) == 1 else f"{len(failed)} candidate pairs were"
            return f"{pairs} tried ({said})"
        connection = self._connection
        ours, theirs = len(connection._local_candidates), len(connection._remote_candidates)
        return f"no candidate pair was tried (candidates: {ours} of ours, {theirs} of the server's)"


async def probe(servers: Sequence[IceServer], *, limit_s: float = 3.0) -> list[ServerOutcome]:
    """Ask each TURN URL for an address, and give it back: what each says, in order, none cut short by another.

    :param limit_s: seconds that each has; they are asked at once.
    :raises SourceError: when the installed aioice is not known.
    """
    require_known_aioice()
    connection = ice.Connection(ice_controlling=True)
    entrants = [
        (url, _allocation(connection, 1, url, server, hidden=True))
        for server in servers
        for url in server.parsed
        if url.is_turn
    ]
    race = Race(entrants, _released, limit_s=limit_s, grace_s=limit_s)
    try:
        held = [protocol for _, protocol in await race.run()]
        await asyncio.gather(*(_released(protocol) for protocol in held))
    finally:
        await race.settled()
    return race.outcomes


class _Checks:
    """Listens to the STUN transactions of a connection's sockets: checks and consent, and what is said to them."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self.heard_s: float | None = None
        self._now_s = now_s
        self._rtt_s: dict[Any, float] = {}
        self._begun_s: dict[Any, float] = {}
        self._why: dict[Any, str] = {}

    def follow(self, protocol: Any) -> None:
        """Listen to one socket."""
        ask = protocol.request

        async def request(
            message: stun.Message,
            address: tuple[str, int],
            integrity_key: bytes | None = None,
            retransmissions: int | None = None,
        ) -> Any:
            key, begun_s = (protocol.id, address), self._now_s()
            self._begun_s.setdefault(key, begun_s)
            try:
                answer = await ask(message, address, integrity_key=integrity_key, retransmissions=retransmissions)
            except stun.TransactionTimeout:
                self._why.setdefault(key, "without an answer")
                raise
            except stun.TransactionFailed as error:
                self.heard_s = self._now_s()
                self._why[key] = f"refused with {_code(error)}"
                raise
            except asyncio.CancelledError:
                self._why.setdefault(key, f"without an answer within {self._now_s() - begun_s:.1f} s")
                raise
            self.heard_s = self._now_s()
            self._why[key] = "answered, but another was chosen"
            self._rtt_s[key] = min(self.heard_s - begun_s, self._rtt_s.get(key, float("inf")))
            return answer

        protocol.request = request

    def rtt_s(self, pair: Any) -> float | None:
        """The shortest round trip of a pair, in seconds; others may hold a repetition."""
        return self._rtt_s.get(_key(pair))

    def why_not(self, pair: Any) -> str | None:
        """What became of a pair that was tried; `None` for one that was not."""
        if (begun_s := self._begun_s.get(_key(pair))) is None:
            return None
        return self._why.get(_key(pair)) or f"without an answer within {self._now_s() - begun_s:.1f} s"


def _key(pair: Any) -> tuple[int, tuple[str, int]]:
    return pair.protocol.id, pair.remote_addr


def _code(error: stun.TransactionFailed) -> int:
    said = error.response.attributes.get("ERROR-CODE")
    return int(said[0]) if said else 0


async def _answered(asking: Awaitable[Any]) -> bool:
    try:
        await asking
    except stun.TransactionFailed:
        return True  # a refusal is a sign of life as well
    except stun.TransactionError:
        return False
    return True


def _chosen(
    servers: Sequence[IceServer], *, relay_only: bool, loopback: bool
) -> tuple[list[tuple[IceUrl, IceServer]], list[IceUrl], list[ServerOutcome]]:
    """The TURN URLs and the STUN URLs that are asked, and what is said of those that are not."""
    turn: list[tuple[IceUrl, IceServer]] = []
    stun_urls: list[IceUrl] = []
    left_out: list[ServerOutcome] = []
    for server in servers:
        for url in server.parsed:
            if loopback and not relay_only and url.is_here:
                left_out.append(_not_asked(url, "it is on this machine, and so is the WHEP server"))
            elif relay_only and not url.is_turn:
                left_out.append(_not_asked(url, "a STUN server does not relay"))
            elif len(turn if url.is_turn else stun_urls) >= _MOST_URLS:
                left_out.append(_not_asked(url, f"only the first {_MOST_URLS} are"))
            elif url.is_turn:
                turn.append((url, server))
            else:
                stun_urls.append(url)
    return turn, stun_urls, left_out


def _not_asked(url: IceUrl, why: str) -> ServerOutcome:
    return ServerOutcome(url.text, False, 0.0, f"not asked: {why}")


def _failures(outcomes: Iterable[ServerOutcome]) -> list[str]:
    """What failed, in words; URLs of which the same is to be said are named together."""
    said: dict[str, list[str]] = {}
    for outcome in outcomes:
        if not outcome.ok:
            said.setdefault(outcome.said, []).append(outcome.url)
    return [f"{', '.join(urls)}: {words}" for words, urls in said.items()]


def _best_of_each(outcomes: Sequence[ServerOutcome]) -> list[ServerOutcome]:
    """One for each URL, where it was asked from several sockets: the first success, else the first failure."""
    best: dict[str, ServerOutcome] = {}
    for outcome in outcomes:
        if outcome.url not in best or (outcome.ok and not best[outcome.url].ok):
            best[outcome.url] = outcome
    return list(best.values())


def _allocation(connection: Any, component: int, url: IceUrl, server: IceServer, *, hidden: bool) -> _Ask:
    """How an address is asked of a TURN server (RFC 8656, 7); certificates are checked as Python's `ssl` does."""
    credential = server.credential.get_secret_value() if server.credential else None

    async def allocate() -> Reached[Any]:
        try:
            candidate, protocol = await ice.relayed_candidate(
                component=component,
                hide_related_address=hidden,
                protocol_factory=lambda: ice.StunProtocol(connection),
                turn_server=(url.host, url.port),
                turn_username=server.username,
                turn_password=credential,
                turn_ssl=url.tls,
                turn_transport=url.transport,
            )
        except stun.TransactionFailed as error:
            raise AllocationError(_code(error)) from error
        except stun.TransactionTimeout as error:
            raise TimeoutError from error
        return Reached(f"relay {_address(candidate)}", protocol)

    return allocate


def _binding(protocol: Any, url: IceUrl) -> _Ask:
    """How a STUN server is asked for our address as it sees it (RFC 8489, 12)."""

    async def ask() -> Reached[Any]:
        try:
            candidate, _ = await ice.server_reflexive_candidate(protocol, (url.host, url.port))
        except stun.TransactionFailed as error:
            raise AllocationError(_code(error)) from error
        except stun.TransactionTimeout as error:
            raise TimeoutError from error
        return Reached(f"seen as {_address(candidate)}", candidate)

    return ask


def _may_ask(protocols: Sequence[Any], url: IceUrl) -> list[Any]:
    """The sockets from which a STUN server can be reached: IPv4, and not 127.0.0.1 unless it is on this machine."""
    hosts = ((protocol, protocol.local_candidate.host) for protocol in protocols)
    return [protocol for protocol, host in hosts if ":" not in host and (url.is_here or not is_loopback(host))]


async def _nothing_to_release(_: Any) -> None:
    """A STUN server keeps nothing."""


async def _released(protocol: Any) -> None:
    """Give an address back to its TURN server, which has a second for it."""
    closing = asyncio.create_task(protocol.close())
    await asyncio.wait([closing], timeout=_RELEASE_S)
    if not closing.done():
        _drop(protocol)
    await closing


def _is_relayed(protocol: Any) -> bool:
    return hasattr(protocol.transport, "_TurnTransport__inner_protocol")


def _drop(protocol: Any) -> None:
    """Close a socket; that of an address on a TURN server without giving it back."""
    transport = protocol.transport
    if not _is_relayed(protocol):
        transport.close()
        return
    client = transport._TurnTransport__inner_protocol
    for task in (client.refresh_task, transport._TurnTransport__close_task, *transport._TurnTransport__send_tasks):
        if task is not None:
            task.cancel()
    client.transport.abort()


def _enlarge_buffer(protocol: Any) -> None:
    """Room for bursts in a UDP socket; the system may grant less. TCP's sockets are left to its own tuning."""
    relayed = _is_relayed(protocol)
    transport = protocol.transport._TurnTransport__inner_protocol.transport if relayed else protocol.transport
    udp = transport.get_extra_info("socket")
    if udp is None or udp.type != socket.SOCK_DGRAM:
        return
    try:
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
    except OSError:
        return  # as large as it was


def _address(candidate: Candidate) -> str:
    host = f"[{candidate.host}]" if ":" in candidate.host else candidate.host
    return f"{host}:{candidate.port}"


def _described(pair: Any) -> dict[str, Any]:
    local, remote = pair.local_candidate, pair.remote_candidate
    return {
        "local": f"{local.type} {_address(local)}/{local.transport}",
        "remote": f"{remote.type} {_address(remote)}/{remote.transport}",
    }


def _connection(transceiver: RTCRtpTransceiver) -> Any:
    return transceiver.receiver.transport.transport._connection
