"""Pictures against what was sent: figures beside libav's, matching, sizes, ranges, markers, mistakes."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from processors.full_reference import FullReference, FullReferenceProcessor
from processors.full_reference.compare import Comparison
from processors.full_reference.marker import i420, mark, read_marker, strip_height, write_marker
from tests.processors.conftest import frame_of
from vision import ConfigError, Frame, Picture, StreamInfo, picture_of
from vision.config import load
from vision.runner import Run
from vision.simulator.performance import Performance
from vision.simulator.picture import Painter, likeness
from vision.simulator.portrait import Expression
from vision.testing import make_frame, make_picture

Image = NDArray[np.uint8]
FPS = 30


def _write(path: Path, images: Iterable[Image], codec: str = "ffv1", options: dict[str, str] | None = None) -> Path:
    """Write pictures, `(H * 3 / 2, W)`, at 30 a second."""
    with av.open(str(path), "w") as output:
        track: Any = None
        for number, image in enumerate(images):
            if track is None:
                track = output.add_stream(codec, rate=FPS, options=options or {})
                track.width, track.height, track.pix_fmt = image.shape[1], image.shape[0] * 2 // 3, "yuv420p"
            frame = av.VideoFrame.from_ndarray(image, "yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            output.mux(track.encode(frame))
        output.mux(track.encode(None))
    return path


def _read(path: Path) -> list[Image]:
    with av.open(str(path)) as recording:
        return [i420(picture_of(frame)) for frame in recording.decode(video=0)]


def _resized(image: Image, size: tuple[int, int]) -> Image:
    frame = av.VideoFrame.from_ndarray(image, "yuv420p").reformat(*size, interpolation="BICUBIC")
    return i420(picture_of(frame))


def _coded(folder: Path, images: Iterable[Image], bitrate: int = 300_000) -> list[Image]:
    """As a receiver sees them: H264 of a low bit rate."""
    options = {"preset": "ultrafast", "tune": "zerolatency", "b": str(bitrate)}
    return _read(_write(folder / "coded.mkv", images, "libx264", options))


def _performance(size: tuple[int, int], count: int, start_s: float = 0.0) -> Iterator[Image]:
    """The simulator's head, talking."""
    performance, painter = Performance(3), Painter(likeness(*size))
    for number in range(count):
        time_s = start_s + number / FPS
        opening = float(performance.mouth_opening(np.array([time_s]))[0])
        sway = 0.8 * np.sin(1.3 * time_s), 0.6 * np.cos(0.9 * time_s)
        yield painter.paint(Expression(opening, 0.0), sway).copy()


def _measured(truth: Path, frames: Iterable[Frame], **options: Any) -> list[FullReference | None]:
    processor = FullReferenceProcessor(FullReferenceProcessor.Options(path=truth, **options))
    try:
        processor.setup(StreamInfo(live=False))
        return [processor.process(frame) for frame in frames]
    finally:
        processor.close()


def _frames(images: Sequence[Image], numbers: Iterable[int] | None = None, start_s: float = 0.0) -> list[Frame]:
    """Those of the images with these numbers, on the time of the truth less `start_s`."""
    chosen = range(len(images)) if numbers is None else numbers
    return [frame_of(images[number], number / FPS - start_s) for number in chosen]


def _numbers(results: Iterable[FullReference | None]) -> list[int | None]:
    return [None if result is None else round(result.reference_s * FPS) for result in results]


def _by_libav(name: str, keys: Sequence[str], received: Sequence[Image], truth: Sequence[Image]) -> list[list[float]]:
    """What one filter says of pairs of pictures, in a graph of its own."""
    height, width = truth[0].shape[0] * 2 // 3, truth[0].shape[1]
    graph = av.filter.Graph()
    options = f"video_size={width}x{height}:pix_fmt=yuv420p:time_base=1/{FPS}:frame_rate={FPS}/1:pixel_aspect=1/1"
    sources = [graph.add("buffer", options) for _ in range(2)]
    judge, sink = graph.add(name), graph.add("buffersink")
    for i, source in enumerate(sources):
        source.link_to(judge, 0, i)
    judge.link_to(sink)
    graph.configure()
    said = []
    for number, pair in enumerate(zip(received, truth, strict=True)):
        for source, image in zip(sources, pair, strict=True):
            frame = av.VideoFrame.from_ndarray(image, "yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            source.push(frame)
        metadata = sink.pull().metadata
        said.append([float(metadata[f"lavfi.{name}.{key}"]) for key in keys])
    return said


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["lp_s18.mp4", "lp_d18.mp4", "simulator"])
@pytest.mark.parametrize("height", [360, 720])
def test_figures_are_libavs(tmp_path: Path, request: pytest.FixtureRequest, kind: str, height: int) -> None:
    """On 210 pictures of clips and of the simulator: PSNR, SSIM and XPSNR to every digit; PSNR by its formula, too."""
    if kind == "simulator":
        sent = list(_performance((height * 16 // 9, height), 210))
    else:
        clip: Path = request.getfixturevalue("media") / kind
        with av.open(str(clip)) as recording:
            pictures = [frame for _, frame in zip(range(210), recording.decode(video=0), strict=False)]
        width = round(pictures[0].width * height / pictures[0].height / 2) * 2
        sent = [_resized(i420(picture_of(frame)), (width, height)) for frame in pictures]
    assert len(sent) >= 200
    truth = _write(tmp_path / "truth.mkv", sent)
    received = _coded(tmp_path, sent)
    results = _measured(truth, _frames(received), match="timestamp")
    assert _numbers(results) == list(range(len(sent)))
    psnr = _by_libav("psnr", ("psnr_avg", "psnr.y"), received, sent)
    ssim = _by_libav("ssim", ("All", "Y"), received, sent)
    xpsnr = _by_libav("xpsnr", ("xpsnr.y",), received, sent)
    for i, result in enumerate(results):
        assert result is not None
        assert [result.psnr, result.psnr_y] == psnr[i]
        assert [result.ssim, result.ssim_y] == ssim[i]
        assert [result.xpsnr_y] == xpsnr[i]
        squared = np.mean((received[i].astype(float) - sent[i]) ** 2)
        assert result.psnr == pytest.approx(10 * np.log10(255**2 / squared), rel=1e-7)  # libav: float32
        assert result.match_difference < 5


@pytest.fixture(scope="module")
def talk() -> list[Image]:
    """Four seconds of the simulator's head, 320 x 180 px."""
    return list(_performance((320, 180), 4 * FPS, start_s=1.0))


@pytest.fixture(scope="module")
def truth(talk: list[Image], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as a recording."""
    return _write(tmp_path_factory.mktemp("truth") / "truth.mkv", talk)


@pytest.fixture(scope="module")
def received(talk: list[Image], tmp_path_factory: pytest.TempPathFactory) -> list[Image]:
    """The same as a receiver sees it."""
    return _coded(tmp_path_factory.mktemp("received"), talk)


_KEPT = [number for number in range(40, 110) if number % 7]


def test_pictures_find_theirs_by_what_they_look_like(truth: Path, received: list[Image]) -> None:
    """Joined in mid-stream, at a time of its own, with pictures missing: none is taken for another one."""
    results = _measured(truth, _frames(received, _KEPT, start_s=-5.0))
    numbers = _numbers(results)
    assert numbers == [None if found is None else number for number, found in zip(_KEPT, numbers, strict=True)]
    assert sum(found is not None for found in numbers) >= 0.95 * len(_KEPT)


def test_pictures_find_theirs_by_time(truth: Path, received: list[Image]) -> None:
    """Where the run begins is told; what lies beyond the reference has none."""
    frames = _frames(received, _KEPT, start_s=1.0)
    assert _numbers(_measured(truth, frames, match="timestamp", start_s=1.0)) == _KEPT
    shifted = _numbers(_measured(truth, frames, match="timestamp", start_s=2.0))
    assert shifted == [number + FPS if number + FPS < 4 * FPS else None for number in _KEPT]


def test_pictures_find_theirs_by_their_markers(tmp_path: Path, truth: Path) -> None:
    """However they come: late, twice, backwards, from anywhere; the strip itself is not compared."""
    marked = tmp_path / "marked.mkv"
    assert mark(truth, marked) == 4 * FPS
    received = _coded(tmp_path, _read(marked))
    order = [90, 3, 3, 50, 49, 10, 119, 0]
    results = _measured(marked, _frames(received, order, start_s=-100.0), match="marker")
    assert _numbers(results) == order
    spoilt = received[50].copy()
    spoilt[:8, :16] = 128
    spoilt[:4, 200:] = 255
    assert _measured(marked, [frame_of(spoilt, 0.0)], match="marker") == [None]
    beside = received[50].copy()
    beside[: strip_height(320), 250:] = 255
    (untouched,) = _measured(marked, [frame_of(beside, 0.0)], match="marker")
    assert untouched is not None
    assert results[3] is not None
    assert untouched.psnr_y == results[3].psnr_y


def test_a_spoilt_picture_is_compared_with_the_one_that_time_says(truth: Path, received: list[Image]) -> None:
    """A black one looks like none; once time is known it is measured all the same, and is bad."""
    images = [image.copy() for image in received]
    for number in range(60, 70):
        images[number][:180], images[number][180:] = 16, 128
    results = _measured(truth, _frames(images))
    assert _numbers(results)[58:72] == list(range(58, 72))
    spoilt = [result.psnr_y for result in results[60:70] if result is not None]
    whole = [result.psnr_y for result in results[40:60] if result is not None]
    assert max(spoilt) < 15 < 25 < min(whole)


def test_a_picture_that_stays_is_not_taken_for_the_newest(truth: Path, received: list[Image]) -> None:
    """A freeze of a second: at first it is the late picture that it is, then it is the wrong one; motion finds back."""
    frozen = [received[min(number, 50) if number < 80 else number] for number in range(110)]
    numbers = _numbers(_measured(truth, _frames(frozen)))
    assert numbers[45:51] == list(range(45, 51))
    assert numbers[55] == 50
    assert numbers[75] == 75
    assert numbers[85:] == list(range(85, 110))


def test_what_is_not_in_the_reference_is_not_measured(truth: Path) -> None:
    """Other pictures, and grey ones."""
    noise = np.random.default_rng(1)
    others = [noise.integers(16, 235, (270, 320)).astype(np.uint8) for _ in range(10)]
    assert _measured(truth, _frames(others)) == [None] * 10
    assert _measured(truth, [make_frame(make_picture(128, width=320, height=180))]) == [None]


def test_the_same_pictures_are_a_hundred_decibels(truth: Path, talk: list[Image]) -> None:
    """Their ratio is infinite, which is no number."""
    results = _measured(truth, _frames(talk), match="timestamp")
    assert {(one.psnr, one.psnr_y, one.ssim, one.xpsnr_y, one.match_difference) for one in results if one} == {
        (100.0, 100.0, 1.0, 100.0, 0.0)
    }
    (without,) = _measured(truth, _frames(talk[:1]), match="timestamp", xpsnr=False)
    assert without is not None
    assert without.xpsnr_y is None


def test_another_size_is_scaled_and_said(truth: Path, talk: list[Image]) -> None:
    """To that of the reference, as libav's bicubic scaler does; pictures find theirs all the same."""
    results = _measured(truth, _frames([_resized(image, (640, 360)) for image in talk]))
    assert _numbers(results) == list(range(len(talk)))
    assert all(result is not None and result.scaled and result.psnr > 38 for result in results)
    (same,) = _measured(truth, _frames(talk[:1]), match="timestamp")
    assert same is not None
    assert same.scaled is False


def test_the_range_is_brought_to_that_of_the_reference(truth: Path, talk: list[Image]) -> None:
    """A picture of full range that shows the same is no worse for it."""
    luma = np.clip(np.rint((talk[0][:180].astype(float) - 16) * 255 / 219), 0, 255).astype(np.uint8)
    chroma = np.clip(np.rint((talk[0][180:].astype(float) - 128) * 255 / 224 + 128), 0, 255).astype(np.uint8)
    u, v = chroma.reshape(2, 90, 160)
    frame = dataclasses.replace(frame_of(talk[0], 0.0), maybe_picture=Picture(luma, u, v, full_range=True))
    (result,) = _measured(truth, [frame], match="timestamp")
    assert result is not None
    assert result.psnr > 45


def test_odd_sizes_lose_a_row_and_a_column() -> None:
    """4:2:0 planes of even sizes are what filters take."""
    picture = Picture(np.ones((5, 7), np.uint8), np.zeros((3, 4), np.uint8), np.zeros((3, 4), np.uint8))
    assert i420(picture).shape == (6, 6)
    assert i420(picture)[:4].all()


def test_a_reset_looks_again(truth: Path, received: list[Image]) -> None:
    """After another connection, time may relate otherwise: pictures from elsewhere in the reference are found."""
    processor = FullReferenceProcessor(FullReferenceProcessor.Options(path=truth))
    processor.setup(StreamInfo(live=True))
    first = [processor.process(frame) for frame in _frames(received, range(20))]
    processor.reset("reconnect")
    later = [frame_of(received[number], 20 / FPS + (number - 88) / FPS) for number in range(88, 118)]
    numbers = _numbers([*first, *(processor.process(frame) for frame in later)])
    processor.close()
    assert numbers[10:] == [*range(10, 20), *range(88, 118)]


@given(st.integers(0, 1 << 16), st.sampled_from([(320, 180), (640, 360), (1280, 720), (512, 512)]), st.integers(0, 999))
def test_a_marker_is_read_back(number: int, size: tuple[int, int], seed: int) -> None:
    """Modulo 65536, from noisy pictures, and from those that were scaled."""
    random = np.random.default_rng(seed)
    luma = random.integers(16, 236, size[::-1]).astype(np.uint8)
    write_marker(luma, number)
    noisy = np.clip(luma + random.normal(0, 12, luma.shape), 0, 255).astype(np.uint8)
    smaller = np.asarray(
        cv2.resize(noisy, (size[0] * 2 // 3, size[1] * 2 // 3), interpolation=cv2.INTER_AREA), np.uint8
    )
    assert read_marker(noisy) == read_marker(smaller) == number % (1 << 16)


@given(st.integers(0, (1 << 16) - 1), st.integers(0, 23))
def test_a_cell_that_is_wrong_is_noticed(number: int, cell: int) -> None:
    """The check sum finds each single error, whether it is in the number or in itself."""
    luma = np.full((180, 320), 128, np.uint8)
    write_marker(luma, number)
    luma[:8, cell * 8 : cell * 8 + 8] = 251 - luma[:8, cell * 8 : cell * 8 + 8]
    assert read_marker(luma) is None


def test_pictures_without_a_marker_have_none(talk: list[Image]) -> None:
    """Nothing is read into a head, into noise, or into black and white."""
    random = np.random.default_rng(5)
    assert {read_marker(image[:180]) for image in talk} == {None}
    assert {read_marker(random.integers(0, 256, (180, 320)).astype(np.uint8)) for _ in range(200)} == {None}
    assert read_marker(np.full((180, 320), 255, np.uint8)) is None


def test_the_command_writes_a_marked_recording(tmp_path: Path, truth: Path) -> None:
    """All pictures, numbered; a mistake is one line."""
    command = [sys.executable, "-m", "processors.full_reference.marker"]
    done = subprocess.run(
        [*command, str(truth), str(tmp_path / "marked.mkv")], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{tmp_path / 'marked.mkv'}: 120 pictures\n"
    assert [read_marker(image[:180]) for image in _read(tmp_path / "marked.mkv")] == list(range(120))
    wrong = subprocess.run([*command, "none.mp4", "out.mkv"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert wrong.returncode == 2
    assert "none.mp4: " in wrong.stderr
    assert "Traceback" not in wrong.stderr


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (None, {}, "truth.mkv: cannot be read: No such file or directory; give path: a recording"),
        (b"no recording", {}, "truth.mkv: cannot be read: Invalid data found"),
        ("truth", {"match": "marker"}, "its first picture has no marker; `python -m processors.full_reference.marker"),
    ],
)
def test_mistakes_are_told_in_one_line(
    tmp_path: Path, truth: Path, content: bytes | str | None, options: dict[str, Any], message: str
) -> None:
    """Before the run, with what to do."""
    path = tmp_path / "truth.mkv"
    if content is not None:
        path.write_bytes(truth.read_bytes() if isinstance(content, str) else content)
    with pytest.raises(ConfigError) as caught:
        _measured(path, [], **options)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_run_from_yaml(tmp_path: Path, truth: Path, received: list[Image]) -> None:
    """The figures are in the records and in the summary, with their coverage."""
    sent = _write(tmp_path / "received.mkv", received)
    config = tmp_path / "run.yaml"
    config.write_text(
        f"source: {{use: file, path: {sent}}}\nprocessors: [{{use: full_reference, path: {truth}, match: nearest}}]\n"
    )
    outcome = asyncio.run(Run(load(config), tmp_path / "out").execute())
    assert outcome.exit_status == 0, outcome.error
    psnr = outcome.summary["metrics"]["full_reference.psnr"]
    assert psnr["unit"] == "dB"
    assert psnr["coverage"] > 0.95
    records = [json.loads(line) for line in (tmp_path / "out" / "frames.jsonl").read_text().splitlines()]
    found = [(one["time_s"], one["full_reference"]["reference_s"]) for one in records if one["full_reference"]]
    assert all(reference_s == pytest.approx(time_s, abs=0.002) for time_s, reference_s in found)


def test_pictures_are_compared_below_the_strip() -> None:
    """What is left out at the top counts for nothing."""
    images = [np.full((270, 320), 100, np.uint8) for _ in range(2)]
    images[0][:16] = 200
    assert Comparison((320, 180), Fraction(30), top=16).compare(*images).psnr_y == 100.0
    assert Comparison((320, 180), Fraction(30)).compare(*images).psnr_y < 20
