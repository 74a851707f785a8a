"""frame_quality: agreement with its definitions and with libav's filters, and planted faults in encoded streams."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import fields
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.frame_quality import FrameQuality, FrameQualityProcessor, FrameStatistics, FrameStatisticsProcessor
from tests.processors.footage import FPS, Image, as_picture, filtered
from vision import ClockQuality, Frame, Picture, metrics_of
from vision.testing import check_processor

if TYPE_CHECKING:
    from tests.processors.conftest import DrawnHead

RULES = {m.name: m.incident for m in metrics_of(FrameQuality) if m.incident}


def picture_from(video: av.VideoFrame) -> Picture:
    """A decoded picture."""
    return as_picture(np.asarray(video.to_ndarray(format="yuv420p"), np.uint8))


def measure(pictures: Iterable[Picture], **options: Any) -> list[FrameQuality]:
    """What the processor says of pictures at 30 fps."""
    processor = FrameQualityProcessor(FrameQualityProcessor.Options(**options))
    clock = ClockQuality("file", 0.0)
    frames = (Frame(i, i / FPS, i / FPS, clock, maybe_picture=p) for i, p in enumerate(pictures))
    return [processor.process(frame) for frame in frames]


def noise(seed: int, shape: tuple[int, int] = (96, 128), high: int = 256) -> Image:
    """An I420 picture of random samples."""
    h, w = shape
    return np.random.default_rng(seed).integers(0, high, (h * 3 // 2, w), np.uint8)


def flat(y: int, shape: tuple[int, int] = (96, 128)) -> Image:
    """An I420 picture of one grey."""
    h, w = shape
    return np.concatenate([np.full((h, w), y, np.uint8), np.full((h // 2, w), 128, np.uint8)])


def intervals(flags: Iterable[bool | None]) -> list[tuple[int, int]]:
    """Stretches of true as (first, past the last)."""
    edges = np.flatnonzero(np.diff([0, *(bool(f) for f in flags), 0]))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


def incidents(results: list[FrameQuality], name: str, fps: float = FPS) -> list[tuple[int, int]]:
    """Those stretches of a metric that are long enough for its incident."""
    found = intervals(getattr(r, name) for r in results)
    return [(a, b) for a, b in found if (b - a) / fps >= RULES[name].min_s]


# --- figures -------------------------------------------------------------------------------------------------------


def test_agrees_with_plain_arithmetic() -> None:
    """Mean, contrast and sharpness are those that floating point gives on the same luma."""
    y = noise(1)[:96]
    (result,) = measure([as_picture(noise(1))])
    assert result.luma_mean * 255 == pytest.approx(y.mean())
    assert result.contrast_rms * 255 == pytest.approx(y.std())
    assert result.sharpness == pytest.approx(cv2.Laplacian(y, cv2.CV_64F).var())
    assert result.black_ratio == (y <= 37).mean()


def test_mafd_is_of_all_samples() -> None:
    """As libav's freezedetect has it: the differences of the planes, by their sizes, over 256."""
    first, second = noise(1), noise(2)
    result = measure(map(as_picture, (first, second)))[1]
    assert result.mafd == pytest.approx(np.abs(first.astype(int) - second).mean() / 256)


@pytest.mark.parametrize("full_range", [False, True])
def test_exposure_is_that_of_the_samples(full_range: bool) -> None:
    """Percentiles and shares of samples at the ends of the range, each range with its own ends."""
    y = noise(1)[:96]
    (result,) = measure([as_picture(noise(1), full_range=full_range)])
    low, high = (0, 255) if full_range else (16, 235)
    assert result.underexposed == (y <= low).mean()
    assert result.overexposed == (y >= high).mean()
    for share, found in ((2, result.luma_p2), (98, result.luma_p98)):
        assert found * 255 == np.percentile(y, share, method="inverted_cdf")


def test_tenengrad_and_noise_are_as_defined() -> None:
    """Mean squared Sobel gradient, and Immerkaer's convolution, in floating point; the latter on 32 rows in 128."""
    y = noise(1, (300, 128))[:300]
    (result,) = measure([as_picture(noise(1, (300, 128)))])
    gradients = [cv2.Sobel(y, cv2.CV_64F, dx, dy, borderType=cv2.BORDER_DEFAULT) for dx, dy in ((1, 0), (0, 1))]
    assert result.tenengrad == pytest.approx(sum(float((each**2).mean()) for each in gradients))
    mask = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], float)
    whole = np.abs(cv2.filter2D(y.astype(float), cv2.CV_64F, mask)[1:-1, 1:-1])
    bands = np.concatenate([whole[top : top + 32] for top in (0, 128, 256)])
    assert result.noise == pytest.approx(np.sqrt(np.pi / 2) / 6 * bands.mean())


@pytest.mark.parametrize("sigma", [2.0, 5.0, 20.0])
def test_noise_is_found_as_it_was_added(sigma: float, head: DrawnHead) -> None:
    """White noise on a drawn head, which has some detail of its own, is found to within a tenth."""
    image = head.image()
    grain = np.random.default_rng(1).normal(0, sigma, (720, 1280))
    image[:720] = np.clip(np.rint(image[:720] + grain), 0, 255).astype(np.uint8)
    (result,) = measure([as_picture(image)])
    assert result.noise == pytest.approx(sigma, rel=0.1)


def test_blocks_are_told_from_their_absence_and_from_a_fence(head: DrawnHead) -> None:
    """Means of 8 x 8 squares are blocky by far, a picture has no grid, stripes of 8 px have it in one direction."""
    image = head.image()
    blocks, fence = image.copy(), image.copy()
    small = cv2.resize(image[:720], (160, 90), interpolation=cv2.INTER_AREA)
    blocks[:720] = cv2.resize(small, (1280, 720), interpolation=cv2.INTER_NEAREST)
    fence[:720] = np.where(np.arange(1280) // 8 % 2, 60, 180)
    none, grid, stripes = measure([as_picture(each) for each in (image, blocks, fence)])
    assert none.blockiness == pytest.approx(1, abs=0.15)
    assert grid.blockiness is not None
    assert grid.blockiness > 10
    assert stripes.blockiness == pytest.approx(1)


def test_blocks_of_any_period_are_found_by_blockdetect(head: DrawnHead) -> None:
    """Blocks of 12 px, as of a picture that was scaled after coding, are not on the grid of 8, and are found."""
    image = head.image()
    small = cv2.resize(image[:720], (1280 // 12, 60), interpolation=cv2.INTER_AREA)
    scaled = cv2.resize(small, (1280 // 12 * 12, 720), interpolation=cv2.INTER_NEAREST)
    image[:720, : scaled.shape[1]] = scaled
    frame = Frame(0, 0.0, 0.0, ClockQuality("file", 0.0), maybe_picture=as_picture(image))
    plain = dataclasses.replace(frame, maybe_picture=as_picture(head.image()))
    found, none = (FrameStatisticsProcessor().process(each).blockdetect for each in (frame, plain))
    assert found is not None
    assert none is not None
    assert found > 5 * none


@pytest.mark.parametrize("height", [720, 1080])
def test_sharpness_is_taken_at_a_fixed_height(height: int, head: DrawnHead) -> None:
    """A larger picture is as sharp as itself reduced to 360 lines; a smaller one is not enlarged."""
    h, w = height, height * 16 // 9
    y = np.asarray(cv2.resize(head.image()[:720], (w, h)), np.uint8)
    small = np.asarray(cv2.resize(y, (640, 360), interpolation=cv2.INTER_AREA), np.uint8)
    chroma = [np.full(((a + 1) // 2, (b + 1) // 2), 128, np.uint8) for a, b in ((h, w), (360, 640))]
    large, reduced = measure([Picture(y, chroma[0], chroma[0])]) + measure([Picture(small, chroma[1], chroma[1])])
    assert large.sharpness == pytest.approx(reduced.sharpness)


def test_blur_lowers_sharpness(head: DrawnHead) -> None:
    """A blurred picture is less sharp, and says so by more than half."""
    image = head.image(mouth=0.5)
    blurred = image.copy()
    blurred[:720] = cv2.GaussianBlur(image[:720], (0, 0), 4)
    sharp, soft = measure([as_picture(image), as_picture(blurred)])
    assert soft.sharpness < 0.5 * sharp.sharpness


@pytest.mark.parametrize(("full_range", "level"), [(False, 37), (True, 25)])
def test_black_level(full_range: bool, level: int) -> None:
    """The darkest tenth of the range is black, one code value more is not; both ranges have their own."""
    dark, grey = (measure([as_picture(flat(y), full_range=full_range)])[0] for y in (level, level + 1))
    assert (dark.black, dark.black_ratio) == (True, 1.0)
    assert (grey.black, grey.black_ratio) == (False, 0.0)


def test_first_picture_has_no_past() -> None:
    """What is relative to an earlier picture is not measured on the first, nor after a reset."""
    processor = FrameQualityProcessor()
    frame = Frame(0, 0.0, 0.0, ClockQuality("file", 0.0), maybe_picture=as_picture(noise(1)))
    first = processor.process(frame)
    assert (first.mafd, first.duplicate, first.change, first.freeze) == (None,) * 4
    assert processor.process(frame).freeze is True
    processor.reset("resolution")
    assert processor.process(frame) == first


@settings(max_examples=40, deadline=None)
@given(
    size=st.tuples(st.integers(1, 70), st.integers(1, 70)), seed=st.integers(0, 9), high=st.sampled_from([1, 30, 256])
)
def test_figures_stay_in_their_ranges(size: tuple[int, int], seed: int, high: int) -> None:
    """Whatever the picture, odd and tiny sizes included, every figure lies in the range that its field declares."""
    (h, w), rng = size, np.random.default_rng(seed)
    shapes = [(h, w), ((h + 1) // 2, (w + 1) // 2), ((h + 1) // 2, (w + 1) // 2)]
    pictures = [Picture(*(rng.integers(0, high, s, np.uint8) for s in shapes)) for _ in range(2)]
    result = measure(pictures, sharpness_height=16)[1]
    for info in metrics_of(FrameQuality):
        value, (low, top) = getattr(result, info.name), info.range
        if value is None:
            assert info.name in ("noise", "noisy", "blockiness", "blocky", "blur"), info.name
            continue
        assert isinstance(value, bool if info.kind == "boolean" else float | int)
        assert low is None or value >= low, info.name
        assert top is None or value <= top, info.name


@settings(max_examples=40, deadline=None)
@given(
    size=st.tuples(st.integers(1, 70), st.integers(1, 70)), seed=st.integers(0, 9), high=st.sampled_from([1, 30, 256])
)
def test_statistics_stay_in_their_ranges(size: tuple[int, int], seed: int, high: int) -> None:
    """So do those of libav's filters; what is not to be seen in a small or flat picture is not measured."""
    (h, w), rng = size, np.random.default_rng(seed)
    planes = [rng.integers(0, high, s, np.uint8) for s in ((h, w), *[((h + 1) // 2, (w + 1) // 2)] * 2)]
    frame = Frame(0, 0.0, 0.0, ClockQuality("file", 0.0), maybe_picture=Picture(planes[0], planes[1], planes[2]))
    (result,) = check_processor(FrameStatisticsProcessor, [frame])
    assert isinstance(result, FrameStatistics)
    assert (result.si is None) == (min(size) < 3)
    assert (result.blockdetect is None) == (min(size) < 48 or high == 1)


def test_both_keep_the_contract() -> None:
    """They measure grey pictures, and do so again after a reset; periods out of order are refused."""
    for processor in (FrameQualityProcessor, FrameStatisticsProcessor):
        assert None not in check_processor(processor)
    with pytest.raises(ValueError, match=r"period_max \(5\) must be at least period_min \(8\)"):
        FrameStatisticsProcessor.Options(period_min=8, period_max=5)


def test_every_field_is_described() -> None:
    """Each field has a unit; each fault has its kind of incident."""
    assert {m.name for m in metrics_of(FrameQuality)} == {f.name for f in fields(FrameQuality)}
    assert {name: rule.kind for name, rule in RULES.items()} == {
        "black": "black",
        "freeze": "freeze",
        "blur": "blur",
        "noisy": "noise",
        "blocky": "blockiness",
        "scene_cut": "scene_cut",
        "flash": "flash",
        "discoloured": "corruption",
        "resolution_change": "resolution",
    }


def test_the_documentation_names_every_metric_and_option() -> None:
    """docs/frame-quality.md has each metric of frame_quality, and each limit that an incident goes by."""
    text = (Path(__file__).parents[2] / "docs" / "frame-quality.md").read_text(encoding="utf-8")
    for info in metrics_of(FrameQuality):
        assert f"`{info.name}`" in text, info.name
    for name in ("usual_s", "blur_ratio", "noise_ratio", "blockiness_limit", "sharpness_height"):
        assert name in FrameQualityProcessor.Options.model_fields
        assert f"`{name}`" in text, name


# --- stretches -----------------------------------------------------------------------------------------------------


def test_black_agrees_with_blackdetect() -> None:
    """Black stretches start and end where libav's blackdetect says."""
    images = [flat(16) if 10 <= i < 25 or 40 <= i < 44 else noise(i) for i in range(60)]
    found = list(filtered(images, ("blackdetect", "d=0.1")))
    starts = [round(float(m["lavfi.black_start"]) * FPS) for m in found if "lavfi.black_start" in m]
    ends = [round(float(m["lavfi.black_end"]) * FPS) for m in found if "lavfi.black_end" in m]
    ours = incidents(measure(map(as_picture, images)), "black")
    assert ours == list(zip(starts, ends, strict=True)) == [(10, 25), (40, 44)]


def test_freeze_agrees_with_freezedetect() -> None:
    """Where the whole picture moves, a freeze starts with the first still picture of libav's freezedetect."""
    images = [noise(10 if 10 <= i < 40 else i) for i in range(60)]
    found = list(filtered(images, ("freezedetect", "d=0.5")))
    starts = [round(float(m[k]) * FPS) for m in found for k in m if k.endswith("freeze_start")]
    ends = [round(float(m[k]) * FPS) for m in found for k in m if k.endswith("freeze_end")]
    # freezedetect counts from the picture that is then repeated, which is not itself a repetition
    assert incidents(measure(map(as_picture, images)), "freeze") == [(starts[0] + 1, ends[0])] == [(11, 40)]


@pytest.mark.parametrize("step", [0.2, 0.5, 2.0])
def test_freezedetect_is_that_of_libav(step: float) -> None:
    """On pictures that drift slowly, every stretch starts and ends where libav's filter has it."""
    rng = np.random.default_rng(5)
    start, drift = rng.integers(60, 180, (144, 128)).astype(float), rng.normal(0, step, (144, 128))
    still = set(range(20, 40)) | set(range(50, 53)) | set(range(70, 90))
    phases = np.cumsum([i not in still for i in range(100)])
    images = [np.clip(start + phase * drift, 0, 255).astype(np.uint8) for phase in phases]
    found = list(filtered(images, ("freezedetect", "d=0.3")))
    starts = [round(float(m[k]) * FPS) for m in found for k in m if k.endswith("freeze_start")]
    ends = [round(float(m[k]) * FPS) for m in found for k in m if k.endswith("freeze_end")]
    stretches = intervals(result.freezedetect for result in measure(map(as_picture, images)))
    # the filter counts from the picture that is then repeated, and tells those of at least d
    ours = [(first - 1, end) for first, end in stretches if end - first + 1 > 0.3 * FPS]
    assert len(ours) >= 2
    assert ours == list(zip(starts, ends, strict=True))


def test_duplicates_are_told_from_motion(head: DrawnHead) -> None:
    """A picture sent twice is a duplicate; one with a slightly different mouth is neither that nor frozen."""
    results = measure(as_picture(head.image(mouth=m)) for m in (0.2, 0.2, 0.3, 0.4, 0.4))
    assert [r.duplicate for r in results] == [None, True, False, False, True]
    assert [r.freeze for r in results] == [None, True, False, False, True]


def test_still_black_is_no_freeze() -> None:
    """A black picture that stays is black, not frozen."""
    results = measure(as_picture(flat(16)) for _ in range(5))
    assert all(r.black for r in results)
    assert not any(r.freeze for r in results)


FREEZE, BLACK, COUNT = (30, 60), (80, 95), 120


@lru_cache(maxsize=4)
def planted(head: DrawnHead, sigma: float) -> tuple[Image, ...]:
    """A head that talks and sways, with a freeze and a black stretch; `sigma` is the noise of the camera."""
    rng, images = np.random.default_rng(1), list[Image]()
    for i in range(COUNT):
        image = head.image(mouth=abs(np.sin(i / 3)), blink=float(i % 50 < 3), dx=8 * np.sin(i / 9)).astype(np.int16)
        image[:720] += np.rint(rng.normal(0, sigma, (720, 1280))).astype(np.int16) if sigma else 0
        images.append(np.clip(image, 16, 235).astype(np.uint8))
    images[slice(*FREEZE)] = [images[FREEZE[0] - 1]] * (FREEZE[1] - FREEZE[0])
    images[slice(*BLACK)] = [flat(16, (720, 1280))] * (BLACK[1] - BLACK[0])
    return tuple(images)


CODECS = {
    "h264": ("libx264", "h264", {"tune": "zerolatency", "preset": "ultrafast", "g": "3000"}),
    "h264_key_frames": ("libx264", "h264", {"tune": "zerolatency", "preset": "veryfast", "g": "40"}),
    "vp8": ("libvpx", "vp8", {"deadline": "realtime", "cpu-used": "-6", "lag-in-frames": "0", "g": "3000"}),
}


def transmitted(images: Iterable[Image], codec: str) -> Iterator[Picture]:
    """The pictures after coding at 2.5 Mbit/s and decoding, as a live stream has them."""
    encoder_name, decoder_name, options = CODECS[codec]
    encoder = av.CodecContext.create(encoder_name, "w")
    decoder = av.CodecContext.create(decoder_name, "r")
    assert isinstance(encoder, av.VideoCodecContext)
    assert isinstance(decoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt, encoder.bit_rate = 1280, 720, "yuv420p", 2_500_000
    encoder.framerate, encoder.time_base, encoder.options = Fraction(FPS), Fraction(1, FPS), options
    for i, image in enumerate(images):
        frame = av.VideoFrame.from_ndarray(image, format="yuv420p")
        frame.pts = i
        for packet in encoder.encode(frame):
            yield from map(picture_from, decoder.decode(packet))
    for packet in encoder.encode(None):
        yield from map(picture_from, decoder.decode(packet))
    yield from map(picture_from, decoder.decode(None))


@pytest.mark.slow
@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("sigma", [0.0, 2.0])
def test_planted_faults_are_found_after_coding(codec: str, sigma: float, head: DrawnHead) -> None:
    """A freeze and a black stretch are found within two pictures of where they were planted, and nothing else."""
    results = measure(transmitted(planted(head, sigma), codec))
    assert len(results) == COUNT
    for name, expected in (("freeze", FREEZE), ("black", BLACK)):
        (found,) = incidents(results, name)
        assert found == pytest.approx(expected, abs=2), name


@pytest.mark.slow
def test_real_footage_has_no_faults(media: Path) -> None:
    """Recorded talking heads, still moments included, are neither frozen nor black."""
    for clip in sorted(media.glob("*.mp*g")) + sorted(media.glob("[pv]*.mp4"))[:4]:
        with av.open(str(clip)) as container:
            fps = float(container.streams.video[0].average_rate or FPS)
            results = measure(map(picture_from, container.decode(video=0)))
        assert not incidents(results, "freeze", fps), clip.name
        assert not incidents(results, "black", fps), clip.name
