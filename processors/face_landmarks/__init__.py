"""`face_landmarks`: one face, its 478 points, and how far mouth and eyes are open."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

import vision
from processors.face_landmarks.files import MODELS
from processors.face_landmarks.landmarker import Confidences, Landmarker
from processors.face_landmarks.measure import NO_FACE, FaceLandmarks, measure
from vision import Frame, Processor, StreamInfo, models

__all__ = ["FaceLandmarks", "FaceLandmarksOptions", "FaceLandmarksProcessor"]


def _confidence(what: str) -> float:
    value: float = Field(0.5, ge=0, le=1, description=f"Least confidence, 0 to 1, {what}.")
    return value


class FaceLandmarksOptions(vision.Options):
    """Options of `face_landmarks`."""

    model: Literal["attention", "official"] = Field(
        "attention",
        description="`attention`: less than half the time, with lips and eyes refined; "
        "`official`: the bundle that MediaPipe publishes.",
    )
    model_path: Path | None = Field(None, description="A bundle (.task) of your own, instead of `model`.")
    min_detection_confidence: float = _confidence("that a face was detected")
    min_presence_confidence: float = _confidence("that the points are those of a face")
    min_tracking_confidence: float = _confidence("that the face is still the one that was tracked")


class FaceLandmarksProcessor(Processor[FaceLandmarks]):
    """One face, its 478 points, and how far mouth and eyes are open, by MediaPipe's FaceLandmarker."""

    Options = FaceLandmarksOptions
    known_models = tuple(MODELS.values())
    # MediaPipe's calls wait for the interpreter lock; in a process of its own they wait for nobody
    placement: ClassVar[Literal["thread", "process"]] = "process"

    _landmarker: Landmarker | None = None

    @classmethod
    def models(cls, options: FaceLandmarksOptions) -> Sequence[models.ModelFile]:
        """The bundle, unless the user brings one."""
        return () if options.model_path else (MODELS[options.model],)

    def setup(self, info: StreamInfo) -> None:
        """Load the model; fetches it where that has not been done yet."""
        (model,) = self.models(self.options) or (None,)
        self._model = models.ensure(model) if model else self._own_model()
        self._landmarker = self._create()

    def process(self, frame: Frame) -> FaceLandmarks:
        """Find the face in the picture."""
        assert self._landmarker is not None
        picture = frame.picture
        points = self._landmarker.find(picture.rgb)
        return NO_FACE if points is None else measure(points, picture.width, picture.height)

    def reset(self, reason: str) -> None:
        """Forget the face: where it was and how it moved do not continue."""
        self.close()
        self._landmarker = self._create()

    def close(self) -> None:
        """Free the model."""
        if self._landmarker is not None:
            self._landmarker.close()
            self._landmarker = None

    def _create(self) -> Landmarker:
        options = self.options
        confidences = Confidences(
            detection=options.min_detection_confidence,
            presence=options.min_presence_confidence,
            tracking=options.min_tracking_confidence,
        )
        return Landmarker(self._model, confidences)

    def _own_model(self) -> Path:
        path: Path = self.options.model_path
        if not path.is_file():
            raise vision.ModelError(f"face_landmarks: model_path: no file {path}")
        return path
