"""Whole runs over sources and processors that behave, and that do not."""

from __future__ import annotations

import asyncio
import json
import resource
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.troublesome import EndlessSource
from vision import runner
from vision.config import load
from vision.errors import ConfigError, OutputError
from vision.runner import Outcome, Run

pytestmark = pytest.mark.usefixtures("no_threads_left")
_HERE = "tests.troublesome"


def _yaml(source: str, *processors: str, run: str = "{}", sinks: str = "[{use: jsonl}]") -> str:
    listed = "".join(f"\n  - {{use: '{_HERE}:{processor}}}" for processor in processors)
    return f"source: {{use: '{_HERE}:{source}}}\nrun: {run}\nsinks: {sinks}\nprocessors:{listed or ' []'}\n"


def _prepared(folder: Path, text: str) -> Run:
    path = folder / "run.yaml"
    path.write_text(text, encoding="utf-8")
    return Run(load(path), folder / "out")


def _execute(folder: Path, text: str) -> tuple[Outcome, list[dict[str, Any]]]:
    outcome = asyncio.run(_prepared(folder, text).execute())
    return outcome, _records(folder)


def _records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "out" / "frames.jsonl").read_text().splitlines()]


def _read(folder: Path, name: str) -> Any:
    return json.loads((folder / "out" / name).read_text())


def test_a_run_writes_what_the_design_says(tmp_path: Path) -> None:
    """A record per picture in order, run.json, incidents.jsonl, summary.json; status 0."""
    outcome, records = _execute(tmp_path, _yaml("CountSource'", "Counting'", "Doubling'", "Listening'"))
    assert (outcome.exit_status, outcome.reason, outcome.error) == (0, "all sent", None)
    assert [record["index"] for record in records] == list(range(10))
    assert [record["doubling"]["value"] for record in records] == [2 * i for i in range(10)]
    assert records[0]["time_s"] == 0
    assert "points" not in records[0]["doubling"]
    summary = _read(tmp_path, "summary.json")
    assert summary["metrics"]["counting.value"]["mean"] == 4.5
    assert summary["metrics"]["counting.value"]["coverage"] == 1.0
    assert summary["processors"]["doubling"]["frames"] == 10
    assert summary["queue"]["received"] == summary["queue"]["delivered"] == 10
    assert summary["incidents"] == {"odd": 5}
    incidents = [json.loads(line) for line in (tmp_path / "out" / "incidents.jsonl").read_text().splitlines()]
    assert incidents[0]["start_s"] == pytest.approx(1 / 30, abs=1e-6)
    run = _read(tmp_path, "run.json")
    assert run["end"]["exit_status"] == 0
    assert run["config"]["source"]["pictures"] == 10
    assert run["versions"]["numpy"]


def test_duration_ends_the_run_and_counts_nothing_beyond(tmp_path: Path) -> None:
    """Pictures at and after the duration are no part of the run: not in the records, not dropped."""
    outcome, records = _execute(tmp_path, _yaml("CountSource', pictures: 500", "Counting'", run="{duration_s: 0.5}"))
    assert (outcome.exit_status, outcome.reason) == (0, "duration reached")
    assert len(records) == 15
    assert outcome.summary["queue"]["received"] == 15
    assert outcome.summary["queue"]["dropped"] == 0
    assert outcome.summary["metrics"]["counting.value"]["coverage"] == 1.0


def test_every_thins_and_coverage_is_of_what_was_due(tmp_path: Path) -> None:
    """A thinned processor measures every n-th picture; its coverage is of those."""
    outcome, records = _execute(tmp_path, _yaml("CountSource'", "Counting', every: 3"))
    assert [record["counting"] is not None for record in records] == [i % 3 == 0 for i in range(10)]
    assert outcome.summary["processors"]["counting"]["skipped"] == 6
    assert outcome.summary["metrics"]["counting.value"]["coverage"] == 1.0


def test_errors_are_in_the_records_and_then_quarantine(tmp_path: Path) -> None:
    """Each failure is one line in its record; N in a row take the processor out, the others go on."""
    text = _yaml("CountSource'", "Raising', at: 2, quarantine_after: 3", "AsyncCounting', name: other")
    outcome, records = _execute(tmp_path, text)
    assert outcome.exit_status == 0
    assert [record["errors"] for record in records[2:5]] == [{"raising": "ValueError: of no use"}] * 3
    assert all(record["raising"] is None and not record["errors"] for record in records[5:])
    assert all(record["other"] is not None for record in records)
    tally = outcome.summary["processors"]["raising"]
    assert (tally["frames"], tally["errors"], tally["skipped"]) == (2, 3, 5)
    assert tally["quarantined"] == "3 failed calls in a row, the last: ValueError: of no use"
    assert outcome.summary["metrics"]["raising.value"]["coverage"] == 0.2


def test_an_error_now_and_then_is_no_quarantine(tmp_path: Path) -> None:
    """A success in between starts the count anew."""
    outcome, records = _execute(
        tmp_path, _yaml("CountSource'", "RaisingOnce', at: 4, quarantine_after: 2", "Doubling'")
    )
    assert records[4]["errors"] == {"raising_once": "ValueError: this once"}
    assert records[4]["doubling"] is None
    assert records[5]["doubling"] == {"value": 10}
    assert outcome.summary["processors"]["raising_once"]["quarantined"] is None


def test_wrong_results_are_errors_of_the_processor(tmp_path: Path) -> None:
    """Something that is no result, or a value that no record can hold, does not end the run."""
    outcome, records = _execute(tmp_path, _yaml("CountSource'", "WrongResult'", "WrongValue'"))
    assert outcome.exit_status == 0
    assert records[0]["errors"] == {
        "wrong_result": "TypeError: process() gave int; allowed: a Result or None",
        "wrong_value": "TypeError: a metric holds str; allowed: float, int, bool, None",
    }


def test_a_hung_processor_does_not_hang_the_run(tmp_path: Path) -> None:
    """After its time limit it is in quarantine, and all pictures are in the records."""
    text = _yaml("CountSource'", "Hanging', at: 3, seconds: 1, timeout_s: 0.2", "Counting', name: other")
    before = set(threading.enumerate())
    outcome, records = _execute(tmp_path, text)
    assert len(records) == 10
    assert records[3]["errors"] == {"hanging": "no answer in 0.2 s"}
    assert "hung" in outcome.summary["processors"]["hanging"]["quarantined"]
    assert all(record["other"] is not None for record in records)
    for thread in set(threading.enumerate()) - before:
        if thread.name == "processor-hanging":
            assert thread.daemon, "one that never comes back must not keep the program from ending"
            return
    pytest.fail("the hung thread was not found")


@pytest.mark.parametrize(
    "processor", ["Dying', at: 3, placement: process", "Hanging', at: 3, placement: process, timeout_s: 0.5"]
)
def test_a_process_that_dies_or_hangs_costs_one_picture(tmp_path: Path, processor: str) -> None:
    """It is replaced, and the loss is in the records."""
    outcome, records = _execute(tmp_path, _yaml("CountSource'", processor))
    name = processor.split("'")[0].lower()
    assert outcome.exit_status == 0
    assert [record["index"] for record in records if record[name] is None] == [3]
    assert list(records[3]["errors"]) == [name]


def test_a_processor_that_cannot_be_set_up_ends_the_run_before_it_begins(tmp_path: Path) -> None:
    """The source is not opened; one line, status 2, and a summary."""
    outcome, records = _execute(tmp_path, _yaml("CountSource'", "NoSetup'"))
    assert outcome.exit_status == 2
    assert outcome.error == "processor no_setup: cannot be set up: RuntimeError: no such device"
    assert records == []
    assert _read(tmp_path, "summary.json")["end"]["exit_status"] == 2


def test_resolution_changes_reset_processors(tmp_path: Path) -> None:
    """The new size is in the records and the run goes on."""
    _, records = _execute(tmp_path, _yaml("CountSource', size_changes_at: 5", "Counting', placement: process"))
    assert [record["width"] for record in records] == [64] * 5 + [80] * 5
    assert records[9]["counting"]["mean_luma"] == 9


def test_sound_alone_is_measured(tmp_path: Path) -> None:
    """Frames without a picture go to those who listen, and to nobody else."""
    outcome, records = _execute(tmp_path, _yaml("SoundSource', pictures: 20", "Listening'", "Counting'"))
    assert outcome.summary["pictures"] == 0
    assert sum(record["listening"]["samples"] for record in records) == 20 * 1600
    assert all(record["counting"] is None and record["index"] is None for record in records)


def test_a_source_that_fails_keeps_what_was_measured(tmp_path: Path) -> None:
    """Status 3, one line, all records."""
    outcome, records = _execute(tmp_path, _yaml('CountSource\', fail: "cable\\nout"', "Counting'"))
    assert outcome.exit_status == 3
    assert outcome.error == f"source {_HERE}:CountSource: failed: RuntimeError: cable out"
    assert len(records) == 10


def test_a_live_source_that_ends_too_early_is_lost(tmp_path: Path) -> None:
    """With a duration asked for, an early end is no success."""
    outcome, records = _execute(tmp_path, _yaml("LiveCountSource'", "Counting'", run="{duration_s: 60}"))
    assert outcome.exit_status == 3
    assert "ended before the 60 s of the run were over: all sent" in (outcome.error or "")
    assert len(records) == 10


def test_a_source_that_never_sends(tmp_path: Path) -> None:
    """It is given up after its time limit, with status 3."""
    outcome, _ = _execute(tmp_path, _yaml("SilentSource'", "Counting'", run="{first_picture_timeout_s: 0.3}"))
    assert outcome.exit_status == 3
    assert "nothing came within 0.3 s" in (outcome.error or "")


@pytest.mark.parametrize("after_records", [0, 5])
def test_interruption(tmp_path: Path, after_records: int) -> None:
    """Stopped at any moment: status 130, the source is released, what was measured is there."""
    run = _prepared(tmp_path, _yaml("EndlessSource'", "Counting', placement: process"))
    released = EndlessSource.released

    async def scenario() -> Outcome:
        executing = asyncio.create_task(run.execute())
        while run.summary.frames < after_records:  # noqa: ASYNC110 - watched from outside, as the terminal does
            await asyncio.sleep(0.01)
        await asyncio.sleep(0)
        run.stop()
        return await asyncio.wait_for(executing, 30)

    outcome = asyncio.run(scenario())
    assert (outcome.exit_status, outcome.reason, outcome.error) == (130, "interrupted", None)
    assert EndlessSource.released == released + (after_records > 0)
    assert len(_records(tmp_path)) == outcome.summary["frames"] >= after_records
    assert _read(tmp_path, "summary.json")["end"]["exit_status"] == 130


def test_a_full_disk_ends_the_run_with_what_is_there(tmp_path: Path) -> None:
    """One line that names the file, status 2; the source is released."""
    released = EndlessSource.released
    outcome, records = _execute(
        tmp_path, _yaml("EndlessSource'", "Counting'", sinks=f"[{{use: jsonl}}, {{use: '{_HERE}:FullSink'}}]")
    )
    assert outcome.exit_status == 2
    assert "cannot be written: No space left on device" in (outcome.error or "")
    assert len(records) == 3
    assert EndlessSource.released == released + 1


def test_a_sink_that_raises_is_named(tmp_path: Path) -> None:
    """A sink of somebody else's that fails ends the run with one line."""
    text = _yaml("CountSource'", sinks=f"[{{use: '{_HERE}:BrokenSink'}}]")
    outcome = asyncio.run(_prepared(tmp_path, text).execute())
    assert outcome.exit_status == 2
    assert outcome.error == f"sink {_HERE}:BrokenSink: failed: KeyError: 'oops'"


def _without_running(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if not line.startswith("running")]


def test_sinks_are_told_what_goes_on(tmp_path: Path) -> None:
    """Before each record with which there is something, and once more when there is not."""
    text = _yaml("CountSource'", "Counting'", sinks=f"[{{use: '{_HERE}:TellingSink'}}]")
    asyncio.run(_prepared(tmp_path, text).execute())
    told = (tmp_path / "out" / "told.txt").read_text().splitlines()
    told = [line for line in told if line.startswith(("running", "picture"))]
    assert told[:6] == ["picture 0", "running: odd", "picture 1", "running: none", "picture 2", "running: odd"]


def test_sinks_know_whether_the_source_waits(tmp_path: Path) -> None:
    """Before they are opened."""
    for source, waits in (("CountSource'", True), ("LiveCountSource'", False)):
        (tmp_path / str(waits)).mkdir()
        text = _yaml(source, "Counting'", sinks=f"[{{use: '{_HERE}:WaitingSink'}}]")
        asyncio.run(_prepared(tmp_path / str(waits), text).execute())
        assert (tmp_path / str(waits) / "out" / "waits.txt").read_text() == str(waits)


def test_sinks_are_told_the_incidents_that_the_folder_has(tmp_path: Path) -> None:
    """Each before the record with which it is over; the one that is open at the end, before they are closed."""
    text = _yaml("CountSource'", "Counting'", "Doubling'", sinks=f"[{{use: '{_HERE}:TellingSink'}}]")
    outcome = asyncio.run(_prepared(tmp_path, text).execute())
    told = _without_running(tmp_path / "out" / "told.txt")
    lines = (tmp_path / "out" / "incidents.jsonl").read_text().splitlines()
    expected = [f"{one['kind']} from {one['start_s']:.3f} s" for one in map(json.loads, lines)]
    assert [line for line in told if not line.startswith("picture")] == expected
    assert len(expected) == outcome.summary["incidents"]["odd"] == 5
    assert told[-1] == expected[-1], "the last picture is odd, and open at the end"
    assert told.index(expected[0]) == told.index("picture 2") - 1


def test_a_sink_that_fails_with_incidents_loses_none_of_them(tmp_path: Path) -> None:
    """It ends the run, is named, and the folder has what was found."""
    text = _yaml("CountSource'", "Counting'", sinks=f"[{{use: '{_HERE}:DeafSink'}}]")
    outcome = asyncio.run(_prepared(tmp_path, text).execute())
    assert (outcome.exit_status, outcome.error) == (2, f"sink {_HERE}:DeafSink: failed: ValueError: too loud")
    lines = (tmp_path / "out" / "incidents.jsonl").read_text().splitlines()
    assert len(lines) == outcome.summary["incidents"]["odd"] >= 1


@pytest.mark.parametrize("sink", ["NoOpenSink", "NoCloseSink", "CancellingSink", "BoastingSink"])
def test_a_sink_that_fails_anywhere_is_status_2(tmp_path: Path, sink: str) -> None:
    """In open, write, close or facts, whatever it raises: one line that names it, and the summary is written."""
    text = _yaml("CountSource'", "Counting'", sinks=f"[{{use: jsonl}}, {{use: '{_HERE}:{sink}'}}]")
    outcome, records = _execute(tmp_path, text)
    assert outcome.exit_status == 2
    assert (outcome.error or "").startswith(f"sink {_HERE}:{sink}: ")
    assert len(records) == {"NoOpenSink": 0, "NoCloseSink": 10, "CancellingSink": 1, "BoastingSink": 10}[sink]
    assert _read(tmp_path, "summary.json")["end"]["exit_status"] == 2


@pytest.mark.parametrize(
    ("source", "message", "count"),
    [
        ("NoConstructor", "RuntimeError: no constructor", 0),
        ("ExitingConstructor", "RuntimeError: SystemExit: 7", 0),
        ("StoppingConstructor", "RuntimeError: StopIteration", 0),
        ("NoTracks", "RuntimeError: no tracks", 0),
        ("SelfCancelling", "RuntimeError: it cancelled itself", 10),
        ("Exiting", "RuntimeError: SystemExit: 7", 10),
        ("TimelessSource", "ValueError: a unit at the time nan", 10),
    ],
)
def test_a_source_that_fails_anywhere_is_status_3(tmp_path: Path, source: str, message: str, count: int) -> None:
    """In its constructor, its tracks, its stream, whatever it raises: one line, all records, the summary."""
    outcome, records = _execute(tmp_path, _yaml(f"{source}'", "Counting'"))
    assert outcome.exit_status == 3
    assert (outcome.error or "").startswith(f"source {_HERE}:{source}: failed: {message}")
    assert len(records) == count
    assert _read(tmp_path, "summary.json")["pictures"] == count
    assert _read(tmp_path, "run.json")["end"]["exit_status"] == 3


def test_a_source_that_falls_silent_before_the_time_is_up_is_lost(tmp_path: Path) -> None:
    """Time goes on without it, but that is no good end: status 3, a gap as an incident, and coverage below one."""
    outcome, _ = _execute(tmp_path, _yaml("DyingSource'", "Counting'", run="{duration_s: 4}"))
    assert outcome.exit_status == 3
    assert "lost: nothing came in the last" in (outcome.error or "")
    assert outcome.summary["incidents"]["no_picture"] == 1
    assert outcome.summary["pictures_missing"] == pytest.approx(150, abs=25)
    assert outcome.summary["metrics"]["counting.value"]["coverage"] == pytest.approx(0.25, abs=0.05)


def test_a_stall_is_an_incident_and_lowers_coverage(tmp_path: Path) -> None:
    """Pictures that did not come count as not measured, about as many as there would have been."""
    outcome, records = _execute(tmp_path, _yaml("StallingSource'", "Counting'"))
    assert outcome.exit_status == 0
    incidents = [json.loads(line) for line in (tmp_path / "out" / "incidents.jsonl").read_text().splitlines()]
    (gap,) = [incident for incident in incidents if incident["kind"] == "no_picture"]
    assert gap["cause"] == "sender"
    assert (gap["start_s"], gap["end_s"]) == (pytest.approx(0.98, abs=0.03), pytest.approx(2.0, abs=0.03))
    assert outcome.summary["pictures_missing"] == pytest.approx(50, abs=5)
    assert outcome.summary["metrics"]["counting.value"]["coverage"] == pytest.approx(2 / 3, abs=0.04)
    assert sum(record["index"] is None for record in records) >= 4


def test_what_no_metric_bears_is_an_error_of_the_frame(tmp_path: Path) -> None:
    """Values beyond all bounds cost their frame; the summary is written."""
    outcome, records = _execute(tmp_path, _yaml("CountSource'", "OutOfRange'"))
    assert outcome.exit_status == 0
    assert "lies outside its range" in records[0]["errors"]["out_of_range"]
    assert records[1]["out_of_range"]["value"] == 1e15
    assert "OverflowError" in records[2]["errors"]["out_of_range"]
    assert outcome.summary["metrics"]["out_of_range.value"]["max"] == 1e15


def test_what_a_processor_cancels_is_its_own_frame(tmp_path: Path) -> None:
    """An awaited processor that raises CancelledError ends nothing but that call."""
    outcome, records = _execute(tmp_path, _yaml("CountSource'", "AsyncCancelling', at: 3"))
    assert outcome.exit_status == 0
    assert len(records) == 10
    assert "CancelledError" in records[3]["errors"]["async_cancelling"]


@pytest.mark.parametrize("placement", ["thread", "process"])
def test_interruption_while_processors_are_set_up(tmp_path: Path, placement: str) -> None:
    """A model that takes long to load is not waited for, and no process stays."""
    run = _prepared(tmp_path, _yaml("CountSource'", f"SlowSetup', seconds: 2, placement: {placement}"))

    async def scenario() -> tuple[Outcome, float]:
        executing = asyncio.create_task(run.execute())
        await asyncio.sleep(0.5)
        begun = asyncio.get_running_loop().time()
        run.stop()
        return await executing, asyncio.get_running_loop().time() - begun

    outcome, took_s = asyncio.run(scenario())
    assert outcome.exit_status == 130
    assert took_s < 1.2


def test_interruption_while_a_processor_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long its time limit, a call under way is given up after a moment of grace."""
    monkeypatch.setattr(runner, "_GRACE_S", 0.3)
    hanging = "Hanging', at: 1, timeout_s: 300, placement: process"
    run = _prepared(tmp_path, _yaml("EndlessSource'", hanging, "Counting', name: other"))

    async def scenario() -> Outcome:
        executing = asyncio.create_task(run.execute())
        while run.summary.frames < 1:  # noqa: ASYNC110 - watched from outside, as the terminal does
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)
        run.stop()
        return await asyncio.wait_for(executing, 15)

    assert asyncio.run(scenario()).exit_status == 130


def test_nothing_is_called_after_a_sink_has_failed(tmp_path: Path, running_commands: Callable[[], list[str]]) -> None:
    """What was under way is ended and awaited: no task, and no worker process, is left."""
    sinks = f"[{{use: '{_HERE}:FullSink'}}]"
    run = _prepared(tmp_path, _yaml("EndlessSource'", "Counting', placement: process", sinks=sinks))

    async def scenario() -> Outcome:
        outcome = await run.execute()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return outcome

    assert asyncio.run(scenario()).exit_status == 2
    assert not [command for command in running_commands() if "vision.remote" in command]


def test_a_real_limit_on_file_sizes(tmp_path: Path) -> None:
    """When the system refuses to write on, the lines that are there are whole."""
    run = _prepared(tmp_path, _yaml("CountSource', pictures: 500", "Counting'"))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        outcome = asyncio.run(run.execute())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert outcome.exit_status == 2
    assert "cannot be written: File too large" in (outcome.error or "")
    lines = (tmp_path / "out" / "frames.jsonl").read_text().splitlines()
    assert [json.loads(line)["index"] for line in lines] == list(range(len(lines)))


def test_folders_that_cannot_be_used(tmp_path: Path) -> None:
    """A folder that holds something is not written over; one that cannot be made is named."""
    text = _yaml("CountSource'", "Counting'")
    _execute(tmp_path, text)
    with pytest.raises(ConfigError, match=r"already holds files; give --out a folder that is new or empty"):
        _prepared(tmp_path, text)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"cannot be written: Not a directory"):
        Run(load(tmp_path / "run.yaml"), tmp_path / "file" / "out")


def test_records_are_in_order_under_load(tmp_path: Path) -> None:
    """Processors of different speed side by side: every picture once, in order, each with its own results."""
    text = _yaml(
        "CountSource', pictures: 300", "Counting', placement: process", "AsyncCounting', name: fast", "Listening'"
    )
    _, records = _execute(tmp_path, text)
    assert [record["index"] for record in records] == list(range(300))
    assert all(record["counting"]["value"] == record["fast"]["value"] == record["index"] for record in records)
