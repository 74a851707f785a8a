"""The simulator as a child process: it starts, says what is wrong, and never stays behind."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from vision.errors import SourceError
from vision.simulator import SimulatorSettings, launched

SETTINGS = SimulatorSettings(size=(64, 64))
COMMAND = [sys.executable, "-m", "vision.simulator"]


def alive(pid: int) -> bool:
    """Whether there is such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_it_serves_and_leaves_nothing_behind(tmp_path: Path) -> None:
    """Within the block it serves with the KS it gave; after it the process is gone."""

    async def main() -> int:
        async with launched(SETTINGS, tmp_path / "truth.jsonl") as simulator:
            async with httpx.AsyncClient(base_url=simulator.url, trust_env=False) as client:
                headers = {"Authorization": f"KS {simulator.admin_ks}"}
                body = {"visualConfig": {"id": "a"}}
                assert (await client.post("/v1/avatar-session/create", headers=headers, json=body)).is_success
            assert alive(simulator.pid)
        return simulator.pid

    assert not alive(asyncio.run(main()))


def test_cancellation_leaves_nothing_behind() -> None:
    """A task that is cancelled inside the block takes the child with it."""

    async def main() -> int:
        started: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        async def hold() -> None:
            async with launched(SETTINGS, None) as simulator:
                started.set_result(simulator.pid)
                await asyncio.Event().wait()

        task = asyncio.create_task(hold())
        pid = await started
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return pid

    assert not alive(asyncio.run(main()))


def test_a_taken_port_is_said_in_one_line() -> None:
    """The error of the child becomes the parent's, with the address in it."""

    async def main(port: int) -> None:
        async with launched(SETTINGS, None, port=port):
            pytest.fail("it started on a port that was taken")

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SourceError, match=f"cannot listen on 127.0.0.1:{port}"):
            asyncio.run(main(port))


def test_an_unwritable_truth_file_is_said(tmp_path: Path) -> None:
    """A truth file in a folder that does not exist is an error at the start."""

    async def main() -> None:
        async with launched(SETTINGS, tmp_path / "missing" / "truth.jsonl"):
            pytest.fail("it started without its truth file")

    with pytest.raises(SourceError, match="cannot write the ground truth"):
        asyncio.run(main())


@pytest.mark.parametrize("order", ["", "{}", "nonsense", '{"settings": {"sede": 1}}'])
def test_a_wrong_order_ends_with_status_3(order: str) -> None:
    """What cannot be read is answered with one line of JSON and status 3."""
    child = subprocess.run(COMMAND, input=order + "\n", capture_output=True, text=True, timeout=20, check=False)
    assert child.returncode == 3
    assert json.loads(child.stdout).keys() == {"error"}


@pytest.mark.parametrize("end", ["stdin", "SIGTERM"])
def test_the_child_ends_with_its_parent(end: str) -> None:
    """The end of stdin or SIGTERM ends the child in good order; SIGINT does not."""
    order = json.dumps({"settings": SETTINGS.model_dump(mode="json")})
    with subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(order + "\n")
        child.stdin.flush()
        assert "url" in json.loads(child.stdout.readline())
        child.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(0.3)
        if end == "stdin":
            child.stdin.close()
        else:
            child.terminate()
        assert child.wait(10) == 0
