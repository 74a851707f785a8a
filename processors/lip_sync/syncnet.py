"""SyncNet's measures, as its authors' code has them: LSE-D, LSE-C, and an offset in pictures of 40 ms.

What the original (joonson/syncnet_python) makes of a file, this makes of the last seconds of a stream: pictures at 25
fps, cropped to the face, against cepstra of the sound. Two things differ. The face is where the landmarks are, not
where S3FD finds it; and not each picture is tried, but one in `stride`, since a picture costs as much as twenty of
landmarks. **The sign**: the original's offset is `vshift - argmin`, which is positive where the sound is early (its
issue 65 says otherwise; its code, and delaying a sound, say so). Here > 0 is late sound, as everywhere.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from vision import ModelError, Picture

__all__ = ["Embedder", "SyncNetEstimate", "SyncNetTrack", "cepstra", "crop", "distances_of", "estimate_of", "network"]

Floats = NDArray[np.float32]
Image = NDArray[np.uint8]

RATE_HZ = 16_000
FPS = 25
SHIFT = 15  # pictures to each side; vshift of run_syncnet.py
PICTURES = 5  # of one embedding
CEPSTRA = 20  # of one embedding, each 10 ms after the other
SIZE_PX = 224

_STEP, _LENGTH, _FFT = 160, 400, 512  # samples; python_speech_features.mfcc
_SAMPLES = (CEPSTRA - 1) * _STEP + _LENGTH
_CROP_SCALE = 0.4  # crop_scale of run_pipeline.py
_GREY = 110  # around the picture, as there
_NEAR_S = 0.06  # a moment whose picture is farther away has none; sound that goes on farther away is another
_MEDIAN = 13  # boxes of which the median counts, as there


class Embedder(Protocol):
    """What makes embeddings of sound and lips; `syncnet_net.Network`."""

    def of_sound(self, cepstra: Floats) -> Floats: ...

    def of_lips(self, pictures: Image) -> Floats: ...


def network(path: Path) -> Embedder:
    """The network with the weights of a file.

    :raises ModelError: when torch is not installed, or the file holds something else.
    """
    try:
        # in here, for it is an extra
        from processors.lip_sync.syncnet_net import Network
    except ImportError as error:
        raise ModelError("lip_sync: `method: syncnet` needs torch: pip install 'avatar-vision[syncnet]'") from error
    try:
        return Network(path)
    except Exception as error:  # the file's, pickle's or torch's: whatever is in it
        why = (str(error) or type(error).__name__).splitlines()[0]
        raise ModelError(f"lip_sync: syncnet_model: {path} cannot be used: {why}") from error


@dataclass(frozen=True, slots=True)
class SyncNetEstimate:
    """What SyncNet says of a stretch.

    :ivar offset_ms: > 0: the sound is late; in steps of 40.
    :ivar lse_d: the least mean distance of embeddings; low is good.
    :ivar lse_c: by how much the median over all offsets exceeds it; high is good.
    :ivar first_s: media time of the first picture that was tried; `last_s` of the last one.
    """

    offset_ms: float
    lse_d: float
    lse_c: float
    first_s: float
    last_s: float


def estimate_of(distances: Floats, first_s: float = 0.0, last_s: float = 0.0) -> SyncNetEstimate:
    """LSE-D, LSE-C and offset.

    :param distances: `(N, 31)`: of the embedding of each picture from those of the sound 15 pictures before it to 15
        behind it.
    """
    mean = distances.mean(axis=0)
    at = int(mean.argmin())
    lse_d, lse_c = float(mean[at]), float(np.median(mean) - mean[at])
    return SyncNetEstimate((at - SHIFT) * 1000 / FPS, lse_d, lse_c, first_s, last_s)


def distances_of(lips: Floats, sounds: Floats) -> Floats:
    """Of one embedding of lips from those of sounds `(M, 1024)`; torch's pairwise_distance, its epsilon included."""
    return np.asarray(np.linalg.norm(lips - sounds + 1e-6, axis=1))


def cepstra(samples: Floats) -> Floats:
    """Mel cepstra as python_speech_features.mfcc has them by default; `(13, n)`, every 10 ms.

    :param samples: in -1..1 at 16 kHz; one before the first one, for pre-emphasis.
    """
    scaled = samples.astype(np.float64) * 32768  # the original reads 16-bit files
    sharpened = scaled[1:] - 0.97 * scaled[:-1]
    frames = np.lib.stride_tricks.sliding_window_view(sharpened, _LENGTH)[::_STEP]
    power = np.square(np.abs(np.fft.rfft(frames, _FFT, axis=1))) / _FFT
    tiny = np.finfo(float).eps
    energy = power.sum(axis=1)
    bands = np.log(np.maximum(power @ _bands(), tiny))
    found = bands @ _cosines()
    found[:, 0] = np.log(np.maximum(energy, tiny))
    return np.asarray(found.T, np.float32)


@lru_cache(maxsize=1)
def _bands() -> NDArray[np.float64]:
    """26 triangles from 0 to 8 kHz, even on the mel scale, their corners on bins; `(257, 26)`."""
    mel = np.linspace(0, 2595 * np.log10(1 + RATE_HZ / 2 / 700), 28)
    corners = np.floor((_FFT + 1) * 700 * (10 ** (mel / 2595) - 1) / RATE_HZ)
    bins = np.arange(_FFT // 2 + 1)[:, np.newaxis]
    low, middle, high = corners[:-2], corners[1:-1], corners[2:]
    rise = np.where((bins >= low) & (bins < middle), (bins - low) / (middle - low), 0)
    fall = np.where((bins >= middle) & (bins < high), (high - bins) / (high - middle), 0)
    return np.asarray(rise + fall)


@lru_cache(maxsize=1)
def _cosines() -> NDArray[np.float64]:
    """Orthonormal DCT-II of 26 bands to 13 cepstra, liftered with 22; `(26, 13)`."""
    bands, order = np.arange(26)[:, np.newaxis], np.arange(13)
    cosines = np.cos(np.pi * (bands + 0.5) * order / 26) * np.where(order == 0, np.sqrt(1 / 26), np.sqrt(2 / 26))
    return np.asarray(cosines * (1 + 11 * np.sin(np.pi * order / 22)))


def crop(picture: Picture, box: Sequence[float]) -> Image:
    """The face as the original crops it: wider than its box, and farther down; `(224, 224, 3)` BGR.

    :param box: left, top, right, bottom, px.
    """
    half = max(box[3] - box[1], box[2] - box[0]) / 2
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    pad = int(half * (1 + 2 * _CROP_SCALE)) + 1
    bgr = cv2.cvtColor(picture.rgb, cv2.COLOR_RGB2BGR)
    padded = cv2.copyMakeBorder(bgr, pad, pad, pad, pad, cv2.BORDER_CONSTANT, value=(_GREY,) * 3)
    top, bottom = int(y - half + pad), int(y + half * (1 + 2 * _CROP_SCALE) + pad)
    left, right = (int(x + side * half * (1 + _CROP_SCALE) + pad) for side in (-1, 1))
    return np.asarray(cv2.resize(padded[max(top, 0) : bottom, max(left, 0) : right], (SIZE_PX, SIZE_PX)), np.uint8)


class SyncNetTrack:
    """The last seconds of a stream as SyncNet sees them.

    :param embedder: the network.
    :param window_s: seconds of pictures that an estimate is taken from.
    :param stride: one picture in so many is tried.
    """

    def __init__(self, embedder: Embedder, window_s: float, stride: int) -> None:
        self._embedder, self._window_s, self._stride = embedder, window_s, stride
        self._pictures = _Pictures()
        self._samples = _Samples()
        self._sounds: dict[int, Floats] = {}
        self._lips: dict[int, Floats] = {}
        self._tried: deque[tuple[float, Floats]] = deque()
        self._next_lip = self._next_sound = 0

    def hear(self, samples: Floats, start_s: float) -> None:
        """Take samples at 16 kHz."""
        self._samples.add(samples, start_s)

    def shift(self, step_s: float) -> None:
        """All sound so far belongs so much later; what was made of it is made anew from what is kept."""
        self._samples.shift(step_s)
        self._sounds.clear()
        self._tried.clear()
        self._next_sound = 0

    def see(self, time_s: float, picture: Picture | None, box: Sequence[float] | None) -> None:
        """Take a picture and where its face is; `None`: no face."""
        self._pictures.add(time_s, picture, box)
        oldest = self._pictures.known - math.ceil(self._window_s * FPS) - 2 * SHIFT - 2 * PICTURES
        if self._next_lip < oldest:  # nobody has asked for an estimate
            self._next_lip += self._stride * -(-(oldest - self._next_lip) // self._stride)
            self._forget()

    def estimate(self) -> SyncNetEstimate | None:
        """What is known by now; `None` where less than four fifths of the window are."""
        self._embed_lips()
        self._embed_sounds()
        self._compare()
        wanted = self._window_s * FPS / self._stride
        if len(self._tried) < 0.8 * wanted:
            return None
        return estimate_of(np.array([row for _, row in self._tried]), self._tried[0][0], self._tried[-1][0])

    def _embed_lips(self) -> None:
        while self._next_lip + PICTURES <= self._pictures.known:
            faces = self._pictures.faces(self._next_lip)
            if faces is not None:
                self._lips[self._next_lip] = self._embedder.of_lips(faces[np.newaxis])[0]
            self._next_lip += self._stride
        self._forget()

    def _embed_sounds(self) -> None:
        first = min(self._lips, default=self._next_lip) - SHIFT
        self._next_sound = max(self._next_sound, first)
        chunks: list[Floats] = []
        numbers: list[int] = []
        while (samples := self._samples.at(self._pictures.time_s(self._next_sound))) is not None:
            if samples.size:
                numbers.append(self._next_sound)
                chunks.append(cepstra(samples))
            self._next_sound += 1
        if chunks:
            self._sounds |= dict(zip(numbers, self._embedder.of_sound(np.stack(chunks)), strict=True))
        self._sounds = {number: each for number, each in self._sounds.items() if number >= first}

    def _forget(self) -> None:
        """Drop what no embedding needs any more."""
        self._pictures.forget_before(self._next_lip)
        self._samples.forget_before(self._pictures.time_s(min(self._lips, default=self._next_lip) - SHIFT))

    def _compare(self) -> None:
        for number in sorted(self._lips):
            around = range(number - SHIFT, number + SHIFT + 1)
            if around[-1] >= self._next_sound:
                break
            lips = self._lips.pop(number)
            if all(each in self._sounds for each in around):
                row = distances_of(lips, np.stack([self._sounds[each] for each in around]))
                self._tried.append((self._pictures.time_s(number), row))
        while self._tried and self._tried[-1][0] - self._tried[0][0] > self._window_s:
            self._tried.popleft()


class _Pictures:
    """Faces at 25 fps: at each of its moments that of the nearest picture."""

    def __init__(self) -> None:
        self._begun_s: float | None = None
        self._boxes: deque[Sequence[float]] = deque(maxlen=_MEDIAN)
        self._last: tuple[float, Image | None] | None = None
        self._faces: dict[int, Image | None] = {}
        self.known = 0

    def time_s(self, number: int) -> float:
        """Media time of a moment; `inf` before the first picture."""
        return math.inf if self._begun_s is None else self._begun_s + number / FPS

    def add(self, time_s: float, picture: Picture | None, box: Sequence[float] | None) -> None:
        """Take a picture."""
        if self._begun_s is None:
            self._begun_s = time_s
        face = None
        if picture is not None and box is not None:
            self._boxes.append(box)
            face = crop(picture, np.median(np.array(self._boxes), axis=0).tolist())
        before = self._last or (time_s, face)
        while self.time_s(self.known) <= time_s:
            at_s = self.time_s(self.known)
            nearest_s, nearest = min((before, (time_s, face)), key=lambda each: abs(each[0] - at_s))
            self._faces[self.known] = nearest if abs(nearest_s - at_s) <= _NEAR_S else None
            self.known += 1
        self._last = (time_s, face)

    def faces(self, first: int) -> Image | None:
        """Five in a row; `None` where one of them has none."""
        found = [self._faces.get(number) for number in range(first, first + PICTURES)]
        faces = [face for face in found if face is not None]
        return np.stack(faces) if len(faces) == PICTURES else None

    def forget_before(self, number: int) -> None:
        """Drop older ones."""
        for each in [each for each in self._faces if each < number]:
            del self._faces[each]


class _Samples:
    """Sound at 16 kHz without gaps."""

    def __init__(self) -> None:
        self._start_s = 0.0
        self._samples: Floats = np.zeros(0, np.float32)

    def add(self, samples: Floats, start_s: float) -> None:
        """Take samples; where they do not continue those before, begin anew."""
        if not samples.size:
            return
        if not self._samples.size or abs(self._end_s - start_s) > _NEAR_S:
            self._start_s, self._samples = start_s, samples
        else:
            self._samples = np.concatenate([self._samples, samples])

    @property
    def _end_s(self) -> float:
        return self._start_s + self._samples.size / RATE_HZ

    def shift(self, step_s: float) -> None:
        """All of it belongs so much later."""
        self._start_s += step_s

    def at(self, time_s: float) -> Floats | None:
        """What one embedding needs; empty where it is over or never came, `None` where it has not come yet."""
        if not self._samples.size or time_s + (_SAMPLES + 1) / RATE_HZ > self._end_s:
            return None
        first = round((time_s - self._start_s) * RATE_HZ) - 1
        return self._samples[first : first + _SAMPLES + 1] if first >= 0 else self._samples[:0]

    def forget_before(self, time_s: float) -> None:
        """Drop what is older, a second of it at once."""
        first = math.floor((min(time_s, self._end_s) - self._start_s) * RATE_HZ) - 1
        if first >= RATE_HZ:
            self._samples, self._start_s = self._samples[first:], self._start_s + first / RATE_HZ
