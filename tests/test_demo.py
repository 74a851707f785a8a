"""The main job, end to end: `vision run configs/demo.yaml`, over real WebRTC, held against the ground truth."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
Line = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Demo:
    """What the demo printed and left; `records` are those of pictures."""

    done: subprocess.CompletedProcess[str]
    folder: Path
    records: list[Line]
    truth: list[Line]

    def pairs(self) -> list[tuple[Line, Line]]:
        """Each record with the truth of its picture, by media time."""
        drawn = {round(line["time_s"], 3): line for line in self.truth}
        return [(record, drawn[round(record["time_s"], 3)]) for record in self.records]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory, attention_model: Path) -> Demo:
    """One run of the demo's configuration as it is, by the command line."""
    folder = tmp_path_factory.mktemp("demo") / "out"
    command = [sys.executable, "-m", "vision", "run", str(ROOT / "configs" / "demo.yaml"), "--out", str(folder)]
    environment = os.environ | {"COLUMNS": "120"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    records = [line for line in _lines(folder / "frames.jsonl") if line["index"] is not None]
    return Demo(done, folder, records, _lines(folder / "truth.jsonl"))


def _lines(path: Path) -> list[Line]:
    return [json.loads(line) for line in path.read_text().splitlines()]


pytestmark = pytest.mark.slow


def test_it_prints_the_table_and_fills_the_folder(demo: Demo) -> None:
    """The metrics are on standard output, and the folder holds the files of a run."""
    for text in ("frame_quality", "mouth_opening", "incidents: ", "written: "):
        assert text in demo.done.stdout
    names = {path.name for path in demo.folder.iterdir()}
    assert names == {"run.json", "frames.jsonl", "incidents.jsonl", "summary.json", "truth.jsonl", "junit.xml"}


def test_it_goes_over_real_webrtc(demo: Demo) -> None:
    """An ICE pair on this machine was chosen, and RTP packets of both tracks came in."""
    source = json.loads((demo.folder / "run.json").read_text())["source"]
    assert source["ice"]["pair"]["local"].startswith("host ")
    assert source["ice"]["pair"]["remote"].startswith("host 127.0.0.1:")
    assert (source["video"]["codec"], source["audio"]["codec"]) == ("H264", "opus")
    assert source["video"]["packets_received"] > 1000
    assert len({record["transport"]["rtp_timestamp"] for record in demo.records}) == len(demo.records)


def test_every_picture_that_was_sent_is_accounted_for(demo: Demo) -> None:
    """Up to the last one that is recorded: recorded, or dropped by the queue; the network lost none."""
    summary = json.loads((demo.folder / "summary.json").read_text())
    video = summary["transport"]["video"]
    assert video["packets_lost"] == 0
    # half of a picture may have come when the run ended; of others the sum below would be short
    assert video["frames_dropped"] <= 1
    assert video["frames_received"] >= len(demo.records)
    last_s = demo.records[-1]["time_s"]
    sent = [line for line in demo.truth if line["time_s"] <= last_s + 1e-4]
    assert len(sent) == len(demo.records) + summary["queue"]["dropped"]


def test_nearly_every_picture_is_in_the_records(demo: Demo) -> None:
    """At least 97 % of the pictures that were sent in the 20 s of the run, each once and in order."""
    sent = [line for line in demo.truth if line["time_s"] < 20]
    assert len(demo.records) >= 0.97 * len(sent)
    times = [record["time_s"] for record in demo.records]
    assert times == sorted(set(times))
    assert len(demo.pairs()) == len(demo.records)


def test_the_face_is_found_wherever_there_is_one(demo: Demo) -> None:
    """In at least 99 % of the pictures that show it, and in none that is black."""
    shown = [
        record["face_landmarks"]["face_present"] for record, truth in demo.pairs() if "black" not in truth["faults"]
    ]
    hidden = [record["face_landmarks"]["face_present"] for record, truth in demo.pairs() if "black" in truth["faults"]]
    assert np.mean(shown) >= 0.99
    assert not any(hidden)


def _correlation(demo: Demo, metric: str, truth: str) -> float:
    values = [
        (record["face_landmarks"][metric], drawn[truth])
        for record, drawn in demo.pairs()
        if record["face_landmarks"]["face_present"]
    ]
    return float(np.corrcoef(np.array(values).T)[0, 1])


def test_mouth_and_eyes_follow_the_truth(demo: Demo) -> None:
    """Mouth opening correlates with what was drawn at 0.95 or better; eyes close when it blinks."""
    assert _correlation(demo, "mouth_opening", "mouth_opening") >= 0.95
    assert _correlation(demo, "eye_openness", "blink") <= -0.8


def _stretches(flags: Iterable[bool]) -> list[tuple[int, int]]:
    """First and one past the last of every run of true."""
    edges = np.flatnonzero(np.diff([0, *(int(flag) for flag in flags), 0]))
    return [(int(first), int(end)) for first, end in edges.reshape(-1, 2)]


@pytest.mark.parametrize("fault", ["freeze", "black"])
def test_planted_stretches_are_found_and_nothing_else(demo: Demo, fault: str) -> None:
    """Each planted stretch is in the records within two pictures of its start and end, and there is no other."""
    planted = _stretches(fault in truth["faults"] for _, truth in demo.pairs())
    found = _stretches(bool(record["frame_quality"][fault]) for record, _ in demo.pairs())
    assert len(planted) == 1
    np.testing.assert_allclose(found, planted, atol=2)


def test_incidents_are_those_that_were_planted(demo: Demo) -> None:
    """One freeze, one black stretch, the face that is not there meanwhile, one blur; times within two pictures."""
    found = {line["kind"]: line for line in _lines(demo.folder / "incidents.jsonl")}
    assert set(found) == {"freeze", "black", "face_absent", "blur"}
    for kind, start_s, end_s in (("freeze", 5, 7), ("black", 10, 11), ("face_absent", 10, 11), ("blur", 14, 16)):
        assert found[kind]["start_s"] == pytest.approx(start_s, abs=2.1 / 30)
        assert found[kind]["end_s"] == pytest.approx(end_s, abs=2.1 / 30)
        assert found[kind]["cause"] == "rendered"


def test_the_summary_covers_every_metric(demo: Demo) -> None:
    """Counts, coverage and percentiles of each metric; the queue dropped nothing."""
    summary = json.loads((demo.folder / "summary.json").read_text())
    assert summary["end"] == {"reason": "duration reached", "exit_status": 0, "error": None}
    assert summary["metrics"]["frame_quality.luma_mean"]["coverage"] >= 0.97
    assert summary["metrics"]["face_landmarks.mouth_opening"]["coverage"] == pytest.approx(0.95, abs=0.02)
    keys = {"unit", "coverage", "count", "mean", "std", "min", "max", "p5", "p50", "p95", "p99", "last"}
    assert all(set(metric) == keys for metric in summary["metrics"].values())
    for tally in summary["processors"].values():
        assert tally["errors"] == 0
        assert tally["ms"]["p95"] > 0
    assert summary["queue"]["received"] == summary["queue"]["delivered"] + summary["queue"]["dropped"]


def test_nothing_is_left_behind(demo: Demo, running_commands: Callable[[], list[str]]) -> None:
    """No simulator and no worker process is there after the run."""
    assert demo.done.returncode == 0
    assert not [
        command for command in running_commands() if "vision.simulator" in command or "vision.remote" in command
    ]
