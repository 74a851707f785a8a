"""Pictures to measure: real footage at any size, the simulator's, and what libav's filters say of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path

import av
import numpy as np
from av.filter import Graph
from numpy.typing import NDArray

from vision import Picture
from vision.simulator.director import Director
from vision.simulator.faults import FaultPlan
from vision.simulator.settings import SimulatorSettings
from vision.simulator.show import make_show
from vision.simulator.turns import Turns

__all__ = ["FPS", "Image", "as_picture", "filling", "filtered", "simulated"]

FPS = 30
Image = NDArray[np.uint8]


def as_picture(i420: Image, *, full_range: bool = False) -> Picture:
    """A picture from `(H * 3 / 2, W)`."""
    h, w = i420.shape[0] * 2 // 3, i420.shape[1]
    u, v = i420[h:].reshape(2, h // 2, w // 2)
    return Picture(i420[:h], u, v, full_range=full_range)


def filling(clip: Path, size: tuple[int, int], count: int) -> Iterator[Image]:
    """The first pictures of a clip, scaled and cropped to fill the size, I420 `(H * 3 / 2, W)`."""
    with av.open(str(clip)) as container:
        for picture in islice(container.decode(video=0), count):
            yield _filling(picture, size)


def _filling(picture: av.VideoFrame, size: tuple[int, int]) -> Image:
    width, height = size
    scale = max(width / picture.width, height / picture.height)
    inner = [-(-round(length * scale) // 4) * 4 for length in (picture.width, picture.height)]
    i420 = np.asarray(picture.reformat(width=inner[0], height=inner[1], format="yuv420p").to_ndarray(), np.uint8)
    planes = (i420[: inner[1]], *i420[inner[1] :].reshape(2, inner[1] // 2, inner[0] // 2))
    left, top = (inner[0] - width) // 4 * 2, (inner[1] - height) // 4 * 2
    cut = [planes[0][top : top + height, left : left + width]]
    cut += [p[top // 2 : (top + height) // 2, left // 2 : (left + width) // 2] for p in planes[1:]]
    return np.concatenate([np.ascontiguousarray(plane).reshape(-1, width) for plane in cut])


def simulated(settings: SimulatorSettings, duration_s: float) -> Iterator[tuple[float, Image]]:
    """The simulator's pictures before coding, faults planted, with their media times; each is good until the next."""
    director = Director(make_show(settings, Turns()), FaultPlan(settings.faults), settings.seed)
    for index in range(round(duration_s * settings.fps)):
        shot = director.shot(index / settings.fps)
        if shot is not None:
            yield index / settings.fps, shot.i420


def filtered(
    images: Iterable[Image], *filters: str | tuple[str, str], full_range: bool = False
) -> Iterator[dict[str, str]]:
    """The metadata that filters of libav, one after the other, write on each picture."""
    graph: _Graph | None = None
    for image in images:
        graph = graph or _Graph(image, filters, full_range)
        yield graph.add(image)


class _Graph:
    def __init__(self, image: Image, filters: Sequence[str | tuple[str, str]], full_range: bool) -> None:
        self._format, self._index = "yuvj420p" if full_range else "yuv420p", 0
        size = f"{image.shape[1]}x{image.shape[0] * 2 // 3}"
        video = f"video_size={size}:pix_fmt={self._format}:time_base=1/{FPS}:pixel_aspect=1/1:frame_rate={FPS}/1"
        self._graph = Graph()
        middle = [self._graph.add(*((each, "") if isinstance(each, str) else each)) for each in filters]
        nodes = [self._graph.add("buffer", video), *middle, self._graph.add("buffersink")]
        for node, following in pairwise(nodes):
            node.link_to(following)
        self._graph.configure()
        self._source, self._sink = nodes[0], nodes[-1]

    def add(self, image: Image) -> dict[str, str]:
        frame = av.VideoFrame.from_ndarray(image, format=self._format)
        frame.pts, frame.time_base = self._index, Fraction(1, FPS)
        self._index += 1
        self._source.push(frame)
        pulled = self._sink.pull()
        assert isinstance(pulled, av.VideoFrame)
        return dict(pulled.metadata)
