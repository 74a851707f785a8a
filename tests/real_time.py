"""Tests that live in real time go first: half of the workers take them, and all other tests give way to these."""

from __future__ import annotations

import os

from xdist.scheduler import LoadFileScheduling
from xdist.workermanage import WorkerController

__all__ = ["RealTimeFirst", "give_way", "is_real_time"]

_REAL_TIME = (
    "tests/connectors/",
    "tests/peers/",
    "tests/processors/test_sound_and_stream.py",
    "tests/report/test_planted.py",
    "tests/simulator/test_process.py",
    "tests/simulator/test_webrtc.py",
    "tests/test_demo.py",
    "tests/test_fault_detection.py",
)
_NICE = 10


def is_real_time(nodeid: str) -> bool:
    """Whether a test, or the file of tests, wants its turn on a processor when it is due, though little of it."""
    return nodeid.startswith(_REAL_TIME)


def give_way() -> None:
    """From now on this process, and what it starts, yields to those that have not given way."""
    os.nice(_NICE - os.nice(0))


class RealTimeFirst(LoadFileScheduling):  # type: ignore[misc]  # it has no types
    """A file at a time; the first half of the workers begins with those that live in real time."""

    def _assign_work_unit(self, node: WorkerController) -> None:
        first = int(node.gateway.id.removeprefix("gw")) < max(1, self.numnodes // 2)
        wanted = next((scope for scope in self.workqueue if is_real_time(scope) == first), None)
        if wanted is not None:
            self.workqueue.move_to_end(wanted, last=False)
        super()._assign_work_unit(node)
