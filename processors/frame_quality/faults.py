"""Blur, noise and blocks, told from what is shown by what was usual before."""

from __future__ import annotations

from collections.abc import Sequence

from processors.frame_quality.figures import Figures
from processors.frame_quality.motion import Step
from processors.frame_quality.stir import NoiseStir
from processors.frame_quality.usual import Departure, Usual

__all__ = ["Faults"]

_SHARP_AGAIN = 0.65


class Faults:
    """Blur, noise and blocks, as departures from what is usual; pictures that have one of them are not usual for any.

    In real footage of talking heads, gradients fall to 0.6 of what is usual, noise rises to 1.5 times, and blocks to
    1.8; coding at a tenth of a bit a pixel raises blocks to 6 for a picture or two after a fault.
    """

    def __init__(self, usual_s: float, *, blur_ratio: float, noise_ratio: float, blockiness_limit: float) -> None:
        self._softness = (Usual(usual_s), Usual(usual_s))
        self._blur = Departure(usual_s, lambda _: 1 / blur_ratio, lambda _: 1 / _SHARP_AGAIN, from_start=1.0)
        self._noise = Departure(usual_s, lambda usual: max(noise_ratio * usual, usual + 1), lambda usual: 1.6 * usual)
        self._blocks = Departure(
            usual_s,
            lambda usual: max(blockiness_limit, 2.5 * usual),
            lambda usual: 0.7 * max(blockiness_limit, 2.5 * usual),
            from_start=1.0,
        )
        self._stir = NoiseStir(usual_s)

    def add(
        self, time_s: float, contrast_rms: float, detail: Figures, step: Step | None, *, key_frame: bool
    ) -> Figures:
        """What is wrong with the next picture."""
        if key_frame:
            self._stir.key()
        noise, blocks, stir = detail["noise"], detail["blockiness"], 0.0 if step is None else step.stir
        softness = _softness(contrast_rms, detail["tenengrad"])
        found = {
            "blur": self._is_blurred(time_s, softness),
            "noisy": None if noise is None else self._is_noisy(time_s, noise, stir),
            "blocky": None if blocks is None else self._blocks.judge(time_s, blocks),
        }
        if not any(found.values()):
            self._learn(time_s, softness, noise, blocks)
            self._stir.add_calm(time_s, stir)
        return found

    def forget(self) -> None:
        """What comes next has its own usual."""
        for each in (*self._softness, self._blur, self._noise, self._blocks, self._stir):
            each.forget()

    def _is_blurred(self, time_s: float, softness: Sequence[float]) -> bool | None:
        levels = [usual.level for usual in self._softness]
        ratios = [now / level for now, level in zip(softness, levels, strict=True) if level is not None]
        return self._blur.judge(time_s, min(ratios)) if ratios else None

    def _is_noisy(self, time_s: float, noise: float, stir: float) -> bool | None:
        noisy = self._noise.judge(time_s, noise, held=self._stir.goes_on(stir))
        self._stir.add(time_s, stir, noisy=bool(noisy))
        return noisy

    def _learn(self, time_s: float, softness: Sequence[float], noise: float | None, blocks: float | None) -> None:
        for now, usual in zip(softness, self._softness, strict=True):
            usual.add(time_s, now)
        for value, departure in ((noise, self._noise), (blocks, self._blocks)):
            if value is not None:
                departure.learn(time_s, value)


def _softness(contrast_rms: float, tenengrad: float) -> tuple[float, float]:
    """How small gradients are, and how small beside contrast: both rise in a blur, one in a fade, one with contrast."""
    gradient = tenengrad + 1  # a flat picture has none
    return 1 / gradient, ((255 * contrast_rms) ** 2 + 1) / gradient
