"""Headless Debian Chromium as the sending peer, behind a small WHEP front.

    apt-get install chromium

The front serves the page that sends (chromium_page.html) and takes WHEP requests; the page asks it for commands by
long polling, so nothing else drives the browser.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

from tests.peers.tools import await_that, process, program

__all__ = ["TOKEN", "Chromium", "Encoded", "Report", "chromium"]

TOKEN = "verysecret-of-chromium"
_PAGE = Path(__file__).with_name("chromium_page.html")
_POLL_S, _ANSWER_S, _START_S = 1.0, 10.0, 60.0
_THREADS = 8
_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-background-timer-throttling",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-renderer-backgrounding",
    "--disable-sync",
    "--mute-audio",
    "--no-pings",
    "--allow-loopback-in-peer-connection",
    "--autoplay-policy=no-user-gesture-required",
    "--disable-features=WebRtcHideLocalIpsWithMdns",
)


@dataclass(frozen=True, slots=True)
class Encoded:
    """A frame that went to the packetizer; `timestamp` is its RTP timestamp, or differs from it by a constant."""

    timestamp: int
    key: bool
    bytes: int
    width: int | None = None
    height: int | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """What the page says at a session's end.

    :ivar drawn: how many pictures the page has drawn since it was opened; they are numbered from 0.
    :ivar video: the pictures that were encoded for this session, in order.
    :ivar audio: the same of the blocks of sound.
    :ivar stats: what `getStats()` says (W3C webrtc-stats).
    """

    drawn: int
    video: list[Encoded]
    audio: list[Encoded]
    stats: list[dict[str, Any]]

    def outbound(self, kind: str) -> dict[str, Any]:
        """The `outbound-rtp` of a track."""
        (stats,) = [one for one in self.stats if one["type"] == "outbound-rtp" and one["kind"] == kind]
        return stats

    def codec(self, kind: str) -> str:
        """The MIME type of what was sent."""
        wanted = self.outbound(kind)["codecId"]
        return next(str(one["mimeType"]) for one in self.stats if one["id"] == wanted)


class Chromium:
    """A Chromium that streams to whoever asks at `url` with `TOKEN`.

    :ivar requests: method and status of each request to the WHEP front, in the order they were answered.
    :ivar answers: the answers it gave, as SDP.
    :ivar reports: of the sessions that were ended, in that order.
    """

    def __init__(self, settings: dict[str, Any], clip: Path | None = None) -> None:
        self.settings = settings | {"clip": clip is not None}
        self.clip = clip
        self.url = ""
        self.browser: subprocess.Popen[str] | None = None
        self.requests: list[tuple[str, int]] = []
        self.answers: list[str] = []
        self.reports: list[Report] = []
        self.ready = threading.Event()  # the page has asked for a command
        self._open: set[str] = set()
        self._commands: queue.Queue[dict[str, str]] = queue.Queue()
        self._replies: dict[str, queue.Queue[dict[str, Any]]] = {}

    def next_command(self) -> dict[str, str] | None:
        """What the page is to do, as soon as there is something; `None` where nothing comes."""
        self.ready.set()
        try:
            return self._commands.get(timeout=_POLL_S)
        except queue.Empty:
            return None

    def done(self, command: str, reply: dict[str, Any]) -> None:
        """The page's reply to a command."""
        self._replies[command].put(reply)

    def _ask(self, command: str, what: str, sdp: str = "") -> dict[str, Any]:
        self._replies[command] = queue.Queue()
        self._commands.put({"id": command, "what": what, "sdp": sdp})
        try:
            reply = self._replies[command].get(timeout=_ANSWER_S)
        except queue.Empty:
            return {"error": f"the page did not answer within {_ANSWER_S:g} s"}
        del self._replies[command]
        return reply

    def open(self, offer: str) -> tuple[str, str]:
        """Begin a session: its name and the answer.

        :raises ValueError: when the page cannot use the offer, with its reason.
        """
        name = secrets.token_hex(8)
        reply = self._ask(name, "offer", offer)
        if "error" in reply:
            raise ValueError(reply["error"])
        self._open.add(name)
        self.answers.append(str(reply["sdp"]))
        return name, self.answers[-1]

    @contextlib.contextmanager
    def sound_halted(self) -> Iterator[None]:
        """Nothing plays or captures sound for the length of the block, as where the machine is too busy.

        What is not captured in time has no time of its own: the sound's RTP clock falls behind by about as much, which
        the next sender report says.
        """
        services = [process for process in self._descendants() if b"AudioService" in _command(process)]
        assert services, "Chromium plays no sound"
        for service in services:
            os.kill(service, signal.SIGSTOP)
        try:
            yield
        finally:
            for service in services:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(service, signal.SIGCONT)

    def _descendants(self) -> list[int]:
        """The processes of the browser."""
        assert self.browser is not None
        found = [self.browser.pid]
        for parent in found:  # it grows meanwhile
            with contextlib.suppress(OSError):
                for children in Path(f"/proc/{parent}/task").glob("*/children"):
                    found += map(int, children.read_text().split())
        return found

    def close(self, name: str) -> bool:
        """End a session and keep its report; whether there was one."""
        if name not in self._open:
            return False
        self._open.remove(name)
        reply = self._ask(name, "close")
        frames = {kind: [Encoded(**one) for one in reply[kind]] for kind in ("video", "audio")}
        self.reports.append(Report(reply["drawn"], frames["video"], frames["audio"], reply["stats"]))
        return True


def _command(process: int) -> bytes:
    with contextlib.suppress(OSError):  # it may be gone
        return Path(f"/proc/{process}/cmdline").read_bytes()
    return b""


class _Handler(BaseHTTPRequestHandler):
    """The page's server, and the WHEP front."""

    peer: Chromium

    def do_GET(self) -> None:
        """The page and its settings."""
        if self.path == "/settings":
            self._reply(200, json.dumps(self.peer.settings), "application/json")
        elif self.path == "/":
            self._reply(200, _PAGE.read_bytes(), "text/html; charset=utf-8")
        elif self.path == "/clip" and self.peer.clip is not None:
            self._reply(200, self.peer.clip.read_bytes(), "video/mp4")
        else:
            self._reply(404)

    def do_POST(self) -> None:
        """An offer; or the page asks for a command, or has done one."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        if self.path == "/next":
            command = self.peer.next_command()
            self._reply(200 if command else 204, json.dumps(command) if command else "", "application/json")
        elif self.path.startswith("/done/"):
            self.peer.done(self.path.removeprefix("/done/"), json.loads(body))
            self._reply(204)
        elif self.path == "/whep" and self._allowed():
            self._answer(body)
        elif self.path != "/whep":
            self._reply(404)

    def do_DELETE(self) -> None:
        """The end of a session."""
        if self._allowed():
            self._reply(200 if self.peer.close(self.path.removeprefix("/whep/")) else 404)

    def _answer(self, offer: str) -> None:
        if self.headers.get("Content-Type") != "application/sdp":
            self._reply(415)
            return
        try:
            name, answer = self.peer.open(offer)
        except ValueError as error:
            self._reply(400, str(error), "text/plain")
        else:
            self._reply(201, answer, "application/sdp", Location=f"/whep/{name}")

    def _allowed(self) -> bool:
        allowed = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        if not allowed:
            self._reply(401, "no", "text/plain")
        return allowed

    def _reply(self, status: int, body: str | bytes = "", kind: str = "", **headers: str) -> None:
        content = body if isinstance(body, bytes) else body.encode()
        if self.path.startswith("/whep"):
            self.peer.requests.append((self.command, status))
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the browser may be gone
            self.send_response(status)
            for name, value in {"Content-Type": kind, **headers}.items():
                if value:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is logged."""


class _Server(HTTPServer):
    """Serves with threads that are there from its start: tests look for threads that are left behind."""

    def __init__(self, peer: Chromium) -> None:
        super().__init__(("127.0.0.1", 0), type("Handler", (_Handler,), {"peer": peer}))
        self._pool = ThreadPoolExecutor(_THREADS)
        ready = threading.Barrier(_THREADS)
        for _ in range(_THREADS):
            self._pool.submit(ready.wait)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a request in one of the threads."""
        self._pool.submit(self._serve, request, client_address)

    def _serve(self, request: Any, client_address: Any) -> None:
        try:
            self.finish_request(request, client_address)
        finally:
            self.shutdown_request(request)

    def server_close(self) -> None:
        """Stop listening, and wait for what is being served."""
        super().server_close()
        self._pool.shutdown()


@contextlib.contextmanager
def chromium(
    folder: Path,
    *,
    codec: str = "video/VP8",
    size: tuple[int, int] = (640, 360),
    fps: int = 30,
    kbps: int = 1000,
    clip: Path | None = None,
) -> Iterator[Chromium]:
    """Chromium with its front, for the length of the block; without it the test is skipped.

    :param folder: for its log; what else it writes goes to a folder of its own, which is removed.
    :param codec: `video/VP8` or `video/H264`.
    :param clip: a recording (MP4) that is played from its beginning for each session, in place of the page's own
        pictures and tone; its size and rate are its own.
    """
    browser = program("chromium", "apt-get install chromium")
    rig = Chromium({"codec": codec, "size": size, "fps": fps, "kbps": kbps}, clip)
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(_Server(rig))
        address = f"http://127.0.0.1:{server.server_port}"
        serving = threading.Thread(target=server.serve_forever, args=[0.05])
        serving.start()
        stack.callback(serving.join)
        stack.callback(server.shutdown)
        profile = stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
        command = [browser, *_FLAGS, f"--user-data-dir={profile}", f"{address}/"]
        rig.browser = stack.enter_context(process(command, folder / "chromium.log"))
        await_that(rig.ready.is_set, "Chromium shows the page", _START_S)
        rig.url = f"{address}/whep"
        yield rig


def _main() -> None:
    """By hand: `python -m tests.peers.chromium FOLDER [CODEC]`, until stdin ends."""
    with chromium(Path(sys.argv[1]), codec=(sys.argv[2:] or ["video/VP8"])[0]) as rig:
        sys.stderr.write(f"{rig.url} (token {TOKEN})\n")
        sys.stdin.read()


if __name__ == "__main__":
    _main()
