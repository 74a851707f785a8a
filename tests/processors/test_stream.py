"""`stream`: what the clock knows of the way."""

from __future__ import annotations

import dataclasses

from processors.stream import Stream, StreamProcessor
from vision.frame import ClockQuality
from vision.testing import check_processor, make_frame


def test_it_says_what_the_clock_knows() -> None:
    """Nothing by arrival; the skew, and the drift once it can be told, by the sender's own time."""
    frames = [
        dataclasses.replace(make_frame(index=index), clock=clock)
        for index, clock in enumerate(
            (
                ClockQuality("arrival", 160.0),
                ClockQuality("sender_report", 12.0, -42.5),
                ClockQuality("capture_time", 2.0, 80.0, 199.8),
            )
        )
    ]
    assert check_processor(StreamProcessor, frames) == [None, Stream(-42.5, None), Stream(80.0, 199.8)]
