"""What is made of the times that a sender tells: verdict by verdict."""

from __future__ import annotations

import numpy as np
import pytest

from vision.rtp.sender_time import SenderTime, Verdict, ntp_seconds

_OFFSET_S = 1_700_000_000.0


def _told(time: SenderTime, seconds: range, off_s: float = 0.0, later_s: float = 0.0) -> list[Verdict | None]:
    """A pair each second, off by so much; packets come so much later than they did."""
    return [time.add(second, second + _OFFSET_S + off_s, 5.0 + later_s) for second in seconds]


def _off_ms(time: SenderTime, at_s: float) -> float:
    return 1000 * (time.sender_s(at_s) - at_s - _OFFSET_S)


def test_ntp_is_in_seconds_of_1970() -> None:
    """RFC 3550, 4: seconds since 1900 and their fraction."""
    assert ntp_seconds((2_208_988_800 << 32) + (1 << 31)) == 0.5


def test_pairs_in_line_prove_each_other() -> None:
    """The bound narrows with their number, and widens with their age."""
    time = SenderTime()
    bounds = []
    for second in range(10):
        assert _told(time, range(second, second + 1)) == ["fits"]
        bounds.append(time.error_s(second))
    assert bounds[0] == pytest.approx(0.01)
    assert bounds == sorted(bounds, reverse=True)
    assert bounds[-1] == pytest.approx(0.001)
    fresh = SenderTime()
    _told(fresh, range(2))
    assert fresh.error_s(101) == pytest.approx(0.005 + 300e-6 * 100)
    assert _off_ms(time, 9) == pytest.approx(0, abs=0.01)


def test_a_slip_is_followed_at_once_where_packets_come_as_much_later() -> None:
    """And only then is it one."""
    time = SenderTime()
    _told(time, range(10))
    assert _told(time, range(10, 11), 0.1, 0.1) == ["slipped"]
    assert time.step is not None
    assert (time.step.from_s, time.step.until_s, time.step.delay_s) == (9, 10, 5.0)
    assert time.step.s == pytest.approx(0.1)
    assert _off_ms(time, 10) == pytest.approx(100, abs=0.01)
    assert _told(time, range(11, 12), 0.5, 0.1) == ["apart"]
    assert time.step is None


def test_an_outlier_waits_for_one_that_agrees_and_widens_the_bound() -> None:
    """One alone changes nothing but the bound, and is forgotten with the next good one; two are believed."""
    time = SenderTime()
    _told(time, range(10))
    assert _told(time, range(10, 11), 0.3) == ["apart"]
    assert _off_ms(time, 10) == pytest.approx(0, abs=0.01)
    assert time.error_s(10) > 0.3
    assert _told(time, range(11, 12)) == ["fits"]
    assert time.error_s(11) < 0.01
    assert _told(time, range(12, 14), 0.3) == ["apart", "fits"]
    assert _off_ms(time, 13) == pytest.approx(300, abs=0.01)
    assert time.apart == 2


def test_packets_that_come_later_bear_an_outlier_out() -> None:
    """The report may be sooner than the packets that the slip delays."""
    time = SenderTime()
    assert time.reconsider(5.0) is None
    _told(time, range(10))
    assert _told(time, range(10, 11), 0.3) == ["apart"]
    assert time.reconsider(5.01) is None
    assert time.reconsider(5.3) == "slipped"
    assert _off_ms(time, 10) == pytest.approx(300, abs=0.01)


def test_five_outliers_that_agree_on_nothing_begin_anew() -> None:
    """With the newest."""
    time = SenderTime()
    _told(time, range(10))
    verdicts = [_told(time, range(10 + number, 11 + number), 0.3 + 0.2 * number)[0] for number in range(5)]
    assert verdicts == ["apart"] * 4 + ["reset"]
    assert _off_ms(time, 14) == pytest.approx(1100, abs=0.01)


def test_what_scatters_is_averaged_and_what_does_not_is_followed() -> None:
    """The same 5 ms: noise among noisy pairs, a step among exact ones."""
    noisy, exact = SenderTime(), SenderTime()
    for second in range(20):
        noisy.add(second, second + _OFFSET_S + 0.006 * (-1) ** second, 5.0)
        exact.add(second, second + _OFFSET_S, 5.0)
    assert noisy.add(20, 20 + _OFFSET_S + 0.005, 5.0) == "fits"
    assert abs(_off_ms(noisy, 20)) < 3
    assert noisy.error_s(20) > 0.005
    assert exact.add(20, 20 + _OFFSET_S + 0.005, 5.005) == "fits"
    assert _off_ms(exact, 20) == pytest.approx(5, abs=0.01)
    assert exact.add(21, 21 + _OFFSET_S + 0.01, 5.005) == "apart", "the packets say otherwise"


def test_what_is_told_twice_is_no_news() -> None:
    """A time of capture on each packet of a picture, a report again: no second witness."""
    time = SenderTime()
    _told(time, range(10))
    assert [time.add(10, 10 + _OFFSET_S + 0.3, 5.0) for _ in range(3)] == ["apart", None, None]
    assert time.add(10.4, 10.4 + _OFFSET_S + 0.3, 5.0) is None
    assert _off_ms(time, 10) == pytest.approx(0, abs=0.01)


def test_a_drift_is_known_when_it_stands_out() -> None:
    """200 ppm of a clock after ten seconds; not of noise, and no clock is off by a tenth."""
    steady, noisy, wild = SenderTime(), SenderTime(), SenderTime()
    random = np.random.default_rng(2)
    for second in range(20):
        steady.add(second, second * (1 + 200e-6) + _OFFSET_S, 5.0)
        noisy.add(second, second + _OFFSET_S + random.normal(0, 0.01), 5.0)
        wild.add(second, second * 1.002 + _OFFSET_S, 5.0)
    assert steady.slope == pytest.approx(200e-6, abs=1e-6)
    assert 1000 * (steady.sender_s(30) - 30 * (1 + 200e-6) - _OFFSET_S) == pytest.approx(0, abs=0.05)
    assert steady.track_s(steady.sender_s(25.0)) == pytest.approx(25.0, abs=1e-6)
    assert noisy.slope is None
    assert wild.slope is None
    steady.restart()
    assert not steady.known
    assert steady.slope is None
