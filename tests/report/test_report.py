"""report.html: from whole folders, from what a killed run has left, and from what somebody has put into them."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gzip
import itertools
import json
import os
import random
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.peers.tools import await_that
from tests.report.folders import incident, noise, write_run
from vision.config import load
from vision.errors import ConfigError
from vision.report import plotly
from vision.report.comparison import compared
from vision.report.contents import contents_of
from vision.report.findings import headline
from vision.report.making import write_comparison, write_report
from vision.runner import Outcome, Run

_MOST_BYTES = 8_000_000
_YAML = """
name: short
source: {use: 'tests.troublesome:CountSource', pictures: 120}
processors:
  - {use: frame_quality}
  - {use: 'tests.troublesome:Counting'}
sinks: [{use: jsonl}, {use: report}]
"""


class _Page(HTMLParser):
    """What a browser would make of it: elements, and the text outside of scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._quiet = 0
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._quiet += tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self._quiet -= tag in ("script", "style")

    def handle_data(self, data: str) -> None:
        if not self._quiet:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def _ran(folder: Path, text: str = _YAML) -> Outcome:
    path = folder / "run.yaml"
    path.write_text(text)
    return asyncio.run(Run(load(path), folder / "out").execute())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a real run, with the report that it wrote itself."""
    root = tmp_path_factory.mktemp("run")
    outcome = _ran(root)
    assert (outcome.exit_status, outcome.error) == (0, None)
    return root / "out"


def _report(folder: Path, out: Path | None = None) -> _Page:
    return _Page(write_report(folder, out).read_text(encoding="utf-8"))


def _data(page: str) -> Any:
    found = re.search(r'<script type="application/json" id="timeline-data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def test_a_run_writes_its_own_report_and_it_can_be_made_again(folder: Path, tmp_path: Path) -> None:
    """The sink's page and that of `vision report` are the same, byte for byte."""
    again = write_report(folder, tmp_path / "again.html")
    assert again.read_bytes() == (folder / "report.html").read_bytes()
    assert not list(folder.glob(".*"))


def test_an_interrupted_and_a_lost_run_write_theirs_too(tmp_path: Path) -> None:
    """After Ctrl-C, and where the source fails."""
    (tmp_path / "run.yaml").write_text(_YAML.replace("CountSource', pictures: 120", "EndlessSource'"))
    run = Run(load(tmp_path / "run.yaml"), tmp_path / "stopped")

    async def interrupted() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(run.execute())
            await asyncio.to_thread(await_that, lambda: run.latest, "there is a record")
            run.stop()

    asyncio.run(interrupted())
    assert "Interrupted" in _Page((tmp_path / "stopped" / "report.html").read_text()).text
    _ran(tmp_path, _YAML.replace("CountSource', pictures: 120", "DyingSource'") + "run: {stall_timeout_s: 0.5}\n")
    assert "Source lost" in _Page((tmp_path / "out" / "report.html").read_text()).text


def test_it_tells_what_the_run_was(folder: Path) -> None:
    """Verdict, incidents, metrics with unit, good end and coverage, costs, configuration and versions."""
    page = _report(folder)
    summary = json.loads((folder / "summary.json").read_text())
    for words in ("Incidents found", "No expectations were set", "60 × odd", "Covered", "sharpness", "↑ high", "numpy"):
        assert words in page.text
    assert f"{summary['pictures']}" in page.text
    assert "tests.troublesome:CountSource" in page.text
    rows = [attributes for tag, attributes in page.elements if tag == "th" and attributes.get("scope") == "row"]
    assert len(rows) >= len(summary["metrics"])


def test_it_is_well_formed_and_accessible(folder: Path) -> None:
    """One h1, headings in order, table headers with scope, pictures and regions with names, a language."""
    elements = _report(folder).elements
    headings = [int(tag[1]) for tag, _ in elements if re.fullmatch("h[1-6]", tag)]
    assert headings.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(headings))
    assert all("scope" in attributes for tag, attributes in elements if tag == "th")
    assert all(attributes.get("alt") for tag, attributes in elements if tag == "img")
    assert all(
        attributes.get("aria-label") for _, attributes in elements if attributes.get("role") in ("region", "img")
    )
    assert ("html", {"lang": "en"}) in elements
    ids = [attributes["id"] for _, attributes in elements if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_nothing_is_loaded_from_anywhere(folder: Path) -> None:
    """No address in it but links to the run's own files; the policy allows two scripts, by their hashes."""
    page = _report(folder)
    for _, attributes in page.elements:
        for key in ("src", "href"):
            assert (attributes.get(key) or "#").startswith(("#", "data:", "evidence/"))
    (policy,) = [one["content"] for _, one in page.elements if one.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "http" not in policy


def test_plotly_is_in_it_as_its_package_has_it(folder: Path) -> None:
    """What the page unpacks is plotly's own script, to the byte."""
    found = re.search(r'id="plotly">([A-Za-z0-9+/=]+)<', (folder / "report.html").read_text())
    assert found is not None
    assert gzip.decompress(base64.b64decode(found[1])).decode() == plotly.plotly_source()


@pytest.mark.parametrize(
    "evil", ["</script><script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "<b>bold</b> & 'quoted'"]
)
def test_what_files_say_is_never_markup(tmp_path: Path, evil: str) -> None:
    """Names, kinds, causes, descriptions, reasons and configuration are text, also to the script's data."""
    told = {"description": evil, "unit": evil, "range": [0, 1], "good": evil, "kind": "number", "reads": "picture"}
    verdict = {"name": evil, "that": evil, "level": evil, "verdict": "failed", "value": 1, "unit": evil, "limit": evil}
    summary = {
        "end": {"exit_status": 1},
        "metrics": {f"p.{evil}": {"unit": evil, "coverage": 0.2, "count": 3, "mean": 1}},
        "processors": {evil: {"frames": 1, "errors": 3, "last_error": evil, "quarantined": evil}},
        "verdicts": [verdict | {"reason": evil, "window": evil}],
        "transport": {evil: {evil: evil}},
        "queue": {evil: evil},
        "clock": {"kinds": {evil: {"frames": 1, "error_ms": {}}}},
    }
    bad = incident(
        evil,
        1,
        2,
        cause=evil,
        severity=evil,
        evidence={"metric": evil, evil: 3, "still": evil, "worst": {"metric": evil}},
    )
    folder = write_run(
        tmp_path / "run",
        {f"p.{evil}": lambda i: i % 3},
        seconds=1,
        name=evil,
        incidents=[bad],
        metrics={f"p.{evil}": told},
        summary=summary,
    )
    text = write_report(folder).read_text()
    page = _Page(text)
    assert [tag for tag, _ in page.elements].count("script") == 3
    assert not [tag for tag, _ in page.elements if tag in ("b", "img")]
    assert not [attributes for _, attributes in page.elements if "onerror" in attributes]
    assert " ".join(evil.split()) in page.text
    assert any(evil in name for name in _data(text)["series"])


def test_a_killed_run_has_a_report_of_what_is_there(folder: Path, tmp_path: Path) -> None:
    """Cut off anywhere in frames.jsonl: no summary, half a line at the end; totals come from the records."""
    whole = (folder / "frames.jsonl").read_bytes()
    for number, size in enumerate((len(whole) // 2, len(whole) // 3, 40)):
        left = tmp_path / str(number)
        left.mkdir()
        (left / "run.json").write_bytes((folder / "run.json").read_bytes())
        (left / "frames.jsonl").write_bytes(whole[:size])
        page = _report(left)
        assert "Incomplete" in page.text
        assert "summary.json is missing" in page.text
        assert "the last line of frames.jsonl was cut off" in page.text
        assert contents_of(left).totals["pictures"] == whole[:size].count(b"\n")


def test_the_totals_of_the_records_are_those_of_the_summary(folder: Path, tmp_path: Path) -> None:
    """Without summary.json, every metric's figures come out the same."""
    for name in ("run.json", "frames.jsonl", "incidents.jsonl"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    worked_out = contents_of(tmp_path).totals
    said = json.loads((folder / "summary.json").read_text())
    assert worked_out["metrics"].keys() == said["metrics"].keys()
    for name, figures in said["metrics"].items():
        assert worked_out["metrics"][name] == pytest.approx(figures)
    for key in ("frames", "pictures", "pictures_corrupt", "incidents"):
        assert worked_out[key] == said[key]


@pytest.mark.parametrize("name", ["run.json", "frames.jsonl", "incidents.jsonl", "summary.json"])
@pytest.mark.parametrize(
    "content", [None, b"", b"\xff\xfe", b"[1]\n", b'{"metrics": 5, "config": 7, "verdicts": {}}\n']
)
def test_any_file_may_be_missing_or_spoilt(folder: Path, tmp_path: Path, name: str, content: bytes | None) -> None:
    """What is left is told."""
    for one in ("run.json", "frames.jsonl", "incidents.jsonl", "summary.json"):
        (tmp_path / one).write_bytes((folder / one).read_bytes())
    if content is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_bytes(content)
    assert _report(tmp_path).text


_JUNK: tuple[Any, ...] = (None, True, -1, 1e300, 10**400, "", "<i>", [], [[]], {}, {"": None}, [1, {}], float("nan"))


def _spoilt(data: Any, chance: random.Random) -> Any:
    """The same with something in it that is something else."""
    if chance.random() < 0.03:
        return chance.choice(_JUNK)
    if isinstance(data, dict):
        return {key: _spoilt(value, chance) for key, value in data.items()}
    return [_spoilt(value, chance) for value in data] if isinstance(data, list) else data


@pytest.mark.parametrize("seed", range(40))
def test_no_content_of_the_files_is_an_error(folder: Path, tmp_path: Path, seed: int) -> None:
    """Whatever is what it should not be: there is a report, and a comparison or a line that says why not."""
    chance = random.Random(seed)
    verdict = {"name": "a", "that": "a < 1", "level": "error", "verdict": "failed", "value": 1.0, "coverage": 1.0}
    for name in ("run.json", "summary.json"):
        document = json.loads((folder / name).read_text()) | {"verdicts": [verdict]}
        (tmp_path / name).write_text(json.dumps(_spoilt(document, chance)))
    for name in ("frames.jsonl", "incidents.jsonl"):
        lines = [json.loads(line) for line in (folder / name).read_text().splitlines()[:40]]
        (tmp_path / name).write_text("".join(json.dumps(_spoilt(line, chance)) + "\n" for line in lines))
    assert write_report(tmp_path).stat().st_size > 0
    with contextlib.suppress(ConfigError):
        write_comparison(compared([tmp_path, folder]), tmp_path / "compared.html")


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    """With what is expected; nothing is written."""
    with pytest.raises(ConfigError, match="expected is the folder of a run"):
        write_report(tmp_path)
    with pytest.raises(ConfigError, match="is no folder"):
        write_report(tmp_path / "none")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_ten_minutes_fit_into_eight_megabytes(tmp_path: Path) -> None:
    """18,000 pictures, 60 metrics of noise, 300 incidents; and a spike of one picture is in the plot's data."""
    names = [f"p{i}.noise" for i in range(58)]
    values = {name: noise(1, 1, seed, 0.5) for seed, name in enumerate(names)}
    values |= {
        "frame_quality.sharpness": lambda i: 999.0 if i == 9_999 else 50.0 + i % 5,
        "speech.speaking": lambda i: i % 90 < 40,
    }
    incidents = [incident("black", 2 * i, 2 * i + 0.5) for i in range(300)]
    path = write_report(write_run(tmp_path / "run", values, seconds=600, incidents=incidents))
    assert path.stat().st_size < _MOST_BYTES
    series = _data(path.read_text())["series"]["frame_quality.sharpness"]
    assert max(value for value in series["hi"] if value is not None) == 999
    assert "Long runs are drawn in bins" in _Page(path.read_text()).text


def test_evidence_is_in_the_page_as_far_as_it_fits(tmp_path: Path) -> None:
    """A still with the landmarks of its picture, a clip that fits, a link for one that does not; none from outside."""
    folder = write_run(
        tmp_path / "run",
        {"frame_quality.black": lambda i: 30 <= i < 40},
        incidents=[
            incident("black", 1, 1.3, evidence={"still": "evidence/1.jpg", "clip": "evidence/1.mp4"}),
            incident("black", 3, 4, evidence={"still": "../outside.jpg", "clip": "evidence/2.mp4"}),
        ],
    )
    (folder / "evidence").mkdir()
    still = cv2.imencode(".jpg", np.full((720, 1280, 3), 90, np.uint8))[1].tobytes()
    (folder / "evidence" / "1.jpg").write_bytes(still)
    (tmp_path / "outside.jpg").write_bytes(still)
    (folder / "evidence" / "1.mp4").write_bytes(b"\0" * 1_000)
    (folder / "evidence" / "2.mp4").write_bytes(b"\0" * 5_000_000)
    points = np.array([[[100.0, 200.0, 0.0], [300.5, 400.25, 0.0]]], np.float32)
    arrays = {"face.points_px/00000": points, "face.points_px.time_s/00000": np.array([1.0])}
    np.savez(folder / "arrays.npz", **arrays)  # type: ignore[arg-type]
    page = _report(folder)
    assert [one["src"][:22] for tag, one in page.elements if tag == "img" and one["src"]] == ["data:image/jpeg;base64"]
    assert [one["d"] for tag, one in page.elements if tag == "path"] == ["M100 200h0M300.5 400.2h0"]
    assert [one["src"][:14] for tag, one in page.elements if tag == "video" and one["src"]] == ["data:video/mp4"]
    links = [one["href"] for tag, one in page.elements if tag == "a" and (one["href"] or "").startswith("evidence")]
    assert links == ["evidence/1.jpg", "evidence/1.mp4", "evidence/2.mp4"]
    assert "too large to be put in" in page.text


@pytest.mark.parametrize(
    ("status", "verdicts", "word"),
    [
        (0, [], "Incidents found"),
        (0, [("passed", "error")], "Passed"),
        (1, [("failed", "error"), ("passed", "error")], "Failed"),
        (1, [("not_measured", "error")], "Failed"),
        (0, [("failed", "warning"), ("skipped", "error")], "Passed"),
        (3, [], "Source lost"),
        (2, [], "Output failed"),
        (130, [], "Interrupted"),
        (70, [], "Broken off"),
    ],
)
def test_the_verdict_comes_first(tmp_path: Path, status: int, verdicts: list[tuple[str, str]], word: str) -> None:
    """How the run ended, else its expectations, else its incidents; a warning fails nothing."""
    judged = [{"that": f"x < {i}", "verdict": outcome, "level": level} for i, (outcome, level) in enumerate(verdicts)]
    summary = {"end": {"exit_status": status, "error": None}, "metrics": {}, "verdicts": judged}
    folder = write_run(tmp_path / "run", {}, incidents=[incident("black", 1, 2)], summary=summary)
    assert headline(contents_of(folder)).word == word


def test_not_measured_says_why(tmp_path: Path) -> None:
    """A metric without values is listed, with its processor's trouble; one of few values as well."""
    metrics = {
        "a.x": {"unit": "1", "coverage": 0.0, "count": 0},
        "b.y": {"unit": "1", "coverage": 0.1, "count": 3, "mean": 1},
    }
    tally = {"frames": 0, "errors": 30, "quarantined": "30 failed calls in a row", "last_error": "ValueError: no"}
    summary = {"end": {"exit_status": 0}, "metrics": metrics, "processors": {"a": tally}}
    text = _report(write_run(tmp_path / "run", {}, summary=summary)).text
    assert "a was given up: 30 failed calls in a row" in text
    assert "b gave no value where there was nothing to measure it by" in text


def test_a_report_that_cannot_be_written_is_one_line_and_loses_nothing(tmp_path: Path) -> None:
    """The sink fails at the end: status 2 in the outcome and in the files, which are all there."""
    text = _YAML.replace("{use: report}", "{use: 'tests.troublesome:NoConclusionSink'}")
    outcome = _ran(tmp_path, text)
    assert outcome.exit_status == 2
    assert outcome.error is not None
    assert "cannot be written" in outcome.error
    assert "\n" not in outcome.error
    for name in ("run.json", "summary.json"):
        assert json.loads((tmp_path / "out" / name).read_text())["end"]["exit_status"] == 2
    assert len((tmp_path / "out" / "frames.jsonl").read_text().splitlines()) == 120


def _command(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "vision", *arguments]
    environment = os.environ | {"COLUMNS": "120"}
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)


def test_the_command(folder: Path, tmp_path: Path) -> None:
    """`vision report DIR --out FILE` says where it is; what is no run, or cannot be written, is one line, status 2."""
    done = _command("report", str(folder), "--out", str(tmp_path / "page.html"))
    assert (done.returncode, done.stdout) == (0, f"written: {tmp_path / 'page.html'}\n")
    for arguments in ([str(tmp_path)], [str(folder), "--out", str(tmp_path / "no" / "page.html")]):
        refused = _command("report", *arguments)
        assert refused.returncode == 2
        assert refused.stderr.count("\n") == 1


def test_without_plotly_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the run starts, with the line of the sink."""
    monkeypatch.setattr(plotly, "find_spec", lambda name: None)
    path = tmp_path / "run.yaml"
    path.write_text(_YAML)
    with pytest.raises(ConfigError, match=r"run.yaml:7: sinks\[1\]: .*pip install 'avatar-vision\[report\]'"):
        load(path)
