"""face_quality: its components against OFIQ's formulas, and its figures on pictures degraded in a known way."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from processors.face_landmarks import FaceLandmarks, FaceLandmarksProcessor
from processors.face_landmarks.mesh import INNER_LIP_LOWER, INNER_LIP_UPPER
from processors.face_quality import FaceQuality, FaceQualityProcessor
from vision import Frame, Picture, StreamInfo, metrics_of
from vision.result import record_of
from vision.testing import check_processor, make_frame, make_picture

if TYPE_CHECKING:
    from tests.processors.conftest import DrawnHead

Plane = NDArray[np.uint8]
Points = NDArray[np.float32]

SIZE = (640, 480)
CROP_EYES_PX = 256 / 2.4  # distance of the outer eye corners on the crop
# fmt: off
OVAL = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
    152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)
OUTER_LIPS = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)
# fmt: on
LIDS = ((160, 144), (159, 145), (158, 153), (385, 380), (386, 374), (387, 373))
MOUTH_XY, MOUTH_RADII = (0.0, 0.95), (0.3, 0.14)
T = 1.55  # from between the eyes to the chin of the face below


def ring(centre: tuple[float, float], radii: tuple[float, float], start: float, count: int) -> Points:
    """Points on an ellipse, clockwise in the picture from an angle on."""
    angles = start + np.arange(count) * 2 * np.pi / count
    xy = np.array(centre) + np.array(radii) * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return np.asarray(xy, np.float32)


def points_of(
    eyes_px: float = CROP_EYES_PX, at: tuple[float, float] = (320, 190), lids: float = 0.1, lips: float = 0.0
) -> Points:
    """A face that looks straight ahead, px.

    :param eyes_px: distance of the outer eye corners; `lids` and `lips` are gaps, of that.
    :param at: between the eyes.
    """
    points = np.tile(np.array((0, 0.4), np.float32), (478, 1))
    points[list(OVAL)] = ring((0, 0.45), (0.85, 1.1), -np.pi / 2, 36)
    points[list(OUTER_LIPS)] = ring(MOUTH_XY, MOUTH_RADII, np.pi, 20)[::-1]
    points[[33, 133, 362, 263]] = (-0.5, 0), (-0.2, 0), (0.2, 0), (0.5, 0)
    points[2] = 0, 0.65
    for upper, lower in LIDS:
        points[[upper, lower]] = (0, -lids / 2), (0, lids / 2)
    for upper, lower in zip(INNER_LIP_UPPER, INNER_LIP_LOWER, strict=True):
        points[[upper, lower]] = (0, 0.95 - lips / 2), (0, 0.95 + lips / 2)
    return (points * eyes_px + at).astype(np.float32)


def face_of(points: Points, size: tuple[int, int] = SIZE, pose: Any = None, faces: int | None = 1) -> FaceLandmarks:
    """What `face_landmarks` gives for such points."""
    norm = np.concatenate([points / size, np.zeros((478, 1))], axis=1).astype(np.float32)
    return FaceLandmarks(face_present=True, faces=faces, points_px=points, points_norm=norm, pose_matrix=pose)


def measured(
    luma: Plane | int = 128, points: Points | None = None, *, full_range: bool = False, **more: Any
) -> FaceQuality:
    """What the processor says of a face in a picture."""
    picture = make_picture(luma, width=SIZE[0], height=SIZE[1])
    picture = Picture(*picture.planes, full_range=full_range)
    face = face_of(points_of() if points is None else points, (picture.width, picture.height), **more)
    result = FaceQualityProcessor().process(make_frame(picture), face)
    assert result is not None
    return result


def texture(size: tuple[int, int] = SIZE, block: int = 24) -> Plane:
    """Squares of two greys, a little out of focus: edges everywhere, all equally sharp."""
    w, h = size
    greys = np.random.default_rng(1).choice(np.array([60, 180], np.uint8), (h // block + 1, w // block + 1))
    squares = np.kron(greys, np.ones((block, block), np.uint8))[:h, :w]
    return np.asarray(cv2.GaussianBlur(squares, (0, 0), block / 24), np.uint8)


def blurred(luma: Plane, sigma: float) -> Plane:
    """A picture out of focus."""
    return np.asarray(cv2.GaussianBlur(luma, (0, 0), sigma), np.uint8)


def mouth_blurred(luma: Plane, sigma: float, points: Points) -> Plane:
    """A picture out of focus in the box around the mouth, from the base of the nose to the chin."""
    eyes_px = float(np.linalg.norm(points[263] - points[33]))
    lips = points[list(OUTER_LIPS)]
    x, low = float(lips[:, 0].mean()), float(lips[:, 1].max())
    x0, x1 = max(int(x - 0.45 * eyes_px), 0), int(x + 0.45 * eyes_px)
    y0, y1 = max(int(points[2, 1]) + 2, 0), int(low + 0.25 * eyes_px)
    out = luma.copy()
    out[y0:y1, x0:x1] = blurred(luma, sigma)[y0:y1, x0:x1]
    return out


def rotation(yaw: float, pitch: float, roll: float) -> NDArray[np.float64]:
    """A pose: nodded up, then turned to the subject's left, then tilted counter-clockwise; degrees."""
    (cy, cp, cr), (sy, sp, sr) = np.cos(np.radians((yaw, pitch, roll))), np.sin(np.radians((yaw, pitch, roll)))
    about_x = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    pose = np.eye(4)
    pose[:3, :3] = about_z @ about_y @ about_x
    return pose


# --- components ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("gap", "quality"), [(0, 12), (0.02, 50), (0.03, 73), (0.05, 95), (0.1, 100)])
def test_eyes_open(gap: float, quality: int) -> None:
    """100 / (1 + exp((0.02 - x) / 0.01)) of the gap of the lids over T."""
    result = measured(points=points_of(lids=gap * T))
    assert result.eyes_open == pytest.approx(gap, abs=1e-5)
    assert result.eyes_open_quality == quality == round(100 / (1 + math.exp((0.02 - gap) / 0.01)))


def test_the_eye_that_is_less_open_counts() -> None:
    """One closed eye is enough."""
    points = points_of(lids=0.1)
    points[[386, 385, 387]] = points[[374, 380, 373]]
    assert measured(points=points).eyes_open == 0


@pytest.mark.parametrize(("gap", "quality"), [(0, 97), (0.1, 84), (0.2, 50), (0.4, 3)])
def test_mouth_closed(gap: float, quality: int) -> None:
    """100 (1 - 1 / (1 + exp((0.2 - x) / 0.06))) of the gap of the inner lips over T."""
    result = measured(points=points_of(lips=gap * T))
    assert result.mouth_open == pytest.approx(gap, abs=1e-5)
    assert result.mouth_closed_quality == quality == round(100 - 100 / (1 + math.exp((0.2 - gap) / 0.06)))


@given(yaw=st.floats(-80, 80), pitch=st.floats(-80, 80), roll=st.floats(-170, 170))
def test_pose(yaw: float, pitch: float, roll: float) -> None:
    """Each angle is that of the pose, and its component the square of its cosine."""
    result = measured(pose=rotation(yaw, pitch, roll))
    assert (result.yaw_deg, result.pitch_deg, result.roll_deg) == pytest.approx((yaw, pitch, roll), abs=1e-6)
    for angle, quality in ((yaw, result.yaw_quality), (pitch, result.pitch_quality), (roll, result.roll_quality)):
        assert quality == pytest.approx(100 * math.cos(math.radians(angle)) ** 2, abs=0.5001)


def test_without_a_pose_nothing_that_needs_it_is_measured() -> None:
    """Angles and the distance of the eyes are None, the rest is there."""
    result = measured(texture())
    assert (result.yaw_deg, result.roll_quality, result.inter_eye_px, result.inter_eye_quality) == (None,) * 4
    assert result.eyes_open is not None
    assert result.face_sharpness is not None


@pytest.mark.parametrize(("pixels", "quality"), [(70, 50), (110, 88), (20, 8)])
def test_inter_eye_distance(pixels: float, quality: int) -> None:
    """100 / (1 + exp((70 - x) / 20)) of the distance of the middles of the eyes."""
    result = measured(points=points_of(eyes_px=pixels / 0.7), pose=rotation(0, 0, 0))
    assert result.inter_eye_px == pytest.approx(pixels, rel=1e-5)
    assert result.inter_eye_quality == quality


def test_inter_eye_distance_is_that_of_a_head_not_turned() -> None:
    """A head turned by 60 degrees shows half of it."""
    straight, turned = (measured(pose=rotation(yaw, 0, 0)).inter_eye_px for yaw in (0, 60))
    assert straight is not None
    assert turned == pytest.approx(2 * straight)


@pytest.mark.parametrize(("size", "quality"), [(0.45, 100), (0.5, 54), (0.4, 54), (0.2, 1)])
def test_head_size(size: float, quality: int) -> None:
    """200 (1 - 1 / (1 + exp(-|x - 0.45| / 0.05))) of T over the height of the picture."""
    result = measured(points=points_of(eyes_px=size * SIZE[1] / T))
    assert result.head_size == pytest.approx(size, abs=1e-5)
    assert result.head_size_quality == quality


def test_margins() -> None:
    """From the edges to the eyes, over the distance of the eyes (sides) and over T (top and bottom)."""
    result = measured(points=points_of(eyes_px=100, at=(98, 200)))
    assert result.margin_left == pytest.approx((98 - 35) / 70)
    assert result.margin_right == pytest.approx((640 - 98 - 35) / 70)
    assert result.margin_top == pytest.approx(200 / 155)
    assert result.margin_bottom == pytest.approx(280 / 155)
    qualities = [getattr(result, f"margin_{side}_quality") for side in ("left", "right", "top", "bottom")]
    assert qualities == [50, 100, round(100 / (1 + math.exp((1.4 - 200 / 155) / 0.1))), 52]


@pytest.mark.parametrize(("dx", "share"), [(0, 1.0), (-320, 0.5), (320, 0.5), (-2000, 0.0)])
def test_share_of_the_face_inside_the_picture(dx: float, share: float) -> None:
    """A face whose middle is on the edge is half inside."""
    assert measured(points=points_of(at=(320 + dx, 190))).face_inside == pytest.approx(share, abs=1e-4)


@pytest.mark.parametrize(("faces", "single"), [(1, True), (2, False), (None, None)])
def test_single_face(faces: int | None, single: bool | None) -> None:
    """One face and no other; not known where they were not counted."""
    assert measured(faces=faces).single_face is single


# --- light ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("luma", "full_range", "over", "under"),
    [
        (232, False, 1, 0),
        (231, False, 0, 0),
        (93, False, 0, 0),
        (92, False, 0, 1),
        (252, True, 1, 0),
        (251, True, 0, 0),
    ],
)
def test_exposure_begins_and_ends_where_it_is_defined(luma: int, full_range: bool, over: int, under: int) -> None:
    """Linear light of 247 and 25, of 255, is luma of 231.4 and 92.6 in video, and of 251.4 in full range."""
    result = measured(luma, full_range=full_range)
    assert (result.over_exposed, result.under_exposed) == (over, under)
    assert result.over_exposure_quality == (1 if over else 100)
    assert result.under_exposure_quality == (0 if under else 100)


def luminance(luma: NDArray[np.float64]) -> NDArray[np.float64]:
    """Linear light 0..255 of luma of video (IEC 61966-2-1)."""
    signal = np.clip((luma - 16) / 219, 0, 1)
    return 255 * np.where(signal > 0.04045, ((signal + 0.055) / 1.055) ** 2.4, signal / 12.92)


@pytest.mark.parametrize(("gain", "offset"), [(1, 0), (0.5, 0), (1, 60), (1.5, -40), (2, 30)])
def test_gain_and_offset_move_exposure_as_defined(gain: float, offset: float) -> None:
    """On a ramp across the face, the shares are those that the definition gives for the ramp."""
    points = points_of(at=(320, 190))
    columns = np.clip((np.linspace(16, 235, 182) * gain + offset).round(), 0, 255)
    luma = np.full((480, 640), 128, np.uint8)
    luma[:, 229:411] = columns
    face = ((np.arange(640) + 0.5 - 320) / (0.85 * CROP_EYES_PX)) ** 2
    heights = np.sqrt(np.clip(1 - face, 0, None))[229:411]  # of the ellipse at each column
    result = measured(luma, points)
    assert result.over_exposed == pytest.approx(heights[luminance(columns) >= 246.5].sum() / heights.sum(), abs=0.01)
    assert result.under_exposed == pytest.approx(heights[luminance(columns) < 25.5].sum() / heights.sum(), abs=0.01)


def test_exposure_is_that_of_the_face_alone() -> None:
    """A bright wall and a dark shirt do not count."""
    luma = np.full((480, 640), 255, np.uint8)
    luma[380:] = 0
    face = cv2.convexHull(points_of()[list(OVAL)]).astype(np.int32)
    cv2.fillConvexPoly(luma, face, 128)
    cv2.polylines(luma, [face], True, 128, 5)  # the outline is of both
    result = measured(luma)
    assert (result.over_exposed, result.under_exposed) == (0, 0)


def test_dynamic_range_is_entropy() -> None:
    """One grey has none; two halves have 1 bit, and 12.5 of 100."""
    luma = np.full((480, 640), 120, np.uint8)
    assert measured(luma).dynamic_range == 0
    luma[:, 320:] = 180
    result = measured(luma)
    assert result.dynamic_range == pytest.approx(1, abs=1e-3)
    assert result.dynamic_range_quality == pytest.approx(12.5, abs=0.02)


# --- sharpness -----------------------------------------------------------------------------------------------------


def increases(values: Sequence[float | None]) -> bool:
    """Each is greater than the one before."""
    known = [value for value in values if value is not None]
    return len(known) == len(values) and all(a < b for a, b in pairwise(known))


def test_blur_lowers_sharpness() -> None:
    """The more the whole face is blurred, the lower both measures of sharpness; its mouth is no different."""
    results = [measured(blurred(texture(), sigma)) for sigma in (2, 1.5, 1, 0.5)]
    assert increases([r.face_sharpness for r in results])
    assert increases([r.face_tenengrad for r in results])
    for result in results:
        assert result.mouth_sharpness_ratio == pytest.approx(measured(texture()).mouth_sharpness_ratio or 0, rel=0.25)
        assert result.mouth_extra_blur_px == pytest.approx(0, abs=0.7)


def test_a_blurred_mouth_lowers_the_ratio_alone() -> None:
    """The more the mouth alone is blurred, the lower the ratio; the face above is as it was."""
    points = points_of()
    sharp = measured(texture())
    results = [measured(mouth_blurred(texture(), sigma, points)) for sigma in (3, 2, 1.5, 1, 0.5)]
    assert increases([*(r.mouth_sharpness_ratio for r in results), sharp.mouth_sharpness_ratio])
    for result in (sharp, *results):
        assert result.mouth_sharpness is not None
        assert result.mouth_sharpness_ratio is not None
        above = result.mouth_sharpness / result.mouth_sharpness_ratio
        assert above == pytest.approx((sharp.mouth_sharpness or 0) / (sharp.mouth_sharpness_ratio or 1))


@pytest.mark.parametrize("enlarged", [1, 2])
@pytest.mark.parametrize("sigma", [1.0, 1.5, 2.0])
def test_extra_blur_is_the_blur(sigma: float, enlarged: int) -> None:
    """What is found beyond the blur of the face is the blur of the mouth, in px of the crop, also of a larger face."""
    size = (SIZE[0] * enlarged, SIZE[1] * enlarged)
    points = points_of(enlarged * CROP_EYES_PX, (320 * enlarged, 190 * enlarged))
    luma = mouth_blurred(texture(size, 24 * enlarged), sigma * enlarged, points)
    assert measured(luma, points).mouth_extra_blur_px == pytest.approx(sigma, rel=0.2)


def test_extra_blur_does_not_depend_on_contrast() -> None:
    """Lips that are paler, or of more contrast than the face, are as sharp as it."""
    points, luma = points_of(), texture()
    mouth = np.zeros_like(luma)
    cv2.fillConvexPoly(mouth, cv2.convexHull(points[list(OUTER_LIPS)]).astype(np.int32), 1)
    mouth = np.asarray(cv2.dilate(mouth, np.ones((15, 15))), np.uint8)
    pale = np.where(mouth, 60 + luma / 2, luma).astype(np.uint8)
    plain, changed = measured(luma), measured(pale)
    assert changed.mouth_sharpness_ratio == pytest.approx((plain.mouth_sharpness_ratio or 0) / 4, rel=0.25)
    assert changed.mouth_extra_blur_px == pytest.approx(plain.mouth_extra_blur_px or 0, abs=0.3)


def test_figures_do_not_depend_on_the_size_of_the_picture() -> None:
    """A picture of twice the size gives the same, but for the distance of the eyes in px."""
    one = measured(texture(), points_of(150, (320, 160)), pose=rotation(5, 6, 7))
    other = measured(texture((1280, 960), 48), points_of(300, (640, 320)), pose=rotation(5, 6, 7))
    assert other.inter_eye_px == pytest.approx(2 * (one.inter_eye_px or 0))
    for info in metrics_of(FaceQuality):
        if info.name.startswith("inter_eye") or info.name == "mouth_extra_blur_px":  # the latter has a test of its own
            continue
        tolerance = 0.2 if info.name.startswith("mouth_sharpness") else 0.03  # few edges lie on the mouth
        assert getattr(other, info.name) == pytest.approx(getattr(one, info.name), rel=tolerance), info.name


def test_a_face_beyond_the_edge_is_measured_on_what_is_seen() -> None:
    """Half a face is measured, one that lies outside is not; the figures of its points are there."""
    half, outside = (measured(texture(), points_of(at=(x, 190))) for x in (0, -2000))
    assert half.face_sharpness is not None
    assert half.dynamic_range is not None
    assert (outside.face_sharpness, outside.dynamic_range, outside.mouth_extra_blur_px) == (None, None, None)
    assert outside.eyes_open is not None


def test_no_face_is_not_measured() -> None:
    """Nothing for a picture without a face, nor where faces were not looked for."""
    processor = FaceQualityProcessor()
    assert processor.process(make_frame(), FaceLandmarks(face_present=False)) is None
    assert processor.process(make_frame(), None) is None
    assert check_processor(FaceQualityProcessor) == [None] * 10


@given(
    seed=st.integers(0, 999),
    spread=st.sampled_from([0.0, 1e-3, 5.0, 200.0, 1e4]),
    at=st.tuples(st.floats(-1000, 1000), st.floats(-1000, 1000)),
    size=st.tuples(st.integers(1, 300), st.integers(1, 300)),
)
def test_figures_stay_in_their_ranges(seed: int, spread: float, at: tuple[float, float], size: tuple[int, int]) -> None:
    """Whatever the points and the picture, every figure lies in the range that its field declares, or is None."""
    rng = np.random.default_rng(seed)
    points = (rng.normal(0, spread, (478, 2)) + at).astype(np.float32)
    luma = rng.integers(0, 256, size[::-1], np.uint8)
    result = measured(luma, points, pose=rotation(*rng.uniform(-180, 180, 3)))
    assert set(record_of(result, metrics_of(FaceQuality))) == {info.name for info in metrics_of(FaceQuality)}


# --- real faces ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def landmarks(attention_model: Path) -> Iterator[FaceLandmarksProcessor]:
    """Finds faces."""
    processor = FaceLandmarksProcessor()
    processor.setup(StreamInfo(live=False))
    yield processor
    processor.close()


def test_a_drawn_head(landmarks: FaceLandmarksProcessor, head: DrawnHead) -> None:
    """It looks ahead, is whole, and its eyes and mouth are told open from closed."""
    results = []
    for mouth, blink in ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0)):
        landmarks.reset("reconnect")
        frame = head.frame(0.0, mouth=mouth, blink=blink)
        results.append(FaceQualityProcessor().process(frame, landmarks.process(frame)))
    shut, speaking, blinking = results
    assert shut is not None
    assert speaking is not None
    assert blinking is not None
    assert shut.single_face is True
    assert shut.face_inside == pytest.approx(1)
    assert abs(shut.yaw_deg or 90) < 5
    assert abs(shut.roll_deg or 90) < 5
    assert (shut.eyes_open_quality or 0) > 90
    assert (shut.mouth_closed_quality or 0) > 90
    assert (speaking.mouth_closed_quality or 100) < 60
    assert (blinking.eyes_open or 1) < 0.5 * (shut.eyes_open or 0)


def separation(natural: Sequence[float], other: Sequence[float]) -> float:
    """Area under the ROC curve: how often a value of the one is above a value of the other."""
    return float((np.array(natural)[:, None] > np.array(other)).mean())


LARGE = ("lp_d14.mp4", "lp_d18.mp4", "lp_s18.mp4", "r3d_May_5s.mp4", "vrt_1.mp4", "vrt_3.mp4", "vrt_5.mp4")
SMALL = ("grid_bbaf2n.mpg", "grid_lbax4n.mpg", "grid_pwij3p.mpg", "pcavs_Audio_00015.mp4", "pcavs_Input_00010.mp4")


@pytest.mark.parametrize(
    ("clips", "least_by_width", "least_by_ratio"), [(LARGE, 0.95, 0.85), (LARGE + SMALL, 0.9, 0.8)]
)
def test_blurred_mouths_are_told_from_natural_ones(
    landmarks: FaceLandmarksProcessor,
    frames_of_clip: Callable[[str], Iterator[Frame]],
    clips: tuple[str, ...],
    least_by_width: float,
    least_by_ratio: float,
) -> None:
    """Over talkers of all kinds, pictures and the same with the mouth blurred by 1 px of the crop are two groups."""
    natural, soft = [], []
    for clip in clips:
        landmarks.reset("reconnect")
        for frame in islice(frames_of_clip(clip), 0, 120, 6):
            face = landmarks.process(frame)
            if face.points_px is None or face.inter_ocular_px is None:
                continue
            natural.append(FaceQualityProcessor().process(frame, face))
            y = mouth_blurred(frame.picture.y, face.inter_ocular_px / CROP_EYES_PX, face.points_px)
            picture = Picture(y, frame.picture.u, frame.picture.v)
            soft.append(FaceQualityProcessor().process(make_frame(picture), face))
    by_width = separation(*([-(r.mouth_extra_blur_px or 0) for r in group if r] for group in (natural, soft)))
    by_ratio = separation(*([r.mouth_sharpness_ratio or 0 for r in group if r] for group in (natural, soft)))
    assert len(natural) > 15 * len(clips)
    assert by_width > least_by_width
    assert by_ratio > least_by_ratio
