"""A still of a face, turned in space by known angles: the mesh of its points carries the picture."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tests.processors.conftest import frame_of
from vision import Frame

__all__ = ["Still", "rotation"]

Points = NDArray[np.float64]
_CAMERA = 8.0  # its distance from the face, in distances of the eyes
_RING, _RING_BEHIND = 1.6, 0.9  # hair and ears: how much farther out, and how far behind, than the outline of the face


def rotation(yaw_deg: float, pitch_deg: float, roll_deg: float) -> Points:
    """As `angles_deg` has it: yaw to the right edge of the picture, pitch up, roll counter-clockwise; x right, y up."""
    yaw, pitch, roll = np.deg2rad([yaw_deg, -pitch_deg, roll_deg])
    cos, sin = np.cos, np.sin
    about_y = np.array([[cos(yaw), 0, sin(yaw)], [0, 1, 0], [-sin(yaw), 0, cos(yaw)]])
    about_x = np.array([[1, 0, 0], [0, cos(pitch), -sin(pitch)], [0, sin(pitch), cos(pitch)]])
    about_z = np.array([[cos(roll), -sin(roll), 0], [sin(roll), cos(roll), 0], [0, 0, 1]])
    return np.asarray(about_z @ about_y @ about_x)


@dataclass(frozen=True, slots=True)
class Still:
    """A picture of a face.

    :ivar rgb: `(H, W, 3)`, H and W even.
    :ivar points: of the face, `(478, 3)` px: x, y, and depth, towards the camera negative.
    """

    rgb: NDArray[np.uint8]
    points: Points

    def turned(self, matrix: Points, time_s: float = 0.0) -> Frame:
        """The face turned about its middle by a rotation `(3, 3)`, the border of the picture staying where it is."""
        flat, space = self._nodes()
        scale = float(np.linalg.norm(self.points[33] - self.points[263]))
        middle = self.points[[33, 263, 61, 291]].mean(axis=0)
        distance = _CAMERA * scale
        centred = (space - middle) * (1, -1, -1)
        centred[:, :2] *= ((distance - centred[:, 2]) / distance)[:, None]  # from the picture into space
        moved = centred @ matrix.T
        moved[:, :2] *= (distance / (distance - moved[:, 2]))[:, None]  # and back
        target = moved[:, :2] * (1, -1) + middle[:2]
        border = _border(self.rgb)
        corners = np.concatenate([flat, border])
        return _frame(self._drawn(corners, np.concatenate([target, border]), moved[:, 2]), time_s)

    def _nodes(self) -> tuple[Points, Points]:
        """Points of the face and of a ring around it: in the picture, and in space."""
        face = self.points[:468]
        outline = cv2.convexHull(face[:, :2].astype(np.float32))[:, 0].astype(np.float64)
        ring = face[:, :2].mean(axis=0) + _RING * (outline - face[:, :2].mean(axis=0))
        behind = _RING_BEHIND * np.linalg.norm(face[33] - face[263])
        space = np.concatenate([face, np.column_stack([ring, np.full(len(ring), behind)])])
        height, width = self.rgb.shape[:2]
        inside = ((space[:, :2] > 2) & (space[:, :2] < (width - 3, height - 3))).all(axis=1)
        return space[inside, :2], space[inside]

    def _drawn(self, source: Points, target: Points, depth: Points) -> NDArray[np.uint8]:
        """The picture with its triangles moved, those far away first."""
        depths = np.concatenate([depth, np.full(len(source) - len(depth), depth.min() - 1)])
        triangles = _triangles(source, self.rgb.shape)
        picture = self.rgb.copy()
        for corners in sorted(triangles, key=lambda corners: float(depths[list(corners)].mean())):
            _move(self.rgb, picture, source[list(corners)], target[list(corners)])
        return picture


def _border(rgb: NDArray[np.uint8]) -> Points:
    height, width = rgb.shape[:2]
    return np.array([(x, y) for x in (0, width / 2, width - 1) for y in (0, height / 2, height - 1)])[
        [0, 1, 2, 3, 5, 6, 7, 8]
    ]


def _triangles(points: Points, shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Delaunay's."""
    mesh = cv2.Subdiv2D((-1, -1, shape[1] + 2, shape[0] + 2))
    number = {}
    for index, (x, y) in enumerate(points.astype(np.float32)):
        mesh.insert((float(x), float(y)))
        number[float(x), float(y)] = index
    corners = (list(map(float, triangle)) for triangle in mesh.getTriangleList())
    named = ([number.get((t[i], t[i + 1]), -1) for i in (0, 2, 4)] for t in corners)
    return [tuple(triangle) for triangle in named if min(triangle) >= 0]


def _move(source: NDArray[np.uint8], target: NDArray[np.uint8], before: Points, after: Points) -> None:
    """Draw one triangle of a picture where it has gone; not one that is seen from behind."""
    if np.linalg.det(before[1:] - before[0]) * np.linalg.det(after[1:] - after[0]) <= 0:
        return
    low = np.maximum(np.floor(after.min(axis=0)).astype(int) - 1, 0)
    high = np.minimum(np.ceil(after.max(axis=0)).astype(int) + 2, (target.shape[1], target.shape[0]))
    size = high - low
    if (size <= 0).any():
        return
    affine = cv2.getAffineTransform(before.astype(np.float32), (after - low).astype(np.float32))
    patch = cv2.warpAffine(source, affine, tuple(map(int, size)), borderMode=cv2.BORDER_REPLICATE)
    mask = np.zeros(patch.shape[:2], np.uint8)
    cv2.fillConvexPoly(mask, np.rint(16 * (after - low)).astype(np.int32), 1, cv2.LINE_8, 4)
    region = target[low[1] : high[1], low[0] : high[0]]
    region[mask > 0] = patch[mask > 0]


def _frame(rgb: NDArray[np.uint8], time_s: float) -> Frame:
    return frame_of(np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420), np.uint8), time_s)
