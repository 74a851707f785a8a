"""The same verdicts from what a run has left in its folder; also from one that was killed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from vision.errors import ConfigError
from vision.expectations.judge import Judge
from vision.expectations.moments import Happening, Moment
from vision.expectations.verdict import Expectation, Verdict
from vision.expectations.vocabulary import Producer
from vision.record import read_lines

__all__ = ["lines_of", "verdicts_of"]


def verdicts_of(folder: Path, expectations: Sequence[Expectation], producers: Iterable[Producer]) -> list[Verdict]:
    """Judge what frames.jsonl and incidents.jsonl of a run's folder hold.

    :param producers: the processors of that run.
    :raises ConfigError: when there is no frames.jsonl, or it cannot be read.
    """
    judge = Judge(expectations, producers)
    for line in lines_of(folder / "frames.jsonl"):
        judge.add(Moment.from_dict(line))
    if (folder / "incidents.jsonl").exists():
        for line in lines_of(folder / "incidents.jsonl"):
            judge.add_incident(Happening.from_dict(line))
    return list(judge.verdicts(_troubles(folder)))


def lines_of(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a JSON Lines file; a last one that was cut off is left out.

    :raises ConfigError: when it cannot be read, or another line is no JSON object.
    """
    try:
        for line in read_lines(path):
            if line.content is not None:
                yield line.content
            elif line.is_whole:
                raise ConfigError(f"{path}:{line.number}: no JSON object")
    except OSError as error:
        told = "a run writes it with the sink jsonl" if path.name == "frames.jsonl" else ""
        raise ConfigError(f"{path}: cannot be read: {error.strerror}{f'; {told}' if told else ''}") from None


def _troubles(folder: Path) -> Mapping[str, str]:
    """What the summary says of processors that failed; a run that was killed has none."""
    try:
        processors = json.loads((folder / "summary.json").read_text(encoding="utf-8"))["processors"]
    except (OSError, ValueError, KeyError):
        return {}
    return {name: f"quarantined: {t['quarantined']}" for name, t in processors.items() if t.get("quarantined")}
