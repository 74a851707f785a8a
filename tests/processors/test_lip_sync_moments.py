"""lip_sync, from when to when: steps, verdicts, and lips and voice without each other, on what is made by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from processors.lip_sync.change import LEARNT_S, moment_of_change
from processors.lip_sync.course import COURSE_DELAY_S, Course, Known, Verdict
from processors.lip_sync.estimator import Stretch
from processors.lip_sync.features import BANDS, DISTANCES, HOP_S
from processors.lip_sync.gate import Reading
from processors.lip_sync.history import History
from processors.lip_sync.levels import Levels
from processors.lip_sync.limits import LIMITS
from processors.lip_sync.mismatch import MISMATCH_DELAY_S, Mismatch
from processors.lip_sync.steps import Steps
from processors.lip_sync.tracker import Step
from processors.speech import RATE_HZ
from vision import Sound

Floats = NDArray[np.float64]
RANDOM = np.random.default_rng(11)

# steps


def spoken_to(offset_s: Floats, seconds: float = 10.0) -> Stretch:
    """A mouth, and sound that is as loud as it is open, so much later at each moment of the sound; `(T,)`."""
    count = round(seconds / HOP_S)
    times_s = np.arange(-100, count + 100) * HOP_S
    openings = np.abs(np.convolve(RANDOM.standard_normal(len(times_s)), np.hanning(20), "same"))
    mouth = np.outer(openings, np.linspace(1, 0.5, DISTANCES))
    places = np.arange(100, 100 + count)
    heard = openings[places - np.rint(offset_s / HOP_S).astype(int)]
    bands = np.outer(heard, np.linspace(0.5, 1.5, BANDS)) + 0.05 * RANDOM.random((count, BANDS))
    return Stretch(np.asarray(times_s[places]), 2 * np.log(bands), np.ones(count, bool), mouth[places])


@pytest.mark.parametrize("change_s", [4.2, 5.0, 5.9])
@pytest.mark.parametrize(("before_s", "after_s"), [(0.0, 0.2), (0.0, -0.2), (-0.12, 0.0)])
def test_a_change_is_found_to_a_picture(change_s: float, before_s: float, after_s: float) -> None:
    """Wherever it is within a second of where it was supposed."""
    times_s = np.arange(1000) * HOP_S
    stretch = spoken_to(np.where(times_s < change_s, before_s, after_s))
    assert moment_of_change(stretch, before_s, 0.0, after_s, 5.0) == pytest.approx(change_s, abs=0.04)


def test_a_change_that_ends_a_drift_is_found() -> None:
    """60 ms a second, and back at once."""
    times_s = np.arange(1000) * HOP_S
    stretch = spoken_to(np.where(times_s < 5.3, 0.3 + 0.06 * (times_s - 5), 0.0))
    assert moment_of_change(stretch, 0.3, 0.06, 0.0, 5.0) == pytest.approx(5.3, abs=0.04)


def test_a_change_at_the_end_of_what_is_known_stays_where_it_was_supposed() -> None:
    """Nothing can be learnt of what came after it."""
    stretch = spoken_to(np.zeros(400), 4.0)
    assert moment_of_change(stretch, 0.0, 0.0, 0.2, 3.9) == 3.9


def test_steps_are_told_when_their_time_has_come() -> None:
    """One that was found at 14 s, of 10.2 s, is looked at once enough behind it is known, and told at its own time."""
    steps, course = Steps(), Course(3.0)
    steps.add(None)
    steps.add(Step(10.2, 0.0, 0.0, 0.2, (Reading(12.0, 0.2, 0.02, 0.9, True),)))
    steps.place(14.0, History(), course)
    assert steps.take(20.0) is None
    steps.place(14.4, History(), course)
    assert steps.take(10.19) is None
    step = steps.take(10.2)
    assert step is not None
    assert step.step_s == pytest.approx(0.2)
    assert steps.take(99.0) is None


def test_steps_move_with_the_sound() -> None:
    """Both those that wait for a closer look and those that wait to be told: offsets, and time."""
    steps, course = Steps(), Course(3.0)
    for time_s in (10.0, 16.0):
        steps.add(Step(time_s, 0.0, 0.0, 0.2, ()))
    steps.place(16.0, History(), course)
    steps.shift(0.5)
    steps.place(30.0, History(), course)
    told = [steps.take(30.0), steps.take(30.0)]
    assert [(step.time_s, step.before_s, step.after_s) for step in told if step] == [(10.5, 0.5, 0.7), (16.5, 0.5, 0.7)]


# verdicts


def course_of(offsets_ms: Sequence[float], changes_s: Sequence[float] = (), error_ms: float = 20.0) -> Course:
    """Windows of 3 s, two a second, the first one at 0.25 s."""
    course = Course(3.0)
    for number, offset_ms in enumerate(offsets_ms):
        course.add(Known(0.25 + number / 2, offset_ms, error_ms))
    for change_s in changes_s:
        course.change(change_s)
    return course


def judged(course: Course, until_s: float, limits: str = "itu_detectable") -> dict[float, bool | None]:
    """What is said of each picture at 10 a second."""
    verdict = Verdict(LIMITS[limits])  # type: ignore[index]
    return {round(time_s, 1): verdict.of(course.at(time_s)) for time_s in np.arange(0, until_s, 0.1)}


def test_a_verdict_begins_and_ends_with_steps() -> None:
    """From 5 s to 12.3 s, whatever windows that hold a step say of it."""
    told = judged(course_of([*[0.0] * 9, *[200.0] * 15, *[0.0] * 16], (5.0, 12.3)), 18)
    assert [time_s for time_s, exceeds in told.items() if exceeds] == [round(5 + n / 10, 1) for n in range(73)]


def test_a_drift_begins_where_it_crosses_the_limit() -> None:
    """20 ms a second exceed 125 ms at 6.5 s, and are sure of that a second later."""
    told = judged(course_of([20 * (0.25 + number / 2) for number in range(30)]), 10)
    first_s = min(time_s for time_s, exceeds in told.items() if exceeds)
    assert first_s == pytest.approx(6.25, abs=0.3)


def test_what_is_never_sure_is_no_verdict() -> None:
    """Above the limit, by less than the interval's half."""
    assert not any(judged(course_of([140.0] * 30), 12).values())


def test_two_windows_alone_are_no_verdict() -> None:
    """Those that hold something odd agree with each other, too."""
    assert not any(judged(course_of([*[0.0] * 10, 400.0, 400.0, *[0.0] * 20]), 12).values())


def test_what_is_not_known_goes_on() -> None:
    """Ten seconds without an offset are not measured, but for what the windows at their ends say."""
    course = Course(3.0)
    for time_s in (*np.arange(0, 5, 0.5), *np.arange(15, 20, 0.5)):
        course.add(Known(float(time_s), 200.0, 20.0))
    told = judged(course, 18)
    assert told[4.0] is True
    assert told[10.0] is None
    assert told[16.0] is True


def test_a_course_moves_with_the_sound() -> None:
    """What belongs 100 ms later was that much later."""
    course = course_of([100.0] * 20)
    course.shift(0.1)
    here = course.at(5.0)
    assert here is not None
    assert here.offset_ms == pytest.approx(200)


# lips and voice without each other

FPS = 25
LENGTH_S = 24.0
Spans = Sequence[tuple[float, float]]


def inside(spans: Spans, time_s: float) -> bool:
    """Whether a moment is in one of them."""
    return any(start <= time_s < end for start, end in spans)


def told(
    moving: Spans, sounding: Spans, faceless: Spans = (), level: float = 0.1, noise: float = 1e-4, heard: Spans = ()
) -> tuple[list[float], list[float], dict[float, tuple[bool | None, bool | None]]]:
    """When a voice was told to be without lips, and lips without a voice; and all that was said.

    :param sounding: where the sound is as loud as a voice.
    :param heard: where it was found to be speech; by default the same.
    """
    mismatch = Mismatch()
    said: dict[float, tuple[bool | None, bool | None]] = {}
    segments = [(start - 0.03, end + 0.05) for start, end in heard or sounding]
    size = RATE_HZ // FPS
    for index in range(round(LENGTH_S * FPS)):
        time_s = index / FPS
        gap = 0.05 * abs(np.sin(2 * np.pi * 2.3 * time_s)) if inside(moving, time_s) else 0.0
        mismatch.see(time_s, None if inside(faceless, time_s) else 0.1 + gap + 0.001 * RANDOM.standard_normal())
        places = (np.arange(size) + (index - 1) * size) / RATE_HZ
        loud = np.array([inside(sounding, place) for place in places])
        samples = (np.where(loud, level, noise) * RANDOM.standard_normal(size)).astype(np.float32)
        start_s = time_s - size / RATE_HZ
        mismatch.hear(Sound(samples, RATE_HZ, start_s, samples_16k=samples, start_16k_s=start_s))
        known = np.array([(start, min(end, time_s)) for start, end in segments if start < time_s - 0.3]).reshape(-1, 2)
        at_s = time_s - MISMATCH_DELAY_S
        if at_s >= 0:
            said[round(at_s, 2)] = mismatch.at(at_s, known, time_s)
    still, mute = ([time_s for time_s, each in said.items() if each[side]] for side in (0, 1))
    return still, mute, said


def test_lips_that_rest_under_a_voice_are_told_from_when_to_when() -> None:
    """From 8 s to 12 s, to a picture; nothing where both move."""
    still, mute, _ = told([(1, 8), (12, 20)], [(1, 20)])
    assert [still[0], still[-1]] == pytest.approx([8, 11.96], abs=0.08)
    assert len(still) > 0.95 * (still[-1] - still[0]) * FPS
    assert not mute


def test_lips_without_a_voice_are_told_from_when_to_when() -> None:
    """The voice ends at 8 s and is back at 12 s, and the lips go on."""
    still, mute, _ = told([(1, 20)], [(1, 8), (12, 20)])
    assert [mute[0], mute[-1]] == pytest.approx([8, 11.96], abs=0.08)
    assert not still


def test_lips_that_close_and_prepare_are_no_mismatch() -> None:
    """Half a second behind a voice and before the next one."""
    still, mute, _ = told([(1, 8.5), (11.5, 20)], [(1, 8), (12, 20)])
    assert not still
    assert not mute


def test_lips_rest_within_speech() -> None:
    """For a second."""
    still, _, _ = told([(1, 8), (9, 20)], [(1, 20)])
    assert not still


def test_a_voice_that_the_detector_misses_is_heard_by_its_level() -> None:
    """What is as loud as the voice before may be one."""
    _, mute, _ = told([(4, 20)], [(4, 20)], heard=[(4, 8), (12, 20)])
    assert not mute


def test_where_nobody_has_spoken_the_detector_is_believed() -> None:
    """Lips move from 4 s to 8 s in noise that is no speech."""
    _, mute, _ = told([(4, 8)], [], noise=0.05)
    assert [mute[0], mute[-1]] == pytest.approx([4, 7.96], abs=0.08)


def test_while_a_voice_is_hardly_known_nothing_is_said_of_it() -> None:
    """Half a second of it, and then lips without."""
    _, _, said = told([(1, 8)], [(1, 1.5)])
    assert said[4.0] == (False, None)


def test_no_face_is_no_mismatch() -> None:
    """It is not known."""
    still, mute, said = told([(1, 8)], [(1, 20)], faceless=[(8, 12)])
    assert said[10.0] == (None, None)
    assert still
    assert still[0] == pytest.approx(12, abs=0.1)
    assert not mute


def test_sound_that_goes_on_elsewhere_is_not_mixed_up_with_that_before() -> None:
    """Ten seconds of a voice with pauses; then sound begins at an earlier time, and pauses are found where they are."""
    levels = Levels()
    loud = (0.1 * RANDOM.standard_normal(RATE_HZ)).astype(np.float32)
    quiet = (1e-4 * RANDOM.standard_normal(RATE_HZ)).astype(np.float32)
    for begin_s, seconds in ((20.0, [loud, quiet] * 5), (3.0, [loud, quiet, loud, loud])):
        for number, samples in enumerate(seconds):
            start_s = begin_s + number
            levels.hear(Sound(samples, RATE_HZ, start_s, samples_16k=samples, start_16k_s=start_s))
        levels.learn(np.array([[begin_s + each, begin_s + each + 1] for each in (0, 2)]))
    assert levels.pause_at(4.5, 0.0, 7.0) == pytest.approx((4.0, 5.0), abs=0.021)
    assert levels.pause_at(5.5, 0.0, 7.0) is None


def test_delays_are_whole_pictures() -> None:
    """At 25 and at 30 a second: what is told is of pictures."""
    for delay_s in (MISMATCH_DELAY_S, COURSE_DELAY_S):
        for fps in (25, 30):
            assert delay_s * fps == pytest.approx(round(delay_s * fps))
    assert LEARNT_S < COURSE_DELAY_S
