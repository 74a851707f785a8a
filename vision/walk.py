"""The walk: every frame through every processor of the plan, in order, side by side where they are independent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterable, Sequence
from dataclasses import dataclass, field

from vision.errors import ConfigError, VisionError, one_line
from vision.frame import ClockStep, Frame, ResetReason
from vision.plan import Step
from vision.processor import Reads, StreamInfo
from vision.record import Measured, Record
from vision.remote import RemoteError
from vision.result import MetricInfo, Result, metrics_of, record_of
from vision.summary import ProcessorTally
from vision.workers import ProcessorHungError, Worker, worker_for

__all__ = ["Station", "Walk"]

_IN_FLIGHT = 4  # frames under way at once; more only adds latency


@dataclass(frozen=True, slots=True)
class _Outcome:
    result: Result | None = None
    measured: Measured | None = None
    error: str | None = None


@dataclass(slots=True)
class Station:
    """One processor at work: its worker, what it has done, and whether it is still called."""

    step: Step
    worker: Worker
    tally: ProcessorTally
    metrics: tuple[MetricInfo, ...] = field(init=False)
    previous: asyncio.Task[_Outcome] | None = None
    failed_in_row: int = 0
    size: tuple[int, int] | None = None
    reset: ResetReason | None = None
    clock_step: ClockStep | None = None

    def __post_init__(self) -> None:
        self.metrics = metrics_of(self.step.config.processor.result_type())

    async def visit(
        self, frame: Frame, needs: Sequence[asyncio.Task[_Outcome]], previous: asyncio.Task[_Outcome] | None
    ) -> _Outcome:
        """Measure a frame, once what it needs is there and the frame before it is done; never raises."""
        needed = [(await task).result for task in needs]
        if previous is not None:
            await previous
        self.reset = frame.reset or self.reset
        if frame.clock_step is not None:
            self.clock_step = frame.clock_step.after(self.clock_step)
        if self.tally.quarantined or not self._is_due(frame):
            self.tally.skipped += 1
            return _Outcome()
        return await self._measure(frame, needed)

    def _is_due(self, frame: Frame) -> bool:
        if frame.maybe_picture is None:
            return self.step.config.processor.reads != Reads.PICTURE
        return (frame.index or 0) % self.step.config.every == 0

    async def _measure(self, frame: Frame, needed: Sequence[Result | None]) -> _Outcome:
        begun = time.perf_counter()
        try:
            await self._reset(frame)
            result = await self.worker.process(frame, needed)
            measured = None if result is None else record_of(result, self.metrics)
        except ProcessorHungError as error:
            self._quarantine(f"hung: {error}")
            return self._failed(str(error))
        except Exception as error:  # whatever a plugin raises is an error of this frame, not of the run
            return self._failed(_reason(error))
        self.tally.ms.add(1000 * (time.perf_counter() - begun))
        self.tally.frames += 1
        self.failed_in_row = 0
        return _Outcome(result, measured)

    async def _reset(self, frame: Frame) -> None:
        """Tell the processor where what it sees does not continue what it saw."""
        if frame.maybe_picture is not None:
            size = (frame.picture.width, frame.picture.height)
            if self.size not in (None, size):
                self.reset = self.reset or "resolution"
            self.size = size
        reason, self.reset = self.reset, None
        step, self.clock_step = self.clock_step, None
        try:
            if reason is not None:
                await self.worker.reset(reason)
            elif step is not None and Reads.SOUND in self.step.config.processor.reads:
                await self.worker.shift_sound(step.ms / 1000)
        except Exception:
            self.reset = reason or "clock"  # what it holds is wrong until it has begun anew
            raise

    def _failed(self, message: str) -> _Outcome:
        self.tally.errors += 1
        self.tally.last_error = message
        self.failed_in_row += 1
        if self.failed_in_row >= self.step.config.quarantine_after and not self.tally.quarantined:
            self._quarantine(f"{self.failed_in_row} failed calls in a row, the last: {message}")
        return _Outcome(error=message)

    def _quarantine(self, reason: str) -> None:
        self.tally.quarantined = reason


class Walk:
    """Sets processors up, walks frames through them, and closes them.

    Use it as `async with`, call `set_up`, then iterate over `records(frames)`.
    """

    def __init__(self, steps: Sequence[Step], tallies: dict[str, ProcessorTally], info: StreamInfo) -> None:
        self._info = info
        self._under_way: set[asyncio.Task[_Outcome]] = set()
        self.stations = {step.config.name: Station(step, _worker(step), tallies[step.config.name]) for step in steps}

    async def __aenter__(self) -> Walk:
        return self

    async def __aexit__(self, *_: object) -> None:
        for station in self.stations.values():
            try:
                await station.worker.close()
            except Exception as error:  # the plugin's; the others are closed all the same
                station.tally.last_error = f"close: {_reason(error)}"

    async def set_up(self) -> None:
        """Make all processors ready, side by side.

        :raises ConfigError: when one cannot be set up.
        """
        await asyncio.gather(*(self._set_up(station) for station in self.stations.values()))

    def abandon(self) -> None:
        """Do not wait for any call that is under way, now or later."""
        for station in self.stations.values():
            station.worker.abandon()

    async def records(self, frames: AsyncIterable[Frame]) -> AsyncGenerator[Record, None]:
        """A record per frame, in order; a few frames are under way at once. Close it when it is left early."""
        under_way: asyncio.Queue[_Visited | None] = asyncio.Queue(maxsize=_IN_FLIGHT - 1)
        feeder = asyncio.create_task(self._feed(frames, under_way))
        try:
            while (item := await under_way.get()) is not None:
                frame, visits = item
                yield _record(frame, {name: await visit for name, visit in visits.items()})
            await feeder
        finally:
            for task in (feeder, *self._under_way):
                task.cancel()
            await asyncio.gather(feeder, *self._under_way, return_exceptions=True)

    async def _feed(self, frames: AsyncIterable[Frame], under_way: asyncio.Queue[_Visited | None]) -> None:
        async for frame in frames:
            await under_way.put((frame, self._visits(frame)))
        await under_way.put(None)

    def _visits(self, frame: Frame) -> dict[str, asyncio.Task[_Outcome]]:
        visits: dict[str, asyncio.Task[_Outcome]] = {}
        for name, station in self.stations.items():
            needs = [visits[needed] for needed in station.step.needs]
            visit = asyncio.create_task(station.visit(frame, needs, station.previous))
            self._under_way.add(visit)
            visit.add_done_callback(self._under_way.discard)
            station.previous = visits[name] = visit
        return visits

    async def _set_up(self, station: Station) -> None:
        try:
            await station.worker.setup(self._info)
        except VisionError:
            raise
        except Exception as error:  # the plugin's
            name = station.step.config.name
            raise ConfigError(f"processor {name}: cannot be set up: {_reason(error)}") from error


_Visited = tuple[Frame, dict[str, "asyncio.Task[_Outcome]"]]


def _worker(step: Step) -> Worker:
    config = step.config
    return worker_for(config.processor, config.options, config.placement, config.name, config.timeout_s)


def _record(frame: Frame, outcomes: dict[str, _Outcome]) -> Record:
    results = {name: outcome.measured for name, outcome in outcomes.items()}
    errors = {name: outcome.error for name, outcome in outcomes.items() if outcome.error is not None}
    return Record(frame, results, errors, {name: outcome.result for name, outcome in outcomes.items()})


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, RemoteError) else one_line(error)
