"""The series and bands of the timeline, as data for the page's script."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from vision.report.contents import CLOCK_ERROR, CONCEALED, FPS, LOST, TRUE_MOUTH, Contents
from vision.report.reading import Incident
from vision.report.series import Points
from vision.report.words import title

__all__ = ["bins_of", "timeline"]

_MOST_MAIN = 6_000  # points of a series that is shown at once
_MOST_OTHER = 1_500  # and of one that can be added
_TIME_DIGITS, _DIGITS = 3, 5
_BREAK = 3.5  # usual intervals without a value after which a line is broken
_SHORTEST_BREAK_S = 0.25


@dataclass(frozen=True, slots=True)
class _Row:
    """A row of the timeline: the metrics that share its axis.

    :ivar error_of: metrics with the name of half their interval.
    :ivar note: what there is no room for on a phone.
    """

    heading: str
    metrics: tuple[str, ...]
    error_of: Mapping[str, str] = field(default_factory=dict)
    note: str = ""


# what is shown where it was measured, in this order; any other metric can be added on the page
_ROWS = (
    _Row(
        "Lip-sync offset",
        ("lip_sync.offset_ms",),
        {"lip_sync.offset_ms": "lip_sync.offset_error_ms"},
        "above zero: the sound is late; with the interval that holds the truth in nine of ten",
    ),
    _Row("Lip-sync score", ("lip_sync.score", "lip_sync.confidence")),
    _Row("Mouth and voice", ("face_landmarks.mouth_opening", TRUE_MOUTH, "speech.speaking")),
    _Row("Pictures a second", (FPS,)),
    _Row("Lost on the way", (LOST, CONCEALED)),
    _Row("Sharpness", ("frame_quality.sharpness",)),
    _Row("Brightness", ("frame_quality.luma_mean",)),
    _Row("Change between pictures", ("frame_quality.mafd",)),
    _Row("Sound level", ("audio_quality.level_dbfs", "audio_quality.peak_dbfs")),
    _Row("Arrival of sound against picture", ("stream.av_arrival_skew_ms",), note="what the network does to it"),
)
_FEWEST = 3  # rows; where fewer are known, the first metrics of the run are shown as well


def timeline(contents: Contents) -> dict[str, Any]:
    """What the script draws: `rows` of names, `series` by name, and `bands` of incidents and planted faults.

    Times are in seconds. A series has times `t` and values `v`, `null` where the line is broken; of bins also the
    ends `lo` and `hi`.
    """
    rows = list(_rows(contents))
    shown = {name for row in rows for name in (*row.metrics, *row.error_of.values())}
    times: dict[tuple[float, ...], int] = {}
    series = {}
    for name in contents.series:
        points = contents.series[name].points(_MOST_MAIN if name in shown else _MOST_OTHER)
        series[name] = _described(contents, name) | _drawn(points, times)
    return {
        "times": [list(each) for each in times],
        "series": series,
        "rows": [_as_dict(row) for row in rows],
        "incidents": list(_incidents(contents.incidents)),
        "faults": [{"kind": kind, "from": start, "to": end} for kind, start, end in contents.faults],
    }


def _as_dict(row: _Row) -> dict[str, Any]:
    return {
        "heading": row.heading,
        "note": row.note,
        "series": list(row.metrics),
        "scaled": [TRUE_MOUTH],  # drawn from 0 to 1, on an axis of its own
        "errors": dict(row.error_of),
    }


def bins_of(contents: Contents) -> float | None:
    """How wide the widest bins of the rows that are shown at once are; `None` where every value is drawn."""
    widths = [contents.series[name].points(_MOST_MAIN).bin_s or 0.0 for row in _rows(contents) for name in row.metrics]
    return max(widths, default=0.0) or None


def _rows(contents: Contents) -> Iterator[_Row]:
    known = []
    for row in _ROWS:
        metrics = tuple(name for name in row.metrics if _is_worth_it(contents, name))
        if metrics and metrics != (TRUE_MOUTH,):
            errors = {name: error for name, error in row.error_of.items() if error in contents.series}
            known.append(replace(row, metrics=metrics, error_of=errors))
    yield from known
    taken = {name for row in known for name in row.metrics}
    others = [name for name, one in contents.metrics.items() if name in contents.series and not one.is_flag]
    for name in [name for name in others if name not in taken][: max(_FEWEST - len(known), 0)]:
        yield _Row(name, (name,), note=contents.metrics[name].description)


def _is_worth_it(contents: Contents, name: str) -> bool:
    """Whether there is anything to see; where nothing was lost, a row of zeros says less than the tables."""
    if name not in contents.series:
        return False
    return name not in (LOST, CONCEALED) or float(contents.series[name].points(1).high.max()) > 0


def _described(contents: Contents, name: str) -> dict[str, Any]:
    metric = contents.metrics.get(name)
    if metric is None:
        unit = {FPS: "Hz", CLOCK_ERROR: "ms"}.get(name, "1")
        return {"unit": unit, "flag": False, "about": "", "good": "neither", "counted": True}
    about = {"about": metric.description, "good": metric.good, "counted": False}
    return {"unit": metric.unit, "flag": metric.is_flag, **about}


def _drawn(points: Points, times: dict[tuple[float, ...], int]) -> dict[str, Any]:
    breaks = _breaks(points)
    rounded = tuple(_with_breaks((round(time_s, _TIME_DIGITS) for time_s in points.time_s.tolist()), breaks))
    drawn: dict[str, Any] = {
        "t": times.setdefault(rounded, len(times)),
        "v": _figures(points.mean.tolist(), breaks),
    }
    if points.bin_s is not None:
        drawn |= {"lo": _figures(points.low.tolist(), breaks), "hi": _figures(points.high.tolist(), breaks)}
    return drawn


def _breaks(points: Points) -> frozenset[int]:
    """Before which points nothing was measured for a while."""
    steps = points.time_s[1:] - points.time_s[:-1]
    if not steps.size:
        return frozenset()
    usual = sorted(steps.tolist())[steps.size // 2]
    longest = max(_BREAK * usual, _SHORTEST_BREAK_S)
    return frozenset((1 + (steps > longest).nonzero()[0]).tolist())


def _with_breaks(values: Iterable[float], breaks: frozenset[int]) -> Iterator[Any]:
    """Each value, and that behind a break twice: the first of them is where the line ends."""
    for index, value in enumerate(values):
        if index in breaks:
            yield value
        yield value


def _figures(values: list[float], breaks: frozenset[int]) -> list[float | None]:
    figures: list[float | None] = []
    for index, value in enumerate(values):
        if index in breaks:
            figures.append(None)
        short = float(f"{value:.{_DIGITS}g}")
        figures.append(int(short) if short.is_integer() and abs(short) < 1e9 else short)
    return figures


def _incidents(incidents: Iterable[Incident]) -> Iterator[dict[str, Any]]:
    for incident in incidents:
        yield {
            "kind": title(incident.kind),
            "cause": incident.cause,
            "severity": incident.severity,
            "from": incident.start_s,
            "to": incident.end_s,
        }
