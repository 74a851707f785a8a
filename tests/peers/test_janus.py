"""Debian's Janus behind janus-whep-server, fed with RTP: its counter-offers, its mislabelled one, every frame."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.connectors.support import checked, executed, run_clean
from tests.peers.accounting import account_of
from tests.peers.feed import BLOCK
from tests.peers.janus import TOKEN, Janus, janus
from vision.runner import Outcome

SECONDS = 20
_MARGIN = 2  # frames at either end of which only some packets were seen
_HELD = 4  # blocks that wait behind a hole (60 ms) at the end
_BEYOND = 15  # pictures that still wait for their sound, or lie beyond the run's time, when it is up: half a second


def run_of(rig: Janus, seconds: float, token: str = TOKEN) -> str:
    """YAML of a run from a Janus."""
    return (
        f"source: {{use: whep, url: '{rig.url}', token: {token}}}\n"
        f"run: {{duration_s: {seconds:g}}}\n"
        "processors: [{use: 'tests.peers.numbered:NumberProcessor', name: numbers}]\n"
    )


def streamed(folder: Path, rig: Janus, seconds: float, token: str = TOKEN) -> Outcome:
    """Run from a Janus; the slot is given back, and the token is in no file."""
    outcome = run_clean(executed(folder, run_of(rig, seconds, token)), seconds + 30)
    rig.settle()
    assert rig.viewers == 0
    for path in (folder / "out").iterdir():
        assert token not in path.read_text()
    return outcome


@pytest.mark.slow
def test_every_frame_is_accounted_for(tmp_path: Path) -> None:
    """20 s by a counter-offer: each picture and each packet that was sent is received, lost or dropped, and known."""
    with janus(tmp_path) as rig:
        outcome = streamed(tmp_path, rig, SECONDS)
        assert (outcome.exit_status, outcome.error) == (0, None)
        assert rig.methods() == [("POST", 406), ("PATCH", 204), ("DELETE", 200)]
        sent = rig.end_feed()
    account = account_of(tmp_path / "out")
    video, audio = account.video, account.audio
    assert (video["codec"], video["width"], video["height"], audio["codec"]) == ("H264", 1280, 720, "opus")

    # the pictures, by the numbers they carry: sent = received + lost + dropped
    numbers = [picture.number for picture in account.pictures if picture.number is not None]
    assert all(picture.corrupt for picture in account.pictures if picture.number is None)
    assert numbers == sorted(set(numbers))
    first, last = numbers[0], numbers[-1]
    assert last < sent.pictures
    assert last - first + 1 >= (SECONDS - 1 - sent.longest_pause_s) * 30
    missing = set(range(first, last + 1)) - set(numbers)
    assert account.unaccounted(missing) == 0
    assert outcome.summary["queue"]["received"] == len(account.pictures) + account.overload

    # the frames of the receiver: what is received is decoded or dropped; what is decoded is handed on
    in_decoder = video["frames_received"] - video["frames_decoded"] - video["frames_dropped"]
    lost = video["packets_lost"]
    assert -max(lost, _MARGIN) <= in_decoder <= _MARGIN  # dropped are also those that never were whole
    beyond = video["frames_decoded"] - len(account.pictures) - account.overload
    assert 0 <= beyond <= _BEYOND

    # the packets: those that came once, and those that never did, are those of the frames from the first on
    packets = video["packets_received"] - video["packets_repeated"]
    begun = first - (video["frames_dropped"] - account.not_decoded)
    ended = last + beyond + max(in_decoder, 0)
    least = sum(sent.packets_of[max(begun + _MARGIN, 0) : ended + 1 - _MARGIN])
    most = sum(sent.packets_of[max(begun - _MARGIN, 0) : ended + 1 + _MARGIN])
    assert lost >= 0
    # discarded are also those that came before the first packet that a decoder can begin with
    assert least <= packets + lost
    assert packets + lost - video["packets_discarded"] <= most

    # the sound: every block is samples, or marked as missing
    blocks = audio["packets_received"] - audio["packets_repeated"]
    lost_blocks = audio["packets_lost"]
    assert 0 <= lost_blocks <= 50
    held = (blocks + lost_blocks) * BLOCK - audio["total_samples_received"]
    assert 0 <= held <= _HELD * BLOCK
    assert audio["concealed_samples"] <= lost_blocks * BLOCK <= audio["concealed_samples"] + held
    assert blocks + lost_blocks <= sent.blocks
    assert account.samples == pytest.approx(SECONDS * 48_000, abs=48_000)
    assert account.missing_samples <= audio["concealed_samples"]
    assert sorted(account.levels)[len(account.levels) // 2] == pytest.approx(0.354, abs=0.05)


@pytest.mark.slow
def test_an_offer_that_is_called_an_answer(tmp_path: Path) -> None:
    """A Janus before 1.1.4 whose offer comes with 201, and that takes no answer to it, streams all the same."""
    with janus(tmp_path, counter_offer=False, size=(640, 360)) as rig:
        outcome = streamed(tmp_path, rig, 3)
        assert (outcome.exit_status, outcome.error) == (0, None)
        assert (rig.methods()[0], rig.methods()[-1]) == (("POST", 201), ("DELETE", 200))
    numbers = [picture.number for picture in account_of(tmp_path / "out").pictures]
    assert len(numbers) >= 80
    assert None not in numbers


def test_a_token_that_is_refused(tmp_path: Path) -> None:
    """janus-whep-server says 403: one line, status 3, nothing to release."""
    with janus(tmp_path, size=(640, 360)) as rig:
        outcome = streamed(tmp_path, rig, 1, token="another-token")
        assert outcome.exit_status == 3
        assert "403: the token is missing or not accepted" in checked(outcome.error or "")
        assert rig.methods() == [("POST", 403)]
