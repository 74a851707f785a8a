"""Flashes and beeps: media whose picture and sound mark the same instants, and the processor that finds the marks.

Every full second the picture turns bright for 100 ms, and a tone of 1 kHz sounds for 100 ms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from tests.peers.numbered import write_number
from vision.frame import Frame, Plane, Samples, Sound
from vision.processor import Processor, Reads, ResetReason
from vision.result import Result, metric

__all__ = ["BRIGHT", "DARK", "Marks", "MarksProcessor", "OnsetDetector", "beeps", "is_lit", "onsets", "write_clip"]

Tone = NDArray[np.complex128]
DARK, BRIGHT = 50, 235
TONE_HZ, AMPLITUDE, LENGTH_S = 1000, 0.5, 0.1
RATE_HZ = 48_000

_WINDOW_S = 0.01  # over which the tone's envelope is taken: whole periods
_QUIET_S = 0.02  # before a beep
_SETTLED_S = (0.002, 0.012)  # behind its rise: there it has its full amplitude
_LEAST, _EVENNESS = 0.05, 0.3
_KEPT_S = 0.06

_JUMP_S = 0.002  # what is farther from where the samples before ended does not continue them; a clock may be corrected


def is_lit(time_s: float) -> bool:
    """Whether the picture of this time is bright."""
    return (time_s + 1e-6) % 1 < LENGTH_S


def beeps(first: int, count: int, delay_s: float = 0.0) -> Samples:
    """The samples from number `first` on, at 48 kHz; `(count,) float32` mono.

    :param delay_s: how much later than the flashes the beeps are.
    """
    since_s = (np.arange(first, first + count) / RATE_HZ - delay_s + 1e-9) % 1
    wave = AMPLITUDE * np.sin(2 * np.pi * TONE_HZ * since_s) * (since_s < LENGTH_S)
    return np.asarray(wave, np.float32)


def write_clip(path: Path, seconds: int, size: tuple[int, int] = (640, 360), fps: int = 30) -> Path:
    """Write an MP4 (H264, FLAC, which has no delay of its own) of numbered pictures with flashes and beeps."""
    with av.open(str(path), "w", options={"movflags": "faststart"}) as output:
        video: Any = output.add_stream("libx264", rate=fps, options={"preset": "ultrafast", "bf": "0", "g": str(fps)})
        video.width, video.height, video.pix_fmt = *size, "yuv420p"
        audio: Any = output.add_stream("flac", rate=RATE_HZ, layout="stereo")
        audio.format = "s16"
        for second in range(seconds):
            for number in range(second * fps, (second + 1) * fps):
                output.mux(video.encode(_picture(number, size, fps)))
            output.mux(audio.encode(_second_of_sound(second)))
        for stream in (video, audio):
            output.mux(stream.encode(None))
    return path


def _picture(number: int, size: tuple[int, int], fps: int) -> av.VideoFrame:
    width, height = size
    planes = np.full((height * 3 // 2, width), 128, np.uint8)
    planes[:height] = BRIGHT if is_lit(number / fps) else DARK
    write_number(planes[:height], number)
    frame = av.VideoFrame.from_ndarray(planes, "yuv420p")
    frame.pts, frame.time_base = number, Fraction(1, fps)
    return frame


def _second_of_sound(second: int) -> av.AudioFrame:
    wave = np.rint(32767 * beeps(second * RATE_HZ, RATE_HZ)).astype(np.int16)
    frame = av.AudioFrame.from_ndarray(np.repeat(wave, 2)[None], "s16", "stereo")
    frame.sample_rate, frame.pts, frame.time_base = RATE_HZ, second * RATE_HZ, Fraction(1, RATE_HZ)
    return frame


def onsets(samples: Samples, rate_hz: int) -> list[int]:
    """The numbers of the samples with which tones of 1 kHz begin.

    A beep counts where 20 ms before it are quiet and 22 ms from it on are there to be seen.

    :param samples: `(N,) float32`; those that never came are NaN: a beep near to such is not found, rather than late.
    """
    window = round(_WINDOW_S * rate_hz)
    if samples.size < window:
        return []
    turn = np.exp(-2j * np.pi * TONE_HZ / rate_hz * np.arange(samples.size))
    envelope = _envelope(samples * turn, window)
    loud = envelope >= _LEAST
    rises = np.flatnonzero(loud[1:] & ~loud[:-1]) + 1
    stretches = [_stretch(envelope, int(rise), window, rate_hz) for rise in rises]
    return [_step(samples, turn, *stretch) for stretch in stretches if stretch is not None]


def _envelope(tone: Tone, window: int) -> NDArray[np.float64]:
    """The tone's amplitude in the window from each sample on; NaN where a sample in it is missing."""
    missing = np.isnan(tone)
    sums, gaps = (np.concatenate([[0], np.cumsum(values)]) for values in (np.where(missing, 0, tone), missing))
    envelope = 2 / window * np.abs(sums[window:] - sums[:-window])
    envelope[gaps[window:] > gaps[:-window]] = np.nan
    return np.asarray(envelope, np.float64)


def _stretch(envelope: NDArray[np.float64], rise: int, window: int, rate_hz: int) -> tuple[int, int, int] | None:
    """Where the beep must begin whose envelope leaves the quiet at `rise` (from, to), and until when it surely sounds.

    `None` where it is none, or not whole.
    """
    quiet = envelope[max(rise - round(_QUIET_S * rate_hz), 0) : rise]
    begun, last = (rise + window + round(after_s * rate_hz) for after_s in _SETTLED_S)
    if quiet.size < round(_QUIET_S * rate_hz) or envelope.size < last or not np.all(quiet < _LEAST):
        return None
    settled = envelope[begun:last]
    even = np.abs(settled - np.median(settled)) < _EVENNESS * np.median(settled)
    return (rise, begun, last) if np.all(even) and np.all(envelope[rise:last] > 0) else None  # not so for NaN


def _step(samples: Samples, turn: Tone, first: int, last: int, end: int) -> int:
    """The sample, from `first` to `last`, from which on a steady tone explains most of what sounds until `end`.

    A codec's echo before the tone moves that little: it is in other phases than the tone, where an envelope would only
    see that it is there.
    """
    turn = turn[first:end]
    tone, beside = (np.cumsum(values[::-1])[::-1] for values in (samples[first:end] * turn, turn**2))
    length = np.arange(end - first, 0, -1)
    # least squares of a sine and a cosine; `beside` is what these have in common where the periods are not whole
    explained = length * np.abs(tone) ** 2 - np.real(beside * np.conj(tone) ** 2)
    candidates = slice(0, last - first + 1)
    return first + int(np.argmax(explained[candidates] / (length**2 - np.abs(beside) ** 2)[candidates]))


class OnsetDetector:
    """Finds beeps in sound that comes piece by piece; each is told when 22 ms of it and what follows have come."""

    def __init__(self) -> None:
        self._kept: Samples = np.zeros(0, np.float32)
        self._end_s = 0.0
        self._rate_hz = 0
        self._last_s = float("-inf")

    def add(self, sound: Sound) -> list[float]:
        """The times, on the sound's own scale, of beeps that were not known before."""
        if not sound.samples.size:
            return []
        rate_hz = sound.rate_hz
        if rate_hz != self._rate_hz or abs(sound.start_s - self._end_s) > _JUMP_S:
            self._kept = np.zeros(0, np.float32)
        self._rate_hz, self._end_s = rate_hz, sound.start_s + sound.duration_s
        samples = np.concatenate([self._kept, _with_gaps(sound.samples, sound.missing)])
        begin_s = self._end_s - samples.size / rate_hz
        self._kept = samples[-round(_KEPT_S * rate_hz) :]
        return [at_s for position in onsets(samples, rate_hz) if self._is_new(at_s := begin_s + position / rate_hz)]

    def shift(self, step_s: float) -> None:
        """All sound so far belongs so much later: what comes next continues it, and a beep may be in both."""
        self._end_s += step_s
        self._last_s += step_s

    def _is_new(self, at_s: float) -> bool:
        if at_s < self._last_s + LENGTH_S / 2:
            return False
        self._last_s = at_s
        return True


def _with_gaps(samples: Samples, missing: Sequence[tuple[int, int]]) -> Samples:
    marked = samples.copy()
    for first, count in missing:
        marked[first : first + count] = np.nan
    return marked


@dataclass(frozen=True, slots=True)
class Marks(Result):
    """How bright a picture is, and whether a beep begins in the sound."""

    luma: float | None = metric("Mean luma of the picture", unit="1", range=(0.0, 255.0))
    level: float | None = metric("Root mean square of the sound", unit="1", range=(0.0, 1.0))
    onset_s: float | None = metric("Media time at which a beep begins that is known from this frame on", unit="s")


class MarksProcessor(Processor[Marks]):
    """Finds flashes and beeps, from the pictures and the samples alone."""

    reads = Reads.BOTH

    def __init__(self, options: Any = None) -> None:
        super().__init__(options)
        self._detector = OnsetDetector()

    def process(self, frame: Frame) -> Marks:
        picture, samples = frame.maybe_picture, frame.sound.samples
        begun_s = self._detector.add(frame.sound)
        return Marks(
            luma=None if picture is None else _mean(picture.y),
            level=float(np.sqrt(np.mean(samples**2))) if samples.size else None,
            onset_s=begun_s[0] if begun_s else None,
        )

    def reset(self, reason: ResetReason) -> None:
        self._detector = OnsetDetector()

    def shift_sound(self, step_s: float) -> None:
        self._detector.shift(step_s)


def _mean(luma: Plane) -> float:
    return float(luma.mean())
