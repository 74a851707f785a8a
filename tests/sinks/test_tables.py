"""frames.csv and frames.parquet: rows of records, read back."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import importlib.util
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.troublesome import Number
from vision.config import load
from vision.errors import ConfigError
from vision.processor import Options
from vision.record import Record
from vision.result import metrics_of
from vision.runner import Outcome, Run
from vision.sinks import parquet
from vision.sinks.base import Sink
from vision.sinks.csv import CsvSink
from vision.sinks.parquet import ParquetOptions, ParquetSink
from vision.testing import make_frame

ROOT = Path(__file__).parent.parent.parent
HERE = "tests.troublesome"
FIELDS = {"counting": metrics_of(Number)}


def _run(folder: Path, sinks: str, source: str = "CountSource'", processor: str = "Counting'") -> Outcome:
    path = folder / "run.yaml"
    processors = f"[{{use: '{HERE}:{processor}, name: counting}}]"
    path.write_text(f"source: {{use: '{HERE}:{source}}}\nprocessors: {processors}\nsinks: {sinks}\n")
    return asyncio.run(Run(load(path), folder / "out").execute())


def _lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "out" / "frames.jsonl").read_text().splitlines()]


def _flat(line: dict[str, Any]) -> dict[str, Any]:
    """A line of frames.jsonl as a row has it."""
    counting = line["counting"] or dict.fromkeys(("value", "odd", "mean_luma"))
    frame = {key: line[key] for key in ("index", "time_s", "arrival_s", "width", "height", "key_frame", "corrupt")}
    clock = {f"clock.{key}": line["clock"].get(key) for key in ("kind", "error_ms", "step_ms")}
    metrics = {f"counting.{key}": value for key, value in counting.items()}
    return frame | clock | metrics | {"errors.counting": line["errors"].get("counting")}


def test_parquet_holds_what_the_lines_hold(tmp_path: Path) -> None:
    """Value by value, nothing rounded, nulls where nothing was measured; the parts are gone."""
    outcome = _run(tmp_path, "[{use: jsonl}, {use: parquet}]", processor="RaisingOnce', at: 4, every: 2")
    assert outcome.exit_status == 0
    rows = pq.read_table(tmp_path / "out" / "frames.parquet").to_pylist()
    assert rows == [_flat(line) for line in _lines(tmp_path)]
    assert rows[4]["errors.counting"] == "ValueError: this once"
    assert rows[1]["counting.value"] is None
    assert {path.name for path in (tmp_path / "out").iterdir() if "parquet" in path.name} == {"frames.parquet"}


def test_csv_holds_what_the_lines_hold(tmp_path: Path) -> None:
    """The same as text: empty where nothing was measured, true and false, numbers that read back as they were."""
    _run(tmp_path, "[{use: jsonl}, {use: csv}]", processor="RaisingOnce', at: 4, every: 2")
    with (tmp_path / "out" / "frames.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    expected = [_flat(line) for line in _lines(tmp_path)]
    assert list(rows[0]) == list(expected[0])
    shown = {None: "", True: "true", False: "false"}
    for row, values in zip(rows, expected, strict=True):
        for name, value in values.items():
            known = shown.get(value) if value is None or isinstance(value, bool) else str(value)
            assert row[name] == known


def test_parquet_columns_say_what_they_are(tmp_path: Path) -> None:
    """Type, unit, range, good end and meaning of each, in the metadata of the file."""
    _run(tmp_path, "[{use: parquet}]", processor="Counting'")
    schema = pq.read_schema(tmp_path / "out" / "frames.parquet")
    told = {name: schema.field(name).metadata for name in schema.names}
    assert all(metadata[b"description"] for metadata in told.values())
    assert told["time_s"][b"unit"] == b"s"
    assert told["clock.error_ms"] == {
        b"unit": b"ms",
        b"minimum": b"0",
        b"good": b"low",
        b"description": b"Bound on the error of that",
    }
    assert (told["counting.odd"][b"unit"], str(schema.field("counting.odd").type)) == (b"bool", "bool")
    assert str(schema.field("index").type) == "int64"
    assert str(schema.field("counting.value").type) == "double"


def _parquet(folder: Path, **options: Any) -> ParquetSink:
    sink = ParquetSink(ParquetOptions(**options), folder)
    sink.fields = FIELDS
    sink.open()
    return sink


def _write(sink: Sink, count: int) -> None:
    for index in range(count):
        sink.write(Record(make_frame(index=index), {"counting": {"value": float(index), "odd": index % 2 == 1}}))


def test_parts_are_whole_while_the_run_goes(tmp_path: Path) -> None:
    """What is older than a part is on disk, in files that can be read; nothing is lost where they become one."""
    sink = _parquet(tmp_path, part_s=1)
    _write(sink, 100)
    parts = tmp_path / "frames.parquet.parts"
    read = pq.read_table(parts).column("index").to_pylist()
    assert (read, len(read) >= 90) == (list(range(len(read))), True)
    sink.close()
    assert pq.read_table(tmp_path / "frames.parquet").column("index").to_pylist() == list(range(100))
    assert not parts.exists()


def test_row_groups_are_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many small parts become few row groups, as readers want them, and are never all in memory at once."""
    monkeypatch.setattr(parquet, "_ROW_GROUP", 40)
    sink = _parquet(tmp_path, part_s=0.3, compression="snappy")
    _write(sink, 100)
    sink.close()
    file = pq.ParquetFile(tmp_path / "frames.parquet")
    assert file.metadata.num_rows == 100
    assert file.metadata.num_row_groups <= 4
    assert file.metadata.row_group(0).column(0).compression == "SNAPPY"


def test_a_run_without_frames_leaves_an_empty_table(tmp_path: Path) -> None:
    """With its columns."""
    sink = _parquet(tmp_path)
    sink.close()
    table = pq.read_table(tmp_path / "frames.parquet")
    assert (table.num_rows, "counting.value" in table.column_names) == (0, True)


def test_a_killed_run_leaves_its_parts(tmp_path: Path) -> None:
    """SIGKILL in the middle: the parts so far are whole, and are the first of the lines."""
    (tmp_path / "run.yaml").write_text(
        f"source: {{use: '{HERE}:EndlessSource'}}\nprocessors: [{{use: '{HERE}:Counting'}}]\n"
        "sinks: [{use: jsonl}, {use: csv}, {use: parquet, part_s: 1}]\n"
    )
    command = [sys.executable, "-m", "vision", "run", "run.yaml", "--out", "out"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    running = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    parts, deadline = tmp_path / "out" / "frames.parquet.parts", time.monotonic() + 60
    while len(list(parts.glob("[0-9]*.parquet"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    running.send_signal(signal.SIGKILL)
    running.wait(30)
    read = pq.read_table(parts).column("index").to_pylist()
    assert len(read) >= 60
    lines = (tmp_path / "out" / "frames.jsonl").read_text().splitlines()
    assert read == [json.loads(line)["index"] for line in lines[: len(read)]]
    with (tmp_path / "out" / "frames.csv").open(newline="") as file:
        assert len(list(csv.reader(file))) >= len(read)


def test_a_missing_extra_is_one_line_before_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It names what to install."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    path = tmp_path / "run.yaml"
    path.write_text(f"source: {{use: '{HERE}:CountSource'}}\nsinks:\n  - use: parquet\n")
    with pytest.raises(
        ConfigError, match=r"run.yaml:3: sinks\[0\]: pyarrow is not installed; pip install 'avatar-vision\["
    ):
        load(path)


def test_sinks_that_are_not_open_refuse(tmp_path: Path) -> None:
    """To write to them is a mistake of the caller; to close them is none."""
    for sink in (CsvSink(Options(), tmp_path), ParquetSink(ParquetOptions(), tmp_path)):
        with pytest.raises(RuntimeError, match="not open"):
            _write(sink, 1)
        sink.close()


@contextlib.contextmanager
def _files_no_longer_than(size: int) -> Iterator[None]:
    """A real limit of the system, which a full disk is like."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_leaves_whole_rows(tmp_path: Path) -> None:
    """A row that did not fit is taken back."""
    sink = CsvSink(Options(), tmp_path)
    sink.fields = FIELDS
    sink.open()
    with _files_no_longer_than(2000), pytest.raises(OSError, match="File too large"):
        _write(sink, 1000)
    sink.close()
    with (tmp_path / "frames.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert len(rows) > 10
    assert {len(row) for row in rows} == {len(rows[0])}


def test_a_disk_that_fills_up_at_the_end_leaves_the_parts(tmp_path: Path) -> None:
    """They are there until the file that they become is whole."""
    sink = _parquet(tmp_path, part_s=1)
    _write(sink, 100)
    with _files_no_longer_than(2000), pytest.raises(OSError, match="File too large"):
        sink.close()
    assert not (tmp_path / "frames.parquet").exists()
    read = pq.read_table(tmp_path / "frames.parquet.parts").column("index").to_pylist()
    assert (read, len(read) >= 90) == (list(range(len(read))), True)


def test_a_sink_that_cannot_write_is_named(tmp_path: Path) -> None:
    """Status 2, and one line."""
    with _files_no_longer_than(5000):
        outcome = _run(tmp_path, "[{use: csv}]", source="CountSource', pictures: 3000")
    assert outcome.exit_status == 2
    assert "cannot be written: File too large; free some space" in (outcome.error or "")
