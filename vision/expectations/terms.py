"""What is left of an expectation once it is understood: values per frame, figures at the end, comparisons."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from vision.expectations.units import Unit
from vision.expectations.vocabulary import Producer

__all__ = [
    "Compared",
    "Meaning",
    "Read",
    "Reading",
    "Series",
    "Span",
    "Term",
]

Reading = float | bool | None
"""`None`: not measured."""

Read = Callable[[Any], Reading]
"""From a moment where it is of values per frame, else from the figures at the end by the text of their term."""


@dataclass(frozen=True, slots=True)
class Series:
    """A value per frame.

    :ivar text: how it is written; what is written alike is alike.
    :ivar read: the value in a frame, `None` where it was not measured.
    """

    text: str
    read: Read = field(compare=False)
    producers: tuple[Producer, ...] = field(compare=False)
    is_flag: bool

    @property
    def every(self) -> int:
        """All its processors measure each n-th picture."""
        return math.lcm(*(producer.every for producer in self.producers))

    @property
    def is_of_pictures(self) -> bool:
        """Whether it is due where there is a picture only."""
        return not all(producer.listens for producer in self.producers)

    @property
    def fears_damage(self) -> bool:
        """Whether a damaged picture says nothing of it."""
        return not all(producer.hears_only for producer in self.producers)


@dataclass(frozen=True, slots=True)
class Span:
    """The part of the run that an expectation is about: `start_s <= time < end_s`, and the condition holds.

    :ivar text: empty for the whole run.
    """

    text: str = ""
    start_s: float = 0.0
    end_s: float = math.inf
    condition: Series | None = field(default=None, compare=False)

    @property
    def whole(self) -> Span:
        """The same stretch of time, whether the condition holds or not."""
        return replace(self, text=f"{self.start_s} {self.end_s}", condition=None)


@dataclass(frozen=True, slots=True)
class Term:
    """One figure that is known at the end of the run.

    :ivar series: what the statistic is of, or
    :ivar filters: the incidents it is of: `(key, value)` with the keys `kind`, `cause` and `severity`.
    :ivar rules: what those incidents are made of: metrics, or processors.
    """

    text: str
    statistic: str
    series: Series | None = None
    filters: tuple[tuple[str, str], ...] = ()
    rules: tuple[Series, ...] = ()


@dataclass(frozen=True, slots=True)
class Compared:
    """Two neighbours of a comparison: `value` is what is measured, `limit` what it is held against.

    :ivar holds: whether it is as expected.
    :ivar limit_text: `<= 80 ms`.
    """

    text: str
    value: Read
    unit: Unit
    limit_text: str
    holds: Read


@dataclass(frozen=True, slots=True)
class Meaning:
    """An expectation that can be judged.

    :ivar holds: of the figures by the text of their term: whether it is met; `None` where that was not measured.
    """

    span: Span
    terms: tuple[Term, ...]
    comparisons: tuple[Compared, ...]
    holds: Read
