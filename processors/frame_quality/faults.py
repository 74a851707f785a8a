"""Blur, noise and blocks, told from what is shown by what was usual before."""

from __future__ import annotations

from processors.frame_quality.figures import Figures
from processors.frame_quality.motion import Step
from processors.frame_quality.usual import Departure, Usual

__all__ = ["Faults"]


class Faults:
    """Blur, noise and blocks, as departures from what is usual.

    In real footage of talking heads, sharpness over contrast stays above 0.4 of its median, noise below 1.5 times, and
    blocks below 1.8; coding at a tenth of a bit a pixel raises blocks to 6 for a picture or two after a fault.
    """

    def __init__(self, usual_s: float, *, blur_ratio: float, noise_ratio: float, blockiness_limit: float) -> None:
        # a fall of sharpness is a rise of its inverse
        self._blur = Departure(usual_s, lambda usual: usual / blur_ratio, lambda usual: usual * 2)
        self._noise = Departure(usual_s, lambda usual: max(noise_ratio * usual, usual + 1), lambda usual: 1.6 * usual)
        self._blocks = Departure(
            usual_s,
            lambda usual: max(blockiness_limit, 2.5 * usual),
            lambda usual: 0.7 * max(blockiness_limit, 2.5 * usual),
            from_start=1.0,
        )
        self._stir = Usual(usual_s, share=0.9)

    def add(self, time_s: float, contrast_rms: float, detail: Figures, step: Step | None) -> Figures:
        """What is wrong with the next picture."""
        softness = ((255 * contrast_rms) ** 2 + 1) / (detail["sharpness"] + 1e-3)
        noise, blocks = detail["noise"], detail["blockiness"]
        return {
            "blur": self._blur.add(time_s, softness),
            "noisy": None if noise is None else self._is_noisy(time_s, noise, step),
            "blocky": None if blocks is None else self._blocks.add(time_s, blocks),
        }

    def forget(self) -> None:
        """What comes next has its own usual."""
        for each in (self._blur, self._noise, self._blocks, self._stir):
            each.forget()

    def _is_noisy(self, time_s: float, noise: float, step: Step | None) -> bool | None:
        """Encoders smear noise within two pictures to blotches, as coarse as any picture, that change all the time."""
        stir, usual = 0.0 if step is None else step.stir, self._stir.level
        noisy = self._noise.add(time_s, noise, held=usual is not None and stir > 1.5 * usual + 0.25)
        if not noisy:
            self._stir.add(time_s, stir)
        return noisy
