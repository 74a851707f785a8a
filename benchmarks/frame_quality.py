"""What `frame_quality` costs beside decoding, and beside libav's filters for the same measures.

    python -m benchmarks.frame_quality [--media FOLDER] [--pictures 240] [--repetitions 5] [--json FILE]

Real footage, scaled to fill 1280x720 and 1920x1080, is coded as live senders do (`benchmarks.coding`). Each picture is
decoded by one thread and then measured, so that both are timed in turns on the same data; libav's filters get some of
the same pictures. All figures are CPU time (user and system): of each picture the median over the repetitions, and the
mean of these over the pictures. Exits with status 1 where a verdict is NO.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import av
import cv2
import numpy as np
from av.filter import Graph

from benchmarks.coding import coded
from processors.frame_quality import FrameQualityProcessor, FrameStatisticsProcessor
from processors.frame_quality.detail import muijs_kirenko, spatial_information
from processors.frame_quality.figures import colour_of, detail_of, light_of
from processors.frame_quality.flashes import FlashCounter
from processors.frame_quality.histograms import Chroma, sampled_chroma
from processors.frame_quality.motion import Motion
from processors.frame_quality.stillness import Stillness
from tests.clips import MEDIA
from tests.processors.footage import FPS, Image, filling
from vision import ClockQuality, Frame
from vision.connectors.decoding import picture_of

MOST_DECODES = 1.3
"""How many times decoding the default set may cost."""

LEAST_TIMES_FASTER = 5.0
"""How many times faster than libav's filters it must be."""

STREAMS = {(1280, 720): 2_500_000, (1920, 1080): 5_000_000}
"""Bit rates by size."""

_LEAST_HEIGHT = 500  # of a clip: smaller ones have too little detail for these sizes
_FILTERED = 24  # pictures of a repetition that libav's filters get: they take up to a tenth of a second each
_CLOCK = ClockQuality("file", 0.0)

SHARED_FILTERS = ("signalstats", "entropy", "scdet", "freezedetect", "blackdetect")
"""Those that measure what these groups do, and little else."""

SHARED_GROUPS = (
    "  light (mean, deviation, histogram of Y)",
    "  colour (means, histogram of U and V)",
    "  differences, TI, cuts, freezedetect",
)

DEFAULT_FILTERS = (*SHARED_FILTERS, "siti")
"""Those for what `frame_quality` measures; siti, for TI, also computes SI."""

STATISTICS_FILTERS = ("signalstats", "entropy", "siti", "blockdetect")
"""Those for what `frame_statistics` measures."""

DECODING, QUALITY, STATISTICS = "decoding (PyAV, one thread)", "frame_quality", "frame_statistics (it alone has *)"

T = TypeVar("T")


class Costs:
    """CPU time of everything that was timed, picture by picture."""

    def __init__(self, repetitions: Sequence[Mapping[str, Sequence[float]]]) -> None:
        self._spent_ms = {name: np.array([each[name] for each in repetitions]) for name in repetitions[0]}

    @property
    def names(self) -> list[str]:
        """Of what was timed."""
        return list(self._spent_ms)

    def ms(self, *names: str) -> float:
        """Of a picture: the median of the repetitions, which a busy machine disturbs, and the mean of the pictures."""
        return sum(float(np.median(self._spent_ms[name], axis=0).mean()) for name in names)

    def ratio(self, one: str, *others: str) -> float:
        """Of one to others together."""
        return self.ms(one) / self.ms(*others)

    def as_dict(self) -> dict[str, list[list[float]]]:
        """Every measurement, ms: name -> repetition -> picture."""
        return {name: spent.tolist() for name, spent in self._spent_ms.items()}


def footage(clips: Sequence[Path], size: tuple[int, int], count: int) -> Iterator[Image]:
    """As many pictures of each clip."""
    for clip in clips:
        yield from filling(clip, size, -(-count // len(clips)))


class _Stopwatch:
    """Keeps the CPU time of this process, all its threads, ms a call."""

    def __init__(self) -> None:
        self.spent_ms: list[float] = []

    def time(self, work: Callable[[], T]) -> T:
        """Do it; what it gives."""
        began_s = time.process_time()
        result = work()
        self.spent_ms.append((time.process_time() - began_s) * 1000)
        return result


def _groups() -> dict[str, Callable[[Frame], object]]:
    """The groups of metrics, each as if it were alone: it makes the views that it shares with others."""
    motion, stillness, flashes = Motion(1e-3), Stillness(2, 5), FlashCounter()
    return {
        SHARED_GROUPS[0]: lambda frame: light_of(frame.picture, 0.1),
        SHARED_GROUPS[1]: lambda frame: colour_of(frame.picture, Chroma(sampled_chroma(frame.picture))),
        SHARED_GROUPS[2]: lambda frame: motion.add(frame.picture),
        "  sharpness, tenengrad, noise, blockiness": lambda frame: detail_of(frame.picture, 360),
        "  freeze": lambda frame: stillness.add(frame.picture),
        "  flashes": lambda frame: flashes.add(frame.time_s, frame.picture),
        "  * SI": lambda frame: spatial_information(frame.picture),
        "  * blockdetect": lambda frame: muijs_kirenko(frame.picture.y, 3, 24),
    }


class _Filters:
    """A graph of libav's filters, one after the other."""

    def __init__(self, names: Sequence[str], size: tuple[int, int]) -> None:
        graph = Graph()
        video = f"video_size={size[0]}x{size[1]}:pix_fmt=yuv420p:time_base=1/{FPS}:pixel_aspect=1/1"
        nodes = [graph.add("buffer", video), *(graph.add(name) for name in names), graph.add("buffersink")]
        for node, following in pairwise(nodes):
            node.link_to(following)
        graph.configure()
        self._graph, self._source, self._sink = graph, nodes[0], nodes[-1]

    def add(self, frame: av.VideoFrame, index: int) -> None:
        """Put a picture through."""
        frame.pts, frame.time_base = index, Fraction(1, FPS)
        self._source.push(frame)
        self._sink.pull()


def measure(packets: Sequence[bytes], size: tuple[int, int]) -> dict[str, list[float]]:
    """Go once through a stream; picture by picture everything is timed in turns."""
    decoder = av.CodecContext.create("h264", "r")
    assert isinstance(decoder, av.VideoCodecContext)
    decoder.thread_count = 1
    quality, dear, groups = FrameQualityProcessor(), FrameStatisticsProcessor(), _groups()
    filters = {_label(names): _Filters(names, size) for names in (SHARED_FILTERS, DEFAULT_FILTERS, STATISTICS_FILTERS)}
    watches = {name: _Stopwatch() for name in (DECODING, QUALITY, *groups, STATISTICS, *filters)}
    index = 0
    for packet in map(av.Packet, packets):
        for video in watches[DECODING].time(partial(decoder.decode, packet)):
            watches[QUALITY].time(partial(quality.process, _frame(video, index)))
            watches[STATISTICS].time(partial(dear.process, _frame(video, index)))
            for name, group in groups.items():
                watches[name].time(partial(group, _frame(video, index)))
            for name, each in filters.items() if index < _FILTERED else ():
                watches[name].time(partial(each.add, video, index))
            index += 1
    return {name: watch.spent_ms for name, watch in watches.items()}


def _label(filters: Sequence[str]) -> str:
    return f"libav: {', '.join(filters)}"


def _frame(video: av.VideoFrame, index: int) -> Frame:
    """With a picture that has no views yet."""
    return Frame(index, index / FPS, index / FPS, _CLOCK, maybe_picture=picture_of(video))


def table(size: tuple[int, int], costs: Costs) -> str:
    """A line for each thing that was timed."""
    lines = [f"{f'{size[0]}x{size[1]}':80}{'CPU ms':>8}{'decodes':>9}"]
    lines += [f"{name:80}{costs.ms(name):8.2f}{costs.ratio(name, DECODING):9.2f}" for name in costs.names]
    return "\n".join(lines)


def verdicts(costs: Costs) -> Iterator[tuple[bool, str]]:
    """Whether it is cheap enough, and enough faster than libav."""
    decodes = costs.ratio(QUALITY, DECODING)
    yield decodes <= MOST_DECODES, f"frame_quality takes {decodes:.2f} decodes (allowed {MOST_DECODES})"
    for what, filters in ((QUALITY, DEFAULT_FILTERS), (STATISTICS, STATISTICS_FILTERS)):
        faster = costs.ratio(_label(filters), what)
        yield faster >= LEAST_TIMES_FASTER, f"{what}: {faster:.1f} times faster (wanted {LEAST_TIMES_FASTER:g})"


def finding(costs: Costs) -> str:
    """How the groups that libav has cheap filters for compare with these alone."""
    faster = costs.ratio(_label(SHARED_FILTERS), *SHARED_GROUPS)
    return f"finding: light, colour and differences are {faster:.1f} times faster than {', '.join(SHARED_FILTERS)}"


def _arguments() -> argparse.Namespace:
    description = (__doc__ or "").split("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.frame_quality", description=description)
    parser.add_argument("--media", type=Path, default=MEDIA, help="folder of the clips")
    parser.add_argument("--pictures", type=int, default=240, help="of a stream (default: 240)")
    parser.add_argument("--repetitions", type=int, default=5, help="of each measurement (default: 5)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every measurement there")
    arguments = parser.parse_args()
    if arguments.pictures < _FILTERED or arguments.repetitions < 1:
        parser.error(f"--pictures must be at least {_FILTERED}, --repetitions at least 1")
    arguments.clips = [clip for clip in sorted(arguments.media.glob("*.mp4")) if _height(clip) >= _LEAST_HEIGHT]
    if not arguments.clips:
        parser.error(f"no clip of {_LEAST_HEIGHT} lines or more in {arguments.media} (--media)")
    return arguments


def _height(clip: Path) -> int:
    with av.open(str(clip)) as container:
        return container.streams.video[0].height


def main() -> int:
    """Measure, print, judge."""
    arguments = _arguments()
    cv2.setNumThreads(1)
    found: dict[tuple[int, int], Costs] = {}
    for size, bit_rate in STREAMS.items():
        packets = coded(footage(arguments.clips, size, arguments.pictures), FPS, bit_rate)
        rate = sum(map(len, packets)) * 8 * FPS / len(packets) / 1e6
        sys.stdout.write(f"{len(packets)} pictures, {rate:.2f} Mbit/s\n")
        repetitions = []
        for repetition in range(arguments.repetitions):
            sys.stderr.write(f"{repetition + 1} of {arguments.repetitions} ...\n")
            repetitions.append(measure(packets, size))
        found[size] = Costs(repetitions)
        sys.stdout.write(f"{table(size, found[size])}\n\n")
    if arguments.json is not None:
        content = {f"{size[0]}x{size[1]}": costs.as_dict() for size, costs in found.items()}
        arguments.json.write_text(json.dumps(content, indent=1) + "\n")
    return _judged(found)


def _judged(found: Mapping[tuple[int, int], Costs]) -> int:
    passed = True
    for size, costs in found.items():
        for holds, text in verdicts(costs):
            sys.stdout.write(f"{'yes' if holds else 'NO ':4} {size[1]}p: {text}\n")
            passed = passed and holds
        sys.stdout.write(f"     {size[1]}p: {finding(costs)}\n")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
