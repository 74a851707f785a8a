"""Pictures that carry their number, and the processor that reads it: so each picture sent can be accounted for.

The number is written into the top of the picture as a row of 20 cells, black or white: 16 bits, the highest first,
and the sum of their four nibbles modulo 16 as a check. A cell is a 20th of the width wide and as high.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vision.frame import Frame, Plane
from vision.processor import Processor, Reads
from vision.result import Result, metric

CELLS, BLACK, WHITE = 20, 16, 235
_BITS = 16


def checked(number: int) -> int:
    """The number and its check sum, 20 bits."""
    return number << 4 | sum(number >> shift & 15 for shift in (0, 4, 8, 12)) & 15


def write_number(luma: Plane, number: int) -> None:
    """Write a number below 65536 into the top of a picture."""
    size, code = luma.shape[1] // CELLS, checked(number)
    for cell in range(CELLS):
        bit = code >> (CELLS - 1 - cell) & 1
        luma[:size, cell * size : (cell + 1) * size] = WHITE if bit else BLACK


def read_number(luma: Plane) -> int | None:
    """The number in the top of a picture; `None` where there is none that can be read."""
    size, code = luma.shape[1] / CELLS, 0
    rows = slice(int(size * 0.3), int(size * 0.7))
    for cell in range(CELLS):
        middle = luma[rows, int((cell + 0.3) * size) : int((cell + 0.7) * size)]
        code = code << 1 | int(middle.mean() > (BLACK + WHITE) / 2)
    number = code >> (CELLS - _BITS)
    return number if checked(number) == code else None


@dataclass(frozen=True, slots=True)
class NumberResult(Result):
    """The number in a picture, and what sounds up to it."""

    number: int | None = metric("The number that the picture carries", unit="1")
    samples: int = metric("Samples of sound since the picture before", unit="1")
    missing_samples: int = metric("Those of them that never came", unit="1")
    level: float | None = metric("Root mean square of the sound", unit="1", range=(0.0, 1.0))


class NumberProcessor(Processor[NumberResult]):
    """Reads the number that a picture carries, and measures the sound before it."""

    reads = Reads.BOTH

    def process(self, frame: Frame) -> NumberResult:
        picture, sound = frame.maybe_picture, frame.sound
        return NumberResult(
            number=None if picture is None else read_number(picture.y),
            samples=sound.samples.size,
            missing_samples=sum(count for _, count in sound.missing),
            level=float(np.sqrt(np.mean(sound.samples**2))) if sound.samples.size else None,
        )
