"""The connector `file`: a recording, as fast as it can be measured or at its own pace."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import av
import av.container
from pydantic import Field

from vision.clock import FileClock, MediaClock, Track
from vision.connectors.base import Connector, SourceContext
from vision.connectors.decoding import picture_of, samples_of
from vision.errors import SourceError
from vision.intake import DecodedPicture, DecodedSound, Intake
from vision.processor import Options

__all__ = ["FileConnector", "FileOptions"]

_SHORT_S = 0.5  # a recording that ends this much before its stated length is truncated
_MOST_BAD_PACKETS = 50  # in a row; then the rest is taken to be unreadable


class FileOptions(Options):
    """Options of `file`."""

    path: Path = Field(description="the recording; anything that FFmpeg's libraries open")
    pace: Literal["fast", "realtime"] = Field(
        "fast", description="fast: as fast as it can be measured; realtime: as fast as it would play"
    )


@dataclass(slots=True)
class _Progress:
    """How far the file was read, and what could not be."""

    pictures: int = 0
    end_s: float = 0.0
    bad_packets: int = 0
    bad_in_row: int = 0
    error: str | None = None


class FileConnector(Connector):
    """Pictures and samples of a recording, on the time of its container.

    Packets that cannot be decoded are counted and passed over. A file that breaks off is measured as far as it
    goes, and then it is an error that says where.
    """

    Options = FileOptions
    live: ClassVar[bool] = False

    def __init__(self, options: FileOptions, context: SourceContext) -> None:
        super().__init__(options, context)
        self._path = options.path.expanduser()
        self._container = _opened(self._path)
        streams = self._container.streams
        self._video, self._audio = next(iter(streams.video), None), next(iter(streams.audio), None)
        self._progress = _Progress()

    def tracks(self) -> Iterable[Track]:
        found: list[Track] = ["picture"] if self._video else []
        return [*found, "sound"] if self._audio else found

    def clock(self) -> MediaClock:
        return FileClock()

    async def stream(self, intake: Intake) -> str:
        intake.facts |= self._facts()
        units = self._units(intake)
        try:
            started_s = first_s = None
            while (unit := await asyncio.to_thread(next, units, None)) is not None:
                if self.options.pace == "realtime":
                    started_s = intake.now_s() if started_s is None else started_s
                    first_s = unit.track_s if first_s is None else first_s
                    await asyncio.sleep(max(0.0, started_s + unit.track_s - first_s - intake.now_s()))
                await intake.put(unit)
        finally:
            await asyncio.to_thread(self._container.close)
        intake.facts["bad_packets"] = self._progress.bad_packets
        return self._conclusion()

    def _units(self, intake: Intake) -> Iterator[DecodedPicture | DecodedSound]:
        """Decode in the order of the file; runs in a thread, a unit at a time."""
        chosen = [stream for stream in (self._video, self._audio) if stream is not None]
        for packet in self._packets(chosen):
            for frame in self._decoded(packet):
                track_s = float(frame.pts * frame.time_base)
                self._progress.end_s = max(self._progress.end_s, track_s)
                if isinstance(frame, av.VideoFrame):
                    self._progress.pictures += 1
                    yield DecodedPicture(
                        track_s,
                        intake.now_s(),
                        picture_of(frame),
                        key_frame=bool(frame.key_frame),
                        corrupt=bool(frame.is_corrupt),
                    )
                else:
                    yield DecodedSound(track_s, intake.now_s(), samples_of(frame), frame.sample_rate)

    def _packets(self, streams: list[Any]) -> Iterator[Any]:
        try:
            yield from self._container.demux(streams)
        except (av.FFmpegError, OSError) as error:
            self._progress.error = error.strerror or str(error)

    def _decoded(self, packet: Any) -> Iterator[Any]:
        progress = self._progress
        if progress.bad_in_row > _MOST_BAD_PACKETS:
            return
        try:
            frames = packet.decode()
        except (av.FFmpegError, ValueError):
            progress.bad_packets += 1
            progress.bad_in_row += 1
            return
        progress.bad_in_row = 0
        yield from (frame for frame in frames if frame.pts is not None)

    def _conclusion(self) -> str:
        """Why it ended.

        :raises SourceError: when that is not the end it should have had.
        """
        progress, stated_s = self._progress, self._stated_s()
        measured = f"{progress.pictures} pictures up to {progress.end_s:.2f} s were measured"
        if progress.bad_in_row > _MOST_BAD_PACKETS:
            raise SourceError(f"{self._path}: cannot be decoded to its end (corrupt?); {measured}")
        if progress.error:
            raise SourceError(f"{self._path}: breaks off: {progress.error}; {measured}")
        if stated_s is not None and progress.end_s < stated_s - max(_SHORT_S, 0.02 * stated_s):
            raise SourceError(f"{self._path}: ends early, at {progress.end_s:.2f} s of {stated_s:.2f} s; {measured}")
        return "end of file"

    def _stated_s(self) -> float | None:
        """Where the last frame should be by the container's word, on the tracks' time."""
        chosen = [stream for stream in (self._video, self._audio) if stream is not None]
        ends = [
            float(((stream.start_time or 0) + stream.duration) * stream.time_base)
            for stream in chosen
            if stream.duration and stream.time_base
        ]
        return max(ends, default=None)

    def _facts(self) -> dict[str, Any]:
        facts: dict[str, Any] = {"container": self._container.format.name}
        if self._video is not None:
            context, rate = self._video.codec_context, self._video.average_rate
            facts["video"] = {
                "codec": context.name,
                "width": context.width,
                "height": context.height,
                "fps": round(float(rate), 3) if rate else None,
            }
        if self._audio is not None:
            audio = self._audio.codec_context
            facts["audio"] = {"codec": audio.name, "rate_hz": audio.sample_rate, "channels": audio.channels}
        return facts


def _opened(path: Path) -> av.container.InputContainer:
    if not path.exists():
        raise SourceError(f"{path}: there is no such file")
    try:
        container = av.open(str(path), "r")
    except (av.FFmpegError, OSError) as error:
        reason = error.strerror or str(error)
        if isinstance(error, av.InvalidDataError) or error.errno == errno.EINVAL:
            reason = "it is no recording, or it lacks its index (truncated?)"
        raise SourceError(f"{path}: cannot be opened: {reason}") from error
    if not container.streams.video and not container.streams.audio:
        container.close()
        raise SourceError(f"{path}: cannot be opened: it holds neither pictures nor sound")
    return container
