"""frame_quality and frame_statistics say what libav's own filters say, to the last digit that these print."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from processors.frame_quality import FrameQuality, FrameQualityProcessor, FrameStatistics, FrameStatisticsProcessor
from tests.processors.footage import FPS, Image, as_picture, filling, filtered, simulated
from vision import ClockQuality, Frame
from vision.simulator.settings import Fault, SimulatorSettings

pytestmark = pytest.mark.slow

SIZES = {360: (640, 360), 720: (1280, 720)}
CLIPS = ("sad_WDA_AlexandriaOcasioCortez_000.mp4", "vrt_1.mp4", "r3d_May_5s.mp4", "pcavs_Input_00002.mp4")
EACH = 10  # pictures of a clip
FAULTS = [
    Fault(kind=kind, start_s=0.1 + 0.1 * place, duration_s=0.1)
    for place, kind in enumerate(("blur", "noise", "blockiness", "black"))
]
LEVELS = ("min", "low", "high", "max")


def pictures(media: Path, height: int) -> list[Image]:
    """Real and simulated ones, some of these blurred, noisy, blocky or black; 54 of them."""
    size = SIZES[height]
    real = [image for name in CLIPS for image in filling(media / name, size, EACH)]
    drawn = simulated(SimulatorSettings(size=size, seed=3, faults=FAULTS), 14 / FPS)
    return real + [image.copy() for _, image in drawn]


def measured(images: list[Image], full_range: bool) -> Iterator[tuple[FrameQuality, FrameStatistics]]:
    """What both processors say."""
    quality, statistics = FrameQualityProcessor(), FrameStatisticsProcessor()
    for index, image in enumerate(images):
        picture = as_picture(image, full_range=full_range)
        frame = Frame(index, index / FPS, index / FPS, ClockQuality("file", 0.0), maybe_picture=picture)
        yield quality.process(frame), statistics.process(frame)


@pytest.mark.parametrize("full_range", [False, True], ids=["limited", "full"])
@pytest.mark.parametrize("height", SIZES)
def test_it_is_what_the_filters_say(media: Path, height: int, full_range: bool) -> None:
    """signalstats, siti, entropy and scdet in one graph, on more than 50 pictures at each size and range."""
    images = pictures(media, height)
    assert len(images) > 50
    told = filtered(images, "signalstats", "siti", "entropy", "scdet", full_range=full_range)
    for index, ((quality, statistics), said) in enumerate(zip(measured(images, full_range), told, strict=True)):
        _agrees_with_signalstats(quality, statistics, said, first=index == 0)
        assert statistics.si == pytest.approx(float(said["lavfi.siti.si"]), abs=0.00501)
        for letter in "yuv":
            # the filter adds up in single precision
            bits = float(said[f"lavfi.entropy.entropy.normal.{letter.upper()}"])
            assert getattr(statistics, f"entropy_{letter}") == pytest.approx(bits, rel=1e-6, abs=1e-6)
        _agree_on_samples(quality, statistics)
        if index:
            assert quality.ti == pytest.approx(float(said["lavfi.siti.ti"]), abs=0.00501)
            assert quality.scene_score == pytest.approx(float(said["lavfi.scd.score"]), abs=0.000501)


def _agree_on_samples(quality: FrameQuality, statistics: FrameStatistics) -> None:
    """What frame_quality takes of 180 rows is what frame_statistics takes of all, within what rows differ by."""
    assert quality.entropy == pytest.approx(statistics.entropy_y, abs=0.05)
    assert quality.saturation == pytest.approx(statistics.satavg, abs=0.2)


def _agrees_with_signalstats(
    quality: FrameQuality, statistics: FrameStatistics, said: dict[str, str], *, first: bool
) -> None:
    def value(name: str) -> float:
        return float(said[f"lavfi.signalstats.{name.upper()}"])

    for component in ("y", "u", "v", "sat"):
        for level in LEVELS:
            assert getattr(statistics, component + level) == value(component + level), component + level
        assert getattr(statistics, f"{component}avg") == pytest.approx(value(f"{component}avg"), rel=1e-5, abs=0.000501)
    assert statistics.hue_median_deg == value("huemed")
    assert statistics.hue_mean_deg == pytest.approx(value("hueavg"), rel=1e-5, abs=0.000501)
    assert quality.luma_mean * 255 == pytest.approx(statistics.yavg)
    assert (quality.u_mean * 255, quality.v_mean * 255) == pytest.approx((statistics.uavg, statistics.vavg))
    for name in ("ydif", "udif", "vdif") if not first else ():
        assert getattr(quality, name) == pytest.approx(value(name), rel=1e-5, abs=0.000501), name


@pytest.mark.parametrize("height", SIZES)
def test_blocks_are_those_of_blockdetect_in_a_fresh_graph(media: Path, height: int) -> None:
    """The filter adds up all pictures that it has seen; of one alone it says the same, to single precision."""
    for image in pictures(media, height):
        (said,) = filtered([image], "blockdetect")
        picture = as_picture(image)
        frame = Frame(0, 0.0, 0.0, ClockQuality("file", 0.0), maybe_picture=picture)
        found, told = FrameStatisticsProcessor().process(frame).blockdetect, float(said["lavfi.block"])
        if math.isnan(told):
            assert found is None  # flat
        elif math.isinf(told):
            assert found is not None  # nothing at all between blocks, for one of the periods
            assert found > 10
        else:
            assert found == pytest.approx(told, rel=2e-5, abs=1e-6)


@pytest.mark.parametrize("full_range", [False, True], ids=["limited", "full"])
def test_colourfulness_is_that_of_rgb(media: Path, full_range: bool) -> None:
    """Within 1.5 % of Hasler and Suesstrunk's M3 on RGB, which clips, of every clip."""
    for name in CLIPS:
        (image,) = filling(media / name, (640, 360), 1)
        picture = as_picture(image, full_range=full_range)
        r, g, b = (plane.astype(float) for plane in cv2.split(picture.rgb))
        rg, yb = r - g, (r + g) / 2 - b
        m3 = np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean())
        frame = Frame(0, 0.0, 0.0, ClockQuality("file", 0.0), maybe_picture=picture)
        assert FrameQualityProcessor().process(frame).colourfulness == pytest.approx(m3, rel=0.015), name
