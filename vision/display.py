"""What a person sees in the terminal: a run as it goes, and what it came to."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from vision.expectations.table import in_words, verdict_view
from vision.expectations.verdict import Verdict
from vision.result import MetricInfo
from vision.runner import Outcome, Run
from vision.summary import Summary

__all__ = ["follow", "print_outcome"]

_REFRESH_S = 0.25
_RATE_WINDOW = 12
_WIDE = 100  # columns of a terminal from which on the ends are shown too
_NARROW = 72  # and below which only what matters most has room
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
            console.print(f"{run.config.name}: {state}", highlight=False, markup=False)
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
        f"  {at_s:.1f}{of} s  {run.summary.pictures} pictures  {fps:.1f} fps  queue {queue.waiting}/{queue.size}  ",
        (f"dropped {queue.dropped}", "red" if queue.dropped else ""),
        "  ",
        (f"incidents {run.summary.incidents.total()}", "red" if run.summary.incidents else ""),
    )
    return Group(head, _current_values(run), Text(" Ctrl-C ends the run and writes the summary", style="dim"))


def _current_values(run: Run) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 1), show_header=False)
    record = run.latest
    for name, infos in run.summary.metrics.items():
        tally = run.summary.tallies[name]
        trouble = _trouble({"quarantined": tally.quarantined, "last_error": tally.last_error})
        table.add_row(Text(name, style="bold"), Text(trouble, style="red"))
        for info in infos:
            if info.recorded:
                value = record.value(name, info.name) if record else None
                unit = info.unit if info.unit not in ("1", "bool") else ""
                table.add_row(f"  {info.name}", _shown(value), Text(unit))
    return table


def _trouble(tally: Mapping[str, Any]) -> str:
    if tally["quarantined"]:
        return f"quarantined: {tally['quarantined']}"
    if tally["last_error"]:
        return f"last error: {tally['last_error']}"
    return "" if tally.get("frames", 1) else "measured nothing"


def print_outcome(run: Run, outcome: Outcome, console: Console) -> None:
    """The tables at the end; where no frame came there is nothing to put into them."""
    summary = outcome.summary
    if summary["frames"]:
        came = f": {summary['pictures']} pictures, {summary['duration_s']:.1f} s"
        console.print(Text.assemble("\n", (summary["name"], "bold"), came))
        for table in _tables(run.summary, summary, console.width):
            console.print(table, highlight=False)
    if verdicts := _verdicts(summary):
        console.print(verdict_view(verdicts, console.width), highlight=False)
    console.print(Text(_closing(run, outcome)), soft_wrap=True)


def _verdicts(summary: Mapping[str, Any]) -> list[Verdict]:
    return [Verdict.from_dict(verdict) for verdict in summary["verdicts"]]


def _tables(totals: Summary, summary: Mapping[str, Any], width: int) -> Iterator[Table]:
    if summary["metrics"]:
        yield _metric_table(totals, summary, width)
    if summary["processors"]:
        yield _processor_table(summary, width)
    if totals.first_incidents:
        yield _incident_table(totals, width)


def _metric_table(totals: Summary, summary: Mapping[str, Any], width: int) -> Table:
    spread = () if width < _NARROW else ("p5", "p50", "p95", *(("min", "max") if width >= _WIDE else ()))
    columns = ("mean", *spread)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("metric", overflow="fold")
    for heading in ("covered", *columns):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("unit", no_wrap=True)
    for processor, infos in totals.metrics.items():
        table.add_row(Text(processor, style="bold"))
        for info in infos:
            if info.recorded:
                found = summary["metrics"][f"{processor}.{info.name}"]
                unit = info.unit if found["count"] and info.unit not in ("1", "bool") else ""
                numbers = _numbers(found, info, columns)
                table.add_row(f"  {info.name}", f"{found['coverage']:.1%}", *numbers, Text(unit))
    return table


def _numbers(found: Mapping[str, Any], info: MetricInfo, columns: tuple[str, ...]) -> list[str]:
    """The cells of a metric; a flag has only the share of the pictures in which it was set."""
    if not found["count"]:
        return ["-"] * len(columns)
    if info.kind == "boolean":
        return [f"{found['mean']:.1%} yes", *[""] * (len(columns) - 1)]
    return [_shown(found[key]) for key in columns]


def _processor_table(summary: Mapping[str, Any], width: int) -> Table:
    headings = ("called", "errors") if width < _NARROW else ("called", "skipped", "errors", "ms p50", "ms p95")
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("processor", overflow="fold")
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("trouble", style="red", overflow="fold")
    for name, tally in summary["processors"].items():
        spent = tally["ms"] or {"p50": None, "p95": None}
        cells = {"called": str(tally["frames"]), "skipped": str(tally["skipped"]), "errors": str(tally["errors"])}
        cells |= {"ms p50": _shown(spent["p50"]), "ms p95": _shown(spent["p95"])}
        table.add_row(name, *(cells[heading] for heading in headings), Text(_trouble(tally)))
    return table


def _incident_table(totals: Summary, width: int) -> Table:
    headings = ("incident", "from", "to", "cause", *(("severity",) if width >= _NARROW else ()))
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0), pad_edge=False)
    for heading in headings:
        is_time = heading in ("from", "to")
        table.add_column(heading, justify="right" if is_time else "left", no_wrap=is_time, overflow="fold")
    for incident in totals.first_incidents:
        span = (f"{incident.start_s:.2f} s", f"{incident.end_s:.2f} s")
        cells = (Text(incident.kind), *span, Text(incident.cause), incident.severity)
        table.add_row(*cells[: len(headings)])
    more = totals.incidents.total() - len(totals.first_incidents)
    if more:
        table.caption = f"and {more} more in incidents.jsonl"
    return table


def _closing(run: Run, outcome: Outcome) -> str:
    queue, incidents = outcome.summary["queue"], outcome.summary["incidents"]
    found = ", ".join(f"{count} {kind}" for kind, count in incidents.items()) or "none"
    verdicts = _verdicts(outcome.summary)
    return (
        f"incidents: {found}\n{_kept(outcome.summary.get('evidence'))}"
        f"expectations: {in_words(verdicts) if verdicts else 'none'}\n"
        f"queue: {queue['received']} received, {queue['delivered']} delivered, {queue['dropped']} dropped,"
        f" worst age {queue['worst_age_ms']:.0f} ms\n"
        f"ended: {outcome.reason}\n"
        f"written: {run.folder.path}"
    )


def _kept(evidence: Mapping[str, int] | None) -> str:
    """What is kept of the incidents, as a line."""
    if evidence is None:
        return ""
    text = f"evidence: {evidence['stills']} stills, {evidence['clips']} clips, {evidence['bytes'] / 1e6:.1f} MB"
    wanting = {"left_out": "incidents beyond the limits", "pictures_dropped": "pictures left out for want of time"}
    return text + "".join(f", {evidence[key]} {meaning}" for key, meaning in wanting.items() if evidence[key]) + "\n"


def _shown(value: float | bool | None) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    digits = 4 if abs(value) >= 0.1 else 3
    return f"{value:.{digits}g}" if abs(value) < 10_000 else f"{value:.0f}"
