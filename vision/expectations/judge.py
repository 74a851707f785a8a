"""Expectations held against a run as it goes; the verdicts at its end."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from vision.expectations.gathering import Counted, Gathered, Pace, WindowAtWork, percent
from vision.expectations.moments import Happening, Moment
from vision.expectations.terms import Compared, Meaning, Reading, Series, Span, Term
from vision.expectations.units import RATIO, quantity
from vision.expectations.verdict import Expectation, Outcome, Verdict
from vision.expectations.vocabulary import Producer

__all__ = [
    "Judge",
]


class Judge:
    """Takes what is recorded, and judges at the end.

    A frame lasts until the next one. Memory does not grow with the run, but for percentiles as `Column` has them.
    """

    def __init__(self, expectations: Iterable[Expectation], producers: Iterable[Producer] = ()) -> None:
        self.expectations = tuple(expectations)
        self._needs = {producer.name: producer.needs for producer in producers}
        self._windows: dict[Span, WindowAtWork] = {}
        self._gathered: dict[tuple[str, Span], Gathered] = {}
        self._counted: dict[tuple[tuple[tuple[str, str], ...], Span], Counted] = {}
        for expectation in self.expectations:
            if expectation.meaning is not None:
                self._prepare(expectation.meaning)
        self._pace = Pace()
        self._errors: dict[str, str] = {}

    def _prepare(self, meaning: Meaning) -> None:
        span = meaning.span
        for term in meaning.terms:
            for series in chain(term.rules, () if term.series is None else (term.series,)):
                self._gather(series, span)
            if term.series is None:
                self._counted.setdefault((term.filters, span), Counted(term.filters, self._window(span)))
        if span.condition is not None:
            self._gather(span.condition, span.whole)

    def _window(self, span: Span) -> WindowAtWork:
        return self._windows.setdefault(span, WindowAtWork(span))

    def _gather(self, series: Series, span: Span) -> None:
        self._gathered.setdefault((series.text, span), Gathered(series, self._window(span)))

    def add(self, moment: Moment) -> None:
        """Take a frame."""
        if not self._windows:
            return
        step_s, before = self._pace.step(moment)
        self._errors.update(moment.errors)
        for window in self._windows.values():
            window.add(moment, step_s)
        for gathered in self._gathered.values():
            gathered.add(moment, step_s, before)

    def add_incident(self, happening: Happening) -> None:
        """Take an incident, once the frames in it were taken."""
        for counted in self._counted.values():
            counted.add(happening)
        if happening.pictures_missing:
            for gathered in self._gathered.values():
                gathered.miss(happening)

    def verdicts(self, troubles: Mapping[str, str] | None = None) -> tuple[Verdict, ...]:
        """The verdicts so far.

        :param troubles: what is known to be wrong with processors, by their names.
        """
        known = self._errors_as_troubles() | dict(troubles or {})
        return tuple(self._verdict(expectation, known) for expectation in self.expectations)

    def _errors_as_troubles(self) -> dict[str, str]:
        return {name: f"last error: {error}" for name, error in self._errors.items()}

    def _verdict(self, expectation: Expectation, troubles: Mapping[str, str]) -> Verdict:
        meaning = expectation.meaning
        head: dict[str, Any] = {key: getattr(expectation, key) for key in ("name", "that", "level", "preset")}
        if meaning is None:
            return Verdict(**head, verdict="skipped", reason=expectation.skipped)
        figures = {term.text: self._figure(term, meaning.span, expectation.min_coverage) for term in meaning.terms}
        values = {text: figure.value for text, figure in figures.items()}
        holds = meaning.holds(values)
        outcome: Outcome = "not_measured" if holds is None else "passed" if holds else "failed"
        shown_ = _decisive(meaning.comparisons, values, outcome)
        coverages = [figure.coverage for figure in figures.values() if figure.coverage is not None]
        return Verdict(
            **head,
            verdict=outcome,
            value=_rounded(shown_.value(values)) if shown_ else None,
            unit="1" if shown_ is not None and shown_.unit == RATIO else shown_.unit if shown_ else None,
            limit=shown_.limit_text if shown_ else None,
            coverage=round(min(coverages), 6) if coverages else None,
            reason=self._reason(outcome, shown_, figures, meaning.span, troubles),
            window=meaning.span.text or None,
        )

    def _reason(
        self,
        outcome: Outcome,
        shown_: Compared | None,
        figures: Mapping[str, _Figure],
        span: Span,
        troubles: Mapping[str, str],
    ) -> str | None:
        if outcome == "passed":
            return None
        if outcome == "failed":
            if shown_ is None:
                return "is not so"
            value = shown_.value({text: figure.value for text, figure in figures.items()})
            return f"{shown_.text} is {quantity(value, shown_.unit, shown_.limit_text)}, not {shown_.limit_text}"
        missing = [figure for figure in figures.values() if figure.missing is not None]
        if not missing:
            return "cannot be calculated: a division by zero, or a number beyond all bounds"
        return "; ".join([str(missing[0].missing), *self._causes(missing[0], span, troubles)])

    def _causes(self, figure: _Figure, span: Span, troubles: Mapping[str, str]) -> Iterable[str]:
        """What is known of why it was not measured."""
        names = [producer.name for producer in figure.producers]
        for name in names:
            names += [needed for needed in self._needs.get(name, ()) if needed not in names]
        yield from (f"{name}: {troubles[name]}" for name in names if name in troubles)
        yield from self._pace.causes(span, figure.producers)

    def _figure(self, term: Term, span: Span, min_coverage: float) -> _Figure:
        reached = self._pace.reached(span)
        own = None if term.series is None else self._gathered[term.series.text, span]
        parts = [own] if own is not None else [self._gathered[rule.text, span] for rule in term.rules]
        about = term.statistic if own is not None else "count"
        coverages = [(part.series.text, part.coverage(about, reached)) for part in parts]
        coverage = min((share for _, share in coverages), default=reached)
        if own is not None and term.statistic == "coverage":
            coverages = []  # it is what is asked for
        elif not parts:
            coverages = [("the window", reached)]
        if span.condition is not None:
            condition = self._gathered[span.condition.text, span.whole]
            parts.append(condition)
            coverages.append((span.condition.text, condition.coverage("share", reached)))
        producers = tuple({p.name: p for part in parts for p in part.series.producers}.values())
        if reason := self._pace.unreached(span) or self._windows[span].empty() or _too_little(coverages, min_coverage):
            return _Figure(None, coverage, reason, producers)
        if own is None:
            value = self._counted[term.filters, span].statistic(term.statistic)
            return _Figure(value, coverage, "the window has no length" if value is None else None, producers)
        value, reason = own.statistic(term.statistic, coverage)
        return _Figure(value, coverage, reason, producers)


@dataclass(frozen=True, slots=True)
class _Figure:
    """What a term came to, or why there is nothing to say."""

    value: Reading
    coverage: float | None
    missing: str | None
    producers: tuple[Producer, ...] = ()


def _too_little(coverages: Sequence[tuple[str, float]], wanted: float) -> str | None:
    """What was measured least, where that is not enough."""
    what, least = min(coverages, key=lambda named: named[1], default=("", 1.0))
    if least >= wanted:
        return None
    return f"{what} was measured in {percent(least)} of what was due, min_coverage is {wanted:.0%}"


def _decisive(comparisons: Sequence[Compared], values: Mapping[str, Reading], outcome: Outcome) -> Compared | None:
    """The comparison that made the verdict: the first that is as it."""
    wanted = {"passed": True, "failed": False}.get(outcome)
    return next((c for c in comparisons if c.holds(values) is wanted), comparisons[0] if comparisons else None)


def _rounded(value: Reading) -> Reading:
    return round(value, 6) if isinstance(value, float) and math.isfinite(value) else value
