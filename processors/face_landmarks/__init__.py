"""`face_landmarks`: one face, its 478 points, and how far mouth and eyes are open."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

import vision
from processors.face_landmarks.engine import Confidences, Engine, Found
from processors.face_landmarks.files import MODELS
from processors.face_landmarks.measure import FaceLandmarks, measure
from vision import Frame, Processor, StreamInfo, models

__all__ = ["FaceLandmarks", "FaceLandmarksOptions", "FaceLandmarksProcessor"]

_COUNT_EVERY_S = 0.5  # the detector costs as much as half of the landmarks, and faces do not come and go faster


def _confidence(what: str) -> float:
    value: float = Field(0.5, ge=0, le=1, description=f"Least confidence, 0 to 1, {what}.")
    return value


class FaceLandmarksOptions(vision.Options):
    """Options of `face_landmarks`."""

    model: Literal["attention", "official"] = Field(
        "attention",
        description="`attention`: half the time, with lips and eyes refined; "
        "`official`: the bundle that MediaPipe publishes.",
    )
    engine: Literal["mediapipe", "litert"] = Field(
        "mediapipe", description="What runs the model; `litert` (an extra) runs `model: official` only."
    )
    blendshapes: bool = Field(False, description="Find the 52 blendshapes as well; `model: official` only.")
    model_path: Path | None = Field(None, description="A bundle (.task) of your own, instead of `model`.")
    min_detection_confidence: float = _confidence("that a face was detected")
    min_presence_confidence: float = _confidence("that the points are those of a face")
    min_tracking_confidence: float = _confidence("that the face is still the one that was tracked")

    @model_validator(mode="after")
    def _model_can(self) -> Self:
        if self.model == "attention" and self.model_path is None:
            if self.blendshapes:
                raise ValueError("`blendshapes: true` needs `model: official`; the attention mesh has none")
            if self.engine == "litert":
                raise ValueError("`engine: litert` needs `model: official`; the attention mesh is MediaPipe's only")
        return self


class FaceLandmarksProcessor(Processor[FaceLandmarks]):
    """One face, its 478 points, and how far mouth and eyes are open, by MediaPipe's FaceLandmarker."""

    Options = FaceLandmarksOptions
    known_models = tuple(MODELS.values())
    # MediaPipe's calls wait for the interpreter lock; in a process of its own they wait for nobody
    placement: ClassVar[Literal["thread", "process"]] = "process"

    _engine: Engine | None = None
    _faces: int | None = None
    _counted_s = 0.0

    @classmethod
    def models(cls, options: FaceLandmarksOptions) -> Sequence[models.ModelFile]:
        """The bundle, unless the user brings one."""
        return () if options.model_path else (MODELS[options.model],)

    def setup(self, info: StreamInfo) -> None:
        """Load the model; fetches it where that has not been done yet."""
        (model,) = self.models(self.options) or (None,)
        self._model = models.ensure(model) if model else self._own_model()
        self._engine = self._create()

    def process(self, frame: Frame) -> FaceLandmarks:
        """Find the face in the picture."""
        assert self._engine is not None
        picture = frame.picture
        found = self._engine.find(picture)
        faces = self._count(self._engine, frame, found)
        return measure(found, picture.width, picture.height, faces)

    def reset(self, reason: str) -> None:
        """Forget the face: where it was and how it moved do not continue."""
        self.close()
        self._engine = self._create()

    def close(self) -> None:
        """Free the model."""
        self._faces = None
        if self._engine is not None:
            self._engine.close()
            self._engine = None

    def _count(self, engine: Engine, frame: Frame, found: Found | None) -> int:
        """How many faces there are; one that is tracked counts also where the detector would not find it."""
        since_s = abs(frame.time_s - self._counted_s)
        if self._faces is None or found is None or since_s >= _COUNT_EVERY_S:
            self._faces, self._counted_s = engine.count(frame.picture), frame.time_s
        return max(self._faces, int(found is not None))

    def _create(self) -> Engine:
        # in here, for what is not asked for need not be there
        options = self.options
        confidences = Confidences(
            detection=options.min_detection_confidence,
            presence=options.min_presence_confidence,
            tracking=options.min_tracking_confidence,
        )
        if options.engine == "litert":
            from processors.face_landmarks.litert import LiteRtEngine

            return LiteRtEngine(self._model, confidences, blendshapes=options.blendshapes)
        from processors.face_landmarks.landmarker import Landmarker

        tells_presence = options.model == "attention" and options.model_path is None
        return Landmarker(self._model, confidences, tells_presence=tells_presence, blendshapes=options.blendshapes)

    def _own_model(self) -> Path:
        path: Path = self.options.model_path
        if not path.is_file():
            raise vision.ModelError(f"face_landmarks: model_path: no file {path}")
        return path
