"""Whether the causes of gaps are right: gaps planted with a known cause, and what runs say of them.

    python -m benchmarks.gap_causes [--trials 100] [--first 1] [--jobs 2] [--json FILE]

A trial is a run of some 5 s from the package's own simulator through the impairment proxy. Its seed says which of four
causes is planted, when, for how long, and the size, rate and codec of the pictures:

rendered  the simulator sends the same picture again and again
sender    the simulator sends no pictures
network   the proxy lets nothing through, or drops packets in a row; nothing can be asked for again
overload  a processor sleeps, once or with every picture, behind a small queue

What is found is the incident that covers most of what was planted. Exits with status 1 where fewer than 95 % are right.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from benchmarks.receiving import VIDEO_HZ, session
from tests.peers.impairment import Blackout, Burst, ImpairedWhep, Impairment, ImpairmentProxy
from vision.config import load
from vision.frame import Frame
from vision.processor import Options, Processor
from vision.result import Result, metric
from vision.runner import Run
from vision.simulator.process import Launched, launched
from vision.simulator.settings import Fault, SimulatorSettings

__all__ = ["CAUSES", "Found", "Outcome", "Trial", "carried_out", "table", "trial_of"]

Planted = Literal["rendered", "sender", "network", "overload"]
Codec = Literal["h264", "vp8"]
CAUSES: tuple[Planted, ...] = ("rendered", "sender", "network", "overload")
MISSED = "missed"
TARGET = 0.95

RUN_S = 4.5
TOLERANCE_S = 0.25
"""How far from what was planted an incident may begin and end: a blackout is planted on another clock."""

LEAST_PACE = 0.97
"""A simulator that is slower could not keep pace on a busy machine: it makes gaps of its own."""

_CODECS: tuple[Codec, ...] = ("h264", "vp8")
_SIZES = ((320, 240), (240, 320), (256, 192), (320, 180))


class SleeperOptions(Options):
    """When to sleep, in media time."""

    start_s: float = Field(ge=0, description="from when on")
    end_s: float = Field(ge=0, description="until when")
    each_s: float = Field(gt=0, le=4, description="seconds of sleep with each picture in that time")


@dataclass(frozen=True, slots=True)
class Slept(Result):
    """Whether it slept."""

    slept: bool = metric("Whether it slept with this picture", unit="bool")


class SleeperProcessor(Processor[Slept]):
    """A processor that is too slow for a while."""

    Options = SleeperOptions

    def process(self, frame: Frame) -> Slept:
        """Sleep, if it is time to."""
        sleeps = self.options.start_s <= frame.time_s < self.options.end_s
        if sleeps:
            time.sleep(self.options.each_s)
        return Slept(sleeps)


@dataclass(frozen=True, slots=True)
class Trial:
    """One gap, planted.

    :ivar how: in a word.
    :ivar end_s: for a burst, when it would end at the usual rate of packets.
    :ivar packets: how many packets a burst takes.
    :ivar sleep_s: how long the processor sleeps with each picture.
    """

    seed: int
    cause: Planted
    how: str
    start_s: float
    end_s: float
    size: tuple[int, int]
    fps: int
    codec: Codec
    packets: int = 0
    sleep_s: float = 0.0

    @property
    def settings(self) -> SimulatorSettings:
        """The simulator, with its faults."""
        kinds: dict[Planted, Literal["freeze", "drop"]] = {"rendered": "freeze", "sender": "drop"}
        faults = []
        if kind := kinds.get(self.cause):
            faults.append(Fault(kind=kind, start_s=self.start_s, duration_s=self.end_s - self.start_s))
        return SimulatorSettings(
            seed=self.seed, size=self.size, fps=self.fps, codec=self.codec, bitrate_bps=400_000, faults=faults
        )

    @property
    def down(self) -> Impairment:
        """What the network does on the way to the receiver."""
        if self.how == "blackout":
            return Impairment(blackouts=(Blackout(self.start_s, self.end_s - self.start_s),))
        if self.how == "burst":
            return Impairment(bursts=(Burst(self.start_s, self.packets),))
        return Impairment()

    @property
    def up(self) -> Impairment:
        """On the way back: what is lost is not to be repaired."""
        return Impairment(loss=1.0) if self.cause == "network" else Impairment()

    def text(self, url: str) -> str:
        """The run's configuration."""
        lines = [
            f"source: {{use: whep, url: '{url}'}}",
            f"run: {{duration_s: {RUN_S}, queue: {{size: {4 if self.cause == 'overload' else 64}}}}}",
            "processors:",
            "  - {use: frame_quality}",
        ]
        if self.cause == "overload":
            options = f"start_s: {self.start_s}, end_s: {self.end_s}, each_s: {self.sleep_s}"
            lines.append(f"  - {{use: 'benchmarks.gap_causes:SleeperProcessor', name: sleeper, {options}}}")
        return "\n".join(lines) + "\n"


def trial_of(seed: int) -> Trial:
    """The trial of a seed; four seeds in a row have the four causes."""
    chance = random.Random(seed)
    cause = CAUSES[seed % len(CAUSES)]
    fps = chance.choice((20, 25, 30))
    start_s = round(chance.uniform(1.2, 2.2), 3)
    duration_s = round(chance.uniform(0.6 if cause == "rendered" else 0.5, 1.5), 3)
    how = {"rendered": "freeze", "sender": "drop"}.get(cause, "")
    packets, sleep_s = 0, 0.0
    if cause == "network":
        how = chance.choice(("blackout", "burst"))
        packets = round(duration_s * (50 + 1.5 * fps)) if how == "burst" else 0  # sound has 50 a second
    elif cause == "overload":
        how = chance.choice(("once", "each"))
        sleep_s = duration_s if how == "once" else round(chance.uniform(4, 8) / fps, 3)
    end_s = round(start_s + (1 / fps if how == "once" else duration_s), 3)
    size, codec = chance.choice(_SIZES), chance.choice(_CODECS)
    return Trial(seed, cause, how, start_s, end_s, size, fps, codec, packets, sleep_s)


@dataclass(frozen=True, slots=True)
class Found:
    """An incident that says that pictures were missing or stood still."""

    kind: str
    cause: str
    start_s: float
    end_s: float
    evidence: dict[str, Any]

    def covers_s(self, start_s: float, end_s: float) -> float:
        """How much of a stretch it covers, s; below zero where it is apart from it."""
        return min(self.end_s, end_s) - max(self.start_s, start_s)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run said of a trial.

    :ivar begin_s: what was planted, as it came about, on the media clock; `end_s` likewise.
    :ivar found: the cause given, or `missed`.
    :ivar others: incidents elsewhere, and those beside it that give another cause.
    :ivar pace: seconds of media that the simulator sent in a second.
    """

    trial: Trial
    begin_s: float
    end_s: float
    found: str
    incidents: list[Found]
    others: list[Found]
    pace: float
    error: str | None

    @property
    def right(self) -> bool:
        """Whether the cause that was planted was found."""
        return self.found == self.trial.cause


def judged(trial: Trial, incidents: Sequence[Found], proxy: ImpairmentProxy, error: str | None) -> Outcome:
    """Hold what a run says against what was planted."""
    begin_s, end_s = trial.start_s, trial.end_s
    if trial.cause == "overload":
        end_s = max(end_s, begin_s + trial.sleep_s)
    elif trial.how == "burst" and proxy.begun_s is not None:
        lost = [fate.sent_s - proxy.begun_s for stream in proxy.ledger.of("video") for fate in stream.lost()]
        begin_s, end_s = (min(lost), max(lost)) if lost else (begin_s, end_s)
    reach = begin_s - TOLERANCE_S, end_s + TOLERANCE_S
    near = [found for found in incidents if found.covers_s(*reach) > 0]
    best = max(near, key=lambda found: found.covers_s(begin_s, end_s), default=None)
    others = [found for found in incidents if found not in near or (best is not None and found.cause != best.cause)]
    return Outcome(
        trial=trial,
        begin_s=round(begin_s, 3),
        end_s=round(end_s, 3),
        found=best.cause if best else MISSED,
        incidents=list(incidents),
        others=others,
        pace=pace_of(proxy),
        error=error,
    )


def pace_of(proxy: ImpairmentProxy) -> float:
    """Seconds of media in a second, by what was sent of the pictures; 0 where nothing was."""
    for stream in proxy.ledger.of("video"):
        sent = list(stream.packets.values())
        took_s = sent[-1].sent_s - sent[0].sent_s
        if took_s > 0:
            return round((sent[-1].timestamp - sent[0].timestamp) % (1 << 32) / VIDEO_HZ / took_s, 3)
    return 0.0


async def _run(trial: Trial, service: Launched, folder: Path) -> Outcome:
    async with session(service) as url, ImpairedWhep(url, trial.down, trial.up, seed=trial.seed) as front:
        path = folder / f"trial-{trial.seed}.yaml"
        path.write_text(trial.text(front.url))
        outcome = await Run(load(path), folder / path.stem).execute()
        lines = (folder / path.stem / "incidents.jsonl").read_text().splitlines()
        incidents = [
            Found(*(one[name] for name in ("kind", "cause", "start_s", "end_s", "evidence")))
            for one in map(json.loads, lines)
            if one["kind"] in ("no_picture", "freeze")
        ]
        return judged(trial, incidents, front.proxies[-1], outcome.error)


async def carried_out(
    seeds: Iterable[int], *, jobs: int, tell: Callable[[str], object] = lambda text: None
) -> list[Outcome]:
    """Carry trials out, `jobs` side by side; simulators are started before any of these begins, for that takes CPU."""
    left, outcomes = [trial_of(seed) for seed in seeds], []
    with tempfile.TemporaryDirectory() as folder:
        while left:
            batch, left = left[:jobs], left[jobs:]
            async with AsyncExitStack() as stack:
                services = await asyncio.gather(
                    *(stack.enter_async_context(launched(trial.settings, None)) for trial in batch)
                )
                runs = (_run(*one, Path(folder)) for one in zip(batch, services, strict=True))
                for outcome in await asyncio.gather(*runs):
                    outcomes.append(outcome)
                    tell(f"{described(outcome)}\n")
    return outcomes


def described(outcome: Outcome) -> str:
    """A trial in a line."""
    trial = outcome.trial
    text = (
        f"{'yes' if outcome.right else 'NO ':4}{trial.seed:4} {trial.cause:9}{trial.how:9}"
        f"{outcome.begin_s:6.2f} to {outcome.end_s:.2f} s  {trial.codec} {'x'.join(map(str, trial.size))}"
        f" {trial.fps} fps  pace {outcome.pace:.2f}  found: {outcome.found}"
    )
    shown = outcome.others if outcome.right else outcome.incidents
    for one in shown:
        text += f"\n         {one.kind} {one.cause} {one.start_s:.2f} to {one.end_s:.2f} s {dict(one.evidence)}"
    return text + (f"\n         {outcome.error}" if outcome.error else "")


def table(outcomes: Sequence[Outcome]) -> str:
    """Planted by found, and how many incidents there were besides."""
    counted = Counter((one.trial.cause, one.found) for one in outcomes)
    columns = [*CAUSES, "receiver", "unknown", MISSED]
    lines = ["planted    " + "".join(f"{name:>10}" for name in columns) + f"{'false':>10}"]
    for cause in CAUSES:
        false = sum(len(one.others) for one in outcomes if one.trial.cause == cause)
        lines.append(f"{cause:11}" + "".join(f"{counted[cause, name]:>10}" for name in columns) + f"{false:>10}")
    return "\n".join(lines)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gap_causes", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--trials", type=int, default=100, help="how many (default: 100)")
    parser.add_argument("--first", type=int, default=1, metavar="SEED", help="the first seed (default: 1)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="side by side (default: the cores)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every outcome there")
    arguments = parser.parse_args()
    if arguments.trials < 1 or arguments.jobs < 1:
        parser.error("--trials and --jobs must be at least 1")
    return arguments


def main() -> int:
    """Try, print, judge."""
    arguments = _arguments()
    seeds = range(arguments.first, arguments.first + arguments.trials)
    outcomes = asyncio.run(carried_out(seeds, jobs=arguments.jobs, tell=sys.stderr.write))
    share = sum(outcome.right for outcome in outcomes) / len(outcomes)
    sys.stdout.write(
        f"{table(outcomes)}\n\n{'yes' if share >= TARGET else 'NO '} {share:.1%} are right (at least 95 %)\n"
    )
    slow = sum(outcome.pace < LEAST_PACE for outcome in outcomes)
    if slow:
        sys.stdout.write(f"{slow} of {len(outcomes)} simulators could not keep pace: the machine is busy\n")
    if arguments.json is not None:
        content = [asdict(outcome) | {"right": outcome.right} for outcome in outcomes]
        arguments.json.write_text(json.dumps({"share": share, "outcomes": content}, indent=1) + "\n")
    return 0 if share >= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
