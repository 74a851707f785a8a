"""A processor that keeps the sound of every frame, for the test that runs it in its own process."""

from __future__ import annotations

from dataclasses import dataclass

from vision.frame import Frame, Sound
from vision.processor import Processor, Reads
from vision.result import Result, metric

__all__ = ["HeardProcessor", "heard"]

heard: list[Sound] = []
"""Of all frames of the run, in order; a test empties it first."""


@dataclass(frozen=True, slots=True)
class _Heard(Result):
    samples: float = metric("Samples in this frame", unit="1", range=(0, None))


class HeardProcessor(Processor[_Heard]):
    """Keeps what it hears."""

    reads = Reads.SOUND

    def process(self, frame: Frame) -> _Heard:
        heard.append(frame.sound)
        return _Heard(float(frame.sound.samples.size))

    def shift_sound(self, step_s: float) -> None:
        """What was heard stays what it is."""
