"""Damage on the way, as frame_quality and incidents see it: corruption by the network, and nothing of the avatar's."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import pytest

from processors.frame_quality import FrameQualityProcessor
from vision import Frame, picture_of
from vision.frame import Losses
from vision.incidents import Incident, IncidentTracker
from vision.record import Record
from vision.result import metrics_of, record_of
from vision.testing import make_frame

FPS, GOP, AT = 25, 50, 70
_COUNT = 110


def _coded(clip: Path) -> list[bytes]:
    """The beginning of a clip as a live sender codes them, a packet a picture."""
    coder: av.VideoCodecContext = av.CodecContext.create("libx264", "w")
    with av.open(str(clip)) as recording:
        pictures = [frame for _, frame in zip(range(_COUNT), recording.decode(video=0), strict=False)]
    coder.width, coder.height, coder.pix_fmt = pictures[0].width, pictures[0].height, "yuv420p"
    coder.time_base, coder.framerate, coder.bit_rate, coder.gop_size = Fraction(1, FPS), Fraction(FPS), 1_500_000, GOP
    coder.options = {"preset": "veryfast", "tune": "zerolatency", "x264-params": "scenecut=0"}
    coder.thread_count = 1
    packets = []
    for number, picture in enumerate(pictures):
        frame = picture.reformat(format="yuv420p")
        frame.pts, frame.time_base, frame.pict_type = number, Fraction(1, FPS), 0
        packets += [bytes(packet) for packet in coder.encode(frame)]
    return packets


def _received(packets: Sequence[bytes], fault: str) -> Iterator[Frame]:
    """What comes out where a slice is cut short, or is lost; marked as a receiver marks it."""
    decoder: av.VideoCodecContext = av.CodecContext.create("h264", "r")
    decoder.thread_count = 1
    damaged = False
    for number, data in enumerate(packets):
        if number == AT and fault == "lost":
            damaged = True
            continue
        packet = av.Packet(data[: len(data) // 3] if number == AT and fault == "cut" else data)
        packet.pts = packet.dts = number
        for decoded in decoder.decode(packet):
            damaged = bool(decoded.is_corrupt) or (damaged and not decoded.key_frame)
            frame = make_frame(picture_of(decoded), index=number, fps=FPS)
            lost: Losses = {"network": 3} if fault == "lost" and number == AT + 1 else {}
            yield dataclasses.replace(frame, corrupt=damaged, key_frame=bool(decoded.key_frame), lost_before=lost)


@pytest.mark.parametrize("fault", ["cut", "lost", "none"])
@pytest.mark.parametrize("clip", ["lp_d14.mp4", "r3d_May_5s.mp4"])
def test_damage_is_corruption_and_nothing_else(media: Path, clip: str, fault: str) -> None:
    """From the damaged picture to the next key frame; no blur, cut or freeze is the avatar's meanwhile or behind it."""
    processor = FrameQualityProcessor()
    infos = metrics_of(processor.result_type())
    tracker = IncidentTracker({"frame_quality": infos})
    found: list[Incident] = []
    for frame in _received(_coded(media / clip), fault):
        found += tracker.add(Record(frame, {"frame_quality": record_of(processor.process(frame), infos)}))
    found += tracker.end()
    begin_s = {"cut": AT / FPS, "lost": (AT + 1) / FPS}
    expected = [("corruption", "network", begin_s[fault], 2 * GOP / FPS)] if fault in begin_s else []
    assert [(str(one.kind), str(one.cause), one.start_s, one.end_s) for one in found] == expected
