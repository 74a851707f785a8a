"""An expectation, and the verdict on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from vision.expectations.terms import Meaning

__all__ = [
    "Expectation",
    "Level",
    "Outcome",
    "Verdict",
]

Level = Literal["error", "warning"]

Outcome = Literal["passed", "failed", "not_measured", "skipped"]


@dataclass(frozen=True, slots=True)
class Expectation:
    """What is expected of a run.

    :ivar name: how it is called; by default as it is written.
    :ivar that: as it is written.
    :ivar min_coverage: the share of the pictures in which it must have been measured.
    :ivar preset: the preset that it is of.
    :ivar meaning: `None` where it is not judged in this run.
    :ivar skipped: why it is not.
    """

    name: str
    that: str
    level: Level
    min_coverage: float
    meaning: Meaning | None
    preset: str | None = None
    skipped: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """As `expect:` could have it, and run.json has it."""
        given = {"name": self.name, "that": self.that, "level": self.level, "min_coverage": self.min_coverage}
        return given if self.preset is None else given | {"of_preset": self.preset}


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether an expectation was met.

    :ivar value: what was compared, in `unit`; of several comparisons the one that decided.
    :ivar limit: what it was held against, as it is written: `<= 80 ms`.
    :ivar coverage: the least share, 0 to 1, of the pictures in which something of it was measured.
    :ivar reason: why it was not met, or not measured; one line.
    :ivar window: the part of the run that it is about, as it is written; `None`: the whole.
    """

    name: str
    that: str
    level: Level
    verdict: Outcome
    value: float | bool | None = None
    unit: str | None = None
    limit: str | None = None
    coverage: float | None = None
    reason: str | None = None
    window: str | None = None
    preset: str | None = None

    @property
    def is_met(self) -> bool:
        """Not measured is not met; what this run leaves out is neither."""
        return self.verdict in ("passed", "skipped")

    def as_dict(self) -> dict[str, Any]:
        """As in summary.json."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Verdict:
        """From summary.json."""
        return cls(**data)
