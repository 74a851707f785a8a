"""Threads and processes that processors run in."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import troublesome
from vision import remote as remote_module
from vision.frame import Frame, Picture
from vision.processor import StreamInfo
from vision.remote import RemoteError, RemoteProcessor
from vision.testing import make_frame, make_picture
from vision.workers import ProcessorHungError, Worker, worker_for

pytestmark = pytest.mark.usefixtures("no_threads_left")
_INFO = StreamInfo(live=False)


def _options(**given: Any) -> troublesome.CountOptions:
    return troublesome.CountOptions(**given)


def _frames(count: int) -> list[Frame]:
    return [make_frame(make_picture(10 * i), index=i) for i in range(count)]


async def _run(worker: Worker, frames: list[Frame]) -> list[Any]:
    """Results, or what was raised, frame by frame."""
    found: list[Any] = []
    try:
        await worker.setup(_INFO)
        for frame in frames:
            try:
                found.append(await worker.process(frame, ()))
            except Exception as error:
                found.append(error)
    finally:
        await worker.close()
    return found


@pytest.mark.parametrize("placement", ["thread", "process"])
def test_results_are_the_same_wherever_they_are_made(placement: str) -> None:
    """A picture is seen whole, also through shared memory and after a change of size."""
    sizes = [(64, 48), (64, 48), (33, 21), (640, 360)]
    rng = np.random.default_rng(1)
    planes = [rng.integers(0, 255, (h, w), np.uint8) for w, h in sizes]
    frames = [make_frame(make_picture(plane), index=i) for i, plane in enumerate(planes)]
    found = asyncio.run(_run(worker_for(troublesome.Counting, _options(), placement, "c", 5), frames))
    assert [result.value for result in found] == [0, 1, 2, 3]
    assert [result.mean_luma for result in found] == [plane.mean() for plane in planes]


def test_planes_with_wide_lines_cross_whole() -> None:
    """The lines of a decoder's planes are longer than the picture; what arrives is the picture."""
    wide = np.arange(48 * 96, dtype=np.uint8).reshape(48, 96)
    picture = Picture(wide[:, :64], wide[:24, :32], wide[24:, :32])
    frames = [make_frame(picture)]
    found = asyncio.run(_run(worker_for(troublesome.Counting, _options(), "process", "c", 5), frames))
    assert found[0].mean_luma == wide[:, :64].mean()


@pytest.mark.parametrize("placement", ["thread", "process"])
def test_a_picture_that_is_kept_stays_as_it_is(placement: str) -> None:
    """Also where pictures come through shared memory: later ones do not overwrite it."""
    found = asyncio.run(_run(worker_for(troublesome.Keeping, _options(), placement, "c", 5), _frames(4)[1:]))
    assert [result.mean_luma for result in found] == [10.0, 10.0, 10.0]


def test_async_processors_are_awaited() -> None:
    """`async def process` runs in the loop."""
    found = asyncio.run(_run(worker_for(troublesome.AsyncCounting, _options(), "thread", "c", 5), _frames(3)))
    assert [result.value for result in found] == [0, 1, 2]


@pytest.mark.parametrize("placement", ["thread", "process"])
def test_an_error_costs_its_frame_only(placement: str) -> None:
    """What a processor raises comes back as an error, and the next frame is measured."""
    found = asyncio.run(_run(worker_for(troublesome.RaisingOnce, _options(at=1), placement, "c", 5), _frames(3)))
    assert found[0].value == 0
    assert "this once" in str(found[1])
    assert found[2].value == 2


def test_a_hung_thread_is_given_up() -> None:
    """The first call ends at its time limit, later ones at once; nothing waits for the thread."""
    worker = worker_for(troublesome.Hanging, _options(at=1, seconds=1.0), "thread", "c", 0.2)
    found = asyncio.run(_run(worker, _frames(4)))
    assert found[0].value == 0
    assert all(isinstance(error, ProcessorHungError) for error in found[1:])
    worker._thread.join(5)
    assert not worker._thread.is_alive(), "its call has come back, and nobody wants it any more"


def test_a_hung_process_is_replaced() -> None:
    """The call ends at its time limit, its process is killed, and the next frame is measured by a new one."""
    worker = worker_for(troublesome.Hanging, _options(at=1), "process", "c", 0.5)
    found = asyncio.run(_run(worker, _frames(3)))
    assert str(found[1]) == "no answer in 0.5 s"
    assert found[2].value == 2


def test_a_dead_process_is_replaced() -> None:
    """A processor that kills its process costs one frame; how it ended is said."""
    found = asyncio.run(_run(worker_for(troublesome.Dying, _options(at=1), "process", "c", 5), _frames(3)))
    assert isinstance(found[1], RemoteError)
    assert "was killed by SIGKILL" in str(found[1])
    assert found[2].value == 2


def test_what_a_library_prints_does_not_disturb() -> None:
    """Standard output of the child is not the pipe of the answers."""
    found = asyncio.run(_run(worker_for(troublesome.Printing, _options(), "process", "c", 5), _frames(3)))
    assert [result.value for result in found] == [0, 1, 2]


def test_setup_that_fails_is_told_and_closed() -> None:
    """What setup raises comes through, in both placements, and close is called."""
    before = troublesome.NoSetup.closed
    with pytest.raises(RuntimeError, match="no such device"):
        asyncio.run(_run(worker_for(troublesome.NoSetup, _options(), "thread", "c", 5), []))
    assert troublesome.NoSetup.closed == before + 1
    with pytest.raises(RemoteError, match="RuntimeError: no such device"):
        asyncio.run(_run(worker_for(troublesome.NoSetup, _options(), "process", "c", 5), []))


def _is_alive(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status")
    return status.exists() and "State:\tZ" not in status.read_text()


def test_no_child_outlives_its_parent() -> None:
    """A parent that is killed takes the worker process along, for the pipe between them closes."""
    script = (
        "import time; from tests.troublesome import *; from vision.remote import RemoteProcessor;"
        "remote = RemoteProcessor(Counting, CountOptions(), 5, 30); remote.setup(StreamInfo(live=False));"
        "print(remote._child._process.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert _is_alive(child)
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 10
    while _is_alive(child) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not _is_alive(child)


def test_closing_ends_the_process() -> None:
    """After close there is no process, and none is started again."""
    unused = RemoteProcessor(troublesome.Counting, _options(), 5, 30)
    unused.close()
    remote = RemoteProcessor(troublesome.Counting, _options(), 5, 30)
    remote.setup(_INFO)
    assert remote._child is not None
    process = remote._child._process
    remote.close()
    assert process.returncode == 0
    with pytest.raises(RemoteError, match="it was closed"):
        remote.process(make_frame())


def test_a_close_that_hangs_leaves_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the processor's own time limit is, closing is bounded and the process is gone."""
    monkeypatch.setattr(remote_module, "CLOSE_S", 0.3)
    remote = RemoteProcessor(troublesome.HangingClose, _options(), 300, 30)
    remote.setup(_INFO)
    assert remote._child is not None
    with pytest.raises(RemoteError, match="no answer"):
        remote.close()
    assert remote._child._process.returncode == -signal.SIGKILL


def test_a_restart_that_fails_does_not_measure() -> None:
    """An instance whose setup failed is never asked; each call tries a new one."""
    options = _options(at=1)
    mark = Path(tempfile.gettempdir()) / f"vision-test-{os.getpid()}"
    mark.unlink(missing_ok=True)
    found = asyncio.run(_run(worker_for(troublesome.DyingOnceSetUp, options, "process", "c", 5), _frames(4)))
    assert found[0].value == 0
    assert [str(error) for error in found[2:]] == ["RuntimeError: set up once already"] * 2
    mark.unlink()


def test_what_cannot_be_sent_is_an_error_of_the_frame() -> None:
    """A result that cannot be pickled costs its frame, not the process."""
    found = asyncio.run(_run(worker_for(troublesome.Unsendable, _options(at=1), "process", "c", 5), _frames(3)))
    assert "its result cannot be sent" in str(found[1])
    assert found[2].value == 2


@pytest.mark.parametrize("error", ["SystemExit", "KeyboardInterrupt", "StopIteration", "CancelledError"])
def test_what_is_no_ordinary_error_stays_one_of_the_frame(error: str) -> None:
    """Neither thread nor run ends by what a plugin raises, whatever that is; it is not taken for a hang."""
    for placement in ("thread", "process"):
        worker = worker_for(troublesome.RaisingAnything, troublesome.AnythingOptions(error=error), placement, "c", 2)
        found = asyncio.run(_run(worker, _frames(3)))
        assert error in str(found[1])
        assert not isinstance(found[1], ProcessorHungError)
        assert found[2].value == 2


def test_abandoning_does_not_wait() -> None:
    """A child that hangs is killed at once, and its thread ends."""

    async def scenario() -> float:
        worker = worker_for(troublesome.Hanging, _options(at=0), "process", "c", 300)
        await worker.setup(_INFO)
        hanging = asyncio.create_task(worker.process(make_frame(), ()))
        await asyncio.sleep(0.2)
        begun = time.monotonic()
        worker.abandon()
        with pytest.raises((RemoteError, ProcessorHungError)):
            await hanging
        await worker.close()
        return time.monotonic() - begun

    assert asyncio.run(scenario()) < 5
