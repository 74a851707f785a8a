"""Runs that are killed at any moment, by SIGKILL: what they had measured is there, and makes a report."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.peers.tools import ROOT, await_that
from vision.report.comparison import compared
from vision.report.making import write_report

_KILLS, _AT_ONCE = 20, 4
_LONGEST_S = 1.5
_MAY_LOSE_S = 1.0
_YAML = """
source: {{use: 'tests.troublesome:EndlessSource'}}
processors:
  - {{use: 'tests.report.noting:NotingProcessor', name: noting, file: '{notes}'}}
  - {{use: 'tests.troublesome:Counting', name: counting}}
sinks: [{{use: jsonl}}, {{use: report}}]
"""


def _started(folder: Path) -> subprocess.Popen[bytes]:
    folder.mkdir()
    (folder / "run.yaml").write_text(_YAML.format(notes=folder / "notes.txt"))
    command = [sys.executable, "-m", "vision", "run", str(folder / "run.yaml"), "--out", str(folder / "out")]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _killed(folder: Path, child: subprocess.Popen[bytes], after_s: float) -> float:
    """Kill it so long after its first picture; when that was."""
    await_that(lambda: (folder / "notes.txt").is_file(), "the run has a picture", 60)
    time.sleep(after_s)  # the moment is what is tested
    killed_s = time.monotonic()
    child.send_signal(signal.SIGKILL)
    child.wait(10)
    return killed_s


@pytest.mark.slow
def test_twenty_runs_killed_at_random_moments(tmp_path: Path) -> None:
    """frames.jsonl lacks nothing that was measured a second before; all lines but a cut one parse; reports work."""
    moments = random.Random(4)
    for first in range(0, _KILLS, _AT_ONCE):
        folders = [tmp_path / str(number) for number in range(first, first + _AT_ONCE)]
        children = [_started(folder) for folder in folders]
        try:
            for folder, child in zip(folders, children, strict=True):
                _check(folder, _killed(folder, child, moments.uniform(0, _LONGEST_S)))
        finally:
            for child in children:
                child.kill()
                child.wait()


def _check(folder: Path, killed_s: float) -> None:
    notes = [line.split() for line in (folder / "notes.txt").read_text().splitlines()]
    measured = {int(index) for index, at_s in notes if float(at_s) < killed_s - _MAY_LOSE_S}
    lines = (folder / "out" / "frames.jsonl").read_bytes().splitlines(keepends=True)
    recorded = {json.loads(line)["index"] for line in lines if line.endswith(b"\n")}
    assert measured <= recorded
    assert not (folder / "out" / "summary.json").exists()
    page = write_report(folder / "out").read_text()
    assert "Incomplete" in page
    if recorded:
        compared([folder / "out", folder / "out"])
