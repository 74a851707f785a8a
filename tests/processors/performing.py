"""The simulator's head, as it is drawn before any coding, with a face and a place that are known."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from processors.face_landmarks import FaceLandmarks, FaceLandmarksProcessor
from tests.processors.conftest import frame_of
from vision import Frame, StreamInfo
from vision.simulator.picture import Painter, likeness
from vision.simulator.portrait import Expression

__all__ = ["Curve", "faces_of", "performed"]

Curve = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def performed(
    times_s: NDArray[np.float64],
    mouth: Curve = np.zeros_like,
    blink: Curve = np.zeros_like,
    sway: Callable[[float], tuple[float, float]] = lambda time_s: (0.3, 0.2),
    size: tuple[int, int] = (1280, 720),
) -> Iterator[Frame]:
    """A frame for each time; `mouth` and `blink` are 0..1, `sway` -1..1 on both axes."""
    painter = Painter(likeness(*size))
    for time_s, opening, shut in zip(times_s, mouth(times_s), blink(times_s), strict=True):
        i420 = painter.paint(Expression(float(opening), float(shut)), sway(float(time_s)))
        yield frame_of(i420.copy(), float(time_s))


def faces_of(frames: Iterator[Frame]) -> Iterator[tuple[Frame, FaceLandmarks]]:
    """Each frame and the face that is found in it."""
    processor = FaceLandmarksProcessor()
    try:
        processor.setup(StreamInfo(live=False))
        for frame in frames:
            yield frame, processor.process(frame)
    finally:
        processor.close()
