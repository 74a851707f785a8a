"""How lips, brows and head move: three of THEval's measures, over a window and over the whole run."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from processors.face_dynamics.geometry import brow_raise
from processors.face_landmarks import FaceLandmarks
from processors.face_landmarks.mesh import LIPS
from processors.face_landmarks.pose import angles_deg
from processors.talking_head.moments import Moments

__all__ = ["SQUARE_PX", "Motion", "MotionFigures", "Stance", "stance_of"]

Vector = NDArray[np.float64]

SQUARE_PX = 256.0
"""THEval makes every picture so wide and so high."""

_FIRST, _SECOND = np.triu_indices(len(LIPS), 1)
_ROWS = np.array(LIPS)
_PAIRS = len(_FIRST)  # 780
_ANGLES, _CENTRE = slice(_PAIRS, _PAIRS + 3), slice(_PAIRS + 3, _PAIRS + 5)
_LEAST_S = 1.0  # what a face does in less time is not worth a figure


@dataclass(frozen=True, slots=True)
class Stance:
    """What of one face is compared over time.

    :ivar places: `(785,)`: the distances between the lips' points, px of a picture of 256 x 256; yaw, pitch, roll,
        degrees; the middle of the face's box, px.
    :ivar brows: `(2,)`: how far the brows are from the eyes, in distances of the eyes; left, right.
    """

    places: Vector
    brows: Vector


def stance_of(face: FaceLandmarks) -> Stance | None:
    """What of a face is compared; `None` without one."""
    if face.points_px is None or face.points_norm is None or face.pose_matrix is None:
        return None
    lips = face.points_norm[_ROWS, :2].astype(np.float64) * SQUARE_PX
    apart = lips[_FIRST] - lips[_SECOND]
    assert face.box_x_px is not None
    assert face.box_y_px is not None
    assert face.box_width_px is not None
    assert face.box_height_px is not None
    centre = (face.box_x_px + face.box_width_px / 2, face.box_y_px + face.box_height_px / 2)
    places = np.concatenate([np.hypot(apart[:, 0], apart[:, 1]), angles_deg(face.pose_matrix), centre])
    return Stance(places, np.array(brow_raise(face.points_px), np.float64))


@dataclass(frozen=True, slots=True)
class MotionFigures:
    """See `TalkingHead`; `None`: seen for less than a second."""

    lip_dynamics: float | None
    eyebrow_dynamics: float | None
    head_motion: float | None


@dataclass(frozen=True, slots=True)
class _Seen:
    """A face, and the step to it from the one before; `None`: there was none."""

    time_s: float
    places: Vector
    step: Vector | None


class Motion:
    """Follows a face; what it did in the last `window_s`, and since the beginning.

    Pictures without a face are left out, and the next one is compared with the last one that had one, as THEval does.
    """

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._seen: deque[_Seen] = deque()
        self._window, self._run = _Spread(), _Spread()
        self._last: Stance | None = None
        self._run_s = 0.0

    def add(self, time_s: float, stance: Stance) -> None:
        """Take the face of a picture."""
        step = None if self._last is None else _step(self._last, stance)
        if self._seen:
            self._run_s += max(time_s - self._seen[-1].time_s, 0.0)
        self._last = stance
        seen = _Seen(time_s, stance.places, step)
        self._run.add(seen)
        # a window begins with a face that comes from nowhere
        self._seen.append(seen if self._seen else replace(seen, step=None))
        self._window.add(self._seen[-1])
        self.forget_before(time_s - self._window_s)

    def forget_before(self, time_s: float) -> None:
        """Let the window begin there."""
        while self._seen and self._seen[0].time_s < time_s:
            self._window.remove(self._seen.popleft())
            if self._seen and self._seen[0].step is not None:
                self._window.remove_step(self._seen[0])
                self._seen[0] = replace(self._seen[0], step=None)

    def cut(self) -> None:
        """What comes next does not continue what came before: no step leads there, and the window begins anew."""
        self._seen.clear()
        self._window = _Spread()
        self._last = None

    def of_window(self) -> MotionFigures:
        """The last `window_s`."""
        seen_s = self._seen[-1].time_s - self._seen[0].time_s if self._seen else 0.0
        return self._window.figures(seen_s)

    def of_run(self) -> MotionFigures:
        """All so far."""
        return self._run.figures(self._run_s)


class _Spread:
    """Moments of places and steps."""

    def __init__(self) -> None:
        self._places = Moments(_PAIRS + 5)
        self._steps = Moments(5)

    def add(self, seen: _Seen) -> None:
        self._places.add(seen.places)
        if seen.step is not None:
            self._steps.add(seen.step)

    def remove(self, seen: _Seen) -> None:
        self._places.remove(seen.places)
        self.remove_step(seen)

    def remove_step(self, seen: _Seen) -> None:
        if seen.step is not None:
            self._steps.remove(seen.step)

    def figures(self, seen_s: float) -> MotionFigures:
        if seen_s < _LEAST_S or not self._steps.count:
            return MotionFigures(None, None, None)
        variance = self._places.variance
        return MotionFigures(
            lip_dynamics=float(np.sqrt(variance[:_PAIRS]).mean()),
            eyebrow_dynamics=float(self._steps.mean[3:].mean()),
            head_motion=_head_motion(variance[_ANGLES], self._steps.variance[:3], variance[_CENTRE]),
        )


def _step(before: Stance, after: Stance) -> Vector:
    """By how much the angles differ, and by how much each brow has moved; `(5,)`."""
    return np.concatenate([(after.places - before.places)[_ANGLES], np.abs(after.brows - before.brows)])


def _head_motion(angles: Vector, steps: Vector, centre: Vector) -> float:
    """From variances: THEval adds px^2 to degrees^3."""
    return math.sqrt(float(np.sqrt(angles).mean() * steps.mean() + centre.mean()))
