"""From the time of a track to the media time of the run, zero at the first picture.

Each track counts on its own, and is laid out on the media clock once: a picture keeps its time. What the sound is to
the pictures may be known better later, so that is a `Relation` of its own, between the sound as it was laid out and
the media clock. A recording's container relates the tracks (`FileClock`); over a network their arrival does
(`ArrivalClock`), until the sender has said more (`vision.sender_clock`).
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from vision.frame import ClockQuality

__all__ = ["AS_LAID_OUT", "UNSEEN_MS", "ArrivalClock", "FileClock", "MediaClock", "Relation", "SaidBy", "Track"]

Track = Literal["picture", "sound"]
SaidBy = Literal["sender_report", "capture_time"]
"""How a sender says its own time: by reports (RTCP), or with the packets (abs-capture-time)."""

_JUMP_S = 5.0
UNSEEN_MS = 150.0
"""What one track may be held back more than the other before it is sent: by capture, encoder, pacer."""
_WINDOW, _EVERY = 250, 25  # packets whose unevenness counts; it is computed for each of the first, then seldom


@dataclass(frozen=True, slots=True)
class Relation:
    """Which sound belongs to which moment of the media clock, all in seconds.

    Sound that was laid out at `t` belongs `shift_s + drift * (t' - at_s)` later, at `t'`.

    :ivar slips: how often so far the sender's own relation has slipped; a step of the relation is the sender's where
        this grew with it, and else a correction.
    :ivar slip_s: the media times between which the last slip was.
    """

    shift_s: float = 0.0
    drift: float = 0.0
    at_s: float = 0.0
    slips: int = 0
    slip_s: tuple[float, float] | None = None

    def laid_out(self, time_s: float) -> float:
        """Where the sound was laid out that belongs to a media time."""
        return time_s - self.shift_s - self.drift * (time_s - self.at_s)

    def media(self, laid_out_s: float) -> float:
        """The media time of sound, from where it was laid out."""
        return (laid_out_s + self.shift_s - self.drift * self.at_s) / (1 - self.drift)


AS_LAID_OUT = Relation()


class MediaClock(ABC):
    """Learns from what arrives; once `ready`, maps track time to media time."""

    @abstractmethod
    def observe(self, track: Track, track_s: float, arrival_s: float) -> None:
        """Take note that something with the time `track_s` of its track arrived at `arrival_s`."""

    def restart(self, track: Track) -> None:  # noqa: B027 - a container's tracks do not restart
        """The track is about to count anew, from anywhere: its time goes on where its next unit arrives."""

    def relate(self, track: Track, track_s: float, sender_s: float, arrival_s: float, said_by: SaidBy) -> None:  # noqa: B027 - nor does a recording say this
        """The sender says that at `track_s` of a track its own time was `sender_s`; it said so at `arrival_s`."""

    @abstractmethod
    def ready(self, now_s: float) -> bool:
        """Whether media time is known; from then on it stays so. `now_s` is on the scale of arrivals."""

    @abstractmethod
    def settle(self) -> None:
        """Nothing more will come: be ready with what is known."""

    @abstractmethod
    def media_from_track(self, track: Track, track_s: float) -> float:
        """Where a track's time is laid out on the media clock, in seconds; only once ready.

        Of a picture, that is its media time; of sound, `relation` has the rest.
        """

    @property
    def relation(self) -> Relation:
        """What is known now of the sound against the pictures."""
        return AS_LAID_OUT

    def facts(self) -> dict[str, Any]:
        """What is worth knowing of it at the end of a run, for run.json."""
        return dataclasses.asdict(self.quality)

    @property
    @abstractmethod
    def quality(self) -> ClockQuality:
        """How the relation was found and how good it is."""


class FileClock(MediaClock):
    """Both tracks are on the container's own time; zero is the first picture, or the first sound if none comes."""

    def __init__(self) -> None:
        self._first: dict[Track, float] = {}
        self._settled = False

    def observe(self, track: Track, track_s: float, arrival_s: float) -> None:
        if not self.ready(arrival_s):
            self._first.setdefault(track, track_s)

    def ready(self, now_s: float) -> bool:
        return self._settled or "picture" in self._first

    def settle(self) -> None:
        self._settled = True

    def media_from_track(self, track: Track, track_s: float) -> float:
        return track_s - self._first.get("picture", self._first.get("sound", 0.0))

    @property
    def quality(self) -> ClockQuality:
        return ClockQuality("file", 0.0)


class ArrivalClock(MediaClock):
    """Relates the tracks by when they arrive: the least delayed packets of both are taken to be simultaneous.

    A track whose time jumps by more than 5 s against its arrival has begun anew, and goes on where it arrives.
    The relation is settled `settle_s` after both tracks have begun (or `patience_s` after the first of them has,
    if the other does not come) and then kept, so that time runs evenly. What later packets say differently, and
    how unevenly they come, is the stated error, and 150 ms besides: what happens before the sending is not seen.
    """

    def __init__(self, tracks: Iterable[Track], settle_s: float = 0.3, patience_s: float = 1.0) -> None:
        self._tracks = frozenset(tracks)
        self._settle_s, self._patience_s = settle_s, patience_s
        self._first: dict[Track, tuple[float, float]] = {}  # track time, arrival
        self._delays: dict[Track, deque[float]] = {}  # arrival - track time of the newest packets
        self._spread: dict[Track, tuple[float, float]] = {}  # the least of them, and how uneven they are
        self._observed: dict[Track, int] = {}
        self._origin: dict[Track, float] | None = None
        self._restarting: set[Track] = set()

    def restart(self, track: Track) -> None:
        self._restarting.add(track)

    def observe(self, track: Track, track_s: float, arrival_s: float) -> None:
        delays = self._delays.setdefault(track, deque(maxlen=_WINDOW))
        delay = arrival_s - track_s
        if delays and (track in self._restarting or abs(delay - delays[-1]) > _JUMP_S):
            self._begin_anew(track, delay - delays[-1])
        self._restarting.discard(track)
        self._first.setdefault(track, (track_s, arrival_s))
        delays.append(delay)
        self._observed[track] = seen = self._observed.get(track, 0) + 1
        if seen <= _EVERY or seen % _EVERY == 0:  # a percentile for each packet would cost more than its decoding
            least = min(delays)
            self._spread[track] = (least, float(np.percentile(delays, 95)) - least)

    def _begin_anew(self, track: Track, jump_s: float) -> None:
        """The source counts anew (a restart): go on where the packets arrive."""
        self._delays[track].clear()
        if track in self._first:
            track_s, arrival_s = self._first[track]
            self._first[track] = (track_s - jump_s, arrival_s)
        if track in self._spread:
            least, uneven = self._spread[track]
            self._spread[track] = (least + jump_s, uneven)
        if self._origin is not None and track in self._origin:
            self._origin[track] -= jump_s

    def ready(self, now_s: float) -> bool:
        if self._origin is None and self._first and now_s >= self._due_s():
            self.settle()
        return self._origin is not None

    def _due_s(self) -> float:
        begun = [arrival_s for _, arrival_s in self._first.values()]
        if self._tracks <= self._first.keys():
            return max(begun) + (self._settle_s if len(self._tracks) > 1 else 0.0)
        return min(begun) + self._patience_s

    def settle(self) -> None:
        if self._origin is None and self._first:
            zero: Track = "picture" if "picture" in self._first else "sound"
            zero_s = self._first[zero][0] + self._spread[zero][0]
            self._origin = {track: zero_s - least for track, (least, _) in self._spread.items()}

    def media_from_track(self, track: Track, track_s: float) -> float:
        if self._origin is None:
            raise RuntimeError("the clock is not ready")
        if track not in self._origin:  # began after the clock had settled
            reference = next(iter(self._origin))
            zero_s = self._origin[reference] + self._spread[reference][0]
            self._origin[track] = zero_s - self._spread[track][0]
        return track_s - self._origin[track]

    @property
    def quality(self) -> ClockQuality:
        if self._origin is None or len(self._origin) < 2:
            return ClockQuality("arrival", None)
        picture_s, sound_s = (self._origin[track] + self._spread[track][0] for track in ("picture", "sound"))
        moved_s = abs(picture_s - sound_s + self.relation.shift_s)
        uneven_s = sum(self._spread[track][1] for track in self._origin)
        return ClockQuality("arrival", round(UNSEEN_MS + 1000 * (moved_s + uneven_s), 1))
