"""The source's side of a run: the connector at work, watched."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vision.align import Aligner
from vision.config import RunConfig
from vision.connectors.base import Connector, SourceContext
from vision.errors import SourceError, VisionError, one_line, ordinary
from vision.intake import Intake
from vision.processor import Reads
from vision.stream import FrameStream

__all__ = ["Ended", "Source"]

_log = logging.getLogger(__name__)
_COMPLETE = "duration reached"
_RELEASE_S = 10.0  # a source may take this long to let go; then it is left behind
_SILENT_S = 2.0  # a live source that has sent nothing for so long when the time is up was lost before


@dataclass(frozen=True, slots=True)
class Ended:
    """How a source ended.

    :ivar error: where it was not opened, or was lost; what came before is still to be measured.
    :ivar facts: what the connector found out, for run.json.
    :ivar transport: what was counted of the network, for summary.json; `None` for a source that is no WebRTC.
    """

    reason: str
    error: VisionError | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    transport: dict[str, Any] | None = None


class Source:
    """Runs a connector until it ends, is lost, has given what was asked for, or the run is stopped."""

    def __init__(self, config: RunConfig, folder: Path, stream: FrameStream, stop: asyncio.Event) -> None:
        self._use, self._run = config.source.use, config.run
        self._class, self._options = config.source.connector, config.source.options
        self._folder, self._stream, self._stop = folder, stream, stop
        self._listens = any(Reads.SOUND in processor.processor.reads for processor in config.processors)

    async def receive(self) -> Ended:
        """Fill the stream, and close it; never raises for what the source does."""
        intake: Intake | None = None
        reason, failure = "", None
        try:
            connector = await asyncio.to_thread(self._made)
            intake = self._intake(connector)
            reason = await self._supervise(connector, intake)
        except Exception as error:  # a connector may be anybody's
            failure = self._failure(error)
        try:
            if intake is not None and not self._stop.is_set():
                await intake.end()
        except Exception as error:  # its clock may be anybody's too
            failure = failure or self._failure(error)
        finally:
            self._stream.close()
        if intake is None:
            return Ended(reason, failure)
        intake.note_clock()
        return Ended(reason, failure, intake.facts, intake.transport.as_dict() if intake.transport else None)

    def _made(self) -> Connector:
        """In a thread: a constructor may look at files."""
        try:
            return self._class(self._options, SourceContext(self._folder, self._run.duration_s is None))
        except BaseException as error:
            raise ordinary(error) from error

    def _failure(self, error: Exception) -> VisionError:
        if isinstance(error, VisionError):
            return error
        _log.debug("source %s", self._use, exc_info=error)
        return SourceError(f"source {self._use}: failed: {one_line(error)}")

    def _intake(self, connector: Connector) -> Intake:
        aligner = Aligner(live=connector.live, expects_sound="sound" in connector.tracks(), speech=self._listens)
        return Intake(connector.clock(), aligner, self._stream, until_s=self._run.duration_s)

    async def _supervise(self, connector: Connector, intake: Intake) -> str:
        streaming = asyncio.create_task(_streamed(connector, intake), name="source")
        waits = [self._stop.wait(), intake.complete.wait(), intake.tick()]
        if connector.live:
            waits.append(self._watch(intake))
        watchers: list[asyncio.Task[Any]] = [asyncio.create_task(wait) for wait in waits]
        try:
            done, _ = await asyncio.wait([streaming, *watchers], return_when=asyncio.FIRST_COMPLETED)
            for finished in done - {streaming}:
                finished.result()  # a watcher that raised says why
            return self._reason(connector, streaming, intake)
        finally:
            await _let_go(streaming, watchers)

    def _reason(self, connector: Connector, streaming: asyncio.Task[str], intake: Intake) -> str:
        """Why it is over.

        :raises SourceError: when that is no good end.
        """
        if intake.complete.is_set():
            if connector.live and intake.silent_s() > _SILENT_S:
                raise SourceError(f"source {self._use}: lost: nothing came in the last {intake.silent_s():.1f} s")
            return _COMPLETE
        if not streaming.done():
            return "stopped"
        reason = streaming.result()
        if connector.live and self._run.duration_s is not None:
            asked = f"the {self._run.duration_s:g} s of the run were over"
            raise SourceError(f"source {self._use}: ended before {asked}: {reason}")
        return reason

    async def _watch(self, intake: Intake) -> None:
        """Raise when a live source gives nothing for too long."""
        while True:
            await asyncio.sleep(0.1)
            begun = intake.last_media_s is not None
            limit_s = self._run.stall_timeout_s if begun else self._run.first_picture_timeout_s
            if intake.silent_s() <= limit_s:
                continue
            if begun:
                lost = f"lost: nothing has come for {limit_s:g} s (run.stall_timeout_s)"
                raise SourceError(f"source {self._use}: {lost}{_said_before(intake)}")
            raise SourceError(
                f"source {self._use}: nothing came within {limit_s:g} s (run.first_picture_timeout_s);"
                " is anything being sent?"
            )


def _said_before(intake: Intake) -> str:
    """What the connector was recovering from meanwhile."""
    latest = (intake.facts.get("recoveries") or [{}])[-1]
    return f"; it began with: {latest['reason']}" if "reason" in latest and latest["took_s"] is None else ""


async def _streamed(connector: Connector, intake: Intake) -> str:
    """A connector's work, so that whatever it raises is an error of it and ends no event loop."""
    task = asyncio.current_task()
    try:
        return await connector.stream(intake)
    except asyncio.CancelledError as error:
        if task is not None and task.cancelling():
            raise
        raise RuntimeError("it cancelled itself") from error
    except BaseException as error:
        raise ordinary(error) from error


async def _let_go(streaming: asyncio.Task[str], watchers: list[asyncio.Task[Any]]) -> None:
    for task in (streaming, *watchers):
        task.cancel()
    await asyncio.wait(watchers)
    _, late = await asyncio.wait([streaming], timeout=_RELEASE_S)
    if late:
        _log.warning("the source was not released within %g s", _RELEASE_S)
    elif not streaming.cancelled():
        streaming.exception()  # seen; where it matters it was raised before
