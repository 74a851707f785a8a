"""A local HTTP server that answers as it is told, or misbehaves; and what to tell it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Self

MOST_BODY = 1 << 20
TLS_RECORD = b"\x16"


@dataclass(frozen=True, slots=True)
class Request:
    """What a client sent; names of headers are in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: str


Behaviour = Callable[[Request, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """Listens on 127.0.0.1 inside the running loop; notes every request, then lets `behaviour` answer it."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.requests: list[Request] = []
        self.asked = asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._server.wait_closed()

    def sent(self, method: str) -> list[Request]:
        """The requests of one method."""
        return [request for request in self.requests if request.method == method]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            first = await reader.readexactly(1)
            if first == TLS_RECORD:
                writer.write(reply(400, "this is no TLS port"))
                return
            request = await _read(first, reader)
            self.requests.append(request)
            self.asked.set()
            await self.behaviour(request, writer)
        except (ConnectionError, asyncio.IncompleteReadError, ValueError, asyncio.CancelledError):
            pass  # clients that leave, and those that speak TLS
        finally:
            writer.close()
            self._tasks.discard(task)


async def _read(first: bytes, reader: asyncio.StreamReader) -> Request:
    head = (first + await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    start, *lines = head.strip().split("\r\n")
    method, target, _ = start.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(min(int(headers.get("content-length", 0)), MOST_BODY))
    return Request(method, target, headers, body.decode())


def reply(status: int, body: str | bytes = b"", **headers: str) -> bytes:
    """A whole HTTP answer; `Content_Type` becomes Content-Type."""
    content = body.encode() if isinstance(body, str) else body
    fields = {"Content-Length": str(len(content)), "Connection": "close"}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} Said\r\n{head}\r\n".encode() + content


def answers(status: int, body: str | bytes = b"", **headers: str) -> Behaviour:
    """Always the same answer; to DELETE, 200."""

    async def behave(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(reply(200) if request.method == "DELETE" else reply(status, body, **headers))
        await writer.drain()

    return behave


def answers_json(status: int, body: object) -> Behaviour:
    """Always the same JSON."""
    return answers(status, json.dumps(body), Content_Type="application/json")


async def closes(request: Request, writer: asyncio.StreamWriter) -> None:
    """Hangs up at once."""


async def never_answers(request: Request, writer: asyncio.StreamWriter) -> None:
    """Keeps the client waiting."""
    await asyncio.Event().wait()


async def talks_garbage(request: Request, writer: asyncio.StreamWriter) -> None:
    """Answers something that is no HTTP."""
    writer.write(b"\x00\x01\x02 220 smtp.example.com ESMTP\r\n\r\n")
    await writer.drain()


def endless(head: bytes) -> Behaviour:
    """A body without an end, for all but DELETE."""

    async def behave(request: Request, writer: asyncio.StreamWriter) -> None:
        if request.method == "DELETE":
            writer.write(reply(200))
            return
        writer.write(head)
        while True:
            writer.write(b"v=0 " * 4096)
            await writer.drain()

    return behave


def breaks_off(location: str) -> Behaviour:
    """A 201 whose body ends in the middle."""

    async def behave(request: Request, writer: asyncio.StreamWriter) -> None:
        whole = reply(201, "v=0\r\n" * 100, Location=location)
        writer.write(reply(200) if request.method == "DELETE" else whole[:-200])
        await writer.drain()

    return behave
