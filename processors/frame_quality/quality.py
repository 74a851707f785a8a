"""The processor `frame_quality`: what is measured of every picture, and what is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field

import vision
from processors.frame_quality.faults import Faults
from processors.frame_quality.figures import Figures, colour_of, detail_of, light_of
from processors.frame_quality.flashes import MOST_CHANGES, FlashCounter
from processors.frame_quality.histograms import Chroma, sampled_chroma
from processors.frame_quality.motion import Motion, Step
from processors.frame_quality.stillness import Stillness
from vision import Frame, IncidentRule, Picture, Processor, Result, metric

__all__ = ["FrameQuality", "FrameQualityOptions", "FrameQualityProcessor"]

_ZEROED, _SATURATED = 15, 241  # of both U and V: green is memory of zeros, magenta its opposite
_SMEARED_S = 0.2  # for a picture or two, an encoder may leave nothing of noise that goes on
_ABRUPT_S = 0.1  # three pictures at 30 fps: shorter ones may be a cut, or an encoder that has not yet caught up


@dataclass(frozen=True, slots=True)
class FrameQuality(Result):
    """What one picture looks like, how it differs from those before it, and what is wrong with it.

    `None` stands for what the first picture of a stream cannot have, for what is relative to the usual while nothing is
    usual yet (half a second), and for what a black, damaged or tiny picture does not show. `freeze` is true from the
    second picture of a still stretch to its last. A black picture that stays is `black`, never `freeze`. Shares,
    percentiles, entropy, saturation and colourfulness are taken of 180 evenly spread rows, which differ from all of
    them by little (entropy 0.05 bit, saturation 0.2); `frame_statistics` has them exactly.
    """

    luma_mean: float = metric("Mean luma, code values as they are over 255", unit="1", range=(0, 1))
    contrast_rms: float = metric("Standard deviation of luma over 255", unit="1", range=(0, 0.5))
    luma_p2: float = metric("Luma that 2 % of the samples do not exceed, over 255", unit="1", range=(0, 1))
    luma_p98: float = metric("Luma that 98 % of the samples do not exceed, over 255", unit="1", range=(0, 1))
    underexposed: float = metric(
        "Share of luma at or below black (16; 0 of full range)", unit="1", range=(0, 1), good="low"
    )
    overexposed: float = metric(
        "Share of luma at or above white (235; 255 of full range)", unit="1", range=(0, 1), good="low"
    )
    entropy: float = metric("Entropy of luma (ffmpeg entropy, normal mode)", unit="bit", range=(0, 8))
    u_mean: float = metric("Mean of U, code values over 255; grey is 0.502", unit="1", range=(0, 1))
    v_mean: float = metric("Mean of V, code values over 255; grey is 0.502", unit="1", range=(0, 1))
    saturation: float = metric(
        "Mean distance of chroma from grey, code values (ffmpeg signalstats SATAVG)", unit="1", range=(0, 182)
    )
    colourfulness: float = metric(
        "Hasler and Suesstrunk (2003), M3, from the chroma planes (BT.601)", unit="1", range=(0, None)
    )
    sharpness: float = metric(
        "Variance of the 3x3 Laplacian of luma, area averaged to sharpness_height (larger pictures only)",
        unit="1",
        range=(0, None),
        good="high",
    )
    tenengrad: float = metric(
        "Mean squared gradient (3x3 Sobel) of luma, area averaged likewise", unit="1", range=(0, None), good="high"
    )
    blur: bool | None = metric(
        "tenengrad, also over the square of contrast, has fallen below blur_ratio of what is usual",
        unit="bool",
        good="false",
        incident=IncidentRule("blur", when=True, min_s=_ABRUPT_S, worst="tenengrad"),
    )
    noise: float | None = metric(
        "Noise of luma, standard deviation, code values (Immerkaer 1996); detail counts as noise",
        unit="1",
        range=(0, None),
        good="low",
    )
    noisy: bool | None = metric(
        "noise has risen above noise_ratio of what is usual, and the picture has not calmed down since",
        unit="bool",
        good="false",
        incident=IncidentRule("noise", when=True, min_s=_ABRUPT_S, worst="noise", join_s=_SMEARED_S),
    )
    blockiness: float | None = metric(
        "Mean step of luma across the 8 px grid over that elsewhere, of both directions the lower; 1: no grid",
        unit="1",
        range=(0, None),
        good="low",
    )
    blocky: bool | None = metric(
        "blockiness has risen above blockiness_limit, and well above what is usual",
        unit="bool",
        good="false",
        incident=IncidentRule("blockiness", when=True, min_s=_ABRUPT_S, worst="blockiness"),
    )
    black_ratio: float = metric("Share of luma samples that are black (ffmpeg blackdetect)", unit="1", range=(0, 1))
    black: bool = metric(
        "black_ratio is at least black_picture (ffmpeg blackdetect)",
        unit="bool",
        good="false",
        # no face is ever this dark
        incident=IncidentRule("black", when=True, min_s=_ABRUPT_S),
    )
    ydif: float | None = metric(
        "Mean absolute difference of Y to the previous picture, code values (ffmpeg signalstats YDIF)",
        unit="1",
        range=(0, 255),
    )
    udif: float | None = metric("Likewise of U (UDIF)", unit="1", range=(0, 255))
    vdif: float | None = metric("Likewise of V (VDIF)", unit="1", range=(0, 255))
    ti: float | None = metric(
        "Temporal information: standard deviation of the difference of luma, full range (ffmpeg siti; ITU-T P.910)",
        unit="1",
        range=(0, None),
    )
    mafd: float | None = metric(
        "Mean absolute difference of all samples of Y, U and V to the previous picture, over 256",
        unit="1",
        range=(0, 1),
    )
    duplicate: bool | None = metric(
        "mafd is below duplicate_mafd: the previous picture again", unit="bool", good="false"
    )
    freezedetect: bool | None = metric(
        "MAFD to the last picture that was not so is at most freezedetect_mafd (ffmpeg freezedetect)",
        unit="bool",
        good="false",
    )
    change: float | None = metric(
        "Greatest change of the mean luma of a square 1/90 high, code values, to the last picture not frozen",
        unit="1",
        range=(0, 255),
    )
    freeze: bool | None = metric(
        "change is at most freeze_begin, or freeze_keep once it is frozen, and the picture is not black",
        unit="bool",
        good="false",
        # people stay this still for up to 0.4 s in real footage
        incident=IncidentRule("freeze", when=True, min_s=0.5),
    )
    scene_score: float | None = metric(
        "Mean absolute difference of luma, % of 256, or its own change if lower (ffmpeg scdet)",
        unit="1",
        range=(0, 100),
    )
    scene_cut: bool | None = metric(
        "scene_score is at least scene_cut_score (ffmpeg scdet), and neither picture is black or damaged",
        unit="bool",
        good="false",
        incident=IncidentRule("scene_cut", when=True, min_s=0, severity="warning"),
    )
    flash_changes: int = metric(
        "Opposing changes of a tenth of relative luminance in a quarter of the picture, in the last second",
        unit="1",
        range=(0, None),
        good="low",
    )
    flash: bool = metric(
        "More than three flashes in a second (WCAG 2.2, general flashes by luma; red ones are not told)",
        unit="bool",
        good="false",
        incident=IncidentRule("flash", when=True, min_s=0, severity="warning", worst="flash_changes"),
    )
    green_ratio: float = metric(
        "Share of chroma that is zeroed (green) or at its highest (magenta) in both U and V",
        unit="1",
        range=(0, 1),
        good="low",
    )
    discoloured: bool = metric(
        "green_ratio is above green_limit in a picture that came whole: its sender showed what it could not decode",
        unit="bool",
        good="false",
        incident=IncidentRule("corruption", when=True, min_s=0, worst="green_ratio"),
    )
    corruption: bool = metric(
        "Damaged on the way: the decoder says so, or the picture builds on such a one (until the next key frame)",
        unit="bool",
        good="false",  # the incident is the run's own, with the cause that the frames tell
    )
    resolution_change: bool = metric(
        "The picture is not of the size of the one before",
        unit="bool",
        good="false",
        incident=IncidentRule("resolution", when=True, min_s=0, severity="warning", cause="sender"),
    )


class FrameQualityOptions(vision.Options):
    """Options of `frame_quality`."""

    sharpness_height: int = Field(360, ge=16, description="Height in px at which sharpness is measured.")
    black_pixel: float = Field(
        0.10,
        ge=0,
        le=1,
        description="Luma up to this share of its range is black (blackdetect pixel_black_th).",
    )
    black_picture: float = Field(
        0.98,
        ge=0,
        le=1,
        description="Share of black pixels of a black picture (blackdetect picture_black_ratio_th).",
    )
    duplicate_mafd: float = Field(1e-4, ge=0, le=1, description="A picture that differs less is a duplicate.")
    freezedetect_mafd: float = Field(
        1e-3, ge=0, le=1, description="Limit of freezedetect; 0.001 is ffmpeg's default of -60 dB."
    )
    freeze_begin: float = Field(
        2, ge=0, le=255, description="A picture in which no square's mean luma changes more begins a freeze."
    )
    freeze_keep: float = Field(
        5,
        ge=0,
        le=255,
        description="A frozen picture in which none changes more, since the freeze began, stays frozen.",
    )
    usual_s: float = Field(4, ge=1, le=60, description="Seconds whose median is what is usual.")
    blur_ratio: float = Field(
        0.45,
        gt=0,
        lt=0.65,
        description="Below this share of the usual tenengrad a picture is blurred; until it has 0.65 of it.",
    )
    noise_ratio: float = Field(
        3, ge=1.6, description="Above this multiple of the usual, and 1 code value above it, a picture is noisy."
    )
    blockiness_limit: float = Field(
        5, ge=1, description="A picture above it, and above 2.5 times what is usual, is blocky; until 0.7 of that."
    )
    scene_cut_score: float = Field(10, ge=0, le=100, description="Limit of scene_cut (scdet threshold).")
    green_limit: float = Field(0.005, ge=0, le=1, description="Share of green or magenta chroma that is discoloured.")


class FrameQualityProcessor(Processor[FrameQuality]):
    """Light, colour, sharpness, noise, blocks, motion; black, frozen, blurred, noisy, blocky and damaged pictures.

    ffmpeg's freezedetect averages over the whole picture, and fails on talking heads both ways: at 720p a
    mouth that moves alone stays below its limit of -60 dB, while a still picture, coded by VP8 at 2.5
    Mbit/s, exceeds it four times over whenever the encoder refines it. Refinement changes the mean of a small square
    by few code values, and adds up to few more while the freeze lasts (H264 and VP8: at most 4 at 2.5 Mbit/s, 5 at
    0.4); motion, even under a strong blur, changes that of some square by more from picture to picture: hence
    `change`, with one limit for the first still picture and another, to the last one that moved, for those after it.

    What blur and noise are depends on what is shown. They are told by leaving what was usual in the last seconds, and
    blocks by that and by an absolute limit; a scene cut begins anew.
    """

    Options = FrameQualityOptions

    _size: tuple[int, int] | None = None  # outlives a reset, which a change of it causes
    _damaged = False
    _is_shown = _was_shown = True

    def __init__(self, options: FrameQualityOptions | None = None) -> None:
        super().__init__(options)
        self._motion = Motion(self.options.freezedetect_mafd)
        self._stillness = Stillness(self.options.freeze_begin, self.options.freeze_keep)
        self._flashes = FlashCounter()
        self._faults = Faults(
            self.options.usual_s,
            blur_ratio=self.options.blur_ratio,
            noise_ratio=self.options.noise_ratio,
            blockiness_limit=self.options.blockiness_limit,
        )

    def process(self, frame: Frame) -> FrameQuality:
        """Measure the picture."""
        picture, options = frame.picture, self.options
        light, chroma = light_of(picture, options.black_pixel), Chroma(sampled_chroma(picture))
        black = light["black_ratio"] >= options.black_picture
        whole = self._whole(frame, chroma)
        # what is black or damaged says nothing of what is usual, nor of what has become of it
        self._was_shown, self._is_shown = self._is_shown, not black and not whole["corruption"]
        step = self._motion.add(picture)
        moved = self._moved(picture, step, black=black)
        if moved["scene_cut"]:
            self._faults.forget()
        detail = detail_of(picture, options.sharpness_height)
        faults = (
            self._faults.add(frame.time_s, light["contrast_rms"], detail, step, key_frame=frame.key_frame)
            if self._is_shown
            else {}
        )
        return FrameQuality(
            **light,
            **colour_of(picture, chroma),
            **detail,
            **(_NO_FAULTS | faults),
            **moved,
            **whole,
            **self._flashing(frame),
            black=black,
        )

    def reset(self, reason: str) -> None:
        """Forget the pictures before."""
        self._motion.forget()
        self._stillness.forget()
        self._flashes.forget()
        self._faults.forget()
        self._damaged, self._is_shown, self._was_shown = False, True, True

    def _moved(self, picture: Picture, step: Step | None, *, black: bool) -> Figures:
        change = self._stillness.add(picture)
        freeze = None if change is None else self._stillness.frozen and not black
        if step is None:
            return _NOT_MOVED | {"change": change, "freeze": freeze}
        is_cut = step.scene_score >= self.options.scene_cut_score
        ydif, udif, vdif = step.differences
        return {
            "ydif": ydif,
            "udif": udif,
            "vdif": vdif,
            "ti": step.ti,
            "mafd": step.mafd,
            "duplicate": step.mafd < self.options.duplicate_mafd,
            "freezedetect": step.freezedetect,
            "change": change,
            "freeze": freeze,
            "scene_score": step.scene_score,
            "scene_cut": is_cut and self._is_shown and self._was_shown,
        }

    def _whole(self, frame: Frame, chroma: Chroma) -> Figures:
        size, before = (frame.picture.width, frame.picture.height), self._size
        self._size = size
        self._damaged = frame.corrupt or (self._damaged and not frame.key_frame)
        green = chroma.share(at_most=_ZEROED) + chroma.share(at_least=_SATURATED)
        return {
            "green_ratio": green,
            "discoloured": green > self.options.green_limit and not self._damaged,
            "corruption": self._damaged,
            "resolution_change": before is not None and size != before,
        }

    def _flashing(self, frame: Frame) -> Figures:
        changes = self._flashes.add(frame.time_s, frame.picture)
        return {"flash_changes": changes, "flash": changes > MOST_CHANGES}


_NOT_MOVED: Figures = dict.fromkeys(
    ("ydif", "udif", "vdif", "ti", "mafd", "duplicate", "freezedetect", "scene_score", "scene_cut")
)
_NO_FAULTS: Figures = dict.fromkeys(("blur", "noisy", "blocky"))
