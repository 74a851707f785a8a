"""Where the command `vision` begins: importing the rest takes a while, and Ctrl-C may come meanwhile."""

from __future__ import annotations

import sys

from vision import terminal

__all__ = ["main"]


def main() -> None:
    """Entry point."""
    try:
        from vision import cli

        cli.main()
    except KeyboardInterrupt:
        terminal.say("interrupted")
        sys.exit(terminal.INTERRUPTED)
