"""Folders of runs, written by hand, with what is in them known."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["METRICS", "Values", "about", "incident", "noise", "write_run"]

Values = Callable[[int], float | bool | None]
FPS = 30


def about(unit: str, good: str, *, kind: str = "number", reads: str = "picture") -> dict[str, Any]:
    """What run.json says of a metric."""
    return {"description": f"A {unit}", "unit": unit, "range": [None, None], "good": good, "kind": kind, "reads": reads}


METRICS = {
    "frame_quality.sharpness": about("1", "high"),
    "frame_quality.black": about("bool", "false", kind="boolean"),
    "lip_sync.offset_ms": about("ms", "zero", reads="both"),
    "speech.speaking": about("bool", "neither", kind="boolean", reads="sound"),
}


def noise(mean: float, spread: float, seed: int, likeness: float = 0.9) -> Values:
    """Values around a mean, each like the one before (first-order autoregression)."""
    rng, values = np.random.default_rng(seed), [0.0]

    def value(index: int) -> float:
        while len(values) <= index:
            values.append(likeness * values[-1] + math.sqrt(1 - likeness**2) * float(rng.normal()))
        return mean + spread * values[index]

    return value


def incident(kind: str, start_s: float, end_s: float, **more: Any) -> dict[str, Any]:
    """A line of incidents.jsonl."""
    evidence = more.pop("evidence", {"metric": "frame_quality.black", "value": True, "pictures": 3})
    times = {"start_s": start_s, "end_s": end_s}
    return {"kind": kind, "cause": "rendered", **times, "severity": "error", "evidence": evidence} | more


def write_run(
    folder: Path,
    values: Mapping[str, Values],
    *,
    seconds: float = 10,
    name: str = "synthetic",
    incidents: Iterable[Mapping[str, Any]] = (),
    metrics: Mapping[str, Any] | None = None,
    summary: Mapping[str, Any] | None = None,
) -> Path:
    """Write the folder of a run that was killed, or with a summary one that came to its end."""
    folder.mkdir(parents=True)
    known = {name: METRICS.get(name, about("1", "high")) for name in values} if metrics is None else metrics
    run = {"name": name, "started": "2026-01-02T03:04:05.678+00:00", "metrics": known, "versions": {"python": "3"}}
    (folder / "run.json").write_text(json.dumps(run))
    (folder / "incidents.jsonl").write_text("".join(json.dumps(one) + "\n" for one in incidents))
    with (folder / "frames.jsonl").open("w") as file:
        for index in range(round(seconds * FPS)):
            file.write(json.dumps(_record(index, values), separators=(",", ":")) + "\n")
    if summary is not None:
        (folder / "summary.json").write_text(json.dumps(summary))
    return folder


def _record(index: int, values: Mapping[str, Values]) -> dict[str, Any]:
    record: dict[str, Any] = {
        "index": index,
        "time_s": round(index / FPS, 6),
        "arrival_s": round(index / FPS + 1, 6),
        "width": 1280,
        "height": 720,
        "key_frame": index % 30 == 0,
        "corrupt": False,
        "clock": {"kind": "sender_report", "error_ms": 2.5},
        "transport": {"rtp_timestamp": index * 3000, "packets": 7},
        "errors": {},
    }
    for full, value in values.items():
        processor, _, metric = full.partition(".")
        record.setdefault(processor, {})[metric] = value(index)
    return record
