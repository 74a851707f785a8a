"""The sessions of the service: identifiers, tokens, states, and the one viewer each may have."""

import asyncio
import base64
import hmac
import json
import logging
import secrets
import time
from dataclasses import dataclass, field
from pathlib import Path

from vision.simulator.settings import SimulatorSettings
from vision.simulator.truth import TruthLog
from vision.simulator.turns import Turns
from vision.simulator.viewer import Viewer

logger = logging.getLogger(__name__)

TOKEN_LIFE_S = 24 * 3600


@dataclass(slots=True)
class Session:
    """One avatar session."""

    id: str
    token: str
    expires_s: float
    """Unix time at which the token expires."""
    ended: bool = False
    viewer: Viewer | None = None
    turns: Turns = field(default_factory=Turns)


class Sessions:
    """All sessions of one service."""

    def __init__(self, settings: SimulatorSettings, truth: Path | None, loopback: bool) -> None:
        self._settings = settings
        self._truth = TruthLog(truth)
        self._loopback = loopback
        self._sessions: dict[str, Session] = {}
        self._by_token: dict[str, Session] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def create(self) -> Session:
        """A new session with a token of its own."""
        session_id, expires_s = secrets.token_hex(12), time.time() + TOKEN_LIFE_S
        session = Session(session_id, _token(session_id, expires_s), expires_s)
        self._sessions[session.id] = session
        self._by_token[session.token] = session
        return session

    def authorised(self, token: str) -> Session | None:
        """The session that a token was given for, unless it has expired."""
        session = self._by_token.get(token)
        return session if session is not None and time.time() < session.expires_s else None

    def known(self, session_id: str) -> bool:
        """Whether there is, or was, a session of this identifier."""
        return session_id in self._sessions

    def active(self, session_id: str) -> Session | None:
        """The session, unless it has ended."""
        session = self._sessions.get(session_id)
        return None if session is None or session.ended else session

    async def join(self, session: Session, offer_sdp: str) -> tuple[Viewer, str]:
        """Gives the session its viewer; returns it with the SDP answer.

        :raises vision.simulator.viewer.OfferError: when the offer cannot be answered; the slot stays free.
        """
        viewer = Viewer(
            self._settings, session.turns, self._truth, self._loopback, on_gone=lambda: self._gone(session, viewer)
        )
        session.viewer = viewer
        try:
            return viewer, await viewer.answer(offer_sdp)
        except BaseException:
            await self.leave(session)
            raise

    async def leave(self, session: Session) -> None:
        """Frees the viewer's slot, if it is taken."""
        viewer, session.viewer = session.viewer, None
        if viewer is not None:
            await viewer.close()

    async def end(self, session: Session) -> None:
        """Ends a session; its viewer is cut off."""
        session.ended = True
        await self.leave(session)

    async def close(self) -> None:
        """Ends everything."""
        for session in list(self._sessions.values()):
            await self.end(session)
        await asyncio.gather(*self._closing)
        self._truth.close()

    def _gone(self, session: Session, viewer: Viewer) -> None:
        if session.viewer is not viewer:
            return
        logger.debug("the viewer of session %s is gone", session.id)
        session.viewer = None
        task = asyncio.ensure_future(viewer.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


def _token(session_id: str, expires_s: float) -> str:
    """A secret in the shape of a JSON Web Token: clients may read its `exp`."""
    parts = [{"alg": "HS256", "typ": "JWT"}, {"sub": session_id, "exp": int(expires_s)}]
    text = ".".join(_base64url(json.dumps(part).encode()) for part in parts)
    return f"{text}.{_base64url(hmac.digest(secrets.token_bytes(32), text.encode(), 'sha256'))}"


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
