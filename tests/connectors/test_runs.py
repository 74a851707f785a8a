"""Whole runs from a source: exit statuses, what is kept, and that nothing stays behind."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.connectors.failing import Failing, Plays, Refuses
from tests.connectors.recording import write
from tests.connectors.sender import Sender, pictures, sound
from tests.connectors.server import Server, answers_json, never_answers
from tests.connectors.support import TOKEN, checked, executed, prepared, run_clean, until
from vision.simulator.process import launched
from vision.simulator.settings import SimulatorSettings

VISION = [sys.executable, "-c", "from vision.cli import main; main()"]
SMALL = "source: {use: simulator, size: [160, 120], fps: 30}\n"


def records_of(folder: Path) -> list[dict[str, Any]]:
    """The records with a picture."""
    records = [json.loads(line) for line in (folder / "frames.jsonl").read_text().splitlines()]
    return [record for record in records if record["index"] is not None]


def summary_of(folder: Path) -> dict[str, Any]:
    """What summary.json says of the end."""
    end: dict[str, Any] = json.loads((folder / "summary.json").read_text())["end"]
    return end


def whep(server: Server, *lines: str) -> str:
    """YAML of a run from a WHEP server."""
    source = f"source: {{use: whep, url: '{server.url}/whep/session/1', token: {TOKEN}}}"
    return "\n".join([source, *lines, ""])


def test_a_stream_that_its_sender_ends(tmp_path: Path) -> None:
    """Without a duration, the sender's end is the end of the run: status 0, all pictures recorded, the slot free."""

    async def scenario() -> None:
        async with Server(Sender([pictures(), sound()], closes_after=True)) as server:
            outcome = await executed(tmp_path, whep(server))
            assert (outcome.exit_status, outcome.reason) == (0, "closed by the sender")
            assert len(server.sent("DELETE")) == 1

    run_clean(scenario())
    records = records_of(tmp_path / "out")
    assert len(records) >= 48
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    assert run["source"]["video"]["codec"] == "VP8"
    assert TOKEN not in json.dumps(run)


def test_a_duration_that_is_reached(tmp_path: Path) -> None:
    """The run leaves when its time is up: status 0, and the slot is free."""

    async def scenario() -> None:
        async with Server(Sender([pictures(10), sound(10)])) as server:
            outcome = await executed(tmp_path, whep(server, "run: {duration_s: 1}"))
            assert (outcome.exit_status, outcome.reason) == (0, "duration reached")
            assert len(server.sent("DELETE")) == 1

    run_clean(scenario())
    assert 23 <= len(records_of(tmp_path / "out")) <= 26


def test_a_stream_that_ends_too_early(tmp_path: Path) -> None:
    """A sender that leaves before the run is over has lost the source: status 3, what came is kept."""

    async def scenario() -> None:
        async with Server(Failing(Plays(0.6, "closes"), Refuses(410))) as server:
            outcome = await executed(tmp_path, whep(server, "run: {duration_s: 60}"))
            assert outcome.exit_status == 3
            assert "closed by the sender" in checked(outcome.error or "")

    run_clean(scenario())
    assert len(records_of(tmp_path / "out")) >= 10
    assert summary_of(tmp_path / "out")["exit_status"] == 3


def test_a_stream_that_never_sends_a_frame(tmp_path: Path) -> None:
    """Connected, but nothing comes: one line, status 3, and the slot is free."""

    async def scenario() -> None:
        async with Server(Sender([pictures(0), sound(0)])) as server:
            outcome = await executed(tmp_path, whep(server, "run: {first_picture_timeout_s: 1}"))
            assert outcome.exit_status == 3
            assert "nothing came within 1 s" in checked(outcome.error or "")
            assert len(server.sent("DELETE")) == 1

    run_clean(scenario())
    assert summary_of(tmp_path / "out")["exit_status"] == 3


def test_a_stream_that_stalls(tmp_path: Path) -> None:
    """A sender that stops without a word is given up: one line, status 3, what came is kept, the slot is free."""

    async def scenario() -> None:
        async with Server(Sender([pictures(0.6), sound(0.6)])) as server:
            outcome = await executed(tmp_path, whep(server, "run: {stall_timeout_s: 0.7}"))
            assert outcome.exit_status == 3
            assert "nothing has come for 0.7 s" in checked(outcome.error or "")
            assert len(server.sent("DELETE")) == 1

    run_clean(scenario())
    assert len(records_of(tmp_path / "out")) >= 10


@pytest.mark.parametrize("when", ["posting", "streaming"])
def test_interrupted(tmp_path: Path, when: str) -> None:
    """Stopped at any moment: status 130, the summary is there, the slot is free."""

    async def scenario() -> None:
        sender = Sender([pictures(10), sound(10)])
        sender.delay_s = 0.5 if when == "posting" else 0
        async with Server(sender) as server:
            run = prepared(tmp_path, whep(server))
            running = asyncio.create_task(run.execute())
            await server.asked.wait()
            await until(lambda: when == "posting" or run.latest)
            run.stop()
            outcome = await running
            assert outcome.exit_status == 130
            assert [request.method for request in server.requests] == ["POST", "DELETE"]

    run_clean(scenario())
    assert summary_of(tmp_path / "out")["exit_status"] == 130


@pytest.mark.parametrize(("status", "words"), [(401, "invalid or has expired"), (404, "no such"), (410, "has ended")])
def test_a_session_that_cannot_be_opened(tmp_path: Path, status: int, words: str) -> None:
    """The session API's errors end the run with status 3 and one line; the folder says so too."""

    async def scenario() -> None:
        async with Server(answers_json(status, {"success": False, "error": f"no {TOKEN}"})) as server:
            source = f"source: {{use: avatar, base_url: '{server.url}', session_id: abc, token: {TOKEN}}}\n"
            outcome = await executed(tmp_path, source)
            assert outcome.exit_status == 3
            assert words in checked(outcome.error or "")

    run_clean(scenario())
    for file in (tmp_path / "out").iterdir():
        assert TOKEN not in file.read_text()


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """A source that cannot be opened is status 3, with a summary."""
    outcome = run_clean(executed(tmp_path, f"source: {{use: file, path: {tmp_path}/nowhere.mp4}}\n"))
    assert outcome.exit_status == 3
    assert "no such file" in checked(outcome.error or "")
    assert summary_of(tmp_path / "out")["exit_status"] == 3


def test_a_file_is_stopped(tmp_path: Path) -> None:
    """Interrupted in the middle of a file that plays in real time: status 130, what was measured is kept."""
    path = write(tmp_path / "clip.mp4")

    async def scenario() -> None:
        run = prepared(tmp_path, f"source: {{use: file, path: {path}, pace: realtime}}\n")
        running = asyncio.create_task(run.execute())
        await until(lambda: run.latest)
        run.stop()
        assert (await running).exit_status == 130

    run_clean(scenario())
    assert 1 <= len(records_of(tmp_path / "out")) <= 45


def command(tmp_path: Path, yaml: str) -> list[str]:
    """The command line of a run."""
    path = tmp_path / "run.yaml"
    path.write_text(yaml)
    return [*VISION, "run", str(path), "--out", str(tmp_path / "out")]


def test_the_command_line_says_it_in_one_line(tmp_path: Path) -> None:
    """A source that refuses is one line on stderr, status 3, and no traceback."""
    yaml = f"source: {{use: whep, url: 'http://127.0.0.1:9/?key=s3cret-key', token: {TOKEN}}}\n"
    ended = subprocess.run(command(tmp_path, yaml), capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 3
    (line,) = [line for line in ended.stderr.splitlines() if line.startswith("vision: ")]
    assert "whep: http://127.0.0.1:9/?***: cannot be reached: " in line
    for secret in ("Traceback", TOKEN, "s3cret-key"):
        assert secret not in ended.stderr + ended.stdout


@pytest.mark.slow
def test_ctrl_c_while_a_server_is_silent(tmp_path: Path) -> None:
    """SIGINT while the POST is not answered ends the command in time: status 130, with a summary."""

    async def scenario() -> None:
        async with Server(never_answers) as server:
            process = await asyncio.create_subprocess_exec(
                *command(tmp_path, whep(server)), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
            )
            await server.asked.wait()
            process.send_signal(signal.SIGINT)
            assert await process.wait() == 130

    run_clean(scenario(), limit_s=30)
    assert summary_of(tmp_path / "out")["exit_status"] == 130


@pytest.mark.slow
def test_the_simulator_through_its_own_api(tmp_path: Path) -> None:
    """The whole way, session API, WHEP and WebRTC: status 0, truth beside the records, no process left."""
    outcome = run_clean(executed(tmp_path, f"{SMALL}run: {{duration_s: 1.5}}\n"), limit_s=40)
    assert outcome.exit_status == 0
    assert 43 <= len(records_of(tmp_path / "out")) <= 46
    assert (tmp_path / "out" / "truth.jsonl").read_text().count("\n") >= 43
    children = subprocess.run(["ps", "-o", "args=", "--ppid", str(os.getpid())], capture_output=True, text=True)
    assert "vision.simulator" not in children.stdout
    assert not [thread for thread in threading.enumerate() if "decoder" in thread.name]


@pytest.mark.slow
def test_the_slot_is_free_after_every_end(tmp_path: Path) -> None:
    """One session, three viewers one after the other, each ended in another way: none meets a 409."""

    async def scenario() -> None:
        async with launched(SimulatorSettings(size=(160, 120)), None) as service:
            async with httpx.AsyncClient(trust_env=False) as client:
                created = await client.post(
                    f"{service.url}/v1/avatar-session/create",
                    headers={"Authorization": f"KS {service.admin_ks}"},
                    json={"visualConfig": {"id": "0"}},
                )
            session = created.json()
            source = (
                f"source: {{use: avatar, base_url: '{service.url}', session_id: {session['sessionId']},"
                f" token: {session['token']}}}\n"
            )
            one = await executed(tmp_path, f"{source}run: {{duration_s: 0.5}}\n", "one")
            assert one.exit_status == 0, one.error
            two = prepared(tmp_path, source, "two")
            running = asyncio.create_task(two.execute())
            await until(lambda: two.latest or running.done())
            two.stop()
            outcome = await running
            assert outcome.exit_status == 130, outcome.error
            three = await executed(tmp_path, f"{source}run: {{duration_s: 0.5}}\n", "three")
            assert three.exit_status == 0, three.error

    run_clean(scenario(), limit_s=60)


LO_ONLY = """
import fcntl, socket, struct, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
    fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh", b"lo", 1))  # SIOCSIFFLAGS, IFF_UP
from vision.cli import main
main()
"""


@pytest.mark.slow
def test_on_a_machine_without_a_network(tmp_path: Path) -> None:
    """Where there is nothing but the loopback interface, the simulator is received all the same."""
    isolated = ["unshare", "--net", "--map-root-user"]
    if not shutil.which("unshare") or subprocess.run([*isolated, "true"], capture_output=True).returncode:
        pytest.skip("unshare cannot make a network of its own here")
    path = tmp_path / "run.yaml"
    path.write_text(f"{SMALL}run: {{duration_s: 1}}\n")
    arguments = ["run", str(path), "--out", str(tmp_path / "out")]
    ended = subprocess.run(
        [*isolated, sys.executable, "-c", LO_ONLY, *arguments], capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 0, ended.stderr
    assert len(records_of(tmp_path / "out")) >= 28
