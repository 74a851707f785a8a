"""The recording of what was sent: its pictures by number, and small versions of those around a place."""

from __future__ import annotations

import bisect
from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from processors.full_reference.marker import read_marker
from vision import ConfigError, Picture, picture_of

__all__ = ["Reference"]

_AT_HAND = 8  # pictures that were decoded last; a match may go back by a few
_LOCAL = {"protocol_whitelist": "file,crypto,data"}


class Reference:
    """Pictures are numbered from 0 in the order they are shown in; decoding goes forward, and begins anew to go back.

    :ivar times_s: when each picture is shown, from that of the first one on.
    :ivar rate: pictures a second.
    :raises ConfigError: when it cannot be read, or has no pictures whose times are known.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.times_s, self.rate = self._timed()
        self._follower: Iterator[Picture] = iter(())
        self._next = len(self.times_s)
        self._at_hand: deque[tuple[int, Picture]] = deque(maxlen=_AT_HAND)
        self._scout = self._decoded()
        self._scouted = 0
        self._grids: dict[int, NDArray[np.uint8]] = {}
        self._numbers: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self.times_s)

    def nearest(self, time_s: float) -> int:
        """The picture that is shown nearest to a time."""
        after = bisect.bisect_left(self.times_s, time_s)
        candidates = [number for number in (after - 1, after) if 0 <= number < len(self)]
        return min(candidates, key=lambda number: abs(self.times_s[number] - time_s))

    def between(self, begin_s: float, end_s: float) -> range:
        """The pictures that are shown in a stretch of time."""
        return range(bisect.bisect_left(self.times_s, begin_s), bisect.bisect_right(self.times_s, end_s))

    def picture(self, number: int) -> Picture:
        """A picture."""
        for at, picture in self._at_hand:
            if at == number:
                return picture
        if number < self._next:
            self._follower, self._next = self._decoded(), 0
            self._at_hand.clear()
        while True:
            picture, at = self._following(), self._next
            self._next += 1
            self._at_hand.append((at, picture))
            if at == number:
                return picture

    def scout(self, until: int) -> None:
        """Look at the pictures before a number, if that has not been done."""
        while self._scouted < min(until, len(self)):
            picture = next(self._scout, None)
            if picture is None:
                return
            self._grids[self._scouted] = picture.grid
            marked = read_marker(picture.y)
            if marked is not None:
                self._numbers[marked] = self._scouted
            self._scouted += 1

    def forget(self, before: int) -> None:
        """Small versions before a number are not needed any more."""
        for number in [number for number in self._grids if number < before]:
            del self._grids[number]

    def grid(self, number: int) -> NDArray[np.uint8] | None:
        """A small version of a picture (`Picture.grid`), where it has been looked at."""
        return self._grids.get(number)

    def marked(self, marker: int) -> int | None:
        """The picture that carries a number, of those that have been looked at; the last such one."""
        return self._numbers.get(marker)

    @property
    def has_markers(self) -> bool:
        """Whether any of the pictures that have been looked at carries a number."""
        return bool(self._numbers)

    @property
    def scouted(self) -> int:
        """How many have been looked at."""
        return self._scouted

    def _following(self) -> Picture:
        picture = next(self._follower, None)
        if picture is None:
            raise ValueError(f"{self._path}: picture {self._next} cannot be decoded")
        return picture

    def _decoded(self) -> Iterator[Picture]:
        with self._opened() as container:
            video = container.streams.video[0]
            video.thread_type = "NONE"
            for frame in container.decode(video):
                yield picture_of(frame)

    def _opened(self) -> Any:
        try:
            return av.open(str(self._path), options=_LOCAL)
        except (OSError, av.FFmpegError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ConfigError(
                f"full_reference: {self._path}: cannot be read: {reason}; give path: a recording"
            ) from error

    def _timed(self) -> tuple[list[float], Fraction]:
        with self._opened() as container:
            if not container.streams.video:
                raise ConfigError(f"full_reference: {self._path}: has no pictures; give path: a recording that has")
            video = container.streams.video[0]
            pts = [packet.pts for packet in container.demux(video) if packet.size]
            rate = video.average_rate or video.guessed_rate or Fraction(25)
            if not pts or None in pts:
                reason = "does not say when its pictures are shown; write it as MKV or MP4"
                raise ConfigError(f"full_reference: {self._path}: {reason}")
            ordered = sorted(pts)
            return [float((at - ordered[0]) * video.time_base) for at in ordered], Fraction(rate)
