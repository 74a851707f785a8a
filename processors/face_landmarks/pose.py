"""Where the head is and where it faces, from the points of the face and a canonical face in centimetres.

The method is that of MediaPipe's geometry pipeline (tasks/cc/vision/face_geometry/libs/geometry_pipeline.cc): the
points, whose depth is relative, are scaled and unprojected until a canonical face fits them through a pinhole camera
(weighted orthogonal Procrustes). Done here, for the bundle of the attention mesh has no such pipeline, and so that
both models and engines give the same angles.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["angles_deg", "pose_matrix"]

Matrix = NDArray[np.float64]

_MESH = 468  # points; behind them are the irises, of another model
_NEAR = 1.0
_FIELD_OF_VIEW_DEG = 63.0  # vertical, as MediaPipe assumes it of every camera

# Points that keep their place on a face that moves, their weights, and where they are on the canonical face (cm; x
# right in the picture, y up, z towards the camera): geometry_pipeline_metadata_landmarks.binarypb of MediaPipe's
# face_landmarker.task (Apache-2.0). Those that lie beside the middle stand for both sides.
_MIDDLE = (
    (4, 0.07090994, 0.0, -0.46317, 7.58658),
    (6, 0.032100145, 0.0, 2.473255, 5.788627),
    (10, 0.008446551, 0.0, 8.261778, 4.481535),
)
_PAIRS = (
    (33, 263, 0.058724169, -4.445859, 2.663991, 3.173422),
    (54, 284, 0.00766708, -6.279331, 6.615427, 1.42585),
    (67, 297, 0.009078059, -3.523964, 8.005976, 3.729163),
    (117, 346, 0.009791938, -5.258659, 0.945811, 2.974312),
    (119, 348, 0.014565368, -3.300681, 0.861641, 3.872784),
    (121, 350, 0.018591361, -1.820731, 1.467954, 4.224124),
    (127, 356, 0.005197994, -7.743095, 2.364999, -2.005167),
    (129, 358, 0.120625205, -1.785794, -0.978284, 4.85047),
    (132, 361, 0.005560019, -7.270895, -2.890917, -2.252455),
    (133, 362, 0.053286184, -1.856432, 2.585245, 3.757904),
    (136, 365, 0.066890456, -5.085276, -7.17859, 0.714711),
    (143, 372, 0.014816548, -6.407571, 2.236021, 1.560843),
    (147, 376, 0.014262834, -6.234883, -1.94443, 1.663542),
    (198, 420, 0.025462192, -1.246815, 0.230297, 5.681036),
    (205, 425, 0.047252279, -3.832928, -1.537326, 4.137731),
)
_ROWS = (
    *_MIDDLE,
    *((left, weight, x, y, z) for left, _, weight, x, y, z in _PAIRS),
    *((right, weight, -x, y, z) for _, right, weight, x, y, z in _PAIRS),
)
_POINTS = np.array([row[0] for row in _ROWS])
_WEIGHTS = np.array([row[1] for row in _ROWS])
_WEIGHTS /= _WEIGHTS.sum()
_CANONICAL: Matrix = np.array([row[2:] for row in _ROWS]).T
_CANONICAL_MIDDLE: Matrix = (_CANONICAL @ _WEIGHTS)[:, None]
_CENTRED: Matrix = _CANONICAL - _CANONICAL_MIDDLE
_SPREAD = float((_CENTRED * _CENTRED * _WEIGHTS).sum())


def pose_matrix(points_norm: NDArray[np.float32], width: int, height: int) -> Matrix:
    """The pose of the canonical face in the space of a camera at the origin that looks along -z; cm.

    :param points_norm: `(478, 3)`: x over width, y over height, z over width.
    :param width: of the picture, px.
    :param height: of the picture, px.
    :returns: `(4, 4)`; its scale is 1.
    """
    frustum_height = 2 * _NEAR * math.tan(math.radians(_FIELD_OF_VIEW_DEG) / 2)
    frustum_width = frustum_height * width / height
    points: Matrix = points_norm[_POINTS].T.astype(np.float64)
    screen = np.stack(
        [(points[0] - 0.5) * frustum_width, (0.5 - points[1]) * frustum_height, points[2] * frustum_width]
    )
    middle = float(points_norm[:_MESH, 2].mean()) * frustum_width
    first = _fitted(screen * np.array([[1], [1], [-1]]))[1]
    second = _fitted(_unprojected(screen, middle, first))[1]
    metric = _unprojected(screen, middle, first * second)
    rotation, scale, place = _fitted(metric)
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = scale * rotation, place
    return matrix


def angles_deg(matrix: Matrix) -> tuple[float, float, float]:
    """Yaw, pitch and roll of a pose, degrees: turned about the vertical first, then nodded, then tilted.

    Yaw > 0: the face turns to the right edge of the picture, which is the subject's own left. Pitch > 0: it looks up.
    Roll > 0: it is tilted counter-clockwise in the picture.
    """
    rotation = matrix[:3, :3] / np.linalg.norm(matrix[:3, 0])
    yaw = math.asin(float(np.clip(-rotation[2, 0], -1, 1)))
    pitch = -math.atan2(rotation[2, 1], rotation[2, 2])
    roll = math.atan2(rotation[1, 0], rotation[0, 0])
    return math.degrees(yaw), math.degrees(pitch), math.degrees(roll)


def _unprojected(screen: Matrix, middle: float, scale: float) -> Matrix:
    """Points on the near plane, put at their depth behind it."""
    z = (screen[2] - middle + _NEAR) / scale
    return np.stack([screen[0] * z / _NEAR, screen[1] * z / _NEAR, -z])


def _fitted(target: Matrix) -> tuple[Matrix, float, NDArray[np.float64]]:
    """Rotation, scale and translation of the canonical face that fit points best, by weight.

    The weighted extended orthogonal Procrustes problem (Akca, "Generalized Procrustes analysis and its applications in
    photogrammetry", 2003).
    """
    middle = (target @ _WEIGHTS)[:, None]
    correlation = ((target - middle) * _WEIGHTS) @ _CENTRED.T
    u, _, vt = np.linalg.svd(correlation)
    if np.linalg.det(u @ vt) < 0:
        u[:, 2] *= -1
    rotation: Matrix = u @ vt
    scale = float((rotation * correlation).sum()) / _SPREAD
    return rotation, scale, (middle - scale * rotation @ _CANONICAL_MIDDLE)[:, 0]
