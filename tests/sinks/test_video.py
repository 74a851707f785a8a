"""video.mp4: what is drawn is where it was measured, when it was measured, and the sound is with it."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import resource
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from processors.face_landmarks import FaceLandmarksProcessor
from processors.face_landmarks.mesh import CONTOURS
from tests.processors.conftest import DrawnHead
from tests.sinks.drawing import BAD, TRIANGLE, Drawing, corners_of, dots_of
from tests.sinks.killing import killed_run
from tests.test_movie import written as flash_and_beep
from tests.watched import Watched, onsets_s, watched
from vision.config import load
from vision.errors import ConfigError
from vision.frame import Frame, Picture, Sound
from vision.incidents import Incident
from vision.processor import StreamInfo
from vision.record import Record
from vision.result import metrics_of
from vision.runner import Outcome, Run
from vision.sinks.video import VideoSink
from vision.sinks.video.backlog import Backlog, Shot
from vision.testing import make_frame, make_picture

MS = 1e-3
WIDTH, HEIGHT, FPS = 320, 180, 30
DRAWN = 25
"""By how much luma changes at least where something is drawn."""

Image = NDArray[np.uint8]


def executed(folder: Path, source: str, options: str = "", processors: str = "[]", others: str = "") -> Outcome:
    """How a run ended whose sink is `video`."""
    path = folder / "run.yaml"
    path.write_text(f"source: {{{source}}}\nprocessors: {processors}\nsinks: [{others}{{use: video{options}}}]\n")
    return asyncio.run(Run(load(path), folder / "out").execute())


def recorded(
    folder: Path,
    frames: list[Frame],
    tell: Callable[[VideoSink, Frame], None] = lambda sink, frame: None,
    *,
    waits: bool = True,
    **options: Any,
) -> Watched:
    """What the sink makes of frames, and of what `Drawing` finds in them."""
    folder.mkdir(exist_ok=True)
    sink, drawing = VideoSink(VideoSink.Options(crf=4, **options), folder), Drawing()
    sink.waits = waits
    sink.open()
    for frame in frames:
        tell(sink, frame)
        sink.write(Record(frame, {}, outputs={"drawing": drawing.process(frame)}))
    sink.close()
    return watched(folder / "video.mp4")


def pictured(count: int, *, width: int = WIDTH, height: int = HEIGHT, begin: int = 0) -> list[Frame]:
    """Frames with a grey picture and a tenth of a second of silence each."""
    picture = make_picture(120, width=width, height=height)
    silence = np.zeros(1600, np.float32)
    return [
        make_frame(picture, index=begin + index, samples=silence, rate_hz=48_000, fps=FPS) for index in range(count)
    ]


def luma(i420: Image) -> NDArray[np.int16]:
    """The luma of a picture, `(H, W)`."""
    return i420[: i420.shape[0] * 2 // 3].astype(np.int16)


def near_line(corners: NDArray[np.floating[Any]], shape: tuple[int, ...], within_px: float) -> NDArray[np.bool_]:
    """The pixels whose centres are within so many px of a closed line, by their distance from it."""
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    pixels = np.stack([x, y], axis=-1)
    near = np.zeros(shape, bool)
    for begin, end in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        along = end - begin
        share = np.clip((pixels - begin) @ along / (along @ along), 0, 1)
        near |= np.linalg.norm(pixels - begin - share[..., None] * along, axis=-1) <= within_px
    return near


def assert_drawn_on(picture: NDArray[np.int16], corners: NDArray[np.floating[Any]], grey: int = 120) -> None:
    """All along the closed line, and nowhere else, it is bright; nothing is changed beside its dark edge."""
    bright = (picture > grey + DRAWN).astype(np.uint8)
    assert cv2.dilate(bright, np.ones((3, 3), np.uint8))[near_line(corners, bright.shape, 0.6)].all()
    assert not bright[~near_line(corners, bright.shape, 1.5)].any()
    changed = np.abs(picture - grey) > DRAWN
    assert not changed[~near_line(corners, bright.shape, 3.5)].any()


@pytest.mark.parametrize("height", [180, 360, 90])
def test_outlines_are_where_the_points_are(tmp_path: Path, height: int) -> None:
    """In the picture in which they were measured, on its pixels, at whatever size the video has."""
    seen = recorded(tmp_path / "a", pictured(5), overlays=["triangle"], height=height)
    assert seen.times_s == pytest.approx([index / FPS for index in range(5)], abs=0.02 * MS)
    for time_s, picture in zip(seen.times_s, seen.pictures, strict=True):
        assert luma(picture).shape == (height, height * 16 // 9)
        assert_drawn_on(luma(picture), corners_of(time_s, height / HEIGHT).astype(float))


def test_dots_are_where_the_points_are(tmp_path: Path) -> None:
    """Points without lines are dots, the middle of which is the point."""
    picture = recorded(tmp_path / "a", pictured(1), overlays=["dots"]).pictures[0]
    count, _, _, middles = cv2.connectedComponentsWithStats((np.abs(luma(picture) - 120) > DRAWN).astype(np.uint8))
    assert count == 1 + 3
    found = sorted(map(tuple, middles[1:] + 0.5))
    assert np.allclose(found, sorted(map(tuple, dots_of(corners_of(0.0)))), atol=0.5)


def test_another_size_is_fitted_into_the_first(tmp_path: Path) -> None:
    """A narrower picture has black at its sides, and its points move with it."""
    frames = [*pictured(3), *pictured(3, width=480, height=360, begin=3)]
    seen = recorded(tmp_path / "a", frames, overlays=["triangle"])
    last = luma(seen.pictures[-1])
    assert last.shape == (HEIGHT, WIDTH)
    assert np.abs(last[:, :38] - 16).max() < DRAWN
    assert np.abs(last[:, -38:] - 16).max() < DRAWN
    assert_drawn_on(last[:, 40:280], corners_of(seen.times_s[-1]).astype(float))


def test_an_odd_size_loses_a_pixel_and_nothing_moves(tmp_path: Path) -> None:
    """H264 knows even sizes only."""
    frames = pictured(2, width=WIDTH + 1, height=HEIGHT)
    seen = recorded(tmp_path / "a", frames, overlays=["triangle"])
    assert luma(seen.pictures[0]).shape == (HEIGHT, WIDTH)
    assert_drawn_on(luma(seen.pictures[0]), corners_of(0.0).astype(float))


def test_full_range_becomes_video_range(tmp_path: Path) -> None:
    """Black and white of a JPEG are black and white of a video."""
    plane = np.zeros((HEIGHT, WIDTH), np.uint8)
    plane[:, WIDTH // 2 :] = 255
    chroma = np.full((HEIGHT // 2, WIDTH // 2), 128, np.uint8)
    frame = make_frame(Picture(plane, chroma, chroma, full_range=True))
    seen = luma(recorded(tmp_path / "a", [frame], overlays=[]).pictures[0])
    assert [np.median(seen[:, :150]), np.median(seen[:, 170:])] == [16, 235]


@pytest.mark.usefixtures("attention_model")
def test_lips_and_eyes_are_drawn_on_a_face(tmp_path: Path) -> None:
    """The points of `face_landmarks`, found in a picture, are drawn on it: each contour is of the line's colour."""
    processor, head = FaceLandmarksProcessor(), DrawnHead()
    processor.setup(StreamInfo(live=False))
    frames = [dataclasses.replace(head.frame(index / FPS, mouth=0.6), index=index) for index in range(3)]
    found = [processor.process(frame) for frame in frames]
    processor.close()
    videos = []
    for name, overlays in (("plain", []), ("drawn", ["landmarks"])):
        (tmp_path / name).mkdir()
        sink = VideoSink(VideoSink.Options(crf=1, overlays=overlays), tmp_path / name)
        sink.open()
        for frame, face in zip(frames, found, strict=True):
            sink.write(Record(frame, {}, outputs={"face_landmarks": face}))
        sink.close()
        videos.append(watched(tmp_path / name / "video.mp4").pictures[-1])
    points_px = found[-1].points_px
    assert points_px is not None
    chroma = [picture[720:].reshape(2, 360, 640).astype(np.int16) for picture in videos]
    turned = np.abs(chroma[1] - chroma[0]).max(axis=0) > 5
    drawn = np.abs(luma(videos[1]) - luma(videos[0])) > DRAWN
    for path in CONTOURS:
        for x, y in points_px[list(path)]:
            assert drawn[int(y) - 1 : int(y) + 2, int(x) - 1 : int(x) + 2].any(), (x, y)
            assert turned[int(y / 2) - 1 : int(y / 2) + 2, int(x / 2) - 1 : int(x / 2) + 2].any(), (x, y)
    low, high = points_px.min(axis=0) - 4, points_px.max(axis=0) + 4
    outside = drawn.copy()
    outside[int(low[1]) : int(high[1]) + 1, int(low[0]) : int(high[0]) + 1] = False
    assert not outside.any()


def test_what_is_not_asked_for_is_not_drawn(tmp_path: Path) -> None:
    """Without overlays the video is what came."""
    picture = recorded(tmp_path / "a", pictured(1), overlays=[]).pictures[0]
    assert np.abs(luma(picture) - 120).max() <= 2


def test_values_and_the_time_have_their_corners(tmp_path: Path) -> None:
    """Values at the bottom left, the time at the top left, each on a ground dark enough to read it."""
    for overlays, rows, columns in (
        (["level", "late", "state"], slice(90, 180), slice(0, 200)),
        (["time"], slice(0, 40), slice(0, 200)),
    ):
        picture = luma(recorded(tmp_path / overlays[0], pictured(1), overlays=overlays).pictures[0])
        changed = np.abs(picture - 120) > DRAWN
        assert changed[rows, columns].mean() > 0.1
        changed[rows, columns] = False
        assert not changed.any()
        part = picture[rows, columns]
        assert part.max() > 200
        assert part.min() < 60


def bar_px(picture: Image) -> int:
    """How long the bar is: the pixels of a picture that are of its colour."""
    u, v = picture[HEIGHT:].reshape(2, HEIGHT // 2, WIDTH // 2).astype(int)
    return int(((v - u) < -15).any(axis=0).sum())


def test_a_bar_is_as_long_as_its_value(tmp_path: Path) -> None:
    """Half of its ground at half of what fills it."""
    drawing = Drawing()
    lengths = []
    for level in (0.25, 0.5, 1.0, 7.0):
        frame = pictured(1)[0]
        drawn = drawing.process(frame)
        assert drawn is not None
        drawn = dataclasses.replace(drawn, level=level)
        (tmp_path / str(level)).mkdir()
        sink = VideoSink(VideoSink.Options(crf=4, overlays=["level"]), tmp_path / str(level))
        sink.open()
        sink.write(Record(frame, {}, outputs={"drawing": drawn}))
        sink.close()
        lengths.append(bar_px(watched(tmp_path / str(level) / "video.mp4").pictures[0]))
    quarter, half, whole, too_much = lengths
    assert whole == too_much
    assert half == pytest.approx(whole / 2, abs=1.5)
    assert quarter == pytest.approx(whole / 4, abs=1.5)


def test_what_is_not_finite_is_not_measured(tmp_path: Path) -> None:
    """A value that is none is shown as such, and a point that is nowhere is not drawn; the others are."""
    sink, frame = VideoSink(VideoSink.Options(crf=4, overlays=["level", "late", "triangle"]), tmp_path), pictured(1)[0]
    drawn = Drawing().process(frame)
    assert drawn is not None
    nowhere = np.array([(90, 60), (np.nan, 70), (110, 120)], np.float32)
    sink.open()
    odd = dataclasses.replace(drawn, level=np.nan, late_ms=np.inf, late_error_ms=np.nan, corners=nowhere)
    sink.write(Record(frame, {}, outputs={"drawing": odd}))
    sink.close()
    picture = watched(tmp_path / "video.mp4").pictures[0]
    assert luma(picture)[90, 100] > 120 + DRAWN
    assert abs(luma(picture)[65, 120] - 120) < DRAWN


def redness(picture: Image) -> float:
    """How much of the top right is red."""
    v = picture[HEIGHT * 5 // 4 :].reshape(HEIGHT // 2, WIDTH // 2)
    return float((v[:20, 60:] > 160).mean())


def test_incidents_are_shown_while_they_last(tmp_path: Path) -> None:
    """A banner from the moment at which it counts until a second after its end, through a whole run."""
    outcome = executed(
        tmp_path,
        "use: 'tests.sinks.drawing:GreySource', pictures: 60",
        ", crf: 4, overlays: [incidents]",
        "[{use: 'tests.sinks.drawing:Drawing', name: drawing}]",
    )
    assert outcome.exit_status == 0, outcome.error
    seen = watched(tmp_path / "out" / "video.mp4")
    shown = [index for index, picture in enumerate(seen.pictures) if redness(picture) > 0.05]
    counts_at = BAD.start + 3  # the fourth picture is 0.1 s after the first
    assert shown == list(range(counts_at, shown[-1] + 1))
    assert seen.times_s[shown[-1]] == pytest.approx(BAD.stop / FPS + 1, abs=1 / FPS)


def test_an_incident_that_is_told_is_shown_for_a_second(tmp_path: Path) -> None:
    """One that is known only when it is over."""
    incident = Incident("no_picture", "network", 0.1, 0.4, "error", {})

    def tell(sink: VideoSink, frame: Frame) -> None:
        if frame.index == 20:
            sink.add_incident(incident)

    seen = recorded(tmp_path / "a", pictured(80), tell, overlays=["incidents"])
    shown = [index for index, picture in enumerate(seen.pictures) if redness(picture) > 0.05]
    assert shown[0] == 20
    assert len(shown) == pytest.approx(FPS, abs=1)


def test_a_damaged_picture_says_so(tmp_path: Path) -> None:
    """Beside the time."""
    frames = pictured(2)
    frames[1] = dataclasses.replace(frames[1], corrupt=True)
    whole, damaged = recorded(tmp_path / "a", frames, overlays=["time"]).pictures
    assert (luma(damaged) < 80).sum() > 1.3 * (luma(whole) < 80).sum()


def test_pictures_that_do_not_come_are_not_repeated(tmp_path: Path) -> None:
    """Where the stream stalls the sound goes on, and the last picture stays."""
    frames = pictured(10)
    for index in (4, 5, 6):
        frames[index] = dataclasses.replace(frames[index], index=None, maybe_picture=None)
    seen = recorded(tmp_path / "a", frames)
    assert seen.times_s == pytest.approx([index / FPS for index in (0, 1, 2, 3, 7, 8, 9)], abs=0.02 * MS)
    assert seen.sound.size / seen.rate_hz == pytest.approx(9 / FPS, abs=0.03)


def test_sound_alone_is_a_dark_picture_with_what_is_known_of_it(tmp_path: Path) -> None:
    """Also where the stream is shorter than the sink waits for a picture."""
    bare = [
        dataclasses.replace(frame, index=None, maybe_picture=None, sound=tone_at(frame.time_s))
        for frame in pictured(40)
    ]
    seen = recorded(tmp_path / "a", bare)
    assert len(seen.pictures) == 40
    assert np.median(luma(seen.pictures[20])) == 16
    assert luma(seen.pictures[20]).max() > 200
    assert seen.beeps_s == pytest.approx([1.0], abs=1 * MS)


def tone_at(until_s: float) -> Sound:
    """The sound under a picture; a beep from one second on."""
    times_s = until_s - 1 / FPS + np.arange(1600) / 48_000
    return Sound(np.where(times_s >= 1, np.sin(6283 * times_s), 0).astype(np.float32), 48_000, float(times_s[0]))


def test_pictures_alone_have_silence(tmp_path: Path) -> None:
    """A source without sound leaves a file that plays."""
    outcome = executed(tmp_path, "use: 'tests.troublesome:CountSource', pictures: 95")
    assert outcome.exit_status == 0, outcome.error
    seen = watched(tmp_path / "out" / "video.mp4")
    assert len(seen.times_s) == 95
    assert not seen.sound.any()
    facts = json.loads((tmp_path / "out" / "run.json").read_text())
    assert facts["sinks"] == {"video": {"file": "video.mp4", "pictures": 95, "left_out": 0}}


def test_a_run_without_anything_leaves_no_video(tmp_path: Path) -> None:
    """There is nothing to be seen."""
    assert executed(tmp_path, "use: 'tests.troublesome:CountSource', pictures: 0").exit_status in (0, 3)
    assert not (tmp_path / "out" / "video.mp4").exists()


def test_a_recording_is_in_sync_with_itself(tmp_path: Path) -> None:
    """Flash and beep of a file are where they were, and no picture is left out, however fast it is read."""
    flash_and_beep(tmp_path / "clip.mp4", until_s=6.5)
    outcome = executed(tmp_path, f"use: file, path: {tmp_path / 'clip.mp4'}")
    assert outcome.exit_status == 0, outcome.error
    seen = watched(tmp_path / "out" / "video.mp4")
    assert len(seen.times_s) == 195
    assert seen.flashes_s == pytest.approx(range(1, 7), abs=0.1 * MS)
    assert seen.beeps_s == pytest.approx(range(1, 7), abs=2 * MS)


@pytest.mark.slow
@pytest.mark.parametrize("offset_ms", [0, 150])
def test_flash_and_beep_of_a_live_stream_are_in_sync(tmp_path: Path, offset_ms: int) -> None:
    """Through WebRTC, with all overlays: within 20 ms of what the sender says, and no offset is taken out of it."""
    outcome = executed(
        tmp_path,
        f"use: simulator, show: flash_and_beep, size: [640, 360], offset_ms: {offset_ms}}}\nrun: {{duration_s: 5.5",
        processors="[{use: frame_quality}, {use: stream}]",
        others="{use: jsonl}, ",
    )
    assert outcome.exit_status == 0, outcome.error
    seen = watched(tmp_path / "out" / "video.mp4")
    lines = [json.loads(line) for line in (tmp_path / "out" / "frames.jsonl").read_text().splitlines()]
    pictures = [line for line in lines if line["index"] is not None]
    assert set(np.round(seen.times_s, 4)) <= {round(line["time_s"], 4) for line in pictures}
    bright = np.array([line["frame_quality"]["luma_mean"] > 0.6 for line in pictures])
    flashes_s = onsets_s(np.array([line["time_s"] for line in pictures]), bright, apart_s=0.5)
    # on a busy machine the first picture of a flash may be one that is left out
    pairs = [
        (flash_s, beep_s)
        for flash_s in flashes_s
        for beep_s in seen.beeps_s
        if abs(beep_s - flash_s) < 0.5 and np.abs(np.array(seen.flashes_s) - flash_s).min() < 0.1 * MS
    ]
    assert len(pairs) >= 2
    for flash_s, beep_s in pairs:
        assert 1000 * (beep_s - flash_s) == pytest.approx(offset_ms, abs=20)


def test_what_finds_no_room_loses_its_picture_and_not_its_sound() -> None:
    """A live source does not wait: sixteen pictures wait, the others are counted, and all sound is there."""
    backlog = Backlog()
    for frame in pictured(30):
        backlog.put(Shot(frame), wait=False)
    backlog.close()
    shots = []
    while (shot := backlog.take()) is not None:
        shots.append(shot)
    assert [shot.frame.maybe_picture is not None for shot in shots] == [True] * 16 + [False] * 14
    assert sum(shot.frame.sound.samples.size for shot in shots) == 30 * 1600
    assert backlog.left_out == 14


def test_a_backlog_that_nobody_empties_is_bounded() -> None:
    """Sound alone finds room for so long, and then none either."""
    backlog = Backlog()
    for frame in pictured(700):
        backlog.put(Shot(dataclasses.replace(frame, maybe_picture=None)), wait=False)
    backlog.close()
    count = 0
    while backlog.take() is not None:
        count += 1
    assert count == 600


def test_a_recording_waits_for_room() -> None:
    """Nothing is left out where the source can wait."""
    backlog, taken = Backlog(), []

    def take() -> None:
        while (shot := backlog.take()) is not None:
            taken.append(shot)

    taker = threading.Thread(target=take)
    taker.start()
    for frame in pictured(300):
        backlog.put(Shot(frame), wait=True)
    backlog.close()
    taker.join()
    assert all(shot.frame.maybe_picture is not None for shot in taken)
    assert (len(taken), backlog.left_out) == (300, 0)


def test_pictures_that_are_left_out_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """At the end, with how many there were."""
    frames = pictured(60, width=1920, height=1080)
    with caplog.at_level(logging.WARNING):
        seen = recorded(tmp_path / "a", frames, waits=False)
    assert f"video.mp4: {60 - len(seen.times_s)} of 60 pictures are left out" in caplog.text
    assert len(seen.times_s) < 60
    assert seen.sound.size / seen.rate_hz == pytest.approx(59 / FPS, abs=0.03)


def test_an_array_of_another_shape_is_an_error(tmp_path: Path) -> None:
    """A field that does not keep what it declares is named, and the pictures before it can be seen."""
    sink, frame = VideoSink(VideoSink.Options(), tmp_path), pictured(1)[0]
    drawn = Drawing().process(frame)
    assert drawn is not None
    sink.open()
    sink.write(Record(frame, {}, outputs={"drawing": drawn}))
    later = dataclasses.replace(frame, index=1, time_s=1 / FPS)
    sink.write(Record(later, {}, outputs={"drawing": dataclasses.replace(drawn, corners=drawn.corners[:2])}))
    with pytest.raises(ValueError, match=r"drawing\.corners has the shape \(2, 2\), not \(3, 2\) as it declares"):
        sink.close()
    assert len(watched(tmp_path / "video.mp4").times_s) == 1


def test_a_full_disk_is_told_and_leaves_what_was_written(tmp_path: Path) -> None:
    """Status 2, the sink by its name, and a file that can be played."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, hard))
    try:
        outcome = executed(tmp_path, "use: 'tests.troublesome:CountSource', pictures: 3000", ", crf: 0, height: 360")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert outcome.exit_status == 2
    assert "sink video: cannot be written: File too large" in (outcome.error or "")
    assert len(watched(tmp_path / "out" / "video.mp4").times_s) > 10


@pytest.mark.slow
def test_a_killed_run_leaves_a_video_that_plays(tmp_path: Path) -> None:
    """After `kill -9` it goes to within seconds of the last record."""
    (tmp_path / "run.yaml").write_text(
        "source: {use: 'tests.troublesome:EndlessSource'}\nsinks: [{use: jsonl}, {use: video}]\n"
    )
    last_s = killed_run(tmp_path, 200)
    seen = watched(tmp_path / "killed" / "video.mp4")
    assert last_s - seen.times_s[-1] < 1.2


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (
            "overlays: [triangl]",
            "sinks[0]: overlays: this run has no overlay 'triangl'; did you mean 'triangle'? it has: incidents, level,",
        ),
        ("file: ../a.mp4", "sinks[0].file"),
        ("height: 10", "sinks[0].height"),
        ("crf: 60", "sinks[0].crf"),
        ("preset: quick", "sinks[0].preset"),
    ],
)
def test_options_that_make_no_sense_are_told_before_the_run(tmp_path: Path, options: str, reason: str) -> None:
    """With the line, what there is, and the nearest match."""
    path = tmp_path / "run.yaml"
    path.write_text(
        "source: {use: 'tests.troublesome:CountSource'}\n"
        "processors: [{use: 'tests.sinks.drawing:Drawing', name: drawing}]\n"
        f"sinks: [{{use: video, {options}}}]\n"
    )
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert f"run.yaml:3: {reason}" in str(caught.value)


def test_triangle_is_closed() -> None:
    """The truth of these tests: what `Drawing` declares is what they look for."""
    outlines = {info.outline.name: info.outline.paths for info in metrics_of(Drawing.result_type()) if info.outline}
    assert outlines == {"triangle": (TRIANGLE,), "dots": ()}
