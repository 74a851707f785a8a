"""The connector `file`: whatever PyAV opens, to its end, or to where it breaks off."""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.stream import Disposition

from tests.clips import MEDIA
from tests.connectors.recording import AMPLITUDE, Sound, Video, spoil, write
from tests.connectors.server import Server, answers
from tests.connectors.support import Collector, checked, executed, frames_of, made, run_clean
from vision.connectors.file import FileConnector
from vision.errors import SourceError
from vision.frame import Frame

CONTAINERS: dict[str, dict[str, Any]] = {
    "clip.mp4": {},
    "clip.mkv": {},
    "clip.webm": {"video": Video(codec="libvpx"), "sound": Sound(codec="libopus")},
    "clip.ts": {},
    "clip.avi": {"video": Video(codec="mpeg4"), "sound": Sound(codec="mp2")},
    "clip.flv": {},
    "clip.mov": {},
    "fragments.mp4": {"options": {"movflags": "frag_keyframe+empty_moov"}},
    "no times.h264": {"sound": None, "container": "h264"},
    "a:b.mp4": {},
}


def connector(path: Path, **options: Any) -> FileConnector:
    """The connector of a file."""
    made_of_it = made(FileConnector, path=path, **options)
    assert isinstance(made_of_it, FileConnector)
    return made_of_it


def measured(path: Path) -> tuple[list[Frame], str]:
    """The frames of a file, and how it ended."""
    return run_clean(frames_of(connector(path)))


def with_pictures(frames: list[Frame]) -> list[Frame]:
    """The frames that have one."""
    return [frame for frame in frames if frame.maybe_picture is not None]


@pytest.mark.parametrize("name", CONTAINERS)
def test_every_container_is_read_to_its_end(tmp_path: Path, name: str) -> None:
    """Fifty pictures in, fifty pictures out, 40 ms apart, and the end is the end of the file."""
    frames, reason = measured(write(tmp_path / name, **CONTAINERS[name]))
    assert reason == "end of file"
    times_s = [frame.time_s for frame in with_pictures(frames)]
    assert len(times_s) == 50
    np.testing.assert_allclose(np.diff(times_s), 0.04, atol=0.0011)
    assert times_s[0] == 0


@pytest.mark.parametrize("path", sorted(MEDIA.glob("*.m*[4g]")), ids=lambda path: path.name)
def test_every_clip_at_hand_ends_with_its_file(path: Path) -> None:
    """No recording of the collection is taken for a truncated one."""
    source = connector(path)
    intake = Collector()
    assert run_clean(source.stream(intake)) == "end of file"
    assert intake.facts["bad_packets"] == 0


def test_uneven_frame_rate_is_kept(tmp_path: Path) -> None:
    """Pictures keep the times of the container, however uneven."""
    times_ms = [0, 40, 60, 160, 170, 500, 533, 1000]
    frames, reason = measured(write(tmp_path / "vfr.mkv", Video(times_ms=times_ms), None))
    assert reason == "end of file"
    assert [round(1000 * frame.time_s) for frame in with_pictures(frames)] == times_ms


@pytest.mark.parametrize("start_ms", [33, 0, -33])
def test_offset_between_the_tracks_is_kept(tmp_path: Path, start_ms: int) -> None:
    """Sound that starts before or after the picture does so on the media clock, to the sample."""
    times_ms = range(100, 1100, 40)
    sound = Sound(codec="pcm_s16le", start_ms=100 + start_ms, duration_ms=900)
    frames, _ = measured(write(tmp_path / "offset.mkv", Video(times_ms=times_ms), sound))
    begun = next(frame.sound for frame in frames if frame.sound.samples.size)
    assert begun.start_s == pytest.approx(start_ms / 1000, abs=0.001)
    loud = int(np.argmax(np.abs(begun.samples) > 0.01))
    assert loud <= 2


@pytest.mark.parametrize("form", ["pcm_u8", "pcm_s16le", "pcm_s32le", "pcm_f32le"])
@pytest.mark.parametrize("layout", ["mono", "stereo"])
def test_every_sample_reaches_the_frames_once(tmp_path: Path, form: str, layout: str) -> None:
    """The samples of all frames together are those of the file: as many, in order, as loud."""
    sound = Sound(codec=form, layout=layout, rate_hz=44_100)
    frames, reason = measured(write(tmp_path / "sound.mkv", Video(), sound))
    assert reason == "end of file"
    samples = np.concatenate([frame.sound.samples for frame in frames])
    assert samples.size == 2 * 44_100
    assert not any(frame.sound.missing for frame in frames)
    assert float(np.sqrt(2 * np.mean(samples**2))) == pytest.approx(AMPLITUDE, rel=0.01)
    spectrum = np.abs(np.fft.rfft(samples))
    assert int(np.argmax(spectrum)) == 880  # 440 Hz over 2 s: seams would spread it
    assert spectrum[880] > 0.99 * np.sqrt(np.sum(spectrum**2))


def test_sum_of_samples_is_what_was_decoded(tmp_path: Path) -> None:
    """With a codec that pads, the frames hold what the decoder gave, no more and no less."""
    path = write(tmp_path / "clip.mp4")
    decoded = Collector()
    run_clean(connector(path).stream(decoded))
    frames, _ = measured(path)
    assert sum(frame.sound.samples.size for frame in frames) == sum(unit.samples.size for unit, _ in decoded.sounds)


def test_picture_alone(tmp_path: Path) -> None:
    """A file without sound says so, and its frames carry none."""
    source = connector(write(tmp_path / "silent.mp4", sound=None))
    assert list(source.tracks()) == ["picture"]
    frames, reason = run_clean(frames_of(source))
    assert reason == "end of file"
    assert len(frames) == 50
    assert not any(frame.sound.samples.size for frame in frames)


@pytest.mark.parametrize(
    ("name", "codec"), [("a.wav", "pcm_s16le"), ("a.m4a", "aac"), ("a.flac", "flac"), ("a.mp3", "libmp3lame")]
)
def test_sound_alone(tmp_path: Path, name: str, codec: str) -> None:
    """A file without pictures gives frames without one, five a second, with all its samples."""
    source = connector(write(tmp_path / name, None, Sound(codec=codec)))
    assert list(source.tracks()) == ["sound"]
    frames, reason = run_clean(frames_of(source))
    assert reason == "end of file"
    assert len(frames) >= 10
    assert abs(sum(frame.sound.samples.size for frame in frames) - 96_000) < 2400


@pytest.mark.parametrize(
    ("pixels", "codec", "size"),
    [
        ("yuv420p10le", "libx264", (638, 358)),
        ("yuv444p", "libx264", (639, 359)),
        ("gray", "libx264", (638, 358)),
        ("yuv422p", "libx264", (638, 359)),
        ("rgb24", "png", (639, 359)),
    ],
)
def test_other_pixel_formats_are_converted(tmp_path: Path, pixels: str, codec: str, size: tuple[int, int]) -> None:
    """10-bit, 4:4:4, gray and RGB recordings give 8-bit 4:2:0 planes, of odd sizes too where the codec has them."""
    video = Video(codec=codec, size=size, pixels=pixels, times_ms=(0, 40, 80))
    frames, reason = measured(write(tmp_path / "odd.mov", video, None))
    assert reason == "end of file"
    pictures = [frame.maybe_picture for frame in frames]
    assert len(pictures) == 3
    for number, found in enumerate(pictures):
        assert found is not None
        assert found.y.shape == size[::-1]
        assert found.u.shape == ((size[1] + 1) // 2, (size[0] + 1) // 2)
        if pixels != "rgb24":
            assert float(found.y.mean()) == pytest.approx(40 + 3 * number, abs=2)


def test_full_range_is_flagged(tmp_path: Path) -> None:
    """A recording in the full range says so with every picture."""
    video = Video(codec="mjpeg", pixels="yuvj420p", times_ms=(0, 40), full_range=True)
    frames, _ = measured(write(tmp_path / "full.avi", video, None))
    assert [frame.maybe_picture.full_range for frame in frames if frame.maybe_picture] == [True, True]


def test_cover_art_is_no_picture_track(tmp_path: Path) -> None:
    """The cover of a song is not taken for its video."""
    path = tmp_path / "song.mp3"
    cover = write(tmp_path / "cover.mov", Video(codec="png", pixels="rgb24", times_ms=(0,)), None)
    with av.open(str(cover)) as source, av.open(str(path), "w") as output:
        stream = output.add_stream_from_template(source.streams.video[0])
        stream.disposition = Disposition.attached_pic
        voice = output.add_stream("libmp3lame", rate=48_000, layout="mono")
        packet = next(source.demux(video=0))
        packet.stream = stream
        output.mux(packet)
        block = av.AudioFrame.from_ndarray(np.zeros((1, 1152), np.float32), "fltp", "mono")
        block.sample_rate, block.pts = 48_000, 0
        output.mux(voice.encode(block))
        output.mux(voice.encode(None))
    assert list(connector(path).tracks()) == ["sound"]


def test_a_file_that_cannot_be_opened_is_one_line(tmp_path: Path) -> None:
    """What is no recording is refused at once, each in words of its own."""
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "notes").write_text("nothing to see\n" * 40)
    (tmp_path / "notes.txt").write_text("nothing to see\n" * 40)
    (tmp_path / "words.srt").write_text("1\n00:00:00,000 --> 00:00:01,000\nhi\n")
    (tmp_path / "huge.y4m").write_text("YUV4MPEG2 W30000 H30000 F25:1 C420\nFRAME\n")
    os.mkfifo(tmp_path / "pipe.mp4")
    whole = write(tmp_path / "end.mp4", options={})
    (tmp_path / "no index.mp4").write_bytes(whole.read_bytes()[:-4000])
    expected = {
        "nowhere.mp4": "no such file",
        ".": "is no file",
        "pipe.mp4": "is no file",
        "empty.mp4": "no recording",
        "notes": "no recording",
        "notes.txt": "a text",
        "x" * 300: "File name too long",
        "huge.y4m": "cannot be opened",
        "words.srt": "neither pictures nor sound",
        "no index.mp4": "lacks its index",
    }
    for name, words in expected.items():
        with pytest.raises(SourceError, match=words) as caught:
            connector(tmp_path / name)
        checked(str(caught.value))
        assert caught.value.exit_status == 3


def test_a_home_that_is_nobodys(tmp_path: Path) -> None:
    """A `~name` that cannot be resolved is one line too."""
    with pytest.raises(SourceError, match="there is no such user"):
        connector(Path("~nosuchuser/clip.mp4"))


PLAYLISTS = {
    "live.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\na.ts\n",
    "list.ffconcat": "ffconcat version 1.0\nfile a.ts\n",
    "live.mpd": '<?xml version="1.0"?><MPD profiles="urn:mpeg:dash:profile:isoff-live:2011" type="dynamic"></MPD>',
    "stream.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 9 RTP/AVP 96\n",
}


@pytest.mark.parametrize("name", PLAYLISTS)
def test_a_playlist_is_refused_at_once(tmp_path: Path, name: str) -> None:
    """A file that names others is no recording, and is not waited for, as a live one would have it."""
    path = tmp_path / name
    path.write_text(PLAYLISTS[name])
    begun = time.monotonic()
    with pytest.raises(SourceError, match="it is a playlist; give the recording itself"):
        connector(path)
    assert time.monotonic() - begun < 1


def test_a_playlist_leads_nowhere(tmp_path: Path) -> None:
    """A file that names an address on the network does not make this machine go there."""

    async def scenario() -> None:
        async with Server(answers(200, "x")) as server:
            path = tmp_path / "list.m3u8"
            entry = f"#EXTINF:5,\n{server.url}/a.ts"
            path.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:5\n{entry}\n#EXT-X-ENDLIST\n")
            with pytest.raises(SourceError):
                await asyncio.to_thread(connector, path)
            assert not server.requests

    run_clean(scenario())


def test_a_length_that_is_only_estimated_is_no_statement(tmp_path: Path) -> None:
    """An MP3 of varying bit rate without a length of its own is not taken for a truncated one."""
    path = tmp_path / "vbr.mp3"
    noise = np.random.default_rng(0).normal(0, 0.2, 10 * 48_000)
    samples = np.concatenate([np.zeros(20 * 48_000), noise]).astype(np.float32)
    with av.open(str(path), "w", options={"write_xing": "0"}) as output:
        options = {"global_quality": "300", "flags": "+qscale"}
        stream = output.add_stream("libmp3lame", rate=48_000, layout="mono", options=options)
        for start in range(0, samples.size, 1152):
            frame = av.AudioFrame.from_ndarray(samples[None, start : start + 1152], "fltp", "mono")
            frame.sample_rate, frame.pts = 48_000, start
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    with av.open(str(path)) as container:
        guessed = container.streams.audio[0]
        assert guessed.duration is not None
        assert guessed.time_base is not None
        assert float(guessed.duration * guessed.time_base) > 35
    assert run_clean(connector(path).stream(Collector())) == "end of file"


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv"])
def test_a_truncated_file_is_measured_as_far_as_it_goes(tmp_path: Path, name: str) -> None:
    """What was decoded is kept; the error says how far that is; the status is 3."""
    whole = write(tmp_path / name)
    path = tmp_path / f"cut.{name}"
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
    outcome = run_clean(executed(tmp_path, f"source: {{use: file, path: {path}}}\n"))
    assert outcome.exit_status == 3
    assert outcome.error is not None
    assert "ends early, at 1." in checked(outcome.error)
    records = [json.loads(line) for line in (tmp_path / "out" / "frames.jsonl").read_text().splitlines()]
    pictures = [record for record in records if record["index"] is not None]
    assert 20 <= len(pictures) <= 40
    assert f"{len(pictures)} pictures" in outcome.error
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["end"]["exit_status"] == 3


def test_corrupt_packets_are_counted_and_passed_over(tmp_path: Path) -> None:
    """Bad packets in the middle cost themselves, and are in the facts of the source."""
    path = write(tmp_path / "clip.mp4")
    spoil(path, "video", [20, 21, 22])
    spoil(path, "audio", [50])
    intake = Collector()
    assert run_clean(connector(path).stream(intake)) == "end of file"
    assert intake.facts["bad_packets"] == 4
    assert 40 <= len(intake.pictures) <= 47
    assert intake.pictures[-1][0].track_s == pytest.approx(1.96, abs=0.001)


def test_a_track_that_cannot_be_decoded_is_an_error(tmp_path: Path) -> None:
    """Pictures of which none can be made sense of are no success, though the sound is whole."""
    path = write(tmp_path / "clip.mp4")
    spoil(path, "video", range(50))
    frames, reason = measured(path)
    assert "the pictures cannot be decoded" in reason
    assert not with_pictures(frames)
    assert sum(frame.sound.samples.size for frame in frames) > 90_000


def test_a_track_that_is_corrupt_from_some_point_on_is_an_error(tmp_path: Path) -> None:
    """More bad packets in a row than one passes over are the end, also while the other track goes on."""
    path = write(tmp_path / "clip.mp4", Video(times_ms=range(0, 4000, 40)), Sound(duration_ms=4000))
    spoil(path, "video", range(20, 100))
    frames, reason = measured(path)
    assert "the pictures cannot be decoded to the end" in reason
    assert 10 <= len(with_pictures(frames)) <= 20


def test_real_time_is_as_long_as_the_media(tmp_path: Path) -> None:
    """With `pace: realtime` nothing comes before its time, and arrivals say when it came."""
    path = write(tmp_path / "clip.mkv", Video(times_ms=range(0, 1000, 40)), Sound(duration_ms=1000))
    intake = Collector()
    begun = time.monotonic()
    assert run_clean(connector(path, pace="realtime").stream(intake)) == "end of file"
    assert 0.9 <= time.monotonic() - begun <= 5
    early_s = [unit.track_s - (unit.arrival_s - intake.pictures[0][0].arrival_s) for unit, _ in intake.pictures]
    assert max(early_s) < 0.05


def test_fast_does_not_wait(tmp_path: Path) -> None:
    """With `pace: fast` nothing waits for its time: an hour between two pictures takes no hour."""
    path = write(tmp_path / "slow.mkv", Video(times_ms=(0, 40, 3_600_000)), None)
    frames, reason = measured(path)
    assert reason == "end of file"
    assert [round(frame.time_s) for frame in with_pictures(frames)] == [0, 0, 3600]


def records_of(folder: Path) -> list[dict[str, Any]]:
    """The records of a run, without the times at which it was run."""
    found = [json.loads(line) for line in (folder / "frames.jsonl").read_text().splitlines()]
    for record in found:
        del record["arrival_s"]
    return found


@pytest.mark.parametrize("name", [None, "lp_d18.mp4"])
def test_fast_gives_the_same_records_twice(tmp_path: Path, name: str | None) -> None:
    """Two runs over one file differ in nothing but arrival times."""
    path = MEDIA / name if name else write(tmp_path / "clip.mp4")
    if not path.exists():
        pytest.skip(f"{path} is not here (VISION_TEST_MEDIA)")
    yaml = f"source: {{use: file, path: {path}}}\nrun: {{queue: {{size: 4}}}}\nprocessors: []\n"
    for run in ("one", "two"):
        assert run_clean(executed(tmp_path, yaml, run)).exit_status == 0
    one, two = records_of(tmp_path / "one"), records_of(tmp_path / "two")
    assert json.dumps(one) == json.dumps(two)
    assert len(one) >= 50


def test_cancelled_while_decoding(tmp_path: Path) -> None:
    """Cancelled at any moment, the file is closed only when the thread that decodes from it is done with it."""
    path = write(tmp_path / "clip.mp4", Video(size=(640, 480)))

    async def scenario(delay_s: float) -> None:
        streaming = asyncio.create_task(connector(path).stream(Collector()))
        await asyncio.sleep(delay_s)
        streaming.cancel()
        await asyncio.wait([streaming])
        assert streaming.cancelled()

    for step in range(12):
        run_clean(scenario(0.002 * step))


def test_a_slow_reader_slows_the_file_down(tmp_path: Path) -> None:
    """Nothing is lost with the smallest queue: the file waits."""
    frames, reason = run_clean(frames_of(connector(write(tmp_path / "clip.mp4")), size=1))
    assert reason == "end of file"
    assert len(with_pictures(frames)) == 50
