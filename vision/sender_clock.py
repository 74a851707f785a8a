"""The media clock of a live source: by arrival at first, then by what the sender says of its own time."""

from __future__ import annotations

import dataclasses
import statistics
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from vision.clock import AS_LAID_OUT, ArrivalClock, Relation, SaidBy, Track
from vision.frame import ClockQuality
from vision.rtp.arrivals import Arrivals
from vision.rtp.sender_time import IMPLAUSIBLE_S, LEAST_SLIP_S, SenderTime, Step, Verdict

__all__ = ["SenderClock"]

_TRACKS: tuple[Track, Track] = ("picture", "sound")
_BEST_FIRST: tuple[SaidBy, SaidBy] = ("capture_time", "sender_report")
_NEAR_S = 10.0  # what a sender says of its present is about what it sends
_USUAL = 9  # skews that say what is usual
_KEPT_UP_S = 30.0  # what has not been said for so long is not said any more
_HOLD_S = 30.0  # how long the last relation serves where what is said since cannot be
_HELD_DRIFT = 300e-6
_WORTH_DOUBT_S = 10.0  # what is farther off is a wall clock's doing, and says nothing of sound and pictures
_MOST_SLIPS = 100


@dataclass(frozen=True, slots=True)
class _Said:
    track_s: float
    sender_s: float
    arrival_s: float


@dataclass(frozen=True, slots=True)
class _Adopted:
    """The relation in force.

    :ivar at_s: when it was last found to be so, on the scale of arrivals.
    :ivar held_s: for how long it has been kept against what was said since.
    :ivar doubt_s: how far that is from it, where it might be true.
    """

    relation: Relation
    said_by: SaidBy
    at_s: float
    held_s: float = 0.0
    doubt_s: float = 0.0


class SenderClock(ArrivalClock):
    """Relates the tracks by the sender's own time, once it is known of both: capture times before sender reports.

    The pictures stay where they were laid out; a newer relation moves the sound. The stated error is what the pairs of
    times leave open on both tracks, and by how much the sound comes later or earlier against the pictures than it
    usually does: as both take the same way, that is the sender's doing, and while it has not said anything new, it may
    have slipped. What is said and cannot be (a wall clock that was set between the reports of the two tracks) does not
    replace the last relation; after half a minute of it the clock goes by arrival.
    """

    def __init__(self, tracks: Iterable[Track] = _TRACKS, settle_s: float = 0.3, patience_s: float = 1.0) -> None:
        super().__init__(tracks, settle_s, patience_s)
        self._times: dict[tuple[Track, SaidBy], SenderTime] = {}
        self._last: dict[Track, tuple[float, float]] = {}  # track time and arrival of the newest unit
        self._arrivals: dict[Track, Arrivals] = {}
        self._early: dict[tuple[Track, SaidBy], _Said] = {}  # said before anything of that count had come
        self._adopted: _Adopted | None = None
        self._relation = AS_LAID_OUT
        self._usual_s: list[float] = []  # skews, as they were when both tracks had just been reported on
        self._usual_skew_s = 0.0
        self._reported: set[Track] = set()
        self._slips: deque[dict[str, Any]] = deque(maxlen=_MOST_SLIPS)
        self._slipped = 0
        self._slip_s: tuple[float, float] | None = None

    def observe(self, track: Track, track_s: float, arrival_s: float) -> None:
        super().observe(track, track_s, arrival_s)
        self._last[track] = track_s, arrival_s
        arrivals = self._arrivals.setdefault(track, Arrivals())
        arrivals.add(track_s, arrival_s)
        for (of, said_by), time in self._times.items():
            if of == track:
                self._heed(track, said_by, time.reconsider(arrivals.delay_s), arrival_s)
        for said_by in _BEST_FIRST:
            said = self._early.get((track, said_by))
            if said is not None and self._is_near(track, said.track_s, said.arrival_s):
                del self._early[track, said_by]
                self.relate(track, said.track_s, said.sender_s, said.arrival_s, said_by)

    def relate(self, track: Track, track_s: float, sender_s: float, arrival_s: float, said_by: SaidBy) -> None:
        if not self._is_near(track, track_s, arrival_s):
            self._early[track, said_by] = _Said(track_s, sender_s, arrival_s)
            return
        time = self._times.setdefault((track, said_by), SenderTime())
        self._reported.add(track)
        self._heed(track, said_by, time.add(track_s, sender_s, self._arrivals[track].delay_s), arrival_s)

    def restart(self, track: Track) -> None:
        super().restart(track)
        self._forget(track)

    def settle(self) -> None:
        super().settle()
        self._adopt(max((arrival_s for _, arrival_s in self._last.values()), default=0.0))

    @property
    def relation(self) -> Relation:
        return self._relation

    @property
    def quality(self) -> ClockQuality:
        adopted = self._adopted
        if adopted is None:
            return super().quality
        skew_s = self._skew_s(adopted.relation)
        error_s = abs(skew_s - self._usual_skew_s) + adopted.doubt_s + _HELD_DRIFT * adopted.held_s
        for track in _TRACKS:
            error_s += self._times[track, adopted.said_by].error_s(self._last[track][0])
            error_s += self._arrivals[track].unevenness_s
        drift = self._drift(adopted.said_by)
        drift_ppm = None if drift is None else round(1e6 * drift, 1) + 0.0  # no -0.0
        return ClockQuality(adopted.said_by, round(1000 * error_s, 1), round(1000 * skew_s, 1) + 0.0, drift_ppm)

    def facts(self) -> dict[str, Any]:
        said = {
            f"{said_by}s": {track: self._counted(track, said_by) for track in _TRACKS}
            for said_by in _BEST_FIRST
            if any((track, said_by) in self._times for track in _TRACKS)
        }
        return super().facts() | said | {"slips": list(self._slips)}

    def _counted(self, track: Track, said_by: SaidBy) -> dict[str, int]:
        time = self._times.get((track, said_by), SenderTime())
        return {"received": time.pairs, "outliers": time.apart}

    def _begin_anew(self, track: Track, jump_s: float) -> None:
        super()._begin_anew(track, jump_s)
        self._arrivals[track].clear()
        self._forget(track)

    def _forget(self, track: Track) -> None:
        """A track counts anew: its sound, or its pictures, stay where they were until the sender has said more."""
        for (of, _), time in self._times.items():
            if of == track:
                time.restart()
        self._adopted = None
        self._usual_s.clear()
        self._reported.clear()

    def _is_near(self, track: Track, track_s: float, arrival_s: float) -> bool:
        """Whether a time is of the count that the track has now."""
        if track not in self._last or track in self._restarting:
            return False
        last_s, came_s = self._last[track]
        return abs(track_s - last_s - (arrival_s - came_s)) <= _NEAR_S

    def _heed(self, track: Track, said_by: SaidBy, verdict: Verdict | None, now_s: float) -> None:
        if verdict is None:
            return
        if said_by == self._said_by() and self._origin is not None:
            self._note_slip(track, self._times[track, said_by].step, verdict, now_s)
        self._adopt(now_s)

    def _note_slip(self, track: Track, step: Step | None, verdict: Verdict, now_s: float) -> None:
        """The relation has moved: it has slipped where the packets bear that out, at once or by now."""
        if step is None or not LEAST_SLIP_S < abs(step.s) <= IMPLAUSIBLE_S:
            return
        turn = self._arrivals[track].turn(step, lasting=verdict != "slipped")
        if turn is None and verdict != "slipped":
            return
        from_s, until_s = turn or (step.from_s, step.until_s)
        begin_s, end_s = self._media(track, from_s), self._media(track, until_s)
        end_s += step.s if track == "sound" else 0.0  # what comes behind the slip belongs so much later
        self._slipped, self._slip_s = self._slipped + 1, (min(begin_s, end_s), max(begin_s, end_s))
        between_s = [round(time_s, 3) for time_s in self._slip_s]
        known = {"arrival_s": round(now_s, 3), "ms": round(1000 * step.s, 1), "between_s": between_s}
        self._slips.append({"track": track, **known})

    def _media(self, track: Track, track_s: float) -> float:
        """The media time of a time of a track, by the relation in force."""
        laid_out_s = self.media_from_track(track, track_s)
        return laid_out_s if track == "picture" else self._relation.media(laid_out_s)

    def _said_by(self) -> SaidBy | None:
        """The best way in which the sender says the time of both tracks; if all are given up, the best of these."""
        ways = [way for way in _BEST_FIRST if all(self._known(track, way) for track in _TRACKS)]
        kept_up = (way for way in ways if all(self._age_s(track, way) <= _KEPT_UP_S for track in _TRACKS))
        return next(kept_up, ways[0] if ways else None)

    def _known(self, track: Track, said_by: SaidBy) -> bool:
        time = self._times.get((track, said_by))
        return time is not None and time.known

    def _age_s(self, track: Track, said_by: SaidBy) -> float:
        """How far the track has come since the sender last said its time."""
        return self._last[track][0] - self._times[track, said_by].last_s

    def _adopt(self, now_s: float) -> None:
        """Take what is known now, where it can be."""
        said_by = self._said_by()
        if said_by is None or self._origin is None:
            return
        relation = self._found(said_by)
        skew_s = self._skew_s(relation)
        if self._is_impossible(skew_s):
            self._hold(now_s, skew_s)
            return
        if not self._usual_s or (self._reported.issuperset(_TRACKS) and len(self._usual_s) < _USUAL):
            self._usual_s.append(skew_s)
            self._usual_skew_s = statistics.median(self._usual_s)
            self._reported.clear()
        self._adopted, self._relation = _Adopted(relation, said_by, now_s), relation

    def _hold(self, now_s: float, skew_s: float) -> None:
        """Keep to what was known, for a time; then nothing is, and what is said later may be."""
        adopted = self._adopted
        if adopted is None or now_s - adopted.at_s > _HOLD_S:
            self._adopted = None
            self._usual_s.clear()
            return
        off_s = abs(skew_s - self._usual_skew_s)
        doubt_s = off_s if off_s <= _WORTH_DOUBT_S else 0.0
        self._adopted = dataclasses.replace(adopted, held_s=now_s - adopted.at_s, doubt_s=doubt_s)

    def _is_impossible(self, skew_s: float) -> bool:
        """No way takes one track so much longer, and no player waits so long: these are not times of one clock."""
        return abs(skew_s - (self._usual_skew_s if self._usual_s else 0.0)) > IMPLAUSIBLE_S

    def _found(self, said_by: SaidBy) -> Relation:
        """By the sender's times of both: the sound that is of the same moment as the newest picture."""
        picture, sound = (self._times[track, said_by] for track in _TRACKS)
        track_s, _ = self._last["picture"]
        at_s = self.media_from_track("picture", track_s)
        laid_out_s = self.media_from_track("sound", sound.track_s(picture.sender_s(track_s)))
        return Relation(at_s - laid_out_s, -(self._drift(said_by) or 0.0), at_s, self._slipped, self._slip_s)

    def _drift(self, said_by: SaidBy) -> float | None:
        """How much faster than the pictures' the clock of the sound runs, as a ratio."""
        picture, sound = (self._times[track, said_by].slope for track in _TRACKS)
        if picture is None or sound is None:
            return None
        return (1 + picture) / (1 + sound) - 1

    def _skew_s(self, relation: Relation) -> float:
        """How much later than the pictures that sound comes which belongs to them by a relation."""
        coming_s = [
            self._arrivals[track].delay_s + track_s - self.media_from_track(track, track_s)
            for track, (track_s, _) in ((track, self._last[track]) for track in _TRACKS)
        ]
        laid_out_s = self.media_from_track("sound", self._last["sound"][0])
        return coming_s[1] - (relation.media(laid_out_s) - laid_out_s) - coming_s[0]
