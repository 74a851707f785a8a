"""The connector `avatar`: a session of the vendor's API, then its WHEP stream, for as long as there is one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, HttpUrl, SecretStr, field_validator, model_validator

from vision.connectors.base import Connector
from vision.connectors.http import Token
from vision.connectors.peer import PeerOptions
from vision.connectors.recovery import SESSION_ENDED, RefusedError, recovering
from vision.connectors.release import ended, uninterrupted
from vision.connectors.session_api import ClientSetup, CreatedSession, SessionApi
from vision.connectors.whep import receive_whep
from vision.errors import SourceError
from vision.hosts import is_private
from vision.intake import Intake

__all__ = ["AvatarConnector", "AvatarOptions", "Given", "Own", "SessionOptions", "watch_session"]

_log = logging.getLogger(__name__)
_KEEP_ALIVE_S = 10.0
_LATE_S = 3.0  # how long a `create` under way is waited for when the run is interrupted; it may open a session yet
_ASK_ANEW = frozenset([404, 409])  # WHEP: no active session, or it has a viewer; both may be of the past
_NO_SUCH_SESSION, _ENDED = 404, 410
_EITHER = (
    "either session_id and token (a session created before), or admin_ks and visual_id (a session of its own,"
    " which it also ends); not"
)


def _base(url: HttpUrl) -> HttpUrl:
    if url.query is not None or url.fragment is not None:
        raise ValueError("paths are put behind it: it can have no query and no fragment")
    return url


class SessionOptions(PeerOptions):
    """Options of every source that is an avatar session."""

    session_limit_s: float = Field(
        3600, gt=0, le=86_400, description="seconds for which the session may be watched; then the run ends"
    )


class AvatarOptions(SessionOptions):
    """Options of `avatar`."""

    base_url: Annotated[HttpUrl, AfterValidator(_base)] = Field(
        HttpUrl("https://api.avatar.us.kaltura.ai"), description="the session API"
    )
    # a part of a path: no slashes, and neither . nor .., which lead elsewhere
    session_id: str | None = Field(
        None,
        pattern=r"^[.]{0,2}[A-Za-z0-9_~-][A-Za-z0-9_.~-]*$",
        description="a session created before; needs token, and is not ended",
    )
    token: Token | None = Field(None, description="that session's token, from create-session")
    admin_ks: Token | None = Field(
        None, description="instead of both: a session is created with this admin token, and ended; needs visual_id"
    )
    visual_id: str | None = Field(None, min_length=1, max_length=200, description="which avatar that session shows")
    allow_private: bool = Field(
        False, description="follow a whepUrl to a private address, though base_url is not at one"
    )

    @field_validator("session_id", "token", "admin_ks", "visual_id", mode="before")
    @classmethod
    def _empty_is_none(cls, value: Any) -> Any:
        """So that one file with `${NAME:-}` serves both ways."""
        return None if value == "" else value

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        names = ("session_id", "token", "admin_ks", "visual_id")
        given = [name for name in names if getattr(self, name) is not None]
        if given not in (["session_id", "token"], ["admin_ks", "visual_id"]):
            raise ValueError(f"{_EITHER} {', '.join(given) or 'none of them'}")
        return self


class AvatarConnector(Connector):
    """Pictures and samples of an avatar session.

    It is one that somebody else has created, and will end; or, with `admin_ks`, one of its own.
    """

    Options = AvatarOptions

    async def stream(self, intake: Intake) -> str:
        options: AvatarOptions = self.options
        base_url = str(options.base_url)
        local = options.allow_private or is_private(urlsplit(base_url).hostname or "")
        async with SessionApi(base_url) as api:
            session = _session_of(api, options)
            return await watch_session(session, options, intake, local=local, open_ended=self.context.open_ended)


@dataclass(frozen=True, slots=True)
class Given:
    """A session that somebody else has created, and will end."""

    api: SessionApi
    session_id: str
    token: SecretStr

    async def opened(self) -> CreatedSession:
        """The session."""
        return CreatedSession(sessionId=self.session_id, token=self.token)


@dataclass(frozen=True, slots=True)
class Own:
    """Sessions that are created here, and ended here."""

    api: SessionApi
    admin_ks: SecretStr
    visual_id: str

    async def opened(self) -> CreatedSession:
        """A new session."""
        return await self.api.create(self.admin_ks, self.visual_id)


def _session_of(api: SessionApi, options: AvatarOptions) -> Given | Own:
    if options.session_id is not None and options.token is not None:
        return Given(api, options.session_id, options.token)
    assert options.admin_ks is not None
    assert options.visual_id is not None
    return Own(api, options.admin_ks, options.visual_id)


async def watch_session(
    session: Given | Own, options: SessionOptions, intake: Intake, *, local: bool, open_ended: bool
) -> str:
    """Stream a session, keep it alive, and end it where it was created here; returns why it is over.

    :param local: its media may come from a private address.
    :param open_ended: see `vision.connectors.recovery.recovering`.
    :raises SourceError: when it cannot be opened, or is lost for good.
    """
    watched = _Watched(session, options, intake, local)
    try:
        return await _first_of(
            recovering(watched.attempt, intake, timeout_s=options.recovery_timeout_s, open_ended=open_ended),
            watched.keep_alive(),
            _limit(options.session_limit_s),
        )
    finally:
        await uninterrupted(watched.end())


class _Watched:
    """A session, and where its media are."""

    def __init__(self, session: Given | Own, options: SessionOptions, intake: Intake, local: bool) -> None:
        self._source, self._api = session, session.api
        self._options, self._intake, self._local = options, intake, local
        self._opening: asyncio.Task[CreatedSession] | None = None
        self._session: CreatedSession | None = None
        self._setup: ClientSetup | None = None

    @property
    def _is_own(self) -> bool:
        return isinstance(self._source, Own)

    async def attempt(self) -> str:
        """One connection: to where the media were, if that is known, else to where the session API says."""
        if self._setup is not None:
            try:
                return await self._receive(self._setup)
            except RefusedError as refusal:
                if refusal.status not in _ASK_ANEW:
                    raise
        self._setup = await self._asked()
        return await self._receive(self._setup)

    async def _receive(self, setup: ClientSetup) -> str:
        """The WHEP stream; its endpoint gets no token, as the vendor does it."""
        return await receive_whep(setup.whepUrl, None, self._options, [setup.turn.ice_server()], self._intake)

    async def _asked(self) -> ClientSetup:
        """init-client, which is not idempotent: it is called once, and again only where its answer has become useless.

        :raises SourceError: when the session cannot be opened, or its media are at a private address.
        """
        begun_s = self._intake.now_s()
        before, session = self._session, self._session or await self._opened()
        try:
            setup = await self._api.init_client(session.sessionId, session.token)
        except RefusedError as refusal:
            if before is None or not self._is_own or refusal.status != _NO_SUCH_SESSION:
                raise
            session = await self._opened()
            setup = await self._api.init_client(session.sessionId, session.token)
        host = urlsplit(setup.whepUrl).hostname or ""
        if is_private(host) and not self._local:
            raise SourceError(
                f"avatar: the session's media are at a private address ({host}), which a public service does not have;"
                " if it is right, allow it (source.allow_private: true)"
            )
        took_s = round(self._intake.now_s() - begun_s, 3)
        self._intake.facts["session"] = {"own": self._is_own, "took_s": took_s, "turn": setup.turn.url}
        return setup

    async def _opened(self) -> CreatedSession:
        # a task of its own: when this is cancelled, the API may create a session all the same
        self._opening = asyncio.create_task(self._source.opened())
        self._session = await asyncio.shield(self._opening)
        return self._session

    async def keep_alive(self) -> str:
        """Keep the session alive; returns when the API says that it is over."""
        failed = False
        while True:
            await asyncio.sleep(_KEEP_ALIVE_S)
            if self._session is None:
                continue
            try:
                await self._api.keep_alive(self._session.sessionId, self._session.token)
            except SourceError as error:
                status = error.status if isinstance(error, RefusedError) else None
                if status == _ENDED or (status == _NO_SUCH_SESSION and not self._is_own):
                    return SESSION_ENDED
                if not failed:
                    _log.warning("%s (keep-alive; the stream goes on, and this is said once)", error)
                failed = True

    async def end(self) -> None:
        """End a session that was created here, also by a call that is under way still; it may be gone already."""
        session = await self._latest()
        if session is None or not self._is_own:
            return
        try:
            await self._api.end(session.sessionId, session.token)
        except SourceError as error:
            gone = isinstance(error, RefusedError) and error.status in (_NO_SUCH_SESSION, _ENDED)
            _log.log(logging.DEBUG if gone else logging.WARNING, "%s (end)", error)

    async def _latest(self) -> CreatedSession | None:
        if self._opening is None:
            return None
        await asyncio.wait([self._opening], timeout=_LATE_S)
        self._opening.cancel()
        await asyncio.wait([self._opening])
        failed = self._opening.cancelled() or self._opening.exception() is not None
        return self._session if failed else self._opening.result()


async def _limit(limit_s: float) -> str:
    await asyncio.sleep(limit_s)
    return "session limit reached"


async def _first_of(*works: Coroutine[Any, Any, str]) -> str:
    """What the first of them to end returns or raises; the others are cancelled, and have ended when this does."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return next(task for task in tasks if task.done()).result()
    finally:
        for task in tasks:
            task.cancel()
        await uninterrupted(ended(*tasks))
