"""Computer vision for live avatar video: frame by frame, session by session.

    import vision

The public names below are what plugins and programs use. They are imported when they are first asked for, so that
the command line is there, and answers Ctrl-C, before numpy and OpenCV are.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vision import models
    from vision.clock import ArrivalClock, FileClock, MediaClock, Relation
    from vision.connectors.base import Connector, SourceContext
    from vision.connectors.decoding import picture_of
    from vision.errors import ConfigError, ModelError, OutputError, SourceError, VisionError
    from vision.frame import ClockQuality, ClockStep, Frame, Picture, Sound
    from vision.incidents import Incident
    from vision.intake import DecodedPicture, DecodedSound, Intake
    from vision.processor import Options, Processor, Reads, StreamInfo
    from vision.record import Record
    from vision.result import (
        Hysteresis,
        IncidentRule,
        MetricInfo,
        Outline,
        Readout,
        Result,
        array,
        metric,
        metrics_of,
    )
    from vision.rtp.statistics import Freezes
    from vision.sender_clock import SenderClock
    from vision.sinks.base import Sink

__version__ = "0.1.0"

_HOMES = {
    "vision.clock": (
        "ArrivalClock",
        "FileClock",
        "MediaClock",
        "Relation",
    ),
    "vision.connectors.base": (
        "Connector",
        "SourceContext",
    ),
    "vision.connectors.decoding": ("picture_of",),
    "vision.errors": (
        "ConfigError",
        "ModelError",
        "OutputError",
        "SourceError",
        "VisionError",
    ),
    "vision.frame": (
        "ClockQuality",
        "ClockStep",
        "Frame",
        "Picture",
        "Sound",
    ),
    "vision.incidents": ("Incident",),
    "vision.intake": (
        "DecodedPicture",
        "DecodedSound",
        "Intake",
    ),
    "vision.processor": (
        "Options",
        "Processor",
        "Reads",
        "StreamInfo",
    ),
    "vision.record": ("Record",),
    "vision.result": (
        "Hysteresis",
        "IncidentRule",
        "MetricInfo",
        "Outline",
        "Readout",
        "Result",
        "array",
        "metric",
        "metrics_of",
    ),
    "vision.rtp.statistics": ("Freezes",),
    "vision.sender_clock": ("SenderClock",),
    "vision.sinks.base": ("Sink",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "ArrivalClock",
    "ClockQuality",
    "ClockStep",
    "ConfigError",
    "Connector",
    "DecodedPicture",
    "DecodedSound",
    "FileClock",
    "Frame",
    "Freezes",
    "Hysteresis",
    "Incident",
    "IncidentRule",
    "Intake",
    "MediaClock",
    "MetricInfo",
    "ModelError",
    "Options",
    "Outline",
    "OutputError",
    "Picture",
    "Processor",
    "Readout",
    "Reads",
    "Record",
    "Relation",
    "Result",
    "SenderClock",
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
    "picture_of",
]


def __getattr__(name: str) -> Any:
    """PEP 562: a public name, from where it lives."""
    if name not in _HOME_OF:
        raise AttributeError(f"module 'vision' has no attribute '{name}'")
    return getattr(import_module(_HOME_OF[name]), name)
