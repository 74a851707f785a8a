"""The performance: deterministic, within bounds, without end."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision.simulator.performance import BLOCK_S, Performance

MINUTE = np.arange(0, 60, 0.01)


def test_the_seed_decides_everything() -> None:
    """Two performances of one seed are the same, whatever was looked up before; another seed gives another."""
    one, same, other = Performance(7), Performance(7), Performance(8)
    same.mouth_opening(MINUTE + 3600)
    for name in ("mouth_opening", "blink", "speaking"):
        np.testing.assert_array_equal(getattr(one, name)(MINUTE), getattr(same, name)(MINUTE))
    assert not np.array_equal(one.mouth_opening(MINUTE), other.mouth_opening(MINUTE))


@given(seed=st.integers(0, 2**32), start_s=st.floats(0, 36_000))
def test_curves_stay_in_range_and_move_smoothly(seed: int, start_s: float) -> None:
    """Mouth and lids stay in 0..1 and never jump, at any time of any performance."""
    times_s = start_s + np.arange(0, 2 * BLOCK_S, 0.005)
    performance = Performance(seed)
    for curve in (performance.mouth_opening(times_s), performance.blink(times_s)):
        assert curve.min() >= 0
        assert curve.max() <= 1
        assert abs(np.diff(curve)).max() < 0.2


@pytest.mark.parametrize("seed", range(20))
def test_speech_has_the_rhythm_of_speech(seed: int) -> None:
    """Syllables come at 3 to 6 Hz, pauses last 0.3 to 1.3 s, and the mouth is shut in them."""
    performance = Performance(seed)
    starts, ends = [], []
    for number in range(10):
        syllables = performance.block(number).syllables
        starts.append(syllables.starts_s + number * BLOCK_S)
        ends.append(syllables.ends_s + number * BLOCK_S)
    start, end = np.concatenate(starts), np.concatenate(ends)
    rate_hz, pauses = 1 / (end - start), start[1:] - end[:-1]
    pauses = pauses[pauses > 1e-6]
    assert rate_hz.min() >= 3
    assert rate_hz.max() <= 6
    assert pauses.min() >= 0.3
    assert pauses.max() <= 1.3
    quiet = ~performance.speaking(MINUTE)
    assert performance.mouth_opening(MINUTE)[quiet].max() == 0
    assert 0.5 < performance.speaking(MINUTE).mean() < 0.95


def test_blinks_are_natural() -> None:
    """Blinks last 100 to 300 ms and come every few seconds."""
    shut = Performance(1).blink(MINUTE) > 0
    edges = np.flatnonzero(np.diff(shut.astype(int)))
    lengths_s = (edges[1::2] - edges[0::2]) * 0.01
    assert lengths_s.min() >= 0.1
    assert lengths_s.max() <= 0.31
    assert 8 <= len(lengths_s) <= 30


def test_the_head_never_stands_still() -> None:
    """The sway has a constant speed, so that no two pictures are the same."""
    x, y = Performance(1).sway(MINUTE)
    speed = np.hypot(np.diff(x), np.diff(y))
    assert speed.min() > 0.99 * speed.max() > 0
