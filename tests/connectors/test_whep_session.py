"""The session of a WHEP endpoint by itself: what is tried again and when, counter-offers, tags, links, redirects."""

from __future__ import annotations

import asyncio
import logging
from email.utils import formatdate

import pytest
from pydantic import SecretStr

from tests.connectors.server import (
    Behaviour,
    Request,
    Server,
    answers,
    breaks_off,
    closes,
    endless,
    never_answers,
    reply,
)
from tests.connectors.support import TOKEN, checked, run_clean
from vision.connectors import whep
from vision.connectors.http import Answer, links, retry_after_s, seconds_until, words_of
from vision.connectors.recovery import RefusedError
from vision.connectors.sdp import RemoteDescription
from vision.connectors.whep import WhepSession, link_servers
from vision.errors import SourceError

NOW_S = 1_800_000_000.0
OFFER = "v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=setup:actpass\r\n"
ANSWER = OFFER.replace("actpass", "active")
LOCATION = "/whep/session/1"


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deadlines as short as a local server allows; the pauses between tries are only noted."""
    monkeypatch.setattr(whep, "_POST_S", 0.3)
    monkeypatch.setattr(whep, "_LATE_S", 0.5)
    monkeypatch.setattr(whep, "_PATCH_S", 0.3)


class Scripted:
    """Answers POSTs with one behaviour after the other, the last of them again and again; all else by `other`."""

    def __init__(self, *posts: Behaviour, other: Behaviour = answers(200)) -> None:  # noqa: B008
        self._posts, self._other = posts, other
        self._count = 0

    async def __call__(self, request: Request, writer: asyncio.StreamWriter) -> None:
        if request.method != "POST":
            await self._other(request, writer)
            return
        behaviour = self._posts[min(self._count, len(self._posts) - 1)]
        self._count += 1
        await behaviour(request, writer)


class Clock:
    """Time that passes only where somebody sleeps."""

    def __init__(self) -> None:
        self.now_s = NOW_S
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        """Note it."""
        self.slept.append(seconds)
        self.now_s += seconds

    def session(self, url: str, token: str | None = None) -> WhepSession:
        """A session that goes by this clock."""
        secret = None if token is None else SecretStr(token)
        return WhepSession(url, secret, sleep=self.sleep, now_s=lambda: self.now_s)


def offered(behaviour: Behaviour) -> tuple[RemoteDescription | SourceError, list[float], list[str]]:
    """What comes of an offer to such a server, how long was waited in between, and the methods that it saw."""
    clock = Clock()

    async def scenario() -> tuple[RemoteDescription | SourceError, list[float], list[str]]:
        async with Server(behaviour) as server:
            result: RemoteDescription | SourceError
            async with clock.session(f"{server.url}/whep") as session:
                try:
                    result = await session.offer(OFFER)
                except SourceError as error:
                    result = error
            return result, clock.slept, [request.method for request in server.requests]

    return run_clean(scenario())


def good() -> Behaviour:
    """The answer that is hoped for."""
    return answers(201, ANSWER, Location=LOCATION)


@pytest.mark.parametrize(
    ("posts", "slept"),
    [
        ([good()], []),
        ([closes, good()], [1]),
        ([answers(500), answers(502), good()], [1, 1]),
        ([answers(504), good()], [1]),
        ([answers(409), answers(409), good()], [1, 2]),
        ([answers(503, Retry_After="3"), answers(429), good()], [3, 2]),
        ([answers(429, Retry_After="0"), good()], [1]),
        ([answers(429, Retry_After="soon"), good()], [1]),
        ([answers(503, Retry_After=formatdate(NOW_S + 4, usegmt=True)), good()], [4]),
        ([answers(503, Retry_After=formatdate(7, usegmt=True), Date=formatdate(2, usegmt=True)), good()], [5]),
        ([answers(503, Retry_After=formatdate(NOW_S - 60, usegmt=True)), good()], [1]),
        ([answers(500, Retry_After="6"), answers(409, Retry_After="4"), good()], [6, 4]),
    ],
)
def test_what_may_pass_is_tried_again(posts: list[Behaviour], slept: list[float]) -> None:
    """After what the server asks for, at least a second; a second that doubles where the server is busy."""
    result, waited, seen = offered(Scripted(*posts))
    assert result == RemoteDescription("answer", ANSWER)
    assert waited == slept
    assert seen == ["POST"] * len(posts) + ["DELETE"]


@pytest.mark.parametrize("status", [409, 429, 500, 502, 503, 504])
def test_three_tries(status: int) -> None:
    """What does not pass is an error after three tries, with the server's status."""
    result, waited, seen = offered(answers(status))
    assert isinstance(result, RefusedError)
    assert result.status == status
    assert len(waited) == 2
    assert seen == ["POST"] * 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 406, 410, 415, 418, 422, 501, 505])
def test_what_will_not_pass_is_tried_once(status: int) -> None:
    """A refusal that the same request will meet again, whatever Retry-After says."""
    result, waited, seen = offered(answers(status, Retry_After="1"))
    assert isinstance(result, RefusedError)
    assert (waited, seen) == ([], ["POST"])


def test_nobody_listens() -> None:
    """A refused connection is tried again, too."""
    result, waited, _ = offered(closes)
    assert isinstance(result, SourceError)
    assert not isinstance(result, RefusedError)
    assert waited == [1, 1]


@pytest.mark.parametrize(
    ("posts", "slept", "asked"),
    [
        ([answers(503, Retry_After="120")], [], "120"),
        ([answers(409, Retry_After="7"), answers(409, Retry_After="4")], [7], "4"),
        ([answers(429, Retry_After=formatdate(NOW_S + 11, usegmt=True))], [], "11"),
    ],
)
def test_a_server_that_asks_for_too_much_time(posts: list[Behaviour], slept: list[float], asked: str) -> None:
    """Ten seconds in all are waited; more is an error at once that says how much it would be."""
    result, waited, _ = offered(Scripted(*posts))
    assert isinstance(result, RefusedError)
    assert f"asks to wait {asked} s (Retry-After), longer than the 10 s" in checked(str(result))
    assert waited == slept


@pytest.mark.parametrize(
    "behaviour",
    [
        breaks_off(LOCATION),
        endless(b"HTTP/1.1 201 Created\r\nLocation: /s/1\r\n\r\n"),
        answers(201, "no sdp", Location=LOCATION),
    ],
)
def test_an_opened_session_is_not_opened_again(behaviour: Behaviour) -> None:
    """Where the server has said 201 it has a session for us: it is left, and no second one is asked for."""
    result, waited, seen = offered(behaviour)
    assert isinstance(result, SourceError)
    assert (waited, seen) == ([], ["POST", "DELETE"])


def late(after_s: float, status: int = 201) -> Behaviour:
    """The good answer, with its own Location, after the client has given up on it."""

    async def behave(request: Request, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(after_s)
        writer.write(reply(status, ANSWER, Location="/whep/late"))
        await writer.drain()

    return behave


def test_a_late_answer_is_released_while_the_next_one_streams() -> None:
    """A POST that was given up may have opened a session: it is left as soon as it is known, by its own name."""

    async def scenario() -> None:
        async with Server(Scripted(late(0.5), good())) as server:
            async with Clock().session(server.url) as session:
                assert (await session.offer(OFFER)).type == "answer"
                async with asyncio.timeout(2):
                    while not server.sent("DELETE"):  # noqa: ASYNC110
                        await asyncio.sleep(0.01)
                assert [request.target for request in server.sent("DELETE")] == ["/whep/late"]
            assert [request.target for request in server.sent("DELETE")] == ["/whep/late", LOCATION]

    run_clean(scenario())


def test_a_late_answer_is_released_at_the_end() -> None:
    """Also where nobody streams by then."""

    async def scenario() -> None:
        async with Server(Scripted(late(0.6), answers(404))) as server:
            async with Clock().session(server.url) as session:
                with pytest.raises(RefusedError):
                    await session.offer(OFFER)
            assert [request.target for request in server.sent("DELETE")] == ["/whep/late"]

    run_clean(scenario())


def test_a_late_redirect_is_not_followed() -> None:
    """Nobody waits for where it leads: another session would be opened for nothing."""

    async def behave(request: Request, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.4)
        writer.write(reply(307, Location="/elsewhere"))
        await writer.drain()

    async def scenario() -> None:
        async with Server(Scripted(behave, good())) as server:
            async with Clock().session(server.url) as session:
                await session.offer(OFFER)
                await asyncio.sleep(0.3)
            assert [request.target for request in server.requests] == ["/", "/", LOCATION]

    run_clean(scenario())


def test_cancelled_between_two_tries() -> None:
    """Ctrl-C while it waits ends at once, and no further try is made."""

    async def scenario() -> None:
        async with Server(answers(503)) as server:
            waits = asyncio.Event()

            async def sleep(_: float) -> None:
                waits.set()
                await asyncio.Event().wait()

            async with WhepSession(server.url, None, sleep=sleep) as session:
                offering = asyncio.create_task(session.offer(OFFER))
                await waits.wait()
                offering.cancel()
                await asyncio.wait([offering])
            assert offering.cancelled()
            assert len(server.requests) == 1

    run_clean(scenario(), limit_s=2)


def counter_offer(patched: Behaviour = answers(204), status: int = 406, **headers: str) -> Behaviour:  # noqa: B008
    """A server that makes the offer."""
    headers.setdefault("Location", LOCATION)
    headers.setdefault("Content_Type", "application/sdp")

    async def behave(request: Request, writer: asyncio.StreamWriter) -> None:
        if request.method == "PATCH":
            await patched(request, writer)
        else:
            await answers(status, OFFER, **headers)(request, writer)

    return behave


def answered(behaviour: Behaviour, after_s: float = 0.0, token: str | None = None) -> tuple[str | None, list[Request]]:
    """What comes of answering a counter-offer so late, and what the server saw."""
    clock = Clock()

    async def scenario() -> tuple[str | None, list[Request]]:
        async with Server(behaviour) as server:
            message = None
            async with clock.session(f"{server.url}/whep", token) as session:
                assert await session.offer(OFFER) == RemoteDescription("offer", OFFER)
                await clock.sleep(after_s)
                try:
                    await session.answer(ANSWER)
                except SourceError as error:
                    message = checked(str(error))
            return message, server.requests

    return run_clean(scenario())


@pytest.mark.parametrize("status", [200, 201, 204])
def test_an_answered_counter_offer(status: int) -> None:
    """POST, PATCH with our answer, DELETE; the token with each, the tag with the PATCH."""
    message, (post, patch, delete) = answered(counter_offer(answers(status), ETag='W/"t, 1"'), token=TOKEN)
    assert message is None
    assert [request.method for request in (post, patch, delete)] == ["POST", "PATCH", "DELETE"]
    assert (patch.target, patch.body, patch.headers["content-type"]) == (LOCATION, ANSWER, "application/sdp")
    assert patch.headers["if-match"] == 'W/"t, 1"'
    assert all(request.headers["authorization"] == f"Bearer {TOKEN}" for request in (post, patch, delete))
    assert not any("if-match" in request.headers for request in (post, delete))


@pytest.mark.parametrize("status", [200, 201])
def test_an_offer_that_is_labelled_an_answer(status: int) -> None:
    """The body says what it is."""
    message, seen = answered(counter_offer(status=status))
    assert message is None
    assert [request.method for request in seen] == ["POST", "PATCH", "DELETE"]


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (400, "cannot use our answer"),
        (403, "token is missing"),
        (404, "session is gone"),
        (405, "takes no answer"),
        (412, "has changed"),
        (500, "the server failed"),
        (501, "takes no answer"),
        (302, "refused"),
    ],
)
def test_an_answer_that_is_refused(status: int, words: str) -> None:
    """One line that says what it was about; the session is left all the same."""
    message, seen = answered(counter_offer(answers(status, '{"title": "No", "detail": "not like this"}')))
    assert message is not None
    assert f": {status}: " in message
    assert words in message
    assert "(it says: No: not like this)" in message
    assert [request.method for request in seen] == ["POST", "PATCH", "DELETE"]


def test_an_answer_that_is_never_acknowledged(caplog: pytest.LogCaptureFixture) -> None:
    """The server may well have taken it: that is a warning, in time, and media decide."""
    message, seen = answered(counter_offer(never_answers))
    assert message is None
    assert "not acknowledged within 0.3 s" in caplog.text
    assert [request.method for request in seen] == ["POST", "PATCH", "DELETE"]


def test_an_answer_that_cannot_be_delivered() -> None:
    """A server that hangs up has not taken it."""
    message, _ = answered(counter_offer(closes))
    assert message is not None
    assert "cannot be reached" in message


@pytest.mark.parametrize(
    ("content_type", "date_s", "good_s"),
    [
        ("application/sdp", None, 30),
        (f'application/sdp; valid-until="{formatdate(NOW_S + 12, usegmt=True)}"', None, 12),
        (f'application/sdp;Valid-Until="{formatdate(50, usegmt=True)}"', 45, 5),  # by the server's clock
        ('application/sdp; valid-until="tomorrow"', None, 30),
        ("", None, 30),
    ],
)
def test_how_long_a_counter_offer_is_good(content_type: str, date_s: float | None, good_s: float) -> None:
    """Half a minute, or what the server says; an answer after that is not even sent."""
    date = "" if date_s is None else formatdate(date_s, usegmt=True)
    behaviour = counter_offer(Content_Type=content_type, Date=date)
    message, _ = answered(behaviour, after_s=good_s - 1)
    assert message is None
    message, seen = answered(behaviour, after_s=good_s + 1)
    assert message is not None
    assert "no longer good" in message
    assert [request.method for request in seen] == ["POST", "DELETE"]


@pytest.mark.parametrize("location", ["", "file:///x"])
def test_a_counter_offer_without_a_location(location: str) -> None:
    """There is nowhere to send the answer to."""
    message, seen = answered(counter_offer(Location=location))
    assert message is not None
    assert "without a usable Location" in message
    assert [request.method for request in seen] == ["POST"]


def test_an_answer_to_nothing() -> None:
    """An answer without an offer is a mistake of the caller that is said in words."""

    async def scenario() -> None:
        async with Server(good()) as server, Clock().session(server.url) as session:
            await session.offer(OFFER)
            with pytest.raises(SourceError, match="no offer of the server"):
                await session.answer(ANSWER)

    run_clean(scenario())


@pytest.mark.parametrize("etag", ["", "ü", '"a"\tb'])
def test_a_tag_that_no_header_carries(etag: str) -> None:
    """Such a tag is none."""
    _, (_, patch, _) = answered(counter_offer(ETag=etag))
    assert "if-match" not in patch.headers


def test_links_of_an_answer_are_told() -> None:
    """The ICE servers of the answer; the credential is a secret."""

    async def scenario() -> None:
        link = '<turn:turn.example.com?transport=udp>; rel="ice-server"; username="u"; credential="s3cret, really"'
        async with Server(answers(201, ANSWER, Location=LOCATION, Link=link)) as server:
            async with Clock().session(server.url) as session:
                assert session.link_servers == []
                await session.offer(OFFER)
                (found,) = session.link_servers
            assert (found.urls, found.username) == (["turn:turn.example.com?transport=udp"], "u")
            assert found.credential is not None
            assert found.credential.get_secret_value() == "s3cret, really"
            assert "s3cret" not in repr(found)

    run_clean(scenario())


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", []),
        ('<stun:a>; rel="ice-server"', [("stun:a", None, None)]),
        ("<stun:a>;rel=ice-server;x, <stun:b>; REL=\"x Ice-Server\"", [("stun:a", None, None), ("stun:b", None, None)]),
        ('<a.example:19302>; rel="ice-server"', [("stun:a.example:19302", None, None)]),
        ('stun:a; rel="ice-server"', [("stun:a", None, None)]),
        ('<//a>; rel="ice-server"; username=u; credential=c', [("turn:a", "u", "c")]),
        (
            (r'<turns:a:443?transport=tcp>; rel="ice-server"; username="u;\"1\""; credential="c,<d>"; '
            r'credential-type="password", <https://a/events>; rel="urn:ietf:params:whep:ext:core:server-sent-events"'),
            [("turns:a:443?transport=tcp", 'u;"1"', "c,<d>")],
        ),
        ('<turn:a>; rel="ice-server"; credential-type="oauth"; credential="c"', []),
        ('<https://a/>; rel="ice-server"', []),
        ('<stun:a>; rel="layer"', []),
        ('<stun:a>; rel="ice-server', []),
        ('<stun:a>; rel="ice-server", <stun:b', [("stun:a", None, None)]),
        ("<", []),
        (",,;", []),
        ('<stun:a>; rel="ice-server"; credential="\\', []),
    ],
)  # fmt: skip
def test_link_servers(header: str, expected: list[tuple[str, str | None, str | None]]) -> None:
    """Several in one header, quoted commas, with and without scheme; other relations are nothing to us."""
    found = [
        (server.urls[0], server.username, server.credential.get_secret_value() if server.credential else None)
        for server in link_servers(header)
    ]
    assert found == expected


def test_links_are_read_in_time() -> None:
    """A header that is all separators is read as fast as any."""
    for header in ("<a>" + ";" * 100_000, "<a>;" + " " * 100_000, '<a>;b="' + "\\x" * 50_000, "<a>" + ", <a>" * 20_000):
        assert all(link.target == "a" for link in links(header))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("plain words", "plain words"),
        ('{"type": "about:blank", "title": "Busy", "detail": "3 viewers"}', "Busy: 3 viewers"),
        ('{"title": "Busy", "detail": "Busy"}', "Busy"),
        ('{"status": "error", "error": "no stream"}', "no stream"),
        ('{"message": 7}', '{"message": 7}'),
        ('{"title"', '{"title"'),
        ("{" * 100_000, "{" * 100_000),
        ("v=0\r\na=ice-pwd:secret", ""),
        ("", ""),
    ],
)
def test_words_of(body: str, words: str) -> None:
    """RFC 9457's words, those of servers with JSON of their own, and plain ones; descriptions are not quoted."""
    assert words_of(Answer(400, {}, body)) == words


@pytest.mark.parametrize(
    ("value", "expected"),
    [("5", 5), (" 5 ", 5), ("-5", None), ("1e3", None), ("", None), ("x", None), ("9" * 30, None), ("1 Jan", None)],
)
def test_retry_after(value: str, expected: float | None) -> None:
    """Whole seconds; what is neither that nor a date says nothing."""
    assert retry_after_s({"Retry-After": value}, NOW_S) == expected


def test_dates_go_by_the_clock_of_the_server() -> None:
    """A clock that is wrong here does not matter where the server tells the time."""
    date, now = formatdate(100, usegmt=True), formatdate(90, usegmt=True)
    assert seconds_until(date, {"Date": now}, NOW_S) == 10
    assert seconds_until(date, {}, 70) == 30
    assert seconds_until("nonsense", {"Date": now}, 70) is None


def test_a_redirect_to_a_private_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server of the internet has nothing at a private address: what is there is not its to talk to."""
    monkeypatch.setattr(whep, "is_private", lambda host: host == "127.0.0.2")

    async def scenario() -> None:
        async with Server(answers(307, Location="http://127.0.0.2:1/whep?key=s3cret-key")) as server:
            async with Clock().session(server.url) as session:
                with pytest.raises(SourceError, match="a private address, which is refused") as caught:
                    await session.offer(OFFER)
            assert "s3cret-key" not in checked(str(caught.value))
            assert len(server.requests) == 1

    run_clean(scenario())


def test_a_location_at_a_private_address_is_not_used(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The same goes for where the session is said to be."""
    monkeypatch.setattr(whep, "is_private", lambda host: host == "127.0.0.2")

    async def scenario() -> None:
        async with Server(answers(201, ANSWER, Location="http://127.0.0.2:1/s")) as server:
            async with Clock().session(server.url) as session:
                await session.offer(OFFER)
            assert len(server.requests) == 1

    with caplog.at_level(logging.WARNING, "vision"):
        run_clean(scenario())
    assert "cannot be released" in caplog.text


def test_a_private_server_may_redirect_to_another() -> None:
    """Who is asked inside may send us on inside."""

    async def scenario() -> None:
        async with Server(good()) as other, Server(answers(308, Location=f"{other.url}/whep")) as server:
            async with Clock().session(server.url) as session:
                assert (await session.offer(OFFER)).type == "answer"
            assert [request.method for request in other.requests] == ["POST", "DELETE"]

    run_clean(scenario())
