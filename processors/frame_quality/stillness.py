"""Frozen pictures, told from still ones by the square that changes most."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vision import Picture

__all__ = ["Stillness"]


class Stillness:
    """Compares means of small squares with those of the last picture that was not frozen."""

    def __init__(self, begin: float, keep: float) -> None:
        self._begin, self._keep = begin, keep
        self.forget()

    def forget(self) -> None:
        """The next picture is the first."""
        self._not_frozen: NDArray[np.uint8] | None = None
        self.frozen = False
        """Whether the last picture was."""

    def add(self, picture: Picture) -> float | None:
        """Take a picture; the greatest change of a square's mean luma, code values, `None` for the first."""
        means, before = picture.grid, self._not_frozen
        change = None if before is None else cv2.norm(means, before, cv2.NORM_INF)
        self.frozen = change is not None and change <= (self._keep if self.frozen else self._begin)
        if not self.frozen:
            self._not_frozen = means
        return change
