"""What is compared: the bands of the sound and the distances of a mouth, both a hundred times a second."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from processors.face_landmarks.mesh import EYE_CORNERS_OUTER
from processors.speech import RATE_HZ

__all__ = [
    "AROUND",
    "BANDS",
    "DISTANCES",
    "Floats",
    "HOP_S",
    "Mask",
    "band_passed",
    "log_mel",
    "mouth_distances",
    "mouth_features",
    "normal",
    "pchip",
    "product",
    "sound_bands",
    "with_context",
]

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

HOP_S = 0.01
"""Between two moments of the grid."""

BANDS = 26
AROUND = np.arange(-24, 25, 4)
"""Hops of sound around each moment that belong to it: what a mouth does is heard up to a quarter of a second away."""

LENGTH = 400  # samples, 25 ms
_FFT = 512
_LOW_HZ, _HIGH_HZ = 80.0, 7600.0
_PRE_EMPHASIS = 0.97
_QUIETEST = 1e-10  # power; below what 16 bits can hold
_FLOOR_PERCENT = 5.0  # what is quieter than this share of a window is as quiet as that
_ONE_THREAD = 1 << 18  # multiplications: SMP_THRESHOLD_MIN * GEMM_MULTITHREAD_THRESHOLD of OpenBLAS
_ROUND = 120  # lengths with few prime factors are transformed several times as fast
_USUAL = 2.0  # standard deviations
_PASS_HZ = (0.4, 8.0)  # slower is the head, faster is jitter of the points

# the first three are averaged: inner lips; then outer lips, width, inner width, nose to chin, nose to lip, lip to chin;
# at last the eyes
_FROM = np.array((13, 82, 312, 0, 61, 78, 1, 1, 17, EYE_CORNERS_OUTER[0]))
_TO = np.array((14, 87, 317, 17, 291, 308, 152, 0, 152, EYE_CORNERS_OUTER[1]))
_INNER = 3
DISTANCES = 7


def log_mel(samples: NDArray[np.float32], count: int) -> Floats:
    """Log power in mel bands of 25 ms every 10 ms, the first one from the first sample on; `(count, 26)`.

    The middle of the n-th is sample `160 n + 200.5`; that is its moment, not its beginning.

    :param samples: `(>= 160 (count - 1) + 401,)` mono at 16 kHz: one sample before, for pre-emphasis.
    """
    if not count:
        return np.zeros((0, BANDS))
    sharpened = samples[1:] - _PRE_EMPHASIS * samples[:-1]
    hop = round(HOP_S * RATE_HZ)
    windows = np.lib.stride_tricks.sliding_window_view(sharpened, LENGTH)[: hop * (count - 1) + 1 : hop]
    spectrum = np.fft.rfft(windows * _hamming(), _FFT, axis=1)
    power = np.square(spectrum.real) + np.square(spectrum.imag)
    return np.asarray(np.log(product(power, _filters()) + _QUIETEST))


@lru_cache(maxsize=1)
def _hamming() -> NDArray[np.float32]:
    return np.hamming(LENGTH).astype(np.float32)


@lru_cache(maxsize=1)
def _filters() -> Floats:
    """Triangles, even on the mel scale (O'Shaughnessy's formula); `(257, 26)`."""
    low, high = (2595 * np.log10(1 + hz / 700) for hz in (_LOW_HZ, _HIGH_HZ))
    edges = 700 * (10 ** (np.linspace(low, high, BANDS + 2) / 2595) - 1)
    hz = np.fft.rfftfreq(_FFT, 1 / RATE_HZ)[:, np.newaxis]
    rise, fall = (hz - edges[:-2]) / np.diff(edges)[:-1], (edges[2:] - hz) / np.diff(edges)[1:]
    return np.asarray(np.clip(np.minimum(rise, fall), 0, None))


def mouth_distances(points_norm: NDArray[np.float32], width: int, height: int) -> Floats:
    """Distances of the mouth in space over that of the outer corners of the eyes; `(7,)`.

    Inner lips (mean of three pairs), outer lips, width, inner width, nose to chin, nose to upper lip, lower lip to
    chin. In space, since a head that turns would change them in the picture.

    :param points_norm: of the face, `(478, 3)`, as `FaceLandmarks` has them.
    :param width: of the picture, px.
    :param height: of the picture, px.
    """
    apart = (points_norm[_FROM] - points_norm[_TO]) * (width, height, width)
    lengths = np.sqrt(np.einsum("ij,ij->i", apart, apart))
    distances = np.append(lengths[:_INNER].mean(), lengths[_INNER:-1])
    return np.asarray(distances / max(lengths[-1], 1e-6), np.float64)


def pchip(x: Floats, y: Floats, at: Floats) -> Floats:
    """Piecewise cubic through all points, monotone between them (Fritsch and Butland 1984); `(M, K)`.

    :param x: ascending, `(N >= 2,)`.
    :param y: `(N, K)`.
    :param at: `(M,)`; outside of `x` the nearest value holds.
    """
    steps = np.diff(x)[:, np.newaxis]
    slopes = np.diff(y, axis=0) / steps
    before, after = 2 * steps[1:] + steps[:-1], steps[1:] + 2 * steps[:-1]
    same_way = slopes[:-1] * slopes[1:] > 0
    safe = [np.where(same_way, each, 1.0) for each in (slopes[:-1], slopes[1:])]
    inner = np.where(same_way, (before + after) / (before / safe[0] + after / safe[1]), 0.0)
    tangents = np.concatenate([slopes[:1], inner, slopes[-1:]])
    i = np.clip(np.searchsorted(x, at, side="right") - 1, 0, len(x) - 2)
    t = np.clip((at - x[i]) / steps[i, 0], 0, 1)[:, np.newaxis]
    ends = y[i] * (1 + 2 * t) * (1 - t) ** 2 + y[i + 1] * t**2 * (3 - 2 * t)
    return np.asarray(ends + steps[i] * t * (1 - t) * (tangents[i] * (1 - t) - tangents[i + 1] * t))


def band_passed(values: Floats) -> Floats:
    """0.4 to 8 Hz without delay: a Butterworth filter of second order, there and back, by its gain; `(T, K)`."""
    count = len(values)
    mirrored = np.concatenate([2 * values[0] - values[:0:-1], values, 2 * values[-1] - values[-2::-1]])
    mirrored = np.pad(mirrored, ((0, -len(mirrored) % _ROUND), (0, 0)), mode="edge")
    hz = np.fft.rfftfreq(len(mirrored), HOP_S)
    gain = 1 / (1 + (hz / _PASS_HZ[1]) ** 4) * (1 - 1 / (1 + (hz / _PASS_HZ[0]) ** 4))
    filtered = np.fft.irfft(np.fft.rfft(mirrored, axis=0) * gain[:, np.newaxis], len(mirrored), axis=0)
    return np.asarray(filtered[count - 1 : 2 * count - 1])


def product(left: Floats, right: Floats) -> Floats:
    """The product of matrices, in pieces that OpenBLAS works out in the thread that asks.

    For more it wakes a thread for each core, and these spin for longer than the work takes.
    """
    rows = max(_ONE_THREAD // right.size, 1)
    if len(left) <= rows:
        return np.asarray(left @ right)
    return np.concatenate([left[first : first + rows] @ right for first in range(0, len(left), rows)])


def normal(values: Floats) -> Floats:
    """Each column with mean 0 and deviation 1 (0 where it does not change)."""
    return np.asarray((values - values.mean(axis=0)) / (values.std(axis=0) + 1e-9))


def sound_bands(mel: Floats, came: Mask) -> Floats:
    """Bands of a stretch of sound, not quieter than its floor, each with mean 0 and deviation 1; `(T, 26)`.

    :param mel: `(T, 26)`.
    :param came: which moments are known, `(T,)`, at least one; the others are 0.
    """
    floored = np.maximum(mel, np.percentile(mel[came], _FLOOR_PERCENT))
    known = floored[came]
    bands = (floored - known.mean(axis=0)) / (known.std(axis=0) + 1e-9)
    bands[~came] = 0.0
    return np.asarray(bands)


def with_context(bands: Floats) -> Floats:
    """The bands of each moment and of those around it; `(T, 13 x 26)`; at the ends the nearest are repeated."""
    at = np.clip(np.arange(len(bands))[:, np.newaxis] + AROUND, 0, len(bands) - 1)
    return np.asarray(bands[at].reshape(len(bands), -1))


def mouth_features(distances: Floats) -> Floats:
    """How the distances move, how fast, and how that changes, each with mean 0 and deviation 1; `(T, 21)`.

    What is far from usual is drawn in: points that go astray, as where a hand passes, would outweigh all else.

    :param distances: on the grid, `(T, 7)`.
    """
    moved = _drawn_in(band_passed(distances))
    speed = _drawn_in(np.gradient(moved, axis=0))
    return np.hstack([moved, speed, _drawn_in(np.gradient(speed, axis=0))])


def _drawn_in(values: Floats) -> Floats:
    return normal(np.tanh(normal(values) / _USUAL))
