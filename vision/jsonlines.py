"""The lines of a JSON Lines file, such as a run writes: also of one that was killed while it wrote."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Line", "read_lines"]


@dataclass(frozen=True, slots=True)
class Line:
    """What is on a line.

    :ivar number: from 1.
    :ivar content: its JSON object; `None` where there is none.
    :ivar is_whole: it has its end, which a last line that was cut off does not.
    """

    number: int
    content: dict[str, Any] | None
    is_whole: bool


def read_lines(path: Path) -> Iterator[Line]:
    """All lines that are not blank, as they are read; what becomes of those without an object is up to the caller.

    :raises OSError: when the file cannot be read.
    """
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield Line(number, _parsed(line), line.endswith(b"\n"))


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
