"""`talking_head`: how alive and how well dubbed a head is: measures of THEval (2026) on a stream."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field

import vision
from processors.face_landmarks import FaceLandmarks
from processors.speech import Speech
from processors.talking_head.dialogue import Dialogue, DialogueFigures, mouth_of
from processors.talking_head.motion import Motion, MotionFigures, stance_of
from vision import Frame, Processor, Reads, Result, metric

__all__ = ["TalkingHead", "TalkingHeadOptions", "TalkingHeadProcessor"]

_LIPS = "Lip dynamics: spread of the distances between the 40 points of the lips, px of a picture made 256 x 256"
_BROWS = "Eyebrow dynamics: how far a brow moves against its eye from picture to picture, in distances of the eyes"
_HEAD = "Head motion: root of spread of angles (deg) x variance of their steps + variance of the face's place (px)"
_SILENT = "Silent lip stability: median distance of the mouth's opening from its mean, in silences from 0.3 s on"
_SYNC = "Lip-sync: mean distance of mouth opening from loudness in speech, each scaled to 0..1"


@dataclass(frozen=True, slots=True)
class TalkingHead(Result):
    """Five measures of THEval, each over the last `window_s` and, with `run_`, over the run so far.

    They are what THEval gives for a recording of that time; what people have lies in the middle, not at an end, and
    THEval scores by the distance from it. Its own means over real footage: lip dynamics 1.717, eyebrow dynamics
    0.00678, head motion 18.47, silent lip stability 0.0263, lip-sync 0.2528. Lip dynamics and head motion depend on
    how large the face is in the picture, eyebrow dynamics on the picture rate.

    `None`: seen for less than a second; no silence of 0.3 s with a face; speech in less than a tenth of the pictures.
    `run_silent_lip_stability` and `run_lip_sync` are of the last ten minutes.
    """

    lip_dynamics: float | None = metric(_LIPS, unit="1", range=(0, None), default=None)
    eyebrow_dynamics: float | None = metric(_BROWS, unit="1", range=(0, None), default=None)
    head_motion: float | None = metric(_HEAD, unit="1", range=(0, None), default=None)
    silent_lip_stability: float | None = metric(_SILENT, unit="1", range=(0, None), default=None)
    lip_sync: float | None = metric(_SYNC, unit="1", range=(0, 1), default=None)
    run_lip_dynamics: float | None = metric(f"{_LIPS}; of the run", unit="1", range=(0, None), default=None)
    run_eyebrow_dynamics: float | None = metric(f"{_BROWS}; of the run", unit="1", range=(0, None), default=None)
    run_head_motion: float | None = metric(f"{_HEAD}; of the run", unit="1", range=(0, None), default=None)
    run_silent_lip_stability: float | None = metric(f"{_SILENT}; of the run", unit="1", range=(0, None), default=None)
    run_lip_sync: float | None = metric(f"{_SYNC}; of the run", unit="1", range=(0, 1), default=None)


class TalkingHeadOptions(vision.Options):
    """Options of `talking_head`."""

    window_s: float = Field(10, ge=2, le=120, description="Seconds of which the figures without `run_` are.")


class TalkingHeadProcessor(Processor[TalkingHead]):
    """THEval's lip, brow and head dynamics, silent lip stability and lip-sync."""

    Options = TalkingHeadOptions
    needs = (FaceLandmarks, Speech)
    reads = Reads.BOTH

    def __init__(self, options: TalkingHeadOptions | None = None) -> None:
        super().__init__(options)
        self._begin()

    def process(self, frame: Frame, face: FaceLandmarks | None, speech: Speech | None) -> TalkingHead:
        """Take a frame; the figures up to it."""
        if frame.maybe_picture is not None:
            self._see(frame, face)
        if speech is not None:
            self._dialogue.hear(frame.sound, speech.segments_s)
        self._motion.forget_before(frame.time_s - self.options.window_s)
        return _result(
            self._motion.of_window(),
            self._dialogue.of_window(frame.time_s),
            self._motion.of_run(),
            self._dialogue.of_run(frame.time_s),
        )

    def reset(self, reason: str) -> None:
        """The window begins anew; the run goes on, unless pixels are no longer what they were."""
        if reason == "resolution":
            self._begin()
        self._motion.cut()
        self._dialogue.cut()

    def shift_sound(self, step_s: float) -> None:
        """Lips were paired with the wrong sound so far."""
        self._dialogue.shift(step_s)

    def _begin(self) -> None:
        self._motion = Motion(self.options.window_s)
        self._dialogue = Dialogue(self.options.window_s)

    def _see(self, frame: Frame, face: FaceLandmarks | None) -> None:
        # what was damaged on the way says nothing of the avatar
        is_shown = face is not None and not frame.corrupt
        stance = stance_of(face) if face is not None and is_shown else None
        if stance is not None:
            self._motion.add(frame.time_s, stance)
        self._dialogue.see(frame.time_s, mouth_of(face) if face is not None and is_shown else None)


def _result(
    motion: MotionFigures, dialogue: DialogueFigures, run_motion: MotionFigures, run_dialogue: DialogueFigures
) -> TalkingHead:
    return TalkingHead(
        lip_dynamics=motion.lip_dynamics,
        eyebrow_dynamics=motion.eyebrow_dynamics,
        head_motion=motion.head_motion,
        silent_lip_stability=dialogue.silent_lip_stability,
        lip_sync=dialogue.lip_sync,
        run_lip_dynamics=run_motion.lip_dynamics,
        run_eyebrow_dynamics=run_motion.eyebrow_dynamics,
        run_head_motion=run_motion.head_motion,
        run_silent_lip_stability=run_dialogue.silent_lip_stability,
        run_lip_sync=run_dialogue.lip_sync,
    )
