"""Dropouts: where samples did not come."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from processors.audio_quality.silence import QUIET, QuietRun
from vision import Frame, Sound

__all__ = ["Dropouts", "pieces_of"]

Samples = NDArray[np.float32]

_BEHIND_S = 0.02  # one packet of sound
_LATE_S, _UNEVEN_S = 0.05, 0.1  # sound that pictures do not wait for comes as unevenly as the network has it
_REACHES_S = 0.001
_DTX_QUIET_S = 0.2  # libopus stops sending after ten frames without activity
_DTX_MOST_S = 0.5  # and sends one of 20 ms every 400 ms meanwhile


class Dropouts:
    """Whether sound is missing at a frame: in it, or because none has come.

    Of a live source, a picture waits 0.3 s for its sound; when it comes without, and the sound that was heard ended
    before it, there is a hole. How long it is, is known when sound comes again: then it is in `Sound.missing`. The
    frame in which the hole ends is well if it is whole at its end. Sound that always comes so late that no picture
    waits for it, is missing when it is later still, by 0.1 s.

    :param live: sound that is not there will not come later, as it may be with a file that holds less sound than
        pictures.
    :param dtx: the sender stops sending in pauses, so that holes of up to 0.5 s that begin in quiet are none.
    """

    def __init__(self, *, live: bool, dtx: bool) -> None:
        self._live, self._dtx = live, dtx
        self._missing = False
        self._end_s: float | None = None
        self._lag_s = 0.0  # from the end of the sound to the picture that it came with
        self._quiet: QuietRun | None = None

    def add(self, frame: Frame) -> bool:
        """Take a frame."""
        sound = frame.sound
        if sound.samples.size:
            self._end_s = sound.start_s + sound.duration_s
            self._lag_s = max(frame.time_s - self._end_s, 0.0)
            holes = list(self._holes(sound))
            self._missing = any(_reaches_end(sound, hole) for hole in holes) if self._missing else bool(holes)
        elif self._end_s is not None:
            later_s = frame.time_s - self._end_s - self._lag_s
            self._missing = self._live and later_s > self._allowed_s()
        return self._missing

    def shift(self, step_s: float) -> None:
        """All sound so far belongs so much later."""
        self._end_s = None if self._end_s is None else self._end_s + step_s
        self._lag_s = max(self._lag_s - step_s, 0.0)

    def _holes(self, sound: Sound) -> Iterator[tuple[int, int]]:
        """The holes that count."""
        self._quiet = self._quiet or QuietRun(QUIET, sound.rate_hz)
        for piece, hole in zip(pieces_of(sound), (*sound.missing, None), strict=True):
            self._quiet.add(piece)
            if hole is not None and not (self._pauses() and not sound.lost and hole[1] <= _DTX_MOST_S * sound.rate_hz):
                yield hole

    def _allowed_s(self) -> float:
        if self._pauses():
            return _DTX_MOST_S
        return _UNEVEN_S if self._lag_s > _LATE_S else _BEHIND_S

    def _pauses(self) -> bool:
        """Whether the sender may have stopped sending because there is nothing to send."""
        return self._dtx and self._quiet is not None and self._quiet.length_s >= _DTX_QUIET_S


def pieces_of(sound: Sound) -> Iterator[Samples]:
    """The samples that came, broken where some did not; there is one piece more than there are holes."""
    begin = 0
    for first, count in sound.missing:
        yield sound.samples[begin:first]
        begin = first + count
    yield sound.samples[begin:]


def _reaches_end(sound: Sound, hole: tuple[int, int]) -> bool:
    return sound.samples.size - sum(hole) <= _REACHES_S * sound.rate_hz
