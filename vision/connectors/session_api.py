"""A client of the vendor's avatar session API."""

from __future__ import annotations

import base64
import json
import math
import time
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, SecretStr, ValidationError

from vision.connectors.http import Answer, RequestError, Token, client_for, exchange, is_http_url, quoted
from vision.connectors.recovery import RefusedError
from vision.connectors.turn import IceServer, is_ice_url
from vision.errors import SourceError
from vision.redaction import redacted_url

__all__ = ["ClientSetup", "CreatedSession", "SessionApi", "Turn", "expiry_of"]

M = TypeVar("M", bound=BaseModel)
_REQUEST_S = 10.0
_END_S = 3.0  # part of letting go, which must not take long
_KEEP_ALIVE_S = 5.0
_MEANING = {
    401: "the token is invalid or has expired; make a new one (source.token)",
    404: "there is no such session; create one first (source.session_id)",
    410: "the session has ended; create a new one (source.session_id)",
}
_MEANING_OF_CREATE = {
    401: "the admin KS is invalid or has expired; make a new one (source.admin_ks)",
    404: "there is no session API at this URL (source.base_url), or no such visual (source.visual_id)",
}


def _whep_url(url: str) -> str:
    if not is_http_url(url):
        raise ValueError("not an HTTP URL")
    return url


def _bare_host(host: str) -> str:
    if not is_ice_url(f"turn:{host}:80"):
        raise ValueError("not a host name")
    return host


class Turn(BaseModel):
    """A TURN server as the API names it: a bare host name and long-term credentials."""

    url: Annotated[str, AfterValidator(_bare_host)]
    username: str
    credential: SecretStr

    def ice_server(self) -> IceServer:
        """The URLs that the vendor's own client makes of it, in its order."""
        schemes_and_ports = (
            ("turn", "80?transport=udp"),
            ("turn", "443?transport=udp"),
            ("turn", "80?transport=tcp"),
            ("turns", "443?transport=tcp"),
        )
        urls = [f"{scheme}:{self.url}:{port}" for scheme, port in schemes_and_ports]
        return IceServer(urls=urls, username=self.username, credential=self.credential)


class ClientSetup(BaseModel):
    """The answer of init-client."""

    whepUrl: Annotated[str, AfterValidator(_whep_url)]  # noqa: N815 - the API's name
    turn: Turn


class CreatedSession(BaseModel):
    """The answer of create."""

    sessionId: str  # noqa: N815 - the API's name
    token: Token


class SessionApi:
    """The session API at a base URL; use it as `async with`.

    Every method raises `SourceError`, one line, when the API cannot be reached, or answers something else than it
    should, and `RefusedError` when it refuses.

    :param now: Unix time, to say since when a token has expired.
    """

    def __init__(self, base_url: str, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._base = base_url.rstrip("/")
        self._client = client_for(base_url)

    async def __aenter__(self) -> SessionApi:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def create(self, admin_ks: SecretStr, visual_id: str) -> CreatedSession:
        """Open a session."""
        body = {"visualConfig": {"id": visual_id}}
        return _parsed(CreatedSession, *await self._post("create", "KS", admin_ks, body))

    async def init_client(self, session_id: str, token: SecretStr) -> ClientSetup:
        """Ask where the media are; not idempotent."""
        return _parsed(ClientSetup, *await self._post(f"{session_id}/init-client", "Bearer", token, {}))

    async def keep_alive(self, session_id: str, token: SecretStr) -> None:
        """Say that the session is watched still; the vendor documents a call about every 10 s.

        :raises RefusedError: 404 and 410 are the API's own word that there is no such session (any more).
        """
        place, answer = await self._answer(f"{session_id}/keep-alive", "Bearer", token, {}, _KEEP_ALIVE_S)
        if answer.status in (404, 410) and not _is_own_refusal(answer):
            # a proxy's, or a deployment's that does not have this call: the media may stream on
            raise SourceError(f"{place}: {answer.status}: not answered by the session API")
        self._require_success(place, answer, "Bearer", token)

    async def end(self, session_id: str, token: SecretStr) -> None:
        """End a session that was created here."""
        await self._post(f"{session_id}/end", "Bearer", token, {}, _END_S)

    async def _post(
        self, operation: str, scheme: str, secret: SecretStr, body: dict[str, Any], limit_s: float | None = None
    ) -> tuple[str, Any]:
        place, answer = await self._answer(operation, scheme, secret, body, limit_s)
        self._require_success(place, answer, scheme, secret)
        return place, _json(answer)

    async def _answer(
        self, operation: str, scheme: str, secret: SecretStr, body: dict[str, Any], limit_s: float | None
    ) -> tuple[str, Answer]:
        url = f"{self._base}/v1/avatar-session/{operation}"
        place = f"avatar: {redacted_url(url)}"
        headers = {"Authorization": f"{scheme} {secret.get_secret_value()}", "Content-Type": "application/json"}
        content = json.dumps(body).encode()
        try:
            answer = await exchange(
                self._client, "POST", url, limit_s=limit_s or _REQUEST_S, headers=headers, content=content
            )
        except RequestError as error:
            raise SourceError(f"{place}: {error}") from error
        return place, answer

    def _require_success(self, place: str, answer: Answer, scheme: str, secret: SecretStr) -> None:
        if answer.status != 200:
            raise RefusedError(f"{place}: {answer.status}: {self._refusal(answer, scheme, secret)}", answer.status)

    def _refusal(self, answer: Answer, scheme: str, secret: SecretStr) -> str:
        meaning = (_MEANING_OF_CREATE if scheme == "KS" else _MEANING).get(answer.status)
        if meaning is None:
            meaning = "the service failed; try again later" if answer.status >= 500 else "refused"
        expiry_s = expiry_of(secret.get_secret_value()) if answer.status == 401 else None
        if expiry_s is not None and expiry_s <= self._now():
            meaning = f"the token expired {_length(self._now() - expiry_s)} ago; make a new one (source.token)"
        body = _json(answer)
        error = body.get("error") if isinstance(body, dict) else None
        said = quoted(str(error), secret.get_secret_value()) if error else ""
        return f"{meaning} (it says: {said})" if said else meaning


def expiry_of(token: str) -> float | None:
    """When a JSON Web Token expires, in Unix time, by its own word (`exp`, RFC 7519, 4.1.4).

    Nothing is verified: that is the service's business. `None` where it is no such token, or does not say it.
    """
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, RecursionError):
        return None
    expiry_s = claims.get("exp") if isinstance(claims, dict) else None
    if isinstance(expiry_s, bool) or not isinstance(expiry_s, int | float):
        return None
    try:
        return float(expiry_s) if math.isfinite(expiry_s) else None
    except OverflowError:
        return None


def _length(seconds: float) -> str:
    """A length of time in words, in the largest unit of which it is at least one."""
    for unit_s, unit in ((86_400, "days"), (3600, "h"), (60, "min")):
        if seconds >= unit_s:
            number = int(seconds // unit_s)
            return f"{number} {'day' if unit == 'days' and number == 1 else unit}"
    return f"{int(seconds)} s"


def _is_own_refusal(answer: Answer) -> bool:
    body = _json(answer)
    return isinstance(body, dict) and body.get("success") is False


def _json(answer: Answer) -> Any:
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError):
        return None


def _parsed(model: type[M], place: str, body: Any) -> M:
    try:
        if not isinstance(body, dict) or body.get("success") is not True:
            raise SourceError(f"{place}: answered without success: true; is it the avatar session API?")
        return model.model_validate(body)
    except ValidationError as error:
        field = ".".join(str(key) for key in error.errors()[0]["loc"])
        # `from None`: the error quotes the answer, which holds credentials
        raise SourceError(f"{place}: the answer lacks a usable '{field}'") from None
