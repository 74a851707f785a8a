"""A run's folder, read: what is there counts, also where the run was killed while it wrote."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vision.errors import ConfigError, one_line
from vision.record import RESERVED, read_lines

__all__ = ["Folder", "Incident", "Row", "every_second", "figure", "mapping", "moment", "open_folder"]

_FARTHEST = 1e100  # as results have it
_LONGEST_S = 1e8  # three years
_GAP_S = 3_600
_FILES = ("run.json", "frames.jsonl", "incidents.jsonl", "summary.json")


@dataclass(frozen=True, slots=True)
class Row:
    """A line of frames.jsonl, as far as it can be used.

    :ivar has_picture: the frame came with a picture.
    :ivar values: what was measured, by the metric's full name; flags are 0 and 1.
    :ivar errors: by processor, why it failed on this frame.
    """

    time_s: float
    has_picture: bool
    corrupt: bool
    clock_kind: str
    clock_error_ms: float | None
    transport: Mapping[str, float]
    values: Mapping[str, float]
    errors: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Incident:
    """A line of incidents.jsonl; what it does not say is empty, or `unknown`.

    :ivar end_s: never before `start_s`.
    """

    kind: str
    cause: str
    start_s: float
    end_s: float
    severity: str
    evidence: Mapping[str, Any]

    @property
    def is_error(self) -> bool:
        """More than a warning."""
        return self.severity == "error"

    @property
    def lasting_s(self) -> float:
        """From its beginning to its end."""
        return self.end_s - self.start_s


@dataclass(slots=True)
class Folder:
    """The files of one run.

    :ivar run: run.json; empty where it is missing.
    :ivar summary: summary.json; `None` where the run did not come to write it.
    :ivar incidents: incidents.jsonl, in the order of their beginnings.
    :ivar notes: what is missing or cannot be read, a line each; it grows as files are read.
    """

    path: Path
    run: Mapping[str, Any]
    summary: Mapping[str, Any] | None
    incidents: tuple[Incident, ...]
    notes: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """That of the run."""
        return str(self.run.get("name") or self.path.resolve().name)

    def rows(self) -> Iterator[Row]:
        """The records, one after the other; what is no record is passed over, and noted."""
        for line in self._lines("frames.jsonl", "what was measured over time is not known"):
            if (row := _row(line)) is not None:
                yield row

    def truth(self) -> Iterator[tuple[float, Mapping[str, Any]]]:
        """What a simulator drew, by time; nothing where there was none."""
        if (self.path / "truth.jsonl").is_file():
            for line in self._lines("truth.jsonl", ""):
                if (time_s := moment(line.get("time_s"))) is not None:
                    yield time_s, line

    def file(self, name: Any) -> Path | None:
        """A file that the run's own files name, where it is there and inside of the folder."""
        if not isinstance(name, str) or not name:
            return None
        try:
            path = (self.path / name).resolve()
            return path if path.is_relative_to(self.path.resolve()) and path.is_file() else None
        except (OSError, ValueError):
            return None

    def _lines(self, name: str, without: str) -> Iterator[dict[str, Any]]:
        yield from _lines(self.path / name, self.notes, without)


def open_folder(path: Path) -> Folder:
    """Read all but the records.

    :raises ConfigError: when it is not the folder of a run.
    """
    if not any((path / name).is_file() for name in _FILES):
        reason = "holds none of them" if path.is_dir() else "is no folder"
        raise ConfigError(f"{path}: {reason}; expected is the folder of a run, with {', '.join(_FILES)}")
    notes: list[str] = []
    run = _document(path / "run.json", notes, "configuration, versions and source are not known") or {}
    summary = _document(path / "summary.json", notes, "the totals below are worked out from the records")
    incidents = list(filter(None, map(_incident, _lines(path / "incidents.jsonl", notes, "incidents are not known"))))
    return Folder(path, run, summary, tuple(sorted(incidents, key=lambda incident: incident.start_s)), notes)


def _incident(line: Mapping[str, Any]) -> Incident | None:
    start_s, end_s = moment(line.get("start_s")), moment(line.get("end_s"))
    if start_s is None:
        return None
    return Incident(
        kind=str(line.get("kind", "incident")),
        cause=str(line.get("cause", "unknown")),
        start_s=start_s,
        end_s=start_s if end_s is None else max(end_s, start_s),
        severity=str(line.get("severity", "")),
        evidence=mapping(line.get("evidence")),
    )


def _document(path: Path, notes: list[str], without: str) -> Mapping[str, Any] | None:
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        notes.append(f"{path.name} is missing: {without}")
        return None
    except (OSError, ValueError, RecursionError) as error:
        notes.append(f"{path.name} cannot be read ({one_line(error)}): {without}")
        return None
    return found if isinstance(found, dict) else None


def _lines(path: Path, notes: list[str], without: str) -> Iterator[dict[str, Any]]:
    """The objects of a file of lines; a line that is none is counted. The last one may have been cut off."""
    spoilt = 0
    try:
        for line in read_lines(path):
            if line.content is not None:
                yield line.content
            elif line.is_whole:
                spoilt += 1
            else:
                notes.append(f"the last line of {path.name} was cut off, and is left out")
    except FileNotFoundError:
        notes.append(f"{path.name} is missing: {without}")
    except OSError as error:
        notes.append(f"{path.name} cannot be read ({one_line(error)}): {without}")
    if spoilt:
        notes.append(f"{spoilt} line{'s' * (spoilt > 1)} of {path.name} cannot be read, and {_are(spoilt)} left out")


def _are(count: int) -> str:
    return "are" if count > 1 else "is"


def _row(line: Mapping[str, Any]) -> Row | None:
    time_s = moment(line.get("time_s"))
    if time_s is None:
        return None
    clock, errors = mapping(line.get("clock")), mapping(line.get("errors"))
    return Row(
        time_s=time_s,
        has_picture=line.get("width") is not None,
        corrupt=bool(line.get("corrupt")),
        clock_kind=str(clock.get("kind", "")),
        clock_error_ms=figure(clock.get("error_ms")),
        transport=dict(_numbers(mapping(line.get("transport")))),
        values=dict(_values(line)),
        errors={name: str(reason) for name, reason in errors.items()},
    )


def _values(line: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for processor, measured in line.items():
        if processor not in RESERVED and isinstance(measured, dict):
            for name, value in _numbers(measured):
                yield f"{processor}.{name}", value


def _numbers(measured: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for name, value in measured.items():
        if (number := figure(value)) is not None:
            yield name, number


def figure(value: Any) -> float | None:
    """A finite number of a file, flags as 0 and 1; `None` for all else."""
    if not isinstance(value, int | float) or not -_FARTHEST <= value <= _FARTHEST:
        return None
    return float(value)


def moment(value: Any) -> float | None:
    """A time of a run, in seconds; `None` for what can be none."""
    time_s = figure(value)
    return time_s if time_s is not None and abs(time_s) <= _LONGEST_S else None


def every_second(seen: Collection[int]) -> Sequence[int]:
    """The seconds of a run, also those in which nothing came; where most are such, a time is wrong: none is added."""
    if not seen:
        return ()
    whole = range(min(seen), max(seen) + 1)
    return whole if len(whole) <= 2 * len(seen) + _GAP_S else sorted(seen)


def mapping(value: Any) -> Mapping[str, Any]:
    """An object of a file; an empty one for all else."""
    return value if isinstance(value, dict) else {}
