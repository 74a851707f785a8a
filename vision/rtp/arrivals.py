"""How the units of one track come: the least delayed of the newest ones, and when that has changed."""

from __future__ import annotations

from collections import deque
from itertools import islice

from vision.rtp.sender_time import Step

__all__ = ["Arrivals"]

_RECENT, _LEAST_RECENT, _RECENT_S = 25, 3, 1.0  # units; the least delayed of them says how the track comes
_KEPT = 1000  # units among which a change is looked for: 20 s of sound, whose reports may be 5 s apart
_RISEN, _FALLEN = 0.5, 0.125  # share of a change from which on a unit is behind it
_LEAST_FALLEN_S = 0.005
_UNEXPLAINED, _UNEVEN_S = 0.3, 0.005  # of a change, what need not be seen
_LASTING_S = 0.3


class Arrivals:
    """The newest units of one track: their time on the track, and their delay, which is arrival minus that."""

    def __init__(self) -> None:
        self._units: deque[tuple[float, float]] = deque(maxlen=_KEPT)
        self._recent: deque[tuple[float, float]] = deque(maxlen=_RECENT)  # arrival, delay

    def add(self, track_s: float, arrival_s: float) -> None:
        """Take a unit."""
        self._units.append((track_s, arrival_s - track_s))
        self._recent.append((arrival_s, arrival_s - track_s))
        while len(self._recent) > _LEAST_RECENT and arrival_s - self._recent[0][0] > _RECENT_S:
            self._recent.popleft()

    def clear(self) -> None:
        """The track counts anew."""
        self._units.clear()
        self._recent.clear()

    @property
    def delay_s(self) -> float:
        """Of the least delayed among the newest units."""
        return min(delay_s for _, delay_s in self._recent)

    @property
    def unevenness_s(self) -> float:
        """How far that may be from the least delay there is: about as far as the next one, and seldom twice that."""
        least = sorted(delay_s for _, delay_s in self._recent)[:2]
        return 2 * (least[-1] - least[0])

    def turn(self, step: Step, *, lasting: bool = False) -> tuple[float, float] | None:
        """Between which two units they began to come as much later, or earlier, as the sender says that it has slipped.

        No unit comes sooner than it can. So what comes nearly as soon as before a change for the worse was sent before
        it, and what comes sooner than before a change for the better, behind it. Where a sender makes up for a delay,
        units come sooner one by one: the first one counts.

        :param lasting: only a change that has been so for 0.3 s.
        :returns: their times on the track; `None`: the units do not show it.
        """
        units = self._since(step.from_s)
        if step.s > 0:
            limit_s = step.delay_s + _RISEN * step.s
            first = max((number for number, (_, delay_s) in enumerate(units, 1) if delay_s < limit_s), default=0)
        else:
            limit_s = step.delay_s - max(-_FALLEN * step.s, _LEAST_FALLEN_S)
            first = next((number for number, (_, delay_s) in enumerate(units) if delay_s < limit_s), len(units))
        behind = units[first:]
        if not first or not behind or (lasting and behind[-1][0] - behind[0][0] < _LASTING_S):
            return None
        unseen_s = abs(min(delay_s for _, delay_s in behind) - step.delay_s - step.s)
        if unseen_s > max(_UNEXPLAINED * abs(step.s), _UNEVEN_S):
            return None
        return units[first - 1][0], behind[0][0]

    def _since(self, track_s: float) -> list[tuple[float, float]]:
        """The units from the last one before a time of the track on."""
        later = sum(unit_s > track_s for unit_s, _ in self._units)
        return list(islice(self._units, max(len(self._units) - later - 1, 0), None))
