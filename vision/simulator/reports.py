"""What a viewer is told of time: sender reports and capture times, true unless a fault makes them lie."""

from vision.simulator.faults import FaultPlan
from vision.simulator.tracks import PacedTrack

NTP_SECOND = 1 << 32
CAPTURE_INTERVAL_S = 1.0


class Reports:
    """The NTP times in the sender reports of one track. Which faults apply is decided by the last packet's media time.

    True reports state when the last packet was due, not when it happened to be sent: a viewer then maps both tracks to
    one clock exactly, even in a stretch that is sent late on purpose.
    """

    def __init__(self, track: PacedTrack, faults: FaultPlan) -> None:
        self._track = track
        self._faults = faults

    def ntp(self, sent_ntp: int) -> int | None:
        """The 64-bit NTP time to report with the RTP timestamp of the last packet, which was sent at `sent_ntp`.

        `None`: there is to be no report.
        """
        time_s = self._track.last_time_s
        if time_s is None:  # nothing has been sent: the report would say RTP time 0 at NTP time 0
            return None
        if self._faults.active("no_reports", time_s):
            return None
        send_time = self._faults.active("send_time_reports", time_s)
        ntp = sent_ntp if send_time else self._track.clock.ntp(time_s)
        return ntp + round(self._faults.reports_ahead_s(self._track.kind, time_s) * NTP_SECOND)


class CaptureTimes:
    """When the packets of one track say when they were captured: the first does, and then one a second."""

    def __init__(self, track: PacedTrack) -> None:
        self._track = track
        self._told_s: float | None = None

    def due(self) -> int | None:
        """The 64-bit NTP time to put on the packet that is about to be sent; `None` where it needs none."""
        time_s = self._track.last_time_s
        if time_s is None or (self._told_s is not None and time_s < self._told_s + CAPTURE_INTERVAL_S):
            return None
        self._told_s = time_s
        return self._track.clock.ntp(time_s)
