"""Track time to media time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision.clock import ArrivalClock, FileClock

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
    """Tracks whose times have nothing to do with each other are related within the stated error."""
    clock = ArrivalClock(("picture", "sound"))
    least = {"picture": min(picture_jitter), "sound": min(sound_jitter)}
    for i in range(min(len(picture_jitter), len(sound_jitter))):
        clock.observe("picture", picture_zero + i / 30, i / 30 + picture_jitter[i])
        clock.observe("sound", sound_zero + i / 50, i / 50 + sound_jitter[i])
        clock.ready(i / 30)
    clock.settle()
    same_moment = clock.media_from_track("sound", sound_zero + 1) - clock.media_from_track("picture", picture_zero + 1)
    assert clock.quality.kind == "arrival"
    assert clock.quality.error_ms is not None
    seen_error_s = abs(same_moment) - abs(least["picture"] - least["sound"])
    assert seen_error_s <= clock.quality.error_ms / 1000 + 0.08 + 1e-4
    assert clock.media_from_track("picture", picture_zero) == pytest.approx(0, abs=1e-6)


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
