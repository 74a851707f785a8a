"""Debian's Janus as the sending peer, behind npm's janus-whep-server, with a source of RTP that counts what it sends.

apt-get install janus nodejs npm
npm install --prefix tests/peers/janus_whep --no-package-lock --ignore-scripts
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from socket import SOCK_STREAM
from string import Template
from typing import Any

from tests.peers.feed import Feed, Sent
from tests.peers.tools import ROOT, absent, await_that, free_ports, listens, process, program
from vision.children import child_environment, python_command

__all__ = ["TOKEN", "Janus", "janus"]

TOKEN = "verysecret-of-janus"
FOLDER = Path(__file__).parent / "janus_whep"
INSTALL = "npm install --prefix tests/peers/janus_whep --no-package-lock --ignore-scripts"
_ENDPOINT, _MOUNTPOINT = "test", 1


class Janus:
    """A Janus that streams.

    :ivar url: its WHEP endpoint, which wants `TOKEN`.
    :ivar requests: what the WHEP server was asked, and how it answered: `{"method", "status", "type"}`.
    :ivar viewers: how many are there now, by the WHEP server's count.
    """

    def __init__(self, feeding: subprocess.Popen[str]) -> None:
        self.url = ""
        self.requests: list[dict[str, Any]] = []
        self.viewers = 0
        self._heartbeats = 0
        self._listening = threading.Event()
        self._feeding = feeding

    def listen(self, server: subprocess.Popen[str]) -> threading.Thread:
        """Follow what the WHEP server says; returns when it listens.

        :raises TimeoutError: when it does not within 20 s.
        """
        listener = threading.Thread(target=self._follow, args=[server])
        listener.start()
        await_that(lambda: self._listening.is_set() or not listener.is_alive(), "janus-whep-server listens")
        if not self.url:
            raise RuntimeError("janus-whep-server ended as it started; its log is whep.log")
        return listener

    def _follow(self, server: subprocess.Popen[str]) -> None:
        assert server.stdout is not None
        for line in server.stdout:
            said = json.loads(line)
            match said.pop("event"):
                case "listening":
                    self.url = f"http://127.0.0.1:{said['port']}/whep/endpoint/{_ENDPOINT}"
                    self._listening.set()
                case "request" if said["method"] == "GET":
                    self._heartbeats += 1
                case "request":
                    self.requests.append(said)
                case "joined":
                    self.viewers += 1
                case "left":
                    self.viewers -= 1

    def settle(self) -> None:
        """Wait until all that the WHEP server has said so far is here."""
        before = self._heartbeats
        with urllib.request.urlopen(self.url.partition("/endpoint/")[0] + "/healthcheck", timeout=5):
            await_that(lambda: self._heartbeats > before, "janus-whep-server answers")

    def methods(self) -> list[tuple[str, int]]:
        """The requests and their statuses, in the order they were answered."""
        return [(request["method"], request["status"]) for request in self.requests]

    def end_feed(self) -> Sent:
        """End the source of RTP; what it sent."""
        said, _ = self._feeding.communicate(timeout=10)
        return Sent(**json.loads(said))


@contextlib.contextmanager
def janus(
    folder: Path,
    *,
    counter_offer: bool = True,
    size: tuple[int, int] = (1280, 720),
    marks: bool = False,
    beep_delay_s: float = 0.0,
) -> Iterator[Janus]:
    """Janus, its WHEP server and its source of RTP, for the length of the block; without them the test is skipped.

    :param folder: for its configuration and its logs.
    :param counter_offer: Debian's Janus (1.1.2) answers an offer with an offer. The WHEP server says so with 406 (the
        flow of draft-ietf-wish-whep, 4.3.2), or, without this, calls it an answer with 201.
    :param marks: flashes and beeps (`tests.marks`) are sent, these later by `beep_delay_s`.
    """
    program("node", "apt-get install nodejs npm")
    command = program("janus", "apt-get install janus")
    if not (FOLDER / "node_modules" / "janus-whep-server").is_dir():
        absent("npm's janus-whep-server", INSTALL)
    websocket = free_ports(1, SOCK_STREAM)[0]
    audio, audio_rtcp, video, video_rtcp = free_ports(4)
    sound = f'{{ type = "audio", mid = "%s", port = {audio}, rtcpport = {audio_rtcp}, pt = 96, codec = "opus" }}'
    picture = (
        f'{{ type = "video", mid = "%s", port = {video}, rtcpport = {video_rtcp}, pt = 101, codec = "h264",'
        ' fmtp = "profile-level-id=42e01f;packetization-mode=1" }'
    )
    # an offer that is to pass for an answer has to look like the offer that was made
    media = [sound % "a", picture % "v"] if counter_offer else [picture % "0", sound % "1"]
    _configure(folder, websocket=str(websocket), media=", ".join(media))
    feed = Feed(video, audio, width=size[0], height=size[1], marks=marks, beep_delay_s=beep_delay_s)
    settings = {
        "janus": f"ws://127.0.0.1:{websocket}",
        "id": _ENDPOINT,
        "mountpoint": _MOUNTPOINT,
        "token": TOKEN,
        "counterOffer": counter_offer,
    }
    with contextlib.ExitStack() as stack:
        stack.enter_context(
            process([command, "-F", str(folder), "-C", str(folder / "janus.jcfg")], folder / "janus.log")
        )
        await_that(lambda: listens(websocket), "janus listens")
        feeding = stack.enter_context(
            process(
                python_command("-m", "tests.peers.feed", json.dumps(dataclasses.asdict(feed))),
                folder / "feed.log",
                child_environment() | {"PYTHONPATH": f"{ROOT}:{child_environment()['PYTHONPATH']}"},
                speaks=True,
            )
        )
        rig = Janus(feeding)
        listener = None
        try:
            server = stack.enter_context(
                process(["node", str(FOLDER / "srv.mjs"), json.dumps(settings)], folder / "whep.log", speaks=True)
            )
            listener = rig.listen(server)
            yield rig
        finally:
            stack.close()
            if listener is not None:
                listener.join()


def _configure(folder: Path, **values: str) -> None:
    """The configuration, from its templates; of the plugins and the transports only those that are needed."""
    installed = next(iter(Path("/usr/lib").glob("*/janus")), None) or Path("/usr/lib/janus")
    for kind, name in (("plugins", "streaming"), ("transports", "websockets")):
        (folder / kind).mkdir()
        library = f"libjanus_{name}.so"
        (folder / kind / library).symlink_to(installed / kind / library)
    for template in FOLDER.glob("*.jcfg"):
        text = Template(template.read_text()).substitute(
            folder=folder, plugins=folder / "plugins", transports=folder / "transports", **values
        )
        (folder / template.name).write_text(text)


def _main() -> None:
    """By hand: `python -m tests.peers.janus FOLDER`, until stdin ends."""
    with janus(Path(sys.argv[1])) as rig:
        sys.stderr.write(f"{rig.url} (token {TOKEN})\n")
        sys.stdin.read()
        sent = rig.end_feed()
        sys.stderr.write(f"{sent.pictures} pictures, {sent.blocks} blocks of sound\n")


if __name__ == "__main__":
    _main()
