"""The HTTP surface: every answer of the session API and of WHEP, without a network."""

import asyncio
import base64
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import pytest

from vision.errors import SourceError
from vision.simulator import SimulatorSettings
from vision.simulator.api import Api
from vision.simulator.sessions import Sessions

KS = "the-admin-ks"
CREATE = "/v1/avatar-session/create"
SDP = {"Content-Type": "application/sdp"}
Scenario = Callable[[httpx.AsyncClient], Awaitable[None]]


def run(scenario: Scenario, settings: SimulatorSettings | None = None) -> None:
    """Runs a scenario against a fresh service."""

    async def main() -> None:
        chosen = settings or SimulatorSettings(size=(64, 64))
        sessions = Sessions(chosen, None, loopback=True)
        transport = httpx.ASGITransport(Api(chosen, sessions, KS).application())
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:7000") as client:
            await scenario(client)
        await sessions.close()

    asyncio.run(main())


async def created(client: httpx.AsyncClient) -> tuple[str, dict[str, str]]:
    """The path of a new session, and the header that opens it."""
    answer = await client.post(CREATE, headers={"Authorization": f"KS {KS}"}, json={"visualConfig": {"id": "a"}})
    assert answer.status_code == 200
    body = answer.json()
    assert body["success"] is True
    return f"/v1/avatar-session/{body['sessionId']}", {"Authorization": f"Bearer {body['token']}"}


def test_the_token_looks_like_a_jwt() -> None:
    """Three parts; the second says when it expires, about a day from now."""

    async def scenario(client: httpx.AsyncClient) -> None:
        _, headers = await created(client)
        payload = headers["Authorization"].split()[1].split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        assert abs(claims["exp"] - time.time() - 86_400) < 60

    run(scenario)


@pytest.mark.parametrize(
    ("headers", "content", "status"),
    [
        ({}, b'{"visualConfig": {"id": "a"}}', 401),
        ({"Authorization": "KS wrong"}, b'{"visualConfig": {"id": "a"}}', 401),
        ({"Authorization": f"Bearer {KS}"}, b'{"visualConfig": {"id": "a"}}', 401),
        ({"Authorization": f"KS {KS}"}, b"", 400),
        ({"Authorization": f"KS {KS}"}, b"{}", 400),
        ({"Authorization": f"KS {KS}"}, b'{"visualConfig": {}}', 400),
        ({"Authorization": f"KS {KS}"}, b"[]", 400),
        ({"Authorization": f"KS {KS}"}, b"{", 400),
        ({"Authorization": f"KS {KS}"}, b'{"visualConfig": {"id": "a"}, "clientId": "b", "more": 1}', 200),
    ],
)
def test_create(headers: dict[str, str], content: bytes, status: int) -> None:
    """Only the admin's KS and a body with a visual open a session."""

    async def scenario(client: httpx.AsyncClient) -> None:
        answer = await client.post(CREATE, headers=headers, content=content)
        assert answer.status_code == status
        assert answer.json()["success"] is (status == 200)

    run(scenario)


@pytest.mark.parametrize("body", [None, b"", b"{}"])
def test_init_client(body: bytes | None) -> None:
    """The answer has the documented shape, with an empty body as well."""

    async def scenario(client: httpx.AsyncClient) -> None:
        path, headers = await created(client)
        answer = await client.post(f"{path}/init-client", headers=headers, content=body)
        assert answer.status_code == 200
        facts = answer.json()
        assert facts["success"] is True
        assert facts["whepUrl"] == f"http://127.0.0.1:7000/avatar/whep/session/{path.rsplit('/', 1)[1]}"
        assert facts["turn"].keys() == {"url", "credential", "username"}
        assert facts["turn"]["url"] == "127.0.0.1"

    run(scenario)


@pytest.mark.parametrize("call", ["init-client", "say-audio", "interrupt", "keep-alive", "end"])
def test_error_answers_to_the_letter(call: str) -> None:
    """Wrong token 401, unknown session 404, ended session 410 (404 for `end`), each with its words."""

    async def scenario(client: httpx.AsyncClient) -> None:
        path, headers = await created(client)
        other_path, _ = await created(client)
        expired = {"success": False, "error": "Invalid or expired token"}
        missing = {"success": False, "error": "Session not found"}
        for wrong in ({}, {"Authorization": "Bearer nonsense"}, {"Authorization": f"KS {KS}"}):
            answer = await client.post(f"{path}/{call}", headers=wrong)
            assert (answer.status_code, answer.json()) == (401, expired)
        answer = await client.post(f"{other_path}/{call}", headers=headers)
        assert (answer.status_code, answer.json()) == (401, expired)
        answer = await client.post(f"/v1/avatar-session/{'0' * 24}/{call}", headers=headers)
        assert (answer.status_code, answer.json()) == (404, missing)
        assert (await client.post(f"{path}/end", headers=headers, content=b"{}")).json() == {"success": True}
        answer = await client.post(f"{path}/{call}", headers=headers)
        ended = {"success": False, "error": "Session ended"}
        assert (answer.status_code, answer.json()) == ((404, missing) if call == "end" else (410, ended))

    run(scenario)


def test_an_expired_token_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A day later the token has expired."""

    async def scenario(client: httpx.AsyncClient) -> None:
        path, headers = await created(client)
        later = time.time() + 90_000
        monkeypatch.setattr("vision.simulator.sessions.time.time", lambda: later)
        assert (await client.post(f"{path}/keep-alive", headers=headers)).status_code == 401

    run(scenario)


def test_keep_alive_and_interrupt_are_idempotent() -> None:
    """Both may be called again, with or without a body."""

    async def scenario(client: httpx.AsyncClient) -> None:
        path, headers = await created(client)
        for call in ("keep-alive", "interrupt") * 2:
            answer = await client.post(f"{path}/{call}", headers=headers, content=b"{}")
            assert (answer.status_code, answer.json()) == (200, {"success": True})
        assert (await client.post(f"{path}/interrupt", headers=headers, content=b"{")).status_code == 400

    run(scenario)


@pytest.mark.parametrize(
    ("fields", "audio", "status"),
    [
        ({"turnId": "1", "duration": "0.1"}, "wav", 200),
        ({"turnId": "1", "duration": "0.1"}, b"noise", 400),
        ({"turnId": "1", "duration": "0.1"}, None, 400),
        ({"turnId": "1", "duration": "soon"}, "wav", 400),
        ({"turnId": "1", "duration": "-1"}, "wav", 400),
        ({"duration": "0.1"}, "wav", 400),
    ],
)
def test_say_audio(fields: dict[str, str], audio: bytes | str | None, status: int, wav: bytes) -> None:
    """A turn needs its identifier, its length, and audio that can be decoded."""

    async def scenario(client: httpx.AsyncClient) -> None:
        path, headers = await created(client)
        files = {"audio": ("turn.wav", wav if audio == "wav" else audio)} if audio is not None else None
        answer = await client.post(f"{path}/say-audio", headers=headers, data=fields, files=files)
        assert answer.status_code == status
        assert answer.json()["success"] is (status == 200)
        assert "\n" not in answer.text

    run(scenario)


def test_whep_errors() -> None:
    """404 without a session, 415 for another content type, 400 for what is no SDP, 405 for other methods."""

    async def scenario(client: httpx.AsyncClient) -> None:
        path, headers = await created(client)
        whep = (await client.post(f"{path}/init-client", headers=headers)).json()["whepUrl"]
        unknown = whep.rsplit("/", 1)[0] + "/unknown"
        assert (await client.post(unknown, headers=SDP, content="v=0")).status_code == 404
        assert (await client.post(whep, json={})).status_code == 415
        for offer in ("", "v=0", "nonsense", "v=0\r\nm=video", "v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\n"):
            answer = await client.post(whep, headers=SDP, content=offer)
            assert (answer.status_code, answer.json()["success"]) == (400, False)
        assert (await client.get(whep)).status_code == 405
        assert (await client.options(whep)).status_code == 405
        assert (await client.delete(f"{whep}/viewer/unknown")).status_code == 404
        assert (await client.delete(whep.replace("/avatar", "") + "/viewer/unknown")).status_code == 404
        await client.post(f"{path}/end", headers=headers)
        assert (await client.post(whep, headers=SDP, content="v=0")).status_code == 404

    run(scenario)


def test_unknown_calls_are_not_found() -> None:
    """What the vendor does not have, this has not either."""

    async def scenario(client: httpx.AsyncClient) -> None:
        path, headers = await created(client)
        answer = await client.post(f"{path}/set-emotion", headers=headers)
        assert (answer.status_code, answer.json()["success"]) == (404, False)

    run(scenario)


def test_an_unwritable_truth_file_is_said_at_once(tmp_path: Path) -> None:
    """The service does not start when the ground truth cannot be written."""
    with pytest.raises(SourceError, match="cannot write the ground truth"):
        Sessions(SimulatorSettings(), tmp_path / "missing" / "truth.jsonl", loopback=True)
