"""Encoders for what is sent: H264 or VP8 for the picture, Opus for the sound. Time stamps are media time, exactly."""

from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.audio.codeccontext import AudioCodecContext
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType

from vision.simulator.effects import Sound
from vision.simulator.picture import Plane
from vision.simulator.settings import SimulatorSettings
from vision.simulator.voice import SAMPLE_RATE_HZ

VIDEO_CLOCK_HZ = 90_000
KEY_FRAME_INTERVAL_S = 2.0
BLOCK_SAMPLES = 960
"""One Opus packet: 20 ms."""

OPUS_DELAY_SAMPLES = 312
"""How much later than its time stamp Opus plays a sample (libopus's look-ahead at 48 kHz)."""

_OPUS_BIT_RATE = 64_000


class PictureEncoder:
    """Encodes one stream of pictures with one thread, no delay and a key frame every two seconds."""

    def __init__(self, settings: SimulatorSettings) -> None:
        self._codec = _video_codec(settings)

    def encode(self, i420: Plane, time_s: float, key_frame: bool = False) -> "av.Packet[Any]":
        """The packet of an I420 picture (H * 3 / 2, W) that is shown at `time_s`."""
        frame = av.VideoFrame.from_ndarray(i420, format="yuv420p")
        frame.pts = round(time_s * VIDEO_CLOCK_HZ)
        frame.time_base = Fraction(1, VIDEO_CLOCK_HZ)
        frame.pict_type = PictureType.I if key_frame else PictureType.NONE
        (packet,) = self._codec.encode(frame)
        return packet


def _video_codec(settings: SimulatorSettings) -> VideoCodecContext:
    codec = av.CodecContext.create("libx264" if settings.codec == "h264" else "libvpx", "w")
    codec.width, codec.height = settings.size
    codec.pix_fmt = "yuv420p"
    codec.bit_rate = settings.bitrate_bps
    codec.framerate = Fraction(settings.fps).limit_denominator(1001)
    codec.time_base = Fraction(1, VIDEO_CLOCK_HZ)
    codec.gop_size = max(1, round(KEY_FRAME_INTERVAL_S * settings.fps))
    codec.max_b_frames = 0
    codec.thread_count = 1
    if settings.codec == "h264":
        codec.profile = "Baseline"
    codec.options = _h264_options(settings) if settings.codec == "h264" else _vp8_options(settings)
    return codec


def _h264_options(settings: SimulatorSettings) -> dict[str, str]:
    rate_kbps = settings.bitrate_bps // 1000
    return {
        "preset": "ultrafast",
        "tune": "zerolatency",
        "forced-idr": "1",
        # Half a second of buffer: room for a key frame, and no burst that overruns a receiver's socket.
        "x264-params": f"vbv-maxrate={rate_kbps}:vbv-bufsize={rate_kbps // 2}:scenecut=0:repeat-headers=1",
    }


def _vp8_options(settings: SimulatorSettings) -> dict[str, str]:
    rate = str(settings.bitrate_bps)
    return {
        "deadline": "realtime",
        "cpu-used": "-6",  # as aiortc and libwebrtc; a positive one follows the machine, and no two runs are alike
        "lag-in-frames": "0",
        "minrate": rate,
        "maxrate": rate,
        "bufsize": rate,
        "undershoot-pct": "100",
        "overshoot-pct": "15",
    }


class SoundEncoder:
    """Encodes 20 ms blocks of mono sound at 48 kHz as Opus, a packet a block."""

    def __init__(self) -> None:
        codec = av.CodecContext.create("libopus", "w")
        codec.bit_rate = _OPUS_BIT_RATE
        codec.format = "flt"
        codec.layout = "mono"
        codec.sample_rate = SAMPLE_RATE_HZ
        codec.time_base = Fraction(1, SAMPLE_RATE_HZ)
        codec.options = {"application": "audio"}
        codec.open()
        self._codec: AudioCodecContext = codec

    def encode(self, sound: Sound, first_sample: int) -> "av.Packet[Any]":
        """The packet of `BLOCK_SAMPLES` samples (N,) float32; its time stamp is `first_sample`."""
        frame = av.AudioFrame.from_ndarray(sound[np.newaxis, :], format="flt", layout="mono")
        frame.sample_rate = SAMPLE_RATE_HZ
        frame.pts = first_sample
        frame.time_base = Fraction(1, SAMPLE_RATE_HZ)
        (packet,) = self._codec.encode(frame)
        packet.pts = first_sample
        packet.time_base = Fraction(1, SAMPLE_RATE_HZ)
        return packet
