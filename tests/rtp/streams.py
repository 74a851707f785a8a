"""Coded video made here, and its packets as aiortc would send them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import av
import numpy as np
from aiortc.codecs.h264 import H264Encoder, h264_depayload
from aiortc.codecs.vpx import Vp8Encoder, vp8_depayload

from vision.rtp.track import Arrived

FPS, CLOCK_HZ = 30, 90_000
STEP = CLOCK_HZ // FPS
Codec = Literal["H264", "VP8"]

_X264 = {"preset": "ultrafast", "tune": "zerolatency", "profile": "baseline"}
_VPX = {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0", "auto-alt-ref": "0"}


@dataclass(frozen=True, slots=True)
class Coded:
    """A coded frame; `timestamp` is that of its presentation, in ticks of 90 kHz from 0."""

    data: bytes
    timestamp: int
    key_frame: bool


def pictures(count: int, *, width: int = 160, height: int = 120) -> list[av.VideoFrame]:
    """Pictures that differ: number n is noise around the luma 40 + n."""
    random = np.random.default_rng(1)
    made = []
    for number in range(count):
        plane = np.full((height * 3 // 2, width), 128, np.uint8)
        plane[:height] = 40 + number + random.integers(0, 8, (height, width))
        frame = av.VideoFrame.from_ndarray(plane, "yuv420p")
        frame.pts, frame.time_base = number * STEP, Fraction(1, CLOCK_HZ)
        made.append(frame)
    return made


def coded(
    codec: Codec, count: int, *, gop: int = 1000, bit_rate: int = 800_000, options: Mapping[str, str] | None = None
) -> list[Coded]:
    """`count` frames of 160 x 120 px in the order of decoding, by x264 or libvpx; `options` are the encoder's own."""
    context = av.CodecContext.create("libx264" if codec == "H264" else "libvpx", "w")
    assert isinstance(context, av.VideoCodecContext)
    context.width, context.height, context.pix_fmt = 160, 120, "yuv420p"
    context.time_base, context.framerate = Fraction(1, CLOCK_HZ), Fraction(FPS)
    context.gop_size, context.bit_rate = gop, bit_rate
    context.options = {**(_X264 if codec == "H264" else _VPX), **(options or {})}
    packets = [packet for frame in [*pictures(count), None] for packet in context.encode(frame)]
    return [Coded(bytes(packet), packet.pts or 0, packet.is_keyframe) for packet in packets]


def payloads(codec: Codec, frame: Coded, number: int = 0) -> list[bytes]:
    """A frame's RTP payloads."""
    if codec == "VP8":
        return Vp8Encoder._packetize(frame.data, number & 0x7FFF)
    return H264Encoder._packetize(H264Encoder._split_bitstream(frame.data))


def depayloaded(codec: Codec, payload: bytes) -> bytes:
    """What the decoder wants of a payload."""
    return h264_depayload(payload) if codec == "H264" else vp8_depayload(payload)


def sent(
    codec: Codec, frames: Sequence[Coded], *, sequence: int = 0, timestamp: int = 0, ssrc: int = 1, start_s: float = 0.0
) -> list[Arrived]:
    """The packets of frames, as they arrive over a link without delay, one frame each 1/30 s."""
    packets: list[Arrived] = []
    for number, frame in enumerate(frames):
        parts = payloads(codec, frame, number)
        for part in parts:
            packets.append(
                Arrived(
                    ssrc=ssrc,
                    sequence=(sequence + len(packets)) & 0xFFFF,
                    timestamp=(timestamp + frame.timestamp) & 0xFFFFFFFF,
                    marker=part is parts[-1],
                    payload=part,
                    data=depayloaded(codec, part),
                    arrival_s=start_s + number / FPS,
                )
            )
    return packets
