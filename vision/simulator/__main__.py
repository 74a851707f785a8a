"""`python -m vision.simulator`: the service as a child process.

Reads one line of JSON from stdin, answers with one line of JSON on stdout, and serves until stdin ends (its
parent closed it, or died) or SIGTERM comes. SIGINT is left to the parent: Ctrl-C reaches the whole process group.
"""

import asyncio
import json
import logging
import signal
import sys
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from vision.errors import SourceError
from vision.simulator.service import serve
from vision.simulator.settings import SimulatorSettings

FAILED = 3


class Order(BaseModel):
    """What the parent asks for."""

    model_config = ConfigDict(extra="forbid")

    settings: SimulatorSettings
    host: str = "127.0.0.1"
    port: int = 0
    truth: Path | None = None


def main() -> int:
    """Runs the child; returns its exit status."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        asyncio.run(_run(Order.model_validate_json(sys.stdin.readline())))
    except ValidationError as error:
        return _fail("; ".join(f"{'.'.join(map(str, part['loc']))}: {part['msg']}" for part in error.errors()))
    except SourceError as error:
        return _fail(str(error))
    return 0


async def _run(order: Order) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    transport, _ = await loop.connect_read_pipe(lambda: _EndOfInput(stop), sys.stdin)
    try:
        await serve(
            order.settings, host=order.host, port=order.port, truth=order.truth, on_listening=_announce, stop=stop
        )
    finally:
        transport.close()


class _EndOfInput(asyncio.Protocol):
    """Waits for the parent to close the pipe."""

    def __init__(self, stop: asyncio.Event) -> None:
        self._stop = stop

    def eof_received(self) -> None:
        self._stop.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop.set()


def _announce(url: str, admin_ks: str) -> None:
    _say({"url": url, "admin_ks": admin_ks})


def _fail(error: str) -> int:
    _say({"error": " ".join(error.split())})
    return FAILED


def _say(facts: dict[str, str]) -> None:
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
