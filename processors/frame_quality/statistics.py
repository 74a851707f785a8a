"""The processor `frame_statistics`: the figures of libav's filters, in full, for pictures taken now and then."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import Field, model_validator

import vision
from processors.frame_quality.detail import muijs_kirenko, spatial_information
from processors.frame_quality.histograms import Chroma, Counts, Levels, entropy, mean
from vision import Frame, Processor, Result, metric

__all__ = ["FrameStatistics", "FrameStatisticsOptions", "FrameStatisticsProcessor"]


def _level(name: str) -> Any:
    return metric(f"{name} (ffmpeg signalstats)", unit="1", range=(0, 255))


def _saturation(name: str) -> Any:
    return metric(f"{name} distance of chroma from grey (ffmpeg signalstats)", unit="1", range=(0, 182))


@dataclass(frozen=True, slots=True)
class FrameStatistics(Result):
    """Figures of ffmpeg's `signalstats`, `siti`, `entropy` and `blockdetect` for one picture, code values as they are.

    `None` stands for what is not to be seen in a picture so small or flat.
    """

    ymin: int = _level("Lowest Y")
    ylow: int = _level("Y at 10 %")
    yavg: float = _level("Mean Y")
    yhigh: int = _level("Y at 90 %")
    ymax: int = _level("Highest Y")
    umin: int = _level("Lowest U")
    ulow: int = _level("U at 10 %")
    uavg: float = _level("Mean U")
    uhigh: int = _level("U at 90 %")
    umax: int = _level("Highest U")
    vmin: int = _level("Lowest V")
    vlow: int = _level("V at 10 %")
    vavg: float = _level("Mean V")
    vhigh: int = _level("V at 90 %")
    vmax: int = _level("Highest V")
    satmin: int = _saturation("Lowest")
    satlow: int = _saturation("At 10 %: the")
    satavg: float = _saturation("Mean")
    sathigh: int = _saturation("At 90 %: the")
    satmax: int = _saturation("Highest")
    hue_median_deg: int = metric("Median of hue (ffmpeg signalstats HUEMED)", unit="deg", range=(0, 360))
    hue_mean_deg: float = metric("Mean of hue (ffmpeg signalstats HUEAVG)", unit="deg", range=(0, 360))
    entropy_y: float = metric("Entropy of Y (ffmpeg entropy, normal mode)", unit="bit", range=(0, 8))
    entropy_u: float = metric("Entropy of U (ffmpeg entropy, normal mode)", unit="bit", range=(0, 8))
    entropy_v: float = metric("Entropy of V (ffmpeg entropy, normal mode)", unit="bit", range=(0, 8))
    si: float | None = metric(
        "Spatial information: standard deviation of the Sobel magnitude of luma, full range (ffmpeg siti; ITU-T P.910)",
        unit="1",
        range=(0, None),
    )
    blockdetect: float | None = metric(
        "Blockiness of Muijs and Kirenko (2005) for any period of period_min to period_max"
        " (ffmpeg blockdetect, which itself adds up all pictures so far; this is of one)",
        unit="1",
        range=(0, None),
        good="low",
    )


class FrameStatisticsOptions(vision.Options):
    """Options of `frame_statistics`."""

    period_min: int = Field(3, ge=2, le=64, description="Shortest period of blocks, px (blockdetect period_min).")
    period_max: int = Field(24, ge=2, le=64, description="Longest period of blocks, px (blockdetect period_max).")

    @model_validator(mode="after")
    def _in_order(self) -> FrameStatisticsOptions:
        if self.period_max < self.period_min:
            raise ValueError(f"period_max ({self.period_max}) must be at least period_min ({self.period_min})")
        return self


class FrameStatisticsProcessor(Processor[FrameStatistics]):
    """ffmpeg's signalstats, siti (SI), entropy and blockdetect of one picture; dear, and meant for `every: 10`."""

    Options = FrameStatisticsOptions

    def process(self, frame: Frame) -> FrameStatistics:
        """Measure the picture."""
        picture = frame.picture
        chroma = Chroma(picture.chroma_histogram)
        hues = chroma.hues()
        return FrameStatistics(
            **_levels("y", picture.histogram),
            **_levels("u", chroma.u),
            **_levels("v", chroma.v),
            **_levels("sat", chroma.saturations()),
            entropy_y=entropy(picture.histogram),
            entropy_u=entropy(chroma.u),
            entropy_v=entropy(chroma.v),
            # vf_signalstats.c: the first that more than half, rounded down, lie at or below
            hue_median_deg=int(np.searchsorted(np.cumsum(hues), hues.sum() // 2, side="right")),
            hue_mean_deg=mean(hues),
            si=spatial_information(picture),
            blockdetect=muijs_kirenko(picture.y, self.options.period_min, self.options.period_max),
        )


def _levels(name: str, counts: Counts) -> dict[str, Any]:
    levels = Levels.of(counts)
    return {
        f"{name}min": levels.min,
        f"{name}low": levels.low,
        f"{name}avg": levels.mean,
        f"{name}high": levels.high,
        f"{name}max": levels.max,
    }
