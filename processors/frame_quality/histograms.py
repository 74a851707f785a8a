"""Figures that follow from histograms alone, exact at the cost of the histogram."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vision import Picture

__all__ = [
    "Chroma",
    "Counts",
    "Levels",
    "entropy",
    "mean",
    "mean_and_deviation",
    "percentile",
    "sampled_chroma",
    "sampled_luma",
    "share_above",
    "share_up_to",
]

Counts = NDArray[np.int64] | NDArray[np.float64]

_LEVELS = np.arange(256, dtype=np.float64)
_SAMPLED_ROWS = 180  # at least, of taller pictures: shares and percentiles of a quarter of 720p are those of all of it
_LOW, _HIGH = 10, 90  # %, vf_signalstats.c


def _saturation_and_hue() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of each pair of U and V, `(256, 256)` each; single precision and truncation as in vf_signalstats.c."""
    u, v = np.meshgrid(np.arange(256) - 128, np.arange(256) - 128, indexing="ij")
    saturation = np.hypot(u, v).astype(np.int64)
    degrees = (180 / np.pi * np.arctan2(u, v) + 180).astype(np.float32)
    return saturation, np.floor(degrees).astype(np.int64) % 360


_SATURATION, _HUE = _saturation_and_hue()
_SATURATIONS = int(_SATURATION.max()) + 1

_OPPONENT = np.array([[0.344136, 2.116136], [-1.944068, 0.343932]])
"""rg and yb, of U and V about grey: R = Y + 1.402 V, G = Y - 0.344136 U - 0.714136 V, B = Y + 1.772 U."""


@dataclass(frozen=True, slots=True)
class Levels:
    """What libav's signalstats says of one component: its ends, its mean, and where 10 % and 90 % of it lie below."""

    min: int
    low: int
    mean: float
    high: int
    max: int

    @classmethod
    def of(cls, counts: Counts) -> Levels:
        """Of a histogram `(N,)` that is not empty."""
        seen, total = np.flatnonzero(counts), float(counts.sum())
        below = np.cumsum(counts)
        # lrint() rounds halves to even, as round() does
        low, high = (int(np.searchsorted(below, round(total * percent / 100))) for percent in (_LOW, _HIGH))
        return cls(int(seen[0]), low, mean(counts), high, int(seen[-1]))


def sampled_luma(picture: Picture) -> Counts:
    """Histogram of luma, `(256,)`, of rows that are evenly spread."""
    rows = picture.y[:: _row_step(picture)]
    return cv2.calcHist([rows], [0], None, [256], [0, 256]).ravel().astype(np.float64)


def sampled_chroma(picture: Picture) -> NDArray[np.float32]:
    """Joint histogram of chroma, `(256, 256)`, U first, of rows that are evenly spread."""
    step = max(_row_step(picture) // 2, 1)
    rows = [np.ascontiguousarray(plane[::step]) for plane in (picture.u, picture.v)]
    return np.asarray(cv2.calcHist(rows, [0, 1], None, [256, 256], [0, 256, 0, 256]), np.float32)


def _row_step(picture: Picture) -> int:
    return max(picture.height // _SAMPLED_ROWS, 1)


def mean(counts: Counts) -> float:
    """Of a histogram `(N,)`."""
    return float(counts @ np.arange(counts.size)) / float(counts.sum())


def mean_and_deviation(counts: Counts) -> tuple[float, float]:
    """Of a histogram `(256,)`."""
    middle = mean(counts)
    return middle, float(np.sqrt(counts @ (_LEVELS - middle) ** 2 / counts.sum()))


def entropy(counts: Counts) -> float:
    """Shannon's, in bits."""
    shares = counts[counts > 0] / counts.sum()
    return max(-float(shares @ np.log2(shares)), 0.0)  # not -0.0, of one grey


def percentile(counts: Counts, share: float) -> int:
    """The lowest level that so large a share of all samples does not exceed."""
    return int(np.searchsorted(np.cumsum(counts), share * float(counts.sum())))


def share_up_to(counts: Counts, level: int) -> float:
    """Of all samples, how many are at most so high."""
    return float(counts[: level + 1].sum() / counts.sum())


def share_above(counts: Counts, level: int) -> float:
    """Of all samples, how many are at least so high."""
    return float(counts[level:].sum() / counts.sum())


class Chroma:
    """What follows from the joint histogram of U and V, `(256, 256)` whole numbers, U first."""

    def __init__(self, counts: NDArray[np.float32] | NDArray[np.float64]) -> None:
        self._counts = counts
        self.u = np.asarray(counts.sum(axis=1), np.float64)
        """Histogram of U, `(256,)`."""
        self.v = np.asarray(counts.sum(axis=0), np.float64)
        """Histogram of V, `(256,)`."""
        self._total = float(self.u.sum())
        # few of all colours are in one picture
        self._seen = tuple(slice(seen[0], seen[-1] + 1) for seen in (np.flatnonzero(self.u), np.flatnonzero(self.v)))

    def saturations(self) -> NDArray[np.float64]:
        """Histogram of the whole part of the distance from grey, `(182,)`."""
        return self._counted(_SATURATION, _SATURATIONS)

    def hues(self) -> NDArray[np.float64]:
        """Histogram of the angle in whole degrees, 180 where V is lowest, `(360,)`."""
        return self._counted(_HUE, 360)

    def _counted(self, values: NDArray[np.int64], size: int) -> NDArray[np.float64]:
        counted = np.bincount(values[self._seen].ravel(), self._counts[self._seen].ravel(), size)
        return np.asarray(counted, np.float64)

    def share(self, *, at_most: int | None = None, at_least: int | None = None) -> float:
        """How many samples have both U and V in a corner of the colour plane."""
        corner = slice(at_least, None if at_most is None else at_most + 1)
        return float(self._counts[corner, corner].sum()) / self._total

    def colourfulness(self, *, full_range: bool) -> float:
        """Hasler and Suesstrunk (2003), whose rg = R - G and yb = (R + G) / 2 - B do not depend on luma (BT.601)."""
        (u, u_deviation), (v, v_deviation) = mean_and_deviation(self.u), mean_and_deviation(self.v)
        of_u, of_v = (_LEVELS[seen] - middle for seen, middle in zip(self._seen, (u, v), strict=True))
        covariance = float(of_u @ self._counts[self._seen].astype(np.float64) @ of_v) / self._total
        moments = np.array([[u_deviation**2, covariance], [covariance, v_deviation**2]])
        spread = float(np.sqrt(np.trace(_OPPONENT @ moments @ _OPPONENT.T)))
        distance = float(np.linalg.norm(_OPPONENT @ (u - 128, v - 128)))
        return (spread + 0.3 * distance) * (1 if full_range else 255 / 224)
