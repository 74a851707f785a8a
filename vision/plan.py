"""In which order processors are called, from what they need: a pure function."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from vision.config import ProcessorConfig
from vision.errors import ConfigError, one_line
from vision.expectations.vocabulary import Producer
from vision.models import ModelFile
from vision.result import Result

__all__ = ["Step", "models_of", "plan"]


@dataclass(frozen=True, slots=True)
class Step:
    """A processor, and the names of those whose results it gets, in the order of its `needs`."""

    config: ProcessorConfig
    needs: tuple[str, ...]

    def producer(self) -> Producer:
        """As expectations know it."""
        return replace(self.config.producer(), needs=self.needs)


def plan(configs: Sequence[ProcessorConfig]) -> tuple[Step, ...]:
    """Order processors so that each comes after those it needs; else the order of the YAML is kept.

    :raises ConfigError: when nothing (or more than one thing) produces what is needed, or needs go in a circle.
    """
    waiting = [
        Step(config, tuple(_producer(needed, config, configs) for needed in config.processor.needs))
        for config in configs
    ]
    ordered: list[Step] = []
    while waiting:
        done = {step.config.name for step in ordered}
        ready = next((step for step in waiting if done.issuperset(step.needs)), None)
        if ready is None:
            names = ", ".join(step.config.name for step in waiting)
            raise ConfigError(f"processors: {names} need each other in a circle; take one of them out")
        waiting.remove(ready)
        ordered.append(ready)
    return tuple(ordered)


def models_of(steps: Sequence[Step]) -> Iterator[ModelFile]:
    """The model files that these processors read; they are fetched before a run.

    :raises ConfigError: when a processor cannot tell them.
    """
    for step in steps:
        processor, name = step.config.processor, step.config.name
        try:
            files = list(processor.models(step.config.options))
        except Exception as error:  # a processor may be anybody's
            raise ConfigError(f"processor {name}: cannot tell its model files: {one_line(error)}") from error
        if not all(isinstance(file, ModelFile) for file in files):
            raise ConfigError(f"processor {name}: models() must give vision.models.ModelFile, nothing else")
        yield from files


def _producer(needed: type[Result], consumer: ProcessorConfig, configs: Sequence[ProcessorConfig]) -> str:
    producers = [config.name for config in configs if issubclass(config.processor.result_type(), needed)]
    if len(producers) == 1:
        return producers[0]
    if not producers:
        raise ConfigError(
            f"processors: {consumer.name} needs {needed.__name__}, which no processor of this run gives;"
            " `vision list` says which does; add it"
        )
    raise ConfigError(
        f"processors: {consumer.name} needs {needed.__name__}, which {' and '.join(producers)} give; keep one of them"
    )
