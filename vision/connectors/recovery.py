"""What is done when a live source is lost while it streams: another connection is negotiated, for a limited time."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from vision.connectors.release import ended, uninterrupted
from vision.errors import SourceError
from vision.frame import Cause
from vision.intake import Intake
from vision.processor import Options

__all__ = ["CLOSED_BY_THE_SENDER", "SESSION_ENDED", "MediaLostError", "RecoveryOptions", "RefusedError", "recovering"]

_log = logging.getLogger(__name__)

CLOSED_BY_THE_SENDER = "closed by the sender"
SESSION_ENDED = "the session has ended"

_PAUSES_S = (0.0, 1.0, 2.0)  # before each try; the last one before all later ones
_LASTING_S = 10.0  # a connection that was lost sooner than this is followed by the next pause, not by the first
_LOOK_S = 0.05
_NOT_THERE = frozenset([404, 409, 410])  # nobody is sending (any more), in the words of WHEP's servers
_GONE = 410
_NOT_LET_IN = frozenset([401, 403])  # asking again helps nobody, and may get this machine locked out


class MediaLostError(SourceError):
    """The connection was there and is of no more use: another may be negotiated.

    :ivar cause: to whom the loss is put down, `sender` or `network`.
    :ivar orderly: the sender has said that it ends (RTCP BYE, DTLS close_notify).
    :ivar noticed_s: `time.monotonic()` when it was noticed; letting go of the connection takes time after that.
    """

    def __init__(self, message: str, cause: Cause, *, orderly: bool = False) -> None:
        super().__init__(message)
        self.cause: Cause = cause
        self.orderly = orderly
        self.noticed_s = time.monotonic()


class RefusedError(SourceError):
    """A server has answered, and refused.

    :ivar status: the HTTP status of its answer.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class RecoveryOptions(Options):
    """Options of sources that are connected to again when they are lost."""

    recovery_timeout_s: float = Field(
        15, ge=0, le=3600, description="seconds for which a lost stream is negotiated again; 0: not at all"
    )


@dataclass(slots=True)
class _Loss:
    """What is being recovered from.

    :ivar entry: its place in the facts.
    :ivar until_s: when it is given up, on the event loop's clock.
    """

    error: MediaLostError
    entry: dict[str, Any]
    until_s: float
    tries: int = 0
    latest: SourceError | None = None

    @property
    def refused_with(self) -> int | None:
        """The status with which the latest try was refused by a server."""
        return self.latest.status if isinstance(self.latest, RefusedError) else None


async def recovering(
    attempt: Callable[[], Awaitable[str]], intake: Intake, *, timeout_s: float, open_ended: bool
) -> str:
    """Stream, and negotiate again when the stream is lost; returns why it ended.

    The facts get `connections`, how many connections brought media, and `recoveries`: of each loss when it was noticed
    (`at_s`, since the start), its `cause` and `reason`, and how long it took until media came again (`took_s`, null:
    they did not).

    :param attempt: negotiates a connection, hands in what comes, and has released everything when it returns or raises.
    :param timeout_s: for how long it is tried after a loss until media come; 0: not at all.
    :param open_ended: nobody waits for more: where the sender has closed in order, and nothing is there for another
        connection, that is the end.
    :raises SourceError: where the first connection does not come about, or a lost one does not come back.
    """
    return await _Recovery(attempt, intake, timeout_s, open_ended).stream()


class _Recovery:
    def __init__(
        self, attempt: Callable[[], Awaitable[str]], intake: Intake, timeout_s: float, open_ended: bool
    ) -> None:
        self._attempt, self._intake = attempt, intake
        self._timeout_s, self._open_ended = timeout_s, open_ended
        self._now = asyncio.get_running_loop().time
        self._loss: _Loss | None = None
        self._since_s: float | None = None  # when media began to come over the connection
        self._media_before_s: float | None = None
        self._pauses = 0
        self._facts: list[dict[str, Any]] = []
        intake.facts["connections"] = 0
        intake.facts["recoveries"] = self._facts

    async def stream(self) -> str:
        try:
            while True:
                try:
                    return await self._connection()
                except SourceError as error:
                    loss = await self._lost(error)
                if reason := await self._given_up(loss):
                    return reason
        finally:
            self._intake.expecting = False

    async def _connection(self) -> str:
        """One connection, from the offer to its end."""
        before, self._since_s = self._progress(), None
        self._media_before_s = self._intake.last_media_s
        streaming = asyncio.ensure_future(self._attempt())
        try:
            while not streaming.done() and self._progress() == before:
                await asyncio.wait([streaming], timeout=_LOOK_S)
                if self._loss is not None and self._now() >= self._loss.until_s:
                    break
            if self._progress() != before:
                self._media_came()
            elif not streaming.done():
                raise SourceError("nothing came")
            await asyncio.wait([streaming])
            return streaming.result()
        finally:
            streaming.cancel()
            await uninterrupted(ended(streaming))

    def _progress(self) -> float | None:
        """Changes when media come: pictures, where there have been any, for sound alone is no recovery."""
        transport = self._intake.transport
        return (transport and transport.video.frames_decoded) or self._intake.last_media_s

    def _media_came(self) -> None:
        self._since_s = self._now()
        self._intake.facts["connections"] += 1
        loss, self._loss = self._loss, None
        if loss is not None:
            self._intake.expecting = False
            loss.entry["took_s"] = round(self._intake.now_s() - loss.entry["at_s"], 3)
            _log.info("recovered after %g s: %s", loss.entry["took_s"], loss.error)

    async def _lost(self, error: SourceError) -> _Loss:
        """What is being recovered from, after another failure.

        :raises SourceError: that failure, where nothing was there that could be recovered.
        """
        if self._loss is not None:
            self._loss.tries, self._loss.latest = self._loss.tries + 1, error
            if self._intake.last_media_s != self._media_before_s:  # sound came, and no picture: the next counts anew
                await self._intake.restart(self._loss.error.cause)
            return self._loss
        if not isinstance(error, MediaLostError):
            raise error
        releasing_s = time.monotonic() - error.noticed_s
        at_s = round(self._intake.now_s() - releasing_s, 3)
        entry = {"at_s": at_s, "cause": error.cause, "reason": str(error), "took_s": None}
        self._facts.append(entry)
        self._loss = _Loss(error, entry, self._now() + self._timeout_s - releasing_s)
        if self._since_s is not None and self._now() - self._since_s >= _LASTING_S:
            self._pauses = 0
        if self._timeout_s:
            # after an end that may be final, no frames without a picture: else it would count as a stall until then
            self._intake.expecting = error.orderly and self._open_ended
            await self._intake.restart(error.cause)
        return self._loss

    async def _given_up(self, loss: _Loss) -> str | None:
        """Why there is no other try; `None`: there is, and now is its time."""
        if reason := self._over(loss):
            return reason
        await self._pause(loss)
        return self._over(loss)

    def _over(self, loss: _Loss) -> str | None:
        """Why it ends now; `None`: it is tried again.

        :raises SourceError: when what was lost is lost for good.
        """
        orderly, status = loss.error.orderly, loss.refused_with
        if status == _GONE:
            return self._end(loss) if orderly else SESSION_ENDED
        if orderly and self._open_ended and status in _NOT_THERE:
            return self._end(loss)
        if status in _NOT_LET_IN:
            raise SourceError(f"{loss.error}; another connection is refused: {loss.latest}") from loss.error
        if self._now() < loss.until_s:
            return None
        if orderly and (self._open_ended or not loss.tries):
            return self._end(loss)
        if not loss.tries:
            raise loss.error
        tries = f"{loss.tries} {'try' if loss.tries == 1 else 'tries'}, the last: {loss.latest}"
        raise SourceError(
            f"{loss.error}; not back within {self._timeout_s:g} s (recovery_timeout_s; {tries})"
        ) from loss.error

    def _end(self, loss: _Loss) -> str:
        self._facts.remove(loss.entry)  # it was an end, and no loss
        return CLOSED_BY_THE_SENDER

    async def _pause(self, loss: _Loss) -> None:
        pause_s = _PAUSES_S[min(self._pauses, len(_PAUSES_S) - 1)]
        self._pauses += 1
        await asyncio.sleep(min(pause_s, max(loss.until_s - self._now(), 0.0)))
