"""The connector `file`: a recording, as fast as it can be measured or at its own pace."""

from __future__ import annotations

import asyncio
import dataclasses
import errno
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import av
import av.container
from av.stream import Disposition
from pydantic import Field

from vision.clock import FileClock, MediaClock, Track
from vision.connectors.base import Connector, SourceContext
from vision.connectors.decoding import picture_of, samples_of
from vision.connectors.release import uninterrupted
from vision.errors import SourceError
from vision.frame import ClockQuality
from vision.intake import DecodedPicture, DecodedSound, Intake
from vision.processor import Options

__all__ = ["FileConnector", "FileOptions"]

_SHORT_S = 0.5  # a recording that ends this much before its stated length is truncated
_MOST_BAD_PACKETS = 50  # in a row of one track; then the rest is taken to be unreadable
_GUESSED_FPS = 25  # of a stream that says neither times nor a rate, as FFmpeg does
_ESTIMATE = 0.02  # a stated length this near to size / bit rate was made from them
_MOST_AHEAD = 64_000_000  # bytes before the first picture; it does not come, or too late to wait for
_PLACING_S = 0.002  # how far blocks of sound may be from where they are said to be before they are moved there
_IN_CODING_ORDER = frozenset(["asf", "avi"])  # they say when pictures are to be decoded, not when to be shown
# What names other files and addresses instead of holding pictures: reading it may wait for ever, and go anywhere.
_PLAYLISTS = frozenset(["concat", "dash", "hls", "imf", "rtp", "rtsp", "sap", "sdp", "webm_dash_manifest"])
_PLAYLIST_SIGNS = (b"#EXTM3U", b"ffconcat", b"<MPD", b"<CompositionPlaylist", b"\nm=video", b"\nm=audio")
_SIGNS_WITHIN = 4096
_NO_RECORDINGS = frozenset(["tty"])  # texts are pictures to FFmpeg
_ALLOWED = {
    "protocol_whitelist": "file,crypto,data",
    "format_whitelist": ",".join(sorted(av.formats_available - _PLAYLISTS)),
}

_Unit = DecodedPicture | DecodedSound


class FileOptions(Options):
    """Options of `file`."""

    path: Path = Field(description="the recording; anything that FFmpeg's libraries open")
    pace: Literal["fast", "realtime"] = Field(
        "fast", description="fast: as fast as it can be measured; realtime: as fast as it would play"
    )


@dataclass(slots=True)
class _TrackProgress:
    """How far one track was read."""

    frames: int = 0
    end_s: float | None = None
    bad_in_row: int = 0
    passed_over: bool = False  # what was there between the newest frame and here is not to be shown
    torn: bool = False  # a picture was damaged, and those after it build on it until the next key frame


@dataclass(slots=True)
class _Progress:
    """How far the file was read, and what could not be."""

    picture: _TrackProgress = field(default_factory=_TrackProgress)
    sound: _TrackProgress = field(default_factory=_TrackProgress)
    bad_packets: int = 0
    error: str | None = None

    @property
    def end_s(self) -> float:
        return max((track.end_s for track in (self.picture, self.sound) if track.end_s is not None), default=0.0)


class _ContainerClock(FileClock):
    """The container's time, and how exactly it is said.

    :ivar error_ms: see `ClockQuality`.
    :ivar begin_s: where the pictures will begin, which is zero if they cannot be waited for; `None`: not known.
    """

    def __init__(self, error_ms: float | None) -> None:
        super().__init__()
        self.error_ms = error_ms
        self.begin_s: float | None = None

    def settle(self) -> None:
        if self.begin_s is not None:
            self._first.setdefault("picture", self.begin_s)
        super().settle()

    @property
    def quality(self) -> ClockQuality:
        return ClockQuality("file", self.error_ms)


class FileConnector(Connector):
    """Pictures and samples of a recording, on the time of its container.

    Packets that cannot be decoded are counted and passed over. A file that breaks off is measured as far as it
    goes, and then it is an error that says where.

    FFmpeg's libraries apply what the container says of times: an edit list's empty beginning and its cuts, the samples
    that an encoder put before the sound. Two things they cannot, and the clock then says that its error is not known:
    pictures out of order in a container that has only times of decoding (AVI, ASF), and sound from where several
    edits follow each other.
    """

    Options = FileOptions
    live: ClassVar[bool] = False

    def __init__(self, options: FileOptions, context: SourceContext) -> None:
        super().__init__(options, context)
        self._path = _expanded(options.path)
        self._container = _opened(self._path)
        streams = self._container.streams
        self._video, self._audio = _first_usable(streams.video), _first_usable(streams.audio)
        self._clock = _ContainerClock(self._error_ms())
        self._progress = _Progress()
        self._reading: asyncio.Task[_Unit | None] | None = None

    def tracks(self) -> Iterable[Track]:
        found: list[Track] = ["picture"] if self._video else []
        return [*found, "sound"] if self._audio else found

    def clock(self) -> MediaClock:
        return self._clock

    async def stream(self, intake: Intake) -> str:
        intake.facts |= self._facts()
        try:
            if self.options.pace == "realtime":
                await self._play(intake)
            else:
                await self._read(intake)
            return self._conclusion()  # the container's word can be asked for only while it is open
        finally:
            intake.facts["bad_packets"] = self._progress.bad_packets
            await uninterrupted(self._close())

    async def _read(self, intake: Intake) -> None:
        units = self._units(intake)
        while (unit := await self._next(units)) is not None:
            await intake.put(unit)

    async def _play(self, intake: Intake) -> None:
        """As `_read`, but nothing is handed in before its time; what is late does not move the rest."""
        units = self._units(intake)
        offset_s: float | None = None
        while (unit := await self._next(units)) is not None:
            if offset_s is None:
                offset_s = intake.now_s() - unit.track_s
            await asyncio.sleep(max(0.0, offset_s + unit.track_s - intake.now_s()))
            await intake.put(dataclasses.replace(unit, arrival_s=intake.now_s()))

    async def _next(self, units: Iterator[_Unit]) -> _Unit | None:
        self._reading = asyncio.create_task(asyncio.to_thread(next, units, None))
        return await asyncio.shield(self._reading)

    async def _close(self) -> None:
        """Close the container, but never below a thread that is decoding from it: that would crash the process."""
        if self._reading is not None:
            await asyncio.wait([self._reading])
        await asyncio.to_thread(self._container.close)

    def _units(self, intake: Intake) -> Iterator[_Unit]:
        """Decode in the order of the file; runs in a thread, a unit at a time."""
        for packet in self._packets():
            is_video = packet.stream is self._video
            track = self._progress.picture if is_video else self._progress.sound
            if not is_video:
                self._look_for_cuts(packet, track)
            for frame in self._decoded(packet, track):
                track_s = _time_of(frame, track, in_coding_order=is_video and self._in_coding_order)
                track.frames += 1
                track.end_s = track_s + _length_of(frame, packet.stream)
                if is_video:
                    track.torn = bool(frame.is_corrupt) or (track.torn and not frame.key_frame)
                    yield _picture(frame, track_s, intake.now_s(), corrupt=track.torn)
                else:
                    yield DecodedSound(track_s, intake.now_s(), samples_of(frame), frame.sample_rate)

    def _packets(self) -> Iterator[Any]:
        packets = self._demuxed()
        if self._video is not None and self._audio is not None:
            yield from self._up_to_the_first_picture(packets)
        yield from packets

    def _up_to_the_first_picture(self, packets: Iterator[Any]) -> list[Any]:
        """Read ahead, so that zero is known however long there is sound before; headers do not say it reliably."""
        ahead: list[Any] = []
        size = 0
        for packet in packets:
            ahead.append(packet)
            size += packet.size
            if packet.stream is self._video and packet.pts is not None and not packet.is_discard:
                self._clock.begin_s = float(packet.pts * packet.time_base)
                break
            if size > _MOST_AHEAD:
                break
        return ahead

    def _demuxed(self) -> Iterator[Any]:
        chosen = [stream for stream in (self._video, self._audio) if stream is not None]
        try:
            yield from self._container.demux(chosen)
        except (av.FFmpegError, OSError) as error:
            self._progress.error = error.strerror or str(error)

    def _look_for_cuts(self, packet: Any, sound: _TrackProgress) -> None:
        """FFmpeg's libraries begin a second edit with whole packets, so that it is off by the rest of one."""
        if packet.is_discard:
            sound.passed_over = sound.frames > 0
        elif sound.passed_over and packet.size:
            self._clock.error_ms = None

    def _decoded(self, packet: Any, track: _TrackProgress) -> Sequence[Any]:
        if track.bad_in_row > _MOST_BAD_PACKETS:
            return ()
        try:
            frames: Sequence[Any] = packet.decode()
        except (av.FFmpegError, ValueError):
            self._progress.bad_packets += 1
            track.bad_in_row += 1
            return ()
        track.bad_in_row = 0
        return frames

    def _conclusion(self) -> str:
        """Why it ended.

        :raises SourceError: when that is not the end it should have had.
        """
        progress, stated_s = self._progress, self._stated_s()
        measured = f"{progress.picture.frames} pictures up to {progress.end_s:.2f} s were measured"
        if progress.error:
            raise SourceError(f"{self._path}: breaks off: {progress.error}; {measured}")
        for kind, stream, track in (
            ("pictures", self._video, progress.picture),
            ("sound", self._audio, progress.sound),
        ):
            if track.bad_in_row > _MOST_BAD_PACKETS:
                raise SourceError(f"{self._path}: the {kind} cannot be decoded to the end (corrupt?); {measured}")
            if stream is not None and not track.frames and progress.bad_packets:
                raise SourceError(f"{self._path}: the {kind} cannot be decoded (corrupt?); {measured}")
        if stated_s is not None and progress.end_s < stated_s - max(_SHORT_S, 0.02 * stated_s):
            raise SourceError(f"{self._path}: ends early, at {progress.end_s:.2f} s of {stated_s:.2f} s; {measured}")
        if not progress.picture.frames and not progress.sound.frames:
            raise SourceError(f"{self._path}: holds no picture and no sound")
        return "end of file"

    def _stated_s(self) -> float | None:
        """Where the last frame should end by the container's word, on the tracks' time."""
        chosen = [stream for stream in (self._video, self._audio) if stream is not None]
        ends = [
            float(((stream.start_time or 0) + stream.duration) * stream.time_base)
            for stream in chosen
            if stream.duration and stream.time_base and not self._is_estimate(stream)
        ]
        if ends:
            return max(ends)
        alone = len(chosen) == len(self._container.streams)  # subtitles may last longer
        if alone and "matroska" in self._container.format.name and self._container.duration:
            return ((self._container.start_time or 0) + self._container.duration) / av.time_base
        return None

    def _is_estimate(self, stream: Any) -> bool:
        """Whether a duration is no more than the file's size at a guessed bit rate (MP3, AAC)."""
        if not stream.bit_rate or len(self._container.streams) > 1:
            return False
        stated_s = float(stream.duration * stream.time_base)
        return abs(self._container.size * 8 / int(stream.bit_rate) - stated_s) < _ESTIMATE * stated_s

    @property
    def _in_coding_order(self) -> bool:
        return self._container.format.name in _IN_CODING_ORDER

    def _error_ms(self) -> float | None:
        """How far the times of pictures and sound may be from what was written, in ms; `None`: no bound is known."""
        if self._video is None or self._audio is None:
            return 0.0
        if self._in_coding_order and self._video.codec_context.has_b_frames:
            return None
        # the sound's time is rounded twice: its beginning, and how much of that is the encoder's
        rounding_s = float(self._video.time_base / 2 + self._audio.time_base)
        return math.ceil(10_000 * (_PLACING_S + rounding_s)) / 10

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


def _expanded(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise SourceError(f"{path}: there is no such user; write ./~ for a file of that name") from error


def _opened(path: Path) -> av.container.InputContainer:
    try:
        if not path.exists():
            raise SourceError(f"{path}: there is no such file")
        if not path.is_file():  # a pipe would block, and its end is no end of a recording
            raise SourceError(f"{path}: is no file; give a recording")
        # file: a name with a colon in it is a name, not a protocol
        container = av.open(f"file:{path}", "r", options=_ALLOWED)
    except (av.FFmpegError, OSError, ValueError, MemoryError) as error:
        playlist = "it is a playlist; give the recording itself" if _is_playlist(path) else None
        raise SourceError(f"{path}: cannot be opened: {playlist or _why_not_opened(error)}") from error
    reason = _why_not_usable(container)
    if reason:
        container.close()
        raise SourceError(f"{path}: cannot be opened: {reason}")
    return container


def _is_playlist(path: Path) -> bool:
    """Whether a file that was refused is a text that names others, by its beginning."""
    try:
        with path.open("rb") as file:
            head = file.read(_SIGNS_WITHIN)
    except (OSError, ValueError):
        return False
    return any(sign in head for sign in _PLAYLIST_SIGNS)


def _why_not_opened(error: Exception) -> str:
    if isinstance(error, av.InvalidDataError) or getattr(error, "errno", None) == errno.EINVAL:
        return "it is no recording, or it lacks its index (truncated?)"
    return getattr(error, "strerror", None) or " ".join(str(error).split())


def _why_not_usable(container: av.container.InputContainer) -> str | None:
    streams = container.streams
    if container.format.name in _NO_RECORDINGS:
        return "it is a text, no recording"
    if not streams.video and not streams.audio:
        return "it holds neither pictures nor sound"
    if not _first_usable(streams.video) and not _first_usable(streams.audio):
        return "its codecs are not known here"
    return None


def _first_usable(streams: Iterable[Any]) -> Any:
    """The first track that can be decoded and is no cover art."""
    usable = (s for s in streams if s.codec_context is not None and not s.disposition & Disposition.attached_pic)
    return next(usable, None)


def _time_of(frame: Any, track: _TrackProgress, *, in_coding_order: bool) -> float:
    """When a frame begins, on the track's time; where the file does not say, at the end of the one before.

    :param in_coding_order: the time that is said is the coded packet's, of which another picture is decoded; it is
        shown when the decoder gives it out.
    """
    time = frame.dts if in_coding_order else frame.pts
    if time is not None and frame.time_base:
        return float(time * frame.time_base)
    return track.end_s or 0.0


def _length_of(frame: Any, stream: Any) -> float:
    """How long a frame lasts, in seconds."""
    if isinstance(frame, av.AudioFrame):
        return frame.samples / frame.sample_rate if frame.sample_rate else 0.0
    if frame.duration and frame.time_base:
        return float(frame.duration * frame.time_base)
    return float(1 / (stream.average_rate or stream.guessed_rate or _GUESSED_FPS))


def _picture(frame: av.VideoFrame, track_s: float, arrival_s: float, *, corrupt: bool) -> DecodedPicture:
    return DecodedPicture(
        track_s,
        arrival_s,
        picture_of(frame),
        key_frame=bool(frame.key_frame),
        corrupt=corrupt,
    )
