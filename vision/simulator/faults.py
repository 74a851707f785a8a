"""Which planted faults are active when, and what they make of the times: of sound, of sending, of reports."""

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from vision.simulator.performance import Times
from vision.simulator.settings import Fault, FaultKind

LATE_S = 0.3
"""How late the pictures of a fault of kind `late` are sent."""


class FaultPlan:
    """The planted faults of a session on the media clock."""

    def __init__(self, faults: Sequence[Fault], offset_ms: float = 0.0) -> None:
        self._faults = tuple(faults)
        self._offset_ms = offset_ms

    def active(self, kind: FaultKind, time_s: float) -> Fault | None:
        """The fault of this kind that covers the moment."""
        return next((fault for fault in self._faults if fault.kind == kind and fault.covers(time_s)), None)

    def mask(self, kind: FaultKind, times_s: Times) -> NDArray[np.bool_]:
        """At which of the media times (N,) a fault of this kind is active."""
        mask = np.zeros(len(times_s), bool)
        for fault in self._faults:
            if fault.kind == kind:
                mask |= (times_s >= fault.start_s) & (times_s < fault.end_s)
        return mask

    def kinds_at(self, time_s: float) -> list[str]:
        """Kinds of all faults that cover the moment, each once, in the order of the settings."""
        return list(dict.fromkeys(fault.kind for fault in self._faults if fault.covers(time_s)))

    def offset_s(self, times_s: Times) -> Times:
        """How late the sound is at the media times (N,), s; negative: early."""
        return (self._offset_ms + self._shift_ms(("offset", "drift"), times_s)) / 1000

    def sending_delay_s(self, time_s: float) -> float:
        """How long after its media time a picture is sent, s."""
        late = self.active("late", time_s)
        slow = self.active("send_time_reports", time_s)
        return (LATE_S if late else 0.0) + (slow.amount / 1000 if slow else 0.0)

    def reports_ahead_s(self, track: str, time_s: float) -> float:
        """How far the wall clock in the sender reports of a track (`audio` or `video`) is ahead at a media time, s."""
        kinds: tuple[FaultKind, ...] = ("report_jump", "report_drift") if track == "audio" else ("report_jump",)
        return float(self._shift_ms(kinds, np.array([time_s]))[0]) / 1000

    def _shift_ms(self, kinds: Collection[FaultKind], times_s: Times) -> Times:
        """The amounts of these kinds at the media times (N,) together, ms; one a minute has grown since its start."""
        shift_ms = np.zeros(len(times_s))
        for fault in self._faults:
            if fault.kind in kinds:
                covered = (times_s >= fault.start_s) & (times_s < fault.end_s)
                grown = 1.0 if fault.ms_per_minute is None else (times_s[covered] - fault.start_s) / 60
                shift_ms[covered] += fault.amount * grown
        return shift_ms
