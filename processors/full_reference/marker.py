"""Numbers in pictures: a strip of black and white cells that survives coding and scaling.

    python -m processors.full_reference.marker talk.mp4 truth.mkv

writes a recording whose pictures carry their numbers, lossless (FFV1), to be sent and compared with.

The strip is in the top left corner: 24 cells, each a fortieth of the picture's width wide and high; 16 bits of the
number, the highest first, then their CRC-8 (polynomial 0x07, as of ATM's header). A cell counts where the mean of its
middle is at least 40 from mid-grey.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from vision import Picture, picture_of

__all__ = ["MOST", "i420", "mark", "read_marker", "strip_height", "write_marker"]

Plane = NDArray[np.uint8]

MOST = 1 << 16
"""Numbers count from 0 up to this, and then again from 0."""

_CELLS, _CHECKED, _PER_WIDTH = 24, 8, 40
_BLACK, _WHITE, _MIDDLE, _SURE = 16, 235, 128, 40
_POLYNOMIAL = 0x07
_MULTIPLE = 16  # rows of a macroblock


def strip_height(width: int) -> int:
    """Height of the strip in a picture of that width, px, up to a whole macroblock: what is left out of comparisons."""
    return -(-width // (_PER_WIDTH * _MULTIPLE)) * _MULTIPLE


def write_marker(luma: Plane, number: int) -> None:
    """Write a number, modulo 65536, into the top left of a picture's luma, `(H, W) uint8`."""
    size, code = luma.shape[1] / _PER_WIDTH, _checked(number % MOST)
    for cell in range(_CELLS):
        bit = code >> (_CELLS - 1 - cell) & 1
        luma[: round(size), round(cell * size) : round((cell + 1) * size)] = _WHITE if bit else _BLACK


def read_marker(luma: Plane) -> int | None:
    """The number in a picture's luma; `None` where there is none, or it cannot be read surely."""
    size, code = luma.shape[1] / _PER_WIDTH, 0
    rows = slice(int(size * 0.3), max(int(size * 0.7), int(size * 0.3) + 1))
    for cell in range(_CELLS):
        begin, end = int((cell + 0.3) * size), int((cell + 0.7) * size)
        distance = float(luma[rows, begin : max(end, begin + 1)].mean()) - _MIDDLE
        if abs(distance) < _SURE:
            return None
        code = code << 1 | (distance > 0)
    number = code >> _CHECKED
    return number if _checked(number) == code else None


def _checked(number: int) -> int:
    """The number and its CRC, 24 bits."""
    crc = number << _CHECKED
    for bit in range(_CELLS - 1, _CHECKED - 1, -1):
        if crc >> bit & 1:
            crc ^= (1 << _CHECKED | _POLYNOMIAL) << (bit - _CHECKED)
    return number << _CHECKED | crc


def mark(source: Path, target: Path) -> int:
    """Write a recording anew with its pictures numbered from 0 on; returns how many there are.

    Sound is taken over as it is.

    :raises OSError: when one of the files cannot be read or written.
    """
    count = 0
    with av.open(str(source)) as recording, av.open(str(target), "w", "matroska") as output:
        video = recording.streams.video[0]
        track: Any = None
        tracks = {stream.index: output.add_stream_from_template(stream) for stream in recording.streams.audio}
        for packet in recording.demux():
            if packet.stream is video:
                for frame in video.decode(packet):
                    track = track or _lossless(output, video)
                    output.mux(track.encode(_numbered(frame, count)))
                    count += 1
            elif packet.stream.index in tracks and packet.dts is not None:
                packet.stream = tracks[packet.stream.index]
                output.mux(packet)
        if track is not None:
            output.mux(track.encode(None))
    return count


def _lossless(output: Any, video: Any) -> Any:
    track = output.add_stream("ffv1", rate=video.average_rate or video.guessed_rate)
    track.width, track.height, track.pix_fmt = video.width // 2 * 2, video.height // 2 * 2, "yuv420p"
    track.codec_context.time_base = video.time_base
    return track


def _numbered(frame: av.VideoFrame, number: int) -> av.VideoFrame:
    planes = i420(picture_of(frame))
    write_marker(planes[: planes.shape[0] * 2 // 3], number)
    marked = av.VideoFrame.from_ndarray(planes, "yuv420p")
    marked.pts, marked.time_base = frame.pts, frame.time_base
    marked.color_range = frame.color_range
    return marked


def i420(picture: Picture) -> Plane:
    """The planes of a picture below each other, `(H * 3 / 2, W) uint8`; an odd last row or column is left out."""
    height, width = picture.height // 2 * 2, picture.width // 2 * 2
    y, u, v = picture.y[:height, :width], picture.u[: height // 2, : width // 2], picture.v[: height // 2, : width // 2]
    return np.concatenate([plane.reshape(-1) for plane in (y, u, v)]).reshape(height * 3 // 2, width)


def main() -> int:
    """Mark a recording."""
    parser = argparse.ArgumentParser(
        prog="python -m processors.full_reference.marker", description="Number the pictures of a recording."
    )
    parser.add_argument("source", type=Path, metavar="RECORDING", help="anything that FFmpeg's libraries open")
    parser.add_argument("target", type=Path, metavar="TRUTH.mkv", help="the numbered recording, lossless")
    arguments = parser.parse_args()
    try:
        count = mark(arguments.source, arguments.target)
    except (OSError, av.FFmpegError, IndexError) as error:
        parser.error(f"{arguments.source}: {error}")
    sys.stdout.write(f"{arguments.target}: {count} pictures\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
