"""Frames out of packets: which come out, when, and which do not."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.rtp.streams import Codec, coded, sent
from vision.rtp.payload import H264, VP8
from vision.rtp.pictures import EncodedFrame, FrameBuffer, VideoPacket

HOLD_S = 1.0
SIZES = st.lists(st.integers(1, 5), min_size=1, max_size=40)


def _stream(sizes: Sequence[int], *, markers: bool = True, first: int = 1000) -> list[VideoPacket]:
    """VP8 packets of frames of so many packets each; their data say which they are."""
    packets: list[VideoPacket] = []
    for frame, size in enumerate(sizes):
        for part in range(size):
            number, data = first + len(packets), b"%d.%d " % (frame, part)
            payload = (b"\x10" if part == 0 else b"\x00") + (b"\x10" if frame == 0 else b"\x11") + data
            marker = markers and part == size - 1
            packets.append(VideoPacket(number, 90_000 + 3000 * frame, marker, frame / 30, payload, data))
    return packets


def _whole(frame: int, size: int) -> bytes:
    return b"".join(b"%d.%d " % (frame, part) for part in range(size))


def _index(frame: EncodedFrame) -> int:
    return (frame.timestamp - 90_000) // 3000


def _buffer() -> FrameBuffer:
    return FrameBuffer(VP8(), HOLD_S)


@given(SIZES)
def test_in_order_each_frame_comes_with_its_last_packet(sizes: list[int]) -> None:
    """The marker bit ends it; nothing waits."""
    buffer, packets = _buffer(), _stream(sizes)
    for packet in packets:
        out = buffer.add(packet)
        assert bool(out) == packet.marker
        for frame in out:
            index = _index(frame)
            assert frame.data == _whole(index, sizes[index])
            assert (frame.packets, frame.lost_before, frame.key_frame) == (sizes[index], 0, index == 0)
        assert not buffer.waits
        assert buffer.due_s is None


@given(SIZES)
def test_without_markers_each_frame_comes_with_the_next_one(sizes: list[int]) -> None:
    """And the last one, which has no next one, at the end."""
    buffer = _buffer()
    out = [frame for packet in _stream(sizes, markers=False) for frame in buffer.add(packet)]
    assert [_index(frame) for frame in out] == list(range(len(sizes) - 1))
    (last,) = buffer.end()
    assert last.data == _whole(len(sizes) - 1, sizes[-1])
    assert buffer.end() == []


def test_a_marker_in_the_middle_is_found_out() -> None:
    """The first frame it cuts is in two; then frames end where the next one begins."""
    packets = _stream([4] * 5)
    packets = [packet._replace(marker=packet.marker or index % 4 == 1) for index, packet in enumerate(packets)]
    buffer = _buffer()
    out = [frame for packet in packets for frame in buffer.add(packet)] + buffer.end()
    assert [frame.packets for frame in out] == [2, 2, 4, 4, 4, 4]
    assert b"".join(frame.data for frame in out) == b"".join(packet.data for packet in packets)


@given(SIZES, st.integers(0, 10_000), st.floats(0, 0.9), st.booleans())
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_any_order_and_repetitions_make_the_same_frames(
    sizes: list[int], seed: int, delay_s: float, markers: bool
) -> None:
    """Packets that are late by less than the hold, some of them twice; the first to come is the first."""
    random_ = random.Random(seed)
    first, *rest = _stream(sizes, markers=markers)
    arrivals = [packet._replace(arrival_s=packet.arrival_s + random_.uniform(0, delay_s)) for packet in rest]
    twice = [packet._replace(arrival_s=packet.arrival_s + random_.uniform(0, delay_s)) for packet in arrivals[::3]]
    buffer, out = _buffer(), []
    for packet in [first, *sorted(arrivals + twice, key=lambda packet: packet.arrival_s)]:
        out += buffer.expire(packet.arrival_s)
        out += buffer.add(packet)
    out += buffer.end()
    assert [frame.data for frame in out] == [_whole(index, size) for index, size in enumerate(sizes)]
    assert all(frame.lost_before == 0 for frame in out)
    assert (buffer.lost, buffer.late, buffer.repeated, buffer.incomplete) == (0, 0, len(twice), 0)
    assert all(frame.arrival_s <= frame.complete_s < frame.arrival_s + delay_s + 1e-9 for frame in out)


@given(SIZES, st.integers(0, 10_000), st.sampled_from([0.02, 0.1, 0.4]), st.booleans())
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_a_lost_packet_costs_the_frames_it_touches(sizes: list[int], seed: int, share: float, markers: bool) -> None:
    """All others come out whole; without markers, the frame before a lost beginning cannot be known to be whole."""
    random_ = random.Random(seed)
    sizes = [*sizes, 1]  # the first packet comes, and the last frame
    packets = _stream(sizes, markers=markers)
    owner = [index for index, size in enumerate(sizes) for _ in range(size)]
    lost = {number for number in range(1, len(packets) - 1) if random_.random() < share}
    touched = {owner[number] for number in lost}
    if not markers:
        touched |= {owner[number - 1] for number in lost}
    buffer, out = _buffer(), []
    for number, packet in enumerate(packets):
        if number not in lost:
            out += buffer.expire(packet.arrival_s) + buffer.add(packet)
            assert buffer.due_s is None or buffer.due_s > packet.arrival_s
    out += buffer.end()
    assert [_index(frame) for frame in out] == [index for index in range(len(sizes)) if index not in touched]
    assert all(frame.data == _whole(_index(frame), sizes[_index(frame)]) for frame in out)
    assert sum(frame.lost_before for frame in out) == buffer.lost == len(lost)
    assert (buffer.late, buffer.repeated) == (0, 0)
    assert buffer.incomplete == len(touched & {owner[number] for number in range(len(packets)) if number not in lost})


def test_a_hole_is_waited_for_and_then_told() -> None:
    """What waits comes out when the hold is over, not before; a packet that comes then is late."""
    packets = _stream([2, 2, 2, 2])
    buffer = _buffer()
    out = [frame for index, packet in enumerate(packets) if index != 3 for frame in buffer.add(packet)]
    assert [_index(frame) for frame in out] == [0]
    assert buffer.waits
    noticed_s = packets[4].arrival_s
    assert buffer.due_s == noticed_s + HOLD_S
    assert buffer.expire(noticed_s + HOLD_S - 0.001) == []
    late = buffer.expire(noticed_s + HOLD_S)
    assert [(_index(frame), frame.lost_before) for frame in late] == [(2, 1), (3, 0)]
    assert buffer.add(packets[3]) == []
    assert (buffer.lost, buffer.late, buffer.incomplete) == (1, 1, 1)


def test_a_frame_arrives_with_its_first_packet_and_is_complete_with_its_last() -> None:
    """In time, not in number: a first packet that was repaired came last."""
    buffer, packets = _buffer(), _stream([1, 3])
    buffer.add(packets[0])
    buffer.add(packets[2]._replace(arrival_s=5.0))
    buffer.add(packets[3]._replace(arrival_s=5.1))
    (frame,) = buffer.add(packets[1]._replace(arrival_s=5.4))
    assert (frame.arrival_s, frame.complete_s) == (5.0, 5.4)


def test_two_holes_in_a_frame_are_one_frame() -> None:
    """What is incomplete is counted once."""
    buffer = _buffer()
    for index, packet in enumerate(_stream([1, 7, 1])):
        if index not in (2, 4, 6):
            buffer.add(packet)
    out = buffer.end()
    assert [_index(frame) for frame in out] == [2]
    assert (buffer.incomplete, buffer.lost) == (1, 3)


def test_joined_in_the_middle_of_a_frame() -> None:
    """Its beginning is waited for; then what is left of it is no frame, and the next one is."""
    buffer = _buffer()
    assert [frame for packet in _stream([5, 2, 2])[2:] for frame in buffer.add(packet)] == []
    assert buffer.waits
    due_s = buffer.due_s
    assert due_s is not None
    assert buffer.expire(due_s - 0.001) == []
    assert [_index(frame) for frame in buffer.expire(due_s)] == [1, 2]
    assert buffer.lost == 0


@given(order=st.permutations(range(6)))
def test_the_first_to_come_need_not_be_the_first(order: list[int]) -> None:
    """A stream whose first packets overtake each other loses none of them."""
    packets = _stream([4, 1, 1])
    buffer = _buffer()
    out = [frame for index in order for frame in buffer.add(packets[index])]
    assert [_index(frame) for frame in out] == [0, 1, 2]
    assert (buffer.late, buffer.repeated, buffer.lost, buffer.waits) == (0, 0, 0, False)


def test_holes_from_before_the_beginning_are_waited_for() -> None:
    """What is missing between the beginning and what came before it has its time from then on."""
    packets = _stream([2, 1, 1])
    buffer = _buffer()
    for index in (3, 1, 0):
        assert [_index(frame) for frame in buffer.add(packets[index])] == ([0] if index == 0 else [])
    assert buffer.waits
    assert [_index(frame) for frame in buffer.add(packets[2])] == [1, 2]


def test_packets_before_the_first_are_late() -> None:
    """They did not come twice."""
    packets = _stream([1, 1, 1])
    buffer = _buffer()
    buffer.add(packets[1])
    out = buffer.expire(buffer.due_s or 0.0)
    out += [frame for index in (0, 2) for frame in buffer.add(packets[index])]
    assert [_index(frame) for frame in out] == [1, 2]
    assert (buffer.late, buffer.repeated) == (1, 0)


def test_padding_is_no_part_of_a_frame() -> None:
    """Packets without a payload, which probe the path, have numbers and nothing else, wherever they are."""
    packets = _stream([2, 1, 3])
    padded: list[VideoPacket] = []
    for packet in packets:
        for each in (packet, packet._replace(payload=b"", data=b"", marker=False)):
            padded.append(each._replace(sequence=1000 + len(padded)))
    buffer = _buffer()
    out = [frame for packet in padded for frame in buffer.add(packet)]
    assert [frame.data for frame in out] == [_whole(0, 2), _whole(1, 1), _whole(2, 3)]
    assert not buffer.waits


def test_the_end_of_a_cut_frame_is_not_taken_for_a_whole_one() -> None:
    """A stream that breaks off in a frame whose marker has not come."""
    buffer = _buffer()
    for packet in _stream([2, 3])[:-1]:
        buffer.add(packet)
    assert buffer.end() == []
    assert buffer.incomplete == 1


def test_a_restart() -> None:
    """Whole frames that wait come out; the first new one says that it is, and what is known to be lost."""
    buffer = _buffer()
    old = _stream([1, 2, 1])
    for index in (0, 2, 3):
        buffer.add(old[index])
    assert [_index(frame) for frame in buffer.restart(restarted=True)] == [2]
    new = _stream([2, 1], first=7)
    (first,) = buffer.add(new[0]) + buffer.add(new[1])
    assert (first.restarted, first.detached, first.lost_before) == (True, True, 0)
    (second,) = buffer.add(new[2])
    assert (second.restarted, second.detached) == (False, False)
    assert buffer.restart(restarted=False) == []
    (third,) = buffer.add(new[0]) + buffer.add(new[1])
    assert (third.restarted, third.detached) == (False, True)


def test_memory_is_bounded() -> None:
    """Without any word of the time, some thousand packets are held, and no more."""
    buffer = _buffer()
    buffer.add(_stream([1])[0])
    for packet in _stream([1] * 15_000, first=1001)[::2]:
        buffer.add(packet._replace(sequence=packet.sequence + 1))
        assert len(buffer._held) <= 4096
        assert len(buffer._holes) <= 4097
        assert len(buffer._given_up) <= 2 * 4096


@pytest.mark.parametrize("aud", [False, True])
@pytest.mark.parametrize("codec", ["H264", "VP8"])
def test_real_frames_with_real_losses(codec: Codec, aud: bool) -> None:
    """Each packet of a coded stream is lost once: the frame it belongs to is missing, and no other one."""
    options = {"x264-params": "slices=2:sliced-threads=0" + (":aud=1" if aud else "")} if codec == "H264" else {}
    frames = coded(codec, 8, gop=4, bit_rate=3_000_000, options=options)
    packets = sent(codec, frames)
    form = H264() if codec == "H264" else VP8()
    assert len(packets) > 2 * len(frames)
    for lost in range(1, len(packets) - 1):
        buffer, out = FrameBuffer(form, HOLD_S), []
        for packet in packets[:lost] + packets[lost + 1 :]:
            out += buffer.add(
                VideoPacket(
                    packet.sequence, packet.timestamp, packet.marker, packet.arrival_s, packet.payload, packet.data
                )
            )
        out += buffer.end()
        missing = {frame.timestamp for frame in frames} - {frame.timestamp for frame in out}
        whole = {frame.timestamp: frame for frame in frames}
        header = codec == "H264" and packets[lost].payload[0] & 0x1F in (6, 7, 8, 9, 24)
        assert missing == {packets[lost].timestamp} or (header and not missing)
        for frame in out:
            assert frame.key_frame == whole[frame.timestamp].key_frame
