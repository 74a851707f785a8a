"""Whole runs whose source fails: recovered or not, with the gap, its cause, the facts, and the slot free each time."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.connectors.failing import SESSION, Failing, Plays, Refuses, Service
from tests.connectors.support import TOKEN, checked, prepared, run_clean, until
from vision.config import RunOptions
from vision.connectors import avatar
from vision.connectors.peer import PeerOptions
from vision.runner import Outcome, Run
from vision.simulator.process import launched
from vision.simulator.settings import SimulatorSettings

STALL_S, RECOVERY_S = 0.7, 2.5
OPTIONS = f"stall_s: {STALL_S}, recovery_timeout_s: {RECOVERY_S}"
PROCESSORS = "processors: [{use: 'tests.connectors.failing:ResetsProcessor', name: resets}]\n"


@dataclass(slots=True)
class Played:
    """A run, what it left, and how the server saw it."""

    outcome: Outcome
    folder: Path
    whep: Failing

    @property
    def facts(self) -> dict[str, Any]:
        """What run.json says of the source."""
        found: dict[str, Any] = json.loads((self.folder / "run.json").read_text())["source"]
        return found

    @property
    def recoveries(self) -> list[dict[str, Any]]:
        """The losses."""
        found: list[dict[str, Any]] = self.facts["recoveries"]
        return found

    @property
    def records(self) -> list[dict[str, Any]]:
        """Those with a picture."""
        records = [json.loads(line) for line in (self.folder / "frames.jsonl").read_text().splitlines()]
        return [record for record in records if record["index"] is not None]

    @property
    def gaps(self) -> list[dict[str, Any]]:
        """The incidents that are gaps."""
        incidents = [json.loads(line) for line in (self.folder / "incidents.jsonl").read_text().splitlines()]
        return [incident for incident in incidents if incident["kind"] == "no_picture"]


@asynccontextmanager
async def service_of(*acts: Plays | Refuses) -> AsyncIterator[Service]:
    """The session API, and WHEP behind it."""
    service = Service(Failing(*acts))
    async with service.server:
        try:
            yield service
        finally:
            await service.whep.close()


def whep_run(folder: Path, service: Service, more: str = "") -> Run:
    """A run from the WHEP server alone."""
    source = f"source: {{use: whep, url: '{service.server.url}/whep/session/1', {OPTIONS}}}\n"
    return prepared(folder, source + PROCESSORS + more)


def avatar_run(folder: Path, service: Service, own: bool, more: str = "") -> Run:
    """A run from the session API."""
    session = f"admin_ks: {TOKEN}, visual_id: 24hex" if own else f"session_id: {SESSION}, token: {TOKEN}"
    source = f"source: {{use: avatar, base_url: '{service.server.url}', {session}, {OPTIONS}}}\n"
    return prepared(folder, source + PROCESSORS + more)


def played(
    folder: Path,
    *acts: Plays | Refuses,
    more: str = "",
    own: bool | None = None,
    before: Callable[[Service], None] = lambda _: None,
) -> Played:
    """Carry a run out: from WHEP alone, or (`own` or not) from the session API."""

    async def scenario() -> Played:
        async with service_of(*acts) as service:
            before(service)
            run = whep_run(folder, service, more) if own is None else avatar_run(folder, service, own, more)
            outcome = await run.execute()
            assert sorted(service.whep.deleted) == sorted(service.whep.opened), "a slot was not released"
            assert service.calls["end"] == (1 if own else 0)
            return Played(outcome, folder / "out", service.whep)

    return run_clean(scenario(), limit_s=40)


def test_a_stall_that_is_recovered_from(tmp_path: Path) -> None:
    """A sender that stops while it is connected: the slot is released, taken again, and the gap is the sender's."""
    run = played(tmp_path, Plays(1, "stalls"), Plays(), more="run: {duration_s: 4}\n")
    assert (run.outcome.exit_status, run.outcome.reason) == (0, "duration reached")
    assert (len(run.whep.opened), run.facts["connections"]) == (2, 2)
    (recovery,) = run.recoveries
    assert recovery["cause"] == "sender"
    assert 0 < recovery["took_s"] < RECOVERY_S
    (gap,) = run.gaps
    assert gap["cause"] == "sender"
    assert gap["start_s"] == pytest.approx(1, abs=0.1)
    assert STALL_S < gap["end_s"] - gap["start_s"] < STALL_S + RECOVERY_S
    times_s = [record["time_s"] for record in run.records]
    assert times_s == sorted(times_s)
    assert times_s[-1] == pytest.approx(4, abs=0.1)


def test_processors_are_told(tmp_path: Path) -> None:
    """Each is reset once, before the first picture of the other connection."""
    run = played(tmp_path, Plays(1, "stalls"), Plays(), more="run: {duration_s: 5}\n")
    resets = [record["resets"] for record in run.records]
    (gap,) = run.gaps
    for record, counted in zip(run.records, resets, strict=True):
        after = record["time_s"] > gap["start_s"] + 0.01
        assert counted == {"resets": int(after), "reconnects": int(after)}
    assert resets[-1]["reconnects"] == 1


@pytest.mark.parametrize("how", ["closes", "says bye"])
def test_a_sender_that_leaves_and_comes_back(tmp_path: Path, how: Any) -> None:
    """Closed in order before the run is over: it is taken again when it is there again."""
    run = played(tmp_path, Plays(1, how), Refuses(404), Plays(), more="run: {duration_s: 4}\n")
    assert (run.outcome.exit_status, run.outcome.reason) == (0, "duration reached")
    (recovery,) = run.recoveries
    assert recovery["cause"] == "sender"
    assert "closed by the sender" in recovery["reason"]
    (gap,) = run.gaps
    assert gap["cause"] == "sender"


@pytest.mark.parametrize(("how", "status", "waits_s"), [("closes", 404, 0.0), ("says bye", 410, 0.6)])
def test_an_orderly_end(tmp_path: Path, how: Any, status: int, waits_s: float) -> None:
    """Closed in order and gone, where the run takes what comes: a good end, without a gap.

    After a BYE some senders go on, so that half a second passes before it is believed.
    """
    run = played(tmp_path, Plays(1, how), Refuses(status))
    assert (run.outcome.exit_status, run.outcome.reason) == (0, "closed by the sender")
    assert run.recoveries == []
    assert all(gap["end_s"] - gap["start_s"] <= waits_s for gap in run.gaps)
    assert len(run.records) >= 24


def test_an_orderly_end_of_a_sender_that_takes_viewers_still(tmp_path: Path) -> None:
    """It is connected to again, but nothing comes: after the time for that, it was a good end."""
    run = played(tmp_path, Plays(1, "closes"), Plays(0, "stalls"))
    assert (run.outcome.exit_status, run.outcome.reason) == (0, "closed by the sender")
    assert len(run.whep.opened) == 2
    assert run.gaps == []


def test_an_orderly_end_too_early(tmp_path: Path) -> None:
    """The same before the run is over is a loss: status 3."""
    run = played(tmp_path, Plays(1, "closes"), Refuses(404), more="run: {duration_s: 60}\n")
    assert run.outcome.exit_status == 3
    message = checked(run.outcome.error or "")
    assert "closed by the sender" in message
    assert f"not back within {RECOVERY_S:g} s" in message
    assert ": 404: " in message


def test_a_sender_that_vanishes(tmp_path: Path) -> None:
    """Gone without a word and not to be connected to again: status 3, what came is kept, the gap is noted."""
    run = played(tmp_path, Plays(1, "vanishes"), Refuses(404))
    assert run.outcome.exit_status == 3
    assert f"not back within {RECOVERY_S:g} s" in checked(run.outcome.error or "")
    assert len(run.records) >= 20
    (gap,) = run.gaps
    assert gap["cause"] == run.recoveries[0]["cause"]
    assert run.recoveries[0]["took_s"] is None


def test_pictures_that_do_not_come_back(tmp_path: Path) -> None:
    """Sound alone is no recovery where there were pictures: status 3."""
    run = played(tmp_path, Plays(1, "stalls"), Plays(with_pictures=False))
    assert run.outcome.exit_status == 3
    assert "nothing came" in checked(run.outcome.error or "")


def test_no_recovery_where_none_is_wanted(tmp_path: Path) -> None:
    """`recovery_timeout_s: 0`: the first stall is the end."""

    async def scenario() -> None:
        async with service_of(Plays(1, "stalls"), Plays()) as service:
            source = f"{{use: whep, url: '{service.server.url}/whep/1', stall_s: {STALL_S}, recovery_timeout_s: 0}}"
            outcome = await prepared(tmp_path, f"source: {source}\n").execute()
            assert outcome.exit_status == 3
            assert "not back" not in checked(outcome.error or "")
            assert len(service.whep.opened) == len(service.whep.deleted) == 1

    run_clean(scenario())


def test_the_stall_timeout_is_the_last_word(tmp_path: Path) -> None:
    """Where it is shorter than the recovery, it ends that."""
    run = played(tmp_path, Plays(1, "stalls"), Refuses(404), more="run: {stall_timeout_s: 1.5}\n")
    assert run.outcome.exit_status == 3
    message = checked(run.outcome.error or "")
    assert f"nothing has come for 1.5 s (run.stall_timeout_s); it began with: {run.recoveries[0]['reason']}" in message


@pytest.mark.parametrize("acts", [(Refuses(404),), (Plays(0, "stalls"),)], ids=["pausing", "trying"])
def test_an_interrupted_recovery(tmp_path: Path, acts: tuple[Plays | Refuses, ...]) -> None:
    """Stopped while it recovers: status 130 at once, and every slot is free."""

    async def scenario() -> None:
        async with service_of(Plays(1, "stalls"), *acts) as service:
            run = whep_run(tmp_path, service)
            running = asyncio.create_task(run.execute())
            await until(lambda: service.whep.posts >= 2)
            await asyncio.sleep(0.3)
            run.stop()
            async with asyncio.timeout(4):  # letting go takes its time where the other side is gone
                outcome = await running
            assert outcome.exit_status == 130
            assert sorted(service.whep.deleted) == sorted(service.whep.opened)

    run_clean(scenario())


def test_a_session_is_asked_anew_where_its_media_are(tmp_path: Path) -> None:
    """Where the WHEP endpoint knows nothing any more, init-client says where the media are now."""

    def before(service: Service) -> None:
        service.refused_paths.add("/whep/session/1")

    run = played(tmp_path, Plays(1, "stalls"), Plays(), own=False, before=before, more="run: {duration_s: 3.5}\n")
    assert run.outcome.exit_status == 0, run.outcome.error
    assert [target.rpartition("/viewer/")[0] for target in run.whep.opened] == ["/whep/session/1", "/whep/session/2"]


@pytest.mark.parametrize("own", [True, False])
def test_init_client_is_not_asked_without_need(tmp_path: Path, own: bool) -> None:
    """It is not idempotent: where the media are where they were, the same URL serves again."""
    run = played(tmp_path, Plays(1, "stalls"), Plays(), own=own, more="run: {duration_s: 3}\n")
    assert run.outcome.exit_status == 0, run.outcome.error
    assert {target.rpartition("/viewer/")[0] for target in run.whep.opened} == {"/whep/session/1"}


def test_a_session_of_its_own_that_was_forgotten(tmp_path: Path) -> None:
    """A service that has lost the session gets another one, where it was ours to create; that one is ended."""

    async def scenario() -> None:
        async with service_of(Plays(1, "stalls"), Plays()) as service:
            service.refused_paths.add("/whep/session/1")
            service.once["init-client", 2] = 404
            outcome = await avatar_run(tmp_path, service, True, "run: {duration_s: 3.5}\n").execute()
            assert outcome.exit_status == 0, outcome.error
            assert (service.calls["create"], service.calls["init-client"], service.calls["end"]) == (2, 3, 1)
            (end,) = [request for request in service.server.requests if request.target.endswith("/end")]
            assert f"/{SESSION}2/" in end.target

    run_clean(scenario())


@pytest.mark.parametrize(("duration", "status"), [("", 0), ("run: {duration_s: 60}\n", 3)])
def test_a_session_that_has_ended(tmp_path: Path, duration: str, status: int) -> None:
    """410 from the session API: over at once; a good end, unless more was asked for."""

    def before(service: Service) -> None:
        service.refused_paths.add("/whep/session/1")
        service.once["init-client", 2] = 410

    run = played(tmp_path, Plays(1, "stalls"), own=False, before=before, more=duration)
    assert run.outcome.exit_status == status
    assert "the session has ended" in (checked(run.outcome.error) if run.outcome.error else run.outcome.reason)
    assert run.recoveries[0]["took_s"] is None


@pytest.mark.parametrize(("duration", "status"), [("", 0), ("run: {duration_s: 60}\n", 3)])
def test_the_limit_of_a_session(tmp_path: Path, duration: str, status: int) -> None:
    """Reached, the run ends in good order, with its own session ended; a loss only where more was asked for."""

    async def scenario() -> None:
        async with service_of(Plays()) as service:
            session = f"admin_ks: {TOKEN}, visual_id: 24hex, session_limit_s: 1.5"
            source = f"source: {{use: avatar, base_url: '{service.server.url}', {session}}}\n"
            outcome = await prepared(tmp_path, source + duration).execute()
            assert outcome.exit_status == status
            assert "session limit reached" in (checked(outcome.error) if outcome.error else outcome.reason)
            assert service.whep.deleted == service.whep.opened
            assert service.calls["end"] == 1

    run_clean(scenario())


def test_a_session_that_keep_alive_says_has_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stream is left, though media come still; the slot is free."""
    monkeypatch.setattr(avatar, "_KEEP_ALIVE_S", 0.5)

    def before(service: Service) -> None:
        service.once["keep-alive", 3] = 410

    run = played(tmp_path, Plays(), own=False, before=before)
    assert (run.outcome.exit_status, run.outcome.reason) == (0, "the session has ended")
    assert run.recoveries == []


def test_the_defaults_leave_time_to_recover() -> None:
    """A stall is noticed, and there is the whole time for recovering, before the run's own limit is reached."""
    options = PeerOptions()
    assert RunOptions().stall_timeout_s >= options.stall_s + options.recovery_timeout_s + 1


@pytest.mark.slow
def test_the_simulator_ends_the_session(tmp_path: Path) -> None:
    """Ended by somebody else while it streams: the viewer is cut off, and the API's word is the end. Status 0."""

    async def scenario() -> None:
        async with launched(SimulatorSettings(size=(160, 120)), None) as service:
            async with httpx.AsyncClient(trust_env=False, base_url=f"{service.url}/v1/avatar-session") as client:
                ks = {"Authorization": f"KS {service.admin_ks}"}
                created = await client.post("/create", headers=ks, json={"visualConfig": {"id": "0"}})
                session = created.json()
                source = (
                    f"source: {{use: avatar, base_url: '{service.url}', session_id: {session['sessionId']},"
                    f" token: {session['token']}}}\n"
                )
                run = prepared(tmp_path, source)
                running = asyncio.create_task(run.execute())
                await until(lambda: run.latest or running.done())
                bearer = {"Authorization": f"Bearer {session['token']}"}
                await client.post(f"/{session['sessionId']}/end", headers=bearer)
                outcome = await running
            assert outcome.exit_status == 0, outcome.error
            assert outcome.reason == "closed by the sender"

    run_clean(scenario(), limit_s=60)


@pytest.mark.slow
def test_the_simulator_is_killed(tmp_path: Path) -> None:
    """The process behind everything dies: nothing to come back to; status 3 in time, with what happened."""

    async def scenario() -> None:
        async with launched(SimulatorSettings(size=(160, 120)), None) as service:
            source = (
                f"source: {{use: avatar, base_url: '{service.url}', admin_ks: {service.admin_ks}, visual_id: v,"
                f" {OPTIONS}}}\n"
            )
            run = prepared(tmp_path, source)
            running = asyncio.create_task(run.execute())
            await until(lambda: run.latest or running.done())
            os.kill(service.pid, signal.SIGKILL)
            outcome = await running
            assert outcome.exit_status == 3
            message = checked(outcome.error or "")
            assert f"not back within {RECOVERY_S:g} s" in message
            assert "cannot be reached" in message

    run_clean(scenario(), limit_s=60)
