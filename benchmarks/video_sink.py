"""What the sink `video` costs beside decoding: CPU time of a 720p picture, and the size of the file.

    python -m benchmarks.video_sink [--media FOLDER] [--pictures 90] [--repetitions 5] [--json FILE]

The pictures are decoded from H264 at 2.5 Mbit/s as live senders code it: the simulator's drawn head, and a clip; with
the face's landmarks, and a second of sound for each second of pictures. The variants take turns with decoding in one
thread; a ratio is the median over the pairs. What is judged is the default, on the clip. Exits with status 1 where the
verdict is NO.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import av
import numpy as np

from benchmarks.coding import coded
from benchmarks.landmark_variants import FPS
from benchmarks.landmarks import Image, drawn, letterboxed
from processors.face_landmarks import FaceLandmarksProcessor
from tests.clips import MEDIA
from vision import StreamInfo
from vision.frame import Picture
from vision.movie import Movie
from vision.sinks.video import VideoOptions
from vision.sinks.video.backlog import Shot
from vision.sinks.video.recorder import Recorder
from vision.testing import make_frame

MOST_DECODES = 5.0
"""How many times decoding the default may cost; x264 alone takes three."""

VARIANTS = {
    "default": VideoOptions(),
    "without overlays": VideoOptions(overlays=[]),
    "height: 360": VideoOptions(height=360),
    "preset: superfast": VideoOptions(preset="superfast"),
    "preset: veryfast": VideoOptions(preset="veryfast"),
}
_CLIP = "sad_WDA_AlexandriaOcasioCortez_000.mp4"
_SOUND_HZ = 48_000


def decode(packets: Sequence[bytes]) -> Iterator[Picture]:
    """The pictures, decoded in one thread."""
    decoder = av.CodecContext.create("h264", "r")
    decoder.thread_count = 1
    for packet in (*map(av.Packet, packets), None):
        for frame in decoder.decode(packet):
            i420 = np.asarray(frame.to_ndarray(format="yuv420p"), np.uint8)
            height, width = i420.shape[0] * 2 // 3, i420.shape[1]
            yield Picture(i420[:height], *i420[height:].reshape(2, height // 2, width // 2))


def shots(pictures: Iterable[Picture]) -> list[Shot]:
    """What the sink gets of them: landmarks, and a voice's worth of noise."""
    processor, noise = FaceLandmarksProcessor(), np.random.default_rng(0)
    processor.setup(StreamInfo(live=False))
    found = []
    for index, picture in enumerate(pictures):
        heard = noise.normal(0, 0.1, _SOUND_HZ // FPS).astype(np.float32)
        frame = make_frame(picture, index=index, fps=FPS, samples=heard, rate_hz=_SOUND_HZ)
        found.append(Shot(frame, {"face_landmarks": processor.process(frame)}))
    processor.close()
    return found


def record(given: Sequence[Shot], options: VideoOptions, path: Path) -> None:
    """Draw and encode them, as the sink's thread does."""
    make = partial(Movie, path, preset=options.preset, crf=options.crf)
    recorder = Recorder(make, options.height, options.overlays)
    for shot in given:
        recorder.add(shot)
    recorder.close()


def _cpu_ms(work: partial[None], count: int) -> float:
    begun = time.process_time()
    work()
    return 1000 * (time.process_time() - begun) / count


def _decode_only(packets: Sequence[bytes]) -> None:
    decoder = av.CodecContext.create("h264", "r")
    decoder.thread_count = 1
    for packet in map(av.Packet, packets):
        decoder.decode(packet)


def measure(pictures: Iterable[Image], repetitions: int) -> dict[str, list[dict[str, float]]]:
    """Per variant and repetition: CPU ms of a picture, in decodes, and Mbit/s."""
    packets = coded(pictures, FPS, 2_500_000)
    given, found = shots(decode(packets)), {name: list[dict[str, float]]() for name in VARIANTS}
    for repetition in range(repetitions):
        sys.stderr.write(f"{repetition + 1} of {repetitions} ...\n")
        for name, options in VARIANTS.items():
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "video.mp4"
                decode_ms = _cpu_ms(partial(_decode_only, packets), len(packets))
                cpu_ms = _cpu_ms(partial(record, given, options, path), len(given))
                mbit_s = path.stat().st_size * 8 * FPS / len(given) / 1e6
            found[name].append({"cpu_ms": cpu_ms, "decodes": cpu_ms / decode_ms, "mbit_s": mbit_s})
    return found


def table(title: str, found: dict[str, list[dict[str, float]]]) -> str:
    """A line for each variant; medians."""
    lines = [f"{title:24}{'CPU ms':>8}{'decodes':>9}{'Mbit/s':>8}"]
    for name, rows in found.items():
        cpu_ms, decodes, mbit_s = (_median(rows, figure) for figure in ("cpu_ms", "decodes", "mbit_s"))
        lines.append(f"{name:24}{cpu_ms:8.2f}{decodes:9.2f}{mbit_s:8.2f}")
    return "\n".join(lines)


def _median(rows: Sequence[dict[str, float]], figure: str) -> float:
    return statistics.median(row[figure] for row in rows)


def main() -> int:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.video_sink", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--media", type=Path, default=MEDIA, help="folder of the clips")
    parser.add_argument("--pictures", type=int, default=90, help="of each measurement (default: 90)")
    parser.add_argument("--repetitions", type=int, default=5, help="of each variant (default: 5)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every measurement there")
    arguments = parser.parse_args()
    sequences: dict[str, Iterable[Image]] = {"drawn head": drawn(arguments.pictures)}
    if (clip := arguments.media / _CLIP).is_file():
        sequences["clip"] = letterboxed(clip, arguments.pictures)
    else:
        sys.stdout.write(f"left out: clip; no {_CLIP} in {arguments.media} (--media)\n")
    found = {title: measure(pictures, arguments.repetitions) for title, pictures in sequences.items()}
    for title, each in found.items():
        sys.stdout.write(f"{table(title, each)}\n\n")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")
    if "clip" not in found:
        return 0
    decodes = _median(found["clip"]["default"], "decodes")
    holds = decodes <= MOST_DECODES
    sys.stdout.write(f"{'yes' if holds else 'NO '} the default takes {decodes:.2f} decodes (allowed {MOST_DECODES})\n")
    return int(not holds)


if __name__ == "__main__":
    sys.exit(main())
