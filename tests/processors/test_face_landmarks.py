"""face_landmarks: what it finds on a drawn head, how it deals with time, and its manners."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from pydantic import ValidationError

from processors.face_landmarks import FaceLandmarks, FaceLandmarksProcessor
from processors.face_landmarks.blendshapes import BLENDSHAPES
from processors.face_landmarks.bundle import PRESENCE_POINT, UNIT_POINT, landmark_index
from processors.face_landmarks.engine import Found
from processors.face_landmarks.measure import measure
from processors.face_landmarks.mesh import CONTOURS, LEFT_EYE, RIGHT_EYE
from processors.face_landmarks.results import Detect, by_objects, in_place
from tests.processors.conftest import Image, frame_of
from vision import Frame, ModelError, Picture, StreamInfo, metrics_of

if TYPE_CHECKING:
    from tests.processors.conftest import DrawnHead

INFO = StreamInfo(live=False)


@contextmanager
def running(**options: Any) -> Iterator[FaceLandmarksProcessor]:
    """A processor that is set up, and closed in the end."""
    processor = FaceLandmarksProcessor(FaceLandmarksProcessor.Options(**options))
    try:
        processor.setup(INFO)
        yield processor
    finally:
        processor.close()


@pytest.fixture
def processor(attention_model: Path) -> Iterator[FaceLandmarksProcessor]:
    """A processor with the default model."""
    with running() as it:
        yield it


def opened(processor: FaceLandmarksProcessor, head: DrawnHead, mouths: np.ndarray[Any, Any]) -> list[float]:
    """What is measured while the mouth goes through the given openings at 30 fps."""
    results = [processor.process(head.frame(i / 30, mouth=m)) for i, m in enumerate(mouths)]
    return [r.mouth_opening for r in results if r.mouth_opening is not None]


def test_points_lie_on_the_face(processor: FaceLandmarksProcessor, head: DrawnHead) -> None:
    """The points, the box and the eye distance are where the head was drawn."""
    result = processor.process(head.frame(0.0))
    assert result.face_present
    assert result.points_px is not None
    assert result.points_norm is not None
    assert result.points_px.shape == (478, 2)
    assert result.points_norm.shape == (478, 3)
    assert np.allclose(result.points_norm[:, :2] * (1280, 720), result.points_px, atol=1e-2)
    irises = result.points_px[[468, 473]]
    assert np.allclose(irises, [(640 - 62, 318), (640 + 62, 318)], atol=12)
    assert result.inter_ocular_px == pytest.approx(2 * (62 + 30), rel=0.15)
    assert result.box_x_px == pytest.approx(640 - 150, abs=25)


def test_mouth_opening_follows_the_mouth(processor: FaceLandmarksProcessor, head: DrawnHead) -> None:
    """The opening is about nil when shut, and follows the drawn mouth."""
    mouths = np.concatenate([np.zeros(6), np.linspace(0, 1, 25), np.linspace(1, 0, 25)])
    measured = opened(processor, head, mouths)
    assert measured[5] < 0.03
    assert max(measured) > 0.2
    assert np.corrcoef(mouths, measured)[0, 1] > 0.97


def test_a_mouth_is_measured_in_the_picture_it_opens_in(processor: FaceLandmarksProcessor, head: DrawnHead) -> None:
    """Points are not smoothed over time: a mouth that opens at once is open at once, and shut again at once."""
    measured = opened(processor, head, np.repeat([0.0, 0.8, 0.0], 6))
    shut, first, still, after = measured[5], measured[6], measured[11], measured[12]
    assert first - shut > 0.9 * (still - shut)
    assert after - shut < 0.1 * (still - shut)


def test_eye_openness_follows_the_lids(processor: FaceLandmarksProcessor, head: DrawnHead) -> None:
    """Both eyes are open, then shut."""
    results = [processor.process(head.frame(i / 30, blink=min(1.0, i / 10))) for i in range(16)]
    first, last = results[0].eye_openness, results[-1].eye_openness
    assert first is not None
    assert last is not None
    assert last < 0.5 * first
    sides = [results[0].eye_openness_left, results[0].eye_openness_right]
    assert first == pytest.approx(np.mean(np.array(sides, float)))


def test_figures_are_those_of_the_definitions() -> None:
    """Eye aspect ratios and lip gap agree with the arithmetic on points that are placed by hand."""
    points = np.zeros((478, 3), np.float32)
    points[[33, 263], 0] = 0.2, 0.7
    for eye, x in ((RIGHT_EYE, 0.2), (LEFT_EYE, 0.5)):
        points[list(eye), 0] = x, x + 0.05, x + 0.15, x + 0.2, x + 0.15, x + 0.05
        points[list(eye), 1] = 0.5, 0.4, 0.4, 0.5, 0.6, 0.6
    points[[95, 88, 178, 87, 14, 317, 402, 318], 1] = 0.1
    points[[191, 80, 81, 82, 13, 312, 311, 310], :2] = points[[95, 88, 178, 87, 14, 317, 402, 318], :2] - (
        0,
        0.1,
    )
    result = measure(Found(points), 200, 100)
    assert result.inter_ocular_px == pytest.approx(100)
    assert result.mouth_opening == pytest.approx(10 / 100)
    assert result.eye_openness_left == result.eye_openness_right == pytest.approx((20 + 20) / (2 * 40))


def test_no_face_is_not_measured(processor: FaceLandmarksProcessor, head: DrawnHead) -> None:
    """Without a face every figure is None, and the face is found again when it comes back."""
    blank = head.frame(0.0).picture
    grey = type(blank)(np.full_like(blank.y, 120), np.full_like(blank.u, 128), np.full_like(blank.v, 128))
    frame = head.frame(0.0)
    empty = type(frame)(0, 0.0, 0.0, frame.clock, maybe_picture=grey)
    assert processor.process(empty) == FaceLandmarks(face_present=False, faces=0, several_faces=False)
    assert processor.process(head.frame(0.1)).face_present


def test_time_may_stand_still_or_go_back(processor: FaceLandmarksProcessor, head: DrawnHead) -> None:
    """Pictures less than a millisecond apart, and a clock that jumps back, do no harm."""
    assert all(processor.process(head.frame(t)).face_present for t in (5.0, 5.0, 5.0002, 1.0))
    processor.reset("reconnect")
    assert processor.process(head.frame(0.0)).face_present


def test_reset_forgets_the_face(processor: FaceLandmarksProcessor, head: DrawnHead) -> None:
    """After a reset a picture gives what it gives to a new processor: no smoothing with what was before."""
    first = processor.process(head.frame(0.0))
    processor.process(head.frame(0.033, dx=60))
    processor.reset("resolution")
    again = processor.process(head.frame(0.0))
    assert first.points_px is not None
    assert again.points_px is not None
    assert np.array_equal(first.points_px, again.points_px)


def test_confidence_falls_as_the_face_fades(processor: FaceLandmarksProcessor, head: DrawnHead) -> None:
    """Near 1 on a face; less where it dissolves into grey; the points of the irises have depths all the same."""
    picture = head.frame(0.0).picture
    confidences = []
    for share in (1.0, 0.3, 0.15, 0.08):
        faded = np.rint(128 + share * (picture.y.astype(float) - 128)).astype(np.uint8)
        frame = dataclasses.replace(head.frame(0.0), maybe_picture=type(picture)(faded, picture.u, picture.v))
        result = processor.process(frame)
        if result.confidence is not None:
            confidences.append(result.confidence)
            assert result.points_norm is not None
            assert np.ptp(result.points_norm[473:478, 2]) < 1e-6
    assert confidences[0] > 0.99
    assert len(confidences) >= 2
    assert confidences[-1] < confidences[0]


def test_faces_are_counted(processor: FaceLandmarksProcessor, head: DrawnHead) -> None:
    """One, then a second one beside it for two seconds: counted within half a second, and forgotten as fast."""
    both = _side_by_side(head)
    assert not processor.process(head.frame(0.0, dx=-300)).several_faces
    counted = []
    for index in range(90):
        image = both if 30 <= index < 60 else head.image(dx=-300)
        counted.append(processor.process(frame_of(image, index / 30)).faces)
    assert set(counted[:30]) == {1}
    assert set(counted[45:60]) == {2}
    assert set(counted[75:]) == {1}


def _side_by_side(head: DrawnHead) -> Image:
    image = head.image(dx=-300)
    other, half = head.image(dx=300), head.width // 2
    image[: head.height, half:] = other[: head.height, half:]
    chroma, others = (each[head.height :].reshape(2, -1, half) for each in (image, other))
    chroma[:, :, half // 2 :] = others[:, :, half // 2 :]
    return image


@pytest.mark.slow
def test_blendshapes(official_model: Path, head: DrawnHead) -> None:
    """The official model has all 52, named: an open mouth shows in `jawOpen`, shut eyes in both `eyeBlink`."""
    from mediapipe.tasks.python.vision.face_landmarker import Blendshapes

    theirs = [shape.name.replace("_", "").lower() for shape in sorted(Blendshapes, key=int)]
    assert [name.replace("_", "").lower() for name in BLENDSHAPES] == theirs
    with running(model_path=official_model, blendshapes=True) as processor:
        calm = processor.process(head.frame(0.0)).blendshapes
        wide = processor.process(head.frame(0.1, mouth=1.0)).blendshapes
        shut = processor.process(head.frame(0.2, blink=1.0)).blendshapes
    assert calm is not None
    assert wide is not None
    assert shut is not None
    assert len(calm) == len(BLENDSHAPES) == 52
    jaw = BLENDSHAPES.index("jawOpen")
    assert wide[jaw] > calm[jaw] + 0.1
    for name in ("eyeBlinkLeft", "eyeBlinkRight"):
        assert shut[BLENDSHAPES.index(name)] > calm[BLENDSHAPES.index(name)] + 0.1


@pytest.mark.slow
def test_both_models_agree(attention_model: Path, official_model: Path, head: DrawnHead) -> None:
    """The two models put the points at the same places, within a tenth of the eye distance."""
    points = []
    for path in (attention_model, official_model):
        with running(model_path=path) as processor:
            points.append(processor.process(head.frame(0.0)).points_px)
    ours, theirs = points
    assert ours is not None
    assert theirs is not None
    assert np.linalg.norm(ours - theirs, axis=1).mean() < 0.1 * 184


@pytest.mark.slow
def test_finds_the_face_of_a_real_clip(attention_model: Path, frames_of_clip: Callable[[str], Iterator[Frame]]) -> None:
    """A face is found in every picture of a recorded talking head, and its mouth moves."""
    with running() as processor:
        results = [processor.process(frame) for frame in frames_of_clip("r3d_May_5s.mp4")]
    openings = [r.mouth_opening for r in results if r.mouth_opening is not None]
    assert len(openings) == len(results) > 100
    assert min(openings) < 0.03 < 0.1 < max(openings)


def test_an_own_model_must_exist(tmp_path: Path) -> None:
    """A model_path that leads nowhere is an error of one line that names the option and the path."""
    with (
        pytest.raises(ModelError, match=r"^face_landmarks: model_path: no file .*own\.task$"),
        running(model_path=tmp_path / "own.task"),
    ):
        pass


def test_an_own_model_must_be_a_bundle(tmp_path: Path) -> None:
    """A file that is no bundle is an error of one line that names it."""
    (tmp_path / "own.task").write_bytes(b"this is no bundle")
    with pytest.raises(ModelError, match=r"^face_landmarks: MediaPipe cannot use .*own\.task"):
        FaceLandmarksProcessor(FaceLandmarksProcessor.Options(model_path=tmp_path / "own.task")).setup(INFO)


def test_close_without_setup() -> None:
    """A processor that was never set up can be closed."""
    FaceLandmarksProcessor().close()


@pytest.mark.parametrize(
    "options",
    [
        {"model": "best"},
        {"min_tracking_confidence": 1.5},
        {"modle": "attention"},
        {"blendshapes": True},
        {"engine": "litert"},
    ],
)
def test_options_are_checked(options: dict[str, Any]) -> None:
    """Unknown models, confidences outside 0..1, unknown options, and what a model cannot do are refused."""
    with pytest.raises(ValidationError):
        FaceLandmarksProcessor.Options(**options)


def test_models_are_named() -> None:
    """The framework is told which file the options need; none when the user brings one."""
    options = FaceLandmarksProcessor.Options
    assert [m.name for m in FaceLandmarksProcessor.models(options())] == ["face_landmarks/attention"]
    assert [m.name for m in FaceLandmarksProcessor.models(options(model="official"))] == ["face_landmarks/official"]
    assert not FaceLandmarksProcessor.models(options(model_path="x.task"))


def test_every_field_is_described() -> None:
    """The result says the unit of every field, and declares a missing face an incident."""
    metrics = {m.name: m for m in metrics_of(FaceLandmarks)}
    assert all(m.unit and m.description for m in metrics.values())
    assert metrics["face_present"].incident is not None
    assert metrics["points_px"].shape == (478, 2)
    assert not metrics["points_px"].recorded


def test_index_of_the_joined_outputs() -> None:
    """Each point takes its coordinates from its own place: x before y, refined points from the refining outputs."""
    index = landmark_index()
    assert index.shape == (478, 3)
    floats = 1404 + 160 + 2 * 142 + 2 * 10
    assert index[[PRESENCE_POINT, UNIT_POINT], 2].tolist() == [floats, floats + 1]
    assert np.delete(index, [PRESENCE_POINT, UNIT_POINT], axis=0).max() < floats
    assert (index[:, 1] == index[:, 0] + 1).all()
    assert index[1].tolist() == [3, 4, 5]
    assert index[61].tolist() == [1404, 1405, 3 * 61 + 2]
    assert (index[468:, 0] >= 1404 + 160 + 2 * 142).all()


@pytest.mark.slow
def test_bundle_is_reproducible(attention_model: Path, tmp_path: Path) -> None:
    """Building the bundle again, from the same wheel, gives the same bytes."""
    (model,) = FaceLandmarksProcessor.models(FaceLandmarksProcessor.Options())
    try:
        model.obtain(tmp_path / "again.task")
    except ModelError as error:
        pytest.skip(str(error))
    hashes = {hashlib.sha256(path.read_bytes()).digest() for path in (attention_model, tmp_path / "again.task")}
    assert len(hashes) == 1


def child(code: str) -> subprocess.CompletedProcess[str]:
    """Run code in another interpreter; its output is captured."""
    env = dict(os.environ, PYTHONPATH=os.pathsep.join(p for p in sys.path if p))
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=env)


def test_import_is_light() -> None:
    """Importing the processor, as `vision list` does, does not import MediaPipe."""
    done = child("import sys, processors.face_landmarks; print('mediapipe' in sys.modules)")
    assert (done.stdout, done.returncode) == ("False\n", 0), done.stderr


def test_is_silent(attention_model: Path) -> None:
    """Neither MediaPipe, TFLite nor matplotlib write on the user's terminal."""
    done = child(
        "import numpy as np\n"
        "from processors.face_landmarks import FaceLandmarksProcessor\n"
        "from vision import ClockQuality, Frame, Picture, StreamInfo\n"
        "planes = [np.full(s, 128, np.uint8) for s in ((240, 320), (120, 160), (120, 160))]\n"
        "processor = FaceLandmarksProcessor()\n"
        "processor.setup(StreamInfo(live=False))\n"
        "processor.process(Frame(0, 0.0, 0.0, ClockQuality('file', 0.0), maybe_picture=Picture(*planes)))\n"
        "processor.close()\n"
    )
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


def test_results_are_read_where_they_lie(official_model: Path, head: DrawnHead) -> None:
    """With the private names of this MediaPipe, and to the bit what its documented call gives; without a face, nothing.

    Fails where a new MediaPipe has other names: the documented call then serves, at a seventh more CPU time.
    """
    pictures = [head.frame(i / 30, mouth=i / 4).picture for i in range(4)]
    pictures.append(frame_of(np.full((1080, 1280), 128, np.uint8), 0.2).picture)
    direct, documented = (_all_detected(official_model, way, pictures) for way in (in_place, by_objects))
    assert direct[-1] is documented[-1] is None
    for one, other in zip(direct[:-1], documented[:-1], strict=True):
        assert one is not None
        assert other is not None
        assert one[0].shape == (478, 3)
        assert one[1] is not None
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])


def _all_detected(model: Path, way: Callable[[Any], Detect | None], pictures: list[Picture]) -> list[Any]:
    with running(model="official", model_path=model, blendshapes=True) as processor:
        landmarker: Any = processor._engine
        detect = way(landmarker._task)
        assert detect is not None
        return [detect(landmarker._image(picture), 1_000_000 * i) for i, picture in enumerate(pictures, 1)]


def test_contours_are_those_of_mediapipe() -> None:
    """The lines that are drawn join the points that MediaPipe's own tables join."""
    from mediapipe.tasks.python.vision.face_landmarker import FaceLandmarksConnections as Tables

    tables = (Tables.FACE_LANDMARKS_CONTOURS, Tables.FACE_LANDMARKS_LEFT_IRIS, Tables.FACE_LANDMARKS_RIGHT_IRIS)
    theirs = {frozenset((edge.start, edge.end)) for table in tables for edge in table}
    assert {frozenset(edge) for path in CONTOURS for edge in pairwise(path)} == theirs
