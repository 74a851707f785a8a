"""How well `lip_sync` finds planted offsets, a drift and states of the drawn head, through real WebRTC."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from processors.lip_sync import State
from processors.lip_sync.activity import STATE_DELAY_S

__all__ = ["live", "recorded"]

PLANTED_MS = (-200, -120, -80, 80, 120, 200)
_EACH_S, _FIRST_S = 15.0, 15.0
DRIFT_MS_PER_MIN, DRIFT_S, SYNC_S = 20.0, 320, 610
_PROCESSORS = (
    {"use": "face_landmarks"},
    {"use": "speech"},
    {"use": "lip_sync"},
)


def live(folder: Path) -> Iterator[tuple[bool, str]]:
    """The drawn head through real WebRTC."""
    offsets = [
        {"kind": "offset", "start_s": _FIRST_S + 2 * _EACH_S * i, "duration_s": _EACH_S, "offset_ms": ms}
        for i, ms in enumerate(PLANTED_MS)
    ]
    records, _ = _run(folder, "offsets", round(_FIRST_S + 2 * _EACH_S * len(PLANTED_MS) + 10), offsets)
    yield from _offsets_found(records)
    drift = {"kind": "drift", "start_s": 0, "duration_s": DRIFT_S + 10, "ms_per_minute": DRIFT_MS_PER_MIN}
    records, _ = _run(folder, "drift", DRIFT_S, [drift])
    last = [each for each in records if each["lip_sync"]["drift_ms_per_min"] is not None][-1]["lip_sync"]
    found, error = last["drift_ms_per_min"], last["drift_error_ms_per_min"]
    text = f"drift: {found:.1f} +- {error:.1f} ms a minute ({DRIFT_MS_PER_MIN:g})"
    yield abs(found - DRIFT_MS_PER_MIN) <= max(2 * error, 3), text
    records, incidents = _run(folder, "in_sync", SYNC_S, [])
    ours = [each["kind"] for each in incidents if each["evidence"]["metric"].startswith("lip_sync.")]
    yield not ours, f"ten minutes in sync: incidents {ours or 'none'}"
    agreed = _state_agreement(records, folder / "in_sync")
    yield agreed >= 95, f"ten minutes in sync: the state agrees with the truth in {agreed:.1f} % of the frames (95)"


def _run(folder: Path, name: str, seconds: int, faults: list[dict[str, Any]]) -> tuple[list[Any], list[Any]]:
    sys.stderr.write(f"{name}: {seconds} s ...\n")
    source = {"use": "simulator", "seed": 7, "size": [640, 360], "fps": 30, "faults": faults}
    records, incidents = recorded(folder, name, {"source": source, "run": {"duration_s": seconds}})
    missing = [each for each in incidents if each["kind"] == "no_picture"]
    if missing:
        sys.stderr.write(f"{name}: pictures are missing: {json.dumps(missing[:5])}\n")
    return records, incidents


def recorded(folder: Path, name: str, config: dict[str, Any]) -> tuple[list[Any], list[Any]]:
    """The records and incidents of a run."""
    config = {"name": name, "processors": list(_PROCESSORS)} | config
    path, out = folder / f"{name}.yaml", folder / name
    path.write_text(yaml.safe_dump(config | {"sinks": [{"use": "jsonl"}]}))
    command = [sys.executable, "-m", "vision", "run", str(path), "--out", str(out)]
    subprocess.run(command, check=True, capture_output=True)
    return tuple(_lines(out / f"{each}.jsonl") for each in ("frames", "incidents"))  # type: ignore[return-value]


def _lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def _offsets_found(records: list[Any]) -> Iterator[tuple[bool, str]]:
    steps = [each for each in records if each["lip_sync"] and each["lip_sync"]["sync_step"]]
    for i, planted_ms in enumerate(PLANTED_MS):
        start_s = _FIRST_S + 2 * _EACH_S * i
        inside = [
            each["lip_sync"]["offset_ms"]
            for each in records
            if each["lip_sync"]
            and each["lip_sync"]["offset_ms"] is not None
            and start_s + 2 <= each["time_s"] - each["lip_sync"]["age_ms"] / 1000 <= start_s + _EACH_S - 2
        ]
        worst = max((abs(each - planted_ms) for each in inside), default=float("inf"))
        yield worst <= 30, f"{planted_ms:+d} ms: found within {worst:.0f} ms (30), {len(inside)} frames"
        known = [each for each in steps if start_s < each["time_s"] < start_s + _EACH_S]
        if abs(planted_ms) != 120:
            continue
        after_s = known[0]["time_s"] - start_s if known else float("inf")
        off_s = after_s - known[0]["lip_sync"]["step_age_ms"] / 1000 if known else float("inf")
        text = f"step of {planted_ms:+d} ms: reported after {after_s:.1f} s (6), its time off by {off_s:+.2f} s (1)"
        yield after_s <= 6 and abs(off_s) <= 1, text


def _state_agreement(records: list[Any], run: Path) -> float:
    truth = _lines(run / "truth.jsonl")
    times_s, speaking = (np.array([each[name] for each in truth]) for name in ("time_s", "speaking"))
    known = [each for each in records if each["lip_sync"] and each["lip_sync"]["state"] is not None]
    at = np.searchsorted(times_s, [each["time_s"] - STATE_DELAY_S for each in known]).clip(0, len(times_s) - 1)
    says = np.array([each["lip_sync"]["state"] == State.SPEAKING for each in known])
    return 100 * float((says == speaking[at]).mean())
