"""What the avatar does and when: speech, blinks and sway as pure functions of media time and seed.

Time is cut into blocks of `BLOCK_S`. A block follows from the seed and its number alone, starts and ends in a
pause, and is drawn up when asked for, so that any moment can be looked up and memory stays flat over hours.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.float64]
Curve = NDArray[np.float64]

BLOCK_S = 12.0
FIRST_PAUSE_S = 0.4
SWAY_S = 3.4


@dataclass(frozen=True, slots=True)
class Keys:
    """A smooth curve through key points: `values` (N,) at the ascending `times_s` (N,), eased by half cosines."""

    times_s: Times
    values: Curve

    def at(self, times_s: Times) -> Curve:
        """The curve at `times_s` (M,), s; constant outside the key points."""
        right = np.clip(np.searchsorted(self.times_s, times_s, side="right"), 1, len(self.times_s) - 1)
        start, end = self.times_s[right - 1], self.times_s[right]
        progress = np.clip((times_s - start) / (end - start), 0.0, 1.0)
        ease = 0.5 - 0.5 * np.cos(np.pi * progress)
        low, high = self.values[right - 1], self.values[right]
        return low + (high - low) * ease


@dataclass(frozen=True, slots=True)
class Syllables:
    """The syllables of a block, in order, times in seconds from the start of the block."""

    starts_s: Times
    ends_s: Times
    peaks: Curve
    onsets: Curve
    """Mouth opening where each begins, 0..1: 0 closes the lips."""
    vowels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.starts_s)

    def index_at(self, times_s: Times) -> NDArray[np.int64]:
        """Index of the syllable sounding at, or last before, each time (the first one before all)."""
        return np.maximum(np.searchsorted(self.starts_s, times_s, side="right") - 1, 0)


@dataclass(frozen=True, slots=True)
class Block:
    """`BLOCK_S` seconds of performance, times in seconds from the start of the block."""

    syllables: Syllables
    mouth: Keys
    blinks: Keys
    pitch_hz: Keys


VOWELS = 6


class Performance:
    """The endless performance that belongs to a seed. All methods take times on the media clock, any shape (N,)."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.block: Callable[[int], Block] = lru_cache(maxsize=8)(lambda number: _block(seed, number))
        self._sway_phase = float(np.random.default_rng((seed, 0)).uniform(0, 2 * np.pi))

    def mouth_opening(self, times_s: Times) -> Curve:
        """How far the mouth is open, 0 (closed) to 1 (wide)."""
        return self._sample(times_s, lambda block, local_s: block.mouth.at(local_s))

    def blink(self, times_s: Times) -> Curve:
        """How far the eyes are shut, 0 (open) to 1 (shut)."""
        return self._sample(times_s, lambda block, local_s: block.blinks.at(local_s))

    def speaking(self, times_s: Times) -> NDArray[np.bool_]:
        """Whether a phrase is being said; false in the pauses between phrases."""
        return self._sample(times_s, _inside_syllable).astype(bool)

    def sway(self, times_s: Times) -> tuple[Curve, Curve]:
        """Where the head is on its small round, x and y in -1..1.

        A circle at constant speed: the head never stands still, so that only a planted freeze looks like one.
        """
        angle = self._sway_phase + 2 * np.pi * times_s / SWAY_S
        return np.cos(angle), np.sin(angle)

    def _sample(self, times_s: Times, curve: Callable[[Block, Times], Curve]) -> Curve:
        numbers = np.floor(times_s / BLOCK_S).astype(np.int64)
        values = np.zeros(len(times_s))
        for number in np.unique(numbers[numbers >= 0]):
            chosen = numbers == number
            values[chosen] = curve(self.block(int(number)), times_s[chosen] - number * BLOCK_S)
        return values


def _inside_syllable(block: Block, times_s: Times) -> Curve:
    syllables = block.syllables
    index = syllables.index_at(times_s)
    inside = (times_s >= syllables.starts_s[index]) & (times_s < syllables.ends_s[index])
    return inside.astype(np.float64)


def _block(seed: int, number: int) -> Block:
    random = np.random.default_rng((seed, 1, number))
    syllables = _syllables(random)
    return Block(syllables, _mouth_keys(syllables), _blink_keys(random), _pitch_keys(random, syllables))


def _syllables(random: np.random.Generator) -> Syllables:
    """Phrases of 5 to 14 syllables with pauses between, stretched a little to fill the block exactly."""
    durations: list[float] = []
    starts: list[float] = []
    first_in_phrase: list[bool] = []
    now = FIRST_PAUSE_S
    while now < BLOCK_S - 1.5:
        rate_hz = random.uniform(3.9, 5.2)
        for position in range(random.integers(5, 15)):
            starts.append(now)
            durations.append(1 / (rate_hz * random.uniform(0.95, 1.05)))
            first_in_phrase.append(position == 0)
            now += durations[-1]
            if now > BLOCK_S - 0.8:
                break
        now += random.uniform(0.35, 0.65)
    stretch = BLOCK_S / now
    begin, length = np.array(starts) * stretch, np.array(durations) * stretch
    return _articulated(random, begin, begin + length, np.array(first_in_phrase))


def _articulated(
    random: np.random.Generator, starts_s: Times, ends_s: Times, first_in_phrase: NDArray[np.bool_]
) -> Syllables:
    count = len(starts_s)
    onsets = random.uniform(0.05, 0.3, count) * (random.random(count) > 0.35)
    onsets[first_in_phrase] = 0.0
    peaks = random.uniform(0.5, 1.0, count)
    return Syllables(starts_s, ends_s, peaks, onsets, random.integers(0, VOWELS, count))


def _mouth_keys(syllables: Syllables) -> Keys:
    """Opens from each syllable's onset to its peak, and closes where a phrase ends."""
    next_starts = np.append(syllables.starts_s[1:], np.inf)
    next_onsets = np.append(syllables.onsets[1:], 0.0)
    phrase_ends = next_starts > syllables.ends_s + 1e-6
    times, values = [0.0], [0.0]
    for i in range(len(syllables)):
        start, end = syllables.starts_s[i], syllables.ends_s[i]
        times += [start, start + 0.45 * (end - start)]
        values += [syllables.onsets[i], syllables.peaks[i]]
        if phrase_ends[i]:
            times.append(end)
            values.append(next_onsets[i])
    return Keys(np.array([*times, BLOCK_S + 1]), np.array([*values, 0.0]))


def _pitch_keys(random: np.random.Generator, syllables: Syllables) -> Keys:
    """A pitch that wanders from syllable to syllable around 120 to 150 Hz."""
    times = np.concatenate([[0.0], syllables.starts_s, [BLOCK_S]])
    return Keys(times, random.uniform(112, 158, len(times)))


def _blink_keys(random: np.random.Generator) -> Keys:
    """Blinks of 100 to 300 ms every 2 to 5 s; the eyes are open at both ends of the block."""
    times, values = [0.0], [0.0]
    now = random.uniform(1.0, 3.0)
    while now < BLOCK_S - 0.5:
        length = random.uniform(0.14, 0.3)
        times += [now, now + 0.35 * length, now + 0.5 * length, now + length]
        values += [0.0, 1.0, 1.0, 0.0]
        now += random.uniform(2.0, 5.0)
    return Keys(np.array([*times, BLOCK_S]), np.array([*values, 0.0]))
