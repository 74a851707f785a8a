"""Plugins whose classes are wrong, for the tests of how a configuration answers them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import Field, field_validator

from tests.troublesome import Counting, Number
from vision.connectors.base import Connector
from vision.intake import Intake
from vision.processor import Options, Processor
from vision.result import Result, metric

if TYPE_CHECKING:
    Nowhere = float


class NoStream(Connector):
    """Lacks what a connector is about."""


class Blocking(Connector):
    """Keeps the event loop from turning."""

    async def stream(self, intake: Intake) -> str:
        time.sleep(60)  # noqa: ASYNC251
        return "at last"


class NeedsNoTuple(Counting):
    """The comma was forgotten."""

    needs = Number  # type: ignore[assignment]


class ReadsText(Counting):
    """A word instead of the flag."""

    reads = "picture"  # type: ignore[assignment]


class OnTheMoon(Counting):
    """Wants to run where nothing runs."""

    placement = "moon"  # type: ignore[assignment]


class Timeless(Counting):
    """May take for ever."""

    timeout_s = float("inf")


class NoOptions(Counting):
    """Its options are no model."""

    Options = dict  # type: ignore[assignment]


class EveryOptions(Options):
    """An option with the name of a key that every processor has."""

    every: int = 1


class HidesAKey(Counting):
    """Has an option that no YAML could ever give."""

    Options = EveryOptions  # type: ignore[assignment]


class NeverOptions(Options):
    """Raises what no validator should, even for a default."""

    at: int = Field(1, validate_default=True)

    @field_validator("at", mode="before")
    @classmethod
    def _never(cls, value: Any) -> Any:
        raise KeyError(value)


class RaisingOptions(Counting):
    """Its options cannot be made."""

    Options = NeverOptions  # type: ignore[assignment]


@dataclass(frozen=True, slots=True)
class Lost(Result):
    """Its annotation is there for type checkers alone."""

    value: Nowhere = metric("A number", unit="1")


class Unresolved(Processor[Lost]):
    """Gives a result whose type cannot be found out."""
