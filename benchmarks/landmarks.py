"""What face landmarks cost and how exact they are: models and engines side by side.

    python -m benchmarks.landmarks [--media FOLDER] [--model FILE] [--pictures 300] [--repetitions 5] [--json FILE]

In one run, each measurement in a process of its own, in turns: the default model, MediaPipe's own bundle as its guide
calls it, the same models by LiteRT, and the default in the processor's worker process. The pictures are 720p, decoded
from H264 at 2.5 Mbit/s as live senders code it: the simulator's drawn head, and a clip. What counts in decodes is
judged on the clip: a drawing costs half as much to decode as real footage. Then what lip-sync makes of each variant's
points (`benchmarks.lip_sync_recipe`), and each clip by itself. Without clips, the official bundle or LiteRT, what needs
them is left out. Linux only. Exits with status 1 where a verdict is NO; LiteRT's is a finding.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import pickle
import statistics
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, cycle, islice
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.coding import coded
from benchmarks.landmark_variants import FPS, REFERENCES, SIZE, VARIANTS, Clip, Cost
from benchmarks.lip_sync_recipe import accuracy_table
from benchmarks.receiving import in_child
from processors.face_landmarks.pose import angles_deg, pose_matrix
from tests.clips import MEDIA
from vision.simulator.settings import SimulatorSettings
from vision.simulator.show import make_show
from vision.simulator.turns import Turns

MOST_OF_OFFICIAL = 0.6
"""How much of the official bundle's CPU time the default may take."""

MOST_DECODES = 3.5
"""How many times decoding the default may cost."""

MOST_DECODES_OF_WORKER = 0.7
"""How much the worker process may add to it, in times decoding."""

LITERT_SAVES, LITERT_IS_OFF_PX = 0.25, 0.1
"""LiteRT holds if it saves so much of the official bundle's CPU time, and its points are no further off on average from
those of the same models run by MediaPipe; from `tracked`, for what `image` differs by is mostly where it looks."""

_MODULE = "benchmarks.landmark_variants"
_NEED_BUNDLE = ("official", "litert")
_CLIP = "sad_WDA_AlexandriaOcasioCortez_000.mp4"  # 512 x 512, 200 pictures
_BLACK, _GREY = 16, 128
_LIMIT_S = 300.0

Image = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Measured:
    """All measurements on one sequence of pictures.

    :ivar costs: of each variant, and of `decode`.
    :ivar points: of each variant, and of the references.
    """

    costs: dict[str, list[Cost]]
    points: dict[str, Clip]

    def ratio(self, name: str, other: str) -> float | None:
        """CPU time of one by that of another: the median over the pairs."""
        if not self.costs.get(name) or not self.costs.get(other):
            return None
        pairs = zip(self.costs[name], self.costs[other], strict=True)
        return statistics.median(one.cpu_ms / two.cpu_ms for one, two in pairs)

    def distances_px(self, name: str, reference: str) -> NDArray[np.float64] | None:
        """Of all points from those of a reference, `(N,)`, where both see a face; `None` without."""
        if name not in self.points or reference not in self.points:
            return None
        one, other = (self.points[each].points_norm[..., :2] * SIZE for each in (name, reference))
        distances = np.linalg.norm(one - other, axis=2)
        seen = distances[~np.isnan(distances)]
        return seen if seen.size else None


def drawn(count: int) -> Iterator[Image]:
    """The simulator's head as it talks, `(H * 3 / 2, W)`."""
    show = make_show(_settings(), Turns())
    for index in range(count):
        yield show.picture(show.face(index / FPS), index / FPS)


def letterboxed(clip: Path, count: int) -> Iterator[Image]:
    """A clip as high as the picture, forwards and backwards, so that nothing jumps."""
    with av.open(str(clip)) as container:
        pictures = [_boxed(picture) for picture in container.decode(video=0)]
    return islice(cycle(chain(pictures, pictures[-2:0:-1])), count)


def _boxed(picture: av.VideoFrame) -> Image:
    width, height = SIZE
    scale = min(width / picture.width, height / picture.height)
    inner = [round(length * scale) // 4 * 4 for length in (picture.width, picture.height)]
    scaled = picture.reformat(width=inner[0], height=inner[1], format="yuv420p")
    i420 = np.asarray(scaled.to_ndarray(), np.uint8)
    x, y = (width - inner[0]) // 4 * 2, (height - inner[1]) // 4 * 2
    planes = (i420[: inner[1]], *i420[inner[1] :].reshape(2, inner[1] // 2, inner[0] // 2))
    boxed = [_put(planes[0], SIZE, (x, y), _BLACK)]
    boxed += [_put(plane, (width // 2, height // 2), (x // 2, y // 2), _GREY) for plane in planes[1:]]
    return np.concatenate([plane.reshape(-1, width) for plane in boxed])


def _put(plane: Image, size: tuple[int, int], at: tuple[int, int], around: int) -> Image:
    right, below = size[0] - at[0] - plane.shape[1], size[1] - at[1] - plane.shape[0]
    bordered = cv2.copyMakeBorder(plane, at[1], below, at[0], right, cv2.BORDER_CONSTANT, value=(around,))
    return np.asarray(bordered, np.uint8)


def _settings() -> SimulatorSettings:
    return SimulatorSettings(size=SIZE, fps=FPS)


def _write(pictures: Iterable[Image], packets: Path, decoded: Path) -> None:
    """Write what a receiver gets: the packets, and the pictures that they decode to."""
    decoder = av.CodecContext.create("h264", "r")
    decoder.thread_count = 1
    contents = coded(pictures, FPS, 2_500_000)
    with decoded.open("wb") as file:
        for packet in (*map(av.Packet, contents), None):
            for frame in decoder.decode(packet):
                file.write(frame.to_ndarray(format="yuv420p").tobytes())
    packets.write_bytes(pickle.dumps(contents))


class _Bench:
    """Runs the children, with a folder for what goes between them."""

    def __init__(self, model: Path | None, folder: Path) -> None:
        self._folder, self._model = folder, model
        self.variants = [name for name in VARIANTS if self._lacks(name) is None]

    def _lacks(self, name: str) -> str | None:
        if name in _NEED_BUNDLE and self._model is None:
            return "official bundle (--model)"
        if name == "litert" and importlib.util.find_spec("ai_edge_litert") is None:
            return "ai-edge-litert (pip install 'avatar-vision[litert]')"
        return None

    def absent(self) -> list[str]:
        """What is not here, a line for each variant that is left out."""
        return [f"left out: {label}; no {lack}" for name, label in VARIANTS.items() if (lack := self._lacks(name))]

    async def measure(self, pictures: Iterable[Image], repetitions: int) -> Measured:
        """Time all variants, in turns, and decoding; then find the references' points."""
        packets, decoded = self._folder / "packets", self._folder / "pictures"
        await asyncio.to_thread(_write, pictures, packets, decoded)
        measured = Measured({name: [] for name in ("decode", *self.variants)}, {})
        for repetition in range(repetitions):
            sys.stderr.write(f"{repetition + 1} of {repetitions} ...\n")
            turn = list(measured.costs)
            for name in turn if repetition % 2 == 0 else reversed(turn):
                cost, points = await self._time(name, packets if name == "decode" else decoded)
                measured.costs[name].append(cost)
                if points is not None:
                    measured.points[name] = points
        for name in REFERENCES if self._model is not None else ():
            _, measured.points[name] = await self._time(name, decoded)
        return measured

    async def clips(self, clips: Sequence[Path]) -> dict[str, dict[str, Clip]]:
        """The points of all clips: variant -> name -> clip; (d) is (a) and is left out."""
        found = {}
        for name in self.variants:
            if name != "worker":
                sys.stderr.write(f"all clips: {VARIANTS[name]} ...\n")
                await self._child("clips", name, self._folder, *clips)
                found[name] = {clip.name: Clip.load(self._folder / f"{clip.name}.npz") for clip in clips}
        return found

    async def _time(self, name: str, source: Path) -> tuple[Cost, Any]:
        target = self._folder / "points.npz"
        cost = Cost(**await self._child("time", name, target, source))
        return cost, None if name == "decode" else Clip.load(target)

    async def _child(self, what: str, name: str, target: Path, *sources: Path) -> Any:
        model = ("--model", str(self._model)) if self._model is not None else ()
        return await in_child(_MODULE, what, name, *map(str, (target, *sources)), *model, limit_s=_LIMIT_S)


def cost_table(title: str, measured: Measured) -> str:
    """A line for each variant; medians."""
    head = f"{title:40}{'CPU ms':>8}{'decodes':>9}{'x (b)':>7}{'RSS MB':>8}{'first s':>9}{'faces %':>9}"
    lines = [f"{head}{'mean px':>9}{'p99 px':>8}{'tracked px':>12}"]
    for name, costs in measured.costs.items():
        line = f"{VARIANTS.get(name, 'decoding (PyAV, one thread)'):40}{_median(costs, 'cpu_ms'):8.2f}"
        line += f"{_shown(measured.ratio(name, 'decode'), 9, 2)}{_shown(measured.ratio(name, 'official'), 7, 2)}"
        if name in VARIANTS:
            line += (
                f"{_median(costs, 'rss_mb'):8.0f}{_median(costs, 'first_s'):9.2f}{_faces(measured.points[name]):9.1f}"
            )
            line += _distances(measured, name)
        lines.append(line)
    return "\n".join(lines)


def _distances(measured: Measured, name: str) -> str:
    """Mean and 99th percentile from `image`, and mean from `tracked`."""
    image, tracked = (measured.distances_px(name, reference) for reference in REFERENCES)
    mean, p99 = (None, None) if image is None else (image.mean(), np.percentile(image, 99))
    return _shown(mean, 9, 3) + _shown(p99, 8, 3) + _shown(None if tracked is None else tracked.mean(), 12, 3)


def _median(costs: Sequence[Cost], figure: str) -> float:
    return float(statistics.median(getattr(cost, figure) for cost in costs))


def _faces(clip: Clip) -> float:
    """% of the pictures."""
    return 100 * float((~np.isnan(clip.points_norm[:, 0, 0])).mean())


def _shown(value: Any, width: int, digits: int) -> str:
    return f"{'-':>{width}}" if value is None else f"{value:{width}.{digits}f}"


def clip_table(found: dict[str, dict[str, Clip]]) -> str:
    """Share of pictures with a face and the head's pose, clip by clip: medians, in brackets the interquartile range."""
    models = [name for name in ("attention", "official") if name in found]
    lines = [f"{'clip':40}{'model':12}{'faces %':>8}" + "".join(f"{each:>16}" for each in ("yaw", "pitch", "roll"))]
    for clip in found["attention"]:
        for model in models:
            cells = "".join(f"{cell:>16}" for cell in _pose(found[model][clip]))
            lines.append(f"{clip:40}{model:12}{_faces(found[model][clip]):8.1f}{cells}")
    return "\n".join(lines)


def _pose(clip: Clip) -> list[str]:
    seen = clip.points_norm[~np.isnan(clip.points_norm[:, 0, 0])]
    if not len(seen):
        return ["-"] * 3
    angles = np.array([angles_deg(pose_matrix(points, *clip.size)) for points in seen])
    low, middle, high = np.percentile(angles, (25, 50, 75), axis=0)
    return [f"{each:.1f} ({spread:.1f})" for each, spread in zip(middle, high - low, strict=True)]


def verdicts(measured: Measured, *, real: bool) -> Iterator[tuple[bool, str]]:
    """Whether the default is cheap enough; those that can be told.

    :param real: the pictures are footage.
    """
    of_official, decodes = measured.ratio("attention", "official"), measured.ratio("attention", "decode")
    of_worker = measured.ratio("worker", "decode")
    if of_official is not None:
        yield of_official <= MOST_OF_OFFICIAL, f"(a) {of_official:.2f} of (b) (allowed {MOST_OF_OFFICIAL})"
    if not real or decodes is None or of_worker is None:
        return
    yield decodes <= MOST_DECODES, f"(a) {decodes:.2f} decodes (allowed {MOST_DECODES})"
    added = of_worker - decodes
    yield added <= MOST_DECODES_OF_WORKER, f"(d) {added:.2f} decodes over (a) (allowed {MOST_DECODES_OF_WORKER})"


def litert_finding(measured: Measured) -> str | None:
    """Whether LiteRT holds; `None` where it was not measured."""
    ratio = measured.ratio("litert", "official")
    image, tracked = (measured.distances_px("litert", reference) for reference in REFERENCES)
    if ratio is None or image is None or tracked is None:
        return None
    holds = ratio <= 1 - LITERT_SAVES and tracked.mean() <= LITERT_IS_OFF_PX
    saved = f"saves {100 * (1 - ratio):.0f} % of (b) (wanted {100 * LITERT_SAVES:.0f})"
    off = f"{tracked.mean():.3f} px from `tracked` (wanted {LITERT_IS_OFF_PX}), {image.mean():.3f} from `image`"
    return f"finding: LiteRT {'holds' if holds else 'does not hold'}: {saved}, {off}"


def _arguments() -> argparse.Namespace:
    description = (__doc__ or "").split("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.landmarks", description=description)
    parser.add_argument("--media", type=Path, default=MEDIA, help="folder of the clips")
    parser.add_argument(
        "--model", type=Path, help="the official bundle (default: models/face_landmarker.task beside that folder)"
    )
    parser.add_argument("--pictures", type=int, default=300, help="of each measurement (default: 300)")
    parser.add_argument("--repetitions", type=int, default=5, help="of each variant (default: 5)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every measurement there")
    arguments = parser.parse_args()
    arguments.model = arguments.model or arguments.media.parent / "models" / "face_landmarker.task"
    if arguments.pictures < 2 or arguments.repetitions < 1:
        parser.error("--pictures must be at least 2, --repetitions at least 1")
    return arguments


async def _measure_all(arguments: argparse.Namespace) -> int:
    sequences = {"drawn head": drawn(arguments.pictures)}
    clips = sorted(arguments.media.glob("*.mp4")) + sorted(arguments.media.glob("*.mpg"))
    if (clip := arguments.media / _CLIP).is_file():
        sequences["clip"] = letterboxed(clip, arguments.pictures)
    with tempfile.TemporaryDirectory() as folder:
        bench = _Bench(arguments.model if arguments.model.is_file() else None, Path(folder))
        if not clips:
            sys.stdout.write(f"left out: clips, lip-sync; no clips in {arguments.media} (--media)\n")
        sys.stdout.write("".join(f"{line}\n" for line in bench.absent()))
        measured = {title: await bench.measure(each, arguments.repetitions) for title, each in sequences.items()}
        for title, each in measured.items():
            sys.stdout.write(f"{cost_table(title, each)}\n\n")
        if clips:
            found = await bench.clips(clips)
            tables = [accuracy_table({VARIANTS[name]: each for name, each in found.items()}, arguments.media)]
            sys.stdout.write("".join(f"{table}\n\n" for table in (*tables, clip_table(found))))
    if arguments.json is not None:
        content = {title: _content(each) for title, each in measured.items()}
        arguments.json.write_text(json.dumps(content, indent=1) + "\n")
    return _judged(measured)


def _content(measured: Measured) -> dict[str, Any]:
    return {name: [asdict(cost) for cost in costs] for name, costs in measured.costs.items()}


def _judged(measured: dict[str, Measured]) -> int:
    passed = True
    for title, each in measured.items():
        for holds, text in verdicts(each, real=title == "clip"):
            sys.stdout.write(f"{'yes' if holds else 'NO ':4} {title}: {text}\n")
            passed = passed and holds
        if finding := litert_finding(each):
            sys.stdout.write(f"     {title}: {finding}\n")
    return 0 if passed else 1


def main() -> int:
    """Measure, print, judge."""
    return asyncio.run(_measure_all(_arguments()))


if __name__ == "__main__":
    sys.exit(main())
