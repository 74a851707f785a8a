"""arrays.npz: the array fields of results, such as the points of a face, in a file that grows as the run goes."""

from __future__ import annotations

import contextlib
import io
import mmap
import struct
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from typing import Annotated, Any
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from vision.errors import did_you_mean
from vision.processor import Options
from vision.record import Record
from vision.result import MetricInfo, metrics_of
from vision.sinks.base import Sink

__all__ = ["ArraysOptions", "ArraysSink", "Rows", "read"]

_FILE = "arrays.npz"
_NO_PICTURE = -1
_LEVEL = 1  # of deflate: the higher ones take several times as long for a few percent
_PIXEL_STEP = 1 / 64  # far below what any landmark model is good for

# a member's own header, APPNOTE.TXT 4.3.7: signature, version, flags, method, time, date, CRC-32, size packed, size,
# length of the name, length of the extra field
_HEADER = struct.Struct("<4s5H3I2H")
_SIGNATURE = b"PK\x03\x04"


class ArraysOptions(Options):
    """Options of `arrays`."""

    fields: list[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*\.[A-Za-z_]\w*$")]] = Field(
        min_length=1, description="Array fields to write: processor.field, such as face_landmarks.points_px."
    )
    precision: dict[str, Annotated[float, Field(gt=0)]] = Field(
        {"px": _PIXEL_STEP},
        description="By unit, the step to a multiple of which values are rounded, so that they pack well; "
        "those of other units are kept as they are.",
    )
    chunk_s: float = Field(5, gt=0, le=600, description="Media time after which what was gathered is written.")


@dataclass(frozen=True, slots=True)
class Rows:
    """What was written of one field: a row per picture in which it was measured.

    :ivar index: of the picture, `(N,) int64`; -1 where the frame had none.
    :ivar time_s: media time, `(N,) float64`.
    :ivar values: `(N, *shape)`, shape and unit as the field has them.
    """

    index: NDArray[np.int64]
    time_s: NDArray[np.float64]
    values: NDArray[Any]


class ArraysSink(Sink):
    """Array fields of results in arrays.npz of the run's folder; a chunk every few seconds of media time.

    `numpy.load` reads it while the run goes on. A chunk of a field is three members: `face_landmarks.points_px/00000`
    (the values, `(N, *shape)`), `face_landmarks.points_px.index/00000` and `face_landmarks.points_px.time_s/00000`.
    Pictures in which the field was not measured have no row. `vision.sinks.arrays.read` puts the chunks together.
    """

    Options = ArraysOptions

    def __init__(self, options: Any, folder: Path) -> None:
        super().__init__(options, folder)
        self._columns = [_Column(name, self.options.precision) for name in dict.fromkeys(self.options.fields)]
        self._archive: _Archive | None = None
        self._chunk = 0
        self._begun_s: float | None = None

    @classmethod
    def check(cls, options: Any, fields: Mapping[str, tuple[MetricInfo, ...]]) -> None:
        for name in options.fields:
            processor, _, array = name.partition(".")
            if processor not in fields:
                raise ValueError(f"fields: {_unknown('this run has no processor', processor, fields)}")
            arrays = [info.name for info in fields[processor] if not info.recorded]
            if array not in arrays:
                raise ValueError(f"fields: {_unknown(f'{processor} has no array', array, arrays)}")

    def open(self) -> None:
        self._archive = _Archive(self.folder / _FILE)

    def write(self, record: Record) -> None:
        """Take a record.

        :raises ValueError: when an array is not of the shape that its field declares.
        """
        if self._archive is None:
            raise RuntimeError("the sink is not open")
        for column in self._columns:
            column.add(record)
        time_s = record.frame.time_s
        if self._begun_s is None:
            self._begun_s = time_s
        if time_s - self._begun_s >= self.options.chunk_s:
            self._write_chunk(self._archive)
            self._begun_s = None

    def close(self) -> None:
        if self._archive is None:
            return
        try:
            self._write_chunk(self._archive)
        finally:
            self._archive.close()

    def _write_chunk(self, archive: _Archive) -> None:
        members: dict[str, NDArray[Any]] = {}
        for column in self._columns:
            if column.index:
                members |= {f"{name}/{self._chunk:05d}": values for name, values in column.taken().items()}
        if members:
            archive.add(members)
            self._chunk += 1


@dataclass(slots=True)
class _Column:
    """One field: what it is, and the rows that are not written yet."""

    name: str
    precision: Mapping[str, float]
    info: MetricInfo | None = None
    index: list[int] = field(default_factory=list)
    time_s: list[float] = field(default_factory=list)
    values: list[NDArray[Any]] = field(default_factory=list)

    def add(self, record: Record) -> None:
        """Take the field's value, if it has one."""
        processor, _, name = self.name.partition(".")
        output = record.outputs.get(processor)
        if output is None:
            return
        if self.info is None:
            self.info = next(info for info in metrics_of(type(output)) if info.name == name)
        value = getattr(output, self.info.name)
        if value is None:
            return
        self.values.append(self._rounded(np.asarray(value), self.info))
        self.index.append(_NO_PICTURE if record.frame.index is None else record.frame.index)
        self.time_s.append(record.frame.time_s)

    def taken(self) -> dict[str, NDArray[Any]]:
        """The rows so far, by the name of the member; they are forgotten here."""
        taken = {
            # each coordinate by itself over time: that packs better than picture by picture
            self.name: np.asfortranarray(np.stack(self.values)),
            f"{self.name}.index": np.array(self.index, np.int64),
            f"{self.name}.time_s": np.array(self.time_s, np.float64),
        }
        for rows in (self.values, self.index, self.time_s):
            rows.clear()
        return taken

    def _rounded(self, value: NDArray[Any], info: MetricInfo) -> NDArray[Any]:
        if value.shape != info.shape:
            raise ValueError(f"{self.name} has the shape {value.shape}, not {info.shape} as it declares")
        step = self.precision.get(info.unit)
        if step is None:
            return value.copy()
        return (np.rint(value / step) * step).astype(value.dtype)


def _unknown(what: str, name: str, allowed: Collection[str]) -> str:
    return f"{what} '{name}'{did_you_mean(name, allowed) or ';'} it has: {', '.join(sorted(allowed)) or 'none'}"


class _Archive:
    """A zip file that grows, and is a whole one after each write.

    New members, and the directory with them in it, go over the old directory in a single write. A kill in the middle of
    it spoils that directory, but no member before: `read` does without.
    """

    def __init__(self, path: Path) -> None:
        self._file = FileIO(path, "xb")
        self._start, self._directory = 0, b""
        self.add({})

    def add(self, members: Mapping[str, NDArray[Any]]) -> None:
        """Append arrays; when they cannot be written, the file is put back as it was."""
        tail = _Tail(self._start, self._directory)
        with ZipFile(tail, "a") as archive:
            for name, values in members.items():
                archive.writestr(ZipInfo(f"{name}.npy"), _npy(values), ZIP_DEFLATED, _LEVEL)
        data = tail.getvalue()
        try:
            self._write(data)
        except OSError:
            with contextlib.suppress(OSError):
                self._write(self._directory)
                self._file.truncate(self._start + len(self._directory))
            raise
        self._directory = data[archive.start_dir - self._start :]
        self._start = archive.start_dir

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, data: bytes) -> None:
        self._file.seek(self._start)
        written = 0
        while written < len(data):
            written += self._file.write(data[written:])


class _Tail(io.BytesIO):
    """The end of a file, held in memory, at the positions that it has in the file."""

    def __init__(self, start: int, data: bytes) -> None:
        super().__init__(data)
        self._start = start

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._start + super().seek(offset - self._start if whence == 0 else offset, whence)

    def tell(self) -> int:
        return self._start + super().tell()


def _npy(values: NDArray[Any]) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, values, allow_pickle=False)
    return file.getvalue()


def read(path: Path, name: str) -> Rows:
    """All rows of a field, from a file that is finished, still growing, or left by a run that was killed.

    It goes by the members' own headers, which are there also when the last write was cut off.

    :param path: of an arrays.npz.
    :param name: of the field, such as `face_landmarks.points_px`.
    :raises ValueError: when the file has no rows of it.
    """
    chunks: dict[str, list[NDArray[Any]]] = {}
    for member, values in _arrays(path, (name, f"{name}.index", f"{name}.time_s")):
        chunks.setdefault(member, []).append(values)
    columns = [chunks.get(column, []) for column in (f"{name}.index", f"{name}.time_s", name)]
    count = min(map(len, columns))
    if not count:
        raise ValueError(f"{path}: no rows of '{name}'; numpy.load(...).files says what there is")
    return Rows(*(np.concatenate(column[:count]) for column in columns))


def _arrays(path: Path, wanted: Iterable[str]) -> Iterator[tuple[str, NDArray[Any]]]:
    """The wanted members, by their name without the number of the chunk."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for name, crc, packed in _members(data):
            column = name.rpartition("/")[0]
            if column not in wanted:
                continue
            content = _unpacked(packed)
            if zlib.crc32(content) != crc:
                return  # cut off
            yield column, np.load(io.BytesIO(content))


def _members(data: mmap.mmap) -> Iterator[tuple[str, int, bytes]]:
    """Name, CRC-32 and packed content of each member."""
    at = 0
    while data[at : at + len(_SIGNATURE)] == _SIGNATURE and len(data) - at >= _HEADER.size:
        _, _, _, _, _, _, crc, size, _, name_size, extra_size = _HEADER.unpack_from(data, at)
        name_at = at + _HEADER.size
        begin = name_at + name_size + extra_size
        at = begin + size
        yield data[name_at : name_at + name_size].decode(errors="replace"), crc, data[begin:at]


def _unpacked(packed: bytes) -> bytes:
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        return inflate.decompress(packed)
    except zlib.error:
        return b""
