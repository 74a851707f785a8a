"""Figures of a face in one picture: where it looks, how wide its mouth is, how high its brows are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from processors.face_landmarks.mesh import LEFT_BROW, LEFT_EYE_RING, RIGHT_BROW, RIGHT_EYE_RING

__all__ = ["brow_raise", "gaze", "mouth_width"]

Points = NDArray[np.float32]

_MOUTH_CORNERS = (61, 291)
# corner to the left of the picture, corner to the right of it, centre of the iris
_EYES = ((33, 133, 468), (362, 263, 473))


def mouth_width(points_px: Points, inter_ocular_px: float) -> float:
    """Distance of the corners of the mouth over that of the eyes."""
    return float(np.linalg.norm(points_px[_MOUTH_CORNERS[0]] - points_px[_MOUTH_CORNERS[1]])) / inter_ocular_px


def brow_raise(points_px: Points) -> tuple[float, float]:
    """Distance of each brow's centre from that of its eye, over the distance of the eyes' centres: left, right.

    The centres are those of THEval (2026): 10 points of the brow, 16 of the eye.
    """
    left, right = (points_px[list(ring)].mean(axis=0) for ring in (LEFT_EYE_RING, RIGHT_EYE_RING))
    between = float(np.linalg.norm(left - right))
    raises = (
        float(np.linalg.norm(points_px[list(brow)].mean(axis=0) - eye)) / between
        for brow, eye in ((LEFT_BROW, left), (RIGHT_BROW, right))
    )
    return next(raises), next(raises)


def gaze(points_px: Points) -> tuple[float, float]:
    """Where the irises are in the eyes, mean of both: x towards the right edge of the picture, y up.

    0 is the middle between the corners, 1 or -1 a corner, on both axes in half widths of the eye; the axes are the
    eye's own, so that a tilted head changes nothing.
    """
    both = np.array([_gaze_of(points_px, *eye) for eye in _EYES])
    x, y = both.mean(axis=0)
    return float(x), float(y)


def _gaze_of(points_px: Points, left: int, right: int, iris: int) -> tuple[float, float]:
    axis = points_px[right] - points_px[left]
    half = float(np.linalg.norm(axis)) / 2
    x_axis = axis / (2 * half)
    off = points_px[iris] - (points_px[left] + points_px[right]) / 2
    return float(off @ x_axis) / half, float(off[0] * x_axis[1] - off[1] * x_axis[0]) / half
