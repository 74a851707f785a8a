"""What remains of a face's motion without the head's: jitter of its points, and a face that turns into another."""

from __future__ import annotations

from collections import deque
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from processors.face_landmarks.mesh import EYE_CORNERS_OUTER

__all__ = ["IdentityDrift", "Jitter"]

Points = NDArray[np.float64]

# Points on which neither speech, nor a blink, nor a brow pulls much: forehead, temples, nose and its bridge, cheekbones
_STABLE = (
    4, 5, 6, 10, 45, 48, 54, 64, 67, 93, 98, 103, 109, 116, 117, 118, 119, 121, 123, 127, 129, 131, 134, 162, 168, 195,
    197, 198, 220, 227, 234, 240, 251, 275, 278, 284, 294, 297, 323, 327, 332, 338, 345, 346, 347, 348, 350, 352, 356,
    358, 360, 363, 389, 420, 440, 447, 454, 460,
)  # fmt: skip
_ROWS = np.array(_STABLE)
_WINDOW_S = 1.0
_UNEVEN = 1.5
_REFERENCE_S = 3.0


class Jitter:
    """How much points tremble: the root mean square of their second differences over the last second.

    Each picture's stable points are laid over those of the picture before last (rotation, scale and place in the
    plane, by least squares), so that the motion of the head is gone, and what is left of a turn, which is slow, goes
    with the second difference. In distances of the eyes, so that it does not depend on the size of the face.

    :param floor: what the detector itself adds on a face that stands still; taken out, as a variance.
    """

    def __init__(self, floor: float) -> None:
        self._floor = floor
        self._last: deque[tuple[float, Points, float]] = deque(maxlen=3)
        self._squares: deque[tuple[float, float]] = deque()

    def add(self, time_s: float, points_px: NDArray[np.float32], inter_ocular_px: float) -> float | None:
        """Take the points of a picture; the jitter, `None` before three pictures at even distances."""
        self._last.append((time_s, points_px[_ROWS].astype(np.float64), inter_ocular_px))
        if len(self._last) == 3 and _are_even([at_s for at_s, _, _ in self._last]):
            self._squares.append((time_s, self._second_difference()))
        while self._squares and time_s - self._squares[0][0] > _WINDOW_S:
            self._squares.popleft()
        if not self._squares:
            return None
        mean = sum(square for _, square in self._squares) / len(self._squares)
        return float(np.sqrt(max(mean - self._floor**2, 0.0)))

    def _second_difference(self) -> float:
        """Mean of the squared lengths, over the squared distance of the eyes."""
        (_, first, _), (_, second, scale), (_, third, _) = self._last
        second, third = _laid_over(second, first), _laid_over(third, first)
        return float((np.square(third - 2 * second + first).sum(axis=1)).mean()) / scale**2


class IdentityDrift:
    """How far the geometry of the face has come away from that of its first seconds.

    The stable points in space, with the head's rotation taken out; the mean of the last second against that of the
    first three.
    """

    def __init__(self) -> None:
        self._reference: Points | None = None
        self._first: list[Points] = []
        self._begun_s: float | None = None
        self._recent: deque[tuple[float, Points]] = deque()
        self._sum: Points = np.zeros((len(_STABLE), 3))

    def add(self, time_s: float, points: NDArray[np.float32], pose: NDArray[np.float64]) -> float | None:
        """Take the points of a picture, `(478, 3)` px; the drift in distances of the eyes, `None` at the beginning."""
        shape = _shape(points, pose)
        self._begun_s = time_s if self._begun_s is None else self._begun_s
        if self._reference is None:
            self._first.append(shape)
            if time_s - self._begun_s >= _REFERENCE_S:
                self._reference, self._first = np.median(self._first, axis=0), []
            return None
        self._recent.append((time_s, shape))
        self._sum = self._sum + shape
        while time_s - self._recent[0][0] > _WINDOW_S:
            self._sum = self._sum - self._recent.popleft()[1]
        now = self._sum / len(self._recent)
        return float(np.sqrt(np.square(now - self._reference).sum(axis=1).mean()))


def _are_even(times_s: list[float]) -> bool:
    steps = [later - earlier for earlier, later in pairwise(times_s)]
    return min(steps) > 0 and max(steps) <= _UNEVEN * min(steps)


def _laid_over(points: Points, target: Points) -> Points:
    """Points `(N, 2)` turned, scaled and moved in the plane so that they fit others best."""
    middle, target_middle = points.mean(axis=0), target.mean(axis=0)
    own, other = (points - middle) @ [1, 1j], (target - target_middle) @ [1, 1j]
    turned = own * (np.vdot(own, other) / np.vdot(own, own))
    return np.asarray(np.stack([turned.real, turned.imag], axis=1) + target_middle)


def _shape(points: NDArray[np.float32], pose: NDArray[np.float64]) -> Points:
    """The stable points, turned to the front, their middle at 0, in distances of the eyes."""
    rotation = pose[:3, :3] / np.linalg.norm(pose[:3, 0])
    space = points[_ROWS].astype(np.float64) * (1, -1, -1)  # as the pose has it: y up, z towards the camera
    fronted = space @ rotation  # of rows: the inverse rotation
    left, right = points[list(EYE_CORNERS_OUTER)]
    return np.asarray((fronted - fronted.mean(axis=0)) / np.linalg.norm(left - right))
