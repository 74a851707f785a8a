"""The service as a whole: binds the port, serves until told to stop, and takes everything down again."""

import asyncio
import contextlib
import logging
import secrets
import socket
from collections.abc import Callable, Generator
from pathlib import Path

import cv2
import uvicorn

from vision.errors import SourceError
from vision.hosts import is_loopback
from vision.simulator.api import Api
from vision.simulator.picture import likeness
from vision.simulator.sessions import Sessions
from vision.simulator.settings import SimulatorSettings

logger = logging.getLogger(__name__)

GOODBYE_S = 2


async def serve(
    settings: SimulatorSettings,
    *,
    host: str,
    port: int,
    truth: Path | None,
    admin_ks: str | None = None,
    on_listening: Callable[[str, str], None],
    stop: asyncio.Event,
) -> None:
    """Serves until `stop` is set. `on_listening(url, admin_ks)` is called once the service can be used.

    Port 0 picks a free one; without `admin_ks` a random one is made.

    :raises SourceError: when the address cannot be listened on or the truth file cannot be written.
    """
    listener = _bound(host, port)
    admin_ks = admin_ks or secrets.token_hex(16)
    try:
        sessions = Sessions(settings, truth, loopback=is_loopback(host))
        application = Api(settings, sessions, admin_ks).application()
        server = _Server(uvicorn.Config(application, log_config=None, lifespan="off", ws="none", access_log=False))
        server.config.timeout_graceful_shutdown = GOODBYE_S
        server.on_started = lambda: on_listening(_url(listener), admin_ks)
        # Pictures are drawn beside the event loop and beside other sessions: more threads only fight.
        cv2.setNumThreads(1)
        await _serve_until(server, listener, sessions, settings, stop)
    finally:
        listener.close()


async def _serve_until(
    server: "_Server", listener: socket.socket, sessions: Sessions, settings: SimulatorSettings, stop: asyncio.Event
) -> None:
    try:
        async with asyncio.TaskGroup() as tasks:
            serving = tasks.create_task(server.serve(sockets=[listener]))
            stopping = tasks.create_task(_stop_on(stop, server))
            serving.add_done_callback(lambda _: stopping.cancel())
            if settings.show == "talk":
                tasks.create_task(asyncio.to_thread(likeness, *settings.size))
    finally:
        await sessions.close()


async def _stop_on(stop: asyncio.Event, server: "_Server") -> None:
    await stop.wait()
    server.should_exit = True


class _Server(uvicorn.Server):
    """Leaves the signals to whoever runs it, and says when it has started."""

    on_started: Callable[[], None]

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.on_started()


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except (OSError, OverflowError) as error:
        listener.close()
        reason = getattr(error, "strerror", None) or error
        raise SourceError(f"cannot listen on {host}:{port}: {reason}; choose another port, or 0 for any") from error
    return listener


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
