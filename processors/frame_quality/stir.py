"""What noise changes from picture to picture, told from what an encoder still corrects when the noise has gone."""

from __future__ import annotations

import math

from processors.frame_quality.usual import Usual

__all__ = ["NoiseStir"]

# In noise, changes are nearly always the same: in VP8 of 720p 0.81 of their median of a second at least. What is still
# corrected when it has gone is less: in H264 of 1 Mbit/s 0.76, and soon little.
_MEDIAN_S, _AS_MUCH = 1.0, 0.8
# Until that median is known: the way, by the logarithm, from what calm pictures change to what noise did before a key
# picture; and where it was not known before either, over what calm pictures change, in one of two pictures.
_WAY, _OVER_CALM = 0.6, 2.0


class NoiseStir:
    """Whether pictures that were noisy go on changing as noise makes them change.

    Encoders may smear noise to blotches, as coarse as any picture, that change as much as the noise did. When it has
    gone, they take some pictures to correct what is left of it: these change less and less. With a key picture an
    encoder begins anew, and what it smears from there on changes less than what it smeared before (VP8: 0.6 of it).
    """

    def __init__(self, usual_s: float) -> None:
        self._calm, self._noisy = Usual(usual_s), Usual(_MEDIAN_S)
        self._before_key: float | None = None
        self._last = 0.0

    def key(self) -> None:
        """The next picture is a key picture."""
        self._before_key = self._noisy.level or self._before_key
        self._noisy.forget()

    def goes_on(self, stir: float) -> bool:
        """Whether the next picture changes as much (`Step.stir`) as those in noise."""
        now, before, calm = self._noisy.level, self._before_key, self._calm.level
        if now is not None:
            return stir >= _AS_MUCH * now > 0  # where an encoder skips pictures, nothing is to be told from it
        if calm is None:
            return False
        if before is not None:
            return stir >= math.pow(calm, 1 - _WAY) * math.pow(before, _WAY)
        return max(stir, self._last) >= _OVER_CALM * calm + 0.25

    def add(self, time_s: float, stir: float, *, noisy: bool) -> None:
        """How much the next picture changed."""
        self._last = stir
        if noisy:
            self._noisy.add(time_s, stir)
        else:
            self._end()

    def add_calm(self, time_s: float, stir: float) -> None:
        """How much a picture changed in which nothing is wrong."""
        self._calm.add(time_s, stir)

    def forget(self) -> None:
        """What comes next has its own usual."""
        self._calm.forget()
        self._end()

    def _end(self) -> None:
        self._noisy.forget()
        self._before_key = None
