"""Processors and other plugins that misbehave, for the tests of how a run takes it."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vision.connectors.base import Connector
from vision.frame import Frame, Picture
from vision.incidents import Incident
from vision.intake import DecodedPicture, DecodedSound, Intake
from vision.processor import Options, Processor, Reads, StreamInfo
from vision.record import Record
from vision.result import IncidentRule, Result, array, metric
from vision.sinks.base import Sink
from vision.testing import make_picture


@dataclass(frozen=True, slots=True)
class Number(Result):
    """One number and one flag."""

    value: float | None = metric("A number", unit="1")
    odd: bool = metric("Odd", unit="bool", incident=IncidentRule("odd", when=True, min_s=0.0))
    mean_luma: float | None = metric("Mean luma", unit="1", default=None)


class CountOptions(Options):
    """Options of the processors here."""

    at: int = 2
    seconds: float = 60.0


class Counting(Processor[Number]):
    """Says the index of the frame."""

    Options = CountOptions

    def process(self, frame: Frame) -> Number | None:
        index = frame.index or 0
        return Number(float(index), index % 2 == 1, float(frame.picture.y.mean()))


class AsyncCounting(Counting):
    """The same, awaited."""

    async def process(self, frame: Frame) -> Number | None:  # type: ignore[override]
        await asyncio.sleep(0)
        return super().process(frame)


class Raising(Counting):
    """Raises from the frame `at` on."""

    def process(self, frame: Frame) -> Number | None:
        if (frame.index or 0) >= self.options.at:
            raise ValueError("of no\nuse")
        return super().process(frame)


class RaisingOnce(Counting):
    """Raises on the frame `at` alone."""

    def process(self, frame: Frame) -> Number | None:
        if frame.index == self.options.at:
            raise ValueError("this once")
        return super().process(frame)


class Hanging(Counting):
    """Does not come back from the frame `at`."""

    def process(self, frame: Frame) -> Number | None:
        if frame.index == self.options.at:
            time.sleep(self.options.seconds)
        return super().process(frame)


class Dying(Counting):
    """Kills its own process on the frame `at`."""

    def process(self, frame: Frame) -> Number | None:
        if frame.index == self.options.at:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().process(frame)


class Printing(Counting):
    """Prints while it works, as libraries do."""

    def process(self, frame: Frame) -> Number | None:
        print("noise " * 100, flush=True)  # noqa: T201
        return super().process(frame)


class Keeping(Counting):
    """Keeps all pictures, and says how bright the first one is."""

    def setup(self, info: StreamInfo) -> None:
        self._pictures: list[Picture] = []

    def process(self, frame: Frame) -> Number | None:
        self._pictures.append(frame.picture)
        return Number(frame.index, False, float(self._pictures[0].y.mean()))


class AnythingOptions(CountOptions):
    """What to raise."""

    error: str = "SystemExit"


class RaisingAnything(Counting):
    """Raises on the second frame what a plugin should not."""

    Options = AnythingOptions

    def process(self, frame: Frame) -> Number | None:
        if frame.index == 1:
            kinds = (SystemExit, KeyboardInterrupt, StopIteration, asyncio.CancelledError)
            raise next(kind for kind in kinds if kind.__name__ == self.options.error)
        return super().process(frame)


class AsyncCancelling(Counting):
    """Awaited, and cancels itself on the frame `at`."""

    async def process(self, frame: Frame) -> Number | None:  # type: ignore[override]
        if frame.index == self.options.at:
            raise asyncio.CancelledError
        return super().process(frame)


class HangingClose(Counting):
    """Does not come back from close."""

    def close(self) -> None:
        time.sleep(self.options.seconds)


class DyingOnceSetUp(Dying):
    """Dies, and cannot be set up a second time by the same parent."""

    def setup(self, info: StreamInfo) -> None:
        mark = Path(tempfile.gettempdir()) / f"vision-test-{os.getppid()}"
        if mark.exists():
            raise RuntimeError("set up once already")
        mark.touch()


class Unsendable(Counting):
    """Gives a result with something in it that cannot be pickled."""

    def process(self, frame: Frame) -> Number | None:
        if frame.index == self.options.at:
            return Number((lambda: 1), False)  # type: ignore[arg-type]
        return super().process(frame)


class SlowSetup(Counting):
    """Takes long to be set up."""

    def setup(self, info: StreamInfo) -> None:
        time.sleep(self.options.seconds)


class NoSetup(Counting):
    """Cannot be set up."""

    closed = 0

    def setup(self, info: StreamInfo) -> None:
        raise RuntimeError("no such device")

    def close(self) -> None:
        type(self).closed += 1


class WrongResult(Counting):
    """Gives something that is no result."""

    def process(self, frame: Frame) -> Any:
        return 7


class WrongValue(Counting):
    """Gives a result whose value no record can hold."""

    def process(self, frame: Frame) -> Number | None:
        return Number("seven", False)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Twice(Result):
    """Double of a number."""

    value: float = metric("Twice the number", unit="1")
    points: Any = array("Some points", unit="px", shape=(2,), default=None)


class Doubling(Processor[Twice]):
    """Needs the number."""

    needs = (Number,)

    def process(self, frame: Frame, number: Number | None) -> Twice | None:
        return None if number is None or number.value is None else Twice(2 * number.value)


class NeedsTwice(Processor[Number]):
    """Needs what needs it."""

    needs = (Twice,)


@dataclass(frozen=True, slots=True)
class Heard(Result):
    """What was heard."""

    samples: int = metric("Number of samples", unit="1")


class Listening(Processor[Heard]):
    """Counts samples, with or without a picture."""

    reads = Reads.BOTH

    def process(self, frame: Frame) -> Heard | None:
        return Heard(frame.sound.samples.size)


class NoDocumentedResult(Processor[Result]):
    """Its result type is no dataclass."""


class CountSourceOptions(Options):
    """Options of the sources here."""

    pictures: int = 10
    size_changes_at: int | None = None
    fps: float = 30.0
    fail: str | None = None


class CountSource(Connector):
    """Grey pictures that become brighter one by one, as fast as they are taken."""

    Options = CountSourceOptions
    live = False

    def tracks(self) -> tuple[Any, ...]:
        return ("picture",)

    async def stream(self, intake: Intake) -> str:
        options: CountSourceOptions = self.options
        for index in range(options.pictures):
            changed = options.size_changes_at is not None and index >= options.size_changes_at
            picture = make_picture(index % 200, width=80 if changed else 64)
            await intake.put(DecodedPicture(100 + index / options.fps, intake.now_s(), picture))
        if options.fail:
            raise RuntimeError(options.fail)
        return "all sent"


class LiveCountSource(CountSource):
    """The same, live: it does not wait."""

    live = True


class EndlessSource(CountSource):
    """Live pictures at their own pace until it is cancelled; counts how often it was released."""

    live = True
    released = 0

    async def stream(self, intake: Intake) -> str:
        index = 0
        try:
            while True:
                await intake.put(DecodedPicture(index / 50, intake.now_s(), make_picture(index % 200)))
                await asyncio.sleep(0.02)
                index += 1
        finally:
            await asyncio.sleep(0)
            EndlessSource.released += 1


class SilentSource(CountSource):
    """Live, and never sends anything."""

    live = True

    async def stream(self, intake: Intake) -> str:
        await asyncio.Event().wait()
        return "never"


class SoundSource(CountSource):
    """Sound alone."""

    def tracks(self) -> tuple[Any, ...]:
        return ("sound",)

    async def stream(self, intake: Intake) -> str:
        silence = make_picture().y.astype("float32").ravel()[:1600] * 0
        for block in range(self.options.pictures):
            await intake.put(DecodedSound(block / 10, intake.now_s(), silence, 16_000))
        return "all sent"


class NoConstructor(CountSource):
    """Cannot be made."""

    def __init__(self, options: Any, context: Any) -> None:
        raise RuntimeError("no constructor")


class ExitingConstructor(CountSource):
    """Calls sys.exit when it is made."""

    def __init__(self, options: Any, context: Any) -> None:
        raise SystemExit(7)


class StoppingConstructor(CountSource):
    """Lets a StopIteration out."""

    def __init__(self, options: Any, context: Any) -> None:
        next(iter(()))


class NoTracks(CountSource):
    """Cannot say its tracks."""

    def tracks(self) -> tuple[Any, ...]:
        raise RuntimeError("no tracks")


class SelfCancelling(CountSource):
    """Cancels itself after its pictures."""

    async def stream(self, intake: Intake) -> str:
        await super().stream(intake)
        raise asyncio.CancelledError


class Exiting(CountSource):
    """Calls sys.exit after its pictures."""

    async def stream(self, intake: Intake) -> str:
        await super().stream(intake)
        raise SystemExit(7)


class TimelessSource(CountSource):
    """Gives a picture at no time."""

    async def stream(self, intake: Intake) -> str:
        intake.facts |= {"odd": float("nan"), "thing": object()}
        await super().stream(intake)
        await intake.put(DecodedPicture(float("nan"), 0.0, make_picture()))
        return "never"


class DyingSource(EndlessSource):
    """Live; falls silent after a second and stays so."""

    async def stream(self, intake: Intake) -> str:
        for index in range(50):
            await intake.put(DecodedPicture(index / 50, intake.now_s(), make_picture(index % 200)))
            await asyncio.sleep(0.02)
        await asyncio.Event().wait()
        return "never"


class StallingSource(EndlessSource):
    """Live; sends nothing for a second in the middle, and then goes on where it would be."""

    async def stream(self, intake: Intake) -> str:
        started_s = intake.now_s()
        for index in range(150):
            if 50 <= index < 100:
                continue
            await asyncio.sleep(max(0.0, started_s + index / 50 - intake.now_s()))
            await intake.put(DecodedPicture(index / 50, intake.now_s(), make_picture(index % 200)))
        return "all sent"


class OutOfRange(Counting):
    """Says more than any metric bears."""

    def process(self, frame: Frame) -> Number | None:
        values = (1e200, float(10**15), 10**400)
        return Number(values[(frame.index or 0) % 3], False)


class NoOpenSink(Sink):
    """Cannot be opened."""

    def open(self) -> None:
        raise RuntimeError("no open")

    def write(self, record: Record) -> None:
        """Never called."""


class NoCloseSink(Sink):
    """Has not written what it kept, when it is closed."""

    def write(self, record: Record) -> None:
        """Keep it."""

    def close(self) -> None:
        raise OSError(28, "No space left on device")


class CancellingSink(Sink):
    """Raises what is no ordinary exception."""

    def write(self, record: Record) -> None:
        raise asyncio.CancelledError


class FullSink(Sink):
    """Its disk is full from the third record on."""

    def write(self, record: Record) -> None:
        if record.frame.index == 2:
            raise OSError(28, "No space left on device")


class BrokenSink(Sink):
    """Raises what a sink should not."""

    def write(self, record: Record) -> None:
        raise KeyError("oops")


class TellingSink(Sink):
    """Writes what it is told, in its order."""

    def open(self) -> None:
        self._told: list[str] = []

    def write(self, record: Record) -> None:
        self._told.append(f"picture {record.frame.index}")

    def add_incident(self, incident: Incident) -> None:
        self._told.append(f"{incident.kind} from {incident.start_s:.3f} s")

    def set_running(self, incidents: tuple[Incident, ...]) -> None:
        self._told.append(f"running: {' '.join(incident.kind for incident in incidents) or 'none'}")

    def close(self) -> None:
        (self.folder / "told.txt").write_text("\n".join(self._told))


class BoastingSink(Sink):
    """What it tells of itself is no facts."""

    def write(self, record: Record) -> None:
        """Nothing to do."""

    def facts(self) -> Any:
        return 7


class WaitingSink(Sink):
    """Writes whether the source waits for it."""

    def open(self) -> None:
        (self.folder / "waits.txt").write_text(str(self.waits))

    def write(self, record: Record) -> None:
        """Nothing to do."""


class DeafSink(TellingSink):
    """Fails with the incidents."""

    def add_incident(self, incident: Incident) -> None:
        raise ValueError("too loud")


class NoConclusionSink(Sink):
    """Cannot write what it writes last."""

    def write(self, record: Record) -> None:
        """Nothing."""

    def conclude(self) -> None:
        raise PermissionError(13, "Permission denied")
