"""The connector `whep`: a stream from a WHEP endpoint (draft-ietf-wish-whep)."""

from __future__ import annotations

import asyncio
import logging
from urllib.parse import urljoin, urlsplit, urlunsplit

import httpx
from pydantic import Field, HttpUrl, SecretStr

from vision.connectors.base import Connector
from vision.connectors.http import client_for, said_by
from vision.connectors.peer import IceServer, Peer, PeerOptions
from vision.connectors.receiver import is_loopback
from vision.errors import SourceError
from vision.intake import Intake
from vision.redaction import redacted_url

__all__ = ["WhepConnector", "WhepOptions", "WhepSession", "receive_whep", "session_url"]

_log = logging.getLogger(__name__)
_POST_S = 5.0
_DELETE_S = 3.0
_MOST_REDIRECTS = 5
_MOST_ANSWER = 256 * 1024
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
    token: SecretStr | None = Field(None, description="bearer token; none: no Authorization header is sent")
    ice_servers: list[IceServer] = Field([], description="STUN and TURN servers")


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
    async with WhepSession(url, token) as session, Peer(options, ice_servers, loopback=loopback) as peer:
        return await peer.receive(session.offer, intake)


class WhepSession:
    """The HTTP side: one offer, its answer, and the DELETE at the end. Use it as `async with`."""

    def __init__(self, url: str, token: SecretStr | None) -> None:
        self._url, self._token = url, token
        self._client = client_for(url)
        self._resource: str | None = None

    async def __aenter__(self) -> WhepSession:
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            await self._release()
        finally:
            await self._client.aclose()

    async def offer(self, sdp: str) -> str:
        """POST the offer; returns the answer.

        :raises SourceError: when the server cannot be reached, refuses, or answers something else than SDP.
        """
        posting = asyncio.create_task(self._post(self._url, sdp))
        try:
            url, response, answer = await asyncio.shield(posting)
        except asyncio.CancelledError:
            # the server may have opened a session by now: learn its address, so that it can be closed
            await asyncio.wait([posting], timeout=_POST_S)
            posting.cancel() if not posting.done() else posting.exception()
            raise
        if not answer.lstrip().startswith("v=0"):
            raise SourceError(f"whep: {redacted_url(url)}: answered {response.status_code} without an SDP answer")
        return answer

    async def _post(self, url: str, sdp: str) -> tuple[str, httpx.Response, str]:
        for _ in range(_MOST_REDIRECTS):
            response, body = await self._post_once(url, sdp)
            location = response.headers.get("Location")
            if response.status_code in (301, 302, 307, 308) and location:
                url = self._redirected(url, location)
                continue
            if response.status_code not in (200, 201):
                raise SourceError(self._refusal(url, response, body))
            if location:
                self._resource = session_url(url, location)
            else:
                _log.warning("whep: %s gave no Location; the viewer's slot cannot be released", redacted_url(url))
            return url, response, body
        raise SourceError(f"whep: {redacted_url(self._url)}: redirected more than {_MOST_REDIRECTS} times")

    async def _post_once(self, url: str, sdp: str) -> tuple[httpx.Response, str]:
        headers = {"Content-Type": "application/sdp", **self._authorization()}
        try:
            async with (
                asyncio.timeout(_POST_S),
                self._client.stream("POST", url, content=sdp.encode(), headers=headers) as response,
            ):
                body = b""
                async for chunk in response.aiter_bytes():
                    body += chunk
                    if len(body) > _MOST_ANSWER:
                        raise SourceError(f"whep: {redacted_url(url)}: answered more than {_MOST_ANSWER} bytes")
        except (TimeoutError, httpx.TimeoutException) as error:
            raise SourceError(f"whep: {redacted_url(url)}: no answer within {_POST_S:g} s") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise SourceError(f"whep: {redacted_url(url)}: cannot be reached: {said_by(error)}") from error
        return response, body.decode(errors="replace")

    def _redirected(self, url: str, location: str) -> str:
        target = urljoin(url, location)
        if urlsplit(target).scheme not in ("http", "https"):
            raise SourceError(f"whep: {redacted_url(url)}: redirects to {redacted_url(target)}, which is not HTTP")
        if urlsplit(target).netloc != urlsplit(url).netloc:
            self._token = None  # a token is for the host it was given for
        return target

    def _authorization(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token.get_secret_value()}"} if self._token else {}

    def _refusal(self, url: str, response: httpx.Response, body: str) -> str:
        status = response.status_code
        meaning = _MEANING.get(status, "the server failed" if status >= 500 else "the server refused the offer")
        said = " ".join(body.split())[:120]
        if self._token:
            said = said.replace(self._token.get_secret_value(), "***")
        return f"whep: {redacted_url(url)}: {status}: {meaning}" + (f" (it says: {said})" if said else "")

    async def _release(self) -> None:
        """DELETE the session; 404, 405 and 501 mean that there is nothing to release."""
        if self._resource is None:
            return
        resource, self._resource = self._resource, None
        try:
            async with asyncio.timeout(_DELETE_S):
                response = await self._client.delete(resource, headers=self._authorization())
        except (TimeoutError, httpx.HTTPError) as error:
            _log.warning("whep: %s: not released: %s", redacted_url(resource), said_by(error))
            return
        if response.status_code >= 400 and response.status_code not in (404, 405, 501):
            _log.warning("whep: %s: not released: the server answered %d", redacted_url(resource), response.status_code)


def session_url(posted: str, location: str) -> str:
    """Where the session is, from the posted URL and the `Location` header.

    An absolute one is used as it is, a relative one is joined. A path-absolute one that does not lie below the
    posted path may come from a media server that does not know the prefix it is served under; where it holds a
    `/viewer/` part, the session is the posted URL with that part behind it.
    """
    if urlsplit(location).scheme:
        return location
    base = urlsplit(posted)
    path, marker, viewer = urlsplit(location).path.partition("/viewer/")
    if location.startswith("/") and marker and base.path.rstrip("/").endswith(path):
        viewer_path = f"{base.path.rstrip('/')}{marker}{viewer}"
        return urlunsplit((base.scheme, base.netloc, viewer_path, urlsplit(location).query, ""))
    return urljoin(posted, location)
