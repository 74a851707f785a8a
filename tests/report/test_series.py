"""A metric over time, in bounded memory."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vision.report.series import Series


def _series(values: list[float], step_s: float = 1 / 30) -> Series:
    series = Series()
    for index, value in enumerate(values):
        series.add(index * step_s, value)
    return series


def test_a_short_run_keeps_every_value() -> None:
    """Nothing is put into bins while there are few."""
    values = [float(i % 7) for i in range(3000)]
    points = _series(values).points()
    assert points.bin_s is None
    assert points.mean.tolist() == values


def test_no_spike_of_a_long_run_is_lost() -> None:
    """One picture in 18,000 is still the greatest, at its time, however few points are drawn."""
    values = [1.0] * 18_000
    values[12_345], values[777] = 50.0, -3.0
    for most in (6_000, 1_000, 100):
        points = _series(values).points(most)
        assert points.time_s.size <= most
        assert points.bin_s is not None
        highest, lowest = int(points.high.argmax()), int(points.low.argmin())
        assert (points.high[highest], points.low[lowest]) == (50.0, -3.0)
        assert abs(points.time_s[highest] - 12_345 / 30) <= points.bin_s / 2
        assert abs(points.time_s[lowest] - 777 / 30) <= points.bin_s / 2


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=400), st.integers(1, 50))
def test_bins_hold_what_was_put_in(values: list[float], most: int) -> None:
    """Ends are those of the values, and every mean lies between its ends."""
    points = _series(values).points(most)
    assert points.high.max() == max(values)
    assert points.low.min() == min(values)
    assert (points.low <= points.mean + 1e-6).all()
    assert (points.mean <= points.high + 1e-6).all()
    assert points.time_s.size <= max(most, 2)  # bins lie on either side of zero at the least


def test_memory_stays_flat() -> None:
    """Ten hours are as many bins as ten minutes."""
    series = Series()
    rng = np.random.default_rng(1)
    for index, value in enumerate(rng.normal(size=100_000).tolist()):
        series.add(index * 0.36, value)
    points = series.points()
    assert points.time_s.size <= 6_000
    assert points.bin_s is not None
    assert points.time_s[-1] > 35_000


def test_bins_without_a_value_are_left_out() -> None:
    """Where nothing was measured, nothing is drawn."""
    series = Series()
    for index in range(10_000):
        if not 4_000 <= index < 6_000:
            series.add(index / 30, 1.0)
    times = series.points(500).time_s
    assert not ((times > 4_000 / 30 + 1) & (times < 6_000 / 30 - 1)).any()
