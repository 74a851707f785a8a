"""Decides what each picture shows, plants the picture faults, and notes the truth."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from vision.simulator.effects import PICTURE_EFFECTS
from vision.simulator.faults import FaultPlan
from vision.simulator.performance import Performance
from vision.simulator.picture import Painter, Plane, drawn
from vision.simulator.portrait import Expression
from vision.simulator.settings import Fault
from vision.simulator.speech import Speech
from vision.simulator.truth import Truth

LATE_S = 0.3
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

    def __init__(
        self, performance: Performance, speech: Speech, faults: FaultPlan, painter: Callable[[], Painter]
    ) -> None:
        self._performance = performance
        self._speech = speech
        self._faults = faults
        self._make_painter = painter
        self._painter: Painter | None = None
        self._still: _Still | None = None
        self._random = np.random.default_rng((performance.seed, 4))

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
        if self._painter is None:
            self._painter = self._make_painter()
        face = drawn(self._expression(time_s))
        x, y = self._performance.sway(np.array([time_s]))
        return self._painter.paint(face, (float(x[0]), float(y[0]))), face

    def _expression(self, time_s: float) -> Expression:
        moment = np.array([time_s])
        blink = float(self._performance.blink(moment)[0])
        if self._faults.active("mouth_still", time_s):
            return Expression(0.0, blink)
        if self._faults.active("mouth_moving", time_s):
            return Expression(float(self._performance.mouth_opening(moment)[0]), blink)
        return Expression(float(self._speech.mouth_opening(moment)[0]), blink)

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
        speaking = bool(self._speech.speaking(np.array([time_s]))[0])
        truth = Truth(round(time_s, 6), face.mouth_opening, face.blink, speaking, kinds)
        return replace(truth, speaking=False) if set(kinds) & set(_MUTE_KINDS) else truth
