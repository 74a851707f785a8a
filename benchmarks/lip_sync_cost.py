"""What `lip_sync` costs: CPU time a picture, over that of decoding one picture of a real stream."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import av
import numpy as np

from benchmarks.landmarks import letterboxed
from processors.face_landmarks import FaceLandmarks, FaceLandmarksProcessor
from processors.lip_sync import LipSyncProcessor
from processors.speech import RATE_HZ, Speech, SpeechProcessor
from tests.processors.hearing import sound_of
from vision import ClockQuality, Frame, Picture, Sound, StreamInfo
from vision.simulator.encoder import PictureEncoder
from vision.simulator.settings import SimulatorSettings

__all__ = ["cost_in_decodes"]

_SIZE, _FPS, _BITRATE_BPS = (1280, 720), 25, 2_500_000
_REPETITIONS = 7

Item = tuple[Frame, FaceLandmarks, Speech | None]


def cost_in_decodes(clip: Path) -> tuple[float, float, float]:
    """Of a clip of 25 fps, as a stream of 720p: ms a picture of lip_sync, ms of a decode, and the median of ratios.

    One after the other, again and again, each by the process's CPU time. A decode is PyAV's on one thread.
    """
    with av.open(str(clip)) as container:
        count = sum(1 for _ in container.decode(video=0))
    encoder = PictureEncoder(SimulatorSettings(size=_SIZE, fps=_FPS, codec="h264", bitrate_bps=_BITRATE_BPS))
    packets = [bytes(encoder.encode(i420, index / _FPS)) for index, i420 in enumerate(letterboxed(clip, count))]
    items = list(_items(clip, count))
    pairs = [(_listening_ms(items), _decoding_ms(packets)) for _ in range(_REPETITIONS)]
    ours, decodes = (statistics.median(side) for side in zip(*pairs, strict=True))
    return ours, decodes, statistics.median(one / other for one, other in pairs)


def _items(clip: Path, count: int) -> Iterator[Item]:
    samples = np.pad(sound_of(clip), (0, RATE_HZ))
    faces, speech = FaceLandmarksProcessor(), SpeechProcessor()
    shared: Picture | None = None
    try:
        for processor in (faces, speech):
            processor.setup(StreamInfo(live=False))
        for index, i420 in enumerate(letterboxed(clip, count)):
            first, last = (round(max(each, 0) * RATE_HZ / _FPS) for each in (index - 1, index))
            sound = Sound(samples[first:last], RATE_HZ, first / RATE_HZ, (), samples[first:last], first / RATE_HZ)
            time_s, height = index / _FPS, _SIZE[1]
            u, v = i420[height:].reshape(2, height // 2, -1)
            picture = Picture(i420[:height], u, v)
            frame = Frame(index, time_s, time_s, ClockQuality("file", 0.0), sound, maybe_picture=picture)
            shared = shared or picture  # of which only the size is read
            yield dataclasses.replace(frame, maybe_picture=shared), faces.process(frame), speech.process(frame)
    finally:
        faces.close()
        speech.close()


def _listening_ms(items: Sequence[Item]) -> float:
    processor = LipSyncProcessor()
    processor.setup(StreamInfo(live=False))
    before_s = time.process_time()
    for frame, face, speech in items:
        processor.process(frame, face, speech)
    return 1000 * (time.process_time() - before_s) / len(items)


def _decoding_ms(packets: Sequence[bytes]) -> float:
    decoder = av.CodecContext.create("h264", "r")
    decoder.thread_count = 1
    pictures = len(decoder.decode(av.Packet(packets[0])))
    before_s = time.process_time()
    pictures += sum(len(decoder.decode(av.Packet(packet))) for packet in packets[1:])
    return 1000 * (time.process_time() - before_s) / (pictures - 1)
