"""What `audio_quality` and `stream_health` cost, and how exactly faults of the sound are found behind real Opus.

    python -m benchmarks.audio_quality [--seeds 20] [--rounds 7] [--json FILE]

Each seed is a minute of the simulator's voice with faults of all kinds planted in it, through its encoder and libopus;
packets of a gap never come. Incidents are made as a run makes them. A fault is found where an incident of its kind
begins and ends within 100 ms of it; what else is told is false. Clipping is where the voice is clipped: a gain does
nothing to a pause. Exits with status 1 where recall or precision is below 95 %, or a cost above what is claimed.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import av
import numpy as np

from processors.audio_quality import AudioQualityProcessor
from processors.stream_health import StreamHealthProcessor
from tests.processors.sounding import RATE_HZ, clicked, framed, gapped, planted, through_opus
from vision import Frame, Processor, StreamInfo, metrics_of
from vision.incidents import Incident, IncidentTracker
from vision.record import Record
from vision.result import record_of
from vision.simulator.encoder import PictureEncoder
from vision.simulator.picture import Painter, likeness
from vision.simulator.portrait import Expression
from vision.simulator.settings import Fault, SimulatorSettings

__all__ = ["KINDS", "Score", "Truth", "incidents_of", "score", "session"]

KINDS = ("silence", "clipping", "dropout", "click")
TOLERANCE_S, TARGET = 0.1, 0.95
MOST_DECODES = {"audio_quality": 0.8, "stream_health": 0.2}
"""Of decoding a 720p picture of the simulator's, which is cheap to decode: the time for one picture and its sound."""

_SECONDS, _FPS = 60, 30
_PAUSE_S = 1.5  # pauses of the voice are joined over this
_JUMP = 0.4


@dataclass(frozen=True, slots=True)
class Truth:
    """What was planted: a kind of incident, from when to when on the media clock."""

    kind: str
    start_s: float
    end_s: float

    def is_told_by(self, incident: Incident) -> bool:
        """Whether an incident is about it."""
        errors_s = (incident.start_s - self.start_s, incident.end_s - self.end_s)
        return incident.kind == self.kind and all(abs(error_s) <= TOLERANCE_S for error_s in errors_s)


@dataclass(frozen=True, slots=True)
class Score:
    """How well a kind was found; errors are of starts and of ends, in seconds."""

    kind: str
    planted: int
    found: int
    told: int
    errors_s: list[float]

    @property
    def recall(self) -> float:
        """The share of what was planted that was found."""
        return self.found / self.planted if self.planted else 1.0

    @property
    def precision(self) -> float:
        """The share of what was told that was planted."""
        return self.found / self.told if self.told else 1.0

    def as_line(self) -> str:
        """A line of the table."""
        worst_ms = 1000 * max(map(abs, self.errors_s), default=0.0)
        counts = f"{self.planted:9}{self.found:8}{self.told - self.found:8}"
        return f"{self.kind:10}{counts}{100 * self.recall:9.1f} %{100 * self.precision:9.1f} %{worst_ms:10.0f} ms"


def session(seed: int) -> tuple[list[Frame], list[Truth]]:
    """A minute of frames with faults, and what they are."""
    random = np.random.default_rng(seed)
    planned, time_s = [], 3.0
    while time_s < _SECONDS - 5:
        kind, length_s = str(random.choice(KINDS)), float(random.uniform(0.6, 2.5))
        planned.append(Truth(kind, time_s, time_s + length_s))
        time_s += length_s + float(random.uniform(2 * _PAUSE_S, 3 * _PAUSE_S))
    faults = [
        Fault(kind=kind, start_s=each.start_s, duration_s=each.end_s - each.start_s)
        for each in planned
        for kind in ("silence", "clipping")
        if each.kind == kind
    ]
    clicks = [each.start_s for each in planned if each.kind == "click"]
    raw = clicked(planted(_SECONDS, faults, seed, coded=False), clicks, np.array([_JUMP], np.float32))
    frames = list(framed(through_opus(raw), fps=_FPS))
    for gap in (each for each in planned if each.kind == "dropout"):
        frames = list(gapped(frames, gap.start_s, gap.end_s))
    return frames, [true for each in planned for true in _true(each, raw)]


def _true(each: Truth, raw: Any) -> Iterator[Truth]:
    """What there is to be found of what was planned."""
    if each.kind == "click":
        yield dataclasses.replace(each, end_s=each.start_s + 1 / _FPS)  # no incident is shorter than a picture
        return
    if each.kind != "clipping":
        yield each
        return
    size = RATE_HZ // _FPS
    shares = (np.abs(raw[: raw.size // size * size]) >= 1.0).reshape(-1, size).mean(axis=1)
    hits_s = np.flatnonzero(shares >= 0.02) / _FPS
    hits_s = hits_s[(hits_s > each.start_s - 1 / _FPS) & (hits_s < each.end_s)]
    if hits_s.size:
        yield Truth("clipping", float(hits_s[0]), float(hits_s[-1]) + 1 / _FPS)


def incidents_of(frames: Sequence[Frame]) -> list[Incident]:
    """What a run would tell of them."""
    processor = AudioQualityProcessor()
    metrics = metrics_of(AudioQualityProcessor.result_type())
    tracker = IncidentTracker({"audio_quality": metrics}, ("audio_quality",))
    processor.setup(StreamInfo(live=True))
    told: list[Incident] = []
    for frame in frames:
        result = processor.process(frame)
        told += tracker.add(Record(frame, {"audio_quality": record_of(result, metrics) if result else None}))
    processor.close()
    return [*told, *tracker.end()]


def score(planned: Sequence[Truth], told: Sequence[Incident]) -> list[Score]:
    """By kind; each incident is about one fault at most."""
    scores = []
    for kind in KINDS:
        left = [incident for incident in told if incident.kind == kind]
        count, errors_s = len(left), []
        for true in (each for each in planned if each.kind == kind):
            about = next((incident for incident in left if true.is_told_by(incident)), None)
            if about is not None:
                left.remove(about)
                errors_s += [about.start_s - true.start_s, about.end_s - true.end_s]
        scores.append(Score(kind, sum(each.kind == kind for each in planned), len(errors_s) // 2, count, errors_s))
    return scores


def _together(scores: Sequence[Score]) -> Score:
    first, *others = scores
    for each in others:
        first = Score(
            first.kind,
            first.planted + each.planted,
            first.found + each.found,
            first.told + each.told,
            first.errors_s + each.errors_s,
        )
    return first


def _costs_ms(rounds: int) -> dict[str, list[float]]:
    """CPU time of a picture, ms: each processor, and decoding; they take turns."""
    frames = list(framed(planted(10), fps=_FPS))
    packets = _pictures(len(frames))
    works: dict[str, Callable[[], object]] = {
        "decode": lambda: _decode(packets),
        "audio_quality": lambda: _process(AudioQualityProcessor(), frames),
        "stream_health": lambda: _process(StreamHealthProcessor(), frames),
    }
    costs: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            begun_s = time.process_time()
            work()
            costs[name].append(1000 * (time.process_time() - begun_s) / len(frames))
    return costs


def _pictures(count: int) -> list[av.Packet[Any]]:
    """The simulator's, 720p30, H264 at 2.5 Mbit/s."""
    encoder, painter = PictureEncoder(SimulatorSettings()), Painter(likeness(1280, 720))
    moods = (Expression(0.5 + 0.5 * np.sin(number / 2), 0.0) for number in range(count))
    sways = (np.sin(np.array([number / 20, number / 25])) for number in range(count))
    pictures = (painter.paint(mood, (float(sway[0]), float(sway[1]))) for mood, sway in zip(moods, sways, strict=True))
    return [encoder.encode(picture, number / _FPS) for number, picture in enumerate(pictures)]


def _decode(packets: Sequence[av.Packet[Any]]) -> None:
    decoder = av.CodecContext.create("h264", "r")
    decoder.thread_count = 1
    for packet in packets:
        decoder.decode(av.Packet(bytes(packet)))


def _process(processor: Processor[Any], frames: Sequence[Frame]) -> None:
    processor.setup(StreamInfo(live=True))
    for frame in frames:
        processor.process(frame)
    processor.close()


def _arguments() -> argparse.Namespace:
    description = (__doc__ or "").split("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.audio_quality", description=description)
    parser.add_argument("--seeds", type=int, default=20, help="minutes of faults (default: 20)")
    parser.add_argument("--rounds", type=int, default=7, help="of measuring costs (default: 7)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every measurement there")
    arguments = parser.parse_args()
    if arguments.seeds < 1 or arguments.rounds < 1:
        parser.error("--seeds and --rounds must be at least 1")
    return arguments


def main() -> int:
    """Measure, print, judge."""
    arguments = _arguments()
    costs = _costs_ms(arguments.rounds)
    by_seed = []
    for seed in range(1, arguments.seeds + 1):
        sys.stderr.write(f"seed {seed} ...\n")
        frames, planned = session(seed)
        by_seed.append(score(planned, incidents_of(frames)))
    scores = [_together(each) for each in zip(*by_seed, strict=True)]
    sys.stdout.write("kind        planted   found   false     recall  precision   worst edge\n")
    sys.stdout.writelines(each.as_line() + "\n" for each in scores)
    verdicts = [(f"{each.kind}: recall and precision at least {TARGET:g}", _holds(each)) for each in scores]
    sys.stdout.write("\n")
    for name, most in MOST_DECODES.items():
        decodes = median(own / decode for own, decode in zip(costs[name], costs["decode"], strict=True))
        spent = f"{name}: {median(costs[name]):.3f} ms, {decodes:.2f} decodes of 720p"
        verdicts.append((f"{spent} ({median(costs['decode']):.2f} ms); at most {most}", decodes <= most))
    sys.stdout.writelines(f"{'yes' if holds else 'NO ':4} {text}\n" for text, holds in verdicts)
    if arguments.json is not None:
        content = {"costs_ms": costs, "scores": [dataclasses.asdict(each) for each in scores]}
        arguments.json.write_text(json.dumps(content, indent=1) + "\n")
    return 0 if all(holds for _, holds in verdicts) else 1


def _holds(each: Score) -> bool:
    return min(each.recall, each.precision) >= TARGET


if __name__ == "__main__":
    sys.exit(main())
