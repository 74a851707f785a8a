"""PSNR, SSIM and XPSNR by libav's own filters, in one graph that goes on from picture to picture."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

__all__ = ["IDENTICAL_DB", "Compared", "Comparison"]

Plane = NDArray[np.uint8]

IDENTICAL_DB = 100.0
"""Stands for pictures between which there is no difference, whose ratio is infinite."""


@dataclass(frozen=True, slots=True)
class Compared:
    """What the filters say of a pair of pictures; `xpsnr_y` is `None` where it was not asked for."""

    psnr: float
    psnr_y: float
    ssim: float
    ssim_y: float
    xpsnr_y: float | None


class Comparison:
    """Compares pictures of one size, in order; XPSNR weighs by motion, and so depends on the pictures before.

    :param size: width and height, px, even.
    :param top: rows that are left out at the top, a multiple of 2.
    """

    def __init__(self, size: tuple[int, int], rate: Fraction, *, top: int = 0, xpsnr: bool = True) -> None:
        self._top, self._count, self._xpsnr = top, 0, xpsnr
        self._time_base = 1 / rate
        self._graph = av.filter.Graph()
        self._graph.threads = 1
        picture = f"video_size={size[0]}x{size[1]}:pix_fmt=yuv420p:pixel_aspect=1/1"
        source = f"{picture}:time_base={self._time_base}:frame_rate={rate}"
        self._received, self._reference = (self._graph.add("buffer", source) for _ in range(2))
        self._sink = self._linked(("psnr", "ssim", "xpsnr") if xpsnr else ("psnr", "ssim"))
        self._graph.configure()

    def _linked(self, names: tuple[str, ...]) -> Any:
        """Each filter gets the received picture from the one before it, and the reference from a splitter."""
        crop = f"in_w:in_h-{self._top}:0:{self._top}"
        received, reference = self._graph.add("crop", crop), self._graph.add("crop", crop)
        self._received.link_to(received)
        self._reference.link_to(reference)
        splitter = self._graph.add("split", str(len(names)))
        reference.link_to(splitter)
        for number, name in enumerate(names):
            judge = self._graph.add(name)
            received.link_to(judge, 0, 0)
            splitter.link_to(judge, number, 1)
            received = judge
        sink = self._graph.add("buffersink")
        received.link_to(sink)
        return sink

    def compare(self, received: Plane, reference: Plane) -> Compared:
        """Compare two pictures, I420, `(H * 3 / 2, W) uint8`."""
        for source, planes in ((self._received, received), (self._reference, reference)):
            frame = av.VideoFrame.from_ndarray(planes, "yuv420p")
            frame.pts, frame.time_base = self._count, self._time_base
            source.push(frame)
        self._count += 1
        said = self._sink.pull().metadata
        return Compared(
            psnr=_db(said["lavfi.psnr.psnr_avg"]),
            psnr_y=_db(said["lavfi.psnr.psnr.y"]),
            ssim=float(said["lavfi.ssim.All"]),
            ssim_y=float(said["lavfi.ssim.Y"]),
            xpsnr_y=_db(said["lavfi.xpsnr.xpsnr.y"]) if self._xpsnr else None,
        )


def _db(said: str) -> float:
    value = float(said)
    return min(value, IDENTICAL_DB) if math.isfinite(value) else IDENTICAL_DB
