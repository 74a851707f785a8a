"""What is drawn over the pictures: outlines, readouts, incidents, the time. Results say themselves how they look."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vision.result import MetricInfo, Outline, Readout, Result, metrics_of
from vision.sinks.video.backlog import Shot
from vision.sinks.video.canvas import Canvas, Colour, Points

__all__ = ["INCIDENTS", "TIME", "Overlays", "names_of"]

INCIDENTS, TIME = "incidents", "time"

_SIZE = 0.03  # of the text, over the shorter side,
_LEAST_SIZE = 12  # and in px: smaller is not read
_HELD_S = 0.5  # a processor with `every` does not measure every picture
_WHITE, _DIM, _INK = 235, 150, 16  # luma
_EDGED_FROM = 540  # px of the shorter side; on a smaller picture the edges of lines would hide the lips
_LINE = Colour.of_rgb(94, 234, 212)
_BAR, _BAR_GROUND = Colour.of_rgb(94, 234, 212), Colour(70)
_BANNERS = {"error": (Colour.of_rgb(185, 28, 28), _WHITE), "warning": (Colour.of_rgb(251, 191, 36), _INK)}
_CORRUPT = "damaged"
_NOT_MEASURED = "-"
_MOST_BANNERS = 4


def names_of(fields: Mapping[str, tuple[MetricInfo, ...]]) -> list[str]:
    """The overlays that there are, given the fields of each processor's result."""
    offered = [_name_of(info) for infos in fields.values() for info in infos]
    return [INCIDENTS, *dict.fromkeys(name for name in offered if name is not None), TIME]


def _name_of(info: MetricInfo) -> str | None:
    shown = info.readout or info.outline
    return None if shown is None else shown.name


@dataclass(frozen=True, slots=True)
class _Row:
    """A line of the readouts.

    :ivar level: how full its bar is, 0 to 1; `None`: no bar.
    :ivar time_s: when it was measured.
    """

    label: str
    text: str
    level: float | None
    time_s: float


class Overlays:
    """Draws them.

    :param wanted: by name; `None`: all.
    """

    def __init__(self, wanted: Collection[str] | None) -> None:
        self._wanted = wanted
        self._infos: dict[type[Result], tuple[MetricInfo, ...]] = {}
        self._rows: dict[tuple[str, str], _Row] = {}
        self._columns = [0, 0]  # widths of labels and values so far: they only grow, so that nothing jumps

    def draw(self, canvas: Canvas, shot: Shot, place: tuple[float, float, float]) -> None:
        """Draw over a picture.

        :param place: scale, left and top of the picture on the canvas.
        :raises ValueError: when an array is not of the shape that its field declares.
        """
        for processor, info, output in self._shown(shot):
            if info.outline is not None and (points := getattr(output, info.name)) is not None:
                _draw_outline(canvas, info.outline, _checked(f"{processor}.{info.name}", info, points), place)
        size = max(_LEAST_SIZE, round(_SIZE * min(canvas.width, canvas.height)))
        if self._has(TIME):
            _draw_time(canvas, shot, size)
        if self._has(INCIDENTS):
            _draw_banners(canvas, shot, size)
        self._draw_readouts(canvas, shot, size)

    def _has(self, name: str | None) -> bool:
        return name is not None and (self._wanted is None or name in self._wanted)

    def _shown(self, shot: Shot) -> Iterator[tuple[str, MetricInfo, Result]]:
        """The fields of a shot's results that are drawn, with the processor's name."""
        for processor, output in shot.outputs.items():
            if output is not None:
                yield from ((processor, info, output) for info in self._wanted_of(type(output)))

    def _wanted_of(self, kind: type[Result]) -> tuple[MetricInfo, ...]:
        if kind not in self._infos:
            self._infos[kind] = tuple(info for info in metrics_of(kind) if self._has(_name_of(info)))
        return self._infos[kind]

    def _draw_readouts(self, canvas: Canvas, shot: Shot, size: int) -> None:
        time_s = shot.frame.time_s
        for processor, info, output in self._shown(shot):
            if info.readout is not None:
                self._note(processor, info, info.readout, output, time_s)
        if self._rows:
            self._draw_rows(canvas, list(self._rows.values()), size, time_s)

    def _note(self, processor: str, info: MetricInfo, readout: Readout, output: Result, time_s: float) -> None:
        """Keep a value; what was not measured leaves the one before for a moment."""
        key = (processor, info.name)
        value = _finite(getattr(output, info.name))
        if value is None and key in self._rows:
            return
        level = None if readout.full is None else min(max((value or 0.0) / readout.full, 0.0), 1.0)
        error = None if readout.error is None else _finite(getattr(output, readout.error))
        self._rows[key] = _Row(readout.name, _told(info, readout, value, error), level, time_s)

    def _draw_rows(self, canvas: Canvas, rows: Sequence[_Row], size: int, time_s: float) -> None:
        gap, height = size // 2, _row_height(size)
        texts = [row.text if time_s - row.time_s < _HELD_S else _NOT_MEASURED for row in rows]
        for column, cells in enumerate(([row.label for row in rows], texts)):
            self._columns[column] = max(self._columns[column], *(canvas.text_width(cell, size) for cell in cells))
        labels, values = self._columns
        bar = 4 * size if any(row.level is not None for row in rows) else -gap
        left, top = gap, canvas.height - gap - height * len(rows) - gap
        canvas.shade(left, top, labels + values + bar + 4 * gap, height * len(rows) + gap)
        for number, (row, text) in enumerate(zip(rows, texts, strict=True)):
            begin = top + gap // 2 + number * height
            base = _baseline(begin, size)
            canvas.text(row.label, left + gap, base, size, _DIM)
            fresh = row.time_s == time_s and text != _NOT_MEASURED
            canvas.text(text, left + labels + 2 * gap, base, size, _WHITE if fresh else _DIM)
            if row.level is not None:
                at = (left + labels + values + 3 * gap, begin + height // 2 - size // 5)
                canvas.fill(*at, bar, 2 * size // 5, _BAR_GROUND)
                if text != _NOT_MEASURED and row.level > 0:
                    canvas.fill(*at, round(bar * row.level), 2 * size // 5, _BAR)


def _finite(value: float | bool | None) -> float | bool | None:
    """A value as records have it: what is not finite was not measured."""
    return value if value is not None and math.isfinite(value) else None


def _row_height(size: int) -> int:
    return round(1.4 * size)


def _baseline(top: int, size: int) -> int:
    return top + round(1.05 * size)


def _checked(name: str, info: MetricInfo, points_px: Any) -> Points:
    points = np.asarray(points_px, np.float64)
    if points.shape != info.shape:
        raise ValueError(f"{name} has the shape {points.shape}, not {info.shape} as it declares")
    return points


def _draw_outline(canvas: Canvas, outline: Outline, points_px: Points, place: tuple[float, float, float]) -> None:
    scale, left, top = place
    points = points_px * scale + (left, top)
    side = min(canvas.width, canvas.height)
    if outline.paths:
        lines = [points[list(path)] for path in outline.paths]
        canvas.lines(lines, _LINE, max(1, round(side / 700)), edge=side >= _EDGED_FROM)
    else:
        canvas.dots(points, _LINE, max(1.5, side / 360))


def _draw_time(canvas: Canvas, shot: Shot, size: int) -> None:
    frame, gap = shot.frame, size // 2
    index = "" if frame.index is None else f"#{frame.index}"
    cells = [(_clock(frame.time_s), _WHITE, False), (index, _DIM, False)]
    if frame.corrupt:
        cells.append((_CORRUPT, _WHITE, True))
    cells = [cell for cell in cells if cell[0]]
    widths = [canvas.text_width(text, size, bold=bold) for text, _, bold in cells]
    canvas.shade(gap, gap, sum(widths) + gap * (len(cells) + 1), _row_height(size))
    left = 2 * gap
    for (text, luma, bold), width in zip(cells, widths, strict=True):
        canvas.text(text, left, _baseline(gap, size), size, luma, bold=bold)
        left += width + gap


def _draw_banners(canvas: Canvas, shot: Shot, size: int) -> None:
    gap, height = size // 2, round(1.6 * size)
    for number, incident in enumerate(shot.incidents[:_MOST_BANNERS]):
        colour, luma = _BANNERS.get(incident.severity, _BANNERS["error"])
        rest = f"{incident.cause}  {max(0.0, incident.end_s - incident.start_s):.1f} s"
        kind = canvas.text_width(incident.kind, size, bold=True)
        width = kind + canvas.text_width(rest, size) + 3 * gap
        left, top = canvas.width - gap - width, gap + number * (height + gap // 2)
        canvas.fill(left, top, width, height, colour)
        base = top + round(1.15 * size)
        canvas.text(incident.kind, left + gap, base, size, luma, bold=True)
        canvas.text(rest, left + kind + 2 * gap, base, size, luma)


def _clock(time_s: float) -> str:
    ms = round(1000 * abs(time_s))
    minutes, ms = divmod(ms, 60_000)
    hours, minutes = divmod(minutes, 60)
    sign = "-" if time_s < 0 else ""
    return f"{sign}{f'{hours}:' if hours else ''}{minutes:02}:{ms // 1000:02}.{ms % 1000:03}"


def _told(info: MetricInfo, readout: Readout, value: float | bool | None, error: float | None) -> str:
    """A value as it is read."""
    if value is None:
        return _NOT_MEASURED
    if info.kind == "boolean":
        return "yes" if value else "no"
    if readout.words and 0 <= round(value) < len(readout.words):
        return readout.words[round(value)]
    sign = "+" if info.range[0] is None or info.range[0] < 0 else ""
    digits = 0 if info.unit == "ms" or abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    spread = "" if error is None else f" ± {error:.{digits}f}"
    unit = "" if info.unit == "1" else f" {info.unit}"
    return f"{value:{sign}.{digits}f}{spread}{unit}"
