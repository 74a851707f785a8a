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
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.fault_planting import GROUPS, KINDS, Incident, Planted, sessions
from benchmarks.fault_runs import Outcome, carried_out
from vision.simulator.settings import FAULT_KINDS

__all__ = ["Row", "judged", "rows", "table", "unexplained"]

_TARGET, _WITHIN_S = 0.95, 0.1
_MOST_SHOWN = 8


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
    return sum(abs(error_s) <= _WITHIN_S for error_s in errors_s) / len(errors_s) if errors_s else 0.0


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
        short = [f"{row.kind} {measure(row):.1%}" for row in found if measure(row) < _TARGET]
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


def _tell(outcome: Outcome) -> None:
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
    sys.stderr.write(f"{text}\n")


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
    outcomes = asyncio.run(carried_out(wanted, jobs=given.jobs, tries=given.tries, tell=_tell))
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
