"""Expectations as trees, and their normal form."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = [
    "Absolute",
    "Arithmetic",
    "Between",
    "Comparison",
    "Incidents",
    "Literal",
    "Logic",
    "Name",
    "Negative",
    "Node",
    "Not",
    "Sentence",
    "Statistic",
    "While",
    "Window",
    "text_of",
]


@dataclass(frozen=True, slots=True)
class Node:
    """A part of an expectation; `at` is the index of its first character, and no part of what it is."""

    at: int = field(default=0, compare=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class Literal(Node):
    """`80 ms`."""

    number: float
    unit: str | None = None


@dataclass(frozen=True, slots=True)
class Name(Node):
    """`lip_sync.offset_ms.p95`, `lip_sync.offset_ms`, or `speaking`."""

    parts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Incidents(Node):
    """`incidents(freeze, cause=network)`; a filter without a key is a kind."""

    filters: tuple[tuple[str | None, str], ...]
    places: tuple[int, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Absolute(Node):
    """`abs(...)`."""

    of: Node


@dataclass(frozen=True, slots=True)
class Statistic(Node):
    """`(...).p95`."""

    of: Node
    name: str


@dataclass(frozen=True, slots=True)
class Negative(Node):
    """`-...`."""

    of: Node


@dataclass(frozen=True, slots=True)
class Arithmetic(Node):
    """Two numbers and one of `+ - * /`."""

    operator: str
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Comparison(Node):
    """`a < b <= c`: one operator less than there are operands."""

    operands: tuple[Node, ...]
    operators: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Not(Node):
    """`not ...`."""

    of: Node


@dataclass(frozen=True, slots=True)
class Logic(Node):
    """Two or more conditions with `and` or `or` between them."""

    operator: str
    operands: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Between(Node):
    """`between 5 s and 30 s`, `after 5 s` (no end), `before 30 s` (no start)."""

    start: Literal | None
    end: Literal | None


@dataclass(frozen=True, slots=True)
class While(Node):
    """`while speaking`."""

    condition: Node


Window = Between | While


@dataclass(frozen=True, slots=True)
class Sentence(Node):
    """A condition, and the part of the run that it is about."""

    condition: Node
    windows: tuple[Window, ...] = ()


def text_of(node: Node) -> str:
    """The normal form: one space around operators, no parentheses that are not needed."""
    match node:
        case Sentence(condition, windows):
            return " ".join([text_of(condition), *map(text_of, windows)])
        case Between(Literal() as start, Literal() as end):
            return f"between {text_of(start)} and {text_of(end)}"
        case Between(start, end):
            return f"after {text_of(start)}" if start is not None else f"before {text_of(end)}" if end else ""
        case While(condition):
            return f"while {text_of(condition)}"
        case Literal(number, unit):
            written = repr(number).removesuffix(".0")
            return written if unit is None else f"{written} {unit}"
        case Name(parts):
            return ".".join(parts)
        case Incidents(filters):
            return f"incidents({', '.join(v if key is None else f'{key}={v}' for key, v in filters)})"
        case Absolute(of):
            return f"abs({text_of(of)})"
        case _:
            return _composed(node)


_LEVELS: dict[type[Node], int] = {Not: 3, Comparison: 4, Negative: 7, Statistic: 8}  # what binds more is higher


def _level(node: Node) -> int:
    if isinstance(node, Logic):
        return 1 if node.operator == "or" else 2
    if isinstance(node, Arithmetic):
        return 5 if node.operator in "+-" else 6
    return _LEVELS.get(type(node), 9)


def _composed(node: Node) -> str:
    level = _level(node)
    match node:
        case Statistic(of, name):
            # a literal's unit would swallow nothing, but a name would take the statistic for its own
            return f"{_within(of, 10 if isinstance(of, Literal | Name) else level)}.{name}"
        case Negative(of):
            return f"-{_within(of, level)}"
        case Not(of):
            return f"not {_within(of, level)}"
        case Arithmetic(operator, left, right):
            return f"{_within(left, level)} {operator} {_within(right, level + 1)}"
        case Comparison(operands, operators):
            rest = zip(operators, operands[1:], strict=True)
            sides = (f" {operator} {_within(operand, level + 1)}" for operator, operand in rest)
            return _within(operands[0], level + 1) + "".join(sides)
        case Logic(operator, operands):
            return f" {operator} ".join(_within(operand, level + 1) for operand in operands)
    raise TypeError(type(node).__name__)


def _within(node: Node, level: int) -> str:
    """In parentheses where it binds less than what is around it."""
    return text_of(node) if _level(node) >= level else f"({text_of(node)})"
