"""A processor whose result is drawn where it is known to be, for the tests of what shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.troublesome import CountSource
from vision.frame import Frame
from vision.intake import DecodedPicture, Intake
from vision.processor import Processor, Reads
from vision.result import IncidentRule, Outline, Readout, Result, array, metric
from vision.testing import make_picture

TRIANGLE = (0, 1, 2, 0)
DOTS = 3
BAD = range(10, 20)
"""The pictures with which something is wrong."""

WRONG = IncidentRule("wrong", when=True, min_s=0.0999)


def corners_of(time_s: float, scale: float = 1.0) -> NDArray[np.float32]:
    """The corners of a triangle that moves to the right, `(3, 2)` px of a picture of 320 x 180."""
    corners = np.array([(90, 60), (150, 70), (110, 120)], np.float32)
    corners[:, 0] += 30 * time_s
    return (scale * corners).astype(np.float32)


def dots_of(corners: NDArray[np.float32], scale: float = 1.0) -> NDArray[np.float32]:
    """The dots beside a triangle."""
    return corners + np.array((60 * scale, 0), np.float32)


@dataclass(frozen=True, slots=True)
class Drawn(Result):
    """A triangle, three dots, and numbers."""

    level: float | None = metric("A level", unit="1", range=(0, 1), readout=Readout("level", full=1.0), default=None)
    late_ms: float | None = metric("Late", unit="ms", readout=Readout("late", error="late_error_ms"), default=None)
    late_error_ms: float | None = metric("Its error", unit="ms", default=None)
    state: int | None = metric("State", unit="1", readout=Readout("state", words=("still", "moving")), default=None)
    wrong: bool | None = metric("Wrong", unit="bool", incident=WRONG, default=None)
    corners: Any = array("Corners", unit="px", shape=(3, 2), outline=Outline("triangle", (TRIANGLE,)), default=None)
    dots: Any = array("Dots", unit="px", shape=(DOTS, 2), outline=Outline("dots"), default=None)
    hidden: Any = array("Points that nobody draws", unit="px", shape=(DOTS, 2), default=None)


class Drawing(Processor[Drawn]):
    """Knows where a triangle is."""

    reads = Reads.BOTH

    def process(self, frame: Frame) -> Drawn | None:
        if frame.maybe_picture is None:
            return Drawn(level=0.5)
        scale = frame.picture.height / 180
        corners = corners_of(frame.time_s, scale)
        wrong = frame.index in BAD
        return Drawn(0.5, -12.0, 8.0, 1, wrong, corners, dots_of(corners, scale), corners * np.nan)


class GreySource(CountSource):
    """Grey pictures of 320 x 180, at 30 a second."""

    async def stream(self, intake: Intake) -> str:
        picture = make_picture(120, width=320, height=180)
        for index in range(self.options.pictures):
            await intake.put(DecodedPicture(index / 30, intake.now_s(), picture))
        return "all sent"
