"""Whole tracks over a link: what goes in as packets and comes out as frames and samples."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.rtp.link import Link
from tests.rtp.streams import coded, sent
from vision.rtp.payload import H264, VP8
from vision.rtp.pictures import EncodedFrame
from vision.rtp.sound import SoundPacket
from vision.rtp.statistics import SoundStatistics, VideoStatistics
from vision.rtp.track import Arrived, SoundTrack, VideoTrack

RATE_HZ, BLOCK = 48_000, 960


def _sound(count: int, *, sequence: int = 0, timestamp: int = 0, ssrc: int = 1, start_s: float = 0.0) -> list[Arrived]:
    return [
        Arrived(
            ssrc,
            (sequence + n) & 0xFFFF,
            (timestamp + BLOCK * n) & 0xFFFFFFFF,
            False,
            b"x",
            n.to_bytes(4),
            start_s + n * BLOCK / RATE_HZ,
        )
        for n in range(count)
    ]


def _video(count: int, *, size: int = 6, first: int = 0, ssrc: int = 1, start_s: float = 0.0) -> list[Arrived]:
    """VP8 frames of `size` packets; the first is a key frame."""
    packets: list[Arrived] = []
    for frame in range(count):
        for part in range(size):
            payload = (b"\x10" if not part else b"\x00") + (b"\x10" if not frame else b"\x11")
            data = b"%d.%d " % (frame, part)
            packets.append(
                Arrived(
                    ssrc,
                    (first + len(packets)) & 0xFFFF,
                    (3000 * (first + frame)) & 0xFFFFFFFF,
                    part == size - 1,
                    payload,
                    data,
                    start_s + frame / 30 + part * 0.0005,
                )
            )
    return packets


def _heard(track: SoundTrack, link: Link, packets: list[Arrived]) -> list[SoundPacket]:
    out: list[SoundPacket] = []

    def tick(now_s: float) -> list[int]:
        out.extend(track.tick(now_s))
        return []

    link.carry(packets, lambda packet: out.extend(track.add(packet)), lambda: track.due_s, tick)
    out += track.end()
    track.update_statistics()
    return out


def _seen(track: VideoTrack, link: Link, packets: list[Arrived]) -> list[EncodedFrame]:
    out: list[EncodedFrame] = []

    def tick(now_s: float) -> list[int]:
        frames, asked = track.tick(now_s)
        out.extend(frames)
        return asked

    link.carry(
        packets, lambda packet: out.extend(track.add(packet)), lambda: track.due_s if track.waits else None, tick
    )
    out += track.end(1e6)
    track.update_statistics()
    return out


@given(
    seed=st.integers(0, 1000),
    loss=st.sampled_from([0.0, 0.01, 0.03, 0.1]),
    jitter_s=st.sampled_from([0.0, 0.02, 0.055]),
    twice=st.sampled_from([0.0, 0.05]),
    sequence=st.sampled_from([0, 0xFFFF - 50]),
    timestamp=st.sampled_from([0, 0xFFFFFFFF - 50 * BLOCK]),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_missing_sound_is_what_was_lost(
    seed: int, loss: float, jitter_s: float, twice: float, sequence: int, timestamp: int
) -> None:
    """Over loss, jitter, repetitions and both wraps: each block that arrived comes out once, in order, in its place."""
    count, statistics = 500, SoundStatistics()
    link = Link(loss=loss, jitter_s=jitter_s, twice=twice, seed=seed)
    packets = _sound(count, sequence=sequence, timestamp=timestamp)
    out = _heard(SoundTrack(statistics, RATE_HZ), link, packets)
    come = [n for n, packet in enumerate(packets) if packet.sequence not in link.lost]
    assert [int.from_bytes(packet.data) for packet in out] == come
    assert [(packet.timestamp - out[0].timestamp) // BLOCK for packet in out] == come
    assert sum(packet.lost_before for packet in out) == come[-1] + 1 - len(come)
    assert statistics.packets_lost == come[-1] + 1 - len(come)
    assert statistics.packets_discarded == 0
    assert not any(packet.restarted for packet in out)


@given(
    seed=st.integers(0, 1000),
    loss=st.sampled_from([0.0, 0.01, 0.03, 0.1]),
    rtt_s=st.sampled_from([0.04, 0.1, 0.3]),
    jitter_s=st.sampled_from([0.0, 0.02]),
    marked=st.booleans(),
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_missing_frames_are_what_was_not_repaired(
    seed: int, loss: float, rtt_s: float, jitter_s: float, marked: bool
) -> None:
    """A frame is missing only if one of its packets never came, or too late; where nothing is lost, none is."""
    count, size, statistics = 300, 6, VideoStatistics()
    link = Link(rtt_s=rtt_s, loss=loss, jitter_s=jitter_s, marked=marked, seed=seed)
    packets = _video(count, size=size)
    out = _seen(VideoTrack(VP8(), statistics), link, packets)
    shown = [frame.timestamp // 3000 for frame in out]
    assert shown == sorted(set(shown))
    missing = set(range(count)) - set(shown)
    unrepaired = {number // size for number in link.never_came}
    assert missing <= {number // size for number in link.lost}
    assert unrepaired <= missing
    assert len(missing - unrepaired) <= statistics.packets_discarded + (count - 1 in missing)
    assert len(missing) <= 1 + (count * 0.05 if rtt_s > 0.2 else 2)
    for frame in out:
        whole = b"".join(b"%d.%d " % (frame.timestamp // 3000, part) for part in range(size))
        assert frame.data == whole
    assert statistics.frames_received == len(out)
    if not loss:
        assert (missing, statistics.packets_discarded) == (set(), 0)
        assert statistics.packets_lost == 0


def test_a_jump_of_the_timestamps_alone_is_no_jitter() -> None:
    """Numbers that go on, with a time that does not: a sender whose clock stood still, or was set."""
    statistics = SoundStatistics()
    track = SoundTrack(statistics, RATE_HZ)
    later = _sound(20, sequence=20, timestamp=20 * BLOCK, start_s=20.4)
    out = [each for packet in [*_sound(20), *later] for each in track.add(packet)]
    track.update_statistics()
    assert len(out) == 40
    assert statistics.jitter_s == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("jump", [0, 7 * RATE_HZ, -7 * RATE_HZ, 1 << 31])
def test_another_source(jump: int) -> None:
    """A new SSRC is listened to from its first packet; time that does not go on is said to be new."""
    statistics = SoundStatistics()
    track = SoundTrack(statistics, RATE_HZ)
    old = _sound(50, timestamp=1 << 20)
    new = _sound(50, sequence=40_000, timestamp=(1 << 20) + 50 * BLOCK + jump, ssrc=2, start_s=1.0)
    straggler = old[10]._replace(arrival_s=1.5)
    packets = [*old, *new[:25], straggler, *new[25:]]
    out = [each for packet in packets for each in track.add(packet)]
    track.update_statistics()
    assert len(out) == 100
    assert [packet.restarted for packet in out] == [False] * 50 + [jump != 0] + [False] * 49
    assert statistics.packets_lost == 0
    assert statistics.jitter_s == pytest.approx(0, abs=1e-6)
    assert track.reception is not None
    assert track.reception.ssrc == 2


def test_a_source_that_was_left_is_listened_to_when_the_other_is_silent() -> None:
    """Two that send at once do not take turns; one that comes back after a second does."""
    track = SoundTrack(SoundStatistics(), RATE_HZ)
    first, second = _sound(150), _sound(30, sequence=9, ssrc=2, start_s=0.41)
    packets = sorted([*first, *second], key=lambda packet: packet.arrival_s)
    out = [each for packet in packets for each in track.add(packet)]
    heard_s = [packet.arrival_s for packet in out]
    assert max(later - earlier for earlier, later in itertools.pairwise(heard_s)) > 0.9
    assert len(out) == 21 + 30 + len([p for p in first if p.arrival_s > second[-1].arrival_s + 1])


def test_numbers_that_begin_anew() -> None:
    """The same source with other numbers: after one packet that might be a stray, it is taken to have restarted."""
    statistics = SoundStatistics()
    track = SoundTrack(statistics, RATE_HZ)
    old = _sound(50, sequence=100)
    new = _sound(50, sequence=30_000, timestamp=1 << 30, start_s=1.0)
    out = [each for packet in [*old, *new] for each in track.add(packet)]
    assert [packet.restarted for packet in out] == [False] * 50 + [True] + [False] * 48
    track.update_statistics()
    assert statistics.packets_lost == 0


@pytest.mark.parametrize("sequence", [150, 149, 100, 20, 250, 3_000])
def test_numbers_that_begin_anew_near_the_old_ones(sequence: int) -> None:
    """Packets that seem late, or behind a loss, and are of quite another time, are none of the old ones."""
    statistics = SoundStatistics()
    track = SoundTrack(statistics, RATE_HZ)
    old = _sound(50, sequence=100)
    new = _sound(50, sequence=sequence, timestamp=1 << 30, start_s=1.0)
    out = [each for packet in [*old, *new] for each in track.add(packet)]
    out += track.end()
    assert len(out) >= 99
    track.update_statistics()
    assert (statistics.packets_lost, statistics.packets_discarded, statistics.packets_repeated) == (0, 0, 0)


@pytest.mark.parametrize("count", [2_999, 3_001, 20_000, 32_000])
def test_the_loss_of_very_many_packets_is_a_loss(count: int) -> None:
    """Where their timestamps go on as time did, the source has not begun anew: all are counted."""
    statistics = VideoStatistics()
    track = VideoTrack(VP8(), statistics)
    packets = _video(6000)
    out = [frame for packet in packets[:600] for frame in track.add(packet)]
    behind = packets[600 + count - count % 6 :][:12]
    out += [frame for packet in behind for frame in track.add(packet)]
    assert sum(frame.lost_before for frame in out) == count - count % 6
    assert not any(frame.detached or frame.restarted for frame in out)
    assert len(out) == 102
    track.update_statistics()
    assert statistics.packets_lost == count - count % 6


def test_another_source_of_pictures_is_asked_for_a_key_frame() -> None:
    """Until it has sent one, its pictures build on what is not there, and say so."""
    track = VideoTrack(VP8(), VideoStatistics())
    out = [frame for packet in _video(3) for frame in track.add(packet)]
    assert not track.asks_for_key_frame(1.0)
    delta = _video(3, first=500, ssrc=2, start_s=2.0)[6:]
    out += [frame for packet in delta for frame in track.add(packet)]
    begun_s = delta[0].arrival_s
    assert not track.asks_for_key_frame(begun_s + 0.1)  # its beginning may be on its way
    assert track.asks_for_key_frame(begun_s + 0.15)
    out += track.tick(begun_s + 0.3)[0]
    assert [frame.detached for frame in out] == [False] * 3 + [True, False]
    assert not track.asks_for_key_frame(begun_s + 0.6)
    assert track.asks_for_key_frame(begun_s + 0.65)
    for packet in _video(1, first=900, ssrc=3, start_s=3.0):
        track.add(packet)
    assert not track.asks_for_key_frame(4.0)


def test_a_repaired_key_frame_with_a_delimiter_is_recognised() -> None:
    """x264's delimiters come before all else in a frame; the asking ends with the key frame all the same."""
    frames = coded("H264", 6, gop=3, options={"x264-params": "aud=1"})
    track = VideoTrack(H264(), VideoStatistics())
    packets = sent("H264", frames)
    out = []
    for packet in packets:
        if packet.timestamp != frames[1].timestamp or not packet.marker:
            out += track.add(packet)
        if packet.timestamp == frames[2].timestamp and packet.marker:
            out += track.tick(10.0)[0]
            assert track.asks_for_key_frame(10.0)
    assert [frame.key_frame for frame in out if frame.timestamp == frames[3].timestamp] == [True]
    assert not track.asks_for_key_frame(20.0)


def test_after_a_blackout_nothing_is_waited_for() -> None:
    """Where so much is missing that it is not asked for, the next whole frame comes at once."""
    statistics = VideoStatistics()
    track = VideoTrack(VP8(), statistics)
    packets = _video(300)
    out = [frame for packet in packets[:600] for frame in track.add(packet)]
    behind = packets[600 + 1006 - 1006 % 6 :]
    (first, *_) = [frame for packet in behind[:6] for frame in track.add(packet)]
    assert first.lost_before == 1002
    assert not track.waits
    assert track.asks_for_key_frame(behind[5].arrival_s)
    assert track.tick(behind[5].arrival_s + 1)[1] == []
    assert len(out) == 100


@pytest.mark.parametrize("kind", ["video", "sound"])
def test_statistics_of_several_tracks_are_kept(kind: str) -> None:
    """After another connection, what the first one lost is still counted."""
    statistics = VideoStatistics() if kind == "video" else SoundStatistics()
    for _ in range(2):
        if isinstance(statistics, VideoStatistics):
            track: VideoTrack | SoundTrack = VideoTrack(VP8(), statistics)
        else:
            track = SoundTrack(statistics, RATE_HZ)
        for packet in _video(10, size=1):
            if packet.sequence not in (4, 5):
                track.add(packet)
        track.update_statistics()
        track.update_statistics()
    assert statistics.packets_lost == 4
