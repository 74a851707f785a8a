"""`expect:` of the YAML: presets unfolded and changed, names looked up; every mistake with its place."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from vision.errors import did_you_mean
from vision.expectations.meaning import meaning_of
from vision.expectations.presets import PRESETS
from vision.expectations.syntax import ExpectationError, parse
from vision.expectations.terms import Meaning
from vision.expectations.tree import Sentence
from vision.expectations.verdict import Expectation
from vision.expectations.vocabulary import UnknownNameError, Vocabulary
from vision.processor import Options
from vision.yamlfile import Document, PathKeys

__all__ = ["ExpectKeys", "expectations", "of_text"]

_COVERAGE = 0.5


class ExpectKeys(Options):
    """An item of `expect`: an expectation, a preset, or a change of what a preset expects."""

    that: str | None = Field(None, min_length=1, description="what is expected: abs(lip_sync.offset_ms).p95 <= 80 ms")
    name: str | None = Field(
        None, min_length=1, max_length=100, description="how it is called; that of a preset's expectation changes it"
    )
    level: Literal["error", "warning", "ignore"] | None = Field(
        None, description="error (default): the run fails with it; warning: it is told; ignore: it is left out"
    )
    min_coverage: float | None = Field(
        None, ge=0, le=1, description="least share in which it must have been measured; default: 0.5"
    )
    preset: str | None = Field(None, description=f"instead of `that`: all of a preset's; one of {', '.join(PRESETS)}")


@dataclass(slots=True)
class _Line:
    name: str
    that: str
    path: PathKeys
    sentence: Sentence
    level: Literal["error", "warning", "ignore"] = "error"
    min_coverage: float = _COVERAGE
    preset: str | None = None
    may_be_skipped: bool = False


def of_text(that: str, vocabulary: Vocabulary, min_coverage: float = _COVERAGE) -> Expectation:
    """One expectation by itself.

    :raises ExpectationError: when it is none, or not of this run.
    """
    return Expectation(that, that, "error", min_coverage, meaning_of(parse(that), vocabulary))


def expectations(
    document: Document, items: Sequence[dict[str, Any]], vocabulary: Vocabulary
) -> tuple[Expectation, ...]:
    """Those of a document.

    :raises ConfigError: on the first thing that is wrong.
    """
    lines: list[_Line] = []
    for i, data in enumerate(items):
        path: PathKeys = ("expect", i)
        keys = document.validated(ExpectKeys, data, path)
        if keys.preset is not None:
            _add_preset(document, path, keys, keys.preset, lines)
        else:
            _add(document, path, keys, lines)
    return tuple(_made(document, line, vocabulary) for line in lines if line.level != "ignore")


def _add_preset(document: Document, path: PathKeys, keys: ExpectKeys, preset: str, lines: list[_Line]) -> None:
    if preset not in PRESETS:
        hint = did_you_mean(preset, PRESETS) or ";"
        raise document.error((*path, "preset"), f"no preset '{preset}'{hint} allowed: {', '.join(PRESETS)}")
    if keys.that is not None or keys.name is not None:
        raise document.error(path, "a preset has names of its own; write what is changed as items behind it")
    for given in PRESETS[preset]:
        lines[:] = [line for line in lines if line.name != given.name]
        line = _Line(given.name, given.that, path, parse(given.that), preset=preset, may_be_skipped=True)
        line.level, line.min_coverage = keys.level or given.level, given.min_coverage
        lines.append(line)
        _change(line, keys)


def _add(document: Document, path: PathKeys, keys: ExpectKeys, lines: list[_Line]) -> None:
    sentence = None if keys.that is None else _parsed(document, (*path, "that"), keys.that)
    same = _changed_by(keys, sentence, lines)
    if same is not None and same.preset is None:
        raise document.error(path, f"'{same.name}' is expected twice; give another name, or take one out")
    if sentence is None or keys.that is None:
        if same is None:
            names = [line.name for line in lines if line.preset]
            hint = did_you_mean(keys.name or "", names)
            told = f"'that' is required{hint}" if not names else f"'that' is required, or a preset's name{hint or ';'}"
            raise document.error(path, told + (f" there are {', '.join(names)}" if names else ""))
    elif same is None:
        same = _Line(keys.name or " ".join(keys.that.split()), " ".join(keys.that.split()), path, sentence)
        lines.append(same)
    else:
        is_new = sentence != same.sentence
        same.that, same.sentence, same.path = " ".join(keys.that.split()), sentence, path
        same.may_be_skipped = same.may_be_skipped and not is_new
    _change(same, keys)


def _changed_by(keys: ExpectKeys, sentence: Sentence | None, lines: Iterable[_Line]) -> _Line | None:
    """The line that is called so; else the one that expects the same."""
    named = [line for line in lines if keys.name is not None and line.name == keys.name]
    alike = [line for line in lines if sentence is not None and line.sentence == sentence]
    return next(iter(named + alike), None)


def _change(line: _Line, keys: ExpectKeys) -> None:
    line.level = keys.level or line.level
    line.min_coverage = line.min_coverage if keys.min_coverage is None else keys.min_coverage


def _parsed(document: Document, path: PathKeys, that: str) -> Sentence:
    try:
        return parse(that)
    except ExpectationError as error:
        raise document.error(path, str(error), error.at) from None


def _made(document: Document, line: _Line, vocabulary: Vocabulary) -> Expectation:
    meaning: Meaning | None = None
    skipped = None
    try:
        meaning = meaning_of(line.sentence, vocabulary)
    except ExpectationError as error:
        if not (line.may_be_skipped and isinstance(error, UnknownNameError)):
            raise document.error((*line.path, "that"), str(error), error.at) from None
        skipped = str(error).partition(";")[0]
    assert line.level != "ignore"
    return Expectation(line.name, line.that, line.level, line.min_coverage, meaning, line.preset, skipped)
