"""What a plugin author tests with: frames made to measure, a check of a processor's promises, a sink in memory."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vision.frame import SPEECH_HZ, ClockQuality, ClockStep, Frame, Picture, Samples, Sound
from vision.incidents import Incident
from vision.processor import Processor, Reads, StreamInfo
from vision.record import Record
from vision.resampling import resampled
from vision.result import Result, metrics_of, record_of
from vision.sinks.base import Sink

__all__ = ["MemorySink", "check_processor", "make_frame", "make_picture"]


def make_picture(luma: int | NDArray[np.uint8] = 128, *, width: int = 64, height: int = 48) -> Picture:
    """A grey picture; `luma` is one value for all of it, or a plane of `(H, W) uint8`."""
    y = luma if isinstance(luma, np.ndarray) else np.full((height, width), luma, np.uint8)
    chroma = np.full(((y.shape[0] + 1) // 2, (y.shape[1] + 1) // 2), 128, np.uint8)
    return Picture(y, chroma, chroma)


def make_frame(
    picture: Picture | None = None,
    *,
    index: int = 0,
    fps: float = 30.0,
    samples: Samples | None = None,
    rate_hz: int = 16_000,
    clock_step: ClockStep | None = None,
) -> Frame:
    """The frame number `index` of a steady stream; without a picture given, a grey one of 64 x 48 px.

    `samples` are what sounds under it, `(N,) float32` mono in -1..1; at another rate than 16 kHz, each frame's are
    brought to it by themselves, so that `samples_16k` is contiguous to within a sample only.
    """
    heard = np.zeros(0, np.float32) if samples is None else samples
    return Frame(
        index=index,
        time_s=index / fps,
        arrival_s=index / fps,
        clock=ClockQuality("file", 0.0),
        sound=_sound(heard, rate_hz, index / fps),
        maybe_picture=picture or make_picture(),
        clock_step=clock_step,
    )


def _sound(samples: Samples, rate_hz: int, until_s: float) -> Sound:
    speech = resampled(samples, rate_hz)
    starts_s = (until_s - each.size / rate for each, rate in ((samples, rate_hz), (speech, SPEECH_HZ)))
    return Sound(samples, rate_hz, next(starts_s), samples_16k=speech, start_16k_s=next(starts_s))


def check_processor(
    processor: type[Processor[Any]], frames: Iterable[Frame] | None = None, options: dict[str, Any] | None = None
) -> list[Result | None]:
    """Put a processor through its life and hold it to the contract; returns its results.

    It must have a docstring, a result type whose fields are metrics with described units and sensible ranges, take
    its options, measure the frames (default: ten grey ones, and for one that listens one without a picture) or say
    `None`, give values within the stated ranges, do so again after a `reset` and, one that listens, after its sound was
    shifted, and close. Processors that need others' results get `None` for them.

    :raises AssertionError: with what it breaks.
    :raises ValueError: when a value lies outside its range; and whatever the processor itself raises.
    """
    assert processor.__doc__, f"{processor.__name__} has no docstring; `vision list` shows its first line"
    infos = metrics_of(processor.result_type())
    for info in infos:
        assert info.description, f"{info.name} needs a description"
        assert info.unit, f"{info.name} needs a unit; 1 for a plain number"
        low, high = info.range
        assert low is None or high is None or low < high, f"{info.name}: the range {info.range} is empty"
    for name in ("setup", "reset", "shift_sound", "close"):
        assert not inspect.iscoroutinefunction(getattr(processor, name)), f"{name}() cannot be asynchronous"
    instance = processor(processor.Options.model_validate(options or {}))
    return _life(instance, list(frames) if frames is not None else [*_grey(), _without_picture()])


def _life(instance: Processor[Any], frames: list[Frame]) -> list[Result | None]:
    try:
        instance.setup(StreamInfo(live=False))
        results = _measured_all(instance, frames)
        instance.reset("reconnect")
        _measured_all(instance, frames)
        if Reads.SOUND in instance.reads:
            for step_s in (0.05, -0.05):
                instance.shift_sound(step_s)
                _measured_all(instance, frames)
    finally:
        instance.close()
    return results


def _grey() -> list[Frame]:
    return [make_frame(index=index) for index in range(10)]


def _without_picture() -> Frame:
    return dataclasses.replace(make_frame(index=10), index=None, maybe_picture=None)


def _measured_all(instance: Processor[Any], frames: list[Frame]) -> list[Result | None]:
    needed = [None] * len(instance.needs)
    results = [_measured(instance, frame, needed) for frame in frames if _is_read(instance, frame)]
    for result in results:
        if result is not None:
            record_of(result, metrics_of(type(result)))  # raises for what lies outside its range
    return results


def _measured(instance: Processor[Any], frame: Frame, needed: list[None]) -> Result | None:
    result = instance.process(frame, *needed)
    if inspect.isawaitable(result):
        raise AssertionError("check_processor() is for plain `def process`; await an asynchronous one yourself")
    expected = instance.result_type()
    assert result is None or isinstance(result, expected), f"process() gave {type(result).__name__}, not {expected}"
    return result


def _is_read(instance: Processor[Any], frame: Frame) -> bool:
    return frame.maybe_picture is not None or instance.reads != Reads.PICTURE


class MemorySink(Sink):
    """Keeps the records and incidents of a run in lists; for short runs in tests."""

    def __init__(self, options: Any = None, folder: Path = Path()) -> None:
        super().__init__(options, folder)
        self.records: list[Record] = []
        self.incidents: list[Incident] = []

    def write(self, record: Record) -> None:
        self.records.append(record)

    def add_incident(self, incident: Incident) -> None:
        self.incidents.append(incident)
