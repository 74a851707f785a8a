"""A client of the vendor's avatar session API."""

from __future__ import annotations

import json
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, SecretStr, ValidationError

from vision.connectors.http import Answer, RequestError, Token, client_for, exchange, is_http_url, quoted
from vision.connectors.peer import IceServer, is_ice_url
from vision.errors import SourceError
from vision.redaction import redacted_url

__all__ = ["ClientSetup", "CreatedSession", "SessionApi", "Turn"]

M = TypeVar("M", bound=BaseModel)
_REQUEST_S = 10.0
_END_S = 3.0  # part of letting go, which must not take long
_MEANING = {
    401: "the token is invalid or has expired; make a new one (source.token)",
    404: "there is no such session; create one first (source.session_id)",
    410: "the session has ended; create a new one (source.session_id)",
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
        endings = (":80?transport=udp", ":443?transport=udp", ":80?transport=tcp")
        urls = [f"turn:{self.url}{ending}" for ending in endings]
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

    Every method raises `SourceError`, one line, when the API cannot be reached, refuses, or answers something else
    than it should.
    """

    def __init__(self, base_url: str) -> None:
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

    async def end(self, session_id: str, token: SecretStr) -> None:
        """End a session that was created here."""
        await self._post(f"{session_id}/end", "Bearer", token, {}, _END_S)

    async def _post(
        self, operation: str, scheme: str, secret: SecretStr, body: dict[str, Any], limit_s: float | None = None
    ) -> tuple[str, Any]:
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
        if answer.status != 200:
            raise SourceError(f"{place}: {answer.status}: {_refusal(answer, secret)}")
        return place, _json(answer)


def _json(answer: Answer) -> Any:
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError):
        return None


def _refusal(answer: Answer, secret: SecretStr) -> str:
    meaning = _MEANING.get(answer.status)
    body = _json(answer)
    error = body.get("error") if isinstance(body, dict) else None
    said = quoted(str(error), secret.get_secret_value()) if error else ""
    if meaning is None:
        meaning = "the service failed; try again later" if answer.status >= 500 else "refused"
    return f"{meaning} (it says: {said})" if said else meaning


def _parsed(model: type[M], place: str, body: Any) -> M:
    try:
        if not isinstance(body, dict) or body.get("success") is not True:
            raise SourceError(f"{place}: answered without success: true; is it the avatar session API?")
        return model.model_validate(body)
    except ValidationError as error:
        field = ".".join(str(key) for key in error.errors()[0]["loc"])
        # `from None`: the error quotes the answer, which holds credentials
        raise SourceError(f"{place}: the answer lacks a usable '{field}'") from None
