"""Units of literals and metrics: which may be compared, and by what factor."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["PERCENT", "RATIO", "Unit", "factor", "quantity", "shown", "unit_of"]

Unit = str | None
"""As metrics have it; `ratio` for a plain number whose range lies within -1 to 1; `None` for a literal without one."""

RATIO, PERCENT = "ratio", "%"
_FAMILIES: tuple[Mapping[str, float], ...] = (
    {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0},
    {"/h": 1 / 3600, "/min": 1 / 60, "1/min": 1 / 60, "/s": 1.0, "Hz": 1.0, "kHz": 1000.0},
    {"ms/min": 1.0, "ms/s": 60.0},
    {"bit/s": 1.0, "kbit/s": 1e3, "Mbit/s": 1e6},
    {"dB": 1.0, "dBFS": 1.0},
    {RATIO: 1.0, PERCENT: 0.01},
    {RATIO: 1.0, "1": 1.0},
)


def unit_of(unit: str, range_: tuple[float | None, float | None]) -> str:
    """The unit of a metric, told apart where it is a ratio: only that may be given in percent."""
    low, high = range_
    is_ratio = unit == "1" and low is not None and high is not None and low >= -1 and high <= 1
    return RATIO if is_ratio else unit


def factor(given: Unit, wanted: Unit) -> float | None:
    """By what a number of one unit is multiplied to be of the other; `None` where they are different things."""
    if given == wanted or given is None or wanted is None:
        return 1.0
    for family in _FAMILIES:
        if given in family and wanted in family:
            return family[given] / family[wanted]
    return None


def shown(unit: Unit) -> str:
    """With a space before it, as it is written behind a number; nothing for plain numbers."""
    return "" if unit in (None, "1", RATIO, "bool") else f" {unit}"


def quantity(value: float | bool | None, unit: Unit, limit: str | None) -> str:
    """A value with its unit, for people; in percent where the limit that it is held against is."""
    if value is None or isinstance(value, bool):
        return {None: "-", True: "yes", False: "no"}[value]
    if limit is not None and limit.endswith(PERCENT):
        return f"{100 * value:.5g} {PERCENT}"
    return f"{value:.5g}{shown(unit)}"
