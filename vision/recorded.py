"""A run as it lies in its folder: what was recorded, what came of it, and what else may be asked of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vision import registry
from vision.errors import ConfigError
from vision.expectations.items import of_text
from vision.expectations.replay import lines_of, verdicts_of
from vision.expectations.syntax import ExpectationError
from vision.expectations.verdict import Expectation, Verdict
from vision.expectations.vocabulary import Producer, Vocabulary

__all__ = ["RecordedRun"]


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """A run's folder, also one that a crash has left. Files are read when they are asked for."""

    folder: Path

    @property
    def run(self) -> dict[str, Any]:
        """The content of run.json: configuration, versions, facts of the source.

        :raises ConfigError: when there is none, as for all that follows.
        """
        return self._json("run.json")

    @property
    def summary(self) -> dict[str, Any]:
        """The content of summary.json, which a run that was killed does not have."""
        return self._json("summary.json")

    @property
    def exit_status(self) -> int:
        """0 done, 1 an expectation of level error was not met, 2, 3 and 130 as of the command line."""
        return int(self.summary["end"]["exit_status"])

    @property
    def error(self) -> str | None:
        """What went wrong with the run itself, one line."""
        said: str | None = self.summary["end"]["error"]
        return said

    @property
    def records(self) -> list[dict[str, Any]]:
        """The lines of frames.jsonl, one a frame."""
        return list(lines_of(self.folder / "frames.jsonl"))

    @property
    def incidents(self) -> list[dict[str, Any]]:
        """The lines of incidents.jsonl."""
        return list(lines_of(self.folder / "incidents.jsonl"))

    @property
    def verdicts(self) -> list[Verdict]:
        """Those of the run's own expectations."""
        return [Verdict.from_dict(verdict) for verdict in self.summary["verdicts"]]

    def values(self, metric: str) -> list[float | bool | None]:
        """A metric, such as `frame_quality.sharpness`, of each frame; `None` where it was not measured."""
        processor, _, name = metric.partition(".")
        return [(record.get(processor) or {}).get(name) for record in self.records]

    def judge(self, *expectations: str, min_coverage: float = 0.5) -> list[Verdict]:
        """Hold further expectations against what was recorded.

        :raises ConfigError: when one of them is none, or of something that the run does not measure.
        """
        producers = list(self._producers())
        vocabulary = Vocabulary(producers)
        made = [_expectation(that, vocabulary, min_coverage) for that in expectations]
        return verdicts_of(self.folder, made, producers)

    def _producers(self) -> Iterator[Producer]:
        configs = self.run["config"]["processors"]
        classes = {config["name"]: registry.processor(config["use"]) for config in configs}
        for config in configs:
            processor = classes[config["name"]]
            needs = tuple(name for name, each in classes.items() if issubclass(each.result_type(), processor.needs))
            yield replace(Producer.of(processor, config["name"], config["every"]), needs=needs)

    def _json(self, name: str) -> dict[str, Any]:
        path = self.folder / name
        try:
            found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
        except ValueError:
            raise ConfigError(f"{path}: no JSON") from None
        return found


def _expectation(that: str, vocabulary: Vocabulary, min_coverage: float) -> Expectation:
    try:
        return of_text(that, vocabulary, min_coverage)
    except ExpectationError as error:
        raise ConfigError(f"'{that}': column {error.at + 1}: {error}") from None
