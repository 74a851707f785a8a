"""What the real peers share: whether they are installed, free ports, and processes that are never left behind."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import pytest

REQUIRED = "VISION_PEERS"  # set to `required` where a peer that is absent is a failure, as .ci/run does
ROOT = Path(__file__).parents[2]
_STOP_S = 3.0


def absent(what: str, remedy: str) -> NoReturn:
    """Skip the test for want of a peer, or fail it where peers are required.

    :param what: what is not installed.
    :param remedy: the command that installs it.
    """
    reason = f"{what} is not installed ({remedy})"
    if os.environ.get(REQUIRED) == "required":
        pytest.fail(reason)
    pytest.skip(reason)


def program(name: str, remedy: str) -> str:
    """The path of a program; without it the test is skipped."""
    path = shutil.which(name)
    if path is None:
        absent(name, remedy)
    return path


def free_ports(count: int, kind: socket.SocketKind = socket.SOCK_DGRAM) -> list[int]:
    """Ports of 127.0.0.1 that nobody uses now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket(socket.AF_INET, kind)) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]


@contextlib.contextmanager
def process(
    command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None, *, speaks: bool = False
) -> Iterator[subprocess.Popen[str]]:
    """A child process that is ended with the block: first by the end of its stdin, then less politely.

    :param log: the file that takes its stderr, and its stdout unless it `speaks`: then that is a pipe.

    Where `setpriv` is there, it also ends with this process, however that ends.
    """
    guard = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
    with log.open("w") as stderr:
        child = subprocess.Popen(
            [*guard, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if speaks else stderr,
            stderr=subprocess.STDOUT if not speaks else stderr,
            text=True,
            cwd=ROOT,
            env=environment,
        )
    try:
        yield child
    finally:
        assert child.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            child.stdin.close()
        for insist in (child.terminate, child.kill) if speaks else (child.kill,):
            if not speaks:
                child.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(_STOP_S)
                break
            insist()
        child.wait()
        if child.stdout is not None:
            child.stdout.close()


def await_that(condition: Callable[[], object], what: str, limit_s: float = 20.0) -> None:
    """Wait for another process, which tells of nothing.

    :raises TimeoutError: when it does not come about in time.
    """
    until_s = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > until_s:
            raise TimeoutError(f"{what}: not within {limit_s:g} s")
        time.sleep(0.02)


def listens(port: int) -> bool:
    """Whether somebody takes TCP connections at this port of 127.0.0.1."""
    with socket.socket() as one:
        one.settimeout(0.5)
        return one.connect_ex(("127.0.0.1", port)) == 0
