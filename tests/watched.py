"""What somebody sees and hears who plays a file: for tests of what is written as video."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

__all__ = ["Watched", "onsets_s", "watched"]

BRIGHT_LUMA = 150
LOUD = 0.25


@dataclass(frozen=True, slots=True)
class Watched:
    """A file as it is played.

    :ivar times_s: of the pictures.
    :ivar pictures: `(N, H * 3 / 2, W) uint8`, I420.
    :ivar sound: `(M,) float32` from time zero on.
    :ivar rate_hz: of the sound.
    """

    times_s: list[float]
    pictures: list[NDArray[np.uint8]]
    sound: NDArray[np.float32]
    rate_hz: int

    @property
    def lumas(self) -> list[float]:
        """Mean luma of each picture."""
        return [float(picture[: picture.shape[0] * 2 // 3].mean()) for picture in self.pictures]

    @property
    def flashes_s(self) -> list[float]:
        """When pictures turn bright."""
        return onsets_s(np.array(self.times_s), np.array(self.lumas) > BRIGHT_LUMA, apart_s=0.5)

    @property
    def beeps_s(self) -> list[float]:
        """When the tone sets in."""
        return onsets_s(np.arange(self.sound.size) / self.rate_hz, np.abs(self.sound) > LOUD, apart_s=0.5)


def onsets_s(times_s: NDArray[np.float64], on: NDArray[np.bool_], *, apart_s: float) -> list[float]:
    """When something sets in that was off for `apart_s` before."""
    at = times_s[on]
    return [float(time_s) for time_s, gap_s in zip(at, np.diff(at, prepend=-np.inf), strict=True) if gap_s > apart_s]


def watched(path: Path) -> Watched:
    """Decode all of a file, by the times that a player goes by."""
    times_s, pictures, blocks = [], [], []
    with av.open(str(path)) as container:
        rate_hz = container.streams.audio[0].rate
        for frame in _frames(container):
            if isinstance(frame, av.VideoFrame):
                times_s.append(float(frame.time or 0))
                pictures.append(np.asarray(frame.to_ndarray(format="yuv420p"), np.uint8))
            else:
                blocks.append((round(float(frame.time or 0) * rate_hz), frame.to_ndarray()[0]))
    sound = np.zeros(max((at + block.size for at, block in blocks), default=0), np.float32)
    for at, block in blocks:
        sound[at : at + block.size] = block
    return Watched(times_s, pictures, sound, rate_hz)


def _frames(container: av.container.InputContainer) -> Iterator[av.VideoFrame | av.AudioFrame]:
    for packet in container.demux(video=0, audio=0):
        yield from packet.decode()  # type: ignore[misc]
