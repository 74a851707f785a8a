"""The official bundle's models run by LiteRT, without MediaPipe: tracking as its face landmarker does it, not smoothed.

After MediaPipe's graphs face_detection_short_range, face_landmarks_detector and face_landmarker (Apache-2.0).
"""

from __future__ import annotations

import math
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from processors.face_landmarks.bundle import DETECTOR_FILE
from processors.face_landmarks.engine import Confidences, Found
from processors.face_landmarks.mesh import BLENDSHAPE_POINTS, EYE_CORNERS_OUTER, POINTS
from vision import ModelError, Picture

__all__ = ["LiteRtEngine"]

Floats = NDArray[np.float32]

_MESH_FILE, _BLENDSHAPES_FILE = "face_landmarks_detector.tflite", "face_blendshapes.tflite"
_DETECTOR_PX, _MESH_PX = 128, 256
_CELLS = ((16, 2), (8, 6))  # of a side, and anchors in each: strides 8, and three times 16
_OVERLAP = 0.3  # intersection over union from which two detections are of one face
_ROOM = 1.5  # the region around a face, of its box


@dataclass(frozen=True, slots=True)
class _Region:
    """A square of the picture, px, that is turned by an angle (> 0: clockwise)."""

    x: float
    y: float
    side: float
    angle: float

    @classmethod
    def around(cls, low: Floats, high: Floats, right_eye: Floats, left_eye: Floats) -> _Region:
        """That of a face with this box, upright along its eyes; all `(2,)` px."""
        (x, y), (width, height) = (low + high) / 2, high - low
        across, down = left_eye - right_eye
        return cls(float(x), float(y), _ROOM * float(max(width, height)), math.atan2(down, across))

    def to_crop(self, size: int) -> NDArray[np.float64]:
        """The affine map `(2, 3)` from the picture into a crop of that size."""
        scale = size / self.side
        cos, sin = scale * math.cos(self.angle), scale * math.sin(self.angle)
        turn = np.array([[cos, sin], [-sin, cos]])
        return np.column_stack([turn, size / 2 - turn @ (self.x, self.y)])


class _Network:
    """A model with one input, on one thread: two are slower where the machine has anything else to do."""

    def __init__(self, interpreter: Any, content: bytes) -> None:
        self._network = interpreter(model_content=content, num_threads=1)
        self._network.allocate_tensors()
        self._input = self._network.get_input_details()[0]["index"]
        self._outputs = [details["index"] for details in self._network.get_output_details()]

    def __call__(self, values: Floats) -> list[Floats]:
        self._network.set_tensor(self._input, values[np.newaxis])
        self._network.invoke()
        return [self._network.get_tensor(output) for output in self._outputs]


class LiteRtEngine:
    """One face by LiteRT: the detector finds it, then it is tracked from picture to picture by its own points."""

    def __init__(self, model: Path, confidences: Confidences, *, blendshapes: bool = False) -> None:
        wanted = [DETECTOR_FILE, _MESH_FILE, *([_BLENDSHAPES_FILE] if blendshapes else [])]
        self._detector, self._mesh, *rest = _networks(model, wanted)
        self._blendshapes = rest[0] if rest else None
        self._confidences = confidences
        self._region: _Region | None = None

    def find(self, picture: Picture) -> Found | None:
        """The face in the picture after the one of the call before."""
        region = self._region or self._detected(picture)
        self._region = None
        if region is None:
            return None
        crop = cv2.warpAffine(
            picture.rgb, region.to_crop(_MESH_PX), (_MESH_PX, _MESH_PX), borderMode=cv2.BORDER_REPLICATE
        )
        values, presence, _ = self._mesh(np.divide(crop, 255, dtype=np.float32))
        confidence = _sigmoid(float(presence.item()))
        if confidence < self._confidences.presence:
            return None
        points = _in_picture(values.reshape(POINTS, 3), region)
        low, high = points[:, :2].min(axis=0), points[:, :2].max(axis=0)
        if confidence >= self._confidences.tracking:
            self._region = _Region.around(low, high, *points[list(EYE_CORNERS_OUTER), :2])
        scores = self._blendshapes(points[list(BLENDSHAPE_POINTS), :2])[0] if self._blendshapes else None
        size: Floats = np.array((picture.width, picture.height, picture.width), np.float32)
        return Found(np.divide(points, size), confidence, scores)

    def count(self, picture: Picture) -> int:
        """How many faces the detector sees."""
        return len(self._faces(picture))

    def close(self) -> None:
        """Nothing is held that would not be freed."""

    def _detected(self, picture: Picture) -> _Region | None:
        for low, high, right_eye, left_eye, *_ in self._faces(picture)[:1]:
            return _Region.around(low, high, right_eye, left_eye)
        return None

    def _faces(self, picture: Picture) -> list[Floats]:
        """Faces by their score: two corners of the box, then right eye, left eye and four more; `(8, 2)` px each."""
        side = max(picture.width, picture.height)
        whole = _Region(picture.width / 2, picture.height / 2, side, 0.0)
        small = cv2.warpAffine(picture.rgb, whole.to_crop(_DETECTOR_PX), (_DETECTOR_PX, _DETECTOR_PX))
        boxes, logits = self._detector(np.subtract(small / 127.5, 1, dtype=np.float32))
        scores = 1 / (1 + np.exp(-np.clip(logits.ravel(), -80, 80)))
        sure = scores >= self._confidences.detection
        found = boxes[0, sure].reshape(-1, 8, 2)
        middle, extent = found[:, 0] / _DETECTOR_PX + _ANCHORS[sure], found[:, 1] / _DETECTOR_PX
        keypoints = found[:, 2:] / _DETECTOR_PX + _ANCHORS[sure][:, np.newaxis]
        corners = np.concatenate([np.stack([middle - extent / 2, middle + extent / 2], axis=1), keypoints], axis=1)
        faces = corners.astype(np.float32) * side
        faces += np.array((picture.width - side, picture.height - side), np.float32) / 2
        return _merged(faces, scores[sure].astype(np.float32))


def _networks(model: Path, wanted: list[str]) -> list[_Network]:
    """The models of a bundle, ready to be called."""
    interpreter = _interpreter()
    try:
        with zipfile.ZipFile(model) as bundle:
            if missing := sorted(set(wanted) - set(bundle.namelist())):
                raise ModelError(f"face_landmarks: {model} has no {missing[0]}")
            return [_Network(interpreter, bundle.read(name)) for name in wanted]
    except zipfile.BadZipFile as error:
        raise ModelError(f"face_landmarks: {model} is not a bundle (.task)") from error
    except (RuntimeError, ValueError) as error:
        if "custom op" in str(error):
            own = "it has operators of MediaPipe's own; use engine: mediapipe"
            raise ModelError(f"face_landmarks: litert cannot run {model}: {own}") from error
        raise ModelError(f"face_landmarks: litert cannot run {model}: {str(error).splitlines()[0]}") from error


def _interpreter() -> Any:
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise ModelError("face_landmarks: engine: litert needs pip install 'avatar-vision[litert]'") from error
    return Interpreter


def _anchors() -> Floats:
    """Where the detector's 896 boxes are counted from, `(896, 2)` of the picture's side."""
    grids = []
    for side, each in _CELLS:
        y, x = np.divmod(np.arange(side * side), side)
        grids.append(np.repeat(np.column_stack([x + 0.5, y + 0.5]) / side, each, axis=0))
    return np.concatenate(grids).astype(np.float32)


_ANCHORS = _anchors()


def _merged(faces: Floats, scores: Floats) -> list[Floats]:
    """Faces by score; those that overlap are one, their mean weighted by score (as BlazeFace has it)."""
    merged, left = [], np.argsort(-scores)
    while len(left):
        same = _overlaps(faces[left[0], :2], faces[left, :2]) > _OVERLAP
        same[0] = True
        merged.append(np.average(faces[left[same]], axis=0, weights=scores[left[same]]))
        left = left[~same]
    return merged


def _overlaps(box: Floats, others: Floats) -> Floats:
    """Intersection over union of a box `(2, 2)` with others `(N, 2, 2)`."""
    shared = np.clip(np.minimum(box[1], others[:, 1]) - np.maximum(box[0], others[:, 0]), 0, None).prod(axis=1)
    area, areas = (box[1] - box[0]).prod(), (others[:, 1] - others[:, 0]).prod(axis=1)
    return np.asarray(shared / np.maximum(area + areas - shared, 1e-9))


def _in_picture(points: Floats, region: _Region) -> Floats:
    """Points of the crop, `(478, 3)` px, in px of the picture."""
    scale = region.side / _MESH_PX
    cos, sin = scale * math.cos(region.angle), scale * math.sin(region.angle)
    x, y = points[:, 0] - _MESH_PX / 2, points[:, 1] - _MESH_PX / 2
    placed = [region.x + cos * x - sin * y, region.y + sin * x + cos * y, scale * points[:, 2]]
    return np.stack(placed, axis=1).astype(np.float32)


def _sigmoid(logit: float) -> float:
    return 1 / (1 + math.exp(-min(max(logit, -80.0), 80.0)))
