"""Where the command `vision` begins: importing the rest takes a while, and Ctrl-C may come meanwhile."""

from __future__ import annotations

import sys

from vision import terminal

__all__ = ["main"]

_LIBRARIES = "libgl1 libglib2.0-0 libxcb1 libegl1 libgles2"


def main() -> None:
    """Entry point."""
    try:
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
