"""face_landmarks with `engine: litert`: the official models without MediaPipe, held against it."""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from processors.face_landmarks import FaceLandmarksProcessor
from processors.face_landmarks.bundle import DETECTOR_FILE
from processors.face_landmarks.engine import Confidences, Engine, Found
from processors.face_landmarks.landmarker import Landmarker
from tests.processors.conftest import frame_of
from tests.processors.performing import performed
from vision import Frame, ModelError, Picture, StreamInfo

if TYPE_CHECKING:
    from processors.face_landmarks.litert import LiteRtEngine
    from tests.processors.conftest import DrawnHead

HALF = Confidences(0.5, 0.5, 0.5)


@pytest.fixture
def engine(official_model: Path) -> LiteRtEngine:
    """LiteRT with the official bundle; the test is skipped where the extra is not installed."""
    pytest.importorskip("ai_edge_litert", reason="the extra litert is not installed")
    from processors.face_landmarks.litert import LiteRtEngine

    return LiteRtEngine(official_model, HALF, blendshapes=True)


def all_found(engine: Engine, pictures: list[Picture]) -> list[Found]:
    """What is found in each picture; there is a face in all of them."""
    found = [engine.find(picture) for picture in pictures]
    assert None not in found
    return [one for one in found if one is not None]


def check_agree(engine: LiteRtEngine, model: Path, frames: list[Frame]) -> None:
    """Points to a tenth of a pixel, in the mean a twentieth; depths and blendshapes to a few thousandths."""
    pictures = [frame.picture for frame in frames]
    media_pipe = Landmarker(model, HALF, blendshapes=True)
    theirs = all_found(media_pipe, pictures)
    media_pipe.close()
    ours = all_found(engine, pictures)
    size = np.array([pictures[0].width, pictures[0].height])
    pairs = list(zip(ours, theirs, strict=True))
    apart_px = [np.linalg.norm((a.points_norm - b.points_norm)[:, :2] * size, axis=1) for a, b in pairs]
    assert np.mean(apart_px) < 0.05
    assert np.percentile(apart_px, 99) < 0.15
    assert max(np.abs(a.points_norm - b.points_norm)[:, 2].max() for a, b in pairs) < 0.002
    for a, b in pairs:
        assert a.blendshapes is not None
        assert b.blendshapes is not None
        assert np.abs(a.blendshapes - b.blendshapes).max() < 0.05
    assert min(one.confidence or 0 for one in ours) > 0.99


@pytest.mark.slow
def test_agrees_with_mediapipe_on_the_drawn_head(engine: LiteRtEngine, official_model: Path) -> None:
    """While it sways, talks and blinks."""
    times_s = np.arange(0, 2, 1 / 30)
    frames = performed(
        times_s,
        mouth=lambda t: 0.5 + 0.5 * np.sin(9 * t),
        blink=lambda t: (np.sin(3 * t) > 0.9).astype(float),
        sway=lambda t: (float(np.cos(2 * t)), float(np.sin(2 * t))),
    )
    check_agree(engine, official_model, list(frames))


@pytest.mark.slow
@pytest.mark.parametrize("clip", ["r3d_May_5s.mp4", "grid_lbbc2a.mpg"])
def test_agrees_with_mediapipe_on_a_clip(
    engine: LiteRtEngine, official_model: Path, frames_of_clip: Callable[[str], Iterator[Frame]], clip: str
) -> None:
    """On real faces."""
    check_agree(engine, official_model, list(frames_of_clip(clip)))


def test_a_face_that_goes_and_comes_back(engine: LiteRtEngine, head: DrawnHead) -> None:
    """Nothing is found in an empty picture, and the face again where it then is."""
    grey = np.full((1080, 1280), 128, np.uint8)
    assert engine.find(head.frame(0.0, dx=-200).picture) is not None
    assert engine.find(frame_of(grey, 0.1).picture) is None
    assert engine.count(frame_of(grey, 0.1).picture) == 0
    found = engine.find(head.frame(0.2, dx=200).picture)
    assert found is not None
    assert found.points_norm[4, 0] * 1280 == pytest.approx(640 + 200, abs=15)


def test_faces_are_counted(engine: LiteRtEngine, head: DrawnHead) -> None:
    """Two heads side by side are two."""
    picture = head.frame(0.0, dx=-300).picture
    other = head.frame(0.0, dx=300).picture
    y = np.concatenate([picture.y[:, :640], other.y[:, 640:]], axis=1)
    u, v = (np.concatenate([a[:, :320], b[:, 320:]], axis=1) for a, b in ((picture.u, other.u), (picture.v, other.v)))
    assert engine.count(picture) == 1
    assert engine.count(Picture(np.ascontiguousarray(y), u, v)) == 2


def test_the_processor_with_this_engine(engine: LiteRtEngine, official_model: Path, head: DrawnHead) -> None:
    """It gives what the official model gives, and the confidence besides."""
    options = FaceLandmarksProcessor.Options(engine="litert", model_path=official_model)
    processor = FaceLandmarksProcessor(options)
    processor.setup(StreamInfo(live=False))
    result = processor.process(head.frame(0.0, mouth=0.5))
    processor.close()
    assert result.confidence == pytest.approx(1.0, abs=0.01)
    assert result.faces == 1
    assert result.mouth_opening is not None
    assert result.mouth_opening > 0.05


def test_what_it_cannot_run(engine: LiteRtEngine, attention_model: Path) -> None:
    """The attention mesh has operators of MediaPipe's own: one line that says so."""
    with pytest.raises(ModelError, match=r"^face_landmarks: litert cannot run .*operators of MediaPipe's own"):
        type(engine)(attention_model, HALF)


def test_files_that_are_no_bundles(engine: LiteRtEngine, tmp_path: Path) -> None:
    """A file that is no zip, a bundle without a model, and one whose model is broken: one line that says which."""
    text, empty, broken = (tmp_path / f"{name}.task" for name in ("text", "empty", "broken"))
    text.write_text("not a bundle")
    with zipfile.ZipFile(empty, "w"):
        pass
    with zipfile.ZipFile(broken, "w") as bundle:
        for name in (DETECTOR_FILE, "face_landmarks_detector.tflite"):
            bundle.writestr(name, "not a model")
    wrong = {
        text: r"text\.task is not a bundle",
        empty: r"empty\.task has no \w+",
        broken: r"litert cannot run .*broken\.task: .+",
    }
    for model, message in wrong.items():
        with pytest.raises(ModelError, match=f"^face_landmarks: .*{message}") as error:
            type(engine)(model, HALF)
        assert "\n" not in str(error.value)


def test_a_missing_extra_is_named(official_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without LiteRT: one line with the command that brings it."""
    from processors.face_landmarks.litert import LiteRtEngine

    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(ModelError, match=r"needs pip install 'avatar-vision\[litert\]'$"):
        LiteRtEngine(official_model, HALF)
