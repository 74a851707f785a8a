"""What waits for the encoder: bounded, and what finds no room is left out and counted."""

from __future__ import annotations

import dataclasses
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from vision.frame import Frame
from vision.incidents import Incident
from vision.result import Result

__all__ = ["Backlog", "Shot"]

_MOST_PICTURES = 16  # 22 MB at 720p, and half a second at 30 fps
_MOST_SHOTS = 600  # their sound alone is small


@dataclass(frozen=True, slots=True)
class Shot:
    """A frame, and what is drawn over its picture.

    :ivar incidents: those that go on, and those just over.
    """

    frame: Frame
    outputs: Mapping[str, Result | None] = field(default_factory=dict)
    incidents: tuple[Incident, ...] = ()

    def without_picture(self) -> Shot:
        """Its sound alone."""
        return Shot(dataclasses.replace(self.frame, maybe_picture=None))


class Backlog:
    """A queue between two threads.

    :ivar left_out: pictures for which there was no room.
    """

    def __init__(self) -> None:
        self.left_out = 0
        self._shots: deque[Shot] = deque()
        self._pictures = 0
        self._closed = False
        self._changed = threading.Condition()

    def put(self, shot: Shot, *, wait: bool) -> None:
        """Add a shot. Where there is no room for its picture, wait, or leave that out; its sound is kept."""
        has_picture = shot.frame.maybe_picture is not None
        with self._changed:
            if wait:
                self._changed.wait_for(lambda: self._has_room(has_picture) or self._closed)
            elif has_picture and not self._has_room(has_picture):
                self.left_out += 1
                shot, has_picture = shot.without_picture(), False
            if not self._closed and len(self._shots) < _MOST_SHOTS:
                self._shots.append(shot)
                self._pictures += has_picture
                self._changed.notify_all()

    def take(self) -> Shot | None:
        """Wait for the next one; `None`: closed, and nothing is left."""
        with self._changed:
            self._changed.wait_for(lambda: self._shots or self._closed)
            if not self._shots:
                return None
            shot = self._shots.popleft()
            self._pictures -= shot.frame.maybe_picture is not None
            self._changed.notify_all()
            return shot

    def close(self) -> None:
        """Nothing more will come, or be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _has_room(self, has_picture: bool) -> bool:
        return len(self._shots) < _MOST_SHOTS and not (has_picture and self._pictures >= _MOST_PICTURES)
