"""The stream itself: real WebRTC over loopback, watched by an aiortc viewer."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.simulator.watching import SDP, SIZE, Watcher, run
from vision.simulator import Fault, SimulatorSettings
from vision.simulator.faults import FaultPlan
from vision.simulator.performance import Performance
from vision.simulator.soundtrack import Soundtrack
from vision.simulator.speech import Speech
from vision.simulator.turns import Turns


def lines(truth: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in truth.read_text().splitlines()]


@pytest.mark.parametrize("codec", ["h264", "vp8"])
def test_every_picture_of_the_truth_arrives_in_order(codec: str, tmp_path: Path) -> None:
    """Pictures come with the time stamps of the truth, but for the planted drop; DELETE ends the show."""
    truth = tmp_path / "truth.jsonl"
    drop = Fault(kind="drop", start_s=0.5, duration_s=0.3)

    async def scenario(make: Callable[[], Watcher]) -> None:
        watcher = make()
        answer = await watcher.watch()
        assert {"h264": "H264/90000", "vp8": "VP8/90000"}[codec] in answer
        assert {"h264": "VP8/90000", "vp8": "H264/90000"}[codec] not in answer
        await watcher.until(2.5)
        assert (await watcher.client.delete(watcher.viewer_url)).status_code == 200
        told = [line["time_s"] for line in lines(truth)]
        got = [round(picture.time, 4) for picture in watcher.pictures]
        assert got == sorted(got)
        assert len(set(got) & {round(float(str(time_s)), 4) for time_s in told}) >= 0.97 * len(told)
        assert not [time_s for time_s in got if drop.covers(time_s + 1e-3)]
        assert (watcher.pictures[0].width, watcher.pictures[0].height) == SIZE
        await watcher.close()

    settings = SimulatorSettings.model_validate({"size": SIZE, "codec": codec, "faults": [drop]})
    run(settings, truth, scenario)


def test_sound_arrives_on_the_clock_of_the_picture(tmp_path: Path) -> None:
    """What is decoded at a time stamp is, within a millisecond, what the voice says then; a gap stays a gap."""
    gap = Fault(kind="audio_gap", start_s=1.5, duration_s=0.3)

    async def scenario(make: Callable[[], Watcher]) -> None:
        watcher = make()
        await watcher.watch()
        await watcher.until(2.3)
        await watcher.close()
        starts = [round((frame.time or 0.0) * 48_000) for frame in watcher.sounds]
        missing = set(range(0, starts[-1], 960)) - set(starts)
        assert missing == {block * 960 for block in range(75, 90)}
        sound = np.concatenate([frame.to_ndarray()[0, ::2] for frame in watcher.sounds if (frame.time or 0.0) < 1.5])
        spoken = Soundtrack(Speech(Performance(1), Turns(), True).sound, FaultPlan([]), 1).at(0, len(sound))
        scores = [float(np.dot(sound[2000:-2000], spoken[2000 - lag : -2000 - lag])) for lag in range(-999, 1000)]
        assert abs(int(np.argmax(scores)) - 999) <= 48

    run(SimulatorSettings(size=SIZE, faults=[gap]), tmp_path / "truth.jsonl", scenario)


def test_a_session_has_one_viewer_at_a_time(tmp_path: Path) -> None:
    """A second viewer gets 409 until the first has gone; then the truth starts afresh."""
    truth = tmp_path / "truth.jsonl"

    async def scenario(make: Callable[[], Watcher]) -> None:
        first, second = make(), make()
        await first.watch()
        await first.until(0.5)
        offer = await second.offer()
        assert (await first.client.post(first.whep_url, headers=SDP, content=offer)).status_code == 409
        without_prefix = first.viewer_url.replace("/avatar", "")
        assert (await first.client.delete(without_prefix)).status_code == 404
        assert (await first.client.delete(first.viewer_url)).status_code == 200
        assert (await first.client.delete(first.viewer_url)).status_code == 404
        await second.accept(await second.client.post(second.whep_url, headers=SDP, content=offer))
        await second.until(0.3)
        assert lines(truth)[0]["time_s"] == 0
        await second.close()
        await first.close()

    run(SimulatorSettings(size=SIZE), truth, scenario)


def test_a_viewer_can_leave_before_it_is_connected(tmp_path: Path) -> None:
    """DELETE right after the answer frees the slot."""

    async def scenario(make: Callable[[], Watcher]) -> None:
        first, second = make(), make()
        await first.watch()
        assert (await first.client.delete(first.viewer_url)).status_code == 200
        await second.watch()
        await second.until(0.1)
        await second.close()
        await first.close()

    run(SimulatorSettings(size=SIZE), tmp_path / "truth.jsonl", scenario)


def test_a_viewer_that_closes_frees_the_slot(tmp_path: Path) -> None:
    """Where the viewer ends the connection without DELETE, the next one is let in."""

    async def scenario(make: Callable[[], Watcher]) -> None:
        first, second = make(), make()
        await first.watch()
        await first.until(0.2)
        await first.close()
        await second.watch()
        await second.until(0.2)
        await second.close()

    run(SimulatorSettings(size=SIZE), tmp_path / "truth.jsonl", scenario)


def test_picture_loss_is_answered_with_a_key_frame(tmp_path: Path) -> None:
    """A PLI brings a key frame within the look-ahead, well before the next regular one."""

    async def scenario(make: Callable[[], Watcher]) -> None:
        watcher = make()
        await watcher.watch()
        await watcher.until(0.3)
        receiver = watcher.peer.getReceivers()[0]
        await receiver._send_rtcp_pli(_ssrc(receiver))
        await watcher.until(1.6)
        keys = [picture.time for picture in watcher.pictures if picture.key_frame]
        assert len(keys) == 2
        assert 0.3 < keys[1] < 1.5
        await watcher.close()

    run(SimulatorSettings(size=SIZE), tmp_path / "truth.jsonl", scenario)


def _ssrc(receiver: object) -> int:
    """The SSRC of the stream that a receiver gets."""
    streams: dict[int, object] = getattr(receiver, "_RTCRtpReceiver__remote_streams")  # noqa: B009
    return next(iter(streams))


@pytest.mark.parametrize(("kinds", "received"), [(("audio",), "sounds"), (("video",), "pictures")])
def test_one_kind_alone_can_be_watched(kinds: tuple[str, ...], received: str, tmp_path: Path) -> None:
    """An offer of sound or picture alone is answered with that."""

    async def scenario(make: Callable[[], Watcher]) -> None:
        watcher = make()
        answer = await watcher.watch(*kinds)
        assert answer.count("m=") == 1
        await watcher.when(lambda: len(getattr(watcher, received)) >= 5)
        await watcher.close()

    run(SimulatorSettings(size=SIZE), tmp_path / "truth.jsonl", scenario)


def test_an_offer_without_the_codec_is_answered_inactive(tmp_path: Path) -> None:
    """As with the vendor: 201, video inactive, sound as usual."""

    async def scenario(make: Callable[[], Watcher]) -> None:
        watcher = make()
        offer = await watcher.offer()
        without = "".join(line for line in offer.splitlines(True) if "VP8" not in line).replace("VP8", "")
        answer = await watcher.client.post(watcher.whep_url, headers=SDP, content=without)
        assert answer.status_code == 201
        video, sound = answer.text.split("m=")[1:]
        assert "a=inactive" in video
        assert "a=sendonly" in sound
        await watcher.close()

    run(SimulatorSettings(size=SIZE, codec="vp8"), tmp_path / "truth.jsonl", scenario)


def test_an_offer_of_unknown_codecs_is_refused(tmp_path: Path) -> None:
    """Where not one codec is known, there is no answer to give: 400, and the slot stays free."""

    async def scenario(make: Callable[[], Watcher]) -> None:
        watcher = make()
        offer = await watcher.offer()
        strange = offer.replace("VP8", "XP8").replace("H264", "X264")
        answer = await watcher.client.post(watcher.whep_url, headers=SDP, content=strange)
        assert (answer.status_code, answer.json()["success"]) == (400, False)
        assert (await watcher.client.post(watcher.whep_url, headers=SDP, content=offer)).status_code == 201
        await watcher.close()

    run(SimulatorSettings(size=SIZE, codec="vp8"), tmp_path / "truth.jsonl", scenario)
