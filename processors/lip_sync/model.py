"""The trained linear model: what projects sound and mouth so that they correlate, and what its figures are worth."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np

from processors.lip_sync.features import AROUND, BANDS, DISTANCES, Floats, normal, product
from vision import ModelError

__all__ = ["Calibration", "LipSyncModel", "correlated", "load", "shipped"]

COMPONENTS = 8
RIDGE = 0.5  # of variables of unit variance; 0.15 to 1 serve persons that were not trained on about as well

_SOUND, _MOUTH = len(AROUND) * BANDS, 3 * DISTANCES


@dataclass(frozen=True, slots=True)
class Calibration:
    """What is known of estimates from persons that the model was not trained on.

    :ivar zero_s: what it says of sound that is in time.
    :ivar gate: weights of `Gate.weigh`'s evidence and a constant, `(6,)`: log odds that an offset is right.
    :ivar error_s: half the interval that holds the truth in nine of ten, of a window with a second of voice.
    """

    zero_s: float
    gate: Floats
    error_s: float


@dataclass(frozen=True, slots=True)
class LipSyncModel:
    """Canonical variates, as in FaceSync (Slaney and Covell, NIPS 2000), and what they are worth.

    :ivar sound: `(338, 8)`, from the bands of a moment and those around it.
    :ivar mouth: `(21, 8)`, from how the mouth moves.
    :ivar weights: `(8,)`, of the variates' correlations; they sum to 1.
    :ivar provenance: what it was made of, and how.
    """

    sound: Floats
    mouth: Floats
    weights: Floats
    calibration: Calibration
    provenance: str

    def project_sound(self, bands: Floats) -> Floats:
        """Variates of the sound, `(T, 8)`, of bands `(T, 26)`; at the ends, the nearest bands are repeated."""
        reach = AROUND[-1]
        padded = np.concatenate([bands[:1].repeat(reach, axis=0), bands, bands[-1:].repeat(reach, axis=0)])
        projected = np.zeros((len(bands), COMPONENTS))
        for hops, weights in zip(AROUND, self.sound.reshape(len(AROUND), BANDS, -1), strict=True):
            first = reach + hops
            projected += product(padded[first : first + len(bands)], weights)
        return projected

    def project_mouth(self, features: Floats) -> Floats:
        """Variates of the mouth, `(T, 8)`, of features `(T, 21)`."""
        return product(features, self.mouth)

    def save(self, path: Path) -> None:
        """Write it down, with its provenance, as an `.npz`."""
        about = json.dumps({"provenance": self.provenance})
        with path.open("wb") as file:  # a name without .npz stays as it is
            np.savez_compressed(
                file,
                sound=self.sound.astype(np.float32),
                mouth=self.mouth.astype(np.float32),
                weights=self.weights.astype(np.float32),
                zero_s=np.float32(self.calibration.zero_s),
                gate=self.calibration.gate.astype(np.float32),
                error_s=np.float32(self.calibration.error_s),
                about=np.array(about),
            )


def load(path: Path) -> LipSyncModel:
    """Read what `LipSyncModel.save` wrote.

    :raises ModelError: when the file is missing or is no such model.
    """
    try:
        with np.load(path) as file:
            calibration = Calibration(float(file["zero_s"]), file["gate"].astype(float), float(file["error_s"]))
            sound, mouth, weights = (file[each].astype(float) for each in ("sound", "mouth", "weights"))
            provenance = str(json.loads(str(file["about"]))["provenance"])
    except (OSError, KeyError, ValueError) as error:
        raise ModelError(f"lip_sync: {path} is no model of lip_sync: {error}") from error
    shapes = [each.shape for each in (sound, mouth, weights, calibration.gate)]
    if shapes != [(_SOUND, COMPONENTS), (_MOUTH, COMPONENTS), (COMPONENTS,), (6,)]:
        raise ModelError(f"lip_sync: {path} is of another version: its arrays have the shapes {shapes}")
    return LipSyncModel(sound, mouth, weights, calibration, provenance)


@lru_cache(maxsize=1)
def shipped() -> LipSyncModel:
    """The model in the package."""
    with as_file(files("processors.lip_sync") / "weights.npz") as path:
        return load(path)


def correlated(pairs: Sequence[tuple[Floats, Floats]]) -> tuple[Floats, Floats, Floats]:
    """Canonical correlation of sound and mouth, pairs of features `(T, 338)` and `(T, 21)` that belong together.

    :returns: `sound`, `mouth` and `weights` of a model. The weights are the cubes of the correlations (squares let the
        weak variates say more than they know of other persons).
    """
    sound, mouth = (normal(np.concatenate(side)) for side in zip(*pairs, strict=True))
    roots = [_inverse_root(side.T @ side / len(side) + RIDGE * np.eye(side.shape[1])) for side in (sound, mouth)]
    left, strengths, right = np.linalg.svd(roots[0] @ (sound.T @ mouth / len(sound)) @ roots[1], full_matrices=False)
    best = slice(COMPONENTS)
    weights = strengths[best] ** 3
    return roots[0] @ left[:, best], roots[1] @ right[best].T, weights / weights.sum()


def _inverse_root(matrix: Floats) -> Floats:
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray(vectors / np.sqrt(values) @ vectors.T)
