"""The exceptions that the package raises on purpose, each with the exit status of the command line.

    VisionError
    ├── ConfigError      2  the YAML, the command line or a plugin's options are wrong
    ├── ModelError       2  a model file is missing, cannot be fetched or is not the one expected
    ├── OutputError      2  the run folder or a sink cannot be written
    └── SourceError      3  the source could not be opened, or was lost for good

Messages are one line: what, where, what is allowed, what to do. They never hold a secret.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import ClassVar

__all__ = ["ConfigError", "ModelError", "OutputError", "SourceError", "VisionError", "did_you_mean"]


class VisionError(Exception):
    """Base of all errors that are shown to the user as one line, without a traceback."""

    exit_status: ClassVar[int] = 2


class ConfigError(VisionError):
    """The configuration, the command line or a plugin's options are wrong."""


class ModelError(VisionError):
    """A model file is missing, cannot be fetched, or is not the one expected."""


class OutputError(VisionError):
    """The run folder or a sink cannot be written."""


class SourceError(VisionError):
    """The source could not be opened, or was lost for good."""

    exit_status: ClassVar[int] = 3


def did_you_mean(name: str, allowed: Iterable[str]) -> str:
    """`"; did you mean 'x'?"` where one of the allowed is near, else nothing."""
    near = difflib.get_close_matches(name, list(allowed), n=1)
    return f"; did you mean '{near[0]}'?" if near else ""


def one_line(error: BaseException) -> str:
    """What an exception says, as one line that starts with its type."""
    try:
        text = " ".join(str(error).split())
    except Exception:  # a plugin's exception may fail to describe itself
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def ordinary(raised: BaseException) -> Exception:
    """What a plugin raised, as something that ends neither thread nor event loop, and that a future takes."""
    if isinstance(raised, Exception) and not isinstance(raised, StopIteration):
        return raised
    return RuntimeError(one_line(raised))
