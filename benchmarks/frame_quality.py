"""What `frame_quality` costs beside decoding, and beside libav's filters for the same measures.

    python -m benchmarks.frame_quality [--media FOLDER] [--pictures 240] [--repetitions 5] [--json FILE]

Real footage, scaled to fill 1280x720 and 1920x1080, is coded as live senders that use x264 do (OBS, GStreamer): High
profile, preset veryfast, tune zerolatency, constant bit rate, a key frame every two seconds, no B-frames. Each picture
is decoded by one thread and then measured, so that both are timed in turns on the same data; libav's filters get some
of the same pictures. All figures are CPU time (user and system) of a picture, medians over the repetitions. Exits with
status 1 where a verdict is NO.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import TypeVar

import av
import cv2
from av.filter import Graph

from processors.frame_quality import FrameQualityProcessor, FrameStatisticsProcessor
from processors.frame_quality.detail import muijs_kirenko, spatial_information
from processors.frame_quality.figures import colour_of, detail_of, light_of
from processors.frame_quality.flashes import FlashCounter
from processors.frame_quality.histograms import Chroma
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

_KEY_FRAME_S = 2
_LEAST_HEIGHT = 500  # of a clip: smaller ones have too little detail for these sizes
_FILTERED = 24  # pictures of a repetition that libav's filters get: they take up to a tenth of a second each
_CLOCK = ClockQuality("file", 0.0)

SHARED_FILTERS = ("signalstats", "entropy", "scdet", "freezedetect", "blackdetect")
"""Those that measure what these groups do, and little else."""

SHARED_GROUPS = ("light (histogram of Y)", "colour (histogram of U and V)", "differences, TI, cuts, freezedetect")

DEFAULT_FILTERS = (*SHARED_FILTERS, "siti")
"""Those for what `frame_quality` measures; siti, for TI, also computes SI."""

STATISTICS_FILTERS = ("signalstats", "entropy", "siti", "blockdetect")
"""Those for what `frame_statistics` measures."""

FILTERS = {"shared": SHARED_FILTERS, "default": DEFAULT_FILTERS, "statistics": STATISTICS_FILTERS}

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Repetition:
    """CPU time of a picture, ms: decoding, processors, libav's filters, and the groups of metrics each by itself."""

    decode: float
    frame_quality: float
    frame_statistics: float
    filters: dict[str, float]
    groups: dict[str, float]

    @property
    def shared(self) -> float:
        """Of the groups that libav has filters for."""
        return sum(self.groups[name] for name in SHARED_GROUPS)


def footage(clips: Sequence[Path], size: tuple[int, int], count: int) -> Iterator[Image]:
    """As many pictures of each clip."""
    for clip in clips:
        yield from filling(clip, size, -(-count // len(clips)))


def encoder_settings(bit_rate: int) -> dict[str, str]:
    """Of x264, as live senders set it."""
    rate = bit_rate // 1000
    return {
        "preset": "veryfast",
        "tune": "zerolatency",
        "x264-params": f"nal-hrd=cbr:vbv-maxrate={rate}:vbv-bufsize={rate}:keyint={FPS * _KEY_FRAME_S}:bframes=0",
    }


def coded(images: Iterator[Image], size: tuple[int, int], bit_rate: int) -> list[bytes]:
    """The packets of a stream."""
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height = size
    encoder.pix_fmt, encoder.bit_rate, encoder.thread_count = "yuv420p", bit_rate, 1
    encoder.framerate, encoder.time_base = Fraction(FPS), Fraction(1, FPS)
    encoder.options = encoder_settings(bit_rate)
    packets = []
    for index, image in enumerate(images):
        frame = av.VideoFrame.from_ndarray(image, format="yuv420p")
        frame.pts = index
        packets += [bytes(packet) for packet in encoder.encode(frame)]
    return packets + [bytes(packet) for packet in encoder.encode(None)]


class _Stopwatch:
    """Adds up the CPU time of this process, all its threads, ms a call."""

    def __init__(self) -> None:
        self._spent_s, self._calls = 0.0, 0

    def time(self, work: Callable[[], T]) -> T:
        """Do it; what it gives."""
        began_s = time.process_time()
        result = work()
        self._spent_s += time.process_time() - began_s
        self._calls += 1
        return result

    @property
    def ms(self) -> float:
        """Of a picture."""
        return self._spent_s / self._calls * 1000


def _groups() -> dict[str, Callable[[Frame], object]]:
    """The groups of metrics, each as if it were alone: it makes the views that it shares with others."""
    motion, stillness, flashes = Motion(1e-3), Stillness(2, 5), FlashCounter()
    return {
        SHARED_GROUPS[0]: lambda frame: light_of(frame.picture, 0.1),
        SHARED_GROUPS[1]: lambda frame: colour_of(Chroma(frame.picture.chroma_histogram), full_range=False),
        SHARED_GROUPS[2]: lambda frame: motion.add(frame.picture),
        "sharpness, tenengrad, noise, blockiness": lambda frame: detail_of(frame.picture, 360),
        "freeze": lambda frame: stillness.add(frame.picture),
        "flashes": lambda frame: flashes.add(frame.time_s, frame.picture),
        "* SI": lambda frame: spatial_information(frame.picture),
        "* blockdetect": lambda frame: muijs_kirenko(frame.picture.y, 3, 24),
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


def measure(packets: Sequence[bytes], size: tuple[int, int]) -> Repetition:
    """Go once through a stream; picture by picture everything is timed in turns."""
    decoder = av.CodecContext.create("h264", "r")
    assert isinstance(decoder, av.VideoCodecContext)
    decoder.thread_count = 1
    quality, dear, groups = FrameQualityProcessor(), FrameStatisticsProcessor(), _groups()
    filters = {name: _Filters(names, size) for name, names in FILTERS.items()}
    watches = {name: _Stopwatch() for name in ("decode", "quality", "dear", *groups, *filters)}
    index = 0
    for packet in map(av.Packet, packets):
        for video in watches["decode"].time(partial(decoder.decode, packet)):
            watches["quality"].time(partial(quality.process, _frame(video, index)))
            watches["dear"].time(partial(dear.process, _frame(video, index)))
            for name, group in groups.items():
                frame = _frame(video, index)
                if name != SHARED_GROUPS[0]:
                    _ = frame.picture.histogram  # what light has made
                watches[name].time(partial(group, frame))
            for name, each in filters.items() if index < _FILTERED else ():
                watches[name].time(partial(each.add, video, index))
            index += 1
    return Repetition(
        decode=watches["decode"].ms,
        frame_quality=watches["quality"].ms,
        frame_statistics=watches["dear"].ms,
        filters={name: watches[name].ms for name in filters},
        groups={name: watches[name].ms for name in groups},
    )


def _frame(video: av.VideoFrame, index: int) -> Frame:
    """With a picture that has no views yet."""
    return Frame(index, index / FPS, index / FPS, _CLOCK, maybe_picture=picture_of(video))


def table(size: tuple[int, int], repetitions: Sequence[Repetition]) -> str:
    """A line for each thing that was timed; medians."""
    decode = median([each.decode for each in repetitions])
    rows = {
        "decoding (PyAV, one thread)": [each.decode for each in repetitions],
        "frame_quality": [each.frame_quality for each in repetitions],
        **{f"  {name}": [each.groups[name] for each in repetitions] for name in repetitions[0].groups},
        "frame_statistics (it alone has *)": [each.frame_statistics for each in repetitions],
        **{f"libav: {', '.join(FILTERS[name])}": [each.filters[name] for each in repetitions] for name in FILTERS},
    }
    lines = [f"{name:70}{median(row):8.2f}{median(row) / decode:9.2f}" for name, row in rows.items()]
    return "\n".join([f"{f'{size[0]}x{size[1]}':70}{'CPU ms':>8}{'decodes':>9}", *lines])


def verdicts(repetitions: Sequence[Repetition]) -> Iterator[tuple[bool, str]]:
    """Whether it is cheap enough, and enough faster than libav; medians of the ratios."""
    decodes = median(each.frame_quality / each.decode for each in repetitions)
    yield decodes <= MOST_DECODES, f"frame_quality takes {decodes:.2f} decodes (allowed {MOST_DECODES})"
    for what, filters, faster in (
        ("frame_quality", "default", median(each.filters["default"] / each.frame_quality for each in repetitions)),
        ("frame_statistics", "statistics", median(e.filters["statistics"] / e.frame_statistics for e in repetitions)),
    ):
        told = f"{what} is {faster:.1f} times faster than {', '.join(FILTERS[filters])}"
        yield faster >= LEAST_TIMES_FASTER, f"{told} (wanted {LEAST_TIMES_FASTER:g})"


def finding(repetitions: Sequence[Repetition]) -> str:
    """How the groups that libav has cheap filters for compare with these alone."""
    faster = median(each.filters["shared"] / each.shared for each in repetitions)
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
    found: dict[tuple[int, int], list[Repetition]] = {}
    for size, bit_rate in STREAMS.items():
        packets = coded(footage(arguments.clips, size, arguments.pictures), size, bit_rate)
        rate = sum(map(len, packets)) * 8 * FPS / len(packets) / 1e6
        settings = ", ".join(f"{name} {value}" for name, value in encoder_settings(bit_rate).items())
        sys.stdout.write(f"x264 {settings}: {len(packets)} pictures, {rate:.2f} Mbit/s\n")
        found[size] = []
        for repetition in range(arguments.repetitions):
            sys.stderr.write(f"{repetition + 1} of {arguments.repetitions} ...\n")
            found[size].append(measure(packets, size))
        sys.stdout.write(f"{table(size, found[size])}\n\n")
    if arguments.json is not None:
        content = {f"{size[0]}x{size[1]}": [asdict(each) for each in every] for size, every in found.items()}
        arguments.json.write_text(json.dumps(content, indent=1) + "\n")
    return _judged(found)


def _judged(found: dict[tuple[int, int], list[Repetition]]) -> int:
    passed = True
    for size, repetitions in found.items():
        for holds, text in verdicts(repetitions):
            sys.stdout.write(f"{'yes' if holds else 'NO ':4} {size[1]}p: {text}\n")
            passed = passed and holds
        sys.stdout.write(f"     {size[1]}p: {finding(repetitions)}\n")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
