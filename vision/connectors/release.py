"""Letting go of things in good order, also while being cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

__all__ = ["ended", "uninterrupted"]


async def uninterrupted(work: Coroutine[Any, Any, None]) -> None:
    """Carry `work` out to its end; a cancellation meanwhile is passed on afterwards. `work` must be bounded in time."""
    task = asyncio.create_task(work)
    interruption: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            interruption = error
    if interruption is not None:
        if not task.cancelled():
            task.exception()  # seen; what interrupted goes first
        raise interruption
    task.result()


async def ended(*tasks: asyncio.Future[Any]) -> None:
    """Wait for tasks, whatever becomes of them; what they raise has been seen, and is raised where it matters."""
    await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled():
            task.exception()
