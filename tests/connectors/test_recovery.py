"""Lost and found: what is tried after a loss, how long, and how it ends; on scripted connections, without waiting."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest

from tests.connectors.hurried import run_hurried
from tests.connectors.support import checked
from vision.align import Aligner
from vision.clock import ArrivalClock
from vision.connectors.recovery import MediaLostError, RefusedError, recovering
from vision.errors import SourceError
from vision.frame import Cause, Frame, Picture
from vision.gaps import PictureGaps
from vision.incidents import Incident
from vision.intake import DecodedPicture, Intake
from vision.stream import FrameStream

FPS = 25
PICTURE = Picture(np.zeros((2, 2), np.uint8), np.zeros((1, 1), np.uint8), np.zeros((1, 1), np.uint8))
STALLED = "webrtc: nothing has come for 4 s"
CLOSED = "webrtc: closed by the sender"

Act = Callable[["Scene"], Awaitable[str]]


class Scene:
    """Connections that do what they are told, one after the other; the last of them again and again."""

    def __init__(self, *acts: Act, timeout_s: float = 15, open_ended: bool = True) -> None:
        self.now = asyncio.get_running_loop().time
        self.stream = FrameStream(10_000, "latest")
        self.intake = Intake(
            ArrivalClock(["picture"]), Aligner(live=True, expects_sound=False), self.stream, now=self.now
        )
        self._acts, self._timeout_s, self._open_ended = acts, timeout_s, open_ended
        self.begun_s: list[float] = []
        self.released = 0

    async def play(self) -> str:
        """How it ended."""
        ticking = asyncio.create_task(self.intake.tick())
        try:
            return await recovering(self._attempt, self.intake, timeout_s=self._timeout_s, open_ended=self._open_ended)
        finally:
            ticking.cancel()
            await asyncio.wait([ticking])
            await self.intake.end()
            self.stream.close()

    async def fail(self) -> str:
        """The message with which it ended."""
        with pytest.raises(SourceError) as caught:
            await self.play()
        return checked(str(caught.value))

    async def frames(self) -> list[Frame]:
        """All that came out."""
        return [frame async for frame in self.stream]

    async def _attempt(self) -> str:
        self.begun_s.append(self.intake.now_s())
        act = self._acts[min(len(self.begun_s), len(self._acts)) - 1]
        try:
            return await act(self)
        finally:
            self.released += 1


def streams(seconds: float, then: Act) -> Act:
    """Pictures, evenly, whose track begins anew with each connection; then something else."""

    async def act(scene: Scene) -> str:
        for index in range(round(seconds * FPS)):
            now_s = scene.intake.now_s()
            await scene.intake.put(DecodedPicture(index / FPS, now_s, PICTURE))
            await asyncio.sleep(1 / FPS)
        return await then(scene)

    return act


def loses(message: str, cause: Cause, *, orderly: bool = False, after_s: float = 0.0) -> Act:
    """The connection is of no more use."""

    async def act(_: Scene) -> str:
        await asyncio.sleep(after_s)
        raise MediaLostError(message, cause, orderly=orderly)

    return act


def fails(error: SourceError) -> Act:
    """No connection."""

    async def act(_: Scene) -> str:
        raise error

    return act


async def hangs(_: Scene) -> str:
    """Neither a connection nor an error."""
    await asyncio.Event().wait()
    raise AssertionError


async def is_over(_: Scene) -> str:
    """An end that is nobody's fault."""
    return "over"


def refuses(status: int) -> Act:
    """A server that says no."""
    return fails(RefusedError(f"whep: {status}", status))


stall = loses(STALLED, "sender", after_s=4)
bye = loses(CLOSED, "sender", orderly=True)


def incidents_of(frames: list[Frame]) -> list[Incident]:
    """The gaps in what came out."""
    gaps = PictureGaps()
    return [incident for frame in frames for incident in gaps.add(frame)] + list(gaps.end())


@pytest.mark.parametrize("cause", ["sender", "network"])
def test_a_loss_that_is_recovered_from(cause: Cause) -> None:
    """Negotiated again at once; the gap has its cause, the first picture afterwards says so, the facts count it."""

    async def scenario() -> None:
        scene = Scene(streams(2, loses("webrtc: the path was lost", cause, after_s=4)), streams(2, is_over))
        assert await scene.play() == "over"
        assert scene.begun_s == pytest.approx([0, 6], abs=0.05)
        assert scene.released == 2
        assert scene.intake.facts["connections"] == 2
        (recovery,) = scene.intake.facts["recoveries"]
        assert recovery == {
            "at_s": pytest.approx(6, abs=0.05),
            "cause": cause,
            "reason": "webrtc: the path was lost",
            "took_s": pytest.approx(0, abs=0.2),
        }
        frames = await scene.frames()
        pictures = [frame for frame in frames if frame.maybe_picture is not None]
        assert len(pictures) == 100
        assert [frame.index for frame in pictures if frame.reset == "reconnect"] == [50]
        (incident,) = incidents_of(frames)
        assert (incident.kind, incident.cause) == ("no_picture", cause)
        assert incident.end_s - incident.start_s == pytest.approx(4, abs=0.2)
        assert incident.evidence["pictures_missing"] == pytest.approx(100, abs=5)

    run_hurried(scenario())


def test_the_pauses_grow_and_are_bounded() -> None:
    """At once, then after 1 s, then every 2 s; over after 15 s, saying what was lost and tried."""

    async def scenario() -> None:
        scene = Scene(streams(1, stall), fails(SourceError("whep: cannot be reached")))
        message = await scene.fail()
        assert scene.begun_s == pytest.approx([0, 5, 6, 8, 10, 12, 14, 16, 18], abs=0.1)
        assert scene.intake.now_s() == pytest.approx(20, abs=0.1)
        assert message == (
            f"{STALLED}; not back within 15 s (recovery_timeout_s; 8 tries, the last: whep: cannot be reached)"
        )
        assert scene.intake.facts["recoveries"][0]["took_s"] is None
        assert scene.intake.facts["connections"] == 1

    run_hurried(scenario())


def test_a_connection_that_brings_nothing_is_given_up_in_time() -> None:
    """A try that neither fails nor brings media is cancelled, and lets go, when the time is over."""

    async def scenario() -> None:
        scene = Scene(streams(1, stall), hangs)
        assert "not back within 15 s (recovery_timeout_s; 1 try, the last: nothing came)" in await scene.fail()
        assert scene.intake.now_s() == pytest.approx(20, abs=0.1)
        assert scene.released == 2

    run_hurried(scenario())


def test_media_within_the_time_are_enough() -> None:
    """Once media come, the time is no longer counted; a second loss has a time of its own."""

    async def scenario() -> None:
        scene = Scene(streams(1, stall), fails(SourceError("no")), streams(30, stall), streams(1, is_over))
        assert await scene.play() == "over"
        assert scene.intake.facts["connections"] == 3
        assert [entry["took_s"] for entry in scene.intake.facts["recoveries"]] == pytest.approx([1, 0], abs=0.2)

    run_hurried(scenario())


def test_losing_again_and_again_is_no_hammering() -> None:
    """Connections that are lost as soon as they bring something are followed by pauses like failed ones."""

    async def scenario() -> None:
        brief = streams(0.2, loses("webrtc: the path was lost", "network"))
        scene = Scene(*[brief] * 6, streams(1, is_over))
        assert await scene.play() == "over"
        pauses_s = np.diff(scene.begun_s) - 0.2
        assert pauses_s == pytest.approx([0, 1, 2, 2, 2, 2], abs=0.1)
        assert scene.intake.facts["connections"] == 7

    run_hurried(scenario())


def test_a_loss_before_anything_came() -> None:
    """A connection over which nothing ever came is tried again as well."""

    async def scenario() -> None:
        scene = Scene(stall, streams(1, is_over))
        assert await scene.play() == "over"
        assert scene.intake.facts["connections"] == 1

    run_hurried(scenario())


@pytest.mark.parametrize("act", [refuses(404), fails(SourceError("webrtc: no connection within 10 s"))])
def test_a_first_connection_that_does_not_come_about_is_the_error(act: Act) -> None:
    """There is nothing to recover: it is said at once."""

    async def scenario() -> None:
        scene = Scene(act)
        assert await scene.fail() in ("whep: 404", "webrtc: no connection within 10 s")
        assert len(scene.begun_s) == 1
        assert scene.intake.facts["recoveries"] == []

    run_hurried(scenario())


@pytest.mark.parametrize(
    ("status", "open_ended", "reason", "ends_s"),
    [
        (404, True, "closed by the sender", 1),
        (409, True, "closed by the sender", 1),
        (410, True, "closed by the sender", 1),
        (410, False, "closed by the sender", 1),
        (503, True, "closed by the sender", 16),
    ],
)
def test_an_orderly_end(status: int, open_ended: bool, reason: str, ends_s: float) -> None:
    """A sender that says goodbye and is not there any more has ended: no loss, and no gap."""

    async def scenario() -> None:
        scene = Scene(streams(1, bye), refuses(status), open_ended=open_ended)
        assert await scene.play() == reason
        assert scene.intake.now_s() == pytest.approx(ends_s, abs=0.1)
        assert scene.intake.facts["recoveries"] == []
        frames = await scene.frames()
        assert len([frame for frame in frames if frame.maybe_picture is not None]) == FPS
        assert incidents_of(frames) == []

    run_hurried(scenario())


def test_an_orderly_end_before_the_run_is_over() -> None:
    """Where more is asked for, it is waited for; a sender that comes back is taken again."""

    async def scenario() -> None:
        scene = Scene(streams(1, bye), refuses(404), refuses(409), streams(1, is_over), open_ended=False)
        assert await scene.play() == "over"
        (recovery,) = scene.intake.facts["recoveries"]
        assert recovery["took_s"] == pytest.approx(3, abs=0.2)
        (incident,) = incidents_of(await scene.frames())
        assert incident.cause == "sender"

    run_hurried(scenario())


def test_an_orderly_end_too_early_is_a_loss() -> None:
    """Where more is asked for, and it does not come back in time, it is lost."""

    async def scenario() -> None:
        message = await Scene(streams(1, bye), refuses(404), open_ended=False).fail()
        assert message.startswith(f"{CLOSED}; not back within 15 s")
        assert message.endswith("8 tries, the last: whep: 404)")

    run_hurried(scenario())


def test_an_ended_session_is_over_at_once() -> None:
    """410: there is nothing to wait for."""

    async def scenario() -> None:
        scene = Scene(streams(1, stall), refuses(410))
        assert await scene.play() == "the session has ended"
        assert scene.intake.now_s() == pytest.approx(5, abs=0.1)

    run_hurried(scenario())


@pytest.mark.parametrize("status", [401, 403])
def test_a_token_that_has_expired_meanwhile(status: int) -> None:
    """Asking again helps nobody: it is lost at once, and the message says why."""

    async def scenario() -> None:
        scene = Scene(streams(1, stall), refuses(status))
        assert await scene.fail() == f"{STALLED}; another connection is refused: whep: {status}"
        assert scene.intake.now_s() == pytest.approx(5, abs=0.1)

    run_hurried(scenario())


@pytest.mark.parametrize(
    ("act", "ends"), [(stall, STALLED), (bye, "closed by the sender")], ids=["a stall", "a goodbye"]
)
def test_no_recovery_where_none_is_wanted(act: Act, ends: str) -> None:
    """`recovery_timeout_s: 0`: one connection, and what happens to it is the end."""

    async def scenario() -> None:
        scene = Scene(streams(1, act), streams(1, is_over), timeout_s=0, open_ended=False)
        try:
            end = await scene.play()
        except SourceError as error:
            end = str(error)
        assert end == ends
        assert len(scene.begun_s) == 1

    run_hurried(scenario())


def test_letting_go_counts() -> None:
    """The time is counted from the loss, not from when the lost connection was let go."""

    async def scenario() -> None:
        error = MediaLostError(STALLED, "network")
        error.noticed_s = time.monotonic() - 6

        async def lost(_: Scene) -> str:
            raise error

        scene = Scene(streams(10, lost), hangs)
        await scene.fail()
        assert scene.intake.now_s() == pytest.approx(10 + 15 - 6, abs=0.2)
        assert scene.intake.facts["recoveries"][0]["at_s"] == pytest.approx(10 - 6, abs=0.1)

    run_hurried(scenario())


@pytest.mark.parametrize("when_s", [0.5, 5.5, 7.0], ids=["streaming", "in a pause", "in a try"])
def test_an_interruption_ends_it_at_once(when_s: float) -> None:
    """Cancelled while it streams, waits or tries: over at once, and whatever was open has been let go."""

    async def scenario() -> None:
        scene = Scene(streams(1, stall), fails(SourceError("no")), hangs)
        playing = asyncio.create_task(scene.play())
        await asyncio.sleep(when_s)
        begun = len(scene.begun_s)
        playing.cancel()
        before_s = scene.now()
        with pytest.raises(asyncio.CancelledError):
            await playing
        assert scene.now() - before_s < 0.1
        assert scene.released == len(scene.begun_s) == begun

    run_hurried(scenario())


def test_letting_go_is_not_interrupted_by_the_end_of_the_time() -> None:
    """A try that takes long to let go is waited for: its slot must be free before this returns."""
    released: list[float] = []

    async def slow_to_go(scene: Scene) -> str:
        try:
            return await hangs(scene)
        finally:
            await asyncio.sleep(3)
            released.append(scene.intake.now_s())

    async def scenario() -> None:
        scene = Scene(streams(1, stall), slow_to_go)
        await scene.fail()
        assert released == pytest.approx([23], abs=0.1)

    run_hurried(scenario())


def test_what_a_connection_raises_beside_is_passed_on() -> None:
    """A defect is no loss: it is not tried again."""

    async def broken(_: Scene) -> Any:
        raise ZeroDivisionError

    async def scenario() -> None:
        scene = Scene(streams(1, stall), broken)
        with pytest.raises(ZeroDivisionError):
            await scene.play()

    run_hurried(scenario())
