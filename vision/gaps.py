"""Where pictures should have come and did not: stretches, and about how many are missing."""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Iterator

from vision.frame import Frame
from vision.incidents import Incident

__all__ = ["PictureGaps"]

_WINDOW = 30  # intervals between pictures that say what is usual
_FEWEST = 5
_MIN_S = 0.5
_PAUSE_S = 5.0  # without anything usual to compare with: the pause of W3C webrtc-stats


class PictureGaps:
    """Follows the frames without a picture, which go on while none comes.

    A gap ends with the next picture, or with the run. It is an incident from half a second (and three usual intervals)
    on. Who is to blame is not known from the pictures alone, so its cause is `unknown`.

    :ivar missing: pictures that would have come at the usual rate; 0 where nothing says what is usual.
    """

    def __init__(self) -> None:
        self.missing = 0.0
        self._steps_s: deque[float] = deque(maxlen=_WINDOW)
        self._last_s: float | None = None
        self._until_s: float | None = None  # of the gap that is open

    def add(self, frame: Frame) -> Iterator[Incident]:
        """Take a frame; yields the gap that it ends."""
        if frame.maybe_picture is None:
            self._until_s = max(frame.time_s, self._until_s or frame.time_s)
            return
        late = self._until_s is not None and frame.time_s < self._until_s  # from before the gap's end
        if self._until_s is not None and not late:
            yield from self._close(frame.time_s)
        if self._last_s is not None and not late and frame.time_s > self._last_s:
            self._steps_s.append(frame.time_s - self._last_s)
        self._last_s = max(frame.time_s, self._last_s or frame.time_s)

    def end(self) -> Iterator[Incident]:
        """The run is over; yields the gap that is still open."""
        if self._until_s is not None:
            yield from self._close(self._until_s)

    def _close(self, end_s: float) -> Iterator[Incident]:
        start_s, self._until_s = self._last_s or 0.0, None
        usual_s = statistics.median(self._steps_s) if len(self._steps_s) >= _FEWEST else None
        missing = max((end_s - start_s) / usual_s - 1, 0.0) if usual_s else 0.0
        self.missing += missing
        if end_s - start_s >= self._least_s(usual_s):
            evidence = {"metric": "time_s", "pictures_missing": round(missing)}
            yield Incident("no_picture", "unknown", round(start_s, 6), round(end_s, 6), "error", evidence)

    def _least_s(self, usual_s: float | None) -> float:
        if self._last_s is None:
            return _MIN_S
        return _PAUSE_S if usual_s is None else max(_MIN_S, 3 * usual_s)
