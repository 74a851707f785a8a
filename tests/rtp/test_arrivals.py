"""How units come: since when they come otherwise, on even and uneven ways."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from vision.rtp.arrivals import Arrivals
from vision.rtp.sender_time import Step

_EVERY_S, _DELAY_S = 0.04, 5.0


def _came(later_s: Callable[[float], float], seconds: float = 4.0, jitter_s: float = 0.0, seed: int = 1) -> Arrivals:
    """Pictures that are sent so much later at a time, none before the one before it."""
    arrivals, random, free_s = Arrivals(), np.random.default_rng(seed), 0.0
    for number in range(round(seconds / _EVERY_S)):
        time_s = number * _EVERY_S
        free_s = max(free_s, time_s + later_s(time_s))
        arrivals.add(time_s, free_s + _DELAY_S + random.uniform(0, jitter_s))
    return arrivals


def _step(step_s: float, *, later_s: float = 0.0) -> Step:
    """What a sender says after 3 s that it had not said after 1 s."""
    return Step(1.0, 3.0, _DELAY_S + later_s, step_s)


@pytest.mark.parametrize("step_s", [0.012, 0.05, 0.3])
@pytest.mark.parametrize("jitter_s", [0.0, 0.02])
def test_the_picture_from_which_on_all_come_later_is_found(step_s: float, jitter_s: float) -> None:
    """On an uneven way, one or two before it may have been as late by chance."""
    for seed in range(10):
        arrivals = _came(lambda time_s: step_s * (time_s >= 1.99), jitter_s=jitter_s, seed=seed)
        turn = arrivals.turn(_step(step_s))
        assert turn is not None
        begin_s, end_s = turn
        assert end_s - begin_s == pytest.approx(_EVERY_S)
        assert 0 <= 1.99 - begin_s <= (0.04 if step_s > 2 * jitter_s else 0.16)


@pytest.mark.parametrize("step_s", [0.05, 0.1, 0.3])
def test_what_comes_sooner_again_counts_from_its_first_picture_on(step_s: float) -> None:
    """Those behind a delay are held up by it, and make up for it one by one."""
    for jitter_s in (0.0, 0.005):
        arrivals = _came(lambda time_s: step_s * (time_s < 1.99), jitter_s=jitter_s)
        turn = arrivals.turn(_step(-step_s, later_s=step_s))
        assert turn is not None
        assert -0.04 <= turn[0] - 1.99 <= 0.04
        assert turn[1] - turn[0] == pytest.approx(_EVERY_S)


def test_what_units_do_not_show_has_no_date() -> None:
    """They come as before, or by another amount, or have come so all along, or it is but a moment ago."""
    assert Arrivals().turn(_step(0.1)) is None
    steady = _came(lambda time_s: 0.0)
    assert steady.turn(_step(0.1)) is None
    assert steady.turn(_step(-0.1)) is None
    other = _came(lambda time_s: 0.1 * (time_s >= 1.99))
    assert other.turn(_step(0.3)) is None
    assert other.turn(_step(0.05)) is None
    assert other.turn(_step(0.1)) is not None
    earlier = _came(lambda time_s: 0.1 * (time_s >= 0.5))
    assert earlier.turn(_step(0.1)) is None
    fresh = _came(lambda time_s: 0.1 * (time_s >= 3.79))
    assert fresh.turn(_step(0.1)) is not None
    assert fresh.turn(_step(0.1), lasting=True) is None
    assert other.turn(_step(0.1), lasting=True) is not None


def test_a_count_that_begins_anew_knows_nothing_of_the_one_before() -> None:
    """Neither how it came nor when that changed."""
    arrivals = _came(lambda time_s: 0.1 * (time_s >= 1.99))
    arrivals.clear()
    arrivals.add(1000.0, 1007.0)
    assert arrivals.delay_s == 7.0
    assert arrivals.turn(_step(0.1)) is None
