"""The connector `whep`, its HTTP side: what servers may do, and that the viewer's slot is always given back."""

from __future__ import annotations

import asyncio
import logging

import pytest
from pydantic import ValidationError

from tests.connectors.sender import Sender, pictures, sound
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
    talks_garbage,
)
from tests.connectors.support import TOKEN, Collector, made, refused, run_clean
from vision.connectors import whep
from vision.connectors.whep import WhepConnector, WhepOptions, session_url
from vision.errors import SourceError

LOCATION = "/whep/session/1/viewer/2"
POSTED = "http://media.example/avatar/whep/session/1"


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deadlines as short as a local server allows."""
    monkeypatch.setattr(whep, "_POST_S", 1.0)
    monkeypatch.setattr(whep, "_LATE_S", 1.0)
    monkeypatch.setattr(whep, "_DELETE_S", 0.5)
    monkeypatch.setattr(whep, "_BETWEEN_S", 0.01)


def message_of(behaviour: Behaviour, **options: object) -> tuple[str, list[Request]]:
    """What a run says of such a server, and what the server saw."""

    async def scenario() -> tuple[str, list[Request]]:
        async with Server(behaviour) as server:
            options.setdefault("url", f"{server.url}/whep?key=s3cret-key")
            options.setdefault("token", TOKEN)
            message = await refused(made(WhepConnector, **options))
            assert "s3cret-key" not in message
            return message, server.requests

    return run_clean(scenario())


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (400, "cannot use the offer"),
        (401, "token is missing or not accepted"),
        (403, "token is missing or not accepted"),
        (404, "no such stream"),
        (405, "no WHEP endpoint"),
        (406, "cannot use the offer"),
        (409, "already has a viewer"),
        (415, "does not take application/sdp"),
        (418, "refused"),
        (429, "too many requests"),
        (500, "the server failed"),
        (503, "overloaded"),
    ],
)
def test_a_refusal_says_what_it_means(status: int, words: str) -> None:
    """Every error status is one line with its meaning and the server's own words; nothing is there to release."""
    body = f"sorry,\n\x1b[31m no {TOKEN} and no s3cret-key"
    message, seen = message_of(answers(status, body))
    assert f": {status}: " in message
    assert words in message
    assert "it says: sorry, [31m no *** and no ***" in message
    tries = 3 if status in (409, 429, 500, 503) else 1
    assert [request.method for request in seen] == ["POST"] * tries


def test_the_post_is_as_the_draft_has_it() -> None:
    """One POST of application/sdp with an offer to receive, and the token as bearer."""
    _, (post,) = message_of(answers(404))
    assert post.target == "/whep?key=s3cret-key"
    assert post.headers["content-type"] == "application/sdp"
    assert post.headers["authorization"] == f"Bearer {TOKEN}"
    assert post.body.startswith("v=0")
    assert post.body.count("a=recvonly") == 2
    assert "a=candidate:" in post.body


@pytest.mark.parametrize("target", ["/whep/a%2Fb?x=%41&y=a+b", "/", "/a//b/", "/rtc/v1/whep/?app=live&stream=1"])
def test_the_url_is_used_as_it_is_given(target: str) -> None:
    """Nothing of path and query is changed on the way to the server: a signature may hang on it."""

    async def scenario() -> None:
        async with Server(answers(404)) as server:
            await refused(made(WhepConnector, url=f"{server.url}{target}"))
            assert server.requests[0].target == target

    run_clean(scenario())


def test_without_a_token_no_authorization_is_sent() -> None:
    """The draft forbids the header where no token is configured."""
    _, (post, delete) = message_of(answers(201, "no sdp", Location=LOCATION), token=None)
    assert "authorization" not in post.headers
    assert "authorization" not in delete.headers


def test_a_token_goes_before_the_user_in_the_url() -> None:
    """A user and password in the URL do not replace the token that is given, and are not shown."""

    async def scenario() -> None:
        async with Server(answers(404)) as server:
            url = f"http://user:passw0rd@127.0.0.1:{server.port}/whep"
            message = await refused(made(WhepConnector, url=url, token=TOKEN))
            assert "passw0rd" not in message
            assert server.requests[0].headers["authorization"] == f"Bearer {TOKEN}"

    run_clean(scenario())


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        (closes, "cannot be reached"),
        (talks_garbage, "cannot be reached"),
        (never_answers, "no complete answer within 1 s"),
    ],
)
def test_a_server_that_gives_no_answer(behaviour: Behaviour, words: str) -> None:
    """A server that hangs up, talks something else or says nothing is one line, in time."""
    message, _ = message_of(behaviour)
    assert words in message


def test_nobody_listens() -> None:
    """A refused connection says so."""

    async def scenario() -> str:
        async with Server(closes) as server:
            url = server.url
        return await refused(made(WhepConnector, url=url, token=TOKEN))

    message = run_clean(scenario())
    assert "Connection refused" in message


def test_tls_to_a_plain_port() -> None:
    """https to a server that speaks http is one line."""

    async def scenario() -> str:
        async with Server(answers(200)) as server:
            return await refused(made(WhepConnector, url=server.url.replace("http:", "https:"), token=TOKEN))

    assert "cannot be reached" in run_clean(scenario())


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        (answers(201, "", Location=LOCATION), "answered 201 without an SDP answer"),
        (answers(200, "<html>hello</html>", Location=LOCATION), "answered 200 without an SDP answer"),
        (answers(201, "v=0\r\nm=nonsense", Location=LOCATION), "SDP answer cannot be used"),
        (answers(201, "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\na=fingerprint:x\r\n", Location=LOCATION), "cannot be used"),
        (endless(b"HTTP/1.1 201 Created\r\nLocation: " + LOCATION.encode() + b"\r\n\r\n"), "answered more than"),
        (breaks_off(LOCATION), "cannot be reached"),
    ],
)
def test_an_answer_that_cannot_be_used_is_released(behaviour: Behaviour, words: str) -> None:
    """A server that says 201 holds a slot, whatever its answer is like: it is given back, once."""
    message, seen = message_of(behaviour)
    assert words in message
    assert [request.method for request in seen] == ["POST", "DELETE"]
    assert seen[1].target == LOCATION
    assert seen[1].headers["authorization"] == f"Bearer {TOKEN}"


def test_an_endless_refusal() -> None:
    """The body of an error is bounded too."""
    message, _ = message_of(endless(b"HTTP/1.1 500 Oh\r\n\r\n"))
    assert "answered more than" in message


@pytest.mark.parametrize("location", ["", "file:///etc/passwd", "http://[bad/viewer/2"])
def test_a_location_that_is_no_url(location: str, caplog: pytest.LogCaptureFixture) -> None:
    """A 201 whose Location cannot be used costs the release, and a warning, but no traceback."""
    message, seen = message_of(answers(201, "no sdp", Location=location))
    assert "without an SDP answer" in message
    assert [request.method for request in seen] == ["POST"]
    assert "cannot be released" in caplog.text


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_on_the_same_host_keeps_the_token(status: int) -> None:
    """The POST is sent again, whole, with its token; relative Locations are joined to the last URL."""

    async def behave(request: Request, writer: asyncio.StreamWriter) -> None:
        moved = request.target != "/other/whep"
        location = "/other/whep" if moved else "session/7"
        writer.write(reply(status if moved and request.method == "POST" else 201, "no sdp", Location=location))

    _, seen = message_of(behave)
    assert [(request.method, request.target) for request in seen[1:]] == [
        ("POST", "/other/whep"),
        ("DELETE", "/other/session/7"),
    ]
    assert seen[1].body == seen[0].body
    assert all(request.headers["authorization"] == f"Bearer {TOKEN}" for request in seen)


def test_a_redirect_to_another_host_drops_the_token() -> None:
    """A token is for the host it was given for: neither POST nor DELETE carries it to another."""

    async def scenario() -> None:
        async with Server(answers(201, "no sdp", Location=LOCATION)) as other:
            async with Server(answers(307, Location=f"{other.url}/whep")) as first:
                await refused(made(WhepConnector, url=first.url, token=TOKEN))
            assert [request.method for request in other.requests] == ["POST", "DELETE"]
            assert not any("authorization" in request.headers for request in other.requests)

    run_clean(scenario())


def test_a_session_at_another_host_is_released_without_the_token() -> None:
    """A Location may lead anywhere; what is there is asked to end the session, but is not told the token."""

    async def scenario() -> None:
        async with Server(answers(200)) as other, Server(answers(201, "no sdp", Location=f"{other.url}/s/1")) as first:
            await refused(made(WhepConnector, url=first.url, token=TOKEN))
            assert "authorization" in first.requests[0].headers
            (delete,) = other.requests
            assert (delete.method, delete.target) == ("DELETE", "/s/1")
            assert "authorization" not in delete.headers

    run_clean(scenario())


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/", "http://[bad", "javascript:alert(1)"])
def test_a_redirect_to_something_else_is_refused(target: str) -> None:
    """Only HTTP is followed."""
    message, seen = message_of(answers(307, Location=target))
    assert "no HTTP URL" in message or "cannot be reached" in message  # some of them stop httpx already
    assert len(seen) == 1


def test_a_redirect_loop_ends() -> None:
    """Five redirects are followed, then it is an error."""
    message, seen = message_of(answers(308, Location="/whep"))
    assert "redirected more than 5 times" in message
    assert len(seen) == 6


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("https://other.example/s/1", "https://other.example/s/1"),
        ("//other.example/whep/session/1/viewer/2", "http://other.example/whep/session/1/viewer/2"),
        ("/whep/session/1/viewer/2", f"{POSTED}/viewer/2"),
        ("/whep/session/1/viewer/2?a=b", f"{POSTED}/viewer/2?a=b"),
        ("/avatar/whep/session/1/viewer/2", f"{POSTED}/viewer/2"),
        ("/elsewhere/7/viewer/2", "http://media.example/elsewhere/7/viewer/2"),
        ("/whep/resource/9", "http://media.example/whep/resource/9"),
        ("1/viewer/2", "http://media.example/avatar/whep/session/1/viewer/2"),
        ("../resource/9?t=1", "http://media.example/avatar/whep/resource/9?t=1"),
        ("?viewer=2", f"{POSTED}?viewer=2"),
        ("", None),
        ("file:///x", None),
        ("http://[x", None),
    ],
)
def test_session_url(location: str, expected: str | None) -> None:
    """Absolute, relative and path-absolute Locations, with and without the prefix of the posted URL."""
    assert session_url(POSTED, location) == expected
    assert session_url(f"{POSTED}?q=1", location) == expected


def connector(server: Server, **options: object) -> WhepConnector:
    """The connector to a local server."""
    made_of_it = made(WhepConnector, url=f"{server.url}/whep/session/1", **options)
    assert isinstance(made_of_it, WhepConnector)
    return made_of_it


def test_released_once_at_the_normal_end() -> None:
    """A stream that its sender closes ends with its slot given back."""

    async def scenario() -> None:
        sender = Sender([pictures(0.5), sound(0.5)], closes_after=True)
        async with Server(sender) as server:
            assert await connector(server).stream(Collector()) == "closed by the sender"
            assert len(server.sent("DELETE")) == 1

    run_clean(scenario())


def test_released_once_when_cancelled_while_streaming() -> None:
    """Ctrl-C in the middle of the stream gives the slot back."""

    async def scenario() -> None:
        sender, intake = Sender([pictures(), sound()]), Collector()
        async with Server(sender) as server:
            streaming = asyncio.create_task(connector(server).stream(intake))
            await intake.begun.wait()
            streaming.cancel()
            await asyncio.wait([streaming])
            assert streaming.cancelled()
            assert len(server.sent("DELETE")) == 1

    run_clean(scenario())


def test_released_once_when_cancelled_while_connecting() -> None:
    """Ctrl-C between the answer and the first packet gives the slot back."""

    async def scenario() -> None:
        sender = Sender([pictures()], dead=True)
        async with Server(sender) as server:
            streaming = asyncio.create_task(connector(server).stream(Collector()))
            await sender.answered.wait()
            await asyncio.sleep(0.05)
            streaming.cancel()
            await asyncio.wait([streaming])
            assert streaming.cancelled()
            assert len(server.sent("DELETE")) == 1

    run_clean(scenario())


@pytest.mark.parametrize("cancels", [1, 3])
def test_released_once_when_cancelled_during_the_post(cancels: int) -> None:
    """A server that answers after Ctrl-C has opened a slot: it is waited for, and given back, however impatient."""

    async def scenario() -> None:
        sender = Sender([pictures()], dead=True)
        sender.delay_s = 0.4
        async with Server(sender) as server:
            streaming = asyncio.create_task(connector(server).stream(Collector()))
            await server.asked.wait()
            for _ in range(cancels):
                streaming.cancel()
                await asyncio.sleep(0.05)
            await asyncio.wait([streaming])
            assert streaming.cancelled()
            assert [request.method for request in server.requests] == ["POST", "DELETE"]

    run_clean(scenario())


def test_cancelled_during_a_post_that_is_never_answered() -> None:
    """A server that says nothing does not hold the run for longer than its deadline."""

    async def scenario() -> None:
        async with Server(never_answers) as server:
            streaming = asyncio.create_task(connector(server).stream(Collector()))
            await server.asked.wait()
            streaming.cancel()
            async with asyncio.timeout(2):
                await asyncio.wait([streaming])
            assert not server.sent("DELETE")

    run_clean(scenario())


def test_cancelled_while_gathering() -> None:
    """Ctrl-C before the offer is out leaves nothing behind."""

    async def scenario() -> None:
        async with Server(never_answers) as server:
            for step in range(6):
                streaming = asyncio.create_task(connector(server).stream(Collector()))
                for _ in range(step):
                    await asyncio.sleep(0)
                streaming.cancel()
                await asyncio.wait([streaming])
                assert streaming.cancelled()

    run_clean(scenario())


def test_media_that_never_connect() -> None:
    """An answer behind which nobody is ends at the deadline, and gives the slot back."""

    async def scenario() -> None:
        async with Server(Sender([pictures()], dead=True)) as server:
            message = await refused(connector(server, connect_timeout_s=0.5))
            assert "no connection within 0.5 s" in message
            assert len(server.sent("DELETE")) == 1

    run_clean(scenario())


@pytest.mark.parametrize("behaviour", [never_answers, closes, answers(500), talks_garbage])
def test_a_release_that_fails_is_a_warning(behaviour: Behaviour, caplog: pytest.LogCaptureFixture) -> None:
    """A DELETE that is not answered, or refused, ends at its deadline and does not hide why the stream ended."""

    async def behave(request: Request, writer: asyncio.StreamWriter) -> None:
        if request.method == "DELETE":
            await behaviour(Request("OTHER", "", {}, ""), writer)
        else:
            await answers(201, "no sdp", Location=LOCATION)(request, writer)

    message, seen = message_of(behave)
    assert "without an SDP answer" in message
    assert len(seen) == 2
    assert "not released" in caplog.text
    assert TOKEN not in caplog.text


@pytest.mark.parametrize("status", [404, 405, 501])
def test_nothing_to_release_is_no_warning(status: int, caplog: pytest.LogCaptureFixture) -> None:
    """A session that is gone already, or cannot be deleted, is nobody's fault."""

    async def behave(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(reply(status if request.method == "DELETE" else 201, "no sdp", Location=LOCATION))

    with caplog.at_level(logging.WARNING):
        message_of(behave)
    assert not caplog.records


@pytest.mark.parametrize("token", ["two words", "with\nend", "tökén"])
def test_a_token_that_no_header_carries_is_refused(token: str) -> None:
    """Such a token is a mistake of the configuration, and is not shown where pydantic shows values."""
    with pytest.raises(ValidationError, match="token"):
        WhepOptions.model_validate({"url": "http://127.0.0.1/", "token": token})


def test_relay_needs_a_turn_server() -> None:
    """Relay without a TURN server can only fail: it is refused before anything is tried."""
    options = {"url": "http://127.0.0.1/", "ice_transport_policy": "relay"}
    with pytest.raises(ValidationError, match="needs a TURN server"):
        WhepOptions.model_validate(options | {"ice_servers": [{"urls": ["stun:127.0.0.1"]}]})
    WhepOptions.model_validate(options | {"ice_servers": [{"urls": ["turn:127.0.0.1"]}]})


@pytest.mark.parametrize(
    "url", ["turn.example.com", "turn:::1:80", "http://turn.example.com", "turn:h:80?transport=x", "turn:u@h:80"]
)
def test_an_ice_url_that_cannot_be_used_is_refused(url: str) -> None:
    """What aiortc would trip over is an error of the configuration."""
    with pytest.raises(ValidationError, match="not stun:HOST"):
        WhepOptions.model_validate({"url": "http://127.0.0.1/", "ice_servers": [{"urls": [url]}]})


def test_proxies_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy is not asked for this machine; a proxy setting that cannot be used is one line."""
    monkeypatch.setenv("HTTP_PROXY", "nonsense://user:passw0rd@proxy.example")
    message_of(answers(404))
    with pytest.raises(SourceError, match="proxy") as caught:
        run_clean(made(WhepConnector, url="http://media.example/whep").stream(Collector()))
    assert "passw0rd" not in str(caught.value)
