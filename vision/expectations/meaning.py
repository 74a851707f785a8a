"""What an expectation means in one run: names looked up, types and units checked, and made into functions."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, get_args

from vision.errors import did_you_mean
from vision.expectations.reading import all_of, any_of, applied, calculated, compared, negated
from vision.expectations.syntax import ExpectationError
from vision.expectations.terms import Compared, Meaning, Read, Reading, Series, Span, Term
from vision.expectations.tree import (
    Absolute,
    Arithmetic,
    Comparison,
    Incidents,
    Literal,
    Logic,
    Name,
    Negative,
    Node,
    Not,
    Sentence,
    Statistic,
    While,
    Window,
    text_of,
)
from vision.expectations.units import PERCENT, RATIO, Unit, factor, shown, unit_of
from vision.expectations.vocabulary import Measure, Producer, UnknownNameError, Vocabulary, place_of
from vision.frame import Cause

__all__ = [
    "meaning_of",
]

_Ends = tuple[float | None, float | None]

_SEVERITIES = ("error", "warning")

_BASES = ("s", "Hz", "ms/min", "bit/s", "bit", "dB", "dBTP", "LUFS", "LU", "deg", "px", "ppm", RATIO)
"""Units of these kinds are known, whatever a run measures."""

_PERCENTILE = re.compile(r"p([1-9][0-9]?)")

_SPREAD = ("mean", "min", "max", "std", "last")

_OF_NUMBERS = (*_SPREAD, "p5", "p50", "p95", "p99", "count", "duration", "rate", "coverage")

_OF_FLAGS = ("share", "count", "duration", "rate", "last", "coverage")

_OF_INCIDENTS = ("count", "duration", "longest", "rate", "share")

_UNITS: Mapping[str, str] = {"duration": "s", "longest": "s", "rate": "/min", "share": RATIO, "coverage": RATIO}


def meaning_of(sentence: Sentence, vocabulary: Vocabulary) -> Meaning:
    """Look an expectation up in what a run measures.

    :raises UnknownNameError: when it is of a metric or an incident that the run does not have.
    :raises ExpectationError: when it is of no use in another way, with the place.
    """
    checker = _Checker(vocabulary)
    condition = checker.checked(sentence.condition)
    if not condition.is_flag:
        raise ExpectationError("is a number; compare it with something: ... <= 80", sentence.condition.at)
    if condition.producers:
        raise _per_frame(sentence.condition, condition)
    if not checker.terms:
        raise ExpectationError("says nothing of the run; it needs a metric or incidents(...)", sentence.condition.at)
    span = checker.span(sentence.windows)
    return Meaning(span, tuple(checker.terms.values()), tuple(checker.comparisons), condition.read)


@dataclass(frozen=True, slots=True)
class _Typed:
    """A checked part.

    :ivar read: its value, from a moment where `producers` is not empty, else from the figures at the end.
    :ivar producers: of a value per frame; empty for what is known at the end, and for constants.
    """

    read: Read
    is_flag: bool = False
    unit: Unit = None
    ends: _Ends = (None, None)
    producers: tuple[Producer, ...] = ()
    constant: float | None = None
    is_final: bool = False


@dataclass(slots=True)
class _Checker:
    vocabulary: Vocabulary
    terms: dict[str, Term] = field(default_factory=dict)
    comparisons: list[Compared] = field(default_factory=list)

    def checked(self, node: Node) -> _Typed:
        """A part with its type and unit."""
        match node:
            case Literal():
                return self._literal(node)
            case Name():
                return self._name(node)
            case Incidents():
                some = ", ".join(f".{name}" for name in _OF_INCIDENTS)
                raise ExpectationError(f"which figure of the incidents? allowed: {some}", node.at)
            case Statistic(Incidents() as incidents, name):
                return self._incidents(node, incidents, name)
            case Statistic(of, name):
                return self._statistic(node, self._series(of), name)
            case Negative(of) | Absolute(of):
                return self._signed(node, self._number(of))
            case Arithmetic():
                return self._arithmetic(node)
            case Comparison():
                return self._comparison(node)
            case Not(of):
                inner = self._flag(of)
                return _Typed(partial(negated, inner.read), True, producers=inner.producers, is_final=inner.is_final)
            case Logic(operator_, operands):
                return self._logic(node, operator_, operands)
        raise TypeError(type(node).__name__)

    def span(self, windows: Sequence[Window]) -> Span:
        """What several windows have in common."""
        start_s, end_s, conditions = 0.0, math.inf, []
        for window in windows:
            if isinstance(window, While):
                conditions.append(window.condition)
                continue
            start_s = max(start_s, self._seconds(window.start, 0.0))
            end_s = min(end_s, self._seconds(window.end, math.inf))
            if start_s >= end_s:
                raise ExpectationError("is a window without length", window.at)
        condition = self._condition(conditions) if conditions else None
        return Span(" ".join(map(text_of, windows)), start_s, end_s, condition)

    def _condition(self, conditions: list[Node]) -> Series:
        node = conditions[0] if len(conditions) == 1 else Logic("and", tuple(conditions), at=conditions[0].at)
        typed = self._flag(node)
        if not typed.producers:
            raise ExpectationError("`while` takes what is yes or no in each picture: while speaking", node.at)
        return Series(text_of(node), typed.read, typed.producers, True)

    def _seconds(self, literal: Literal | None, otherwise: float) -> float:
        if literal is None:
            return otherwise
        scale = factor(literal.unit, "s")
        if scale is None:
            raise ExpectationError(f"'{literal.unit}' is no unit of time; allowed: ms, s, min, h", literal.at)
        return literal.number * scale

    def _literal(self, node: Literal) -> _Typed:
        unit = node.unit
        if unit is not None and not self._is_known(unit):
            known = sorted(self.vocabulary.units - {"1", "bool"} | {PERCENT, "min", "h", "/min"})
            raise ExpectationError(f"unknown unit '{unit}'; allowed: {', '.join(known)}", node.at)
        return _Typed(lambda _: node.number, unit=unit, constant=node.number)

    def _is_known(self, unit: str) -> bool:
        return unit in self.vocabulary.units or any(factor(unit, base) for base in _BASES)

    def _name(self, node: Name) -> _Typed:
        measure, statistic = self.vocabulary.measure(node)
        typed = _measured(measure)
        if statistic is None:
            return typed
        text = ".".join(node.parts[:-1])
        series = Series(text, typed.read, typed.producers, typed.is_flag)
        return self._figure(text_of(node), series, typed, statistic, place_of(node, len(node.parts) - 1))

    def _series(self, node: Node) -> tuple[Series, _Typed]:
        typed = self.checked(node)
        if not typed.producers:
            raise ExpectationError("a statistic is of values per picture, which this has not", node.at)
        return Series(text_of(node), typed.read, typed.producers, typed.is_flag), typed

    def _statistic(self, node: Node, of: tuple[Series, _Typed], name: str) -> _Typed:
        return self._figure(text_of(node), *of, name, node.at)

    def _figure(self, text: str, series: Series, typed: _Typed, statistic: str, at: int) -> _Typed:
        allowed = _OF_FLAGS if series.is_flag else _OF_NUMBERS
        if statistic not in allowed and (series.is_flag or not _PERCENTILE.fullmatch(statistic)):
            raise ExpectationError(_no_statistic(series, statistic, allowed), at)
        self.terms[text] = Term(text, statistic, series)
        is_value = (statistic in _SPREAD and statistic != "std") or _PERCENTILE.fullmatch(statistic) is not None
        unit = typed.unit if is_value or statistic == "std" else _UNITS.get(statistic, "1")
        ends = typed.ends if is_value else (0, 1) if unit == RATIO and statistic != "std" else (0, None)
        is_flag = series.is_flag and statistic == "last"
        return _Typed(lambda figures: figures[text], is_flag, None if is_flag else unit, ends, is_final=True)

    def _incidents(self, node: Statistic, incidents: Incidents, statistic: str) -> _Typed:
        if statistic not in _OF_INCIDENTS:
            hint = did_you_mean(statistic, _OF_INCIDENTS) or ";"
            told = f"incidents have no statistic '{statistic}'{hint} allowed: {', '.join(_OF_INCIDENTS)}"
            raise ExpectationError(told, node.at)
        given = zip(incidents.filters, incidents.places, strict=True)
        filters = tuple(self._filter(key, value, at) for (key, value), at in given)
        text = text_of(node)
        self.terms[text] = Term(text, statistic, None, filters, self._rules(filters))
        unit = _UNITS.get(statistic, "1")
        return _Typed(lambda figures: figures[text], unit=unit, ends=(0, 1 if unit == RATIO else None), is_final=True)

    def _rules(self, filters: Sequence[tuple[str, str]]) -> tuple[Series, ...]:
        """What incidents are made of: the metrics of their kinds; where none is named, all processors that tell any."""
        kinds = {value for key, value in filters if key == "kind"}
        if kinds:
            measures = (measure for kind in sorted(kinds) for measure in self.vocabulary.kinds[kind])
            return tuple(Series(m.name, _measured(m).read, (m.producer,), True) for m in measures)
        producers = {m.producer.name: m.producer for measures in self.vocabulary.kinds.values() for m in measures}
        return tuple(Series(name, _nothing, (producer,), False) for name, producer in producers.items())

    def _filter(self, key: str | None, value: str, at: int) -> tuple[str, str]:
        allowed: Mapping[str, Iterable[str]] = {
            "kind": self.vocabulary.kinds,
            "cause": get_args(Cause),
            "severity": _SEVERITIES,
        }
        name = key or "kind"
        if name not in allowed:
            hint = did_you_mean(name, allowed) or ";"
            raise ExpectationError(f"incidents have no '{name}'{hint} allowed: {', '.join(allowed)}", at)
        known = sorted(allowed[name])
        if value not in known:
            hint = did_you_mean(value, known) or ";"
            what = "this run knows no incident" if name == "kind" else f"no {name}"
            raise UnknownNameError(f"{what} '{value}'{hint} allowed: {', '.join(known)}", at)
        return name, value

    def _signed(self, node: Node, of: _Typed) -> _Typed:
        low, high = of.ends
        if isinstance(node, Negative):
            ends = (None if high is None else -high, None if low is None else -low)
            constant = None if of.constant is None else -of.constant
            read = partial(applied, of.read, operator.neg)
            return _Typed(read, False, of.unit, ends, of.producers, constant, of.is_final)
        top = None if low is None or high is None else max(abs(low), abs(high))
        return _Typed(partial(applied, of.read, abs), False, of.unit, (0, top), of.producers, None, of.is_final)

    def _number(self, node: Node) -> _Typed:
        typed = self.checked(node)
        if typed.is_flag:
            raise ExpectationError("is yes or no, where a number is needed; (...).share is its share", node.at)
        return typed

    def _flag(self, node: Node) -> _Typed:
        typed = self.checked(node)
        if not typed.is_flag:
            raise ExpectationError("is a number, where yes or no is needed; compare it with something", node.at)
        return typed

    def _arithmetic(self, node: Arithmetic) -> _Typed:
        left, right = self._number(node.left), self._number(node.right)
        self._require_one_time((node.left, left), (node.right, right))
        unit, scale = _combined(node, left.unit, right.unit)
        return _Typed(
            partial(calculated, node.operator, left.read, right.read, scale),
            unit=unit,
            producers=_joined(left, right),
            is_final=left.is_final or right.is_final,
        )

    def _comparison(self, node: Comparison) -> _Typed:
        sides = [self._number(operand) for operand in node.operands]
        self._require_one_time(*zip(node.operands, sides, strict=True))
        links = []
        for i, sign in enumerate(node.operators):
            pair = (node.operands[i], sides[i]), (node.operands[i + 1], sides[i + 1])
            links.append(self._link(sign, *pair))
        producers = _joined(*sides)
        is_final = any(side.is_final for side in sides)
        if is_final:
            self.comparisons += links
        return _Typed(partial(all_of, [link.holds for link in links]), True, producers=producers, is_final=is_final)

    def _link(self, sign: str, left: tuple[Node, _Typed], right: tuple[Node, _Typed]) -> Compared:
        if left[1].constant is not None and right[1].constant is None:
            mirrored = sign.translate(str.maketrans("<>", "><"))
            return self._link(mirrored, right, left)
        (node, value), (limit_node, limit) = left, right
        scale = factor(limit.unit, value.unit)
        if scale is None:
            raise ExpectationError(_other_units(node, value.unit, limit_node, limit.unit), limit_node.at)
        if limit.constant is not None:
            _require_within(node, value, limit_node, limit.constant * scale)
        holds = partial(compared, sign, value.read, limit.read, scale)
        return Compared(text_of(node), value.read, value.unit, f"{sign} {text_of(limit_node)}", holds)

    def _logic(self, node: Node, operator_: str, operands: Sequence[Node]) -> _Typed:
        typed = [self._flag(operand) for operand in operands]
        self._require_one_time(*zip(operands, typed, strict=True))
        combine = all_of if operator_ == "and" else any_of
        reads = [each.read for each in typed]
        is_final = any(each.is_final for each in typed)
        return _Typed(partial(combine, reads), True, producers=_joined(*typed), is_final=is_final)

    def _require_one_time(self, *parts: tuple[Node, _Typed]) -> None:
        """Values per frame are not mixed with what is known at the end."""
        if any(typed.is_final for _, typed in parts):
            for node, typed in parts:
                if typed.producers:
                    raise _per_frame(node, typed)


def _nothing(moment: Any) -> Reading:
    return None


def _measured(measure: Measure) -> _Typed:
    processor, info = measure.producer.name, measure.info
    is_flag = info.kind == "boolean"
    unit = None if is_flag else unit_of(info.unit, info.range)

    def read(moment: Any) -> Reading:
        measured = moment.results.get(processor)
        return None if measured is None else measured.get(info.name)

    return _Typed(read, is_flag, unit, (None, None) if is_flag else info.range, (measure.producer,))


def _no_statistic(series: Series, statistic: str, allowed: Sequence[str]) -> str:
    kind = "yes or no" if series.is_flag else "a number"
    listed = ", ".join(allowed).replace("p5, p50, p95, p99", "p1 ... p99")
    hint = did_you_mean(statistic, allowed) or ";"
    share = f"; write ({series.text} > ...).share" if statistic == "share" else ""
    return f"{series.text} is {kind} and has no statistic '{statistic}'{hint} allowed: {listed}{share}"


def _per_frame(node: Node, typed: _Typed) -> ExpectationError:
    text = text_of(node)
    of = text if isinstance(node, Name | Absolute) else f"({text})"
    advice = f"{of}.share" if typed.is_flag else f"{of}.mean, {of}.p95"
    if isinstance(node, Comparison):
        first = next(text_of(operand) for operand in node.operands if not isinstance(operand, Literal | Negative))
        advice = f"{first}.mean, {first}.p95, {of}.share"
    return ExpectationError(f"{text} is of each picture; write which figure of them: {advice}, ...", node.at)


def _joined(*parts: _Typed) -> tuple[Producer, ...]:
    return tuple({producer.name: producer for part in parts for producer in part.producers}.values())


def _combined(node: Arithmetic, left: Unit, right: Unit) -> tuple[Unit, float]:
    """The unit of a result, and by what the right side is multiplied first."""
    if node.operator in "+-":
        scale = factor(right, left)
        if scale is None:
            raise ExpectationError(_other_units(node.left, left, node.right, right), node.right.at)
        return (right if left is None else left), scale
    is_quotient, plain = node.operator == "/", (None, "1", RATIO)
    scale = (0.01 if right == PERCENT else 1.0) * (1.0 if left != PERCENT else 100.0 if is_quotient else 0.01)
    left, right = (RATIO if unit == PERCENT else unit for unit in (left, right))
    same = factor(right, left) if is_quotient and left is not None and right is not None else None
    if same is not None:
        return RATIO, scale * same
    if left in plain and right in plain:
        return ("1" if "1" in (left, right) else RATIO if RATIO in (left, right) else None), scale
    if right in plain or (left in plain and not is_quotient):
        return (left if right in plain else right), scale
    told = f"cannot be calculated: {shown(left).strip() or 'a number'} {node.operator}{shown(right)}"
    raise ExpectationError(told, node.right.at)


def _other_units(left: Node, left_unit: Unit, right: Node, right_unit: Unit) -> str:
    named = [f"{text_of(node)} is {_kind_of(unit)}" for node, unit in ((left, left_unit), (right, right_unit))]
    return f"{named[0]}, and {named[1]}"


def _kind_of(unit: Unit) -> str:
    if unit == PERCENT:
        return "a percentage, which only ratios can be"
    return {"1": "a plain number", RATIO: "a ratio", None: "a plain number"}.get(unit, f"in {unit}")


def _require_within(node: Node, value: _Typed, limit_node: Node, limit: float) -> None:
    """A limit beyond what a metric can be is a mistake: the expectation would always be met, or never."""
    low, high = value.ends
    if (low is not None and limit < low) or (high is not None and limit > high):
        within = f"{'...' if low is None else f'{low:g}'} to {'...' if high is None else f'{high:g}'}"
        told = f"{text_of(node)} lies within {within}{shown(value.unit)}; the limit is outside, and says nothing"
        raise ExpectationError(told, limit_node.at)
