"""A processor that leaves a note of each picture beside the run, at once: what the run must not lose."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from vision import Frame, Options, Processor, Result, metric


@dataclass(frozen=True, slots=True)
class Noted(Result):
    """Which picture it was."""

    index: float = metric("Its index", unit="1")


class NotingOptions(Options):
    """Where the notes go."""

    file: str


class NotingProcessor(Processor[Noted]):
    """Notes index and monotonic time of each picture, a line each."""

    Options = NotingOptions

    def process(self, frame: Frame) -> Noted | None:
        with Path(self.options.file).open("a") as notes:
            notes.write(f"{frame.index} {time.monotonic()}\n")
            notes.flush()
            os.fsync(notes.fileno())
        return Noted(float(frame.index or 0))
