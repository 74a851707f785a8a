"""A source's numbers and the statistics of RFC 3550."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision.rtp.source import Reception, Unwrapper

RATE_HZ = 90_000


@given(
    bits=st.sampled_from([16, 32]),
    start=st.integers(0, (1 << 32) - 1),
    steps=st.lists(st.floats(-0.999, 0.999), max_size=60),
)
def test_numbers_are_unwrapped(bits: int, start: int, steps: list[float]) -> None:
    """Any walk of steps shorter than half the range is followed exactly, over wraps in both directions."""
    half, unwrapper = 1 << (bits - 1), Unwrapper(bits)
    true = start % (2 * half)
    assert unwrapper.unwrapped(true) == true
    for step in steps:
        true += int(step * half)
        assert unwrapper.unwrapped(true % (2 * half)) == true


@given(start=st.integers((1 << 32) - 20_000, (1 << 32) - 1), order=st.permutations(range(8)))
def test_reordered_pictures_across_the_wrap(start: int, order: list[int]) -> None:
    """B-frames around the wrap: what goes back in time goes back, and not by 13 hours."""
    unwrapper = Unwrapper(32)
    first = unwrapper.unwrapped(start)
    assert [unwrapper.unwrapped((start + 3000 * i) % (1 << 32)) - first for i in order] == [3000 * i for i in order]


@given(
    start=st.integers(0, 0xFFFF),
    count=st.integers(2, 3000),
    share=st.sampled_from([0.0, 0.01, 0.1, 0.6]),
    twice=st.sampled_from([0.0, 0.05]),
    seed=st.integers(0, 1000),
)
def test_lost_and_fraction(start: int, count: int, share: float, twice: float, seed: int) -> None:
    """By RFC 3550, A.3, over wraps of 16 bits and with reordering: expected minus received, repetitions included."""
    random_ = random.Random(seed)
    true = [n for n in range(1, count) if random_.random() >= share]
    true = sorted(true + [n for n in true if random_.random() < twice], key=lambda n: n + random_.uniform(0, 20))
    reception = Reception(1, RATE_HZ)
    assert reception.extended(start) == (start, False)
    highest, intervals = 0, []
    for index, number in enumerate(true):
        assert reception.extended((start + number) % 0x10000) == (start + number, False)
        highest = max(highest, number)
        if index % 100 == 99:
            intervals.append((highest + 1, index + 2, reception.fraction_lost()))
    assert reception.expected == highest + 1
    assert reception.lost == highest + 1 - (len(true) + 1)
    expected_before = received_before = 0
    for expected, received, fraction in intervals:
        e, r = expected - expected_before, received - received_before
        assert fraction == (max(0, int(256 * (e - r) / e)) if e > 0 else 0)
        assert 0 <= fraction <= 255
        expected_before, received_before = expected, received


def test_packets_before_the_first_that_came_make_up_for_no_other() -> None:
    """Numbers 5, 3, 4 and 8: two are lost."""
    reception = Reception(1, RATE_HZ)
    for number in (5, 3, 4, 8):
        assert reception.extended(number) == (number, False)
    assert (reception.expected, reception.lost) == (6, 2)


@given(start=st.integers(0, 0xFFFF), jump=st.integers(3001, 0xFFFF - 3001), before=st.integers(1, 50))
def test_a_restart_is_taken_with_its_second_packet(start: int, jump: int, before: int) -> None:
    """A number far away is a stray until the next one follows it (A.1); what was lost before stays counted."""
    reception = Reception(1, RATE_HZ)
    reception.extended(start)
    reception.extended((start + before + 1) % 0x10000)  # `before` packets are lost
    highest = reception.highest
    new = (start + before + 1 + jump) % 0x10000
    assert reception.extended(new) is None
    extended = reception.extended((new + 1) % 0x10000)
    assert extended is not None
    number, anew = extended
    assert anew
    assert number > highest + 0x8000
    assert number % 0x10000 == (new + 1) % 0x10000
    assert reception.lost == before
    assert reception.extended((new + 2) % 0x10000) == (number + 1, False)
    assert reception.lost == before


@given(st.lists(st.integers(0, 0xFFFF), max_size=40, unique=True))
def test_strays_change_nothing(strays: list[int]) -> None:
    """Single packets with numbers from elsewhere between those of a stream are passed over."""
    reception = Reception(1, RATE_HZ)
    far = [n for n in strays if 3100 < n < 0x10000 - 3100 and (n - 1) not in strays]
    for index in range(len(far) + 1):
        assert reception.extended(index) == (index, False)
        if index < len(far):
            assert reception.extended(far[index]) is None
    assert reception.lost == 0
    assert reception.received == len(far) + 1


@given(
    start=st.integers(0, (1 << 32) - 1),
    steps=st.lists(st.tuples(st.integers(0, 9000), st.floats(0, 0.2)), min_size=2, max_size=200),
)
def test_jitter(start: int, steps: list[tuple[int, float]]) -> None:
    """In seconds, as A.8 computes it, from the first packet of each timestamp, over the wrap of 32 bits."""
    reception, unwrapper = Reception(1, RATE_HZ), Unwrapper(32)
    arrival_s, ticks, jitter, before = 0.0, 0, 0.0, (0.0, -1)
    for index, (step, passed_s) in enumerate(steps):
        ticks, arrival_s = ticks + step, arrival_s + passed_s
        reception.note_transit(unwrapper.unwrapped((start + ticks) % (1 << 32)), arrival_s)
        if index and ticks != before[1]:
            transit_before, transit = before[0] - before[1] / RATE_HZ, arrival_s - ticks / RATE_HZ
            jitter += (abs(transit - transit_before) - jitter) / 16
        if not index or ticks != before[1]:
            before = (arrival_s, ticks)
    assert reception.jitter_s == pytest.approx(jitter, abs=1e-9)


def test_jitter_is_forgotten_with_a_new_count() -> None:
    """A jump of the timestamps is no jitter."""
    reception = Reception(1, RATE_HZ)
    for index in range(10):
        reception.note_transit(3000 * index, index / 30)
    reception.forget_transit()
    reception.note_transit(10**9, 10 / 30)
    assert reception.jitter_s == pytest.approx(0, abs=1e-9)


def test_transit_is_how_long_the_newest_packet_took() -> None:
    """Up to a constant: what comes 70 ms late took 70 ms more; unknown before there is a packet."""
    reception = Reception(1, RATE_HZ)
    assert reception.transit_s is None
    reception.note_transit(RATE_HZ, 5.0)
    first_s = reception.transit_s
    reception.note_transit(2 * RATE_HZ, 6.07)
    assert first_s is not None
    assert reception.transit_s == pytest.approx(first_s + 0.07)
