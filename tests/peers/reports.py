"""Sender reports as they came, and what they say of the tracks: worked out afterwards, with all of them at hand.

    with recorded() as recording:
        run_clean(executed(folder, text))
    recording.relation("sound").offset_s(arrival_s)  # sender's time - track's time, by the newest report there was

It is the yardstick for a run's own clock, and so has nothing of that: it sees the reports as they are parsed, and the
pictures and samples on the time of their tracks, before any clock has had them.
"""

from __future__ import annotations

import contextlib
import json
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

from aiortc.rtp import RtcpSrPacket

from tests.marks import OnsetDetector
from tests.offsets import flashes_s
from vision.clock import SaidBy, Track
from vision.connectors.receiver import TrackReceiver, VideoReceiver
from vision.frame import Sound
from vision.intake import DecodedPicture, DecodedSound, Intake
from vision.sender_clock import SenderClock

__all__ = ["Arrival", "Followed", "Recording", "Relation", "TrackReport", "recorded"]

_RATES_HZ: dict[Track, int] = {"picture": 90_000, "sound": 48_000}
_WRAP = 1 << 32
_AGREE_S = 0.003


@dataclass(frozen=True, slots=True)
class TrackReport:
    """A sender report: at `sender_s` of the sender's clock (NTP, from 1900) the track was at `track_s`.

    :ivar track_s: on the same count as the units of its track.
    :ivar arrival_s: when it came, on the run's scale.
    """

    track: Track
    track_s: float
    sender_s: float
    arrival_s: float

    @property
    def offset_s(self) -> float:
        """The sender's time less the track's."""
        return self.sender_s - self.track_s


@dataclass(frozen=True, slots=True)
class Arrival:
    """Something of a track, and when its first packet came."""

    track: Track
    track_s: float
    arrival_s: float


class Relation:
    """What the reports of one track say of it: constant from one to the next.

    Afterwards it is known of a report whether the next one agrees with it, or with the one before: then it was wrong.

    :param reports: in any order.
    """

    def __init__(self, reports: Iterable[TrackReport]) -> None:
        came = sorted(reports, key=lambda report: report.arrival_s)
        alone = [_is_alone(*three) for three in zip(came, came[1:], came[2:], strict=False)]
        self.reports = [report for report, wrong in zip(came, [False, *alone, False], strict=False) if not wrong]

    def offset_s(self, arrival_s: float) -> float | None:
        """The sender's time less the track's, by the last report that came at or before a time; `None` without one."""
        count = bisect_right(self.reports, arrival_s, key=lambda report: report.arrival_s)
        return self.reports[count - 1].offset_s if count else None

    def sender_s(self, unit: Arrival) -> float | None:
        """When the sender had it, by the last report that had come when it came."""
        offset_s = self.offset_s(unit.arrival_s)
        return None if offset_s is None else unit.track_s + offset_s


@dataclass(frozen=True, slots=True)
class _Raw:
    """A report as it was parsed, and how many units of its track had been handed in before."""

    track: Track
    rtp_timestamp: int
    ntp_timestamp: int
    arrival_s: float
    after: int


def _skew_by(clock: SenderClock) -> float | None:
    """What a clock makes of all that came so far, as `Recording.skew_s`; `None` where it goes by arrival."""
    if clock.quality.kind == "arrival":
        return None
    picture_s, sound_s = (clock._last[track][0] for track in ("picture", "sound"))
    media_s = clock.relation.media(clock.media_from_track("sound", sound_s))
    return media_s - clock.media_from_track("picture", picture_s) - sound_s + picture_s


def _is_alone(before: TrackReport, report: TrackReport, after: TrackReport) -> bool:
    agree = abs(before.offset_s - after.offset_s) <= _AGREE_S
    return agree and min(abs(report.offset_s - other.offset_s) for other in (before, after)) > _AGREE_S


class Followed(NamedTuple):
    """What a clock made of a report that came at `arrival_s`: the skew as `Recording.skew_s`, and its stated error."""

    arrival_s: float
    skew_s: float
    error_ms: float


class Recording:
    """All reports and units of a run, in the order they came.

    :ivar units: what the receivers handed in.
    :ivar followed: after each report on the sound, when it came, and what the run's clock made of it.
    """

    def __init__(self) -> None:
        self.units: list[Arrival] = []
        self.followed: list[Followed] = []
        self._raw: list[_Raw] = []
        self._detector = OnsetDetector()
        self._beeps: list[Arrival] = []
        self._pictures: list[dict[str, Any]] = []  # as records have them, but on the time of their track
        self._arrivals_s: dict[float, float] = {}

    def note_report(self, track: Track, rtp_timestamp: int, ntp_timestamp: int, arrival_s: float) -> None:
        """Enter a report: its RTP timestamp in 32 bits, its NTP time in 64."""
        self._raw.append(_Raw(track, rtp_timestamp, ntp_timestamp, arrival_s, len(self.units)))

    def replayed(self) -> list[Followed]:
        """As `followed`, of a clock that is told of the reports only, whatever else the sender says of its time."""
        clock, followed = SenderClock(), []
        reports = iter(raw for raw in self._raw)
        report = next(reports, None)
        for number, unit in enumerate(self.units):
            while report is not None and report.after <= number:
                resolved = self._resolved(report)
                if resolved is not None:
                    clock.relate(
                        resolved.track, resolved.track_s, resolved.sender_s, resolved.arrival_s, "sender_report"
                    )
                    if resolved.track == "sound" and (skew_s := _skew_by(clock)) is not None:
                        followed.append(Followed(resolved.arrival_s, skew_s, clock.quality.error_ms or 0.0))
                report = next(reports, None)
            clock.observe(unit.track, unit.track_s, unit.arrival_s)
            clock.ready(unit.arrival_s)
        return followed

    def note_unit(self, unit: DecodedPicture | DecodedSound) -> None:
        """Enter a picture or a block of samples."""
        track: Track = "picture" if isinstance(unit, DecodedPicture) else "sound"
        self.units.append(Arrival(track, unit.track_s, unit.arrival_s))
        if isinstance(unit, DecodedSound):
            found = self._detector.add(Sound(unit.samples, unit.rate_hz, unit.track_s))
            self._beeps += [Arrival("sound", onset_s, unit.arrival_s) for onset_s in found]
        else:
            marks = {"luma": float(unit.picture.y.mean())}
            self._pictures.append({"index": 0, "time_s": unit.track_s, "corrupt": unit.corrupt, "marks": marks})
            self._arrivals_s[unit.track_s] = unit.arrival_s

    @property
    def beeps(self) -> list[Arrival]:
        """Where beeps begin (`tests.marks`), on the time of the track; when the block came with which that is known."""
        return self._beeps

    @property
    def flashes(self) -> list[Arrival]:
        """The first bright pictures, on the time of the track."""
        return [Arrival("picture", track_s, self._arrivals_s[track_s]) for track_s in flashes_s(self._pictures)]

    @property
    def reports(self) -> list[TrackReport]:
        """Those of tracks of which anything came, their timestamps beyond 32 bits."""
        return [report for raw in self._raw if (report := self._resolved(raw)) is not None]

    def relation(self, track: Track) -> Relation:
        """What the reports say of a track."""
        return Relation(report for report in self.reports if report.track == track)

    def skew_s(self, arrival_s: float) -> float | None:
        """How much more the sound's track has to be put forward than the picture's, by the last report of each.

        A sound at `track_s` belongs to the picture at `track_s` plus this. `None` before both have reported.
        """
        sound_s, picture_s = (self.relation(track).offset_s(arrival_s) for track in ("sound", "picture"))
        return None if sound_s is None or picture_s is None else sound_s - picture_s

    def sent_offsets_ms(self) -> list[tuple[Arrival, float]]:
        """Each flash whose beep is within 0.5 s of it by the sender's clock, and how late that is; > 0: it is late.

        Each by the reports that had come when it came: what a run can know that corrects nothing afterwards.
        """
        found = []
        beeps_s = [at_s for beep in self.beeps if (at_s := self.relation("sound").sender_s(beep)) is not None]
        for flash in self.flashes:
            flash_s = self.relation("picture").sender_s(flash)
            if flash_s is not None and beeps_s:
                offset_s = min((beep_s - flash_s for beep_s in beeps_s), key=abs)
                found += [(flash, 1000 * offset_s)] if abs(offset_s) < 0.5 else []
        return found

    def write(self, path: Path) -> None:
        """A line of JSON for each report and each unit, in the order they came, told apart by `t`."""
        reports = [(raw.after, {"t": "report"} | asdict(one)) for raw in self._raw if (one := self._resolved(raw))]
        units = [(number, {"t": "unit"} | asdict(unit)) for number, unit in enumerate(self.units)]
        lines = [line for _, line in sorted(reports + units, key=lambda entry: entry[0])]  # a report before its unit
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))

    def _resolved(self, raw: _Raw) -> TrackReport | None:
        """Its timestamp is the nearest to that of the unit before it; of the first one, where none was before."""
        before = next((unit for unit in reversed(self.units[: raw.after]) if unit.track == raw.track), None)
        near = before or next((unit for unit in self.units[raw.after :] if unit.track == raw.track), None)
        if near is None:
            return None
        rate_hz = _RATES_HZ[raw.track]
        count = round(near.track_s * rate_hz)
        timestamp = count + (raw.rtp_timestamp - count + _WRAP // 2) % _WRAP - _WRAP // 2
        return TrackReport(raw.track, timestamp / rate_hz, raw.ntp_timestamp / _WRAP, raw.arrival_s)


@contextlib.contextmanager
def recorded() -> Iterator[Recording]:
    """Record what every receiver of this process gets, for the length of the block."""
    recording = Recording()
    handle, put, relate = TrackReceiver._handle_rtcp_packet, Intake.put_nowait, SenderClock.relate

    async def handle_and_note(receiver: TrackReceiver, packet: Any) -> None:
        if isinstance(packet, RtcpSrPacket):
            track: Track = "picture" if isinstance(receiver, VideoReceiver) else "sound"
            info = packet.sender_info
            recording.note_report(track, info.rtp_timestamp, info.ntp_timestamp, receiver._now())
        await handle(receiver, packet)

    def note_and_put(intake: Intake, unit: DecodedPicture | DecodedSound) -> None:
        recording.note_unit(unit)
        put(intake, unit)

    def relate_and_note(
        clock: SenderClock, track: Track, track_s: float, sender_s: float, arrival_s: float, said_by: SaidBy
    ) -> None:
        relate(clock, track, track_s, sender_s, arrival_s, said_by)
        if said_by == "sender_report" and track == "sound" and (skew_s := _skew_by(clock)) is not None:
            recording.followed.append(Followed(arrival_s, skew_s, clock.quality.error_ms or 0.0))

    with (
        patch.object(SenderClock, "relate", relate_and_note),
        patch.object(TrackReceiver, "_handle_rtcp_packet", handle_and_note),
        patch.object(Intake, "put_nowait", note_and_put),
    ):
        yield recording
