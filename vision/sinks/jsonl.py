"""frames.jsonl: a record a line, on disk as soon as it is there."""

from __future__ import annotations

import contextlib
from io import FileIO
from pathlib import Path
from typing import Any

from vision.record import Record
from vision.sinks.base import Sink

__all__ = ["JsonlSink"]


class JsonlSink(Sink):
    """One JSON line per record in frames.jsonl of the run's folder, handed to the system line by line.

    A line is written whole or, on a full disk, taken back.
    """

    def __init__(self, options: Any, folder: Path) -> None:
        super().__init__(options, folder)
        self._file: FileIO | None = None
        self._size = 0

    def open(self) -> None:
        self._file = FileIO(self.folder / "frames.jsonl", "xb")

    def write(self, record: Record) -> None:
        if self._file is None:
            raise RuntimeError("the sink is not open")
        line = record.as_json().encode() + b"\n"
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
        if self._file is not None:
            self._file.close()
