"""Runs with known values, for the tests of what is expected of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vision.expectations.items import of_text
from vision.expectations.judge import Judge
from vision.expectations.moments import Happening, Moment
from vision.expectations.verdict import Verdict
from vision.expectations.vocabulary import Producer, Vocabulary
from vision.record import Measured
from vision.result import IncidentRule, MetricInfo

__all__ = ["FPS", "PRODUCERS", "VOCABULARY", "judged", "moments", "verdict"]

FPS = 10
_FREEZE = IncidentRule("freeze", when=True, min_s=0.5)
_MUTE = IncidentRule("mute", when=True, min_s=0.5)

PRODUCERS = (
    Producer(
        "picture",
        (
            MetricInfo("luma", "Mean luma", "1", (0, 1), "neither", "number"),
            MetricInfo("sharpness", "Sharpness", "1", (0, None), "high", "number"),
            MetricInfo("yaw_deg", "Turn of the head", "deg", (-90, 90), "neither", "number"),
            MetricInfo("blink_ms", "Length of the blink that ended", "ms", (30, 600), "neither", "number"),
            MetricInfo("freeze", "Frozen", "bool", (None, None), "false", "boolean", incident=_FREEZE),
            MetricInfo("points_px", "Points", "px", (None, None), "neither", "number", recorded=False, shape=(4, 2)),
        ),
    ),
    Producer("thinned", (MetricInfo("value", "A number", "1", (None, None), "neither", "number"),), every=5),
    Producer(
        "lips",
        (
            MetricInfo("offset_ms", "How late the sound is", "ms", (-800, 800), "neither", "number"),
            MetricInfo("drift_ms_per_min", "How fast it grows", "ms/min", (None, None), "neither", "number"),
        ),
        listens=True,
        pairs=True,
        needs=("picture",),
    ),
    Producer(
        "voice",
        (
            MetricInfo("speaking", "Somebody speaks", "bool", (None, None), "neither", "boolean", incident=_MUTE),
            MetricInfo("level_dbfs", "Level", "dB", (-120, None), "neither", "number"),
        ),
        listens=True,
        hears_only=True,
    ),
)
VOCABULARY = Vocabulary(PRODUCERS)


def moments(count: int = 100, corrupt: Sequence[int] = (), without: Sequence[int] = ()) -> list[Moment]:
    """Ten seconds of ten pictures each.

    `luma` grows from 0 to 0.99 by 0.01; `sharpness` is 20, and 0 in the last second; `yaw_deg` is the number of the
    picture less 50; `blink_ms` is 200 in each 25th picture; frozen from 4 to 6 s; `thinned.value` is 1 in each fifth;
    the sound is 40 ms late, 120 ms from 8 s on; somebody speaks from 2 to 7 s, at -20 dB, and -120 else.
    """
    return [_moment(i, i in corrupt) for i in range(count) if i not in without]


def _moment(i: int, corrupt: bool) -> Moment:
    speaking = 20 <= i < 70
    results: Mapping[str, Measured | None] = {
        "picture": {
            "luma": i / 100,
            "sharpness": 20.0 if i < 90 else 0.0,
            "yaw_deg": i - 50.0,
            "blink_ms": 200.0 if i % 25 == 24 else None,
            "freeze": 40 <= i < 60,
        },
        "thinned": {"value": 1.0} if i % 5 == 0 else None,
        "lips": {"offset_ms": 40.0 if i < 80 else 120.0, "drift_ms_per_min": None} if speaking or i >= 80 else None,
        "voice": {"speaking": speaking, "level_dbfs": -20.0 if speaking else -120.0},
        "clock": {"error_ms": 2.0},
    }
    return Moment(i, i / FPS, corrupt, results, {}, "sender_report")


HAPPENED = (
    Happening("freeze", "rendered", "error", 4.0, 6.0),
    Happening("no_picture", "network", "error", 7.1, 7.7, 2.0),
    Happening("no_picture", "sender", "warning", 9.0, 9.2),
    Happening("clock_slip", "sender", "warning", 3.0, 3.0),
)


def judged(
    that: str,
    frames: Sequence[Moment],
    happened: Sequence[Happening] = (),
    min_coverage: float = 0.5,
    troubles: Mapping[str, str] | None = None,
) -> Verdict:
    """The verdict on one expectation."""
    judge = Judge([of_text(that, VOCABULARY, min_coverage)], PRODUCERS)
    for moment in frames:
        judge.add(moment)
    for happening in happened:
        judge.add_incident(happening)
    (found,) = judge.verdicts(troubles)
    return found


def verdict(that: str, min_coverage: float = 0.5) -> Verdict:
    """That on the run of `moments`, with its incidents."""
    return judged(that, moments(), HAPPENED, min_coverage)
