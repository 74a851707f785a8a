"""A run, from opening the source to the summary: `await Run(config, folder).execute()`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from vision.config import RunConfig
from vision.errors import VisionError, one_line
from vision.expectations.judge import Judge
from vision.folder import RunFolder
from vision.frame import Frame
from vision.outputs import Outputs
from vision.outputs.evidence import Evidence
from vision.plan import Step, plan
from vision.processor import StreamInfo
from vision.record import Record
from vision.source import Ended, Source
from vision.stream import FrameStream, StreamStatistics
from vision.summary import Summary
from vision.walk import Walk

__all__ = ["Outcome", "Run", "State"]

State = Literal["starting", "connecting", "running", "finishing", "done"]
_log = logging.getLogger(__name__)
_GRACE_S = 3.0  # what is under way when a run is interrupted may take this long; then it is not waited for
_MOST_UNWRITTEN = 16  # records; the walk waits when so many are not written yet
_UNMET, _INTERRUPTED = 1, 130


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended.

    :ivar reason: in a few words.
    :ivar exit_status: 0 done, 1 an expectation of level error was not met, 2 an output failed, 3 the source was lost,
        130 interrupted.
    :ivar error: one line, where something failed.
    """

    reason: str
    exit_status: int
    error: str | None
    summary: Mapping[str, Any]


class _UnexpectedError(VisionError):
    """A defect of this package's own; what was measured is written all the same."""

    exit_status: ClassVar[int] = 70


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
        self._judge = Judge(config.expectations, [step.producer() for step in self.steps])
        kept = config.run.evidence
        waits = config.policy == "every"
        evidence = Evidence(kept, folder, waits=waits) if kept is not None else None
        self._outputs = Outputs(config.sinks, self.folder, self.summary, self._judge, evidence, waits=waits)
        self._walk: Walk | None = None

    @property
    def queue(self) -> StreamStatistics:
        """What the queue has counted so far."""
        return self._stream.statistics()

    def stop(self) -> None:
        """Interrupt: the source is released, what is under way is finished or given up, the summary is written."""
        self._interrupted = True
        self._stop.set()
        self._stream.discard()
        asyncio.get_running_loop().call_later(_GRACE_S, self._abandon)

    def _abandon(self) -> None:
        if self._walk is not None:
            self._walk.abandon()

    async def execute(self) -> Outcome:
        """Carry the run out. Failures are in the outcome; nothing that was written is lost."""
        ended = Ended("interrupted")
        try:
            ended = await self._carry_out()
        except Exception as raised:
            ended = Ended("failed", _error_of(raised))
        closing = await asyncio.to_thread(self._outputs.close)
        error = ended.error or closing
        return await asyncio.to_thread(self._finish, ended, error)

    async def _carry_out(self) -> Ended:
        await asyncio.to_thread(self._outputs.open)
        info = StreamInfo(live=self.config.source.connector.live)
        async with Walk(self.steps, self.summary.tallies, info) as self._walk:
            if not await self._set_up(self._walk):
                return Ended("interrupted")
            self.state = "connecting"
            source = Source(self.config, self.folder.path, self._stream, self._stop)
            async with asyncio.TaskGroup() as group:
                receiving = group.create_task(source.receive())
                group.create_task(self._consume(self._walk))
            self.state = "finishing"
            return receiving.result()

    async def _set_up(self, walk: Walk) -> bool:
        """Set the processors up, unless the run is stopped first."""
        setting_up = asyncio.create_task(walk.set_up())
        stopping = asyncio.create_task(self._stop.wait())
        await asyncio.wait([setting_up, stopping], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not setting_up.done():
            walk.abandon()
            await asyncio.wait([setting_up])
            setting_up.exception()  # that it was abandoned
            return False
        setting_up.result()
        return not self._stop.is_set()

    async def _consume(self, walk: Walk) -> None:
        """The processors' side: until the queue is closed and empty."""
        unwritten: asyncio.Queue[Record | None] = asyncio.Queue(maxsize=_MOST_UNWRITTEN)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._measure(walk, unwritten))
                group.create_task(self._write(unwritten))
        except BaseException:
            self._stop.set()
            self._stream.discard()
            raise

    async def _measure(self, walk: Walk, unwritten: asyncio.Queue[Record | None]) -> None:
        async with contextlib.aclosing(walk.records(self._frames())) as records:
            async for record in records:
                await unwritten.put(record)
        await unwritten.put(None)

    async def _write(self, unwritten: asyncio.Queue[Record | None]) -> None:
        """Write in a thread, as many records at once as there are: the way there costs more than writing one."""
        record = await unwritten.get()
        while record is not None:
            batch = [record]
            while not unwritten.empty() and (record := unwritten.get_nowait()) is not None:
                batch.append(record)
            await asyncio.to_thread(self._outputs.write, batch)
            self.latest = batch[-1]
            if record is not None:
                record = await unwritten.get()

    async def _frames(self) -> AsyncIterator[Frame]:
        async for frame in self._stream:
            self.state = "running"
            yield frame

    def _finish(self, ended: Ended, error: VisionError | None) -> Outcome:
        """Write the rest, in a thread: also a disk that hangs leaves the terminal alive."""
        errors: list[VisionError] = [error] if error else []

        def head() -> dict[str, Any]:
            return {"name": self.config.name, "end": self._end(ended, errors)}

        summary = self._outputs.finish(
            {"source": ended.facts}, errors, head, self._stream.statistics(), ended.transport
        )
        self.state = "done"
        end = summary["end"]
        return Outcome(end["reason"], end["exit_status"], end["error"], summary)

    def _end(self, ended: Ended, errors: list[VisionError]) -> dict[str, Any]:
        if errors:
            return {"reason": "failed", "exit_status": errors[0].exit_status, "error": str(errors[0])}
        if self._interrupted:
            return {"reason": "interrupted", "exit_status": _INTERRUPTED, "error": None}
        return {"reason": ended.reason, "exit_status": _UNMET if self._outputs.is_unmet else 0, "error": None}


def _error_of(raised: BaseException) -> VisionError:
    while isinstance(raised, BaseExceptionGroup):
        raised = raised.exceptions[0]
    if isinstance(raised, VisionError):
        return raised
    _log.debug("run", exc_info=raised)
    return _UnexpectedError(f"internal error: {one_line(raised)}")
