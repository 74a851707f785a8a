"""The one thing that flows: a picture, the sound under it, its times and its transport facts.

Space: origin top left, `xy_px` or `xy_norm`. Pictures are 8-bit YUV 4:2:0 planes; `rgb` is `(H, W, 3) uint8`.
Sound is `(N,) float32` mono in -1..1 at `rate_hz`. Times are seconds on the run's media clock, zero at the first
picture, unless they say otherwise.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = [
    "NO_SOUND",
    "SPEECH_HZ",
    "Cause",
    "ClockKind",
    "ClockQuality",
    "ClockStep",
    "Frame",
    "Losses",
    "Picture",
    "Plane",
    "ResetReason",
    "Samples",
    "Sound",
    "with_losses",
]

SPEECH_HZ = 16_000
"""The rate that what listens to speech is made for."""

_GRID_ROWS = 90  # squares of 8 px at 720p, and as large in relation to the picture at any size

Plane = NDArray[np.uint8]
Samples = NDArray[np.float32]
ClockKind = Literal["capture_time", "sender_report", "arrival", "file"]
ResetReason = Literal["reconnect", "resolution", "clock"]

Cause = Literal["rendered", "sender", "network", "receiver", "overload", "unknown"]
"""Whose fault a gap is: the avatar's renderer (time went on, the picture did not), the sender (nothing was sent), the
network (lost on the way, and not repaired), the receiver (its buffers or its decoder), or an overload (the queue before
the processors)."""

Losses = Mapping[Cause, int]
"""What is known to be missing, by cause: packets of the network, pictures else; 0 where the number is not known."""


class Picture:
    """A decoded picture with views that are made once, when first asked for, and shared by all who ask.

    The planes may be the decoder's own memory: never write to them. Whoever keeps a plane keeps that memory, and the
    decoder takes other memory for what comes. Making a view twice at the same time from two
    threads is harmless, both get the same values.

    :ivar y: luma, `(H, W) uint8`, strides may be wider than W.
    :ivar u: blue difference, `(ceil(H/2), ceil(W/2)) uint8`.
    :ivar v: red difference, same shape as `u`.
    :ivar full_range: luma is 0..255 (JPEG) rather than 16..235 (video).
    """

    __slots__ = ("_chroma_histogram", "_grid", "_histogram", "_rgb", "_y_half", "full_range", "u", "v", "y")

    def __init__(self, y: Plane, u: Plane, v: Plane, *, full_range: bool = False) -> None:
        chroma = ((y.shape[0] + 1) // 2, (y.shape[1] + 1) // 2)
        if y.ndim != 2 or u.shape != chroma or v.shape != chroma:
            raise ValueError(f"planes of shapes {y.shape}, {u.shape}, {v.shape} are not 4:2:0")
        self.y, self.u, self.v, self.full_range = y, u, v, full_range
        self._rgb: NDArray[np.uint8] | None = None
        self._y_half: Plane | None = None
        self._histogram: NDArray[np.int64] | None = None
        self._chroma_histogram: NDArray[np.float64] | None = None
        self._grid: Plane | None = None

    @property
    def width(self) -> int:
        """Width in px."""
        return int(self.y.shape[1])

    @property
    def height(self) -> int:
        """Height in px."""
        return int(self.y.shape[0])

    @property
    def planes(self) -> tuple[Plane, Plane, Plane]:
        """Y, U and V."""
        return self.y, self.u, self.v

    @property
    def y_half(self) -> Plane:
        """Luma at half the width and height (rounded up), by area averaging; `(ceil(H/2), ceil(W/2)) uint8`."""
        if self._y_half is None:
            size = ((self.width + 1) // 2, (self.height + 1) // 2)
            self._y_half = np.asarray(cv2.resize(self.y, size, interpolation=cv2.INTER_AREA), np.uint8)
        return self._y_half

    @property
    def grid(self) -> Plane:
        """Mean luma of squares 1/90 of the height, one grid for all sizes; `(min(H, 90), W to scale) uint8`."""
        if self._grid is None:
            rows = min(_GRID_ROWS, self.height)
            size = (max(1, round(rows * self.width / self.height)), rows)
            fine = self.y_half if self.height >= 4 * rows else self.y  # half the time, and no more than rounded twice
            self._grid = np.asarray(cv2.resize(fine, size, interpolation=cv2.INTER_AREA), np.uint8)
        return self._grid

    @property
    def histogram(self) -> NDArray[np.int64]:
        """How many luma samples have each value; `(256,)`, sums to H * W."""
        if self._histogram is None:
            self._histogram = cv2.calcHist([self.y], [0], None, [256], [0, 256]).ravel().astype(np.int64)
        return self._histogram

    @property
    def chroma_histogram(self) -> NDArray[np.float64]:
        """How many chroma samples have each pair of U and V; `(256, 256)` whole numbers, U first."""
        if self._chroma_histogram is None:
            pairs = cv2.calcHist([self.u, self.v], [0, 1], None, [256, 256], [0, 256, 0, 256])
            self._chroma_histogram = pairs.astype(np.float64)
        return self._chroma_histogram

    @property
    def rgb(self) -> NDArray[np.uint8]:
        """The picture as `(H, W, 3) uint8` RGB, by BT.601 as video of this kind is coded."""
        if self._rgb is None:
            self._rgb = _rgb(self.y, self.u, self.v, self.full_range)
        return self._rgb


def _rgb(y: Plane, u: Plane, v: Plane, full_range: bool) -> NDArray[np.uint8]:
    h, w = y.shape
    if full_range:
        # cv2's planar conversion knows limited range only; YCrCb is full range
        chroma = [cv2.resize(plane, (w, h), interpolation=cv2.INTER_LINEAR) for plane in (v, u)]
        return np.asarray(cv2.cvtColor(cv2.merge([y, *chroma]), cv2.COLOR_YCrCb2RGB), np.uint8)
    if h % 2 or w % 2:
        even = np.pad(y, ((0, h % 2), (0, w % 2)), mode="edge")
        return np.ascontiguousarray(_rgb(even, u, v, False)[:h, :w])
    i420 = np.concatenate([plane.reshape(-1) for plane in (y, u, v)]).reshape(h * 3 // 2, w)
    return np.asarray(cv2.cvtColor(i420, cv2.COLOR_YUV2RGB_I420), np.uint8)


@dataclass(frozen=True, slots=True)
class Sound:
    """The samples that sound from the previous picture up to this one; contiguous from frame to frame.

    :ivar samples: `(N,) float32` mono in -1..1; N may be 0.
    :ivar rate_hz: sample rate; 0 where the source has no sound.
    :ivar start_s: media time of the first sample.
    :ivar missing: `(first, count)` ranges of `samples` that never arrived; they hold zeros.
    :ivar samples_16k: the same sound at 16 kHz, `(M,) float32` mono, contiguous from frame to frame as well; it may
        trail `samples` by up to 2 ms. Empty in a run in which no processor reads sound.
    :ivar start_16k_s: media time of the first sample of these.
    :ivar lost: packets that are known to have been lost in what is missing, told where the hole begins; what is missing
        where none was lost, was not sent.
    """

    samples: Samples
    rate_hz: int
    start_s: float
    missing: tuple[tuple[int, int], ...] = ()
    samples_16k: Samples = field(default_factory=lambda: np.zeros(0, np.float32))
    start_16k_s: float = 0.0
    lost: int = 0

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.samples.size / self.rate_hz if self.rate_hz else 0.0

    def shifted(self, step_s: float) -> Sound:
        """The same samples, `step_s` later."""
        return dataclasses.replace(self, start_s=self.start_s + step_s, start_16k_s=self.start_16k_s + step_s)

    def after(self, earlier: Sound) -> Sound:
        """This sound with an earlier one put before it; the later one alone where their rates differ."""
        if not earlier.samples.size or (self.samples.size and earlier.rate_hz != self.rate_hz):
            return self
        shift = earlier.samples.size
        return Sound(
            samples=np.concatenate([earlier.samples, self.samples]),
            rate_hz=earlier.rate_hz,
            start_s=earlier.start_s,
            missing=earlier.missing + tuple((first + shift, count) for first, count in self.missing),
            samples_16k=np.concatenate([earlier.samples_16k, self.samples_16k]),
            start_16k_s=earlier.start_16k_s,
            lost=earlier.lost + self.lost,
        )


def with_losses(one: Losses, other: Losses) -> Losses:
    """Both together; a cause with the number 0 stays a cause."""
    if not one or not other:
        return one or other
    merged = Counter(one)
    for cause, count in other.items():
        merged[cause] += count
    return dict(merged)


NO_SOUND = Sound(np.zeros(0, np.float32), 0, 0.0)


@dataclass(frozen=True, slots=True)
class ClockQuality:
    """How media time was found, and how far picture and sound may be apart from the truth on it.

    :ivar error_ms: bound on the error of the relation between picture and sound; `None` where it is not known.
    :ivar arrival_skew_ms: how much later sound arrives than the pictures it belongs to, on the way only: what a player
        adds that ignores what the sender says; `None` where the sender has not said it.
    :ivar drift_ppm: how much faster the clock of the sound runs than that of the pictures, by the sender's own time;
        `None` where it cannot be told.
    """

    kind: ClockKind
    error_ms: float | None
    arrival_skew_ms: float | None = None
    drift_ppm: float | None = None


@dataclass(frozen=True, slots=True)
class ClockStep:
    """The sound was found to belong elsewhere than the frames before said, by at least 1 ms.

    A drift that is known is no step: each frame's `sound.start_s` is what counts.

    :ivar ms: by how much later; negative: earlier.
    :ivar by_sender: the sender's own relation has slipped; else it is only known better than before.
    :ivar between_s: the media times between which it has; `None`: not known. It is often before the frames that were
        told last.
    """

    ms: float
    by_sender: bool = False
    between_s: tuple[float, float] | None = None

    def after(self, earlier: ClockStep | None) -> ClockStep:
        """This step and one before it, as one."""
        if earlier is None:
            return self
        known = [step.between_s for step in (earlier, self) if step.between_s is not None]
        between_s = (min(begin_s for begin_s, _ in known), max(end_s for _, end_s in known)) if known else None
        return ClockStep(self.ms + earlier.ms, self.by_sender or earlier.by_sender, between_s)


@dataclass(frozen=True, slots=True)
class Frame:
    """A picture (or none, where the stream stalls or has sound only) and the sound under it.

    :ivar index: number of the picture from 0, counting those the queue dropped; `None` without a picture.
    :ivar time_s: media time.
    :ivar arrival_s: when the picture came (its first packet, or its decoding from a file), seconds from the start
        of the run.
    :ivar key_frame: the picture was coded without reference to others.
    :ivar corrupt: the picture is not as it was sent: the decoder marked it, or it builds on one that was lost.
    :ivar transport: what the network knows of it; names of numbers.
    :ivar lost_before: what is known to be missing between the picture before and this frame.
    :ivar reset: why this picture does not continue what came before it; `None`: it does.
    :ivar clock_step: from this frame on, sound is related to pictures otherwise than before; `None`: as before.
    """

    index: int | None
    time_s: float
    arrival_s: float
    clock: ClockQuality
    sound: Sound = NO_SOUND
    key_frame: bool = False
    corrupt: bool = False
    transport: Mapping[str, float | None] = field(default_factory=dict)
    maybe_picture: Picture | None = None
    lost_before: Losses = field(default_factory=dict)
    reset: ResetReason | None = None
    clock_step: ClockStep | None = None

    @property
    def picture(self) -> Picture:
        """The picture.

        :raises ValueError: when the frame has none; a processor that reads `PICTURE` alone is not called with such.
        """
        if self.maybe_picture is None:
            raise ValueError(f"the frame at {self.time_s:.3f} s has no picture")
        return self.maybe_picture
