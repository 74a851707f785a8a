"""Track time to media time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision.clock import UNSEEN_MS, ArrivalClock, FileClock

_JITTER = st.lists(st.floats(0, 0.08), min_size=20, max_size=60)


def test_file_clock_is_zero_at_the_first_picture() -> None:
    """Sound that starts before the picture has negative times."""
    clock = FileClock()
    clock.observe("sound", 5.0, 0.0)
    assert not clock.ready(1.0)
    clock.observe("picture", 5.033, 0.1)
    assert clock.ready(0.1)
    assert clock.media_from_track("picture", 5.033) == 0
    assert clock.media_from_track("sound", 5.0) == pytest.approx(-0.033)


def test_file_clock_without_pictures_starts_at_the_first_sound() -> None:
    """A recording of sound alone has its zero at its first sample."""
    clock = FileClock()
    clock.observe("sound", 2.5, 0.0)
    clock.settle()
    assert clock.media_from_track("sound", 3.0) == pytest.approx(0.5)


@given(_JITTER, _JITTER, st.floats(-1e5, 1e5), st.floats(-1e5, 1e5))
def test_arrival_clock_error_is_within_its_own_bound(
    picture_jitter: list[float], sound_jitter: list[float], picture_zero: float, sound_zero: float
) -> None:
    """Tracks whose times have nothing to do with each other are related within what their unevenness explains."""
    clock = ArrivalClock(("picture", "sound"))
    for i in range(50):
        clock.observe("picture", picture_zero + i / 30, i / 30 + picture_jitter[i % len(picture_jitter)])
        clock.observe("sound", sound_zero + i / 50, i / 50 + sound_jitter[i % len(sound_jitter)])
    clock.settle()
    apart_s = clock.media_from_track("sound", sound_zero + 1) - clock.media_from_track("picture", picture_zero + 1)
    unavoidable_s = abs(min(picture_jitter) - min(sound_jitter))  # a delay that every packet has is not to be seen
    assert abs(abs(apart_s) - unavoidable_s) < 1e-6
    spread_ms = 1000 * (max(picture_jitter) - min(picture_jitter) + max(sound_jitter) - min(sound_jitter))
    assert clock.quality.kind == "arrival"
    assert clock.quality.error_ms is not None
    assert -0.1 <= clock.quality.error_ms - UNSEEN_MS <= spread_ms + 0.1
    assert clock.media_from_track("picture", picture_zero) == pytest.approx(0, abs=1e-6)


def _run(
    clock: ArrivalClock, seconds: float, sound_late_s: float = 0.0, ppm: float = 0.0, jitter_s: float = 0.0
) -> None:
    rng = np.random.default_rng(7)
    for i in range(int(50 * seconds)):
        at_s = i / 50
        drift_s = at_s * ppm / 1e6
        clock.observe("picture", at_s, at_s + drift_s + rng.uniform(0, jitter_s))
        late_s = sound_late_s if at_s > 5 else 0.0
        clock.observe("sound", at_s, at_s + drift_s + late_s + rng.uniform(0, jitter_s))
        clock.ready(at_s)


def test_the_stated_error_covers_what_moves_after_the_clock_has_settled() -> None:
    """Sound that arrives 80 ms later from then on is in the bound, and so is jitter; a still stream has none."""
    for sound_late_s, jitter_s, least_ms in ((0.0, 0.0, 0.0), (0.08, 0.0, 79.0), (0.0, 0.05, 60.0)):
        clock = ArrivalClock(("picture", "sound"))
        _run(clock, 20, sound_late_s=sound_late_s, jitter_s=jitter_s)
        assert clock.quality.error_ms is not None
        assert least_ms <= clock.quality.error_ms - UNSEEN_MS <= least_ms + 40


def test_a_drift_that_both_tracks_share_is_no_error() -> None:
    """The sender's clock may run differently from ours for hours: it says nothing of picture against sound."""
    clock = ArrivalClock(("picture", "sound"))
    _run(clock, 3600, ppm=50)
    assert clock.quality.error_ms is not None
    assert clock.quality.error_ms < UNSEEN_MS + 1


@pytest.mark.parametrize("jump_s", [-20_000.0, 47_721.858844])
def test_a_source_that_counts_anew_goes_on_in_time(jump_s: float) -> None:
    """A restart of one track, or of both, moves media time by no more than it arrives."""
    clock = ArrivalClock(("picture", "sound"))
    _run(clock, 10)
    before_s = clock.media_from_track("picture", 9.98)
    clock.observe("picture", jump_s + 10.0, 10.0)
    assert clock.media_from_track("picture", jump_s + 10.0) - before_s == pytest.approx(0.02, abs=1e-6)
    assert clock.media_from_track("sound", 9.98) == pytest.approx(before_s)
    clock.observe("sound", jump_s + 10.0, 10.0)
    assert clock.media_from_track("sound", jump_s + 10.0) == pytest.approx(before_s + 0.02, abs=1e-6)


def test_arrival_clock_waits_for_both_tracks_but_not_for_ever() -> None:
    """It settles a moment after the second track began, or when patience with it ends."""
    both = ArrivalClock(("picture", "sound"), settle_s=0.3, patience_s=1.0)
    both.observe("picture", 0, 10.0)
    assert not both.ready(10.9)
    both.observe("sound", 0, 10.9)
    assert both.ready(11.21)
    alone = ArrivalClock(("picture", "sound"), settle_s=0.3, patience_s=1.0)
    alone.observe("sound", 7, 10.0)
    assert not alone.ready(10.99)
    assert alone.ready(11.0)
    assert alone.quality.error_ms is None
    assert alone.media_from_track("sound", 7) == 0


def test_arrival_clock_takes_a_track_that_begins_late() -> None:
    """Pictures that begin after the clock has settled on sound are placed by their arrival."""
    clock = ArrivalClock(("picture", "sound"))
    clock.observe("sound", 100.0, 0.0)
    assert clock.ready(1.0)
    clock.observe("picture", 55.0, 3.0)
    assert clock.media_from_track("picture", 55.0) == pytest.approx(3.0)


def test_unready_clock_says_so() -> None:
    """Asking too early is an error of the caller."""
    with pytest.raises(RuntimeError, match="not ready"):
        ArrivalClock(("picture",)).media_from_track("picture", 0)
