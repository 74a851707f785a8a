"""What `frame_quality` finds in streams that were coded as live senders code them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import av

from processors.frame_quality import FrameQuality, FrameQualityProcessor
from tests.processors.footage import Image
from vision import ClockQuality, Frame, Record, metrics_of
from vision.connectors.decoding import picture_of
from vision.incidents import Incident, IncidentTracker
from vision.result import record_of
from vision.simulator.encoder import PictureEncoder
from vision.simulator.settings import SimulatorSettings

__all__ = ["CLOCK", "frame_of", "incidents", "sent"]

METRICS = metrics_of(FrameQuality)
CLOCK = ClockQuality("file", 0.0)


def sent(images: Iterable[tuple[float, Image]], settings: SimulatorSettings) -> Iterator[Frame]:
    """Pictures with their times, after the simulator's encoder and a decoder."""
    encoder, decoder = PictureEncoder(settings), av.CodecContext.create(settings.codec, "r")
    assert isinstance(decoder, av.VideoCodecContext)
    decoder.thread_count = 1
    for index, (time_s, image) in enumerate(images):
        for video in decoder.decode(encoder.encode(image, time_s)):
            yield frame_of(video, index, time_s)


def frame_of(video: av.VideoFrame, index: int, time_s: float) -> Frame:
    """As the connectors make it."""
    picture, damaged = picture_of(video), bool(video.is_corrupt)
    return Frame(index, time_s, time_s, CLOCK, key_frame=bool(video.key_frame), corrupt=damaged, maybe_picture=picture)


def incidents(frames: Iterable[Frame]) -> list[Incident]:
    """What a run would find."""
    processor, tracker = FrameQualityProcessor(), IncidentTracker({"frame_quality": METRICS})
    found: list[Incident] = []
    for frame in frames:
        found += tracker.add(Record(frame, {"frame_quality": record_of(processor.process(frame), METRICS)}))
    return found + list(tracker.end())
