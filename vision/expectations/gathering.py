"""What expectations need of a run, gathered as it goes in bounded memory."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from vision.expectations.moments import Happening, Moment
from vision.expectations.terms import Reading, Series, Span
from vision.expectations.vocabulary import Producer
from vision.statistics import Column

__all__ = [
    "Counted",
    "Gathered",
    "Pace",
    "WindowAtWork",
    "percent",
]

_MOST_STRETCHES = 20_000  # of a condition that are surely remembered, for the incidents that are still to come

_SECONDS_A_MINUTE = 60.0


class Pace:
    """Where the run is: its times, its numbers of pictures, what is wrong with all of it."""

    def __init__(self) -> None:
        self._first_s: float | None = None
        self._now_s = -math.inf
        self._index = -1
        self._frames = 0
        self._damaged = 0
        self._clocks: Counter[str | None] = Counter()

    def step(self, moment: Moment) -> tuple[float, int]:
        """Take a frame: how long the one before it lasted, and the number of the picture before it."""
        step_s = max(moment.time_s - self._now_s, 0.0) if self._frames else 0.0
        if self._first_s is None:
            self._first_s = moment.time_s
        self._now_s = max(self._now_s, moment.time_s)
        before = self._index
        if moment.index is not None:
            self._index = max(self._index, moment.index)
        self._frames += 1
        self._damaged += moment.corrupt
        self._clocks[moment.clock] += 1
        return step_s, before

    def unreached(self, span: Span) -> str | None:
        """Why the run says nothing of a span; `None` where it does."""
        if self._first_s is None:
            return "no frame was recorded"
        if self._now_s < span.start_s:
            return f"the run ended at {self._now_s:.1f} s, before the window began"
        return None

    def reached(self, span: Span) -> float:
        """How much of a span, 0 to 1, was recorded before the run ended."""
        if self._first_s is None or math.isinf(span.end_s):
            return 1.0
        start_s = max(span.start_s, self._first_s)
        usual_s = (self._now_s - self._first_s) / (self._frames - 1) if self._frames > 1 else 0.0
        end_s = self._now_s + usual_s  # the last frame lasts as long as others do
        if end_s > span.end_s - usual_s / 2:  # half a frame more or less is nothing
            return 1.0
        return max(end_s - start_s, 0.0) / (span.end_s - start_s)

    def causes(self, span: Span, producers: Sequence[Producer]) -> Iterable[str]:
        """What kept these from measuring in many frames."""
        if self.reached(span) < 1 and self._now_s > span.start_s:
            yield f"the run ended at {self._now_s:.1f} s, within the window"
        if self._damaged > 0.1 * self._frames and not all(producer.hears_only for producer in producers):
            yield f"{self._damaged} pictures were damaged on the way"
        by_arrival = self._clocks["arrival"]
        if by_arrival > 0.5 * self._frames and any(producer.pairs for producer in producers):
            yield f"the clock knew only arrival times in {percent(by_arrival / self._frames)} of the frames"


class WindowAtWork:
    """A span at work: whether the run is in it, and how long it was."""

    def __init__(self, span: Span) -> None:
        self.span = span
        self.is_inside = False
        self.frames = 0
        self.seconds = 0.0
        self._holds: Reading = None
        self._starts: list[float] = []  # of the stretches in which the condition held
        self._ends: list[float] = []

    def add(self, moment: Moment, step_s: float) -> None:
        """Go on to a frame."""
        if self.is_inside:
            self.seconds += step_s
        was_inside, self.is_inside = self.is_inside, self._takes(moment)
        self.frames += self.is_inside
        if self.span.condition is not None:
            self._remember(moment.time_s, was_inside)

    def _takes(self, moment: Moment) -> bool:
        condition = self.span.condition
        if condition is not None:
            if moment.index is None and condition.is_of_pictures:
                self._holds = None
            elif _is_due(condition, moment) and not (moment.corrupt and condition.fears_damage):
                self._holds = condition.read(moment)
        return self.span.start_s <= moment.time_s < self.span.end_s and (condition is None or self._holds is True)

    def _remember(self, time_s: float, was_inside: bool) -> None:
        now_s = max(time_s, self._ends[-1]) if self._ends else time_s
        if was_inside:
            self._ends[-1] = now_s
        elif self.is_inside:
            self._starts.append(now_s)
            self._ends.append(now_s)
        if len(self._ends) > 2 * _MOST_STRETCHES:
            del self._starts[:_MOST_STRETCHES], self._ends[:_MOST_STRETCHES]

    def overlap_s(self, start_s: float, end_s: float) -> float | None:
        """How much of `[start_s, end_s)` lies in it; `None` where nothing does."""
        low, high = max(start_s, self.span.start_s), min(end_s, self.span.end_s)
        if low > high or low >= self.span.end_s or (low == high and start_s < end_s):
            return None
        if self.span.condition is None:
            return high - low
        near = slice(bisect_left(self._ends, low), bisect_right(self._starts, high))
        pairs = zip(self._starts[near], self._ends[near], strict=True)
        inside = [min(high, to) - max(low, at) for at, to in pairs]
        if low < high:
            inside = [length for length in inside if length > 0]
        return sum(inside) if inside else None

    def empty(self) -> str | None:
        """Why nothing was in it; `None` where something was."""
        return None if self.frames else f"nothing was recorded {self.span.text}"


def _is_due(series: Series, moment: Moment) -> bool:
    if moment.index is None:
        return not series.is_of_pictures
    return moment.index % series.every == 0


@dataclass(eq=False, slots=True)
class Gathered:
    """The values of a series in a window.

    :ivar due: pictures (frames, for what listens) in which it should have been measured.
    :ivar answered: those in which its processors gave a result, whatever it was.
    """

    series: Series
    window: WindowAtWork
    column: Column = field(default_factory=Column)
    due: float = 0.0
    answered: int = 0
    true: int = 0
    seconds: float = 0.0
    is_on: bool = False

    def add(self, moment: Moment, step_s: float, before: int) -> None:
        """Take a frame; `before` is the number of the picture before it."""
        if self.is_on:
            self.seconds += step_s
        if not self.window.is_inside:
            self.is_on = False
            return
        self.due += self._due(moment, before)
        if not _is_due(self.series, moment):
            self.is_on = self.is_on and moment.index is not None
            return
        damaged = moment.corrupt and self.series.fears_damage
        value = None if damaged else self.series.read(moment)
        self.answered += not damaged and all(moment.results.get(p.name) is not None for p in self.series.producers)
        self.is_on = value is not None and value is not False
        if value is not None:
            self.column.add(float(value))
            self.true += value is True

    def _due(self, moment: Moment, before: int) -> int:
        if not self.series.is_of_pictures:
            return 1
        if moment.index is None:
            return 0
        every = self.series.every  # the pictures since the one before, those that the queue dropped among them
        return max(moment.index // every - before // every, 1 if moment.index % every == 0 else 0)

    def miss(self, happening: Happening) -> None:
        """Pictures that never came were due."""
        overlap_s = self.window.overlap_s(happening.start_s, happening.end_s)
        if overlap_s is None or not self.series.is_of_pictures:
            return
        length_s = happening.end_s - happening.start_s
        self.due += happening.pictures_missing / self.series.every * (overlap_s / length_s if length_s > 0 else 1.0)

    def coverage(self, statistic: str, reached: float) -> float:
        """The share of what was due; for how often something is there, that of the frames that would have it."""
        is_told_by_absence = statistic in ("count", "duration", "rate") and not self.series.is_flag
        measured = self.answered if is_told_by_absence else len(self.column)
        return min(measured / self.due, 1.0) * reached if self.due else 0.0

    def statistic(self, name: str, coverage: float) -> tuple[Reading, str | None]:
        """A figure of the values, or why there is none."""
        count = self.true if self.series.is_flag else len(self.column)
        match name:
            case "coverage":
                return coverage, None
            case "count":
                return float(count), None
            case "duration":
                return self.seconds, None
            case "rate":
                return _per_minute(count, self.window.seconds), None if self.window.seconds else "it has no length"
        needed = _needed(name)
        if len(self.column) < needed:
            return None, f"{self.series.text} has {len(self.column)} values, and {name} needs {needed}"
        return self._of_values(name), None

    def _of_values(self, name: str) -> Reading:
        if name.startswith("p"):
            return self.column.percentile(float(name[1:]))
        spread = self.column.distribution()
        assert spread is not None
        if name == "share":
            return self.true / spread.count
        if name == "last":
            return bool(spread.last) if self.series.is_flag else spread.last
        return float({"mean": spread.mean, "std": spread.std, "min": spread.min, "max": spread.max}[name])


def _needed(statistic: str) -> int:
    """How many values a statistic is worth anything from: for a percentile, so many that one lies beyond it."""
    if statistic.startswith("p"):
        percent = int(statistic[1:])
        return math.ceil(100 / min(percent, 100 - percent))
    return 2 if statistic == "std" else 1


def _per_minute(count: float, seconds: float) -> float | None:
    return count / (seconds / _SECONDS_A_MINUTE) if seconds > 0 else None


class Counted:
    """The incidents that pass a filter, as far as they lie in a window."""

    def __init__(self, filters: Sequence[tuple[str, str]], window: WindowAtWork) -> None:
        self._allowed: dict[str, set[str]] = {}
        for key, value in filters:
            self._allowed.setdefault(key, set()).add(value)
        self._window = window
        self._count = 0
        self._seconds = self._longest_s = 0.0

    def add(self, happening: Happening) -> None:
        """Take an incident."""
        if any(getattr(happening, key) not in values for key, values in self._allowed.items()):
            return
        overlap_s = self._window.overlap_s(happening.start_s, happening.end_s)
        if overlap_s is not None:
            self._count += 1
            self._seconds += overlap_s
            self._longest_s = max(self._longest_s, overlap_s)

    def statistic(self, name: str) -> float | None:
        """A figure of them; `None` where the window has no length."""
        length_s = self._window.seconds
        if name == "rate":
            return _per_minute(self._count, length_s)
        if name == "share":
            return min(self._seconds / length_s, 1.0) if length_s > 0 else None
        return {"count": float(self._count), "duration": self._seconds, "longest": self._longest_s}[name]


def percent(share: float) -> str:
    return f"{100 * share:.3g} %"
