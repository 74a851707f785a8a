"""Expressions and their verdicts on a run whose every value is known."""

from __future__ import annotations

import dataclasses
import functools
import json
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.expectations.series import FPS, PRODUCERS, VOCABULARY, judged, moments, verdict
from vision.errors import ConfigError
from vision.expectations.items import of_text
from vision.expectations.judge import Judge
from vision.expectations.moments import Happening, Moment
from vision.expectations.replay import verdicts_of
from vision.expectations.verdict import Expectation

PASSED, FAILED, NOT_MEASURED = "passed", "failed", "not_measured"

# expression, verdict, what was compared
EXPRESSIONS: list[tuple[str, str, float | bool | None]] = [
    # statistics of numbers
    ("picture.luma.mean == 0.495", PASSED, 0.495),
    ("picture.luma.min == 0", PASSED, 0.0),
    ("picture.luma.max < 0.99", FAILED, 0.99),
    ("picture.luma.max <= 99 %", PASSED, 0.99),
    ("picture.luma.std < 0.289", PASSED, 0.288661),
    ("picture.luma.p50 == 0.495", PASSED, 0.495),
    ("picture.luma.p5 >= 0.05", FAILED, 0.0495),
    ("picture.luma.p95 < 95 %", PASSED, 0.9405),
    ("picture.luma.p99 < 0.9802", PASSED, 0.9801),
    ("picture.luma.p1 < 0.01", PASSED, 0.0099),
    ("picture.luma.p37 < 0.37", PASSED, 0.3663),
    ("picture.luma.last == 0.99", PASSED, 0.99),
    ("picture.luma.count == 100", PASSED, 100.0),
    ("picture.luma.coverage == 100 %", FAILED, 0.980392),  # two pictures never came
    ("picture.luma.duration == 9.9 s", PASSED, 9.9),
    ("picture.sharpness.p5 >= 10", FAILED, 0.0),
    ("picture.sharpness.p50 >= 10", PASSED, 20.0),
    ("picture.sharpness.min >= 10 before 9 s", PASSED, 20.0),
    # what is there now and then
    ("picture.blink_ms.count == 4", PASSED, 4.0),
    ("picture.blink_ms.rate > 24 /min", PASSED, 24.242424),
    ("picture.blink_ms.rate > 0.4 Hz", PASSED, 24.242424),
    ("picture.blink_ms.p50 < 300 ms", NOT_MEASURED, None),
    # units
    ("lips.offset_ms.max <= 0.12 s", PASSED, 120.0),
    ("lips.offset_ms.max <= 80", FAILED, 120.0),
    ("abs(lips.offset_ms).p95 <= 80 ms", FAILED, 120.0),
    ("abs(lips.offset_ms).p50 <= 80 ms", PASSED, 40.0),
    ("abs(picture.yaw_deg).p95 <= 48 deg", PASSED, 47.05),
    ("abs(picture.yaw_deg.min) == 50", PASSED, 50.0),
    ("voice.level_dbfs.max >= -20 dB", PASSED, -20.0),
    ("voice.level_dbfs.max >= -20 dBFS", PASSED, -20.0),
    ("-3 >= voice.level_dbfs.max", PASSED, -20.0),
    ("clock.error_ms.p95 < 5 ms", PASSED, 2.0),
    ("thinned.value.coverage == 1 ", FAILED, 0.980392),
    ("thinned.value.count == 20", PASSED, 20.0),
    # chains, logic, arithmetic
    ("-45 ms <= lips.offset_ms.p50 <= 125 ms", PASSED, 40.0),
    ("-45 ms <= lips.offset_ms.max <= 100 ms", FAILED, 120.0),
    ("0 < picture.luma.min < 1", FAILED, 0.0),
    ("picture.luma.max > 0.9 and picture.sharpness.max < 10", FAILED, 20.0),
    ("picture.luma.max > 0.9 or picture.sharpness.max < 10", PASSED, 0.99),
    ("not picture.luma.max > 0.9", FAILED, 0.99),
    ("not (picture.luma.max > 0.995 or picture.luma.min > 0)", PASSED, 0.99),
    ("picture.luma.max - picture.luma.min > 0.98", PASSED, 0.99),
    ("picture.luma.max + 1 % <= 100 %", PASSED, 1.0),
    ("lips.offset_ms.max - lips.offset_ms.min <= 0.1 s", PASSED, 80.0),
    ("lips.offset_ms.max / lips.offset_ms.min == 3", PASSED, 3.0),
    ("picture.sharpness.max * 50 % == 10", PASSED, 10.0),
    ("2 * picture.sharpness.max == 40", PASSED, 40.0),
    ("50 % * picture.luma.max == 0.495", PASSED, 0.495),
    ("50 % / picture.luma.max > 0.5", PASSED, 0.505051),
    ("picture.luma.max / 10 % > 9", PASSED, 9.9),
    ("picture.sharpness.min / picture.sharpness.max >= 30 %", FAILED, 0.0),
    ("lips.offset_ms.min / lips.offset_ms.max <= 34 %", PASSED, 0.333333),
    ("picture.luma.duration / incidents(freeze).duration > 4.9", PASSED, 4.95),
    ("picture.sharpness.max / picture.luma.min > 3", NOT_MEASURED, None),
    ("picture.luma.max > picture.luma.mean", PASSED, 0.99),
    # flags
    ("picture.freeze.share == 20 %", PASSED, 0.2),
    ("picture.freeze.count <= 19", FAILED, 20.0),
    ("picture.freeze.duration == 2 s", PASSED, 2.0),
    ("picture.freeze.rate < 122 /min", PASSED, 121.212121),
    ("not picture.freeze.last", PASSED, None),
    ("picture.freeze.last", FAILED, None),
    ("speaking.share >= 50 %", PASSED, 0.5),
    ("(picture.yaw_deg > 39).share == 10 %", PASSED, 0.1),
    ("(picture.yaw_deg > 39 and not picture.freeze).duration < 0.95 s", PASSED, 0.9),
    ("(picture.yaw_deg + 10 deg).max == 59 deg", PASSED, 59.0),
    ("(abs(picture.yaw_deg) < 10 or picture.freeze).count == 20", PASSED, 20.0),
    # incidents
    ("incidents(freeze).count == 0", FAILED, 1.0),
    ("incidents(freeze).duration <= 2 s", PASSED, 2.0),
    ("incidents(freeze).longest < 2 s", FAILED, 2.0),
    ("incidents(freeze).rate <= 6.1 /min", PASSED, 6.060606),
    ("incidents(freeze).share <= 20 %", FAILED, 0.20202),
    ("incidents(no_picture).count == 2", PASSED, 2.0),
    ("incidents(no_picture, cause=network).count == 1", PASSED, 1.0),
    ("incidents(no_picture, cause=network, cause=sender).count == 2", PASSED, 2.0),
    ("incidents(no_picture, severity=error).longest <= 0.6 s", PASSED, 0.6),
    ("incidents(cause=sender).count == 2", PASSED, 2.0),
    ("incidents(freeze, clock_slip).count == 2", PASSED, 2.0),
    ("incidents().count == 4", PASSED, 4.0),
    # windows
    ("picture.luma.mean == 0.145 between 1 s and 2 s", PASSED, 0.145),
    ("picture.luma.min == 0.5 after 5 s", PASSED, 0.5),
    ("picture.luma.max < 0.5 before 5000 ms", PASSED, 0.49),
    ("picture.luma.count == 10 between 1 s and 2 s", PASSED, 10.0),
    ("picture.luma.count == 50 while speaking", PASSED, 50.0),
    ("picture.luma.min == 0.2 while voice.speaking", PASSED, 0.2),
    ("picture.luma.count == 30 while speaking and not picture.freeze", PASSED, 30.0),
    ("picture.luma.count == 10 while speaking before 3 s", PASSED, 10.0),
    ("picture.luma.count == 25 while picture.yaw_deg >= 25", PASSED, 25.0),
    ("lips.offset_ms.p95 == 40 ms while speaking", PASSED, 40.0),
    ("lips.offset_ms.coverage == 100 % while speaking", PASSED, 1.0),
    ("picture.freeze.share == 40 % while speaking", PASSED, 0.4),
    ("incidents(freeze).duration == 1 s between 5 s and 30 s", NOT_MEASURED, None),
    ("incidents(freeze).duration == 1 s between 5 s and 9 s", PASSED, 1.0),
    ("incidents(freeze).count == 0 after 6 s", PASSED, 0.0),
    ("incidents(freeze).count == 0 while not speaking", PASSED, 0.0),
    ("incidents(freeze).duration == 2 s while speaking", PASSED, 2.0),
    ("incidents(clock_slip).count == 1 while speaking", PASSED, 1.0),
    ("incidents(clock_slip).count == 0 after 3.1 s", PASSED, 0.0),
    ("picture.luma.mean > 0 after 20 s", NOT_MEASURED, None),
    ("picture.luma.mean > 0 while lips.offset_ms > 200", NOT_MEASURED, None),
    # not measured is never passed, and decides nothing that is decided already
    ("lips.drift_ms_per_min.last <= 3 ms/min", NOT_MEASURED, None),
    ("not lips.drift_ms_per_min.last <= 3 ms/min", NOT_MEASURED, None),
    ("lips.drift_ms_per_min.last <= 3 and picture.luma.max > 0.5", NOT_MEASURED, None),
    ("lips.drift_ms_per_min.last <= 3 and picture.luma.max < 0.5", FAILED, 0.99),
    ("lips.drift_ms_per_min.last <= 3 or picture.luma.max > 0.5", PASSED, 0.99),
    ("picture.luma.p95 > 0 between 1 s and 2 s", NOT_MEASURED, None),
    ("picture.luma.p90 > 0 between 1 s and 2 s", PASSED, 0.181),
]


@pytest.mark.parametrize(("that", "expected", "value"), EXPRESSIONS, ids=[that for that, _, _ in EXPRESSIONS])
def test_an_expression_and_its_verdict(that: str, expected: str, value: float | None) -> None:
    """Known values in, the verdict and the value that made it out."""
    found = verdict(that)
    assert (found.verdict, found.value) == (expected, None if value is None else pytest.approx(value, abs=1e-6))
    assert (found.reason is None) == (expected == PASSED)
    assert found.reason is None or "\n" not in found.reason


def test_what_a_verdict_says() -> None:
    """Value, unit, limit, coverage, window and reason, of the comparison that decided."""
    found = verdict(
        "picture.luma.max > 0.5 and 10 ms <= abs(lips.offset_ms).max <= 0.1 s while speaking or not speaking"
    )
    assert found.window == "while speaking or not speaking"
    assert (found.value, found.unit, found.limit) == (120.0, "ms", "<= 0.1 s")
    assert found.reason == "abs(lips.offset_ms).max is 120 ms, not <= 0.1 s"
    assert found.coverage == pytest.approx(0.7)
    assert json.loads(json.dumps(found.as_dict()))["verdict"] == "failed"


REASONS: list[tuple[str, float, str]] = [
    (
        "lips.offset_ms.p95 < 80",
        0.9,
        "lips.offset_ms was measured in 70 % of what was due, min_coverage is 90%; lips: quarantined: it died",
    ),
    ("picture.luma.p99 > 0 between 1 s and 2 s", 0.5, "picture.luma has 10 values, and p99 needs 100"),
    ("picture.luma.mean > 0 after 12 s", 0.5, "the run ended at 9.9 s, before the window began"),
    (
        "picture.luma.mean > 0 between 5 s and 25 s",
        0.5,
        "picture.luma was measured in 25 % of what was due, min_coverage is 50%; the run ended at 9.9 s, within the",
    ),
    ("picture.luma.mean > 0 while lips.offset_ms > 200", 0.5, "nothing was recorded while lips.offset_ms > 200"),
    ("1 / picture.luma.min > 0", 0.5, "cannot be calculated: a division by zero"),
]


@pytest.mark.parametrize(("that", "min_coverage", "reason"), REASONS)
def test_why_something_was_not_measured(that: str, min_coverage: float, reason: str) -> None:
    """The reason says what is missing, how much was wanted, and what is known of the cause."""
    found = judged(that, moments(), (), min_coverage, {"lips": "quarantined: it died"})
    assert found.verdict == "not_measured"
    assert (found.reason or "").startswith(reason)


def test_the_trouble_of_what_is_needed_is_a_reason() -> None:
    """What measures nothing since what it needs has failed says so."""
    found = judged("lips.drift_ms_per_min.last < 3", moments(), (), 0.5, {"picture": "quarantined: it hung"})
    assert (found.reason or "").endswith("picture: quarantined: it hung")


def test_errors_of_records_are_reasons() -> None:
    """Without a summary, the last error that a record has is told."""
    failing = [dataclasses.replace(m, results={}, errors={"picture": "ValueError: no"}) for m in moments()]
    found = judged("picture.luma.mean > 0", failing)
    assert found.reason == (
        "picture.luma was measured in 0 % of what was due, min_coverage is 50%; picture: last error: ValueError: no"
    )


def test_a_poor_clock_is_a_reason() -> None:
    """Where the clock knew arrival times only, what needs better is not measured, and says so."""
    poor = [dataclasses.replace(m, clock="arrival", results={**m.results, "lips": None}) for m in moments()]
    assert "the clock knew only arrival times in 100 % of the frames" in (
        judged("lips.offset_ms.max < 3", poor).reason or ""
    )


def test_nothing_recorded_is_nothing_measured() -> None:
    """A run without a frame passes nothing, incidents neither."""
    for that in ("picture.luma.mean >= 0", "incidents(freeze).count == 0", "incidents().count == 0"):
        assert judged(that, []).reason == "no frame was recorded"


def test_incidents_of_a_metric_that_was_not_measured() -> None:
    """No freeze is found where nobody looked: that is not measured, and not passed."""
    blind = [dataclasses.replace(m, results={**m.results, "picture": None}) for m in moments()]
    found = judged("incidents(freeze).count == 0", blind)
    assert (found.verdict, found.coverage) == ("not_measured", 0.0)
    assert "picture.freeze was measured in 0 %" in (found.reason or "")
    for that in ("incidents().count == 0", "incidents(cause=rendered).longest < 1 s"):
        assert (judged(that, blind).reason or "").startswith("picture was measured in 0 % of what was due"), that
    assert judged("incidents(no_picture).count == 0", blind).verdict == "passed"


def test_damaged_pictures_count_as_not_measured_and_their_sound_does() -> None:
    """Nine of ten pictures damaged: nothing of the picture, all of the voice."""
    damaged = moments(corrupt=[i for i in range(100) if i % 10])
    found = judged("picture.luma.max < 1", damaged)
    assert (found.verdict, found.coverage) == ("not_measured", 0.1)
    assert (found.reason or "").endswith("90 pictures were damaged on the way")
    assert judged("voice.level_dbfs.coverage == 1", damaged).verdict == "passed"


def test_pictures_that_were_dropped_were_due() -> None:
    """Numbers that are left out are pictures that the queue dropped: a third of them, and a thinned processor's."""
    dropped = moments(without=[i for i in range(100) if i % 3 == 1])
    assert judged("picture.luma.coverage == 1", dropped).value == pytest.approx(67 / 100)
    assert judged("thinned.value.coverage == 1", dropped).value == pytest.approx(14 / 20)


def test_pictures_that_never_came_were_due_where_they_were_missing() -> None:
    """Fifty missing pictures from 2 to 4 s: half of them in a window that ends at 3 s, none in one after 4 s."""
    gap = [Happening("no_picture", "network", "error", 2.0, 4.0, 50.0)]
    for window, coverage in [("", 100 / 150), (" before 3 s", 30 / 55), (" after 4 s", 1.0)]:
        found = judged(f"picture.luma.coverage == 1{window}", moments(), gap, 0.0)
        assert found.value == pytest.approx(coverage, abs=1e-6), window


def test_frames_without_a_picture_are_due_for_those_that_listen_only() -> None:
    """A stream of sound: the voice is measured, the pictures are not due."""
    heard = [dataclasses.replace(m, index=None, results={"voice": m.results["voice"]}) for m in moments()]
    assert judged("voice.level_dbfs.coverage == 1", heard).verdict == "passed"
    assert judged("picture.luma.mean > 0", heard).coverage == 0.0


def test_a_condition_lasts_until_it_is_measured_again() -> None:
    """`while` of a processor that looks at each fifth picture takes those in between with it."""
    assert verdict("picture.luma.count == 100 while thinned.value == 1").verdict == "passed"


def test_a_picture_that_comes_late_lengthens_nothing() -> None:
    """Times go back with it, and no duration is counted twice."""
    late = [*moments(50), dataclasses.replace(moments(50)[20]), *moments(100)[50:]]
    assert judged("picture.luma.duration == 9.9 s", late).verdict == "passed"


def test_a_window_whose_condition_was_not_measured_is_not_known() -> None:
    """A voice that was heard in the first seconds only says nothing of whether somebody spoke later."""
    silent = [dataclasses.replace(m, results={**m.results, "voice": None}) for m in moments()]
    deaf = moments()[:30] + silent[30:]
    figures = ("picture.luma.mean", "picture.luma.coverage", "incidents(freeze).count", "incidents().count")
    for that in (f"{figure} < 1" for figure in figures):
        found = judged(f"{that} while speaking", deaf, (), 0.5, {"voice": "quarantined: it died"})
        assert found.verdict == "not_measured", that
        told = "was measured in 30 % of what was due, min_coverage is 50%; voice: quarantined: it died"
        assert found.reason in (f"speaking {told}", f"voice {told}")
    assert judged("picture.luma.mean > 0 while speaking", deaf, (), 0.3).value == pytest.approx(0.245)


def test_a_window_that_was_hardly_recorded_says_nothing_of_incidents() -> None:
    """Five of twenty seconds: what did not happen in them may have happened later."""
    found = judged("incidents(no_picture).count == 0 between 5 s and 25 s", moments())
    assert found.verdict == "not_measured"
    told = "the window was measured in 25 % of what was due, min_coverage is 50%; the run ended at 9.9 s, within the"
    assert (found.reason or "").startswith(told)


def test_hours_take_no_more_memory_than_minutes() -> None:
    """Forty hours of a flapping condition leave no more behind than a bounded number of stretches and bins."""
    judge = Judge([of_text("picture.luma.p95 < 0.9 while speaking", VOCABULARY)], PRODUCERS)
    tick = moments(2)[1]
    for i in range(100_000):
        speaking = {"speaking": i % 2 == 0, "level_dbfs": -20.0}
        results = {**tick.results, "voice": speaking, "picture": {**(tick.results["picture"] or {}), "luma": i / 1e5}}
        judge.add(dataclasses.replace(tick, index=i, time_s=i / FPS, results=results))
    assert {len(window._ends) <= 40_000 for window in judge._windows.values()} == {True}
    assert {len(gathered.column._values) <= 50_000 for gathered in judge._gathered.values()} == {True}
    assert judge.verdicts()[0].verdict == "failed"


def _as_line(moment: Moment) -> str:
    results = {name: measured for name, measured in moment.results.items() if name != "clock"}
    clock = {"kind": moment.clock, "error_ms": 2.0}
    line = {"index": moment.index, "time_s": moment.time_s, "corrupt": moment.corrupt, "clock": clock}
    return json.dumps({**line, **results, "errors": dict(moment.errors)}) + "\n"


def test_a_folder_gives_the_same_verdicts(tmp_path: Path) -> None:
    """Every expression above, from frames.jsonl and incidents.jsonl; a line that was cut off is left out."""
    expectations = [of_text(that, VOCABULARY) for that, _, _ in EXPRESSIONS]
    lines = "".join(_as_line(moment) for moment in moments())
    (tmp_path / "frames.jsonl").write_text(lines + '{"index": 100, "ti')
    happened = [
        {"kind": "freeze", "cause": "rendered", "start_s": 4.0, "end_s": 6.0, "severity": "error", "evidence": {}},
        {
            "kind": "no_picture",
            "cause": "network",
            "start_s": 7.1,
            "end_s": 7.7,
            "severity": "error",
            "evidence": {"pictures_missing": 5, "dropped": 3},
        },
        {"kind": "no_picture", "cause": "sender", "start_s": 9.0, "end_s": 9.2, "severity": "warning", "evidence": {}},
        {"kind": "clock_slip", "cause": "sender", "start_s": 3.0, "end_s": 3.0, "severity": "warning", "evidence": {}},
    ]
    (tmp_path / "incidents.jsonl").write_text("".join(json.dumps(line) + "\n" for line in happened))
    for found, (that, expected, value) in zip(verdicts_of(tmp_path, expectations, PRODUCERS), EXPRESSIONS, strict=True):
        assert (that, found.verdict) == (that, expected)
        assert found.value == (None if value is None else pytest.approx(value, abs=1e-6))


def test_a_folder_that_says_nothing(tmp_path: Path) -> None:
    """No frames.jsonl, or one that holds something else: one line that names it."""
    with pytest.raises(ConfigError, match=r"frames.jsonl: cannot be read: .*; a run writes it with the sink jsonl"):
        verdicts_of(tmp_path, [of_text("picture.luma.mean > 0", VOCABULARY)], PRODUCERS)
    for line in ("{}x", "[1]", "[" * 100_000, "{'a': 1}"):
        (tmp_path / "frames.jsonl").write_text(f"\n{line}\n")
        with pytest.raises(ConfigError, match=r"frames.jsonl:2: no JSON object"):
            verdicts_of(tmp_path, [of_text("picture.luma.mean > 0", VOCABULARY)], PRODUCERS)


@st.composite
def _histories(draw: st.DrawFn) -> list[Moment]:
    """Frames with and without a picture, some damaged, some dropped, some not measured, at uneven times."""
    frames: list[Moment] = []
    index, time_s = -1, 0.0
    for _ in range(draw(st.integers(1, 25))):
        time_s = round(time_s + draw(st.sampled_from([0.02, 0.04, 0.1, 0.5])), 6)
        has_picture = draw(st.booleans())
        index += draw(st.integers(1, 3)) if has_picture else 0
        luma = draw(st.none() | st.sampled_from([0.0, 0.25, 0.5, 1.0]))
        picture = {"luma": luma, "freeze": draw(st.none() | st.booleans())} if has_picture else None
        voice = {"speaking": draw(st.none() | st.booleans()), "level_dbfs": -20.0}
        results = {"picture": picture, "voice": voice}
        corrupt = has_picture and draw(st.booleans())
        frames.append(Moment(index if has_picture else None, time_s, corrupt, results, {}, "file"))
    return frames


def _inside(frame: Moment, speaking: bool) -> bool:
    return 0.1 <= frame.time_s < 1.5 and (not speaking or (frame.results["voice"] or {})["speaking"] is True)


def _plainly(frames: list[Moment], metric: str, speaking: bool) -> dict[str, float | None]:
    """The figures of a metric from 0.1 to 1.5 s, from all frames at once, in the plainest way."""
    ends = [frame.time_s for frame in frames[1:]] + [frames[-1].time_s]
    inside = [(frame, end) for frame, end in zip(frames, ends, strict=True) if _inside(frame, speaking)]
    good = [(f, end) for f, end in inside if f.index is not None and not f.corrupt and f.results["picture"]]
    known = [(v, f, end) for f, end in good if (v := (f.results["picture"] or {})[metric]) is not None]
    on = [(v, f, end) for v, f, end in known if metric == "luma" or v is True]
    numbers = {frame.index for frame in frames if frame.index is not None}
    due = 0
    for frame, _ in inside:
        if frame.index is not None:
            before = max((number for number in numbers if number < frame.index), default=-1)
            due += frame.index - before
    return {
        "count": len(on),
        "duration": sum(end - f.time_s for _, f, end in on),
        "share": len(on) / len(known) if known else None,
        "mean": sum(v for v, _, _ in known) / len(known) if known else None,
        "coverage": len(known) / due if due else 0.0,
    }


@functools.cache
def _about(metric: str, speaking: bool) -> tuple[Expectation, ...]:
    """An expectation of each figure from 0.1 to 1.5 s; whether it is met does not matter."""
    names = ["count", "duration", "coverage", "mean" if metric == "luma" else "share"]
    window = f"between 0.1 s and 1.5 s{' while speaking' if speaking else ''}"
    return tuple(of_text(f"picture.{metric}.{name} < 1 {window}", VOCABULARY, 0.0) for name in names)


@given(_histories(), st.booleans(), st.sampled_from(["luma", "freeze"]))
def test_figures_are_those_of_the_plainest_calculation(frames: list[Moment], speaking: bool, metric: str) -> None:
    """What is gathered frame by frame is what is found in all frames at once."""
    assume(any(_inside(frame, speaking) for frame in frames) and frames[-1].time_s > 1.6)
    plain = _plainly(frames, metric, speaking)
    judge = Judge(_about(metric, speaking), PRODUCERS)
    for frame in frames:
        judge.add(frame)
    for found in judge.verdicts():
        expected = plain[found.that.split()[0].rpartition(".")[2]]
        assert found.value == (None if expected is None else pytest.approx(expected, abs=1e-6)), found.that


def test_a_value_is_told_as_its_limit_is() -> None:
    """In percent where the limit is; with its unit else."""
    for that, told in [
        ("picture.freeze.share < 5 %", "picture.freeze.share is 20 %, not < 5 %"),
        ("picture.freeze.share < 0.05", "picture.freeze.share is 0.2, not < 0.05"),
        ("incidents(freeze).longest < 500 ms", "incidents(freeze).longest is 2 s, not < 500 ms"),
        ("picture.freeze.last", "is not so"),
    ]:
        assert verdict(that).reason == told


@given(st.lists(st.booleans(), min_size=2, max_size=40), st.integers(0, 38), st.integers(1, 39))
def test_an_incident_counts_by_the_part_that_lies_in_the_window(speaks: list[bool], start: int, length: int) -> None:
    """Its length while somebody speaks is that of the frames of it in which somebody does."""
    end = min(start + length, len(speaks) - 1)
    assume(any(speaks) and start < end)
    heard = [{"voice": {"speaking": speaking}} for speaking in speaks]
    frames = [dataclasses.replace(m, results=results) for m, results in zip(moments(len(speaks)), heard, strict=True)]
    expected = sum(speaks[start:end]) / FPS
    incident = Happening("clock_slip", "sender", "warning", start / FPS, end / FPS)
    duration, count = (
        judged(f"incidents(clock_slip).{name} >= 0 while speaking", frames, [incident]).value
        for name in ("duration", "count")
    )
    assert duration == pytest.approx(expected, abs=1e-6)
    assert count == float(expected > 0)
