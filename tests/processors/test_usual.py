"""What is usual for a figure, and when it has left that."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from processors.frame_quality.usual import Departure, Usual

FPS = 30


def judged(values: Iterable[float], *, from_start: float | None = None, held: Iterable[int] = ()) -> list[bool | None]:
    """A departure at three times the usual, back in any case at 1.5 times, learning while there is none."""
    departure = Departure(2.0, lambda usual: 3 * usual, lambda usual: 1.5 * usual, from_start=from_start)
    found = []
    for index, value in enumerate(values):
        found.append(departure.judge(index / FPS, value, held=index in set(held)))
        if not found[-1]:
            departure.learn(index / FPS, value)
    return found


@given(st.lists(st.floats(-1e6, 1e6), min_size=20, max_size=70))
def test_usual_is_the_median_of_the_last_seconds(values: list[float]) -> None:
    """Of those within the window, however many have left it."""
    usual = Usual(1.0)
    for index, value in enumerate(values):
        usual.add(index / 32, value)
    recent = sorted(values[-33:])
    assert usual.level == recent[len(recent) // 2]


def test_nothing_is_usual_at_first() -> None:
    """Until five values reach back 0.4 s; a level to start from takes their place."""
    assert judged([1.0] * 13 + [9.0]) == [None] * 13 + [True]
    assert judged([1.0, 9.0], from_start=1.0) == [False, True]


def test_a_departure_ends_half_way_back() -> None:
    """It went from 1 to 16: it is over below 4, and not begun anew while it comes down to 3."""
    assert judged([1.0] * 30 + [16.0] * 20 + [5.0, 3.9, 3.5, 3.0, 1.0])[30:] == [True] * 21 + [False] * 4


def test_a_small_departure_ends_at_the_lower_limit() -> None:
    """Half the way from 1 to 2 would be 1.4: it is over at 1.5."""
    values = [1.0] * 30 + [3.1] * 3 + [2.0] * 20 + [1.6, 1.4]
    assert judged(values)[30:] == [True] * 24 + [False]


def test_it_lasts_as_long_as_it_is_held() -> None:
    """Even where the figure itself is back; and what is held without a departure is none."""
    assert judged([1.0] * 30 + [9.0] * 2 + [1.0] * 3, held={10, 32, 33})[30:] == [True] * 4 + [False]
    assert not any(judged([1.0] * 30, held=range(30)))


def test_a_long_departure_does_not_become_usual() -> None:
    """Ten times the window later it is still one, and what comes after is judged by what was before."""
    found = judged([1.0] * 60 + [9.0] * 20 * FPS + [1.0] * 60 + [9.0])
    assert all(found[60 : 60 + 20 * FPS])
    assert not any(found[60 + 20 * FPS : -1])
    assert found[-1]


def test_a_slow_drift_is_none() -> None:
    """What doubles every two seconds is usual all the time."""
    assert not any(judged(np.exp2(np.arange(300) / FPS / 2)))


def test_forgetting_begins_anew() -> None:
    """After it, nothing is usual, and no departure goes on."""
    departure = Departure(2.0, lambda usual: 3 * usual, lambda usual: 1.5 * usual)
    for index in range(30):
        departure.learn(index / FPS, 1.0)
    assert departure.judge(1.0, 9.0) is True
    departure.forget()
    assert departure.judge(1.1, 9.0) is None
    assert Usual(1.0).level is None
