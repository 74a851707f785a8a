"""Where pictures should have come and did not: stretches, how many are missing, and whose fault it is."""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from vision.frame import Cause, Frame, Losses, with_losses
from vision.incidents import Incident, OpenStretch, losses_as_evidence

__all__ = ["PictureGaps"]

_KIND = "no_picture"
_WINDOW = 30  # intervals between pictures that say what is usual
_FEWEST = 5
_PAUSE_S = 5.0  # without anything usual to compare with: the pause of W3C webrtc-stats
_LATER_S = 0.15  # with it: the freeze of W3C webrtc-stats, max(3 * usual, usual + 150 ms)
_SEVERE_S = 0.5
_COUNTED: tuple[Cause, ...] = ("overload", "receiver")  # these are numbers of pictures
_MOST_ASIDE = 4  # pictures; where B-frames are used, a loss is noted in the order of decoding, near where it shows
_APART_S = 1.0  # gaps of one cause that follow each other sooner are one incident


@dataclass(slots=True)
class _Gap:
    cause: Cause
    start_s: float
    end_s: float
    longest_s: float
    missing: float
    lost: Losses
    count: int = 1


class PictureGaps:
    """Follows the frames, with pictures and without.

    A gap is where pictures are known to have been lost and time was passed over, or where nothing is known to be lost
    and no picture came for so long that W3C webrtc-stats would call it a freeze. A gap ends with the next picture, or
    with the run. Those of the same cause that follow each other within a second are one incident.

    :ivar missing: pictures that would have come at the usual rate, but for those the queue dropped; 0 where nothing
        says what is usual.
    """

    def __init__(self) -> None:
        self.missing = 0.0
        self._steps_s: deque[float] = deque(maxlen=_WINDOW)
        self._last_s: float | None = None
        self._until_s: float | None = None  # how far frames without a picture have come since
        self._lost: Losses = {}
        self._open: _Gap | None = None
        self._skipped: _Gap | None = None  # pictures that are missing for no known reason, too few for a freeze
        self._unexplained: Losses = {}  # packets that were lost, and no picture is missing yet
        self._aside = 0  # pictures since either

    @property
    def open(self) -> Iterator[OpenStretch]:
        """The gap that may be told yet: one that waits for others, or the time since the last picture."""
        if self._open is not None:
            yield OpenStretch(_KIND, round(self._open.start_s, 6), self._open.start_s)
        elif self._until_s is not None and self._last_s is not None:
            yield OpenStretch(_KIND, round(self._last_s, 6), self._last_s)

    def add(self, frame: Frame) -> Iterator[Incident]:
        """Take a frame; yields the incident that is over with it."""
        self._lost = with_losses(self._lost, frame.lost_before)
        if self._open is not None and (self._last_s or 0.0) - self._open.end_s > _APART_S:
            yield from self._finished()  # a gap that begins now would be another one
        if frame.maybe_picture is None:
            self._until_s = max(frame.time_s, self._until_s or frame.time_s)
            return
        if self._last_s is not None and frame.time_s <= self._last_s:
            return  # out of order: it fills no gap
        yield from self._step(frame.time_s, over=False)
        self._last_s, self._until_s = frame.time_s, None
        self._lost, self._unexplained = self._unexplained, {}

    def end(self) -> Iterator[Incident]:
        """The run is over; yields what is still open."""
        if self._until_s is not None and self._until_s > (self._last_s or 0.0):
            yield from self._step(self._until_s, over=True)
        yield from self._finished()

    def _step(self, time_s: float, *, over: bool) -> Iterator[Incident]:
        """From the last picture to the next one, or to the end of the run."""
        if self._last_s is None and self._until_s is None:
            return
        start_s = self._last_s or 0.0
        step_s = time_s - start_s
        usual_s = statistics.median(self._steps_s) if len(self._steps_s) >= _FEWEST else None
        missing = max(step_s / usual_s - 1, 0.0) if usual_s else 0.0
        if self._last_s is not None and not over:
            self._learn(step_s)
        if not self._is_gap(step_s, usual_s):
            yield from self._look_aside(_Gap("network", start_s, time_s, step_s, missing, self._lost), usual_s)
            return
        self._skipped, self._aside = None, 0
        self.missing += max(missing - self._lost.get("overload", 0), 0.0)
        cause = _cause(self._lost, missing, "unknown" if over else "sender")
        yield from self._note(_Gap(cause, start_s, time_s, step_s, missing, self._lost))

    def _look_aside(self, step: _Gap, usual_s: float | None) -> Iterator[Incident]:
        """Where a loss is known and no picture is missing, or the other way round: both may come a little apart."""
        lost: Losses = {"network": self._lost["network"]} if self._lost.get("network") else {}
        skips = usual_s is not None and step.longest_s > 1.5 * usual_s
        self._aside += 1
        if self._aside > _MOST_ASIDE:
            self._skipped, lost, self._aside = None, {}, 0
        if skips:
            self._skipped, self._aside = step, 0
        elif lost and self._skipped is not None:
            gap, self._skipped = self._skipped, None
            gap.lost = lost
            self.missing += gap.missing
            yield from self._note(gap)
        elif lost:
            self._unexplained = lost
        elif self._skipped is None:
            self._aside = 0

    def _learn(self, step_s: float) -> None:
        """What is usual: pictures that we dropped did come, and a sender may change its rate."""
        if all(cause in _COUNTED for cause in self._lost):
            self._steps_s.append(step_s / (1 + sum(self._lost.values())))

    def _is_gap(self, step_s: float, usual_s: float | None) -> bool:
        if self._last_s is None:
            return step_s >= _SEVERE_S
        if usual_s is None:
            return step_s >= _PAUSE_S
        known = any(count > 0 for count in self._lost.values())
        return step_s > 1.5 * usual_s if known else step_s >= max(3 * usual_s, usual_s + _LATER_S)

    def _note(self, gap: _Gap) -> Iterator[Incident]:
        before = self._open
        if before is None or before.cause != gap.cause:
            yield from self._finished()
            self._open = gap
            return
        before.end_s = gap.end_s
        before.longest_s = max(before.longest_s, gap.longest_s)
        before.missing += gap.missing
        before.lost = with_losses(before.lost, gap.lost)
        before.count += 1

    def _finished(self) -> Iterator[Incident]:
        gap, self._open = self._open, None
        if gap is not None:
            severity = "error" if gap.longest_s >= _SEVERE_S else "warning"
            times = round(gap.start_s, 6), round(gap.end_s, 6)
            yield Incident(_KIND, gap.cause, *times, severity, _evidence(gap))


def _cause(lost: Losses, missing: float, otherwise: Cause) -> Cause:
    """The cause that explains most of the missing pictures.

    The queue and the decoder count pictures; what they do not explain was lost by the network, where packets of it
    are known to be lost, and was else never sent.
    """
    shares: dict[Cause, float] = {cause: lost[cause] for cause in _COUNTED if cause in lost}
    rest = max(missing - sum(shares.values()), 0.0)
    noted = [cause for cause in lost if cause not in shares]
    if "network" in noted and "sender" in noted and lost["network"]:
        shares["network"] = min(rest, lost["network"])  # a packet explains a picture, and no silence after it
        shares["sender"] = rest - shares["network"]
    else:
        shares["network" if "network" in noted else noted[0] if noted else otherwise] = rest
    return max(shares, key=lambda cause: shares[cause])


def _evidence(gap: _Gap) -> Mapping[str, float | str]:
    evidence: dict[str, float | str] = {"metric": "time_s", "pictures_missing": round(gap.missing), "gaps": gap.count}
    return evidence | losses_as_evidence(gap.lost)
