"""lip_sync, part by part: features, model, windows, estimates, tracking, states and limits, on what is made by hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from processors.lip_sync.activity import STATE_DELAY_S, Activity, State
from processors.lip_sync.estimator import Estimate, Stretch, estimate
from processors.lip_sync.features import (
    AROUND,
    BANDS,
    DISTANCES,
    HOP_S,
    band_passed,
    log_mel,
    mouth_distances,
    mouth_features,
    pchip,
    product,
    sound_bands,
    with_context,
)
from processors.lip_sync.gate import Gate, Reading, spoken_s
from processors.lip_sync.history import History
from processors.lip_sync.limits import LIMITS, LimitName
from processors.lip_sync.model import Calibration, LipSyncModel, correlated, load, shipped
from processors.lip_sync.tracker import Tracker
from processors.speech import RATE_HZ
from tests.processors.turning import rotation
from vision import ModelError, Sound

Floats = NDArray[np.float64]
RANDOM = np.random.default_rng(5)
MIXING = np.random.default_rng(8).standard_normal((DISTANCES, BANDS))


# features


def test_a_band_is_loudest_at_its_own_tone() -> None:
    """A tone of 1 kHz is in the eleventh of 26 bands between 80 and 7600 Hz, whose middle is 1017 Hz."""
    tone = np.sin(2 * np.pi * 1000 * np.arange(RATE_HZ) / RATE_HZ).astype(np.float32)
    low, high = (2595 * np.log10(1 + hz / 700) for hz in (80, 7600))
    edges = 700 * (10 ** (np.linspace(low, high, BANDS + 2) / 2595) - 1)
    expected = int(np.abs(edges[1:-1] - 1000).argmin())
    assert set(log_mel(tone, 90).argmax(axis=1)) == {expected}


@pytest.mark.parametrize("moment", [10, 33])
def test_windows_are_centred_on_their_moment(moment: int) -> None:
    """A click in the middle of a moment's samples is as loud one moment before it as one behind."""
    click = np.zeros(RATE_HZ, np.float32)
    click[160 * moment + 200] = 1.0
    power = log_mel(click, 60).mean(axis=1)
    assert power.argmax() == moment
    assert power[moment - 1] == pytest.approx(power[moment + 1], abs=0.2)


def test_no_moment_of_no_sound() -> None:
    """Nothing is worked out of too few samples."""
    assert log_mel(np.zeros(0, np.float32), 0).shape == (0, BANDS)


def made_face() -> NDArray[np.float32]:
    """A face whose mouth is known, over a picture of 200 x 100 px: eyes 60 px apart, all else as in the test below."""
    points_px = np.zeros((478, 3))
    for index, place in {
        33: (70, 40), 263: (130, 40),
        13: (100, 70), 14: (100, 76), 82: (95, 70), 87: (95, 76), 312: (105, 70), 317: (105, 76),
        0: (100, 66), 17: (100, 81), 61: (85, 73), 291: (115, 73), 78: (88, 73), 308: (112, 73),
        1: (100, 58), 152: (100, 94),
    }.items():  # fmt: skip
        points_px[index, :2] = place
    return (points_px / (200, 100, 200)).astype(np.float32)


EXPECTED = np.array([6, 15, 30, 24, 36, 8, 13]) / 60


def test_distances_are_those_of_the_mouth() -> None:
    """Inner lips, outer lips, width, inner width, nose to chin, nose to lip, lip to chin; over the eyes' distance."""
    assert mouth_distances(made_face(), 200, 100) == pytest.approx(EXPECTED, rel=1e-5)


@pytest.mark.parametrize("angles", [(40, 0, 0), (0, 25, 0), (0, 0, 30), (20, -15, 10)])
def test_a_head_that_turns_keeps_its_mouth(angles: tuple[float, float, float]) -> None:
    """Turned in space, and twice as far away, the distances are the same."""
    points_px = made_face() * (200, 100, 200) @ rotation(*angles).T / 2
    turned = (points_px / (640, 360, 640)).astype(np.float32)
    assert mouth_distances(turned, 640, 360) == pytest.approx(EXPECTED, rel=1e-4)


def test_interpolation_goes_through_the_points_and_keeps_lines() -> None:
    """A line stays one, whatever the distances of its points; beside them the nearest value holds."""
    x = np.array([0.0, 0.04, 0.1, 0.3, 0.34])
    line = np.column_stack([3 * x + 1, -x])
    at = np.linspace(0, 0.34, 50)
    assert pchip(x, line, at) == pytest.approx(np.column_stack([3 * at + 1, -at]))
    assert pchip(x, line, np.array([-1.0, 9.0])) == pytest.approx(line[[0, -1]])


@given(st.lists(st.floats(-1, 1), min_size=3, max_size=12))
def test_interpolation_does_not_overshoot(values: list[float]) -> None:
    """Between two points it stays between their values, and meets them."""
    x, y = np.arange(0, len(values), dtype=np.float64) * 0.04, np.array(values)[:, np.newaxis]
    at = np.arange(0, 40 * (len(values) - 1) + 1, dtype=np.float64) * 0.001
    found = pchip(x, y, at)[:, 0]
    assert found[::40] == pytest.approx(values)
    for number, (one, other) in enumerate(pairwise(values)):
        part = found[40 * number : 40 * number + 41]
        assert part.min() >= min(one, other) - 1e-12
        assert part.max() <= max(one, other) + 1e-12


def test_the_band_of_speech_passes_in_time() -> None:
    """2 Hz comes through as it is; a constant, a slow sway and jitter do not."""
    time_s = np.arange(0, 10, HOP_S)[:, np.newaxis]
    middle = slice(200, 800)
    sine = np.sin(2 * np.pi * 2 * time_s)
    assert band_passed(sine)[middle] == pytest.approx(sine[middle], abs=0.02)
    for outside in (np.full_like(time_s, 3.0), np.sin(2 * np.pi * 0.1 * time_s), np.sin(2 * np.pi * 40 * time_s)):
        assert np.abs(band_passed(outside)[middle]).max() < 0.03


@pytest.mark.parametrize("rows", [3, 5000])
def test_products_in_pieces_are_products(rows: int) -> None:
    """However many pieces it takes."""
    left, right = RANDOM.standard_normal((rows, 26)), RANDOM.standard_normal((26, 9))
    assert product(left, right) == pytest.approx(left @ right)


def test_sound_that_never_came_is_no_silence() -> None:
    """It changes nothing in the bands of the other moments, and is in the middle of them itself."""
    mel = RANDOM.standard_normal((300, BANDS))
    came = np.ones(300, bool)
    came[100:150] = False
    lost = mel.copy()
    lost[~came] = -23.0
    bands = sound_bands(lost, came)
    assert bands[came] == pytest.approx(sound_bands(mel[came], np.ones(250, bool)))
    assert not bands[~came].any()


# the model


def related(hops: int = 0, noise: float = 0.3, seconds: float = 12.0) -> tuple[Floats, Floats]:
    """Mel and mouth at 100 Hz, `(T, 26)` and `(T, 7)`: the sound follows the mouth, so many hops later."""
    random = np.random.default_rng(2)
    count, beside = round(seconds / HOP_S), 100
    raw = random.standard_normal((count + 2 * beside, DISTANCES))
    mouth = band_passed(np.apply_along_axis(np.convolve, 0, raw, np.hanning(20), "same"))
    heard = mouth @ MIXING + noise * mouth.std() * random.standard_normal((len(mouth), BANDS))
    return heard[beside - hops : beside - hops + count], mouth[beside : beside + count]


def trained_model(noise: float = 0.3) -> LipSyncModel:
    """A model of sound that follows the mouth at once; sure of itself."""
    mel, mouth = related(0, noise, 60.0)
    sound = with_context(sound_bands(mel, np.ones(len(mel), bool)))
    calibration = Calibration(0.0, np.array([0.0, 10.0, 0.0, 0.0, 0.0, 0.0]), 0.03)
    return LipSyncModel(*correlated([(sound, mouth_features(mouth))]), calibration, "made by hand")


def stretch_of(mel: Floats, mouth: Floats, came: NDArray[np.bool_] | None = None) -> Stretch:
    """A stretch from time 0 on."""
    known = np.ones(len(mel), bool) if came is None else came
    return Stretch(np.arange(0, len(mel), dtype=np.float64) * HOP_S, mel, known, mouth)


def test_variates_correlate_and_weights_sum_to_one() -> None:
    """Where sound is nothing but the mouth with some noise, the first variates are all but the same."""
    model = trained_model(noise=0.1)
    mel, mouth = related(0, 0.1)
    one = model.project_sound(sound_bands(mel, np.ones(len(mel), bool)))[:, 0]
    other = model.project_mouth(mouth_features(mouth))[:, 0]
    assert np.corrcoef(one, other)[0, 1] > 0.9
    assert model.weights.sum() == pytest.approx(1)
    assert (np.diff(model.weights) <= 0).all()


def test_sound_is_projected_with_what_is_around_it() -> None:
    """The short way gives what the matrix of all contexts does."""
    model = trained_model()
    bands = RANDOM.standard_normal((90, BANDS))
    assert model.project_sound(bands) == pytest.approx(with_context(bands) @ model.sound)
    assert with_context(bands).shape == (90, len(AROUND) * BANDS)


def test_a_model_is_kept_in_a_file(tmp_path: Path) -> None:
    """All of it comes back, to single precision."""
    model = trained_model()
    model.save(tmp_path / "model.npz")
    again = load(tmp_path / "model.npz")
    for name in ("sound", "mouth", "weights"):
        assert getattr(again, name) == pytest.approx(getattr(model, name), rel=1e-5, abs=1e-6)
    assert again.calibration.gate == pytest.approx(model.calibration.gate)
    assert again.calibration.error_s == pytest.approx(model.calibration.error_s)
    assert again.provenance == "made by hand"


def test_what_is_no_model_is_named(tmp_path: Path) -> None:
    """No file, another file, and a model of other shapes."""
    path = tmp_path / "model.npz"
    with pytest.raises(ModelError, match=r"model\.npz is no model"):
        load(path)
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(ModelError, match=r"model\.npz is no model"):
        load(path)
    model = trained_model()
    dataclasses.replace(model, weights=model.weights[:3]).save(path)
    with pytest.raises(ModelError, match="another version"):
        load(path)


def test_the_shipped_model_says_what_it_is_of() -> None:
    """Its provenance is in the file, and it is a few thousand numbers."""
    model = shipped()
    assert "GRID" in model.provenance
    assert model.sound.size + model.mouth.size < 4000


# estimates


@pytest.mark.parametrize("hops", [-55, -20, 0, 7, 55])
def test_a_planted_offset_is_found(hops: int) -> None:
    """Sound that is later by so many hops is found so, within half a hop, late being positive."""
    mel, mouth = related(hops)
    found = estimate(trained_model(), stretch_of(mel, mouth), slice(400, 700), 3.0)
    assert found.offset_s == pytest.approx(hops * HOP_S, abs=0.005)
    assert found.margin > 0.2
    assert found.spread_s < 0.02
    assert np.median(found.scores) > 0.5


def test_the_zero_is_taken_off() -> None:
    """What a model says of sound in time is no offset."""
    model = trained_model()
    biased = dataclasses.replace(model, calibration=dataclasses.replace(model.calibration, zero_s=0.03))
    mel, mouth = related(0)
    plain, found = (estimate(each, stretch_of(mel, mouth), slice(400, 700), 3.0) for each in (model, biased))
    assert found.offset_s == pytest.approx(plain.offset_s - 0.03)


def test_an_offset_between_two_moments_is_found() -> None:
    """The peak is interpolated: sound later by half a hop lies between."""
    mel, mouth = related(0, noise=0.05)
    halfway: Floats = (mel[:-1] + mel[1:]) / 2  # half a hop earlier
    found = estimate(trained_model(), stretch_of(halfway, mouth[:-1]), slice(400, 700), 3.0)
    assert found.offset_s == pytest.approx(-0.005, abs=0.003)


def test_unrelated_sound_has_no_margin() -> None:
    """Margin, peak and score are lower than of the mouth's own sound."""
    mel, mouth = related(0)
    model = trained_model()
    own = estimate(model, stretch_of(mel, mouth), slice(400, 700), 3.0)
    other = estimate(model, stretch_of(mel[::-1].copy(), mouth), slice(400, 700), 3.0)
    assert other.margin < own.margin / 2
    assert other.peak < own.peak
    assert other.spread_s > own.spread_s
    assert np.median(other.scores) < np.median(own.scores)


def test_an_estimate_does_without_what_never_came() -> None:
    """A fifth of the window's sound is lost, and the offset is found in the rest."""
    mel, mouth = related(12)
    came = np.ones(len(mel), bool)
    came[500:560] = False
    mel[~came] = -23.0
    found = estimate(trained_model(), stretch_of(mel, mouth, came), slice(400, 700), 3.0)
    assert found.offset_s == pytest.approx(0.12, abs=0.01)


def test_a_window_without_anything_beside_it() -> None:
    """At the ends of a recording, there is no sound to compare with at some offsets."""
    mel, mouth = related(20)
    found = estimate(trained_model(), stretch_of(mel[:300], mouth[:300]), slice(0, 300), 3.0)
    assert found.offset_s == pytest.approx(0.2, abs=0.01)


def test_the_same_window_says_the_same() -> None:
    """The bootstrap draws alike each time."""
    mel, mouth = related(3, noise=2.0)
    model = trained_model()
    one, other = (estimate(model, stretch_of(mel, mouth), slice(400, 700), 3.0) for _ in range(2))
    assert (one.spread_s, one.offset_s) == (other.spread_s, other.offset_s)


# windows


def heard(samples: NDArray[np.float32], start_s: float, missing: tuple[tuple[int, int], ...] = ()) -> Sound:
    """Sound at 16 kHz."""
    return Sound(samples, RATE_HZ, start_s, missing, samples, start_s)


def full_history(pieces: Sequence[int], seconds: float = 8.0, start_s: float = 0.0) -> History:
    """Noise in pieces of these sizes, again and again, and a mouth 25 times a second."""
    samples = np.random.default_rng(3).standard_normal(round(seconds * RATE_HZ)).astype(np.float32)
    history, at, number = History(), 0, 0
    while at < samples.size:
        piece = samples[at : at + pieces[number % len(pieces)]]
        history.hear(heard(piece, start_s + at / RATE_HZ))
        at, number = at + piece.size, number + 1
        if number % 7 == 0:
            history.window(start_s, start_s + 1)  # what is asked for on the way changes nothing
    for index in range(round(25 * seconds)):
        history.see(index / 25, np.full(DISTANCES, np.sin(index / 3)))
    return history


@pytest.mark.parametrize("pieces", [(640,), (533, 534), (7, 900, 41)])
def test_it_does_not_matter_how_sound_is_cut(pieces: tuple[int, ...]) -> None:
    """Sound in any pieces makes the window that it makes at once."""
    one, other = (full_history(each).window(2.0, 5.0) for each in ((8 * RATE_HZ,), pieces))
    assert one is not None
    assert other is not None
    assert other.stretch.times_s == pytest.approx(one.stretch.times_s, abs=1e-9)
    assert other.stretch.mel == pytest.approx(one.stretch.mel, rel=1e-5, abs=1e-5)
    assert other.stretch.mouth == pytest.approx(one.stretch.mouth)
    assert (one.part, one.seen, one.heard) == (other.part, 1.0, 1.0)
    assert one.middle_s == pytest.approx(3.5, abs=0.02)


def test_mouths_are_placed_by_their_time() -> None:
    """At an uneven picture rate, a mouth that opens at a constant speed does so on the grid."""
    history = History()
    history.hear(heard(np.zeros(6 * RATE_HZ, np.float32), 0.0))
    for time_s in np.cumsum(np.random.default_rng(4).uniform(0.02, 0.09, 110)):
        history.see(float(time_s), np.full(DISTANCES, time_s))
    window = history.window(1.0, 4.0)
    assert window is not None
    assert window.stretch.mouth[window.part, 0] == pytest.approx(window.stretch.times_s[window.part])


def test_shifted_sound_is_elsewhere_on_the_pictures_clock() -> None:
    """The same bands 80 ms later, and sound that comes then goes on there."""
    plain, moved = (full_history((640,), 4.0) for _ in range(2))
    moved.shift(0.08)
    more = np.random.default_rng(9).standard_normal(4 * RATE_HZ).astype(np.float32)
    plain.hear(heard(more, 4.0))
    moved.hear(heard(more, 4.08))
    one, other = plain.window(1.0, 3.0), moved.window(1.08, 3.08)
    assert one is not None
    assert other is not None
    assert other.stretch.mel == pytest.approx(one.stretch.mel)
    assert other.stretch.times_s == pytest.approx(one.stretch.times_s + 0.08)


def test_sound_that_goes_on_elsewhere_begins_anew() -> None:
    """Behind a jump of half a second, what was before it is gone."""
    history = full_history((640,), 4.0)
    history.hear(heard(np.zeros(RATE_HZ, np.float32), 4.5))
    assert history.window(1.0, 3.0) is None


def test_lost_samples_and_faces_are_counted() -> None:
    """Half a second of three without samples, and a second without a face: what is left is 83 and about 67 %."""
    history = History()
    history.hear(heard(np.ones(6 * RATE_HZ, np.float32), 0.0, ((3 * RATE_HZ, RATE_HZ // 2),)))
    for index in range(150):
        history.see(index / 25, None if 75 <= index < 100 else np.full(DISTANCES, float(index % 3)))
    window = history.window(2.0, 5.0)
    assert window is not None
    assert window.heard == pytest.approx(5 / 6, abs=0.01)
    # a face counts 0.1 s to each side of its picture
    assert window.seen == pytest.approx((3 - 1.04 + 0.2) / 3, abs=0.02)


def test_no_window_of_what_is_not_known() -> None:
    """Without sound, without a face, and where one of them ends too early."""
    history = History()
    assert history.known_s == -np.inf
    history.hear(heard(np.zeros(4 * RATE_HZ, np.float32), 0.0))
    assert history.window(0.5, 2.5) is None
    for index in range(100):
        history.see(index / 25, np.full(DISTANCES, float(index % 2)))
    assert history.known_s == pytest.approx(3.96)
    assert history.window(0.5, 2.5) is not None
    assert history.window(2.5, 4.5) is None


def test_what_is_forgotten_is_gone_and_the_rest_stays() -> None:
    """Memory is bounded, and windows behind it are as before."""
    kept, whole = full_history((640,)), full_history((640,))
    kept.forget_before(4.0)
    assert kept.begun_s == pytest.approx(4.0)
    assert kept.window(2.0, 3.0) is None
    one, other = kept.window(5.0, 7.0), whole.window(5.0, 7.0)
    assert one is not None
    assert other is not None
    assert one.stretch.mel[one.part] == pytest.approx(other.stretch.mel[other.part])


def test_speech_is_counted_inside_a_stretch() -> None:
    """Of 0.5 to 1.5 s and 3 s on, from 1 to 4 s there are 1.5 s."""
    assert spoken_s(np.array([[0.5, 1.5], [3.0, 9.0]]), 1.0, 4.0) == pytest.approx(1.5)
    assert spoken_s(np.zeros((0, 2)), 1.0, 4.0) == 0


# the gate


def said(offset_s: float, margin: float = 0.2) -> Estimate:
    """An estimate: a peak there, of 0.4, and nothing else that is higher than that less the margin."""
    curve = np.full(121, 0.4 - margin)
    curve[60 + round(offset_s / HOP_S)] = 0.4
    return Estimate(offset_s, margin, 0.4, 0.01, 2.5, curve, np.zeros(300))


def gate_of(error_s: float = 0.05) -> Gate:
    """One that goes by the margin in the mean of the last windows: from 0.1 on it believes."""
    return Gate(Calibration(0.0, np.array([0.0, 0.0, 0.0, 0.0, 50.0, -5.0]), error_s), 0.5)


def test_a_sure_estimate_is_believed() -> None:
    """By its margin; its interval narrows with the root of how much voice is in it, to half a hop."""
    sure = gate_of().judge(1.0, said(0.05))
    unsure = gate_of().judge(1.0, said(0.05, margin=0.05))
    assert (sure.is_believed, unsure.is_believed) == (True, False)
    assert sure.confidence == pytest.approx(1 / (1 + np.exp(-5)))
    assert sure.offset_s == 0.05
    assert sure.error_s == pytest.approx(0.05 / np.sqrt(2.5))
    assert gate_of(0.0).judge(1.0, said(0.05)).error_s == 0.005


def test_windows_that_disagree_are_refused() -> None:
    """An estimate is not believed right after another that says otherwise; when most say it, it is."""
    gate = gate_of()
    assert gate.judge(1.0, said(0.0)).is_believed
    told = [gate.judge(time_s, said(0.4)).is_believed for time_s in (1.5, 2.0, 2.5, 3.0, 3.5, 4.0)]
    assert told == [False, False, False, True, True, True]  # a margin of 0.2 x (3 - 1) / 4 is the first that suffices


def test_estimates_that_agree_bear_each_other_out() -> None:
    """A peak that stays where it is, while what else is high moves, is surer than one window is."""
    gate = gate_of()
    told = []
    for number in range(4):
        found = said(0.05, margin=0.2)
        found.curve[5 + 25 * (number % 2)] = 0.35  # in a window alone, a margin of 0.05
        told.append(gate.judge(1.0 + number / 2, found).is_believed)
    assert told == [False, True, True, True]


def test_what_was_said_long_ago_does_not_count() -> None:
    """Four seconds later, or after all is forgotten, another offset is believed at once."""
    gate = gate_of()
    gate.judge(1.0, said(0.0))
    assert gate.judge(5.0, said(0.4)).is_believed
    gate.forget()
    assert gate.judge(5.5, said(-0.4)).is_believed


# tracking


def read(time_s: float, offset_s: float, is_believed: bool = True) -> Reading:
    """What a gate makes of an estimate."""
    return Reading(time_s, offset_s, 0.03, 0.9 if is_believed else 0.1, is_believed)


def followed(offsets_s: Sequence[float], every_s: float = 0.5) -> Tracker:
    """A tracker that was told these."""
    tracker = Tracker(3.0)
    for number, offset_s in enumerate(offsets_s):
        tracker.add(read(number * every_s, offset_s))
    return tracker


def test_a_step_is_found_where_it_is() -> None:
    """Of 0.12 s between 10 and 10.5 s; it is given out once."""
    tracker = followed([0.0] * 21 + [0.12] * 4)
    step = tracker.take_step()
    assert step is not None
    assert step.time_s == pytest.approx(10.25)
    assert step.step_s == pytest.approx(0.12)
    assert tracker.take_step() is None


def test_a_step_begins_with_what_was_not_believed_at_first() -> None:
    """Windows that only together are believed say since when the offset is another."""
    tracker = followed([0.0] * 21)
    for number, is_believed in enumerate((False, False, False, True), 21):
        assert tracker.take_step() is None
        tracker.add(read(number / 2, 0.12, is_believed))
    step = tracker.take_step()
    assert step is not None
    assert step.time_s == pytest.approx(10.25)
    assert step.step_s == pytest.approx(0.12)


@pytest.mark.parametrize("offsets_s", [[0.0] * 21 + [0.04] * 20, [0.0] * 20 + [0.3, 0.0] * 5, [0.0] * 20 + [0.3] * 2])
def test_small_changes_and_outliers_are_no_steps(offsets_s: list[float]) -> None:
    """Less than 60 ms, single ones, and two in a row."""
    assert followed(offsets_s).take_step() is None


def test_a_drift_is_found_within_its_interval() -> None:
    """30 ms a minute under noise of 15 ms; nothing is said before a minute has passed."""
    noise = np.random.default_rng(6).normal(0, 0.015, 400)
    times_s = 0.5 * np.arange(400)
    assert followed(list(noise[:100])).drift() is None
    drift = followed(list(0.030 * times_s / 60 + noise)).drift()
    assert drift is not None
    assert drift.ms_per_min == pytest.approx(30, abs=2 * drift.error_ms_per_min)
    assert 0 < drift.error_ms_per_min < 10


def test_single_offsets_that_are_far_off_do_not_tilt_the_drift() -> None:
    """A level of 0 with three that say 39 ms more at the end."""
    drift = followed([*RANDOM.normal(0, 0.002, 300), 0.039, 0.039, 0.039]).drift()
    assert drift is not None
    assert abs(drift.ms_per_min) < 1


def test_a_step_knows_how_it_was_before_it() -> None:
    """At a level, which is the median of the last offsets; or in a drift, which goes on until then."""
    step = followed([*RANDOM.normal(0, 0.003, 20), *[0.2] * 4]).take_step()
    assert step is not None
    assert step.before_s == pytest.approx(0, abs=0.005)
    assert step.slope == 0
    assert [each.offset_s for each in step.readings] == [0.2] * 3
    drifting = [0.010 * number / 2 for number in range(30)]
    step = followed([*drifting, *[0.0] * 4]).take_step()
    assert step is not None
    assert step.slope == pytest.approx(0.010)
    assert step.before_s == pytest.approx(0.010 * step.time_s)


def test_offsets_move_with_the_sound() -> None:
    """What is known to belong 100 ms later was that much later all along: it is no step."""
    tracker = followed([0.0] * 20)
    tracker.shift(0.1)
    for number in range(20, 30):
        tracker.add(read(number * 0.5, 0.1))
    assert tracker.take_step() is None


# states


def acted(moving: Sequence[tuple[float, float]], faceless: Sequence[tuple[float, float]] = ()) -> History:
    """Twenty-four seconds of a mouth that moves in these stretches and rests else."""
    history = History()
    for index in range(24 * 25):
        time_s = index / 25
        gap = 0.05 * abs(np.sin(2 * np.pi * 2.3 * time_s)) if _inside(moving, time_s) else 0.0
        history.see(time_s, None if _inside(faceless, time_s) else np.full(DISTANCES, 0.1 + gap))
    return history


def _inside(stretches: Sequence[tuple[float, float]], time_s: float) -> bool:
    return any(start <= time_s < end for start, end in stretches)


def test_states_follow_from_voice_and_mouth() -> None:
    """Each of the six, in the middle of its stretch."""
    history = acted([(2, 4), (6, 8)], faceless=[(20, 21)])
    segments_s = np.array([[2.0, 4.0], [10.0, 12.0], [20.0, 21.0]])
    activity = Activity()
    told = {round(at_s, 1): activity.at(at_s, history, segments_s) for at_s in np.arange(1, 23.05, 0.1)}
    assert told[1.0] == State.LISTENING
    assert told[3.0] == State.SPEAKING
    assert told[7.0] == State.SILENT_MOVING
    assert told[11.0] == State.TALKING_FROZEN
    assert told[13.0] == State.LISTENING
    assert told[20.5] == State.NO_FACE
    activity = Activity()
    assert [activity.at(at_s, acted([]), np.zeros((0, 2))) for at_s in (1.0, 10.9, 11.1)] == [
        State.LISTENING,
        State.LISTENING,
        State.IDLE,
    ]


def test_lips_that_close_after_a_word_do_not_move_silently() -> None:
    """What moves up to 0.35 s beside a voice belongs to it."""
    history = acted([(1.7, 4.3)])
    activity = Activity()
    told = [activity.at(float(at_s), history, np.array([[2.0, 4.0]])) for at_s in np.arange(1, 6, 0.04)]
    assert State.SILENT_MOVING not in told
    assert told.count(State.SPEAKING) == pytest.approx(50, abs=2)


def test_a_state_needs_what_it_is_told_from() -> None:
    """Speech settles half a second later; the delay has room for it."""
    assert STATE_DELAY_S > 0.5


# limits


@pytest.mark.parametrize(
    ("name", "early_ms", "late_ms"),
    [("itu_detectable", 45, 125), ("itu_acceptable", 90, 185), ("ebu_r37", 40, 60), ("atsc_is191", 15, 45)],
)
def test_limits_are_those_of_the_standards(name: LimitName, early_ms: float, late_ms: float) -> None:
    """Early sound is the stricter side in all of them."""
    limits = LIMITS[name]
    assert limits.excess_ms(late_ms) == 0
    assert limits.excess_ms(-early_ms) == 0
    assert limits.excess_ms(late_ms + 7) == 7
    assert limits.excess_ms(-early_ms - 7) == 7
    assert limits.excess_ms(0) < 0
