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

from vision.errors import ordinary
from vision.frame import Frame
from vision.processor import Processor, ResetReason, StreamInfo
from vision.remote import CLOSE_S, RemoteError, RemoteProcessor
from vision.result import Result

__all__ = ["ProcessorHungError", "Worker", "worker_for"]

_SETUP_S = 60.0  # importing and building a model on a busy machine
_CLOSE_S = CLOSE_S + 2.0


class ProcessorHungError(Exception):
    """A call did not come back in time, and its thread is lost."""


class Worker:
    """A thread that owns one processor and carries out its calls one after the other."""

    def __init__(
        self, make: Callable[[], Processor[Any]], name: str, timeout_s: float, *, asynchronous: bool = False
    ) -> None:
        self._make, self._timeout_s, self._asynchronous = make, timeout_s, asynchronous
        self._processor: Processor[Any] | None = None
        self._under_way: asyncio.Future[Any] | None = None
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=f"processor-{name}", daemon=True)
        self._hung = self._closed = False
        self._thread.start()

    async def setup(self, info: StreamInfo) -> None:
        """Make the processor and set it up; what it raises is raised here."""

        def make_ready() -> None:
            self._processor = self._make()
            if self._hung:  # abandoned meanwhile
                return
            self._processor.setup(info)

        await self._call(make_ready, _SETUP_S)

    async def process(self, frame: Frame, needed: Sequence[Result | None]) -> Result | None:
        """Measure one frame.

        :raises ProcessorHungError: when it takes longer than its time limit; the worker is of no use any more.
        """
        if self._asynchronous:
            found = await self._await(frame, needed)
        else:
            found = await self._call(lambda: self._made.process(frame, *needed), self._timeout_s)
        if found is not None and not isinstance(found, Result):
            raise TypeError(f"process() gave {type(found).__name__}; allowed: a Result or None")
        return found

    async def _await(self, frame: Frame, needed: Sequence[Result | None]) -> Any:
        task = asyncio.current_task()
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._made.process(frame, *needed)  # type: ignore[misc]
        except TimeoutError as error:
            raise TimeoutError(f"no answer in {self._timeout_s:g} s") from error
        except BaseException as raised:
            if task is not None and task.cancelling():
                raise  # it is the run that ends
            raise ordinary(raised) from raised

    async def reset(self, reason: ResetReason) -> None:
        """Tell the processor that what came before does not continue."""
        await self._call(lambda: self._made.reset(reason), self._timeout_s)

    async def shift_sound(self, step_s: float) -> None:
        """Tell the processor that the sound so far belongs later."""
        await self._call(lambda: self._made.shift_sound(step_s), self._timeout_s)

    async def close(self) -> None:
        """Close the processor and end the thread; a hung one ends by itself if its call ever comes back."""
        try:
            if self._processor is not None and not self._hung:
                await self._call(self._processor.close, _CLOSE_S)
        except ProcessorHungError:
            self.abandon()
            raise
        finally:
            self._closed = True
            if self._hung:
                self._jobs.put(self._tidy_up)
            self._jobs.put(None)

    def abandon(self) -> None:
        """Do not wait for what is under way: a child process is killed, a thread is left alone."""
        self._hung = True
        if isinstance(self._processor, RemoteProcessor):
            self._processor.kill()
        if self._under_way is not None and not self._under_way.done():
            self._under_way.set_exception(ProcessorHungError("it was not waited for"))

    @property
    def _made(self) -> Processor[Any]:
        if self._processor is None:
            raise RuntimeError("it was not set up")
        return self._processor

    async def _call(self, function: Callable[[], Any], timeout_s: float) -> Any:
        if self._hung or self._closed:
            reason = "it was closed" if self._closed else f"an earlier call has not come back in {self._timeout_s:g} s"
            raise ProcessorHungError(reason)
        loop = asyncio.get_running_loop()
        future = self._under_way = loop.create_future()
        self._jobs.put(lambda: _settle(loop, future, function))
        try:
            async with asyncio.timeout(timeout_s):
                return await future
        except TimeoutError as error:
            if not future.cancelled():  # the processor itself raised it
                raise
            self._hung = True
            raise ProcessorHungError(f"no answer in {timeout_s:g} s") from error

    def _tidy_up(self) -> None:
        """In the thread, once the call under way has failed: take leave of a child that was killed."""
        if isinstance(self._processor, RemoteProcessor):
            with contextlib.suppress(RemoteError):
                self._processor.close()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()


def worker_for(processor: type[Processor[Any]], options: Any, placement: str, name: str, timeout_s: float) -> Worker:
    """A worker with a new instance of the processor, in this process or in one of its own."""
    if placement == "process":
        remote = RemoteProcessor(processor, options, timeout_s, _SETUP_S)
        return Worker(lambda: remote, name, timeout_s + _SETUP_S)  # it keeps the limit itself, and may have to restart
    asynchronous = inspect.iscoroutinefunction(processor.process)
    return Worker(lambda: processor(options), name, timeout_s, asynchronous=asynchronous)


def _settle(loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any], function: Callable[[], Any]) -> None:
    """In the thread: call, and hand the outcome to the loop."""
    value: Any = None
    error: Exception | None = None
    try:
        value = function()
    except BaseException as raised:  # whatever a plugin raises belongs to the caller
        error = ordinary(raised)

    def finish() -> None:
        if not future.done():
            future.set_exception(error) if error else future.set_result(value)

    with contextlib.suppress(RuntimeError):  # the loop was closed while a hung call was under way: nobody waits
        loop.call_soon_threadsafe(finish)
