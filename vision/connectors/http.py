"""What the HTTP sides have in common: one bounded request at a time, and words for what went wrong."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlsplit

import httpx
from pydantic import AfterValidator, SecretStr

from vision.errors import SourceError
from vision.hosts import is_loopback
from vision.redaction import HIDDEN, redacted_text

__all__ = ["Answer", "RequestError", "Token", "client_for", "exchange", "is_http_url", "quoted"]

_MOST_ANSWER = 256 * 1024
_MOST_QUOTED = 120


class RequestError(Exception):
    """A request that got no usable answer; says why in a few words, without URL and secrets."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer."""

    status: int
    headers: Mapping[str, str]
    body: str


def _sendable(token: SecretStr) -> SecretStr:
    """A token must fit into a header; the HTTP library's own message would show it."""
    text = token.get_secret_value()
    if not text or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("a token is ASCII without spaces and line ends, and not empty")
    return token


Token = Annotated[SecretStr, AfterValidator(_sendable)]


def client_for(url: str) -> httpx.AsyncClient:
    """A client that follows no redirects by itself; proxies of the environment are not for this machine.

    :raises SourceError: when what the environment says of proxies and certificates cannot be used.
    """
    local = is_loopback(urlsplit(url).hostname or "")
    try:
        # identity: the limit on an answer's size shall not meet a compressed one
        return httpx.AsyncClient(
            timeout=None,
            follow_redirects=False,
            trust_env=not local,
            headers={"Accept-Encoding": "identity"},
        )
    except (ValueError, ImportError, OSError, httpx.InvalidURL) as error:
        raise SourceError(
            f"http: the environment's proxy or certificate settings cannot be used: {_said_by(error)}"
            " (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, SSL_CERT_FILE)"
        ) from None  # the error quotes the proxy's URL, password and all


async def exchange(
    client: httpx.AsyncClient,
    method: str,
    url: str,
    *,
    limit_s: float,
    headers: Mapping[str, str],
    content: bytes = b"",
    on_head: Callable[[httpx.Response], None] = lambda _: None,
) -> Answer:
    """Send a request and read its answer, both within `limit_s`.

    :param on_head: called with status and headers as soon as they are there, whatever becomes of the body.
    :raises RequestError: when no answer comes, or one without an end.
    """
    # an Authorization header that is given is not to be replaced by what the URL says of user and password
    auth = httpx.Auth() if "Authorization" in headers else httpx.USE_CLIENT_DEFAULT
    body = bytearray()
    try:
        async with (
            asyncio.timeout(limit_s),
            client.stream(method, url, content=content, headers=headers, auth=auth) as response,
        ):
            on_head(response)
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > _MOST_ANSWER:
                    raise RequestError(f"answered more than {_MOST_ANSWER} bytes")
    except (TimeoutError, httpx.TimeoutException) as error:
        raise RequestError(f"no complete answer within {limit_s:g} s") from error
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
        raise RequestError(f"cannot be reached: {_said_by(error)}") from error
    return Answer(response.status_code, response.headers, body.decode(errors="replace"))


def is_http_url(url: str) -> bool:
    """Whether a request can be sent there."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def quoted(text: str, *secrets: str) -> str:
    """What a server said, fit for a message: a short line, printable, without the secrets it may echo."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, HIDDEN)
    text = "".join(character if character.isprintable() else " " for character in text)
    return redacted_text(" ".join(text.split()))[:_MOST_QUOTED]


def _said_by(error: BaseException) -> str:
    """Why a request failed, without what a URL in it may hold in secret, and with what the system said."""
    said = redacted_text(" ".join(str(error).split())) or type(error).__name__
    deepest = _system_error(error)
    return f"{said} ({deepest})" if deepest and deepest not in said else said


def _system_error(error: BaseException) -> str | None:
    found: str | None = None
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, BaseExceptionGroup):
            inner = inner.exceptions[0]
            continue
        if isinstance(inner, OSError) and inner.strerror:
            of_a_library = isinstance(inner, ssl.SSLError | socket.gaierror)  # numbers of their own
            found = inner.strerror if of_a_library or not inner.errno else os.strerror(inner.errno)
        inner = inner.__cause__ or inner.__context__
    return found
