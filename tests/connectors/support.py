"""What several tests of the connectors share: a loop that must be left clean, and an intake that keeps all."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest

from vision.align import Aligner
from vision.clock import ArrivalClock
from vision.config import load
from vision.connectors.base import Connector, SourceContext
from vision.errors import SourceError
from vision.frame import Frame
from vision.intake import DecodedPicture, DecodedSound, Intake
from vision.runner import Outcome, Run
from vision.stream import FrameStream

T = TypeVar("T")
TOKEN = "tok3n-that-nobody-may-see"


def run_clean(work: Coroutine[Any, Any, T], limit_s: float = 20) -> T:
    """Run to the end; what is left behind, or fails where nobody looks, fails the test."""
    complaints: list[str] = []
    before = set(threading.enumerate())

    async def main() -> T:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: complaints.append(str(context)))
        async with asyncio.timeout(limit_s):
            result = await work
        left = asyncio.all_tasks() - {asyncio.current_task()}
        if left:
            _, left = await asyncio.wait(left, timeout=1)
        assert not left, f"tasks left behind: {left}"
        return result

    result = asyncio.run(main())
    assert not complaints
    new = set(threading.enumerate()) - before
    for thread in new:
        thread.join(2)  # told to end, it may be on its way
    left = [thread for thread in new if thread.is_alive()]
    assert not left, f"threads left behind: {left}"
    return result


class Collector(Intake):
    """Keeps what is handed in, and when."""

    def __init__(self) -> None:
        super().__init__(ArrivalClock(["picture"]), Aligner(live=True, expects_sound=False), FrameStream(64, "latest"))
        self.pictures: list[tuple[DecodedPicture, float]] = []
        self.sounds: list[tuple[DecodedSound, float]] = []
        self.begun = asyncio.Event()

    async def put(self, unit: DecodedPicture | DecodedSound) -> None:
        self.put_nowait(unit)

    def put_nowait(self, unit: DecodedPicture | DecodedSound) -> None:
        if isinstance(unit, DecodedPicture):
            self.pictures.append((unit, self.now_s()))
        else:
            self.sounds.append((unit, self.now_s()))
        self.begun.set()


def made(connector: type[Connector], **options: Any) -> Connector:
    """A connector with its options."""
    return connector(connector.Options(**options), SourceContext())


async def refused(connector: Connector) -> str:
    """The message with which a source fails: one line, without the token."""
    with pytest.raises(SourceError) as caught:
        await connector.stream(Collector())
    return checked(str(caught.value))


def checked(message: str) -> str:
    """A message that holds to the rules for messages."""
    assert message
    assert "\n" not in message
    assert TOKEN not in message
    assert len(message) < 500
    return message


async def frames_of(connector: Connector, size: int = 16) -> tuple[list[Frame], str]:
    """The aligned frames of a source, and how it ended; an error counts as an end."""
    stream = FrameStream(size, "every")
    aligner = Aligner(live=connector.live, expects_sound="sound" in connector.tracks())
    intake = Intake(connector.clock(), aligner, stream)

    async def produce() -> str:
        try:
            return await connector.stream(intake)
        except SourceError as error:
            return checked(str(error))
        finally:
            await intake.end()
            stream.close()

    producing = asyncio.create_task(produce())
    frames = [frame async for frame in stream]
    return frames, await producing


def prepared(folder: Path, text: str, name: str = "out") -> Run:
    """A run from YAML."""
    path = folder / f"{name}.yaml"
    path.write_text(text)
    return Run(load(path), folder / name)


async def executed(folder: Path, text: str, name: str = "out") -> Outcome:
    """The outcome of a run from YAML."""
    return await prepared(folder, text, name).execute()


async def until(condition: Callable[[], object]) -> None:
    """Wait for what nothing tells of."""
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0.01)
