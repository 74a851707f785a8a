"""Which windows can say anything of the offset."""

from __future__ import annotations

import numpy as np

from processors.lip_sync.features import Floats
from processors.lip_sync.history import Window

__all__ = ["is_usable", "spoken_s"]

_LEAST_SPOKEN_S, _LEAST_SEEN, _LEAST_HEARD = 1.0, 0.8, 0.8
_LEAST_MOVEMENT = 0.004  # below, a mouth rests: what is left is the jitter of the points


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
