"""The grammar of expectations: text to a tree."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

from lark import Lark, Token, Transformer, Tree, UnexpectedInput, UnexpectedToken, v_args
from lark.exceptions import VisitError
from lark.tree import Meta

from vision.errors import ConfigError, did_you_mean
from vision.expectations.tree import (
    Absolute,
    Arithmetic,
    Between,
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
)

__all__ = [
    "ExpectationError",
    "GRAMMAR",
    "parse",
]

GRAMMAR = r"""
sentence: _condition window*

?window: "between" quantity "and" quantity  -> between
       | "after" quantity                   -> after
       | "before" quantity                  -> before
       | "while" _condition                 -> while

_condition: disjunction
?disjunction: conjunction | conjunction ("or" conjunction)+     -> any
?conjunction: negation | negation ("and" negation)+             -> all
?negation: comparison | "not" negation                          -> not
?comparison: sum | sum (COMPARE sum)+                           -> compare
?sum: product | sum "+" product -> plus  | sum "-" product      -> minus
?product: unary | product "*" unary -> times | product "/" unary -> over
?unary: value | "-" unary                                       -> negative
?value: atom | value STATISTIC                                  -> statistic
?atom: quantity
     | NAME                                                     -> name
     | "abs" "(" _condition ")"                                 -> absolute
     | "incidents" "(" [filter ("," filter)*] ")"               -> incidents
     | "(" _condition ")"

quantity: NUMBER [UNIT]
filter: NAME ["=" NAME]

COMPARE: "<=" | ">=" | "==" | "!=" | "<" | ">"
NUMBER: /[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?/
UNIT: /%|[A-Za-z]+(\/(min|s|h)\b)?|1?\/(min|s|h)\b/
NAME: /[A-Za-z_]\w*(\.[A-Za-z_]\w*)*/
STATISTIC: /\.[A-Za-z_]\w*/
%import common.WS
%ignore WS
"""

_KEYWORDS = ("after", "and", "before", "between", "not", "or", "while")

_LONGEST = 1000  # characters

_DEEPEST = 50  # of what is nested

_WORDS = {
    "NAME": "a metric",
    "NUMBER": "a number",
    "UNIT": "a unit",
    "STATISTIC": "a statistic (.mean)",
    "COMPARE": "a comparison",
    "LPAR": "'('",
    "RPAR": "')'",
    "COMMA": "','",
    "EQUAL": "'='",
    "PLUS": "'+'",
    "MINUS": "'-'",
    "STAR": "'*'",
    "SLASH": "'/'",
    "$END": "the end",
}


class ExpectationError(ConfigError):
    """What is wrong with an expectation, and where in its text.

    :ivar at: index of the character.
    """

    def __init__(self, message: str, at: int) -> None:
        super().__init__(message)
        self.at = at


def parse(text: str) -> Sentence:
    """Read an expectation.

    :raises ExpectationError: where the text is none.
    """
    if len(text) > _LONGEST:
        raise ExpectationError(f"is longer than {_LONGEST} characters; make several of it", _LONGEST)
    try:
        tree = _parser().parse(text)
    except UnexpectedInput as error:
        raise _unexpected(text, error) from None
    _require_shallow(tree)
    try:
        sentence: Sentence = _Builder().transform(tree)
    except VisitError as error:
        raise error.orig_exc from None
    return sentence


def _unexpected(text: str, error: UnexpectedInput) -> ExpectationError:
    at, allowed = error.pos_in_stream or 0, getattr(error, "allowed", None)
    wrong = text[at : at + 1]
    if isinstance(error, UnexpectedToken):
        wrong, allowed = str(error.token), error.accepts or error.expected
        at = len(text) if error.token.type == "$END" else at
        before = error.token_history[-1] if error.token_history else None
        if before is not None and before.type == "UNIT" and (hint := did_you_mean(before, _KEYWORDS)):
            return ExpectationError(f"'{before}' is no unit{hint}", before.start_pos or 0)
    words = sorted({_WORDS.get(name, name.lower()) for name in allowed or ()})
    got = repr(wrong) if at < len(text) else "the end"
    hint = "; write == to compare" if wrong == "=" else did_you_mean(wrong, words)
    return ExpectationError(f"{got} cannot stand here; allowed: {', '.join(words)}{hint}", at)


def _require_shallow(root: Tree[Token]) -> None:
    waiting = [(root, 0)]
    while waiting:
        tree, depth = waiting.pop()
        if depth > _DEEPEST:
            raise ExpectationError(f"is nested more than {_DEEPEST} deep; make several of it", tree.meta.start_pos)
        waiting += [(child, depth + 1) for child in tree.children if isinstance(child, Tree)]


@cache
def _parser() -> Lark:
    return Lark(GRAMMAR, start="sentence", parser="lalr", propagate_positions=True)


@v_args(meta=True)
class _Builder(Transformer[Token, Any]):
    """Makes the tree, from the leaves up."""

    def sentence(self, meta: Meta, children: list[Any]) -> Sentence:
        return Sentence(children[0], tuple(children[1:]), at=meta.start_pos)

    def between(self, meta: Meta, children: list[Literal]) -> Between:
        return Between(children[0], children[1], at=meta.start_pos)

    def after(self, meta: Meta, children: list[Literal]) -> Between:
        return Between(children[0], None, at=meta.start_pos)

    def before(self, meta: Meta, children: list[Literal]) -> Between:
        return Between(None, children[0], at=meta.start_pos)

    def any(self, meta: Meta, children: list[Node]) -> Logic:
        return Logic("or", tuple(children), at=meta.start_pos)

    def all(self, meta: Meta, children: list[Node]) -> Logic:
        return Logic("and", tuple(children), at=meta.start_pos)

    def compare(self, meta: Meta, children: list[Any]) -> Comparison:
        return Comparison(tuple(children[::2]), tuple(map(str, children[1::2])), at=meta.start_pos)

    def plus(self, meta: Meta, children: list[Node]) -> Arithmetic:
        return Arithmetic("+", *children, at=meta.start_pos)

    def minus(self, meta: Meta, children: list[Node]) -> Arithmetic:
        return Arithmetic("-", *children, at=meta.start_pos)

    def times(self, meta: Meta, children: list[Node]) -> Arithmetic:
        return Arithmetic("*", *children, at=meta.start_pos)

    def over(self, meta: Meta, children: list[Node]) -> Arithmetic:
        return Arithmetic("/", *children, at=meta.start_pos)

    def negative(self, meta: Meta, children: list[Node]) -> Negative:
        return Negative(children[0], at=meta.start_pos)

    def statistic(self, meta: Meta, children: list[Any]) -> Statistic:
        return Statistic(children[0], str(children[1])[1:], at=meta.start_pos)

    def absolute(self, meta: Meta, children: list[Node]) -> Absolute:
        return Absolute(children[0], at=meta.start_pos)

    def name(self, meta: Meta, children: list[Token]) -> Name:
        return Name(tuple(children[0].split(".")), at=meta.start_pos)

    def incidents(self, meta: Meta, children: list[Any]) -> Incidents:
        given = [child for child in children if child is not None]
        return Incidents(tuple(f[:2] for f in given), tuple(f[2] for f in given), at=meta.start_pos)

    def filter(self, meta: Meta, children: list[Any]) -> tuple[str | None, str, int]:
        first, second = children
        at = meta.start_pos
        return (None, str(first), at) if second is None else (str(first), str(second), at)

    def quantity(self, meta: Meta, children: list[Any]) -> Literal:
        number, unit = float(children[0]), children[1]
        if not math.isfinite(number):
            raise ExpectationError(f"{children[0]} is too large", meta.start_pos)
        return Literal(number, None if unit is None else str(unit).removeprefix("1"), at=meta.start_pos)


# keywords of Python: they cannot be written as methods
setattr(_Builder, "while", v_args(meta=True)(lambda self, meta, c: While(c[0], at=meta.start_pos)))

setattr(_Builder, "not", v_args(meta=True)(lambda self, meta, c: Not(c[0], at=meta.start_pos)))
