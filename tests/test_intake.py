"""The connector's side of a run: what it is told besides pictures and samples, and what becomes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np
import pytest

from vision.align import Aligner
from vision.clock import ArrivalClock
from vision.frame import Frame
from vision.gaps import PictureGaps
from vision.intake import DecodedPicture, DecodedSound, Intake
from vision.stream import FrameStream, Policy
from vision.testing import make_picture

RATE_HZ = 48_000


class _Live:
    """A live source with pictures only, or with sound, whose time is made up."""

    def __init__(self, *, sound: bool = False, size: int = 10_000, policy: Policy = "latest") -> None:
        self.now_s = 100.0
        self.stream = FrameStream(size, policy, now=lambda: self.now_s)
        clock = ArrivalClock(["picture", "sound"] if sound else ["picture"])
        aligner = Aligner(live=True, expects_sound=sound)
        self.intake = Intake(clock, aligner, self.stream, now=lambda: self.now_s)

    async def pictures(self, count: int, track_s: float, **changes: Any) -> None:
        """Thirty a second; `changes` are those of the first."""
        for number in range(count):
            unit: dict[str, Any] = {"track_s": track_s + number / 30, "arrival_s": self.intake.now_s()}
            await self.intake.put(DecodedPicture(picture=make_picture(), **unit, **(changes if not number else {})))
            self.now_s += 1 / 30

    async def silence(self, seconds: float) -> None:
        """Nothing comes."""
        for _ in range(round(seconds / 0.05)):
            self.now_s += 0.05
            await self.intake._advance()

    async def frames(self) -> list[Frame]:
        """All that came out."""
        await self.intake.end()
        self.stream.close()
        return [frame async for frame in self.stream]


def _run(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(scenario())


@pytest.mark.parametrize("offset_s", [-3.0, -0.5, 0.3, 3.0, 40_000.0])
def test_after_a_restart_time_goes_on_where_it_is(offset_s: float) -> None:
    """Another connection counts from anywhere; media time goes on by what has passed, and the first picture says so."""

    async def scenario() -> None:
        live = _Live()
        await live.pictures(30, 7.0)
        await live.silence(2.0)
        await live.intake.restart("network")
        await live.silence(1.0)
        await live.pictures(30, 11.0 + offset_s)
        frames = await live.frames()
        shown = [frame for frame in frames if frame.maybe_picture is not None]
        assert [frame.index for frame in shown] == list(range(60))
        times_s = [frame.time_s for frame in frames]
        assert times_s == sorted(times_s)
        assert shown[30].time_s - shown[29].time_s == pytest.approx(3 + 1 / 30, abs=0.02)
        assert shown[-1].time_s - shown[30].time_s == pytest.approx(29 / 30)
        assert [frame.reset for frame in shown] == [None] * 30 + ["reconnect"] + [None] * 29

    _run(scenario)


def test_what_is_noted_comes_with_the_next_frame() -> None:
    """Once, with a picture or without; the gap it is in has its cause."""

    async def scenario() -> None:
        live = _Live()
        await live.pictures(30, 0.0)
        await live.intake.restart("network")
        live.intake.note("network", 3)
        await live.silence(2.0)
        await live.pictures(30, 5.0)
        frames = await live.frames()
        told = [frame for frame in frames if frame.lost_before]
        assert [dict(frame.lost_before) for frame in told] == [{"network": 3}]
        assert told[0].maybe_picture is None
        gaps = PictureGaps()
        (gap,) = [incident for frame in frames for incident in gaps.add(frame)] + list(gaps.end())
        assert gap.cause == "network"
        assert gap.end_s - gap.start_s == pytest.approx(2.0, abs=0.1)

    _run(scenario)


def test_a_note_at_the_end_of_a_run_is_told() -> None:
    """Where no picture follows, the frames without one carry it: the cause is not unknown."""

    async def scenario() -> None:
        live = _Live()
        await live.pictures(30, 0.0)
        live.intake.note("sender")
        await live.silence(2.0)
        gaps = PictureGaps()
        found = [incident for frame in await live.frames() for incident in gaps.add(frame)]
        (gap,) = found + list(gaps.end())
        assert gap.cause == "sender"

    _run(scenario)


def test_sound_goes_on_with_the_pictures_after_a_restart() -> None:
    """Both tracks begin anew at once: their relation stays, and the silence between is marked as missing."""

    async def scenario() -> None:
        live = _Live(sound=True)

        async def both(count: int, picture_s: float, sound_s: float) -> None:
            for number in range(count):
                samples = np.full(RATE_HZ // 50, 0.5, np.float32)
                at_s = live.intake.now_s()
                await live.intake.put(DecodedSound(sound_s + number / 50, at_s, samples, RATE_HZ))
                await live.intake.put(DecodedPicture(picture_s + number / 50, at_s, make_picture()))
                live.now_s += 0.02

        await both(100, 3.0, 50.0)
        await live.intake.restart("network")
        await live.silence(1.0)
        await both(100, 8.0, 50.5)
        frames = await live.frames()
        shown = [frame for frame in frames if frame.maybe_picture is not None]
        heard = np.concatenate([frame.sound.samples for frame in frames])
        missing = sum(count for frame in frames for _, count in frame.sound.missing)
        assert len(shown) == 200
        assert missing == pytest.approx(RATE_HZ, abs=0.05 * RATE_HZ)
        assert np.count_nonzero(heard) == pytest.approx(200 * RATE_HZ // 50, abs=0.05 * RATE_HZ)
        ends_s = [frame.sound.start_s + frame.sound.duration_s for frame in shown[-20:]]
        assert ends_s == pytest.approx([frame.time_s for frame in shown[-20:]], abs=0.001)

    _run(scenario)


def test_a_track_that_says_it_counts_anew_is_reset() -> None:
    """By the source itself, on the same connection; a jump of half a second would else pass for a gap."""

    async def scenario() -> None:
        live = _Live()
        await live.pictures(30, 10.0)
        await live.pictures(30, 11.5, restarted=True, lost_before={"network": 2})
        shown = [frame for frame in await live.frames() if frame.maybe_picture is not None]
        assert [frame.reset for frame in shown] == [None] * 30 + ["reconnect"] + [None] * 29
        assert [dict(frame.lost_before) for frame in shown if frame.lost_before] == [{"network": 2}]
        assert shown[30].time_s - shown[29].time_s == pytest.approx(1 / 30, abs=0.005)

    _run(scenario)


def test_a_restart_before_anything_came_is_none() -> None:
    """Nothing is lost and nothing hangs; the first picture is at zero."""

    async def scenario() -> None:
        live = _Live()
        await live.intake.restart("network")
        await live.pictures(5, 3.0)
        shown = [frame for frame in await live.frames() if frame.maybe_picture is not None]
        assert shown[0].time_s == pytest.approx(0)
        assert len(shown) == 5

    _run(scenario)


def test_what_the_queue_drops_leaves_word() -> None:
    """The next frame says how many pictures went, with what they had to say: what was lost before, and a reset."""

    async def scenario() -> None:
        live = _Live(size=2)
        await live.pictures(3, 0.0, lost_before={"network": 4})
        await live.intake.restart("sender")
        await live.pictures(4, 50.0)
        frames = await live.frames()
        assert [frame.index for frame in frames] == [5, 6]
        assert [dict(frame.lost_before) for frame in frames] == [{"overload": 5, "network": 4, "sender": 0}, {}]
        assert [frame.reset for frame in frames] == ["reconnect", None]
        assert live.stream.statistics().dropped == 5

    _run(scenario)


def test_a_frame_without_a_picture_that_is_dropped_is_no_overload() -> None:
    """There was no picture to lose; what it had to say goes on."""

    async def scenario() -> None:
        live = _Live(size=1)
        await live.pictures(1, 0.0)
        live.intake.note("network")
        await live.silence(0.4)
        await live.pictures(1, 0.5)
        (frame,) = await live.frames()
        assert dict(frame.lost_before) == {"overload": 1, "network": 0}

    _run(scenario)


def test_while_pictures_are_expected_no_frame_goes_out_without_one() -> None:
    """The connector holds them back for what is missing before them."""

    async def scenario() -> None:
        live = _Live()
        await live.pictures(10, 0.0)
        live.intake.expecting = True
        await live.silence(1.0)
        assert live.stream.statistics().waiting == 10
        live.intake.expecting = False
        await live.silence(0.3)
        assert live.stream.statistics().waiting > 10

    _run(scenario)


@pytest.mark.parametrize("time_s", [float("nan"), float("inf")])
def test_times_must_be_numbers(time_s: float) -> None:
    """What a connector computes wrongly is said at once."""

    async def scenario() -> None:
        live = _Live()
        with pytest.raises(ValueError, match="a unit at the time"):
            await live.intake.put(DecodedPicture(time_s, 0.0, make_picture()))

    _run(scenario)


def test_what_waited_while_the_loop_was_held_up_says_so() -> None:
    """Pictures that came right behind it, and no others; a tick that is a little late is none."""

    async def scenario() -> None:
        live = _Live()

        async def ticked(seconds: float) -> None:
            ticking = asyncio.create_task(live.intake.tick())
            await asyncio.sleep(0)
            live.now_s += seconds
            await asyncio.sleep(0.06)  # its own is 0.05 s
            ticking.cancel()

        await live.pictures(6, 7.0)
        await ticked(0.4)
        await live.pictures(15, 7.6)
        await ticked(0.09)
        await live.pictures(3, 8.2)
        shown = [frame for frame in await live.frames() if frame.maybe_picture is not None]
        told = [frame.transport.get("held_up_ms") for frame in shown]
        assert told[6:9] == [pytest.approx(350)] * 3
        assert set(told[:6] + told[10:]) == {None}
        assert len(told) == 24

    _run(scenario)
