"""A file that grows by whole lines."""

from __future__ import annotations

import contextlib
from io import FileIO
from pathlib import Path

__all__ = ["LineFile"]


class LineFile:
    """A new file; each line is handed to the system at once, written whole or, on a full disk, taken back.

    :raises OSError: when it exists already, or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._file = FileIO(path, "xb")
        self._size = 0

    def write(self, line: bytes) -> None:
        """Append a line, its end included."""
        try:
            written = 0
            while written < len(line):
                written += self._file.write(line[written:])
        except OSError:
            with contextlib.suppress(OSError):
                self._file.truncate(self._size)
            raise
        self._size += len(line)

    def close(self) -> None:
        """Close it."""
        self._file.close()
