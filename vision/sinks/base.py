"""What a sink is: it gets every record, in order, and holds nothing back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

from vision.incidents import Incident
from vision.processor import Options
from vision.record import Record
from vision.result import MetricInfo

__all__ = ["Sink"]


class Sink(ABC):
    """An output of a run; methods run off the event loop, one at a time.

    `write` appends and flushes: a run that is killed loses at most its last second. Whatever a method raises is an
    error of the run that names the sink; from `open` and `write` it also ends the run.

    :ivar waits: the source waits for whoever is slow, and nothing is lost (a recording); else what is slow costs
        pictures. It is known from `open` on.
    """

    Options: ClassVar[type[Options]] = Options
    fields: Mapping[str, tuple[MetricInfo, ...]] = MappingProxyType({})
    """Those of each processor's result, by its name; known from `open` on."""
    waits: bool = False

    def __init__(self, options: Any, folder: Path) -> None:
        self.options: Any = options
        self.folder = folder

    @classmethod  # noqa: B027
    def check(cls, options: Any, fields: Mapping[str, tuple[MetricInfo, ...]]) -> None:
        """Look at what the run will measure, before it starts.

        :param fields: those of each processor's result, by its name.
        :raises ValueError: when the options ask for what is not there.
        """

    def open(self) -> None:  # noqa: B027 - many sinks need none
        """Called once before the first record."""

    @abstractmethod
    def write(self, record: Record) -> None:
        """Take a record."""

    def add_incident(self, incident: Incident) -> None:  # noqa: B027
        """Take an incident, once it is over; before the record with which that is known."""

    def set_running(self, incidents: tuple[Incident, ...]) -> None:  # noqa: B027
        """The incidents that go on, as if they ended here; before each record with which there are any, or no more."""

    def close(self) -> None:  # noqa: B027
        """Called once, on every way out."""

    def facts(self) -> Mapping[str, float | str]:
        """What is worth knowing of what was written, for run.json; asked for once, after `close`."""
        return {}

    def conclude(self) -> None:  # noqa: B027
        """Called last, when all that the run itself writes, summary.json included, is in the folder."""
