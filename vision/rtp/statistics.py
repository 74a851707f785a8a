"""Counts of a received track, by the definitions of W3C webrtc-stats (RTCInboundRtpStreamStats), in snake case."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

__all__ = ["Freezes", "PerSecond", "SoundStatistics", "TrackStatistics", "VideoStatistics"]

_WINDOW, _FEWEST = 30, 5  # libwebrtc, video_quality_observer2.cc
_PAUSE_S = 5.0
_LATER_S = 0.15


@dataclass(slots=True)
class Freezes:
    """Freezes and pauses of a sequence of pictures, by their times.

    An interval of max(3 * average, average + 150 ms) or more is a freeze, one of more than 5 s a pause and no freeze;
    the average is that of the last 30 intervals, the one in question included, as in libwebrtc.
    """

    count: int = 0
    total_s: float = 0.0
    pauses: int = 0
    total_pauses_s: float = 0.0
    intervals: int = 0
    total_interval_s: float = 0.0
    total_squared_s2: float = 0.0
    longest_s: float = 0.0
    _window_s: deque[float] = field(default_factory=lambda: deque(maxlen=_WINDOW))
    _last_s: float | None = None

    def add(self, time_s: float) -> None:
        """Take a picture's time."""
        last_s, self._last_s = self._last_s, time_s
        if last_s is None:
            return
        step_s = time_s - last_s
        self.intervals += 1
        self.total_interval_s += step_s
        self.total_squared_s2 += step_s * step_s
        self.longest_s = max(self.longest_s, step_s)
        if step_s > _PAUSE_S:
            self.pauses += 1
            self.total_pauses_s += step_s
            return
        frozen = self._is_freeze(step_s)
        self._window_s.append(step_s)
        if frozen:
            self.count += 1
            self.total_s += step_s

    def frozen_at(self, time_s: float) -> bool:
        """Whether a picture that comes at this time, or later, ends a freeze or a pause."""
        return self._last_s is not None and (time_s - self._last_s > _PAUSE_S or self._is_freeze(time_s - self._last_s))

    def restart(self) -> None:
        """The times count anew: what comes next is compared with nothing before it."""
        self._last_s = None

    def _is_freeze(self, step_s: float) -> bool:
        window = [*self._window_s, step_s][-_WINDOW:]
        average_s = sum(window) / len(window)
        return len(window) >= _FEWEST and step_s >= max(3 * average_s, average_s + _LATER_S)


@dataclass(slots=True)
class TrackStatistics:
    """What every track counts.

    :ivar packets_received: retransmissions and repetitions included; only RTP.
    :ivar packets_lost: never came, however often asked for; those that came twice do not make up for others, as they
        do in receiver reports (RFC 3550, 6.4.1).
    :ivar packets_discarded: came too late to be of use.
    :ivar packets_repeated: came more than once, whether retransmitted needlessly or duplicated by the network.
    :ivar retransmitted_packets_received: came by RTX (RFC 4588).
    :ivar jitter_s: interarrival jitter now, in seconds (RFC 3550, 6.4.1).
    :ivar jitter_buffer_delay_s: the sum over what was emitted of the time from its first packet till then; divided by
        `jitter_buffer_emitted_count` it is the mean.
    """

    packets_received: int = 0
    bytes_received: int = 0
    packets_lost: int = 0
    packets_discarded: int = 0
    packets_repeated: int = 0
    retransmitted_packets_received: int = 0
    jitter_s: float = 0.0
    jitter_buffer_delay_s: float = 0.0
    jitter_buffer_emitted_count: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Numbers by name; times are rounded to the microsecond."""
        return {key: _rounded(value) for key, value in self._items() if isinstance(value, int | float)}

    def _items(self) -> list[tuple[str, Any]]:
        return [(entry.name, getattr(self, entry.name)) for entry in fields(self)]


@dataclass(slots=True)
class VideoStatistics(TrackStatistics):
    """What a track of pictures counts.

    :ivar nack_count: NACK messages sent. `nacked_packets` are the packets asked for in them.
    :ivar pli_count: key frames asked for.
    :ivar frames_received: whole frames.
    :ivar frames_dropped: frames of which something came, and which were not decoded.
    :ivar rendered: freezes and pauses as seen by one who shows each picture when it is decoded.
    :ivar sent: the same on the sender's clock: freezes that the sender itself made.
    """

    nack_count: int = 0
    nacked_packets: int = 0
    pli_count: int = 0
    frames_received: int = 0
    frames_decoded: int = 0
    key_frames_decoded: int = 0
    frames_dropped: int = 0
    rendered: Freezes = field(default_factory=Freezes)
    sent: Freezes = field(default_factory=Freezes)

    def as_dict(self) -> dict[str, Any]:
        """Numbers by name."""
        seen, sent = self.rendered, self.sent
        return {
            **TrackStatistics.as_dict(self),
            "freeze_count": seen.count,
            "total_freezes_duration_s": _rounded(seen.total_s),
            "pause_count": seen.pauses,
            "total_pauses_duration_s": _rounded(seen.total_pauses_s),
            "total_inter_frame_delay_s": _rounded(seen.total_interval_s),
            "total_squared_inter_frame_delay_s2": _rounded(seen.total_squared_s2),
            "sender_freeze_count": sent.count,
            "total_sender_freezes_duration_s": _rounded(sent.total_s),
        }


@dataclass(slots=True)
class SoundStatistics(TrackStatistics):
    """What a track of sound counts, in samples of its own rate.

    :ivar total_samples_received: decoded and concealed ones.
    :ivar concealed_samples: what lost packets would have held; this receiver marks them missing, it invents none.
    :ivar concealment_events: holes.
    """

    total_samples_received: int = 0
    concealed_samples: int = 0
    concealment_events: int = 0


_LEVELS = frozenset(["jitter_s"])  # the value now; all others are sums


class PerSecond:
    """What was counted in each second.

    :param refresh: brings the sums up to date that are not counted packet by packet.
    """

    def __init__(
        self, statistics: dict[str, TrackStatistics], now_s: float, refresh: Callable[[], None] = lambda: None
    ) -> None:
        self._statistics, self._refresh = statistics, refresh
        self._due_s = now_s + 1.0
        self._before = self._totals()

    def taken(self, now_s: float) -> dict[str, float | None]:
        """The counts of the second that is over, named `video_...` and `audio_...`; empty until one is."""
        if now_s < self._due_s:
            return {}
        self._due_s = self._due_s + 1.0 if now_s < self._due_s + 1.0 else now_s + 1.0
        self._refresh()
        before, self._before = self._before, self._totals()
        return {
            name: value if name.partition("_")[2] in _LEVELS else _rounded(value - before[name])
            for name, value in self._before.items()
        }

    def _totals(self) -> dict[str, float]:
        return {
            f"{kind}_{name}": value
            for kind, statistics in self._statistics.items()
            for name, value in statistics.as_dict().items()
        }


def _rounded(value: float) -> float:
    return value if isinstance(value, int) else round(value, 6)
