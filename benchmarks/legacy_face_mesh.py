"""The landmarks that THEval's scripts see: mediapipe 0.10.21's FaceMesh, as they call it.

    PYTHON benchmarks/legacy_face_mesh.py CLIP POINTS.npz

For another Python than the project's: one with `pip install mediapipe==0.10.21`, whose `solutions` the project's own
version no longer has. Writes `(N, 478, 3) float32`, of N pictures, NaN where there is no face or no such point:

square   refined landmarks of the picture made 256 x 256: lip dynamics, silent lip stability
native   refined landmarks of the picture as it is: eyebrow dynamics
swapped  landmarks that are not refined, of the picture with red and blue exchanged: lip-sync
"""

from __future__ import annotations

import sys
from typing import Any

import cv2
import mediapipe
import numpy as np
from numpy.typing import NDArray

_POINTS = 478


def _points(mesh: Any, rgb: NDArray[Any]) -> NDArray[np.float32]:
    points = np.full((_POINTS, 3), np.nan, np.float32)
    faces = mesh.process(np.ascontiguousarray(rgb)).multi_face_landmarks
    if faces:
        found = [(point.x, point.y, point.z) for point in faces[0].landmark]
        points[: len(found)] = found
    return points


def main(clip: str, output: str) -> None:
    """Go through a clip."""
    meshes = {
        name: mediapipe.solutions.face_mesh.FaceMesh(max_num_faces=1, refine_landmarks=refined)
        for name, refined in (("square", True), ("native", True), ("swapped", False))
    }
    points: dict[str, list[NDArray[np.float32]]] = {name: [] for name in meshes}
    video = cv2.VideoCapture(clip)
    while (read := video.read())[0]:
        bgr: NDArray[Any] = read[1]
        rgb = bgr[..., ::-1]
        pictures = {"square": cv2.resize(bgr, (256, 256))[..., ::-1], "native": rgb, "swapped": bgr}
        for name, picture in pictures.items():
            points[name].append(_points(meshes[name], picture))
    np.savez(output, square=points["square"], native=points["native"], swapped=points["swapped"])


if __name__ == "__main__":
    main(*sys.argv[1:])
