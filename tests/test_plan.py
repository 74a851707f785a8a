"""The order of processors."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest

from tests import troublesome
from vision.config import ProcessorConfig
from vision.errors import ConfigError
from vision.plan import plan
from vision.processor import Options, Processor


def _config(processor: type[Processor[Any]], name: str) -> ProcessorConfig:
    return ProcessorConfig("x:Y", name, processor, Options(), 1, "thread", 1.0, 30)


def test_needs_come_first_in_any_order_of_the_yaml() -> None:
    """A processor comes after the one whose result it needs; independent ones keep their order."""
    configs = [
        _config(troublesome.Doubling, "doubling"),
        _config(troublesome.Counting, "counting"),
        _config(troublesome.Listening, "listening"),
    ]
    for order in permutations(configs):
        steps = plan(order)
        names = [step.config.name for step in steps]
        assert sorted(names) == ["counting", "doubling", "listening"]
        assert names.index("counting") < names.index("doubling")
        assert next(step.needs for step in steps if step.config.name == "doubling") == ("counting",)
    assert [step.config.name for step in plan(configs[1:])] == ["counting", "listening"]


def test_what_nobody_gives_is_an_error() -> None:
    """A missing producer is named, and where to look for one."""
    with pytest.raises(
        ConfigError, match=r"doubling needs Number, which no processor of this run gives; `vision list`"
    ):
        plan([_config(troublesome.Doubling, "doubling")])


def test_two_producers_are_an_error() -> None:
    """Which of two results is meant is not guessed."""
    configs = [_config(troublesome.Counting, "a"), _config(troublesome.Raising, "b")]
    with pytest.raises(ConfigError, match=r"doubling needs Number, which a and b give; keep one"):
        plan([*configs, _config(troublesome.Doubling, "doubling")])


def test_a_circle_is_an_error() -> None:
    """Processors that need each other cannot be ordered."""
    configs = [_config(troublesome.Doubling, "doubling"), _config(troublesome.NeedsTwice, "twice")]
    with pytest.raises(ConfigError, match=r"doubling, twice need each other in a circle"):
        plan(configs)
