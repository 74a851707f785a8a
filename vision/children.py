"""How child processes of Python are started: with what this one can import, and nothing from the current folder."""

from __future__ import annotations

import os
import sys

__all__ = ["child_environment", "python_command"]


def python_command(*arguments: str) -> list[str]:
    """The command that runs this interpreter; `-P` keeps a file named like a module of the library out of its way."""
    return [sys.executable, "-P", *arguments]


def child_environment() -> dict[str, str]:
    """This process's environment, with its module search path."""
    return os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
