"""Stills and clips of incidents: what they show, how many there are, and that they never hold a run up."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import jsonschema
import numpy as np
import pytest

from vision.catalog import schema
from vision.children import python_command
from vision.config import EvidenceOptions, load
from vision.errors import ConfigError, OutputError
from vision.frame import Frame, Samples, Sound
from vision.incidents import Incident, OpenStretch
from vision.outputs.clip import HeardSound, PictureCoder, Recent, Span, write_clip
from vision.outputs.evidence import Evidence
from vision.record import Record
from vision.runner import Outcome, Run
from vision.testing import make_frame, make_picture

FPS, RATE_HZ = 25, 48_000
SIZE = (320, 180)
DARK_S = ((3.0, 4.0), (6.0, 6.4))
"""When the recording is black."""


def _is_dark(time_s: float) -> bool:
    return any(begin_s <= time_s + 1e-6 < end_s for begin_s, end_s in DARK_S)


def _luma(number: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A bright bar that moves, or black."""
    width, height = SIZE
    luma = np.full((height, width), 16 if _is_dark(number / FPS) else 100, np.uint8)
    if not _is_dark(number / FPS):
        luma[:, 10 + 2 * number % 280 :][:, :30] = 200
    return luma


def _sound(first: int, count: int) -> Samples:
    """A tone of 500 Hz while the picture is black, else one of 1000 Hz."""
    times_s = np.arange(first, first + count) / RATE_HZ
    pitch = np.where([_is_dark(time_s) for time_s in times_s], 500.0, 1000.0)
    return (0.3 * np.sin(2 * np.pi * pitch * times_s)).astype(np.float32)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight seconds with two stretches of black."""
    path = tmp_path_factory.mktemp("recording") / "clip.mkv"
    with av.open(str(path), "w") as output:
        video: Any = output.add_stream("libx264", rate=FPS, options={"preset": "ultrafast", "bf": "0"})
        video.width, video.height, video.pix_fmt = *SIZE, "yuv420p"
        audio: Any = output.add_stream("flac", rate=RATE_HZ, layout="mono")
        for number in range(8 * FPS):
            planes = np.full((SIZE[1] * 3 // 2, SIZE[0]), 128, np.uint8)
            planes[: SIZE[1]] = _luma(number)
            frame = av.VideoFrame.from_ndarray(planes, "yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            output.mux(video.encode(frame))
            samples = np.rint(32767 * _sound(number * 1920, 1920)).astype(np.int16)
            block = av.AudioFrame.from_ndarray(samples[None], "s16", "mono")
            block.sample_rate, block.pts, block.time_base = RATE_HZ, number * 1920, Fraction(1, RATE_HZ)
            output.mux(audio.encode(block))
        for stream in (video, audio):
            output.mux(stream.encode(None))
    return path


def _run(folder: Path, recording: Path, evidence: str) -> Outcome:
    path = folder / "run.yaml"
    processors = "[{use: frame_quality}]"
    path.write_text(
        f"source: {{use: file, path: {recording}}}\nrun: {{evidence: {evidence}}}\nprocessors: {processors}\n"
    )
    return asyncio.run(Run(load(path), folder / "out").execute())


def _incidents(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "out" / "incidents.jsonl").read_text().splitlines()
    return [incident for incident in map(json.loads, lines) if incident["kind"] == "black"]


def _pictures(path: Path) -> list[tuple[float, float]]:
    """Time and mean luma of each picture of a clip."""
    with av.open(str(path)) as clip:
        assert clip.streams.video[0].codec_context.name == "h264"
        assert clip.streams.audio[0].codec_context.name == "aac"
        return [
            (float(frame.time or 0), float(frame.to_ndarray(format="gray").mean())) for frame in clip.decode(video=0)
        ]


def _heard(path: Path) -> Samples:
    with av.open(str(path)) as clip:
        blocks = [frame.to_ndarray()[0] for frame in clip.decode(audio=0)]
    return np.concatenate(blocks).astype(np.float32)


def _pitch_hz(samples: Samples) -> float:
    return float(np.argmax(np.abs(np.fft.rfft(samples * np.hanning(samples.size)))) * RATE_HZ / samples.size)


def test_each_incident_has_a_still_and_a_clip_with_sound(tmp_path: Path, recording: Path) -> None:
    """The still is of the incident, as large as the picture; the clip begins before it and ends behind it, in sync."""
    outcome = _run(tmp_path, recording, "true")
    assert outcome.exit_status == 0, outcome.error
    found = _incidents(tmp_path)
    assert [(one["start_s"], one["end_s"]) for one in found] == list(DARK_S)
    for incident, (begin_s, end_s) in zip(found, DARK_S, strict=True):
        with av.open(str(tmp_path / "out" / incident["evidence"]["still"])) as still:
            (picture,) = still.decode(video=0)
            assert (picture.width, picture.height) == SIZE
            assert picture.to_ndarray(format="gray").max() < 20
        clip = tmp_path / "out" / incident["evidence"]["clip"]
        pictures, heard = _pictures(clip), _heard(clip)
        dark = [time_s for time_s, luma in pictures if luma < 40]
        before_s, after_s = dark[0], pictures[-1][0] - dark[-1]
        assert len(dark) == round((end_s - begin_s) * FPS)
        assert 2 <= before_s <= 3
        assert after_s == pytest.approx(1, abs=1.5 / FPS)
        middle = round((dark[0] + dark[-1]) / 2 * RATE_HZ)
        assert _pitch_hz(heard[middle - 4096 : middle + 4096]) == pytest.approx(500, abs=6)
        assert _pitch_hz(heard[RATE_HZ // 2 :][:8192]) == pytest.approx(1000, abs=6)
        turn = round(dark[0] * RATE_HZ)  # pitch falls where the picture turns black
        assert _pitch_hz(heard[turn - 2000 : turn - 400]) == pytest.approx(1000, abs=40)
        assert _pitch_hz(heard[turn + 400 : turn + 2000]) == pytest.approx(500, abs=40)
    assert sorted(path.name for path in (tmp_path / "out" / "evidence").iterdir()) == [
        "0001-black.jpg",
        "0001-black.mp4",
        "0002-black.jpg",
        "0002-black.mp4",
    ]
    size = sum(path.stat().st_size for path in (tmp_path / "out" / "evidence").iterdir())
    counts = {"stills": 2, "clips": 2, "bytes": size, "left_out": 0, "pictures_dropped": 0}
    assert outcome.summary["evidence"] == counts


def test_limits_hold_and_are_told(tmp_path: Path, recording: Path) -> None:
    """Beyond them incidents are told without files; clips end after the longest time."""
    outcome = _run(tmp_path, recording, "{most: 1, before_s: 0.5, longest_s: 1, height: 90}")
    first, second = _incidents(tmp_path)
    assert "clip" in first["evidence"]
    assert not {"clip", "still"} & set(second["evidence"])
    assert outcome.summary["evidence"]["left_out"] == 1
    pictures = _pictures(tmp_path / "out" / first["evidence"]["clip"])
    dark = [time_s for time_s, luma in pictures if luma < 40]
    assert pictures[-1][0] - dark[0] == pytest.approx(0.5, abs=1.5 / FPS)
    with av.open(str(tmp_path / "out" / first["evidence"]["clip"])) as clip:
        assert (clip.streams.video[0].width, clip.streams.video[0].height) == (160, 90)


def test_without_clips_there_are_stills(tmp_path: Path, recording: Path) -> None:
    """And nothing is coded."""
    outcome = _run(tmp_path, recording, "{clips: false}")
    assert (outcome.summary["evidence"]["stills"], outcome.summary["evidence"]["clips"]) == (2, 0)
    assert all("clip" not in incident["evidence"] for incident in _incidents(tmp_path))


def test_without_evidence_there_is_no_folder(tmp_path: Path, recording: Path) -> None:
    """It is off unless asked for."""
    outcome = _run(tmp_path, recording, "false")
    assert not (tmp_path / "out" / "evidence").exists()
    assert "evidence" not in outcome.summary


def test_an_interrupted_run_leaves_whole_files(tmp_path: Path) -> None:
    """What is open when it is stopped has its clip as far as it came."""
    evidence = Evidence(EvidenceOptions(), tmp_path, waits=True)
    evidence.open()
    for frame in _frames(100):
        evidence.add(Record(frame, {}), [OpenStretch("freeze", 2.0, 2.0)] if frame.time_s >= 2 else [])
    told = evidence.with_files(Incident("freeze", "rendered", 2.0, 3.96, "error", {"metric": "m"}))
    evidence.close()
    assert told.evidence == {"metric": "m", "still": "evidence/0001-freeze.jpg", "clip": "evidence/0001-freeze.mp4"}
    pictures = _pictures(tmp_path / told.evidence["clip"])
    assert len(pictures) == 100
    assert pictures[-1][0] == pytest.approx(99 / FPS)
    assert not list((tmp_path / "evidence").glob(".*"))


def _frames(count: int, first: int = 0) -> Iterator[Frame]:
    for number in range(first, first + count):
        samples = _sound(number * 1920, 1920)
        frame = make_frame(make_picture(_luma(number)), index=number, fps=FPS)
        yield dataclasses.replace(frame, sound=Sound(samples, RATE_HZ, number / FPS))


def test_the_still_is_of_the_worst_picture(tmp_path: Path) -> None:
    """As the stretch says while it goes on; of a gap, the last picture before it."""
    evidence = Evidence(EvidenceOptions(clips=False), tmp_path, waits=True)
    evidence.open()
    for number in range(10):
        frame = make_frame(make_picture(20 * number), index=number, fps=10)
        worst_s = 0.2 if number < 5 else 0.5
        stretches = [OpenStretch("blur", 0.2, worst_s)] if 2 <= number < 7 else []
        stretches += [OpenStretch("no_picture", 0.6, 0.6)] if number >= 7 else []
        if number == 7:
            blur = evidence.with_files(Incident("blur", "rendered", 0.2, 0.7, "error", {}))
        evidence.add(Record(frame, {}), stretches)
    gap = evidence.with_files(Incident("no_picture", "network", 0.6, 1.0, "error", {}))
    evidence.close()
    shown = [av.open(str(tmp_path / one.evidence["still"])) for one in (blur, gap)]
    lumas = [next(still.decode(video=0)).to_ndarray(format="rgb24").mean() for still in shown]
    expected = [(20 * number - 16) * 255 / 219 for number in (5, 6)]
    assert lumas == pytest.approx(expected, abs=2)


def test_a_thread_that_cannot_keep_up_costs_pictures_and_no_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A live run goes on; what clips lack is counted, and sound is whole."""
    goes_on = threading.Event()
    code = PictureCoder.code

    def slow(self: PictureCoder, *arguments: Any) -> Any:
        goes_on.wait(10)
        return code(self, *arguments)

    monkeypatch.setattr(PictureCoder, "code", slow)
    evidence = Evidence(EvidenceOptions(), tmp_path, waits=False)
    evidence.open()
    for frame in _frames(60):
        evidence.add(Record(frame, {}), [])
    told = evidence.with_files(Incident("clock_slip", "sender", 2.0, 2.0, "warning", {}))
    goes_on.set()
    evidence.close()
    assert evidence.as_dict()["pictures_dropped"] == 60 - 16
    clip = tmp_path / told.evidence["clip"]
    assert len(_pictures(clip)) == 16
    assert _heard(clip).size / RATE_HZ == pytest.approx(60 / FPS, abs=0.05)


def test_a_folder_that_is_gone_is_one_line_at_the_end(tmp_path: Path) -> None:
    """The run is measured to its end; the error names the folder."""
    evidence = Evidence(EvidenceOptions(), tmp_path, waits=True)
    evidence.open()
    shutil.rmtree(tmp_path / "evidence")
    for frame in _frames(30):
        evidence.add(Record(frame, {}), [])
        if frame.index == 10:
            evidence.with_files(Incident("black", "rendered", 0.2, 0.3, "error", {}))
    with pytest.raises(OutputError, match=r"evidence: cannot be written: No such file or directory"):
        evidence.close()
    assert evidence.as_dict()["stills"] == 0


def test_memory_is_bounded_however_long_something_is_wrong() -> None:
    """Kept are the last seconds, and the beginning of what is open."""
    recent: Recent[HeardSound] = Recent(4.0)
    wanted = frozenset([Span(100.0, 110.0)])
    for number in range(100 * 60 * 60):
        time_s = number / 100
        recent.add(HeardSound(time_s, 100, np.zeros(1, np.int16)))
        recent.trim(time_s, wanted if time_s >= 101 else frozenset())
        if number % 10_000 == 5000:
            assert len(list(recent)) <= 401 + 1001
    assert len(recent.within(Span(100.0, 110.0))) == 1001
    recent.trim(3600.0, frozenset())
    assert len(list(recent)) <= 401


def test_another_size_is_fitted_into_the_first(tmp_path: Path) -> None:
    """With bars, in the middle; time that does not go on is passed over."""
    coder = PictureCoder(180)
    wide = np.full((360, 640), 200, np.uint8)
    coded = [*coder.code(make_picture(wide), 0.0), *coder.code(make_picture(wide.T.copy()), 1.0)]
    assert list(coder.code(make_picture(wide), 1.0)) == []
    assert write_clip(tmp_path / "clip.mp4", coder.stream, coded, [])
    coder.close()
    with av.open(str(tmp_path / "clip.mp4")) as clip:
        first, second = (frame.to_ndarray()[:180] for frame in clip.decode(video=0))
    assert first.shape == second.shape == (180, 320)
    np.testing.assert_allclose(first, 200, atol=3)
    np.testing.assert_allclose(second[:, 115:205], 200, atol=5)
    np.testing.assert_allclose(second[:, :105], 16, atol=5)
    assert not write_clip(tmp_path / "none.mp4", None, [], [])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("true", EvidenceOptions()),
        ("false", None),
        ("null", None),
        ("{}", EvidenceOptions()),
        ("{most: 3}", EvidenceOptions(most=3)),
    ],
)
def test_it_is_switched_on_or_given_options(tmp_path: Path, text: str, expected: EvidenceOptions | None) -> None:
    """In one word, or in detail."""
    path = tmp_path / "run.yaml"
    path.write_text(f"source: {{use: simulator}}\nrun: {{evidence: {text}}}\n")
    assert load(path).run.evidence == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("3", "run.evidence: must be true, false, or options such as {most: 10}, got 3"),
        ("{mots: 3}", "run.evidence.mots"),
        ("{most: 0}", "run.evidence.most: input should be greater than or equal to 1, got 0"),
    ],
)
def test_a_mistake_in_it_is_told_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    """As any other."""
    path = tmp_path / "run.yaml"
    path.write_text(f"source: {{use: simulator}}\nrun:\n  evidence: {text}\n")
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert f"run.yaml:3: {message}" in str(caught.value)


def test_the_schema_takes_both_forms() -> None:
    """An editor that knows the schema complains of mistakes only."""
    validator = jsonschema.Draft202012Validator(schema())
    for given, is_good in [(True, True), (False, True), ({"most": 3}, True), (3, False), ({"mots": 3}, False)]:
        run = {"source": {"use": "simulator"}, "run": {"evidence": given}}
        assert validator.is_valid(run) is is_good, given


@pytest.mark.slow
def test_ctrl_c_leaves_whole_files(tmp_path: Path, recording: Path) -> None:
    """While it is black: the incident ends there, its still and its clip are whole, and the terminal says so."""
    config, out = tmp_path / "run.yaml", tmp_path / "out"
    config.write_text(
        f"source: {{use: file, path: {recording}, pace: realtime}}\n"
        "run: {evidence: true}\nprocessors: [{use: frame_quality}]\n"
    )
    command = python_command("-m", "vision", "run", str(config), "--out", str(out))
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        deadline_s = time.monotonic() + 60
        while not _is_shown(out / "frames.jsonl", 3.2) and time.monotonic() < deadline_s:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "evidence: 1 stills, 1 clips" in said
    (incident,) = _incidents(tmp_path)
    assert (incident["start_s"], incident["end_s"]) == (3.0, pytest.approx(3.5, abs=0.48))
    pictures = _pictures(out / incident["evidence"]["clip"])
    assert sum(luma < 40 for _, luma in pictures) >= 5
    assert {path.suffix for path in (out / "evidence").iterdir()} == {".jpg", ".mp4"}


def _is_shown(path: Path, time_s: float) -> bool:
    """Whether a run has come so far."""
    lines = path.read_text().splitlines() if path.exists() else []
    return len(lines) > 1 and bool(json.loads(lines[-2])["time_s"] >= time_s)
