"""What MediaPipe's landmarker finds, as arrays."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Detect", "by_objects", "in_place"]

Floats = NDArray[np.float32]
Detect = Callable[[Any, int], tuple[Floats, Floats | None] | None]
"""Takes an image and its time in ms; gives points `(478, 3)` and blendshapes `(52,)` where it has them, or `None`
without a face."""


def by_objects(task: Any) -> Detect:
    """MediaPipe's call as it is documented, which makes an object of each point."""

    def detect(image: Any, time_ms: int) -> tuple[Floats, Floats | None] | None:
        result = task.detect_for_video(image, time_ms)
        if not result.face_landmarks:
            return None
        points = np.array([(point.x, point.y, point.z) for point in result.face_landmarks[0]], np.float32)
        shapes = result.face_blendshapes
        return points, np.array([shape.score for shape in shapes[0]], np.float32) if shapes else None

    return detect


def in_place(task: Any) -> Detect | None:
    """The same call, its result read where it lies: a seventh of the CPU time less.

    `None` with a MediaPipe that has other private names; `by_objects` serves with any.
    """
    try:
        from mediapipe.tasks.python.vision.face_landmarker import MpFaceLandmarkerResultC

        call, free = task._lib.MpFaceLandmarkerDetectForVideo, task._lib.MpFaceLandmarkerCloseResult
        handle = task._handle
    except (ImportError, AttributeError):
        return None

    def detect(image: Any, time_ms: int) -> tuple[Floats, Floats | None] | None:
        result = MpFaceLandmarkerResultC()
        call(handle, image._image_ptr, None, time_ms, ctypes.byref(result))
        try:
            if not result.face_landmarks_count:
                return None
            face = result.face_landmarks[0]
            points = _floats(face.landmarks, face.landmarks_count, "x", "y", "z")
            if not result.face_blendshapes_count:
                return points, None
            shapes = result.face_blendshapes[0]
            return points, _floats(shapes.categories, shapes.categories_count, "score")[:, 0]
        finally:
            free(ctypes.byref(result))

    return detect


def _floats(items: Any, count: int, *names: str) -> Floats:
    """Copies of some fields of an array of structures; `(count, len(names))`."""
    item = items._type_
    size = ctypes.sizeof(item)
    memory = ctypes.string_at(items, count * size)
    columns = [np.ndarray(count, np.float32, memory, getattr(item, name).offset, (size,)) for name in names]
    return np.stack(columns, axis=1)
