"""Runs side by side: what got worse, what got better, and what cannot be told; the first run is the baseline."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from vision.errors import ConfigError
from vision.report.blocks import SecondsOfRun, seconds_of
from vision.report.contents import FPS
from vision.report.differences import Difference, IncidentDifference, Judged, differences, incident_differences
from vision.report.words import count_of

__all__ = ["Comparison", "Group", "compared", "labels"]

_STREAM = "pictures"
_ORDER: tuple[Judged, ...] = ("worse", "better", "changed", "unsure", "same")


@dataclass(frozen=True, slots=True)
class Group:
    """What changed of one processor: metrics of one cause move together, and are one finding.

    :ivar lead: the metric that changed most.
    """

    processor: str
    judged: Judged
    lead: Difference
    others: tuple[Difference, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """One run against the baseline."""

    before: SecondsOfRun
    after: SecondsOfRun
    differences: tuple[Difference, ...]
    incidents: tuple[IncidentDifference, ...]

    def groups(self) -> Iterator[Group]:
        """What changed, by processor; what got worse comes first."""
        by_processor: dict[str, list[Difference]] = {}
        for one in self.differences:
            if one.judged in ("worse", "better", "changed"):
                name = _STREAM if one.metric.name == FPS else one.metric.processor
                by_processor.setdefault(name, []).append(one)
        groups = []
        for processor, found in by_processor.items():
            found.sort(key=lambda one: (_ORDER.index(one.judged), one.is_coverage, -one.strength))
            groups.append(Group(processor, found[0].judged, found[0], tuple(found[1:])))
        yield from sorted(groups, key=lambda group: (_ORDER.index(group.judged), -group.lead.strength))

    @property
    def judged(self) -> Judged:
        """In a word: worse wherever something got worse; unsure where too little was measured to tell."""
        found = {group.judged for group in self.groups()} | {one.judged for one in self.incidents}
        if (told := next((word for word in ("worse", "better", "changed") if word in found), None)) is not None:
            return told
        return "same" if any(one.high is not None for one in self.differences) else "unsure"

    def sentence(self) -> str:
        """The verdict in plain words."""
        groups = list(self.groups())
        worse = [_named(group) for group in groups if group.judged == "worse"]
        worse += [f"incidents ({one.kind.replace('_', ' ')})" for one in self.incidents if one.judged == "worse"]
        better = [_named(group) for group in groups if group.judged == "better"]
        better += [
            f"fewer incidents ({one.kind.replace('_', ' ')})" for one in self.incidents if one.judged == "better"
        ]
        told = "; ".join(
            f"{word}: {', '.join(names)}" for names, word in ((worse, "worse"), (better, "better")) if names
        )
        if told:
            return f"{told[0].upper()}{told[1:]}."
        if self.judged == "changed":
            return "Nothing is known to be worse or better; some figures changed."
        if self.judged == "unsure":
            return "These runs are too short to be told apart."
        return f"No difference that matters in {count_of(len(self.differences) // 2, 'metric')}."


def _named(group: Group) -> str:
    name = group.lead.metric.field or group.lead.metric.name
    return f"{group.processor} ({name})" if not group.lead.is_coverage else f"{group.processor} (coverage of {name})"


def compared(folders: Sequence[Path]) -> list[Comparison]:
    """Compare runs with the first one of them.

    :raises ConfigError: when they are fewer than two, or one is no run, or has no records.
    """
    if len(folders) < 2:
        raise ConfigError("compare takes two folders or more: the baseline first, then what is compared with it")
    runs = [seconds_of(folder) for folder in folders]
    for run in runs:
        if not len(run.total):
            raise ConfigError(f"{run.folder.path}: has no records in frames.jsonl; nothing can be compared")
    return [_comparison(runs[0], run) for run in runs[1:]]


def _comparison(before: SecondsOfRun, after: SecondsOfRun) -> Comparison:
    return Comparison(before, after, tuple(differences(before, after)), tuple(incident_differences(before, after)))


def labels(runs: Sequence[SecondsOfRun]) -> list[str]:
    """The runs' names, or where those do not tell them apart, their folders."""
    names = [run.folder.name for run in runs]
    return names if len(set(names)) == len(names) else [str(run.folder.path) for run in runs]
