"""The eyes of a face over time: how far they are closed, and their blinks."""

from __future__ import annotations

from typing import Any

from processors.face_dynamics.blinks import Baseline, Blink, BlinkCounter, BlinkDetector
from processors.face_landmarks import FaceLandmarks

__all__ = ["SHUT", "Eyes", "Figures"]

SHUT = 0.6
"""Closure from which an eye counts as closed."""

_TURNED_DEG = 20.0  # beyond, the farther eye is seen so obliquely that its lids are guessed

Figures = dict[str, Any]


class Eyes:
    """Follows both eyes.

    :param stare_s: without a blink for so long, a face stares.
    """

    def __init__(self, stare_s: float) -> None:
        self._stare_s = stare_s
        self._baselines = Baseline(), Baseline()
        self._blinks, self._counter = BlinkDetector(), BlinkCounter()

    def measure(self, time_s: float, face: FaceLandmarks, yaw_deg: float) -> Figures:
        """The fields of `FaceDynamics` that tell of the eyes."""
        left, right = self._closures(time_s, face, yaw_deg)
        seen = [closure for closure in (left, right) if closure is not None]
        blink = None
        if seen:
            blink = self._blinks.add(time_s, left, right)
            self._counter.add(time_s, blink)
        return {
            "eye_closure_left": left,
            "eye_closure_right": right,
            "eyes_closed": min(seen) > SHUT if seen else None,
            "blinking": self._blinks.under_way if seen else None,
            **_of_blink(blink),
            "blinks_per_min": self._counter.per_minute,
            "staring": self._stares(),
        }

    def _closures(self, time_s: float, face: FaceLandmarks, yaw_deg: float) -> tuple[float | None, float | None]:
        left, right = (
            None if openness is None else baseline.closure(time_s, openness)
            for baseline, openness in zip(
                self._baselines, (face.eye_openness_left, face.eye_openness_right), strict=True
            )
        )
        return None if yaw_deg > _TURNED_DEG else left, None if yaw_deg < -_TURNED_DEG else right

    def _stares(self) -> bool | None:
        """`None` while that cannot be known yet."""
        since_s, seen_s = self._counter.since_last_s, self._counter.seen_s
        if since_s > self._stare_s:
            return True
        return False if since_s < seen_s else None


def _of_blink(blink: Blink | None) -> Figures:
    if blink is None:
        return {"blink_ms": None, "blink_depth": None, "blink_asymmetry": None}
    depths = [depth for depth in (blink.depth_left, blink.depth_right) if depth is not None]
    return {
        "blink_ms": 1000 * blink.duration_s,
        "blink_depth": max(depths, default=None),
        "blink_asymmetry": abs(depths[0] - depths[1]) if len(depths) == 2 else None,
    }
