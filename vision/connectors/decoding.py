"""From PyAV's frames to this package's pictures and samples."""

from __future__ import annotations

from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from vision.frame import Picture, Samples

__all__ = ["picture_of", "samples_of"]

_PLANAR_420 = {"yuv420p": False, "yuvj420p": True}
_JPEG_RANGE = 2  # AVCOL_RANGE_JPEG


def picture_of(frame: av.VideoFrame) -> Picture:
    """The picture of a decoded frame; 8-bit 4:2:0 is not copied, anything else is converted to it."""
    if frame.format.name.startswith("gray"):
        return _gray(frame)
    if frame.format.name not in _PLANAR_420:
        full_range = frame.color_range == _JPEG_RANGE
        frame = frame.reformat(format="yuvj420p" if full_range else "yuv420p")
    full_range = _PLANAR_420[frame.format.name] or frame.color_range == _JPEG_RANGE
    chroma = _chroma_size(frame)
    sizes = ((frame.width, frame.height), chroma, chroma)
    y, u, v = (_plane(plane, *size) for plane, size in zip(frame.planes, sizes, strict=True))
    return Picture(y, u, v, full_range=full_range)


def _gray(frame: av.VideoFrame) -> Picture:
    """Luma as it is: FFmpeg's scaler takes any gray for full range, and would squeeze the video's range again."""
    full_range = frame.color_range == _JPEG_RANGE
    if frame.format.name != "gray":
        frame = frame.reformat(format="gray")
    width, height = _chroma_size(frame)
    neutral = np.full((height, width), 128, np.uint8)
    return Picture(_plane(frame.planes[0], frame.width, frame.height), neutral, neutral, full_range=full_range)


def _chroma_size(frame: av.VideoFrame) -> tuple[int, int]:
    return (frame.width + 1) // 2, (frame.height + 1) // 2


def _plane(plane: av.video.plane.VideoPlane, width: int, height: int) -> NDArray[np.uint8]:
    """A view of the decoder's memory, which it keeps alive; lines are wider than the picture."""
    lines = np.frombuffer(memoryview(plane), np.uint8)[: plane.line_size * height]
    return lines.reshape(height, -1)[:, :width]


def samples_of(frame: av.AudioFrame) -> Samples:
    """The samples of a decoded block, `(N,) float32` mono in -1..1 (the mean of the channels)."""
    if frame.format.name == "s16" and len(frame.layout.channels) == 2:
        return _of_s16_stereo(frame)
    data: NDArray[Any] = frame.to_ndarray()
    channels = len(frame.layout.channels)
    planes = data if frame.format.is_planar else data.reshape(-1, channels).T
    mono = planes.mean(axis=0, dtype=np.float32) if channels > 1 else planes[0].astype(np.float32)
    if data.dtype.kind == "f":
        # floats of a file can be anything
        return np.asarray(np.nan_to_num(mono, nan=0.0, posinf=1.0, neginf=-1.0), np.float32)
    if data.dtype == np.uint8:
        return np.asarray((mono - 128) / 128, np.float32)
    return np.asarray(mono / -float(np.iinfo(data.dtype).min), np.float32)


def _of_s16_stereo(frame: av.AudioFrame) -> Samples:
    """What Opus decodes to, fifty times a second: the same as the general way, in a tenth of its time."""
    pairs = np.frombuffer(memoryview(frame.planes[0]), np.int16, 2 * frame.samples)
    mono: Samples = np.add(pairs[0::2], pairs[1::2], dtype=np.float32)
    mono *= 0.5 / 32768
    return mono
