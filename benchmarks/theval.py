"""One clip through `talking_head`, and again with what THEval's scripts do otherwise."""

from __future__ import annotations

import asyncio
import csv
import dataclasses
import json
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from processors.face_landmarks import FaceLandmarks, FaceLandmarksProcessor
from processors.face_landmarks.engine import Found
from processors.face_landmarks.measure import measure
from processors.speech import Speech
from processors.talking_head import TalkingHead, TalkingHeadProcessor
from vision import Frame, Picture, Record, Sink, StreamInfo
from vision.config import load
from vision.runner import Run

__all__ = [
    "MEASURES",
    "Clip",
    "Figures",
    "Reference",
    "Step",
    "carried_out",
    "explained",
    "of_legacy",
    "references",
    "with_their_segments",
]

MEASURES = ("lip_dynamics", "eyebrow_dynamics", "silent_lip_stability", "lip_sync")
"""THEval's head motion is not among them: its models cannot be had."""

_SEGMENTS = {"silent_lip_stability": "vad_silent_script_s", "lip_sync": "vad_sync_script_s"}
# decord and seeking OpenCV lose pictures of MPEG-1, and these measures with them: they were taken of a copy
_OF_COPY = {"silent_lip_stability": "grid_as_mp4_silent", "lip_sync": "grid_as_mp4_lip_sync"}

Figures = Mapping[str, float | None]


@dataclass(frozen=True, slots=True)
class Reference:
    """What THEval gives for a clip.

    :ivar figures: by measure; `None` where it gives none.
    :ivar fps: pictures a second, as its scripts take them to come.
    :ivar segments_s: speech by measure, `(N, 2)`, s of the sound.
    """

    name: str
    figures: Figures
    fps: float
    segments_s: Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Step:
    """A frame of a run, with what was found in it."""

    frame: Frame
    face: FaceLandmarks | None
    speech: Speech | None
    head: TalkingHead | None


@dataclass(frozen=True, slots=True)
class Clip:
    """A run over a clip."""

    reference: Reference
    steps: tuple[Step, ...]

    @property
    def figures(self) -> Figures:
        """What the run gave."""
        head = self.steps[-1].head
        assert head is not None
        return {name: getattr(head, f"run_{name}") for name in MEASURES}


def references(path: Path) -> list[Reference]:
    """THEval's figures, from a table of them and the one beside it, which ends in `_aux`."""
    aside = {row["file"]: row for row in _rows(path.with_name(f"{path.stem}_aux{path.suffix}"))}
    return [_reference(row, aside[row["file"]]) for row in _rows(path)]


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _reference(row: Mapping[str, str], aside: Mapping[str, str]) -> Reference:
    figures = {name: float(row[name]) if row[name] else None for name in MEASURES}
    figures |= {name: float(aside[column]) for name, column in _OF_COPY.items() if aside[column]}
    segments = {
        name: np.array([segment.split("-") for segment in aside[column].split()], np.float64).reshape(-1, 2)
        for name, column in _SEGMENTS.items()
    }
    return Reference(row["file"], figures, float(aside["fps"]), segments)


class Keeper(Sink):
    """Keeps the records of the last run of this process."""

    records: ClassVar[list[Record]] = []

    def open(self) -> None:
        self.records.clear()

    def write(self, record: Record) -> None:
        """Take a record."""
        self.records.append(record)


def carried_out(reference: Reference, media: Path, face: Mapping[str, Any], speech: Mapping[str, Any]) -> Clip:
    """A clip through a whole run; the options are those of `face_landmarks` and `speech`.

    :raises RuntimeError: when the run fails.
    """
    config = {
        "source": {"use": "file", "path": str(media / reference.name)},
        "processors": [
            {"use": "processors.face_landmarks:FaceLandmarksProcessor", "name": "face_landmarks", **face},
            {"use": "processors.speech:SpeechProcessor", "name": "speech", **speech},
            {"use": "processors.talking_head:TalkingHeadProcessor", "name": "talking_head"},
        ],
        "sinks": [{"use": "benchmarks.theval:Keeper"}],
    }
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "run.yaml").write_text(json.dumps(config))  # JSON is YAML
        outcome = asyncio.run(Run(load(Path(folder) / "run.yaml"), Path(folder) / "out").execute())
    if outcome.error is not None:
        raise RuntimeError(f"{reference.name}: {outcome.error}")
    return Clip(reference, tuple(map(_step, Keeper.records)))


def _step(record: Record) -> Step:
    face, speech, head = (record.outputs[name] for name in ("face_landmarks", "speech", "talking_head"))
    assert face is None or isinstance(face, FaceLandmarks)
    assert speech is None or isinstance(speech, Speech)
    assert head is None or isinstance(head, TalkingHead)
    return Step(record.frame, face, speech, head)


def explained(clip: Clip, face: Mapping[str, Any]) -> dict[str, Figures]:
    """The figures with, one after the other, what THEval's scripts do otherwise; each line has those before it.

    segments  speech is where its version of silero found it
    times     pictures come evenly, and begin with the sound
    square    landmarks are those of the picture made 256 x 256 (not of brows and lip-sync, whose scripts do not)
    """
    square = _faces_of_squares(clip.steps, face)
    return {
        "segments": with_their_segments(clip),
        "times": _by_measure(clip, lambda name: _with_times(clip, name)),
        "square": _by_measure(
            clip,
            lambda name: _with_faces(
                _with_times(clip, name), None if name in ("eyebrow_dynamics", "lip_sync") else square
            ),
        ),
    }


def with_their_segments(clip: Clip) -> Figures:
    """The figures with speech where THEval's version of silero found it."""
    return _by_measure(clip, lambda name: _with_segments(clip, name))


def of_legacy(clip: Clip, media: Path, python: Path) -> Figures:
    """The figures with all of that, and the landmarks that THEval's scripts see.

    :param python: of an environment with mediapipe 0.10.21.
    """
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "points.npz"
        script = Path(__file__).with_name("legacy_face_mesh.py")
        command = [python, script, media / clip.reference.name, output]
        subprocess.run(command, check=True, capture_output=True)
        with np.load(output) as points:
            faces = {name: [_face(each, clip) for each in points[name]] for name in points.files}
    kinds = {"eyebrow_dynamics": "native", "lip_sync": "swapped"}
    return _by_measure(clip, lambda name: _with_faces(_with_times(clip, name), faces[kinds.get(name, "square")]))


def _by_measure(clip: Clip, steps: Callable[[str], Iterable[Step]]) -> Figures:
    return {name: _measured(steps(name), name) for name in MEASURES}


def _measured(steps: Iterable[Step], name: str) -> float | None:
    """A figure of frames, faces and speech."""
    processor = TalkingHeadProcessor()
    value: float | None = None
    for step in steps:
        value = getattr(processor.process(step.frame, step.face, step.speech), f"run_{name}")
    return value


def _with_segments(clip: Clip, name: str) -> list[Step]:
    segments = clip.reference.segments_s.get(name)
    begin_s = next(step.frame.sound.start_s for step in clip.steps if step.frame.sound.samples.size)
    return [
        step if segments is None else dataclasses.replace(step, speech=_speech(step, segments + begin_s))
        for step in clip.steps
    ]


def _speech(step: Step, segments_s: NDArray[np.float64]) -> Speech | None:
    if step.speech is None:
        return None
    shown = np.full_like(step.speech.segments_s, np.nan)
    shown[len(shown) - len(segments_s) :] = segments_s
    return dataclasses.replace(step.speech, segments_s=shown)


def _with_times(clip: Clip, name: str) -> list[Step]:
    steps = _with_segments(clip, name)
    begin_s = next(step.frame.sound.start_s for step in steps if step.frame.sound.samples.size)
    return [_moved(step, clip.reference.fps, begin_s) for step in steps]


def _moved(step: Step, fps: float, begin_s: float) -> Step:
    """A step whose picture comes by its number, and whose sound begins at 0."""
    frame, speech = step.frame, step.speech
    time_s = frame.time_s - begin_s if frame.index is None else frame.index / fps
    frame = dataclasses.replace(frame, time_s=time_s, sound=frame.sound.shifted(-begin_s))
    if speech is not None:
        speech = dataclasses.replace(speech, segments_s=speech.segments_s - begin_s)
    return dataclasses.replace(step, frame=frame, speech=speech)


def _with_faces(steps: list[Step], faces: list[FaceLandmarks] | None) -> list[Step]:
    """Steps with other faces, one for each picture."""
    if faces is None:
        return steps
    others = iter(faces)
    return [
        step if step.frame.maybe_picture is None else dataclasses.replace(step, face=next(others)) for step in steps
    ]


class _Square(Picture):
    """A picture made 256 x 256 as THEval does it: in RGB, bilinear."""

    __slots__ = ("_square",)

    def __init__(self, picture: Picture) -> None:
        super().__init__(*picture.planes, full_range=picture.full_range)
        self._square = np.asarray(cv2.resize(picture.rgb, (256, 256)), np.uint8)

    @property
    def rgb(self) -> NDArray[np.uint8]:
        """`(256, 256, 3) uint8`."""
        return self._square


def _faces_of_squares(steps: Iterable[Step], options: Mapping[str, Any]) -> list[FaceLandmarks]:
    processor = FaceLandmarksProcessor(FaceLandmarksProcessor.Options.model_validate(options))
    try:
        processor.setup(StreamInfo(live=False))
        return [
            processor.process(dataclasses.replace(step.frame, maybe_picture=_Square(step.frame.picture)))
            for step in steps
            if step.frame.maybe_picture is not None
        ]
    finally:
        processor.close()


def _face(points: NDArray[np.float32], clip: Clip) -> FaceLandmarks:
    picture = clip.steps[0].frame.picture
    if np.isnan(points[0, 0]):
        return FaceLandmarks(face_present=False)
    known = np.where(np.isnan(points), np.nanmean(points, axis=0), points)  # irises, where the model has none
    return measure(Found(known.astype(np.float32)), picture.width, picture.height)
