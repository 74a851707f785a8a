"""YAML to a checked configuration: what is accepted, and what every mistake is answered with."""

from __future__ import annotations

import contextlib
import traceback
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from vision import yamlfile
from vision.config import load
from vision.errors import ConfigError
from vision.frame import Frame
from vision.record import RESERVED

GOOD = """\
name: good
source:
  use: tests.troublesome:CountSource
  pictures: 3
run: {duration_s: 60, queue: {size: 64}}
processors:
  - use: tests.troublesome:Counting
    name: first
    at: 4
  - use: tests.troublesome:Doubling
sinks:
  - use: jsonl
"""


def _write(folder: Path, text: str) -> Path:
    path = folder / "run.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def _error(folder: Path, text: str, *assignments: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(_write(folder, text), assignments)
    message = str(caught.value)
    assert "\n" not in message
    return message.replace(str(folder) + "/", "")


def test_a_good_file(tmp_path: Path) -> None:
    """Everything lands where it belongs, and what is not given has its default."""
    loaded = load(_write(tmp_path, GOOD))
    assert loaded.name == "good"
    assert loaded.run.duration_s == 60
    assert loaded.policy == "every"
    assert [processor.name for processor in loaded.processors] == ["first", "doubling"]
    assert loaded.processors[0].options.model_dump()["at"] == 4
    assert loaded.processors[0].quarantine_after == 30
    assert loaded.as_dict()["source"] == {
        "use": "tests.troublesome:CountSource",
        "pictures": 3,
        "size_changes_at": None,
        "fps": 30.0,
        "fail": None,
    }


def test_name_defaults_to_the_file(tmp_path: Path) -> None:
    """A run without a name is called like its file."""
    path = tmp_path / "my run (2).yaml"
    path.write_text("source: {use: 'tests.troublesome:CountSource'}", encoding="utf-8")
    assert load(path).name == "my-run-2"


MISTAKES: list[tuple[str, str, str]] = [
    (
        "name: good",
        "nmae: good",
        "run.yaml:1: nmae: unknown key 'nmae'; did you mean 'name'? allowed: expect, name",
    ),
    ("name: good", "name: a/b", "run.yaml:1: name: string should match pattern"),
    ("  pictures: 3", "  picturs: 3", "run.yaml:4: source.picturs: unknown key 'picturs'; did you mean 'pictures'?"),
    ("  pictures: 3", "  pictures: many", "run.yaml:4: source.pictures: input should be a valid integer"),
    ("use: tests.troublesome:CountSource", "use: avatr", "run.yaml:3: source.use: no connector named 'avatr'; did"),
    (
        "use: tests.troublesome:CountSource",
        "use: a.b:C",
        "run.yaml:3: source.use: connector 'a.b:C' cannot be imported",
    ),
    (
        "use: tests.troublesome:CountSource",
        "use: pathlib:Path",
        "run.yaml:3: source.use: 'pathlib:Path' is no connector",
    ),
    ("use: tests.troublesome:CountSource", "ues: x", "run.yaml:2: source.use: 'use' is required"),
    ("duration_s: 60", "duration_s: -1", "run.yaml:5: run.duration_s: input should be greater than 0, got -1"),
    ("size: 64", "size: 0", "run.yaml:5: run.queue.size: input should be greater than or equal to 2, got 0"),
    (
        "size: 64",
        "sise: 0",
        "run.yaml:5: run.queue.sise: unknown key 'sise'; did you mean 'size'? allowed: policy, size",
    ),
    ("size: 64", "policy: newest", "run.yaml:5: run.queue.policy: input should be 'every' or 'latest', got 'newest'"),
    ("run: {duration_s: 60, queue: {size: 64}}", "run: 5", "run.yaml:5: run: must be a mapping (key: value), got 5"),
    ("use: tests.troublesome:Counting", "use: lipsync", "run.yaml:7: processors[0].use: no processor named 'lipsync'"),
    ("use: tests.troublesome:Counting", "use: face_landmark", "did you mean 'face_landmarks'?"),
    (
        "    at: 4",
        "    att: 4",
        "run.yaml:9: processors[0].att: unknown key 'att'; did you mean 'at'? allowed: at, every, name, placement",
    ),
    ("    at: 4", "    every: 0", "run.yaml:9: processors[0].every: input should be greater than or equal to 1"),
    ("    name: first", "    name: errors", "processors[0]: the name 'errors' is a field of every record"),
    ("    name: first", "    name: doubling", "processors[1]: the name 'doubling' is used twice; give another"),
    ("    name: first", "    name: Not Good", "run.yaml:8: processors[0].name: string should match pattern"),
    ("troublesome:Doubling", "troublesome:NoDocumentedResult", "is not a dataclass"),
    ("troublesome:Counting\n", "troublesome:AsyncCounting\n    placement: process\n", "allowed here: thread"),
    ("troublesome:Doubling", "troublesome:Listening\n    every: 2", "listens to the sound, which cannot be thinned"),
    ("  - use: jsonl", "  - use: jsnl", "run.yaml:12: sinks[0].use: no sink named 'jsnl'; did you mean 'jsonl'?"),
    ("  - use: jsonl", "  - use: jsonl\n    path: x", "run.yaml:13: sinks[0].path: unknown key 'path'; allowed: use"),
    ("  - use: jsonl", "  - jsonl", "run.yaml:12: sinks[0]: must be a mapping (key: value), got 'jsonl'"),
    ("name: good", "name: good\nname: bad", "run.yaml:2: name: given twice"),
    ("name: good", "name: [good", "run.yaml:2: no valid YAML: expected ',' or ']'"),
    ("name: good", "name: ${NO_SUCH_THING}", "run.yaml:1: name: the environment variable NO_SUCH_THING is not set"),
    ("name: good", "name: ${no such}", "run.yaml:1: name: a '${' that begins no variable; write ${NAME}"),
    ("name: good", "name: !!python/object:os.system x", "run.yaml:1: no valid YAML: could not determine a constructor"),
    ("name: good", "<<: 5", "run.yaml:1: no valid YAML: expected a mapping"),
    ("name: good", "name: &x [*x]", "run.yaml:1: name[0]: an alias that contains itself"),
    ("name: good", "name: !!bool zz", "run.yaml:1: name: no valid YAML: this is no bool"),
    ("name: good", "name: !!int ''", "run.yaml:1: name: no valid YAML: this is no int"),
    ("name: good", f"name: {'9' * 5000}", "run.yaml:1: name: no valid YAML: this is no int"),
    ("name: good", "? [a, b]\n: c", "run.yaml:1: the file: a key must be a single word"),
    ("duration_s: 60", "duration_s: .inf", "run.duration_s: input should be a finite number, got inf"),
    ("duration_s: 60", "duration_s: .nan", "run.duration_s: input should be a finite number, got nan"),
    ("    at: 4", "    timeout_s: .inf", "processors[0].timeout_s: input should be a finite number, got inf"),
    ("    at: 4", "    timeout_s: 1e9", "processors[0].timeout_s: input should be less than or equal to 86400"),
    ("size: 64", "policy: lates", "should be 'every' or 'latest', got 'lates'; did you mean 'latest'?"),
    ("  - use: jsonl", "  - use: jsonl\n  - use: jsonl", "run.yaml:13: sinks[1]: the sink 'jsonl' is used twice"),
    ("troublesome:CountSource", "unsound:NoStream", "run.yaml:3: source.use: NoStream lacks stream"),
    ("troublesome:Doubling", "unsound:NeedsNoTuple", "NeedsNoTuple.needs must be a tuple of Result classes"),
    ("troublesome:Doubling", "unsound:ReadsText", "ReadsText.reads must be of vision.Reads"),
    ("troublesome:Doubling", "unsound:OnTheMoon", "OnTheMoon.placement must be one of thread, process"),
    ("troublesome:Doubling", "unsound:Timeless", "Timeless.timeout_s must be a number of seconds up to 86400"),
    ("troublesome:Doubling", "unsound:NoOptions", "NoOptions.Options must be a pydantic model"),
    ("troublesome:Doubling", "unsound:HidesAKey", "HidesAKey has an option 'every', which is a key of every plugin"),
    ("troublesome:Doubling", "unsound:Unresolved", "run.yaml:10: processors[1].use: name 'Nowhere' is not defined"),
    ("troublesome:Doubling", "unsound:RaisingOptions", "cannot be checked: NeverOptions raised KeyError"),
]


@pytest.mark.parametrize(("before", "after", "expected"), MISTAKES, ids=[row[1].strip() for row in MISTAKES])
def test_mistakes_are_named_with_their_line(tmp_path: Path, before: str, after: str, expected: str) -> None:
    """Each mistake gives one line: file, line, key, what is wrong, what is allowed."""
    assert before in GOOD
    assert expected in _error(tmp_path, GOOD.replace(before, after, 1))


def test_files_that_are_no_configuration(tmp_path: Path) -> None:
    """No file, a folder, bytes that are no text, nothing at all, a list: one line each."""
    with pytest.raises(ConfigError, match=r"cannot be read: No such file"):
        load(tmp_path / "absent.yaml")
    with pytest.raises(ConfigError, match=r"cannot be read: Is a directory"):
        load(tmp_path)
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"cannot be read: not UTF-8"):
        load(tmp_path / "binary.yaml")
    assert "must be a mapping with the keys" in _error(tmp_path, "")
    assert "must be a mapping with the keys" in _error(tmp_path, "- 1\n- 2\n")
    assert "'source' is required" in _error(tmp_path, "name: x")
    for text in ("a: \x01", "a: 2001-99-99", "[" * 5000):
        assert "no valid YAML" in _error(tmp_path, text)


def test_several_mistakes_are_counted(tmp_path: Path) -> None:
    """The first is shown, and how many there are."""
    assert "(the first of 2 errors)" in _error(tmp_path, GOOD.replace("name: good", "x: 1\ny: 2"))


def test_the_environment_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable, a default, and numbers that come as text."""
    monkeypatch.setenv("A_NAME", "from-outside")
    text = GOOD.replace("name: good", "name: ${A_NAME}").replace("pictures: 3", "pictures: ${HOW_MANY:-7}")
    loaded = load(_write(tmp_path, text))
    assert loaded.name == "from-outside"
    assert loaded.source.options.model_dump()["pictures"] == 7


def test_the_command_line_changes_values(tmp_path: Path) -> None:
    """Values, items of lists, new keys; the last one wins, and mistakes name the option."""
    path = _write(tmp_path, GOOD)
    loaded = load(path, ["processors.0.at=9", "run.queue.size=8", "source.fps=25", "source.fps=50"], duration_s=2.5)
    assert loaded.processors[0].options.model_dump()["at"] == 9
    assert loaded.run.queue.size == 8
    assert loaded.source.options.model_dump()["fps"] == 50
    assert loaded.run.duration_s == 2.5
    assert "--set source.pictures: input should be a valid" in _error(tmp_path, GOOD, "source.pictures=x")
    assert "'²' is looked for in something that has no keys" in _error(tmp_path, GOOD, "processors.²=1")
    assert "--set processors.7.at: there is no item 7; the list has 2" in _error(tmp_path, GOOD, "processors.7.at=1")
    assert "not of the form key.path=value" in _error(tmp_path, GOOD, "nonsense")
    assert "'x' is looked for in something that has no keys" in _error(tmp_path, GOOD, "name.x=1")
    assert "no valid YAML" in _error(tmp_path, GOOD, "name=[")


def test_a_live_source_cannot_wait(tmp_path: Path) -> None:
    """The policy `every` is refused for live sources, and `latest` is their default."""
    live = GOOD.replace("CountSource", "LiveCountSource")
    assert load(_write(tmp_path, live)).policy == "latest"
    assert "a live source cannot wait" in _error(tmp_path, live.replace("size: 64", "policy: every"))


def test_secrets_are_not_shown(tmp_path: Path) -> None:
    """Tokens are hidden in the configuration as run, and in the message when they are of the wrong type."""
    text = "source: {use: whep, url: 'https://u:pw@example.invalid/w?key=abc123', token: t0psecret}"
    shown = str(load(_write(tmp_path, text)).as_dict())
    for secret in ("t0psecret", "abc123", "pw"):
        assert secret not in shown
    assert "https://***@example.invalid/w?***" in shown
    message = _error(tmp_path, text.replace("token: t0psecret", "token: [t0psecret]"))
    assert "t0psecret" not in message
    assert "source.token" in message


SECRET = "Sw0rdfish"
LEAKS = [
    "source: {use: whep, url: 'host/path?access_token=Sw0rdfish'}",
    "source: {use: whep, url: Sw0rdfish}",
    """source: {use: whep, url: "http://h:99999/x?a='Sw0rdfish'"}""",
    "source: {use: whep, url: 'http://h/', ice_servers: [{urls: ['turn:u:Sw0rdfish@h:80']}]}",
    "source: {use: whep, url: 'http://h/', ice_servers: [Sw0rdfish]}",
    "source: {use: whep, url: 'http://h/', token: [Sw0rdfish]}",
    "source: {use: whep, url: 'http://h/', token: !!int 'Sw0rdfish'}",
    "source: {use: whep, url: 'http://h/', token: {a: Sw0rdfish}, x: 1}",
    "source: {use: whep, url: 'http://h/', token:Sw0rdfish}",
    "source: 'use: whep token: Sw0rdfish'",
    "token: *Sw0rdfish",
    "token: !Sw0rdfish x",
]


@pytest.mark.parametrize("text", LEAKS)
def test_no_mistake_shows_a_secret(tmp_path: Path, text: str) -> None:
    """Neither the message nor the traceback of --debug, which has the errors behind it, shows what was given."""
    with pytest.raises(ConfigError) as caught:
        load(_write(tmp_path, text))
    assert SECRET not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("assignment", ["source.token:Sw0rdfish", "source.token Sw0rdfish", "source.token:Sw0rdfish="])
def test_a_wrong_assignment_shows_no_value(tmp_path: Path, assignment: str) -> None:
    """What is no key.path=value is named by its path alone."""
    message = _error(tmp_path, GOOD, assignment)
    assert message.startswith("--set source.token...: not of the form key.path=value")
    assert SECRET not in message


def test_a_value_of_the_command_line_needs_no_variable(tmp_path: Path) -> None:
    """A variable that is not set is an error only where its value is used in the end."""
    text = GOOD.replace("name: good", "name: ${NO_SUCH_THING}")
    assert load(_write(tmp_path, text), ["name=given"]).name == "given"
    assert "--set name: the environment variable NOR_THIS is not set" in _error(tmp_path, text, "name=${NOR_THIS}")


@pytest.mark.parametrize("merge", [False, True])
def test_aliases_of_aliases_are_bounded(tmp_path: Path, merge: bool) -> None:
    """A few lines that stand for a million values are refused before they are written out."""
    lines = ["a0: &a0 {x: 1}"]
    for n in range(1, 7):
        items = ", ".join([f"*a{n - 1}"] * 10)
        lines.append(f"a{n}: &a{n} " + (f"{{<<: [{items}]}}" if merge else f"[{items}]"))
    assert "more than 100000 values" in _error(tmp_path, "\n".join(lines))


def test_a_duration_that_is_none(tmp_path: Path) -> None:
    """Infinity is no duration, on the command line neither."""
    with pytest.raises(ConfigError, match=r"--duration inf: run\.duration_s: input should be a finite"):
        load(_write(tmp_path, GOOD), duration_s=float("inf"))
    assert load(_write(tmp_path, GOOD), duration_s=1234567.125).run.duration_s == 1234567.125


def test_an_empty_whep_token_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`${WHEP_TOKEN:-}` serves with a token and without one."""
    monkeypatch.delenv("WHEP_TOKEN", raising=False)
    text = "source: {use: whep, url: 'https://h/w', token: '${WHEP_TOKEN:-}'}"
    assert load(_write(tmp_path, text)).as_dict()["source"]["token"] is None
    monkeypatch.setenv("WHEP_TOKEN", SECRET)
    assert load(_write(tmp_path, text)).as_dict()["source"]["token"] == "***"


_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**6), 10**6),
    st.floats(allow_nan=False, allow_infinity=False, width=32),
    st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), max_size=8).filter(
        lambda text: "${" not in text
    ),
)
_KEYS = st.text(st.characters(categories=["Ll", "Lu"]), min_size=1, max_size=6)
_TREES: st.SearchStrategy[Any] = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=3), max_leaves=12
)


@given(st.dictionaries(_KEYS, _TREES, max_size=4))
def test_yaml_round_trips(tree: dict[str, Any]) -> None:
    """What PyYAML writes is read as it was, and every path has a line."""
    text = yaml.safe_dump(tree, allow_unicode=True)
    document = yamlfile._parse(text, "x.yaml")
    assert document.data == yaml.safe_load(text)
    for path in document.where:
        name, line = document.location(path)
        assert name == "x.yaml"
        assert line is not None
        assert 1 <= line <= text.count("\n") + 1


@given(st.text(max_size=60))
def test_no_text_is_more_than_a_configuration_error(text: str) -> None:
    """Whatever is in the file, reading it succeeds or is a ConfigError of one line."""
    with contextlib.suppress(ConfigError):
        yamlfile._parse(text, "x.yaml")


def test_reserved_names_are_those_of_a_record() -> None:
    """A processor cannot be called like a field that every record has."""
    from vision.record import Record
    from vision.testing import make_frame

    frame: Frame = make_frame()
    assert set(Record(frame, {}).as_dict()) == RESERVED
