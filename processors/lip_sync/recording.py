"""A clip as the processors see it: its sound, where it is speech, and its mouths; for training and for trying."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from processors.face_landmarks import FaceLandmarksProcessor
from processors.lip_sync.features import DISTANCES, Floats, mouth_distances
from processors.lip_sync.history import History, Window
from processors.speech import RATE_HZ, SpeechProcessor
from vision import ClockQuality, Frame, Picture, Sound, StreamInfo

__all__ = ["Recording"]

Samples = NDArray[np.float32]
_BLOCK = RATE_HZ // 25
_CLOCK = ClockQuality("file", 0.0)
_NO_MOUTH = np.full(DISTANCES, np.nan)


@dataclass(frozen=True, slots=True)
class Recording:
    """What is known of a clip.

    :ivar name: of the file.
    :ivar times_s: of its pictures, on the container's clock, `(N,)`.
    :ivar distances: of its mouths, `(N, 7)`; NaN where there is no face.
    :ivar samples: at 16 kHz, `(M,)`.
    :ivar start_s: when these begin.
    :ivar segments_s: where they are speech, from and to, `(K, 2)`.
    """

    name: str
    times_s: Floats
    distances: Floats
    samples: Samples
    start_s: float
    segments_s: Floats

    @classmethod
    def of_clip(cls, path: Path) -> Recording:
        """Find faces and speech in a clip.

        :raises av.FFmpegError: when it cannot be decoded.
        :raises ValueError: when it has no picture or no sound.
        """
        samples, start_s = _sound_of(path)
        times_s, distances = _mouths_of(path)
        return cls(path.name, times_s, distances, samples, start_s, _segments(samples, start_s))

    def with_sound(self, samples: Samples, start_s: float) -> Recording:
        """The same pictures with another sound."""
        segments_s = _segments(samples, start_s)
        return dataclasses.replace(self, samples=samples, start_s=start_s, segments_s=segments_s)

    def shifted(self, step_s: float) -> Recording:
        """The same sound, so much later."""
        return dataclasses.replace(self, start_s=self.start_s + step_s, segments_s=self.segments_s + step_s)

    def every(self, step: int) -> Recording:
        """With each `step`-th picture only."""
        return dataclasses.replace(self, times_s=self.times_s[::step], distances=self.distances[::step])

    def history(self) -> History:
        """All of it; beside its sound are samples that never came."""
        history = History()
        nothing = 2 * RATE_HZ
        samples = np.pad(self.samples, nothing)
        start_s = self.start_s - nothing / RATE_HZ
        missing = ((0, nothing), (nothing + self.samples.size, nothing))
        history.hear(Sound(samples, RATE_HZ, start_s, missing, samples, start_s))
        for time_s, distances in zip(self.times_s, self.distances, strict=True):
            history.see(float(time_s), None if np.isnan(distances[0]) else distances)
        return history

    def windows(self, length_s: float, step_s: float) -> Iterator[Window]:
        """Windows of that length; of a clip that is shorter by at most a tenth, the whole."""
        history = self.history()
        first_s, last_s = float(self.times_s[0]), float(self.times_s[-1])
        length_s = min(length_s, last_s - first_s) if last_s - first_s > 0.9 * length_s else length_s
        for number in range(int((last_s - first_s - length_s + 1e-6) / step_s) + 1):
            start_s = first_s + number * step_s
            window = history.window(start_s, start_s + length_s)
            if window is not None:
                yield window

    def whole(self) -> Window | None:
        """The clip as one window; `None` without a face."""
        return self.history().window(float(self.times_s[0]), float(self.times_s[-1]))


def _sound_of(path: Path) -> tuple[Samples, float]:
    resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE_HZ)
    with av.open(str(path)) as container:
        blocks = list(container.decode(audio=0)) if container.streams.audio else []
    if not blocks:
        raise ValueError(f"{path.name} has no sound")
    pieces = [piece.to_ndarray()[0] for block in (*blocks, None) for piece in resampler.resample(block)]
    return np.concatenate(pieces).astype(np.float32), float(blocks[0].time or 0.0)


def _mouths_of(path: Path) -> tuple[Floats, Floats]:
    times_s: list[float] = []
    distances: list[Floats] = []
    processor = FaceLandmarksProcessor()
    try:
        processor.setup(StreamInfo(live=False))
        for time_s, picture in _pictures_of(path):
            face = processor.process(Frame(len(times_s), time_s, time_s, _CLOCK, maybe_picture=picture))
            points = face.points_norm
            times_s.append(time_s)
            distances.append(_NO_MOUTH if points is None else mouth_distances(points, picture.width, picture.height))
    finally:
        processor.close()
    if not times_s:
        raise ValueError(f"{path.name} has no picture")
    return np.array(times_s), np.array(distances)


def _pictures_of(path: Path) -> Iterator[tuple[float, Picture]]:
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            i420 = np.asarray(frame.to_ndarray(format="yuv420p"), np.uint8)
            height, width = i420.shape[0] * 2 // 3, i420.shape[1]
            u, v = i420[height:].reshape(2, height // 2, width // 2)
            yield float(frame.time or 0.0), Picture(i420[:height], u, v)


def _segments(samples: Samples, start_s: float) -> Floats:
    """Where sound is speech: all that the processor shows on the way, each as it was last shown."""
    found: dict[float, float] = {}
    processor = SpeechProcessor()
    try:
        processor.setup(StreamInfo(live=False))
        for first in range(0, samples.size, _BLOCK):
            piece = samples[first : first + _BLOCK]
            at_s = start_s + first / RATE_HZ
            sound = Sound(piece, RATE_HZ, at_s, samples_16k=piece, start_16k_s=at_s)
            end_s = at_s + piece.size / RATE_HZ
            speech = processor.process(Frame(None, end_s, end_s, _CLOCK, sound))
            assert speech is not None
            found |= {begin: end for begin, end in speech.segments_s.tolist() if begin == begin}
    finally:
        processor.close()
    return np.array(sorted(found.items())).reshape(-1, 2)
