"""`frame_quality`: brightness, contrast, sharpness, and whether the picture is black, repeated or frozen."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

import vision
from vision import Frame, IncidentRule, Picture, Processor, Result, metric

__all__ = ["FrameQuality", "FrameQualityOptions", "FrameQualityProcessor"]

Plane = NDArray[np.uint8]

_LEVELS = np.arange(256)


@dataclass(frozen=True, slots=True)
class FrameQuality(Result):
    """What one picture looks like, and how it differs from those before it.

    `None` stands for what the first picture of a stream cannot have. `freeze` is true from the second
    picture of a still stretch to its last. A black picture that stays is `black`, never `freeze`.
    """

    luma_mean: float = metric("Mean luma, code values as they are over 255", unit="1", range=(0, 1))
    contrast_rms: float = metric("Standard deviation of luma over 255", unit="1", range=(0, 0.5))
    sharpness: float = metric(
        "Variance of the 3x3 Laplacian of luma, area averaged to sharpness_height (larger pictures only)",
        unit="1",
        range=(0, None),
        good="high",
    )
    black_ratio: float = metric("Share of luma samples that are black (ffmpeg blackdetect)", unit="1", range=(0, 1))
    black: bool = metric(
        "black_ratio is at least black_picture (ffmpeg blackdetect)",
        unit="bool",
        good="false",
        # three pictures at 30 fps: a shorter one may be a cut, and no face is ever this dark
        incident=IncidentRule("black", when=True, min_s=0.1),
    )
    mafd: float | None = metric(
        "Mean absolute difference of all samples of Y, U and V to the previous picture, over 256",
        unit="1",
        range=(0, 1),
    )
    duplicate: bool | None = metric(
        "mafd is below duplicate_mafd: the previous picture again", unit="bool", good="false"
    )
    freezedetect: bool | None = metric(
        "MAFD to the last picture that was not so is at most freezedetect_mafd (ffmpeg freezedetect)",
        unit="bool",
        good="false",
    )
    change: float | None = metric(
        "Greatest change of the mean luma of a square 1/90 high, code values, to the last picture not frozen",
        unit="1",
        range=(0, 255),
    )
    freeze: bool | None = metric(
        "change is at most freeze_begin, or freeze_keep once it is frozen, and the picture is not black",
        unit="bool",
        good="false",
        # people stay this still for up to 0.4 s in real footage
        incident=IncidentRule("freeze", when=True, min_s=0.5),
    )


class FrameQualityOptions(vision.Options):
    """Options of `frame_quality`."""

    sharpness_height: int = Field(360, ge=16, description="Height in px at which sharpness is measured.")
    black_pixel: float = Field(
        0.10,
        ge=0,
        le=1,
        description="Luma up to this share of its range is black (blackdetect pixel_black_th).",
    )
    black_picture: float = Field(
        0.98,
        ge=0,
        le=1,
        description="Share of black pixels of a black picture (blackdetect picture_black_ratio_th).",
    )
    duplicate_mafd: float = Field(1e-4, ge=0, le=1, description="A picture that differs less is a duplicate.")
    freezedetect_mafd: float = Field(
        1e-3, ge=0, le=1, description="Limit of freezedetect; 0.001 is ffmpeg's default of -60 dB."
    )
    freeze_begin: float = Field(
        2, ge=0, le=255, description="A picture in which no square's mean luma changes more begins a freeze."
    )
    freeze_keep: float = Field(
        5,
        ge=0,
        le=255,
        description="A frozen picture in which none changes more, since the freeze began, stays frozen.",
    )


class FrameQualityProcessor(Processor[FrameQuality]):
    """Brightness, contrast, sharpness; black, repeated and frozen pictures.

    ffmpeg's freezedetect averages over the whole picture, and fails on talking heads both ways: at 720p a
    mouth that moves alone stays below its limit of -60 dB, while a still picture, coded by VP8 at 2.5
    Mbit/s, exceeds it four times over whenever the encoder refines it. Refinement changes the mean of a small square
    by few code values, and adds up to few more while the freeze lasts (H264 and VP8: at most 4 at 2.5 Mbit/s, 5 at
    0.4); motion, even under a strong blur, changes that of some square by more from picture to picture: hence
    `change`, with one limit for the first still picture and another, to the last one that moved, for those after it.
    """

    Options = FrameQualityOptions

    _previous: tuple[Plane, ...] | None = None
    _moving: tuple[Plane, ...] | None = None
    _not_frozen: Plane | None = None
    _frozen = False

    def process(self, frame: Frame) -> FrameQuality:
        """Measure the picture."""
        picture, options = frame.picture, self.options
        mean, deviation = _mean_and_deviation(picture.histogram)
        black_ratio = _black_ratio(picture, options.black_pixel)
        black = black_ratio >= options.black_picture
        mafd = self._mafd(picture)
        freezedetect = self._freezedetect(mafd)
        change = self._change(picture)
        return FrameQuality(
            luma_mean=mean / 255,
            contrast_rms=deviation / 255,
            sharpness=_sharpness(picture, options.sharpness_height),
            black_ratio=black_ratio,
            black=black,
            mafd=mafd,
            duplicate=None if mafd is None else mafd < options.duplicate_mafd,
            freezedetect=freezedetect,
            change=change,
            freeze=None if change is None else self._frozen and not black,
        )

    def reset(self, reason: str) -> None:
        """Forget the pictures before."""
        self._previous = self._moving = self._not_frozen = None
        self._frozen = False

    def _mafd(self, picture: Picture) -> float | None:
        before = self._previous
        # a copy: the planes may be memory that the next picture is decoded into
        self._previous = tuple(plane.copy() for plane in picture.planes)
        return None if before is None else _mafd(self._previous, before)

    def _freezedetect(self, mafd: float | None) -> bool | None:
        """vf_freezedetect.c: the reference stays while the picture does."""
        now, before = self._previous, self._moving
        assert now is not None
        if before is None or mafd is None:
            self._moving = now
            return None
        still: bool = _mafd(now, before) <= self.options.freezedetect_mafd
        if not still:
            self._moving = now
        return still

    def _change(self, picture: Picture) -> float | None:
        means, before = picture.grid, self._not_frozen
        change = None if before is None else cv2.norm(means, before, cv2.NORM_INF)
        limit = self.options.freeze_keep if self._frozen else self.options.freeze_begin
        self._frozen = change is not None and change <= limit
        if not self._frozen:
            self._not_frozen = means
        return change


def _mean_and_deviation(histogram: NDArray[np.int64]) -> tuple[float, float]:
    count = int(histogram.sum())
    mean = float(histogram @ _LEVELS) / count
    return mean, float(np.sqrt(histogram @ (_LEVELS - mean) ** 2 / count))


def _black_ratio(picture: Picture, share: float) -> float:
    low, span = (0, 255) if picture.full_range else (16, 219)
    black = int(low + share * span)  # truncated, as vf_blackdetect.c does
    return float(picture.histogram[: black + 1].sum() / picture.y.size)


def _sharpness(picture: Picture, height: int) -> float:
    """At a fixed size, since the figure grows two to three times as the same picture is halved."""
    _, deviation = cv2.meanStdDev(cv2.Laplacian(_reduced(picture, height), cv2.CV_16S))
    return float(deviation.item() ** 2)


def _reduced(picture: Picture, height: int) -> Plane:
    """Luma at a given height, by area averaging; as it is where it is not higher."""
    if picture.height <= height:
        return picture.y
    if picture.height == 2 * height:
        return picture.y_half
    size = (max(1, round(picture.width * height / picture.height)), height)
    return np.asarray(cv2.resize(picture.y, size, interpolation=cv2.INTER_AREA), np.uint8)


def _mafd(planes: tuple[Plane, ...], others: tuple[Plane, ...]) -> float:
    """Mean absolute difference of all samples over 256, as vf_freezedetect.c has it."""
    sums = (cv2.norm(a, b, cv2.NORM_L1) for a, b in zip(planes, others, strict=True))
    return sum(sums) / sum(plane.size for plane in planes) / 256
