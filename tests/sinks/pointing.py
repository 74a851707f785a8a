"""A processor whose result holds arrays that are known, for the tests of sinks that write them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vision.frame import Frame
from vision.processor import Options, Processor
from vision.result import Result, array, metric

POINTS = 40


def points_of(index: int) -> NDArray[np.float32]:
    """The points of a picture, `(POINTS, 2)`: random, the same at each call."""
    return np.random.default_rng(index).normal(300, 100, (POINTS, 2)).astype(np.float32)


def is_seen(index: int) -> bool:
    """Whether there are points: not in every third picture."""
    return index % 3 != 2


@dataclass(frozen=True, slots=True)
class Pointed(Result):
    """Points, and weights."""

    seen: bool = metric("There are points", unit="bool")
    points: Any = array("Points", unit="px", shape=(POINTS, 2), default=None)
    weights: Any = array("Weights of the points", unit="1", shape=(POINTS,), default=None)


class PointingOptions(Options):
    """Options of `Pointing`."""

    count: int = POINTS


class Pointing(Processor[Pointed]):
    """Points that are known, in two of three pictures; nothing at all in the first."""

    Options = PointingOptions

    def process(self, frame: Frame) -> Pointed | None:
        index = frame.index or 0
        if index == 0:
            return None
        points = points_of(index)[: self.options.count] if is_seen(index) else None
        return Pointed(points is not None, points, np.full(POINTS, index / 7))
