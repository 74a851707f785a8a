"""What `lip_sync` tells with each frame."""

from __future__ import annotations

from dataclasses import dataclass

from processors.lip_sync.course import COURSE_DELAY_S
from processors.lip_sync.mismatch import MISMATCH_DELAY_S
from vision import IncidentRule, Readout, Result, metric

__all__ = ["LipSync"]

_PAUSE_S = 1.5  # of a mouth, or of a voice, which goes on all the same
_STATES = ("idle", "listening", "speaking", "lips without voice", "voice without lips", "no face")  # of `State`


@dataclass(frozen=True, slots=True)
class LipSync(Result):
    """What was known of lips and sound when the frame came.

    The offset is of the content: what the clock knows of the transport is taken out, and by how much the clock may be
    wrong is in `offset_error_ms`. It is of a window whose middle was `age_ms` ago. `None` where it cannot be told: less
    than a second of voice in the window, a face in less than 80 % of it, lips that rest, a voice that is not the
    mouth's, windows that disagree, or a clock that is not good enough. The state is of 1.1 s ago, the score of
    `score_age_ms` ago. What incidents are made of is told later still, when it is known from when to when it was.
    """

    offset_ms: float | None = metric(
        "How much later the sound is than the lips; negative: earlier",
        unit="ms",
        range=(-800, 800),
        good="zero",
        readout=Readout("offset", error="offset_error_ms"),
        default=None,
    )
    offset_error_ms: float | None = metric(
        "Half the interval around offset_ms that holds the truth in nine of ten, with the clock's error",
        unit="ms",
        range=(0, None),
        good="low",
        default=None,
    )
    confidence: float | None = metric(
        "Probability that the last window's offset is right, where right and wrong are as likely before",
        unit="1",
        range=(0, 1),
        good="high",
        default=None,
    )
    margin: float | None = metric(
        "By how much that window's correlation exceeds those of offsets more than 150 ms away",
        unit="1",
        range=(0, 2),
        good="high",
        default=None,
    )
    lse_d: float | None = metric(
        "SyncNet's distance of lips and sound at its best offset (LSE-D); with `method: syncnet`",
        unit="1",
        range=(0, None),
        good="low",
        default=None,
    )
    lse_c: float | None = metric(
        "By how much SyncNet's median distance over all offsets exceeds it (LSE-C); with `method: syncnet`",
        unit="1",
        range=(0, None),
        good="high",
        default=None,
    )
    age_ms: float | None = metric(
        "How long ago the middle of that window was", unit="ms", range=(0, None), default=None
    )
    score: float | None = metric(
        "How well mouth and sound agree over a second, at that window's offset: correlation, 0 where it is negative",
        unit="1",
        range=(0, 1),
        good="high",
        default=None,
    )
    score_age_ms: float | None = metric(
        "How long ago that second's middle was", unit="ms", range=(0, None), default=None
    )
    state: int | None = metric(
        "0 idle (nothing for 10 s), 1 listening, 2 speaking, 3 lips move without voice, 4 voice with resting lips,"
        " 5 no face; of 1.1 s ago",
        unit="1",
        range=(0, 5),
        readout=Readout("state", words=_STATES),
        default=None,
    )
    speech: bool | None = metric("Somebody speaks, as `speech.speaking` has it", unit="bool", default=None)
    out_of_sync: bool | None = metric(
        "The offset exceeds `limits`, soon with all its interval, until it no longer does; of 5.6 s ago",
        unit="bool",
        good="false",
        incident=IncidentRule("out_of_sync", when=True, min_s=1.0, severity="warning", delay_s=COURSE_DELAY_S),
        default=None,
    )
    unacceptable_sync: bool | None = metric(
        "The same for the limits of acceptability of ITU-R BT.1359: 90 ms early, 185 ms late; of 5.6 s ago",
        unit="bool",
        good="false",
        incident=IncidentRule("unacceptable_sync", when=True, min_s=1.0, delay_s=COURSE_DELAY_S),
        default=None,
    )
    mouth_without_voice: bool | None = metric(
        "The lips move for half a second and more where no voice is near, and around that; of 3.6 s ago",
        unit="bool",
        good="false",
        incident=IncidentRule(
            "mouth_without_voice",
            when=True,
            min_s=1.0,
            severity="warning",
            join_s=_PAUSE_S,
            delay_s=MISMATCH_DELAY_S,
        ),
        default=None,
    )
    voice_without_mouth: bool | None = metric(
        "A voice, and lips that rest for 1.5 s and more; of 3.6 s ago",
        unit="bool",
        good="false",
        incident=IncidentRule("voice_without_mouth", when=True, min_s=1.0, join_s=_PAUSE_S, delay_s=MISMATCH_DELAY_S),
        default=None,
    )
    sync_step: bool | None = metric(
        "The offset changed at once by 60 ms or more; of 5.6 s ago",
        unit="bool",
        good="false",
        incident=IncidentRule("sync_step", when=True, min_s=0.0, severity="warning", delay_s=COURSE_DELAY_S),
        default=None,
    )
    step_ms: float | None = metric("By how much, in the frame that says so", unit="ms", default=None)
    step_age_ms: float | None = metric("How long ago that was", unit="ms", range=(0, None), default=None)
    drift_ms_per_min: float | None = metric(
        "How fast offset_ms grows, since the last step, over at least one and at most ten minutes",
        unit="ms/min",
        default=None,
    )
    drift_error_ms_per_min: float | None = metric(
        "Half the interval around it that holds the truth in nine of ten", unit="ms/min", range=(0, None), default=None
    )
