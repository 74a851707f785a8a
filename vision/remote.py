"""A processor in a process of its own.

Both sides of a pipe are in this file: `RemoteProcessor` is the stand-in here, `main` runs in the child. Messages
are pickles behind their length; pictures go through shared memory (a mapped file that has no name any more once
both sides have it open). A processor that keeps a picture beyond its call keeps the memory with it, and the next
picture gets another.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import math
import mmap
import os
import pickle
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np

from vision.children import child_environment, python_command
from vision.errors import one_line
from vision.frame import Frame, Picture
from vision.processor import Processor, ResetReason, StreamInfo

__all__ = ["CLOSE_S", "RemoteError", "RemoteProcessor", "main"]

CLOSE_S = 3.0  # how long a processor may take to close in its process
_LENGTH = struct.Struct("<Q")
_SHARED_FOLDER = Path("/dev/shm")


class RemoteError(Exception):
    """The process failed: its processor raised, it died, or it did not answer in time."""


@dataclass(frozen=True, slots=True)
class _Geometry:
    """How a picture lies in the shared memory: its planes one after the other."""

    width: int
    height: int
    full_range: bool

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        chroma = ((self.height + 1) // 2, (self.width + 1) // 2)
        return (self.height, self.width), chroma, chroma

    @property
    def size(self) -> int:
        return sum(h * w for h, w in self.shapes)

    def planes(self, memory: mmap.mmap) -> Iterator[np.ndarray[Any, np.dtype[np.uint8]]]:
        """Views of the memory, writable where it is."""
        offset = 0
        for h, w in self.shapes:
            yield np.frombuffer(memory, np.uint8, h * w, offset).reshape(h, w)
            offset += h * w


class RemoteProcessor(Processor[Any]):
    """Stands in for a processor that runs in a child process; calls block until the child has answered.

    A child that dies or exceeds `timeout_s` is replaced on the next call, but for after `close`.
    """

    def __init__(self, processor: type[Processor[Any]], options: Any, timeout_s: float, setup_s: float) -> None:
        super().__init__(options)
        self._described = (processor.__module__, processor.__qualname__, options)
        self._limit_s, self._setup_s = timeout_s, setup_s
        self._child: _Child | None = None
        self._info: StreamInfo | None = None
        self._closed = False

    def setup(self, info: StreamInfo) -> None:
        self._info = info
        self._start()

    def process(self, frame: Frame, *needed: Any) -> Any:
        return self._running().process(frame, needed, self._limit_s)

    def reset(self, reason: ResetReason) -> None:
        self._running().call("reset", reason, self._limit_s)

    def shift_sound(self, step_s: float) -> None:
        self._running().call("shift_sound", step_s, self._limit_s)

    def close(self) -> None:
        self._closed = True
        if self._child is not None:
            self._child.close(min(self._limit_s, CLOSE_S))

    def kill(self) -> None:
        """End the child at once, from any thread; the call that is under way fails, and there is no other child."""
        self._closed = True
        if self._child is not None:
            self._child.kill()

    def _running(self) -> _Child:
        if self._child is None or self._child.dead:
            return self._start()
        return self._child

    def _start(self) -> _Child:
        if self._closed:
            raise RemoteError("it was closed")
        child = self._child = _Child()
        if self._closed:  # killed from another thread meanwhile
            child.kill()
        try:
            child.call("setup", (sys.path, self._described, self._info), self._setup_s)
        except RemoteError:
            child.end()  # an instance that could not be set up must not measure
            raise
        return child


class _Watchdog:
    """Kills a process when a call takes too long; one thread for all calls, which looks ten times a second."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._until_s = math.inf
        self._ended = threading.Event()
        self.has_bitten = False
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    @contextlib.contextmanager
    def limit(self, seconds: float) -> Iterator[None]:
        """For the length of the block, a limit in seconds."""
        self._until_s = time.monotonic() + seconds
        try:
            yield
        finally:
            self._until_s = math.inf

    def end(self) -> None:
        """Let the thread go."""
        self._ended.set()

    def _watch(self) -> None:
        while not self._ended.wait(0.1):
            if time.monotonic() > self._until_s:
                self.has_bitten = True
                self._process.kill()
                return


class _Child:
    """One child process and the shared memory with it."""

    def __init__(self) -> None:
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the child
        self._process = subprocess.Popen(
            python_command("-c", "from vision.remote import main; main()"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env=child_environment(),
            start_new_session=True,  # Ctrl-C is for the run, which then ends its children itself
        )
        self._watchdog = _Watchdog(self._process)
        self._memory: mmap.mmap | None = None
        self._geometry: _Geometry | None = None
        self._last_words = ""
        self.dead = False

    def call(self, kind: str, argument: Any, timeout_s: float) -> Any:
        """Send a message and wait for its answer.

        :raises RemoteError: when the child raised, died, or did not answer in `timeout_s`.
        """
        if self.dead:
            raise RemoteError(self._obituary())
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        message = _packed((kind, argument))  # what cannot be pickled leaves the child alone
        try:
            with self._watchdog.limit(timeout_s):
                self._process.stdin.write(message)
                self._process.stdin.flush()
                ok, value, keeps_picture = _receive(self._process.stdout)
        except (EOFError, OSError, ValueError, pickle.PickleError) as error:
            self.end()
            raise RemoteError(
                f"no answer in {timeout_s:g} s" if self._watchdog.has_bitten else self._obituary()
            ) from error
        if keeps_picture:
            self._memory = None
        if not ok:
            raise RemoteError(value)
        return value

    def process(self, frame: Frame, needed: tuple[Any, ...], timeout_s: float) -> Any:
        """Have a frame measured; its picture goes through the shared memory."""
        if frame.maybe_picture is not None:
            self._share(frame.maybe_picture, timeout_s)
        bare = dataclasses.replace(frame, maybe_picture=None)
        return self.call("process", (bare, frame.maybe_picture is not None, needed), timeout_s)

    def close(self, timeout_s: float) -> None:
        """Let the processor close, then end the process, whatever it does."""
        try:
            if not self.dead:
                self.call("close", None, timeout_s)
        finally:
            self.end()

    def kill(self) -> None:
        """End the process at once; whoever waits for its answer tidies up."""
        self._process.kill()

    def end(self) -> None:
        """End the process, and tidy up after it."""
        if self.dead:
            return
        self.dead = True
        self._watchdog.end()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._stderr.seek(0)
        said = self._stderr.read().decode(errors="replace").strip().splitlines()
        self._last_words = said[-1].strip()[:200] if said else ""
        self._stderr.close()

    def _share(self, picture: Picture, timeout_s: float) -> None:
        geometry = _Geometry(picture.width, picture.height, picture.full_range)
        if self._memory is None or geometry != self._geometry:
            self._memory, self._geometry = self._new_memory(geometry, timeout_s), geometry
        for shared, plane in zip(geometry.planes(self._memory), picture.planes, strict=True):
            shared[:] = plane

    def _new_memory(self, geometry: _Geometry, timeout_s: float) -> mmap.mmap:
        folder = _SHARED_FOLDER if _SHARED_FOLDER.is_dir() and os.access(_SHARED_FOLDER, os.W_OK) else None
        with tempfile.NamedTemporaryFile(dir=folder, prefix="vision-") as file:
            file.write(bytes(geometry.size))  # a full disk is an error here, not a SIGBUS later
            file.flush()
            memory = mmap.mmap(file.fileno(), geometry.size)
            self.call("map", (file.name, geometry), timeout_s)
        return memory

    def _obituary(self) -> str:
        code = self._process.returncode
        names = {number.value: number.name for number in signal.Signals}
        how = f"was killed by {names.get(-code, -code)}" if code < 0 else f"ended with status {code}"
        return f"its process {how}" + (f" ({self._last_words})" if self._last_words else "")


def _packed(message: Any) -> bytes:
    data = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    return _LENGTH.pack(len(data)) + data


def _receive(file: BinaryIO | Any) -> Any:
    head = file.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        raise EOFError
    data = file.read(_LENGTH.unpack(head)[0])
    return pickle.loads(data)


class _Host:
    """In the child: the processor and the picture memory."""

    def __init__(self) -> None:
        self._processor: Processor[Any] | None = None
        self._memory: mmap.mmap | None = None
        self._geometry: _Geometry | None = None
        self._references = 0

    @property
    def keeps_picture(self) -> bool:
        """Whether somebody still has the last picture, or a part of it."""
        return self._memory is not None and sys.getrefcount(self._memory) > self._references

    def setup(self, argument: Any) -> None:
        path, (module, name, options), info = argument
        sys.path[:] = path
        owner: Any = importlib.import_module(module)
        for part in name.split("."):
            owner = getattr(owner, part)
        self._processor = owner(options)
        self._processor.setup(info)

    def map(self, argument: tuple[str, _Geometry]) -> None:
        name, self._geometry = argument
        with Path(name).open("rb") as file:
            self._memory = mmap.mmap(file.fileno(), self._geometry.size, access=mmap.ACCESS_READ)
        self._references = sys.getrefcount(self._memory)  # every array of it is one more

    def process(self, argument: tuple[Frame, bool, tuple[Any, ...]]) -> Any:
        frame, has_picture, needed = argument
        if has_picture:
            assert self._memory is not None
            assert self._geometry is not None
            picture = Picture(*self._geometry.planes(self._memory), full_range=self._geometry.full_range)
            frame = dataclasses.replace(frame, maybe_picture=picture)
        assert self._processor is not None
        return self._processor.process(frame, *needed)

    def reset(self, reason: ResetReason) -> None:
        assert self._processor is not None
        self._processor.reset(reason)

    def shift_sound(self, step_s: float) -> None:
        assert self._processor is not None
        self._processor.shift_sound(step_s)

    def close(self, _: None) -> None:
        if self._processor is not None:
            self._processor.close()


def main() -> None:
    """The child: answer messages until the other side has gone."""
    # what a library prints must not get between the answers
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    threading.Thread(target=_leave_with, args=(os.getppid(),), daemon=True).start()
    cv2.setNumThreads(1)  # as in the process of the run
    host = _Host()
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            kind, argument = _receive(sys.stdin.buffer)
            try:
                answer = (True, getattr(host, kind)(argument))
            except BaseException as error:  # whatever the processor raises is the caller's to handle
                answer = (False, one_line(error))
            answers.write(_answered(*answer, keeps_picture=host.keeps_picture))
            answers.flush()


def _leave_with(parent: int) -> None:
    """End this process when its parent has, also while the processor hangs and does not see the pipe close."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _answered(ok: bool, value: Any, *, keeps_picture: bool) -> bytes:
    try:
        return _packed((ok, value, keeps_picture))
    except Exception as error:  # a result may hold anything
        return _packed((False, f"its result cannot be sent: {one_line(error)}", keeps_picture))
