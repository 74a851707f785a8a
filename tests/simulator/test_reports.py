"""What a viewer is told of time: true unless a fault says otherwise, and which bytes carry it."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import av
import pytest
from aiortc.rtp import (
    HeaderExtensionsMap,
    RtpPacket,
    unpack_header_extensions,
    wrap_rtx,
)

from vision.simulator import Fault
from vision.simulator.faults import LATE_S, FaultPlan
from vision.simulator.internals import _WithCaptureTime
from vision.simulator.reports import NTP_SECOND, CaptureTimes, Reports
from vision.simulator.settings import FaultKind
from vision.simulator.studio import Parcel
from vision.simulator.tracks import MediaClock, PacedTrack

SENT_NTP = 123 * NTP_SECOND
"""A time of sending that is far from any media time of these tests."""


def with_track(kind: str, test: Callable[[PacedTrack], None]) -> None:
    """Runs a test on a track that has sent nothing. The clock has not been started: NTP 0 is media time 0."""

    async def main() -> None:
        with ThreadPoolExecutor(1) as executor:
            parcel = Parcel(av.Packet(b""), 0.0, 0.0)
            track = PacedTrack(kind, MediaClock(), executor, lambda: parcel, depth=1)
            await track.ready()
            test(track)
            track.stop()

    asyncio.run(main())


def reported_s(kind: str, time_s: float, *faults: Fault) -> float | None:
    """The NTP time, s, that a report about a packet of this media time states."""
    stated: list[int | None] = []

    def ask(track: PacedTrack) -> None:
        track.last_time_s = time_s
        stated.append(Reports(track, FaultPlan(faults)).ntp(SENT_NTP))

    with_track(kind, ask)
    return None if stated[0] is None else stated[0] / NTP_SECOND


def fault(kind: FaultKind, offset_ms: float | None = None, ms_per_minute: float | None = None) -> Fault:
    """A fault from 10 s to 20 s."""
    return Fault(kind=kind, start_s=10, duration_s=10, offset_ms=offset_ms, ms_per_minute=ms_per_minute)


@pytest.mark.parametrize(
    ("planted", "of_video", "of_audio"),
    [
        (None, 13.0, 13.0),
        (fault("offset", offset_ms=100), 13.0, 13.0),
        (fault("drift", ms_per_minute=100), 13.0, 13.0),
        (fault("late"), 13.0, 13.0),
        (fault("no_reports"), None, None),
        (fault("send_time_reports", offset_ms=250), 123.0, 123.0),
        (fault("report_jump", offset_ms=-7_200_000), 13.0 - 7200, 13.0 - 7200),
        (fault("report_drift", ms_per_minute=600), 13.0, 13.03),
    ],
)
def test_what_reports_state(planted: Fault | None, of_video: float | None, of_audio: float | None) -> None:
    """Three seconds into each fault: the media time, or what the fault makes of it; before and after it, the truth."""
    faults = [] if planted is None else [planted]
    assert reported_s("video", 13.0, *faults) == pytest.approx(of_video, abs=1e-6)
    assert reported_s("audio", 13.0, *faults) == pytest.approx(of_audio, abs=1e-6)
    for kind in ("video", "audio"):
        assert reported_s(kind, 9.99, *faults) == pytest.approx(9.99, abs=1e-6)
        assert reported_s(kind, 20.0, *faults) == pytest.approx(20.0, abs=1e-6)


def test_faults_of_reports_add_up() -> None:
    """A clock may jump while it drifts, and be read when packets are sent."""
    planted = fault("report_jump", offset_ms=5000), fault("report_drift", ms_per_minute=600)
    assert reported_s("audio", 16.0, *planted) == pytest.approx(21.06)
    assert reported_s("audio", 16.0, *planted, fault("send_time_reports", offset_ms=0)) == pytest.approx(128.06)


def test_only_faults_of_sending_delay_the_pictures() -> None:
    """A slow encoder's pictures are sent late by the amount, late ones by theirs, and no report moves any."""
    plan = FaultPlan([fault("send_time_reports", offset_ms=250), fault("report_jump", offset_ms=9000), fault("late")])
    assert [plan.sending_delay_s(time_s) for time_s in (9.9, 10.0, 20.0)] == [0.0, 0.25 + LATE_S, 0.0]


def test_there_is_no_report_before_the_first_packet() -> None:
    """Nor a capture time."""

    def ask(track: PacedTrack) -> None:
        assert Reports(track, FaultPlan([])).ntp(SENT_NTP) is None
        assert CaptureTimes(track).due() is None

    with_track("video", ask)


def serialized(track: PacedTrack, extensions: HeaderExtensionsMap, time_s: float) -> tuple[RtpPacket, bytes]:
    """A packet of the parcel that has just been handed over, and its bytes."""
    track.last_time_s = time_s
    packet = RtpPacket(payload=b"media")
    packet.extensions.mid = "0"
    return packet, packet.serialize(extensions)


def extension(data: bytes, number: int) -> bytes | None:
    """The value of a header extension of an RTP packet without CSRCs."""
    if not data[0] & 0x10:
        return None
    length = 4 * int.from_bytes(data[14:16], "big")
    values = unpack_header_extensions(int.from_bytes(data[12:14], "big"), data[16 : 16 + length])
    return dict(values).get(number)


def test_capture_times_are_on_the_first_packet_and_then_once_a_second() -> None:
    """Eight bytes, NTP as UQ32.32, on one packet of a parcel; what is sent again says what it said before."""

    def send(track: PacedTrack) -> None:
        extensions = _WithCaptureTime(9, CaptureTimes(track))
        first, data = serialized(track, extensions, 0.5)
        assert extension(data, 9) == bytes([0, 0, 0, 0, 0x80, 0, 0, 0])
        assert data.endswith(b"media")
        second, data = serialized(track, extensions, 0.5)
        assert extension(data, 9) is None
        assert extension(serialized(track, extensions, 1.49)[1], 9) is None
        assert extension(serialized(track, extensions, 1.5)[1], 9) == bytes([0, 0, 0, 1, 0x80, 0, 0, 0])
        track.last_time_s = 2.75
        again = [wrap_rtx(packet, 97, 1, 2).serialize(extensions) for packet in (first, second)]
        assert [extension(data, 9) for data in again] == [bytes([0, 0, 0, 0, 0x80, 0, 0, 0]), None]
        assert extension(serialized(track, extensions, 2.75)[1], 9) == bytes([0, 0, 0, 2, 0xC0, 0, 0, 0])

    with_track("video", send)
