"""Recordings with a flash and a beep at a known time, and what is found of them in frames."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from tests.connectors.recording import MS
from vision.frame import Frame, Samples

_DARK, _BRIGHT = 40, 235
_SIZE = (64, 48)
_BLOCK = 960
SLOT = Fraction(1, 25)


@dataclass(frozen=True, slots=True)
class Clip:
    """What is written; all `_ms` are on one scale, the truth.

    :ivar sound_ms: where the sound begins and ends.
    :ivar hole_ms: blocks of sound that begin in this range are left out.
    :ivar signal_ms: when the bright picture is shown and the beep begins.
    :ivar shift_s: how far from zero the container's own times begin.
    :ivar tick: the time base in which pictures are given to the container, in s.
    """

    pictures_ms: Sequence[int] = tuple(range(0, 2000, 40))
    sound_ms: tuple[int, int] = (0, 2000)
    hole_ms: tuple[int, int] = (0, 0)
    signal_ms: int = 1000
    shift_s: Fraction = Fraction(0)
    tick: Fraction = MS
    video: str = "libx264"
    video_options: Mapping[str, str] = field(default_factory=lambda: {"g": "25", "bf": "2", "b_strategy": "0"})
    audio: str = "aac"
    rate_hz: int = 48_000
    layout: str = "mono"
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def zero_ms(self) -> int:
        """Where the media clock's zero is."""
        return self.pictures_ms[0] if self.pictures_ms else self.sound_ms[0]

    def samples(self) -> Samples:
        """The sound as it was before it was coded: a beep over noise of which no two samples are alike for long."""
        first, end = (at_ms * self.rate_hz // 1000 for at_ms in self.sound_ms)
        noise = np.random.default_rng(1).uniform(-0.004, 0.004, end - first).astype(np.float32)
        beep, at = _beep(self.rate_hz), self.signal_ms * self.rate_hz // 1000 - first
        noise[at : at + beep.size] += beep
        return np.asarray(np.round(noise * 32768) / 32768, np.float32)


def _beep(rate_hz: int) -> Samples:
    """100 ms that rise from 500 Hz to 3 kHz, which fit onto themselves in one place only."""
    times_s = np.arange(rate_hz // 10) / rate_hz
    return (0.5 * np.sin(2 * np.pi * (500 + 12_500 * times_s) * times_s)).astype(np.float32)


def write(path: Path, clip: Clip) -> Path:
    """Write a recording with its tracks interleaved."""
    with av.open(str(path), "w", options=dict(clip.options)) as output:
        feeds = [*(_pictures(output, clip) if clip.pictures_ms else ()), *_sound(output, clip)]
        for _, stream, frame in sorted(feeds, key=lambda item: item[0]):
            output.mux(stream.encode(frame))
        for stream in output.streams:
            output.mux(stream.encode(None))  # type: ignore[attr-defined]
    return path


def _pictures(output: Any, clip: Clip) -> Iterator[tuple[float, Any, Any]]:
    stream = output.add_stream(clip.video, rate=25, options=dict(clip.video_options))
    stream.width, stream.height, stream.pix_fmt = *_SIZE, "yuv420p"
    stream.codec_context.time_base = clip.tick
    for time_ms in clip.pictures_ms:
        frame = av.VideoFrame(*_SIZE, "yuv420p")
        luma = _BRIGHT if time_ms == clip.signal_ms else _DARK
        for plane, value in zip(frame.planes, (luma, 128, 128), strict=True):
            plane.update(bytes([value]) * plane.buffer_size)
        frame.pts, frame.time_base = round((time_ms * MS + clip.shift_s) / clip.tick), clip.tick
        yield time_ms / 1000, stream, frame


def _sound(output: Any, clip: Clip) -> Iterator[tuple[float, Any, Any]]:
    stream = output.add_stream(clip.audio, rate=clip.rate_hz, layout=clip.layout)
    samples, first = clip.samples(), clip.sound_ms[0] * clip.rate_hz // 1000
    for start in range(0, samples.size, _BLOCK):
        time_ms = 1000 * (first + start) / clip.rate_hz
        if clip.hole_ms[0] <= time_ms < clip.hole_ms[1]:
            continue
        block = np.repeat(samples[None, start : start + _BLOCK], len(stream.layout.channels), axis=0)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block), "fltp", clip.layout)
        frame.sample_rate, frame.time_base = clip.rate_hz, Fraction(1, clip.rate_hz)
        frame.pts = first + start + round(clip.shift_s * clip.rate_hz)
        yield time_ms / 1000, stream, frame


def flashes_s(frames: Sequence[Frame]) -> list[float]:
    """Media times of the bright pictures."""
    shown = [(frame.time_s, frame.maybe_picture) for frame in frames if frame.maybe_picture]
    return [time_s for time_s, picture in shown if picture.y.mean() > (_DARK + _BRIGHT) / 2]


def beep_s(frames: Sequence[Frame]) -> float:
    """Media time of the beep's first sample, by the samples and the times of the frames."""
    sounds = [frame.sound for frame in frames if frame.sound.samples.size]
    found = _best_fit(np.concatenate([sound.samples for sound in sounds]), _beep(sounds[0].rate_hz))
    for sound in sounds:
        if found < sound.samples.size:
            return sound.start_s + found / sound.rate_hz
        found -= sound.samples.size
    raise AssertionError("the beep is beyond the samples")


def _best_fit(samples: Samples, pattern: Samples) -> int:
    size = samples.size + pattern.size
    spectrum = np.fft.rfft(samples, size) * np.conj(np.fft.rfft(pattern, size))
    return int(np.argmax(np.fft.irfft(spectrum, size)[: samples.size]))


def heard(frames: Sequence[Frame]) -> Samples:
    """All samples of the frames."""
    return np.concatenate([frame.sound.samples for frame in frames])


def seams_s(frames: Sequence[Frame]) -> NDArray[np.float64]:
    """How far after the end of the sound before each frame's sound begins."""
    sounds = [frame.sound for frame in frames if frame.sound.samples.size]
    starts_s = np.array([sound.start_s for sound in sounds])
    ends_s = starts_s + [sound.duration_s for sound in sounds]
    return np.asarray(starts_s[1:] - ends_s[:-1], np.float64)


def missing_s(frames: Sequence[Frame]) -> list[tuple[float, float]]:
    """Media times, from and to, of what is marked missing; what frames cut is put together."""
    merged: list[tuple[float, float]] = []
    for sound in (frame.sound for frame in frames):
        for first, count in sound.missing:
            begin_s = sound.start_s + first / sound.rate_hz
            if merged and begin_s - merged[-1][1] < 0.5 / sound.rate_hz:
                begin_s = merged.pop()[0]
            merged.append((begin_s, sound.start_s + (first + count) / sound.rate_hz))
    return merged
