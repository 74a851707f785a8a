"""face_dynamics: blinks, pose and motion whose truth is known, and what natural talkers show."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from processors.face_dynamics import FaceDynamics, FaceDynamicsProcessor
from processors.face_dynamics.blinks import Baseline, BlinkCounter, BlinkDetector
from processors.face_dynamics.loops import LoopDetector
from processors.face_dynamics.rigid import Jitter
from processors.face_landmarks import FaceLandmarks
from tests.processors.performing import faces_of, performed
from vision import Frame, Picture, metrics_of
from vision.testing import check_processor

Times = NDArray[np.float64]


def dynamics_of(seen: Iterable[tuple[Frame, FaceLandmarks]]) -> list[FaceDynamics]:
    """What is measured of each frame."""
    processor = FaceDynamicsProcessor()
    results = [processor.process(frame, face) for frame, face in seen]
    return [result for result in results if result is not None]


class Blinks:
    """Blinks planted at random: 100 to 400 ms long, half a second to two seconds apart, as real ones are shaped."""

    def __init__(self, seed: int, seconds: float) -> None:
        random = np.random.default_rng(seed)
        self.spans: list[tuple[float, float]] = []
        now_s = 1.5 + random.uniform(0, 0.5)
        while now_s < seconds - 1:
            length_s = random.uniform(0.1, 0.4)
            self.spans.append((now_s, now_s + length_s))
            now_s += length_s + random.uniform(0.5, 2.0)

    def closed(self, times_s: Times) -> Times:
        """How far the lids are closed: they fall in 35 % of the time, and rise in half of it."""
        shut = np.zeros_like(times_s)
        for start_s, end_s in self.spans:
            done = (times_s - start_s) / (end_s - start_s)
            down, up = (0.5 - 0.5 * np.cos(np.pi * np.clip(share, 0, 1)) for share in (done / 0.35, (1 - done) / 0.5))
            shut = np.maximum(shut, np.where((done > 0) & (done < 1), np.minimum(down, up), 0))
        return shut


def talking(times_s: Times) -> Times:
    """A mouth that moves as in speech."""
    return np.asarray(0.35 * (1 + np.sin(2 * np.pi * 3.3 * times_s)) * np.sin(0.9 * times_s) ** 2)


def circling(time_s: float) -> tuple[float, float]:
    """The sway of the simulator's head."""
    return float(np.cos(1.85 * time_s)), float(np.sin(1.85 * time_s))


@pytest.mark.slow
@pytest.mark.parametrize("fps", [25.0, 30.0])
def test_blinks_of_the_simulator(attention_model: Path, fps: float) -> None:
    """Blinks of 100 to 400 ms on a head that sways and talks: recall and precision at least 0.98, lengths in order."""
    found = hits = planted = 0
    lengths: list[tuple[float, float]] = []
    for seed in range(2):
        blinks = Blinks(seed, 40)
        times_s = np.arange(0, 40, 1 / fps) + seed * 0.37 / fps
        seen = faces_of(performed(times_s, talking, blinks.closed, circling))
        ends = [(time_s, result.blink_ms) for time_s, result in zip(times_s, dynamics_of(seen), strict=True)
                if result.blink_ms is not None]  # fmt: skip
        for start_s, end_s in blinks.spans:
            own = [length_ms for time_s, length_ms in ends if start_s < time_s < end_s + 0.1]
            hits += bool(own)
            lengths += [(1000 * (end_s - start_s), own[0])] if own else []
        found, planted = found + len(ends), planted + len(blinks.spans)
    assert planted > 40
    assert hits / planted >= 0.98
    assert hits / found >= 0.98
    true_ms, measured_ms = np.array(lengths).T
    assert np.corrcoef(true_ms, measured_ms)[0, 1] > 0.95
    assert 0.5 < np.median(measured_ms / true_ms) < 0.9  # between the moments at which lids are a third closed


@pytest.mark.slow
def test_mouth_and_place_of_the_simulator(attention_model: Path) -> None:
    """The mouth's opening follows the drawn one at 0.98 and better, and a head that only sways does not turn."""
    times_s = np.arange(0, 12, 1 / 30)
    seen = list(faces_of(performed(times_s, talking, sway=circling)))
    opening = [face.mouth_opening for _, face in seen]
    assert np.corrcoef(talking(times_s), np.array(opening, float))[0, 1] >= 0.98
    results = dynamics_of(seen)
    for name in ("yaw_deg", "pitch_deg", "roll_deg"):
        assert np.std([getattr(result, name) for result in results]) < 1.5
    assert max(result.identity_drift or 0 for result in results) < 0.02
    assert not any(result.face_frozen for result in results)


def test_a_face_that_is_frozen_in_a_picture_that_moves(attention_model: Path) -> None:
    """The face's box stands still for a second while the wall beside it changes; then both move."""
    times_s = np.arange(0, 3, 1 / 30)
    frames = list(performed(times_s, sway=lambda time_s: circling(time_s if not 1 <= time_s < 2 else 1.0)))
    walls = [_with_a_moving_wall(frame, index) for index, frame in enumerate(frames)]
    frozen = [result.face_frozen for result in dynamics_of(faces_of(iter(walls)))]
    assert all(frozen[32:59])
    assert not any(frozen[:30])
    assert not any(frozen[62:])
    assert not any(result.face_frozen for result in dynamics_of(faces_of(iter(frames)))), "nothing moves beside it"


def _with_a_moving_wall(frame: Frame, index: int) -> Frame:
    y = frame.picture.y.copy()
    y[:, :100] = 60 + 40 * (index % 3)
    picture = Picture(y, frame.picture.u, frame.picture.v)
    return dataclasses.replace(frame, maybe_picture=picture)


def test_blink_lengths_are_taken_between_pictures() -> None:
    """A closure that rises and falls in straight lines is timed to a few milliseconds at any rate."""
    for fps in (12.5, 25, 30, 60):
        detector = BlinkDetector()
        closures = [
            (time_s, float(np.interp(time_s, [1.0, 1.2, 1.5], [0, 1, 0]))) for time_s in np.arange(0, 3, 1 / fps)
        ]
        (blink,) = [found for time_s, closure in closures if (found := detector.add(time_s, closure, 0.5 * closure))]
        assert blink.start_s == pytest.approx(1.06, abs=0.02)
        assert blink.end_s == pytest.approx(1.41, abs=0.02)
        assert blink.depth_right is not None
        assert blink.depth_left is not None
        assert blink.depth_left > 0.7
        assert blink.depth_right == pytest.approx(0.5 * blink.depth_left)


def test_what_is_no_blink() -> None:
    """Eyes that stay shut, lids that tremble, and pictures that are missing in the middle."""
    shut = BlinkDetector()
    assert not any(shut.add(n / 30, float(10 < n < 40), float(10 < n < 40)) for n in range(60))
    trembling = BlinkDetector()
    assert not any(trembling.add(n / 30, 0.2 + 0.15 * (n % 2), 0.2) for n in range(60))
    gap = BlinkDetector()
    assert not any(gap.add(time_s, closure, closure) for time_s, closure in ((0.0, 0.0), (0.03, 0.9), (0.6, 0.0)))


def test_an_eye_that_is_turned_away_has_no_depth() -> None:
    """A blink that is seen in one eye only says nothing of the other."""
    detector = BlinkDetector()
    (blink,) = [found for n in range(30) if (found := detector.add(n / 30, None, float(10 <= n < 14)))]
    assert (blink.depth_left, blink.depth_right) == (None, 1.0)


def test_the_baseline_is_the_eyes_own() -> None:
    """Narrow eyes and wide ones are open alike; in the first second nothing is said."""
    for usual in (0.15, 0.4):
        baseline = Baseline()
        closures = [baseline.closure(n / 30, usual * (0.1 if n % 60 == 50 else 1)) for n in range(300)]
        assert closures[:30] == [None] * 30
        assert [n for n, closure in enumerate(closures) if closure is not None and closure > 0.5] == [
            50,
            110,
            170,
            230,
            290,
        ]
        assert closures[50] == pytest.approx(0.9)


def test_rates_are_of_the_time_that_eyes_were_seen() -> None:
    """A blink each 3 s is 20 a minute, also where half a minute passes without a face."""
    counter, detector = BlinkCounter(), BlinkDetector()
    for n in range(60 * 30):
        time_s = n / 30 + (30 if n > 900 else 0)
        counter.add(time_s, detector.add(time_s, float(n % 90 in (40, 41, 42)), 0.0))
        if n == 200:
            assert counter.per_minute is None
    assert counter.per_minute == pytest.approx(20, abs=1)
    assert counter.seen_s == pytest.approx(60, abs=0.5)
    assert counter.since_last_s < 3


def test_jitter_is_of_the_points_not_of_the_head() -> None:
    """Points that tremble by a known amount, on a head that moves, turns in the plane and comes nearer."""
    random = np.random.default_rng(1)
    shape = random.uniform(-1, 1, (478, 2)) * 100
    for sigma in (0.0, 0.2, 0.5):
        jitter, found = Jitter(floor=0.0), 0.0
        for n in range(90):
            angle, scale = 0.3 * np.sin(n / 20), 1 + 0.1 * np.sin(n / 15)
            turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
            points = shape @ turn.T + (300 + 3 * n, 200) + scale * random.normal(0, sigma, shape.shape)
            found = jitter.add(n / 30, points.astype(np.float32), 100 * scale) or 0.0
        # the second difference of independent noise has six times its variance, on two axes
        assert found == pytest.approx(np.sqrt(12) * sigma / 100, rel=0.15, abs=2e-4)


def test_the_detectors_own_trembling_is_taken_out() -> None:
    """As a variance: at the floor nothing is left, at twice the floor most of it."""
    random = np.random.default_rng(2)
    shape = random.uniform(-1, 1, (478, 2)) * 100
    floor = np.sqrt(12) * 0.2 / 100
    left = []
    for sigma in (0.2, 0.4):
        jitter = Jitter(floor)
        for n in range(60):
            value = jitter.add(n / 30, (shape + random.normal(0, sigma, shape.shape)).astype(np.float32), 100)
        left.append(value or 0.0)
    assert left[0] < 0.35 * floor
    assert left[1] == pytest.approx(np.sqrt(3) * floor, rel=0.1)


def test_a_loop_is_found_with_its_period() -> None:
    """Motion that repeats after 6.4 s is a loop; the same that wanders is none, nor is a head that stands still."""
    random = np.random.default_rng(3)
    floors = np.array([0.1, 0.1])
    once = np.cumsum(random.normal(0, 1, (64, 2)), axis=0)
    once -= np.linspace(0, 1, 64)[:, None] * (once[-1] - once[0])  # it begins where it ends
    looping, wandering, still = LoopDetector(floors), LoopDetector(floors), LoopDetector(floors)
    walk = np.cumsum(random.normal(0, 1, (400, 2)), axis=0)
    for n in range(400):
        loop = looping.add(n / 10, once[n % 64] + random.normal(0, 0.02, 2))
        none = wandering.add(n / 10, walk[n])
        nothing = still.add(n / 10, random.normal(0, 0.02, 2))
    assert loop is not None
    assert loop.period_s == pytest.approx(6.4, abs=0.11)
    assert loop.likeness > 0.95
    assert none is not None
    assert none.likeness < 0.7
    assert nothing is None


@pytest.mark.slow
def test_natural_talkers(attention_model: Path, frames_of_clip: Callable[[str], Iterator[Frame]]) -> None:
    """On real clips nothing is frozen or loops, faces stay themselves, and heads that turn are seen to."""
    for clip in ("r3d_May_5s.mp4", "vrt_3.mp4", "sad_WDA_AlexandriaOcasioCortez_000.mp4"):
        results = dynamics_of(faces_of(frames_of_clip(clip)))
        assert len(results) > 100
        assert not any(result.face_frozen or result.looping for result in results)
        assert max(result.identity_drift or 0.0 for result in results) < 0.05
        assert 0.001 < max(result.jitter or 0.0 for result in results) < 0.05
        assert 2 < np.ptp([result.yaw_deg for result in results]) < 60


def test_without_a_face_nothing_is_measured() -> None:
    """No face, no figures; and all of them are promised with unit and range."""
    assert check_processor(FaceDynamicsProcessor) == [None] * 10
    assert all(info.unit and info.description for info in metrics_of(FaceDynamics))
