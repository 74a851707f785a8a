"""Figures and findings as people read them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

__all__ = ["CAUSES", "count_of", "number", "seconds", "share", "span", "title", "with_unit"]

CAUSES: Mapping[str, str] = {
    "rendered": "it came so: what arrived shows it",
    "sender": "the sender sent nothing, or sent it so",
    "network": "lost or damaged on the way",
    "receiver": "it came, and could not be decoded",
    "overload": "this machine was too slow: not the avatar's fault",
    "unknown": "the run ended before it could be told",
}
_MINUTE_S = 60
_SMALLEST, _LARGEST = 1e-4, 1e9  # beyond, with an exponent
_SIGNS = {"1": "", "bool": "", "deg": "°", "%": " %"}


def number(value: float | bool | None, digits: int = 4) -> str:
    """So many significant digits, no exponent where it can be helped, a minus sign that is one."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not math.isfinite(value):
        return "–"
    size = abs(value)
    if value == 0:
        return "0"
    if size < _SMALLEST or size >= _LARGEST:
        text = f"{value:.2e}"
    else:
        decimals = max(0, digits - 1 - math.floor(math.log10(size)))
        text = f"{value:,.{decimals}f}".replace(",", "\u202f")
        if "." in text:
            text = text.rstrip("0").rstrip(".")
    return text.replace("-", "−")


def with_unit(value: float | bool | None, unit: str | None, digits: int = 4) -> str:
    """The number and its unit; a flag's mean is a share."""
    if value is None or isinstance(value, bool):
        return number(value)
    if unit == "bool":
        return share(value)
    sign = _SIGNS.get(unit or "1", f" {unit}")
    return number(value, digits) + sign


def share(value: float | None) -> str:
    """A ratio in percent; what is not all is never shown as all, and what is something never as nothing."""
    if value is None:
        return "–"
    percent = 100 * value
    text = f"{percent:.1f}"
    if text == "100.0" and value < 1:
        text = ">99.9"
    elif text == "0.0" and value > 0:
        text = "<0.1"
    return text.removesuffix(".0") + " %"


def seconds(value: float | None) -> str:
    """A time of the run: `5.03 s`, and from a minute on `2:05.3`."""
    if value is None:
        return "–"
    if abs(value) < _MINUTE_S:
        return f"{value:.2f} s".replace("-", "−")
    minutes, rest = divmod(round(abs(value), 1), _MINUTE_S)
    hours, minutes = divmod(int(minutes), _MINUTE_S)
    sign = "−" if value < 0 else ""
    return f"{sign}{hours}:{minutes:02}:{rest:04.1f}" if hours else f"{sign}{minutes}:{rest:04.1f}"


def span(start_s: float, end_s: float) -> str:
    """From when to when."""
    if end_s <= start_s:
        return f"at {seconds(start_s)}"
    return f"{seconds(start_s).removesuffix(' s') if end_s < _MINUTE_S else seconds(start_s)} to {seconds(end_s)}"


def count_of(count: int, noun: str) -> str:
    """`1 incident`, `3 incidents`, `no incidents`."""
    return f"1 {noun}" if count == 1 else f"{count or 'no'} {noun}s"


def title(kind: Any) -> str:
    """`no_picture` as `No picture`."""
    text = str(kind).replace("_", " ").strip()
    return text[:1].upper() + text[1:]
