"""Pictures coded as live senders code them: what one decode is."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

import av
import numpy as np
from numpy.typing import NDArray

__all__ = ["coded"]


def coded(pictures: Iterable[NDArray[np.uint8]], fps: int, bit_rate: int) -> list[bytes]:
    """H264, a packet a picture: Constrained Baseline with its loop filter, without delay, a key frame in two seconds.

    :param pictures: I420, `(H * 3 / 2, W)`, all of one size.
    :param bit_rate: in bit/s; half a second of it is the encoder's buffer.
    """
    codec = av.CodecContext.create("libx264", "w")
    codec.pix_fmt, codec.time_base, codec.framerate = "yuv420p", Fraction(1, fps), Fraction(fps)
    codec.bit_rate, codec.gop_size, codec.max_b_frames, codec.thread_count = bit_rate, 2 * fps, 0, 1
    codec.profile = "Baseline"
    kbps = bit_rate // 1000
    codec.options = {
        "preset": "veryfast",
        "tune": "zerolatency",
        "x264-params": f"vbv-maxrate={kbps}:vbv-bufsize={kbps // 2}:scenecut=0:repeat-headers=1",
    }
    packets = []
    for index, picture in enumerate(pictures):
        frame = av.VideoFrame.from_ndarray(picture, format="yuv420p")
        if not index:
            codec.width, codec.height = frame.width, frame.height
        frame.pts = index
        (packet,) = codec.encode(frame)
        packets.append(bytes(packet))
    return packets
