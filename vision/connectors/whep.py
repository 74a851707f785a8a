"""The connector `whep`: a stream from a WHEP endpoint (draft-ietf-wish-whep)."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Self
from urllib.parse import SplitResult, parse_qsl, urljoin, urlsplit, urlunsplit

import httpx
from pydantic import Field, HttpUrl, SecretStr, field_validator, model_validator

from vision.connectors.base import Connector
from vision.connectors.http import Answer, RequestError, Token, client_for, exchange, is_http_url, quoted
from vision.connectors.peer import IceServer, Peer, PeerOptions
from vision.connectors.release import uninterrupted
from vision.errors import SourceError
from vision.hosts import is_loopback
from vision.intake import Intake
from vision.redaction import redacted_url

__all__ = ["WhepConnector", "WhepOptions", "WhepSession", "receive_whep", "session_url"]

_log = logging.getLogger(__name__)
_POST_S = 5.0
_LATE_S = 3.0  # how long a POST under way is waited for when the run is interrupted; it may open a session yet
_DELETE_S = 3.0
_MOST_REDIRECTS = 5
_REDIRECTS = frozenset([301, 302, 307, 308])  # the first two a server must not use; some do
_ACCEPTED = frozenset([200, 201])
_PORTS = {"http": 80, "https": 443}
_MEANING = {
    400: "the server cannot use the offer",
    401: "the token is missing or not accepted (source.token)",
    403: "the token is missing or not accepted (source.token)",
    404: "there is no such stream, or nothing is being sent",
    405: "this URL is no WHEP endpoint",
    406: "the server cannot use the offer",
    409: "the session already has a viewer, or nothing is being sent yet",
    415: "the server does not take application/sdp; this URL is no WHEP endpoint",
    429: "too many requests; wait, then try again",
    503: "the server is overloaded; try again later",
}


class WhepOptions(PeerOptions):
    """Options of `whep`."""

    url: HttpUrl = Field(description="the WHEP endpoint")
    token: Token | None = Field(None, description="bearer token; none or empty: no Authorization header is sent")
    ice_servers: list[IceServer] = Field([], description="STUN and TURN servers")

    @field_validator("token", mode="before")
    @classmethod
    def _empty_is_none(cls, token: Any) -> Any:
        """So that `${WHEP_TOKEN:-}` serves with a token and without one."""
        return None if token == "" else token

    @model_validator(mode="after")
    def _relay_has_a_server(self) -> Self:
        if self.ice_transport_policy == "relay" and not any(server.is_turn for server in self.ice_servers):
            raise ValueError("ice_transport_policy: relay needs a TURN server in ice_servers")
        return self


class WhepConnector(Connector):
    """Pictures and samples from a WHEP endpoint, over WebRTC."""

    Options = WhepOptions

    async def stream(self, intake: Intake) -> str:
        options: WhepOptions = self.options
        return await receive_whep(str(options.url), options.token, options, options.ice_servers, intake)


async def receive_whep(
    url: str, token: SecretStr | None, options: PeerOptions, ice_servers: list[IceServer], intake: Intake
) -> str:
    """Negotiate at `url`, hand in what comes, and let go of the viewer's slot on every way out."""
    loopback = is_loopback(urlsplit(url).hostname or "")
    # the session is left first: whatever closing the peer may take, the slot is free by then
    async with Peer(options, ice_servers, loopback=loopback) as peer, WhepSession(url, token) as session:
        return await peer.receive(session.offer, intake)


class WhepSession:
    """The HTTP side: one offer, its answer, and the DELETE at the end. Use it as `async with`."""

    def __init__(self, url: str, token: SecretStr | None) -> None:
        self._url, self._token = url, token
        self._secrets = _secrets(url, token)
        self._client = client_for(url)
        self._posting: asyncio.Task[str] | None = None
        self._posted = url  # where the session was opened, behind all redirects
        self._resource: str | None = None

    async def __aenter__(self) -> WhepSession:
        return self

    async def __aexit__(self, *_: object) -> None:
        await uninterrupted(self._leave())

    async def offer(self, sdp: str) -> str:
        """POST the offer; returns the answer.

        :raises SourceError: when the server cannot be reached, refuses, or answers something else than SDP.
        """
        # a task of its own: when this is cancelled, the server may open a session all the same
        self._posting = asyncio.create_task(self._post(sdp))
        return await asyncio.shield(self._posting)

    async def _post(self, sdp: str) -> str:
        url = self._url
        for _ in range(_MOST_REDIRECTS + 1):
            answer = await self._post_once(url, sdp)
            location = answer.headers.get("Location")
            if answer.status in _REDIRECTS and location:
                url = self._redirected(url, location)
                continue
            if answer.status not in _ACCEPTED:
                raise SourceError(self._refusal(url, answer))
            if not answer.body.lstrip().startswith("v=0"):
                raise SourceError(f"whep: {redacted_url(url)}: answered {answer.status} without an SDP answer")
            return answer.body
        raise SourceError(f"whep: {redacted_url(self._url)}: redirected more than {_MOST_REDIRECTS} times")

    async def _post_once(self, url: str, sdp: str) -> Answer:
        headers = {"Content-Type": "application/sdp", **self._authorization()}
        try:
            return await exchange(
                self._client,
                "POST",
                url,
                limit_s=_POST_S,
                headers=headers,
                content=sdp.encode(),
                on_head=lambda response: self._learn(url, response),
            )
        except RequestError as error:
            raise SourceError(f"whep: {redacted_url(url)}: {error}") from error

    def _learn(self, url: str, response: httpx.Response) -> None:
        """Where the session is, before the body is read: also one whose answer breaks off holds the slot."""
        if response.status_code not in _ACCEPTED:
            return
        self._posted = url
        self._resource = session_url(url, response.headers.get("Location", ""))
        if self._resource is None:
            _log.warning("whep: %s gave no usable Location; the viewer's slot cannot be released", redacted_url(url))

    def _redirected(self, url: str, location: str) -> str:
        target = _joined(url, location)
        if target is None or not is_http_url(target):
            shown = redacted_url(target) if target else "something"
            raise SourceError(f"whep: {redacted_url(url)}: redirects to {quoted(shown)}, which is no HTTP URL")
        if not _is_same_or_safer(urlsplit(url), urlsplit(target)):
            self._token = None
        return target

    def _authorization(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token.get_secret_value()}"} if self._token else {}

    def _refusal(self, url: str, answer: Answer) -> str:
        meaning = _MEANING.get(answer.status, "the server failed" if answer.status >= 500 else "the server refused")
        said = quoted(answer.body, *self._secrets)
        return f"whep: {redacted_url(url)}: {answer.status}: {meaning}" + (f" (it says: {said})" if said else "")

    async def _leave(self) -> None:
        """Close what was opened, also by a POST that is under way still; bounded in time."""
        try:
            if self._posting is not None:
                await asyncio.wait([self._posting], timeout=_LATE_S)
                self._posting.cancel()
                await asyncio.wait([self._posting])
                if not self._posting.cancelled():
                    self._posting.exception()  # seen; where it matters `offer` raised it
            await self._release()
        finally:
            await self._client.aclose()

    async def _release(self) -> None:
        """DELETE the session; 404, 405 and 501 mean that there is nothing to release."""
        if self._resource is None:
            return
        resource, self._resource = self._resource, None
        known = _is_same_or_safer(urlsplit(self._posted), urlsplit(resource))
        headers = self._authorization() if known else {}
        try:
            answer = await exchange(self._client, "DELETE", resource, limit_s=_DELETE_S, headers=headers)
        except RequestError as error:
            _log.warning("whep: %s: not released: %s", redacted_url(resource), error)
            return
        if answer.status >= 400 and answer.status not in (404, 405, 501):
            _log.warning("whep: %s: not released: the server answered %d", redacted_url(resource), answer.status)


def session_url(posted: str, location: str) -> str | None:
    """Where the session is, from the posted URL and the `Location` header; `None` where that is no HTTP URL.

    An absolute one is used as it is, a relative one is joined. A path-absolute one that does not lie below the
    posted path may come from a media server that does not know the prefix it is served under; where it holds a
    `/viewer/` part, the session is the posted URL with that part behind it.
    """
    joined = _joined(posted, location) if location else None
    if joined is None or not is_http_url(joined):
        return None
    given, base = urlsplit(location), urlsplit(posted)
    path, marker, viewer = given.path.partition("/viewer/")
    if given.scheme or given.netloc or not given.path.startswith("/") or not marker:
        return joined
    if not base.path.rstrip("/").endswith(path):
        return joined
    viewer_path = f"{base.path.rstrip('/')}{marker}{viewer}"
    return urlunsplit((base.scheme, base.netloc, viewer_path, given.query, ""))


def _joined(url: str, location: str) -> str | None:
    try:
        return urljoin(url, location)
    except ValueError:
        return None


def _is_same_or_safer(one: SplitResult, other: SplitResult) -> bool:
    """Whether a URL leads to the same server as another, or to the same host over TLS instead of plainly.

    A token is for the server it was given for, and goes nowhere else.
    """
    places = [(part.scheme, part.hostname, part.port or _PORTS[part.scheme]) for part in (one, other)]
    upgraded = [("http", one.hostname, 80), ("https", one.hostname, 443)]
    return places[0] == places[1] or places == upgraded


def _secrets(url: str, token: SecretStr | None) -> list[str]:
    """What a server may echo and a message must not show: the token, and the values in the URL's query."""
    values = [value for _, value in parse_qsl(urlsplit(url).query) if len(value) > 5]
    return [token.get_secret_value(), *values] if token else values
