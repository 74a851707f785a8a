"""An event loop whose clock jumps to the next timer when there is nothing else to do: waiting takes no time."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _Selector(selectors.DefaultSelector):
    """Passes over the time that would have been waited."""

    skipped_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events = super().select(0 if timeout is not None else None)
        if not events and timeout is not None and timeout > 0:
            self.skipped_s += timeout
        return events


class HurriedLoop(asyncio.SelectorEventLoop):
    """Its `time` is what all timers and `asyncio.sleep` go by."""

    def __init__(self) -> None:
        self._hurried = _Selector()
        super().__init__(self._hurried)

    def time(self) -> float:
        return super().time() + self._hurried.skipped_s


def run_hurried(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end; nothing may be left behind. Not for work that waits for threads or sockets."""

    async def main() -> T:
        result = await work
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, f"tasks left behind: {left}"
        return result

    with asyncio.Runner(loop_factory=HurriedLoop) as runner:
        return runner.run(main())
