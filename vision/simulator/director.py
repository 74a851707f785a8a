"""Decides what each picture shows, plants the picture faults, and notes the truth."""

from dataclasses import dataclass, replace

import numpy as np

from vision.simulator.effects import PICTURE_EFFECTS
from vision.simulator.faults import FaultPlan
from vision.simulator.picture import Plane
from vision.simulator.portrait import Expression
from vision.simulator.settings import Fault
from vision.simulator.show import Show
from vision.simulator.truth import Truth

_MUTE_KINDS = ("mouth_moving", "silence", "audio_gap")


@dataclass(frozen=True, slots=True)
class Shot:
    """A picture before encoding: I420 (H * 3 / 2, W), good until the next shot is taken."""

    i420: Plane
    truth: Truth


@dataclass(frozen=True, slots=True)
class _Still:
    """The picture that a freeze repeats."""

    fault: Fault
    i420: Plane
    face: Expression


class Director:
    """Takes the pictures of one viewer in order."""

    def __init__(self, show: Show, faults: FaultPlan, seed: int) -> None:
        self._show = show
        self._faults = faults
        self._still: _Still | None = None
        self._random = np.random.default_rng((seed, 4))

    def shot(self, time_s: float) -> Shot | None:
        """The picture at a media time; `None` where it is to be dropped."""
        if self._faults.active("drop", time_s):
            return None
        i420, face = self._frozen(time_s) or self._painted(time_s)
        for kind, effect in PICTURE_EFFECTS.items():
            if self._faults.active(kind, time_s):
                i420 = effect(i420, self._random)
        return Shot(i420, self._truth(time_s, face))

    def _painted(self, time_s: float) -> tuple[Plane, Expression]:
        face = self._face(time_s)
        return self._show.picture(face, time_s), face

    def _face(self, time_s: float) -> Expression:
        if self._faults.active("mouth_still", time_s):
            return replace(self._show.face(time_s), mouth_opening=0.0)
        if self._faults.active("mouth_moving", time_s):
            return self._show.mime(time_s)
        return self._show.face(time_s)

    def _frozen(self, time_s: float) -> tuple[Plane, Expression] | None:
        """During a freeze: the picture with which it began."""
        fault = self._faults.active("freeze", time_s)
        if fault is None:
            self._still = None
            return None
        if self._still is None or self._still.fault is not fault:
            i420, face = self._painted(time_s)
            self._still = _Still(fault, i420.copy(), face)
        return self._still.i420, self._still.face

    def _truth(self, time_s: float, face: Expression) -> Truth:
        kinds = self._faults.kinds_at(time_s)
        moment = np.array([time_s])
        speaking = bool(self._show.speaking(moment - self._faults.offset_s(moment))[0])
        truth = Truth(round(time_s, 6), face.mouth_opening, face.blink, speaking, kinds)
        return replace(truth, speaking=False) if set(kinds) & set(_MUTE_KINDS) else truth
