"""Runs side by side on the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from vision.report.comparison import Comparison, labels
from vision.report.differences import Difference, IncidentDifference, Judged
from vision.report.words import number, seconds, share, title, with_unit

__all__ = ["difference_in_words", "interval_in_words", "print_comparisons"]

_STYLES: dict[Judged, tuple[str, str]] = {
    "worse": ("WORSE", "bold red"),
    "better": ("better", "green"),
    "changed": ("changed", "cyan"),
    "same": ("same", "dim"),
    "unsure": ("cannot tell", "dim"),
}
_NARROW = 72


def print_comparisons(comparisons: Sequence[Comparison], console: Console) -> None:
    """For each run its verdict, then what changed; the rest is in the page."""
    names = labels([comparisons[0].before, *(one.after for one in comparisons)])
    for comparison, name in zip(comparisons, names[1:], strict=True):
        console.print(Text.assemble("\n", (name, "bold"), " against ", (names[0], "bold")))
        console.print(Text(comparison.sentence(), style=_STYLES[comparison.judged][1]), soft_wrap=True)
        changed = [one for group in comparison.groups() for one in (group.lead, *group.others)]
        if changed:
            console.print(_metric_table(changed, console.width))
        if comparison.incidents:
            console.print(_incident_table(comparison.incidents, console.width))


def _metric_table(changed: Sequence[Difference], width: int) -> Table:
    headings = ("before", "after", "difference", *(("interval",) if width >= _NARROW else ()))
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("", no_wrap=True)
    table.add_column("metric", overflow="fold")
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for one in changed:
        word, style = _STYLES[one.judged]
        cells = (*difference_in_words(one), interval_in_words(one))
        table.add_row(Text(word, style=style), one.metric.name + " covered" * one.is_coverage, *cells[: len(headings)])
    return table


def difference_in_words(one: Difference) -> tuple[str, str, str]:
    """Before, after, and by how much it differs."""
    unit = "bool" if one.is_coverage else one.metric.unit
    return with_unit(one.before, unit), with_unit(one.after, unit), _signed(one.by, unit)


def interval_in_words(one: Difference) -> str:
    """The interval of the difference; or what it was for some time, where that is what was found."""
    unit = "bool" if one.is_coverage else one.metric.unit
    if one.stretch is not None:
        return (
            f"{with_unit(one.stretch.mean, unit)} from {seconds(one.stretch.start_s)} to {seconds(one.stretch.end_s)}"
        )
    if one.low is None or one.high is None:
        return number(None)
    return f"{_signed(one.low, unit)} to {_signed(one.high, unit)}"


def _signed(value: float | None, unit: str) -> str:
    if value is None:
        return number(None)
    plus = "+" if value > 0 else ""
    if unit == "bool":
        return ("−" if value < 0 else plus) + share(abs(value))
    return plus + with_unit(value, unit, 3)


def _incident_table(incidents: Sequence[IncidentDifference], width: int) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("", no_wrap=True)
    table.add_column("incident", overflow="fold")
    headings = ("before", "after", "a minute", *(("interval",) if width >= _NARROW else ()))
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for one in incidents:
        word, style = _STYLES[one.judged]
        cells = (
            str(one.before),
            str(one.after),
            f"{number(one.before_rate, 2)} / {number(one.after_rate, 2)}",
            f"{_signed(one.low, '1')} to {_signed(one.high, '1')}",
        )
        table.add_row(Text(word, style=style), title(one.kind), *cells[: len(headings)])
    return table
