"""`stream_health`: how the stream comes, by the definitions of W3C webrtc-stats and libwebrtc."""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

import vision
from vision import Frame, Freezes, IncidentRule, Processor, Reads, Result, StreamInfo, metric

__all__ = ["StreamHealth", "StreamHealthOptions", "StreamHealthProcessor"]

_RATE_WINDOW_S = 1.0  # framesPerSecond: "in the last second"
_ROUNDING_S = 1e-3  # of arrivals and of RTP times; a picture is not to be counted in one second too many
_JITTER_WINDOW, _FEWEST = 30, 5  # intervals, as libwebrtc has it for freezes
_USUAL_WINDOW_S = 30.0
_STALE_S = 2.5  # figures of the network come with a picture a second
_ALSO = 0.5  # sound that is late by half as much as the picture is late with it; so is what waited here for half of it
_HOVERING_S = 0.2  # pictures in time between late ones for no longer than this: lateness goes about its limit

_COUNTS = {
    "video_packets_lost": "video_packets_lost",
    "video_packets_discarded": "video_packets_discarded",
    "video_packets_retransmitted": "video_retransmitted_packets_received",
    "nack_count": "video_nack_count",
    "pli_count": "video_pli_count",
    "frames_dropped": "video_frames_dropped",
    "audio_packets_lost": "audio_packets_lost",
    "concealed_samples": "audio_concealed_samples",
}
"""Metrics that are counts of the last second, and what the transport calls them."""

_FIRSTS = ("first_packet_s", "first_picture_s", "first_sound_s")


def _late(cause: Literal["sender", "network", "overload"]) -> IncidentRule:
    return IncidentRule(
        "late", when=True, min_s=0.1, join_s=_HOVERING_S, severity="warning", cause=cause, worst="lateness_ms"
    )


@dataclass(frozen=True, slots=True)
class StreamHealth(Result):
    """How pictures and packets came, up to a frame.

    Twice where it makes sense: on arrival (the first packet of each picture), as a viewer without a buffer has them,
    and on timestamps (`sent_`), as the sender made them. Sums are of the run so far, counts of the second before the
    newest picture that tells them. `None`: not known yet, or nothing a recording could tell.
    """

    resolution_changes: float = metric(
        "How often the size of the picture has changed", unit="1", range=(0, None), good="low"
    )
    fps: float | None = metric(
        "Pictures that came in the last second", unit="Hz", range=(0, None), good="high", default=None
    )
    sent_fps: float | None = metric(
        "Pictures that the last second has by timestamps", unit="Hz", range=(0, None), good="high", default=None
    )
    harmonic_fps: float | None = metric(
        "Time over the sum of squared intervals of arrival, of the run (libwebrtc): long intervals count more",
        unit="Hz",
        range=(0, None),
        good="high",
        default=None,
    )
    sent_harmonic_fps: float | None = metric(
        "The same by timestamps", unit="Hz", range=(0, None), good="high", default=None
    )
    inter_frame_delay_ms: float | None = metric(
        "From the arrival of the picture before to that of this one", unit="ms", good="low", default=None
    )
    sent_inter_frame_delay_ms: float | None = metric("The same by timestamps", unit="ms", good="low", default=None)
    inter_frame_jitter_ms: float | None = metric(
        "Standard deviation of the last 30 intervals of arrival", unit="ms", range=(0, None), good="low", default=None
    )
    sent_inter_frame_jitter_ms: float | None = metric(
        "The same by timestamps", unit="ms", range=(0, None), good="low", default=None
    )
    frozen: bool | None = metric(
        "No picture has come for so long that the next one ends a freeze or a pause, or this one has ended one",
        unit="bool",
        good="false",
        default=None,
    )
    freeze_count: float | None = metric(
        "Intervals of arrival of at least max(3 * average, average + 150 ms) of the last 30, up to 5 s (libwebrtc)",
        unit="1",
        range=(0, None),
        good="low",
        default=None,
    )
    total_freezes_duration_s: float | None = metric("Their sum", unit="s", range=(0, None), good="low", default=None)
    pause_count: float | None = metric(
        "Intervals of arrival of more than 5 s", unit="1", range=(0, None), good="low", default=None
    )
    total_pauses_duration_s: float | None = metric("Their sum", unit="s", range=(0, None), good="low", default=None)
    sent_freeze_count: float | None = metric(
        "freeze_count by timestamps: freezes that the sender made, or that lost pictures left",
        unit="1",
        range=(0, None),
        good="low",
        default=None,
    )
    sent_total_freezes_duration_s: float | None = metric(
        "Their sum", unit="s", range=(0, None), good="low", default=None
    )
    sent_pause_count: float | None = metric(
        "pause_count by timestamps", unit="1", range=(0, None), good="low", default=None
    )
    sent_total_pauses_duration_s: float | None = metric(
        "Their sum", unit="s", range=(0, None), good="low", default=None
    )
    lateness_ms: float | None = metric(
        "How much later this picture came than the least delayed one of the last 30 s",
        unit="ms",
        good="low",
        default=None,
    )
    late: bool | None = metric(
        "lateness_ms is at least late_ms, and sound is not as late: pictures are sent late",
        unit="bool",
        good="false",
        incident=_late("sender"),
        default=None,
    )
    delayed: bool | None = metric(
        "lateness_ms is at least late_ms, and so is sound, by at least half as much: the way takes longer",
        unit="bool",
        good="false",
        incident=_late("network"),
        default=None,
    )
    held_up: bool | None = metric(
        "lateness_ms is at least late_ms, but not without the time this machine took nothing, at least half of it",
        unit="bool",
        good="false",
        incident=_late("overload"),
        default=None,
    )
    video_bitrate: float | None = metric(
        "Payload of pictures in the last second, repairs included", unit="bit/s", range=(0, None), default=None
    )
    audio_bitrate: float | None = metric(
        "Payload of sound in the last second", unit="bit/s", range=(0, None), default=None
    )
    video_jitter_ms: float | None = metric(
        "Interarrival jitter of packets of pictures (RFC 3550)", unit="ms", range=(0, None), good="low", default=None
    )
    audio_jitter_ms: float | None = metric(
        "Interarrival jitter of packets of sound (RFC 3550)", unit="ms", range=(0, None), good="low", default=None
    )
    jitter_buffer_delay_ms: float | None = metric(
        "Mean time from a picture's first packet to when it was whole and in order, in the last second",
        unit="ms",
        range=(0, None),
        good="low",
        default=None,
    )
    video_packets_lost: float | None = metric(
        "Packets of pictures that were lost in the last second and not repaired (fewer where some came late)",
        unit="1",
        good="low",
        default=None,
    )
    video_packets_discarded: float | None = metric(
        "Packets of pictures that came too late to be of use", unit="1", range=(0, None), good="low", default=None
    )
    video_packets_retransmitted: float | None = metric(
        "Packets of pictures that came by RTX", unit="1", range=(0, None), good="low", default=None
    )
    nack_count: float | None = metric(
        "NACK messages sent in the last second", unit="1", range=(0, None), good="low", default=None
    )
    pli_count: float | None = metric(
        "Key frames asked for in the last second", unit="1", range=(0, None), good="low", default=None
    )
    frames_dropped: float | None = metric(
        "Frames of which something came, and that were not decoded, in the last second",
        unit="1",
        range=(0, None),
        good="low",
        default=None,
    )
    audio_packets_lost: float | None = metric(
        "Packets of sound that were lost in the last second (fewer where some came late)",
        unit="1",
        good="low",
        default=None,
    )
    concealed_samples: float | None = metric(
        "Samples that lost packets would have held, in the last second",
        unit="1",
        range=(0, None),
        good="low",
        default=None,
    )
    codec_changes: float | None = metric(
        "How often the payload type of the pictures has changed", unit="1", range=(0, None), good="low", default=None
    )
    first_packet_s: float | None = metric(
        "From the start of the run to the first packet of a picture or of sound",
        unit="s",
        range=(0, None),
        good="low",
        default=None,
    )
    first_picture_s: float | None = metric(
        "From the start of the run to the first picture that was decoded",
        unit="s",
        range=(0, None),
        good="low",
        default=None,
    )
    first_sound_s: float | None = metric(
        "From the start of the run to the first sound that was decoded",
        unit="s",
        range=(0, None),
        good="low",
        default=None,
    )


class StreamHealthOptions(vision.Options):
    """Options of `stream_health`."""

    late_ms: float = Field(
        250, gt=0, description="A picture that comes so much later than the least delayed one is late."
    )


class StreamHealthProcessor(Processor[StreamHealth]):
    """Picture rate, jitter, freezes and pauses on arrival and by timestamps; bit rate, loss, changes, first times."""

    Options = StreamHealthOptions
    reads = Reads.BOTH

    _live = False

    def setup(self, info: StreamInfo) -> None:
        """Learn whether arrivals mean anything."""
        self._live = info.live
        self._now_s = 0.0
        self._arrived, self._sent = _Pace(), _Pace()
        self._size, self._network = _Changes(), _Network()
        self._begin()

    def process(self, frame: Frame) -> StreamHealth:
        """Take a frame."""
        self._now_s = max(self._now_s, frame.arrival_s)
        frozen = self._arrived.freezes.frozen_at(self._now_s) if self._live else None
        shown = frame.maybe_picture is not None
        if shown:
            self._size.add((frame.picture.width, frame.picture.height))
            self._sent.add(frame.time_s, goes_on=not frame.lost_before)
        if shown and self._live:
            dropped = frame.lost_before.get("overload", 0)
            self._arrived.add(self._now_s, goes_on=not dropped, pictures=1 + dropped)
            self._network.add(frame.arrival_s, frame.transport)
        return StreamHealth(
            **_figures(self._arrived, self._now_s, shown=shown) if self._live else {},
            **{f"sent_{name}": value for name, value in _figures(self._sent, frame.time_s, shown=shown).items()},
            frozen=frozen,
            **self._lateness(frame) if shown and self._live else {},
            **self._network.figures(self._now_s),
            resolution_changes=self._size.count,
        )

    def reset(self, reason: str) -> None:
        """What comes next is another connection's: it is compared with nothing before it, and sums go on."""
        if reason == "reconnect":
            self._arrived.freezes.restart()
            self._sent.freezes.restart()
            self._begin()

    def shift_sound(self, step_s: float) -> None:
        """Where sound belongs is no matter of how it comes."""

    def _begin(self) -> None:
        self._picture_delay, self._sound_delay = _Delay(), _Delay()
        self._network.restart()

    def _lateness(self, frame: Frame) -> dict[str, Any]:
        """How late the picture is, and whose fault that is."""
        late_ms = 1000 * self._picture_delay.add(frame.arrival_s, frame.arrival_s - frame.time_s)
        transit_s = frame.transport.get("audio_transit_s")
        sound_late_ms = 0.0 if transit_s is None else 1000 * self._sound_delay.add(frame.arrival_s, transit_s)
        is_late, with_sound = late_ms >= self.options.late_ms, sound_late_ms >= _ALSO * late_ms
        held_up_ms = frame.transport.get("held_up_ms") or 0.0
        held_up = is_late and held_up_ms >= _ALSO * late_ms and late_ms - held_up_ms < self.options.late_ms
        theirs = is_late and not held_up
        return {
            "lateness_ms": late_ms,
            "late": theirs and not with_sound,
            "delayed": theirs and with_sound,
            "held_up": held_up,
        }


class _Pace:
    """Pictures by their times on one clock."""

    def __init__(self) -> None:
        self.freezes = Freezes()
        self.steps_s: deque[float] = deque(maxlen=_JITTER_WINDOW)
        self._times_s: deque[float] = deque()
        self._begin_s: float | None = None
        self._last_s: float | None = None

    def add(self, time_s: float, *, goes_on: bool, pictures: int = 1) -> None:
        """Take a picture that came at a time.

        :param goes_on: no picture is known to be missing before it; else the step to it is none of the stream's.
        :param pictures: how many came, with those that were dropped unseen.
        """
        if self._last_s is not None and time_s < self._last_s:
            return  # out of order
        if not goes_on:
            self.freezes.restart()
        elif self._last_s is not None:
            self.steps_s.append(time_s - self._last_s)
        self.freezes.add(time_s)
        self._begin_s = time_s if self._begin_s is None else self._begin_s
        self._last_s = time_s
        self._times_s.extend([time_s] * pictures)

    def fps(self, now_s: float) -> float | None:
        """Pictures in the last second; `None` before there is one."""
        while self._times_s and self._times_s[0] <= now_s - _RATE_WINDOW_S + _ROUNDING_S:
            self._times_s.popleft()
        if self._begin_s is None or now_s - self._begin_s < _RATE_WINDOW_S - _ROUNDING_S:
            return None
        return len(self._times_s) / _RATE_WINDOW_S


def _figures(pace: _Pace, now_s: float, *, shown: bool) -> dict[str, Any]:
    freezes, steps_s = pace.freezes, pace.steps_s
    squared_s2 = freezes.total_squared_s2
    return {
        "fps": pace.fps(now_s),
        "harmonic_fps": freezes.total_interval_s / squared_s2 if squared_s2 else None,
        "inter_frame_delay_ms": 1000 * steps_s[-1] if shown and steps_s else None,
        "inter_frame_jitter_ms": 1000 * statistics.pstdev(steps_s) if len(steps_s) >= _FEWEST else None,
        "freeze_count": freezes.count,
        "total_freezes_duration_s": freezes.total_s,
        "pause_count": freezes.pauses,
        "total_pauses_duration_s": freezes.total_pauses_s,
    }


class _Delay:
    """How much more than the least of the last 30 s something took."""

    def __init__(self) -> None:
        self._least: deque[tuple[float, float]] = deque()  # ascending in both: who is later and less rules out others

    def add(self, at_s: float, took_s: float) -> float:
        """Take what came at a time and how long it took; returns by how much that is more, in seconds."""
        while self._least and self._least[-1][1] >= took_s:
            self._least.pop()
        self._least.append((at_s, took_s))
        while self._least[0][0] < at_s - _USUAL_WINDOW_S:
            self._least.popleft()
        return took_s - self._least[0][1]


class _Changes:
    """How often something changes."""

    def __init__(self) -> None:
        self.count = 0
        self._last: object = None

    def add(self, value: object) -> None:
        """Take the next value."""
        self.count += self._last is not None and value != self._last
        self._last = value


class _Network:
    """What the connector counts, a second at a time, and tells with a picture."""

    def __init__(self) -> None:
        self._codec: _Changes | None = None
        self._firsts: dict[str, float] = {}
        self.restart()

    def restart(self) -> None:
        """Another connection counts anew."""
        self._counted: Mapping[str, float | None] = {}
        self._counted_s: float | None = None
        self._second_s: float | None = None  # how long the second was that was counted

    def add(self, arrival_s: float, transport: Mapping[str, float | None]) -> None:
        """Take what a picture tells."""
        payload_type = transport.get("payload_type")
        if payload_type is not None:
            self._codec = self._codec or _Changes()
            self._codec.add(payload_type)
        if "video_bytes_received" not in transport:
            return
        self._second_s = None if self._counted_s is None else arrival_s - self._counted_s
        self._counted, self._counted_s = transport, arrival_s
        for name in _FIRSTS:
            first_s = transport.get(name)
            if first_s is not None:
                self._firsts.setdefault(name, first_s)

    def figures(self, now_s: float) -> dict[str, Any]:
        """What is known now; what was counted longer ago says nothing of it."""
        figures: dict[str, Any] = dict(self._firsts)
        figures["codec_changes"] = self._codec.count if self._codec else None
        if self._counted_s is None or now_s - self._counted_s > _STALE_S:
            return figures
        counted = self._counted
        figures |= {name: counted.get(told) for name, told in _COUNTS.items()}
        for kind in ("video", "audio"):
            jitter_s, received = counted.get(f"{kind}_jitter_s"), counted.get(f"{kind}_bytes_received")
            figures[f"{kind}_jitter_ms"] = None if jitter_s is None else 1000 * jitter_s
            if self._second_s and received is not None:
                figures[f"{kind}_bitrate"] = 8 * received / self._second_s
        emitted = counted.get("video_jitter_buffer_emitted_count")
        if emitted:
            figures["jitter_buffer_delay_ms"] = 1000 * (counted["video_jitter_buffer_delay_s"] or 0.0) / emitted
        return figures
