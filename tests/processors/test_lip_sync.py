"""lip_sync on streams: the drawn head with its voice at planted offsets, and clips of people."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from processors.face_landmarks import FaceLandmarks
from processors.lip_sync import LipSync, LipSyncProcessor, State
from processors.lip_sync.activity import STATE_DELAY_S
from processors.lip_sync.estimator import estimate
from processors.lip_sync.gate import Gate, Reading
from processors.lip_sync.history import History
from processors.lip_sync.model import shipped
from processors.lip_sync.recording import Recording
from processors.lip_sync.train import Clip, clips_of, fitted, main, trained
from processors.speech import RATE_HZ
from tests.processors.hearing import sound_of, spoken, voice
from tests.processors.lipsyncing import SECONDS, Item, Seen, delayed, drawn, listening, measured, offsets_ms, stream
from vision import Frame, ModelError, StreamInfo
from vision.incidents import Incident, IncidentTracker
from vision.record import Record
from vision.result import metrics_of, record_of
from vision.testing import check_processor

WITHIN_MS = 30.0


@pytest.fixture(scope="module")
def seen() -> Seen:
    """Twenty seconds of the drawn head, which the model was not trained on."""
    return drawn()


def at(items: Iterable[Item], start_s: float, end_s: float) -> list[Item]:
    """The frames of a time."""
    return [item for item in items if start_s <= item[0].time_s < end_s]


@pytest.mark.parametrize("planted_ms", [-200, -80, 0, 120, 200])
def test_a_planted_offset_is_found(seen: Seen, planted_ms: float) -> None:
    """Within 30 ms in every frame that has one, and most have; > 0 is late sound; the limits of BT.1359 hold."""
    results = measured(stream(seen.pictures, delayed(seen.samples, planted_ms)))
    found = offsets_ms(results)
    assert len(found) > 0.7 * len(results)
    assert np.abs(found - planted_ms).max() < WITHIN_MS
    out = {result.out_of_sync for result in results[300:] if result.out_of_sync is not None}
    unacceptable = {result.unacceptable_sync for result in results[300:] if result.unacceptable_sync is not None}
    assert out == {planted_ms < -45 or planted_ms > 150}
    assert unacceptable == {planted_ms < -150} or planted_ms == 200  # 185 ms is within its interval


@pytest.mark.parametrize("step", [2, 3])
def test_fewer_pictures_serve_as_well(seen: Seen, step: int) -> None:
    """15 and 10 pictures a second, for mouths are placed by their time."""
    found = offsets_ms(measured(stream(seen.pictures[::step], delayed(seen.samples, 60))))
    assert len(found) > 0.6 * len(seen.pictures[::step])
    assert np.abs(found - 60).max() < WITHIN_MS


def test_dropped_pictures_do_no_harm(seen: Seen) -> None:
    """A third of them is lost at random."""
    kept = np.random.default_rng(1).random(len(seen.pictures)) > 1 / 3
    pictures = [item for item, is_kept in zip(seen.pictures, kept, strict=True) if is_kept]
    found = offsets_ms(measured(stream(pictures, seen.samples)))
    assert len(found) > 0.6 * len(pictures)
    assert np.abs(found).max() < WITHIN_MS


def test_estimates_come_twice_a_second(seen: Seen) -> None:
    """From the first one on, no offset holds for longer than half a second; each says how old it is."""
    results = measured(stream(seen.pictures, seen.samples))
    first = next(index for index, result in enumerate(results) if result.offset_ms is not None)
    middles_s = [
        frame.time_s - result.age_ms / 1000
        for (frame, _), result in zip(seen.pictures[first:], results[first:], strict=True)
        if result.age_ms is not None
    ]
    changes = np.flatnonzero(np.diff(middles_s) > 0.01)
    assert np.diff(changes).max() <= 15
    ages_ms = [result.age_ms for result in results if result.age_ms is not None]
    assert 2300 < min(ages_ms) < max(ages_ms) < 3000


def test_a_step_is_reported_in_time(seen: Seen) -> None:
    """The sound falls back by 120 ms at 10 s: known within 6 s, at the right time within a second, once."""
    half = 10 * RATE_HZ
    samples = np.concatenate([seen.samples[:half], delayed(seen.samples, 120)[half:]])
    results = measured(stream(seen.pictures, samples))
    steps = [
        (frame.time_s, result) for (frame, _), result in zip(seen.pictures, results, strict=True) if result.sync_step
    ]
    ((known_s, result),) = steps
    assert result.step_ms == pytest.approx(120, abs=WITHIN_MS)
    assert result.step_age_ms is not None
    assert known_s < 16
    assert known_s - result.step_age_ms / 1000 == pytest.approx(10, abs=1)


def incidents_of(items: Iterable[Item]) -> list[Incident]:
    """What a run would tell of a stream."""
    infos = metrics_of(LipSync)
    tracker = IncidentTracker({"lip_sync": infos})
    incidents: list[Incident] = []
    items = list(items)
    for (frame, _), result in zip(items, measured(items), strict=True):
        incidents += tracker.add(Record(frame, {"lip_sync": record_of(result, infos)}))
    return [*incidents, *tracker.end()]


@pytest.mark.parametrize("step_ms", [-280, 280])
def test_an_incident_begins_where_the_sound_went_out_of_time(seen: Seen, step_ms: int) -> None:
    """In the middle of a phrase; not when it was known, some seconds later."""
    begin, step = 7 * RATE_HZ, round(0.001 * step_ms * RATE_HZ)
    moved = np.concatenate([seen.samples[:begin], seen.samples[begin - step :]])
    kinds = {each.kind: each for each in incidents_of(stream(seen.pictures, moved))}
    assert set(kinds) == {"out_of_sync", "unacceptable_sync", "sync_step"}
    assert all(each.start_s == pytest.approx(7, abs=0.1) for each in kinds.values())


def test_an_incident_of_lips_without_a_voice_is_where_it_was(seen: Seen) -> None:
    """The voice is gone from 7 s to 10 s, both within phrases."""
    samples = seen.samples.copy()
    samples[7 * RATE_HZ : 10 * RATE_HZ] = 0
    (found,) = incidents_of(stream(seen.pictures, samples))
    assert found.kind == "mouth_without_voice"
    assert [found.start_s, found.end_s] == pytest.approx([7, 10], abs=0.1)


def test_an_incident_of_a_voice_without_lips_is_where_it_was(seen: Seen) -> None:
    """The face is the same from 7 s to 10 s, both within phrases."""
    still = at(seen.pictures, 7, 8)[0][1]
    pictures = [(frame, still if 7 <= frame.time_s < 10 else face) for frame, face in seen.pictures]
    (found,) = incidents_of(stream(pictures, seen.samples))
    assert found.kind == "voice_without_mouth"
    assert [found.start_s, found.end_s] == pytest.approx([7, 10], abs=0.1)


def test_sound_that_belongs_elsewhere_moves_what_was_found(seen: Seen) -> None:
    """Half way, all sound turns out to belong 80 ms later: so it was all along, and that is no step."""
    frames = list(stream(seen.pictures, seen.samples))
    with listening() as (speech, lips):
        before = [lips.process(frame, face, speech.process(frame)) for frame, face in at(frames, 0, 10)]
        speech.shift_sound(0.08)
        lips.shift_sound(0.08)
        after = []
        for frame, face in at(frames, 10, 20):
            moved = dataclasses.replace(frame, sound=frame.sound.shifted(0.08))
            after.append(lips.process(moved, face, speech.process(moved)))
    assert np.abs(offsets_ms(before)).max() < WITHIN_MS
    assert len(offsets_ms(after)) > 0.7 * len(after)
    assert np.abs(offsets_ms(after) - 80).max() < WITHIN_MS
    assert after[0].offset_ms is None  # that of before is not told any more
    assert not any(result.sync_step for result in after)


def test_a_reset_begins_anew(seen: Seen) -> None:
    """What follows is measured as by a new processor."""
    frames = at(stream(seen.pictures, seen.samples), 0, 8)
    with listening() as (speech, lips):
        first = [lips.process(frame, face, speech.process(frame)) for frame, face in frames]
        speech.reset("reconnect")
        lips.reset("reconnect")
        again = [lips.process(frame, face, speech.process(frame)) for frame, face in frames]
    assert len(offsets_ms(first)) > 0
    assert again == first


def test_the_stream_says_what_a_window_of_it_says(seen: Seen) -> None:
    """An estimate as the stream went on is that of the same window taken afterwards."""
    frames = list(stream(seen.pictures, delayed(seen.samples, 40)))
    results = measured(frames)
    history = History()
    with listening() as (speech, _):
        for frame, face in frames:
            history.hear(frame.sound)
            history.see(frame.time_s, _distances(frame, face))
            heard = speech.process(frame)
    assert heard is not None
    checked = 0
    for (frame, _), result in zip(frames, results, strict=True):
        if result.offset_ms is None or result.age_ms is None:
            continue
        middle_s = frame.time_s - result.age_ms / 1000
        window = history.window(middle_s - 1.5, middle_s + 1.5)
        assert window is not None
        found = estimate(shipped(), window.stretch, window.part, 2.0)
        assert 1000 * found.offset_s == pytest.approx(result.offset_ms, abs=2)
        checked += 1
    assert checked > 300


def _distances(frame: Frame, face: FaceLandmarks | None) -> NDArray[np.float64] | None:
    from processors.lip_sync.features import mouth_distances

    if face is None or face.points_norm is None:
        return None
    return mouth_distances(face.points_norm, frame.picture.width, frame.picture.height)


def test_the_clocks_error_is_in_the_interval(seen: Seen) -> None:
    """It is added; where it is too great or not known, no offset is told, and no verdict given."""
    frames = [item for item in seen.pictures if item[0].time_s < 8]
    errors = {}
    for clock_ms in (0.0, 25.0):
        results = measured(stream(frames, seen.samples, clock_ms))
        errors[clock_ms] = [each.offset_error_ms for each in results if each.offset_error_ms is not None]
    assert np.array(errors[25.0]) == pytest.approx(np.array(errors[0.0]) + 25)
    for unknown in (150.0, None):
        results = measured(stream(frames, seen.samples, unknown))
        assert not len(offsets_ms(results))
        assert {result.out_of_sync for result in results} == {None}
        assert any(result.confidence is not None for result in results)


def test_a_face_that_is_missing_too_often_says_nothing(seen: Seen) -> None:
    """Of each second 0.4 s without a face: nothing is told of any window; a tenth of a second less does no harm."""
    for gap_s, says in ((0.6, False), (0.3, True)):
        pictures = [
            (frame, face if frame.time_s % 1 >= gap_s else FaceLandmarks(face_present=False))
            for frame, face in seen.pictures
        ]
        results = measured(stream(pictures, seen.samples))
        assert bool(len(offsets_ms(results))) == says
    assert np.abs(offsets_ms(results)).max() < 2 * WITHIN_MS


def music(seconds: float) -> NDArray[np.float32]:
    """Chords, plucked twice a second."""
    time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    root_hz = 220 * 2 ** (np.array([0, 5, 7, 3])[(time_s // 0.5).astype(int) % 4] / 12)
    chord = sum(np.sin(2 * np.pi * ratio * root_hz * time_s) / 8 for ratio in (1, 1.26, 1.5, 2))
    return np.asarray(chord * np.exp(-4 * (time_s % 0.5)), np.float32)


@pytest.mark.parametrize("kind", ["silence", "noise", "music"])
def test_no_speech_has_no_offset(seen: Seen, kind: str) -> None:
    """The lips of the drawn head move, and nothing is said: that is reported, and no offset or verdict."""
    noise = 0.05 * np.random.default_rng(2).standard_normal(round(SECONDS * RATE_HZ))
    samples = {"silence": np.zeros(noise.size), "noise": noise, "music": music(SECONDS)}[kind]
    results = measured(stream(seen.pictures, np.asarray(samples, np.float32)))
    assert not len(offsets_ms(results))
    assert {result.out_of_sync for result in results} == {None}
    assert np.mean([bool(result.mouth_without_voice) for result in results]) > 0.5


def test_another_voice_is_refused(seen: Seen) -> None:
    """The head of one performance with the voices of five others: nine of ten frames say nothing where an offset is to
    be as likely right as wrong, and most do by default, which lets more of the own sound through."""
    refused = {}
    for confidence in (0.5, LipSyncProcessor.Options().min_confidence):
        options = {"min_confidence": confidence}
        voices = (voice(SECONDS, seed) for seed in (2, 3, 4, 5, 6))
        results = [each for samples in voices for each in measured(stream(seen.pictures, samples), **options)]
        refused[confidence] = np.mean([result.offset_ms is None for result in results])
    assert refused.pop(0.5) >= 0.9
    assert min(refused.values()) >= 0.8
    own = measured(stream(seen.pictures, seen.samples))
    scores = [np.median([each.score for each in found if each.score is not None]) for found in (results, own)]
    assert scores[0] < 0.6 * scores[1]


def test_states_are_those_of_the_performance(seen: Seen) -> None:
    """Speaking or not: right in 95 % of the frames, of the moment that they are of."""
    results = measured(stream(seen.pictures, seen.samples))
    known = [
        (frame.time_s - STATE_DELAY_S, result.state)
        for (frame, _), result in zip(seen.pictures, results, strict=True)
        if result.state is not None
    ]
    truth = spoken(np.array([time_s for time_s, _ in known]))
    told = np.array([state == State.SPEAKING for _, state in known])
    assert len(known) > 0.9 * len(results)
    assert (told == truth).mean() >= 0.95


def test_lips_that_rest_while_a_voice_speaks_are_reported(seen: Seen) -> None:
    """From 8 s on the face is the same all the time: a voice without mouth, and no offset from what is left of it."""
    still = at(seen.pictures, 8, 9)[0][1]
    pictures = [(frame, face if frame.time_s < 8 else still) for frame, face in seen.pictures]
    results = measured(stream(pictures, seen.samples))
    late = [
        result for (frame, _), result in zip(pictures, results, strict=True) if frame.time_s > 8 + STATE_DELAY_S + 0.5
    ]
    assert {result.state for result in late} == {State.TALKING_FROZEN, State.LISTENING}
    assert np.mean([result.voice_without_mouth for result in late]) > 0.5
    assert not any(
        result.offset_ms is not None for (frame, _), result in zip(pictures, results, strict=True) if frame.time_s > 13
    )


def test_no_face_is_a_state(seen: Seen) -> None:
    """Where none is found; nothing else is said of the mouth."""
    pictures = [(frame, FaceLandmarks(face_present=False)) for frame, _ in at(seen.pictures, 0, 5)]
    results = measured(stream(pictures, seen.samples))
    assert {result.state for result in results} == {None, State.NO_FACE}
    assert results[-1].mouth_without_voice is None


def test_an_offset_ends_with_the_stream(seen: Seen) -> None:
    """Where pictures stall for longer than a second, the last offset is not told on and on."""
    frames = list(stream(seen.pictures, seen.samples))
    with listening() as (speech, lips):
        for frame, face in at(frames, 0, 10):
            last = lips.process(frame, face, speech.process(frame))
        assert last.offset_ms is not None
        for frame, _ in at(frames, 10, 12):
            stalled = dataclasses.replace(frame, index=None, maybe_picture=None)
            last = lips.process(stalled, None, speech.process(stalled))
    assert last.offset_ms is None
    assert last.state is None


def test_damaged_pictures_are_not_looked_at(seen: Seen) -> None:
    """A stream whose pictures are all marked has no face."""
    frames = [
        (dataclasses.replace(frame, corrupt=True), face)
        for frame, face in at(stream(seen.pictures, seen.samples), 0, 5)
    ]
    assert {result.state for result in measured(frames)} == {None, State.NO_FACE}


def test_weights_of_ones_own_are_named_where_they_are_missing(tmp_path: Path) -> None:
    """A path without a file."""
    lips = LipSyncProcessor(LipSyncProcessor.Options.model_validate({"model_path": tmp_path / "none.npz"}))
    with pytest.raises(ModelError, match=r"none\.npz"):
        lips.setup(StreamInfo(live=False))


def test_it_keeps_the_contract() -> None:
    """With pictures and without, reset, shifted and closed."""
    check_processor(LipSyncProcessor)


@pytest.fixture(scope="module")
def grid(media: Path) -> list[Clip]:
    """The clips of the GRID corpus, whose sound is in time to one picture."""
    same = ("grid_id2_swwp2s.mpg,grid_pwij3p.mpg",)
    return clips_of(sorted(media.glob("grid_*.mpg")), "grid_*", same, len)


@pytest.mark.slow
def test_people_that_were_not_trained_on_are_found_in_time(grid: list[Clip]) -> None:
    """Of each of eight GRID clips, with a model of the others alone: within 60 ms of zero before the zero is known, and
    shifts of it within 40 ms."""
    for tried in grid:
        model = fitted([clip for clip in grid if clip.person != tried.person])
        offsets = []
        for shift_s in (0.0, -0.2, 0.16):
            whole = tried.recording.shifted(shift_s).whole()
            assert whole is not None
            offsets.append(estimate(model, whole.stretch, whole.part, 1.7).offset_s - shift_s)
        assert abs(offsets[0]) < 0.06
        assert offsets == pytest.approx([offsets[0]] * 3, abs=0.04)


@pytest.mark.slow
def test_training_says_what_its_model_is_worth(grid: list[Clip]) -> None:
    """Right estimates are told from wrong ones, and the bias of persons that it does not know is its zero."""
    model = trained(grid, "GRID")
    readings: dict[str, list[Reading]] = {"own": [], "another's": []}
    for number, clip in enumerate(grid):
        for whose, recording in (("own", clip.recording), ("another's", _with_voice_of(clip, grid[number - 3]))):
            whole = recording.whole()
            assert whole is not None
            found = estimate(model, whole.stretch, whole.part, 1.7)
            readings[whose].append(Gate(model.calibration, 0.5).judge(whole.middle_s, found))
    confidences = [np.median([each.confidence for each in each_one]) for each_one in readings.values()]
    assert confidences[0] > 0.5 > confidences[1]
    assert np.mean([each.offset_s for each in readings["own"]]) == pytest.approx(0, abs=0.02)
    assert all(0.005 <= each.error_s < 0.1 for each in readings["own"])
    assert model.provenance == "GRID"


def _with_voice_of(clip: Clip, other: Clip) -> Recording:
    return clip.recording.with_sound(other.recording.samples, clip.recording.start_s)


def test_training_wants_persons_and_a_zero(grid: list[Clip]) -> None:
    """Four persons are too few, and without a clip in sync there is no zero."""
    with pytest.raises(ValueError, match="persons"):
        trained(grid[:4])
    with pytest.raises(ValueError, match="in sync"):
        trained([dataclasses.replace(clip, in_sync=False) for clip in grid])


def test_training_says_in_a_line_what_is_wrong(
    media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that is no clip, one that is not there, and too few persons; nothing is written."""
    broken, out = tmp_path / "broken.mp4", tmp_path / "weights.npz"
    broken.write_bytes(b"nothing of the kind" * 99)
    for clip, message in (
        (broken, "Invalid data"),
        (tmp_path / "none.mp4", "No such file"),
        (media / "grid_bbaf2n.mpg", "1 persons, 1 of them in sync; needed: 5 or more"),
    ):
        monkeypatch.setattr("sys.argv", ["train", str(clip), "--out", str(out)])
        assert main() == 2
        told = capsys.readouterr().err.splitlines()
        assert told[0] == f"{clip.name} ..."
        assert len(told) == 2
        assert message in told[1]
    assert not out.exists()


def test_states_are_those_of_a_speakers_words(media: Path, grid: list[Clip]) -> None:
    """GRID's own word times: speaking or not is right in 90 % of what can be told before the clip ends."""
    lines = [line.split() for line in (media / "grid_id2_swwp2s.align").read_text().splitlines()]
    words = [(int(begin) / 25_000, int(end) / 25_000) for begin, end, word in lines if word != "sil"]
    results, times_s = clip_results(media / "grid_id2_swwp2s.mpg")
    known = [
        (time_s - STATE_DELAY_S, result.state)
        for time_s, result in zip(times_s, results, strict=True)
        if result.state is not None
    ]
    right = [(state == State.SPEAKING) == any(a <= time_s < b for a, b in words) for time_s, state in known]
    assert len(right) > 40
    assert np.mean(right) >= 0.9


@pytest.mark.parametrize("name", ["lp_d14.mp4", "lp_d18.mp4", "lp_s18.mp4"])
def test_clips_without_a_voice_of_their_own_say_nothing(media: Path, name: str) -> None:
    """Music, digital silence, and a silent face with other sound."""
    results, _ = clip_results(media / name)
    assert not len(offsets_ms(results))
    assert not any(result.out_of_sync or result.sync_step for result in results)


def clip_results(path: Path) -> tuple[list[LipSync], list[float]]:
    """What is said of a clip's frames, with its sound taken to begin with its picture; and their times."""
    import av

    from processors.face_landmarks import FaceLandmarksProcessor
    from tests.processors.conftest import frame_of

    processor, pictures = FaceLandmarksProcessor(), []
    try:
        processor.setup(StreamInfo(live=False))
        with av.open(str(path)) as clip:
            first_s = None
            for video in clip.decode(video=0):
                first_s = float(video.time or 0) if first_s is None else first_s
                i420 = np.asarray(video.to_ndarray(format="yuv420p"), np.uint8)
                frame = frame_of(i420, float(video.time or 0) - first_s)
                pictures.append((frame, processor.process(frame)))
    finally:
        processor.close()
    return measured(stream(pictures, sound_of(path))), [frame.time_s for frame, _ in pictures]
