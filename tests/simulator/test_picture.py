"""The picture: the mouth and lids that were asked for, always in motion, and faults that show."""

from itertools import pairwise

import cv2
import numpy as np
import pytest

from vision.simulator import Fault, SimulatorSettings
from vision.simulator.director import Director
from vision.simulator.faults import FaultPlan
from vision.simulator.picture import BLINK_LEVELS, MOUTH_LEVELS, Painter, Plane, Planes, drawn, likeness
from vision.simulator.portrait import Expression
from vision.simulator.show import Talk
from vision.simulator.truth import Truth
from vision.simulator.turns import Turns

SIZE = (640, 360)


def painted(mouth: float = 0.0, blink: float = 0.0, sway: tuple[float, float] = (0.0, 0.0)) -> Plane:
    """A picture of its own."""
    return Painter(likeness(*SIZE)).paint(Expression(mouth, blink), sway).copy()


def luma(i420: Plane, left: float, top: float, right: float, bottom: float) -> Plane:
    """The part of the luma between fractions of the width and height."""
    height, width = Planes.of(i420).y.shape
    return Planes.of(i420).y[int(top * height) : int(bottom * height), int(left * width) : int(right * width)]


def director(*faults: Fault) -> Director:
    """Takes pictures of seed 1."""
    return Director(Talk(SimulatorSettings(size=SIZE), Turns()), FaultPlan(faults), seed=1)


def truths(*faults: Fault, start_s: float, count: int) -> list[Truth | None]:
    """The truth of pictures 1/30 s apart; `None` for each that is dropped."""
    behind = director(*faults)
    taken = [behind.shot(start_s + index / 30) for index in range(count)]
    return [None if shot is None else shot.truth for shot in taken]


def pictures(*faults: Fault, start_s: float, count: int) -> list[Plane]:
    """Pictures 1/30 s apart, each with memory of its own."""
    behind, taken = director(*faults), []
    for index in range(count):
        shot = behind.shot(start_s + index / 30)
        assert shot is not None
        taken.append(shot.i420.copy())
    return taken


def difference(one: Plane, other: Plane) -> float:
    """Mean absolute difference over all samples."""
    return float(abs(one.astype(int) - other).mean())


def test_planes_are_views() -> None:
    """The three planes have their sizes and write through."""
    i420 = np.zeros((54, 64), np.uint8)
    y, u, v = Planes.of(i420)
    assert (y.shape, u.shape, v.shape) == ((36, 64), (18, 32), (18, 32))
    v[:] = 7
    assert i420.sum() == 7 * v.size


def test_the_dark_of_the_mouth_grows_with_the_opening() -> None:
    """More opening, more dark pixels, in nearly every step of the scale and over all of it."""
    areas = []
    for level in range(MOUTH_LEVELS + 1):
        mouth = luma(painted(mouth=level / MOUTH_LEVELS), 0.44, 0.54, 0.56, 0.75)
        areas.append(int((mouth < 60).sum()))
    from_some = np.array(areas[8:])
    assert (np.diff(from_some[::4]) > 0).all()
    assert np.corrcoef(from_some, np.arange(len(from_some)))[0, 1] > 0.97


def test_lids_cover_the_eyes() -> None:
    """A blink hides the white and the dark of the eyes."""
    spread = [float(luma(painted(blink=k / BLINK_LEVELS), 0.40, 0.38, 0.60, 0.46).max()) for k in (0, BLINK_LEVELS)]
    assert spread[0] > spread[1] + 20


def test_truth_says_what_is_drawn() -> None:
    """The expression is rounded to the nearest prepared one, by at most half a step."""
    face = drawn(Expression(0.3333, 0.8))
    assert abs(face.mouth_opening - 0.3333) <= 0.5 / MOUTH_LEVELS
    assert abs(face.blink - 0.8) <= 0.5 / BLINK_LEVELS


@pytest.mark.parametrize("size", [(64, 64), (320, 180), (360, 640), (1280, 720)])
def test_any_size_can_be_drawn(size: tuple[int, int]) -> None:
    """Small, tall and wide pictures are drawn whole."""
    i420 = Painter(likeness(*size)).paint(Expression(0.5, 0.5), (1.0, -1.0))
    assert i420.shape == (size[1] * 3 // 2, size[0])
    assert Planes.of(i420).y.std() > 20


def test_the_picture_never_stands_still() -> None:
    """Pictures a thirtieth of a second apart differ by more than a freeze detector's threshold, in pauses too."""
    taken = pictures(start_s=0.0, count=12)
    assert min(difference(one, other) for one, other in pairwise(taken)) > 0.3


def test_a_freeze_repeats_its_first_picture() -> None:
    """All pictures of a freeze are one, its truth included; after it the picture has moved on."""
    fault = Fault(kind="freeze", start_s=1.0, duration_s=0.5)
    taken = pictures(fault, start_s=0.9, count=22)
    still = [difference(one, other) == 0 for one, other in pairwise(taken)]
    assert still == [3 <= index < 17 for index in range(21)]
    said = [truth for truth in truths(fault, start_s=1.0, count=15) if truth is not None]
    assert len({(truth.mouth_opening, truth.blink) for truth in said}) == 1
    assert len({truth.time_s for truth in said}) == 15
    assert all(truth.faults == ["freeze"] for truth in said)


def test_black_is_black() -> None:
    """Black is 16, 128, 128, and the truth keeps what is hidden under it."""
    fault = Fault(kind="black", start_s=1.0, duration_s=1.0)
    (picture,) = pictures(fault, start_s=1.5, count=1)
    assert [np.unique(plane).tolist() for plane in Planes.of(picture)] == [[16], [128], [128]]
    (hidden,), (shown,) = truths(fault, start_s=1.5, count=1), truths(start_s=1.5, count=1)
    assert hidden is not None
    assert shown is not None
    assert hidden.mouth_opening == shown.mouth_opening


def sharpness(i420: Plane) -> float:
    """Variance of the Laplacian of the luma."""
    return float(cv2.Laplacian(Planes.of(i420).y, cv2.CV_32F).var())


def test_blur_noise_and_blockiness_show() -> None:
    """Blur takes the detail away, noise adds some, and blocks are flat inside."""
    clean, blurred, noisy, blocky = (
        pictures(*faults, start_s=1.0, count=1)[0]
        for faults in ((), *((Fault(kind=kind, start_s=0, duration_s=9),) for kind in ("blur", "noise", "blockiness")))
    )
    assert sharpness(blurred) < 0.1 * sharpness(clean)
    assert sharpness(noisy) > 10 * sharpness(clean)
    noise = Planes.of(noisy).y.astype(int) - Planes.of(clean).y
    assert noise.std() == pytest.approx(20, abs=1)
    blocks = Planes.of(blocky).y.reshape(45, 8, 80, 8)
    assert (blocks == blocks[:, :1, :, :1]).all()


def test_dropped_pictures_are_not_taken() -> None:
    """A drop leaves out exactly the pictures of its stretch."""
    said = truths(Fault(kind="drop", start_s=1.0, duration_s=0.2), start_s=0.9, count=12)
    assert [truth is None for truth in said] == [3 <= index < 9 for index in range(12)]


def test_the_mouth_can_be_still_while_the_voice_goes_on_and_the_other_way_round() -> None:
    """`mouth_still` draws it shut, `mouth_moving` moves it without speaking."""
    for kind, moves, speaks in (("mouth_still", False, True), ("mouth_moving", True, False)):
        fault = Fault.model_validate({"kind": kind, "start_s": 0.0, "duration_s": 9.0})
        said = [truth for truth in truths(fault, start_s=0.5, count=60) if truth is not None]
        assert any(truth.mouth_opening > 0.4 for truth in said) == moves
        assert any(truth.speaking for truth in said) == speaks
