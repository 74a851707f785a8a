"""Pictures and the samples under them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vision.align import Aligner, SoundBuffer, TimedPicture
from vision.clock import Relation
from vision.frame import ClockQuality, Frame
from vision.testing import make_picture


def _quality() -> ClockQuality:
    return ClockQuality("file", 0.0)


_RATE = 1000


def _timed(time_s: float, arrival_s: float = 0.0) -> TimedPicture:
    return TimedPicture(time_s, arrival_s, make_picture())


def _ramp(start: int, count: int) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.arange(start, start + count, dtype=np.float32)


@given(st.lists(st.integers(1, 90), min_size=1, max_size=40), st.sampled_from([10.0, 25.0, 30.0, 60.0]))
def test_each_frame_has_the_samples_since_the_last_picture(blocks: list[int], fps: float) -> None:
    """In a file, samples are complete, in order, and end at the picture they belong to."""
    aligner = Aligner(live=False, expects_sound=True)
    total, frames = sum(blocks), []
    for i in range(int(total / _RATE * fps) + 1):
        aligner.push_picture(_timed(i / fps))
    start = 0
    for count in blocks:
        aligner.push_sound(start / _RATE, _ramp(start, count), _RATE)
        start += count
        frames += list(aligner.poll(0.0, _quality))
    aligner.end()
    frames += list(aligner.poll(0.0, _quality))
    heard = np.concatenate([frame.sound.samples for frame in frames])
    np.testing.assert_array_equal(heard, _ramp(0, total))
    for frame in frames:
        if frame.sound.samples.size:
            assert frame.sound.start_s == pytest.approx(frame.sound.samples[0] / _RATE)
            assert frame.sound.samples[-1] < frame.time_s * _RATE + 0.5
    assert [frame.index for frame in frames if frame.index is not None] == list(range(int(total / _RATE * fps) + 1))


def test_missing_samples_are_marked_and_not_invented() -> None:
    """A hole between blocks is zeros with a mark, also where a frame cuts it."""
    buffer = SoundBuffer()
    buffer.push(0.0, _ramp(1, 100), _RATE)
    buffer.push(0.2, _ramp(201, 100), _RATE)
    first, second = buffer.take(0.15), buffer.take(0.3)
    assert first.missing == ((100, 50),)
    assert second.missing == ((0, 50),)
    assert not first.samples[100:].any()
    np.testing.assert_array_equal(second.samples[50:], _ramp(201, 100))


def test_lost_packets_are_told_with_the_hole_they_left() -> None:
    """Once, where the hole begins; a hole in which none was lost says nothing of any."""
    buffer = SoundBuffer()
    buffer.push(0.0, _ramp(1, 100), _RATE)
    buffer.push(0.2, _ramp(201, 100), _RATE, lost_before=5)
    buffer.push(0.4, _ramp(401, 100), _RATE)
    assert [buffer.take(until_s).lost for until_s in (0.09, 0.15, 0.3, 0.35, 0.5)] == [0, 5, 0, 0, 0]


def test_overlap_is_cut_and_rounding_is_no_gap() -> None:
    """Samples that were there already are not doubled; a millisecond of rounding leaves no mark."""
    buffer = SoundBuffer()
    buffer.push(0.0, _ramp(0, 100), _RATE)
    buffer.push(0.05, _ramp(50, 100), _RATE)
    buffer.push(0.151, _ramp(150, 10), _RATE)
    sound = buffer.take(1.0)
    np.testing.assert_array_equal(sound.samples, _ramp(0, 160))
    assert sound.missing == ()


def test_a_restart_of_the_source_does_not_fill_hours() -> None:
    """A jump of hours begins anew instead of inventing samples; one back in time does when it goes on."""
    buffer = SoundBuffer()
    buffer.push(0.0, _ramp(0, 100), _RATE)
    buffer.push(50_000.0, _ramp(0, 100), _RATE)
    buffer.push(0.1, _ramp(0, 100), _RATE)
    for start_s in (0.0, 50_000.0):
        sound = buffer.take(60_000.0)
        assert sound.samples.size == 100
        assert sound.start_s == start_s
    for block in range(40):
        buffer.push(0.1 * block, _ramp(0, 100), _RATE)
    tail, sound = buffer.take(10.0), buffer.take(10.0)
    assert tail.samples.size == 0
    assert sound.start_s == pytest.approx(2.4)
    assert tail.samples_16k.size > 0


def test_live_picture_waits_for_its_sound_until_the_deadline() -> None:
    """Sound that comes too late goes to the next frame, none of it is lost."""
    aligner = Aligner(live=True, expects_sound=True, deadline_s=0.3)
    aligner.push_picture(_timed(0.1, arrival_s=5.0))
    aligner.push_sound(0.0, _ramp(0, 60), _RATE)
    assert list(aligner.poll(5.2, _quality)) == []
    (late,) = aligner.poll(5.301, _quality)
    assert late.sound.samples.size == 60
    aligner.push_sound(0.06, _ramp(60, 100), _RATE)
    aligner.push_picture(_timed(0.15, arrival_s=5.31))
    (following,) = aligner.poll(5.31, _quality)
    np.testing.assert_array_equal(following.sound.samples, _ramp(60, 90))


def _bare(frames: list[Frame]) -> list[Frame]:
    return [frame for frame in frames if frame.maybe_picture is None]


def test_a_live_stall_is_seen_while_it_lasts() -> None:
    """Where no picture comes, frames without one go out five times a second and carry the sound."""
    aligner = Aligner(live=True, expects_sound=True)
    aligner.push_picture(_timed(0.0, 0.0))
    aligner.push_sound(-0.02, _ramp(0, 20), _RATE)
    frames = list(aligner.poll(0.0, _quality))
    for tick in range(1, 41):
        aligner.push_sound(0.05 * (tick - 1), _ramp(50 * tick, 50), _RATE)
        frames += list(aligner.poll(0.05 * tick, _quality))
    bare = _bare(frames)
    assert 10 <= len(bare) <= 14
    assert sum(frame.sound.samples.size for frame in bare) == pytest.approx(2000, abs=200)
    assert all(frame.index is None for frame in bare)


def test_a_live_stall_of_both_tracks_goes_on_in_time() -> None:
    """With neither picture nor sound, media time follows the arrival clock."""
    aligner = Aligner(live=True, expects_sound=False)
    aligner.push_picture(_timed(1.0, 0.0))
    frames = [frame for tick in range(21) for frame in aligner.poll(0.05 * tick, _quality)]
    assert frames[-1].time_s == pytest.approx(2.0, abs=0.21)


def test_sound_alone_in_a_file_comes_in_short_frames() -> None:
    """A recording without pictures gives frames of sound up to its end."""
    aligner = Aligner(live=False, expects_sound=True)
    aligner.push_sound(0.0, _ramp(0, 3100), _RATE)
    frames = list(aligner.poll(0.0, _quality))
    aligner.end()
    frames += list(aligner.poll(0.0, _quality))
    assert [frame.sound.samples.size for frame in frames] == [150] * 20 + [100]


def test_sound_that_comes_last_in_a_file_does_not_fill_the_memory() -> None:
    """Pictures do not wait for ever for sound that is stored behind all of them."""
    aligner = Aligner(live=False, expects_sound=True)
    given_out = 0
    for i in range(1000):
        aligner.push_picture(_timed(i / 30))
        given_out += len(list(aligner.poll(0.0, _quality)))
    assert given_out >= 1000 - 60
    aligner.push_sound(0.0, _ramp(0, 100), _RATE)
    aligner.push_picture(_timed(1000 / 30))
    assert list(aligner.poll(0.0, _quality)) == [], "sound comes again, and pictures wait for theirs"


def test_a_live_track_of_sound_that_stays_away_delays_one_picture_only() -> None:
    """After one picture has waited in vain, those behind it do not wait until sound comes."""
    aligner = Aligner(live=True, expects_sound=True, deadline_s=0.3)
    for i in range(10):
        aligner.push_picture(_timed(i / 30, arrival_s=i / 30))
    assert len(list(aligner.poll(0.31, _quality))) == 10
    aligner.push_picture(_timed(10 / 30, arrival_s=0.4))
    assert len(list(aligner.poll(0.4, _quality))) == 1


def test_a_jump_in_a_files_time_is_not_filled_with_frames() -> None:
    """Sound that goes on hours later gives a frame for what is there, not one for every moment between."""
    aligner = Aligner(live=False, expects_sound=True)
    aligner.push_picture(_timed(-20_000.0))
    aligner.push_sound(0.0, _ramp(0, 1000), _RATE)
    aligner.end()
    frames = list(aligner.poll(0.0, _quality))
    assert len(frames) < 12
    assert sum(frame.sound.samples.size for frame in frames) == 1000


def _stepped(relations: Sequence[tuple[float, Relation]], seconds: float = 2.0) -> list[Frame]:
    """Pictures at 25 a second and their sound in blocks of 20 ms, by one relation after another."""
    aligner = Aligner(live=True, expects_sound=True)
    frames: list[Frame] = []
    for number in range(round(50 * seconds)):
        now_s = number / 50
        aligner.push_sound(now_s, _ramp(number * 20, 20), _RATE)
        if number % 2 == 0:
            aligner.push_picture(_timed(now_s, now_s))
        relation = [each for from_s, each in relations if from_s <= now_s][-1]
        frames += aligner.poll(now_s, _quality, relation)
    return frames


@pytest.mark.parametrize("step_s", [0.1, -0.1, 0.004, -0.004])
def test_a_relation_that_steps_moves_the_sound_and_loses_none(step_s: float) -> None:
    """All samples come out once; the frame that steps says by how much, and those after it have other samples."""
    frames = _stepped([(0.0, Relation()), (1.0, Relation(shift_s=step_s))])
    heard = np.concatenate([frame.sound.samples for frame in frames])
    np.testing.assert_array_equal(heard, _ramp(0, heard.size))
    ((time_s, step_ms),) = [(frame.time_s, frame.clock_step.ms) for frame in frames if frame.clock_step is not None]
    assert time_s == pytest.approx(1.0, abs=0.1)
    assert step_ms == pytest.approx(1000 * step_s)
    after = [frame for frame in frames if frame.time_s > 1.3 and frame.sound.samples.size]
    for frame in after:  # the value of a sample is its number, and so where it was laid out
        assert frame.sound.start_s == pytest.approx(int(frame.sound.samples[0]) / _RATE + step_s)
        assert frame.sound.start_s + frame.sound.duration_s == pytest.approx(frame.time_s, abs=1 / _RATE)


def test_a_drift_takes_a_sample_more_now_and_then_and_makes_no_holes() -> None:
    """Half a percent: 40 samples become 39.8, none of them missing."""
    frames = _stepped([(0.0, Relation(drift=0.005))])
    assert all(not frame.sound.missing and frame.clock_step is None for frame in frames)
    heard = np.concatenate([frame.sound.samples for frame in frames])
    np.testing.assert_array_equal(heard, _ramp(0, heard.size))
    assert {frame.sound.samples.size for frame in frames[1:]} == {39, 40}


def test_a_step_by_the_sender_says_so() -> None:
    """It goes out with the next frame, also where that has no picture; two in a row are one."""
    aligner = Aligner(live=True, expects_sound=True)
    aligner.push_sound(0.0, _ramp(0, 1000), _RATE)
    aligner.push_picture(_timed(0.0))
    assert len(list(aligner.poll(0.0, _quality))) == 1
    assert not list(aligner.poll(0.05, _quality, Relation(shift_s=0.02)))
    (frame,) = aligner.poll(0.5, _quality, Relation(shift_s=0.05, slips=1, slip_s=(-0.3, -0.2)))
    assert frame.maybe_picture is None
    assert frame.clock_step is not None
    assert frame.clock_step.by_sender
    assert frame.clock_step.between_s == (-0.3, -0.2)
    assert frame.clock_step.ms == pytest.approx(50)
    assert frame.sound.start_s == pytest.approx(0.05)


def test_slips_that_make_up_for_each_other_are_no_step() -> None:
    """Of both tracks by as much, say; what is corrected later is not theirs."""
    aligner = Aligner(live=True, expects_sound=True)
    aligner.push_sound(0.0, _ramp(0, 1000), _RATE)
    steps = []
    for number, relation in enumerate((Relation(), Relation(slips=2, slip_s=(0.0, 0.1)), Relation(0.02, slips=2))):
        aligner.push_picture(_timed(number / 10))
        steps += [frame.clock_step for frame in aligner.poll(number / 10, _quality, relation)]
    assert steps[:2] == [None, None]
    assert steps[2] is not None
    assert not steps[2].by_sender
    assert steps[2].between_s is None


@settings(deadline=None, max_examples=30)
@given(st.sampled_from([8_000, 16_000, 24_000, 44_100, 48_000]), st.floats(8, 60), st.integers(1, 900))
def test_the_same_sound_at_16_khz(rate_hz: int, fps: float, block: int) -> None:
    """Frames together have all of it, contiguous and in its place, whatever the rate, the pictures and the blocks."""
    total = rate_hz // 2
    wave = np.sin(2 * np.pi * 440 * np.arange(total) / rate_hz).astype(np.float32)
    aligner = Aligner(live=True, expects_sound=True)
    frames: list[Frame] = []
    pictures = 0
    for begin in range(0, total, block):
        part = wave[begin : begin + block]
        aligner.push_sound(begin / rate_hz, part, rate_hz)
        now_s = (begin + part.size) / rate_hz
        while pictures / fps <= now_s:
            aligner.push_picture(_timed(pictures / fps, now_s))
            pictures += 1
        frames += aligner.poll(now_s, _quality)
    aligner.end()
    frames += aligner.poll(1.0, _quality)
    speech = [frame.sound for frame in frames if frame.sound.samples_16k.size]
    together = np.concatenate([sound.samples_16k for sound in speech])
    assert abs(together.size - 8000) <= 32
    ends_s = [sound.start_16k_s + sound.samples_16k.size / 16_000 for sound in speech]
    np.testing.assert_allclose([sound.start_16k_s for sound in speech[1:]], ends_s[:-1], atol=1e-9)
    for sound in speech:
        assert abs(sound.start_16k_s - sound.start_s) < 0.0025
    expected = np.sin(2 * np.pi * 440 * np.arange(together.size) / 16_000)
    np.testing.assert_allclose(together[100:-100], expected[100 : together.size - 100], atol=1e-3)


@pytest.mark.parametrize("live", [True, False])
@pytest.mark.parametrize("step_s", [-0.3, -0.1, 0.3])
def test_a_step_at_the_very_end_loses_no_sample(live: bool, step_s: float) -> None:
    """Also where it puts the rest of the sound before the last picture."""
    aligner = Aligner(live=live, expects_sound=True)
    frames: list[Frame] = []
    for number in range(100):
        aligner.push_sound(number / 50, _ramp(number * 20, 20), _RATE)
        if number % 2 == 0:
            aligner.push_picture(_timed(number / 50, number / 50))
        frames += aligner.poll(number / 50, _quality, Relation(shift_s=0.2))
    aligner.end()
    frames += aligner.poll(2.0, _quality, Relation(shift_s=0.2 + step_s))
    heard = np.concatenate([frame.sound.samples for frame in frames])
    np.testing.assert_array_equal(heard, _ramp(0, 2000))
    times_s = [frame.time_s for frame in frames]
    assert times_s == sorted(set(times_s))
