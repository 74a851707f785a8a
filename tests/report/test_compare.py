"""Runs side by side: what was planted is found, and what was not is not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tests.report.folders import Values, about, incident, noise, write_run
from vision.errors import ConfigError
from vision.report.blocks import SecondsOfRun
from vision.report.comparison import Comparison, compared
from vision.report.contents import FPS, Metric
from vision.report.differences import differences, incident_differences
from vision.report.making import write_comparison
from vision.report.reading import Folder

_METRICS = 40


def _noise(rng: np.random.Generator, seconds: int, likeness: float) -> SecondsOfRun:
    """A run of metrics that are noise: each second like the one before, mean 1, spread 0.2."""
    values = np.zeros((seconds + 50, _METRICS))
    for i in range(1, len(values)):
        values[i] = likeness * values[i - 1] + np.sqrt(1 - likeness**2) * rng.normal(size=_METRICS)
    names = tuple(f"p.m{i}" for i in range(_METRICS))
    metrics = {name: Metric(name, "", "1", "high", is_flag=False, coverage=1, totals={}) for name in names}
    count = np.column_stack([np.full((seconds, _METRICS), 30.0), np.ones(seconds)])
    total = np.column_stack([30 * (1 + 0.2 * values[50:]), np.full(seconds, 30.0)])
    return SecondsOfRun(Folder(Path(), {}, None, ()), metrics, (*names, FPS), total, count, count)


@pytest.mark.parametrize(("seconds", "likeness"), [(60, 0.0), (60, 0.5), (300, 0.8)])
def test_runs_alike_raise_no_alarm(seconds: int, likeness: float) -> None:
    """Of 20 pairs of runs with 40 metrics, differing by chance alone, at most 3 give any alarm (0.05: 98 in 100)."""
    rng = np.random.default_rng(7)
    alarms = 0
    for _ in range(20):
        found = differences(_noise(rng, seconds, likeness), _noise(rng, seconds, likeness))
        alarms += any(one.judged not in ("same", "unsure") for one in found)
    assert alarms <= 3


def test_a_planted_shift_is_found_and_nothing_else() -> None:
    """A third of the mean, in one metric of forty, of a minute; its interval holds the truth."""
    rng = np.random.default_rng(11)
    for sign, judged in ((1, "better"), (-1, "worse")):
        before, after = _noise(rng, 60, 0.5), _noise(rng, 60, 0.5)
        after.total[:, 5] += sign * 30 / 3
        found = [one for one in differences(before, after) if one.judged not in ("same", "unsure")]
        assert [(one.metric.name, one.judged) for one in found] == [("p.m5", judged)]
        assert found[0].low is not None
        assert found[0].high is not None
        assert found[0].low < sign / 3 < found[0].high


def test_intervals_hold_for_all_metrics_at_once() -> None:
    """In 20 comparisons, the 40 intervals hold all 40 truths in all but 3 at most (0.05: 98 in 100)."""
    rng = np.random.default_rng(3)
    missed = 0
    for _ in range(20):
        found = [one for one in differences(_noise(rng, 120, 0.6), _noise(rng, 120, 0.6)) if not one.is_coverage]
        missed += any(one.low is not None and one.high is not None and not one.low <= 0 <= one.high for one in found)
    assert missed <= 3


def test_what_happened_once_is_told() -> None:
    """Twelve seconds out of all that the baseline did are worse, though the means cannot tell."""
    rng = np.random.default_rng(5)
    before, after = _noise(rng, 60, 0.3), _noise(rng, 60, 0.3)
    after.total[20:32, 3] -= 30 * 2
    (found,) = [one for one in differences(before, after) if one.judged not in ("same", "unsure")]
    assert (found.metric.name, found.judged) == ("p.m3", "worse")
    assert found.stretch is not None
    assert abs(found.stretch.start_s - 20) <= 1
    assert abs(found.stretch.end_s - 32) <= 1


def test_too_short_a_run_cannot_tell() -> None:
    """Five seconds are no evidence, whatever they show."""
    rng = np.random.default_rng(5)
    before, after = _noise(rng, 5, 0.0), _noise(rng, 5, 0.0)
    after.total[:, 3] *= 2
    assert {one.judged for one in differences(before, after)} == {"unsure"}


def _pair(folder: Path) -> Comparison:
    """Two runs of a minute: in the second one the sound is 100 ms later, pictures are blurred, less is measured."""
    before: dict[str, Values] = {
        "frame_quality.sharpness": noise(80, 4, 1),
        "frame_quality.black": lambda _: False,
        "lip_sync.offset_ms": noise(-5, 12, 2, 0.98),
        "speech.speaking": lambda i: i % 150 < 90,
    }
    after = before | {
        "frame_quality.sharpness": noise(20, 2, 3),
        "lip_sync.offset_ms": noise(95, 12, 4, 0.98),
    }
    seen = after["lip_sync.offset_ms"]

    def halved(index: int) -> float | bool | None:
        return seen(index) if index % 10 < 5 else None

    after["lip_sync.offset_ms"] = halved
    first = write_run(folder / "a", before, seconds=60, name="first")
    second = write_run(
        folder / "b", after, seconds=60, name="second", incidents=[incident("blur", i, i + 1) for i in range(0, 60, 4)]
    )
    (comparison,) = compared([first, second])
    return comparison


def test_what_was_planted_is_named_and_nothing_else(tmp_path: Path) -> None:
    """By processor, worst first; a lower coverage of its metric belongs to it; what did not change is not named."""
    comparison = _pair(tmp_path)
    assert comparison.sentence() in (
        "Worse: frame_quality (sharpness), lip_sync (offset_ms), incidents (blur).",
        "Worse: lip_sync (offset_ms), frame_quality (sharpness), incidents (blur).",
    )
    groups = {group.processor: group for group in comparison.groups()}
    assert groups.keys() == {"frame_quality", "lip_sync"}
    offset = groups["lip_sync"].lead
    assert offset.metric.name == "lip_sync.offset_ms"
    assert offset.low is not None
    assert offset.high is not None
    assert offset.low < 100 < offset.high
    assert [one.is_coverage for one in groups["lip_sync"].others] == [True]
    assert groups["frame_quality"].lead.by == pytest.approx(-60, abs=3)


def test_nearer_to_zero_is_better(tmp_path: Path) -> None:
    """An offset from -100 to 10 ms is better, though it is greater; from -100 to 100 it is otherwise."""
    runs = {
        offset: write_run(tmp_path / str(offset), {"lip_sync.offset_ms": noise(offset, 5, abs(offset))}, seconds=40)
        for offset in (-100, 10, 101)
    }
    better, other = compared([runs[-100], runs[10], runs[101]])
    assert [group.judged for group in better.groups()] == ["better"]
    assert [group.judged for group in other.groups()] == ["changed"]


@pytest.mark.parametrize(
    ("before", "after", "judged"),
    [(0, 0, "unsure"), (0, 1, "unsure"), (2, 3, "unsure"), (0, 12, "worse"), (12, 0, "better")],
)
def test_one_incident_more_is_chance_and_twelve_are_not(before: int, after: int, judged: str) -> None:
    """Rates a minute, of runs of a minute."""
    rng = np.random.default_rng(2)
    runs = _noise(rng, 60, 0), _noise(rng, 60, 0)
    for run, count in zip(runs, (before, after), strict=True):
        run.incidents = Counter({"freeze": count})
    (found,) = incident_differences(*runs)
    assert (str(found.judged), found.before) == (judged, before)
    assert found.after_rate == pytest.approx(after)
    assert found.low < after - before < found.high or not before + after


def test_a_run_is_the_same_as_itself(tmp_path: Path) -> None:
    """Nothing is named, and the same again gives the same page, byte for byte."""
    folder = write_run(tmp_path / "a", {"frame_quality.sharpness": noise(80, 1, 1, 0.3)}, seconds=60)
    (comparison,) = compared([folder, folder])
    assert comparison.judged == "same"
    for name in ("x.html", "y.html"):
        write_comparison(compared([folder, folder]), tmp_path / name)
    assert (tmp_path / "x.html").read_bytes() == (tmp_path / "y.html").read_bytes()


def test_what_is_said_once_is_one_observation(tmp_path: Path) -> None:
    """A figure that stays the same all through each run, such as when its first picture came, makes no verdict."""
    metrics = {"stream.first_s": about("s", "low")}
    folders = [
        write_run(tmp_path / str(began), {"stream.first_s": noise(began, 0, 1)}, seconds=30, metrics=metrics)
        for began in (1.1, 4.3)
    ]
    (comparison,) = compared(folders)
    assert [(group.processor, group.judged) for group in comparison.groups()] == [("stream", "changed")]
    assert comparison.sentence() == "Nothing is known to be worse or better; some figures changed."


def test_a_metric_that_one_run_lacks_is_no_alarm(tmp_path: Path) -> None:
    """It cannot be told, and is shown so."""
    sharpness = {"frame_quality.sharpness": noise(80, 1, 1, 0.3)}
    first = write_run(tmp_path / "a", sharpness, seconds=30)
    second = write_run(tmp_path / "b", sharpness | {"lip_sync.offset_ms": lambda _: 5.0}, seconds=30)
    (comparison,) = compared([first, second])
    offset = [one for one in comparison.differences if one.metric.name == "lip_sync.offset_ms"]
    assert {one.judged for one in offset} == {"unsure"}
    assert not list(comparison.groups())


def test_the_page_takes_nothing_for_markup(tmp_path: Path) -> None:
    """Names of runs, metrics and incidents are text; there is no script at all."""
    evil = "<script>alert(1)</script>"
    values = {f"p.{evil}": noise(80, 1, 1)}
    folders = [
        write_run(tmp_path / name, values, seconds=30, name=evil + name, incidents=[incident(evil, 1, 2)])
        for name in "ab"
    ]
    write_comparison(compared(folders), tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_the_command(tmp_path: Path) -> None:
    """The table on the terminal, the page where it is asked for; mistakes are one line and status 2."""
    _pair(tmp_path)
    first, second, out = (str(tmp_path / name) for name in ("a", "b", "page.html"))
    environment = os.environ | {"COLUMNS": "100"}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "vision", "compare", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)

    done = run(first, second, "--out", out)
    assert (done.returncode, done.stderr) == (0, "")
    for words in ("second against first", "WORSE", "lip_sync.offset_ms", "frame_quality.sharpness", f"written: {out}"):
        assert words in done.stdout
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "run.json").write_text(json.dumps({"name": "empty"}))
    for mistake in ([first], [first, str(tmp_path)], [first, str(tmp_path / "c")]):
        refused = run(*mistake)
        assert refused.returncode == 2
        assert refused.stderr.count("\n") == 1


def test_fewer_than_two_runs_are_refused() -> None:
    """With what is expected."""
    with pytest.raises(ConfigError, match="two folders or more"):
        compared([])
