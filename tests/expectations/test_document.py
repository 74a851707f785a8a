"""docs/expectations.md is true: its examples are read, its grammar is the parser's."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

from vision import registry
from vision.config import load
from vision.expectations.meaning import meaning_of
from vision.expectations.syntax import GRAMMAR, parse
from vision.expectations.tree import text_of
from vision.expectations.vocabulary import Producer, UnknownNameError, Vocabulary

TEXT = (Path(__file__).parent.parent.parent / "docs" / "expectations.md").read_text()
_BY_EXAMPLE = TEXT.partition("## The language, by example")[2].partition("Statistics")[0]
EXAMPLES = re.findall(r"^\| `([^`]+)`", _BY_EXAMPLE, re.MULTILINE)
WINDOWS = re.findall(r"`([^`]+)`", TEXT.partition("Windows, behind")[2].partition("An incident counts")[0])


@pytest.fixture(scope="module")
def everything() -> Vocabulary:
    """What a run with all built-in processors measures."""
    return Vocabulary(Producer.of(registry.processor(name), name) for name in registry.installed("processors"))


def test_there_are_examples() -> None:
    """They are found in the document."""
    assert len(EXAMPLES) == 13
    assert len(WINDOWS) == 5


@pytest.mark.parametrize("that", EXAMPLES + [f"frame_quality.sharpness.p5 >= 10 {window}" for window in WINDOWS])
def test_every_example_means_something(that: str, everything: Vocabulary) -> None:
    """It is in its normal form, and of what the built-in processors measure."""
    sentence = parse(that)
    assert text_of(sentence) == that
    if "lip_sync" not in that or "lip_sync" in everything.producers:
        assert meaning_of(sentence, everything).terms
    else:
        with pytest.raises(UnknownNameError):
            meaning_of(sentence, everything)


def test_the_yaml_is_good(tmp_path: Path) -> None:
    """The first block is a run that can be started."""
    (block,) = re.findall(r"(?:^(?: {4}.*)?\n)*^ {4}expect:\n(?:^ {4}.*\n)+", TEXT, re.MULTILINE)
    path = tmp_path / "run.yaml"
    path.write_text(textwrap.dedent(block))
    assert {e.name for e in load(path).expectations} >= {"no-freeze", "loud enough", "frame_quality.sharpness.p5 >= 10"}


def test_the_grammar_is_the_parsers() -> None:
    """Word for word."""
    told = TEXT.partition("## Grammar")[2].partition("\n\n")[2].partition("\n\n")[2]
    assert [line.strip() for line in told.splitlines() if line.strip()] == [
        line.strip() for line in GRAMMAR.splitlines() if line.strip()
    ]
