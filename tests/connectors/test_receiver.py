"""The part that touches aiortc's own names: timestamps without their wrap, and the guard on the version."""

from __future__ import annotations

import aiortc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.connectors.support import TOKEN, Collector, made, refused, run_clean
from vision.connectors.receiver import RawTimestamps, require_known_aiortc
from vision.connectors.whep import WhepConnector
from vision.errors import SourceError

WRAP = 1 << 32
steps = st.lists(st.integers(-(1 << 31) + 1, (1 << 31) - 1), max_size=50)


@given(start=st.integers(0, WRAP - 1), differences=steps)
def test_timestamps_are_unwrapped(start: int, differences: list[int]) -> None:
    """Any walk of steps shorter than half the range is followed exactly, over wraps in both directions."""
    timestamps, true = RawTimestamps(), start
    assert timestamps.map(start) == start
    for difference in differences:
        true += difference
        assert timestamps.map(true % WRAP) == true


@given(start=st.integers(WRAP - 10_000, WRAP - 1), order=st.permutations(range(8)))
def test_reordered_pictures_across_the_wrap(start: int, order: list[int]) -> None:
    """B-frames around the wrap: what goes back in time goes back, and not by 13 hours."""
    timestamps = RawTimestamps()
    first = timestamps.map(start)
    assert [timestamps.map((start + 3000 * i) % WRAP) - first for i in order] == [3000 * i for i in order]


def test_an_unknown_aiortc_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another minor version of aiortc is one line that says what to install; the one at hand is known."""
    require_known_aiortc()
    monkeypatch.setattr(aiortc, "__version__", "1.17.0")
    with pytest.raises(SourceError, match=r"aiortc 1\.17\.0 is installed; needed: 1\.16\.x"):
        require_known_aiortc()
    assert "aiortc" in run_clean(refused(made(WhepConnector, url="http://127.0.0.1:9/", token=TOKEN)))


def test_the_private_names_are_there() -> None:
    """What is touched inside aiortc exists: this fails when the version moves and they do not."""

    async def scenario() -> None:
        from vision.connectors.peer import Peer, PeerOptions
        from vision.connectors.receiver import PacketLog, chosen_pair

        async with Peer(PeerOptions(connect_timeout_s=1), [], loopback=True) as peer:
            receiver = peer._video.receiver
            for name in ("codecs", "remote_streams", "timestamp_mapper"):
                assert hasattr(receiver, f"_RTCRtpReceiver__{name}")
            log = PacketLog(receiver, Collector().now_s)
            assert log.lost() == 0
            assert log.first_of(0) is None
            assert chosen_pair(peer._video) is None

    run_clean(scenario())
