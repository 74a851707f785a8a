"""The verdicts as a table, for the terminal and for failed tests."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from vision.expectations.units import quantity
from vision.expectations.verdict import Verdict

__all__ = ["in_words", "verdict_view"]

_WORDS = {
    "passed": ("passed", "green"),
    "failed": ("FAILED", "bold red"),
    "not_measured": ("NOT MEASURED", "bold red"),
}
_NARROW = 72  # columns of a terminal below which only what matters most has room


def verdict_view(verdicts: Sequence[Verdict], width: int) -> Group:
    """A row a verdict; below, why something was not met where the row does not tell, and what was left out."""
    skipped = [verdict.name for verdict in verdicts if verdict.verdict == "skipped"]
    notes = [
        Text(_why(verdict), style="yellow") for verdict in verdicts if not verdict.is_met and _needs_words(verdict)
    ]
    if skipped:
        notes.append(Text(f"left out, since this run does not measure it: {', '.join(skipped)}", style="dim"))
    return Group(_table([verdict for verdict in verdicts if verdict.verdict != "skipped"], width), *notes, "")


def _table(verdicts: Sequence[Verdict], width: int) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("verdict", no_wrap=True)
    table.add_column("expectation", overflow="fold")
    headings = ("value", "limit", "covered") if width >= _NARROW else ("value",)
    for heading in headings:
        table.add_column(heading, justify="right", overflow="fold")
    for verdict in verdicts:
        cells = {
            "value": quantity(verdict.value, verdict.unit, verdict.limit),
            "limit": verdict.limit or "",
            "covered": _covered(verdict),
        }
        table.add_row(_word(verdict), Text(verdict.name), *(Text(cells[heading]) for heading in headings))
    return table


def _needs_words(verdict: Verdict) -> bool:
    return verdict.verdict == "not_measured" or verdict.value is None or verdict.name != verdict.that


def _why(verdict: Verdict) -> str:
    is_told = verdict.name == verdict.that or verdict.verdict == "failed"
    named = verdict.name if is_told else f"{verdict.name} ({verdict.that})"
    return f"{named}: {verdict.reason}"


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


def _covered(verdict: Verdict) -> str:
    return "-" if verdict.coverage is None else f"{verdict.coverage:.1%}"
