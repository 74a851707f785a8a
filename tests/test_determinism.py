"""A recording gives the same records every time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CONFIG = "source: {{use: file, path: '{clip}'}}\nprocessors: [{{use: frame_quality}}, {{use: face_landmarks}}]\n"


@pytest.mark.slow
@pytest.mark.usefixtures("attention_model")
@pytest.mark.parametrize("name", ["vrt_1.mp4", "grid_lbbc2a.mpg"])
def test_records_are_the_same_byte_for_byte_but_for_arrival(media: Path, tmp_path: Path, name: str) -> None:
    """Two runs of the command over a real clip, with all built-in processors, a variable frame rate among them."""
    if not (media / name).exists():
        pytest.skip(f"{name} is not in {media} (VISION_TEST_MEDIA)")
    config = tmp_path / "clip.yaml"
    config.write_text(CONFIG.format(clip=media / name))
    first, second = (_records(config, tmp_path / folder) for folder in ("first", "second"))
    assert len(first) > 50
    assert first == second


def _records(config: Path, folder: Path) -> list[str]:
    command = [sys.executable, "-m", "vision", "run", str(config), "--out", str(folder)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    lines = (folder / "frames.jsonl").read_text().splitlines()
    return [line.replace(f'"arrival_s":{json.loads(line)["arrival_s"]}', "") for line in lines]
