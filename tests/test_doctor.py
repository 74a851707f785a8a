"""`vision doctor`: each step to a source in plain words, and what fails."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path

import pytest
from pydantic import SecretStr

from tests.connectors.recording import write
from tests.connectors.sender import Sender, pictures, sound
from tests.connectors.server import Behaviour, Server, answers, answers_json
from tests.connectors.support import TOKEN, checked, run_clean
from vision.config import load
from vision.doctor import Step, _token, examine


async def _examined(folder: Path, source: str) -> list[Step]:
    path = folder / "run.yaml"
    path.write_text(f"source: {source}\nrun: {{first_picture_timeout_s: 3}}\n")
    steps = [step async for step in examine(load(path))]
    for step in steps:
        checked(step.said)
    return steps


def _whep(folder: Path, behaviour: Behaviour, more: str = "") -> list[Step]:
    async def scenario() -> list[Step]:
        async with Server(behaviour) as server:
            source = f"{{use: whep, url: '{server.url}/whep/session/1', token: {TOKEN}{more}}}"
            steps = await _examined(folder, source)
            assert len(server.sent("DELETE")) == len([step for step in steps if step.name == "WHEP"])
            return steps

    return run_clean(scenario(), limit_s=40)


def _jwt(expires_s: float) -> SecretStr:
    claims = base64.urlsafe_b64encode(json.dumps({"exp": expires_s}).encode()).decode().rstrip("=")
    return SecretStr(f"e30.{claims}.c2ln")


def test_a_source_that_works(tmp_path: Path) -> None:
    """Each step is told once, when it is taken, and all are well; the slot is given back."""
    steps = _whep(tmp_path, Sender([pictures(15), sound(15)]))
    assert [step.name for step in steps[:5]] == ["token", "WHEP", "path", "connection", "first packet"]
    assert {step.name for step in steps[5:-2]} == {"first picture", "first sound"}  # whichever is decoded first
    assert {step.name for step in steps[-2:]} == {"sender reports of video", "sender reports of audio"}
    assert all(step.ok for step in steps)
    said = {step.name: step.said for step in steps}
    assert "video VP8" in said["WHEP"]
    assert "audio opus" in said["WHEP"]
    assert said["first picture"].startswith("160x120 VP8, ")
    assert "127.0.0.1" in said["path"]


def test_a_turn_server_that_is_dead_is_named(tmp_path: Path) -> None:
    """With its reason; the rest works without it."""
    turn = ", ice_servers: [{urls: ['turn:127.0.0.1:9?transport=tcp'], username: u, credential: s3cret-credential}]"
    steps = _whep(tmp_path, Sender([pictures(15), sound(15)]), turn)
    (dead,) = [step for step in steps if step.name.startswith("turn:")]
    assert (dead.name, dead.ok, dead.said) == ("turn:127.0.0.1:9?transport=tcp", None, "connection refused")
    assert not [step for step in steps if step.ok is False]
    assert not [step for step in steps if "s3cret-credential" in step.said]


@pytest.mark.parametrize("status", [401, 404, 415])
def test_a_refusal_is_the_last_step(tmp_path: Path, status: int) -> None:
    """The step that fails is the last one, in the words that a run would use."""
    steps = _whep(tmp_path, answers(status, "no"))
    assert steps[-1].ok is False
    assert f": {status}: " in steps[-1].said
    assert [step.ok for step in steps[:-1]] == [True]  # the token, which says nothing of itself


def test_a_sender_that_sends_nothing(tmp_path: Path) -> None:
    """Connected, and no picture: that is the step that fails, after its time."""
    steps = _whep(tmp_path, Sender([pictures(0), sound(0)]))
    assert (steps[-1].name, steps[-1].ok) == ("first picture", False)
    assert "none within 3 s" in steps[-1].said
    assert "connection" in [step.name for step in steps]


def test_a_session_that_is_refused(tmp_path: Path) -> None:
    """The token's own word comes first, then the API's."""

    async def scenario() -> list[Step]:
        async with Server(answers_json(401, {"success": False, "error": "Invalid or expired token"})) as server:
            token = _jwt(1_000).get_secret_value()
            return await _examined(
                tmp_path, f"{{use: avatar, base_url: '{server.url}', session_id: abc, token: {token}}}"
            )

    steps = run_clean(scenario())
    assert [(step.name, step.ok) for step in steps] == [("token", False), ("source", False)]
    assert "expired" in steps[0].said
    assert "401" in steps[1].said


@pytest.mark.parametrize(
    ("left_s", "ok", "words"),
    [(86_400 * 3, True, "expires in 3 d"), (7300, True, "expires in 2 h"), (60, True, "60 s"), (-200, False, "3 min")],
)
def test_what_a_token_says_of_itself(left_s: float, ok: bool, words: str) -> None:
    """When it expires, or how long ago it did."""
    step = _token(_jwt(1_700_000_000 + left_s), now_s=1_700_000_000)
    assert step is not None
    assert step.ok is ok
    assert words in step.said


def test_a_file(tmp_path: Path) -> None:
    """A recording has one step."""
    path = write(tmp_path / "clip.mp4")
    steps = run_clean(_examined(tmp_path, f"{{use: file, path: {path}}}"))
    assert [(step.name, step.ok) for step in steps] == [("source", True)]
    steps = run_clean(_examined(tmp_path, f"{{use: file, path: {tmp_path}/nowhere.mp4}}"))
    assert [(step.name, step.ok) for step in steps] == [("source", False)]
    assert "no such file" in steps[0].said


def test_left_early(tmp_path: Path) -> None:
    """Whoever stops listening leaves nothing behind: the slot is given back."""

    async def scenario() -> None:
        async with Server(Sender([pictures(15), sound(15)])) as server:
            path = tmp_path / "run.yaml"
            path.write_text(f"source: {{use: whep, url: '{server.url}/whep/session/1'}}\n")
            steps = examine(load(path))
            async for step in steps:
                if step.name == "connection":
                    break
            await steps.aclose()
            assert len(server.sent("DELETE")) == 1
            await asyncio.sleep(0)

    run_clean(scenario())
