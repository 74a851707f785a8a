"""Computer vision for live avatar video: frame by frame, session by session.

    import vision

The public names below are what plugins and programs use.
"""

from vision import models
from vision.clock import ArrivalClock, FileClock, MediaClock
from vision.connectors.base import Connector, SourceContext
from vision.errors import ConfigError, ModelError, OutputError, SourceError, VisionError
from vision.frame import ClockQuality, Frame, Picture, Sound
from vision.intake import DecodedPicture, DecodedSound, Intake
from vision.processor import Options, Processor, Reads, StreamInfo
from vision.record import Record
from vision.result import IncidentRule, MetricInfo, Result, array, metric, metrics_of
from vision.sinks.base import Sink

__version__ = "0.1.0"

__all__ = [
    "ArrivalClock",
    "ClockQuality",
    "ConfigError",
    "Connector",
    "DecodedPicture",
    "DecodedSound",
    "FileClock",
    "Frame",
    "IncidentRule",
    "Intake",
    "MediaClock",
    "MetricInfo",
    "ModelError",
    "Options",
    "OutputError",
    "Picture",
    "Processor",
    "Reads",
    "Record",
    "Result",
    "Sink",
    "Sound",
    "SourceContext",
    "SourceError",
    "StreamInfo",
    "VisionError",
    "array",
    "metric",
    "metrics_of",
    "models",
]
