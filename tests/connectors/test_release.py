"""Work that must be carried out is, however often it is interrupted."""

from __future__ import annotations

import asyncio

import pytest

from tests.connectors.support import run_clean
from vision.connectors.release import uninterrupted


@pytest.mark.parametrize("cancels", [0, 1, 5])
def test_work_is_carried_out(cancels: int) -> None:
    """Cancellations wait until the work is done, and are passed on then."""

    async def scenario() -> None:
        steps: list[int] = []

        async def work() -> None:
            for step in range(3):
                await asyncio.sleep(0.02)
                steps.append(step)

        task = asyncio.create_task(uninterrupted(work()))
        for _ in range(cancels):
            await asyncio.sleep(0.005)
            task.cancel()
        await asyncio.wait([task])
        assert steps == [0, 1, 2]
        assert task.cancelled() == bool(cancels)

    run_clean(scenario())


def test_a_failure_of_the_work_is_raised() -> None:
    """What goes wrong while releasing is not swallowed."""

    async def work() -> None:
        await asyncio.sleep(0)
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        run_clean(uninterrupted(work()))


def test_a_failure_under_cancellation_gives_way_to_it() -> None:
    """Where both happen, the cancellation is what counts, and nothing is reported as never retrieved."""

    async def work() -> None:
        await asyncio.sleep(0.02)
        raise OSError("gone")

    async def scenario() -> None:
        task = asyncio.create_task(uninterrupted(work()))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    run_clean(scenario())
