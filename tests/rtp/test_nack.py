"""What is asked for again, and when."""

from __future__ import annotations

import math

import pytest

from tests.rtp.link import Link
from vision.rtp.nack import NackList
from vision.rtp.track import Arrived

OLDEST_S = 1.0


def _noted(numbers: list[tuple[int, float]]) -> NackList:
    nacks = NackList(OLDEST_S)
    for number, now_s in numbers:
        nacks.note(number, now_s, repaired=False)
    return nacks


def _sent(count: int) -> list[Arrived]:
    """As video is: frames of eight packets, 30 a second, each a burst of 4 ms."""
    return [Arrived(1, n, 0, False, b"", b"", n // 8 / 30 + n % 8 * 0.0005) for n in range(count)]


def _carried(link: Link, packets: list[Arrived]) -> NackList:
    nacks = NackList(OLDEST_S)
    link.carry(
        packets, lambda p: nacks.note(p.sequence, p.arrival_s, repaired=p.repaired), nacks.due_s, lambda t: nacks.due(t)
    )
    return nacks


@pytest.mark.parametrize("rtt_s", [0.04, 0.1, 0.3])
@pytest.mark.parametrize("loss", [0.0, 0.01, 0.1])
@pytest.mark.parametrize("jitter_s", [0.0, 0.02])
@pytest.mark.parametrize("marked", [False, True])
def test_over_a_lossy_link(rtt_s: float, loss: float, jitter_s: float, marked: bool) -> None:
    """Nothing needless but while it learns, no more requests for a loss than its haste allows, and all is repaired.

    With 10 % lost each way, a request is answered with 0.81: 1.23 are needed for each loss one after the other, and up
    to three times as many where they do not wait for each other. That is a mean: it is taken over four runs.
    """
    packets = _sent(6000)
    requests = lost = 0.0
    for seed in range(4):
        link = Link(rtt_s=rtt_s, loss=loss, jitter_s=jitter_s, marked=marked, seed=seed)
        nacks = _carried(link, packets)
        shares = link.shares(len(packets))
        assert shares["needless"] <= (0.01 if jitter_s else 0)  # of all packets; aiortc's: 1.6
        requests += shares["requests"] * len(link.lost)
        lost += len(link.lost)
        assert len(link.never_came) <= (3 + len(link.lost) * 0.005 if loss else 0)
        if loss:
            assert nacks.rtt_s == pytest.approx(rtt_s + jitter_s / 2, abs=jitter_s + 0.1 * rtt_s)
    learning = 4 * 25  # the first questions are asked in haste, for a round trip that is not known
    assert requests <= 1.35 / (1 - loss) ** 2 * min(max(loss / 0.02, 1), 3) * lost + learning


def test_the_round_trip_is_learnt_where_it_is_longer_than_was_thought() -> None:
    """300 ms instead of 100: an answer that comes at once after the last question was for an earlier one."""
    link = Link(rtt_s=0.3, loss=0.02, marked=False)
    nacks = _carried(link, _sent(5000))
    assert nacks.rtt_s == pytest.approx(0.3, abs=0.05)
    assert link.shares(5000)["requests"] < 2.2


def test_a_sender_that_never_answers_is_not_asked_without_end() -> None:
    """At most 24 times, and not for what is older than a second."""
    nacks = _noted([(0, 0.0), (2, 0.0)])
    asked, now_s = 0, 0.0
    while (due_s := nacks.due_s()) is not None:
        now_s = due_s
        asked += len(nacks.due(now_s))
    assert 2 < asked <= 24
    assert now_s < OLDEST_S + 0.5


def test_a_quick_sender_is_asked_a_bounded_number_of_times() -> None:
    """Where answers used to come within milliseconds, there is time for more in a second; they are not made."""
    nacks = NackList(OLDEST_S)
    for number in range(0, 400, 2):
        nacks.note(number, number, repaired=False)
        if (due_s := nacks.due_s()) is not None:
            nacks.due(due_s)
            nacks.note(number - 1, due_s + 0.002, repaired=True)
    nacks.note(400, 400.0, repaired=False)
    asked = 0
    while (due_s := nacks.due_s()) is not None:
        asked += len(nacks.due(due_s))
    assert asked == 24


def test_overtaken_is_not_lost() -> None:
    """A packet that others overtake by less than what is usual is not asked for."""
    nacks = _noted([(0, 0.0), (2, 0.0)])
    usual_s = nacks.wait_s
    assert 0.002 < usual_s < 0.05
    assert nacks.due(0.9 * usual_s) == []
    assert nacks.due_s() == usual_s
    nacks.note(1, 0.9 * usual_s, repaired=False)
    assert nacks.due_s() is None
    assert nacks.asked == 0


def test_the_wait_follows_how_late_packets_are() -> None:
    """It is more at once, and less by and by."""
    nacks = _noted([(0, 0.0), (2, 0.0)])
    assert nacks.due(0.02) == [1]
    nacks.note(1, 0.04, repaired=False)
    nacks.note(1, 0.12, repaired=True)  # it was late, for the answer comes as well
    assert nacks.wait_s == pytest.approx(1.2 * 0.04 + 0.002)
    assert nacks.rtt_s == pytest.approx(0.1, abs=0.01)
    for number in range(3, 1000, 2):
        nacks.note(number + 1, number, repaired=False)
        nacks.note(number, number + 0.001, repaired=False)
    assert nacks.wait_s < 0.012


def test_a_repetition_that_comes_twice_was_not_late() -> None:
    """Two answers to two questions say nothing of how late packets are."""
    nacks = _noted([(0, 0.0), (2, 0.0)])
    assert nacks.due(0.02) == [1]
    assert nacks.due(0.3) == [1]
    usual_s, rtt_s = nacks.wait_s, nacks.rtt_s
    nacks.note(1, 0.31, repaired=True)
    nacks.note(1, 0.6, repaired=True)
    assert (nacks.wait_s, nacks.rtt_s) == (usual_s, rtt_s)


def test_the_round_trip_is_that_of_most_answers() -> None:
    """Which question is answered is not known (Karn); most first ones are, and so the median is right."""
    nacks, now_s = NackList(OLDEST_S), 0.0
    nacks.note(0, now_s, repaired=False)
    for number in range(1, 20, 2):
        now_s += 2.0
        nacks.note(number + 1, now_s, repaired=False)
        asked_s = nacks.due_s()
        assert asked_s is not None
        assert nacks.due(asked_s) == [number]
        lost = number in (3, 9, 15)  # the first question, or its answer
        while (due_s := nacks.due_s()) is not None and due_s < asked_s + (0.5 if lost else 0.2):
            nacks.due(due_s)
        nacks.note(number, asked_s + (0.5 if lost else 0.2), repaired=True)
    assert nacks.rtt_s == pytest.approx(0.2)


def test_what_may_lie_before_the_first_packet_is_asked_for() -> None:
    """The eight before it, or as many as are said; what comes of them is asked for no more."""
    nacks = NackList(1.0)
    nacks.note(3, 0.0, repaired=False)
    nacks.reach_back(3, 5, 0.0)
    assert nacks.due(0.1) == [-2, -1, 0, 1, 2]
    nacks.note(1, 0.2, repaired=True)
    nacks.forget(1)
    assert nacks.due(0.9) == [2]


def test_too_many_are_given_up() -> None:
    """More than a thousand missing packets are not asked for; those after them are."""
    nacks = _noted([(0, 0.0), (500, 0.0)])
    assert nacks.note(1002, 0.0, repaired=False)
    assert nacks.due(1.0) == []
    assert not nacks.note(1004, 0.0, repaired=False)
    assert nacks.due(0.5) == [1003]
    assert _noted([(0, 0.0)]).note(1000, 0.0, repaired=False) is False


def test_what_is_forgotten_is_not_asked_for() -> None:
    """Packets that are not waited for any more."""
    nacks = _noted([(0, 0.0), (4, 0.0)])
    nacks.forget(3)
    assert nacks.due(0.5) == [3]


def test_memory_is_bounded() -> None:
    """A stream that loses every other packet, asked about all the time."""
    nacks = NackList(OLDEST_S)
    for number in range(0, 20_000, 2):
        nacks.note(number, number / 300, repaired=False)
        nacks.due(number / 300)
        nacks.note(number - 7, number / 300, repaired=False)
        assert len(nacks._missing) <= 400
        assert len(nacks._answered) <= 256


def _frames(
    nacks: NackList, count: int, *, lost: int | None = None, pause_s: float = 0.0005, marks: bool = True
) -> float:
    """Frames of six packets, 30 a second, the end of one of them lost; returns when the last one is to have ended."""
    for number in range(6 * count):
        frame, packet = divmod(number, 6)
        if number != lost:
            nacks.note(number, frame / 30 + packet * pause_s, repaired=False, ends_frame=marks and packet == 5)
    return nacks.tail_due_s if nacks.tail_due_s is not None else math.inf


def test_the_end_of_a_frame_is_asked_for_before_the_next_one_begins() -> None:
    """By a pause longer than there are within frames; a packet that comes meanwhile is not asked for."""
    nacks = NackList(OLDEST_S)
    due_s = _frames(nacks, 20, lost=119)
    begun_s = 19 / 30
    assert begun_s + 0.002 < due_s < begun_s + 0.015
    assert nacks.due(due_s - 0.001) == []
    assert nacks.due(due_s) == [119]
    assert nacks.due(due_s + 0.001) == []
    nacks.note(119, due_s + 0.1, repaired=True, ends_frame=True)
    assert nacks.due(due_s + 1) == []
    assert nacks.tail_due_s is None


def test_frames_that_take_their_time_are_waited_for() -> None:
    """A sender that spreads its packets over the frame is asked for nothing; nor is one that marks no ends."""
    spread = NackList(OLDEST_S)
    due_s = _frames(spread, 20, lost=119, pause_s=0.005)
    assert due_s > 19 / 30 + 4 * 0.005 + 1.5 * 0.005
    assert _frames(NackList(OLDEST_S), 20, marks=False) == math.inf
