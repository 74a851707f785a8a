"""What the HTTP sides share: quoting what servers say, and saying why a request failed."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from tests.connectors.server import Request, Server, endless
from tests.connectors.support import run_clean
from vision.connectors.http import RequestError, client_for, exchange, is_http_url, quoted


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\r\n\tb  c", "a b c"),
        ("\x1b]0;title\x07\u202eabc\x00", "]0;title abc"),
        ("see https://u:p@h/x?token=abc#f now", "see https://***@h/x?*** now"),
        ("see http://[oh no", "see *** no"),
        ("the s3cret is s3cret", "the *** is ***"),
        ("x" * 500, "x" * 120),
        ("", ""),
    ],
)
def test_quoted(text: str, expected: str) -> None:
    """A server's words are a short printable line without secrets."""
    assert quoted(text, "s3cret", "") == expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://a", True),
        ("https://a:1/b?c", True),
        ("HTTP://a", True),
        ("http://", False),
        ("http:///x", False),
        ("http://a:99999", False),
        ("http://[x", False),
        ("file:///x", False),
        ("/x", False),
    ],
)
def test_is_http_url(url: str, expected: bool) -> None:
    """What a request can be sent to."""
    assert is_http_url(url) == expected


def test_a_compressed_answer_is_not_asked_for() -> None:
    """The limit on an answer counts what comes; nothing small may grow large."""

    async def scenario() -> None:
        async with Server(endless(b"HTTP/1.1 200 OK\r\n\r\n")) as server, client_for(server.url) as client:
            with pytest.raises(RequestError, match="answered more than"):
                await exchange(client, "GET", server.url, limit_s=5, headers={})
            assert server.requests[0].headers["accept-encoding"] == "identity"

    run_clean(scenario())


def test_a_slow_answer_does_not_get_more_time_with_every_byte() -> None:
    """The deadline is one for the whole answer."""

    async def drip(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b".")
            await writer.drain()
            await asyncio.sleep(0.05)

    async def scenario() -> None:
        async with Server(drip) as server, client_for(server.url) as client:
            with pytest.raises(RequestError, match=r"no complete answer within 0\.3 s"):
                await exchange(client, "GET", server.url, limit_s=0.3, headers={})

    run_clean(scenario(), limit_s=2)


def test_the_head_is_told_before_the_body() -> None:
    """Who asks for it learns status and headers also where the body never ends."""
    heads: list[httpx.Response] = []

    async def scenario() -> None:
        behaviour = endless(b"HTTP/1.1 201 OK\r\nLocation: /x\r\n\r\n")
        async with Server(behaviour) as server, client_for(server.url) as client:
            with pytest.raises(RequestError):
                await exchange(client, "POST", server.url, limit_s=5, headers={}, on_head=heads.append)

    run_clean(scenario())
    assert [(head.status_code, head.headers["location"]) for head in heads] == [(201, "/x")]


def test_a_name_that_does_not_resolve() -> None:
    """The resolver's own words are in the message."""

    async def scenario() -> None:
        async with client_for("http://x") as client:
            with pytest.raises(RequestError, match="cannot be reached"):
                await exchange(client, "GET", "http://no such host/", limit_s=5, headers={})

    run_clean(scenario())
