"""How well a small linear model finds the offset of sound and mouth from each variant's landmarks.

FaceSync's way (Slaney and Covell, "FaceSync: A linear operator for measuring synchronization of video facial images and
audio tracks", NIPS 2000): canonical correlation of log-mel bands, with what is around them, and distances of the mouth.
Trained without the person it is tried on. An offset > 0: the sound is late.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from benchmarks.landmark_variants import Clip
from processors.lip_sync.features import pchip

__all__ = ["Accuracy", "Track", "accuracy_of", "accuracy_table", "usable_clips"]

Floats = NDArray[np.float64]

_RATE_HZ, _HOP_HZ = 16_000, 100
_WINDOW_S, _MARGIN_S, _STEP_S = 3.0, 0.5, 0.5
_SHIFTS = np.arange(-50, 51)  # hops: half a second to each side
_AROUND = np.arange(-24, 25, 4)  # hops of sound around each moment
_BANDS, _LOW_HZ, _HIGH_HZ, _FFT = 26, 80, 7600, 512
_RIDGE, _COMPONENTS, _ROUNDS = 0.1, 8, 4
_LOCAL_S = 0.15  # what is nearer to the peak belongs to it
_LEAST_MARGIN, _LEAST_FACES = 0.1, 0.8

# pairs of points; the first three are averaged: inner lips. Then outer lips, width, inner width, nose to chin, nose to
# lip, lip to chin
_PAIRS = ((13, 14), (82, 87), (312, 317), (0, 17), (61, 291), (78, 308), (1, 152), (1, 0), (17, 152))
_EYES = (33, 263)

# clips of which one must not be trained on when another is tried: the same person, or one who looks like it
_SAME_PERSON = (
    {"sad_WDA_AlexandriaOcasioCortez_000.mp4", "vrt_3.mp4"},
    {"grid_id2_swwp2s.mpg", "grid_pwij3p.mpg"},
    {"pcavs_Input_00002.mp4", "pcavs_Pose_517600055.mp4"},
)


@dataclass(slots=True)
class Track:
    """A clip at 100 Hz.

    :ivar mel: `(T, 26)` log of the bands' energy.
    :ivar mouth: `(T, 7)` distances over that between the eyes.
    :ivar seen: `(T,)`: a face was found near it.
    :ivar in_sync: its offset is known to be 0.
    :ivar offset: hops, by which it is trained on.
    """

    name: str
    mel: Floats
    mouth: Floats
    seen: NDArray[np.bool_]
    in_sync: bool
    offset: int = 0
    whole: tuple[Floats, Floats] = field(init=False)

    def __post_init__(self) -> None:
        self.whole = self.features(0, len(self.mel))

    def features(self, start: int, stop: int) -> tuple[Floats, Floats]:
        """Sound `(T, 338)` and mouth `(T, 14)` of a stretch, of which alone every statistic is taken."""
        mel = self.mel[start:stop]
        bands = _normal(np.maximum(mel, np.percentile(mel, 5)))
        at = np.clip(np.arange(len(bands))[:, np.newaxis] + _AROUND, 0, len(bands) - 1)
        mouth = _normal(_band_passed(self.mouth[start:stop]))
        return bands[at].reshape(len(bands), -1), np.hstack([mouth, _normal(np.gradient(mouth, axis=0))])


@dataclass(frozen=True, slots=True)
class _Model:
    """What projects sound and mouth, each less its mean, so that they correlate."""

    sound: Floats
    mouth: Floats
    weights: Floats

    def offset(self, features: tuple[Floats, Floats], window: slice) -> tuple[float, float]:
        """Offset in ms of the mouth in a window, and by how much it beats all that is not near it."""
        sound, mouth = features[0] @ self.sound, features[1] @ self.mouth
        scores = np.array([self._score(sound, mouth, window, int(shift)) for shift in _SHIFTS])
        peak = int(scores.argmax())
        far = np.abs(_SHIFTS - _SHIFTS[peak]) > _LOCAL_S * _HOP_HZ
        between = _vertex(scores[peak - 1 : peak + 2]) if 0 < peak < len(scores) - 1 else 0.0
        return 1000 / _HOP_HZ * (_SHIFTS[peak] + between), float(scores[peak] - scores[far].max())

    def _score(self, sound: Floats, mouth: Floats, window: slice, shift: int) -> float:
        first, last = max(window.start, -shift), min(window.stop, len(sound) - shift)
        one, other = _normal(sound[first + shift : last + shift]), _normal(mouth[first:last])
        return float((one * other).mean(axis=0) @ self.weights)


def _vertex(three: Floats) -> float:
    """Where the parabola through three values has its peak, -0.5..0.5 from the middle one."""
    low, middle, high = three
    bend = low - 2 * middle + high
    return float((low - high) / (2 * bend)) if bend else 0.0


def _normal(values: Floats) -> Floats:
    return np.asarray((values - values.mean(axis=0)) / (values.std(axis=0) + 1e-9))


def _band_passed(values: Floats) -> Floats:
    """0.4-8 Hz without delay: a Butterworth filter of second order, there and back, by its gain."""
    count = len(values)
    mirrored = np.concatenate([2 * values[0] - values[:0:-1], values, 2 * values[-1] - values[-2::-1]])
    hz = np.fft.rfftfreq(len(mirrored), 1 / _HOP_HZ)
    gain = 1 / (1 + (hz / 8) ** 4) * (1 - 1 / (1 + (hz / 0.4) ** 4))
    filtered = np.fft.irfft(np.fft.rfft(mirrored, axis=0) * gain[:, np.newaxis], len(mirrored), axis=0)
    return np.asarray(filtered[count - 1 : 2 * count - 1])


def _trained(tracks: Sequence[Track]) -> _Model:
    """Canonical correlation over all tracks, each shifted by its offset."""
    pairs = [_aligned(*track.whole, track.offset) for track in tracks]
    sound, mouth = (_normal(np.concatenate(side)) for side in zip(*pairs, strict=True))
    roots = [_inverse_root(side.T @ side / len(side) + _RIDGE * np.eye(side.shape[1])) for side in (sound, mouth)]
    left, strengths, right = np.linalg.svd(roots[0] @ (sound.T @ mouth / len(sound)) @ roots[1], full_matrices=False)
    best = slice(_COMPONENTS)
    return _Model(roots[0] @ left[:, best], roots[1] @ right[best].T, strengths[best] ** 2)


def _aligned(sound: Floats, mouth: Floats, offset: int) -> tuple[Floats, Floats]:
    first, last = max(0, -offset), min(len(sound), len(sound) - offset)
    return sound[first + offset : last + offset], mouth[first:last]


def _inverse_root(matrix: Floats) -> Floats:
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray(vectors / np.sqrt(values) @ vectors.T)


def _trained_and_realigned(tracks: Sequence[Track]) -> _Model:
    """Clips whose offset is not known are put where the model so far finds them."""
    for track in tracks:
        track.offset = 0
    model = _trained(tracks)
    for _ in range(_ROUNDS):
        for track in tracks:
            if not track.in_sync:
                track.offset = round(model.offset(track.whole, slice(0, len(track.mel)))[0] * _HOP_HZ / 1000)
        model = _trained(tracks)
    return model


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Of windows of 3 s, of persons that were not trained on.

    :ivar errors_ms: of each window: from 0 where that is known to be right, else from what the whole clip gives; `inf`
        where that is not sure.
    :ivar sure: the windows whose peak is clear, and which show a face.
    :ivar whole_ms: offsets of the whole clips, by name.
    """

    errors_ms: Floats
    sure: NDArray[np.bool_]
    whole_ms: dict[str, float]

    def within(self, ms: float, *, sure: bool) -> float:
        """% of the windows, or of the sure ones."""
        errors = self.errors_ms[self.sure] if sure else self.errors_ms
        return 100 * float((np.abs(errors) <= ms).mean())


def accuracy_of(tracks: Sequence[Track]) -> Accuracy:
    """Try each track with a model of the others."""
    errors: list[float] = []
    sure: list[bool] = []
    whole: dict[str, float] = {}
    for tried in tracks:
        model = _trained_and_realigned([track for track in tracks if not _same_person(track.name, tried.name)])
        whole_ms, margin = model.offset(tried.whole, slice(0, len(tried.mel)))
        truth_ms = 0.0 if tried.in_sync else whole_ms if margin >= _LEAST_MARGIN else float("inf")
        whole[tried.name] = whole_ms
        for start, stop in _windows(len(tried.mel)):
            offset_ms, margin = _of_window(model, tried, start, stop)
            errors.append(offset_ms - truth_ms)
            sure.append(margin >= _LEAST_MARGIN and bool(tried.seen[start:stop].mean() >= _LEAST_FACES))
    return Accuracy(np.array(errors), np.array(sure), whole)


def _same_person(one: str, other: str) -> bool:
    return one == other or any({one, other} <= names for names in _SAME_PERSON)


def _windows(length: int) -> list[tuple[int, int]]:
    size, step = round(_WINDOW_S * _HOP_HZ), round(_STEP_S * _HOP_HZ)
    return [(start, min(start + size, length)) for start in range(0, max(1, length - size + 1), step)]


def _of_window(model: _Model, track: Track, start: int, stop: int) -> tuple[float, float]:
    margin = round(_MARGIN_S * _HOP_HZ)
    first, last = max(0, start - margin), min(len(track.mel), stop + margin)
    return model.offset(track.features(first, last), slice(start - first, stop - first))


def usable_clips(media: Path) -> dict[str, int]:
    """The clips for which the folder's README.md gives an offset: name -> ms."""
    text = (media / "README.md").read_text()
    rows = re.findall(r"^\| (\S+\.mp[4g]) \|(?:[^|\n]*\|){4} ([+-]\d+) \|", text, re.MULTILINE)
    return {name: int(ms) for name, ms in rows if (media / name).is_file()}


def accuracy_table(variants: Mapping[str, Mapping[str, Clip]], media: Path) -> str:
    """A line for each variant's landmarks of the same clips."""
    said_ms = usable_clips(media)
    sounds = {name: _Sound(media / name) for name in said_ms}
    within = "".join(f"{f'<={ms} ms %':>11}" for ms in (40, 80))
    head = f"{'lip-sync, windows of 3 s':40}{'windows':>8}{within}{'sure %':>8}{within}"
    lines = [f"{head}{'GRID ms':>9}{'clips':>8}"]
    for label, clips in variants.items():
        found = accuracy_of([_track(name, clips[name], sound) for name, sound in sounds.items()])
        every, sure = ("".join(f"{found.within(ms, sure=each):11.0f}" for ms in (40, 80)) for each in (False, True))
        covered = f"{100 * found.sure.mean():8.0f}"
        known_ms = np.median([ms for name, ms in found.whole_ms.items() if _is_in_sync(name)])
        agreed = sum(abs(ms - said_ms[name]) <= 40 for name, ms in found.whole_ms.items())
        clips_agreed = f"{agreed}/{len(said_ms)}"
        lines.append(f"{label:40}{found.sure.size:8}{every}{covered}{sure}{known_ms:+9.0f}{clips_agreed:>8}")
    return "\n".join(lines)


def _is_in_sync(name: str) -> bool:
    """GRID's sound is known to be in time, to one picture."""
    return name.startswith("grid_")


def _track(name: str, clip: Clip, sound: _Sound) -> Track:
    seen = ~np.isnan(clip.points_norm[:, 0, 0])
    times_s = np.arange(clip.times_s[0], clip.times_s[-1], 1 / _HOP_HZ)
    points = clip.points_norm[seen][..., :2] * np.array(clip.size)
    gaps = np.stack([np.linalg.norm(points[:, one] - points[:, two], axis=1) for one, two in (*_PAIRS, _EYES)], axis=1)
    distances = np.column_stack([gaps[:, :3].mean(axis=1), gaps[:, 3:-1]]) / gaps[:, -1:]
    nearest = np.abs(clip.times_s[:, np.newaxis] - times_s).argmin(axis=0)
    mouth = pchip(clip.times_s[seen], distances, times_s)
    return Track(name, sound.mel(times_s), mouth, seen[nearest], _is_in_sync(name))


class _Sound:
    """A clip's sound, mono at 16 kHz, on the container's clock."""

    def __init__(self, clip: Path) -> None:
        resampler = av.AudioResampler(format="flt", layout="mono", rate=_RATE_HZ)
        with av.open(str(clip)) as container:
            frames = list(container.decode(audio=0))
        self._start_s = float(frames[0].time or 0)
        blocks = [block.to_ndarray()[0] for frame in [*frames, None] for block in resampler.resample(frame)]
        samples = np.concatenate(blocks).astype(np.float64)
        self._samples = np.append(samples[0], samples[1:] - 0.97 * samples[:-1])

    def mel(self, times_s: Floats) -> Floats:
        """Log energy of the bands in the 25 ms around each time; `(T, 26)`."""
        length = round(0.025 * _RATE_HZ)
        first = np.round((times_s - self._start_s) * _RATE_HZ).astype(int) - length // 2
        at = first[:, np.newaxis] + np.arange(length)
        inside = (at >= 0) & (at < len(self._samples))
        windows = np.where(inside, self._samples[np.clip(at, 0, len(self._samples) - 1)], 0) * np.hamming(length)
        power = np.abs(np.fft.rfft(windows, _FFT, axis=1)) ** 2
        return np.asarray(np.log(power @ _filters().T + 1e-10))


def _filters() -> Floats:
    """Triangles, even on the mel scale; `(26, 257)`."""
    low, high = (2595 * np.log10(1 + hz / 700) for hz in (_LOW_HZ, _HIGH_HZ))
    mel = np.linspace(low, high, _BANDS + 2)
    edges = 700 * (10 ** (mel / 2595) - 1)
    hz = np.fft.rfftfreq(_FFT, 1 / _RATE_HZ)
    rise = (hz - edges[:-2, np.newaxis]) / np.diff(edges)[:-1, np.newaxis]
    fall = (edges[2:, np.newaxis] - hz) / np.diff(edges)[1:, np.newaxis]
    return np.asarray(np.clip(np.minimum(rise, fall), 0, None))
