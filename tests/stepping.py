"""A source whose clock steps, and processors that write down what they are told of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vision.clock import FileClock, MediaClock, Relation
from vision.connectors.base import Connector
from vision.frame import Frame
from vision.intake import DecodedPicture, DecodedSound, Intake
from vision.processor import Options, Processor, Reads, ResetReason
from vision.result import Result, metric
from vision.testing import make_picture

__all__ = ["STEPS", "Clumsy", "Deaf", "Forgetful", "SteppingSource", "Told"]

STEPS = ((20, 0.08, False), (30, -0.03, True))
"""At which picture, by how much in seconds (on top of what was before), and whether the sender slipped."""


class _SteppingClock(FileClock):
    """A recording's, but the sound turns out to belong elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.now = Relation()

    @property
    def relation(self) -> Relation:
        return self.now


class SteppingSource(Connector):
    """Fifty pictures at 25 a second, and their sound."""

    live = False

    def clock(self) -> MediaClock:
        self._clock = _SteppingClock()
        return self._clock

    async def stream(self, intake: Intake) -> str:
        shift_s, slips = 0.0, 0
        for number in range(50):
            for at, step_s, by_sender in STEPS:
                if at == number:
                    shift_s, slips = shift_s + step_s, slips + by_sender
            self._clock.now = Relation(shift_s, slips=slips)
            await intake.put(DecodedSound(number / 25, number / 25, np.zeros(640, np.float32), 16_000))
            await intake.put(DecodedPicture(number / 25, number / 25, make_picture()))
        return "all sent"


class ToldOptions(Options):
    """None."""


@dataclass(frozen=True, slots=True)
class Heard(Result):
    """What a processor was told so far."""

    shifted_ms: float = metric("All shifts together", unit="ms")
    resets: int = metric("How often it began anew", unit="1")


class Told(Processor[Heard]):
    """Shifts what it has heard."""

    Options = ToldOptions
    reads = Reads.BOTH

    def __init__(self, options: ToldOptions | None = None) -> None:
        super().__init__(options)
        self._shifted_s, self._resets = 0.0, 0

    def process(self, frame: Frame) -> Heard:
        return Heard(round(1000 * self._shifted_s, 3), self._resets)

    def shift_sound(self, step_s: float) -> None:
        self._shifted_s += step_s

    def reset(self, reason: ResetReason) -> None:
        assert reason == "clock"
        self._resets += 1


class Forgetful(Told):
    """Does not shift, and so begins anew."""

    shift_sound = Processor.shift_sound


class Clumsy(Told):
    """Cannot shift."""

    def shift_sound(self, step_s: float) -> None:
        raise ValueError("too heavy")


class Deaf(Told):
    """Reads pictures only."""

    reads = Reads.PICTURE
