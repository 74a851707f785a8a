"""How a picture differs from those before it, to the definitions of libav's filters."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from processors.frame_quality.detail import full_range_luma
from vision import Picture

__all__ = ["Motion", "Step"]

Plane = NDArray[np.uint8]

_FINE = 8  # what a difference is multiplied by, so that its mean over a square is not rounded away
_SQUARES = 45  # rows of squares, at most
_BUSY = 0.75


@dataclass(frozen=True, slots=True)
class Step:
    """From the picture before to this one.

    :ivar differences: mean absolute differences of Y, U and V, code values.
    :ivar mafd: that of all samples together, over 256.
    :ivar ti: standard deviation of the difference of luma brought to full range.
    :ivar scene_mafd: that of luma, % of 256.
    :ivar scene_score: the lower of it and its own change.
    :ivar freezedetect: little has changed since the last picture of which this was not so.
    :ivar stir: what luma changes by in the square that three in four squares do not exceed, code values.
    """

    differences: tuple[float, float, float]
    mafd: float
    ti: float
    scene_mafd: float
    scene_score: float
    freezedetect: bool
    stir: float


class Motion:
    """Keeps what is needed of the picture before, and of the last one that was not frozen by freezedetect."""

    def __init__(self, freezedetect_mafd: float) -> None:
        self._freezedetect_mafd = freezedetect_mafd
        self.forget()

    def forget(self) -> None:
        """The next picture is the first."""
        self._previous: _Kept | None = None
        self._moving: _Kept | None = None
        self._scene_mafd = 0.0

    def add(self, picture: Picture) -> Step | None:
        """Take a picture; `None` for the first."""
        now, before, moving = _Kept.of(picture), self._previous, self._moving
        self._previous = now
        if before is None or moving is None:
            self._moving = now
            return None
        sums = now.sums(before)
        differences = tuple(total / plane.size for total, plane in zip(sums, now.planes, strict=True))
        mafd = sum(sums) / now.samples / 256
        # the reference stays while the picture does: vf_freezedetect.c
        to_moving = mafd if moving is before else sum(now.sums(moving)) / now.samples / 256
        still = to_moving <= self._freezedetect_mafd
        if not still:
            self._moving = now
        scene_mafd, scene_before = 100 * differences[0] / 256, self._scene_mafd
        self._scene_mafd = scene_mafd
        return Step(
            differences=(differences[0], differences[1], differences[2]),
            mafd=mafd,
            ti=now.ti(before),
            scene_mafd=scene_mafd,
            scene_score=min(scene_mafd, abs(scene_mafd - scene_before), 100.0),  # vf_scdet.c
            freezedetect=still,
            stir=now.stir(before),
        )


@dataclass(frozen=True, slots=True)
class _Kept:
    """A picture's planes, and what its differences are taken of; whoever keeps planes keeps their memory."""

    planes: tuple[Plane, Plane, Plane]
    half: Plane
    luma: Plane
    luma_mean: float

    @classmethod
    def of(cls, picture: Picture) -> _Kept:
        """What is kept of a picture."""
        luma = picture.y if picture.full_range else full_range_luma(picture.y)
        return cls(picture.planes, picture.y_half, luma, cv2.mean(luma)[0])

    @property
    def samples(self) -> int:
        """How many all planes have."""
        return sum(plane.size for plane in self.planes)

    def sums(self, other: _Kept) -> list[float]:
        """Sums of absolute differences of each plane."""
        return [cv2.norm(a, b, cv2.NORM_L1) for a, b in zip(self.planes, other.planes, strict=True)]

    def ti(self, other: _Kept) -> float:
        """Standard deviation of the difference of luma."""
        squares = cv2.norm(self.luma, other.luma, cv2.NORM_L2SQR) / self.luma.size
        return math.sqrt(max(squares - (self.luma_mean - other.luma_mean) ** 2, 0.0))

    def stir(self, other: _Kept) -> float:
        """Changes all over the picture, such as those of noise; a head that moves covers less."""
        squares = cv2.convertScaleAbs(cv2.absdiff(self.half, other.half), alpha=_FINE)
        while squares.shape[0] > _SQUARES and squares.shape[1] > 1:
            size = (squares.shape[1] // 2, squares.shape[0] // 2)
            squares = cv2.resize(squares, size, interpolation=cv2.INTER_AREA)
        rank = int(squares.size * _BUSY)
        return float(np.partition(squares, rank, axis=None)[rank]) / _FINE
