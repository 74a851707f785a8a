"""Which planted faults are active when, and where the sound stands against the picture."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vision.simulator.performance import Times
from vision.simulator.settings import Fault, FaultKind


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
        offset_ms = np.full(len(times_s), self._offset_ms)
        for fault in self._faults:
            covered = (times_s >= fault.start_s) & (times_s < fault.end_s)
            if fault.offset_ms is not None:
                offset_ms[covered] += fault.offset_ms
            if fault.ms_per_minute is not None:
                offset_ms[covered] += fault.ms_per_minute * (times_s[covered] - fault.start_s) / 60
        return offset_ms / 1000
