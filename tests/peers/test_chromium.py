"""Headless Chromium as the sending peer: its answers, its RTX, its reports, and every frame it encoded."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.connectors.support import checked, executed, run_clean
from tests.peers.accounting import Account, account_of
from tests.peers.chromium import TOKEN, Chromium, Report, chromium
from vision.runner import Outcome

SECONDS = 20
_LATE = 25  # what was sent between the last look at the figures and the DELETE: half a second

_IN_DECODER = 2
_HELD = 4  # blocks that wait behind a hole (60 ms) at the end
_BEYOND = 15  # pictures that still wait for their sound, or lie beyond the run's time, when it is up: half a second


def streamed(folder: Path, rig: Chromium, seconds: float, token: str = TOKEN) -> Outcome:
    """Run from a Chromium; the token is in no file."""
    source = f"source: {{use: whep, url: '{rig.url}', token: {token}}}\nrun: {{duration_s: {seconds:g}}}\n"
    reading = "processors: [{use: 'tests.peers.numbered:NumberProcessor', name: numbers}]\n"
    outcome = run_clean(executed(folder, source + reading), seconds + 30)
    for path in (folder / "out").iterdir():
        assert token not in path.read_text()
    return outcome


@pytest.mark.slow
@pytest.mark.parametrize(("codec", "seconds"), [("VP8", SECONDS), ("H264", SECONDS)])
def test_every_frame_is_accounted_for(tmp_path: Path, codec: str, seconds: float) -> None:
    """20 s: each picture and each block of sound that was encoded is received, lost or dropped, and known."""
    with chromium(tmp_path, codec=f"video/{codec}") as rig:
        outcome = streamed(tmp_path, rig, seconds)
        assert (outcome.exit_status, outcome.error) == (0, None)
        assert rig.requests == [("POST", 201), ("DELETE", 200)]
        (report,), (answer,) = rig.reports, rig.answers
    assert " rtx/90000" in answer
    assert report.codec("video") == f"video/{codec}"
    account = account_of(tmp_path / "out")
    assert (account.video["codec"], account.audio["codec"]) == (codec, "opus")
    check_pictures(account, report, seconds)
    check_packets(account, report)
    check_sound(account, report, seconds)


def check_pictures(account: Account, report: Report, seconds: float) -> None:
    """By the RTP timestamps, which the browser and the records have in common: sent = received + lost + dropped."""
    received = [picture.timestamp for picture in account.pictures]
    sent = [frame.timestamp for frame in report.video]
    assert set(received) <= set(sent)
    assert received == sorted(set(received), key=sent.index)
    assert report.video[sent.index(received[0])].key
    in_time = sent[sent.index(received[0]) : sent.index(received[-1]) + 1]
    assert account.unaccounted(set(in_time) - set(received)) == 0
    assert len(received) >= 0.9 * 30 * seconds
    numbers = [picture.number for picture in account.pictures if picture.number is not None]
    assert len(numbers) == len(received)
    assert numbers == sorted(numbers)
    assert len(set(numbers)) >= len(numbers) - 3  # the browser may give the first picture to the encoder twice
    assert report.outbound("video")["framesSent"] == len(sent)
    video = account.video
    lost = video["packets_lost"]
    assert 0 <= len(sent) - video["frames_received"] <= _LATE + lost
    in_decoder = video["frames_received"] - video["frames_decoded"] - video["frames_dropped"]
    assert -lost <= in_decoder <= _IN_DECODER
    assert 0 <= video["frames_decoded"] - len(received) - account.overload <= _BEYOND


def check_packets(account: Account, report: Report) -> None:
    """Those that came once, those that never did, and those still under way at the end, are those sent."""
    for kind, facts in (("video", account.video), ("audio", account.audio)):
        outbound = report.outbound(kind)
        sent = outbound["packetsSent"] - outbound["retransmittedPacketsSent"]
        once, lost = (
            facts["packets_received"] - facts["packets_repeated"],
            facts["packets_lost"],
        )
        assert lost >= 0
        assert 0 <= sent - once - lost <= 4 * _LATE


def check_sound(account: Account, report: Report, seconds: float) -> None:
    """Every block is samples, or marked as missing."""
    audio = account.audio
    blocks = audio["packets_received"] - audio["packets_repeated"]
    lost = audio["packets_lost"]
    assert 0 <= len(report.audio) - blocks - lost <= _LATE
    held = 960 * (blocks + lost) - audio["total_samples_received"]
    assert held <= 960 * _HELD
    assert audio["concealed_samples"] >= 960 * lost - max(held, 0)
    assert account.samples == pytest.approx(seconds * 48_000, abs=48_000)
    assert account.missing_samples <= audio["concealed_samples"]
    assert sorted(account.levels)[len(account.levels) // 2] > 0.1


def test_a_token_that_is_refused(tmp_path: Path) -> None:
    """The front says 401: one line, status 3, nothing to release."""
    with chromium(tmp_path) as rig:
        outcome = streamed(tmp_path, rig, 1, token="another-token")
        assert outcome.exit_status == 3
        assert "401: the token is missing or not accepted" in checked(outcome.error or "")
        assert rig.requests == [("POST", 401)]
