"""Freezes by the definition of libwebrtc, and counts per second."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision.rtp.statistics import Freezes, PerSecond, SoundStatistics, VideoStatistics

INTERVALS_MS = st.lists(st.sampled_from([33, 33, 33, 40, 99, 100, 183, 184, 200, 500, 2000, 5000, 5001]), max_size=120)


def _reference(intervals_ms: list[int]) -> tuple[int, float, int, float]:
    """video_quality_observer2.cc, but for the average, which is not rounded down to a whole ms."""
    freezes: list[int] = []
    pauses: list[int] = []
    window: list[int] = []
    for interval in intervals_ms:
        if interval > 5000:
            pauses.append(interval)
            continue
        window = [*window, interval][-30:]
        average = sum(window) / len(window)
        if len(window) >= 5 and interval >= max(3 * average, average + 150):
            freezes.append(interval)
    return len(freezes), sum(freezes) / 1000, len(pauses), sum(pauses) / 1000


@given(INTERVALS_MS, st.floats(0, 1e5))
def test_freezes(intervals_ms: list[int], start_s: float) -> None:
    """Counts and totals are those of the reference, whatever the intervals are."""
    freezes, time_ms = Freezes(), 0
    freezes.add(0.0)
    for interval in intervals_ms:
        time_ms += interval
        freezes.add(time_ms / 1000)
    # thresholds that are met exactly may fall on either side
    if all(abs(margin) > 1e-6 for margin in _margins(intervals_ms)):
        count, total_s, pauses, paused_s = _reference(intervals_ms)
        assert (freezes.count, freezes.pauses) == (count, pauses)
        assert freezes.total_s == pytest.approx(total_s)
        assert freezes.total_pauses_s == pytest.approx(paused_s)
    assert freezes.intervals == len(intervals_ms)
    assert freezes.total_interval_s == pytest.approx(time_ms / 1000)
    assert freezes.total_squared_s2 == pytest.approx(sum((ms / 1000) ** 2 for ms in intervals_ms))
    assert freezes.longest_s == pytest.approx(max(intervals_ms, default=0) / 1000)


@given(INTERVALS_MS)
def test_a_freeze_is_foreseen(intervals_ms: list[int]) -> None:
    """Before a picture is taken, it is known whether it ends a freeze or a pause."""
    freezes, time_ms = Freezes(), 0
    freezes.add(0.0)
    for interval in intervals_ms:
        time_ms += interval
        foreseen, before = freezes.frozen_at(time_ms / 1000), freezes.count + freezes.pauses
        freezes.add(time_ms / 1000)
        assert freezes.count + freezes.pauses - before == foreseen


def _margins(intervals_ms: list[int]) -> list[float]:
    window: list[int] = []
    margins = [float(interval - 5000) or 1.0 for interval in intervals_ms if interval != 5000]
    for interval in intervals_ms:
        if interval <= 5000:
            window = [*window, interval][-30:]
            average = sum(window) / len(window)
            margins.append(interval - max(3 * average, average + 150))
    return margins if 5000 not in intervals_ms else [0.0]


def test_a_known_freeze() -> None:
    """A stop of 0.3 s in 30 pictures a second is one; a stop of six seconds is a pause instead."""
    freezes = Freezes()
    for step in range(30):
        freezes.add(step / 30)
    assert freezes.count == 0
    freezes.add(29 / 30 + 0.3)
    assert freezes.count == 1
    assert freezes.total_s == pytest.approx(0.3)
    freezes.add(29 / 30 + 6.3)
    assert (freezes.count, freezes.pauses) == (1, 1)
    assert freezes.total_pauses_s == pytest.approx(6)


def test_the_average_is_of_thirty_intervals() -> None:
    """The one in question and 29 before it; what was before those is forgotten."""
    for between, count in ((29, 2), (28, 1)):
        freezes, time_s = Freezes(), 0.0
        for step_s in (0.0, *[0.033] * 6, 4.0, *[0.033] * between, 0.2):
            time_s += step_s
            freezes.add(time_s)
        assert freezes.count == count


def test_times_that_count_anew_are_not_compared() -> None:
    """After a restart the first time is the first one."""
    freezes = Freezes()
    for step in range(10):
        freezes.add(step / 30)
    freezes.restart()
    for step in range(10):
        freezes.add(1000 + step / 30)
    assert (freezes.count, freezes.pauses, freezes.intervals) == (0, 0, 18)


def test_a_few_intervals_say_nothing() -> None:
    """With fewer than five there is no freeze."""
    freezes = Freezes()
    for time_s in (0, 0.03, 0.06, 0.09, 1.0):
        freezes.add(time_s)
    assert freezes.count == 0


@given(st.lists(st.tuples(st.floats(0, 3), st.integers(0, 9)), max_size=60), st.integers(0, 99))
def test_seconds_add_up_to_totals(steps: list[tuple[float, int]], before: int) -> None:
    """What is told of the seconds is what was counted since the beginning; each covers one second at least."""
    video, sound = VideoStatistics(packets_received=before), SoundStatistics()
    figures = PerSecond({"video": video, "audio": sound}, 10.0)
    now_s, told, told_s = 10.0, {"video_packets_received": 0.0, "audio_bytes_received": 0.0}, 10.0
    for step_s, count in steps:
        now_s += step_s
        video.packets_received += count
        sound.bytes_received += 2 * count
        video.jitter_s = count / 1000
        taken = figures.taken(now_s)
        if not taken:
            assert now_s < told_s + 2
            continue
        assert now_s >= told_s
        told_s = now_s
        for name in told:
            told[name] += taken[name] or 0
        assert taken["video_jitter_s"] == video.jitter_s
    taken = figures.taken(now_s + 2)
    assert told["video_packets_received"] + (taken["video_packets_received"] or 0) == video.packets_received - before
    assert told["audio_bytes_received"] + (taken["audio_bytes_received"] or 0) == sound.bytes_received


def test_after_a_stall_a_second_is_a_second_again() -> None:
    """Two are never told closer than the grid of seconds allows: no slice of a few ms stands for one."""
    figures = PerSecond({"video": VideoStatistics()}, 0.0)
    told = [time_s for time_s in (0.5, 1.01, 2.02, 5.5, 5.53, 6.4, 6.51, 7.52) if figures.taken(time_s)]
    assert told == [1.01, 2.02, 5.5, 6.51, 7.52]


def test_names_are_the_standards() -> None:
    """In snake case with units; rounding takes nothing away from counts."""
    random_ = random.Random(1)
    video = VideoStatistics()
    video.rendered.add(0.0)
    video.rendered.add(random_.random())
    named = video.as_dict()
    assert {"packets_received", "packets_lost", "jitter_s", "nack_count", "pli_count", "freeze_count"} <= set(named)
    assert {"frames_received", "frames_decoded", "frames_dropped", "key_frames_decoded"} <= set(named)
    assert named["total_inter_frame_delay_s"] == round(video.rendered.total_interval_s, 6)
    assert {"concealed_samples", "total_samples_received"} <= set(SoundStatistics().as_dict())
