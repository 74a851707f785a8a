"""How values are read from a frame, or from the figures at the end; `None` is what was not measured."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from vision.expectations.terms import Read, Reading

__all__ = [
    "all_of",
    "any_of",
    "applied",
    "calculated",
    "compared",
    "negated",
]

_alike = partial(math.isclose, rel_tol=1e-9, abs_tol=1e-12)  # rounding decides nothing: 7.7 - 7.1 is 0.6

_COMPARE: Mapping[str, Callable[[float, float], bool]] = {
    "<": lambda a, b: a < b and not _alike(a, b),
    "<=": lambda a, b: a < b or _alike(a, b),
    ">": lambda a, b: a > b and not _alike(a, b),
    ">=": lambda a, b: a > b or _alike(a, b),
    "==": _alike,
    "!=": lambda a, b: not _alike(a, b),
}

_CALCULATE: Mapping[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
}


def negated(read: Read, of: Any) -> Reading:
    """Yes for no."""
    value = read(of)
    return None if value is None else not value


def all_of(reads: Sequence[Read], of: Any) -> Reading:
    """False where one is, else `None` where one is: Kleene's."""
    values = [read(of) for read in reads]
    return False if any(v is False for v in values) else None if None in values else True


def any_of(reads: Sequence[Read], of: Any) -> Reading:
    """True where one is, else `None` where one is."""
    values = [read(of) for read in reads]
    return True if any(v is True for v in values) else None if None in values else False


def applied(read: Read, function: Callable[[float], float], of: Any) -> Reading:
    """A function of a number."""
    value = read(of)
    return None if value is None else function(value)


def calculated(sign: str, left: Read, right: Read, scale: float, of: Any) -> Reading:
    """Two numbers and one of `+ - * /`; the right one is scaled to the unit of the left one. `None` by zero, too."""
    a, b = left(of), right(of)
    if a is None or b is None:
        return None
    b *= scale
    if sign == "/" and not b:
        return None
    result = _CALCULATE[sign](a, b)
    return result if math.isfinite(result) else None


def compared(sign: str, left: Read, right: Read, scale: float, of: Any) -> Reading:
    """Two numbers compared, the right one scaled likewise."""
    a, b = left(of), right(of)
    return None if a is None or b is None else _COMPARE[sign](a, b * scale)
