"""The bounded queue."""

from __future__ import annotations

import asyncio
import dataclasses

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vision.frame import Frame
from vision.stream import FrameStream
from vision.testing import make_frame


def _frames(count: int) -> list[Frame]:
    """Frames whose samples count on from one to the next, ten each."""
    numbers = [np.arange(10 * i, 10 * i + 10, dtype=np.float32) for i in range(count)]
    return [make_frame(index=i, samples=samples) for i, samples in enumerate(numbers)]


async def _rest(stream: FrameStream) -> list[Frame]:
    return [frame async for frame in stream]


@given(st.integers(1, 8), st.lists(st.booleans(), max_size=60))
def test_latest_never_waits_and_keeps_all_sound(size: int, takes: list[bool]) -> None:
    """However puts and takes alternate, every sample comes out once and in order, and counts add up."""

    async def scenario() -> None:
        stream = FrameStream(size, "latest")
        frames, out = iter(_frames(len(takes))), []
        for take in takes:
            if take and stream.statistics().waiting:
                out.append(await anext(stream))
            else:
                await asyncio.wait_for(stream.put(next(frames)), 1)
        stream.close()
        out += await _rest(stream)
        heard = np.concatenate([frame.sound.samples for frame in out]) if out else np.zeros(0)
        np.testing.assert_array_equal(heard, np.arange(heard.size))
        counts = stream.statistics()
        assert heard.size == 10 * counts.received
        assert counts.received == counts.delivered + counts.dropped
        assert len(out) == counts.delivered
        indices = [frame.index for frame in out if frame.index is not None]
        assert indices == sorted(set(indices))

    asyncio.run(scenario())


@given(st.integers(1, 4), st.integers(0, 20))
def test_every_loses_nothing(size: int, count: int) -> None:
    """With `every`, the producer waits and each frame arrives as it was put in."""

    async def scenario() -> None:
        stream = FrameStream(size, "every")

        async def produce() -> None:
            for frame in _frames(count):
                await stream.put(frame)
                assert stream.statistics().waiting <= size
            stream.close()

        producing = asyncio.create_task(produce())
        assert [frame.index for frame in await _rest(stream)] == list(range(count))
        await producing
        assert stream.statistics().dropped == 0

    asyncio.run(scenario())


def test_drop_keeps_marks_of_missing_samples() -> None:
    """When a frame loses its picture, its missing ranges move on with its sound."""

    async def scenario() -> None:
        stream = FrameStream(1, "latest")
        first, second = _frames(2)
        first = dataclasses.replace(first, sound=dataclasses.replace(first.sound, missing=((2, 3),)))
        second = dataclasses.replace(second, sound=dataclasses.replace(second.sound, missing=((0, 1),)))
        await stream.put(first)
        await stream.put(second)
        frame = await anext(stream)
        assert frame.index == 1
        assert frame.sound.missing == ((2, 3), (10, 1))
        assert frame.sound.start_s == first.sound.start_s

    asyncio.run(scenario())


def test_worst_age_is_by_the_given_clock() -> None:
    """The age of a frame is from its put to its delivery."""
    times = iter([10.0, 10.5])

    async def scenario() -> None:
        stream = FrameStream(4, "every", now=lambda: next(times))
        await stream.put(make_frame())
        await anext(stream)
        assert stream.statistics().worst_age_ms == 500

    asyncio.run(scenario())


def test_closing_frees_a_waiting_producer() -> None:
    """A producer that waits for room goes on when the queue is closed or discarded."""

    async def scenario() -> None:
        stream = FrameStream(1, "every")
        await stream.put(make_frame())
        producing = asyncio.create_task(stream.put(make_frame(index=1)))
        await asyncio.sleep(0)
        stream.discard()
        await asyncio.wait_for(producing, 1)
        assert await _rest(stream) == []
        assert stream.statistics().waiting == 0

    asyncio.run(scenario())
