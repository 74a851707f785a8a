"""A face in which nothing moves, in a picture in which something does."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from processors.face_landmarks import FaceLandmarks
from vision import Picture

__all__ = ["FrozenFace"]

_STILL, _STAYS_STILL = 2, 5  # code values; those of frame_quality's freeze
_MOVES = 10  # beyond what an encoder does to a background that stands still


class FrozenFace:
    """Compares means of small squares, as `frame_quality.change` does, inside the face's box and outside of it."""

    def __init__(self) -> None:
        self._moving: NDArray[np.uint8] | None = None  # the last picture whose face was not frozen
        self._previous: NDArray[np.uint8] | None = None
        self._frozen = False

    def add(self, picture: Picture, face: FaceLandmarks) -> bool | None:
        """Whether the face is frozen while the rest moves; `None` for a first picture."""
        means, before, previous = picture.grid, self._moving, self._previous
        self._previous = means
        if before is None or previous is None or before.shape != means.shape:
            self._moving = means
            return None
        box = _box(picture, face, means)
        change = cv2.absdiff(means, before)
        inside = int(change[box].max(initial=0))
        self._frozen = inside <= (_STAYS_STILL if self._frozen else _STILL)
        if not self._frozen:
            self._moving = means
        # what goes round may be where it was, and what is slow may not have moved since the picture before
        outside = np.maximum(change, cv2.absdiff(means, previous))
        outside[box] = 0
        return self._frozen and int(outside.max()) > _MOVES


def _box(picture: Picture, face: FaceLandmarks, means: NDArray[np.uint8]) -> tuple[slice, slice]:
    """The squares that lie in the face's box."""
    x, y, width, height = face.box_x_px, face.box_y_px, face.box_width_px, face.box_height_px
    assert x is not None
    assert y is not None
    assert width is not None
    assert height is not None
    across, down = means.shape[1] / picture.width, means.shape[0] / picture.height
    rows = slice(max(round(y * down), 0), max(round((y + height) * down), 0))
    return rows, slice(max(round(x * across), 0), max(round((x + width) * across), 0))
