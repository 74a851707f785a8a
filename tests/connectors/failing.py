"""A WHEP server whose senders fail on purpose, a session API before it, and a processor that counts resets."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal

from aiortc.rtp import RtcpByePacket

from tests.connectors.sender import Sender, pictures, sound
from tests.connectors.server import Request, Server, reply
from vision.frame import Frame
from vision.processor import Processor, StreamInfo
from vision.result import Result, metric

SESSION = "65f0c0ffee0123456789abcd"

Then = Literal["goes on", "stalls", "closes", "says bye", "vanishes"]


@dataclass(frozen=True, slots=True)
class Plays:
    """A connection that streams for a while, and then fails."""

    seconds: float = 1.0
    then: Then = "goes on"
    with_pictures: bool = True


@dataclass(frozen=True, slots=True)
class Refuses:
    """No connection."""

    status: int


Act = Plays | Refuses


class Failing:
    """Answers each POST by the next act, the last of them again and again; DELETE ends the connection."""

    def __init__(self, *acts: Act) -> None:
        self.acts = acts
        self.posts = 0
        self.opened: list[str] = []
        self.deleted: list[str] = []
        self._senders: dict[str, Sender] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def __call__(self, request: Request, writer: asyncio.StreamWriter) -> None:
        if request.method == "DELETE":
            self.deleted.append(request.target)
            if sender := self._senders.pop(request.target, None):
                await sender.close()
            writer.write(reply(200))
        else:
            await self._post(request, writer)
        await writer.drain()

    async def _post(self, request: Request, writer: asyncio.StreamWriter) -> None:
        act = self.acts[min(self.posts, len(self.acts) - 1)]
        self.posts += 1
        if isinstance(act, Refuses):
            writer.write(reply(act.status, "not now"))
            return
        seconds = 60.0 if act.then == "goes on" else act.seconds
        tracks = [pictures(seconds if act.with_pictures else 0), sound(seconds)]
        sender = Sender(tracks, closes_after=act.then == "closes")
        location = f"{request.target}/viewer/{self.posts}"
        self._senders[location] = sender
        self.opened.append(location)
        answer = await sender.answer_to(request.body)
        writer.write(reply(201, answer, Content_Type="application/sdp", Location=location))
        if act.then in ("vanishes", "says bye"):
            task = asyncio.create_task(self._fail(sender, act.then))
            self._tasks.add(task)

    @staticmethod
    async def _fail(sender: Sender, how: Then) -> None:
        for track in sender.tracks:
            await track.over.wait()
        assert sender.peer is not None
        for transceiver in sender.peer.getTransceivers():
            transport: Any = transceiver.sender.transport
            if how == "says bye":
                await transport._send_rtp(bytes(RtcpByePacket(sources=[transceiver.sender._ssrc])))
                continue
            for protocol in transport.transport._connection._protocols:
                protocol.transport.close()

    async def close(self) -> None:
        """End what nobody has deleted."""
        for task in self._tasks:
            task.cancel()
        for sender in self._senders.values():
            await sender.close()


class Service:
    """The session API before a `Failing`: what it was asked, and what it refuses.

    :ivar refusals: operation -> status of the answers from now on.
    :ivar once: (operation, which call of it, from 1) -> status of that answer.
    :ivar refused_paths: WHEP endpoints that answer 404 once they have been connected to.
    :ivar delays: operation -> seconds until it is answered.
    :ivar calls: how often each operation was asked for.
    """

    def __init__(self, whep: Failing) -> None:
        self.whep = whep
        self.refusals: dict[str, int] = {}
        self.once: dict[tuple[str, int], int] = {}
        self.refused_paths: set[str] = set()
        self.delays: dict[str, float] = {}
        self.calls: Counter[str] = Counter()
        self.server = Server(self)

    async def __call__(self, request: Request, writer: asyncio.StreamWriter) -> None:
        if "/v1/avatar-session/" not in request.target:
            known = [target.rpartition("/viewer/")[0] for target in self.whep.opened]
            if request.method == "POST" and request.target in self.refused_paths.intersection(known):
                writer.write(reply(404, "no such session"))
            else:
                await self.whep(request, writer)
            return
        operation = request.target.rpartition("/")[2]
        self.calls[operation] += 1
        await asyncio.sleep(self.delays.get(operation, 0))
        if status := self.once.get((operation, self.calls[operation]), self.refusals.get(operation)):
            writer.write(reply(status, json.dumps({"success": False, "error": "on purpose"})))
        else:
            writer.write(reply(200, json.dumps(self._answer(operation))))

    def _answer(self, operation: str) -> dict[str, object]:
        whep_url = f"{self.server.url}/whep/session/{self.calls['init-client']}"
        turn = {"url": "127.0.0.1", "credential": "turn-s3cret", "username": "turn-user"}
        more: dict[str, dict[str, object]] = {
            "create": {"sessionId": f"{SESSION}{self.calls['create']}", "token": "t.o.ken"},
            "init-client": {"whepUrl": whep_url, "turn": turn},
        }
        return {"success": True, **more.get(operation, {})}


@dataclass(frozen=True, slots=True)
class Resets(Result):
    """How often, and why, a processor was told that what it sees does not continue what it saw."""

    resets: int = metric("Resets so far", unit="1")
    reconnects: int = metric("Those because of another connection", unit="1")


class ResetsProcessor(Processor[Resets]):
    """Counts its resets."""

    def setup(self, info: StreamInfo) -> None:
        self._reasons: list[str] = []

    def reset(self, reason: str) -> None:
        self._reasons.append(reason)

    def process(self, frame: Frame) -> Resets:
        return Resets(len(self._reasons), self._reasons.count("reconnect"))
