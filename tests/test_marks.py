"""Flashes and beeps are found where they are: to a picture, and to a tenth of a millisecond, also behind Opus."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tests.connectors.support import executed, run_clean
from tests.marks import (
    AMPLITUDE,
    BRIGHT,
    DARK,
    LENGTH_S,
    RATE_HZ,
    TONE_HZ,
    Marks,
    MarksProcessor,
    OnsetDetector,
    beeps,
    is_lit,
    onsets,
    write_clip,
)
from tests.offsets import Pair, beeps_s, flashes_s, pairs, records_of
from vision.frame import Frame, Samples, Sound
from vision.testing import check_processor, make_frame, make_picture

LOOK_AHEAD, BLOCK = 312, 960  # samples that Opus' encoder is ahead of what its decoder gives (RFC 7845, 4.2)
FPS, INTERVAL = 30, RATE_HZ // 30
TENTH_MS = RATE_HZ / 10_000


def tone_at(onset: float, phase: float = 0.0, *, size: int = RATE_HZ, noise: float = 0.0, gain: float = 1.0) -> Samples:
    """A second in which one beep begins, at a sample and part of one, with any phase, in white noise."""
    since_s = (np.arange(size) - onset) / RATE_HZ
    wave = AMPLITUDE * np.sin(2 * np.pi * TONE_HZ * since_s + phase) * ((since_s >= 0) & (since_s < LENGTH_S))
    return np.asarray(gain * wave + noise * np.random.default_rng(7).standard_normal(size), np.float32)


def through_opus(samples: Samples, kbps: int = 64) -> Samples:
    """Coded and decoded as WebRTC does: mono, 20 ms a packet; the encoder's look-ahead is in it."""
    encoder: Any = av.CodecContext.create("libopus", "w")
    encoder.sample_rate, encoder.layout, encoder.format, encoder.bit_rate = RATE_HZ, "mono", "flt", 1000 * kbps
    decoder: Any = av.CodecContext.create("libopus", "r")
    decoder.sample_rate, decoder.layout = RATE_HZ, "mono"
    decoded = []
    for start in range(0, samples.size - BLOCK + 1, BLOCK):
        frame = av.AudioFrame.from_ndarray(samples[None, start : start + BLOCK], "flt", "mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE_HZ, start, Fraction(1, RATE_HZ)
        for packet in encoder.encode(frame):
            coded = av.Packet(bytes(packet))  # its side data would have the decoder skip the look-ahead
            decoded += [block.to_ndarray().ravel() for block in decoder.decode(coded)]
    found = np.concatenate(decoded).astype(np.float32)
    return np.asarray(found / 32768 if np.abs(found).max() > 2 else found, np.float32)


@pytest.mark.parametrize("phase", [0.0, 0.7, 1.6, 3.0, 4.4])
@pytest.mark.parametrize("onset", [20_000, 20_123.4, 20_481, 20_900.7])
def test_an_onset_is_where_the_tone_begins(onset: float, phase: float) -> None:
    """Untouched samples: within a tenth of a millisecond, whatever the phase."""
    assert onsets(tone_at(onset, phase), RATE_HZ) == [pytest.approx(onset, abs=TENTH_MS)]


@pytest.mark.parametrize("noise", [0.0, 0.02])
@pytest.mark.parametrize("phase", [0.0, 1.1, 2.2])
def test_an_onset_is_found_behind_opus(phase: float, noise: float) -> None:
    """At 64 kbit/s, wherever in a packet the tone begins: within a tenth of a millisecond, look-ahead considered."""
    for onset in range(19_200, 19_200 + BLOCK, 73):
        found = onsets(through_opus(tone_at(onset, phase, noise=noise)), RATE_HZ)
        assert found == [pytest.approx(onset + LOOK_AHEAD, abs=TENTH_MS)]


def test_noise_and_loudness_do_not_move_it() -> None:
    """In much noise, and at a fifth of the level; noise alone, a click and another tone are no beep."""
    for onset in range(20_000, 20_100, 17):
        assert onsets(tone_at(onset, noise=0.05), RATE_HZ) == [pytest.approx(onset, abs=TENTH_MS)]
        assert onsets(tone_at(onset, gain=0.2, noise=0.002), RATE_HZ) == [pytest.approx(onset, abs=TENTH_MS)]
    times_s = np.arange(RATE_HZ) / RATE_HZ
    other = (0.5 * np.sin(2 * np.pi * 1500 * times_s)).astype(np.float32) * (times_s > 0.5)
    click = np.zeros(RATE_HZ, np.float32)
    click[20_000:20_040] = 1.0
    for samples in (0.1 * np.random.default_rng(1).standard_normal(RATE_HZ).astype(np.float32), other, click):
        assert onsets(samples, RATE_HZ) == []


def test_a_beep_whose_beginning_is_not_whole_is_none() -> None:
    """Lost samples before it, at its edge, or behind it: not found; far enough from it they do not matter."""
    for first, found in ((18_000, True), (19_600, False), (20_100, False), (20_900, False), (22_000, True)):
        samples = tone_at(20_000)
        samples[first : first + 480] = np.nan
        assert (onsets(samples, RATE_HZ) != []) is found
    assert onsets(tone_at(480), RATE_HZ) == []  # too near the beginning: it may have begun before
    assert onsets(tone_at(20_000)[:20_500], RATE_HZ) == []  # too near the end: it may be a click


def test_pieces_of_any_size_give_the_same_onsets() -> None:
    """Each once, and none where the samples do not go on: what begins there may have begun before."""
    samples = beeps(-RATE_HZ // 2, 3 * RATE_HZ)
    for size in (160, 1600, 1601, 9600):
        detector = OnsetDetector()
        pieces = [
            Sound(samples[start : start + size], RATE_HZ, start / RATE_HZ) for start in range(0, samples.size, size)
        ]
        found = [onset_s for piece in pieces for onset_s in detector.add(piece)]
        assert found == pytest.approx([0.5, 1.5, 2.5], abs=0.0001)
    for cut, before_s in ((26_000, [0.5]), (24_100, [])):
        detector = OnsetDetector()
        jumped = [Sound(samples[:cut], RATE_HZ, 0.0), Sound(samples[cut:], RATE_HZ, 0.7)]
        found = [onset_s for piece in jumped for onset_s in detector.add(piece)]
        later_s = [0.7 + (onset - cut) / RATE_HZ for onset in (72_000, 120_000)]
        assert found == pytest.approx(before_s + later_s, abs=0.0001)


def test_a_step_of_the_clock_hides_no_beep() -> None:
    """One in the middle of a beep's beginning, either way: told, and the beep is found once, where it is now."""
    samples = beeps(-RATE_HZ // 2, RATE_HZ)
    for step_s in (0.2, -0.05):
        detector = OnsetDetector()
        found = detector.add(Sound(samples[:24_100], RATE_HZ, 0.0))
        detector.shift(step_s)
        found += detector.add(Sound(samples[24_100:], RATE_HZ, 24_100 / RATE_HZ + step_s))
        assert found == pytest.approx([0.5 + step_s], abs=0.0001)


def frames(seconds: float, delay_s: float = 0.0, start_s: float = 0.0) -> list[Frame]:
    """What a run would see of the marks from a moment on, whose media time is 0."""
    shift = round(start_s * FPS)
    return [
        make_frame(
            make_picture(BRIGHT if is_lit((shift + index) / FPS) else DARK),
            index=index,
            samples=beeps((shift + index - 1) * INTERVAL, INTERVAL, delay_s),
            rate_hz=RATE_HZ,
        )
        for index in range(round(seconds * FPS))
    ]


def measured(seen: Sequence[Frame]) -> list[dict[str, Any]]:
    """Their records, as a run writes them."""
    processor = MarksProcessor()
    return [
        {"index": frame.index, "time_s": frame.time_s, "corrupt": frame.corrupt}
        | {"marks": dataclasses.asdict(processor.process(frame))}
        for frame in seen
    ]


def test_the_processor_keeps_the_contract() -> None:
    """As any plugin; the results of a second and a half of marks are those that are in it."""
    results = [one for one in check_processor(MarksProcessor, frames(1.5, start_s=0.5)) if isinstance(one, Marks)]
    assert [result.luma for result in results[13:20]] == [50, 50, 235, 235, 235, 50, 50]
    assert [one.onset_s for one in results if one.onset_s is not None] == [pytest.approx(0.5, abs=0.0001)]
    assert max(one.level for one in results if one.level is not None) == pytest.approx(0.354, abs=0.001)


@pytest.mark.parametrize("delay_s", [-0.2, -0.0104, 0.0, 0.0333, 0.3])
def test_pairs_have_the_offset_that_was_planted(delay_s: float) -> None:
    """From 0.5 s before the first flash on: every pair, to a tenth of a millisecond, with its sign."""
    records = measured(frames(5, delay_s, start_s=0.5))
    assert flashes_s(records) == pytest.approx([0.5, 1.5, 2.5, 3.5, 4.5])
    found = pairs(flashes_s(records), beeps_s(records))
    assert [pair.offset_ms for pair in found] == pytest.approx([1000 * delay_s] * 5, abs=0.1)


def test_a_flash_counts_only_where_its_first_picture_is_known() -> None:
    """Not where that is missing, dropped by the queue, or damaged, or where the one before it is; nor without one."""
    every = frames(6, start_s=0.5)
    spoilt = {
        15: None,  # missing: the next bright one is no beginning
        44: dataclasses.replace(every[44], corrupt=True),
        75: dataclasses.replace(every[75], corrupt=True),
        105: dataclasses.replace(every[105], maybe_picture=None, index=None),
    }
    seen = [frame for frame in (spoilt.get(n, whole) for n, whole in enumerate(every)) if frame is not None]
    assert flashes_s(measured(seen)) == pytest.approx([4.5, 5.5])
    assert flashes_s(measured(every[:1])) == []


def test_pairs_are_of_the_nearest() -> None:
    """A flash without a beep within half a second has none."""
    assert pairs([1.0, 2.0, 4.0], [0.9, 2.2, 2.9]) == [Pair(1.0, 0.9), Pair(2.0, 2.2)]
    assert pairs([1.0], []) == pairs([], [1.0]) == []


def test_the_clip_is_true(tmp_path: Path) -> None:
    """The recording that peers play has its flashes and beeps at the same times, by a run that reads the file."""
    clip = write_clip(tmp_path / "clip.mp4", 5)
    text = (
        f"source: {{use: file, path: '{clip}'}}\n"
        "processors: [{use: 'tests.marks:MarksProcessor', name: marks}]\nsinks: [{use: jsonl}]\n"
    )
    assert run_clean(executed(tmp_path, text)).exit_status == 0
    records = records_of(tmp_path / "out")
    assert json.loads((tmp_path / "out" / "summary.json").read_text())
    assert flashes_s(records) == pytest.approx([1, 2, 3, 4], abs=1e-6)
    assert [pair.offset_ms for pair in pairs(flashes_s(records), beeps_s(records))] == pytest.approx([0] * 4, abs=0.1)
