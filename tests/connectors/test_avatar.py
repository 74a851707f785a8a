"""The connector `avatar` and the session API: the vendor's contract, to the letter."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from tests.connectors.sender import Sender, pictures, sound
from tests.connectors.server import (
    Behaviour,
    Request,
    Server,
    answers,
    answers_json,
    breaks_off,
    closes,
    endless,
    never_answers,
    reply,
    talks_garbage,
)
from tests.connectors.support import TOKEN, Collector, checked, made, refused, run_clean
from vision.connectors import session_api
from vision.connectors.avatar import AvatarConnector, AvatarOptions
from vision.connectors.session_api import SessionApi
from vision.errors import SourceError

SESSION = "65f0c0ffee0123456789abcd"
TURN = {"url": "turn.example.com", "credential": "turn-s3cret", "username": "turn-user"}
GOOD = {"success": True, "whepUrl": "http://127.0.0.1:9/whep/session/1", "turn": TURN}


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A deadline as short as a local server allows."""
    monkeypatch.setattr(session_api, "_REQUEST_S", 1.0)


def message_of(behaviour: Behaviour) -> tuple[str, list[Request]]:
    """What a run says of such an API, and what the API saw."""

    async def scenario() -> tuple[str, list[Request]]:
        async with Server(behaviour) as server:
            source = made(AvatarConnector, base_url=f"{server.url}/", session_id=SESSION, token=TOKEN)
            message = await refused(source)
            assert "turn-s3cret" not in message
            return message, server.requests

    return run_clean(scenario())


def test_init_client_is_the_contract_to_the_letter() -> None:
    """POST to the session's path with the bearer token and the body {}; ICE servers as the vendor builds them."""

    async def scenario() -> None:
        async with Server(answers_json(200, GOOD)) as server, SessionApi(server.url) as api:
            setup = await api.init_client(SESSION, SecretStr(TOKEN))
            (request,) = server.requests
        assert request.method == "POST"
        assert request.target == f"/v1/avatar-session/{SESSION}/init-client"
        assert request.headers["authorization"] == f"Bearer {TOKEN}"
        assert request.headers["content-type"] == "application/json"
        assert request.body == "{}"
        assert setup.whepUrl == GOOD["whepUrl"]
        ice = setup.turn.ice_server()
        assert ice.urls == [
            "turn:turn.example.com:80?transport=udp",
            "turn:turn.example.com:443?transport=udp",
            "turn:turn.example.com:80?transport=tcp",
        ]
        assert ice.username == "turn-user"
        assert ice.credential is not None
        assert ice.credential.get_secret_value() == "turn-s3cret"
        assert "turn-s3cret" not in repr(setup)

    run_clean(scenario())


def test_the_default_address_is_the_vendors() -> None:
    """Without a base_url it is the one of the contract."""
    options = AvatarOptions.model_validate({"session_id": SESSION, "token": TOKEN})
    assert str(options.base_url).rstrip("/") == "https://api.avatar.us.kaltura.ai"


def test_a_base_url_with_a_path_keeps_it() -> None:
    """A service behind a prefix is reached behind it."""

    async def scenario() -> None:
        async with Server(answers(404)) as server:
            url = f"{server.url}/proxy/"
            await refused(made(AvatarConnector, base_url=url, session_id=SESSION, token=TOKEN))
            assert server.requests[0].target == f"/proxy/v1/avatar-session/{SESSION}/init-client"

    run_clean(scenario())


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (401, "Invalid or expired token", "the token is invalid or has expired"),
        (404, "Session not found", "there is no such session"),
        (410, "Session ended", "the session has ended"),
        (500, "Oh", "the service failed"),
        (302, "Moved", "refused"),
        (400, "Bad", "refused"),
    ],
)
def test_errors_of_the_contract(status: int, error: str, words: str) -> None:
    """Each error is one line with what it means, what to do, and the service's own word; the status is 3."""
    message, seen = message_of(answers_json(status, {"success": False, "error": error}))
    assert f": {status}: " in message
    assert words in message
    assert f"it says: {error}" in message
    assert len(seen) == 1
    assert SourceError.exit_status == 3


def test_what_the_service_echoes_is_not_shown() -> None:
    """A service that repeats the token, or sends control characters, does not get them into the message."""
    message, _ = message_of(answers_json(401, {"error": f"no \x1b[2J {TOKEN}\nsorry"}))
    assert "it says: no [2J *** sorry" in message


@pytest.mark.parametrize(
    "body",
    [
        "<html>502</html>",
        "",
        "[]",
        "null",
        "{",
        "[" * 100_000,
        json.dumps({**GOOD, "success": False}),
        json.dumps({**GOOD, "success": "true"}),
        json.dumps({key: value for key, value in GOOD.items() if key != "success"}),
    ],
)
def test_an_answer_that_is_no_success(body: str) -> None:
    """Whatever is not JSON with success: true is one line."""
    message, _ = message_of(answers(200, body))
    assert "answered without success: true" in message


def without(*path: str) -> dict[str, Any]:
    """The good answer, but for one field."""
    answer: dict[str, Any] = json.loads(json.dumps(GOOD))
    inner = answer
    for key in path[:-1]:
        inner = inner[key]
    del inner[path[-1]]
    return answer


@pytest.mark.parametrize(
    ("answer", "field"),
    [
        (without("whepUrl"), "whepUrl"),
        (without("turn"), "turn"),
        (without("turn", "url"), "turn.url"),
        (without("turn", "credential"), "turn.credential"),
        (without("turn", "username"), "turn.username"),
        ({**GOOD, "whepUrl": 7}, "whepUrl"),
        ({**GOOD, "whepUrl": "file:///etc/passwd"}, "whepUrl"),
        ({**GOOD, "whepUrl": "http://[bad"}, "whepUrl"),
        ({**GOOD, "turn": {**TURN, "url": "turn:turn.example.com:80"}}, "turn.url"),
        ({**GOOD, "turn": {**TURN, "url": ""}}, "turn.url"),
    ],
)
def test_an_answer_that_lacks_something(answer: object, field: str) -> None:
    """A missing or unusable field is named."""
    message, _ = message_of(answers_json(200, answer))
    assert f"the answer lacks a usable '{field}'" in message


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        (never_answers, "no complete answer within 1 s"),
        (closes, "cannot be reached"),
        (talks_garbage, "cannot be reached"),
        (breaks_off("/"), "cannot be reached"),
        (endless(b"HTTP/1.1 200 OK\r\n\r\n"), "answered more than"),
    ],
)
def test_a_service_that_misbehaves(behaviour: Behaviour, words: str) -> None:
    """Silence, hanging up, noise and bodies without an end are one line each, in time."""
    message, _ = message_of(behaviour)
    assert words in message


@pytest.mark.parametrize("session_id", ["", "a/b", "../x", "..", ".", "a b", "a?b", "a#b", "a%2fb", "a\n"])
def test_a_session_id_that_is_no_part_of_a_path_is_refused(session_id: str) -> None:
    """Nothing that leads to another path of the API is taken for a session."""
    with pytest.raises(ValidationError, match="session_id"):
        AvatarOptions.model_validate({"session_id": session_id, "token": TOKEN})


@pytest.mark.parametrize("session_id", ["a", "65f0c0ffee", "a.b", ".a", "..a", "_x-~"])
def test_ordinary_session_ids_are_taken(session_id: str) -> None:
    """Whatever fits into one part of a path is the vendor's business."""
    AvatarOptions.model_validate({"session_id": session_id, "token": TOKEN})


@pytest.mark.parametrize("url", ["ftp://x", "nonsense", "https://x/?a=b", "https://x/#a"])
def test_a_base_url_that_cannot_be_used_is_refused(url: str) -> None:
    """Paths are put behind the base: it is HTTP, without query and fragment."""
    with pytest.raises(ValidationError, match="base_url"):
        AvatarOptions.model_validate({"base_url": url, "session_id": SESSION, "token": TOKEN})


def test_the_token_is_not_in_what_is_printed() -> None:
    """Neither the options nor their dump show the token."""
    options = AvatarOptions.model_validate({"session_id": SESSION, "token": TOKEN})
    assert TOKEN not in f"{options!r} {options.model_dump(mode='json')}"


def test_the_whole_way() -> None:
    """From the session API to the media: one init-client, a WHEP POST without Authorization, one DELETE."""
    sender = Sender([], closes_after=True)

    async def behave(request: Request, writer: asyncio.StreamWriter) -> None:
        if request.target.endswith("/init-client"):
            answer = {**GOOD, "whepUrl": f"{server.url}/avatar/whep/session/1", "turn": {**TURN, "url": "127.0.0.1"}}
            writer.write(reply(200, json.dumps(answer)))
        else:
            await sender(request, writer)

    server = Server(behave)

    async def scenario() -> None:
        sender.tracks = [pictures(0.5), sound(0.5)]
        intake = Collector()
        async with server:
            source = made(AvatarConnector, base_url=server.url, session_id=SESSION, token=TOKEN)
            assert await source.stream(intake) == "closed by the sender"
        init, post, delete = server.requests
        assert init.headers["authorization"] == f"Bearer {TOKEN}"
        assert "authorization" not in post.headers
        assert post.headers["content-type"] == "application/sdp"
        assert delete.target == "/avatar/whep/session/1/viewer/2"
        assert "authorization" not in delete.headers
        assert intake.pictures

    run_clean(scenario())


def test_create_and_end() -> None:
    """The two other calls: create with the admin's KS and a visual, end with the session's token."""

    async def behave(request: Request, writer: asyncio.StreamWriter) -> None:
        created = {"success": True, "sessionId": SESSION, "token": TOKEN}
        writer.write(reply(200, json.dumps(created if request.target.endswith("/create") else {"success": True})))

    async def scenario() -> None:
        async with Server(behave) as server, SessionApi(server.url) as api:
            session = await api.create(SecretStr("admin-ks"), "24hex")
            assert session.sessionId == SESSION
            await api.end(session.sessionId, session.token)
            create, end = server.requests
        assert create.headers["authorization"] == "KS admin-ks"
        assert json.loads(create.body) == {"visualConfig": {"id": "24hex"}}
        assert end.target == f"/v1/avatar-session/{SESSION}/end"
        assert end.headers["authorization"] == f"Bearer {TOKEN}"
        assert end.body == "{}"

    run_clean(scenario())


def test_the_end_of_a_session_does_not_take_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that does not answer `end` holds nobody up: it has a deadline of its own."""
    monkeypatch.setattr(session_api, "_REQUEST_S", 60.0)
    monkeypatch.setattr(session_api, "_END_S", 0.2)

    async def scenario() -> None:
        async with Server(never_answers) as server, SessionApi(server.url) as api:
            with pytest.raises(SourceError, match=r"no complete answer within 0\.2 s"):
                await api.end(SESSION, SecretStr(TOKEN))

    run_clean(scenario(), limit_s=3)


def test_a_created_token_that_no_header_carries() -> None:
    """A service that hands out nonsense as a token is told so, without showing it."""

    async def scenario() -> str:
        answer = {"success": True, "sessionId": SESSION, "token": "a\nb"}
        async with Server(answers_json(200, answer)) as server, SessionApi(server.url) as api:
            with pytest.raises(SourceError) as caught:
                await api.create(SecretStr("admin-ks"), "24hex")
            return checked(str(caught.value))

    assert "'token'" in run_clean(scenario())
