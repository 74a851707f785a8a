"""The connector `avatar` and the session API: the vendor's contract, to the letter."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from tests.connectors.failing import SESSION, Failing, Plays, Refuses, Service
from tests.connectors.hurried import run_hurried
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
from tests.connectors.support import TOKEN, Collector, checked, made, refused, run_clean, until
from vision.connectors import avatar, session_api
from vision.connectors.avatar import (
    AvatarConnector,
    AvatarOptions,
    Given,
    Own,
    SessionOptions,
    watch_session,
)
from vision.connectors.recovery import RefusedError
from vision.connectors.session_api import ClientSetup, CreatedSession, SessionApi, expiry_of
from vision.connectors.simulator import SimulatorOptions
from vision.errors import SourceError

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
            "turns:turn.example.com:443?transport=tcp",
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
    """From the session API to the media: one init-client, a WHEP POST without Authorization, one DELETE, no `end`."""

    async def scenario() -> None:
        service = Service(Failing(Plays(0.5, "closes"), Refuses(404)))
        intake = Collector()
        async with service.server as server:
            source = made(AvatarConnector, base_url=server.url, session_id=SESSION, token=TOKEN)
            assert await source.stream(intake) == "closed by the sender"
        init, post, delete = service.server.requests[:3]
        assert init.headers["authorization"] == f"Bearer {TOKEN}"
        assert "authorization" not in post.headers
        assert post.headers["content-type"] == "application/sdp"
        assert delete.target == "/whep/session/1/viewer/1"
        assert "authorization" not in delete.headers
        assert service.calls["create"] == service.calls["end"] == 0
        assert intake.pictures

    run_clean(scenario())


def test_a_session_of_its_own() -> None:
    """With `admin_ks` and `visual_id` a session is created, watched with its own token, and ended."""

    async def scenario() -> None:
        service = Service(Failing(Plays(0.5, "closes"), Refuses(404)))
        async with service.server as server:
            source = made(AvatarConnector, base_url=server.url, admin_ks=TOKEN, visual_id="24hex")
            assert await source.stream(Collector()) == "closed by the sender"
        create, init, *_, end = service.server.requests
        assert create.headers["authorization"] == f"KS {TOKEN}"
        assert json.loads(create.body) == {"visualConfig": {"id": "24hex"}}
        assert init.headers["authorization"] == end.headers["authorization"] == "Bearer t.o.ken"
        assert end.target.endswith(f"/{SESSION}1/end")
        assert service.calls["end"] == 1

    run_clean(scenario())


@pytest.mark.parametrize("where", ["creating", "asking", "streaming"])
def test_a_session_of_its_own_is_ended_on_every_way_out(where: str) -> None:
    """Interrupted while `create` is under way, before the media, and while they come: it is ended, once."""

    async def scenario() -> None:
        service = Service(Failing(Plays()))
        service.delays = {"creating": {"create": 0.3}, "asking": {"init-client": 0.3}}.get(where, {})
        intake = Collector()
        async with service.server as server:
            source = made(AvatarConnector, base_url=server.url, admin_ks=TOKEN, visual_id="24hex")
            streaming = asyncio.create_task(source.stream(intake))
            if where == "streaming":
                await intake.begun.wait()
            else:
                operation = "create" if where == "creating" else "init-client"
                await until(lambda: service.calls[operation])
            streaming.cancel()
            with pytest.raises(asyncio.CancelledError):
                await streaming
        assert service.calls["create"] == service.calls["end"] == 1
        assert service.whep.deleted == service.whep.opened

    run_clean(scenario())


def test_a_session_of_its_own_that_cannot_be_opened_is_ended() -> None:
    """It exists, though its media do not."""

    async def scenario() -> None:
        service = Service(Failing(Plays()))
        service.refusals["init-client"] = 500
        async with service.server as server:
            message = await refused(made(AvatarConnector, base_url=server.url, admin_ks=TOKEN, visual_id="24hex"))
        assert "the service failed" in message
        assert service.calls["end"] == 1

    run_clean(scenario())


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"session_id": SESSION},
        {"token": TOKEN},
        {"session_id": "", "token": TOKEN},
        {"admin_ks": TOKEN},
        {"visual_id": "24hex"},
        {"session_id": SESSION, "visual_id": "24hex"},
        {"session_id": SESSION, "token": TOKEN, "visual_id": "24hex"},
        {"session_id": SESSION, "token": TOKEN, "admin_ks": TOKEN, "visual_id": "24hex"},
    ],
)
def test_one_way_to_a_session(given: dict[str, str]) -> None:
    """Exactly one of both pairs; the message has both, and what was given instead."""
    with pytest.raises(ValidationError, match=r"either session_id and token .* or admin_ks and visual_id") as caught:
        AvatarOptions.model_validate(given)
    assert (", ".join(name for name in given if given[name]) or "none of them") in str(caught.value)


def test_empty_is_not_given() -> None:
    """One file with `${NAME:-}` serves both ways."""
    nothing = {"session_id": "", "token": ""}
    options = AvatarOptions.model_validate({**nothing, "admin_ks": TOKEN, "visual_id": "24hex"})
    assert options.session_id is None
    assert options.token is None


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


PRIVATE = "http://10.1.2.3/whep/session/1"


def test_media_at_a_private_address_are_refused() -> None:
    """A service that is not at one itself has no business there: one line, and nothing is sent to it."""

    async def scenario() -> None:
        async with Server(answers_json(200, {**GOOD, "whepUrl": PRIVATE})) as server:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(avatar, "is_private", lambda host: host == "10.1.2.3")  # the server is at a public one
                message = await refused(made(AvatarConnector, base_url=server.url, session_id=SESSION, token=TOKEN))
            assert message == (
                "avatar: the session's media are at a private address (10.1.2.3), which a public service does not"
                " have; if it is right, allow it (source.allow_private: true)"
            )

    run_clean(scenario())


@pytest.mark.parametrize("public", [True, False])
def test_media_at_a_private_address_are_followed_where_they_may_be(public: bool) -> None:
    """`allow_private` allows it, and so does a service that is at a private address itself."""

    async def scenario() -> None:
        service = Service(Failing(Refuses(400)))
        async with service.server as server:
            with pytest.MonkeyPatch.context() as patch:
                if public:
                    hosts = iter([False])  # of base_url; nothing else is to be asked
                    patch.setattr(avatar, "is_private", lambda host: next(hosts, True))
                source = made(
                    AvatarConnector, base_url=server.url, session_id=SESSION, token=TOKEN, allow_private=public
                )
                assert "400" in await refused(source)
        assert service.whep.posts == 1

    run_clean(scenario())


def jwt(claims: object) -> str:
    """A token that nobody has signed."""
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in ({}, claims)]
    return ".".join([*parts, "signature"])


@pytest.mark.parametrize(
    ("token", "expiry_s"),
    [
        (jwt({"exp": 1_700_000_000}), 1_700_000_000.0),
        (jwt({"exp": 1_700_000_000.5, "sub": "ä"}), 1_700_000_000.5),
        (jwt({}), None),
        (jwt({"exp": "soon"}), None),
        (jwt({"exp": True}), None),
        (jwt({"exp": 10**400}), None),
        (jwt({"exp": float("inf")}), None),
        (jwt([1]), None),
        (f"x.{'[' * 5}.y", None),
        ("a.bcd.e", None),
        ("no-jwt", None),
        ("", None),
        ("..", None),
        ("a.ä.c", None),
    ],
)
def test_when_a_token_expires(token: str, expiry_s: float | None) -> None:
    """What its `exp` says, and nothing where it says nothing."""
    assert expiry_of(token) == expiry_s


@pytest.mark.parametrize(
    ("age_s", "words"),
    [
        (30, "the token expired 30 s ago; make a new one (source.token)"),
        (7_300, "the token expired 2 h ago"),
        (100_000, "the token expired 1 day ago"),
        (300_000, "the token expired 3 days ago"),
        (-60, "the token is invalid or has expired"),
    ],
)
def test_a_token_that_has_expired_is_said_to_have(age_s: float, words: str) -> None:
    """Refused with 401, its own expiry says why; the token is not in the message."""
    token = jwt({"exp": 1_700_000_000})

    async def scenario() -> None:
        async with (
            Server(answers_json(401, {"success": False, "error": f"no {token}"})) as server,
            SessionApi(server.url, now=lambda: 1_700_000_000 + age_s) as api,
        ):
            with pytest.raises(RefusedError, match=re.escape(words)) as caught:
                await api.init_client(SESSION, SecretStr(token))
        assert caught.value.status == 401
        assert token not in checked(str(caught.value))

    run_clean(scenario())


def test_an_admin_token_that_is_refused() -> None:
    """The message names the option that is wrong."""

    async def scenario() -> None:
        async with Server(answers_json(401, {"success": False})) as server:
            message = await refused(made(AvatarConnector, base_url=server.url, admin_ks=TOKEN, visual_id="24hex"))
            assert "the admin KS is invalid or has expired; make a new one (source.admin_ks)" in message

    run_clean(scenario())


class Told:
    """A session API in memory, so that time may jump: what is asked of it, and what it answers to keep-alive."""

    def __init__(self, *failures: SourceError | None) -> None:
        self.failures = iter(failures)
        self.asked: list[tuple[str, float]] = []

    def _ask(self, operation: str) -> None:
        self.asked.append((operation, asyncio.get_running_loop().time()))

    async def create(self, admin_ks: SecretStr, visual_id: str) -> CreatedSession:
        """A session."""
        self._ask("create")
        return CreatedSession(sessionId=SESSION, token=SecretStr(TOKEN))

    async def init_client(self, session_id: str, token: SecretStr) -> ClientSetup:
        """Where the media are."""
        self._ask("init-client")
        return ClientSetup.model_validate(GOOD)

    async def keep_alive(self, session_id: str, token: SecretStr) -> None:
        """As told."""
        self._ask("keep-alive")
        if failure := next(self.failures, None):
            raise failure

    async def end(self, session_id: str, token: SecretStr) -> None:
        """Well."""
        self._ask("end")

    def times_of(self, operation: str) -> list[float]:
        """When it was asked, from the first thing that was asked."""
        return [at_s - self.asked[0][1] for name, at_s in self.asked if name == operation]


async def endless_stream(*_: object) -> str:
    """Media without an end."""
    await asyncio.Event().wait()
    raise AssertionError


@pytest.mark.parametrize("own", [True, False])
def test_a_session_is_kept_alive_until_its_limit(monkeypatch: pytest.MonkeyPatch, own: bool) -> None:
    """A call every 10 s; at the limit the run ends in order, and a session of its own is ended."""
    monkeypatch.setattr(avatar, "receive_whep", endless_stream)
    api: Any = Told()

    async def scenario() -> None:
        session = Own(api, SecretStr(TOKEN), "24hex") if own else Given(api, SESSION, SecretStr(TOKEN))
        options = SessionOptions.model_validate({"session_limit_s": 65})
        assert await watch_session(session, options, Collector(), local=True, open_ended=True) == (
            "session limit reached"
        )

    run_hurried(scenario())
    assert api.times_of("keep-alive") == pytest.approx([10, 20, 30, 40, 50, 60], abs=0.1)
    assert len(api.times_of("create")) == len(api.times_of("end")) == own
    if own:
        assert api.times_of("end") == pytest.approx([65], abs=0.1)


def test_the_default_limit_of_a_session() -> None:
    """An hour, for sessions cost; also for the simulator's."""
    assert SessionOptions().session_limit_s == SimulatorOptions().session_limit_s == 3600


def test_a_keep_alive_that_fails_is_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The stream goes on, and so do the calls."""
    monkeypatch.setattr(avatar, "receive_whep", endless_stream)
    api: Any = Told(SourceError("cannot be reached"), None, RefusedError("500: the service failed", 500))

    async def scenario() -> None:
        options = SessionOptions.model_validate({"session_limit_s": 45})
        session = Given(api, SESSION, SecretStr(TOKEN))
        await watch_session(session, options, Collector(), local=True, open_ended=True)

    run_hurried(scenario())
    assert len(api.times_of("keep-alive")) == 4
    (warning,) = caplog.messages
    assert warning.startswith("cannot be reached (keep-alive;")


@pytest.mark.parametrize(
    ("own", "status", "reason"),
    [
        (False, 410, "the session has ended"),
        (False, 404, "the session has ended"),
        (True, 410, "the session has ended"),
        (True, 404, "session limit reached"),  # the service has forgotten it; if the media end, another is created
        (False, 401, "session limit reached"),
    ],
)
def test_a_session_that_ends_while_it_is_watched(
    monkeypatch: pytest.MonkeyPatch, own: bool, status: int, reason: str
) -> None:
    """What keep-alive says of the session is the end of the source; a token that is refused is not."""
    monkeypatch.setattr(avatar, "receive_whep", endless_stream)
    api: Any = Told(None, RefusedError("no", status))

    async def scenario() -> None:
        session = Own(api, SecretStr(TOKEN), "24hex") if own else Given(api, SESSION, SecretStr(TOKEN))
        options = SessionOptions.model_validate({"session_limit_s": 45})
        assert await watch_session(session, options, Collector(), local=True, open_ended=True) == reason

    run_hurried(scenario())


@pytest.mark.parametrize(
    ("behaviour", "error"),
    [
        (answers_json(410, {"success": False, "error": "Session ended"}), RefusedError),
        (answers_json(404, {"success": False, "error": "Session not found"}), RefusedError),
        (answers(404, "<html>not found</html>"), SourceError),
        (answers_json(404, {"detail": "Not Found"}), SourceError),
        (answers(503), RefusedError),
    ],
)
def test_only_the_api_says_that_a_session_has_ended(behaviour: Behaviour, error: type[SourceError]) -> None:
    """A 404 of a proxy, or of a deployment without keep-alive, says nothing of the session."""

    async def scenario() -> None:
        async with Server(behaviour) as server, SessionApi(server.url) as api:
            with pytest.raises(SourceError) as caught:
                await api.keep_alive(SESSION, SecretStr(TOKEN))
            assert type(caught.value) is error
            checked(str(caught.value))
            assert server.requests[0].target == f"/v1/avatar-session/{SESSION}/keep-alive"

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
