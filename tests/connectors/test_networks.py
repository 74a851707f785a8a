"""Whole runs over bad networks and from odd senders: they end in time, and each missing picture has its cause.

The matrix of webrtc.md, 6. A scripted peer numbers its pictures, the impairment proxy keeps the accounts of packets.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gap_causes import LEAST_PACE, carried_out, described
from tests.connectors.scripted import Content, Numbering, Script, Scripted
from tests.connectors.server import Request, Server
from tests.connectors.support import prepared, run_clean
from tests.peers.accounting import Account, account_of
from tests.peers.impairment import Blackout, Burst, ImpairedWhep, Impairment
from tests.peers.ledger import Fate
from vision.runner import Outcome

FPS = 25
SMALL = Content()
PROCESSORS = (
    "processors:\n"
    "  - {use: 'tests.peers.numbered:NumberProcessor', name: numbers}\n"
    "  - {use: 'tests.connectors.failing:ResetsProcessor', name: resets}\n"
)
GOOD = Impairment()
DARK = Impairment(loss=1.0, media_only=False)


class Network:
    """The way to the server, to be changed while a run goes on."""

    def __init__(self, front: ImpairedWhep) -> None:
        self.front = front
        self._light = asyncio.Event()
        self._light.set()
        passed_on = front._server.behaviour

        async def behave(request: Request, writer: asyncio.StreamWriter) -> None:
            await self._light.wait()
            await passed_on(request, writer)

        front._server.behaviour = behave

    async def media_begun(self) -> None:
        """Wait for the first media packet."""
        while not (self.front.proxies and self.front.proxies[0].begun_s is not None):  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    async def darken(self, after_s: float, duration_s: float) -> None:
        """From so long after the first media packet nothing passes: no media, no STUN, no HTTP, on any connection."""
        await self.media_begun()
        await asyncio.sleep(after_s)
        before = self.front.down, self.front.up
        self._light.clear()
        self._impair(DARK, DARK)
        await asyncio.sleep(duration_s)
        self._impair(*before)
        self._light.set()

    def _impair(self, down: Impairment, up: Impairment) -> None:
        self.front.down, self.front.up = down, up
        for proxy in self.front.proxies:
            proxy.down.impairment, proxy.up.impairment = down, up


@dataclass(slots=True)
class Received:
    """A run, what it left, and how the sender and the network saw it."""

    outcome: Outcome
    took_s: float
    folder: Path
    scripted: Scripted
    front: ImpairedWhep

    @property
    def account(self) -> Account:
        """What was received, and what is said to be missing."""
        return account_of(self.folder)

    @property
    def facts(self) -> dict[str, Any]:
        """What run.json says of the source."""
        found: dict[str, Any] = json.loads((self.folder / "run.json").read_text())["source"]
        return found

    @property
    def summary(self) -> dict[str, Any]:
        """As written."""
        found: dict[str, Any] = json.loads((self.folder / "summary.json").read_text())
        return found

    @property
    def records(self) -> list[dict[str, Any]]:
        """Those with a picture."""
        lines = (self.folder / "frames.jsonl").read_text().splitlines()
        return [record for record in map(json.loads, lines) if record["index"] is not None]

    @property
    def gaps(self) -> list[dict[str, Any]]:
        """The incidents that are gaps."""
        incidents = map(json.loads, (self.folder / "incidents.jsonl").read_text().splitlines())
        return [incident for incident in incidents if incident["kind"] == "no_picture"]

    @property
    def numbers(self) -> list[int]:
        """Of the pictures that came, in their order, by their timestamps; those that came whole say the same."""
        by_timestamp = {sent.timestamp: sent.number for sent in self.scripted.of("video")}
        numbers = [by_timestamp[picture.timestamp] for picture in self.account.pictures]
        for number, picture in zip(numbers, self.account.pictures, strict=True):
            assert picture.corrupt or picture.number == number
        return numbers

    @property
    def missing(self) -> set[int]:
        """The pictures that did not come between two that came over the same connection."""
        by_timestamp = {fate.timestamp: i for i, fates in enumerate(self.packets) for fate in fates}
        ways = [by_timestamp[picture.timestamp] for picture in self.account.pictures]
        steps = pairwise(zip(self.numbers, ways, strict=True))
        return {
            number for (one, way), (other, next_way) in steps if way == next_way for number in range(one + 1, other)
        }

    def resets(self) -> tuple[int, int]:
        """How often processors were reset, and how often because of another connection."""
        counted = self.records[-1]["resets"]
        return counted["resets"], counted["reconnects"]

    @property
    def packets(self) -> list[list[Fate]]:
        """Those of video on each connection, in the order they were sent, as its proxy saw them."""
        streams = [proxy.ledger.of("video") for proxy in self.front.proxies]
        return [[fate for one in stream for fate in one.packets.values()] for stream in streams]

    @property
    def concluded(self) -> list[list[Fate]]:
        """The same up to the last packet of a picture that was received: what became of them is known."""
        seen = {picture.timestamp for picture in self.account.pictures}
        last = [max((i for i, fate in enumerate(way) if fate.timestamp in seen), default=-1) for way in self.packets]
        return [fates[: i + 1] for fates, i in zip(self.packets, last, strict=True)]


def received(folder: Path, *scripts: Script, limit_s: float = 20, **how: Any) -> Received:
    """Carry one run out, as `carried_through` does; it leaves nothing behind, in this process or on the server."""
    return run_clean(carried_through(folder, *scripts, **how), limit_s)


async def carried_through(
    folder: Path,
    *scripts: Script,
    content: Content = SMALL,
    down: Impairment = GOOD,
    up: Impairment = GOOD,
    source: str = "",
    run: str = "duration_s: 3",
    meanwhile: Callable[[Network], Awaitable[None]] | None = None,
) -> Received:
    """Carry a run out behind a network."""
    scripted = Scripted(*scripts, content=content)
    async with Server(scripted) as server, ImpairedWhep(f"{server.url}/whep/1", down, up) as front:
        text = f"source: {{use: whep, url: '{front.url}', {source}}}\nrun: {{{run}}}\n"
        beside = asyncio.ensure_future(meanwhile(Network(front))) if meanwhile else None
        begun_s = time.monotonic()
        try:
            outcome = await prepared(folder, text + PROCESSORS).execute()
            took_s = time.monotonic() - begun_s
        finally:
            if beside is not None:
                beside.cancel()
                await asyncio.wait([beside])
            await scripted.close()
    return Received(outcome, took_s, folder / "out", scripted, front)


def check(run: Received, *, ends_within_s: float) -> None:
    """What holds on any network: it ends in time, in order, and sent = received + lost + dropped, with causes."""
    assert (run.outcome.exit_status, run.outcome.reason) == (0, "duration reached"), run.outcome.error
    assert run.took_s < ends_within_s
    check_account(run)


def check_account(run: Received) -> None:
    """Every picture came, or lies in a gap; every packet came, or is counted as lost."""
    numbers, records, account = run.numbers, run.records, run.account
    assert numbers == sorted(set(numbers)), "a picture came twice, or out of order"
    times_s = [record["time_s"] for record in records]
    assert times_s == sorted(set(times_s))
    assert account.unaccounted(run.missing) == 0
    for (one, before_s), (other, after_s) in pairwise(zip(numbers, times_s, strict=True)):
        if other > one + 1:
            inside = [gap for gap in run.gaps if gap["start_s"] <= before_s + 1e-6 and after_s <= gap["end_s"] + 1e-6]
            assert inside, f"pictures {one + 1} to {other - 1} are missing in no gap"
    video = account.video
    sent, all_sent = (list(chain(*ways)) for ways in (run.concluded, run.packets))
    came = video["packets_received"] - video["retransmitted_packets_received"]
    assert _passed(sent) <= came, "packets that came are not counted"
    assert came <= _passed(all_sent), "more packets are counted than came"
    lost = video["packets_lost"]
    assert _lost(sent) <= lost, "packets that were lost are not counted"
    assert lost <= _lost(all_sent), "more packets are counted as lost than were"


def _passed(fates: Iterable[Fate]) -> int:
    return sum(fate.dropped is None for fate in fates)


def _lost(fates: Iterable[Fate]) -> int:
    return sum(not fate.arrived for fate in fates)


def test_a_good_network(tmp_path: Path) -> None:
    """Nothing is missing, and nothing is said to be."""
    run = received(tmp_path)
    check(run, ends_within_s=8)
    assert run.numbers == list(range(75))
    assert run.gaps == []
    assert run.account.missing_samples == 0
    assert run.resets() == (0, 0)


def test_a_blackout_of_two_seconds(tmp_path: Path) -> None:
    """One gap, and the network's; pictures go on over the same connection."""
    dark = Impairment(blackouts=(Blackout(1, 2),))
    run = received(tmp_path, Script(resends=False), down=dark, up=dark, run="duration_s: 5")
    check(run, ends_within_s=10)
    (gap,) = run.gaps
    assert (gap["cause"], gap["severity"]) == ("network", "error")
    assert gap["end_s"] - gap["start_s"] == pytest.approx(2, abs=0.2)
    (concluded,) = run.concluded
    assert gap["evidence"]["packets_lost"] == _lost(concluded)
    assert len(run.missing) == len({fate.timestamp for fate in concluded if not fate.arrived})
    assert run.facts["connections"] == 1
    assert run.facts["recoveries"] == []
    assert run.resets() == (0, 0)
    assert run.numbers[-1] == 124


def test_a_blackout_that_the_sender_makes_good(tmp_path: Path) -> None:
    """What the sender still has is asked for when it can be heard again: nothing is missing."""
    dark = Impairment(blackouts=(Blackout(1, 1.5),))
    run = received(tmp_path, content=Content(bitrate_bps=150_000), down=dark, up=dark, run="duration_s: 4")
    check(run, ends_within_s=9)
    assert run.missing == set()
    assert run.account.causes <= {"network"}


def test_a_burst_of_200(tmp_path: Path) -> None:
    """200 packets in a row are lost, more than the sender can send again: a gap of the network's, and pictures again.

    What is sent again builds on what is not: those pictures are marked as damaged until a key frame comes.
    """
    content = Content(size=(320, 240), bitrate_bps=1_500_000)
    run = received(tmp_path, content=content, down=Impairment(bursts=(Burst(1, 200),)), run="duration_s: 4")
    check(run, ends_within_s=10)
    assert run.account.causes == {"network"}
    assert run.missing
    assert run.account.pictures[-1].corrupt is False
    assert run.numbers[-1] == 99


@pytest.mark.parametrize("fault", ["lost packet", "cut slice"])
def test_damage_on_the_way_is_corruption_by_the_network(tmp_path: Path, fault: str) -> None:
    """A packet that is lost and not sent again, and a slice that comes short of its end, with no packet missing.

    The incident covers the pictures that are not as they were sent: from the first of them up to the next key frame,
    which is asked for.
    """
    burst = Impairment(bursts=(Burst(1, 5),)) if fault == "lost packet" else GOOD
    script = Script(resends=False, cut_from_s=1.0 if fault == "cut slice" else float("inf"))
    content = Content(bitrate_bps=600_000, key_every_s=60)
    run = received(tmp_path, script, content=content, down=burst)
    check(run, ends_within_s=8)
    damaged = [record["time_s"] for record in run.records if record["corrupt"]]
    incidents = map(json.loads, (run.folder / "incidents.jsonl").read_text().splitlines())
    (corruption,) = (incident for incident in incidents if incident["kind"] == "corruption")
    assert corruption["cause"] == "network"
    assert corruption["start_s"] == damaged[0]
    assert corruption["evidence"]["pictures"] == len(damaged)
    assert corruption["end_s"] == min(one["time_s"] for one in run.records if one["time_s"] > damaged[-1])
    assert corruption["end_s"] - corruption["start_s"] < 1.5, "no key frame was asked for"
    assert run.gaps == [] or fault == "lost packet"


def test_duplicates(tmp_path: Path) -> None:
    """Packets that come twice, some of them much later: no picture comes twice, and none is missing."""
    run = received(tmp_path, down=Impairment(duplicates=0.3, jitter_s=0.005))
    check(run, ends_within_s=8)
    assert run.missing == set()
    assert len(run.numbers) >= 73, "joined in mid-stream, packets before the first one that comes are of no use"
    assert run.gaps == []
    assert run.account.missing_samples == 0


def test_numbers_that_wrap(tmp_path: Path) -> None:
    """Timestamps (32 bits) and sequence numbers (16) of both tracks go through zero: time goes on evenly."""
    video = Numbering(timestamp=(1 << 32) - 90_000, sequence=(1 << 16) - 30)
    audio = Numbering(timestamp=(1 << 32) - 48_000, sequence=(1 << 16) - 30)
    run = received(tmp_path, Script(video=[video], audio=[audio]))
    check(run, ends_within_s=8)
    assert run.numbers == list(range(75))
    timestamps = [picture.timestamp for picture in run.account.pictures]
    assert timestamps[0] > timestamps[-1], "they did not wrap"
    steps_s = [after["time_s"] - before["time_s"] for before, after in pairwise(run.records)]
    assert steps_s == pytest.approx([1 / FPS] * 74)
    assert run.gaps == []
    assert run.account.missing_samples == 0
    assert run.account.samples == pytest.approx(48_000 * 3, abs=4800)
    assert run.resets() == (0, 0)


@pytest.mark.parametrize("key_frame", [True, False])
def test_another_source(tmp_path: Path, key_frame: bool) -> None:
    """Other SSRCs, numbers and timestamps in mid-stream, as of a sender that has begun anew: it goes on.

    Processors are told. Where it does not begin with a key frame, one is asked for; meanwhile pictures are damaged.
    """
    video = [Numbering(), Numbering(1.48, ssrc=4711, sequence=99, timestamp=123_456_789, key_frame=key_frame)]
    audio = [Numbering(), Numbering(1.5, ssrc=4712, sequence=77, timestamp=3_000_000_000)]
    run = received(tmp_path, Script(video=video, audio=audio))
    check(run, ends_within_s=8)
    assert {sent.ssrc for sent in run.scripted.of("video")} > {4711}
    assert run.numbers[-1] >= 73
    assert len(run.missing) <= 2
    steps_s = [after["time_s"] - before["time_s"] for before, after in pairwise(run.records)]
    assert max(steps_s) < 0.3
    assert run.resets() == (1, 1)
    damaged = [picture.corrupt for picture in run.account.pictures]
    assert any(damaged) is not key_frame
    assert not any(damaged[:37] + damaged[-20:])


def test_another_ssrc_whose_time_goes_on(tmp_path: Path) -> None:
    """As a server does that switches between sources and keeps its timestamps: nobody notices."""
    video = [Numbering(), Numbering(1.48, ssrc=4711, sequence=99, key_frame=True)]
    audio = [Numbering(), Numbering(1.5, ssrc=4712, sequence=77)]
    run = received(tmp_path, Script(video=video, audio=audio))
    check(run, ends_within_s=8)
    assert run.numbers == list(range(75))
    assert run.gaps == []
    assert run.account.missing_samples == 0
    assert run.resets() == (0, 0)


def test_a_bye_that_is_none(tmp_path: Path) -> None:
    """Some senders say BYE and go on: so do we."""
    run = received(tmp_path, Script(bye_at_s=1.0))
    check(run, ends_within_s=8)
    assert run.numbers == list(range(75))
    assert run.gaps == []
    assert run.facts["connections"] == 1


def test_a_bye(tmp_path: Path) -> None:
    """A sender that says BYE and falls silent is connected to again at once; the gap is its own."""
    run = received(tmp_path, Script(bye_at_s=1.5, silent_from_s=1.5), Script(), run="duration_s: 4")
    check(run, ends_within_s=9)
    (gap,) = run.gaps
    assert gap["cause"] == "sender"
    assert gap["end_s"] - gap["start_s"] < 2
    (recovery,) = run.facts["recoveries"]
    assert (recovery["cause"], run.facts["connections"]) == ("sender", 2)
    assert run.resets() == (1, 1)
    assert run.scripted.open == 0


def test_b_frames(tmp_path: Path) -> None:
    """Pictures that are sent in another order than they are shown in come out as they are shown, each of them."""
    run = received(tmp_path, content=Content(b_frames=2))
    check(run, ends_within_s=8)
    sent = [sent.number for sent in run.scripted.of("video")]
    assert sent != sorted(sent), "no B-frames were sent"
    assert run.numbers == list(range(75))
    steps_s = [after["time_s"] - before["time_s"] for before, after in pairwise(run.records)]
    assert steps_s == pytest.approx([1 / FPS] * 74)
    assert run.gaps == []


@pytest.mark.slow
def test_b_frames_and_loss(tmp_path: Path) -> None:
    """The same with 2 % loss and nothing sent again: what is missing is the network's, and the order holds."""
    script, content = Script(resends=False), Content(b_frames=2, key_every_s=1)
    run = received(tmp_path, script, content=content, down=Impairment(loss=0.02), run="duration_s: 6")
    check(run, ends_within_s=11)
    assert run.missing
    assert run.account.causes == {"network"}


@pytest.mark.slow
def test_a_link_that_is_too_narrow(tmp_path: Path) -> None:
    """300 kbit/s for a sender of 2 Mbit/s that does not care: hardly a picture gets through, and it ends all the same.

    The sound shares the link.
    """
    content = Content(size=(320, 240), bitrate_bps=2_000_000)
    narrow = Impairment(rate_bps=300_000)
    run = received(tmp_path, content=content, down=narrow, run="duration_s: 6", limit_s=40)
    assert run.outcome.exit_status in (0, 3)
    assert run.took_s < 15
    check_account(run)
    # one that lasts to the end is not told; there may be no other
    assert run.account.causes
    assert run.account.causes <= {"network", "unknown"}
    missing_s = sum(gap["end_s"] - gap["start_s"] for gap in run.gaps)
    assert missing_s > 2


@pytest.mark.slow
def test_a_link_that_becomes_narrow(tmp_path: Path) -> None:
    """The same after two good seconds, for three: the gaps are the network's, and pictures come whole again."""
    content = Content(size=(320, 240), bitrate_bps=2_000_000)

    async def meanwhile(network: Network) -> None:
        await network.media_begun()
        await asyncio.sleep(2)
        link = network.front.proxies[0].down
        link.impairment = Impairment(rate_bps=300_000)
        await asyncio.sleep(3)
        link.impairment = Impairment()

    run = received(tmp_path, content=content, run="duration_s: 8", meanwhile=meanwhile, limit_s=40)
    check(run, ends_within_s=14)
    assert run.account.causes == {"network"}
    assert run.missing
    assert not any(picture.corrupt for picture in run.account.pictures[-12:])
    assert run.numbers[-1] == 199


@pytest.mark.slow
def test_a_lost_path_that_comes_back(tmp_path: Path) -> None:
    """4 s in which nothing passes, HTTP neither: noticed after `stall_s`, negotiated until it is there again."""
    run = received(
        tmp_path,
        source="stall_s: 0.7, recovery_timeout_s: 12",
        run="duration_s: 8",
        meanwhile=lambda network: network.darken(1, 4),
        limit_s=40,
    )
    check(run, ends_within_s=20)
    (gap,) = run.gaps
    assert gap["cause"] == "network"
    assert 3.9 < gap["end_s"] - gap["start_s"] < 7
    (recovery,) = run.facts["recoveries"]
    assert (recovery["cause"], run.facts["connections"]) == ("network", 2)
    assert run.resets() == (1, 1)
    assert run.scripted.open == 0


@pytest.mark.slow
def test_a_lost_path_that_does_not_come_back(tmp_path: Path) -> None:
    """Longer than `recovery_timeout_s`: status 3 in time; what came is kept, the gap is the network's."""
    run = received(
        tmp_path,
        source="stall_s: 0.7, recovery_timeout_s: 1.5, connect_timeout_s: 1",
        run="duration_s: 30",
        meanwhile=lambda network: network.darken(1, 60),
        limit_s=40,
    )
    assert run.outcome.exit_status == 3
    assert run.took_s < 15
    check_account(run)
    (gap,) = run.gaps
    assert gap["cause"] == "network"
    assert len(run.records) >= 20


@pytest.mark.slow
def test_a_blackout_of_35_seconds(tmp_path: Path) -> None:
    """With the defaults: a stall after 4 s, given up 15 s later, status 3; with more `recovery_timeout_s` recovered."""

    async def both() -> tuple[Received, Received]:
        folders = [tmp_path / name for name in ("given up", "recovered")]
        for folder in folders:
            folder.mkdir()
        return await asyncio.gather(
            carried_through(folders[0], run="duration_s: 60", meanwhile=darkened),
            carried_through(
                folders[1],
                source="recovery_timeout_s: 60",
                run="duration_s: 44, stall_timeout_s: 80",
                meanwhile=darkened,
            ),
        )

    async def darkened(network: Network) -> None:
        await network.darken(1, 35)

    given_up, recovered = run_clean(both(), 90)
    assert given_up.outcome.exit_status == 3
    assert 1 + 4 + 15 < given_up.took_s < 30
    check_account(given_up)
    (gap,) = given_up.gaps
    assert gap["cause"] == "network"

    check(recovered, ends_within_s=60)
    (gap,) = recovered.gaps
    assert gap["cause"] == "network"
    assert gap["end_s"] - gap["start_s"] > 34
    assert recovered.facts["connections"] == 2
    assert recovered.resets() == (1, 1)


@pytest.mark.slow
def test_the_causes_of_gaps() -> None:
    """Two trials for each cause of `benchmarks.gap_causes`; a machine too busy to send in time proves nothing."""
    outcomes = asyncio.run(carried_out(range(1, 9), jobs=2))
    if any(outcome.pace < LEAST_PACE for outcome in outcomes):
        pytest.skip("the simulator could not keep pace: the machine is busy")
    wrong = [described(outcome) for outcome in outcomes if not outcome.right or outcome.others]
    assert not wrong, "\n".join(wrong)
