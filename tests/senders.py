"""A sender of picture and sound as numbers: known truth for the clock, on any network, with any reports."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from vision.clock import SaidBy, Track
from vision.rtp.payload import VP8
from vision.rtp.sender_time import ntp_seconds
from vision.rtp.statistics import SoundStatistics, VideoStatistics
from vision.rtp.track import Arrived, SoundTrack, VideoTrack
from vision.sender_clock import SenderClock

__all__ = ["Heard", "Leg", "Run", "played"]

RATES: dict[Track, int] = {"picture": 90_000, "sound": 48_000}
_KEY_FRAME = b"\x10\x00\x00\x00\x9d\x01\x2a\x10\x00\x10\x00"  # VP8: start of a partition, a key frame of 16 x 16 px
_NTP_ZERO_S = 3_900_000_000


def _no_shift(time_s: float) -> float:
    return 0.0


@dataclass(frozen=True, slots=True)
class Leg:
    """One track on its way.

    :ivar every_s: a unit (a picture, a block of sound) each so many seconds.
    :ivar rtp: the RTP timestamp at the true time 0; 32 bits.
    :ivar ppm: how much faster the RTP clock runs than true time.
    :ivar behind_s: by how much the RTP clock is behind at a true time: a sender that slips.
    :ivar delay_s: from capture to arrival, at a true time.
    :ivar jitter_s: besides, uniformly from 0.
    :ivar report_every_s: sender reports; `None`: none at all.
    :ivar ntp_off_s: what the NTP time of its reports is wrong by, at a true time.
    :ivar noise_s: standard deviation of what its reports are wrong by, each for itself.
    :ivar restart_s: when the source restarts, with other timestamps and another SSRC.
    """

    every_s: float
    rtp: int = 0
    ppm: float = 0.0
    behind_s: Callable[[float], float] = _no_shift
    delay_s: Callable[[float], float] = _no_shift
    jitter_s: float = 0.0
    report_every_s: float | None = 1.0
    first_report_s: float = 1.0
    ntp_off_s: Callable[[float], float] = _no_shift
    noise_s: float = 0.0
    restart_s: float | None = None
    said_by: SaidBy = "sender_report"

    def ssrc(self, time_s: float) -> int:
        """Which source sends."""
        return 1 if self.restart_s is None or time_s < self.restart_s else 2

    def timestamp(self, time_s: float, rate_hz: int) -> int:
        """What the RTP clock shows at a true time."""
        anew = 0 if self.ssrc(time_s) == 1 else 1_234_567_890
        return (self.rtp + anew + round((time_s - self.behind_s(time_s)) * (1 + self.ppm / 1e6) * rate_hz)) % (1 << 32)


@dataclass(frozen=True, slots=True)
class Heard:
    """One picture: how far the sound of the same true moment is from it on the media clock, and what is stated."""

    true_s: float
    time_s: float
    error_ms: float
    kind: str
    stated_ms: float | None
    skew_ms: float | None
    drift_ppm: float | None
    slips: int
    slip_s: tuple[float, float] | None

    @property
    def inside(self) -> bool:
        """Whether the stated bound holds."""
        return self.stated_ms is not None and abs(self.error_ms) <= self.stated_ms + 0.1  # it is given in tenths


@dataclass(slots=True)
class Run:
    """What came of it."""

    clock: SenderClock
    heard: list[Heard] = field(default_factory=list)

    def inside(self) -> float:
        """The share of pictures for which the bound holds."""
        return float(np.mean([heard.inside for heard in self.heard]))

    def since(self, time_s: float) -> list[Heard]:
        """Those from a true time on."""
        return [heard for heard in self.heard if heard.true_s >= time_s]


class _Receiving:
    """The receiving end of a track: what `vision.connectors.receiver` does with packets and reports."""

    def __init__(self, track: Track, clock: SenderClock) -> None:
        self.track, self.clock = track, clock
        self.rate_hz = RATES[track]
        self.rtp = (
            VideoTrack(VP8(), VideoStatistics(), self.rate_hz)
            if track == "picture"
            else SoundTrack(SoundStatistics(), self.rate_hz)
        )
        self.sequences = {1: itertools.count(100), 2: itertools.count(40_000)}

    def unit(self, ssrc: int, timestamp: int, arrival_s: float) -> float | None:
        """Take a packet; the track's time of what it completes."""
        number = next(self.sequences[ssrc]) & 0xFFFF
        out = self.rtp.add(Arrived(ssrc, number, timestamp, True, _KEY_FRAME, _KEY_FRAME[1:], arrival_s))
        for one in out:
            if one.restarted:
                self.clock.restart(self.track)
            self.clock.observe(self.track, one.timestamp / self.rate_hz, arrival_s)
        return out[-1].timestamp / self.rate_hz if out else None

    def report(self, ssrc: int, timestamp: int, ntp: int, arrival_s: float, said_by: SaidBy) -> None:
        """Take a report."""
        track_s = self.rtp.time_s(ssrc, timestamp)
        if track_s is not None:
            self.clock.relate(self.track, track_s, ntp_seconds(ntp), arrival_s, said_by)


def played(picture: Leg, sound: Leg, seconds: float, seed: int = 1) -> Run:
    """Have both tracks sent for a time, and look at the clock with every picture that arrives."""
    run = Run(SenderClock())
    legs: dict[Track, Leg] = {"picture": picture, "sound": sound}
    receiving: dict[Track, _Receiving] = {track: _Receiving(track, run.clock) for track in legs}
    random = np.random.default_rng(seed)
    events = [each for track, leg in legs.items() for each in _events(track, leg, seconds, random)]
    heapq.heapify(events)
    while events:
        arrival_s, _, track, is_report, true_s = heapq.heappop(events)
        leg, end = legs[track], receiving[track]
        if is_report:
            off_s = leg.ntp_off_s(true_s) + random.normal(0, leg.noise_s)
            ntp = round((_NTP_ZERO_S + true_s + off_s) * (1 << 32))
            end.report(leg.ssrc(true_s), leg.timestamp(true_s, end.rate_hz), ntp, arrival_s, leg.said_by)
            continue
        track_s = end.unit(leg.ssrc(true_s), leg.timestamp(true_s, end.rate_hz), arrival_s)
        if run.clock.ready(arrival_s) and track == "picture" and track_s is not None:
            heard = _heard(run.clock, true_s, track_s, legs["sound"], receiving["sound"])
            if heard is not None:
                run.heard.append(heard)
    return run


def _events(
    track: Track, leg: Leg, seconds: float, random: np.random.Generator
) -> Iterator[tuple[float, int, Track, bool, float]]:
    last_s = 0.0
    for number in range(int(seconds / leg.every_s)):
        true_s = number * leg.every_s
        last_s = max(last_s, true_s + leg.delay_s(true_s) + random.uniform(0, leg.jitter_s))  # in order
        yield last_s, number, track, False, true_s
    if leg.report_every_s is not None:
        for number in range(int((seconds - leg.first_report_s) / leg.report_every_s)):
            # a report speaks of its own moment, between two units
            true_s = leg.first_report_s + number * leg.report_every_s + random.uniform(0, 0.5 * leg.every_s)
            yield true_s + leg.delay_s(true_s), -number, track, True, true_s


def _heard(clock: SenderClock, true_s: float, track_s: float, leg: Leg, end: _Receiving) -> Heard | None:
    time_s = clock.media_from_track("picture", track_s)
    same = end.rtp.time_s(leg.ssrc(true_s), leg.timestamp(true_s, end.rate_hz))
    if same is None:
        return None  # the source has changed, and nothing of it has come
    quality, relation = clock.quality, clock.relation
    error_ms = 1000 * (relation.media(clock.media_from_track("sound", same)) - time_s)
    known = quality.kind, quality.error_ms, quality.arrival_skew_ms, quality.drift_ppm
    return Heard(true_s, time_s, error_ms, *known, relation.slips, relation.slip_s)


PICTURE, SOUND = Leg(1 / 30), Leg(0.02)


def legs(**both: object) -> tuple[Leg, Leg]:
    """Picture and sound that have something in common."""
    return replace(PICTURE, **both), replace(SOUND, **both)  # type: ignore[arg-type]
