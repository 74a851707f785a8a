"""MediaPipe's FaceLandmarker with one face, without its noise and its usage reports."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from processors.face_landmarks.telemetry import offline
from vision import ModelError

__all__ = ["Confidences", "Landmarker"]

# In VIDEO mode with one face, MediaPipe smooths the points over time (One-Euro filter, Casiez et al. 2012), which
# costs a talking mouth half a picture of delay and a fifth of its motion. The filter's weight on the past,
# 1 / (1 + 2 pi f dt), vanishes with the interval between the timestamps, which serve nothing else: told that a
# quarter of an hour passes between pictures, it gives out the points as they were found.
_STEP_MS = 1_000_000


@dataclass(frozen=True, slots=True)
class Confidences:
    """Below these, 0..1, a face is not one that was detected, is present, or is still tracked."""

    detection: float
    presence: float
    tracking: float


class Landmarker:
    """Finds and tracks one face in the pictures of a stream."""

    def __init__(self, model: Path, confidences: Confidences) -> None:
        with _quiet():
            try:
                self._media_pipe, self._task = offline(lambda: _create(model, confidences))
            except OSError as error:  # of the dynamic linker
                missing = f"MediaPipe cannot be loaded: {error}"
                raise ModelError(f"{missing}; on Debian: apt-get install libegl1 libgles2") from error
        self._last_ms = 0

    def find(self, rgb: NDArray[np.uint8]) -> NDArray[np.float32] | None:
        """The points of the face, `(478, 3)` x over width, y over height, z over width; `None` without one.

        :param rgb: `(H, W, 3) uint8` RGB, the picture after the one of the call before.
        """
        self._last_ms += _STEP_MS
        image = self._media_pipe.Image(self._media_pipe.ImageFormat.SRGB, np.ascontiguousarray(rgb))
        faces = self._task.detect_for_video(image, self._last_ms).face_landmarks
        return np.array([(p.x, p.y, p.z) for p in faces[0]], np.float32) if faces else None

    def close(self) -> None:
        """Give the memory back."""
        with _quiet():
            self._task.close()


def _create(model: Path, confidences: Confidences) -> tuple[Any, Any]:
    # in here, since it takes a second
    import mediapipe
    from mediapipe.tasks.python import BaseOptions, vision

    options = vision.FaceLandmarkerOptions(
        base_options=BaseOptions(model_asset_path=str(model)),
        running_mode=vision.RunningMode.VIDEO,
        num_faces=1,
        min_face_detection_confidence=confidences.detection,
        min_face_presence_confidence=confidences.presence,
        min_tracking_confidence=confidences.tracking,
    )
    return mediapipe, vision.FaceLandmarker.create_from_options(options)


@contextmanager
def _quiet() -> Iterator[None]:
    """Drop what goes to standard error: MediaPipe and TFLite log there and cannot be told not to."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
