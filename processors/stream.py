"""`stream`: how the sound comes against the picture, apart from what is in them."""

from __future__ import annotations

from dataclasses import dataclass

from vision import Frame, Processor, Reads, Result, metric

__all__ = ["Stream", "StreamProcessor"]


@dataclass(frozen=True, slots=True)
class Stream(Result):
    """The way of the stream, by its sender's own time; `None` where the sender has not said it."""

    av_arrival_skew_ms: float | None = metric(
        "How much later sound comes than the pictures it belongs to: what a player shows that ignores sender reports",
        unit="ms",
        range=(None, None),
        good="zero",
    )
    av_drift_ppm: float | None = metric(
        "How much faster the sender's clock of the sound runs than that of its pictures",
        unit="ppm",
        range=(None, None),
        good="neither",
    )


class StreamProcessor(Processor[Stream]):
    """How the sound comes against the picture."""

    reads = Reads.BOTH

    def process(self, frame: Frame) -> Stream | None:
        clock = frame.clock
        if clock.arrival_skew_ms is None:
            return None
        return Stream(clock.arrival_skew_ms, clock.drift_ppm)
