"""MediaPipe's FaceLandmarker with one face, without its smoothing, its noise and its usage reports."""

from __future__ import annotations

import math
import os
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from processors.face_landmarks.bundle import DETECTOR_FILE, MIDDLE_OF_IRIS, PRESENCE_POINT, UNIT_POINT
from processors.face_landmarks.engine import Confidences, Found
from processors.face_landmarks.results import by_objects, in_place
from processors.face_landmarks.telemetry import offline
from vision import ModelError, Picture

__all__ = ["Landmarker"]

# In VIDEO mode with one face, MediaPipe smooths the points over time (One-Euro filter, Casiez et al. 2012), which
# costs a talking mouth half a picture of delay and a fifth of its motion. The filter's weight on the past,
# 1 / (1 + 2 pi f dt), vanishes with the interval between the timestamps, which serve nothing else: told that a
# quarter of an hour passes between pictures, it gives out the points as they were found.
_STEP_MS = 1_000_000


class Landmarker:
    """MediaPipe as an engine: the landmarker, and the bundle's detector by itself to count faces with.

    :param tells_presence: the bundle was made by `bundle`, which puts the model's presence where depths were.
    """

    def __init__(
        self, model: Path, confidences: Confidences, *, tells_presence: bool = False, blendshapes: bool = False
    ) -> None:
        self._tells_presence = tells_presence
        with _quiet():
            try:
                made = offline(lambda: _create(model, confidences, blendshapes))
            except OSError as error:  # of the dynamic linker
                missing = f"MediaPipe cannot be loaded: {error}"
                raise ModelError(f"{missing}; on Debian: apt-get install libegl1 libgles2") from error
            except (RuntimeError, ValueError, KeyError, zipfile.BadZipFile) as error:
                raise ModelError(f"face_landmarks: MediaPipe cannot use {model}: {error}") from error
        self._media_pipe, self._task, self._detector = made
        self._detect = in_place(self._task) or by_objects(self._task)
        self._last_ms = 0

    def find(self, picture: Picture) -> Found | None:
        """The face in the picture after the one of the call before."""
        self._last_ms += _STEP_MS
        found = self._detect(self._image(picture), self._last_ms)
        if found is None:
            return None
        points, blendshapes = found
        confidence = _take_presence(points) if self._tells_presence else None
        return Found(points, confidence, blendshapes)

    def count(self, picture: Picture) -> int:
        """How many faces the detector sees."""
        image = self._image(picture)
        with _quiet():  # it complains of how its own memory happens to lie
            return len(self._detector.detect(image).detections)

    def close(self) -> None:
        """Give the memory back."""
        with _quiet():
            self._task.close()
            self._detector.close()

    def _image(self, picture: Picture) -> Any:
        return self._media_pipe.Image(self._media_pipe.ImageFormat.SRGB, np.ascontiguousarray(picture.rgb))


def _take_presence(points: NDArray[np.float32]) -> float:
    """The probability that these are points of a face; the depths that held it become those of their irises.

    MediaPipe scales all depths alike: the logit lies in one of them, and in another what was 1 before.
    """
    logit = float(points[PRESENCE_POINT, 2] / points[UNIT_POINT, 2])
    for point in (PRESENCE_POINT, UNIT_POINT):
        points[point, 2] = points[MIDDLE_OF_IRIS, 2]
    return 1 / (1 + math.exp(-logit))


def _create(model: Path, confidences: Confidences, blendshapes: bool) -> tuple[Any, Any, Any]:
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
        output_face_blendshapes=blendshapes,
    )
    with zipfile.ZipFile(model) as bundle:
        detector = bundle.read(DETECTOR_FILE)
    counting = vision.FaceDetectorOptions(
        base_options=BaseOptions(model_asset_buffer=detector), min_detection_confidence=confidences.detection
    )
    landmarker = vision.FaceLandmarker.create_from_options(options)
    return mediapipe, landmarker, vision.FaceDetector.create_from_options(counting)


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
