"""Texts to trees and back, and what is said of a text that is none."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.expectations.series import VOCABULARY
from vision.config import load
from vision.errors import ConfigError
from vision.expectations.meaning import meaning_of
from vision.expectations.syntax import ExpectationError, parse
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
    text_of,
)

_KEYWORDS = {"abs", "after", "and", "before", "between", "incidents", "not", "or", "while"}
_words = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True).filter(lambda word: word not in _KEYWORDS)
_literals = st.builds(
    Literal,
    st.floats(0, allow_nan=False, allow_infinity=False),
    st.none() | st.sampled_from(["ms", "s", "%", "deg", "/min", "ms/min", "dBFS", "Hz"]),
)
_names = st.builds(Name, st.lists(_words, min_size=1, max_size=3).map(tuple))
_filters = st.tuples(st.none() | st.sampled_from(["kind", "cause", "severity"]), _words)
_incidents = st.builds(Incidents, st.lists(_filters, max_size=3).map(tuple))


def _longer(parts: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    several = st.lists(parts, min_size=2, max_size=3).map(tuple)
    signs = st.sampled_from(["<", "<=", ">", ">=", "==", "!="])
    return st.one_of(
        st.builds(Absolute, parts),
        st.builds(Negative, parts),
        st.builds(Not, parts),
        st.builds(Statistic, parts, _words),
        st.builds(Arithmetic, st.sampled_from("+-*/"), parts, parts),
        st.builds(Logic, st.sampled_from(["and", "or"]), several),
        several.flatmap(lambda sides: st.builds(Comparison, st.just(sides), st.tuples(*[signs] * (len(sides) - 1)))),
    )


_nodes = st.recursive(_literals | _names | _incidents, _longer, max_leaves=12)
_windows = st.builds(While, _nodes) | st.one_of(
    st.builds(Between, _literals, _literals),
    st.builds(Between, _literals, st.none()),
    st.builds(Between, st.none(), _literals),
)
_sentences = st.builds(Sentence, _nodes, st.lists(_windows, max_size=2).map(tuple))


@given(_sentences)
def test_every_tree_survives_its_text(sentence: Sentence) -> None:
    """The normal form of a tree is read as the same tree: no parenthesis too few."""
    text = text_of(sentence)
    if len(text) <= 1000:
        assert parse(text) == sentence


@given(_sentences, st.data())
def test_the_normal_form_is_one(sentence: Sentence, data: st.DataObject) -> None:
    """However much space is put in, and parentheses around the whole: the normal form is the same."""
    text = text_of(sentence.condition)
    spaced = "".join(data.draw(st.sampled_from([" ", "\n", "  \t"])) if c == " " else c for c in f"({text})")
    if len(text) <= 900:
        assert text_of(parse(spaced)) == text


def test_parentheses_that_are_not_needed_go() -> None:
    """What binds more needs none, whichever way round."""
    for written, normal in [
        ("((a.b.mean))>(3)", "a.b.mean > 3"),
        ("(a*b)+c - (d - e)", "a * b + c - (d - e)"),
        ("not(not(a))", "not not a"),
        ("(a or b)and(c)", "(a or b) and c"),
        ("a or (b and c)", "a or b and c"),
        ("-(-3ms)", "--3 ms"),
        ("(incidents( freeze ,cause = network )).count==0.0", "incidents(freeze, cause=network).count == 0"),
        ("x.y.rate<2 1/min", "x.y.rate < 2 /min"),
        ("(a.b).p95 > 3", "(a.b).p95 > 3"),
    ]:
        assert text_of(parse(written)) == normal


_PIECES = """
    picture.luma.mean picture.freeze speaking lips.offset_ms .p95 .share abs( ( ) - + * / < <= == = and or not while
    between after 80ms 5% 0 1e999 incidents( incidents(freeze).count freeze , cause= rendered /min $ ä ' " \\
"""
_pieces = st.sampled_from([*_PIECES.split(), "\n"])


def _place_of_error(text: str) -> int:
    try:
        meaning_of(parse(text), VOCABULARY)
    except ExpectationError as error:
        return error.at
    return 0


@given(st.text(max_size=60))
def test_any_text_is_answered_with_a_place(text: str) -> None:
    """Whatever is written: an expectation, or one error that points into the text."""
    assert 0 <= _place_of_error(text) <= len(text)


@given(st.lists(_pieces, max_size=14))
def test_any_pieces_are_answered_with_a_place(pieces: list[str]) -> None:
    """The same for what nearly is one."""
    text = " ".join(pieces)
    assert 0 <= _place_of_error(text) <= len(text)


@given(_sentences)
def test_any_tree_is_answered_with_a_place(sentence: Sentence) -> None:
    """The same for what can be read, and may mean nothing."""
    text = text_of(sentence)
    assert 0 <= _place_of_error(text) <= len(text)


def test_what_is_too_long_or_too_deep_is_refused() -> None:
    """A thousand characters, fifty levels; parentheses that say nothing are none."""
    assert parse("(" * 400 + "a" + ")" * 400) == Sentence(Name(("a",)))
    for text, told in [("-" * 400 + "a", "nested more than 50 deep"), ("a" * 1001, "longer than 1000 characters")]:
        with pytest.raises(ExpectationError, match=told):
            parse(text)


# an expectation with a mark before the place of the error, and what the error says
MISTAKES: list[tuple[str, str]] = [
    ("picture.luma.mean > ^", "the end cannot stand here; allowed: '(', '-', a metric, a number, abs, incidents"),
    ("picture.luma.mean ^= 3", "'=' cannot stand here"),
    ("picture.luma.mean ^$ 3", "'$' cannot stand here"),
    ("picture.luma.mean > 3 ^betwen 3 s and 4 s", "'betwen' is no unit; did you mean 'between'?"),
    ("picture.luma.mean > 0 ^whle speaking", "'whle' is no unit; did you mean 'while'?"),
    (
        "^pictur.luma.mean > 0",
        "this run has no metric 'pictur.luma'; did you mean 'picture.luma'? its processors: picture",
    ),
    ("picture.^lumo.mean > 0", "picture has no metric 'lumo'; did you mean 'luma'? it has luma, sharpness"),
    (
        "picture.luma.^meen > 0",
        "picture.luma is a number and has no statistic 'meen'; did you mean 'mean'? allowed: mean",
    ),
    ("picture.luma.^p0 > 0", "has no statistic 'p0'"),
    ("picture.luma.^p100 > 0", "has no statistic 'p100'"),
    ("picture.luma.^share > 0", "write (picture.luma > ...).share"),
    ("picture.freeze.^mean > 0", "picture.freeze is yes or no and has no statistic 'mean'; allowed: share, count"),
    ("picture.luma.mean.^p95 > 0", "has more parts than processor.metric.statistic"),
    ("^picture > 0", "'picture' is a processor; write one of its metrics behind it: luma, sharpness"),
    ("picture.^points_px.mean > 0", "picture has no metric 'points_px'"),
    ("^speeking", "this run has no metric 'speeking'"),
    (
        "^picture.luma > 0.5",
        "write which figure of them: picture.luma.mean, picture.luma.p95, (picture.luma > 0.5).share",
    ),
    ("^speaking", "speaking is of each picture; write which figure of them: speaking.share"),
    ("picture.luma.mean > ^picture.luma", "picture.luma is of each picture"),
    ("picture.luma.max > 0.5 and ^picture.freeze", "picture.freeze is of each picture"),
    ("(^picture.luma - picture.luma.mean).std < 3", "picture.luma is of each picture"),
    ("^picture.luma.mean", "is a number; compare it with something"),
    ("^1 < 2", "says nothing of the run; it needs a metric or incidents(...)"),
    ("^picture.luma.max and picture.freeze.last", "is a number, where yes or no is needed"),
    ("(^picture.freeze + 1).mean > 3", "is yes or no, where a number is needed"),
    ("(^1 + 2).mean > 3", "a statistic is of values per picture, which this has not"),
    ("picture.luma.mean < ^80", "picture.luma.mean lies within 0 to 1; the limit is outside, and says nothing"),
    ("abs(lips.offset_ms).p95 < ^1 s", "abs(lips.offset_ms).p95 lies within 0 to 800 ms"),
    ("abs(lips.offset_ms).p95 < ^-1 ms", "lies within 0 to 800 ms"),
    ("picture.freeze.share < ^5", "picture.freeze.share lies within 0 to 1"),
    ("picture.yaw_deg.max < ^80 ms", "picture.yaw_deg.max is in deg, and 80 ms is in ms"),
    ("picture.sharpness.max < ^80 %", "is a plain number, and 80 % is a percentage, which only ratios can be"),
    ("picture.sharpness.max < ^80 parsecs", "unknown unit 'parsecs'; allowed: %, /min"),
    ("picture.yaw_deg.max + ^lips.offset_ms.max > 3", "picture.yaw_deg.max is in deg, and lips.offset_ms.max is in ms"),
    ("picture.yaw_deg.max * ^lips.offset_ms.max > 3", "cannot be calculated: deg * ms"),
    ("3 / ^lips.offset_ms.max > 3", "cannot be calculated: a number / ms"),
    ("^incidents(freeze) == 0", "which figure of the incidents? allowed: .count, .duration, .longest, .rate, .share"),
    ("^incidents(freeze).cout == 0", "incidents have no statistic 'cout'; did you mean 'count'?"),
    ("incidents(^freze).count == 0", "this run knows no incident 'freze'; did you mean 'freeze'? allowed: clock_slip"),
    (
        "incidents(freeze, ^cause=netwrk).count == 0",
        "no cause 'netwrk'; did you mean 'network'? allowed: network, over",
    ),
    ("incidents(^sevrity=error).count == 0", "incidents have no 'sevrity'; did you mean 'severity'?"),
    ("picture.luma.mean > 0 ^between 5 s and 5000 ms", "is a window without length"),
    ("picture.luma.mean > 0 after ^5 px", "'px' is no unit of time; allowed: ms, s, min, h"),
    ("picture.luma.mean > 0 while ^picture.luma.mean > 0", "`while` takes what is yes or no in each picture"),
    ("picture.luma.mean > 0 while ^picture.luma", "is a number, where yes or no is needed"),
    ("picture.luma.mean > ^1e400", "1e400 is too large"),
]


@pytest.mark.parametrize(("marked", "told"), MISTAKES, ids=[marked for marked, _ in MISTAKES])
def test_a_mistake_is_told_where_it_is(marked: str, told: str) -> None:
    """One line that says what is wrong, what is allowed and the nearest match, at the character."""
    text = marked.replace("^", "")
    with pytest.raises(ExpectationError) as caught:
        meaning_of(parse(text), VOCABULARY)
    assert told in str(caught.value)
    assert (caught.value.at, "\n" in str(caught.value)) == (marked.index("^"), False)


RUN = """\
source: {use: 'tests.troublesome:CountSource'}
processors: [{use: 'tests.troublesome:Counting'}]
expect:
"""


def _refused(folder: Path, expect: str, *assignments: str) -> str:
    path = folder / "run.yaml"
    path.write_text(RUN + expect, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load(path, assignments)
    return str(caught.value).replace(f"{folder}/", "")


YAMLS: list[tuple[str, str]] = [
    (
        "  - that: counting.valu.mean > 3\n",
        "run.yaml:4:20: expect[0].that: counting has no metric 'valu'; did you mean",
    ),
    ("  - that: 'counting.valu.mean > 3'\n", "run.yaml:4:21: expect[0].that: "),
    ("  - that: >-\n      counting.value.mean > 3\n      and counting.valu.max > 3\n", "run.yaml:6:20: expect[0].that"),
    ("  - that: |\n      counting.value.mean >\n", "run.yaml:5:28: expect[0].that: the end cannot stand here"),
    ("  - that: counting.value.mean\n       > 3 and\n       counting.valu.max > 3\n", "run.yaml:6:17: expect[0].that"),
    ('  - that: "counting.value.mean \\x3e 3 px"\n', "run.yaml:4: expect[0].that: column 23 of it: "),
    ("  - that: ''\n", "run.yaml:4: expect[0].that: string should have at least 1 character"),
    ("  - that: 5\n", "run.yaml:4: expect[0].that: input should be a valid string, got 5"),
    ("  - tat: x\n", "run.yaml:4: expect[0].tat: unknown key 'tat'; did you mean 'that'? allowed: level, min_coverage"),
    ("  - name: x\n", "run.yaml:4: expect[0]: 'that' is required"),
    (
        "  - {that: odd.share < 1, level: eror}\n",
        "expect[0].level: input should be 'error', 'warning' or 'ignore', got 'eror'",
    ),
    (
        "  - {that: odd.share < 1, min_coverage: 50}\n",
        "expect[0].min_coverage: input should be less than or equal to 1",
    ),
    (
        "  - {that: odd.share < 1}\n  - {that: odd.share<1}\n",
        "run.yaml:5: expect[1]: 'odd.share < 1' is expected twice",
    ),
    (
        "  - preset: live-avtar\n",
        "run.yaml:4: expect[0].preset: no preset 'live-avtar'; did you mean 'live-avatar'? allowed: live-av",
    ),
    ("  - {preset: broadcast, that: odd.share < 1}\n", "expect[0]: a preset has names of its own"),
    (
        "  - preset: broadcast\n  - {name: no-gab, level: warning}\n",
        "or a preset's name; did you mean 'no-gap'? there are",
    ),
    ("  odd.share < 1\n", "run.yaml:3: expect: input should be a valid list"),
]


@pytest.mark.parametrize(("expect", "told"), YAMLS)
def test_the_yaml_has_the_line_and_the_column(tmp_path: Path, expect: str, told: str) -> None:
    """Where the text stands in the file as it is, the character; else its line, and the column of the text."""
    assert told in _refused(tmp_path, expect)


def test_the_command_line_has_the_column(tmp_path: Path) -> None:
    """A value that is set has no line."""
    told = _refused(tmp_path, "  - that: odd.share < 1\n", "expect.0.that=counting.valu.max > 3")
    assert told.startswith("--set expect[0].that: column 10 of it: counting has no metric 'valu'")


def test_a_variable_may_be_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read as anywhere; behind it columns are those of the text that was made."""
    monkeypatch.setenv("LIMIT", "3")
    path = tmp_path / "run.yaml"
    path.write_text(RUN + "  - that: counting.value.mean < ${LIMIT}\n")
    (expected,) = load(path).expectations
    assert expected.that == "counting.value.mean < 3"
    told = _refused(tmp_path, "  - that: odd.share < 0.${LIMIT} and odd.shre < 3\n")
    assert told.startswith("run.yaml:4: expect[0].that: column 25 of it: ")
