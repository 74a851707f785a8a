"""Columns of numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision import statistics
from vision.statistics import PERCENTILES, Column

_VALUES = st.lists(st.floats(-1e6, 1e6, allow_subnormal=False), min_size=1, max_size=200)


@given(_VALUES)
def test_small_columns_are_exact(values: list[float]) -> None:
    """Moments, ends and percentiles are numpy's."""
    column = Column()
    for value in values:
        column.add(value)
    found = column.distribution()
    assert found is not None
    assert found.count == len(values)
    assert found.mean == pytest.approx(np.mean(values), rel=1e-9, abs=1e-6)
    assert found.std == pytest.approx(np.std(values), rel=1e-6, abs=1e-3)
    assert (found.min, found.max, found.last) == (min(values), max(values), values[-1])
    np.testing.assert_allclose(found.percentiles, np.percentile(values, PERCENTILES))


def test_large_columns_are_within_a_thousandth(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the exact part, percentiles stay within 0.1 % of a value of that rank, negative ones and zeros too."""
    monkeypatch.setattr(statistics, "_EXACT", 1000)
    rng = np.random.default_rng(3)
    values = np.concatenate(
        [rng.normal(0, 50, 20_000), np.zeros(500), rng.lognormal(3, 2, 20_000), -1e-4 * rng.random(99)]
    )
    rng.shuffle(values)
    column = Column()
    for value in values:
        column.add(float(value))
    found = column.distribution()
    assert found is not None
    assert not column._values
    for percent, value in zip(PERCENTILES, found.percentiles, strict=True):
        exact = float(np.percentile(values, percent, method="lower"))
        assert value == pytest.approx(exact, rel=0.0011, abs=1e-9)


def test_the_summary_says_the_last_value() -> None:
    """What a figure that is of the run so far has come to: the last of all, among the names of summary.json."""
    column = Column()
    for value in (3.0, 1.0, 2.0):
        column.add(value)
    found = column.distribution()
    assert found is not None
    assert found.as_dict()["last"] == 2.0


def test_nothing_is_none() -> None:
    """A column without values has no distribution."""
    assert Column().distribution() is None
