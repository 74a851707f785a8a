"""What a viewer is told of time over real WebRTC: sender reports and capture times, as they are on the wire."""

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest
from aiortc.rtp import RtcpPacket, RtcpSrPacket, RtpPacket, is_rtcp, unpack_header_extensions
from aiortc.sdp import SessionDescription

from tests.simulator.watching import SDP, SIZE, Watcher, run
from vision.simulator import SimulatorSettings

URI = "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time"
NUMBER = 9
MS = 1e-3


@dataclass
class Told:
    """What one track said: (media time, NTP time), s. Media time is the RTP timestamp since the first packet's."""

    reports: list[tuple[float, float]] = field(default_factory=list)
    captures: list[tuple[float, float]] = field(default_factory=list)

    def origins_s(self) -> list[float]:
        """The NTP times at which, by each of the pairs, media time was zero."""
        return [ntp_s - media_s for media_s, ntp_s in [*self.reports, *self.captures]]


def told(watcher: Watcher, answer_sdp: str) -> dict[str, Told]:
    """What came, by kind of track."""
    kinds = {media.rtp.codecs[0].payloadType: media.kind for media in SessionDescription.parse(answer_sdp).media}
    tracks: dict[str, Told] = {kind: Told() for kind in kinds.values()}
    streams: dict[int, tuple[str, int]] = {}
    for data in watcher.datagrams:
        if is_rtcp(data):
            for report in RtcpPacket.parse(data):
                if isinstance(report, RtcpSrPacket):
                    kind, first = streams[report.ssrc]
                    media_s = media_time_s(kind, report.sender_info.rtp_timestamp - first)
                    tracks[kind].reports.append((media_s, report.sender_info.ntp_timestamp / 2**32))
            continue
        packet = RtpPacket.parse(data)
        if packet.payload_type in kinds:
            kind, first = streams.setdefault(packet.ssrc, (kinds[packet.payload_type], packet.timestamp))
            value = extensions(data).get(NUMBER)
            if value is not None:
                ntp_s = struct.unpack("!Q", value)[0] / 2**32
                tracks[kind].captures.append((media_time_s(kind, packet.timestamp - first), ntp_s))
    return tracks


def media_time_s(kind: str, ticks: int) -> float:
    """A difference of RTP timestamps in seconds, unwrapped."""
    return float((ticks + 2**31) % 2**32 - 2**31) / {"video": 90_000, "audio": 48_000}[kind]


def extensions(data: bytes) -> dict[int, bytes]:
    """The header extensions of an RTP packet, by number."""
    if not data[0] & 0x10:
        return {}
    at = 12 + 4 * (data[0] & 0x0F)
    profile, words = struct.unpack_from("!HH", data, at)
    return dict(unpack_header_extensions(profile, data[at + 4 : at + 4 + 4 * words]))


def offering(offer_sdp: str) -> str:
    """The offer with abs-capture-time in each section, and no second time."""
    kept = [line for line in offer_sdp.splitlines() if URI not in line]
    added = [text for line in kept for text in ([line, f"a=extmap:{NUMBER} {URI}"] if line[:6] == "a=mid:" else [line])]
    return "\r\n".join(added) + "\r\n"


def telling(**changes: object) -> SimulatorSettings:
    """A small show that tells the times of capture."""
    settings = {"show": "flash_and_beep", "size": SIZE, "capture_time": True, **changes}
    return SimulatorSettings.model_validate(settings)


def watched(settings: SimulatorSettings, truth: Path, until_s: float, offered: Callable[[str], str]) -> dict[str, Told]:
    """What a viewer is told until a media time."""
    result: dict[str, Told] = {}

    async def scenario(make: Callable[[], Watcher]) -> None:
        watcher = make()
        offer = offered(await watcher.offer())
        answer = await watcher.accept(await watcher.client.post(watcher.whep_url, headers=SDP, content=offer))
        assert answer.count(URI) == (2 if settings.capture_time and URI in offer else 0)
        await watcher.until(until_s)
        await watcher.close()
        result.update(told(watcher, answer))

    run(settings, truth, scenario)
    return result


@pytest.fixture
def frequent_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    """A report of each track ten times a second."""
    monkeypatch.setattr("aiortc.rtcrtpsender.random", SimpleNamespace(random=lambda: -0.4))


@pytest.mark.usefixtures("frequent_reports")
def test_all_times_of_both_tracks_tell_one_clock(tmp_path: Path) -> None:
    """Reports and capture times of picture and sound put the same NTP time to the same media time, within 1 ms."""
    late = {"kind": "late", "start_s": 1.0, "duration_s": 0.3}
    tracks = watched(telling(faults=[late]), tmp_path / "truth.jsonl", 2.4, offering)
    for track in tracks.values():
        assert len(track.reports) > 10
        assert [round(media_s, 3) for media_s, _ in track.captures] == [0.0, 1.0, 2.0]
    origins_s = [origin_s for track in tracks.values() for origin_s in track.origins_s()]
    assert max(origins_s) - min(origins_s) < 1 * MS


@pytest.mark.usefixtures("frequent_reports")
def test_reports_lie_as_planted_and_capture_times_do_not(tmp_path: Path) -> None:
    """Each fault of the reports on the wire, one after the other."""
    faults = [
        {"kind": "report_jump", "start_s": 0, "duration_s": 0.6, "offset_ms": -3_600_000},
        {"kind": "report_drift", "start_s": 0.6, "duration_s": 0.6, "ms_per_minute": 60_000},
        {"kind": "no_reports", "start_s": 1.2, "duration_s": 0.6},
        {"kind": "send_time_reports", "start_s": 1.8, "duration_s": 0.7, "offset_ms": 200},
    ]
    tracks = watched(telling(faults=faults), tmp_path / "truth.jsonl", 3.2, offering)
    origin_s = tracks["video"].captures[0][1]
    for kind, track in tracks.items():
        assert [ntp_s - media_s - origin_s for media_s, ntp_s in track.captures] == pytest.approx([0] * 4, abs=1 * MS)
        errors_s = [(media_s, ntp_s - media_s - origin_s) for media_s, ntp_s in track.reports]
        jumped, drifting, silent, sent, true = (
            [(media_s, error_s) for media_s, error_s in errors_s if start_s <= media_s + MS / 10 < end_s]
            for start_s, end_s in ((0.0, 0.6), (0.6, 1.2), (1.2, 1.8), (1.8, 2.5), (2.5, 9.0))
        )
        assert [error_s for _, error_s in jumped] == pytest.approx([-3600] * len(jumped), abs=1 * MS)
        expected = [media_s - 0.6 if kind == "audio" else 0.0 for media_s, _ in drifting]
        assert [error_s for _, error_s in drifting] == pytest.approx(expected, abs=1 * MS)
        assert silent == []
        least_s = 0.2 if kind == "video" else 0.0
        assert least_s - 1 * MS < min(error_s for _, error_s in sent) < least_s + 0.05
        assert [error_s for _, error_s in true] == pytest.approx([0] * len(true), abs=1 * MS)
        assert min(len(jumped), len(drifting), len(sent), len(true)) > 1


@pytest.mark.parametrize(("capture_time", "offered"), [(True, str), (False, offering)])
def test_no_capture_time_where_it_is_not_wanted(
    capture_time: bool, offered: Callable[[str], str], tmp_path: Path
) -> None:
    """Neither to a viewer who does not offer it, nor where the settings do not ask for it."""
    tracks = watched(telling(capture_time=capture_time), tmp_path / "truth", 0.3, offered)
    assert {kind: track.captures for kind, track in tracks.items()} == {"video": [], "audio": []}
