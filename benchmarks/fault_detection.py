"""Whether faults are found, when they began and ended, and whose they were: every kind that the simulator can plant.

    python -m benchmarks.fault_detection [--trials 20] [--groups picture sound ...] [--jobs 2] [--json FILE]

Each kind is planted so many times, at seeded moments and for seeded lengths, through real WebRTC. Faults of a group
share runs of some two minutes, apart from each other; those that need a voice are planted where the avatar speaks. What
is planted is held against incidents.jsonl:

found      an incident of the kind that is expected overlaps the fault
false      an incident of that kind where neither it nor anything it follows from was planted
start, end of the incident less those of the fault: median, and the share within 100 ms

The faults in sender reports are what other senders do. Where pictures are sent late and reports say so, the sender's
relation of sound to picture slips at the beginning and at the end: each is to be found. Reports that do not come, a
wall clock that is set for both tracks, a clock of the sound that runs away by 5 ms: no viewer could tell, and they must
cause no incident.

A run in which the machine did not keep up is repeated, and left out of the table if it never does: pictures were
dropped by the queue, the simulator fell behind, or a clock that ticks meanwhile was late itself. Exits with status 1
where a verdict is negative.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import math
import random
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import yaml

from processors.stream_health import StreamHealthOptions
from vision.children import child_environment, python_command
from vision.simulator.effects import CLIPPING_GAIN
from vision.simulator.performance import Performance, Times
from vision.simulator.settings import AMOUNTS, FAULT_KINDS, Fault, FaultKind
from vision.simulator.voice import SAMPLE_RATE_HZ, Voice

__all__ = ["KINDS", "Incident", "Kind", "Planted", "Row", "Session", "judged", "rows", "sessions", "table"]

TARGET, WITHIN_S = 0.95, 0.1
LEAST_PACE = 0.97
LONGEST_STALL_S = 0.15
"""A machine that lets a program wait for longer makes pictures late by itself."""

_TICK_S = 0.02
FPS = 25
_SESSION_S = 120.0
_LEAD_S = 8.0
_MOST_SHOWN = 8
_AROUND_END_S = 0.2
_PARTED = 0.25  # of the widest opening: what is less, a picture of the drawn head hardly shows
_ALREADY_LATE_MS = 10.0  # what pictures are late by anyway, on a machine that does other things as well
_LIMITS_MS = (-45.0, 125.0)  # ITU-R BT.1359, detectability: what lip_sync.out_of_sync goes by

_SEEN = ({"use": "frame_quality"}, {"use": "stream_health"})
_HEARD = ({"use": "audio_quality"}, {"use": "stream_health"})
_LIPS = ({"use": "face_landmarks"}, {"use": "speech"}, {"use": "lip_sync"})
PROCESSORS: Mapping[str, Sequence[Mapping[str, str]]] = {
    "picture": _SEEN,
    "sound": _HEARD,
    "lips": _LIPS,
    "reports": (*_SEEN, _HEARD[0]),
    "clean": (*_SEEN, _HEARD[0], *_LIPS, {"use": "face_dynamics"}),
}


@dataclass(frozen=True, slots=True)
class Kind:
    """What is expected of one kind of fault.

    :ivar incidents: kinds of incidents of which one must come, and `cause` its cause; none: no incident may come.
    :ivar follows: kinds that follow from it, rightly, where its amount is at least `follows_from`.
    :ivar steps: it changes something for as long as it lasts, which is told where it begins and where it ends.
    :ivar length_s: how long it lasts, from and to.
    :ivar rest_s: how long nothing is planted behind it.
    :ivar reach_s: how far an incident may be from the fault and still be of it.
    :ivar amounts: `offset_ms` or `ms_per_minute`, from and to, with either sign.
    :ivar voiced: it is to be heard: planted where the avatar speaks, before and behind each end.
    """

    group: str
    incidents: tuple[str, ...] = ()
    cause: str = "rendered"
    follows: tuple[str, ...] = ()
    follows_from: float = -math.inf
    steps: bool = False
    length_s: tuple[float, float] = (0.6, 2.0)
    rest_s: float = 4.0
    reach_s: float = 0.3
    amounts: tuple[float, float] | None = None
    voiced: bool = False


_OUT_OF_SYNC = Kind(
    "lips", ("out_of_sync",), follows=("unacceptable_sync", "sync_step"), rest_s=12.0, reach_s=4.0, voiced=True
)
KINDS: Mapping[FaultKind, Kind] = {
    "freeze": Kind("picture", ("freeze",), length_s=(0.8, 2.5)),
    "black": Kind("picture", ("black",), follows=("scene_cut", "flash"), length_s=(0.3, 2.0)),
    "blur": Kind("picture", ("blur",)),
    "noise": Kind("picture", ("noise",), follows=("scene_cut",)),
    "blockiness": Kind("picture", ("blockiness",)),
    "drop": Kind("picture", ("no_picture",), "sender", length_s=(0.4, 1.5)),
    "late": Kind("picture", ("late",), "sender"),
    "silence": Kind("sound", ("silence",), follows=("click",), length_s=(0.8, 2.5)),
    "clipping": Kind("sound", ("clipping",), follows=("click",), length_s=(0.8, 2.5), voiced=True),
    "audio_gap": Kind("sound", ("dropout",), "sender", follows=("click",), length_s=(0.2, 1.0)),
    "mouth_still": Kind("lips", ("voice_without_mouth",), length_s=(3.0, 5.0), rest_s=8.0, reach_s=2.0, voiced=True),
    "mouth_moving": Kind("lips", ("mouth_without_voice",), length_s=(3.0, 5.0), rest_s=8.0, reach_s=2.0),
    "offset": dataclasses.replace(_OUT_OF_SYNC, length_s=(12, 16), amounts=(200, 320)),
    "drift": dataclasses.replace(_OUT_OF_SYNC, length_s=(28, 32), amounts=(500, 700)),
    "send_time_reports": Kind(
        "reports",
        ("clock_slip",),
        "sender",
        follows=("late",),
        follows_from=StreamHealthOptions().late_ms - _ALREADY_LATE_MS,
        steps=True,
        length_s=(3, 5),
        rest_s=1.5,
        amounts=(50, 300),
    ),
    "no_reports": Kind("reports", length_s=(3, 6), rest_s=1.5),
    "report_jump": Kind("reports", length_s=(3, 5), rest_s=1.5, amounts=(1_000, 100_000)),
    "report_drift": Kind("reports", length_s=(3, 5), rest_s=1.5, amounts=(10, 60)),
}
GROUPS = tuple(PROCESSORS)


@dataclass(frozen=True, slots=True)
class Planted:
    """One fault, and when it can be seen or heard."""

    fault: Fault
    start_s: float
    end_s: float

    @property
    def kind(self) -> Kind:
        """What is expected of it."""
        return KINDS[self.fault.kind]

    @property
    def parts(self) -> tuple[Planted, ...]:
        """What is to be found of it, each by itself: all of it, or its two ends."""
        if not self.kind.steps:
            return (self,)
        return tuple(Planted(self.fault, at_s, at_s) for at_s in (self.start_s, self.end_s))

    def overlaps(self, incident: Incident) -> bool:
        """Whether an incident is near enough to be of it."""
        reach_s = self.kind.reach_s
        return incident.start_s < self.end_s + reach_s and incident.end_s > self.start_s - reach_s

    def explains(self, incident: Incident) -> bool:
        """Whether it is expected to cause an incident, directly or not."""
        if incident.kind in self.kind.follows and self.fault.amount >= self.kind.follows_from:
            return self.overlaps(incident)
        return incident.kind in self.kind.incidents and any(part.overlaps(incident) for part in self.parts)


@dataclass(frozen=True, slots=True)
class Incident:
    """As a run wrote it."""

    kind: str
    cause: str
    start_s: float
    end_s: float
    evidence: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Session:
    """A run, and what is planted in it."""

    group: str
    seed: int
    duration_s: float
    planted: tuple[Planted, ...] = ()

    @property
    def parts(self) -> Iterator[Planted]:
        """All that is to be found."""
        return (part for one in self.planted for part in one.parts)

    def config(self) -> dict[str, Any]:
        """The run, as YAML has it; pictures are small where nobody looks at them."""
        size = (192, 108) if self.group in ("sound", "reports") else (640, 360)
        faults = [one.fault.model_dump(exclude_none=True) for one in self.planted]
        source = {"use": "simulator", "seed": self.seed, "size": list(size), "fps": FPS, "faults": faults}
        return {
            "name": f"{self.group}-{self.seed}",
            "source": source,
            "run": {"duration_s": self.duration_s},
            "processors": [dict(each) for each in PROCESSORS[self.group]],
        }


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
        kept_up = self.pace >= LEAST_PACE and self.stall_s <= LONGEST_STALL_S
        return self.error is None and self.dropped == 0 and kept_up


def sessions(groups: Sequence[str], trials: int, first_seed: int, clean_s: float) -> Iterator[Session]:
    """The runs in which each kind of these groups is planted so many times."""
    for number, group in enumerate(groups):
        if group == "clean":
            yield Session("clean", first_seed, clean_s)
            continue
        chance = random.Random(f"{group} {first_seed}")
        kinds = [kind for kind in FAULT_KINDS if KINDS[kind].group == group]
        left = [kind for kind in kinds for _ in range(trials)]
        chance.shuffle(left)
        seed = first_seed + 100 * number
        while left:
            session = _session(group, seed, left, chance)
            left, seed = left[len(session.planted) :], seed + 1
            yield session


def _session(group: str, seed: int, left: Sequence[FaultKind], chance: random.Random) -> Session:
    """As many of the faults that are left as fit into a run."""
    performance = Performance(seed)
    planted: list[Planted] = []
    at_s = _LEAD_S
    for name in left:
        one = _planted(name, at_s + chance.uniform(0, 1), performance, chance)
        planted.append(one)
        at_s = one.fault.end_s + KINDS[name].rest_s
        if at_s >= _SESSION_S:
            break
    return Session(group, seed, round(at_s, 1), tuple(planted))


def _planted(name: FaultKind, from_s: float, performance: Performance, chance: random.Random) -> Planted:
    kind = KINDS[name]
    length_s = round(chance.uniform(*kind.length_s), 2)
    start_s = round(_voiced_from(performance, from_s, length_s) if kind.voiced else from_s, 2)
    amount: dict[str, float] = {}
    if kind.amounts is not None:
        given = AMOUNTS[name]
        sign = chance.choice((-1, 1)) if given.low < 0 else 1
        amount = {given.field: sign * round(chance.uniform(*kind.amounts), 1)}
    fault = Fault.model_validate({"kind": name, "start_s": start_s, "duration_s": length_s, **amount})
    return Planted(fault, *_perceptible(fault, performance))


def _perceptible(fault: Fault, performance: Performance) -> tuple[float, float]:
    """From when to when a fault can be seen or heard.

    One that grows, from its limit on; clipping, where it is loud; lips without a voice, from the first phrase that they
    mime to the last one; lips that stand still, until they part again or the voice pauses.
    """
    start_s, end_s = fault.start_s, fault.end_s
    if fault.kind == "drift":
        limit_ms = _LIMITS_MS[1] if fault.amount > 0 else _LIMITS_MS[0]
        return start_s + 60 * limit_ms / fault.amount, end_s
    if fault.kind == "clipping":
        times_s = np.arange(start_s, end_s, 1 / SAMPLE_RATE_HZ)
        loud = times_s[np.abs(Voice(performance).at(times_s)) * CLIPPING_GAIN >= 1]
        return (float(loud[0]), float(loud[-1])) if loud.size else (start_s, end_s)
    if fault.kind == "mouth_moving":
        times_s = _pictures_s(start_s, end_s)
        mimed = times_s[performance.speaking(times_s)]
        return (float(mimed[0]), min(float(mimed[-1]) + 1 / FPS, end_s)) if mimed.size else (start_s, end_s)
    if fault.kind == "mouth_still":
        times_s = _pictures_s(end_s, end_s + 5)
        other = (performance.mouth_opening(times_s) > _PARTED) | ~performance.speaking(times_s)
        return start_s, float(times_s[other][0])
    return start_s, end_s


def _pictures_s(from_s: float, to_s: float) -> Times:
    """Times of the pictures between two moments."""
    return np.arange(math.ceil(from_s * FPS), math.ceil(to_s * FPS)) / FPS


def _voiced_from(performance: Performance, from_s: float, length_s: float) -> float:
    """The first moment from which on, for so long, the avatar speaks: around both ends, and most of the time."""
    times_s = np.arange(from_s - _AROUND_END_S, from_s + 60, 0.02)
    speaking = performance.speaking(times_s)
    count, edge = round(length_s / 0.02), round(_AROUND_END_S / 0.02)
    for first in range(edge, len(times_s) - count - edge):
        ends = (speaking[at - edge : at + edge] for at in (first, first + count))
        if all(end.all() for end in ends) and speaking[first : first + count].mean() > 0.75:
            return float(times_s[first])
    raise ValueError(f"nobody speaks for {length_s} s within a minute after {from_s} s")


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
        if asleep_s - begun_s > _LEAD_S:
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


async def carried_out(
    wanted: Sequence[Session], *, jobs: int, tries: int, tell: Callable[[str], object]
) -> list[Outcome]:
    """Carry sessions out, `jobs` side by side, each again where the machine did not keep up."""
    room = asyncio.Semaphore(jobs)

    async def one(session: Session, folder: Path) -> Outcome:
        for _ in range(tries):
            async with room:
                outcome = await _carried_out(session, folder)
            tell(f"{_described(outcome)}\n")
            if outcome.is_sound:
                break
        return outcome

    with tempfile.TemporaryDirectory() as folder:
        return list(await asyncio.gather(*(one(session, Path(folder)) for session in wanted)))


def _described(outcome: Outcome) -> str:
    session = outcome.session
    text = (
        f"{session.group} {session.seed}: {session.duration_s:.0f} s, {len(session.planted)} planted,"
        f" {len(outcome.incidents)} incidents, pace {outcome.pace:.2f}, stall {1000 * outcome.stall_s:.0f} ms,"
        f" {outcome.dropped} dropped"
    )
    text += f", {outcome.error}" if outcome.error else ""
    for fault in session.parts:
        if fault.kind.incidents and _best(fault, outcome.incidents) is None:
            text += (
                f"\n    missed: {fault.fault.kind} {fault.start_s:.2f} to {fault.end_s:.2f} s ({fault.fault.amount:g})"
            )
    false = unexplained(outcome)
    for incident in false[:_MOST_SHOWN]:
        seen = {key: value for key, value in incident.evidence.items() if key != "values"}
        text += f"\n    false: {incident.kind} {incident.cause} {incident.start_s:.2f} to {incident.end_s:.2f} s {seen}"
    if len(false) > _MOST_SHOWN:
        text += f"\n    and {len(false) - _MOST_SHOWN} more"
    return text


@dataclass(slots=True)
class Row:
    """One kind of fault in all sessions.

    :ivar starts_s: of the incidents less those of the faults, and `ends_s` likewise.
    :ivar right: incidents of the expected kinds that have their fault; `false` the others.
    """

    kind: str
    planted: int = 0
    found: int = 0
    caused: int = 0
    right: int = 0
    false: int = 0
    starts_s: list[float] = field(default_factory=list)
    ends_s: list[float] = field(default_factory=list)

    @property
    def recall(self) -> float:
        """Share of the faults that were found."""
        return self.found / self.planted if self.planted else 1.0

    @property
    def precision(self) -> float:
        """Share of the incidents that have their fault."""
        return self.right / (self.right + self.false) if self.right + self.false else 1.0

    @property
    def cause_right(self) -> float:
        """Share of those found whose cause is right."""
        return self.caused / self.found if self.found else 0.0


def rows(outcomes: Sequence[Outcome]) -> list[Row]:
    """A row for each kind that was planted, from the runs in which the machine kept up."""
    outcomes = [outcome for outcome in outcomes if outcome.is_sound]
    by_kind: dict[str, Row] = {}
    for outcome in outcomes:
        for fault in outcome.session.parts:
            row = by_kind.setdefault(fault.fault.kind, Row(fault.fault.kind))
            row.planted += 1
            best = _best(fault, outcome.incidents)
            if best is not None:
                row.found += 1
                row.caused += best.cause == fault.kind.cause
                row.starts_s.append(round(best.start_s - fault.start_s, 3))
                row.ends_s.append(round(best.end_s - fault.end_s, 3))
    for row in by_kind.values():
        expected = KINDS[row.kind].incidents  # type: ignore[index]
        ours = [one for outcome in outcomes for one in outcome.incidents if one.kind in expected]
        row.false = sum(one.kind in expected for outcome in outcomes for one in unexplained(outcome))
        row.right = len(ours) - row.false
    return [by_kind[kind] for kind in FAULT_KINDS if kind in by_kind]


def _best(fault: Planted, incidents: Sequence[Incident]) -> Incident | None:
    near = [one for one in incidents if one.kind in fault.kind.incidents and fault.overlaps(one)]
    return max(near, key=lambda one: min(one.end_s, fault.end_s) - max(one.start_s, fault.start_s), default=None)


def unexplained(outcome: Outcome) -> list[Incident]:
    """The incidents that no fault that was planted there is expected to cause, directly or not."""
    return [
        incident
        for incident in outcome.incidents
        if not any(fault.explains(incident) for fault in outcome.session.planted)
    ]


def table(found: Sequence[Row]) -> str:
    """A line for each kind."""
    head = f"{'planted':18}{'incident':22}{'n':>4}{'found':>7}{'recall':>8}{'false':>7}{'precision':>11}"
    lines = [f"{head}{'start ms':>10}{'<=100':>7}{'end ms':>9}{'<=100':>7}{'cause':>10}{'right':>7}"]
    for row in found:
        kind = KINDS[row.kind]  # type: ignore[index]
        head = f"{row.kind:18}{', '.join(kind.incidents) or 'none expected':22}{row.planted:>4}"
        if not kind.incidents:
            lines.append(head)
            continue
        lines.append(
            f"{head}{row.found:>7}{row.recall:>8.1%}{row.false:>7}{row.precision:>11.1%}{_errors(row.starts_s)}"
            f"{_errors(row.ends_s, 9)}{kind.cause:>10}{row.cause_right:>7.0%}"
        )
    return "\n".join(lines)


def _errors(errors_s: Sequence[float], width: int = 10) -> str:
    if not errors_s:
        return f"{'-':>{width}}{'-':>7}"
    return f"{1000 * median(errors_s):>+{width}.0f}{_within(errors_s):>7.0%}"


def _within(errors_s: Sequence[float]) -> float:
    return sum(abs(error_s) <= WITHIN_S for error_s in errors_s) / len(errors_s) if errors_s else 0.0


def judged(outcomes: Sequence[Outcome]) -> Iterator[tuple[bool, str]]:
    """What is claimed, and whether it holds."""
    found = [row for row in rows(outcomes) if KINDS[row.kind].incidents]  # type: ignore[index]
    measures: Sequence[tuple[str, Callable[[Row], float]]] = (
        ("recall", lambda row: row.recall),
        ("precision", lambda row: row.precision),
        ("starts within 100 ms", lambda row: _within(row.starts_s)),
        ("ends within 100 ms", lambda row: _within(row.ends_s)),
        ("right causes", lambda row: row.cause_right),
    )
    for name, measure in measures if found else ():
        short = [f"{row.kind} {measure(row):.1%}" for row in found if measure(row) < TARGET]
        yield not short, f"{name} of at least 95 % for each kind" + (f"; below: {', '.join(short)}" if short else "")
    for group, text in (("reports", "odd sender reports"), ("clean", "a clean run")):
        theirs = [outcome for outcome in outcomes if outcome.session.group == group and outcome.is_sound]
        if theirs:
            kinds = [incident.kind for outcome in theirs for incident in unexplained(outcome)]
            length_s = sum(outcome.session.duration_s for outcome in theirs)
            yield not kinds, f"{text} ({length_s:.0f} s): incidents {', '.join(kinds) or 'none'}"
    unsound = [f"{one.session.group} {one.session.seed}" for one in outcomes if not one.is_sound]
    yield (
        not unsound,
        f"the machine kept up in all {len(outcomes)} runs" + ("; not in: " if unsound else "") + ", ".join(unsound),
    )


def _arguments() -> argparse.Namespace:
    description = (__doc__ or "").split("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fault_detection", description=description)
    parser.add_argument("--trials", type=int, default=20, help="of each kind (default: 20)")
    parser.add_argument("--groups", nargs="+", choices=GROUPS, default=GROUPS, help="default: all")
    parser.add_argument("--first", type=int, default=1, metavar="SEED", help="the first seed (default: 1)")
    parser.add_argument("--jobs", type=int, default=2, help="runs side by side (default: 2)")
    parser.add_argument("--tries", type=int, default=3, help="of a run while the machine is busy (default: 3)")
    parser.add_argument("--clean-s", type=float, default=600, help="length of the clean run (default: 600 s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every outcome there")
    arguments = parser.parse_args()
    if min(arguments.trials, arguments.jobs, arguments.tries) < 1:
        parser.error("--trials, --jobs and --tries must be at least 1")
    return arguments


def main() -> int:
    """Plant, run, judge."""
    given = _arguments()
    wanted = list(sessions(given.groups, given.trials, given.first, given.clean_s))
    outcomes = asyncio.run(carried_out(wanted, jobs=given.jobs, tries=given.tries, tell=sys.stderr.write))
    verdicts = list(judged(outcomes))
    found = rows(outcomes)
    sys.stdout.write(f"{table(found)}\n\n")
    for holds, text in verdicts:
        sys.stdout.write(f"{'yes' if holds else 'NO '} {text}\n")
    if given.json is not None:
        content = {
            "rows": [asdict(row) | {"recall": row.recall, "precision": row.precision} for row in found],
            "verdicts": [{"holds": holds, "text": text} for holds, text in verdicts],
            "outcomes": [_plain(outcome) for outcome in outcomes],
        }
        given.json.write_text(json.dumps(content, indent=1) + "\n")
    return 0 if all(holds for holds, _ in verdicts) else 1


def _plain(outcome: Outcome) -> dict[str, Any]:
    session = outcome.session
    planted = [one.fault.model_dump(exclude_none=True) for one in session.planted]
    return {
        "group": session.group,
        "seed": session.seed,
        "planted": planted,
        "incidents": [asdict(incident) for incident in outcome.incidents],
        "dropped": outcome.dropped,
        "pace": outcome.pace,
        "stall_s": outcome.stall_s,
        "error": outcome.error,
    }


if __name__ == "__main__":
    sys.exit(main())
