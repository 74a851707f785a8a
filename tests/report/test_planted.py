"""Two runs of the simulator over real WebRTC, one with faults: the comparison names both of them, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.peers.tools import ROOT
from vision.report.comparison import compared

_SECONDS = 30
_YAML = """
name: {name}
source: {{use: simulator, seed: 3, size: [640, 360], fps: 30, {planted}}}
run: {{duration_s: {seconds}, first_picture_timeout_s: 60}}
processors:
  - use: frame_quality
  - use: face_landmarks
  - use: speech
  - {{use: 'processors.lip_sync:LipSyncProcessor', name: lip_sync}}
"""


def _carry_out(folder: Path, name: str, planted: str) -> None:
    path = folder / f"{name}.yaml"
    path.write_text(_YAML.format(name=name, planted=planted, seconds=_SECONDS))
    command = [sys.executable, "-m", "vision", "run", str(path), "--out", str(folder / name)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=_SECONDS + 90, check=False)
    assert done.returncode == 0, done.stderr.decode(errors="replace")


@pytest.mark.slow
@pytest.mark.usefixtures("attention_model")
def test_an_offset_and_a_blur_are_named_and_nothing_else(tmp_path: Path) -> None:
    """100 ms between lips and sound all along, and 14 s of blur; the same performance otherwise."""
    pytest.importorskip("processors.lip_sync", reason="lip_sync is not there")
    planted = "offset_ms: 100, faults: [{kind: blur, start_s: 10, duration_s: 14}]"
    _carry_out(tmp_path, "before", "offset_ms: 0")
    _carry_out(tmp_path, "after", planted)  # not side by side: either wants most of a slow machine
    (comparison,) = compared([tmp_path / "before", tmp_path / "after"])
    groups = {group.processor: group for group in comparison.groups() if group.judged in ("worse", "better")}
    assert groups.keys() == {"frame_quality", "lip_sync"}, comparison.sentence()
    blurred = (groups["frame_quality"].lead, *groups["frame_quality"].others)
    assert "frame_quality.sharpness" in [one.metric.name for one in blurred if one.judged == "worse"]
    offset = groups["lip_sync"].lead
    assert (offset.metric.name, offset.judged) == ("lip_sync.offset_ms", "worse")
    assert offset.by == pytest.approx(100, abs=25)
