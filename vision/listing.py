"""`vision list`: the installed plugins with their options and results, for people."""

from __future__ import annotations

import json
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from rich.console import Console
from rich.table import Table
from rich.text import Text

from vision.catalog import Entry, entries
from vision.registry import Kind
from vision.result import MetricInfo

__all__ = ["print_plugins"]

_KINDS: tuple[Kind, ...] = ("connectors", "processors", "sinks")
_LONGEST_DEFAULT = 60


def print_plugins(console: Console) -> None:
    """Print every connector, processor and sink; one that does not import says why."""
    for kind in _KINDS:
        console.print(Text(f"\n{kind}", style="bold underline"))
        for entry in entries(kind):
            _print_entry(entry, console)


def _print_entry(entry: Entry, console: Console) -> None:
    console.print(Text.assemble("\n", (entry.name, "bold cyan"), "  ", (entry.error or entry.purpose, "")))
    if entry.needs:
        console.print(f"  needs {', '.join(entry.needs)}", highlight=False)
    if entry.options and entry.options.model_fields:
        _print_fields(
            "options", [(name, _option(field)) for name, field in entry.options.model_fields.items()], console
        )
    if entry.metrics:
        _print_fields("results", [(info.name, _metric(info)) for info in entry.metrics], console)


def _print_fields(heading: str, fields: list[tuple[str, str]], console: Console) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row(Text(f"  {heading}", style="dim"))
    for name, meaning in fields:
        table.add_row(f"    {name}", Text(meaning))
    console.print(table)


def _option(field: FieldInfo) -> str:
    return f"{field.description or ''} ({_default(field)})"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value: Any = field.get_default(call_default_factory=False)
    if value is None or value is PydanticUndefined:
        return "optional"
    text = json.dumps(value, default=str)
    return f"default {text}" if len(text) <= _LONGEST_DEFAULT else "optional"


def _metric(info: MetricInfo) -> str:
    if not info.recorded:
        return f"{info.description}, {info.unit}, shape {info.shape}; for other processors, not recorded"
    low, high = info.range
    bounds = "" if low is None and high is None else f", {_end(low)} to {_end(high)}"
    unit = {"1": "", "bool": ", yes or no"}.get(info.unit, f", {info.unit}")
    good = "" if info.good == "neither" else f"; good: {info.good}"
    incident = f"; incident: {info.incident.kind}" if info.incident else ""
    return f"{info.description}{unit}{bounds}{good}{incident}"


def _end(value: float | None) -> str:
    return "..." if value is None else f"{value:g}"
