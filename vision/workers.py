"""Where processors run: each in a thread of its own, or, through it, in a process of its own.

A thread that hangs cannot be ended; it is left behind as a daemon and its processor is not called again. A process
that hangs or dies is replaced, and only the call that was under way is lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import queue
import threading
from collections.abc import Callable, Sequence
from typing import Any

from vision.frame import Frame
from vision.processor import Processor, ResetReason, StreamInfo
from vision.remote import RemoteProcessor
from vision.result import Result

__all__ = ["ProcessorHungError", "Worker", "worker_for"]

_SETUP_S = 60.0  # importing and building a model on a busy machine
_CLOSE_S = 5.0


class ProcessorHungError(Exception):
    """A call did not come back in time, and its thread is lost."""


class Worker:
    """A thread that owns one processor and carries out its calls one after the other."""

    def __init__(self, processor: Processor[Any], name: str, timeout_s: float) -> None:
        self._processor, self._name, self._timeout_s = processor, name, timeout_s
        self._asynchronous = inspect.iscoroutinefunction(processor.process)
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=f"processor-{name}", daemon=True)
        self._hung = False
        self._thread.start()

    async def setup(self, info: StreamInfo) -> None:
        """Make the processor ready; what it raises is raised here."""
        await self._call(lambda: self._processor.setup(info), _SETUP_S)

    async def process(self, frame: Frame, needed: Sequence[Result | None]) -> Result | None:
        """Measure one frame.

        :raises ProcessorHungError: when it takes longer than its time limit; the worker is of no use any more.
        """
        if self._asynchronous:
            async with asyncio.timeout(self._timeout_s):
                measured: Result | None = await self._processor.process(frame, *needed)  # type: ignore[misc]
                return measured
        found = await self._call(lambda: self._processor.process(frame, *needed), self._timeout_s)
        if found is not None and not isinstance(found, Result):
            raise TypeError(f"process() gave {type(found).__name__}; allowed: a Result or None")
        return found

    async def reset(self, reason: ResetReason) -> None:
        """Tell the processor that what came before does not continue."""
        await self._call(lambda: self._processor.reset(reason), self._timeout_s)

    async def close(self) -> None:
        """Close the processor and end the thread; a hung one ends by itself if its call ever comes back."""
        try:
            if not self._hung:
                await self._call(self._processor.close, _CLOSE_S)
        finally:
            self._jobs.put(None)

    async def _call(self, function: Callable[[], Any], timeout_s: float) -> Any:
        if self._hung:
            raise ProcessorHungError(f"an earlier call has not come back in {self._timeout_s:g} s")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self._jobs.put(lambda: _settle(loop, future, function))
        try:
            async with asyncio.timeout(timeout_s):
                return await future
        except TimeoutError as error:
            if not future.cancelled():  # the processor itself raised it
                raise
            self._hung = True
            raise ProcessorHungError(f"no answer in {timeout_s:g} s") from error

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()


def worker_for(processor: type[Processor[Any]], options: Any, placement: str, name: str, timeout_s: float) -> Worker:
    """A worker with a new instance of the processor, in this process or in one of its own."""
    if placement == "process":
        remote = RemoteProcessor(processor, options, name, timeout_s, _SETUP_S)
        return Worker(remote, name, timeout_s + _SETUP_S)  # it keeps the time limit itself, and may have to restart
    return Worker(processor(options), name, timeout_s)


def _settle(loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any], function: Callable[[], Any]) -> None:
    """In the thread: call, and hand the outcome to the loop."""
    try:
        value, error = function(), None
    except Exception as raised:  # whatever a plugin raises belongs to the caller
        value, error = None, raised

    def finish() -> None:
        if not future.done():
            future.set_exception(error) if error else future.set_result(value)

    with contextlib.suppress(RuntimeError):  # the loop was closed while a hung call was under way: nobody waits
        loop.call_soon_threadsafe(finish)
