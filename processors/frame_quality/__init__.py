"""How a picture looks: `frame_quality`, of every picture; `frame_statistics`, dearer figures, those of libav's filters.

Sharpness inside the face is `face_quality`'s, which knows where the face is.
"""

from processors.frame_quality.quality import FrameQuality, FrameQualityOptions, FrameQualityProcessor
from processors.frame_quality.statistics import FrameStatistics, FrameStatisticsOptions, FrameStatisticsProcessor

__all__ = [
    "FrameQuality",
    "FrameQualityOptions",
    "FrameQualityProcessor",
    "FrameStatistics",
    "FrameStatisticsOptions",
    "FrameStatisticsProcessor",
]
