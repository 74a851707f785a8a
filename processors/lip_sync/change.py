"""When the offset changed from one to another, to a picture or two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from processors.lip_sync.estimator import Stretch
from processors.lip_sync.features import HOP_S, Floats, Mask, normal, product

__all__ = ["LEARNT_S", "REACH_S", "moment_of_change"]

REACH_S = 1.5
"""To each side of where a change is supposed, it is looked for."""

LEARNT_S = 4.5
"""To each side, of which is learnt how this mouth goes with this voice; before, the offset may have been another."""

_AMPLITUDE = 0.5  # of the power of a band: what opens a mouth makes it loud, and a logarithm would hide how loud
_AROUND = (-3, 0, 3)  # hops of sound that belong to a moment
_LIPS = (0, 1)  # inner and outer
_RIDGE = 100.0
_ROUNDS, _BESIDE_S = 3, 0.3  # of looking, and what is not learnt from beside the moment that was found before
_MOST_WRONG = 3  # hops by which an offset may be corrected in a round: windows that hold the change tell them
_TINY = 1e-9


def moment_of_change(stretch: Stretch, before_s: float, slope: float, after_s: float, around_s: float) -> float:
    """From when on sound is about `after_s` late, and no longer `before_s`; on the sound's time.

    What this mouth does with this sound is learnt on both sides by least squares: a model of one person over some
    seconds tells more of a single syllable than one of all people. By it, both offsets are made more exact, and the
    change is where both together explain the mouth best; then the same again, with all that is now known to be on one
    side.

    :param stretch: of sound and mouth, with `LEARNT_S` on both sides as far as they are known.
    :param before_s: how late it is at `around_s`, had it not changed.
    :param slope: by how much later it becomes in a second until then, in seconds.
    :param around_s: where the change is supposed, `REACH_S` at most away.
    """
    times_s, sound, lips = stretch.times_s, _loudness(stretch), _Lips(normal(stretch.mouth[:, _LIPS]), stretch.came)
    offsets_s = [before_s + slope * (times_s - around_s), np.full(len(times_s), after_s)]
    near, learnt = (np.abs(times_s - around_s) <= reach_s for reach_s in (REACH_S, LEARNT_S))
    moment_s, beside_s = around_s, REACH_S
    for _ in range(_ROUNDS):
        sides = [learnt & (times_s < moment_s - beside_s), learnt & (times_s > moment_s + beside_s)]
        mouths = [lips.late(each) for each in offsets_s]
        sides = [side & mouth.known for side, mouth in zip(sides, mouths, strict=True)]
        if not all(side.any() for side in sides):
            return moment_s
        model = _Model.learnt(sound, sides, mouths)
        for i, side in enumerate(sides):
            offsets_s[i] = offsets_s[i] + _correction_s(lips, model, offsets_s[i], side)
        before, after = (lips.late(each) for each in offsets_s)
        gain = (model.misses(after) - model.misses(before)) * (before.known & after.known)
        moment_s, beside_s = float(times_s[near][np.cumsum(gain[near]).argmax()]), _BESIDE_S
    return moment_s


@dataclass(frozen=True, slots=True)
class _Mouth:
    """The mouth that belongs to each moment of sound, `(T, 2)`, and where there are both."""

    distances: Floats
    known: Mask


@dataclass(frozen=True, slots=True)
class _Lips:
    """Inner and outer lips at each moment, `(T, 2)`, and which moments of the sound came."""

    distances: Floats
    came: Mask

    def late(self, offsets_s: Floats) -> _Mouth:
        """The mouth where the sound is so late at each of its moments, `(T,)`."""
        count = len(self.distances)
        places = np.arange(count) - np.rint(offsets_s / HOP_S).astype(int)
        known = (places >= 0) & (places < count) & self.came
        return _Mouth(self.distances[np.clip(places, 0, count - 1)], known)


@dataclass(frozen=True, slots=True)
class _Model:
    """The mouth that is expected of the sound, `(T, 2)`, and the variance of what that misses, `(2,)`."""

    expected: Floats
    variance: Floats

    @classmethod
    def learnt(cls, sound: Floats, sides: Sequence[Mask], mouths: Sequence[_Mouth]) -> _Model:
        """From the moments of each side, with the mouth that belongs to them there."""
        known = np.concatenate([sound[side] for side in sides])
        mouth = np.concatenate([each.distances[side] for each, side in zip(mouths, sides, strict=True)])
        square = product(known.T, known) + _RIDGE * np.eye(known.shape[1])
        weights = np.asarray(np.linalg.solve(square, product(known.T, mouth)), np.float64)
        missed = product(known, weights) - mouth
        return cls(product(sound, weights), np.asarray((missed**2).mean(axis=0) + _TINY))

    def misses(self, mouth: _Mouth) -> Floats:
        """By how much a mouth is another than expected, squares over variances; `(T,)`."""
        return np.asarray(((self.expected - mouth.distances) ** 2 / self.variance).sum(axis=1))


def _correction_s(lips: _Lips, model: _Model, offsets_s: Floats, side: Mask) -> float:
    """What to add to the offsets of a side, so that the model misses its mouth by the least."""
    steps_s = np.arange(-_MOST_WRONG, _MOST_WRONG + 1) * HOP_S
    misses = [model.misses(lips.late(offsets_s + step_s))[side].mean() for step_s in steps_s]
    return float(steps_s[int(np.argmin(misses))])


def _loudness(stretch: Stretch) -> Floats:
    """Amplitudes of the bands of each moment and of those around it, and a constant; `(T, 79)`."""
    bands = normal(np.asarray(np.exp(_AMPLITUDE * stretch.mel), np.float64))
    places = np.arange(len(bands))
    around = [bands[np.clip(places + hops, 0, len(bands) - 1)] for hops in _AROUND]
    return np.hstack([np.ones((len(bands), 1)), *around])
