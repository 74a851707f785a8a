"""`full_reference`: how far pictures are from what was sent, where that is known."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import av
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

import vision
from processors.full_reference.compare import IDENTICAL_DB, Comparison
from processors.full_reference.marker import i420, strip_height
from processors.full_reference.matching import ByLooks, ByMarker, ByTime, Matcher, difference
from processors.full_reference.reference import Reference
from vision import ConfigError, Frame, Picture, Processor, Result, StreamInfo, metric

__all__ = ["FullReference", "FullReferenceOptions", "FullReferenceProcessor"]

_VIDEO, _JPEG = 1, 2  # AVCOL_RANGE_MPEG, AVCOL_RANGE_JPEG


@dataclass(frozen=True, slots=True)
class FullReference(Result):
    """A picture beside the one that was sent; by libav's own filters, at the size of the reference.

    100 dB stands for pictures that are the same.
    """

    reference_s: float = metric("Time in the reference of the picture that it is compared with", unit="s")
    match_difference: float = metric(
        "Mean absolute difference of luma averaged over squares 1/90 high, code values: how alike the pair is",
        unit="1",
        range=(0, 255),
        good="low",
    )
    scaled: bool = metric("It was scaled to the reference's size (bicubic) before", unit="bool")
    psnr: float = metric(
        "PSNR of all samples of Y, U and V (libav psnr, psnr_avg)", unit="dB", range=(0, IDENTICAL_DB), good="high"
    )
    psnr_y: float = metric("PSNR of luma (libav psnr)", unit="dB", range=(0, IDENTICAL_DB), good="high")
    ssim: float = metric(
        "SSIM of all planes, by their size (libav ssim, All: blocks of 8 x 8, every 4th)",
        unit="1",
        range=(-1, 1),
        good="high",
    )
    ssim_y: float = metric("SSIM of luma (libav ssim)", unit="1", range=(-1, 1), good="high")
    xpsnr_y: float | None = metric(
        "XPSNR of luma: PSNR weighed by how visible errors are where they are (libav xpsnr)",
        unit="dB",
        range=(0, IDENTICAL_DB),
        good="high",
    )


class FullReferenceOptions(vision.Options):
    """Options of `full_reference`."""

    path: Path = Field(description="The recording of what was sent; anything that FFmpeg's libraries open.")
    match: Literal["marker", "timestamp", "nearest"] = Field(
        "nearest",
        description="How pictures find theirs: marker (numbers in both, see processors.full_reference.marker),"
        " timestamp (media time and start_s), or nearest (what looks like it, and is unique).",
    )
    start_s: float = Field(0, ge=0, description="For timestamp: where in the reference the run's first picture is.")
    search_s: float = Field(
        10,
        gt=0,
        le=120,
        description="For nearest: how much of the reference is looked through at first, and when lost.",
    )
    xpsnr: bool = Field(True, description="XPSNR, which costs as much as four times PSNR and SSIM.")


class FullReferenceProcessor(Processor[FullReference]):
    """PSNR, SSIM and XPSNR against a recording of what was sent.

    A picture of another size is scaled to that of the reference, and one of the other range brought to its; the strip
    with the marker is left out of the comparison. A picture that has no sure match is not measured.
    """

    Options = FullReferenceOptions

    _reference: Reference | None = None
    _matcher: Matcher | None = None
    _comparison: Comparison | None = None

    def setup(self, info: StreamInfo) -> None:
        """Open the reference."""
        options = self.options
        path = options.path.expanduser()
        self._reference = reference = Reference(path)
        if options.match == "timestamp":
            self._matcher = ByTime(reference, options.start_s)
        elif options.match == "nearest":
            self._matcher = ByLooks(reference, options.search_s)
        else:
            reference.scout(1)
            if not reference.has_markers:
                how = f"python -m processors.full_reference.marker {path.name} marked.mkv"
                raise ConfigError(f"full_reference: {path}: its first picture has no marker; `{how}` writes them")
            self._matcher = ByMarker(reference)

    def process(self, frame: Frame) -> FullReference | None:
        """Compare a picture with its reference."""
        assert self._reference is not None
        assert self._matcher is not None
        number = self._matcher.match(frame)
        if number is None:
            return None
        picture, truth = frame.picture, self._reference.picture(number)
        expected = i420(truth)
        received = _as(picture, truth, expected.shape)
        compared = self._comparison_for(expected.shape, self._reference).compare(received, expected)
        return FullReference(
            reference_s=self._reference.times_s[number],
            match_difference=difference(picture.grid, truth.grid),
            scaled=(picture.width, picture.height) != (truth.width, truth.height),
            psnr=compared.psnr,
            psnr_y=compared.psnr_y,
            ssim=compared.ssim,
            ssim_y=compared.ssim_y,
            xpsnr_y=compared.xpsnr_y,
        )

    def reset(self, reason: str) -> None:
        """What comes may be at another place of the reference."""
        assert self._matcher is not None
        self._matcher.reset()
        self._comparison = None

    def close(self) -> None:
        """Let go of the reference."""
        self._reference = self._matcher = self._comparison = None

    def _comparison_for(self, shape: tuple[int, ...], reference: Reference) -> Comparison:
        if self._comparison is None:
            width, height = shape[1], shape[0] * 2 // 3
            top = strip_height(width) if self.options.match == "marker" else 0
            self._comparison = Comparison((width, height), reference.rate, top=top, xpsnr=self.options.xpsnr)
        return self._comparison


def _as(picture: Picture, truth: Picture, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """The planes of a picture, `(H * 3 / 2, W)`, in the size and the range of another one."""
    planes = i420(picture)
    if planes.shape == shape and picture.full_range == truth.full_range:
        return planes
    frame = av.VideoFrame.from_ndarray(planes, "yuv420p").reformat(
        width=shape[1],
        height=shape[0] * 2 // 3,
        interpolation="BICUBIC",
        src_color_range=_JPEG if picture.full_range else _VIDEO,
        dst_color_range=_JPEG if truth.full_range else _VIDEO,
    )
    return np.asarray(frame.to_ndarray(), np.uint8)
