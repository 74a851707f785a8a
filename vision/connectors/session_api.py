"""A client of the vendor's avatar session API."""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

import httpx
from pydantic import BaseModel, SecretStr, ValidationError

from vision.connectors.http import client_for, said_by
from vision.connectors.peer import IceServer
from vision.errors import SourceError
from vision.redaction import redacted_url

__all__ = ["ClientSetup", "CreatedSession", "SessionApi", "Turn"]

M = TypeVar("M", bound=BaseModel)
_REQUEST_S = 10.0
_MEANING = {
    401: "the token is invalid or has expired; make a new one (source.token)",
    404: "there is no such session; create one first (source.session_id)",
    410: "the session has ended; create a new one (source.session_id)",
}


class Turn(BaseModel):
    """A TURN server as the API names it: a bare host name and long-term credentials."""

    url: str
    username: str
    credential: SecretStr

    def ice_server(self) -> IceServer:
        """The URLs that the vendor's own client makes of it, in its order."""
        endings = (":80?transport=udp", ":443?transport=udp", ":80?transport=tcp")
        urls = [f"turn:{self.url}{ending}" for ending in endings]
        return IceServer(urls=urls, username=self.username, credential=self.credential)


class ClientSetup(BaseModel):
    """The answer of init-client."""

    whepUrl: str  # noqa: N815 - the API's name
    turn: Turn


class CreatedSession(BaseModel):
    """The answer of create."""

    sessionId: str  # noqa: N815 - the API's name
    token: SecretStr


class SessionApi:
    """The session API at a base URL; use it as `async with`.

    Every method raises `SourceError`, one line, when the API cannot be reached, refuses, or answers something else
    than it should.
    """

    def __init__(self, base_url: str) -> None:
        self._base = base_url.rstrip("/")
        self._client = client_for(base_url, _REQUEST_S)

    async def __aenter__(self) -> SessionApi:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def create(self, admin_ks: SecretStr, visual_id: str) -> CreatedSession:
        """Open a session."""
        headers = {"Authorization": f"KS {admin_ks.get_secret_value()}"}
        return _parsed(CreatedSession, *await self._post("create", headers, {"visualConfig": {"id": visual_id}}))

    async def init_client(self, session_id: str, token: SecretStr) -> ClientSetup:
        """Ask where the media are; not idempotent."""
        return _parsed(ClientSetup, *await self._post(f"{session_id}/init-client", _bearer(token), {}))

    async def end(self, session_id: str, token: SecretStr) -> None:
        """End a session that was created here."""
        await self._post(f"{session_id}/end", _bearer(token), {})

    async def _post(self, operation: str, headers: dict[str, str], body: dict[str, Any]) -> tuple[str, Any]:
        url = f"{self._base}/v1/avatar-session/{operation}"
        place = f"avatar: {redacted_url(url)}"
        try:
            async with asyncio.timeout(_REQUEST_S):
                response = await self._client.post(url, headers=headers, json=body)
        except (TimeoutError, httpx.TimeoutException) as error:
            raise SourceError(f"{place}: no answer within {_REQUEST_S:g} s") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise SourceError(f"{place}: cannot be reached: {said_by(error)}") from error
        if response.status_code != 200:
            raise SourceError(f"{place}: {response.status_code}: {_refusal(response)}")
        return place, _json(response)


def _bearer(token: SecretStr) -> dict[str, str]:
    return {"Authorization": f"Bearer {token.get_secret_value()}"}


def _json(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError:
        return None


def _refusal(response: httpx.Response) -> str:
    meaning = _MEANING.get(response.status_code)
    body = _json(response)
    said = body.get("error") if isinstance(body, dict) else None
    if meaning is None:
        meaning = "the service failed; try again later" if response.status_code >= 500 else "refused"
    return f"{meaning} (it says: {' '.join(str(said).split())[:120]})" if said else meaning


def _parsed(model: type[M], place: str, body: Any) -> M:
    try:
        if not isinstance(body, dict) or body.get("success") is not True:
            raise SourceError(f"{place}: answered without success: true; is it the avatar session API?")
        return model.model_validate(body)
    except ValidationError as error:
        field = ".".join(str(key) for key in error.errors()[0]["loc"])
        raise SourceError(f"{place}: the answer lacks a usable '{field}'") from error
