"""Writes recordings whose content is known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

TONE_HZ, AMPLITUDE = 440, 0.5
MS = Fraction(1, 1000)


@dataclass(frozen=True, slots=True)
class Video:
    """A track of pictures whose luma rises with time."""

    codec: str = "libx264"
    size: tuple[int, int] = (160, 120)
    pixels: str = "yuv420p"
    times_ms: Sequence[int] = tuple(range(0, 2000, 40))
    full_range: bool = False


@dataclass(frozen=True, slots=True)
class Sound:
    """A track with a tone."""

    codec: str = "aac"
    rate_hz: int = 48_000
    layout: str = "mono"
    samples: str | None = None
    start_ms: int = 0
    duration_ms: int = 2000


def write(
    path: Path,
    video: Video | None = Video(),
    sound: Sound | None = Sound(),
    options: Mapping[str, str] | None = None,
    container: str | None = None,
) -> Path:
    """Write a recording with its tracks interleaved; the index is in front where the container has one."""
    chosen = {"movflags": "faststart"} if options is None and path.suffix == ".mp4" else dict(options or {})
    with av.open(str(path), "w", format=container, options=chosen) as output:
        feeds = [_pictures(output, video)] if video else []
        feeds += [_tone(output, sound)] if sound else []
        for _, stream, frame in sorted(_merged(feeds), key=lambda item: item[0]):
            output.mux(stream.encode(frame))
        for stream in output.streams:
            output.mux(stream.encode(None))  # type: ignore[attr-defined]
    return path


def _merged(feeds: Sequence[Iterator[tuple[float, Any, Any]]]) -> Iterator[tuple[float, Any, Any]]:
    for feed in feeds:
        yield from feed


def _pictures(output: Any, video: Video) -> Iterator[tuple[float, Any, Any]]:
    stream = output.add_stream(video.codec, rate=25, options={"g": "10"})
    stream.width, stream.height, stream.pix_fmt = *video.size, video.pixels
    stream.codec_context.time_base = MS
    if video.full_range:
        stream.codec_context.color_range = 2
    for i, time_ms in enumerate(video.times_ms):
        yield time_ms / 1000, stream, picture(video, 40 + 3 * (i % 50), time_ms)


def picture(video: Video, luma: int, time_ms: int = 0) -> av.VideoFrame:
    """A flat gray picture; `luma` is on the scale of 8 bits."""
    values = (luma,) if video.pixels == "gray" else (luma, 128, 128)
    flat = av.VideoFrame(*video.size, "gray" if video.pixels == "gray" else "yuv444p")
    for plane, value in zip(flat.planes, values, strict=True):
        plane.update(bytes([value]) * plane.buffer_size)
    flat.color_range = 2 if video.full_range or video.pixels.startswith("yuvj") else 1
    frame = flat if video.pixels == flat.format.name else flat.reformat(format=video.pixels)
    frame.pts, frame.time_base = time_ms, MS
    return frame


def _tone(output: Any, sound: Sound) -> Iterator[tuple[float, Any, Any]]:
    stream = output.add_stream(sound.codec, rate=sound.rate_hz, layout=sound.layout)
    if sound.samples:
        stream.format = sound.samples
    samples = tone(sound.rate_hz, sound.duration_ms)
    first = sound.start_ms * sound.rate_hz // 1000
    for start in range(0, samples.size, 1024):
        channels = len(stream.layout.channels)
        block = np.repeat(samples[None, start : start + 1024], channels, axis=0)
        frame = av.AudioFrame.from_ndarray(block, "fltp", sound.layout)
        frame.sample_rate, frame.pts, frame.time_base = sound.rate_hz, first + start, Fraction(1, sound.rate_hz)
        yield (first + start) / sound.rate_hz, stream, frame


def tone(rate_hz: int, duration_ms: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """The tone's samples."""
    times_s = np.arange(rate_hz * duration_ms // 1000) / rate_hz
    return (AMPLITUDE * np.sin(2 * np.pi * TONE_HZ * times_s)).astype(np.float32)


def spoil(path: Path, kind: str, numbers: Sequence[int]) -> None:
    """Overwrite the beginning of some packets of a track, where no decoder can make anything of it."""
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(**{kind: 0}) if packet.pos is not None]
    data = bytearray(path.read_bytes())
    for number in numbers:
        position, size = packets[number]
        data[position : position + min(size, 64)] = b"\xff" * min(size, 64)
    path.write_bytes(data)
