"""The simulator as a child process: started, awaited, and never left behind."""

import asyncio
import json
import logging
from asyncio.subprocess import PIPE, Process
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from vision.children import child_environment, python_command
from vision.errors import SourceError
from vision.simulator.settings import SimulatorSettings

logger = logging.getLogger(__name__)

START_DEADLINE_S = 20.0
STOP_PATIENCE_S = 3.0
STDERR_LINES = 20


@dataclass(frozen=True, slots=True)
class Launched:
    """A simulator that is listening."""

    url: str
    """Base URL of the session API."""
    admin_ks: str
    """What `create` wants in `Authorization: KS ...`."""
    pid: int


@asynccontextmanager
async def launched(
    settings: SimulatorSettings, truth: Path | None, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[Launched]:
    """Runs a simulator in a process of its own for the length of the block.

    :raises SourceError: when the child reports an error, dies, or does not listen within 20 s.
    """
    order = json.dumps(
        {
            "settings": settings.model_dump(mode="json"),
            "host": host,
            "port": port,
            "truth": None if truth is None else str(truth),
        }
    )
    process = await asyncio.create_subprocess_exec(
        *python_command("-m", "vision.simulator"), stdin=PIPE, stdout=PIPE, stderr=PIPE, env=child_environment()
    )
    complaints: deque[str] = deque(maxlen=STDERR_LINES)
    listener = asyncio.create_task(_collect(process, complaints))
    try:
        yield await _started(process, order, complaints)
    finally:
        try:
            await _stopped(process)
        finally:
            listener.cancel()
            if process.returncode is None:
                process.kill()


async def _started(process: Process, order: str, complaints: deque[str]) -> Launched:
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        async with asyncio.timeout(START_DEADLINE_S):
            process.stdin.write(order.encode() + b"\n")
            answer = await process.stdout.readline()
    except TimeoutError:
        raise SourceError(f"the simulator did not start within {START_DEADLINE_S:.0f} s") from None
    if not answer:
        await process.wait()
        last = complaints[-1] if complaints else "it said nothing"
        raise SourceError(f"the simulator ended with status {process.returncode} as it started: {last}")
    facts = json.loads(answer)
    if "error" in facts:
        raise SourceError(f"the simulator could not start: {facts['error']}")
    return Launched(url=facts["url"], admin_ks=facts["admin_ks"], pid=process.pid)


async def _collect(process: Process, complaints: deque[str]) -> None:
    """Keeps the last lines of the child's stderr, and its pipe empty."""
    assert process.stderr is not None
    while line := await process.stderr.readline():
        complaints.append(line.decode(errors="replace").rstrip())
        logger.debug("simulator: %s", complaints[-1])


async def _stopped(process: Process) -> None:
    """Asks ever less politely: the end of stdin, SIGTERM, SIGKILL."""
    assert process.stdin is not None
    process.stdin.close()
    for insist in (process.terminate, process.kill):
        try:
            async with asyncio.timeout(STOP_PATIENCE_S):
                await process.wait()
                return
        except TimeoutError:
            logger.warning("the simulator (process %s) is slow to end", process.pid)
            insist()
    await process.wait()
