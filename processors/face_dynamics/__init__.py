"""`face_dynamics`: how a face moves: pose, gaze, blinks, mouth and brows; whether it is alive, and still the same."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

import vision
from processors.face_dynamics.eyes import SHUT, Eyes, Figures
from processors.face_dynamics.geometry import brow_raise, gaze, mouth_width
from processors.face_dynamics.loops import LoopDetector, Repetition
from processors.face_dynamics.rigid import IdentityDrift, Jitter
from processors.face_dynamics.still import FrozenFace
from processors.face_landmarks import FaceLandmarks
from processors.face_landmarks.pose import angles_deg
from vision import Frame, IncidentRule, Processor, Result, metric

__all__ = ["FaceDynamics", "FaceDynamicsOptions", "FaceDynamicsProcessor"]

# What the default model adds on a still face with a grain of 1 to 2 code values, coded at 0.5 to 2.5 Mbit/s: 0.0012 to
# 0.0028 (uncoded noise of 4: 0.007)
_DETECTOR_FLOOR = 0.002

# Below these, a signal of the loop detector stands still: three angles in degrees, place in distances of the eyes,
# openness of the eyes
_STILL = np.array([0.4, 0.4, 0.4, 0.01, 0.01, 0.02])


@dataclass(frozen=True, slots=True)
class FaceDynamics(Result):
    """How a face moves. "Left" and "right" are the subject's own; ratios are to the distance of the outer eye corners
    unless they say otherwise.

    `blink_ms`, `blink_depth` and `blink_asymmetry` are measured on the picture that ends a blink, and on no other:
    their count in the summary is the number of blinks.
    """

    yaw_deg: float = metric(
        "Turn of the head: > 0 to the right edge of the picture, the subject's left", unit="deg", range=(-90, 90)
    )
    pitch_deg: float = metric("Nod of the head: > 0 up", unit="deg", range=(-180, 180))
    roll_deg: float = metric("Tilt of the head: > 0 counter-clockwise in the picture", unit="deg", range=(-180, 180))
    gaze_x: float | None = metric(
        "Place of the irises between the corners of the eyes: -1 to 1, > 0 to the right edge of the picture; a proxy,"
        " `None` with eyes shut",
        unit="1",
    )
    gaze_y: float | None = metric("The same across: > 0 up", unit="1")
    mouth_width: float = metric("Distance of the corners of the mouth", unit="1", range=(0, None))
    brow_raise_left: float = metric(
        "Distance of the brow's centre from the eye's, over that of both eyes' centres (THEval 2026)",
        unit="1",
        range=(0, None),
    )
    brow_raise_right: float = metric("The same on the right", unit="1", range=(0, None))
    eye_closure_left: float | None = metric(
        "How far the eye is closed: 0 as open as usual (90th percentile of 10 s), 1 shut", unit="1", range=(0, 1)
    )
    eye_closure_right: float | None = metric("The same on the right", unit="1", range=(0, 1))
    eyes_closed: bool | None = metric(
        "Both eyes are closed by more than 0.6",
        unit="bool",
        good="false",
        incident=IncidentRule("eyes_closed", when=True, min_s=1.0, severity="warning"),
    )
    blinking: bool | None = metric("A blink is under way", unit="bool")
    blink_ms: float | None = metric(
        "Length of the blink that ended, between the moments at which the lids were a third closed",
        unit="ms",
        range=(30, 600),
    )
    blink_depth: float | None = metric(
        "How far the eye closed in it that closed farther; half a blink stays below 0.6", unit="1", range=(0, 1)
    )
    blink_asymmetry: float | None = metric(
        "How much farther one eye closed in it than the other", unit="1", range=(0, 1), good="low"
    )
    blinks_per_min: float | None = metric(
        "Blinks in the last minute with a face; people: 17 at rest, 26 in conversation, 4.5 reading",
        unit="1/min",
        range=(0, None),
    )
    staring: bool | None = metric(
        "No blink for stare_s",
        unit="bool",
        good="false",
        incident=IncidentRule("no_blink", when=True, min_s=0.0, severity="warning"),
    )
    jitter: float | None = metric(
        "Trembling of the points that keep still on a face: RMS second difference of the last second, the head's motion"
        " and the detector's own share taken out",
        unit="1",
        range=(0, None),
        good="low",
    )
    identity_drift: float | None = metric(
        "Distance of the face's geometry from that of its first 3 s: RMS of the stable points, turned to the front;"
        " people who turn and talk stay below 0.05, another person has as much or more",
        unit="1",
        range=(0, None),
        good="low",
    )
    face_frozen: bool | None = metric(
        "Nothing in the face changes while the rest of the picture does",
        unit="bool",
        good="false",
        incident=IncidentRule("face_frozen", when=True, min_s=0.5),
    )
    loop_likeness: float | None = metric(
        "How like the head's motion and blinks are to what they were one period before, over the last minute",
        unit="1",
        range=(0, 1),
        good="low",
    )
    loop_s: float | None = metric("That period", unit="s", range=(0, None))
    looping: bool | None = metric(
        "loop_likeness is above loop_limit: the same seconds are played again and again",
        unit="bool",
        good="false",
        incident=IncidentRule("idle_loop", when=True, min_s=5.0, severity="warning"),
    )


class FaceDynamicsOptions(vision.Options):
    """Options of `face_dynamics`."""

    stare_s: float = Field(20, gt=0, description="Seconds without a blink after which a face stares.")
    loop_limit: float = Field(0.9, gt=0, le=1, description="loop_likeness above which the motion is a loop.")
    jitter_floor: float = Field(
        _DETECTOR_FLOOR, ge=0, description="What the detector itself adds to jitter on a face that stands still."
    )


class FaceDynamicsProcessor(Processor[FaceDynamics]):
    """How a face moves: pose, gaze, blinks, mouth, brows, jitter; frozen, looping or changed faces."""

    Options = FaceDynamicsOptions
    needs = (FaceLandmarks,)

    _memory: _Memory | None = None

    def process(self, frame: Frame, face: FaceLandmarks | None) -> FaceDynamics | None:
        """Measure the face of a picture."""
        if self._memory is None:
            self._memory = _Memory(self.options)
        if face is None or face.points_px is None or not face.inter_ocular_px:
            return None
        return self._memory.measure(frame, face)

    def reset(self, reason: str) -> None:
        """Forget all: what was usual of this face, too."""
        self._memory = None


class _Memory:
    """What has been seen of a face."""

    def __init__(self, options: FaceDynamicsOptions) -> None:
        self._options = options
        self._eyes = Eyes(options.stare_s)
        self._jitter, self._identity = Jitter(options.jitter_floor), IdentityDrift()
        self._loops, self._frozen = LoopDetector(_STILL), FrozenFace()

    def measure(self, frame: Frame, face: FaceLandmarks) -> FaceDynamics:
        """All figures of a picture with a face."""
        assert face.points_px is not None
        assert face.points_norm is not None
        assert face.pose_matrix is not None
        assert face.inter_ocular_px
        time_s, scale = frame.time_s, face.inter_ocular_px
        yaw, pitch, roll = angles_deg(face.pose_matrix)
        eyes = self._eyes.measure(time_s, face, yaw)
        closed = [eyes[side] or 0.0 for side in ("eye_closure_left", "eye_closure_right")]
        gaze_x, gaze_y = gaze(face.points_px) if max(closed) < SHUT else (None, None)
        raise_left, raise_right = brow_raise(face.points_px)
        drift = self._identity.add(time_s, _space_px(face, frame), face.pose_matrix)
        loop = self._loops.add(time_s, _signals(face, (yaw, pitch, roll)))
        return FaceDynamics(
            yaw_deg=yaw,
            pitch_deg=pitch,
            roll_deg=roll,
            gaze_x=gaze_x,
            gaze_y=gaze_y,
            mouth_width=mouth_width(face.points_px, scale),
            brow_raise_left=raise_left,
            brow_raise_right=raise_right,
            jitter=self._jitter.add(time_s, face.points_px, scale),
            identity_drift=drift,
            face_frozen=self._frozen.add(frame.picture, face),
            **eyes,
            **_loop_figures(loop, self._options.loop_limit),
        )


def _space_px(face: FaceLandmarks, frame: Frame) -> NDArray[np.float32]:
    """The points in px on all three axes, `(478, 3)`."""
    assert face.points_norm is not None
    picture = frame.picture
    return face.points_norm * np.array((picture.width, picture.height, picture.width), np.float32)


def _signals(face: FaceLandmarks, angles: tuple[float, float, float]) -> NDArray[np.float64]:
    """What a loop repeats: the head's angles and place, and the lids."""
    assert face.points_px is not None
    assert face.inter_ocular_px
    place = face.points_px[4] / face.inter_ocular_px  # the tip of the nose
    return np.array([*angles, *place, face.eye_openness or 0.0], np.float64)


def _loop_figures(loop: Repetition | None, limit: float) -> Figures:
    if loop is None:
        return {"loop_likeness": None, "loop_s": None, "looping": None}
    return {"loop_likeness": loop.likeness, "loop_s": loop.period_s, "looping": loop.likeness > limit}
