"""What a bad network costs: the receiver of this package beside bare aiortc, the same packets lost for both.

    python -m benchmarks.receiver_loss [--seconds 20] [--seeds 3] [--only 1%] [--json FILE]

The source is the package's own simulator (1280x720, 30 fps, H264 at 2.2 Mbit/s, Opus) in a process of its own; each
receiver is a process of its own too; between them, here, is the impairment proxy, which counts on the wire. Exits with
status 1 where a verdict is negative.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.receiving import VIDEO_HZ, in_child, session
from tests.peers.impairment import ImpairedWhep, Impairment, ImpairmentProxy
from tests.peers.ledger import Fate, Ledger
from vision.simulator.process import Launched, launched
from vision.simulator.settings import SimulatorSettings

TAIL_S = 3.0
"""How long receiving goes on behind the part that counts: what is repaired late still counts as received."""

NO_FREEZE_S = 1 / 30 + 0.15
"""What is shorter counts as no freeze, and is not compared (W3C webrtc-stats, freezeCount: the average + 150 ms)."""

LEAST_PACE = 0.97
"""A source that is slower says that the machine is too busy to compare anything on it."""

_WRAP, _HALF = 1 << 32, 1 << 31
_RECEIVERS = ("bare", "ours")


@dataclass(frozen=True, slots=True)
class Network:
    """One row of the table: what the way to the receiver does; half of the round trip is the way back."""

    name: str
    loss: float = 0.0
    rtt_s: float = 0.0
    jitter_s: float = 0.0

    @property
    def down(self) -> Impairment:
        """From the server to the receiver."""
        return Impairment(loss=self.loss, delay_s=self.rtt_s / 2, jitter_s=self.jitter_s)

    @property
    def up(self) -> Impairment:
        """The way back, which loses nothing."""
        return Impairment(delay_s=self.rtt_s / 2)


NETWORKS = (
    Network("none"),
    Network("1%", loss=0.01, rtt_s=0.04),
    Network("3%", loss=0.03, rtt_s=0.1),
    Network("10%", loss=0.1, rtt_s=0.1),
    Network("jitter", jitter_s=0.02),
)


@dataclass(frozen=True, slots=True)
class Measurement:
    """One receiver on one network, with one seed. Frames are told by their RTP timestamps.

    :ivar audio_lost: audio packets of which no copy was let through.
    :ivar video_lost: the same for video.
    :ivar freeze_s: the longest time between two pictures that were handed out.
    :ivar freeze_rtp_s: the longest step between the RTP timestamps of two successive pictures.
    :ivar nacks: RTCP packets that ask for something again.
    :ivar retransmissions: packets that were sent again and let through.
    :ivar needless: packets that were sent again although they had arrived or were to arrive.
    :ivar pace: seconds of media that were sent in a second; less than 1 on a machine that is too busy to send them.
    """

    network: str
    receiver: str
    seed: int
    audio_sent: int
    audio_lost: int
    audio_missing: int
    video_sent: int
    video_lost: int
    video_missing: int
    freeze_s: float
    freeze_rtp_s: float
    nacks: int
    retransmissions: int
    needless: int
    pace: float
    error: str | None


_COLUMNS = {
    "audio_lost": "audio lost",
    "audio_missing": "missing",
    "video_lost": "video lost",
    "video_missing": "missing",
    "freeze_s": "freeze s",
    "freeze_rtp_s": "by RTP s",
    "nacks": "NACKs",
    "retransmissions": "resent",
    "needless": "needless",
    "pace": "pace",
}


async def measure(service: Launched, network: Network, receiver: str, seed: int, seconds: float) -> Measurement:
    """Stream once."""
    async with (
        session(service) as url,
        ImpairedWhep(url, network.down, network.up, seed=seed) as front,
    ):
        whole_s = seconds + TAIL_S
        output = await in_child("benchmarks.receiving", receiver, front.url, str(whole_s), limit_s=whole_s)
        return _measured(network, receiver, seed, front.proxies[-1], output, seconds)


def _measured(
    network: Network, receiver: str, seed: int, proxy: ImpairmentProxy, output: Any, seconds: float
) -> Measurement:
    ledger, begin_s = proxy.ledger, proxy.begun_s or 0.0
    end_s = begin_s + seconds
    sent = {kind: _timestamps(_sent(ledger, kind, begin_s, end_s)) for kind in ("audio", "video")}
    lost = {kind: [fate for fate in _sent(ledger, kind, begin_s, end_s) if not fate.arrived] for kind in sent}
    got = {kind: {timestamp for timestamp, _ in output[name]} for kind, name in _OUTPUTS.items()}
    missing = {kind: len(sent[kind].keys() - got[kind]) for kind in sent}
    handed_s = [at_s for _, at_s in output["pictures"]]
    streams = list(ledger.streams.values())
    return Measurement(
        network=network.name,
        receiver=receiver,
        seed=seed,
        audio_sent=len(sent["audio"]),
        audio_lost=len(lost["audio"]),
        audio_missing=missing["audio"],
        video_sent=len(sent["video"]),
        video_lost=len(lost["video"]),
        video_missing=missing["video"],
        freeze_s=round(_longest_s([begin_s, *handed_s, end_s + TAIL_S], end_s), 3),
        freeze_rtp_s=round(_longest_step(sent["video"], output["pictures"]) / VIDEO_HZ, 3),
        nacks=ledger.feedback["nack"],
        retransmissions=sum(stream.retransmissions - stream.retransmissions_dropped for stream in streams),
        needless=sum(stream.needless for stream in streams),
        pace=round(_span(sent["video"]) / VIDEO_HZ / seconds, 2),
        error=output["error"] or (f"{proxy.unsent} packets were not sent on" if proxy.unsent else None),
    )


_OUTPUTS = {"audio": "sounds", "video": "pictures"}


def _sent(ledger: Ledger, kind: str, begin_s: float, end_s: float) -> list[Fate]:
    return [fate for stream in ledger.streams.values() if stream.kind == kind for fate in stream.sent(begin_s, end_s)]


def _timestamps(fates: Iterable[Fate]) -> dict[int, None]:
    """The frames, in the order they were sent."""
    return dict.fromkeys(fate.timestamp for fate in fates)


def _longest_s(times_s: Sequence[float], end_s: float) -> float:
    """The longest time between two that are neighbours and begin before `end_s`."""
    return max(later - sooner for sooner, later in pairwise(times_s) if sooner < end_s)


def _longest_step(sent: dict[int, None], pictures: Sequence[tuple[int, float]]) -> int:
    """The longest step, in ticks, from picture to picture: from the first one sent, up to the last one that counts."""
    first = next(iter(sent))
    steps = sorted((timestamp - first + _HALF) % _WRAP - _HALF for timestamp, _ in pictures)
    until = _span(sent)
    counted = [0, *(step for step in steps if 0 < step <= until), until]
    return max(later - sooner for sooner, later in pairwise(counted))


def _span(sent: dict[int, None]) -> int:
    """From the first to the last, in ticks."""
    first, *_, last = sent
    return (last - first) % _WRAP


@dataclass(frozen=True, slots=True)
class Verdict:
    """One line of what is asked of the receiver, and whether it holds."""

    text: str
    holds: bool


def verdicts(measurements: Sequence[Measurement]) -> list[Verdict]:
    """Judge what was measured. Sound is judged for every seed; comparisons are of medians over the seeds."""
    made = []
    for network in NETWORKS:
        ours = _of(measurements, network, "ours")
        bare = _of(measurements, network, "bare")
        if ours and bare:
            made += list(_judged(network, ours, bare))
    failed = [one for one in measurements if one.error]
    made += [Verdict(f"{one.network} {one.receiver} seed {one.seed}: {one.error}", False) for one in failed]
    return made


def _judged(network: Network, ours: Sequence[Measurement], bare: Sequence[Measurement]) -> Iterable[Verdict]:
    if not network.loss:
        missing = max(one.audio_missing + one.video_missing for one in ours)
        yield Verdict(f"{network.name}: frames missing, worst seed: {missing} (allowed 0)", missing == 0)
    if network.jitter_s:
        one, other = _median(ours, "needless"), _median(bare, "needless")
        yield Verdict(
            f"{network.name}: needless retransmissions {one:g}, bare {other:g} (allowed a tenth)", one <= other / 10
        )
    if network.loss:
        worst = max(ours, key=lambda each: each.audio_missing / max(1, each.audio_lost))
        yield Verdict(
            f"{network.name}: audio frames missing, worst seed: {worst.audio_missing} for {worst.audio_lost} lost"
            " (allowed 1.1 times)",
            worst.audio_missing <= 1.1 * worst.audio_lost,
        )
        one, other = _median(ours, "video_missing"), _median(bare, "video_missing")
        yield Verdict(f"{network.name}: video frames missing {one:g}, bare {other:g} (allowed half)", one <= other / 2)
        for name, text in (("freeze_s", "longest freeze"), ("freeze_rtp_s", "longest freeze by RTP time")):
            one, other = _median(ours, name), _median(bare, name)
            allowed = max(other, NO_FREEZE_S)
            yield Verdict(f"{network.name}: {text} {one:.2f} s, bare {other:.2f} s (not longer)", one <= allowed)


def _of(measurements: Iterable[Measurement], network: Network, receiver: str) -> list[Measurement]:
    return [one for one in measurements if (one.network, one.receiver) == (network.name, receiver)]


def _median(measurements: Iterable[Measurement], name: str) -> float:
    return float(statistics.median(getattr(one, name) for one in measurements))


def table(measurements: Sequence[Measurement]) -> str:
    """A line for each measurement, and one for the medians of each network and receiver."""
    lines = [_line("network", "receiver", "seed", _COLUMNS.values())]
    for network in NETWORKS:
        for receiver in _RECEIVERS:
            chosen = _of(measurements, network, receiver)
            rows = [(str(one.seed), [getattr(one, column) for column in _COLUMNS]) for one in chosen]
            if len(chosen) > 1:
                rows.append(("median", [_median(chosen, column) for column in _COLUMNS]))
            lines += [_line(network.name, receiver, seed, (f"{cell:g}" for cell in cells)) for seed, cells in rows]
    return "\n".join(lines)


def _line(network: str, receiver: str, seed: str, cells: Iterable[str]) -> str:
    return f"{network:8}{receiver:9}{seed:>6}" + "".join(f"{cell:>11}" for cell in cells)


async def _measure_all(
    networks: Sequence[Network], seeds: int, seconds: float, tell: Callable[[str], object]
) -> list[Measurement]:
    settings = SimulatorSettings(size=(1280, 720), fps=30, codec="h264", bitrate_bps=2_200_000)
    measurements = []
    async with launched(settings, None) as service:
        for network in networks:
            for seed in range(1, seeds + 1):
                for receiver in _RECEIVERS:  # side by side in time: the machine is the same for both
                    tell(f"{network.name}, seed {seed}, {receiver} ...\n")
                    measurements.append(await measure(service, network, receiver, seed, seconds))
    return measurements


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.receiver_loss", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--seconds", type=float, default=20, help="of media that count (default: 20)")
    parser.add_argument("--seeds", type=int, default=3, help="how many (default: 3)")
    names = [network.name for network in NETWORKS]
    parser.add_argument("--only", action="append", choices=names, help="this network; may be given again")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every measurement and verdict there")
    arguments = parser.parse_args()
    if arguments.seconds < 1 or arguments.seeds < 1:
        parser.error("--seconds and --seeds must be at least 1")
    return arguments


def main() -> int:
    """Measure, print, judge."""
    arguments = _arguments()
    networks = [network for network in NETWORKS if not arguments.only or network.name in arguments.only]
    measurements = asyncio.run(_measure_all(networks, arguments.seeds, arguments.seconds, sys.stderr.write))
    judged = verdicts(measurements)
    sys.stdout.write(f"{table(measurements)}\n\n")
    sys.stdout.writelines(f"{'yes' if verdict.holds else 'NO ':4} {verdict.text}\n" for verdict in judged)
    slow = sum(one.pace < LEAST_PACE for one in measurements)
    if slow:
        sys.stdout.write(
            f"\n{slow} of {len(measurements)} measurements were sent slower than they should: the machine is busy\n"
        )
    if arguments.json is not None:
        content = {"measurements": [asdict(one) for one in measurements], "verdicts": [asdict(one) for one in judged]}
        arguments.json.write_text(json.dumps(content, indent=1) + "\n")
    return 0 if all(verdict.holds for verdict in judged) else 1


if __name__ == "__main__":
    sys.exit(main())
