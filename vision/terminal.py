"""The terminal's side of the command line: streams that may be closed or full, and the end at any moment."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import IO, Any, Literal, NoReturn, cast

from vision.errors import OutputError

__all__ = ["INTERRUPTED", "end_at_once", "finish", "prepare", "say", "stream", "stop_signals"]

INTERRUPTED = 130
_SHOW_CURSOR = b"\x1b[?25h"
_Name = Literal["stdout", "stderr"]


def prepare() -> None:
    """Make sure that both streams exist and take any character."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # the caller has closed it
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
        with contextlib.suppress(AttributeError, ValueError):
            getattr(sys, name).reconfigure(errors="backslashreplace")


def say(message: str) -> None:
    """A line of our own on standard error."""
    stream("stderr").write(f"vision: {' '.join(message.split())}\n")


def stream(name: _Name) -> IO[str]:
    """Standard output or error, for a program that must not fail because of them.

    :raises OutputError: from the stream, where standard output is written to and cannot take it (a full disk). A
        reader that has gone is no error, and neither is anything on standard error.
    """
    return cast("IO[str]", _Stream(name))


def finish() -> None:
    """The end of the program: what is still to be written may fail without a word, and Ctrl-C without a traceback."""
    for number in stop_signals():
        signal.signal(number, end_at_once)
    with contextlib.suppress(OutputError):
        stream("stdout").flush()
    stream("stderr").flush()


def stop_signals() -> list[signal.Signals]:
    """The signals that ask the program to end; one that it was started to ignore (nohup) is not among them."""
    present = [getattr(signal, name, None) for name in ("SIGINT", "SIGTERM", "SIGHUP")]
    return [number for number in present if number is not None and signal.getsignal(number) != signal.SIG_IGN]


def end_at_once(number: int = 0, frame: FrameType | None = None) -> NoReturn:
    """End without waiting for anything; a signal handler. Child processes end when their pipes do."""
    with contextlib.suppress(OSError, ValueError):
        shown = _SHOW_CURSOR if sys.stderr.isatty() else b""
        os.write(2, shown + b"vision: interrupted\n")
    os._exit(INTERRUPTED)


class _Stream:
    """The stream that `sys` has under a name, with failures taken care of."""

    def __init__(self, name: _Name) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(getattr(sys, self._name), attribute)

    def write(self, text: str) -> int:
        self._attempt(lambda: getattr(sys, self._name).write(text))
        return len(text)

    def flush(self) -> None:
        self._attempt(lambda: getattr(sys, self._name).flush())

    def _attempt(self, action: Callable[[], object]) -> None:
        try:
            action()
        except OSError as error:
            self._silence()
            if self._name == "stdout" and not isinstance(error, BrokenPipeError):
                raise OutputError(f"standard output: cannot be written: {error.strerror}") from error

    def _silence(self) -> None:
        """Let what is buffered, and all that follows, go nowhere: it would fail again, at the latest on exit."""
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, getattr(sys, self._name).fileno())
            os.close(nowhere)
