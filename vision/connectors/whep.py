"""The connector `whep`: a stream from a WHEP endpoint (draft-ietf-wish-whep)."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from email.message import Message
from typing import Any, NoReturn, Self
from urllib.parse import SplitResult, parse_qsl, urljoin, urlsplit, urlunsplit

import httpx
from pydantic import Field, HttpUrl, SecretStr, field_validator, model_validator

from vision.connectors.base import Connector
from vision.connectors.http import (
    Answer,
    RequestError,
    Token,
    client_for,
    exchange,
    is_http_url,
    links,
    quoted,
    retry_after_s,
    seconds_until,
    words_of,
)
from vision.connectors.peer import NotConnectedError, Peer, PeerOptions
from vision.connectors.recovery import RefusedError, recovering
from vision.connectors.release import uninterrupted
from vision.connectors.sdp import RemoteDescription, is_offer
from vision.connectors.turn import IceServer, is_ice_url
from vision.errors import SourceError
from vision.hosts import is_loopback, is_private
from vision.intake import Intake
from vision.redaction import redacted_url

__all__ = ["WhepConnector", "WhepOptions", "WhepSession", "link_servers", "receive_whep", "session_url"]

_log = logging.getLogger(__name__)
_POST_S = 5.0
_TRIES = 3
_BETWEEN_S = 1.0
_MOST_WAIT_S = 10.0  # between the tries, in all
_LATEST_S = 30.0  # a POST that was given up is listened to for so much longer; it may open a session yet
_LATE_S = 3.0  # and for so much longer when the run ends
_PATCH_S = 5.0
_DELETE_S = 3.0
_GOOD_S = 30.0  # a counter-offer that does not say how long it is good (draft-ietf-wish-whep)
_MOST_REDIRECTS = 5
_REDIRECTS = frozenset([301, 302, 307, 308])  # the first two a server must not use; some do
_ACCEPTED = frozenset([200, 201])
_COUNTER_OFFER = 406
_TAKEN = frozenset([200, 201, 204])  # the draft says 204
_BUSY = frozenset([409, 429, 503])
_MAY_PASS = _BUSY | {500, 502, 504}
_NOTHING_THERE = frozenset([404, 405, 410, 501])
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
_PATCH_MEANING = {
    400: "the server cannot use our answer to its offer",
    401: _MEANING[401],
    403: _MEANING[403],
    404: "the session is gone; our answer to the server's offer came too late",
    405: "the server made an offer, but takes no answer",
    410: "the session is gone; our answer to the server's offer came too late",
    412: "the session has changed at the server since its offer",
    501: "the server made an offer, but takes no answer",
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

        async def connection() -> NoReturn:
            await receive_whep(str(options.url), options.token, options, options.ice_servers, intake)

        return await recovering(
            connection, intake, timeout_s=options.recovery_timeout_s, open_ended=self.context.open_ended
        )


async def receive_whep(
    url: str, token: SecretStr | None, options: PeerOptions, ice_servers: list[IceServer], intake: Intake
) -> NoReturn:
    """One connection: negotiate at `url`, hand in what comes, and let go of the viewer's slot on every way out.

    :raises MediaLostError: when media came, and have ended.
    :raises RefusedError: when the server refuses, with its status.
    :raises SourceError: when the connection does not come about.
    """
    session = WhepSession(url, token)
    try:
        await _received(session, options, ice_servers, intake)
    except NotConnectedError:
        if ice_servers or not session.link_servers:
            raise
        _log.info("whep: no connection; trying again with the ICE servers that the server has named")
    await _received(WhepSession(url, token), options, session.link_servers, intake)


async def _received(
    session: WhepSession, options: PeerOptions, ice_servers: list[IceServer], intake: Intake
) -> NoReturn:
    # the session is left first: whatever closing the peer may take, the slot is free by then
    async with Peer(options, ice_servers, intake, loopback=session.is_here) as peer, session:
        await peer.receive(session)


@dataclass(slots=True)
class _Try:
    """One POST with its redirects, and what it opened at the server."""

    url: str  # where it was sent last
    token: SecretStr | None
    answering: asyncio.Task[Answer] | None = None
    is_given_up: bool = False  # nobody waits for its answer any more
    resource: str | None = None  # the session, as soon as the server has named it
    etag: str | None = None
    is_open: bool = False

    def headers(self, url: str) -> dict[str, str]:
        """The token, where a URL leads to the server that it is for."""
        if self.token is None or not _is_same_or_safer(urlsplit(self.url), urlsplit(url)):
            return {}
        return {"Authorization": f"Bearer {self.token.get_secret_value()}"}


class _TryFailedError(Exception):
    """A try that failed; says why in one line.

    :ivar wait_s: how long to wait before the next; `None`: there is no hope in one.
    :ivar status: that of the server's answer, where it is one that refuses.
    """

    def __init__(self, message: str, wait_s: float | None = None, *, status: int | None = None) -> None:
        super().__init__(message)
        self.wait_s, self.status = wait_s, status

    def final(self, more: str = "") -> SourceError:
        """What it is for the caller, where there is no other try."""
        message = f"{self}{more}"
        return SourceError(message) if self.status is None else RefusedError(message, self.status)


class WhepSession:
    """The HTTP side of one negotiation, and the DELETE at its end. Use it as `async with`.

    One `offer`; where the server answers with an offer of its own, one `answer` to that.

    :param sleep: waits between two tries, so many seconds.
    :param now_s: seconds since 1970, for dates in headers and how long a counter-offer is good.
    """

    def __init__(
        self,
        url: str,
        token: SecretStr | None,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._url, self._token = url, token
        self._sleep, self._now_s = sleep, now_s
        self._secrets = _secrets(url, token)
        self._client = client_for(url)
        self._tries: list[_Try] = []
        self._negotiated: _Try | None = None
        self._good_until_s: float | None = None  # of a counter-offer
        self._link_servers: list[IceServer] = []

    async def __aenter__(self) -> WhepSession:
        return self

    async def __aexit__(self, *_: object) -> None:
        await uninterrupted(self._leave())

    @property
    def is_here(self) -> bool:
        """Whether the server is on this machine."""
        return is_loopback(urlsplit(self._url).hostname or "")

    @property
    def link_servers(self) -> list[IceServer]:
        """ICE servers that the server named with its answer (`Link`, RFC 9725, 4.6); configured ones go before them."""
        return list(self._link_servers)

    async def offer(self, sdp: str) -> RemoteDescription:
        """POST the offer; returns the answer, or the server's own offer, which is to be answered by `answer`.

        What may pass is tried again: no answer, 500, 502 and 504 after a second; 409, 429 and 503 after what the
        server asks for, or after a second that doubles. Three tries, and ten seconds of waiting, at most.

        :raises RefusedError: when the server refuses, with its status.
        :raises SourceError: when the server cannot be reached, or answers something else than SDP.
        """
        waited_s = 0.0
        for number in range(1, _TRIES + 1):
            attempt = _Try(self._url, self._token)
            self._tries.append(attempt)
            try:
                return self._described(attempt, await self._answer_within(attempt, sdp))
            except _TryFailedError as failed:
                wait_s = self._pause_s(failed, number, waited_s)
                _log.info("%s; trying again in %g s", failed, wait_s)
            await self._sleep(wait_s)
            waited_s += wait_s
        raise AssertionError

    @staticmethod
    def _pause_s(failed: _TryFailedError, number: int, waited_s: float) -> float:
        """How long to wait after the `number`th try, of which `waited_s` have gone already.

        :raises SourceError: when there is no other try.
        """
        if failed.wait_s is None or number == _TRIES:
            raise failed.final() from failed
        pause_s = max(failed.wait_s, _BETWEEN_S * (2 ** (number - 1) if failed.status in _BUSY else 1))
        if waited_s + pause_s > _MOST_WAIT_S:
            raise failed.final(
                f"; it asks to wait {failed.wait_s:g} s (Retry-After), longer than the {_MOST_WAIT_S:g} s in all that"
                " are waited"
            ) from failed
        return pause_s

    async def answer(self, sdp: str) -> None:
        """PATCH our answer to the server's offer (draft-ietf-wish-whep).

        A server that takes the answer and never says so is given the benefit of the doubt: whether media come is
        what counts, and the deadline for connecting ends it.

        :raises RefusedError: when the server refuses, with its status.
        :raises SourceError: when the server cannot be reached, or its offer is no longer good.
        """
        attempt = self._negotiated
        if attempt is None or self._good_until_s is None:
            raise SourceError("whep: there is no offer of the server to answer")
        place = f"whep: {redacted_url(attempt.resource or attempt.url)}"
        if attempt.resource is None:
            raise SourceError(f"{place}: the server made an offer without a usable Location to send our answer to")
        left_s = self._good_until_s - self._now_s()
        if left_s <= 0:
            raise SourceError(f"{place}: the server's offer was no longer good when our answer to it was ready")
        headers = {"Content-Type": "application/sdp", **attempt.headers(attempt.resource)}
        if attempt.etag is not None:
            headers["If-Match"] = attempt.etag
        limit_s = min(_PATCH_S, left_s)
        try:
            said = await exchange(
                self._client, "PATCH", attempt.resource, limit_s=limit_s, headers=headers, content=sdp.encode()
            )
        except RequestError as error:
            if isinstance(error.__cause__, TimeoutError):
                _log.warning("%s: our answer was not acknowledged within %g s", place, limit_s)
                return
            raise SourceError(f"{place}: {error}") from error
        if said.status not in _TAKEN:
            raise RefusedError(self._refusal(attempt.resource, said, _PATCH_MEANING), said.status)
        attempt.etag = _etag(said.headers) or attempt.etag

    async def _answer_within(self, attempt: _Try, sdp: str) -> Answer:
        """The answer to one try. One that comes too late still tells where its session is, which is then left."""
        # a task of its own: when this is cancelled or gives up, the server may open a session all the same
        attempt.answering = asyncio.create_task(self._carry_out(attempt, sdp))
        done, _ = await asyncio.wait([attempt.answering], timeout=_POST_S)
        if done:
            return attempt.answering.result()
        attempt.is_given_up = True
        message = f"whep: {redacted_url(attempt.url)}: no complete answer within {_POST_S:g} s"
        if attempt.is_open:  # it has a session for us, and a body without an end: another try would fare no better
            attempt.answering.cancel()
            raise _TryFailedError(message)
        raise _TryFailedError(message, _BETWEEN_S)

    async def _carry_out(self, attempt: _Try, sdp: str) -> Answer:
        try:
            return await self._posted(attempt, sdp)
        finally:
            if attempt.is_given_up:
                await self._release(attempt)

    async def _posted(self, attempt: _Try, sdp: str) -> Answer:
        """What the server says at last, behind all redirects."""
        for _ in range(_MOST_REDIRECTS + 1):
            answer = await self._posted_once(attempt, sdp)
            location = answer.headers.get("Location")
            if answer.status not in _REDIRECTS or not location or attempt.is_given_up:
                return answer
            self._redirect(attempt, location)
        raise _TryFailedError(f"whep: {redacted_url(self._url)}: redirected more than {_MOST_REDIRECTS} times")

    async def _posted_once(self, attempt: _Try, sdp: str) -> Answer:
        try:
            return await exchange(
                self._client,
                "POST",
                attempt.url,
                limit_s=_POST_S + _LATEST_S,
                headers={"Content-Type": "application/sdp", **attempt.headers(attempt.url)},
                content=sdp.encode(),
                on_head=lambda response: self._learn(attempt, response),
            )
        except RequestError as error:
            wait_s = _BETWEEN_S if error.may_pass and not attempt.is_open else None
            raise _TryFailedError(f"whep: {redacted_url(attempt.url)}: {error}", wait_s) from error

    def _learn(self, attempt: _Try, response: httpx.Response) -> None:
        """Where the session is, before the body is read: also one whose answer breaks off holds the slot."""
        location = response.headers.get("Location", "")
        status = response.status_code
        if status not in _ACCEPTED and not (status == _COUNTER_OFFER and location):
            return
        attempt.is_open = True
        attempt.etag = _etag(response.headers)
        attempt.resource = session_url(attempt.url, location)
        if attempt.resource is not None and _leads_inside(attempt.url, attempt.resource):
            attempt.resource = None
        if attempt.resource is None:
            _log.warning(
                "whep: %s gave no usable Location; the viewer's slot cannot be released", redacted_url(attempt.url)
            )

    def _redirect(self, attempt: _Try, location: str) -> None:
        place, target = f"whep: {redacted_url(attempt.url)}", _joined(attempt.url, location)
        if target is None or not is_http_url(target):
            shown = redacted_url(target) if target else "something"
            raise _TryFailedError(f"{place}: redirects to {quoted(shown)}, which is no HTTP URL")
        if _leads_inside(attempt.url, target):
            shown = quoted(redacted_url(target))
            raise _TryFailedError(f"{place}: redirects to {shown}, a private address, which is refused")
        if not _is_same_or_safer(urlsplit(attempt.url), urlsplit(target)):
            attempt.token = None
        attempt.url = target

    def _described(self, attempt: _Try, answer: Answer) -> RemoteDescription:
        """What an answer brings.

        :raises _TryFailedError: when it brings no description.
        """
        is_sdp = answer.body.lstrip().startswith("v=0")
        if answer.status not in _ACCEPTED and not (answer.status == _COUNTER_OFFER and is_sdp):
            raise self._refused(attempt, answer)
        if not is_sdp:
            place = f"whep: {redacted_url(attempt.url)}"
            raise _TryFailedError(f"{place}: answered {answer.status} without an SDP answer")
        self._negotiated = attempt
        self._link_servers = link_servers(answer.headers.get("Link", ""))
        if answer.status in _ACCEPTED and not is_offer(answer.body):
            return RemoteDescription("answer", answer.body)
        self._good_until_s = self._now_s() + self._good_s(answer)
        return RemoteDescription("offer", answer.body)

    def _good_s(self, answer: Answer) -> float:
        """How long a counter-offer is good from now on."""
        header = Message()
        header["Content-Type"] = answer.headers.get("Content-Type", "")
        until = header.get_param("valid-until")
        left_s = seconds_until(until, answer.headers, self._now_s()) if isinstance(until, str) else None
        return _GOOD_S if left_s is None else left_s

    def _refused(self, attempt: _Try, answer: Answer) -> _TryFailedError:
        wait_s: float | None = None
        if answer.status in _MAY_PASS:
            wait_s = retry_after_s(answer.headers, self._now_s())
            wait_s = _BETWEEN_S if wait_s is None else wait_s
        return _TryFailedError(self._refusal(attempt.url, answer, _MEANING), wait_s, status=answer.status)

    def _refusal(self, url: str, answer: Answer, meanings: Mapping[int, str]) -> str:
        meaning = meanings.get(answer.status, "the server failed" if answer.status >= 500 else "the server refused")
        said = quoted(words_of(answer), *self._secrets, *_secrets(url, None))
        return f"whep: {redacted_url(url)}: {answer.status}: {meaning}" + (f" (it says: {said})" if said else "")

    async def _leave(self) -> None:
        """Close what was opened, also by POSTs that are under way still; bounded in time."""
        try:
            answering = [attempt.answering for attempt in self._tries if attempt.answering is not None]
            if answering:
                await asyncio.wait(answering, timeout=_LATE_S)
                for task in answering:
                    task.cancel()
                await asyncio.wait(answering)
            for task in answering:
                if not task.cancelled():
                    task.exception()  # seen; where it matters `offer` raised it
            await asyncio.gather(*(self._release(attempt) for attempt in self._tries))
        finally:
            await self._client.aclose()

    async def _release(self, attempt: _Try) -> None:
        """DELETE a session; 404, 405, 410 and 501 mean that there is nothing to release."""
        if attempt.resource is None:
            return
        resource, attempt.resource = attempt.resource, None
        try:
            answer = await exchange(
                self._client, "DELETE", resource, limit_s=_DELETE_S, headers=attempt.headers(resource)
            )
        except RequestError as error:
            _log.warning("whep: %s: not released: %s", redacted_url(resource), error)
            return
        if answer.status >= 400 and answer.status not in _NOTHING_THERE:
            _log.warning("whep: %s: not released: the server answered %d", redacted_url(resource), answer.status)


def link_servers(header: str) -> list[IceServer]:
    """The ICE servers of a `Link` header (`rel="ice-server"`, RFC 9725, 4.6); those that cannot be used are left out.

    Some servers leave the scheme away: one with credentials is then a TURN server, one without a STUN server.
    """
    servers = []
    for link in links(header):
        given = link.parameters
        if "ice-server" not in given.get("rel", "").lower().split():
            continue
        if given.get("credential-type", "password") != "password":
            continue
        username, credential = given.get("username"), given.get("credential")
        scheme = "turn:" if credential else "stun:"
        url = next((url for url in (link.target, scheme + link.target.removeprefix("//")) if is_ice_url(url)), None)
        if url is None:
            _log.debug("whep: a Link names an ICE server that cannot be used")
            continue
        servers.append(
            IceServer(urls=[url], username=username, credential=SecretStr(credential) if credential else None)
        )
    return servers


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


def _leads_inside(url: str, target: str) -> bool:
    """Whether a server of the internet leads us to a private address, where nothing of its own can be."""
    return is_private(urlsplit(target).hostname or "") and not is_private(urlsplit(url).hostname or "")


def _etag(headers: Mapping[str, str]) -> str | None:
    """The session's tag, as it is; some servers forget the quotes."""
    etag = headers.get("ETag", "").strip()
    return etag if etag and etag.isascii() and etag.isprintable() else None


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
