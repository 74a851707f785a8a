"""Where the command `vision` begins: importing the rest takes a while, and Ctrl-C may come meanwhile."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator

from vision import terminal

__all__ = ["main"]

_LIBRARIES = "libgl1 libglib2.0-0 libxcb1 libegl1 libgles2"


def main() -> None:
    """Entry point."""
    try:
        with _ending_at_once():
            from vision import cli

        cli.main()
    except KeyboardInterrupt:
        terminal.say("interrupted")
        sys.exit(terminal.INTERRUPTED)
    except ImportError as error:
        if ".so" not in str(error):
            raise
        terminal.say(f"a library of the system is missing: {error}; on Debian: apt-get install {_LIBRARIES}")
        sys.exit(2)


@contextlib.contextmanager
def _ending_at_once() -> Iterator[None]:
    """Signals that ask the program to end do so at once, for the length of the block.

    A `KeyboardInterrupt` would be raised in the middle of some module, and extension modules make an `ImportError` of
    it, or print a traceback and go on.
    """
    before = {number: signal.signal(number, terminal.end_at_once) for number in terminal.stop_signals()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
