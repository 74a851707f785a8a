"""Makes the weights of lip_sync: `python -m processors.lip_sync.train CLIPS... --out FILE`.

From clips of talking people. Those whose sound is in time (`--in-sync`, a pattern of their names) are trained on as
they are; the others are put where the model so far finds them, and trained on again. What estimates are worth is found
on persons that were not trained on. Person: the name of the clip, unless `--same` says that two clips show the same
one.
"""

from __future__ import annotations

import argparse
import fnmatch
import math
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import compress
from pathlib import Path

import av
import numpy as np

from processors.lip_sync.estimator import REACH_S, Estimate, estimate
from processors.lip_sync.features import HOP_S, Floats, Mask, mouth_features, sound_bands, with_context
from processors.lip_sync.gate import Gate, is_usable, spoken_s
from processors.lip_sync.history import Window
from processors.lip_sync.model import COMPONENTS, Calibration, LipSyncModel, correlated
from processors.lip_sync.recording import Recording
from processors.speech import RATE_HZ

__all__ = ["Apart", "Clip", "Trial", "apart", "clips_of", "dubbed", "fitted", "noisy", "trained", "trials_of"]

_ROUNDS = 3
_REACH = round(REACH_S / HOP_S)
_LEAST_PERSONS = 5
_LENGTHS_S, _STEP_S = (2.0, 3.0, 4.0), 0.45
_NOISES_DB = (20.0, 10.0)  # below the voice; trained with, the model heeds what is heard through noise
_RIGHT_S = 0.06  # an offset so near to the truth is right; GRID's own is known to 40 ms
_HELD = 0.9  # of the intervals must hold the truth
_CLEAR = 0.1  # margin from which a whole clip's offset serves as the truth
_MISMATCHED = 3  # of other persons' sounds that are tried with each clip
_UNCALIBRATED = Calibration(0.0, np.zeros(6), 0.0)


@dataclass(frozen=True, slots=True)
class Trial:
    """An estimate on a person that was not trained on.

    :ivar clip: the name of the clip.
    :ivar persons: who is seen, and who is heard.
    :ivar evidence: for it, as `Gate.weigh` has it, `(5,)`.
    :ivar truth_s: the offset, as the model has it that knows no zero; `None`: there is none, for the sound is another
        person's.
    :ivar is_known: it is not what the model says of the whole clip, but its zero.
    """

    clip: str
    persons: frozenset[str]
    estimate: Estimate
    evidence: Floats
    truth_s: float | None
    is_known: bool = False

    def error_s(self, zero_s: float) -> float:
        """How far from the truth; `inf`: there is none."""
        if self.truth_s is None:
            return math.inf
        return abs(self.estimate.offset_s - (zero_s if self.is_known else self.truth_s))


@dataclass(frozen=True)
class Clip:
    """A recording to train on.

    :ivar person: no two persons share it.
    :ivar in_sync: its offset is known to be 0.
    """

    recording: Recording
    person: str
    in_sync: bool

    @cached_property
    def whole(self) -> Window | None:
        """All of it."""
        return self.recording.whole()

    @cached_property
    def examples(self) -> list[tuple[Floats, Floats]]:
        """Features of sound and mouth, without noise and with."""
        recordings = [self.recording, *(noisy(self.recording, each) for each in _NOISES_DB)]
        return [_features(window) for each in recordings if (window := each.whole()) is not None]


@dataclass(frozen=True, slots=True)
class Apart:
    """What models say of persons that they do not know.

    :ivar models: by person, of all clips but those of this person.
    :ivar zeros_s: by person, what they say of whole clips that are in sync.
    """

    models: Mapping[str, LipSyncModel]
    zeros_s: Mapping[str, Sequence[float]]
    trials: Sequence[Trial]

    def calibration(self, without: str | None = None) -> Calibration:
        """What estimates are worth, by all trials, or by those without a person, neither seen nor heard."""
        zero_s = float(
            np.mean([each for person, zeros_s in self.zeros_s.items() if person != without for each in zeros_s])
        )
        return _calibration([trial for trial in self.trials if without not in trial.persons], zero_s)

    def model(self, person: str) -> LipSyncModel:
        """That does not know this person, and is calibrated by the others."""
        return replace(self.models[person], calibration=self.calibration(person))


def apart(clips: Sequence[Clip]) -> Apart:
    """Leave each person out once.

    :raises ValueError: when there are fewer than five persons, or less than two of them in sync.
    """
    persons = sorted({clip.person for clip in clips})
    in_sync = {clip.person for clip in clips if clip.in_sync}
    if len(persons) < _LEAST_PERSONS or len(in_sync) < 2:
        needed = f"needed: {_LEAST_PERSONS} or more, and 2 or more in sync (--in-sync)"
        raise ValueError(f"{len(persons)} persons, {len(in_sync)} of them in sync; {needed}")
    models: dict[str, LipSyncModel] = {}
    zeros_s: dict[str, list[float]] = {}
    trials: list[Trial] = []
    for person in persons:
        others = [clip for clip in clips if clip.person != person]
        models[person] = model = fitted(others)
        own = [clip for clip in clips if clip.person == person]
        wholes = [clip.whole for clip in own if clip.in_sync]
        zeros_s[person] = [_whole(model, whole).offset_s for whole in wholes if whole is not None]
        trials += [trial for clip in own for trial in trials_of(model, clip, others)]
    return Apart(models, zeros_s, trials)


def trained(clips: Sequence[Clip], provenance: str = "") -> LipSyncModel:
    """A model of these clips, with what it is worth to persons that it does not know.

    :raises ValueError: as `apart` does.
    """
    return replace(fitted(clips), calibration=apart(clips).calibration(), provenance=provenance)


def fitted(clips: Sequence[Clip]) -> LipSyncModel:
    """A model of these clips that knows nothing of its own worth."""
    hops = dict.fromkeys((clip.recording.name for clip in clips), 0)
    for _ in range(_ROUNDS):
        model = _correlated(clips, hops, slice(1))
        for clip in clips:
            if clip.whole is not None and not clip.in_sync:
                hops[clip.recording.name] = round(_whole(model, clip.whole).offset_s / HOP_S)
    return _correlated(clips, hops, slice(None))


def _correlated(clips: Sequence[Clip], hops: Mapping[str, int], which: slice) -> LipSyncModel:
    """A model of some of the clips' examples, whose sound is so many hops late."""
    pairs = [_aligned(*each, hops[clip.recording.name]) for clip in clips for each in clip.examples[which]]
    return LipSyncModel(*correlated(pairs), _UNCALIBRATED, "")


def noisy(recording: Recording, decibel: float, seed: int = 1) -> Recording:
    """With white noise so far below the sound; what is speech is taken to stay so."""
    power = float(np.mean(np.square(recording.samples, dtype=np.float64))) * 10 ** (-decibel / 10)
    noise = np.random.default_rng(seed).standard_normal(recording.samples.size) * np.sqrt(power)
    return replace(recording, samples=(recording.samples + noise).astype(np.float32))


def _features(window: Window) -> tuple[Floats, Floats]:
    """Of the sound, from `REACH_S` before the window to as much behind it, NaN where none came; of the mouth in it."""
    stretch = window.stretch
    sound = with_context(sound_bands(stretch.mel, stretch.came))
    sound[~stretch.came] = np.nan
    return sound[window.part.start - _REACH : window.part.stop + _REACH], mouth_features(stretch.mouth[window.part])


def _aligned(sound: Floats, mouth: Floats, hops: int) -> tuple[Floats, Floats]:
    moved = sound[_REACH + hops : _REACH + hops + len(mouth)]
    came = ~np.isnan(moved[:, 0])
    return moved[came], mouth[came]


def _whole(model: LipSyncModel, window: Window) -> Estimate:
    return estimate(model, window.stretch, window.part, window.end_s - window.start_s)


def trials_of(model: LipSyncModel, clip: Clip, others: Sequence[Clip]) -> Iterator[Trial]:
    """Windows of a clip, with its own sound and with that of some others; those with speech and a face."""
    if clip.whole is None:
        return
    name, reference = clip.recording.name, _whole(model, clip.whole)
    if clip.in_sync or reference.margin >= _CLEAR:
        for found, evidence in _weighed(model, clip.recording):
            yield Trial(name, frozenset({clip.person}), found, evidence, reference.offset_s, clip.in_sync)
    first = sum(map(ord, clip.person))  # whichever, but always the same
    for number in range(min(_MISMATCHED, len(others))):
        other = others[(first + 5 * number) % len(others)]
        for found, evidence in _weighed(model, dubbed(clip.recording, other.recording)):
            yield Trial(name, frozenset({clip.person, other.person}), found, evidence, None)


def dubbed(recording: Recording, other: Recording) -> Recording:
    """The pictures of one with the sound of another, again and again where it is shorter."""
    times = -(-clip_samples(recording) // other.samples.size)
    return recording.with_sound(np.tile(other.samples, times)[: clip_samples(recording)], float(recording.times_s[0]))


def clip_samples(recording: Recording) -> int:
    """How many samples its pictures last."""
    return round(float(recording.times_s[-1] - recording.times_s[0]) * RATE_HZ)


def _weighed(model: LipSyncModel, recording: Recording) -> Iterator[tuple[Estimate, Floats]]:
    for length_s in _LENGTHS_S:
        gate = Gate(_UNCALIBRATED, 0.0)
        for window in recording.windows(length_s, _STEP_S):
            voiced_s = spoken_s(recording.segments_s, window.start_s, window.end_s)
            if is_usable(window, voiced_s):
                found = estimate(model, window.stretch, window.part, voiced_s)
                yield found, gate.weigh(window.middle_s, found)


def _calibration(trials: Sequence[Trial], zero_s: float) -> Calibration:
    errors_s = np.array([each.error_s(zero_s) for each in trials])
    evidence = np.array([each.evidence for each in trials])
    gate = _logistic(evidence, errors_s <= _RIGHT_S)
    believed = np.isfinite(errors_s) & (evidence @ gate[:-1] + gate[-1] > 0)
    return Calibration(zero_s, gate, _error_s(list(compress(trials, believed)), errors_s[believed]))


def _logistic(evidence: Floats, right: Mask) -> Floats:
    """Weights and a constant for the log odds, right and wrong being as likely; Newton's method."""
    scale, middle = evidence.std(axis=0), evidence.mean(axis=0)
    x = np.column_stack([(evidence - middle) / scale, np.ones(len(evidence))])
    balance = np.where(right, 0.5 / right.mean(), 0.5 / (~right).mean())
    weights = np.zeros(x.shape[1])
    for _ in range(20):
        odds = 1 / (1 + np.exp(-x @ weights))
        slope = x.T @ (balance * (right - odds)) - weights
        bend = (x * (balance * odds * (1 - odds))[:, np.newaxis]).T @ x + np.eye(len(weights))
        weights = weights + np.linalg.solve(bend, slope)
    plain = weights[:-1] / scale
    return np.append(plain, weights[-1] - plain @ middle)


def _error_s(trials: Sequence[Trial], errors_s: Floats) -> float:
    """The error of nine in ten where a second is voice, each clip counting the same.

    It falls with the root of how much is: a conformal quantile of errors so normalised (Papadopoulos et al. 2008).
    """
    counts = Counter(each.clip for each in trials)
    shares = np.array([1 / counts[each.clip] for each in trials])
    normalised = errors_s * np.sqrt([each.estimate.voiced_s for each in trials])
    order = normalised.argsort()
    within = np.cumsum(shares[order]) / shares.sum()
    return float(normalised[order][np.searchsorted(within, _HELD)])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m processors.lip_sync.train", description=(__doc__ or "").split(":")[0]
    )
    parser.add_argument("clips", type=Path, nargs="+", help="recordings of one talking person each")
    parser.add_argument("--out", type=Path, required=True, help="file to write (.npz)")
    parser.add_argument("--in-sync", default="grid_*", metavar="PATTERN", help="clips whose sound is in time")
    parser.add_argument("--same", action="append", default=[], metavar="CLIP,CLIP", help="clips that show one person")
    parser.add_argument("--provenance", default="", help="what the clips are; kept in the file")
    return parser.parse_args()


def clips_of(paths: Sequence[Path], in_sync: str, same: Sequence[str], say: Callable[[str], object]) -> list[Clip]:
    """Read clips; tells which one it reads."""
    person_of = {name: group.split(",")[0] for group in same for name in group.split(",")}
    clips = []
    for path in paths:
        say(f"{path.name} ...\n")
        recording = Recording.of_clip(path)
        person = person_of.get(path.name, path.name)
        clips.append(Clip(recording, person, fnmatch.fnmatch(path.name, in_sync)))
    return clips


def main() -> int:
    """Train and write; 2 where that cannot be."""
    arguments = _arguments()
    try:
        clips = clips_of(arguments.clips, arguments.in_sync, arguments.same, sys.stderr.write)
        model = trained(clips, arguments.provenance)
        model.save(arguments.out)
    except (av.FFmpegError, OSError, ValueError) as error:
        sys.stderr.write(f"lip_sync: {error}\n")
        return 2
    sys.stdout.write(f"{arguments.out}: {len(clips)} clips, {COMPONENTS} variates, weights {model.weights.round(3)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
