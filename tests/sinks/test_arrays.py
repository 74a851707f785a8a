"""arrays.npz: what is in it, at any moment of a run and after any end of it."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sinks.killing import killed_run
from tests.sinks.pointing import POINTS, Pointed, is_seen, points_of
from vision.config import load
from vision.errors import ConfigError
from vision.record import Record
from vision.runner import Outcome, Run
from vision.sinks.arrays import ArraysSink, read
from vision.testing import make_frame

ROOT = Path(__file__).parents[2]
FPS = 30
YAML = """
source: {{use: 'tests.troublesome:{source}'}}
processors: [{{use: 'tests.sinks.pointing:Pointing', name: pointing{more}}}]
sinks: [{{use: jsonl}}, {{use: 'vision.sinks.arrays:ArraysSink', {options}}}]
"""
BOTH = "fields: [pointing.points, pointing.weights], chunk_s: 0.5"


def configured(folder: Path, options: str = BOTH, source: str = "CountSource', pictures: '95", more: str = "") -> Path:
    """The configuration of a run whose sink is `arrays`."""
    path = folder / "run.yaml"
    path.write_text(YAML.format(options=options, source=source, more=more), encoding="utf-8")
    return path


def prepared(folder: Path, **how: str) -> Run:
    """Such a run."""
    return Run(load(configured(folder, **how)), folder / "out")


def executed(folder: Path, **how: str) -> Outcome:
    """How such a run ended."""
    return asyncio.run(prepared(folder, **how).execute())


@pytest.fixture
def sink(tmp_path: Path) -> Iterator[ArraysSink]:
    """An open sink that writes a chunk every half second."""
    it = ArraysSink(ArraysSink.Options(fields=["pointing.points"], chunk_s=0.5), tmp_path)
    it.open()
    yield it
    it.close()


def record_of(index: int) -> Record:
    """A record with points."""
    return Record(make_frame(index=index, fps=FPS), {}, outputs={"pointing": Pointed(True, points_of(index))})


def test_rows_are_what_was_measured(tmp_path: Path) -> None:
    """A row for each picture in which the field was measured, with its index and time, to 1/64 px; others have none."""
    assert executed(tmp_path).exit_status == 0
    rows = read(tmp_path / "out" / "arrays.npz", "pointing.points")
    seen = [index for index in range(1, 95) if is_seen(index)]
    assert rows.index.tolist() == seen
    assert np.allclose(rows.time_s, np.array(seen) / FPS, atol=1e-6)
    truth = np.stack([points_of(index) for index in seen])
    assert rows.values.dtype == np.float32
    assert np.abs(rows.values - truth).max() <= 1 / 128
    assert np.array_equal(rows.values * 64, np.rint(rows.values * 64))


def test_each_field_has_rows_of_its_own(tmp_path: Path) -> None:
    """A field that is measured where another is not has more rows; one of another unit is not rounded."""
    executed(tmp_path)
    rows = read(tmp_path / "out" / "arrays.npz", "pointing.weights")
    assert rows.index.tolist() == list(range(1, 95))
    assert np.array_equal(rows.values, np.repeat(np.arange(1, 95)[:, None] / 7, POINTS, axis=1))


def test_precision_is_that_of_the_option(tmp_path: Path) -> None:
    """Values are rounded by unit: pixels to quarters, ratios to tenths."""
    fields = "fields: [pointing.points, pointing.weights]"
    executed(tmp_path, options=f"{fields}, precision: {{px: 0.25, '1': 0.1}}")
    points, weights = (read(tmp_path / "out" / "arrays.npz", f"pointing.{name}") for name in ("points", "weights"))
    assert np.array_equal(points.values, np.rint(np.stack([points_of(i) for i in points.index]) * 4) / 4)
    assert np.allclose(weights.values[:, 0], np.round(weights.index / 7, 1))


def test_a_coarser_step_makes_a_smaller_file(tmp_path: Path) -> None:
    """Rounding is there to pack better."""
    sizes: list[int] = []
    for precision in ("{}", "{px: 0.015625}", "{px: 1}"):
        folder = tmp_path / str(len(sizes))
        folder.mkdir()
        executed(folder, options=f"fields: [pointing.points], precision: {precision}")
        sizes.append((folder / "out" / "arrays.npz").stat().st_size)
    exact, fine, coarse = sizes
    assert coarse < 0.8 * fine < 0.8 * 0.8 * exact


def test_numpy_reads_it_at_any_moment(sink: ArraysSink, tmp_path: Path) -> None:
    """After every record it is a whole npz file, in which no more than the last half second is missing."""
    for index in range(100):
        sink.write(record_of(index))
        with np.load(tmp_path / "arrays.npz") as arrays:
            known = sorted(name for name in arrays.files if name.startswith("pointing.points.index/"))
            rows = [int(i) for name in known for i in arrays[name]]
        assert rows == list(range(len(rows)))
        assert index - len(rows) <= 0.5 * FPS
        assert len(known) == len(rows) // 16  # pictures until 0.5 s have gone by


def test_the_end_of_the_run_writes_the_rest(sink: ArraysSink, tmp_path: Path) -> None:
    """Closing leaves nothing out, and a run without a single row leaves a file that can be read."""
    with np.load(tmp_path / "arrays.npz") as arrays:
        assert arrays.files == []
    sink.write(record_of(0))
    sink.close()
    assert read(tmp_path / "arrays.npz", "pointing.points").index.tolist() == [0]


def test_frames_without_a_picture_have_no_index(sink: ArraysSink, tmp_path: Path) -> None:
    """What was measured where no picture came has the index -1, and its time."""
    bare = make_frame(index=3)
    frame = type(bare)(None, 0.1, 0.1, bare.clock)
    sink.write(Record(frame, {}, outputs={"pointing": Pointed(True, points_of(3))}))
    sink.close()
    rows = read(tmp_path / "arrays.npz", "pointing.points")
    assert (rows.index.tolist(), rows.time_s.tolist()) == ([-1], [0.1])


def test_rows_outlive_the_memory_they_came_in(sink: ArraysSink, tmp_path: Path) -> None:
    """A processor may use its array again for the next picture."""
    points = np.zeros((POINTS, 2), np.float32)
    for index in range(3):
        points[:] = index
        sink.write(Record(make_frame(index=index), {}, outputs={"pointing": Pointed(True, points)}))
    sink.close()
    assert read(tmp_path / "arrays.npz", "pointing.points").values[:, 0, 0].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("field", "reason"),
    [
        ("pointin.points", "this run has no processor 'pointin'; did you mean 'pointing'? it has: pointing"),
        ("pointing.point", "pointing has no array 'point'; did you mean 'points'? it has: points, weights"),
        ("pointing.seen", "pointing has no array 'seen'; it has: points, weights"),
    ],
)
def test_a_field_that_is_not_there_is_told_before_the_run(tmp_path: Path, field: str, reason: str) -> None:
    """With the line, what there is, and the nearest match."""
    with pytest.raises(ConfigError) as caught:
        load(configured(tmp_path, options=f"fields: [{field}]"))
    assert str(caught.value).endswith(f"run.yaml:4: sinks[1]: fields: {reason}")


@pytest.mark.parametrize("options", ["fields: []", "fields: [points]", "fields: [a.b], precision: {px: 0}", ""])
def test_options_that_make_no_sense_are_told_before_the_run(tmp_path: Path, options: str) -> None:
    """No field, one without its processor, or a step of zero."""
    with pytest.raises(ConfigError, match=r"run\.yaml:4: sinks\[1\]\.(fields|precision)"):
        load(configured(tmp_path, options=options))


def test_an_array_of_another_shape_is_an_error(tmp_path: Path) -> None:
    """A field that does not keep what it declares is named."""
    outcome = executed(tmp_path, more=", count: 3")
    assert "pointing.points has the shape (3, 2), not (40, 2) as it declares" in (outcome.error or "")


def test_a_field_without_rows_is_an_error_to_read(tmp_path: Path) -> None:
    """Nothing was measured, or the name is wrong: said, rather than an empty array."""
    executed(tmp_path)
    with pytest.raises(ValueError, match=r"no rows of 'pointing\.seen'"):
        read(tmp_path / "out" / "arrays.npz", "pointing.seen")


def test_a_full_disk_leaves_what_was_written(tmp_path: Path) -> None:
    """When the system refuses to write on, status 2, and the chunks before are still a whole file."""
    run = prepared(tmp_path, options="fields: [pointing.points], chunk_s: 0.5", source="CountSource', pictures: '200")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        outcome = asyncio.run(run.execute())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert outcome.exit_status == 2
    assert "cannot be written: File too large" in (outcome.error or "")
    path = tmp_path / "out" / "arrays.npz"
    rows = read(path, "pointing.points")
    assert rows.index.tolist() == [i for i in range(1, int(rows.index[-1]) + 1) if is_seen(i)]
    with np.load(path) as arrays:
        assert sum(len(arrays[name]) for name in arrays.files if ".index/" in name) == len(rows.index)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A file of four chunks."""
    folder = tmp_path_factory.mktemp("whole")
    sink = ArraysSink(ArraysSink.Options(fields=["pointing.points"], chunk_s=0.5), folder)
    sink.open()
    for index in range(64):
        sink.write(record_of(index))
    sink.close()
    return (folder / "arrays.npz").read_bytes()


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Callable[[bytes], Path]:
    """Writes bytes into a file."""
    path = tmp_path_factory.mktemp("scratch") / "arrays.npz"

    def written(data: bytes) -> Path:
        path.write_bytes(data)
        return path

    return written


@settings(max_examples=200)
@given(data=st.data())
def test_a_write_that_was_cut_off_spoils_no_chunk_before(
    data: st.DataObject, whole: bytes, scratch: Callable[[bytes], Path]
) -> None:
    """Wherever the last write ended, and with the rest of the old directory behind it, chunks before it are read."""
    lasts = whole.index(b"PK\x03\x04", whole.index(b".time_s/00002.npy"))  # where the last chunk begins
    cut = data.draw(st.integers(lasts, len(whole)))
    rest = data.draw(st.integers(0, 300))
    rows = read(scratch(whole[:cut] + whole[len(whole) - rest :]), "pointing.points")
    assert rows.index.tolist() in (list(range(48)), list(range(64)))
    assert np.abs(rows.values[-1] - points_of(int(rows.index[-1]))).max() <= 1 / 128


def test_a_killed_run_loses_at_most_its_last_chunk(tmp_path: Path) -> None:
    """After `kill -9` the file is whole, and goes to within a chunk of the last record."""
    configured(tmp_path, options="fields: [pointing.points], chunk_s: 0.3", source="EndlessSource")
    last_s = killed_run(tmp_path, 60)
    path = tmp_path / "killed" / "arrays.npz"
    rows = read(path, "pointing.points")
    assert rows.index.tolist() == [i for i in range(1, int(rows.index[-1]) + 1) if is_seen(i)]
    assert last_s - rows.time_s[-1] < 0.3 + 0.1  # a chunk, and two pictures of the source
    with np.load(path) as arrays:
        assert "pointing.points/00000" in arrays.files
