"""The verdicts as a table, for the terminal and for failed tests."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from vision.expectations.units import shown
from vision.expectations.verdict import Verdict

__all__ = ["in_words", "verdict_table"]

_WORDS = {
    "passed": ("passed", "green"),
    "failed": ("FAILED", "bold red"),
    "not_measured": ("NOT MEASURED", "bold red"),
}
_NARROW = 72  # columns of a terminal below which only what matters most has room


def verdict_table(verdicts: Sequence[Verdict], width: int) -> Table:
    """A row a verdict; what was not measured says why in a row of its own. What was left out is in the caption."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("verdict", no_wrap=True)
    table.add_column("expectation", overflow="fold")
    headings = ("value", "limit", "covered") if width >= _NARROW else ("value",)
    for heading in headings:
        table.add_column(heading, justify="right", overflow="fold")
    judged = [verdict for verdict in verdicts if verdict.verdict != "skipped"]
    for verdict in judged:
        cells = {"value": _value(verdict), "limit": verdict.limit or "", "covered": _covered(verdict)}
        table.add_row(_word(verdict), Text(verdict.name), *(Text(cells[heading]) for heading in headings))
        if verdict.name != verdict.that and not verdict.is_met:
            table.add_row("", Text(verdict.that, style="dim"))
        if verdict.reason and (verdict.verdict == "not_measured" or verdict.value is None):
            table.add_row("", Text(verdict.reason, style="yellow"))
    if len(judged) < len(verdicts):
        names = ", ".join(verdict.name for verdict in verdicts if verdict.verdict == "skipped")
        table.caption = Text(f"left out, since this run does not measure it: {names}")
    return table


def in_words(verdicts: Sequence[Verdict]) -> str:
    """How many there are of each, in a few words."""
    counts = {
        "met": sum(verdict.verdict == "passed" for verdict in verdicts),
        "not met": sum(not verdict.is_met and verdict.level == "error" for verdict in verdicts),
        "warnings": sum(not verdict.is_met and verdict.level == "warning" for verdict in verdicts),
        "left out": sum(verdict.verdict == "skipped" for verdict in verdicts),
    }
    return ", ".join(f"{count} {word}" for word, count in counts.items() if count or word == "met")


def _word(verdict: Verdict) -> Text:
    word, style = _WORDS[verdict.verdict]
    if verdict.level == "warning" and not verdict.is_met:
        return Text(f"warning: {word.lower()}", style="yellow")
    return Text(word, style=style)


def _value(verdict: Verdict) -> str:
    if verdict.value is None:
        return "-"
    if isinstance(verdict.value, bool):
        return "yes" if verdict.value else "no"
    return f"{verdict.value:.5g}{shown(verdict.unit)}"


def _covered(verdict: Verdict) -> str:
    return "-" if verdict.coverage is None else f"{verdict.coverage:.1%}"
