"""The order of packets of sound."""

from __future__ import annotations

import heapq
import itertools
import random

from hypothesis import given
from hypothesis import strategies as st

from vision.rtp.sound import SoundPacket, SoundReorder

STEP_S, WAIT_S = 0.02, 0.06


def _packet(number: int, arrival_s: float) -> SoundPacket:
    return SoundPacket(number, 960 * number, arrival_s, b"x")


def _played(arrivals: list[tuple[float, int]], reorder: SoundReorder) -> list[tuple[float, SoundPacket]]:
    """What comes out, and when; time stops wherever something arrives or is due."""
    out: list[tuple[float, SoundPacket]] = []
    queue = sorted(arrivals)
    heapq.heapify(queue)
    while queue or reorder.due_s is not None:
        due_s = reorder.due_s
        if queue and (due_s is None or queue[0][0] < due_s):
            now_s, number = heapq.heappop(queue)
            out += [(now_s, packet) for packet in reorder.add(_packet(number, now_s), now_s)]
        else:
            assert due_s is not None
            out += [(due_s, packet) for packet in reorder.expire(due_s)]
    return out + [(float("inf"), packet) for packet in reorder.end()]


@given(st.integers(0, 1 << 20), st.integers(1, 200))
def test_in_order_nothing_is_delayed(first: int, count: int) -> None:
    """Each packet comes out when it comes in."""
    reorder = SoundReorder()
    for number in range(first, first + count):
        assert [packet.sequence for packet in reorder.add(_packet(number, 0.0), 0.0)] == [number]
        assert reorder.due_s is None


@given(st.integers(0, 1 << 20), st.lists(st.floats(0, 0.0599), min_size=1, max_size=100))
def test_what_comes_within_the_wait_is_complete_and_in_order(first: int, delays_s: list[float]) -> None:
    """Packets that are delayed by less than 60 ms each, in any order; the first one is the first to come."""
    arrivals = [(STEP_S * (i + 1) + delay_s, first + 1 + i) for i, delay_s in enumerate(delays_s)]
    reorder = SoundReorder()
    out = _played([(0.0, first), *arrivals], reorder)
    assert [packet.sequence for _, packet in out] == list(range(first, first + len(delays_s) + 1))
    assert (reorder.lost, reorder.late, reorder.repeated) == (0, 0, 0)
    assert all(packet.lost_before == 0 for _, packet in out)
    assert max(now_s - packet.arrival_s for now_s, packet in out) < WAIT_S


@given(st.integers(1, 300), st.sampled_from([0.01, 0.1, 0.4]), st.integers(0, 10_000), st.floats(0, 0.02))
def test_lost_is_what_was_lost_and_no_more(count: int, share: float, seed: int, jitter_s: float) -> None:
    """For each lost packet one is missing, the next one says how many; nothing waits for more than 60 ms."""
    random_ = random.Random(seed)
    come = [0] + [number for number in range(1, count) if random_.random() >= share]
    arrivals = [(STEP_S * number + random_.uniform(0, jitter_s) * (number > 0), number) for number in come]
    reorder = SoundReorder()
    out = _played(arrivals, reorder)
    assert [packet.sequence for _, packet in out] == come
    assert reorder.lost == come[-1] + 1 - len(come)
    gaps = [later - earlier - 1 for earlier, later in itertools.pairwise(come)]
    assert [packet.lost_before for _, packet in out] == [0, *gaps]
    assert (reorder.late, reorder.repeated) == (0, 0)
    assert max(now_s - packet.arrival_s for now_s, packet in out) <= WAIT_S + 1e-9


def test_a_second_hole_is_waited_for_from_its_own_beginning() -> None:
    """Filling the first does not prolong the wait for the second."""
    reorder = SoundReorder()
    for number, now_s in ((0, 0.0), (2, 0.0), (4, 0.02)):
        reorder.add(_packet(number, now_s), now_s)
    assert reorder.due_s == WAIT_S
    assert [p.sequence for p in reorder.add(_packet(1, 0.05), 0.05)] == [1, 2]
    assert reorder.due_s == 0.02 + WAIT_S
    assert reorder.expire(0.079) == []
    assert [p.sequence for p in reorder.expire(0.08)] == [4]


def test_late_and_repeated() -> None:
    """Late is what was given up before, and what is older than the first; repeated is what had come."""
    reorder = SoundReorder()
    for number in (5, 6, 8, 8):
        reorder.add(_packet(number, 0.0), 0.0)
    assert (reorder.late, reorder.repeated) == (0, 1)
    reorder.expire(WAIT_S)
    assert reorder.lost == 1
    for number in (7, 7, 6, 8, 4):
        assert reorder.add(_packet(number, 0.1), 0.1) == []
    assert (reorder.late, reorder.repeated) == (2, 4)


def test_a_restart_gives_out_what_is_held() -> None:
    """The new numbers may be anything; what was missing before is told by the first new packet, or the last old one."""
    reorder = SoundReorder()
    reorder.add(_packet(100, 0.0), 0.0)
    reorder.add(_packet(103, 0.0), 0.0)
    (rest,) = reorder.restart()
    assert (rest.sequence, rest.lost_before, reorder.lost) == (103, 2, 2)
    assert reorder.due_s is None
    assert [p.sequence for p in reorder.add(_packet(3, 0.1), 0.1)] == [3]
    for number in range(4, 103):
        reorder.add(_packet(number, 0.1), 0.1)
    assert reorder.add(_packet(101, 0.1), 0.1) == []
    assert (reorder.late, reorder.repeated) == (0, 1)


def test_memory_is_bounded() -> None:
    """Without any word of the time, no more than some hundred packets are held, nor remembered as lost."""
    reorder = SoundReorder()
    for number in range(0, 40_000, 2):
        reorder.add(_packet(number, 0.0), 0.0)
        assert len(reorder._held) <= 257
        assert len(reorder._holes) <= 257
        assert len(reorder._given_up) <= 1024
