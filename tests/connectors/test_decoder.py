"""The decoder's thread: which picture belongs to which frame, which are damaged, and which never came out."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any

import av
import pytest
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.rtp.streams import STEP, Codec, Coded, coded
from vision.connectors.decoder import Decode, Decoded, VideoDecoder
from vision.connectors.receiver import _decode_with
from vision.frame import Losses
from vision.rtp.pictures import EncodedFrame

B_FRAMES = {"profile": "main", "tune": "film", "bf": "2", "b_strategy": "0", "x264-params": "scenecut=0"}


def _frame(frame: Coded, **changes: Any) -> EncodedFrame:
    arrival_s = frame.timestamp / 90_000
    given_: dict[str, Any] = {"timestamp": frame.timestamp, "key_frame": frame.key_frame} | changes
    return EncodedFrame(
        data=given_.pop("data", frame.data), arrival_s=arrival_s, complete_s=arrival_s, packets=1, **given_
    )


def _decoder(codec: Codec) -> Decode:
    parameters: dict[str, int | str | None] = {"packetization-mode": "1", "profile-level-id": "42e01f"}
    return _decode_with(RTCRtpCodecParameters(f"video/{codec}", 90_000, None, 97, [], parameters))


class Shown:
    """What a decoder delivered.

    :ivar pictures: in the order they came.
    :ivar undecoded: frames that did not become any.
    :ivar failed: how often it failed.
    """

    def __init__(self) -> None:
        self.pictures: list[Decoded] = []
        self.undecoded = self.failed = 0

    def take(self, pictures: list[Decoded], undecoded: int, failed: bool) -> None:
        self.pictures += pictures
        self.undecoded += undecoded
        self.failed += failed

    @property
    def numbers(self) -> list[int]:
        """Which of the pictures that were coded each one is, by what is seen in it."""
        return [round(float(shown.picture.y.mean()) - 43.5) for shown in self.pictures]

    @property
    def timestamps(self) -> list[int]:
        return [shown.frame.timestamp for shown in self.pictures]

    @property
    def damaged(self) -> list[bool]:
        return [shown.damaged for shown in self.pictures]

    @property
    def lost(self) -> dict[int, Losses]:
        """What is said to be missing, by timestamp."""
        return {shown.frame.timestamp: dict(shown.lost_before) for shown in self.pictures if shown.lost_before}


def _decoded(frames: Sequence[EncodedFrame], codec: Codec = "H264", decode: Decode | None = None) -> Shown:
    shown = Shown()

    async def scenario() -> None:
        decoder = VideoDecoder(decode or _decoder(codec), shown.take)
        for frame in frames:
            assert decoder.put(frame)
        await decoder.close()
        await asyncio.sleep(0)

    asyncio.run(scenario())
    assert len(shown.pictures) + shown.undecoded == len(frames)
    return shown


@pytest.mark.parametrize("codec", ["H264", "VP8"])
def test_each_picture_comes_with_its_frame(codec: Codec) -> None:
    """With its timestamp, over the end of 32 bits, and whether it is a key frame; none is damaged or missing."""
    base = (1 << 32) - 5 * STEP
    frames = coded(codec, 20, gop=8)
    shown = _decoded([_frame(frame, timestamp=base + frame.timestamp) for frame in frames], codec)
    assert shown.numbers == list(range(20))
    assert shown.timestamps == [base + number * STEP for number in range(20)]
    assert [picture.key_frame for picture in shown.pictures] == [frame.key_frame for frame in frames]
    assert not any(shown.damaged)
    assert shown.lost == {}


def test_pictures_come_in_the_order_they_are_shown_in() -> None:
    """B-frames are decoded out of it; the last ones come when the stream ends."""
    frames = coded("H264", 24, gop=12, options=B_FRAMES)
    order = [frame.timestamp for frame in frames]
    assert order != sorted(order)
    shown = _decoded([_frame(frame) for frame in frames])
    assert shown.numbers == list(range(24))
    assert shown.timestamps == sorted(order)
    assert (shown.undecoded, shown.failed, shown.lost) == (0, 0, {})


@pytest.mark.parametrize("options", [{}, B_FRAMES])
def test_damaged_from_a_loss_to_the_next_key_frame(options: dict[str, str]) -> None:
    """In the order of decoding: pictures that were decoded before the loss and shown after it are sound."""
    frames = coded("H264", 36, gop=12, options=options)
    lost = 17  # in the order of decoding, and a P-frame
    given_ = [_frame(frame, lost_before=3 * (i == lost + 1)) for i, frame in enumerate(frames) if i != lost]
    shown = _decoded(given_)
    after = {frame.timestamp for frame in frames[lost + 1 :] if frame.timestamp < 24 * STEP}
    damaged = {picture.frame.timestamp for picture in shown.pictures if picture.damaged}
    assert damaged <= after
    assert {stamp for stamp in after if stamp > frames[lost].timestamp and stamp in shown.timestamps} <= damaged
    assert shown.pictures[-1].frame.timestamp == 35 * STEP
    assert not shown.pictures[-1].damaged
    assert sum(lost.get("network", 0) for lost in shown.lost.values()) == 3
    assert all("receiver" not in lost for lost in shown.lost.values())
    first = min(shown.lost)
    assert first > frames[lost - 1].timestamp - 3 * STEP
    assert first in after


@given(st.lists(st.integers(1, 35), max_size=4, unique=True), st.booleans())
@example([12], True)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_is_lost_every_frame_is_accounted_for(lost: list[int], b_frames: bool) -> None:
    """Pictures and frames that did not become any are together what was given; no damage is passed over in silence."""
    frames = _streams(b_frames)
    truth = _truth(b_frames)
    given_, before = [], 0
    for i, frame in enumerate(frames):
        if i in lost:
            before += 1
        else:
            given_.append(_frame(frame, lost_before=before))
            before = 0
    shown = _decoded(given_)
    assert shown.timestamps == sorted(set(shown.timestamps))
    for picture in shown.pictures:
        if not picture.damaged:
            assert bytes(picture.picture.y) == truth[picture.frame.timestamp]
    told = sum(lost.get("network", 0) for lost in shown.lost.values())
    assert told <= len(lost)
    assert told == len(lost) or before or shown.undecoded
    assert all("receiver" not in lost for lost in shown.lost.values())


_made: dict[bool, list[Coded]] = {}
_shown: dict[bool, dict[int, bytes]] = {}


def _streams(b_frames: bool) -> list[Coded]:
    if b_frames not in _made:
        _made[b_frames] = coded("H264", 36, gop=12, options=B_FRAMES if b_frames else {})
    return _made[b_frames]


def _truth(b_frames: bool) -> dict[int, bytes]:
    if b_frames not in _shown:
        shown = _decoded([_frame(frame) for frame in _streams(b_frames)])
        _shown[b_frames] = {picture.frame.timestamp: bytes(picture.picture.y) for picture in shown.pictures}
    return _shown[b_frames]


def test_a_frame_that_cannot_be_decoded_is_the_receivers_where_nothing_was_lost() -> None:
    """It is counted, asked about, and everything until the next key frame is damaged and put down to the same."""
    frames = coded("H264", 16, gop=8)
    given_ = [_frame(frame, **({"data": b"\0\0\0\1\x41"} if i == 3 else {})) for i, frame in enumerate(frames)]
    shown = _decoded(given_)
    assert 3 * STEP not in shown.timestamps
    assert shown.undecoded >= 1
    assert shown.lost[4 * STEP] == {"receiver": 1}
    assert all(picture.damaged == (3 < picture.frame.timestamp // STEP < 8) for picture in shown.pictures)


def test_a_frame_that_cannot_be_decoded_after_a_loss_is_the_networks() -> None:
    """The loss is told in packets, its consequences without a number."""
    frames = coded("H264", 16, gop=8)
    refused = {4 * STEP, 5 * STEP}
    shown = _decoded(
        [_frame(frame, lost_before=2 * (i == 4)) for i, frame in enumerate(frames) if i != 3],
        decode=_refusing(_decoder("H264"), lambda timestamp: timestamp in refused),
    )
    assert shown.lost == {6 * STEP: {"network": 2}}
    assert (shown.undecoded, shown.failed) == (2, 2)
    assert shown.damaged == [False] * 3 + [True] * 2 + [False] * 8


def test_a_failure_after_a_loss_that_a_key_frame_has_ended_is_the_receivers() -> None:
    """The key frame needs nothing of what was lost, and nothing after it does."""
    frames = coded("H264", 40, gop=8)
    shown = _decoded(
        [_frame(frame, lost_before=2 * (i == 4)) for i, frame in enumerate(frames) if i != 3],
        decode=_refusing(_decoder("H264"), lambda timestamp: timestamp // STEP in (27, 28)),
    )
    assert shown.lost == {4 * STEP: {"network": 2}, 29 * STEP: {"receiver": 2}}
    assert [stamp // STEP for stamp, d in zip(shown.timestamps, shown.damaged, strict=True) if d] == [
        4,
        5,
        6,
        7,
        29,
        30,
        31,
    ]


def test_a_picture_that_the_decoder_takes_for_a_key_frame_ends_the_damage() -> None:
    """Some streams have no IDR slices after the first; the decoder knows from where on they can be joined."""
    frames, inner = coded("VP8", 12), _decoder("VP8")

    def decode(data: bytes | None, timestamp: int) -> Sequence[av.VideoFrame]:
        pictures = inner(data, timestamp)
        for picture in pictures:
            marked: Any = picture
            marked.key_frame = timestamp == 7 * STEP
        return pictures

    shown = _decoded([_frame(frame, lost_before=int(i == 4)) for i, frame in enumerate(frames)], decode=decode)
    assert [stamp // STEP for stamp, d in zip(shown.timestamps, shown.damaged, strict=True) if d] == [4, 5, 6]


def test_frames_that_are_swallowed_are_counted() -> None:
    """A decoder that says nothing and gives nothing: they are told with the next picture, or at the end."""
    frames, inner = coded("VP8", 12), _decoder("VP8")

    def decode(data: bytes | None, timestamp: int) -> Sequence[av.VideoFrame]:
        pictures = inner(data, timestamp)
        return [] if timestamp // STEP in (3, 4, 11) else pictures

    shown = _decoded([_frame(frame) for frame in frames], decode=decode)
    assert shown.undecoded == 3
    assert shown.lost == {5 * STEP: {"receiver": 2}}


def test_what_comes_before_the_first_key_frame_is_nobodys_fault() -> None:
    """A stream that is joined in the middle: frames are counted, no cause is named."""
    frames = coded("H264", 16, gop=8)[3:]
    shown = _decoded([_frame(frame) for frame in frames])
    assert shown.numbers == list(range(8, 16))
    assert (shown.undecoded, shown.lost) == (5, {})
    assert not any(shown.damaged)


def test_another_source_is_damaged_until_its_key_frame() -> None:
    """Its pictures build on those of the source before it, which they were not made for."""
    frames = coded("H264", 24, gop=12)
    given_ = [_frame(frame, detached=i == 6) for i, frame in enumerate(frames) if i not in (4, 5)]
    shown = _decoded(given_)
    assert {stamp // STEP for stamp, d in zip(shown.timestamps, shown.damaged, strict=True) if d} <= set(range(6, 12))
    assert shown.pictures[-1].frame.timestamp == 23 * STEP
    assert any(shown.damaged) or shown.undecoded
    assert not shown.pictures[-1].damaged


@pytest.mark.parametrize("options", [{}, B_FRAMES])
@pytest.mark.parametrize("jump", [-100 * STEP, 100 * STEP])
def test_a_source_that_counts_anew(options: dict[str, str], jump: int) -> None:
    """Its pictures are not taken for old ones, in either direction, and the first of them says that it is new."""
    frames = coded("H264", 24, gop=12, options=options)
    again = [i for i, frame in enumerate(frames) if frame.key_frame][1]
    given_ = [
        _frame(frame, timestamp=frame.timestamp + (jump if i >= again else 0), restarted=i == again)
        for i, frame in enumerate(frames)
    ]
    shown = _decoded(given_)
    assert shown.numbers == list(range(24))
    assert [picture.frame.restarted for picture in shown.pictures] == [number == 12 for number in range(24)]
    assert (shown.undecoded, shown.lost) == (0, {})


def test_that_a_source_counts_anew_is_not_lost_with_the_frame_that_says_so() -> None:
    """The next picture says it where that frame cannot be decoded."""
    frames = coded("H264", 12)
    given_ = [_frame(frame, restarted=i == 5) for i, frame in enumerate(frames)]
    shown = _decoded(given_, decode=_refusing(_decoder("H264"), lambda timestamp: timestamp == 5 * STEP))
    assert [picture.frame.timestamp // STEP for picture in shown.pictures if picture.frame.restarted] == [6]


def test_a_decoder_that_is_too_slow_sheds_and_says_so() -> None:
    """No more than 120 frames wait; those thrown away are the receiver's, and what they had to say is not lost."""
    frames, shown, inner = coded("VP8", 200), Shown(), _decoder("VP8")
    taken, go_on = threading.Event(), threading.Event()

    def decode(data: bytes | None, timestamp: int) -> Sequence[av.VideoFrame]:
        taken.set()
        go_on.wait()
        return inner(data, timestamp)

    async def scenario() -> int:
        changed = asyncio.Event()

        def deliver(pictures: list[Decoded], undecoded: int, failed: bool) -> None:
            shown.take(pictures, undecoded, failed)
            changed.set()

        decoder = VideoDecoder(decode, deliver)
        kept = decoder.put(_frame(frames[0])) + 0
        await asyncio.to_thread(taken.wait)
        for i, frame in enumerate(frames[1:199], 1):
            kept += decoder.put(_frame(frame, lost_before=7 * (i == 150), restarted=i == 160))
        go_on.set()
        async with asyncio.timeout(30):
            while len(shown.pictures) < kept:
                await changed.wait()
                changed.clear()
        assert decoder.put(_frame(frames[199]))
        await decoder.close()
        await asyncio.sleep(0)
        return kept

    kept = asyncio.run(scenario())
    assert kept == 121
    assert len(shown.pictures) == kept + 1
    last = shown.pictures[-1]
    assert last.lost_before == {"receiver": 199 - kept, "network": 7}
    assert last.damaged
    assert last.frame.restarted
    assert shown.damaged[:-1] == [False] * kept


def test_what_a_loop_that_has_ended_cannot_take_is_no_error() -> None:
    """The thread ends, whatever has become of those it works for."""
    frames, go_on = coded("VP8", 3), threading.Event()
    inner = _decoder("VP8")

    def decode(data: bytes | None, timestamp: int) -> Sequence[av.VideoFrame]:
        go_on.wait()
        return inner(data, timestamp)

    async def scenario() -> VideoDecoder:
        decoder = VideoDecoder(decode, Shown().take)
        for frame in frames:
            decoder.put(_frame(frame))
        decoder._frames.put(None)
        return decoder

    decoder = asyncio.run(scenario())
    go_on.set()
    decoder._thread.join(10)
    assert not decoder._thread.is_alive()


def _refusing(decode: Decode, refused: Callable[[int], bool]) -> Decode:
    def refuse(data: bytes | None, timestamp: int) -> Sequence[av.VideoFrame]:
        if data and refused(timestamp):
            raise av.error.InvalidDataError(1, "refused")
        return decode(data, timestamp)

    return refuse


def test_what_builds_on_a_torn_picture_is_damaged_too() -> None:
    """A slice that is cut short damages its picture and those behind it, up to the next key frame; one is asked for."""
    frames = coded("H264", 24, gop=12)
    sent = [_frame(frame) for frame in frames]
    sent[4] = _frame(frames[4], data=frames[4].data[: len(frames[4].data) * 2 // 3])
    shown = _decoded(sent)
    assert shown.damaged == [4 <= number < 12 for number in range(24)]
    assert shown.failed == 1
    assert shown.lost == {}


def test_a_torn_key_frame_damages_all_up_to_the_next() -> None:
    """It is no fresh start."""
    frames = coded("H264", 24, gop=12)
    sent = [_frame(frame) for frame in frames]
    sent[12] = _frame(frames[12], data=frames[12].data[: len(frames[12].data) * 2 // 3])
    shown = _decoded(sent)
    assert shown.damaged == [number >= 12 for number in range(24)]
