"""A bad network between a receiver and a WHEP server, in user space: seeded, without privileges, both ways.

    with ImpairmentProxy(down=Impairment(loss=0.03, delay_s=0.05), up=Impairment(delay_s=0.05), seed=7) as proxy:
        answer = proxy.through(await post(proxy.towards(offer)))

or, for a receiver that is left as it is, in front of the whole server:

    async with ImpairedWhep(url, down=..., up=..., seed=7) as front:
        await receive(front.url)  # front.proxies[-1].ledger has the accounts

What is lost is decided for each stream by itself: the n-th packet of the video meets the same fate in every run with
that seed, whatever else is sent meanwhile. Headers are not rewritten, for SRTP authenticates them (RFC 3711, 3.1).
"""

from __future__ import annotations

import asyncio
import heapq
import random
import re
import socket
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import urlsplit, urlunsplit

import httpx

from tests.connectors.server import Request, Server, reply
from tests.peers.ledger import Formats, Kind, Ledger, rtcp_header, rtp_header

__all__ = ["Blackout", "Burst", "ImpairedWhep", "Impairment", "ImpairmentProxy", "Link"]

Address = tuple[str, int]
_BUFFER_BYTES = 4 << 20  # key frames are bursts; what the kernel dropped here would look like the receiver's loss
_LARGEST = 1 << 16
_CANDIDATE = re.compile(r"a=candidate:\S+ 1 udp \d+ (\d+\.\d+\.\d+\.\d+) (\d+) typ host", re.IGNORECASE)
_FORWARDED_UP = ("authorization", "content-type", "accept", "if-match")
_FORWARDED_DOWN = ("Content-Type", "Location", "ETag", "Link", "Retry-After", "WWW-Authenticate")
_UPSTREAM_S = 10.0


@dataclass(frozen=True, slots=True)
class Blackout:
    """Nothing passes, STUN and DTLS neither, for `duration_s` from `begin_s` after the first media packet."""

    begin_s: float
    duration_s: float


@dataclass(frozen=True, slots=True)
class Burst:
    """The next `packets` media packets are dropped from `begin_s` after the first one."""

    begin_s: float
    packets: int


@dataclass(frozen=True, slots=True)
class Impairment:
    """What happens to the packets of one direction.

    :ivar loss: the share that is dropped, 0..1.
    :ivar delay_s: what every packet takes, STUN and DTLS too.
    :ivar delay_of: what the packets of one stream take besides, `video` or `audio`: its RTP, its retransmissions and
        the RTCP that its sender says of it, sender reports among them; where this becomes less, they still go out in
        the order they came.
    :ivar jitter_s: what a packet takes besides, uniformly from 0; packets overtake each other.
    :ivar duplicates: the share that comes twice, 0..1.
    :ivar rate_bps: bit/s that go through, of everything; `None`: no limit.
    :ivar queue_s: how long a packet may wait for the rate; what would wait longer is dropped.
    :ivar media_only: loss, duplicates and a full queue hit RTP and RTCP only, so that a connection comes about.
    """

    loss: float = 0.0
    delay_s: float = 0.0
    delay_of: Mapping[Kind, float] = field(default_factory=dict)
    jitter_s: float = 0.0
    duplicates: float = 0.0
    rate_bps: float | None = None
    queue_s: float = 0.3
    blackouts: tuple[Blackout, ...] = ()
    bursts: tuple[Burst, ...] = ()
    media_only: bool = True

    def __post_init__(self) -> None:
        if not (0 <= self.loss <= 1 and 0 <= self.duplicates <= 1):
            raise ValueError(f"loss {self.loss} and duplicates {self.duplicates}; allowed: 0..1")
        if min(self.delay_s, self.jitter_s, self.queue_s, *self.delay_of.values()) < 0:
            raise ValueError("delay_s, delay_of, jitter_s and queue_s must not be negative")
        if not self.delay_of.keys() <= {"audio", "video"}:
            raise ValueError(f"delay_of {', '.join(self.delay_of)}; allowed: audio, video")
        if self.rate_bps is not None and self.rate_bps <= 0:
            raise ValueError(f"rate_bps {self.rate_bps}; allowed: more than 0, or None")


@dataclass(frozen=True, slots=True)
class Passage:
    """What becomes of a packet: when its copies leave, or why it is dropped (`loss`, `queue`, `blackout`, `burst`)."""

    departures_s: tuple[float, ...]
    dropped: str | None = None


class Link:
    """One direction: decides on each packet, from a seed and the time it is told; it moves nothing.

    :ivar impairment: may be replaced while packets flow; what has been scheduled stays.
    :ivar formats: tells the streams apart; where it does not know a payload type, each is one.
    :ivar dropped: packets dropped so far, by reason; of everything, not only media.
    """

    def __init__(self, impairment: Impairment, seed: str) -> None:
        self.impairment = impairment
        self.formats = Formats()
        self.packets = 0
        self.dropped: Counter[str] = Counter()
        self._seed = seed
        self._random: dict[str, random.Random] = {}
        self._begun_s: float | None = None
        self._free_s = float("-inf")  # when all that has been sent will be through
        self._kinds: dict[int, Kind] = {}  # of the streams that came by, by their SSRC
        self._held_until_s: dict[Kind, float] = {}  # when the newest packet of a kind goes on
        self._dark_until_s = float("-inf")
        self._burst_left = 0
        self._begun: set[Burst] = set()

    def begin(self, now_s: float) -> None:
        """From here on the times of blackouts and bursts count; again is no harm."""
        if self._begun_s is None:
            self._begun_s = now_s

    def black_out(self, now_s: float, duration_s: float) -> None:
        """Let nothing pass for a time, from now."""
        self._dark_until_s = now_s + duration_s

    def drop_next(self, packets: int) -> None:
        """Drop the next so many media packets."""
        self._burst_left += packets

    def passage(self, data: bytes, now_s: float) -> Passage:
        """The fate of a packet that enters at `now_s`."""
        self.packets += 1
        passage = self._passage(data, now_s)
        if passage.dropped:
            self.dropped[passage.dropped] += 1
        return passage

    def _passage(self, data: bytes, now_s: float) -> Passage:
        how = self.impairment
        media = len(data) > 1 and 128 <= data[0] < 192  # RFC 7983, 7
        # drawn for every packet, used or not: what is set for one thing does not change what chance does to another
        generator = self._generator(data, media)
        lost, twice, slow, slower = (generator.random() for _ in range(4))
        if self._dark(now_s):
            return Passage((), "blackout")
        if media and self._in_burst(now_s):
            return Passage((), "burst")
        exposed = media or not how.media_only
        if exposed and lost < how.loss:
            return Passage((), "loss")
        through_s = self._through_queue(len(data), now_s, bounded=exposed)
        if through_s is None:
            return Passage((), "queue")
        leaves_s = self._held_back(data, through_s)
        copies = (slow, slower) if exposed and twice < how.duplicates else (slow,)
        return Passage(tuple(leaves_s + how.delay_s + how.jitter_s * share for share in copies))

    def _generator(self, data: bytes, media: bool) -> random.Random:
        header = rtp_header(data)
        key = self.formats.name(header.payload_type) if header else "rtcp" if media else "other"
        if key not in self._random:
            self._random[key] = random.Random(f"{self._seed} {key}")
        return self._random[key]

    def _dark(self, now_s: float) -> bool:
        since_s = self._since(now_s)
        return now_s < self._dark_until_s or any(
            dark.begin_s <= since_s < dark.begin_s + dark.duration_s for dark in self.impairment.blackouts
        )

    def _in_burst(self, now_s: float) -> bool:
        for burst in self.impairment.bursts:
            if burst not in self._begun and self._since(now_s) >= burst.begin_s:
                self._begun.add(burst)
                self.drop_next(burst.packets)
        if not self._burst_left:
            return False
        self._burst_left -= 1
        return True

    def _since(self, now_s: float) -> float:
        return float("-inf") if self._begun_s is None else now_s - self._begun_s

    def _through_queue(self, size_bytes: int, now_s: float, *, bounded: bool) -> float | None:
        how = self.impairment
        if how.rate_bps is None:
            return now_s
        through_s = max(now_s, self._free_s) + 8 * size_bytes / how.rate_bps
        if bounded and through_s - now_s > how.queue_s:
            return None
        self._free_s = through_s
        return through_s

    def _held_back(self, data: bytes, at_s: float) -> float:
        """When a packet goes on that would go on at a time, if its stream had no delay of its own."""
        kind = self._kind(data)
        if kind is None:
            return at_s
        at_s += self.impairment.delay_of.get(kind, 0.0)
        self._held_until_s[kind] = max(at_s, self._held_until_s.get(kind, at_s))
        return self._held_until_s[kind]

    def _kind(self, data: bytes) -> Kind | None:
        """What kind of stream a packet is of; RTCP has no payload type, but the SSRC of the stream it tells of."""
        header = rtp_header(data)
        if header is None:
            report = rtcp_header(data)
            return self._kinds.get(report.ssrc) if report else None
        kind = self.formats.kinds.get(header.payload_type)
        if kind is not None:
            self._kinds[header.ssrc] = kind
        return kind


class ImpairmentProxy:
    """A bad path for one WHEP session; a context manager, inside a running loop.

    Every address that the receiver sends from has a socket of its own towards the server, as behind a NAT, so that
    checks of several candidates do not get into each other's way. Times are those of the loop's clock.

    :ivar down: from the server to the receiver.
    :ivar up: from the receiver to the server.
    :ivar ledger: what the server sent, and what the receiver said to it.
    :ivar begun_s: when the first media packet of the server came.
    :ivar unsent: packets that the kernel did not take; the ledger counts them as let through.
    """

    def __init__(
        self, down: Impairment = Impairment(), up: Impairment = Impairment(), *, seed: int = 1, host: str = "127.0.0.1"
    ) -> None:
        self.down, self.up = Link(down, f"{seed} down"), Link(up, f"{seed} up")
        self.ledger = Ledger()
        self.down.formats = self.up.formats = self.ledger.formats
        self.begun_s: float | None = None
        self.unsent = 0
        self._loop = asyncio.get_running_loop()
        self._host = host
        self._server: Address | None = None
        self._front = self._socket(host)
        self._spare: socket.socket | None = self._socket("")
        self._sockets = [self._front, self._spare]
        self._offered_port: int = self._spare.getsockname()[1]
        self._by_client: dict[Address, socket.socket] = {}
        self._waiting: list[tuple[float, int, socket.socket, bytes, Address]] = []
        self._order = 0
        self._timer: asyncio.TimerHandle | None = None
        self._loop.add_reader(self._front, self._from_clients)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Drop what is under way and close every socket; again is no harm."""
        if self._timer is not None:
            self._timer.cancel()
        for each in self._sockets:
            if each.fileno() >= 0:
                self._loop.remove_reader(each)
                each.close()

    def towards(self, sdp: str) -> str:
        """The receiver's SDP as the server is to see it: the proxy instead of the receiver's own addresses."""
        return _with_candidate(sdp, "127.0.0.1", self._offered_port)

    def through(self, sdp: str) -> str:
        """The server's SDP as the receiver is to see it; from here on the proxy knows the server.

        :raises ValueError: when it has no UDP host candidate with an IPv4 address.
        """
        places = [(host, int(port)) for host, port in _CANDIDATE.findall(sdp)]
        if not places:
            raise ValueError("the server's SDP has no UDP host candidate with an IPv4 address")
        local = [place for place in places if place[0].startswith("127.")]
        self._server = (local or places)[0]
        self.ledger.formats.learn(sdp)
        return _with_candidate(sdp, *self._front.getsockname())

    def black_out(self, duration_s: float) -> None:
        """Let nothing pass in either direction for a time, from now."""
        for link in (self.down, self.up):
            link.black_out(self._loop.time(), duration_s)

    def _socket(self, host: str) -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.setblocking(False)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
        made.bind((host, 0))
        return made

    def _from_clients(self) -> None:
        for data, client in _datagrams(self._front):
            if self._server is None:
                continue  # a receiver cannot know of us before it has the answer
            towards = self._by_client.get(client) or self._new_client(client)
            now_s = self._loop.time()
            passage = self.up.passage(data, now_s)
            feedback = rtcp_header(data)
            if feedback is not None:
                self.ledger.note_feedback(feedback)
            self._schedule(passage, towards, data, self._server)

    def _new_client(self, client: Address) -> socket.socket:
        """Its socket towards the server; the first one has that which the server was told of."""
        made, self._spare = self._spare or self._socket(""), None
        if made not in self._sockets:
            self._sockets.append(made)
        self._by_client[client] = made
        self._loop.add_reader(made, self._from_server, made, client)
        return made

    def _from_server(self, back: socket.socket, client: Address) -> None:
        for data, sender in _datagrams(back):
            if sender != self._server:
                continue
            now_s = self._loop.time()
            header = rtp_header(data)
            if header is not None and self.begun_s is None:
                self.begun_s = now_s
                self.down.begin(now_s)
                self.up.begin(now_s)
            passage = self.down.passage(data, now_s)
            if header is not None:
                self.ledger.note_media(header, now_s, passage.dropped)
            self._schedule(passage, self._front, data, client)

    def _schedule(self, passage: Passage, through: socket.socket, data: bytes, to: Address) -> None:
        for departure_s in passage.departures_s:
            self._order += 1
            heapq.heappush(self._waiting, (departure_s, self._order, through, data, to))
        self._send_due()

    def _send_due(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting and self._waiting[0][0] <= self._loop.time():
            _, _, through, data, to = heapq.heappop(self._waiting)
            self._send(through, data, to)
        if self._waiting:
            self._timer = self._loop.call_at(self._waiting[0][0], self._send_due)

    def _send(self, through: socket.socket, data: bytes, to: Address) -> None:
        try:
            through.sendto(data, to)
        except OSError:  # a peer that is gone; a full buffer
            self.unsent += 1


class ImpairedWhep:
    """A WHEP endpoint that is another one behind a bad network; `async with`. HTTP is passed on unharmed.

    :ivar proxies: one for each POST, in their order.
    """

    def __init__(
        self, url: str, down: Impairment = Impairment(), up: Impairment = Impairment(), *, seed: int = 1
    ) -> None:
        self.down, self.up = down, up
        self.proxies: list[ImpairmentProxy] = []
        self._seed = seed
        self._parts = urlsplit(url)
        self._server = Server(self._pass_on)
        self._client = httpx.AsyncClient(timeout=_UPSTREAM_S, trust_env=False)

    async def __aenter__(self) -> Self:
        await self._server.__aenter__()
        return self

    async def __aexit__(self, *exit_info: object) -> None:
        await self._server.__aexit__(*exit_info)
        await self._client.aclose()
        for proxy in self.proxies:
            proxy.close()

    @property
    def url(self) -> str:
        """Where the receiver is to go."""
        return urlunsplit(self._parts._replace(scheme="http", netloc=f"127.0.0.1:{self._server.port}"))

    @property
    def _upstream(self) -> str:
        return f"{self._parts.scheme}://{self._parts.netloc}"

    async def _pass_on(self, request: Request, writer: asyncio.StreamWriter) -> None:
        if request.method == "POST":
            self.proxies.append(ImpairmentProxy(self.down, self.up, seed=self._seed))
        headers = {name: request.headers[name] for name in _FORWARDED_UP if name in request.headers}
        body = self.proxies[-1].towards(request.body) if self.proxies else request.body
        try:
            answer = await self._client.request(
                request.method, self._upstream + request.target, headers=headers, content=body
            )
        except httpx.HTTPError as error:
            writer.write(reply(502, type(error).__name__))
        else:
            writer.write(self._passed_back(answer))
        await writer.drain()

    def _passed_back(self, answer: httpx.Response) -> bytes:
        headers = {name: answer.headers[name] for name in _FORWARDED_DOWN if name in answer.headers}
        if headers.get("Location", "").startswith(self._upstream):
            headers["Location"] = f"http://127.0.0.1:{self._server.port}" + headers["Location"][len(self._upstream) :]
        body = answer.text
        if body.lstrip().startswith("v=0"):
            body = self.proxies[-1].through(body)
        return reply(answer.status_code, body, **headers)


def _datagrams(source: socket.socket) -> list[tuple[bytes, Address]]:
    """All that has come, up to a bound that leaves the loop its turn."""
    found: list[tuple[bytes, Address]] = []
    while len(found) < 64:
        try:
            found.append(source.recvfrom(_LARGEST))
        except OSError:  # nothing more for now
            break
    return found


def _with_candidate(sdp: str, host: str, port: int) -> str:
    """The SDP with one host candidate in each section that had any."""
    made: list[str] = []
    pending = False
    for line in sdp.splitlines(keepends=True):
        if line.startswith("m="):
            pending = True
        if not line.startswith("a=candidate:"):
            made.append(line)
        elif pending:
            ending = line[len(line.rstrip("\r\n")) :]
            made.append(f"a=candidate:1 1 udp 2130706431 {host} {port} typ host{ending}")
            pending = False
    return "".join(made)
