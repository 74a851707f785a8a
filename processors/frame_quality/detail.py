"""Figures of one luma plane: sharpness, noise, blocks, spatial information."""

from __future__ import annotations

import math
from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from vision import Picture

__all__ = [
    "blockiness",
    "full_range_luma",
    "muijs_kirenko",
    "noise",
    "reduced",
    "sharpness",
    "spatial_information",
    "tenengrad",
]

Plane = NDArray[np.uint8]

_BLOCK = 8
_FLAT = 0.05  # code values a step, added to both sides of a ratio that would else be one of nothing by nothing
_BAND = 64  # rows that are worked on at a time, so that what lies between two steps stays in the cache

_NOISE_ROWS, _NOISE_EVERY = 32, 128
_GAIN = 255 / 219
_OFFSET = -16 * _GAIN - 0.5 + 1 / 146  # rounds down, where OpenCV rounds: products are whole multiples of 1/73


def reduced(picture: Picture, height: int) -> Plane:
    """Luma at a given height, by area averaging; as it is where it is not higher."""
    if picture.height <= height:
        return picture.y
    if picture.height == 2 * height:
        return picture.y_half
    if picture.height == 3 * height and picture.width % 3 == 0:
        # the same samples as by INTER_AREA, at a third of its time
        return np.ascontiguousarray(cv2.blur(picture.y, (3, 3))[1::3, 1::3])
    size = (max(1, round(picture.width * height / picture.height)), height)
    return np.asarray(cv2.resize(picture.y, size, interpolation=cv2.INTER_AREA), np.uint8)


def full_range_luma(y: Plane) -> Plane:
    """Luma brought from video's range to 0..255, rounded down, as vf_siti.c does."""
    return np.asarray(cv2.addWeighted(y, _GAIN, y, 0, _OFFSET), np.uint8)


def sharpness(y: Plane) -> float:
    """Variance of the 3x3 Laplacian."""
    _, deviation = cv2.meanStdDev(cv2.Laplacian(y, cv2.CV_16S))
    return float(deviation.item() ** 2)


def tenengrad(y: Plane) -> float:
    """Mean squared gradient, 3x3 Sobel."""
    return float(sum(cv2.norm(each, cv2.NORM_L2SQR) for each in cv2.spatialGradient(y))) / y.size


def noise(y: Plane) -> float | None:
    """Immerkaer (1996): standard deviation of white noise, code values; `None` below 3 x 3 px.

    Taken on 32 rows in 128, which is a quarter of the work: noise is everywhere.
    """
    h, w = y.shape
    if h < 3 or w < 3:
        return None
    total, rows = 0.0, 0
    for top in range(0, h - 2, _NOISE_EVERY):
        # the second derivative in both directions is his mask: 1 -2 1, -2 4 -2, 1 -2 1
        differences = cv2.Sobel(y[top : top + _NOISE_ROWS + 2], cv2.CV_16S, 2, 2, ksize=3)[1:-1, 1:-1]
        total += cv2.norm(differences, cv2.NORM_L1)
        rows += differences.shape[0]
    return math.sqrt(math.pi / 2) / 6 * float(total / (rows * (w - 2)))


def blockiness(y: Plane) -> float | None:
    """Steps across the 8 px grid of coding blocks over steps elsewhere; of both directions the lower; 1: no grid.

    Coding blocks have edges in both directions, a fence or a blind in one. `None` below 16 x 16 px.
    """
    if min(y.shape) < 2 * _BLOCK:
        return None
    # half of the lines are as good as all of them
    rows, columns = y[::2], y[:, y.shape[1] // 4 : -(y.shape[1] // 4)]
    across = cv2.reduce(cv2.absdiff(rows[:, 1:], rows[:, :-1]), 0, cv2.REDUCE_SUM, dtype=cv2.CV_32S).ravel()
    down = cv2.reduce(cv2.absdiff(columns[1:], columns[:-1]), 1, cv2.REDUCE_SUM, dtype=cv2.CV_32S).ravel()
    return min(_grid_ratio(across / rows.shape[0]), _grid_ratio(down / columns.shape[1]))


def _grid_ratio(steps: NDArray[np.float64]) -> float:
    """`steps[i]` is the mean step from line i to the next."""
    on_grid = steps[_BLOCK - 1 :: _BLOCK]
    elsewhere = (float(steps.sum()) - float(on_grid.sum())) / (steps.size - on_grid.size)
    return (float(on_grid.mean()) + _FLAT) / (elsewhere + _FLAT)


def spatial_information(picture: Picture) -> float | None:
    """SI as libav's `siti` has it: standard deviation of the Sobel magnitude of luma brought to full range.

    The border of 1 px is left out; `None` below 3 x 3 px.
    """
    y = picture.y if picture.full_range else full_range_luma(picture.y)
    h, w = y.shape
    if h < 3 or w < 3:
        return None
    first = second = 0.0
    for magnitude in _magnitudes(y):
        first += cv2.sumElems(magnitude)[0]
        second += cv2.norm(magnitude, cv2.NORM_L2SQR)
    count = (h - 2) * (w - 2)
    return math.sqrt(max(second / count - (first / count) ** 2, 0.0))


def _magnitudes(y: Plane) -> Iterator[NDArray[np.float32]]:
    """Sobel magnitudes without the border, some rows at a time; each is good until the next."""
    for top in range(0, y.shape[0] - 2, _BAND):
        gradients = cv2.spatialGradient(y[top : top + _BAND + 2])
        across, down = (each[1:-1].astype(np.float32) for each in gradients)
        yield np.asarray(cv2.magnitude(across, down)[:, 1:-1], np.float32)


def muijs_kirenko(y: Plane, period_min: int, period_max: int) -> float | None:
    """Muijs and Kirenko (2005) as libav's `blockdetect` has it in a fresh graph: 1 and below: no blocks.

    `None` where the picture is too small, or flat. A period that has nothing at all between its blocks does not count.
    """
    if min(y.shape) < 2 * period_max:
        return None
    across, down = _relative_steps(y), _relative_steps(np.ascontiguousarray(y.T))
    ratios = [r for steps in (across, down) for r in _period_ratios(steps, period_min, period_max)]
    return max(ratios, default=None)


def _relative_steps(y: Plane) -> NDArray[np.float64]:
    """For each column, the sum of the steps to the next, each over the six steps around it; 0 near the edges."""
    width = y.shape[1]
    sums = np.zeros(width)
    for top in range(1, y.shape[0], _BAND):
        rows = y[top : top + _BAND]
        steps = cv2.absdiff(rows[:, 1:], rows[:, :-1])
        seven = cv2.boxFilter(steps, cv2.CV_16U, (7, 1), normalize=False)
        around = cv2.max(cv2.subtract(seven, steps, dtype=cv2.CV_16U), 1)
        ratios = cv2.divide(steps, around, dtype=cv2.CV_32F)
        sums[3 : width - 4] += cv2.reduce(ratios, 0, cv2.REDUCE_SUM, dtype=cv2.CV_64F).ravel()[3 : width - 4]
    return sums


def _period_ratios(steps: NDArray[np.float64], period_min: int, period_max: int) -> Iterator[float]:
    """Steps at every n-th column, the neighbour's if larger, over those at the others; for each period n."""
    columns = np.arange(3, steps.size - 4)
    near = np.maximum(np.maximum(steps[columns], steps[columns + 1]), steps[columns - 1])
    for period in range(period_min, period_max + 1):
        on_grid = columns % period == period - 1
        elsewhere = float(steps[columns[~on_grid]].mean())
        if elsewhere > 0:
            yield float(near[on_grid].mean()) / elsewhere
