"""`lip_sync`: how far sound and lips are apart, how sure that is, and who of both stands still."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import numpy as np
from pydantic import Field, model_validator

import vision
from processors.face_landmarks import FaceLandmarks
from processors.lip_sync.activity import STATE_DELAY_S, Activity, State
from processors.lip_sync.estimator import BESIDE_S, Estimate, estimate
from processors.lip_sync.features import Floats, mouth_distances
from processors.lip_sync.gate import Gate, Reading, is_usable, spoken_s
from processors.lip_sync.history import History, Window
from processors.lip_sync.limits import LIMITS, LimitName, Verdict
from processors.lip_sync.model import load, shipped
from processors.lip_sync.syncnet import Embedder, SyncNetEstimate, SyncNetTrack, network
from processors.lip_sync.tracker import Drift, Tracker
from processors.speech import SETTLED_AFTER_S, Speech
from vision import Frame, IncidentRule, Processor, Readout, Reads, Result, StreamInfo, metric

__all__ = ["LipSync", "LipSyncOptions", "LipSyncProcessor", "State"]

# how long after sound went out of time, or in again, an offset says so, where `window_s` is 3: half a window, what is
# beside it, and until most windows agree; as benchmarks/fault_detection measures it
_KNOWN_AFTER_S = 4.2
_SCORE_S = 0.5  # to each side of the moment of a score
_KEPT_S = 2.0  # beside what a window needs, for sound that comes late
_HALF_PICTURE_S = 0.02  # SyncNet tells whole pictures of 25 a second
_STALE_S = 1.0  # an offset is of a stream that goes on
_STATES = ("idle", "listening", "speaking", "lips without voice", "voice without lips", "no face")  # of `State`


@dataclass(frozen=True, slots=True)
class LipSync(Result):
    """What was known of lips and sound when the frame came.

    The offset is of the content: what the clock knows of the transport is taken out, and by how much the clock may be
    wrong is in `offset_error_ms`. It is of a window whose middle was `age_ms` ago. `None` where it cannot be told: less
    than a second of voice in the window, a face in less than 80 % of it, lips that rest, a voice that is not the
    mouth's, windows that disagree, or a clock that is not good enough. The state is of 1.1 s ago, the score of
    `score_age_ms` ago.
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
        "offset_ms and all its interval exceed `limits`, until the offset no longer does",
        unit="bool",
        good="false",
        incident=IncidentRule("out_of_sync", when=True, min_s=1.0, severity="warning", delay_s=_KNOWN_AFTER_S),
        default=None,
    )
    unacceptable_sync: bool | None = metric(
        "The same for the limits of acceptability of ITU-R BT.1359: 90 ms early, 185 ms late",
        unit="bool",
        good="false",
        incident=IncidentRule("unacceptable_sync", when=True, min_s=1.0, delay_s=_KNOWN_AFTER_S),
        default=None,
    )
    mouth_without_voice: bool | None = metric(
        "The lips move, and no voice is near",
        unit="bool",
        good="false",
        incident=IncidentRule("mouth_without_voice", when=True, min_s=1.0, severity="warning", delay_s=STATE_DELAY_S),
        default=None,
    )
    voice_without_mouth: bool | None = metric(
        "A voice, and the lips rest",
        unit="bool",
        good="false",
        incident=IncidentRule("voice_without_mouth", when=True, min_s=1.0, delay_s=STATE_DELAY_S),
        default=None,
    )
    sync_step: bool | None = metric(
        "The offset was found to have changed at once by 60 ms or more",
        unit="bool",
        good="false",
        incident=IncidentRule("sync_step", when=True, min_s=0.0, severity="warning", delay_s=_KNOWN_AFTER_S),
        default=None,
    )
    step_ms: float | None = metric("By how much, in the frame that knows it first", unit="ms", default=None)
    step_age_ms: float | None = metric("How long ago that was", unit="ms", range=(0, None), default=None)
    drift_ms_per_min: float | None = metric(
        "How fast offset_ms grows, since the last step, over at least one and at most ten minutes",
        unit="ms/min",
        default=None,
    )
    drift_error_ms_per_min: float | None = metric(
        "Half the interval around it that holds the truth in nine of ten", unit="ms/min", range=(0, None), default=None
    )


class LipSyncOptions(vision.Options):
    """Options of `lip_sync`."""

    window_s: float = Field(3.0, ge=2, le=6, description="Seconds of sound and lips that one offset is taken from.")
    every_s: float = Field(0.45, ge=0.1, le=0.5, description="Seconds from one window to the next.")
    limits: LimitName = Field(
        "itu_detectable",
        description="Limits of `out_of_sync`: ITU-R BT.1359 (detectable: 45 ms early, 125 late; acceptable: 90, 185),"
        " EBU R37 (40, 60) or ATSC IS-191 (15, 45).",
    )
    min_confidence: float = Field(
        0.3, ge=0, le=1, description="Confidence from which an offset is told, unless the windows before say otherwise."
    )
    max_clock_error_ms: float = Field(
        100, ge=0, description="No offset is told where the clock's error is greater or not known."
    )
    method: Literal["landmarks", "syncnet"] = Field(
        "landmarks",
        description="What tells the offset: landmarks against bands of the sound, or SyncNet (an extra), in steps of 40"
        " ms and by half a core and more.",
    )
    syncnet_model: Path | None = Field(None, description="Your copy of `syncnet_v2.model`, for `method: syncnet`.")
    syncnet_stride: int = Field(5, ge=1, le=25, description="SyncNet tries one picture in so many, of 25 a second.")
    min_lse_c: float = Field(3.0, ge=0, description="LSE-C from which SyncNet's offset is believed.")
    model_path: Path | None = Field(
        None, description="Weights (.npz) of your own, by processors.lip_sync.train, instead of those that come along."
    )

    @model_validator(mode="after")
    def _has_model(self) -> Self:
        if self.method == "syncnet" and self.syncnet_model is None:
            raise ValueError("`method: syncnet` needs `syncnet_model`, the path of your copy of syncnet_v2.model")
        return self


class LipSyncProcessor(Processor[LipSync]):
    """How far sound and lips are apart, how sure that is, drift and steps; lips without voice, voice without lips."""

    Options = LipSyncOptions
    needs = (FaceLandmarks, Speech)
    reads = Reads.BOTH

    _tried_s = float("-inf")
    _window: Window | None = None
    _found: Estimate | None = None
    _reading: Reading | None = None
    _drift: Drift | None = None
    _embedder: Embedder | None = None
    _by_syncnet: SyncNetEstimate | None = None

    def __init__(self, options: LipSyncOptions | None = None) -> None:
        super().__init__(options)
        self._begin()

    def setup(self, info: StreamInfo) -> None:
        """Load the weights."""
        path = self.options.model_path
        self._model = shipped() if path is None else load(path)
        self._gate = Gate(self._model.calibration, self.options.min_confidence)
        if self.options.syncnet_model is not None and self.options.method == "syncnet":
            self._embedder = network(self.options.syncnet_model)
            self._begin()

    def process(self, frame: Frame, face: FaceLandmarks | None, speech: Speech | None) -> LipSync:
        """Take a frame; what is known with it."""
        if frame.maybe_picture is not None:
            self._history.see(frame.time_s, _mouth(frame, face))
        self._history.hear(frame.sound)
        if self._syncnet is not None:
            _follow(self._syncnet, frame, face)
        segments_s = _segments(speech)
        known_s = self._history.known_s
        if known_s - self._tried_s >= self.options.every_s:
            self._tried_s = known_s
            self._try(known_s - BESIDE_S, segments_s)
        elif frame.time_s - known_s > _STALE_S:
            self._forget_window()
        self._history.forget_before(frame.time_s - self.options.window_s - 2 * BESIDE_S - _KEPT_S)
        return self._result(frame, speech, self._state(frame, segments_s))

    def reset(self, reason: str) -> None:
        """Begin anew."""
        self._gate.forget()
        self._begin()

    def shift_sound(self, step_s: float) -> None:
        """What was heard belongs elsewhere, and so do the offsets that were found."""
        self._history.shift(step_s)
        self._tracker.shift(step_s)
        self._gate.forget()
        if self._syncnet is not None:
            self._syncnet.shift(step_s)
        self._reading = None

    def _begin(self) -> None:
        window_s = self.options.window_s
        self._history = History()
        self._tracker = Tracker(window_s)
        self._activity = Activity()
        self._verdicts = [Verdict(LIMITS[name]) for name in (self.options.limits, "itu_acceptable")]
        self._tried_s = float("-inf")
        self._syncnet = None
        if self._embedder is not None:
            self._syncnet = SyncNetTrack(self._embedder, window_s, self.options.syncnet_stride)
        self._drift = None
        self._forget_window()

    def _forget_window(self) -> None:
        self._window = self._found = self._reading = self._by_syncnet = None

    def _try(self, end_s: float, segments_s: Floats) -> None:
        """Look at the window that ends there."""
        self._forget_window()
        window = self._history.window(end_s - self.options.window_s, end_s)
        if window is None:
            return
        voiced_s = spoken_s(segments_s, window.start_s, window.end_s)
        if not is_usable(window, voiced_s):
            return
        self._window = window
        if self._syncnet is None:
            self._found = estimate(self._model, window.stretch, window.part, voiced_s)
            self._reading = self._gate.judge(window.middle_s, self._found)
        else:
            self._by_syncnet = self._syncnet.estimate()
            if self._by_syncnet is None:
                return
            self._reading = self._of_syncnet(window.middle_s, self._by_syncnet)
        self._tracker.add(self._reading)
        if self._reading.is_believed:
            self._drift = self._tracker.drift()

    def _of_syncnet(self, time_s: float, found: SyncNetEstimate) -> Reading:
        is_believed = found.lse_c >= self.options.min_lse_c
        return Reading(time_s, found.offset_ms / 1000, _HALF_PICTURE_S, float(is_believed), is_believed)

    def _state(self, frame: Frame, segments_s: Floats) -> State | None:
        at_s = frame.time_s - STATE_DELAY_S
        # where sound or pictures stall, nothing is said of what they would have shown
        if not self._history.begun_s <= at_s <= self._history.known_s - SETTLED_AFTER_S / 2:
            return None
        return self._activity.at(at_s, self._history, segments_s)

    def _result(self, frame: Frame, speech: Speech | None, state: State | None) -> LipSync:
        found, by_syncnet, step = self._found, self._by_syncnet, self._tracker.take_step()
        offset_ms, error_ms = self._offset_ms(frame)
        out, unacceptable = self._exceeds(offset_ms, error_ms)
        score, score_age_ms = self._score(frame.time_s)
        return LipSync(
            offset_ms=offset_ms,
            offset_error_ms=error_ms,
            confidence=None if found is None or self._reading is None else self._reading.confidence,
            margin=None if found is None else found.margin,
            lse_d=None if by_syncnet is None else by_syncnet.lse_d,
            lse_c=None if by_syncnet is None else by_syncnet.lse_c,
            age_ms=None if self._window is None else 1000 * (frame.time_s - self._window.middle_s),
            score=score,
            score_age_ms=score_age_ms,
            state=None if state is None else int(state),
            speech=None if speech is None else speech.speaking,
            out_of_sync=out,
            unacceptable_sync=unacceptable,
            mouth_without_voice=None if state is None else state == State.SILENT_MOVING,
            voice_without_mouth=None if state is None else state == State.TALKING_FROZEN,
            sync_step=None if state is None and step is None else step is not None,
            step_ms=None if step is None else 1000 * step.step_s,
            step_age_ms=None if step is None else 1000 * max(frame.time_s - step.time_s, 0.0),
            drift_ms_per_min=None if self._drift is None else self._drift.ms_per_min,
            drift_error_ms_per_min=None if self._drift is None else self._drift.error_ms_per_min,
        )

    def _offset_ms(self, frame: Frame) -> tuple[float | None, float | None]:
        clock_ms = frame.clock.error_ms
        if self._reading is None or not self._reading.is_believed:
            return None, None
        if clock_ms is None or clock_ms > self.options.max_clock_error_ms:
            return None, None
        return 1000 * self._reading.offset_s, 1000 * self._reading.error_s + clock_ms

    def _exceeds(self, offset_ms: float | None, error_ms: float | None) -> tuple[bool | None, bool | None]:
        if offset_ms is None or error_ms is None:
            return None, None
        chosen, acceptable = (verdict.of(offset_ms, error_ms) for verdict in self._verdicts)
        return chosen, acceptable

    def _score(self, now_s: float) -> tuple[float | None, float | None]:
        """Of the newest moment that has half a second of the window behind it, as frames and windows go on."""
        if self._window is None or self._found is None:
            return None, None
        at_s = now_s - BESIDE_S - _SCORE_S - self.options.every_s
        times_s = self._window.stretch.times_s[self._window.part]
        index = int(np.clip(np.searchsorted(times_s, at_s), 0, len(times_s) - 1))
        return float(self._found.scores[index]), 1000 * max(now_s - float(times_s[index]), 0.0)


def _follow(syncnet: SyncNetTrack, frame: Frame, face: FaceLandmarks | None) -> None:
    syncnet.hear(frame.sound.samples_16k, frame.sound.start_16k_s)
    if frame.maybe_picture is None:
        return
    box = None
    if face is not None and face.points_px is not None and not frame.corrupt:
        box = (*face.points_px.min(axis=0), *face.points_px.max(axis=0))
    syncnet.see(frame.time_s, frame.picture, box)


def _segments(speech: Speech | None) -> Floats:
    return np.zeros((0, 2)) if speech is None else speech.segments_s[~np.isnan(speech.segments_s[:, 0])]


def _mouth(frame: Frame, face: FaceLandmarks | None) -> Floats | None:
    # what was damaged on the way says nothing of the avatar
    if face is None or face.points_norm is None or frame.corrupt:
        return None
    return mouth_distances(face.points_norm, frame.picture.width, frame.picture.height)
