"""When noise begins and ends in coded pictures, by `frame_quality`: bursts in the simulator's head and in real clips.

    python -m benchmarks.coded_noise [--seeds 3] [--jobs 2] [--media DIR] [--json FILE]

An encoder that has no bits for noise smears it, passes pictures over, and takes pictures to get rid of what is left.
Bursts of 0.6 to 1.6 s of the simulator's noise are planted anywhere between key pictures, and coded by its encoder; in
clips, which are repeated forwards and backwards, at three times each. A burst is right where one incident overlaps it
that begins and ends within 100 ms of it. Exits with status 1 where fewer than 95 % are right for a stream of the
simulator, or an incident is elsewhere. 720p VP8 at 1 Mbit/s, a known limit, and clips are told, and not judged.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from tests.clips import MEDIA
from tests.processors.footage import FPS, Image, filling, simulated
from tests.processors.streams import incidents, sent
from vision.incidents import Incident
from vision.simulator.effects import PICTURE_EFFECTS
from vision.simulator.settings import Fault, SimulatorSettings

__all__ = ["Burst", "Found", "Stream", "bursts_of", "held_against", "table"]

_TARGET, _WITHIN_S = 0.95, 0.1
_BURSTS, _LEAD_S, _REST_S = 5, 2.5, 1.5
_IN_CLIPS_S = ((1.66, 2.83), (4.66, 5.0), (6.33, 7.83))
_VERDICTS = {True: "yes", False: "NO ", None: "   "}
_SIZES = {108: (192, 108), 360: (640, 360), 720: (1280, 720)}


@dataclass(frozen=True, slots=True)
class Stream:
    """How pictures are coded.

    :ivar clip: what they show, else the simulator's head.
    """

    codec: str
    lines: int
    mbit_s: float
    fps: int = FPS
    clip: Path | None = None

    @property
    def name(self) -> str:
        """Without the clip's own."""
        shows = f"{self.fps} fps" if self.clip is None else "clips"
        return f"{self.codec:5}{self.lines:>4}p{self.mbit_s:>5g} Mbit/s  {shows}"

    @property
    def is_judged(self) -> bool:
        """Whether bursts must be found in it."""
        return self.clip is None and (self.codec, self.lines, self.mbit_s) != ("vp8", 720, 1)

    def settings(self, seed: int, faults: Sequence[Fault] = ()) -> SimulatorSettings:
        """For the simulator's encoder."""
        return SimulatorSettings.model_validate(
            {
                "size": _SIZES[self.lines],
                "codec": self.codec,
                "bitrate_bps": 1e6 * self.mbit_s,
                "fps": self.fps,
                "seed": seed,
                "faults": faults,
            }
        )


STREAMS = tuple(
    Stream(codec, lines, mbit_s, fps)
    for codec, lines, rates in (
        ("h264", 720, (4, 2.5)),
        ("h264", 360, (2.5, 1, 0.6)),
        ("h264", 108, (1,)),
        ("vp8", 720, (4, 2.5, 1)),
        ("vp8", 360, (2.5, 1)),
    )
    for mbit_s in rates
    for fps in (30, 25)
)


@dataclass(frozen=True, slots=True)
class Burst:
    """What became of one.

    :ivar start_s: of its incident less its own, and `end_s` likewise; none, where not exactly one overlaps it.
    """

    start_s: float | None
    end_s: float | None

    @property
    def is_right(self) -> bool:
        """Whether both are within 100 ms."""
        return all(error_s is not None and abs(error_s) <= _WITHIN_S + 1e-6 for error_s in (self.start_s, self.end_s))


@dataclass(frozen=True, slots=True)
class Found:
    """In one stream."""

    stream: Stream
    bursts: tuple[Burst, ...]
    elsewhere: int


def bursts_of(stream: Stream, seed: int) -> Found:
    """Plant, code, measure."""
    if stream.clip is None:
        faults = _planted(seed)
        settings = stream.settings(seed, faults)
        pictures = simulated(settings, faults[-1].end_s + _REST_S)
    else:
        faults = [Fault(kind="noise", start_s=from_s, duration_s=to_s - from_s) for from_s, to_s in _IN_CLIPS_S]
        settings = stream.settings(seed)
        pictures = _noisy(_to_and_fro(stream.clip, settings.size), faults)
    return held_against(stream, faults, [each for each in incidents(sent(pictures, settings)) if each.kind == "noise"])


def _planted(seed: int) -> list[Fault]:
    rng = np.random.default_rng(seed)
    faults, at_s = list[Fault](), _LEAD_S + rng.random()
    for _ in range(_BURSTS):
        faults.append(Fault(kind="noise", start_s=at_s, duration_s=0.6 + rng.random()))
        at_s = faults[-1].end_s + _REST_S + rng.random()
    return faults


def _to_and_fro(clip: Path, size: tuple[int, int]) -> Iterator[Image]:
    images = list(filling(clip, size, 150))
    while True:
        yield from images
        yield from reversed(images)


def _noisy(images: Iterable[Image], faults: Sequence[Fault]) -> Iterator[tuple[float, Image]]:
    rng = np.random.default_rng(1)
    for index, image in enumerate(islice(images, round((faults[-1].end_s + _REST_S) * FPS))):
        time_s = index / FPS
        noisy = any(fault.start_s <= time_s < fault.end_s for fault in faults)
        yield time_s, PICTURE_EFFECTS["noise"](image, rng) if noisy else image


def held_against(stream: Stream, faults: Sequence[Fault], found: Sequence[Incident]) -> Found:
    """What became of the bursts, by the incidents of the kind."""
    bursts, theirs = list[Burst](), 0
    for fault in faults:
        # a fault begins and ends with a picture: up to one after its time
        start_s, end_s = (math.ceil(time_s * stream.fps) / stream.fps for time_s in (fault.start_s, fault.end_s))
        near = [each for each in found if each.start_s < end_s + _WITHIN_S and each.end_s > start_s]
        theirs += len(near)
        errors = (near[0].start_s - start_s, near[0].end_s - end_s) if len(near) == 1 else (None, None)
        bursts.append(Burst(*errors))
    return Found(stream, tuple(bursts), len(found) - theirs)


def table(found: Iterable[Found]) -> Iterator[tuple[bool | None, str]]:
    """A line for each way of coding, and whether it is good enough; `None` where that is not asked."""
    together: dict[str, list[Found]] = {}
    for each in found:
        together.setdefault(each.stream.name, []).append(each)
    for name, theirs in together.items():
        bursts = [burst for each in theirs for burst in each.bursts]
        right, elsewhere = sum(burst.is_right for burst in bursts), sum(each.elsewhere for each in theirs)
        holds = right >= _TARGET * len(bursts) and not elsewhere
        yield (
            holds if theirs[0].stream.is_judged else None,
            f"{name:28}{right:>4} of {len(bursts):>3}, elsewhere {elsewhere}",
        )


def _arguments() -> argparse.Namespace:
    description = (__doc__ or "").split("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.coded_noise", description=description)
    parser.add_argument("--seeds", type=int, default=3, help="five bursts each, of each stream (default: 3)")
    parser.add_argument("--jobs", type=int, default=2, help="streams side by side (default: 2)")
    parser.add_argument("--media", type=Path, default=MEDIA, help="folder of the clips")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every burst there")
    arguments = parser.parse_args()
    if min(arguments.seeds, arguments.jobs) < 1:
        parser.error("--seeds and --jobs must be at least 1")
    return arguments


def main() -> int:
    """Measure, print, judge."""
    given = _arguments()
    clips = [path for path in sorted(given.media.glob("*")) if path.suffix in (".mp4", ".mpg")]
    if not clips:
        sys.stderr.write(f"no clips in {given.media} (--media): the simulator's head alone\n")
    wanted = [(stream, seed) for stream in STREAMS for seed in range(1, given.seeds + 1)]
    wanted += [
        (Stream(codec, lines, 2.5, FPS, clip), 1) for codec in ("h264", "vp8") for lines in (720, 360) for clip in clips
    ]
    found = []
    with ProcessPoolExecutor(given.jobs) as pool:
        for each in pool.map(bursts_of, *zip(*wanted, strict=True)):
            found.append(each)
            sys.stderr.write(f"{len(found)} of {len(wanted)} streams\r")
    lines = list(table(found))
    for holds, text in lines:
        sys.stdout.write(f"{_VERDICTS[holds]} {text}\n")
    if given.json is not None:
        given.json.write_text(json.dumps([_plain(each) for each in found], indent=1) + "\n")
    return 1 if any(holds is False for holds, _ in lines) else 0


def _plain(found: Found) -> dict[str, object]:
    bursts = [{"start_s": burst.start_s, "end_s": burst.end_s} for burst in found.bursts]
    clip = None if found.stream.clip is None else found.stream.clip.name
    return {"stream": found.stream.name, "clip": clip, "bursts": bursts, "elsewhere": found.elsewhere}


if __name__ == "__main__":
    sys.exit(main())
