"""The clock by the sender's own time: known truth, good and bad senders, good and bad networks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.senders import PICTURE, SOUND, Leg, Run, played
from vision.clock import UNSEEN_MS

Pair = tuple[Leg, Leg]

_HOUR_S = 3600.0
_ENOUGH = 0.95  # the share of records in which the true error has to be inside the stated bound


def _later(from_s: float, amount_s: float) -> Callable[[float], float]:
    return lambda time_s: amount_s if time_s > from_s else 0.0


def _late(delay_s: float) -> Callable[[float], float]:
    return lambda time_s: delay_s


_PICTURE = replace(PICTURE, delay_s=_late(0.05), jitter_s=0.02)
_SOUND = replace(SOUND, delay_s=_late(0.03), jitter_s=0.01)


def _both(**changes: object) -> Pair:
    return replace(_PICTURE, **changes), replace(_SOUND, **changes)  # type: ignore[arg-type]


_SENDERS: dict[str, tuple[Pair, float]] = {
    "never reports": (_both(report_every_s=None), 20),
    "never reports, and encodes pictures slowly": (
        (replace(_PICTURE, report_every_s=None, delay_s=_late(0.14)), replace(_SOUND, report_every_s=None)),
        20,
    ),
    "reports on pictures only": ((_PICTURE, replace(_SOUND, report_every_s=None)), 20),
    "restarts": (_both(restart_s=15.0), 40),
    "restarts its sound": ((_PICTURE, replace(_SOUND, restart_s=15.01)), 40),
    "restarts its pictures": ((replace(_PICTURE, restart_s=15.01), _SOUND), 40),
    "sets its wall clock by an hour": (_both(ntp_off_s=_later(15.3, _HOUR_S)), 40),
    "sets its wall clock, seldom says so": (
        (
            replace(_PICTURE, ntp_off_s=_later(15.3, -_HOUR_S)),
            replace(_SOUND, ntp_off_s=_later(15.3, -_HOUR_S), report_every_s=5.0),
        ),
        60,
    ),
    "sets the clock of its sound only": ((_PICTURE, replace(_SOUND, ntp_off_s=_later(15.3, _HOUR_S))), 70),
    "has two clocks": ((_PICTURE, replace(_SOUND, ntp_off_s=_late(_HOUR_S))), 20),
    "has a sound card that is fast": ((_PICTURE, replace(_SOUND, ppm=200.0)), 60),
    "reports a drift that is none": ((_PICTURE, replace(_SOUND, ntp_off_s=lambda time_s: 200e-6 * time_s)), 120),
    "slips": ((_PICTURE, replace(_SOUND, behind_s=_later(15.4, 0.11), report_every_s=5.0)), 60),
    "slips back": (
        (_PICTURE, replace(_SOUND, behind_s=lambda time_s: 0.2 * (10 < time_s < 22), report_every_s=4.0)),
        60,
    ),
    "sends one wrong report": ((_PICTURE, replace(_SOUND, ntp_off_s=lambda time_s: 1.5 * (15 < time_s < 15.9))), 30),
    "is wrong by 3 s in its first report": (
        (_PICTURE, replace(_SOUND, ntp_off_s=lambda time_s: 3.0 * (time_s < 1.5))),
        60,
    ),
    "is wrong by 1.5 s in its first report": (
        (_PICTURE, replace(_SOUND, ntp_off_s=lambda time_s: 1.5 * (time_s < 1.5))),
        60,
    ),
    "sets the clock of its sound by 4 s": ((_PICTURE, replace(_SOUND, ntp_off_s=_later(15.3, 4.0))), 70),
    "sends noisy reports": (_both(noise_s=0.01), 60),
    "sends its sound later from then on": ((_PICTURE, replace(_SOUND, delay_s=_later(20.0, 0.1))), 40),
}


@pytest.mark.parametrize("name", _SENDERS)
def test_the_true_error_is_inside_the_stated_one(name: str) -> None:
    """Whatever the sender does, in at least 95 % of the records; and there is a statement in all of them."""
    (picture, sound), seconds = _SENDERS[name]
    for seed in range(3):
        run = played(picture, sound, seconds, seed)
        assert len(run.heard) > 25 * seconds
        assert all(heard.stated_ms is not None for heard in run.heard)
        assert run.inside() >= _ENOUGH


def test_true_reports_relate_the_tracks_exactly() -> None:
    """From the first reports of both on; the network's jitter and delays have no part in it."""
    run = played(_PICTURE, _SOUND, 30)
    assert [heard.kind for heard in run.heard[:10]] == ["arrival"] * 10
    reported = run.since(2.2)
    assert {heard.kind for heard in reported} == {"sender_report"}
    assert max(abs(heard.error_ms) for heard in reported) < 0.1
    assert max(abs(heard.error_ms) for heard in run.heard[:10]) > 10
    stated = [heard.stated_ms or 0.0 for heard in run.since(20)]
    assert float(np.median(stated)) < 8


def test_before_the_reports_the_bound_says_what_arrival_cannot_see() -> None:
    """It is wider than all that is seen, and follows the jitter."""
    stated = {
        jitter_s: played(*_both(report_every_s=None, jitter_s=jitter_s), 10).heard[-1].stated_ms or 0.0
        for jitter_s in (0.0, 0.08)
    }
    assert UNSEEN_MS <= stated[0.0] < UNSEEN_MS + 25
    assert stated[0.08] > stated[0.0] + 80


@pytest.mark.parametrize("delay_s", [0.03, 0.08, 0.15])
def test_an_unequal_delay_is_the_arrivals_and_not_the_contents(delay_s: float) -> None:
    """On either track: the relation stays, the skew of arrival is the delay."""
    for late, sign in ((_SOUND, 1), (_PICTURE, -1)):
        track = replace(late, delay_s=_late(late.delay_s(0) + delay_s))
        legs = (_PICTURE, track) if late is _SOUND else (track, _SOUND)
        reported = played(*legs, 20).since(3)
        assert max(abs(heard.error_ms) for heard in reported) < 0.1
        skews = [heard.skew_ms for heard in reported if heard.skew_ms is not None]
        assert float(np.median(skews)) == pytest.approx(1000 * (sign * delay_s - 0.02), abs=2)


def test_a_slip_is_the_senders_and_is_followed_with_the_next_report() -> None:
    """8, 110 and 250 ms; until then the bound is wide, and from then on the relation is exact again."""
    for slip_s in (0.008, 0.11, 0.25):
        sound = replace(_SOUND, behind_s=_later(15.4, slip_s), report_every_s=5.0, first_report_s=3.0)
        run = played(_PICTURE, sound, 40)
        after = run.since(18.1)
        assert max(abs(heard.error_ms) for heard in after) < 0.2
        unknown = [heard for heard in run.heard if 16 < heard.true_s < 17.9]
        assert min(heard.stated_ms or 0.0 for heard in unknown) >= 1000 * slip_s
        slips = run.clock.facts()["slips"]
        assert run.heard[-1].slips == len(slips) == (slip_s > 0.01)
        if slips:
            assert slips[0]["track"] == "sound"
            assert slips[0]["ms"] == pytest.approx(1000 * slip_s, abs=0.5)


@pytest.mark.parametrize("slip_s", [0.05, 0.11, 0.25, -0.11])
@pytest.mark.parametrize("every_s", [1.0, 5.0])
def test_a_slip_is_dated_to_a_unit_though_it_is_told_later(slip_s: float, every_s: float) -> None:
    """Of the sound, and of pictures that are sent later by their own reports."""

    def slipped(time_s: float) -> float:
        return max(0.0, -slip_s) + slip_s * (time_s > 17.4)

    sound = replace(_SOUND, behind_s=slipped, report_every_s=every_s)
    picture = replace(
        _PICTURE,
        delay_s=lambda time_s: 0.05 + slipped(time_s),
        ntp_off_s=slipped,
        report_every_s=every_s,
        jitter_s=0.004,
    )
    for legs, unit_s in (((_PICTURE, sound), 0.02), ((picture, _SOUND), 0.034)):
        last = played(*legs, 40).heard[-1]
        assert last.slips == 1
        assert last.slip_s is not None
        begin_s, end_s = last.slip_s
        assert end_s - begin_s < unit_s + 0.001
        assert begin_s - 0.02 < 17.4 < end_s + unit_s


def test_a_wrong_report_behind_a_slip_is_no_second_one() -> None:
    """What was found of the slip is not found again."""
    wrong = {"report_every_s": 1.0, "ntp_off_s": lambda time_s: 0.5 * (16.5 < time_s < 17.5)}
    run = played(_PICTURE, replace(_SOUND, behind_s=_later(15.4, 0.11), **wrong), 30)  # type: ignore[arg-type]
    assert run.heard[-1].slips == len(run.clock.facts()["slips"]) == 1


def test_a_slip_that_units_do_not_date_lies_between_two_reports() -> None:
    """They come so seldom that what was between is forgotten."""
    sound = replace(_SOUND, behind_s=_later(16.4, 0.11), report_every_s=25.0, first_report_s=15.0)
    run = played(_PICTURE, sound, 70)
    (slip,) = run.clock.facts()["slips"]
    assert slip["between_s"] == pytest.approx((15.0, 40.0), abs=0.02)
    assert run.heard[-1].slip_s == pytest.approx(slip["between_s"], abs=0.001)


def test_a_slip_that_two_reports_tell_before_packets_bear_it_out_is_one() -> None:
    """The least delayed of a second's pictures may still be from before it, when reports of it come twice."""
    late = _later(17.06, 0.14)
    picture = replace(_PICTURE, delay_s=lambda time_s: 0.05 + late(time_s), ntp_off_s=late, report_every_s=0.6)
    for seed in range(5):
        run = played(picture, _SOUND, 30, seed)
        assert run.heard[-1].slips == 1
        assert run.heard[-1].slip_s == pytest.approx((17.04, 17.08), abs=0.04)


@pytest.mark.parametrize("jump_s", [1.0, 1.5, -1.9, 20.0, -100.0])
def test_a_wall_clock_that_is_set_for_a_while_is_no_slip(jump_s: float) -> None:
    """Reports of both tracks are wrong by as much, so that nothing changes between them."""
    for seed in range(5):
        off = _both(ntp_off_s=lambda time_s: jump_s * (12.3 < time_s < 16.1))
        assert played(*off, 30, seed).heard[-1].slips == 0


def test_a_wall_clock_that_is_set_moves_nothing() -> None:
    """Not while one track's reports are of the old time and the other's of the new, and not afterwards."""
    run = played(*_both(ntp_off_s=_later(15.3, _HOUR_S)), 40)
    assert max(abs(heard.error_ms) for heard in run.since(2.2)) < 0.5
    assert {heard.kind for heard in run.since(2.2)} == {"sender_report"}
    assert run.heard[-1].slips == 0


def test_two_clocks_that_do_not_agree_are_not_believed() -> None:
    """From the beginning, or after half a minute: the clock goes by arrival, and says so."""
    run = played(*_SENDERS["has two clocks"][0], 20)
    assert {heard.kind for heard in run.heard} == {"arrival"}
    run = played(*_SENDERS["sets the clock of its sound only"][0], 70)
    assert run.heard[1000].kind == "sender_report"
    assert run.heard[-1].kind == "arrival"


def test_the_senders_drift_is_measured_and_followed() -> None:
    """A sound clock that is 200 ppm fast: 12 ms a minute, of which next to nothing is left."""
    for ppm in (200.0, -60.0):
        run = played(_PICTURE, replace(_SOUND, ppm=ppm), 60)
        assert run.heard[-1].drift_ppm == pytest.approx(ppm, abs=2)
        assert max(abs(heard.error_ms) for heard in run.since(20)) < 0.2
    assert played(_PICTURE, _SOUND, 30).heard[-1].drift_ppm == pytest.approx(0, abs=2)


def test_capture_times_go_before_reports() -> None:
    """Where a peer sends both, and the reports are wrong by 70 ms."""
    picture, sound = (replace(leg, said_by="capture_time") for leg in (_PICTURE, _SOUND))
    run = played(picture, sound, 10)
    assert run.heard[-1].kind == "capture_time"
    assert abs(run.heard[-1].error_ms) < 0.1
    clock, track_s = run.clock, run.clock._last["sound"][0]
    clock.relate("sound", track_s, 5.0, 10.0, "sender_report")
    clock.relate("picture", run.clock._last["picture"][0], 5.07, 10.0, "sender_report")
    assert clock.quality.kind == "capture_time"


def test_capture_times_that_are_no_longer_told_give_way_to_reports() -> None:
    """A gateway may strip the extension in the middle of a call."""
    told = played(replace(_PICTURE, said_by="capture_time"), replace(_SOUND, said_by="capture_time"), 5)
    clock = told.clock
    last = {track: clock._last[track] for track in ("picture", "sound")}
    for second in range(60):
        for track in ("picture", "sound"):
            track_s, arrival_s = (each + second for each in last[track])
            clock.observe(track, track_s, arrival_s)
            clock.relate(track, track_s, 7.0 + second + 0.02 * (track == "sound"), arrival_s, "sender_report")
        kind = clock.quality.kind
        assert kind == ("capture_time" if second < 28 else kind if second < 33 else "sender_report"), second
    assert (clock.quality.error_ms or 0.0) < 200


def test_a_report_of_a_count_that_has_not_begun_waits_for_it() -> None:
    """The first report may come before the first picture is decoded."""
    run = Run(played(PICTURE, SOUND, 0.1).clock)
    clock = type(run.clock)()
    clock.relate("picture", 1000.0, 500.0, 0.0, "sender_report")
    clock.relate("sound", 70.0, 500.0, 0.0, "sender_report")
    for number in range(40):
        clock.observe("picture", 1000.1 + number / 30, 0.2 + number / 30)
        clock.observe("sound", 70.0 + number / 50, 0.1 + number / 50)
        clock.ready(0.2 + number / 30)
    assert clock.quality.kind == "sender_report"
    time_s = clock.media_from_track("picture", 1000.5)
    assert clock.relation.media(clock.media_from_track("sound", 70.5)) == pytest.approx(time_s, abs=1e-6)


@settings(deadline=None, max_examples=15)
@given(
    st.integers(0, (1 << 32) - 1),
    st.integers(0, (1 << 32) - 1),
    st.floats(-200, 200),
    st.floats(0, 0.15),
    st.integers(0, 1000),
)
def test_no_count_and_no_drift_moves_the_relation(
    picture_rtp: int, sound_rtp: int, ppm: float, delay_s: float, seed: int
) -> None:
    """Any first timestamps, any drift of a sound card, any unequal delay."""
    picture = replace(_PICTURE, rtp=picture_rtp)
    sound = replace(_SOUND, rtp=sound_rtp, ppm=ppm, delay_s=_late(delay_s))
    run = played(picture, sound, 12, seed)
    assert run.inside() >= _ENOUGH
    assert max(abs(heard.error_ms) for heard in run.since(4)) < 2


@settings(deadline=None, max_examples=10)
@given(st.floats(1, 18), st.floats(1, 18), st.integers(0, 1000))
def test_a_wrap_in_the_middle_of_a_run_is_none(picture_s: float, sound_s: float, seed: int) -> None:
    """32 bits of either track, at any moment."""
    picture = replace(_PICTURE, rtp=round((1 << 32) - 90_000 * picture_s))
    sound = replace(_SOUND, rtp=round((1 << 32) - 48_000 * sound_s))
    run = played(picture, sound, 20, seed)
    assert max(abs(heard.error_ms) for heard in run.since(2.2)) < 0.1
    assert max(abs(np.diff([heard.time_s for heard in run.heard]) - 1 / 30)) < 1e-4


@settings(deadline=None, max_examples=10)
@given(st.floats(8.2, 8.8), st.booleans(), st.booleans(), st.integers(0, 1000))
def test_a_restart_of_the_source_is_arrival_until_it_is_reported_on(
    restart_s: float, pictures: bool, sounds: bool, seed: int
) -> None:
    """Of either track or of both: afterwards it is as exact as before."""
    picture = replace(_PICTURE, restart_s=restart_s if pictures else None)
    sound = replace(_SOUND, restart_s=restart_s + 0.013 if sounds else None)
    run = played(picture, sound, 20, seed)
    assert run.inside() >= _ENOUGH
    kinds = {heard.kind for heard in run.heard if restart_s + 0.1 < heard.true_s < 8.9}  # the next reports are of 9 s
    assert kinds <= {"arrival" if pictures or sounds else "sender_report"}
    assert max(abs(heard.error_ms) for heard in run.since(restart_s + 2.5)) < 0.1
    assert np.diff([heard.time_s for heard in run.heard]).min() > 0


def test_fourteen_hours_and_the_wrap_of_pictures_in_them() -> None:
    """90 kHz wrap after 13.3 hours, 48 kHz after 24.9: a picture and a block of sound every four seconds."""
    picture, sound = (replace(leg, every_s=4.0, report_every_s=32.0) for leg in (_PICTURE, _SOUND))
    run = played(picture, replace(sound, ppm=37.0), 14 * 3600)
    assert run.inside() >= _ENOUGH
    assert max(abs(heard.error_ms) for heard in run.since(300)) < 1
    assert run.heard[-1].drift_ppm == pytest.approx(37, abs=1)
    assert run.heard[-1].time_s - run.heard[0].time_s == pytest.approx(
        run.heard[-1].true_s - run.heard[0].true_s, abs=0.1
    )
