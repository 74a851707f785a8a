"""What receiving costs in CPU time: this package beside bare aiortc, with decoding alone as the unit.

    python -m benchmarks.receiver_cpu [--seconds 20] [--repetitions 5] [--json FILE]

The source is the package's own simulator (1280x720, 30 fps, H264 at 2.5 Mbit/s, Opus) in a process of its own, which is
not counted. Every measurement is a process of its own: CPU seconds, user and system, from its first picture on. The
variants take turns, so that what else the machine does falls on all of them. Exits with status 1 where ours costs more
than 1.1 times bare aiortc.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import av

from benchmarks.receiving import Received, in_child, receive_bare, session
from vision.align import Aligner
from vision.config import load
from vision.connectors.base import SourceContext
from vision.connectors.whep import WhepConnector
from vision.intake import Intake
from vision.runner import Run
from vision.simulator.process import launched
from vision.simulator.settings import SimulatorSettings
from vision.simulator.studio import Studio
from vision.simulator.turns import Turns
from vision.stream import FrameStream

ALLOWED = 1.1
"""How many times bare aiortc's CPU time ours may take."""

_SETTINGS = SimulatorSettings(size=(1280, 720), fps=30, codec="h264", bitrate_bps=2_500_000)
_BLOCKS_PER_S = 50
_VARIANTS = {
    "decode": "decoding alone (PyAV, one thread)",
    "bare": "bare aiortc, both tracks drained",
    "stream": "ours: connector whep, intake, FrameStream drained",
    "run": "ours: a whole run, no processors, jsonl",
}


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU seconds over a time; `pictures` came meanwhile."""

    cpu_s: float
    wall_s: float
    pictures: int


class _Meter:
    """CPU time of this process since the meter was made."""

    def __init__(self, count: Callable[[], int]) -> None:
        self._count, self._before = count, count()
        self._began_s, self._cpu_s = time.monotonic(), _cpu_s()

    def read(self) -> Cost:
        """What has been spent so far."""
        return Cost(_cpu_s() - self._cpu_s, time.monotonic() - self._began_s, self._count() - self._before)


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def _metered(working: asyncio.Future[Any], count: Callable[[], int], seconds: float) -> Cost:
    """The cost of some work for so many seconds from its first picture on; then it is cancelled.

    :raises RuntimeError: when the work ends before.
    """
    while not working.done() and not count():
        await asyncio.wait([working], timeout=0.01)
    meter = _Meter(count)
    await asyncio.wait([working], timeout=seconds)
    cost = meter.read()
    if working.done():
        raise RuntimeError("the stream ended early") from working.exception()
    return cost


async def _bare(url: str, seconds: float) -> Cost:
    received = Received()
    working = asyncio.ensure_future(receive_bare(url, received))
    try:
        return await _metered(working, lambda: len(received.pictures), seconds)
    finally:
        await _cancelled(working)


async def _stream(url: str, seconds: float) -> Cost:
    connector = WhepConnector(WhepConnector.Options.model_validate({"url": url}), SourceContext())
    stream = FrameStream(64, "latest")
    aligner = Aligner(live=connector.live, expects_sound="sound" in connector.tracks(), speech=False)
    intake = Intake(connector.clock(), aligner, stream)
    pictures = 0

    async def drain() -> None:
        nonlocal pictures
        async for frame in stream:
            pictures += frame.maybe_picture is not None

    helpers = [asyncio.ensure_future(drain()), asyncio.ensure_future(intake.tick())]
    working = asyncio.ensure_future(connector.stream(intake))
    try:
        return await _metered(working, lambda: pictures, seconds)
    finally:
        await _cancelled(working, *helpers)


async def _run(url: str, seconds: float) -> Cost:
    with tempfile.TemporaryDirectory() as folder:
        text = json.dumps({"source": {"use": "whep", "url": url}, "sinks": [{"use": "jsonl"}]})  # JSON is YAML
        (Path(folder) / "run.yaml").write_text(text)
        run = Run(load(Path(folder) / "run.yaml"), Path(folder) / "out")
        working = asyncio.ensure_future(run.execute())
        try:
            return await _metered(working, lambda: run.queue.delivered, seconds)
        finally:
            run.stop()
            await working


async def _cancelled(*working: asyncio.Future[Any]) -> None:
    for each in working:
        each.cancel()
    await asyncio.wait(working)


def _decode(seconds: float) -> Cost:
    """Decode what the simulator sends, made beforehand."""
    studio = Studio(_SETTINGS, Turns())
    count = round(seconds * _SETTINGS.fps)
    pictures = [studio.next_picture().packet for _ in range(count)]
    sounds = [studio.next_sound().packet for _ in range(round(seconds * _BLOCKS_PER_S))]
    video, audio = av.CodecContext.create("h264", "r"), av.CodecContext.create("libopus", "r")
    video.thread_count = 1
    decoded = 0
    meter = _Meter(lambda: decoded)
    for packet in pictures:
        decoded += len(video.decode(packet))
    for packet in sounds:
        audio.decode(packet)
    return meter.read()


async def _measure_all(repetitions: int, seconds: float, tell: Callable[[str], object]) -> dict[str, list[Cost]]:
    costs: dict[str, list[Cost]] = {name: [] for name in _VARIANTS}
    async with launched(_SETTINGS, None) as service:
        for repetition in range(repetitions):
            for name in _VARIANTS if repetition % 2 == 0 else reversed(_VARIANTS):
                tell(f"{repetition + 1} of {repetitions}: {_VARIANTS[name]} ...\n")
                async with session(service) as url:
                    arguments = ("--child", name, url, "--seconds", str(seconds))
                    output = await in_child("benchmarks.receiver_cpu", *arguments, limit_s=2 * seconds)
                    costs[name].append(Cost(**output))
    return costs


def table(costs: dict[str, list[Cost]]) -> str:
    """Medians: % of a core, times decoding, and times bare aiortc (the median over the pairs)."""
    lines = [f"{'':52}{'% of a core':>12}{'x decoding':>12}{'x bare':>8}{'worst':>8}{'pictures/s':>12}"]
    for name, label in _VARIANTS.items():
        shares = [100 * cost.cpu_s / cost.wall_s for cost in costs[name]] if name != "decode" else _of_real_time(costs)
        ratios = [
            _per_picture(one) / _per_picture(other) for one, other in zip(costs[name], costs["bare"], strict=True)
        ]
        of_decoding = _median_per_picture(costs[name]) / _median_per_picture(costs["decode"])
        rate = statistics.median(cost.pictures / cost.wall_s for cost in costs[name])
        lines.append(
            f"{label:52}{statistics.median(shares):12.1f}{of_decoding:12.2f}{statistics.median(ratios):8.2f}"
            f"{max(ratios):8.2f}{rate:12.1f}"
        )
    return "\n".join(lines)


def _of_real_time(costs: dict[str, list[Cost]]) -> list[float]:
    """What decoding would take of a core if the pictures came at their own rate."""
    return [100 * _per_picture(cost) * _SETTINGS.fps for cost in costs["decode"]]


def _per_picture(cost: Cost) -> float:
    return cost.cpu_s / max(1, cost.pictures)


def _median_per_picture(costs: Sequence[Cost]) -> float:
    return statistics.median(map(_per_picture, costs))


def ratio(costs: dict[str, list[Cost]]) -> float:
    """CPU time of ours, into the FrameStream, by that of bare aiortc: the median over the pairs."""
    return statistics.median(
        _per_picture(one) / _per_picture(other) for one, other in zip(costs["stream"], costs["bare"], strict=True)
    )


def _arguments() -> argparse.Namespace:
    description = (__doc__ or "").split("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.receiver_cpu", description=description)
    parser.add_argument("--seconds", type=float, default=20, help="of each measurement (default: 20)")
    parser.add_argument("--repetitions", type=int, default=5, help="of each variant (default: 5)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every measurement there")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.seconds < 1 or arguments.repetitions < 1:
        parser.error("--seconds and --repetitions must be at least 1")
    return arguments


def _child(name: str, url: str, seconds: float) -> Cost:
    if name == "decode":
        return _decode(seconds)
    return asyncio.run({"bare": _bare, "stream": _stream, "run": _run}[name](url, seconds))


def main() -> int:
    """Measure, print, judge."""
    arguments = _arguments()
    if arguments.child:
        name, url = arguments.child
        sys.stdout.write(json.dumps(asdict(_child(name, url, arguments.seconds))))
        return 0
    costs = asyncio.run(_measure_all(arguments.repetitions, arguments.seconds, sys.stderr.write))
    holds = ratio(costs) <= ALLOWED
    verdict = f"CPU for receiving {ratio(costs):.2f} times bare aiortc's (allowed {ALLOWED})"
    sys.stdout.write(f"{table(costs)}\n\n{'yes' if holds else 'NO ':4} {verdict}\n")
    if arguments.json is not None:
        content = {name: [asdict(cost) for cost in each] for name, each in costs.items()}
        arguments.json.write_text(json.dumps(content, indent=1) + "\n")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
