"""`lip_sync`: how far sound and lips are apart, how sure that is, and who of both stands still."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

import numpy as np
from pydantic import Field, model_validator

import vision
from processors.face_landmarks import FaceLandmarks
from processors.lip_sync.activity import STATE_DELAY_S, Activity, State
from processors.lip_sync.course import COURSE_DELAY_S, Course, Known, Verdict
from processors.lip_sync.estimator import BESIDE_S, Estimate, estimate
from processors.lip_sync.features import Floats, mouth_distances
from processors.lip_sync.gate import Gate, Reading, is_usable, spoken_s
from processors.lip_sync.history import History, Window
from processors.lip_sync.limits import LIMITS, LimitName
from processors.lip_sync.mismatch import MISMATCH_DELAY_S, Mismatch
from processors.lip_sync.model import load, shipped
from processors.lip_sync.result import LipSync
from processors.lip_sync.steps import KEPT_S, Steps
from processors.lip_sync.syncnet import Embedder, SyncNetEstimate, SyncNetTrack, network
from processors.lip_sync.tracker import Drift, Tracker
from processors.speech import SETTLED_AFTER_S, Speech
from vision import ClockQuality, Frame, Processor, Reads, StreamInfo

__all__ = ["LipSync", "LipSyncOptions", "LipSyncProcessor", "State"]

_SCORE_S = 0.5  # to each side of the moment of a score
_KEPT_S = 1.0  # beside what is needed, for sound that comes late
_MOST_APART_S = 0.2  # of lips without voice and voice without lips, in a window whose offset is of any worth
_HALF_PICTURE_S = 0.02  # SyncNet tells whole pictures of 25 a second
_STALE_S = 1.0  # an offset is of a stream that goes on


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
            mouth = _mouth(frame, face)
            self._history.see(frame.time_s, mouth)
            self._mismatch.see(frame.time_s, None if mouth is None else float(mouth[0]))
        self._history.hear(frame.sound)
        self._mismatch.hear(frame.sound)
        if self._syncnet is not None:
            _follow(self._syncnet, frame, face)
        segments_s = _segments(speech)
        known_s = self._history.known_s
        if known_s - self._tried_s >= self.options.every_s:
            self._tried_s = known_s
            self._try(known_s - BESIDE_S, segments_s, frame.clock)
        elif frame.time_s - known_s > _STALE_S:
            self._forget_window()
        self._steps.place(frame.time_s, self._history, self._course)
        self._history.forget_before(frame.time_s - max(self.options.window_s + 2 * BESIDE_S, KEPT_S) - _KEPT_S)
        return self._result(frame, speech, self._state(frame, segments_s), segments_s)

    def reset(self, reason: str) -> None:
        """Begin anew."""
        self._gate.forget()
        self._begin()

    def shift_sound(self, step_s: float) -> None:
        """What was heard belongs elsewhere, and so do the offsets that were found."""
        for each in (self._history, self._tracker, self._steps, self._course, self._mismatch):
            each.shift(step_s)
        self._gate.forget()
        if self._syncnet is not None:
            self._syncnet.shift(step_s)
        self._reading = None

    def _begin(self) -> None:
        window_s = self.options.window_s
        self._history = History()
        self._tracker = Tracker(window_s)
        self._steps, self._course = Steps(), Course(window_s)
        self._activity = Activity()
        self._mismatch = Mismatch()
        self._verdicts = [Verdict(LIMITS[name]) for name in (self.options.limits, "itu_acceptable")]
        self._tried_s = float("-inf")
        self._syncnet = None
        if self._embedder is not None:
            self._syncnet = SyncNetTrack(self._embedder, window_s, self.options.syncnet_stride)
        self._drift = None
        self._forget_window()

    def _forget_window(self) -> None:
        self._window = self._found = self._reading = self._by_syncnet = None

    def _try(self, end_s: float, segments_s: Floats, clock: ClockQuality) -> None:
        """Look at the window that ends there."""
        self._forget_window()
        window = self._history.window(end_s - self.options.window_s, end_s)
        if window is None:
            return
        voiced_s = spoken_s(segments_s, window.start_s, window.end_s)
        if not is_usable(window, voiced_s) or self._activity.apart_s(window.start_s, window.end_s) > _MOST_APART_S:
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
        self._follow(self._reading, clock.error_ms)

    def _follow(self, reading: Reading, clock_error_ms: float | None) -> None:
        """What a reading says of drift, steps, and when what was how."""
        self._tracker.add(reading)
        step = self._tracker.take_step()
        self._steps.add(step)
        if clock_error_ms is not None and clock_error_ms <= self.options.max_clock_error_ms:
            told = [reading] if reading.is_believed else []
            late = [] if step is None else [each for each in step.readings if not each.is_believed]
            for each in (*late, *told):
                self._course.add(_known(each, clock_error_ms))
        if reading.is_believed:
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

    def _result(self, frame: Frame, speech: Speech | None, state: State | None, segments_s: Floats) -> LipSync:
        found, by_syncnet = self._found, self._by_syncnet
        offset_ms, error_ms = self._offset_ms(frame)
        still, mute = self._mismatch.at(frame.time_s - MISMATCH_DELAY_S, segments_s, frame.time_s)
        then_s = frame.time_s - COURSE_DELAY_S
        here = self._course.at(then_s)
        out, unacceptable = (verdict.of(here) for verdict in self._verdicts)
        step = self._steps.take(then_s)
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
            mouth_without_voice=mute,
            voice_without_mouth=still,
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


def _known(reading: Reading, clock_error_ms: float) -> Known:
    return Known(reading.time_s, 1000 * reading.offset_s, 1000 * reading.error_s + clock_error_ms)


def _segments(speech: Speech | None) -> Floats:
    return np.zeros((0, 2)) if speech is None else speech.segments_s[~np.isnan(speech.segments_s[:, 0])]


def _mouth(frame: Frame, face: FaceLandmarks | None) -> Floats | None:
    # what was damaged on the way says nothing of the avatar
    if face is None or face.points_norm is None or frame.corrupt:
        return None
    return mouth_distances(face.points_norm, frame.picture.width, frame.picture.height)
