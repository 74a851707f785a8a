"""What a person sees in the terminal: a run as it goes, and what it came to."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from vision.result import MetricInfo
from vision.runner import Outcome, Run
from vision.summary import Summary

__all__ = ["follow", "print_outcome"]

_REFRESH_S = 0.25
_RATE_WINDOW = 12
_WIDE = 100  # columns of a terminal from which on the ends are shown too
_STATE_STYLE = {
    "starting": "yellow",
    "connecting": "yellow",
    "running": "green",
    "finishing": "cyan",
    "done": "bold",
}


async def follow(run: Run, console: Console) -> None:
    """Show the run until cancelled; on something that is no terminal, say the state only when it changes."""
    if not console.is_terminal:
        await _follow_plainly(run, console)
        return
    seen: deque[tuple[float, int]] = deque(maxlen=_RATE_WINDOW)
    with Live(console=console, refresh_per_second=1 / _REFRESH_S, transient=True) as live:
        while True:
            seen.append((time.monotonic(), run.summary.pictures))
            live.update(_view(run, _rate(seen)))
            await asyncio.sleep(_REFRESH_S)


async def _follow_plainly(run: Run, console: Console) -> None:
    state = None
    while True:
        if run.state != state:
            state = run.state
            console.print(f"{run.config.name}: {state}", highlight=False)
        await asyncio.sleep(_REFRESH_S)


def _rate(seen: deque[tuple[float, int]]) -> float:
    (begun_s, before), (now_s, pictures) = seen[0], seen[-1]
    return (pictures - before) / (now_s - begun_s) if now_s > begun_s else 0.0


def _view(run: Run, fps: float) -> RenderableType:
    queue = run.queue
    at_s = run.summary.last_time_s or 0.0
    of = f" / {run.config.run.duration_s:g}" if run.config.run.duration_s else ""
    head = Text.assemble(
        (f" {run.config.name} ", "bold reverse"),
        " ",
        (run.state, _STATE_STYLE[run.state]),
        f"  {at_s:.1f}{of} s   {run.summary.pictures} pictures   {fps:.1f} fps   ",
        f"queue {queue.waiting}/{queue.size}   ",
        (f"dropped {queue.dropped}", "red" if queue.dropped else ""),
        "   ",
        (f"incidents {run.summary.incidents.total()}", "red" if run.summary.incidents else ""),
    )
    return Group(head, _current_values(run), Text(" Ctrl-C ends the run and writes the summary", style="dim"))


def _current_values(run: Run) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 1), show_header=False)
    record = run.latest
    for name, infos in run.summary.metrics.items():
        tally = run.summary.tallies[name]
        table.add_row(Text(name, style="bold"), Text(_trouble(tally.quarantined, tally.last_error), style="red"))
        for info in infos:
            if info.recorded:
                value = record.value(name, info.name) if record else None
                table.add_row(f"  {info.name}", _shown(value), info.unit if info.unit not in ("1", "bool") else "")
    return table


def _trouble(quarantined: str | None, last_error: str | None) -> str:
    return f"quarantined: {quarantined}" if quarantined else f"last error: {last_error}" if last_error else ""


def print_outcome(run: Run, outcome: Outcome, console: Console) -> None:
    """The tables at the end."""
    summary = outcome.summary
    if summary["metrics"] and summary["frames"]:
        console.print(
            f"\n[bold]{summary['name']}[/bold]: {summary['pictures']} pictures, {summary['duration_s']:.1f} s"
        )
        console.print(_metric_table(run.summary, summary, console.width))
    if summary["processors"]:
        console.print(_processor_table(summary))
    if run.summary.first_incidents:
        console.print(_incident_table(run.summary))
    console.print(_closing(run, outcome), highlight=False, soft_wrap=True)


def _metric_table(totals: Summary, summary: Mapping[str, Any], width: int) -> Table:
    columns = ("mean", "p5", "p50", "p95", *(("min", "max") if width >= _WIDE else ()))
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("metric", no_wrap=True)
    for heading in ("covered", *columns):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("unit", no_wrap=True)
    for processor, infos in totals.metrics.items():
        table.add_row(Text(processor, style="bold"))
        for info in infos:
            if info.recorded:
                found = summary["metrics"][f"{processor}.{info.name}"]
                table.add_row(f"  {info.name}", f"{found['coverage']:.1%}", *_numbers(found, info, columns))
    return table


def _numbers(found: Mapping[str, Any], info: MetricInfo, columns: tuple[str, ...]) -> list[str]:
    """The cells of a metric and its unit; a flag has only the share of the pictures in which it was set."""
    if not found["count"]:
        return ["-"] * len(columns)
    if info.kind == "boolean":
        return [f"{found['mean']:.1%}", *[""] * (len(columns) - 1), ""]
    return [*(_shown(found[key]) for key in columns), "" if info.unit == "1" else info.unit]


def _processor_table(summary: Mapping[str, Any]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("processor", no_wrap=True)
    for heading in ("measured", "skipped", "errors", "ms p50", "ms p95"):
        table.add_column(heading, justify="right")
    table.add_column("trouble", style="red")
    for name, tally in summary["processors"].items():
        spent = tally["ms"] or {"p50": None, "p95": None}
        counts = (str(tally[key]) for key in ("frames", "skipped", "errors"))
        trouble = _trouble(tally["quarantined"], tally["last_error"])
        table.add_row(name, *counts, _shown(spent["p50"]), _shown(spent["p95"]), trouble)
    return table


def _incident_table(totals: Summary) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0), pad_edge=False)
    for heading in ("incident", "from", "to", "cause", "severity"):
        table.add_column(heading, justify="right" if heading in ("from", "to") else "left")
    for incident in totals.first_incidents:
        span = (f"{incident.start_s:.2f} s", f"{incident.end_s:.2f} s")
        table.add_row(incident.kind, *span, incident.cause, incident.severity)
    more = totals.incidents.total() - len(totals.first_incidents)
    if more:
        table.caption = f"and {more} more in incidents.jsonl"
    return table


def _closing(run: Run, outcome: Outcome) -> str:
    queue, incidents = outcome.summary["queue"], outcome.summary["incidents"]
    found = ", ".join(f"{count} {kind}" for kind, count in incidents.items()) or "none"
    return (
        f"incidents: {found}\n"
        f"queue: {queue['received']} received, {queue['delivered']} delivered, {queue['dropped']} dropped,"
        f" worst age {queue['worst_age_ms']:.0f} ms\n"
        f"ended: {outcome.reason}\n"
        f"written: {run.folder.path}"
    )


def _shown(value: float | bool | None) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    digits = 4 if abs(value) >= 0.1 else 3
    return f"{value:.{digits}g}" if abs(value) < 10_000 else f"{value:.0f}"
