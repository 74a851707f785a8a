"""What the HTTP sides have in common: one bounded request at a time, and words for what went wrong."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Annotated
from urllib.parse import urlsplit

import httpx
from pydantic import AfterValidator, SecretStr

from vision.errors import SourceError
from vision.hosts import is_loopback
from vision.redaction import HIDDEN, redacted_text

__all__ = [
    "Answer",
    "Link",
    "RequestError",
    "Token",
    "client_for",
    "exchange",
    "is_http_url",
    "links",
    "quoted",
    "retry_after_s",
    "seconds_until",
    "words_of",
]

_MOST_ANSWER = 256 * 1024
_MOST_QUOTED = 120
_SAYING = ("title", "detail", "error", "message")  # the first two are RFC 9457's, the others what servers use instead
_LINK = re.compile(r"\s*(?:<([^>]*)>|([^\s<>,;\"]+))\s*")  # some servers forget the angle brackets
_PARAMETER = re.compile(r";[;\s]*([^\s=;,\"]+)\s*(?:=\s*(?:\"((?:[^\"\\]|\\.)*)\"|([^\s;,\"]*)))?\s*")


class RequestError(Exception):
    """A request that got no usable answer; says why in a few words, without URL and secrets.

    :ivar may_pass: whether the same request may do better a little later.
    """

    def __init__(self, message: str, *, may_pass: bool = False) -> None:
        super().__init__(message)
        self.may_pass = may_pass


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
        raise RequestError(f"no complete answer within {limit_s:g} s", may_pass=True) from error
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
        may_pass = isinstance(error, httpx.TransportError | OSError) and not _is_about_tls(error)
        raise RequestError(f"cannot be reached: {_said_by(error)}", may_pass=may_pass) from error
    return Answer(response.status_code, response.headers, body.decode(errors="replace"))


def is_http_url(url: str) -> bool:
    """Whether a request can be sent there."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def words_of(answer: Answer) -> str:
    """What a server says of an error: `title` and `detail` of a JSON body (RFC 9457), or the body as it is.

    An SDP body says nothing that could be quoted.
    """
    text = answer.body.strip()
    if text.startswith("v=0"):
        return ""
    try:
        found = json.loads(text) if text.startswith("{") else None
    except (ValueError, RecursionError):
        return text
    said = [value for name in _SAYING if isinstance(value := found.get(name), str)] if isinstance(found, dict) else []
    return ": ".join(dict.fromkeys(said)) or text


def seconds_until(date: str, headers: Mapping[str, str], now_s: float) -> float | None:
    """How far off an HTTP date is, by the server's own clock where it tells it; `None` where it is no date.

    :param now_s: seconds since 1970, for servers that send no `Date`.
    """
    then_s, told_s = _seconds(date), _seconds(headers.get("Date", ""))
    return None if then_s is None else then_s - (now_s if told_s is None else told_s)


def retry_after_s(headers: Mapping[str, str], now_s: float) -> float | None:
    """How long a server asks to wait, in seconds from 0 (RFC 9110, 10.2.3); `None` where it does not say.

    :param now_s: seconds since 1970.
    """
    given = headers.get("Retry-After", "").strip()
    if re.fullmatch(r"[0-9]{1,9}", given):
        return float(given)
    wait_s = seconds_until(given, headers, now_s)
    return None if wait_s is None else max(0.0, wait_s)


@dataclass(frozen=True, slots=True)
class Link:
    """One of the links of a `Link` header; names of parameters are in lower case."""

    target: str
    parameters: Mapping[str, str] = field(repr=False)  # they may be credentials


def links(header: str) -> list[Link]:
    """The links of a `Link` header, or of several that are joined by commas (RFC 8288, 3).

    What is malformed ends the list: a guess at credentials helps nobody.
    """
    found: list[Link] = []
    at = 0
    while match := _LINK.match(header, at):
        target, at = match[1] if match[1] is not None else match[2], match.end()
        parameters: dict[str, str] = {}
        while match := _PARAMETER.match(header, at):
            value = re.sub(r"\\(.)", r"\1", match[2]) if match[2] is not None else match[3] or ""
            parameters.setdefault(match[1].lower(), value)
            at = match.end()
        while header[at : at + 1] == ";" or header[at : at + 1].isspace():
            at += 1
        if header[at : at + 1] not in ("", ","):
            break
        found.append(Link(target.strip(), parameters))
        at += 1
    return found


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


def _seconds(date: str) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def _is_about_tls(error: BaseException) -> bool:
    """A certificate that is not trusted, or a port that does not speak TLS: neither gets better by itself."""
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, ssl.SSLError):
            return True
        inner = inner.__cause__ or inner.__context__
    return False


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
