"""The edit list of a track of an MP4 or MOV file (ISO/IEC 14496-12, 8.6.6), read and written anew."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

_HOLDING = frozenset([b"moov", b"trak", b"edts", b"mdia"])
_PATH = (b"moov", b"trak", b"edts", b"elst")
_NORMAL_RATE = 0x10000
EMPTY = -1
"""The media time of an edit that shows nothing."""

Handler = Literal[b"vide", b"soun"]


@dataclass(frozen=True, slots=True)
class Edit:
    """What of a track is shown, and for how long.

    :ivar duration_ms: on the presentation's clock; the file's scale has to be 1000.
    :ivar media_time: where in the track it begins, in ticks of the track's scale.
    """

    duration_ms: int
    media_time: int


@dataclass(frozen=True, slots=True)
class _Box:
    path: tuple[bytes, ...]
    start: int
    size: int


def _boxes(data: bytes | bytearray, start: int, end: int, path: tuple[bytes, ...] = ()) -> Iterator[_Box]:
    while start + 8 <= end:
        size, kind = struct.unpack_from(">I4s", data, start)
        yield _Box((*path, kind), start, size)
        if kind in _HOLDING:
            yield from _boxes(data, start + 8, start + size, (*path, kind))
        start += size


def _track(data: bytes | bytearray, handler: Handler) -> list[_Box]:
    """The boxes from the beginning of the movie to the end of a track, without the tracks before it."""
    movie: list[_Box] = []
    track: list[_Box] = []
    for box in _boxes(data, 0, len(data)):
        if box.path[-1] == b"trak":
            track = [box]
        elif b"trak" in box.path:
            track.append(box)
        elif box.path == (b"moov",):
            movie = [box]
        if box.path[-1] == b"hdlr" and data[box.start + 16 : box.start + 20] == handler:
            return [*movie, *track]
    raise ValueError(f"no track of {handler!r}")


def read(path: Path, handler: Handler) -> tuple[list[Edit], int]:
    """The edits of a track, and its ticks a second."""
    data = path.read_bytes()
    boxes = {box.path: box.start for box in _track(data, handler)}
    (count,) = struct.unpack_from(">I", data, boxes[_PATH] + 12)
    edits = [struct.unpack_from(">Ii", data, boxes[_PATH] + 16 + 12 * i) for i in range(count)]
    (scale,) = struct.unpack_from(">I", data, boxes[(b"moov", b"trak", b"mdia", b"mdhd")] + 20)
    return [Edit(*edit) for edit in edits], scale


def replace(path: Path, handler: Handler, edits: Sequence[Edit]) -> None:
    """Write the edit list of a track anew; the index has to be the end of the file, so that no media moves."""
    data = bytearray(path.read_bytes())
    boxes = _track(data, handler)
    entries = b"".join(struct.pack(">IiI", edit.duration_ms, edit.media_time, _NORMAL_RATE) for edit in edits)
    written = struct.pack(">I4sII", 16 + len(entries), b"elst", 0, len(edits)) + entries
    old = next(box for box in boxes if box.path == _PATH)
    for box in boxes:
        if box.path == _PATH[: len(box.path)] and box is not old:
            struct.pack_into(">I", data, box.start, box.size + len(written) - old.size)
    data[old.start : old.start + old.size] = written
    path.write_bytes(data)
