"""A run's folder: run.json, incidents.jsonl and summary.json; the sinks and the source add their own files."""

from __future__ import annotations

import contextlib
import errno
import importlib.metadata
import json
import math
import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from vision.config import RunConfig
from vision.errors import ConfigError, OutputError
from vision.incidents import Incident
from vision.redaction import redacted
from vision.result import metrics_of

__all__ = ["RunFolder", "cannot_write", "default_folder", "reason_of"]

_PACKAGES = ("avatar-vision", "aiortc", "av", "mediapipe", "numpy", "opencv-contrib-python")


def default_folder(config: RunConfig) -> Path:
    """`runs/<name>/<UTC time>`, one that does not exist yet."""
    started = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    base = Path("runs") / config.name / started
    candidates = (base if n == 0 else base.with_name(f"{started}-{n}") for n in range(1000))
    return next(folder for folder in candidates if not folder.exists())


class RunFolder:
    """The folder of one run.

    :raises ConfigError: when it already holds something.
    :raises OutputError: when it cannot be made or written.
    """

    def __init__(self, path: Path, config: RunConfig) -> None:
        self.path = path
        self.started = datetime.now(UTC)
        self._run: dict[str, Any] = {
            "name": config.name,
            "started": self.started.isoformat(timespec="milliseconds"),
            "config": config.as_dict(),
            "metrics": _metrics(config),
            "versions": {"python": platform.python_version()} | _versions(),
            "machine": {"system": platform.platform(), "cpus": os.cpu_count()},
        }
        try:
            path.mkdir(parents=True, exist_ok=True)
            if any(path.iterdir()):
                raise ConfigError(f"{path}: already holds files; give --out a folder that is new or empty")
            self._incidents = (path / "incidents.jsonl").open("x", encoding="utf-8", buffering=1)
        except OSError as error:
            raise cannot_write(path, error) from error
        self.write_run({})

    def write_run(self, facts: Mapping[str, Any]) -> None:
        """Write run.json anew, with what is known by now; secrets are hidden."""
        self._run |= redacted(_plain(facts))
        self._write("run.json", self._run)

    def add_incident(self, incident: Incident) -> None:
        """Append a line to incidents.jsonl."""
        try:
            self._incidents.write(json.dumps(incident.as_dict()) + "\n")
        except OSError as error:
            raise cannot_write(self.path / "incidents.jsonl", error) from error

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Write summary.json."""
        self._write("summary.json", summary)

    def close(self) -> None:
        """Close incidents.jsonl."""
        try:
            self._incidents.close()
        except OSError as error:
            raise cannot_write(self.path / "incidents.jsonl", error) from error

    def _write(self, name: str, data: Mapping[str, Any]) -> None:
        self.write_text(name, json.dumps(data, indent=2, allow_nan=False) + "\n")

    def write_text(self, name: str, text: str) -> None:
        """Write a file of the run as a whole."""
        path, partial = self.path / name, self.path / f".{name}.partial"
        try:
            partial.write_text(text, encoding="utf-8")
            partial.replace(path)  # a crash leaves the old file or the new one, never half of one
        except OSError as error:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
            raise cannot_write(path, error) from error


def cannot_write(path: Path, error: OSError) -> OutputError:
    """One line on a file or folder that cannot be written."""
    return OutputError(f"{path}: cannot be written: {reason_of(error)}")


def reason_of(error: OSError) -> str:
    """What the system says, and what to do about it."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return f"{error.strerror or error}; {'free some space, or ' if full else ''}give another --out"


def _plain(data: Any) -> Any:
    """As JSON can hold it: a connector's facts may be anything."""
    if isinstance(data, Mapping):
        return {str(key): _plain(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_plain(item) for item in data]
    if isinstance(data, float):
        return data if math.isfinite(data) else None
    return data if data is None or isinstance(data, bool | int | str) else str(data)


def _metrics(config: RunConfig) -> dict[str, Any]:
    """What the run's metrics mean, so that its folder can be read where its processors are not installed."""
    return {
        f"{processor.name}.{info.name}": {
            "description": info.description,
            "unit": info.unit,
            "range": list(info.range),
            "good": info.good,
            "kind": info.kind,
            "reads": (processor.processor.reads.name or "").lower(),
        }
        for processor in config.processors
        for info in metrics_of(processor.processor.result_type())
        if info.recorded
    }


def _versions() -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = None
    return found
