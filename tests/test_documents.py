"""What is written about the project is true of it."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

import vision
from vision.config import load
from vision.processor import Processor
from vision.testing import check_processor

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def _blocks(text: str) -> Iterator[str]:
    """The indented blocks of a Markdown text."""
    for block in re.findall(r"(?:^(?: {4}.*)?\n)+", text, re.MULTILINE):
        if block.strip():
            yield textwrap.dedent(block).strip() + "\n"


def test_the_example_of_a_processor_works() -> None:
    """The README's processor keeps the contract and gives what it says."""
    examples = [block for block in _blocks(README) if "Processor(Processor[" in block]
    names: dict[str, type[Processor[vision.Result]]] = {"__name__": "example"}  # type: ignore[dict-item]
    for example in examples:
        exec(compile(example, "README.md", "exec", dont_inherit=True), names)
    results = check_processor(names["BrightnessProcessor"])
    assert {getattr(result, "mean", None) for result in results} == {128 / 255}
    assert check_processor(names["MouthProcessor"], options={"limit": 0.1}) == [None] * 10


def test_the_examples_of_yaml_are_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every run in the README is accepted, once its plugin is one that exists."""
    monkeypatch.setenv("AVATAR_SESSION_ID", "s")
    monkeypatch.setenv("AVATAR_TOKEN", "t")
    examples = [block for block in _blocks(README) if re.search(r"^source:", block, re.MULTILINE)]
    assert len(examples) == 2
    for number, example in enumerate(examples):
        path = tmp_path / f"example{number}.yaml"
        path.write_text(example.replace("my_package.my_module:MyProcessor", "tests.troublesome:Counting"))
        assert load(path)


def test_the_readme_names_every_processor_option_and_file() -> None:
    """Links lead somewhere, and the keys that every processor takes are told."""
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
    for key in ("name", "every", "placement", "timeout_s", "quarantine_after"):
        assert f"`{key}`" in README


def test_every_module_is_in_the_architecture() -> None:
    """ARCHITECTURE.md's table names each module of the package, and none that is not there."""
    table = (ROOT / "ARCHITECTURE.md").read_text().partition("## Modules")[2].partition("Rules that")[0]
    told = {
        name.strip("/")
        for row in re.findall(r"^\| (`[^|]+) \|", table, re.MULTILINE)
        for name in re.findall(r"`([^`]+)`", row)
    }
    there = {path.stem for path in (ROOT / "vision").glob("*.py")} - {"__init__", "__main__"}
    there |= {path.parent.name for path in (ROOT / "vision").glob("*/__init__.py")} | {"processors"}
    assert told == there


def test_built_ins_use_the_public_names_only() -> None:
    """Whatever the built-in processors import of `vision` is in its `__all__`: the plugin API suffices."""
    for path in (ROOT / "processors").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                assert not [alias.name for alias in node.names if alias.name.startswith("vision.")], path
            elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "vision":
                assert node.module == "vision", path
                assert {alias.name for alias in node.names} <= set(vision.__all__), path


def test_public_names_exist_and_are_described() -> None:
    """`vision.__all__` is sorted, complete and documented."""
    assert list(vision.__all__) == sorted(vision.__all__)
    for name in vision.__all__:
        assert getattr(vision, name).__doc__, name
    assert set(vision._HOME_OF) | {"models"} == set(vision.__all__)


def test_aiortc_is_private_in_one_place() -> None:
    """On the receiving side, names that aiortc and aioice keep to themselves appear in two files only."""
    private = re.compile(r"_RTC[A-Z]\w+__|(?<!self)\._(?:connection|handle_rtp_packet|nominated)\b")
    places = {path.name for path in (ROOT / "vision" / "connectors").glob("*.py") if private.search(path.read_text())}
    assert places == {"receiver.py", "ice.py"}


def test_nothing_generated_is_kept() -> None:
    """What is made or downloaded is ignored by git."""
    ignored = (ROOT / ".gitignore").read_text().split()
    assert {"runs/", ".venv/", "*.task", "dist/"} <= set(ignored)
