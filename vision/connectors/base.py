"""What a connector is: it opens a source and hands what it decodes to the intake."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from vision.clock import MediaClock, Track
from vision.intake import Intake
from vision.processor import Options
from vision.sender_clock import SenderClock

__all__ = ["Connector", "SourceContext"]


@dataclass(frozen=True, slots=True)
class SourceContext:
    """Where a connector runs.

    :ivar folder: the run's, for files of the source's own (ground truth).
    :ivar open_ended: the run takes what comes until the source ends; else it has a duration, and an earlier end is a
        loss.
    """

    folder: Path | None = None
    open_ended: bool = True


class Connector(ABC):
    """A source of pictures and sound. Subclass it, declare `Options`, write `stream`.

    :cvar live: the source does not wait for its reader; the queue then drops rather than waits.
    """

    Options: ClassVar[type[Options]] = Options
    live: ClassVar[bool] = True

    def __init__(self, options: Any, context: SourceContext) -> None:
        self.options: Any = options
        self.context = context

    def tracks(self) -> Iterable[Track]:
        """Which tracks are expected."""
        return ("picture", "sound")

    def clock(self) -> MediaClock:
        """The clock that relates this source's tracks."""
        return SenderClock(self.tracks())

    @abstractmethod
    async def stream(self, intake: Intake) -> str:
        """Open the source, hand in all it gives, release it; returns why it ended, in a few words.

        Whatever is opened is released on every way out, cancellation included.

        :raises SourceError: when it cannot be opened, or is lost for good.
        """
