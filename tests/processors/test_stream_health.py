"""stream_health: freezes, rates and delays of timelines that are known, by definitions written down a second time."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.stream_health import StreamHealth, StreamHealthProcessor
from vision import Frame, StreamInfo
from vision.incidents import Incident, IncidentTracker
from vision.record import Record
from vision.result import metrics_of, record_of
from vision.testing import check_processor, make_frame, make_picture

STEP_S = 1 / 30
METRICS = metrics_of(StreamHealth)
INTERVALS_MS = st.lists(st.sampled_from([33, 33, 33, 40, 99, 184, 201, 500, 2003, 4999, 5003]), max_size=100)
Transport = Mapping[str, float | None]


def shown(
    time_s: float, arrival_s: float | None = None, transport: Transport = MappingProxyType({}), **changes: Any
) -> Frame:
    """A frame with a picture; where nothing else is said, it comes half a second after its media time."""
    arrival_s = time_s + 0.5 if arrival_s is None else arrival_s
    return dataclasses.replace(make_frame(), time_s=time_s, arrival_s=arrival_s, transport=transport, **changes)


def stalled(arrival_s: float) -> Frame:
    """A frame without a picture."""
    return dataclasses.replace(shown(arrival_s - 0.5), index=None, maybe_picture=None)


def measured(frames: Iterable[Frame], *, live: bool = True, **options: Any) -> list[StreamHealth]:
    """What is said of frames."""
    processor = StreamHealthProcessor(StreamHealthProcessor.Options.model_validate(options))
    processor.setup(StreamInfo(live=live))
    results = [processor.process(frame) for frame in frames]
    processor.close()
    return results


def at(intervals_ms: Sequence[int], start_s: float = 0.5) -> list[float]:
    """Times with these intervals between them."""
    return [start_s + passed_ms / 1000 for passed_ms in accumulate(intervals_ms, initial=0)]


def webrtc_stats(intervals_ms: Sequence[int]) -> dict[str, float]:
    """Straight from the text: w3c/webrtc-stats freezeCount and pauseCount, with the window of libwebrtc."""
    sums = {"freeze_count": 0.0, "total_freezes_duration_s": 0.0, "pause_count": 0.0, "total_pauses_duration_s": 0.0}
    durations: list[int] = []
    for interval in intervals_ms:
        if interval > 5000:
            sums["pause_count"] += 1
            sums["total_pauses_duration_s"] += interval / 1000
            continue
        durations.append(interval)
        last = durations[-30:]
        average = sum(last) / len(last)
        if len(last) >= 5 and interval >= max(3 * average, average + 150):
            sums["freeze_count"] += 1
            sums["total_freezes_duration_s"] += interval / 1000
    if intervals_ms:
        sums["harmonic_fps"] = 1000 * sum(intervals_ms) / sum(interval**2 for interval in intervals_ms)
    return sums


def ties(intervals_ms: Sequence[int]) -> bool:
    """Whether an interval meets a limit exactly, which may fall on either side."""
    durations: list[int] = []
    for interval in intervals_ms:
        durations.append(interval)
        last = durations[-30:]
        average = sum(last) / len(last)
        if math.isclose(interval, max(3 * average, average + 150), abs_tol=1e-3):
            return True
    return False


@given(INTERVALS_MS, INTERVALS_MS)
def test_freezes_and_pauses_are_those_of_the_definitions(arrivals_ms: list[int], sent_ms: list[int]) -> None:
    """On arrival and by timestamps, of timelines that have nothing to do with each other."""
    count = min(len(arrivals_ms), len(sent_ms))
    arrivals_ms, sent_ms = arrivals_ms[:count], sent_ms[:count]
    if ties(arrivals_ms) or ties(sent_ms):
        return
    times = zip(at(sent_ms, 0.0), at(arrivals_ms), strict=True)
    last = measured(shown(time_s, arrival_s) for time_s, arrival_s in times)[-1]
    for prefix, intervals in (("", arrivals_ms), ("sent_", sent_ms)):
        for name, expected in webrtc_stats(intervals).items():
            assert getattr(last, prefix + name) == pytest.approx(expected), prefix + name


def test_a_timeline_made_by_hand() -> None:
    """30 pictures a second; 0.2 s without any (a freeze: more than the average of 38.6 and 150 ms); 6 s (a pause)."""
    intervals_ms = [*[33] * 30, 200, *[33] * 30, 6000, *[33] * 10]
    last = measured(shown(arrival_s - 0.5, arrival_s) for arrival_s in at(intervals_ms))[-1]
    assert (last.freeze_count, last.total_freezes_duration_s) == (1, pytest.approx(0.2))  # type: ignore[comparison-overlap]
    assert (last.pause_count, last.total_pauses_duration_s) == (1, pytest.approx(6))  # type: ignore[comparison-overlap]
    assert last.sent_freeze_count == 1
    barely = [*[33] * 30, 183, *[33] * 5]
    assert measured(shown(arrival_s - 0.5, arrival_s) for arrival_s in at(barely))[-1].freeze_count == 0


def test_pictures_that_come_late_are_frozen_for_the_viewer_only() -> None:
    """Sent at an even pace, held up for half a second on the way: a freeze on arrival, none by timestamps."""
    times = [number * STEP_S for number in range(90)]
    last = measured(shown(time_s, max(time_s + 0.5, 2.5 if time_s >= 1.5 else 0.0)) for time_s in times)[-1]
    assert (last.freeze_count, last.sent_freeze_count) == (1, 0)


def test_rates_delays_and_jitter_are_those_of_the_last_pictures() -> None:
    """Even pictures: 25 a second, 40 ms apart, without jitter; every other one 10 ms late: 10 ms of deviation."""
    even = measured(shown(number * 0.04) for number in range(60))[-1]
    for prefix in ("", "sent_"):
        assert getattr(even, f"{prefix}fps") == 25
        assert getattr(even, f"{prefix}harmonic_fps") == pytest.approx(25)
        assert getattr(even, f"{prefix}inter_frame_delay_ms") == pytest.approx(40)
        assert getattr(even, f"{prefix}inter_frame_jitter_ms") == pytest.approx(0, abs=1e-6)
    uneven = measured(shown(number * 0.04, number * 0.04 + 0.5 + 0.01 * (number % 2)) for number in range(60))[-1]
    assert uneven.inter_frame_jitter_ms == pytest.approx(10)
    assert uneven.sent_inter_frame_jitter_ms == pytest.approx(0, abs=1e-6)


def test_rates_are_known_after_a_second() -> None:
    """Before that, a second has not been seen."""
    results = measured(shown(number * 0.04) for number in range(40))
    assert [result.fps for result in results[:25]] == [None] * 25
    assert {result.fps for result in results[25:]} == {25}


def test_a_stall_is_seen_while_it_lasts() -> None:
    """Frames without a picture: the rate goes down to nothing, and it is frozen from 0.19 s on, until a picture."""
    moving = [shown(number * STEP_S) for number in range(60)]
    end_s = moving[-1].arrival_s
    waits_s = (0.1, 0.17, 0.25, 0.5, 1.1, 5.5)
    results = measured([*moving, *(stalled(end_s + wait_s) for wait_s in waits_s), shown(end_s + 5.1)])
    during, after = results[60:-1], results[-1]
    assert [result.frozen for result in during] == [False, False, True, True, True, True]
    assert [result.fps for result in during][-2:] == [0, 0]
    assert {result.inter_frame_delay_ms for result in during} == {None}
    assert after.frozen
    assert (after.pause_count, after.freeze_count) == (1, 0)


def test_what_was_lost_or_dropped_is_no_freeze_of_the_senders() -> None:
    """A step over lost pictures counts on arrival, and not by timestamps; one over pictures that our own queue dropped,
    on neither, and they did come."""
    times = [number * STEP_S for number in range(90) if not 60 <= number < 75]
    for cause, frozen in (("network", 1), ("overload", 0)):
        lost = {cause: 15}
        frames = [shown(time_s, lost_before=lost if math.isclose(time_s, 2.5) else {}) for time_s in times]
        last = measured(frames)[-1]
        assert (last.freeze_count, last.sent_freeze_count) == (frozen, 0)
        assert last.fps == (30 if cause == "overload" else 15)


def test_late_pictures_are_told_from_a_slow_way() -> None:
    """0.3 s late for a second: the sender's doing where sound comes in time, the network's where it is late as well."""
    for sound_late_s, name, other in ((0.0, "late", "delayed"), (0.28, "delayed", "late")):
        frames = []
        for number in range(120):
            time_s = number * STEP_S
            slow = 60 <= number < 90
            transit_s = 1000.0 + (sound_late_s if slow else 0.0)
            frames.append(shown(time_s, time_s + (0.8 if slow else 0.5), {"audio_transit_s": transit_s}))
        results = measured(frames)
        flagged = [number for number, result in enumerate(results) if getattr(result, name)]
        assert flagged == list(range(60, 90))
        assert not any(getattr(result, other) for result in results)
        assert results[75].lateness_ms == pytest.approx(300)
        assert results[95].lateness_ms == pytest.approx(0, abs=1e-6)


def test_lateness_that_is_our_own_is_nobody_elses() -> None:
    """This machine took nothing for a while: what is late by that is ours, unless it is still late without, or by far
    more than that."""
    for picture_late_s, held_up_ms, kind in ((0.4, 400.0, "held_up"), (0.7, 400.0, "delayed"), (0.3, 60.0, "delayed")):
        frames = [shown(number * STEP_S, transport={"audio_transit_s": 1000.0}) for number in range(60)]
        for number in range(40, 45):
            transport = {"audio_transit_s": 1000.0 + picture_late_s, "held_up_ms": held_up_ms}
            frames[number] = shown(number * STEP_S, number * STEP_S + 0.5 + picture_late_s, transport)
        for name in ("late", "delayed", "held_up"):
            flagged = [number for number, result in enumerate(measured(frames)) if getattr(result, name)]
            assert flagged == (list(range(40, 45)) if name == kind else [])
        (incident,) = incidents(frames)
        assert (incident.kind, incident.cause) == ("late", "overload" if kind == "held_up" else "network")


def in_order(fps: float, from_s: float, until_s: float, late_s: float, phase_s: float = 0.0) -> list[Frame]:
    """Pictures of four seconds, of which those of some time are sent late, and none before the one before it."""
    frames, free_s = [], 0.0
    for number in range(round(4 * fps)):
        time_s = phase_s + number / fps
        free_s = max(free_s, time_s + (late_s if from_s <= time_s < until_s else 0.0))
        frames.append(shown(time_s, free_s + 0.5))
    return frames


def incidents(frames: Sequence[Frame]) -> list[Incident]:
    """The incidents that a run makes of them."""
    tracker = IncidentTracker({"stream_health": METRICS})
    told = [
        incident
        for frame, result in zip(frames, measured(frames), strict=True)
        for incident in tracker.add(Record(frame, {"stream_health": record_of(result, METRICS)}))
    ]
    return [*told, *tracker.end()]


@pytest.mark.parametrize("fps", [25, 30])
def test_late_begins_and_ends_with_the_fault_wherever_that_is_between_pictures(fps: float) -> None:
    """0.3 s late: both within 100 ms of the fault itself, though those behind it are held up by those that are late."""
    for step in range(20):
        phase_s = step / 20 / fps
        (late,) = incidents(in_order(fps, 1.0, 2.0, 0.3, phase_s))
        assert (late.kind, late.cause) == ("late", "sender")
        assert 0 <= late.start_s - 1.0 < 0.05
        assert 0 < late.end_s - 2.0 < 0.09


def test_lateness_that_hovers_about_its_limit_is_one_incident() -> None:
    """Not one for each time that it gets there."""
    frames = [shown(number * STEP_S) for number in range(120)]
    for number in range(40, 80):
        frames[number] = shown(number * STEP_S, number * STEP_S + 0.5 + (0.253 if number % 4 < 2 else 0.247))
    (late,) = incidents(frames)
    assert late.start_s == pytest.approx(40 * STEP_S)
    assert late.end_s == pytest.approx(78 * STEP_S)
    assert late.evidence["worst"]["value"] == pytest.approx(253)


def test_lateness_is_against_the_last_half_minute() -> None:
    """A way that has become longer for good is usual after 30 s; one that became shorter, at once."""
    frames = [shown(number / 10, number / 10 + (0.5 if number < 100 else 0.9)) for number in range(500)]
    results = measured(frames)
    assert results[150].late
    assert results[390].late
    assert not results[405].late
    assert results[405].lateness_ms == pytest.approx(0, abs=1e-6)


def counted(**counts: float) -> dict[str, float]:
    """What a connector counts in a second in which nothing goes wrong."""
    names = ("packets_lost", "packets_discarded", "retransmitted_packets_received", "nack_count", "pli_count")
    return {f"video_{name}": 0.0 for name in (*names, "frames_dropped", "jitter_s")} | {
        "video_bytes_received": 250_000.0,
        "audio_bytes_received": 8_000.0,
        "audio_packets_lost": 0.0,
        "audio_concealed_samples": 0.0,
        "audio_jitter_s": 0.002,
        "video_jitter_buffer_delay_s": 0.3,
        "video_jitter_buffer_emitted_count": 30.0,
        **counts,
    }


def test_counts_of_the_network_are_those_of_the_newest_second() -> None:
    """Told once a second, they hold until the next time; bit rates are of the time in between."""
    told = {30: counted(), 61: counted(video_packets_lost=3, video_nack_count=2, audio_concealed_samples=960.0)}
    results = measured(shown(number * STEP_S, transport=told.get(number, {})) for number in range(90))
    assert results[29].video_packets_lost is None
    assert results[30].video_packets_lost == 0
    assert results[30].video_bitrate is None
    assert (results[89].video_packets_lost, results[89].nack_count, results[89].concealed_samples) == (3, 2, 960)
    assert results[89].video_bitrate == pytest.approx(8 * 250_000 * 30 / 31)
    assert results[89].audio_bitrate == pytest.approx(8 * 8_000 * 30 / 31)
    assert results[89].audio_jitter_ms == pytest.approx(2)
    assert results[89].jitter_buffer_delay_ms == pytest.approx(10)


def test_counts_do_not_outlive_a_stall() -> None:
    """2.5 s after they were told, they say nothing of now."""
    frames = [shown(number * STEP_S, transport=counted() if number == 30 else {}) for number in range(31)]
    end_s = frames[-1].arrival_s
    results = measured([*frames, stalled(end_s + 2.4), stalled(end_s + 2.6)])
    assert [result.nack_count for result in results[-2:]] == [0, None]


def test_changes_of_size_and_codec_are_counted() -> None:
    """From the picture on that has them."""
    sizes, types = [(64, 48)] * 3 + [(32, 24)] * 3 + [(64, 48)], [96] * 5 + [98] * 2
    frames = [
        shown(
            number * STEP_S, transport={"payload_type": kind}, maybe_picture=make_picture(width=size[0], height=size[1])
        )
        for number, (size, kind) in enumerate(zip(sizes, types, strict=True))
    ]
    results = measured(frames)
    assert [result.resolution_changes for result in results] == [0, 0, 0, 1, 1, 1, 2]
    assert [result.codec_changes for result in results] == [0, 0, 0, 0, 0, 1, 1]


def test_the_first_times_stay_those_of_the_first_connection() -> None:
    """Known once they are told; a reconnect changes nothing of them."""
    firsts = {"first_packet_s": 0.6, "first_picture_s": 0.7, "first_sound_s": None}
    processor = StreamHealthProcessor()
    processor.setup(StreamInfo(live=True))
    assert processor.process(shown(0.0)).first_packet_s is None
    processor.process(shown(1.0, transport=counted() | firsts))
    processor.reset("reconnect")
    again = processor.process(shown(9.0, transport=counted() | {"first_packet_s": 8.0, "first_sound_s": 8.2}))
    assert (again.first_packet_s, again.first_picture_s, again.first_sound_s) == (0.6, 0.7, 8.2)


def test_a_reconnect_is_no_freeze_and_sums_go_on() -> None:
    """What is between two connections is a gap of its own kind; lateness begins anew."""
    processor = StreamHealthProcessor()
    processor.setup(StreamInfo(live=True))
    times = at([*[33] * 30, 400, *[33] * 10], 0.0)
    for time_s in times:
        before = processor.process(shown(time_s))
    processor.reset("reconnect")
    for number in range(30):
        after = processor.process(shown(times[-1] + 3 + number * STEP_S, times[-1] + 6 + number * STEP_S))
    assert (before.freeze_count, after.freeze_count, after.sent_freeze_count) == (1, 1, 1)
    assert after.lateness_ms == pytest.approx(0, abs=1e-6)


def test_a_recording_says_nothing_of_arrivals() -> None:
    """When a file's pictures are read is no matter of the stream's."""
    last = measured((shown(number * 0.04) for number in range(60)), live=False)[-1]
    assert (last.fps, last.frozen, last.freeze_count, last.lateness_ms, last.late) == (None,) * 5
    assert (last.sent_fps, last.sent_freeze_count) == (25, 0)


def test_pictures_out_of_order_do_no_harm() -> None:
    """One that comes behind a later one fills no interval."""
    times = [0.0, 0.04, 0.12, 0.08, 0.16, 0.2]
    last = measured(shown(time_s, 0.5 + 0.04 * number) for number, time_s in enumerate(times))[-1]
    assert last.sent_harmonic_fps == pytest.approx(0.2 / (3 * 0.04**2 + 0.08**2))
    assert last.harmonic_fps == pytest.approx(25)


def test_it_keeps_the_contract() -> None:
    """With pictures and without, told and not told anything of the network, reset and closed."""
    check_processor(StreamHealthProcessor)
    check_processor(StreamHealthProcessor, [shown(0.0), shown(0.04, transport=counted()), stalled(1.0), shown(1.04)])
