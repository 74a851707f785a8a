"""The voice: harmonics of a gliding pitch, weighted by vowel formants, as loud as the mouth is open.

The voice is a function of media time, not a stream, so that it can be played late, early or at another speed
and still be exact to the sample.
"""

import numpy as np
from numpy.typing import NDArray

from vision.simulator.performance import BLOCK_S, VOWELS, Block, Performance, Times

SAMPLE_RATE_HZ = 48_000
LOUDNESS = 0.14
"""RMS of the voice at full mouth opening, 1.0 = full scale."""

HARMONICS = 32
CONTROL_SAMPLES = 240
"""Formants move slowly: their gains are worked out every 5 ms and interpolated."""

# First three formants of a, e, i, o, u and schwa, Hz (Peterson and Barney, rounded).
_FORMANTS_HZ = np.array(
    [[730, 1090, 2440], [530, 1840, 2480], [290, 2250, 2950], [570, 840, 2410], [320, 900, 2240], [500, 1500, 2500]]
)
assert len(_FORMANTS_HZ) == VOWELS
_FORMANT_GAINS = np.array([1.0, 0.5, 0.22])
_BANDWIDTHS_HZ = np.array([90.0, 130.0, 190.0])
_NUMBERS = np.arange(1, HARMONICS + 1, dtype=np.float64)
_SOURCE_TILT = _NUMBERS**-0.6
# Phases that spread the energy over the period (Schroeder), so that the waveform has no spikes.
_PHASES = (np.pi * _NUMBERS * (_NUMBERS - 1) / HARMONICS).astype(np.float32)

_CONSONANT_LEVEL = 0.012
_CONSONANT_DECAY_S = 0.015
_PITCH_STEP_S = 0.001


class Voice:
    """Sings the syllables of a performance. Samples are float32 mono in -1..1."""

    def __init__(self, performance: Performance) -> None:
        self._performance = performance
        self._noise = np.random.default_rng((performance.seed, 2)).standard_normal(SAMPLE_RATE_HZ)
        self._phase_tables: dict[int, NDArray[np.float64]] = {}

    def at(self, times_s: Times) -> NDArray[np.float32]:
        """The voice (N,) at ascending media times (N,), s; zero in the pauses."""
        opening = self._performance.mouth_opening(times_s)
        sound = np.zeros(len(times_s), np.float32)
        if not opening.any():
            return sound
        numbers = np.floor(times_s / BLOCK_S).astype(np.int64)
        for number in np.unique(numbers[numbers >= 0]):
            chosen = numbers == number
            local_s = times_s[chosen] - number * BLOCK_S
            sound[chosen] = self._block_sound(int(number), local_s, opening[chosen])
        return sound

    def _block_sound(self, number: int, times_s: Times, opening: NDArray[np.float64]) -> NDArray[np.float32]:
        block = self._performance.block(number)
        vowel = _harmonic_sum(self._phase(number, block, times_s), _gains(block, times_s))
        return (LOUDNESS * opening * vowel + self._consonants(block, times_s)).astype(np.float32)

    def _phase(self, number: int, block: Block, times_s: Times) -> NDArray[np.float64]:
        """Phase of the fundamental, rad: the integral of the pitch, from a table for each block."""
        if number not in self._phase_tables:
            steps = np.arange(0.0, BLOCK_S + _PITCH_STEP_S, _PITCH_STEP_S)
            self._phase_tables.clear()
            self._phase_tables[number] = 2 * np.pi * np.cumsum(block.pitch_hz.at(steps)) * _PITCH_STEP_S
        table = self._phase_tables[number]
        return np.interp(times_s / _PITCH_STEP_S, np.arange(len(table)), table)

    def _consonants(self, block: Block, times_s: Times) -> NDArray[np.float64]:
        """A puff of noise where a syllable begins."""
        since_s = times_s - block.syllables.starts_s[block.syllables.index_at(times_s)]
        envelope = np.where(since_s >= 0, np.exp(-np.maximum(since_s, 0.0) / _CONSONANT_DECAY_S), 0.0)
        cursor = np.rint(times_s * SAMPLE_RATE_HZ).astype(np.int64) % SAMPLE_RATE_HZ
        return _CONSONANT_LEVEL * envelope * self._noise[cursor]


def _gains(block: Block, times_s: Times) -> NDArray[np.float32]:
    """Gains (N, HARMONICS) of the harmonics, of unit RMS together."""
    marks = np.arange(0, len(times_s) + CONTROL_SAMPLES, CONTROL_SAMPLES)
    mark_times = times_s[np.minimum(marks, len(times_s) - 1)]
    pitch_hz = block.pitch_hz.at(mark_times)
    gains = _envelope(_formants(block, mark_times), pitch_hz[:, None] * _NUMBERS) * _SOURCE_TILT
    gains /= np.sqrt((gains**2).sum(axis=1, keepdims=True) / 2)
    return _interpolated(gains.astype(np.float32), len(times_s))


def _interpolated(gains: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    share = (np.arange(CONTROL_SAMPLES, dtype=np.float32) / CONTROL_SAMPLES)[None, :, None]
    blended = gains[:-1, None, :] * (1 - share) + gains[1:, None, :] * share
    return np.asarray(blended.reshape(-1, HARMONICS)[:count])


def _formants(block: Block, times_s: Times) -> NDArray[np.float64]:
    """Formants (N, 3), Hz, gliding over the first 60 ms of each syllable from the vowel before."""
    index = block.syllables.index_at(times_s)
    since_s = times_s - block.syllables.starts_s[index]
    glide = np.clip(since_s / 0.06, 0.0, 1.0)[:, None]
    now = _FORMANTS_HZ[block.syllables.vowels[index]]
    before = _FORMANTS_HZ[block.syllables.vowels[np.maximum(index - 1, 0)]]
    return np.asarray(before + (now - before) * glide)


def _envelope(formants_hz: NDArray[np.float64], frequencies_hz: NDArray[np.float64]) -> NDArray[np.float64]:
    """Resonance curves of the formants (N, 3), summed, at the frequencies (N, K)."""
    distance = (frequencies_hz[:, :, None] - formants_hz[:, None, :]) / _BANDWIDTHS_HZ
    return np.asarray(0.01 + (_FORMANT_GAINS / (1 + distance**2)).sum(axis=2))


def _harmonic_sum(phase: NDArray[np.float64], gains: NDArray[np.float32]) -> NDArray[np.float32]:
    angles = np.mod(phase, 2 * np.pi).astype(np.float32)[:, None] * _NUMBERS.astype(np.float32) + _PHASES
    return np.asarray(np.einsum("nk,nk->n", np.sin(angles), gains), np.float32)
