"""Figures of one picture, by the view of it that they share; named as in `FrameQuality`."""

from __future__ import annotations

from typing import Any

from processors.frame_quality.detail import blockiness, noise, reduced, sharpness, tenengrad
from processors.frame_quality.histograms import (
    Chroma,
    entropy,
    mean,
    mean_and_deviation,
    percentile,
    share_above,
    share_up_to,
)
from vision import Picture

__all__ = ["Figures", "colour_of", "detail_of", "light_of"]

Figures = dict[str, Any]


def light_of(picture: Picture, black_pixel: float) -> Figures:
    """What follows from the histogram of luma."""
    counts = picture.histogram
    low, high = (0, 255) if picture.full_range else (16, 235)
    middle, deviation = mean_and_deviation(counts)
    return {
        "luma_mean": middle / 255,
        "contrast_rms": deviation / 255,
        "luma_p2": percentile(counts, 0.02) / 255,
        "luma_p98": percentile(counts, 0.98) / 255,
        "underexposed": share_up_to(counts, low),
        "overexposed": share_above(counts, high),
        "entropy": entropy(counts),
        # truncated, as vf_blackdetect.c does
        "black_ratio": share_up_to(counts, int(low + black_pixel * (high - low))),
    }


def colour_of(chroma: Chroma, *, full_range: bool) -> Figures:
    """What follows from the joint histogram of chroma."""
    return {
        "u_mean": mean(chroma.u) / 255,
        "v_mean": mean(chroma.v) / 255,
        "saturation": mean(chroma.saturations()),
        "colourfulness": chroma.colourfulness(full_range=full_range),
    }


def detail_of(picture: Picture, height: int) -> Figures:
    """Sharpness at a height, noise and blocks of the whole picture."""
    y = reduced(picture, height)
    return {
        "sharpness": sharpness(y),
        "tenengrad": tenengrad(y),
        "noise": noise(picture.y),
        "blockiness": blockiness(picture.y),
    }
