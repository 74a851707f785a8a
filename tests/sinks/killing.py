"""A run that is killed in the middle."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

__all__ = ["killed_run"]

ROOT = Path(__file__).parent.parent.parent


def killed_run(folder: Path, records: int) -> float:
    """Run `run.yaml` of a folder into `killed` beside it, and `kill -9` it after so many records.

    :returns: the time of the last whole record.
    """
    running = subprocess.Popen(
        [sys.executable, "-m", "vision", "run", "run.yaml", "--out", "killed"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    lines, deadline = folder / "killed" / "frames.jsonl", time.monotonic() + 60
    while not (lines.exists() and lines.read_bytes().count(b"\n") > records) and time.monotonic() < deadline:
        time.sleep(0.05)
    running.kill()
    assert running.wait() == -signal.SIGKILL
    whole_lines = lines.read_text().rpartition("\n")[0].splitlines()
    return float(json.loads(whole_lines[-1])["time_s"])
