"""What is measured on the points of a face: `FaceLandmarks`, and the geometry behind it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from processors.face_landmarks.engine import Found
from processors.face_landmarks.mesh import (
    CONTOURS,
    EYE_CORNERS_OUTER,
    INNER_LIP_LOWER,
    INNER_LIP_UPPER,
    LEFT_EYE,
    POINTS,
    RIGHT_EYE,
)
from processors.face_landmarks.pose import pose_matrix
from vision import IncidentRule, Outline, Readout, Result, array, metric

__all__ = ["FaceLandmarks", "measure"]

Points = NDArray[np.float32]
Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class FaceLandmarks(Result):
    """One face, tracked; every figure is `None` where no face was found.

    Distances are taken in pixels, never in normalised coordinates, which a picture that is not square
    distorts. Points are MediaPipe's: 0..467 mesh, 468..472 iris of the subject's right eye, 473..477 of the
    left. They are as the model finds them in each picture, without MediaPipe's smoothing over time.
    """

    face_present: bool = metric(
        "A face was found",
        unit="bool",
        good="true",
        incident=IncidentRule("face_absent", when=False, min_s=0.2, severity="error"),
    )
    faces: int | None = metric(
        "Number of faces: counted by the detector twice a second and while none is tracked, kept in between",
        unit="1",
        range=(0, None),
        default=None,
    )
    several_faces: bool | None = metric(
        "More than one face",
        unit="bool",
        good="false",
        incident=IncidentRule("several_faces", when=True, min_s=1.0),  # seen in two counts and more
        default=None,
    )
    confidence: float | None = metric(
        "How sure the model is that its points are those of a face; `model: official` gives it with litert only",
        unit="1",
        range=(0, 1),
        good="high",
        default=None,
    )
    box_x_px: float | None = metric("Left edge of the box around all points", unit="px", default=None)
    box_y_px: float | None = metric("Top edge of the box around all points", unit="px", default=None)
    box_width_px: float | None = metric("Width of that box", unit="px", range=(0, None), default=None)
    box_height_px: float | None = metric("Height of that box", unit="px", range=(0, None), default=None)
    inter_ocular_px: float | None = metric(
        "Distance between the outer corners of the eyes (points 33 and 263)",
        unit="px",
        range=(0, None),
        default=None,
    )
    mouth_opening: float | None = metric(
        "Gap of the inner lips, mean over 8 pairs of points, over inter_ocular_px (after THEval 2026)",
        unit="1",
        range=(0, None),
        readout=Readout("mouth", full=0.3),
        default=None,
    )
    eye_openness_left: float | None = metric(
        "Eye aspect ratio of the subject's left eye (Soukupova and Cech 2016)",
        unit="1",
        range=(0, None),
        default=None,
    )
    eye_openness_right: float | None = metric(
        "Eye aspect ratio of the subject's right eye (Soukupova and Cech 2016)",
        unit="1",
        range=(0, None),
        default=None,
    )
    eye_openness: float | None = metric(
        "Mean eye aspect ratio of both eyes; about 0.3 open, below 0.2 closed",
        unit="1",
        range=(0, None),
        default=None,
    )
    points_px: Points | None = array(
        "x, y of the points", unit="px", shape=(POINTS, 2), outline=Outline("landmarks", CONTOURS), default=None
    )
    points_norm: Points | None = array(
        "x over width, y over height, z (depth, towards the camera negative) over width",
        unit="1",
        shape=(POINTS, 3),
        default=None,
    )
    pose_matrix: Matrix | None = array(
        "The canonical face (cm, x right, y up, z towards the camera) in the camera's space: rotation, scale and place",
        unit="1",
        shape=(4, 4),
        default=None,
    )
    blendshapes: Points | None = array(
        "How much of each of MediaPipe's 52 expressions (`BLENDSHAPES`), 0 to 1; `model: official` only",
        unit="1",
        shape=(52,),
        default=None,
    )


def measure(found: Found | None, width: int, height: int, faces: int | None = None) -> FaceLandmarks:
    """All figures of a face from its points.

    :param found: the face; `None` where there is none.
    :param width: of the picture in px.
    :param height: of the picture in px.
    :param faces: how many there are, where that was counted.
    """
    several = None if faces is None else faces > 1
    if found is None:
        return FaceLandmarks(face_present=False, faces=faces, several_faces=several)
    points_px = found.points_norm[:, :2] * np.array((width, height), np.float32)
    low, high = points_px.min(axis=0), points_px.max(axis=0)
    inter_ocular_px = _distance(points_px, *EYE_CORNERS_OUTER)
    left, right = _eye_aspect_ratio(points_px[list(LEFT_EYE)]), _eye_aspect_ratio(points_px[list(RIGHT_EYE)])
    return FaceLandmarks(
        face_present=True,
        faces=faces,
        several_faces=several,
        confidence=found.confidence,
        box_x_px=float(low[0]),
        box_y_px=float(low[1]),
        box_width_px=float(high[0] - low[0]),
        box_height_px=float(high[1] - low[1]),
        inter_ocular_px=inter_ocular_px,
        mouth_opening=_ratio(_lip_gap_px(points_px), inter_ocular_px),
        eye_openness_left=left,
        eye_openness_right=right,
        eye_openness=None if left is None or right is None else (left + right) / 2,
        points_px=points_px,
        points_norm=found.points_norm,
        pose_matrix=pose_matrix(found.points_norm, width, height),
        blendshapes=found.blendshapes,
    )


def _distance(points: Points, a: int, b: int) -> float:
    return float(np.linalg.norm(points[a] - points[b]))


def _lip_gap_px(points: Points) -> float:
    # THEval takes |dy|; the distance is the same on an upright head and right on a tilted one
    gaps = points[list(INNER_LIP_UPPER)] - points[list(INNER_LIP_LOWER)]
    return float(np.linalg.norm(gaps, axis=1).mean())


def _eye_aspect_ratio(eye: Points) -> float | None:
    """`(|p2 - p6| + |p3 - p5|) / (2 |p1 - p4|)`, p1 and p4 being the corners.

    :param eye: p1..p6, `(6, 2)` px.
    """
    return _ratio(_distance(eye, 1, 5) + _distance(eye, 2, 4), 2 * _distance(eye, 0, 3))


def _ratio(value: float, of: float) -> float | None:
    return value / of if of > 0 else None
