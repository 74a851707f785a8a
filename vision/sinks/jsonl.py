"""frames.jsonl: a record a line, on disk as soon as it is there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vision.record import Record
from vision.sinks.base import Sink
from vision.sinks.lines import LineFile

__all__ = ["JsonlSink"]


class JsonlSink(Sink):
    """One JSON line per record in frames.jsonl of the run's folder, handed to the system line by line."""

    def __init__(self, options: Any, folder: Path) -> None:
        super().__init__(options, folder)
        self._file: LineFile | None = None

    def open(self) -> None:
        self._file = LineFile(self.folder / "frames.jsonl")

    def write(self, record: Record) -> None:
        if self._file is None:
            raise RuntimeError("the sink is not open")
        self._file.write(record.as_json().encode() + b"\n")

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
