"""A run, from opening the source to the summary: `await Run(config, folder).execute()`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from vision.align import Aligner
from vision.config import RunConfig
from vision.connectors.base import Connector, SourceContext
from vision.errors import OutputError, SourceError, VisionError, one_line
from vision.folder import RunFolder, cannot_write
from vision.frame import Frame
from vision.incidents import IncidentTracker
from vision.intake import Intake
from vision.plan import Step, plan
from vision.processor import StreamInfo
from vision.record import Record
from vision.sinks.base import Sink
from vision.stream import FrameStream, StreamStatistics
from vision.summary import Summary
from vision.walk import Walk

__all__ = ["Outcome", "Run", "State"]

State = Literal["starting", "connecting", "running", "finishing", "done"]
_log = logging.getLogger(__name__)
_COMPLETE = "duration reached"
_RELEASE_S = 10.0  # a source may take this long to let go; then it is left behind


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended.

    :ivar reason: in a few words.
    :ivar exit_status: 0 done, 2 an output failed, 3 the source was lost, 130 interrupted.
    :ivar error: one line, where something failed.
    """

    reason: str
    exit_status: int
    error: str | None
    summary: Mapping[str, Any]


class Run:
    """One run. `stop` ends it early, in good order; `state`, `latest` and `queue` may be looked at meanwhile."""

    def __init__(self, config: RunConfig, folder: Path) -> None:
        self.config = config
        self.steps: tuple[Step, ...] = plan(config.processors)
        self.summary = Summary(self.steps)
        self.folder = RunFolder(folder, config)
        self.state: State = "starting"
        self.latest: Record | None = None
        self._stop = asyncio.Event()
        self._interrupted = False
        self._stream = FrameStream(config.run.queue.size, config.policy)
        self._tracker = IncidentTracker(self.summary.metrics)

    @property
    def queue(self) -> StreamStatistics:
        """What the queue has counted so far."""
        return self._stream.statistics()

    def stop(self) -> None:
        """Interrupt: the source is released, what is under way is finished, the summary is written."""
        self._interrupted = True
        self._stop.set()
        self._stream.discard()

    async def execute(self) -> Outcome:
        """Carry the run out. Failures are in the outcome; nothing that was written is lost."""
        reason, error = "", None
        facts: dict[str, Any] = {}
        try:
            reason = await self._carry_out(facts)
        except* VisionError as group:
            error = _first(group)
        if self._interrupted and error is None:
            reason = "interrupted"
        return self._finish(reason, error, facts)

    async def _carry_out(self, facts: dict[str, Any]) -> str:
        sinks = self._sinks()
        try:
            info = StreamInfo(live=self.config.source.connector.live)
            async with Walk(self.steps, self.summary.tallies, info) as walk:
                if self._stop.is_set():
                    return "interrupted"
                self.state = "connecting"
                async with asyncio.TaskGroup() as group:
                    source = group.create_task(self._receive(facts))
                    group.create_task(self._consume(walk, sinks))
                self.state = "finishing"
                ended = source.result()
                if isinstance(ended, SourceError):
                    raise ended
                return ended
        finally:
            _close(sinks)

    def _sinks(self) -> list[Sink]:
        opened: list[Sink] = []
        try:
            for config in self.config.sinks:
                sink = config.sink(config.options, self.folder.path)
                opened.append(sink)
                sink.open()
        except OSError as error:
            _close(opened)
            raise cannot_write(self.folder.path, error) from error
        return opened

    async def _receive(self, facts: dict[str, Any]) -> str | SourceError:
        """The source's side: until it ends, is lost, the time is up, or the run is stopped.

        A lost source is given back rather than raised: what it has sent is still to be measured.
        """
        try:
            connector = self.config.source.connector(self.config.source.options, SourceContext(self.folder.path))
        except SourceError as error:
            self._stream.close()
            return error
        intake = self._intake(connector)
        try:
            return await self._supervise(connector, intake)
        except SourceError as error:
            return error
        finally:
            facts |= {"source": intake.facts}
            if not self._stop.is_set():
                await intake.end()
            self._stream.close()

    def _intake(self, connector: Connector) -> Intake:
        aligner = Aligner(live=connector.live, expects_sound="sound" in connector.tracks())
        return Intake(connector.clock(), aligner, self._stream, until_s=self.config.run.duration_s)

    async def _supervise(self, connector: Connector, intake: Intake) -> str:
        streaming = asyncio.create_task(connector.stream(intake), name="source")
        waits = (self._stop.wait(), intake.complete.wait(), intake.tick())
        watchers: list[asyncio.Task[Any]] = [asyncio.create_task(wait) for wait in waits]
        if connector.live:
            watchers.append(asyncio.create_task(self._watch(intake)))
        try:
            done, _ = await asyncio.wait([streaming, *watchers], return_when=asyncio.FIRST_COMPLETED)
            for finished in done - {streaming}:
                finished.result()  # a watcher that raised says why
            return self._ended(streaming, intake) if streaming in done else _COMPLETE
        finally:
            for task in (streaming, *watchers):
                task.cancel()
            await asyncio.wait(watchers)
            _, late = await asyncio.wait([streaming], timeout=_RELEASE_S)
            if late:
                _log.warning("the source was not released within %g s", _RELEASE_S)
            elif not streaming.cancelled():
                streaming.exception()  # seen; where it matters it was raised above

    def _ended(self, streaming: asyncio.Task[str], intake: Intake) -> str:
        """Why the source ended by itself.

        :raises SourceError: when it failed, or is live and ended before the run's time was up.
        """
        use, duration_s = self.config.source.use, self.config.run.duration_s
        if intake.complete.is_set():
            return _COMPLETE
        try:
            reason = streaming.result()
        except VisionError:
            raise
        except Exception as error:  # a connector may be anybody's
            _log.debug("source %s", use, exc_info=error)
            raise SourceError(f"source {use}: failed: {one_line(error)}") from error
        if self.config.source.connector.live and duration_s is not None:
            raise SourceError(f"source {use}: ended before the {duration_s:g} s of the run were over: {reason}")
        return reason

    async def _watch(self, intake: Intake) -> None:
        """Raise when a live source gives nothing for too long."""
        limits = self.config.run
        while True:
            await asyncio.sleep(0.1)
            if intake.last_media_s is None:
                if intake.now_s() > limits.first_picture_timeout_s:
                    raise SourceError(
                        f"source: nothing came within {limits.first_picture_timeout_s:g} s"
                        " (run.first_picture_timeout_s); is anything being sent?"
                    )
            elif intake.now_s() - intake.last_media_s > limits.stall_timeout_s:
                raise SourceError(
                    f"source: lost: nothing has come for {limits.stall_timeout_s:g} s (run.stall_timeout_s)"
                )

    async def _consume(self, walk: Walk, sinks: Sequence[Sink]) -> None:
        """The processors' side: until the queue is closed and empty."""
        try:
            async for record in walk.records(self._frames()):
                await asyncio.to_thread(self._write, record, sinks)
                self.latest = record
        except BaseException:
            self._stop.set()
            self._stream.discard()
            raise

    async def _frames(self) -> AsyncIterator[Frame]:
        async for frame in self._stream:
            self.state = "running"
            yield frame

    def _write(self, record: Record, sinks: Sequence[Sink]) -> None:
        self.summary.add(record)
        for incident in self._tracker.add(record):
            self.summary.add_incident(incident)
            self.folder.add_incident(incident)
        for sink in sinks:
            try:
                sink.write(record)
            except OSError as error:
                raise cannot_write(self.folder.path, error) from error
            except Exception as error:  # a sink may be anybody's
                _log.debug("sink %s", type(sink).__name__, exc_info=error)
                raise OutputError(f"sink {type(sink).__name__}: failed: {one_line(error)}") from error

    def _finish(self, reason: str, error: VisionError | None, facts: dict[str, Any]) -> Outcome:
        status = error.exit_status if error else 130 if self._interrupted else 0
        reason = "failed" if error else reason
        try:
            for incident in self._tracker.end():
                self.summary.add_incident(incident)
                self.folder.add_incident(incident)
        except OutputError as failure:
            status, error = failure.exit_status, error or failure
        summary = {
            "name": self.config.name,
            "end": {"reason": reason, "exit_status": status, "error": str(error) if error else None},
            **self.summary.as_dict(self._stream.statistics()),
        }
        try:
            self.folder.write_run({**facts, "end": summary["end"]})
            self.folder.write_summary(summary)
            self.folder.close()
        except (OutputError, OSError) as failure:
            status = OutputError.exit_status
            error = error or (failure if isinstance(failure, OutputError) else cannot_write(self.folder.path, failure))
        self.state = "done"
        return Outcome(reason, status, str(error) if error else None, summary)


def _first(group: BaseExceptionGroup[VisionError]) -> VisionError:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, VisionError)
    return error


def _close(sinks: Sequence[Sink]) -> None:
    for sink in sinks:
        try:
            sink.close()
        except Exception as error:  # a full disk, or a plugin; the others are closed all the same
            _log.warning("sink %s: cannot be closed: %s", type(sink).__name__, one_line(error))
