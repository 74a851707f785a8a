"""`audio_quality`: how loud and how clean the sound is, and where it is silent, cut, clipped or missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

import vision
from processors.audio_quality.clicks import Click, Clicks
from processors.audio_quality.dropouts import Dropouts, pieces_of
from processors.audio_quality.levels import FLOOR_DBFS, FULL_SCALE, BlockLevels, decibels
from processors.audio_quality.loudness import FLOOR_LUFS, LoudnessMeter, TruePeak
from processors.audio_quality.silence import LEAST_S, Muting, QuietRun
from processors.audio_quality.spectrum import Spectrum
from vision import Frame, IncidentRule, Processor, Reads, Result, Sound, StreamInfo, metric

__all__ = ["AudioQuality", "AudioQualityOptions", "AudioQualityProcessor"]

Samples = NDArray[np.float32]

_JUDGED_S = 10.0  # of a programme's loudness: with less, a word decides


@dataclass(frozen=True, slots=True)
class AudioQuality(Result):
    """The sound up to a frame.

    What is of "this frame" is of the samples since the frame before; the rest of a window that ends with them. Samples
    that never came are left out of all of it, as if those before and behind them followed each other; they are counted
    in `missing_samples`. `None`: no sound yet, or too little of it.
    """

    missing_samples: float = metric("Samples of this frame that never came", unit="1", range=(0, None), good="low")
    dropout: bool = metric(
        "Samples of this frame never came, or none has come while pictures do",
        unit="bool",
        good="false",
        incident=IncidentRule("dropout", when=True, min_s=0.0, cause=None, join_s=0.2, worst="missing_samples"),
    )
    level_dbfs: float | None = metric(
        "RMS of this frame, over 1.0 (a sine of full scale has -3)", unit="dBFS", range=(FLOOR_DBFS, None), default=None
    )
    peak_dbfs: float | None = metric(
        "Greatest magnitude of a sample of this frame", unit="dBFS", range=(FLOOR_DBFS, None), default=None
    )
    true_peak_dbtp: float | None = metric(
        "Greatest magnitude of this frame between samples as well, at 192 kHz (ITU-R BS.1770, Annex 2)",
        unit="dBTP",
        range=(FLOOR_DBFS, None),
        good="low",
        default=None,
    )
    loudness_momentary: float | None = metric(
        "Loudness of the last 400 ms (EBU R 128; mono that both loudspeakers play)",
        unit="LUFS",
        range=(FLOOR_LUFS, None),
        default=None,
    )
    loudness_short_term: float | None = metric(
        "Loudness of the last 3 s (EBU R 128)", unit="LUFS", range=(FLOOR_LUFS, None), default=None
    )
    loudness_integrated: float | None = metric(
        "Gated loudness of all sound since the beginning, or since the stream was connected anew (EBU R 128)",
        unit="LUFS",
        range=(FLOOR_LUFS, None),
        default=None,
    )
    loudness_range: float | None = metric(
        "Loudness range of the same (EBU Tech 3342)", unit="LU", range=(0, None), default=None
    )
    loudness_off: bool | None = metric(
        "loudness_integrated is more than tolerance_lu from target_lufs, after 10 s of sound; needs a target",
        unit="bool",
        good="false",
        incident=IncidentRule("loudness", when=True, min_s=1.0, severity="warning"),
        default=None,
    )
    silence_s: float | None = metric(
        "How long no sample has reached silence_dbfs (ffmpeg silencedetect)", unit="s", range=(0, None), default=None
    )
    silent: bool | None = metric("silence_s is at least 10 ms", unit="bool", default=None)
    muted: bool | None = metric(
        "Digital silence (neighbours differ by two steps of 16 bits at most) in a stream whose own pauses have noise",
        unit="bool",
        good="false",
        incident=IncidentRule("silence", when=True, min_s=Muting.LONG_S),
        default=None,
    )
    hole_ms: float | None = metric(
        "Longest digital silence of 20 to 500 ms that ended in this frame, under the terms of muted; 0: none",
        unit="ms",
        range=(0, 1000 * Muting.LONG_S),
        good="low",
        default=None,
    )
    hole: bool | None = metric(
        "hole_ms is not 0: sound was cut out before it was sent",
        unit="bool",
        good="false",
        incident=IncidentRule("dropout", when=True, min_s=0.0, worst="hole_ms"),
        default=None,
    )
    clipping_ratio: float | None = metric(
        "Share of the samples of this frame that reach 0.95 of full scale",
        unit="1",
        range=(0, 1),
        good="low",
        default=None,
    )
    clipping: bool | None = metric(
        "clipping_ratio is at least clipping_limit",
        unit="bool",
        good="false",
        incident=IncidentRule("clipping", when=True, min_s=0.0, join_s=1.5, worst="clipping_ratio"),
        default=None,
    )
    click_jump: float | None = metric(
        "Second difference of the samples at the sharpest click of this frame, or the greatest where none stands out",
        unit="1",
        range=(0, None),
        good="low",
        default=None,
    )
    click_ratio: float | None = metric(
        "How far it stands out: over the RMS of second differences 20 ms before or behind; 0: nothing does",
        unit="1",
        range=(0, None),
        good="low",
        default=None,
    )
    click: bool | None = metric(
        "click_ratio is at least click_ratio_limit",
        unit="bool",
        good="false",
        incident=IncidentRule(
            "click", when=True, min_s=0.0, severity="warning", worst="click_ratio", delay_s=Clicks.AROUND_S
        ),
        default=None,
    )
    dc_offset: float | None = metric(
        "Mean of the samples of the last second", unit="1", range=(None, None), default=None
    )
    noise_floor_dbfs: float | None = metric(
        "5th percentile of the levels of blocks of 20 ms in the last 10 s, digital silence apart",
        unit="dBFS",
        range=(FLOOR_DBFS, None),
        good="low",
        default=None,
    )
    snr_db: float | None = metric(
        "95th percentile of the same levels over the 5th", unit="dB", range=(0, None), good="high", default=None
    )
    rolloff_95_hz: float | None = metric(
        "Frequency below which 95 % of the power of the last second lie", unit="Hz", range=(0, None), default=None
    )
    rolloff_99_hz: float | None = metric(
        "Frequency below which 99 % of the power of the last second lie", unit="Hz", range=(0, None), default=None
    )


class AudioQualityOptions(vision.Options):
    """Options of `audio_quality`."""

    silence_dbfs: float = Field(
        -60, ge=-100, le=0, description="A sample below this is silent (silencedetect's default noise tolerance)."
    )
    digital_pauses: bool | Literal["auto"] = Field(
        "auto",
        description="The avatar sends digital silence while it is silent, so that it is no fault; auto: it does if it"
        " begins so, and does not once a pause of it had a room tone.",
    )
    dtx: bool = Field(
        False,
        description="The sender stops sending in pauses (Opus DTX): holes that begin in quiet count from 0.5 s on.",
    )
    clipping_limit: float = Field(
        0.02, gt=0, le=1, description="Share of samples near full scale from which a frame is clipped."
    )
    click_jump: float = Field(0.1, gt=0, le=4, description="Second difference from which a jump may be a click.")
    click_ratio_limit: float = Field(20, ge=1, description="How far it must stand out from what is around it.")
    target_lufs: float | None = Field(
        None, ge=-70, le=0, description="Integrated loudness that is wanted, such as -23 (EBU R 128) or -16."
    )
    tolerance_lu: float = Field(1, ge=0, description="How far from the target it may be; 1 for live (EBU R 128).")


class AudioQualityProcessor(Processor[AudioQuality]):
    """Level, loudness, true peak, noise, bandwidth; silence, clipping, clicks, dropouts."""

    Options = AudioQualityOptions
    reads = Reads.SOUND

    _live = False
    _meters: _Meters | None = None

    def setup(self, info: StreamInfo) -> None:
        """Learn whether sound that is late is lost."""
        self._live = info.live
        self.reset("reconnect")

    def process(self, frame: Frame) -> AudioQuality | None:
        """Hear the sound of a frame."""
        sound = frame.sound
        missing = self._dropouts.add(frame)
        if sound.samples.size and (self._meters is None or self._meters.rate_hz != sound.rate_hz):
            self._meters = _Meters(self.options, sound.rate_hz)
        return None if self._meters is None else self._meters.measure(sound, missing)

    def reset(self, reason: str) -> None:
        """Forget what was heard, where another stream follows; the size of the picture does not matter."""
        if reason != "resolution":
            self._meters, self._dropouts = None, Dropouts(live=self._live, dtx=self.options.dtx)

    def shift_sound(self, step_s: float) -> None:
        """What was heard belongs elsewhere, and is otherwise the same."""
        self._dropouts.shift(step_s)

    def close(self) -> None:
        """Free the filters."""
        self._meters = None


class _Meters:
    """All that is measured of sound of one sample rate."""

    def __init__(self, options: AudioQualityOptions, rate_hz: int) -> None:
        self.rate_hz = rate_hz
        self._options = options
        self._loudness, self._true_peak = LoudnessMeter(rate_hz), TruePeak(rate_hz)
        self._levels, self._spectrum, self._clicks = BlockLevels(rate_hz), Spectrum(rate_hz), Clicks(rate_hz)
        self._silence = QuietRun(10 ** (options.silence_dbfs / 20), rate_hz)
        expected = None if options.digital_pauses == "auto" else options.digital_pauses
        self._muting = Muting(rate_hz, expected)

    def measure(self, sound: Sound, dropout: bool) -> AudioQuality:
        """Take the sound of a frame."""
        pieces = list(pieces_of(sound))
        missing_samples = float(sum(count for _, count in sound.missing))
        heard = np.concatenate(pieces)
        if not heard.size:
            return AudioQuality(missing_samples=missing_samples, dropout=dropout)
        click = self._click(pieces)
        for meter in (self._loudness, self._levels, self._spectrum, self._silence, self._muting):
            meter.add(heard)
        peak = float(np.abs(heard).max())
        clipping_ratio = float(np.count_nonzero(np.abs(heard) >= FULL_SCALE) / heard.size)
        noise_dbfs, signal_dbfs = self._levels.noise_and_signal_dbfs() or (None, None)
        rolloff_95_hz, rolloff_99_hz = self._spectrum.rolloffs_hz or (None, None)
        silence_s = self._silence.length_s
        return AudioQuality(
            level_dbfs=decibels(float(np.sqrt(np.square(heard, dtype=np.float64).mean()))),
            peak_dbfs=decibels(peak),
            true_peak_dbtp=decibels(max(peak, self._true_peak.add(heard))),
            loudness_momentary=self._loudness.momentary_lufs,
            loudness_short_term=self._loudness.short_term_lufs,
            loudness_integrated=self._loudness.integrated_lufs,
            loudness_range=self._loudness.range_lu,
            loudness_off=self._loudness_off(),
            silence_s=silence_s,
            silent=silence_s >= LEAST_S,
            muted=self._muting.muted,
            hole_ms=1000 * self._muting.hole_s,
            hole=self._muting.hole_s > 0,
            clipping_ratio=clipping_ratio,
            clipping=clipping_ratio >= self._options.clipping_limit,
            click_jump=click.jump,
            click_ratio=click.ratio,
            click=click.ratio >= self._options.click_ratio_limit,
            dc_offset=self._levels.dc_offset,
            noise_floor_dbfs=noise_dbfs,
            snr_db=None if noise_dbfs is None or signal_dbfs is None else signal_dbfs - noise_dbfs,
            rolloff_95_hz=rolloff_95_hz,
            rolloff_99_hz=rolloff_99_hz,
            missing_samples=missing_samples,
            dropout=dropout,
        )

    def _click(self, pieces: Sequence[Samples]) -> Click:
        """The sharpest one; where samples are missing, those before and behind are no neighbours."""
        found = []
        for number, piece in enumerate(pieces):
            if number:
                self._clicks.break_off()
            found.append(self._clicks.add(piece, self._options.click_jump))
        return max(found, key=lambda click: (click.ratio, click.jump))

    def _loudness_off(self) -> bool | None:
        target, measured = self._options.target_lufs, self._loudness.integrated_lufs
        if target is None or measured is None or self._loudness.heard_s < _JUDGED_S:
            return None
        return abs(measured - target) > self._options.tolerance_lu
