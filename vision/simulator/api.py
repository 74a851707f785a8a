"""The HTTP face of the simulator: the vendor's session API and WHEP, with the answers of the original."""

import asyncio
import json
import secrets
from collections.abc import Awaitable, Callable

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from vision.simulator.sessions import Session, Sessions
from vision.simulator.settings import SimulatorSettings
from vision.simulator.turns import AudioError, decode
from vision.simulator.viewer import OfferError

PREFIX = "/avatar"
"""What a proxy in front of the media server adds; its own `Location` headers know nothing of it."""

Handler = Callable[[Request, Session], Awaitable[Response]]


class _Named(BaseModel):
    id: str = Field(min_length=1)


class CreateBody(BaseModel):
    """Body of `create`. Like the vendor, it does not mind what it does not know."""

    model_config = ConfigDict(extra="ignore")

    visual_config: _Named = Field(alias="visualConfig")
    voice_config: _Named | None = Field(None, alias="voiceConfig")
    client_id: str | None = Field(None, alias="clientId")


class Api:
    """The handlers of all routes."""

    def __init__(self, settings: SimulatorSettings, sessions: Sessions, admin_ks: str) -> None:
        self._location_prefix = PREFIX if settings.location == "with_prefix" else ""
        self._sessions = sessions
        self._admin_ks = admin_ks

    def application(self) -> Starlette:
        """The ASGI application."""
        session = "/v1/avatar-session/{session_id}"
        calls = {
            "init-client": self._of_session(self._init_client),
            "say-audio": self._of_session(self._say_audio),
            "interrupt": self._of_session(self._interrupt),
            "keep-alive": self._of_session(self._keep_alive),
            "end": self._of_session(self._end, ended_status=404),
        }
        whep = [
            Route("/session/{session_id}", self._watch, methods=["POST"]),
            Route("/session/{session_id}/viewer/{viewer_id}", self._leave, methods=["DELETE"]),
        ]
        routes = [
            Route("/v1/avatar-session/create", self._create, methods=["POST"]),
            *(Route(f"{session}/{name}", call, methods=["POST"]) for name, call in calls.items()),
            Mount(f"{PREFIX}/whep", routes=whep),
        ]
        return Starlette(routes=routes, exception_handlers={HTTPException: _http_error})

    async def _create(self, request: Request) -> Response:
        scheme, ks = _credentials(request)
        if scheme != "ks" or not secrets.compare_digest(ks.encode(), self._admin_ks.encode()):
            return _failure(401, "Invalid or expired token")
        try:
            CreateBody.model_validate(await _json_object(request))
        except ValidationError as error:
            return _failure(400, _one_line(error))
        session = self._sessions.create()
        return JSONResponse({"success": True, "sessionId": session.id, "token": session.token})

    def _of_session(self, handler: Handler, ended_status: int = 410) -> Callable[[Request], Awaitable[Response]]:
        """Wraps a handler of a call that takes a session's token."""

        async def call(request: Request) -> Response:
            scheme, token = _credentials(request)
            session = self._sessions.authorised(token) if scheme == "bearer" else None
            session_id = request.path_params["session_id"]
            if session is None:
                return _failure(401, "Invalid or expired token")
            if not self._sessions.known(session_id):
                return _failure(404, "Session not found")
            if session.id != session_id:
                return _failure(401, "Invalid or expired token")
            if session.ended:
                return _failure(ended_status, "Session ended" if ended_status == 410 else "Session not found")
            return await handler(request, session)

        return call

    async def _init_client(self, request: Request, session: Session) -> Response:
        await _json_object(request)
        return JSONResponse(
            {
                "success": True,
                "whepUrl": f"{str(request.base_url).rstrip('/')}{PREFIX}/whep/session/{session.id}",
                "turn": {"url": "127.0.0.1", "credential": secrets.token_urlsafe(16), "username": session.id},
            }
        )

    async def _say_audio(self, request: Request, session: Session) -> Response:
        async with request.form() as form:
            audio, turn_id = form.get("audio"), form.get("turnId")
            duration_s = _positive(form.get("duration"))
            if not isinstance(audio, UploadFile) or not isinstance(turn_id, str) or duration_s is None:
                return _failure(400, "expected multipart fields turnId, duration (seconds, > 0) and audio (a file)")
            data = await audio.read()
        try:
            clip = await asyncio.to_thread(decode, data)
        except AudioError as error:
            return _failure(400, str(error))
        session.turns.say(clip, duration_s)
        return JSONResponse({"success": True})

    async def _interrupt(self, request: Request, session: Session) -> Response:
        await _json_object(request)
        session.turns.interrupt()
        return JSONResponse({"success": True})

    async def _keep_alive(self, request: Request, session: Session) -> Response:
        await _json_object(request)
        return JSONResponse({"success": True})

    async def _end(self, request: Request, session: Session) -> Response:
        await _json_object(request)
        await self._sessions.end(session)
        return JSONResponse({"success": True})

    async def _watch(self, request: Request) -> Response:
        """WHEP: an SDP offer for an SDP answer."""
        session = self._sessions.active(request.path_params["session_id"])
        if session is None:
            return _failure(404, "Session not found")
        if request.headers.get("content-type", "").split(";")[0].strip().lower() != "application/sdp":
            return _failure(415, "expected Content-Type: application/sdp")
        offer_sdp = (await request.body()).decode(errors="replace")
        if session.viewer is not None:
            return _failure(409, "Session already has a viewer")
        try:
            viewer, answer_sdp = await self._sessions.join(session, offer_sdp)
        except OfferError as error:
            return _failure(400, str(error))
        location = f"{self._location_prefix}/whep/session/{session.id}/viewer/{viewer.id}"
        return Response(answer_sdp, 201, {"Location": location}, "application/sdp")

    async def _leave(self, request: Request) -> Response:
        session = self._sessions.active(request.path_params["session_id"])
        if session is None or session.viewer is None or session.viewer.id != request.path_params["viewer_id"]:
            return _failure(404, "Viewer not found")
        await self._sessions.leave(session)
        return Response(status_code=200)


def _failure(status: int, error: str) -> JSONResponse:
    return JSONResponse({"success": False, "error": error}, status)


def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    response = _failure(error.status_code, error.detail)
    response.headers.update(error.headers or {})
    return response


def _credentials(request: Request) -> tuple[str, str]:
    """Scheme, in lower case, and credentials of the Authorization header."""
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    return scheme.lower(), credentials.strip()


async def _json_object(request: Request) -> dict[str, object]:
    """The body as a JSON object; an empty body counts as `{}`."""
    body = await request.body()
    try:
        value = json.loads(body) if body.strip() else {}
    except ValueError:
        raise HTTPException(400, "the body is not JSON") from None
    if not isinstance(value, dict):
        raise HTTPException(400, "the body is not a JSON object")
    return value


def _positive(value: object) -> float | None:
    """A number greater than zero from a form field."""
    try:
        number = float(value) if isinstance(value, str) else 0.0
    except ValueError:
        return None
    return number if 0 < number < float("inf") else None


def _one_line(error: ValidationError) -> str:
    return "; ".join(f"{'.'.join(map(str, part['loc'])) or 'body'}: {part['msg']}" for part in error.errors())
