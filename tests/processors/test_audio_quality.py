"""audio_quality: in agreement with libavfilter and the EBU's test signals, and exact about faults that were planted."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from processors.audio_quality import AudioQuality, AudioQualityProcessor
from processors.audio_quality.loudness import LoudnessMeter, TruePeak
from tests.processors.sounding import (
    RATE_HZ,
    clicked,
    clip_sound,
    framed,
    gapped,
    has_sound,
    planted,
    said_by,
    sine,
    through_opus,
)
from vision import Frame, StreamInfo
from vision.frame import NO_SOUND
from vision.simulator.settings import Fault
from vision.testing import check_processor, make_frame

Samples = NDArray[np.float32]
Stretch = tuple[float, float]

FPS = 30.0
LATEST_S = 0.1
"""How far from what was planted an incident may begin and end."""

FAULTS = ("muted", "hole", "clipping", "click", "dropout")
"""What becomes an incident."""

CLIPS = (
    "grid_lbax4n.mpg",
    "lp_d14.mp4",
    "lp_s18.mp4",
    "pcavs_Input_00002.mp4",
    "r3d_May_5s.mp4",
    "sad_WDA_AlexandriaOcasioCortez_000.mp4",
    "vrt_3.mp4",
)
"""One of each kind: studio, music, a synthetic voice, telephone bandwidth, broadcast; at 16, 44.1 and 48 kHz."""


def heard(frames: Iterable[Frame], *, live: bool = False, **options: Any) -> list[AudioQuality | None]:
    """What is said of frames."""
    processor = AudioQualityProcessor(AudioQualityProcessor.Options.model_validate(options))
    try:
        processor.setup(StreamInfo(live=live))
        return [processor.process(frame) for frame in frames]
    finally:
        processor.close()


def values(results: Sequence[AudioQuality | None], name: str) -> list[Any]:
    """One metric of each frame."""
    return [None if result is None else getattr(result, name) for result in results]


def stretches(results: Sequence[AudioQuality | None], name: str, join_s: float = 0.0) -> list[Stretch]:
    """Where a metric is true: from the time of the first such frame to that of the first that is not, as incidents
    have it; those that follow each other within `join_s` are one."""
    edges = np.flatnonzero(np.diff([0, *(int(bool(value)) for value in values(results, name)), 0]))
    found: list[Stretch] = []
    for begin, end in edges.reshape(-1, 2):
        if found and begin / FPS - found[-1][1] <= join_s:
            found[-1] = (found[-1][0], end / FPS)
        else:
            found.append((begin / FPS, end / FPS))
    return found


def assert_found(found: Sequence[Stretch], true: Sequence[Stretch]) -> None:
    """Each that was planted is found, within 0.1 s at both ends, and nothing else is."""
    assert len(found) == len(true), f"found {found}, planted {true}"
    np.testing.assert_allclose(np.reshape(found, (-1, 2)), np.reshape(true, (-1, 2)), atol=LATEST_S)


# --- loudness and true peak


def measured(samples: Samples, cut: int = 4800) -> tuple[LoudnessMeter, list[float | None], list[float | None]]:
    """A meter that has heard it, and what was momentary and short-term after each block."""
    meter = LoudnessMeter(RATE_HZ)
    momentary, short_term = [], []
    for begin in range(0, samples.size, cut):
        meter.add(samples[begin : begin + cut])
        momentary.append(meter.momentary_lufs)
        short_term.append(meter.short_term_lufs)
    return meter, momentary, short_term


def tones(*parts: tuple[float, float]) -> Samples:
    """A 1 kHz tone at one level after the other: dBFS and seconds."""
    return np.concatenate([sine(level_dbfs, seconds) for level_dbfs, seconds in parts])


@pytest.mark.parametrize(
    ("parts", "expected_lufs"),
    [
        ([(-23, 20)], -23),
        ([(-33, 20)], -33),
        ([(-36, 10), (-23, 60), (-36, 10)], -23),
        ([(-72, 10), (-36, 10), (-23, 60), (-36, 10), (-72, 10)], -23),
        ([(-26, 20), (-20, 20.1), (-26, 20)], -23),
    ],
)
def test_integrated_loudness_of_the_ebus_signals(parts: list[tuple[float, float]], expected_lufs: float) -> None:
    """EBU Tech 3341, signals 1 to 5: within 0.1 LU; a stereo tone, of which mono is one of two equal channels."""
    meter, momentary, short_term = measured(tones(*parts))
    assert meter.integrated_lufs == pytest.approx(expected_lufs, abs=0.1)
    if len(parts) == 1:
        assert momentary[4:] == pytest.approx([expected_lufs] * len(momentary[4:]), abs=0.1)
        assert short_term[30:] == pytest.approx([expected_lufs] * len(short_term[30:]), abs=0.1)


def test_short_term_and_momentary_loudness_of_the_ebus_signals() -> None:
    """EBU Tech 3341, signals 9 and 12: constant within 0.1 LU once 3 s, and 1 s, have been heard."""
    _, _, short_term = measured(tones(*[(-20, 1.34), (-30, 1.66)] * 5))
    assert short_term[30:] == pytest.approx([-23.0] * len(short_term[30:]), abs=0.1)
    _, momentary, _ = measured(tones(*[(-20, 0.18), (-30, 0.22)] * 25))
    assert momentary[10:] == pytest.approx([-23.0] * len(momentary[10:]), abs=0.1)


@pytest.mark.parametrize(
    ("levels_dbfs", "expected_lu"),
    [((-20, -30), 10), ((-20, -15), 5), ((-40, -20), 20), ((-50, -35, -20, -35, -50), 15)],
)
def test_loudness_range_of_the_ebus_signals(levels_dbfs: tuple[float, ...], expected_lu: float) -> None:
    """EBU Tech 3342, signals 1 to 4: within 1 LU; each level lasts 20 s."""
    meter, _, _ = measured(tones(*((level_dbfs, 20) for level_dbfs in levels_dbfs)))
    assert meter.range_lu == pytest.approx(expected_lu, abs=1)


@pytest.mark.parametrize(
    ("divisor", "phase_deg", "amplitude", "expected_dbtp"),
    [(4, 0, 0.5, -6), (4, 45, 0.5, -6), (6, 60, 0.5, -6), (8, 67.5, 0.5, -6), (4, 45, 1.41, 3)],
)
def test_true_peak_of_the_ebus_signals(divisor: int, phase_deg: float, amplitude: float, expected_dbtp: float) -> None:
    """EBU Tech 3341, signals 15 to 19: within +0.2 and -0.4 dB, wherever the samples lie on the wave."""
    tone = sine(20 * np.log10(amplitude), 0.5, RATE_HZ / divisor, phase_deg)
    faded = (tone * np.minimum(1, np.minimum(np.arange(tone.size), np.arange(tone.size)[::-1]) / 2400)).astype(
        np.float32
    )
    peak = max(TruePeak(RATE_HZ).add(block) for block in [faded])
    assert -0.4 <= 20 * np.log10(peak) - expected_dbtp <= 0.2


def k_weighted(samples: Samples) -> NDArray[np.float64]:
    """By the coefficients of ITU-R BS.1770 for 48 kHz, in the frequency domain."""
    size = 2 * samples.size
    z = np.exp(-2j * np.pi * np.arange(size // 2 + 1) / size)
    shelf = (1.53512485958697 - 2.69169618940638 * z + 1.19839281085285 * z**2) / (
        1 - 1.69065929318241 * z + 0.73248077421585 * z**2
    )
    high_pass = (1 - 2 * z + z**2) / (1 - 1.99004745483398 * z + 0.99007225036621 * z**2)
    return np.asarray(np.fft.irfft(np.fft.rfft(samples, size) * shelf * high_pass, size)[: samples.size])


def test_loudness_of_a_voice_is_that_of_the_recommendation() -> None:
    """A straight-line BS.1770 on the simulator's voice: momentary, short-term and integrated, to 0.01 LU."""
    voice = planted(20)
    power = np.square(k_weighted(voice)).reshape(-1, 4800).mean(axis=1)

    def loudness(blocks: NDArray[np.float64]) -> Any:
        return -0.691 + 10 * np.log10(2 * blocks)  # twice: both loudspeakers play it

    gating = np.convolve(power, np.full(4, 1 / 4), "valid")
    gating = gating[loudness(gating) > -70]
    relative = loudness(gating.mean()) - 10
    meter, momentary, short_term = measured(voice)
    assert momentary[3:] == pytest.approx(loudness(np.convolve(power, np.full(4, 1 / 4), "valid")), abs=0.01)
    assert short_term[29:] == pytest.approx(loudness(np.convolve(power, np.full(30, 1 / 30), "valid")), abs=0.01)
    assert meter.integrated_lufs == pytest.approx(loudness(gating[loudness(gating) > relative].mean()), abs=0.01)


def assert_agrees_with_ebur128(samples: Samples, rate_hz: int) -> None:
    """All figures, cut into frames, are the filter's own for the whole, in the digits that it prints."""
    results = heard(framed(samples, rate_hz))
    last = results[-1]
    assert last is not None
    said = said_by("ebur128=metadata=1:dualmono=true:peak=true+sample:framelog=quiet", samples, rate_hz)
    whole = [each for each in said if "lavfi.r128.M" in each][: samples.size // (rate_hz // 10)]
    expected = whole[-1]
    assert last.loudness_integrated == pytest.approx(expected["lavfi.r128.I"], abs=0.0011)
    assert last.loudness_range is None or last.loudness_range == pytest.approx(expected["lavfi.r128.LRA"], abs=0.0011)
    for name, key in (("loudness_momentary", "lavfi.r128.M"), ("loudness_short_term", "lavfi.r128.S")):
        ours = [value for value in values(results, name) if value is not None]
        theirs = {max(round(each[key], 3), -120.0) for each in whole}
        assert set(ours) <= theirs
    peak = 10 ** (max(value for value in values(results, "true_peak_dbtp") if value is not None) / 20)
    assert peak == pytest.approx(expected["lavfi.r128.true_peak"], abs=0.0011)


def test_the_simulators_voice_agrees_with_ebur128() -> None:
    """Momentary, short-term, integrated, range and true peak."""
    assert_agrees_with_ebur128(planted(20), RATE_HZ)


@pytest.mark.parametrize("name", CLIPS)
def test_clips_agree_with_ebur128(media: Path, name: str) -> None:
    """The same on real sound, at its own rate."""
    assert_agrees_with_ebur128(*clip_sound(media / name))


def test_loudness_off_the_target_is_told() -> None:
    """Once 10 s have been heard, where there is a target; within its tolerance it is well."""
    tone = sine(-20, 12)
    assert set(values(heard(framed(tone)), "loudness_off")) == {None}
    for target_lufs, expected in ((-23, True), (-20.5, False)):
        told = values(heard(framed(tone), target_lufs=target_lufs), "loudness_off")
        assert told[:300] == [None] * 300
        assert told[-1] is expected


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 22_050, 44_100, 96_000])
def test_a_tone_is_as_loud_at_any_rate(rate_hz: int) -> None:
    """1 kHz at -23 dBFS, sampled otherwise: -23 LUFS and -23 dBTP, within 0.3 dB."""
    tone = 10 ** (-23 / 20) * np.sin(2 * np.pi * 1000 * np.arange(4 * rate_hz) / rate_hz)
    last = heard(framed(tone.astype(np.float32), rate_hz))[-1]
    assert last is not None
    assert last.loudness_integrated == pytest.approx(-23, abs=0.3)
    assert last.loudness_short_term == pytest.approx(-23, abs=0.3)
    assert last.true_peak_dbtp == pytest.approx(-23, abs=0.3)


def test_samples_beyond_full_scale_are_measured() -> None:
    """Floats of a file may be anything: ten times full scale has +20 dBFS, and nothing fails."""
    check_processor(AudioQualityProcessor, framed(10 * sine(0, 3)))
    last = heard(framed(10 * sine(0, 3)))[-1]
    assert last is not None
    assert (last.peak_dbfs, last.clipping) == (pytest.approx(20, abs=0.01), True)  # type: ignore[comparison-overlap]


# --- level, offset, noise, bandwidth


def test_levels_agree_with_astats() -> None:
    """RMS and peak of each frame are those of `astats` for the same samples, to what it prints."""
    voice = planted(10, seed=2)
    said = said_by("astats=metadata=1:reset=1", voice, block=1600)
    results = heard(framed(voice))[1 : 1 + len(said)]
    for name, key in (("level_dbfs", "RMS_level"), ("peak_dbfs", "Peak_level")):
        assert values(results, name) == pytest.approx([each[f"lavfi.astats.1.{key}"] for each in said], abs=1e-4)


def test_the_offset_agrees_with_astats() -> None:
    """Of the second before each whole second; an offset that was added is there."""
    voice = (planted(8, seed=3) * 0.5 + 0.0123).astype(np.float32)
    said = [each["lavfi.astats.1.DC_offset"] for each in said_by("astats=metadata=1:reset=1", voice, block=RATE_HZ)]
    offsets = values(heard(framed(voice)), "dc_offset")[30::30][: len(said)]
    assert offsets == pytest.approx(said, abs=1e-6)
    assert offsets == pytest.approx([0.0123] * len(said), abs=1e-3)


def test_the_level_is_that_of_a_sine() -> None:
    """A sine of -6 dBFS has an RMS 3.01 dB lower; digital silence has the lowest level there is."""
    result = heard(framed(sine(-6, 1)))[10]
    assert result is not None
    assert [result.level_dbfs, result.peak_dbfs] == pytest.approx([-9.01, -6], abs=0.01)
    assert set(values(heard(framed(np.zeros(RATE_HZ, np.float32)))[1:], "level_dbfs")) == {-120.0}


def test_noise_and_signal_are_those_that_were_mixed() -> None:
    """A tone of -20 dBFS, on for two of three seconds, over noise of -60 dBFS RMS: the floor and 37 dB over it."""
    noise = 1e-3 * np.random.default_rng(1).standard_normal(12 * RATE_HZ)
    on = np.arange(12 * RATE_HZ) // RATE_HZ % 3 < 2
    last = heard(framed((sine(-20, 12) * on + noise).astype(np.float32)))[-1]
    assert last is not None
    assert last.noise_floor_dbfs == pytest.approx(-60, abs=0.5)
    assert last.snr_db == pytest.approx(37, abs=0.5)


def test_bandwidth_is_that_of_the_noise() -> None:
    """Of noise that is white up to 8 kHz, 95 % lie below 7.6 kHz, and 99 % below 7.92; an offset is none of it."""
    spectrum = np.fft.rfft(np.random.default_rng(2).standard_normal(3 * RATE_HZ))
    spectrum[np.fft.rfftfreq(3 * RATE_HZ, 1 / RATE_HZ) > 8000] = 0
    noise = 0.05 * np.fft.irfft(spectrum) + 0.2
    last = heard(framed(noise.astype(np.float32)))[-1]
    assert last is not None
    assert last.rolloff_95_hz == pytest.approx(7600, abs=100)
    assert last.rolloff_99_hz == pytest.approx(7920, abs=50)


def test_silence_has_no_bandwidth_and_no_noise() -> None:
    """What cannot be measured is not."""
    last = heard(framed(np.zeros(2 * RATE_HZ, np.float32)))[-1]
    assert last is not None
    assert (last.rolloff_95_hz, last.noise_floor_dbfs, last.snr_db, last.loudness_integrated) == (None,) * 4


# --- silence


@pytest.mark.parametrize("threshold_dbfs", [-60, -50])
def test_silence_agrees_with_silencedetect(threshold_dbfs: float) -> None:
    """Of 20 s with pauses, each silence of 20 ms or more is as long at every frame as `silencedetect` has it."""
    voice = planted(20, [Fault(kind="silence", start_s=5, duration_s=2)])
    said = said_by(f"silencedetect=noise={threshold_dbfs}dB:duration=0.02", voice, block=240)
    starts = [each["lavfi.silence_start"] for each in said if "lavfi.silence_start" in each]
    ends = [each["lavfi.silence_end"] for each in said if "lavfi.silence_end" in each]
    ends += [np.inf] * (len(starts) - len(ends))
    compared = 0
    for frame, result in zip(framed(voice), heard(framed(voice), silence_dbfs=threshold_dbfs), strict=True):
        within = [
            start for start, end in zip(starts, ends, strict=True) if start + 0.02 <= frame.time_s <= end + 1 / RATE_HZ
        ]
        if result is None or not result.silence_s:
            assert not within
        elif within or result.silence_s >= 0.02:
            assert result.silence_s == pytest.approx(frame.time_s - within[0], abs=1.5 / RATE_HZ)
            compared += 1
    assert compared > 50


@pytest.mark.parametrize("seed", range(1, 6))
def test_a_cut_voice_is_silence(seed: int) -> None:
    """Planted silences of 0.6 to 2 s, in speech and in pauses, through Opus: each is found, and nothing else is."""
    random = np.random.default_rng(seed)
    begins_s = 3 + 4 * np.arange(6) + random.uniform(0, 1.5, 6)
    true = [(float(begin), float(begin + random.uniform(0.6, 2))) for begin in begins_s]
    faults = [Fault(kind="silence", start_s=begin, duration_s=end - begin) for begin, end in true]
    results = heard(framed(planted(28, faults, seed)))
    assert_found(stretches(results, "muted"), true)
    assert not stretches(results, "hole")


def test_an_avatar_may_be_silent_while_it_listens() -> None:
    """Digital silence is no fault of a stream that begins with it, nor of one that never has a room tone; but where
    its pauses are said not to be digital, it is."""
    voice = planted(12, coded=False)
    voice[np.abs(voice) < 0.003] = 0.0
    assert len(stretches(heard(framed(voice), digital_pauses=False), "muted")) > 3
    assert not stretches(heard(framed(voice)), "muted")
    with_tone = planted(
        12, [Fault(kind="silence", start_s=0, duration_s=2), Fault(kind="silence", start_s=6, duration_s=2)]
    )
    assert not stretches(heard(framed(with_tone)), "muted")
    assert not stretches(
        heard(framed(planted(12, [Fault(kind="silence", start_s=6, duration_s=2)])), digital_pauses=True), "muted"
    )


def test_a_short_cut_is_a_hole() -> None:
    """60 ms of zeros in the voice are told with their length when they are over, and are no silence."""
    voice = planted(6, coded=False)
    begin = round(1.2 * RATE_HZ)
    voice[begin : begin + 2880] = 0.0
    (hole,) = [result for result in heard(framed(voice), digital_pauses=False) if result is not None and result.hole]
    assert hole.hole_ms == pytest.approx(60, abs=0.5)


# --- clipping and clicks


@pytest.mark.parametrize("seed", range(1, 6))
def test_a_clipped_voice_is_clipping(seed: int) -> None:
    """Planted clipping of 1 to 3 s through Opus: each is found from where the voice first hits full scale to where it
    last does, but for less than 2 % of a frame; nothing else is."""
    random = np.random.default_rng(seed)
    begins_s = 2 + 6 * np.arange(4) + random.uniform(0, 1.5, 4)
    faults = [Fault(kind="clipping", start_s=begin, duration_s=random.uniform(1, 3)) for begin in begins_s]
    results = heard(framed(planted(28, faults, seed)))
    sent = np.abs(planted(28, faults, seed, coded=False)) >= 1.0
    shares = sent[: sent.size // 1600 * 1600].reshape(-1, 1600).mean(axis=1)
    hit_s = (np.flatnonzero(shares >= 0.02) + 1) / FPS  # the time of the frame whose sound it is
    true = [
        (hits[0], hits[-1] + 1 / FPS)
        for fault in faults
        if (hits := hit_s[(hit_s > fault.start_s) & (hit_s < fault.end_s + 0.04)]).size
    ]
    assert len(true) >= 3
    assert_found(stretches(results, "clipping", join_s=1.5), true)
    assert max(values(results, "clipping_ratio")[1:60]) < 0.01


@pytest.mark.parametrize("shape", [[0.4], [-0.4, 0.4], list(0.5 * np.exp(-np.arange(480) / 100))])
@pytest.mark.parametrize("coded", [False, True])
def test_clicks_are_found_where_they_are(shape: list[float], coded: bool) -> None:
    """Pulses and steps in speech and in pauses, before and behind Opus: each within 0.1 s, and nothing else."""
    at_s = [0.7 + 0.83 * number for number in range(10)]
    voice = clicked(planted(10, coded=False), at_s, np.array(shape, np.float32))
    results = heard(framed(through_opus(voice) if coded else voice))
    found = [begin for begin, _ in stretches(results, "click", join_s=0.1)]
    assert found == pytest.approx(at_s, abs=LATEST_S)


# --- what never came


def without(frame: Frame, first: int, count: int) -> Frame:
    """The frame with some of its samples missing."""
    samples = frame.sound.samples.copy()
    samples[first : first + count] = 0.0
    sound = dataclasses.replace(frame.sound, samples=samples, missing=((first, count),))
    return dataclasses.replace(frame, sound=sound)


def silenced(frame: Frame) -> Frame:
    """The frame with no sound at all."""
    return dataclasses.replace(frame, sound=dataclasses.replace(frame.sound, samples=np.zeros(0, np.float32)))


def test_missing_samples_are_left_out_of_all_figures() -> None:
    """Of a tone with holes all figures are those of the tone; the holes are counted, and are no clicks."""
    frames = list(framed(sine(-6, 2)))
    for index in range(5, 55, 5):
        frames[index] = without(frames[index], 400 + index, 960)
    whole, holed = heard(framed(sine(-6, 2))), heard(frames)
    assert sum(values(holed[1:], "missing_samples")) == 9600
    for name in ("level_dbfs", "peak_dbfs", "loudness_momentary", "silence_s", "noise_floor_dbfs"):
        measured_of = [
            (one, other)
            for one, other in zip(values(whole, name), values(holed, name), strict=True)
            if other is not None
        ]
        assert len(measured_of) > 20
        assert [other for _, other in measured_of] == pytest.approx([one for one, _ in measured_of], abs=0.1)
    assert not any(values(holed, "click"))
    assert not any(values(holed, "muted"))


def test_a_lost_packet_is_a_dropout_of_one_frame() -> None:
    """From the frame in which samples are missing to the next one."""
    frames = list(framed(planted(3)))
    frames[40] = without(frames[40], 300, 960)
    results = heard(frames, live=True)
    (dropout,) = stretches(results, "dropout")
    assert dropout == pytest.approx((40 / FPS, 41 / FPS))
    assert values(results, "missing_samples")[40] == 960


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_gaps_of_a_live_stream_are_told_while_they_last(seed: int) -> None:
    """No sound comes for a while, in speech or in a pause; then the frame that gets it has the hole: each is found,
    and nothing else is."""
    random = np.random.default_rng(seed)
    begins_s = 2 + 3 * np.arange(5) + random.uniform(0, 1, 5)
    gaps = [(float(begin), float(begin + random.uniform(0.1, 1.8))) for begin in begins_s]
    frames: Iterable[Frame] = framed(planted(18, seed=seed))
    for gap in gaps:
        frames = gapped(list(frames), *gap)
    results = heard(frames, live=True)
    assert_found(stretches(results, "dropout"), gaps)
    assert sum(values(results[1:], "missing_samples")) == pytest.approx(
        RATE_HZ * sum(end - begin for begin, end in gaps), abs=5
    )
    assert not [name for name in ("muted", "hole", "clipping", "click") if any(values(results, name))]


def test_a_sender_may_stop_in_pauses() -> None:
    """Of holes of 0.4 s, those in a pause are none where the sender uses DTX, but for one with lost packets; those in
    the voice, and longer ones, are."""
    pause, voice = (2.5, 2.9), (5.0, 5.4)
    voiced = planted(9)
    voiced[round(2.2 * RATE_HZ) : round(3.4 * RATE_HZ)] *= 0.0
    frames = list(gapped(list(gapped(framed(voiced), *pause)), *voice))
    assert_found(stretches(heard(frames, live=True), "dropout"), [pause, voice])
    assert_found(stretches(heard(frames, live=True, dtx=True), "dropout"), [voice])
    lossy = [
        dataclasses.replace(frame, sound=dataclasses.replace(frame.sound, lost=20 * bool(frame.sound.missing)))
        for frame in frames
    ]
    (in_pause, in_voice) = stretches(heard(lossy, live=True, dtx=True), "dropout")
    assert in_pause == pytest.approx((pause[1], pause[1] + 1 / FPS), abs=0.04)  # it is told when it is known
    assert_found([in_voice], [voice])
    (longer,) = stretches(heard(gapped(framed(voiced), 2.5, 3.3), live=True, dtx=True), "dropout")
    assert longer == pytest.approx((3.0, 3.3), abs=LATEST_S)


def test_a_file_may_hold_less_sound_than_pictures() -> None:
    """Where the sound of a recording is over, nothing is missing."""
    frames = list(framed(planted(2)))
    frames[40:] = [silenced(frame) for frame in frames[40:]]
    assert not any(values(heard(frames), "dropout"))
    assert any(values(heard(frames, live=True), "dropout"))


def test_sound_that_always_comes_late_does_not_drop_out() -> None:
    """Half a second behind the pictures, and two packets at once with every other one: all of it comes."""
    frames, held = [], NO_SOUND
    for index, frame in enumerate(framed(planted(4))):
        held = frame.sound.after(held)
        come, held = (held, NO_SOUND) if index % 2 else (NO_SOUND, held)
        frames.append(dataclasses.replace(frame, time_s=frame.time_s + 0.5, sound=come))
    assert not any(values(heard(frames, live=True), "dropout"))
    stopped = [*frames[:60], *(dataclasses.replace(frame, sound=NO_SOUND) for frame in frames[60:])]
    assert stretches(heard(stopped, live=True), "dropout")[0][0] == pytest.approx(60 / FPS, abs=0.15)


@pytest.mark.parametrize("step_s", [0.2, -0.2])
def test_sound_that_moves_does_not_drop_out(step_s: float) -> None:
    """Where the sound turns out to belong elsewhere, as it is told, none is missing."""
    frames = list(framed(planted(2)))
    processor = AudioQualityProcessor()
    processor.setup(StreamInfo(live=True))
    for frame in frames[:30]:
        processor.process(frame)
    processor.shift_sound(step_s)
    late = dataclasses.replace(silenced(frames[30]), time_s=frames[29].time_s + 0.01)
    empty = processor.process(late)
    processor.close()
    assert empty is not None
    assert not empty.dropout


# --- the whole


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_clean_voice_has_no_fault(seed: int) -> None:
    """A minute of it through Opus."""
    results = heard(framed(planted(60, seed=seed)), live=True)
    assert not [name for name in FAULTS if any(values(results, name))]


def test_clips_have_no_fault(media: Path) -> None:
    """Real sound: studios near full scale, mastered music, synthetic and broadcast voices, telephone, all zeros."""
    clips = [path for path in sorted(media.glob("*.mp*")) if has_sound(path)]
    assert len(clips) > 20
    for path in clips:
        results = heard(framed(*clip_sound(path)))
        assert not [name for name in FAULTS if any(values(results, name))], path.name


@pytest.mark.parametrize("fps", [10.0, 25.0, 60.0])
def test_it_does_not_matter_how_sound_is_cut_into_frames(fps: float) -> None:
    """What is of windows is the same at any picture rate."""
    voice = planted(12)
    expected, last = heard(framed(voice))[-1], heard(framed(voice, fps=fps))[-1]
    assert expected is not None
    assert last is not None
    for name in ("loudness_integrated", "loudness_short_term", "noise_floor_dbfs", "rolloff_95_hz", "silence_s"):
        assert getattr(last, name) == getattr(expected, name)


def test_nothing_is_said_before_there_is_sound() -> None:
    """A source without sound is not measured."""
    assert heard([make_frame(index=index) for index in range(5)]) == [None] * 5


def test_a_reset_forgets_all_but_for_the_size_of_the_picture() -> None:
    """After a reconnect it is as new; another resolution does not concern it."""
    frames = list(framed(planted(5)))
    processor = AudioQualityProcessor()
    processor.setup(StreamInfo(live=True))
    first = [processor.process(frame) for frame in frames]
    processor.reset("reconnect")
    assert [processor.process(frame) for frame in frames] == first
    processor.reset("resolution")
    last = processor.process(dataclasses.replace(frames[-1]))
    processor.close()
    assert last is not None
    assert last.loudness_short_term is not None


def test_it_keeps_the_contract() -> None:
    """With sound, without, reset, shifted, closed, and at another rate in between."""
    check_processor(AudioQualityProcessor)
    voice = planted(2)
    check_processor(AudioQualityProcessor, [*framed(voice), *framed(voice[::3], 16_000)])
