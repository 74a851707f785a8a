"""What finds the points of a face: the interface of the engines, and what they give."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vision import Picture

__all__ = ["Confidences", "Engine", "Found"]


@dataclass(frozen=True, slots=True)
class Confidences:
    """Below these, 0..1, a face is not one that was detected, is present, or is still tracked."""

    detection: float
    presence: float
    tracking: float


@dataclass(frozen=True, slots=True)
class Found:
    """One face.

    :ivar points_norm: `(478, 3) float32`: x over width, y over height, z over width; not smoothed over time.
    :ivar confidence: of the model, that these are the points of a face, 0..1; `None` where it does not say it.
    :ivar blendshapes: `(52,) float32` in 0..1; `None` where the model has none, or they were not asked for.
    """

    points_norm: NDArray[np.float32]
    confidence: float | None = None
    blendshapes: NDArray[np.float32] | None = None


class Engine(Protocol):
    """Finds and tracks one face in the pictures of a stream."""

    def find(self, picture: Picture) -> Found | None:
        """The face in the picture after the one of the call before; `None` without one."""
        ...

    def count(self, picture: Picture) -> int:
        """How many faces the detector sees, tracked or not."""
        ...

    def close(self) -> None:
        """Give the memory back."""
        ...
