"""Clips of the last seconds: pictures are kept reduced and coded, sound as it is, and written as MP4 when asked for."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import av
import cv2
import numpy as np
from av.codec.context import Flags
from av.video.frame import PictureType
from numpy.typing import NDArray

from vision.frame import Picture, Plane, Sound

__all__ = ["CODEC", "KEY_FRAME_EVERY_S", "CodedPicture", "HeardSound", "PictureCoder", "Recent", "Span", "write_clip"]

CODEC = "libx264"
KEY_FRAME_EVERY_S = 1.0
"""How much earlier than asked for a clip may begin."""

_CLOCK_HZ = 90_000
_TIME_BASE = Fraction(1, _CLOCK_HZ)
_SOUND_HZ = 48_000
_BLOCK = 1024  # samples of an AAC frame
_RATE_KBPS = 1500
_FULL_RANGE = 2  # AVCOL_RANGE_JPEG
_ROUNDING_S = 1e-6


class Span(NamedTuple):
    """A stretch of media time, both ends included."""

    begin_s: float
    end_s: float

    def holds(self, time_s: float) -> bool:
        """Whether a time lies in it."""
        return self.begin_s - _ROUNDING_S <= time_s <= self.end_s + _ROUNDING_S


@dataclass(frozen=True, slots=True)
class CodedPicture:
    """A coded picture of H264 (Annex B), without parameter sets."""

    time_s: float
    key_frame: bool
    data: bytes


@dataclass(frozen=True, slots=True)
class HeardSound:
    """`samples` is `(N,) int16` mono, the first of which sounds at `time_s`."""

    time_s: float
    rate_hz: int
    samples: NDArray[np.int16]

    @classmethod
    def of(cls, sound: Sound) -> HeardSound:
        """As a frame has it."""
        return cls(sound.start_s, sound.rate_hz, np.rint(32767 * np.clip(sound.samples, -1, 1)).astype(np.int16))


Timed = TypeVar("Timed", CodedPicture, HeardSound)


class Recent(Generic[Timed]):
    """What came in the last seconds, and of what was before only that which lies in the spans that are wanted."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._recent: deque[Timed] = deque()
        self._kept: list[Timed] = []
        self._wanted: frozenset[Span] = frozenset()

    def add(self, item: Timed) -> None:
        """Take what is newest."""
        self._recent.append(item)

    def trim(self, now_s: float, wanted: frozenset[Span]) -> None:
        """Let go of what is neither recent nor wanted."""
        if wanted != self._wanted:
            self._wanted = wanted
            self._kept = [item for item in self._kept if self._is_wanted(item)]
        while self._recent and self._recent[0].time_s < now_s - self._seconds:
            item = self._recent.popleft()
            if self._is_wanted(item):
                self._kept.append(item)

    def within(self, span: Span) -> list[Timed]:
        """What lies in a span."""
        return [item for item in self if span.holds(item.time_s)]

    def __iter__(self) -> Iterator[Timed]:
        yield from self._kept
        yield from self._recent

    def _is_wanted(self, item: Timed) -> bool:
        return any(span.holds(item.time_s) for span in self._wanted)


class PictureCoder:
    """Codes pictures as H264, reduced to a height; a key frame each second.

    All are coded in the size of the first one; where another size comes, it is fitted into that, with bars.

    :raises av.FFmpegError: when there is no encoder, or it fails.
    """

    def __init__(self, height: int) -> None:
        self._height = height
        self._sink = av.open(os.devnull, "w", format="null")  # a clip takes its stream's parameters from one of these
        self._stream: Any = None
        self._last_s = self._key_s = float("-inf")

    @property
    def stream(self) -> Any:
        """The stream that clips are made like; `None` before the first picture."""
        return self._stream

    def code(self, picture: Picture, time_s: float) -> Iterator[CodedPicture]:
        """The coded picture; nothing where time does not go on."""
        if self._stream is None:
            self._open(picture)
        if round(time_s * _CLOCK_HZ) <= round(max(self._last_s, -1e6) * _CLOCK_HZ):
            return
        frame = av.VideoFrame.from_ndarray(self._fitted(picture), "yuv420p")
        frame.pts, frame.time_base = round(time_s * _CLOCK_HZ), _TIME_BASE
        is_key = time_s >= self._key_s + KEY_FRAME_EVERY_S
        frame.pict_type = PictureType.I if is_key else PictureType.NONE
        self._last_s, self._key_s = time_s, time_s if is_key else self._key_s
        for packet in self._stream.encode(frame):
            yield CodedPicture(packet.pts / _CLOCK_HZ, packet.is_keyframe, bytes(packet))

    def close(self) -> None:
        """Free the encoder."""
        self._sink.close()

    def _open(self, picture: Picture) -> None:
        height = min(self._height, picture.height)
        stream: Any = self._sink.add_stream(CODEC, rate=Fraction(1000))
        context = stream.codec_context
        stream.width, stream.height = _even(picture.width * height / picture.height), _even(height)
        stream.pix_fmt = "yuv420p"
        context.time_base, context.thread_count = _TIME_BASE, 1
        context.gop_size = 100_000  # key frames are set one by one, by time
        context.flags |= int(Flags.global_header)
        if picture.full_range:
            context.color_range = _FULL_RANGE
        parameters = f"scenecut=0:vbv-maxrate={_RATE_KBPS}:vbv-bufsize={_RATE_KBPS}:log-level=none"
        context.options = {"preset": "ultrafast", "tune": "zerolatency", "crf": "26", "x264-params": parameters}
        self._sink.start_encoding()
        self._stream = stream

    def _fitted(self, picture: Picture) -> Plane:
        """The picture in the stream's size, `(H * 3 / 2, W) uint8` I420."""
        width, height = self._stream.width, self._stream.height
        scale = min(width / picture.width, height / picture.height)
        inner = min(width, _even(picture.width * scale)), min(height, _even(picture.height * scale))
        canvas = np.empty((height * 3 // 2, width), np.uint8)
        y, chroma = canvas[:height], canvas[height:].reshape(2, height // 2, width // 2)
        if inner != (width, height):
            y.fill(0 if picture.full_range else 16)
            chroma.fill(128)
        for source, target, share in zip(picture.planes, (y, *chroma), (1, 2, 2), strict=True):
            _resize_into(target, source, inner[0] // share, inner[1] // share)
        return canvas


def _even(value: float) -> int:
    return max(2, 2 * round(value / 2))


def _resize_into(target: Plane, source: Plane, width: int, height: int) -> None:
    """Put a picture of that size into the middle of another one."""
    top, left = (target.shape[0] - height) // 2, (target.shape[1] - width) // 2
    smaller = width < source.shape[1]
    interpolation = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    target[top : top + height, left : left + width] = cv2.resize(source, (width, height), interpolation=interpolation)


def write_clip(path: Path, stream: Any, pictures: Sequence[CodedPicture], sounds: Sequence[HeardSound]) -> bool:
    """Write an MP4 of H264 and AAC; false where there is nothing to be written. A file that is there is whole.

    :param stream: of the coder that the pictures are from.
    :param pictures: in order; the first one is a key frame.
    :raises OSError: when it cannot be written.
    """
    if not pictures and not sounds:
        return False
    begin_s = pictures[0].time_s if pictures else sounds[0].time_s
    with _whole(path) as partial, av.open(str(partial), "w", "mp4", options={"movflags": "faststart"}) as output:
        track = output.add_stream_from_template(stream) if pictures else None
        sound: Any = output.add_stream("aac", rate=_SOUND_HZ, layout="mono") if sounds else None
        for picture in pictures:
            output.mux(_packet(picture, begin_s, track))
        if sound is not None:
            for frame in _blocks(sounds, begin_s):
                output.mux(sound.encode(frame))
            output.mux(sound.encode(None))
    return True


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """A name to write under; the file gets its own name when it is whole, and is taken away when it will not be."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _packet(picture: CodedPicture, begin_s: float, track: Any) -> Any:
    packet: Any = av.Packet(picture.data)
    packet.pts = packet.dts = round((picture.time_s - begin_s) * _CLOCK_HZ)
    packet.time_base, packet.stream, packet.is_keyframe = _TIME_BASE, track, picture.key_frame
    return packet


def _blocks(sounds: Sequence[HeardSound], begin_s: float) -> Iterable[av.AudioFrame]:
    """The sound from a time on, a block each; silence where there is none. A block at another rate is left out."""
    rate_hz = sounds[0].rate_hz
    last = max(sound.time_s + sound.samples.size / sound.rate_hz for sound in sounds)
    line = np.zeros(max(round((last - begin_s) * rate_hz), _BLOCK), np.int16)
    for sound in sounds:
        first = round((sound.time_s - begin_s) * rate_hz)
        heard = sound.samples[max(-first, 0) :][: max(line.size - max(first, 0), 0)]
        if sound.rate_hz == rate_hz:
            line[max(first, 0) : max(first, 0) + heard.size] = heard
    for start in range(0, line.size, _BLOCK):
        frame = av.AudioFrame.from_ndarray(line[None, start : start + _BLOCK], "s16", "mono")
        frame.sample_rate, frame.pts, frame.time_base = rate_hz, start, Fraction(1, rate_hz)
        yield frame
