"""frames.csv: a record a row, on disk as soon as it is there."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from vision.record import Record
from vision.sinks.base import Sink
from vision.sinks.columns import Column, columns_of, row_of
from vision.sinks.lines import LineFile

__all__ = ["CsvSink"]


class CsvSink(Sink):
    """One row per record in frames.csv of the run's folder (RFC 4180), empty where nothing was measured.

    Columns are called as metrics are; truth values are `true` and `false`. What is counted of the network once a second
    is in frames.jsonl only.
    """

    def __init__(self, options: Any, folder: Path) -> None:
        super().__init__(options, folder)
        self._columns: tuple[Column, ...] = ()
        self._file: LineFile | None = None

    def open(self) -> None:
        self._columns = columns_of(self.fields)
        self._file = LineFile(self.folder / "frames.csv")
        self._file.write(_line(column.name for column in self._columns))

    def write(self, record: Record) -> None:
        if self._file is None:
            raise RuntimeError("the sink is not open")
        self._file.write(_line(map(_cell, row_of(record, self._columns))))

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value


def _line(cells: Iterable[Any]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerow(cells)
    return text.getvalue().encode()
