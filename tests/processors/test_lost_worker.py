"""face_landmarks in its worker process, which is killed in the middle of a live run."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from pathlib import Path

import pytest

from tests.connectors.support import prepared, run_clean, until
from vision.runner import Outcome

RUN = """
source: {use: simulator, size: [1280, 720], fps: 30}
run: {duration_s: 6}
processors:
  - use: face_landmarks
  - use: face_dynamics
"""


def workers() -> list[int]:
    """The worker processes of this process."""
    found = []
    for children in Path(f"/proc/{os.getpid()}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += [int(each) for each in children.read_text().split()]
    return [each for each in found if b"vision.remote" in Path(f"/proc/{each}/cmdline").read_bytes()]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finds the worker in /proc")
def test_a_worker_that_is_killed(tmp_path: Path, attention_model: Path) -> None:
    """At most a second of figures is lost, is marked as not measured, and counts; the run goes on with a new worker."""

    async def scenario() -> Outcome:
        run = prepared(tmp_path, RUN)
        executing = asyncio.create_task(run.execute())
        await until(lambda: executing.done() or (run.latest is not None and run.latest.frame.time_s > 2))
        (worker,) = workers()
        os.kill(worker, signal.SIGKILL)
        return await executing

    outcome = run_clean(scenario(), 60)
    assert (outcome.exit_status, outcome.error) == (0, None)
    records = [json.loads(line) for line in (tmp_path / "out" / "frames.jsonl").read_text().splitlines()]
    pictures = [record for record in records if record["index"] is not None]
    failed = [record for record in pictures if "face_landmarks" in record["errors"]]
    assert failed
    assert "SIGKILL" in failed[0]["errors"]["face_landmarks"]
    assert all(record["face_landmarks"] is None and record["face_dynamics"] is None for record in failed)
    measured = [record for record in pictures if record["face_landmarks"] is not None]
    queue, metrics = outcome.summary["queue"], outcome.summary["metrics"]
    due = queue["received"]
    assert due - len(measured) <= 30, "more than a second of figures was lost"
    assert metrics["face_landmarks.face_present"]["coverage"] == pytest.approx(len(measured) / due, abs=1e-4)
    assert pictures[-1]["face_landmarks"]["face_present"]
