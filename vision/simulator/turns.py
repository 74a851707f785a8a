"""Turns of speech handed in from outside (say-audio): queued, placed on the media clock, interrupted."""

import io
import threading
from dataclasses import dataclass, replace

import av
import numpy as np
from av.audio.resampler import AudioResampler
from numpy.typing import NDArray

from vision.simulator.effects import Sound
from vision.simulator.performance import Curve, Times
from vision.simulator.voice import SAMPLE_RATE_HZ

ENVELOPE_STEP_S = 0.01
KEPT_S = 30.0
"""Turns that ended longer ago than this are forgotten; more than any offset of the sound."""


class AudioError(ValueError):
    """The audio of a turn cannot be decoded."""


@dataclass(frozen=True, slots=True)
class Clip:
    """Decoded speech and how far the mouth opens to it."""

    sound: Sound
    """(N,) float32 mono at 48 kHz."""
    envelope: Curve
    """Mouth opening 0..1, a value each 10 ms."""

    @property
    def duration_s(self) -> float:
        """Length of the sound, s."""
        return len(self.sound) / SAMPLE_RATE_HZ


@dataclass(frozen=True, slots=True)
class Turn:
    """A clip on the media clock, from `start_s` up to `end_s`."""

    clip: Clip
    start_s: float
    end_s: float
    claimed_s: float
    """The length that the caller gave; the mouth goes by it, right or wrong."""

    def mask(self, times_s: Times) -> NDArray[np.bool_]:
        """Which of the times lie in the turn."""
        return (times_s >= self.start_s) & (times_s < self.end_s)

    def sound(self, times_s: Times) -> Sound:
        """What is heard at times within the turn."""
        index = np.rint((times_s - self.start_s) * SAMPLE_RATE_HZ).astype(np.int64)
        return self.clip.sound[np.minimum(index, len(self.clip.sound) - 1)]

    def mouth_opening(self, times_s: Times) -> Curve:
        """How far the mouth is open at times within the turn, 0..1."""
        at_s = (times_s - self.start_s) * (self.clip.duration_s / self.claimed_s)
        marks_s = (np.arange(len(self.clip.envelope)) + 0.5) * ENVELOPE_STEP_S
        return np.interp(at_s, marks_s, self.clip.envelope, right=0.0)


class Turns:
    """The turns of a session. Safe to use from several threads.

    What has been looked up has been produced and cannot be changed any more: new turns, and cuts, come after it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._turns: list[Turn] = []
        self._produced_s = 0.0

    def say(self, clip: Clip, claimed_s: float) -> None:
        """Queues a clip behind the turns before it."""
        with self._lock:
            start_s = max([self._produced_s, *(turn.end_s for turn in self._turns)])
            self._turns.append(Turn(clip, start_s, start_s + clip.duration_s, claimed_s))

    def interrupt(self) -> None:
        """Cuts the turn that is being said, if there is one; the turns behind it move up."""
        with self._lock:
            now_s = self._produced_s
            current = next((turn for turn in self._turns if turn.start_s <= now_s < turn.end_s), None)
            if current is None:
                return
            saved_s = current.end_s - now_s
            self._turns = [_moved_up(turn, current, saved_s) for turn in self._turns]

    def during(self, times_s: Times) -> list[Turn]:
        """The turns that touch the ascending times (N,)."""
        with self._lock:
            first_s, last_s = float(times_s[0]), float(times_s[-1])
            self._produced_s = max(self._produced_s, last_s)
            self._turns = [turn for turn in self._turns if turn.end_s > self._produced_s - KEPT_S]
            return [turn for turn in self._turns if turn.start_s <= last_s and turn.end_s > first_s]


def _moved_up(turn: Turn, current: Turn, saved_s: float) -> Turn:
    if turn is current:
        return replace(turn, end_s=turn.end_s - saved_s)
    if turn.start_s > current.start_s:
        return replace(turn, start_s=turn.start_s - saved_s, end_s=turn.end_s - saved_s)
    return turn


def decode(data: bytes) -> Clip:
    """Decodes an audio file of any kind that FFmpeg reads.

    :raises AudioError: when it is not one.
    """
    try:
        with av.open(io.BytesIO(data), "r") as container:
            if not container.streams.audio:
                raise AudioError("the file has no audio stream")
            resampler = AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE_HZ)
            blocks = [
                block.to_ndarray()[0]
                for frame in [*container.decode(audio=0), None]
                for block in resampler.resample(frame)
            ]
    except av.FFmpegError as error:
        raise AudioError(f"the audio cannot be decoded: {error.strerror}") from error
    if not blocks:
        raise AudioError("the audio is empty")
    sound = np.concatenate(blocks).astype(np.float32)
    return Clip(sound, _envelope(sound))


def _envelope(sound: Sound) -> Curve:
    """RMS over 10 ms, smoothed over 30 ms, 1.0 at its 95th percentile."""
    step = round(ENVELOPE_STEP_S * SAMPLE_RATE_HZ)
    padded = np.pad(sound, (0, -len(sound) % step)).reshape(-1, step)
    loudness = np.convolve(np.sqrt((padded.astype(np.float64) ** 2).mean(axis=1)), np.ones(3) / 3, mode="same")
    loudness = loudness[: len(padded)]
    return np.clip(loudness / max(float(np.percentile(loudness, 95)), 1e-4), 0.0, 1.0)
