"""Figures of one picture, by the view of it that they share; named as in `FrameQuality`."""

from __future__ import annotations

from typing import Any

import cv2

from processors.frame_quality.detail import blockiness, noise, reduced, sharpness, tenengrad
from processors.frame_quality.histograms import (
    Chroma,
    entropy,
    mean,
    percentile,
    sampled_luma,
    share_above,
    share_up_to,
)
from vision import Picture

__all__ = ["Figures", "colour_of", "detail_of", "light_of"]

Figures = dict[str, Any]


def light_of(picture: Picture, black_pixel: float) -> Figures:
    """Mean and deviation of luma, and what follows from its histogram."""
    counts = sampled_luma(picture)
    low, high = (0, 255) if picture.full_range else (16, 235)
    middle, deviation = cv2.meanStdDev(picture.y)
    return {
        "luma_mean": middle.item() / 255,
        "contrast_rms": deviation.item() / 255,
        "luma_p2": percentile(counts, 0.02) / 255,
        "luma_p98": percentile(counts, 0.98) / 255,
        "underexposed": share_up_to(counts, low),
        "overexposed": share_above(counts, high),
        "entropy": entropy(counts),
        # truncated, as vf_blackdetect.c does
        "black_ratio": share_up_to(counts, int(low + black_pixel * (high - low))),
    }


def colour_of(picture: Picture, chroma: Chroma) -> Figures:
    """Means of chroma, and what follows from its joint histogram."""
    return {
        "u_mean": cv2.mean(picture.u)[0] / 255,
        "v_mean": cv2.mean(picture.v)[0] / 255,
        "saturation": mean(chroma.saturations()),
        "colourfulness": chroma.colourfulness(full_range=picture.full_range),
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
