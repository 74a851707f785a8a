"""The offset of a mouth against the sound in a window of some seconds, and the evidence for it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from processors.lip_sync.features import HOP_S, Floats, Mask, mouth_features, product, sound_bands
from processors.lip_sync.model import LipSyncModel

__all__ = ["BESIDE_S", "REACH_S", "Estimate", "Stretch", "estimate", "margin_of"]

REACH_S = 0.6
"""Offsets are looked for up to here, to both sides."""

BESIDE_S = 0.85
"""Of sound and mouth on each side of a window that serves it: the reach, and the context of a moment."""

_REACH = round(REACH_S / HOP_S)
_BESIDE = round(BESIDE_S / HOP_S)
_FILTERED = 50  # hops of the mouth beside the window: what is farther away hardly reaches into it through the filter
_LEAST_OVERLAP = 0.8  # of the window that must have sound at an offset
_LOCAL = 15  # hops; what is nearer to the peak belongs to it
_BLOCK = 50  # hops, of which the bootstrap draws; speech is about that long like itself
_DRAWS = 100
_SMOOTHED = 100  # hops over which a score is taken
_TINY = 1e-12


@dataclass(frozen=True, slots=True)
class Stretch:
    """Sound and mouth on one grid of 10 ms.

    :ivar times_s: media time, `(T,)`.
    :ivar mel: log power of bands, `(T, 26)`.
    :ivar came: which moments of the sound came, `(T,)`.
    :ivar mouth: distances, `(T, 7)`.
    """

    times_s: Floats
    mel: Floats
    came: Mask
    mouth: Floats

    def __len__(self) -> int:
        return len(self.times_s)


@dataclass(frozen=True, slots=True)
class Estimate:
    """What one window says.

    :ivar offset_s: > 0: the sound is late.
    :ivar margin: by how much the correlation at its peak exceeds all that are farther than 150 ms from it.
    :ivar peak: the weighted correlation there, -1..1.
    :ivar spread_s: standard deviation of the peak's place over bootstrap samples of half seconds.
    :ivar voiced_s: how much of the window is speech.
    :ivar curve: the weighted correlation at each offset from `-REACH_S` to `REACH_S`, `(121,)`.
    :ivar scores: how well mouth and sound agree at each moment of the window, `(T,)`, 0..1, over a second.
    """

    offset_s: float
    margin: float
    peak: float
    spread_s: float
    voiced_s: float
    curve: Floats
    scores: Floats


def estimate(model: LipSyncModel, stretch: Stretch, window: slice, voiced_s: float) -> Estimate:
    """The offset in a window.

    :param stretch: the window and, where there is some, `BESIDE_S` on each side of it.
    :param window: which moments of the stretch.
    :param voiced_s: how much of the window is speech.
    """
    sound = model.project_sound(sound_bands(stretch.mel, stretch.came))
    first, last = max(window.start - _FILTERED, 0), min(window.stop + _FILTERED, len(stretch))
    features = mouth_features(stretch.mouth[first:last])[window.start - first : window.stop - first]
    mouth = model.project_mouth(features)
    blocks = _contributions(sound, stretch.came, mouth, model.weights, window.start)
    curve = blocks.sum(axis=0)
    at = int(curve.argmax())
    return Estimate(
        offset_s=(at - _REACH + _vertex(curve, at)) * HOP_S - model.calibration.zero_s,
        margin=margin_of(curve, at),
        peak=float(curve[at]),
        spread_s=_spread_s(blocks, at),
        voiced_s=voiced_s,
        curve=curve,
        scores=_scores(sound, mouth, model.weights, window.start + at - _REACH),
    )


def _contributions(sound: Floats, came: Mask, mouth: Floats, weights: Floats, start: int) -> Floats:
    """What each half second adds to the weighted correlation at each offset; `(blocks, 121)`.

    At each offset, sound and mouth are normalised over the part of the window that has sound there.
    """
    count = len(mouth)
    known = _around(came[:, np.newaxis].astype(float), start, count)[:, 0]
    sound = _around(sound, start, count) * known[:, np.newaxis]
    offsets = np.arange(2 * _REACH + 1)
    sums, squares = (_cumulated(values) for values in (sound, sound * sound))
    present = _cumulated(known)
    overlap = (present[offsets + count] - present[offsets])[:, np.newaxis]
    here = np.lib.stride_tricks.sliding_window_view(known, count)
    sound_mean = (sums[offsets + count] - sums[offsets]) / overlap
    sound_var = (squares[offsets + count] - squares[offsets]) / overlap - sound_mean**2
    mouth_mean = product(here, mouth) / overlap
    mouth_var = product(here, mouth * mouth) / overlap - mouth_mean**2
    scale = weights / (overlap * np.sqrt(np.maximum(sound_var * mouth_var, _TINY)))
    blocks = []
    for first, last in _blocks(count):
        part = mouth[first:last]
        around = np.lib.stride_tricks.sliding_window_view(sound[first : last + 2 * _REACH], last - first, axis=0)
        products = np.einsum("kct,tc->kc", around, part)
        sound_sum, size = (
            sums[offsets + last] - sums[offsets + first],
            present[offsets + last] - present[offsets + first],
        )
        mouth_sum = product(here[:, first:last], part)
        centred = products - sound_mean * mouth_sum - mouth_mean * sound_sum
        blocks.append(((centred + sound_mean * mouth_mean * size[:, np.newaxis]) * scale).sum(axis=1))
    contributions = np.array(blocks)
    contributions[:, overlap[:, 0] < _LEAST_OVERLAP * count] = -1.0
    return contributions


def _around(values: Floats, start: int, count: int) -> Floats:
    """The part from `_REACH` before a window to `_REACH` behind it, zeros where there is nothing; `(T, K)`."""
    first, last = start - _REACH, start + count + _REACH
    beside = (max(-first, 0), max(last - len(values), 0))
    return np.pad(values[max(first, 0) : last], (beside, (0, 0)))


def _cumulated(values: Floats) -> Floats:
    return np.concatenate([np.zeros((1, *values.shape[1:])), np.cumsum(values, axis=0)])


def _blocks(count: int) -> list[tuple[int, int]]:
    """From and to, half a second each; what is left goes to the last one."""
    number = max(count // _BLOCK, 1)
    return [(i * _BLOCK, (i + 1) * _BLOCK if i < number - 1 else count) for i in range(number)]


def margin_of(curve: Floats, at: int, beside: int = 0) -> float:
    """By how much a curve within `beside` hops of a place exceeds all that is farther than 150 ms from it."""
    far = np.abs(np.arange(len(curve)) - at) > _LOCAL
    return float(curve[max(at - beside, 0) : at + beside + 1].max() - curve[far].max())


def _vertex(curve: Floats, at: int) -> float:
    """Where the parabola through the peak and its neighbours has its own, -0.5..0.5 hops from it."""
    if not 0 < at < len(curve) - 1:
        return 0.0
    low, middle, high = curve[at - 1 : at + 2]
    bend = low - 2 * middle + high
    return float(np.clip((low - high) / (2 * bend), -0.5, 0.5)) if bend else 0.0


def _spread_s(blocks: Floats, at: int) -> float:
    places = product(_draws(len(blocks)), blocks).argmax(axis=1)
    return float(np.sqrt(np.mean((places - at) ** 2.0))) * HOP_S


@lru_cache(maxsize=16)
def _draws(blocks: int) -> NDArray[np.float64]:
    """How often each block is drawn, `(100, blocks)`; always the same, so that the same window says the same."""
    shares = np.full(blocks, 1 / blocks)
    return np.random.default_rng(0).multinomial(blocks, shares, _DRAWS).astype(np.float64)


def _scores(sound: Floats, mouth: Floats, weights: Floats, start: int) -> Floats:
    """Weighted correlation over the second around each moment, 0 where it is negative; `(T,)`."""
    at = np.clip(np.arange(start, start + len(mouth)), 0, len(sound) - 1)
    one, other = (side - side.mean(axis=0) for side in (sound[at], mouth))
    one, other = (side / (side.std(axis=0) + 1e-9) for side in (one, other))
    products, first, second = (_smoothed(pair @ weights) for pair in (one * other, one * one, other * other))
    return np.asarray(np.clip(products / np.sqrt(first * second + _TINY), 0, 1))


def _smoothed(values: Floats) -> Floats:
    """Mean over a second, at the ends over the part of it that is there."""
    half = _SMOOTHED // 2
    sums = _cumulated(values)
    moments = np.arange(len(values))
    first, last = np.maximum(moments - half, 0), np.minimum(moments + half, len(values))
    return np.asarray((sums[last] - sums[first]) / (last - first))
