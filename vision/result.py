"""What a processor gives back: frozen dataclasses whose fields say their unit, range and good end."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_type_hints

from vision.frame import Cause

__all__ = [
    "Hysteresis",
    "IncidentRule",
    "MetricInfo",
    "Outline",
    "Readout",
    "Result",
    "array",
    "metric",
    "metrics_of",
    "record_of",
]

Good = Literal["high", "low", "zero", "true", "false", "neither"]
_KEY = "vision"
_FARTHEST = (
    -1e100,
    1e100,
)  # of a metric without ends; what lies beyond is an error somewhere, and no statistic bears it
_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class Hysteresis:
    """Two limits of a number: it is bad from `begin` on, and stays so until it is at `end` again.

    `begin` above `end`: high values are bad; below: low ones are.

    :raises ValueError: when both are the same.
    """

    begin: float
    end: float

    def __post_init__(self) -> None:
        if self.begin == self.end:
            raise ValueError(f"begin and end are both {self.begin:g}; a value at it would be bad and well at once")

    @property
    def high_is_bad(self) -> bool:
        """Which values are bad."""
        return self.begin > self.end

    def is_bad(self, value: float, *, already: bool) -> bool:
        """Whether a value is bad, where the one before was (`already`) or was not."""
        if self.high_is_bad:
            return value > self.end if already else value >= self.begin
        return value < self.end if already else value <= self.begin


@dataclass(frozen=True, slots=True)
class IncidentRule:
    """When a metric becomes an incident: an interval with a start and an end.

    :ivar when: the value of a boolean that is bad, or the limits of a number.
    :ivar min_s: the shortest stretch that counts, with what was joined.
    :ivar cause: whose fault a stretch is when the pictures did arrive (`rendered`: the sender drew it so); `None`: what
        the frames of the stretch say, by what was lost.
    :ivar join_s: stretches that follow each other within this time are one.
    :ivar worst: another metric of the same result, a number with a good end, whose worst value is told with the
        incident; for a number, it is that number itself unless another one is named.
    :ivar delay_s: how long after the fact the metric tells it; start and end are so much earlier than the values.
    """

    kind: str
    when: bool | Hysteresis
    min_s: float
    severity: Literal["warning", "error"] = "error"
    cause: Cause | None = "rendered"
    join_s: float = 0.0
    worst: str | None = None
    delay_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Readout:
    """How a metric is shown beside a picture, to people who watch it.

    :ivar name: of the overlay, and its label; short.
    :ivar full: the value at which a bar is full; `None`: no bar.
    :ivar error: another metric of the same result, half the interval around this one's value.
    :ivar words: of a metric that is a code: what its values 0, 1, 2, ... mean.
    """

    name: str
    full: float | None = None
    error: str | None = None
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outline:
    """How an array of points in px, `(N, 2)`, is drawn over a picture.

    :ivar name: of the overlay.
    :ivar paths: numbers of points that lines go through, a closed one ends where it begins; none: points are dots.
    """

    name: str
    paths: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class MetricInfo:
    """What is known about one field of a result."""

    name: str
    description: str
    unit: str
    range: tuple[float | None, float | None]
    good: Good
    kind: Literal["number", "boolean"]
    recorded: bool = True
    shape: tuple[int, ...] | None = None
    incident: IncidentRule | None = None
    readout: Readout | None = None
    outline: Outline | None = None


class Result:
    """Base of every result; subclasses are `@dataclass(frozen=True, slots=True)` with `metric()` fields."""

    __slots__ = ()


def metric(
    description: str,
    *,
    unit: str,
    range: tuple[float | None, float | None] = (None, None),
    good: Good = "neither",
    incident: IncidentRule | None = None,
    readout: Readout | None = None,
    default: Any = dataclasses.MISSING,
) -> Any:
    """A field that goes into the record and the summary.

    `unit` is `px`, `s`, `ms`, `deg`, `1` (a ratio or a plain number) and the like; booleans have the unit `bool`.
    `range` is the closed interval of possible values, `None` where it has no end. `good` says which end is
    better; `zero`: whatever lies nearer to it, on either side. Annotate the field `float | None` where it can be
    *not measured*: `None` is written as `null`, never as 0. With a `readout`, the value is shown where pictures are.
    """
    known = {"description": description, "unit": unit, "range": range, "good": good}
    meta = {_KEY: {**known, "incident": incident, "readout": readout}}
    return dataclasses.field(default=default, metadata=meta)


def array(
    description: str,
    *,
    unit: str,
    shape: tuple[int, ...],
    outline: Outline | None = None,
    default: Any = dataclasses.MISSING,
) -> Any:
    """A field for other processors only: a numpy array of the given shape, not written into the record.

    Points in px, `(N, 2)`, are drawn over pictures by their `outline`; without one, they are not.

    :raises ValueError: when an outline does not fit the array.
    """
    if outline is not None and (unit != "px" or len(shape) != 2 or shape[1] != 2):
        raise ValueError(f"outline '{outline.name}' needs points in px, (N, 2); the array is {shape} in {unit}")
    if outline is not None and not all(0 <= point < shape[0] for path in outline.paths for point in path):
        raise ValueError(f"outline '{outline.name}' names points beyond the {shape[0]} that there are")
    meta = {_KEY: {"description": description, "unit": unit, "shape": shape, "recorded": False, "outline": outline}}
    return dataclasses.field(default=default, metadata=meta)


def metrics_of(result_type: type[Result]) -> tuple[MetricInfo, ...]:
    """The fields of a result type.

    :raises TypeError: when a field was declared without `metric()` or `array()`, its incident or readout does not fit
        it, or the type is no dataclass.
    """
    if not dataclasses.is_dataclass(result_type):
        raise TypeError(f"{result_type.__name__} is not a dataclass; write @dataclass(frozen=True, slots=True)")
    hints = get_type_hints(result_type)
    infos = tuple(_info(result_type, field, hints[field.name]) for field in dataclasses.fields(result_type))
    for info in infos:
        name = f"{result_type.__name__}.{info.name}"
        if info.incident is not None:
            _require_fitting(name, info, info.incident, infos)
        if info.readout is not None:
            _require_known_error(name, info.readout, infos)
    return infos


def _require_known_error(name: str, readout: Readout, infos: tuple[MetricInfo, ...]) -> None:
    recorded = [info.name for info in infos if info.recorded]
    if readout.error not in (None, *recorded):
        allowed = f"allowed: {', '.join(recorded)} (metrics of the same result)"
        raise TypeError(f"{name}: readout '{readout.name}': error='{readout.error}'; {allowed}")


def _require_fitting(name: str, info: MetricInfo, rule: IncidentRule, infos: tuple[MetricInfo, ...]) -> None:
    if isinstance(rule.when, bool) != (info.kind == "boolean"):
        wanted = "when=True or False" if info.kind == "boolean" else "when=Hysteresis(begin, end)"
        raise TypeError(f"{name} is a {info.kind}: its incident '{rule.kind}' needs {wanted}")
    if rule.worst is not None:
        sound = [other.name for other in infos if other.recorded and other.good in ("high", "low")]
        if rule.worst not in sound:
            allowed = f"allowed: {', '.join(sound) or 'none'} (numbers of the same result with a good end)"
            raise TypeError(f"{name}: incident '{rule.kind}': worst='{rule.worst}'; {allowed}")


def _info(owner: type, field: dataclasses.Field[Any], hint: Any) -> MetricInfo:
    meta: Mapping[str, Any] | None = field.metadata.get(_KEY)
    if meta is None:
        raise TypeError(f"{owner.__name__}.{field.name} has no metric(...): unit, range and good end are unknown")
    boolean = hint is bool or hint == (bool | None)
    return MetricInfo(
        name=field.name,
        kind="boolean" if boolean else "number",
        range=meta.get("range", (None, None)),
        good=meta.get("good", "neither"),
        description=meta["description"],
        unit=meta["unit"],
        recorded=meta.get("recorded", True),
        shape=meta.get("shape"),
        incident=meta.get("incident"),
        readout=meta.get("readout"),
        outline=meta.get("outline"),
    )


def record_of(result: Result, metrics: tuple[MetricInfo, ...]) -> dict[str, float | bool | None]:
    """The recorded fields of a result, as plain numbers that JSON can hold (not finite becomes `None`).

    :raises TypeError: when a field holds something else than a number, a truth value or `None`.
    :raises ValueError: when a value lies outside the range that its metric states (`OverflowError`: far outside).
    """
    return {m.name: _in_range(m, _plain(getattr(result, m.name))) for m in metrics if m.recorded}


def _in_range(info: MetricInfo, value: float | bool | None) -> float | bool | None:
    if value is None or isinstance(value, bool):
        return value
    low, high = (_FARTHEST[0] if info.range[0] is None else info.range[0]), info.range[1]
    high = _FARTHEST[1] if high is None else high
    slack = _ROUNDING * max(abs(value), 1.0)
    if low - slack <= value <= high + slack:
        return value
    raise ValueError(f"{info.name} = {value:g} lies outside its range, {low:g} to {high:g}")


def _plain(value: Any) -> float | bool | None:
    if value is None or isinstance(value, bool):
        return value
    if hasattr(value, "item"):  # a numpy scalar
        value = value.item()
    if isinstance(value, float):
        return value if value - value == 0.0 else None
    if isinstance(value, int):
        return float(value) if abs(value) > 1 << 53 else value
    raise TypeError(f"a metric holds {type(value).__name__}; allowed: float, int, bool, None")
