"""Whole runs and what is expected of them: exit statuses, the files, the terminal."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import av
import numpy as np
import pytest
import xmlschema

from vision.config import load
from vision.errors import ConfigError
from vision.recorded import RecordedRun
from vision.runner import Outcome, Run

ROOT = Path(__file__).parent.parent.parent
SCHEMA = xmlschema.XMLSchema(Path(__file__).parent / "junit.xsd")
HERE = "tests.troublesome"


def _yaml(*expect: str, source: str = "CountSource'", processor: str = "Counting'", sink: str = "jsonl") -> str:
    items = "".join(f"\n  - {{{item}}}" for item in expect)
    run = f"source: {{use: '{HERE}:{source}}}\nprocessors: [{{use: '{HERE}:{processor}, name: counting}}]\n"
    return f"{run}sinks: [{{use: '{sink}'}}]\nexpect:{items or ' []'}\n"


def _started(folder: Path, text: str) -> subprocess.Popen[str]:
    (folder / "run.yaml").write_text(text)
    return subprocess.Popen(
        [sys.executable, "-m", "vision", "run", "run.yaml", "--out", "out"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "120"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def _executed(folder: Path, text: str) -> Outcome:
    (folder / "run.yaml").write_text(text)
    return asyncio.run(Run(load(folder / "run.yaml"), folder / "out").execute())


def _verdicts(folder: Path) -> list[tuple[str, str]]:
    return [(verdict.name, verdict.verdict) for verdict in RecordedRun(folder / "out").verdicts]


def _cases(folder: Path) -> dict[str, ElementTree.Element | None]:
    """What is in each test case of a junit.xml, which keeps to the schema."""
    path = folder / "out" / "junit.xml"
    SCHEMA.validate(path)
    suite = ElementTree.parse(path).getroot()[0]
    for outcome, told in [("failure", "failures"), ("error", "errors"), ("skipped", "skipped")]:
        assert len(suite.findall(f"testcase/{outcome}")) == int(suite.attrib[told])
    assert len(suite.findall("testcase")) == int(suite.attrib["tests"])
    return {case.attrib["name"]: case[0] if len(case) else None for case in suite.findall("testcase")}


def test_a_run_that_is_as_expected(tmp_path: Path) -> None:
    """Status 0, a table, verdicts in summary.json, the expectations in run.json, a green junit.xml."""
    running = _started(
        tmp_path, _yaml("that: counting.value.mean == 4.5", "that: incidents(odd).count <= 5, name: few")
    )
    out, err = running.communicate(timeout=60)
    assert running.returncode == 0, err
    assert "passed    counting.value.mean == 4.5     4.5   == 4.5    100.0%" in out
    assert "expectations: 2 met" in out
    (mean, few) = json.loads((tmp_path / "out" / "summary.json").read_text())["verdicts"]
    assert mean == {
        "name": "counting.value.mean == 4.5",
        "that": "counting.value.mean == 4.5",
        "level": "error",
        "verdict": "passed",
        "value": 4.5,
        "unit": "1",
        "limit": "== 4.5",
        "coverage": 1.0,
        "reason": None,
        "window": None,
        "preset": None,
    }
    assert (few["name"], few["value"]) == ("few", 5)
    run = RecordedRun(tmp_path / "out").run
    assert run["config"]["expect"][1]["that"] == "incidents(odd).count <= 5"
    assert _cases(tmp_path) == {"the run": None, "counting.value.mean == 4.5": None, "few": None}


def test_a_failed_expectation_is_status_1(tmp_path: Path) -> None:
    """It is a failure in junit.xml, a warning beside it is none, and the run itself went well."""
    text = _yaml(
        "that: counting.value.max <= 5, name: small",
        "that: counting.value.min >= 5, name: large, level: warning",
        "that: counting.mean_luma.mean > 0 after 3 s, name: late",
    )
    running = _started(tmp_path, text)
    out, err = running.communicate(timeout=60)
    assert running.returncode == 1, err
    assert "vision: " not in err
    assert "FAILED" in out
    assert "warning: failed" in out
    assert "NOT MEASURED" in out
    assert "expectations: 0 met, 2 not met, 1 warnings" in out
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["end"] == {"reason": "all sent", "exit_status": 1, "error": None}
    cases = _cases(tmp_path)
    assert cases["the run"] is None
    assert [(name, found.tag, found.attrib["message"]) for name, found in cases.items() if found is not None] == [
        ("small", "failure", "counting.value.max <= 5: counting.value.max is 9, not <= 5"),
        ("large", "skipped", "warning: counting.value.min >= 5: counting.value.min is 0, not >= 5"),
        (
            "late",
            "failure",
            "counting.mean_luma.mean > 0 after 3 s: the run ended at 0.3 s, before the window began",
        ),
    ]


def test_a_wrong_expectation_is_status_2_before_anything_is_run(tmp_path: Path) -> None:
    """One line with line and column; no folder is made."""
    running = _started(tmp_path, _yaml("that: counting.valu.mean > 3"))
    _, err = running.communicate(timeout=60)
    assert (running.returncode, err.count("\n")) == (2, 1)
    told = (
        "vision: run.yaml:5:21: expect[0].that: counting has no metric 'valu'; did you mean 'value'? it has value, odd,"
    )
    assert err.startswith(told)
    assert not (tmp_path / "out").exists()


def test_a_lost_source_stays_status_3(tmp_path: Path) -> None:
    """Whatever was expected; junit.xml says that the run erred."""
    running = _started(tmp_path, _yaml("that: counting.value.max <= 5", source="CountSource', fail: gone"))
    out, err = running.communicate(timeout=60)
    assert running.returncode == 3, err
    assert "FAILED" in out
    error = _cases(tmp_path)["the run"]
    assert error is not None
    assert (error.tag, error.attrib["type"]) == ("error", "failed")
    assert error.attrib["message"].endswith("failed: RuntimeError: gone")


def test_an_interrupted_run_stays_status_130(tmp_path: Path) -> None:
    """What was recorded until then is judged."""
    running = _started(tmp_path, _yaml("that: counting.value.max < 0", source="EndlessSource'"))
    frames, deadline = tmp_path / "out" / "frames.jsonl", time.monotonic() + 30
    while not (frames.exists() and frames.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(running.pid, signal.SIGINT)
    _, err = running.communicate(timeout=30)
    assert running.returncode == 130, err
    assert _verdicts(tmp_path) == [("counting.value.max < 0", "failed")]
    error = _cases(tmp_path)["the run"]
    assert error is not None
    assert error.attrib["message"] == "interrupted"


def test_a_failed_output_stays_status_2(tmp_path: Path) -> None:
    """A sink that fails is worse than an expectation that is not met."""
    text = _yaml("that: counting.value.max < 0", sink=f"{HERE}:FullSink")
    assert _executed(tmp_path, text).exit_status == 2


def test_without_expectations_there_is_no_junit(tmp_path: Path) -> None:
    """A file that says nothing is not written."""
    assert _executed(tmp_path, _yaml()).exit_status == 0
    assert not (tmp_path / "out" / "junit.xml").exists()
    assert RecordedRun(tmp_path / "out").verdicts == []


def test_a_processor_in_quarantine_is_not_measured(tmp_path: Path) -> None:
    """Its trouble is the reason, here and in the verdicts of the folder."""
    text = _yaml("that: counting.value.max <= 5", processor="Raising', at: 2, quarantine_after: 3")
    outcome = _executed(tmp_path, text)
    (verdict,) = outcome.summary["verdicts"]
    assert (outcome.exit_status, verdict["verdict"], verdict["coverage"]) == (1, "not_measured", 0.2)
    told = (
        "counting.value was measured in 20 % of what was due, min_coverage is 50%; counting: quarantined: 3 failed"
        " calls in a row, the last: ValueError: of no use"
    )
    assert verdict["reason"] == told
    (again,) = RecordedRun(tmp_path / "out").judge("counting.value.max <= 5")
    assert (again.verdict, again.reason) == ("not_measured", told)


def test_the_folder_is_judged_as_the_run_was(tmp_path: Path) -> None:
    """Values, coverage and reasons are the same, also after a crash that left no summary."""
    thats = [
        "counting.value.p50 < 3",
        "counting.value.coverage == 1",
        "incidents(odd).count == 4 before 0.3 s",
        "counting.odd.duration < 1 ms",
        "doubling.value.mean > 3",
    ]
    text = _yaml(*(f"that: '{that}'" for that in thats))
    _executed(tmp_path, text.replace("processors: [", f"processors: [{{use: '{HERE}:Doubling', every: 3}}, "))
    recorded = RecordedRun(tmp_path / "out")
    assert recorded.judge(*thats) == recorded.verdicts
    (tmp_path / "out" / "summary.json").unlink()
    assert [verdict.verdict for verdict in recorded.judge(*thats)] == ["failed", "passed", "passed", "failed", "passed"]


def test_coverage_is_that_of_the_summary(tmp_path: Path) -> None:
    """One run has one coverage, whoever tells it: here of a processor that fails once."""
    text = _yaml("that: counting.value.coverage == 1", processor="RaisingOnce', at: 4")
    summary = _executed(tmp_path, text).summary
    assert summary["verdicts"][0]["value"] == summary["metrics"]["counting.value"]["coverage"] == 0.9


def test_names_may_hold_anything(tmp_path: Path) -> None:
    """Markup and control characters of names and errors leave the XML whole."""
    name, fail = json.dumps('<a>&amp; ]]> \x01 "quoted"'), json.dumps("\x02<b>")
    text = _yaml(f"that: counting.value.max < 0, name: {name}", source=f"CountSource', fail: {fail}")
    _executed(tmp_path, text)
    assert set(_cases(tmp_path)) == {"the run", '<a>&amp; ]]> \ufffd "quoted"'}


def test_check_shows_what_is_expected(tmp_path: Path) -> None:
    """Names, limits, levels, and what a preset leaves out."""
    (tmp_path / "run.yaml").write_text(
        "source: {use: file, path: clip.mp4}\nprocessors: [{use: frame_quality}]\n"
        "expect:\n  - preset: live-avatar\n  - {that: frame_quality.sharpness.p5 >= 10, level: warning}\n"
    )
    command = [sys.executable, "-m", "vision", "check", "run.yaml"]
    environment = os.environ | {"COLUMNS": "160"}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "│ no-freeze     │ incidents(freeze).count == 0" in done.stdout
    assert "frame_quality.sharpness.p5 >= 10" in done.stdout
    left_out = done.stdout.partition("left out, since this run does not measure it: ")[2]
    assert "face-there" in left_out
    assert "no-freeze" not in left_out


def test_reading_a_folder_that_is_none(tmp_path: Path) -> None:
    """One line that names the file."""
    recorded = RecordedRun(tmp_path)
    with pytest.raises(ConfigError, match=r"run.json: cannot be read: No such file or directory"):
        recorded.judge("a.b.mean > 3")
    (tmp_path / "summary.json").write_text("{")
    with pytest.raises(ConfigError, match=r"summary.json: no JSON"):
        _ = recorded.summary


def test_values_of_a_metric(tmp_path: Path) -> None:
    """Those of each frame, in order; `None` where it was not measured."""
    _executed(tmp_path, _yaml(processor="Counting', every: 4"))
    values: list[Any] = RecordedRun(tmp_path / "out").values("counting.value")
    assert values == [0, None, None, None, 4, None, None, None, 8, None]


def test_a_recording_is_judged(tmp_path: Path) -> None:
    """Two seconds of moving noise with one that stands still in between: one freeze, of just that length."""
    rng = np.random.default_rng(1)
    images = [rng.integers(0, 255, (96, 160, 3), np.uint8) for _ in range(50)]
    with av.open(str(tmp_path / "clip.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        for image in [*images[:25], *[images[24]] * 25, *images[25:]]:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    running = _started(
        tmp_path,
        "source: {use: file, path: clip.mp4}\nprocessors: [{use: frame_quality}]\nexpect:\n"
        "  - {preset: broadcast, level: warning}\n"
        "  - {that: 0.9 s <= incidents(freeze).longest <= 1.1 s, name: length}\n"
        "  - {that: incidents(freeze).count == 0 before 0.9 s, name: before}\n"
        "  - {that: frame_quality.freeze.share <= 10 %, name: share}\n",
    )
    _, err = running.communicate(timeout=60)
    assert running.returncode == 1, err
    verdicts = {verdict.name: verdict for verdict in RecordedRun(tmp_path / "out").verdicts}
    names = ("no-gap", "no-freeze", "no-black", "length", "before", "share")
    found = [verdicts[name].verdict for name in names]
    assert found == ["passed", "failed", "passed", "passed", "passed", "failed"]
    assert verdicts["share"].value == pytest.approx(25 / 74, abs=0.02)


def test_a_killed_run_can_be_judged(tmp_path: Path) -> None:
    """SIGKILL leaves no summary; what is on disk is judged all the same."""
    running = _started(tmp_path, _yaml("that: counting.value.max > 1e6", source="EndlessSource'"))
    frames, deadline = tmp_path / "out" / "frames.jsonl", time.monotonic() + 60
    while not (frames.exists() and frames.stat().st_size > 10_000) and time.monotonic() < deadline:
        time.sleep(0.02)
    running.send_signal(signal.SIGKILL)
    running.communicate(timeout=30)
    recorded = RecordedRun(tmp_path / "out")
    with pytest.raises(ConfigError, match=r"summary.json: cannot be read: No such file"):
        _ = recorded.verdicts
    last = len(recorded.records) - 1
    found = recorded.judge("counting.value.min == 0", f"counting.value.max == {last}", "incidents(odd).count > 3")
    assert [verdict.verdict for verdict in found] == ["passed"] * 3
