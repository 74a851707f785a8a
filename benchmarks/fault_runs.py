"""Runs in which faults are planted, carried out by `vision run`, each in a process of its own."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks.fault_planting import LEAD_S, Incident, Session
from vision.children import child_environment, python_command

__all__ = ["Outcome", "carried_out"]

_LEAST_PACE = 0.97
_LONGEST_STALL_S = 0.15  # a machine that lets a program wait for longer makes pictures late by itself
_TICK_S = 0.02


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a session came to.

    :ivar dropped: pictures for which there was no time.
    :ivar pace: seconds of media in a second.
    :ivar stall_s: the longest that a program had to wait for its turn meanwhile.
    """

    session: Session
    incidents: tuple[Incident, ...]
    dropped: int
    pace: float
    stall_s: float = 0.0
    error: str | None = None

    @property
    def is_sound(self) -> bool:
        """Whether the machine kept up."""
        kept_up = self.pace >= _LEAST_PACE and self.stall_s <= _LONGEST_STALL_S
        return self.error is None and self.dropped == 0 and kept_up


async def carried_out(
    wanted: Sequence[Session], *, jobs: int, tries: int, tell: Callable[[Outcome], object]
) -> list[Outcome]:
    """Carry sessions out, `jobs` side by side, each again where the machine did not keep up; `tell` hears of each."""
    room = asyncio.Semaphore(jobs)

    async def one(session: Session, folder: Path) -> Outcome:
        for _ in range(tries):
            async with room:
                outcome = await _carried_out(session, folder)
            tell(outcome)
            if outcome.is_sound:
                break
        return outcome

    with tempfile.TemporaryDirectory() as folder:
        return list(await asyncio.gather(*(one(session, Path(folder)) for session in wanted)))


async def _carried_out(session: Session, folder: Path) -> Outcome:
    name = f"{session.group}-{session.seed}"
    out = Path(tempfile.mkdtemp(prefix=name, dir=folder))
    path = out / "run.yaml"
    path.write_text(yaml.safe_dump(session.config()))
    command = python_command("-m", "vision", "run", str(path), "--out", str(out / "out"))
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe, env=child_environment())
    try:
        communicating = asyncio.create_task(process.communicate())
        stall_s = await _longest_stall_s(communicating)
        _, complaints = communicating.result()
    finally:
        if process.returncode is None:
            process.terminate()
    if process.returncode:
        last = complaints.decode(errors="replace").strip().splitlines()[-1:]
        return Outcome(session, (), 0, 0.0, stall_s, f"status {process.returncode}: {''.join(last)}")
    return dataclasses.replace(_read(session, out / "out"), stall_s=round(stall_s, 3))


async def _longest_stall_s(until: asyncio.Future[Any]) -> float:
    """By how much a clock that ticks meanwhile was late at most; not in the first seconds, in which a run starts."""
    loop = asyncio.get_running_loop()
    begun_s, longest_s = loop.time(), 0.0
    while not until.done():
        asleep_s = loop.time()
        await asyncio.sleep(_TICK_S)
        if asleep_s - begun_s > LEAD_S:
            longest_s = max(longest_s, loop.time() - asleep_s - _TICK_S)
    return longest_s


def _read(session: Session, folder: Path) -> Outcome:
    records = [json.loads(line) for line in (folder / "frames.jsonl").read_text().splitlines()]
    pictures = [record for record in records if record["index"] is not None]
    first, last = pictures[0], pictures[-1]
    took_s = last["arrival_s"] - first["arrival_s"]
    found = [json.loads(line) for line in (folder / "incidents.jsonl").read_text().splitlines()]
    keys = ("kind", "cause", "start_s", "end_s", "evidence")
    return Outcome(
        session=session,
        incidents=tuple(Incident(*(one[key] for key in keys)) for one in found),
        dropped=json.loads((folder / "summary.json").read_text())["queue"]["dropped"],
        pace=round((last["time_s"] - first["time_s"]) / took_s, 3) if took_s > 0 else 0.0,
    )
