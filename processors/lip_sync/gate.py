"""Which windows can say anything of the offset, and what they say is to be believed."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import numpy as np

from processors.lip_sync.estimator import Estimate, margin_of
from processors.lip_sync.features import HOP_S, Floats
from processors.lip_sync.history import Window
from processors.lip_sync.model import Calibration

__all__ = ["Gate", "Reading", "is_usable", "spoken_s"]

_LEAST_SPOKEN_S, _LEAST_SEEN, _LEAST_HEARD = 1.0, 0.8, 0.8
_LEAST_MOVEMENT = 0.004  # below, a mouth rests: what is left is the jitter of the points
_SUSTAINED_S = 3.0  # how much older the windows may be that are heard beside the last one
_SAME = 4  # hops; peaks of two windows that are no farther apart are of one offset
_LEAST_ERROR_S = 0.005  # half a hop
_SUREST = 30.0  # log odds, beyond which the exponential says nothing more


@dataclass(frozen=True, slots=True)
class Reading:
    """What a window's estimate is worth.

    :ivar time_s: the window's middle.
    :ivar error_s: half the interval that holds the truth in nine of ten.
    :ivar confidence: probability that the offset is right, 0..1, right and wrong being as likely before.
    :ivar is_believed: it is sure enough, and the windows before it do not say otherwise.
    """

    time_s: float
    offset_s: float
    error_s: float
    confidence: float
    is_believed: bool


class Gate:
    """Weighs each window together with those before it: what agrees over more sound is surer.

    :param least_confidence: from which an estimate is believed.
    """

    def __init__(self, calibration: Calibration, least_confidence: float) -> None:
        self._calibration, self._least_confidence = calibration, least_confidence
        self._recent: deque[tuple[float, Estimate]] = deque()

    def forget(self) -> None:
        """Begin anew."""
        self._recent.clear()

    def judge(self, time_s: float, found: Estimate) -> Reading:
        """Take the estimate of the window with this middle."""
        evidence = self.weigh(time_s, found)
        calibration = self._calibration
        log_odds = float(evidence @ calibration.gate[:-1] + calibration.gate[-1])
        confidence = 1 / (1 + math.exp(-max(min(log_odds, _SUREST), -_SUREST)))
        error_s = max(calibration.error_s / math.sqrt(max(found.voiced_s, HOP_S)), _LEAST_ERROR_S)
        is_believed = confidence >= self._least_confidence and float(evidence[-1]) > 0
        return Reading(time_s, found.offset_s, error_s, confidence, is_believed)

    def weigh(self, time_s: float, found: Estimate) -> Floats:
        """Take an estimate; the evidence for it, `(5,)`.

        Its margin, its peak, the logarithms of its spread and of the voice in it, and its margin in the mean of the
        last windows.
        """
        while self._recent and time_s - self._recent[0][0] > _SUSTAINED_S:
            self._recent.popleft()
        self._recent.append((time_s, found))
        spread, voiced = math.log(found.spread_s + HOP_S), math.log(max(found.voiced_s, HOP_S))
        return np.array((found.margin, found.peak, spread, voiced, self._sustained(found)))

    def _sustained(self, found: Estimate) -> float:
        curves, voiced_s = zip(*((each.curve, each.voiced_s) for _, each in self._recent), strict=True)
        mean = np.average(curves, axis=0, weights=np.maximum(voiced_s, HOP_S))
        return margin_of(mean, int(found.curve.argmax()), _SAME)


def is_usable(window: Window, voiced_s: float) -> bool:
    """Whether a window has a second of voice, a face in 80 %, its sound, and lips that move."""
    return (
        voiced_s >= _LEAST_SPOKEN_S
        and window.seen >= _LEAST_SEEN
        and window.heard >= _LEAST_HEARD
        and window.movement >= _LEAST_MOVEMENT
    )


def spoken_s(segments_s: Floats, start_s: float, end_s: float) -> float:
    """How much of a stretch is speech.

    :param segments_s: from and to, `(K, 2)`.
    """
    inside = np.minimum(segments_s[:, 1], end_s) - np.maximum(segments_s[:, 0], start_s)
    return float(np.clip(inside, 0, None).sum())
