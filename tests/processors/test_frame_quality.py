"""frame_quality: agreement with its definitions and with libav's filters, and planted faults in encoded streams."""

from __future__ import annotations

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
from av.filter import Graph
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from processors.frame_quality import FrameQuality, FrameQualityProcessor
from vision import ClockQuality, Frame, Picture, metrics_of

if TYPE_CHECKING:
    from tests.processors.conftest import DrawnHead

Image = NDArray[np.uint8]
FPS = 30
RULES = {m.name: m.incident for m in metrics_of(FrameQuality) if m.incident}


def picture_of(i420: Image, full_range: bool = False) -> Picture:
    """A picture from `(H * 3 / 2, W)`."""
    h, w = i420.shape[0] * 2 // 3, i420.shape[1]
    u, v = i420[h:].reshape(2, h // 2, w // 2)
    return Picture(i420[:h], u, v, full_range=full_range)


def picture_from(video: av.VideoFrame) -> Picture:
    """A decoded picture."""
    return picture_of(np.asarray(video.to_ndarray(format="yuv420p"), np.uint8))


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


def filtered(images: list[Image], name: str, arguments: str) -> list[dict[str, str]]:
    """The metadata that a filter of libav writes on each picture."""
    graph, (h, w) = Graph(), (images[0].shape[0] * 2 // 3, images[0].shape[1])
    video = f"video_size={w}x{h}:pix_fmt=yuv420p:time_base=1/{FPS}:pixel_aspect=1/1:frame_rate={FPS}/1"
    source, node, sink = graph.add("buffer", video), graph.add(name, arguments), graph.add("buffersink")
    source.link_to(node)
    node.link_to(sink)
    graph.configure()
    found = []
    for i, image in enumerate(images):
        frame = av.VideoFrame.from_ndarray(image, format="yuv420p")
        frame.pts, frame.time_base = i, Fraction(1, FPS)
        source.push(frame)
        pulled = sink.pull()
        assert isinstance(pulled, av.VideoFrame)
        found.append(dict(pulled.metadata))
    return found


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
    (result,) = measure([picture_of(noise(1))])
    assert result.luma_mean * 255 == pytest.approx(y.mean())
    assert result.contrast_rms * 255 == pytest.approx(y.std())
    assert result.sharpness == pytest.approx(cv2.Laplacian(y, cv2.CV_64F).var())
    assert result.black_ratio == (y <= 37).mean()


def test_agrees_with_signalstats() -> None:
    """Mean and difference agree with libav's signalstats."""
    images = [noise(seed) for seed in range(4)]
    results, stats = measure(map(picture_of, images)), filtered(images, "signalstats", "")
    for result, stat in zip(results, stats, strict=True):
        assert result.luma_mean * 255 == pytest.approx(float(stat["lavfi.signalstats.YAVG"]), rel=1e-4)
    for result, stat in zip(results[1:], stats[1:], strict=True):
        y, u, v = (float(stat[f"lavfi.signalstats.{plane}DIF"]) for plane in "YUV")
        assert result.mafd == pytest.approx((4 * y + u + v) / 6 / 256, rel=1e-4)


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
    sharp, soft = measure([picture_of(image), picture_of(blurred)])
    assert soft.sharpness < 0.5 * sharp.sharpness


@pytest.mark.parametrize(("full_range", "level"), [(False, 37), (True, 25)])
def test_black_level(full_range: bool, level: int) -> None:
    """The darkest tenth of the range is black, one code value more is not; both ranges have their own."""
    dark, grey = (measure([picture_of(flat(y), full_range)])[0] for y in (level, level + 1))
    assert (dark.black, dark.black_ratio) == (True, 1.0)
    assert (grey.black, grey.black_ratio) == (False, 0.0)


def test_first_picture_has_no_past() -> None:
    """What is relative to an earlier picture is not measured on the first, nor after a reset."""
    processor = FrameQualityProcessor()
    frame = Frame(0, 0.0, 0.0, ClockQuality("file", 0.0), maybe_picture=picture_of(noise(1)))
    first = processor.process(frame)
    assert (first.mafd, first.duplicate, first.change, first.freeze) == (None,) * 4
    assert processor.process(frame).freeze is True
    processor.reset("resolution")
    assert processor.process(frame) == first


def test_keeps_no_memory_of_the_decoder() -> None:
    """The planes may be overwritten once `process` has returned."""
    image = noise(1)
    results = measure(iter_overwriting(image))
    assert results[1].mafd == pytest.approx(0.5, abs=0.01)


def iter_overwriting(image: Image) -> Iterator[Picture]:
    """The same memory twice, with every sample half the range away the second time."""
    yield picture_of(image)
    image += 128
    yield picture_of(image)


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
        "corruption": "corruption",
        "resolution_change": "resolution",
    }


# --- stretches -----------------------------------------------------------------------------------------------------


def test_black_agrees_with_blackdetect() -> None:
    """Black stretches start and end where libav's blackdetect says."""
    images = [flat(16) if 10 <= i < 25 or 40 <= i < 44 else noise(i) for i in range(60)]
    found = filtered(images, "blackdetect", "d=0.1")
    starts = [round(float(m["lavfi.black_start"]) * FPS) for m in found if "lavfi.black_start" in m]
    ends = [round(float(m["lavfi.black_end"]) * FPS) for m in found if "lavfi.black_end" in m]
    ours = incidents(measure(map(picture_of, images)), "black")
    assert ours == list(zip(starts, ends, strict=True)) == [(10, 25), (40, 44)]


def test_freeze_agrees_with_freezedetect() -> None:
    """Where the whole picture moves, a freeze starts with the first still picture of libav's freezedetect."""
    images = [noise(10 if 10 <= i < 40 else i) for i in range(60)]
    found = filtered(images, "freezedetect", "d=0.5")
    starts = [round(float(m[k]) * FPS) for m in found for k in m if k.endswith("freeze_start")]
    ends = [round(float(m[k]) * FPS) for m in found for k in m if k.endswith("freeze_end")]
    # freezedetect counts from the picture that is then repeated, which is not itself a repetition
    assert incidents(measure(map(picture_of, images)), "freeze") == [(starts[0] + 1, ends[0])] == [(11, 40)]


@pytest.mark.parametrize("step", [0.2, 0.5, 2.0])
def test_freezedetect_is_that_of_libav(step: float) -> None:
    """On pictures that drift slowly, every stretch starts and ends where libav's filter has it."""
    rng = np.random.default_rng(5)
    start, drift = rng.integers(60, 180, (144, 128)).astype(float), rng.normal(0, step, (144, 128))
    still = set(range(20, 40)) | set(range(50, 53)) | set(range(70, 90))
    phases = np.cumsum([i not in still for i in range(100)])
    images = [np.clip(start + phase * drift, 0, 255).astype(np.uint8) for phase in phases]
    found = filtered(images, "freezedetect", "d=0.3")
    starts = [round(float(m[k]) * FPS) for m in found for k in m if k.endswith("freeze_start")]
    ends = [round(float(m[k]) * FPS) for m in found for k in m if k.endswith("freeze_end")]
    stretches = intervals(result.freezedetect for result in measure(map(picture_of, images)))
    # the filter counts from the picture that is then repeated, and tells those of at least d
    ours = [(first - 1, end) for first, end in stretches if end - first + 1 > 0.3 * FPS]
    assert len(ours) >= 2
    assert ours == list(zip(starts, ends, strict=True))


def test_duplicates_are_told_from_motion(head: DrawnHead) -> None:
    """A picture sent twice is a duplicate; one with a slightly different mouth is neither that nor frozen."""
    results = measure(picture_of(head.image(mouth=m)) for m in (0.2, 0.2, 0.3, 0.4, 0.4))
    assert [r.duplicate for r in results] == [None, True, False, False, True]
    assert [r.freeze for r in results] == [None, True, False, False, True]


def test_still_black_is_no_freeze() -> None:
    """A black picture that stays is black, not frozen."""
    results = measure(picture_of(flat(16)) for _ in range(5))
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
    "vp8": ("libvpx", "vp8", {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0", "g": "3000"}),
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
