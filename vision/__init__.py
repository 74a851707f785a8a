"""Computer vision for live avatar video: frame by frame, session by session.

    import vision

The public names below are what plugins and programs use.
"""

from vision import models
from vision.errors import ConfigError, ModelError, OutputError, SourceError, VisionError
from vision.frame import ClockQuality, Frame, Picture, Sound
from vision.processor import Options, Processor, Reads, StreamInfo
from vision.result import IncidentRule, MetricInfo, Result, array, metric, metrics_of

__version__ = "0.1.0"

__all__ = [
    "ClockQuality",
    "ConfigError",
    "Frame",
    "IncidentRule",
    "MetricInfo",
    "ModelError",
    "Options",
    "OutputError",
    "Picture",
    "Processor",
    "Reads",
    "Result",
    "Sound",
    "SourceError",
    "StreamInfo",
    "VisionError",
    "array",
    "metric",
    "metrics_of",
    "models",
]
