"""frames.parquet: a record a row, in columns that say their unit, range and meaning."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from vision.processor import Options
from vision.record import Record
from vision.result import MetricInfo
from vision.sinks.base import Sink
from vision.sinks.columns import Column, columns_of, row_of

if TYPE_CHECKING:
    import pyarrow

__all__ = ["ParquetOptions", "ParquetSink"]

_FILE, _PARTS = "frames.parquet", "frames.parquet.parts"
_ROW_GROUP = 50_000  # rows; half an hour, and what readers skip and load at once


class ParquetOptions(Options):
    """Options of `parquet`."""

    part_s: float = Field(10, gt=0, le=600, description="Media time after which what was gathered is on disk.")
    compression: Literal["zstd", "snappy", "gzip", "none"] = Field("zstd", description="How pages are packed.")


class ParquetSink(Sink):
    """One row per record in frames.parquet of the run's folder, with unit, range and meaning in the columns' metadata.

    A Parquet file can be read only once its end is written. So what is measured goes into small files in
    `frames.parquet.parts` every few seconds, each of them whole, and at the end they become one. After a crash they are
    still there, and what reads Parquet reads the folder: `pandas.read_parquet("frames.parquet.parts")`.
    """

    Options = ParquetOptions

    def __init__(self, options: Any, folder: Path) -> None:
        super().__init__(options, folder)
        self._columns: tuple[Column, ...] = ()
        self._schema: pyarrow.Schema | None = None
        self._rows: list[list[Any]] = []
        self._begun_s: float | None = None
        self._part = 0

    @classmethod
    def check(cls, options: Any, fields: Mapping[str, tuple[MetricInfo, ...]]) -> None:
        if importlib.util.find_spec("pyarrow") is None:
            raise ValueError("pyarrow is not installed; pip install 'avatar-vision[parquet]'")

    def open(self) -> None:
        self._columns = columns_of(self.fields)
        self._schema = _schema(self._columns)
        (self.folder / _PARTS).mkdir()

    def write(self, record: Record) -> None:
        if self._schema is None:
            raise RuntimeError("the sink is not open")
        self._rows.append(row_of(record, self._columns))
        time_s = record.frame.time_s
        if self._begun_s is None:
            self._begun_s = time_s
        if time_s - self._begun_s >= self.options.part_s or len(self._rows) >= _ROW_GROUP:
            self._write_part(self._schema)

    def close(self) -> None:
        if self._schema is None:
            return
        if self._rows:
            self._write_part(self._schema)
        _join(self.folder / _PARTS, self.folder / _FILE, self._schema, self.options.compression)

    def _write_part(self, schema: pyarrow.Schema) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        rows, self._rows, self._begun_s = self._rows, [], None
        values = zip(*rows, strict=True)
        arrays = [pa.array(column, field.type) for column, field in zip(values, schema, strict=True)]
        table = pa.Table.from_arrays(arrays, schema=schema)
        path = self.folder / _PARTS / f"{self._part:06d}.parquet"
        partial = path.with_name(f".{path.name}.partial")  # names with a dot are no part of a data set
        pq.write_table(table, partial, compression=self.options.compression)
        partial.replace(path)
        self._part += 1


def _schema(columns: Sequence[Column]) -> pyarrow.Schema:
    import pyarrow as pa

    types = {"integer": pa.int64(), "number": pa.float64(), "boolean": pa.bool_(), "text": pa.string()}
    return pa.schema([pa.field(column.name, types[column.kind], metadata=_metadata(column)) for column in columns])


def _metadata(column: Column) -> dict[str, str]:
    """What is known of a column; an end that a range does not have is not there."""
    low, high = column.range
    known = {"description": column.description, "unit": column.unit, "good": column.good}
    ends = {"minimum": low, "maximum": high}
    return known | {name: f"{value:g}" for name, value in ends.items() if value is not None}


def _join(parts: Path, path: Path, schema: pyarrow.Schema, compression: str) -> None:
    """Make one file of the parts, and take them away once it is there."""
    import pyarrow.parquet as pq

    partial = path.with_name(f".{path.name}.partial")
    with pq.ParquetWriter(partial, schema, compression=compression) as writer:
        for table in _row_groups(parts):
            writer.write_table(table, row_group_size=_ROW_GROUP)
    partial.replace(path)
    shutil.rmtree(parts)


def _row_groups(parts: Path) -> Iterator[pyarrow.Table]:
    """The rows of all parts, as many at once as go into a row group."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    waiting: list[pyarrow.Table] = []
    for part in sorted(parts.glob("*.parquet")):
        waiting.append(pq.read_table(part))
        if sum(table.num_rows for table in waiting) >= _ROW_GROUP:
            yield pa.concat_tables(waiting)
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting)
