"""Makes the weights of lip_sync: `python -m processors.lip_sync.train CLIPS... --out FILE`.

From clips of talking people. Those whose sound is in time (`--in-sync`, a pattern of their names) are trained on as
they are; the others are put where the model so far finds them, and trained on again. What estimates are worth is found
on persons that were not trained on. Person: the name of the clip, unless `--same` says that two clips show the same
one.
"""

from __future__ import annotations

import argparse
import fnmatch
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from processors.lip_sync.estimator import REACH_S, Estimate, estimate
from processors.lip_sync.features import HOP_S, Floats, Mask, mouth_features, sound_bands, with_context
from processors.lip_sync.gate import is_usable, spoken_s
from processors.lip_sync.history import Window
from processors.lip_sync.model import COMPONENTS, Calibration, LipSyncModel, correlated
from processors.lip_sync.recording import Recording
from processors.speech import RATE_HZ

__all__ = ["Trial", "fitted", "trained", "trials_of"]

_ROUNDS = 3
_REACH = round(REACH_S / HOP_S)
_FOLDS = 5
_LENGTHS_S, _STEP_S = (2.0, 3.0, 4.0), 0.5
_RIGHT_S = 0.06  # an offset so near to the truth is right; GRID's own is known to 40 ms
_HELD = 0.9  # of the intervals must hold the truth
_CLEAR = 0.1  # margin from which a whole clip's offset serves as the truth
_MISMATCHED = 3  # of other persons' sounds that are tried with each clip
_UNCALIBRATED = Calibration(0.0, np.zeros(5), np.zeros(3))


@dataclass(frozen=True, slots=True)
class Trial:
    """An estimate on a person that was not trained on.

    :ivar truth_s: the offset; `None`: there is none, for the sound is another person's.
    :ivar is_known: that is known of itself; else it is what the model says of the whole clip.
    """

    estimate: Estimate
    truth_s: float | None
    is_known: bool = False

    @property
    def is_right(self) -> bool:
        """Near to the truth."""
        return self.truth_s is not None and abs(self.estimate.offset_s - self.truth_s) <= _RIGHT_S


@dataclass(frozen=True, slots=True)
class Clip:
    """A recording to train on.

    :ivar person: no two persons share it.
    :ivar in_sync: its offset is known to be 0.
    """

    recording: Recording
    person: str
    in_sync: bool


def trained(clips: Sequence[Clip], provenance: str = "") -> LipSyncModel:
    """A model of these clips, with what it is worth to persons that it does not know.

    :raises ValueError: when there are fewer than five persons, or none of their clips is in sync.
    """
    persons = sorted({clip.person for clip in clips})
    if len(persons) < _FOLDS or not any(clip.in_sync for clip in clips):
        raise ValueError(f"{len(persons)} persons; at least {_FOLDS} are needed, and a clip that is in sync")
    trials: list[Trial] = []
    zeros_s: list[float] = []
    for fold in range(_FOLDS):
        tried = set(persons[fold::_FOLDS])
        model = fitted([clip for clip in clips if clip.person not in tried])
        for clip in clips:
            if clip.person in tried:
                others = [each.recording for each in clips if each.person not in tried]
                trials += trials_of(model, clip, others)
                zeros_s += _zero_s(model, clip)
    return replace(fitted(clips), calibration=_calibration(trials, float(np.mean(zeros_s))), provenance=provenance)


def fitted(clips: Sequence[Clip]) -> LipSyncModel:
    """A model of these clips that knows nothing of its own worth."""
    windows = [(clip, window) for clip in clips if (window := clip.recording.whole()) is not None]
    features = [(clip.in_sync, *_features(window)) for clip, window in windows]
    offsets = [0] * len(windows)
    for _ in range(_ROUNDS + 1):
        pairs = [_aligned(sound, mouth, hops) for (_, sound, mouth), hops in zip(features, offsets, strict=True)]
        model = LipSyncModel(*correlated(pairs), _UNCALIBRATED, "")
        found = [_whole(model, window).offset_s for _, window in windows]
        offsets = [0 if clip.in_sync else round(each / HOP_S) for (clip, _), each in zip(windows, found, strict=True)]
    return model


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


def _zero_s(model: LipSyncModel, clip: Clip) -> Iterator[float]:
    whole = clip.recording.whole()
    if clip.in_sync and whole is not None:
        yield _whole(model, whole).offset_s


def trials_of(model: LipSyncModel, clip: Clip, others: Sequence[Recording]) -> Iterator[Trial]:
    """Windows of a clip, with its own sound and with that of some others; those with speech and a face."""
    whole = clip.recording.whole()
    if whole is None:
        return
    reference = _whole(model, whole)
    if clip.in_sync or reference.margin >= _CLEAR:
        truth_s = 0.0 if clip.in_sync else reference.offset_s
        for found in _estimates(model, clip.recording):
            yield Trial(found, truth_s, clip.in_sync)
    first = sum(map(ord, clip.person))  # whichever, but always the same
    for number in range(min(_MISMATCHED, len(others))):
        other = others[(first + 5 * number) % len(others)]
        for found in _estimates(model, dubbed(clip.recording, other)):
            yield Trial(found, None)


def dubbed(recording: Recording, other: Recording) -> Recording:
    """The pictures of one with the sound of another, again and again where it is shorter."""
    times = -(-clip_samples(recording) // other.samples.size)
    return recording.with_sound(np.tile(other.samples, times)[: clip_samples(recording)], float(recording.times_s[0]))


def clip_samples(recording: Recording) -> int:
    """How many samples its pictures last."""
    return round(float(recording.times_s[-1] - recording.times_s[0]) * RATE_HZ)


def _estimates(model: LipSyncModel, recording: Recording) -> Iterator[Estimate]:
    for length_s in _LENGTHS_S:
        for window in recording.windows(length_s, _STEP_S):
            voiced_s = spoken_s(recording.segments_s, window.start_s, window.end_s)
            if is_usable(window, voiced_s):
                yield estimate(model, window.stretch, window.part, voiced_s)


def _calibration(trials: Sequence[Trial], zero_s: float) -> Calibration:
    trials = [
        replace(each, estimate=replace(each.estimate, offset_s=each.estimate.offset_s - zero_s)) for each in trials
    ]
    evidence = np.array([each.estimate.evidence for each in trials])
    right = np.array([each.is_right for each in trials])
    gate = _logistic(evidence, right)
    error = _error([each for each in trials if each.is_right])
    return Calibration(zero_s, gate, error)


def _with_zero(trial: Trial, zero_s: float) -> Trial:
    """The same by a model that knows its zero."""
    found = replace(trial.estimate, offset_s=trial.estimate.offset_s - zero_s)
    if trial.truth_s is None or trial.is_known:
        return replace(trial, estimate=found)
    return replace(trial, estimate=found, truth_s=trial.truth_s - zero_s)


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


def _error(trials: Sequence[Trial]) -> Floats:
    """Weights of the spread and of what a second of voice stands for, and a constant, for the error of nine in ten.

    Quantile regression (Koenker and Bassett 1978) by least squares that are weighted again and again.
    """
    errors = np.array([abs(each.estimate.offset_s - (each.truth_s or 0.0)) for each in trials])
    x = np.array([(each.estimate.spread_s, 1 / each.estimate.voiced_s, 1.0) for each in trials])
    line = np.array((0.0, 0.0, float(np.quantile(errors, _HELD))))
    for _ in range(100):
        off = errors - x @ line
        weights = np.where(off > 0, _HELD, 1 - _HELD) / np.maximum(np.abs(off), 1e-4)
        weighted = x * weights[:, np.newaxis]
        line = np.linalg.solve(weighted.T @ x + 1e-6 * np.eye(3), weighted.T @ errors)
    return np.asarray(line)


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
    """Train and write."""
    arguments = _arguments()
    clips = clips_of(arguments.clips, arguments.in_sync, arguments.same, sys.stderr.write)
    model = trained(clips, arguments.provenance)
    model.save(arguments.out)
    sys.stdout.write(f"{arguments.out}: {len(clips)} clips, {COMPONENTS} variates, weights {model.weights.round(3)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
