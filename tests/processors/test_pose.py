"""The pose of a face: MediaPipe's own, and that of faces that were turned by known angles."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from processors.face_landmarks.pose import angles_deg, pose_matrix
from tests.processors.performing import faces_of, performed
from tests.processors.turning import Still, rotation
from vision import Frame

Angles = NDArray[np.float64]


@pytest.mark.parametrize("angles", [(0, 0, 0), (20, 0, 0), (0, -15, 0), (0, 0, 30), (-12, 8, -5)])
def test_angles_of_a_rotation(angles: tuple[float, float, float]) -> None:
    """Each angle comes out of the rotation that was made of it, at any scale and place."""
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = 1.7 * rotation(*angles), (3, -2, -50)
    assert angles_deg(matrix) == pytest.approx(angles, abs=1e-9)


def test_signs() -> None:
    """The nose goes right with yaw, up with pitch; the top of the head goes left with roll."""
    nose, top = np.array([0, 0, 1]), np.array([0, 1, 0])
    assert (rotation(10, 0, 0) @ nose)[0] > 0.1
    assert (rotation(0, 10, 0) @ nose)[1] > 0.1
    assert (rotation(0, 0, 10) @ top)[0] < -0.1


@pytest.mark.slow
def test_agrees_with_mediapipes_own(official_model: Path, frames_of_clip: Callable[[str], Iterator[Frame]]) -> None:
    """The matrices of MediaPipe's geometry pipeline, to a ten-thousandth, on faces of real clips."""
    from mediapipe import Image, ImageFormat
    from mediapipe.tasks.python import BaseOptions, vision

    from processors.face_landmarks.telemetry import offline

    options = vision.FaceLandmarkerOptions(
        base_options=BaseOptions(model_asset_path=str(official_model)), output_facial_transformation_matrixes=True
    )
    task = offline(lambda: vision.FaceLandmarker.create_from_options(options))
    compared = 0
    for clip in ("r3d_May_5s.mp4", "vrt_1.mp4", "grid_lbbc2a.mpg"):
        for frame in list(frames_of_clip(clip))[::25]:
            rgb = np.ascontiguousarray(frame.picture.rgb)
            result = task.detect(Image(ImageFormat.SRGB, rgb))
            points = np.array([(p.x, p.y, p.z) for p in result.face_landmarks[0]], np.float32)
            ours = pose_matrix(points, frame.picture.width, frame.picture.height)
            assert ours == pytest.approx(result.facial_transformation_matrixes[0], abs=1e-4)
            compared += 1
    task.close()
    assert compared >= 12


def turned_by(still: Frame, axis: int, angles: Angles) -> Angles:
    """The change of one angle that is measured for each angle by which a still is turned."""
    ((_, face),) = faces_of(iter([still]))
    assert face.points_norm is not None
    assert face.pose_matrix is not None
    scale = np.array([still.picture.width, still.picture.height, still.picture.width])
    mesh = Still(still.picture.rgb.copy(), face.points_norm.astype(np.float64) * scale)
    planted = [rotation(*(float(angle) if each == axis else 0.0 for each in range(3))) for angle in angles]
    frames = (mesh.turned(matrix, time_s) for time_s, matrix in enumerate(planted))
    found = [measured.pose_matrix for _, measured in faces_of(frames)]
    assert all(matrix is not None for matrix in found)
    return (
        np.array([angles_deg(matrix)[axis] for matrix in found if matrix is not None])
        - angles_deg(face.pose_matrix)[axis]
    )


def check_follows(found: Angles, planted: Angles) -> None:
    """With the right sign, correlated, and neither halved nor doubled."""
    assert np.corrcoef(planted, found)[0, 1] >= 0.98
    assert 0.7 < np.polyfit(planted, found, 1)[0] < 1.2
    assert abs(found[len(found) // 2]) < 3


@pytest.mark.slow
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_drawn_head_is_turned(attention_model: Path, axis: int) -> None:
    """Yaw, pitch and roll that are planted on the simulator's head, drawn with perspective, are found."""
    angles = np.linspace(-20, 20, 17)
    still = next(performed(np.array([0.0])))
    check_follows(turned_by(still, axis, angles), angles)


@pytest.mark.slow
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_real_face_is_turned(
    attention_model: Path, frames_of_clip: Callable[[str], Iterator[Frame]], axis: int
) -> None:
    """The same on a still of a real face."""
    angles = np.linspace(-15, 15, 13)
    check_follows(turned_by(next(frames_of_clip("vrt_3.mp4")), axis, angles), angles)
