"""Lips against the sound: how still they are in silence, and how they follow a voice; two of THEval's measures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from processors.face_landmarks import FaceLandmarks
from processors.face_landmarks.mesh import EYE_CORNERS_OUTER, INNER_LIP_LOWER, INNER_LIP_UPPER
from processors.speech import RATE_HZ, SETTLED_AFTER_S
from processors.talking_head.loudness import Loudness
from vision import Sound

__all__ = ["Dialogue", "DialogueFigures", "Mouth", "mouth_of"]

Vector = NDArray[np.float64]

_UPPER, _LOWER, _CORNERS = list(INNER_LIP_UPPER), list(INNER_LIP_LOWER), list(EYE_CORNERS_OUTER)
_EYES = ([362, 263], [33, 133])  # of which THEval takes the mean x
_LEAST_SILENCE_S = 0.3
_LEAST_SPEECH = 0.1  # of the pictures
_TINY = 1e-8
_KEPT_S = 600.0
_LEAST_S = 1.0
_LONGEST_PICTURE_S = 0.2  # one that is followed by none for longer is not shown for so long
_USUAL_PICTURE_S = 0.04
_SAME_S = 1e-6  # tenths of a second and times of pictures often fall together
_GIVEN_UP_S = 2.0  # sound that comes so late finds its picture without any
_STALE = 0.001  # share of new frames from which the figures of a long time are worked out anew


@dataclass(frozen=True, slots=True)
class Mouth:
    """How far a mouth is open.

    :ivar opening: mean gap of 8 pairs of points over the distance of the outer eye corners, both in a picture made
        square; vertical, as THEval has it.
    :ivar gap: the lips' mean heights apart, over the mean x of the eyes apart.
    """

    opening: float
    gap: float


def mouth_of(face: FaceLandmarks) -> Mouth | None:
    """How far the mouth of a face is open; `None` without one."""
    if face.points_norm is None:
        return None
    points = face.points_norm[:, :2].astype(np.float64)
    heights = points[_LOWER, 1] - points[_UPPER, 1]
    first, second = points[_CORNERS]
    across = float(np.hypot(*(first - second)))
    between = abs(float(points[_EYES[0], 0].mean() - points[_EYES[1], 0].mean()))
    if not across or not between:
        return None
    return Mouth(float(np.abs(heights).mean()) / across, abs(float(heights.mean())) / between)


@dataclass(frozen=True, slots=True)
class DialogueFigures:
    """See `TalkingHead`; `None`: too little silence, or speech."""

    silent_lip_stability: float | None
    lip_sync: float | None


class Dialogue:
    """Keeps the mouth of each picture and what was heard with it, of the last ten minutes.

    What is heard with a picture is known half a second later for good; until then it is taken as if the sound ended
    where it does so far. So the figures at any time are those of the recording up to there.
    """

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._loudness = Loudness()
        self._rows = _Rows()
        self._of_run: DialogueFigures | None = None
        self._new = 0  # frames since that was worked out

    def see(self, time_s: float, mouth: Mouth | None) -> None:
        """Take a picture, with a face or without."""
        self._rows.append(time_s, mouth)

    def hear(self, sound: Sound, segments_s: Vector) -> None:
        """Take the sound of a frame, and where speech was: `Speech.segments_s`."""
        self._loudness.add(sound)
        if self._loudness.begin_s is not None:
            self._rows.label(self._loudness, segments_s[~np.isnan(segments_s[:, 0])])

    def shift(self, step_s: float) -> None:
        """The sound belongs elsewhere: it was paired with the wrong pictures."""
        self._loudness.shift(step_s)
        self._rows, self._of_run = _Rows(), None

    def cut(self) -> None:
        """What comes next does not continue what came before."""
        self._loudness = Loudness()
        self._rows.settle()

    def of_window(self, now_s: float) -> DialogueFigures:
        """The last `window_s`."""
        return self._rows.figures(now_s - self._window_s)

    def of_run(self, now_s: float) -> DialogueFigures:
        """The last ten minutes; of a thousand pictures, the newest may not be in it yet."""
        self._rows.forget_before(now_s - _KEPT_S)
        self._new += 1
        if self._of_run is None or self._new >= _STALE * len(self._rows):
            self._of_run, self._new = self._rows.figures(-np.inf), 0
        return self._of_run


_TIME, _UNTIL, _OPENING, _GAP, _LOUDNESS, _SPEECH = range(6)


class _Rows:
    """A table: when each picture was shown, how the mouth was, and what was heard: loudness, speech (1) or none (0)."""

    def __init__(self) -> None:
        self._table = _empty(1024)
        self._begin = self._end = self._settled = 0

    def __len__(self) -> int:
        return self._end - self._begin

    def append(self, time_s: float, mouth: Mouth | None) -> None:
        """Add a picture, of which nothing was heard yet."""
        if self._end == len(self._table):
            self._make_room()
        usual_s = _USUAL_PICTURE_S
        if len(self):
            before = self._table[self._end - 1]
            usual_s = min(max(time_s - before[_TIME], 0.0), _LONGEST_PICTURE_S)
            before[_UNTIL] = before[_TIME] + usual_s
        opening, gap = (np.nan, np.nan) if mouth is None else (mouth.opening, mouth.gap)
        self._table[self._end] = (time_s, time_s + usual_s, opening, gap, np.nan, np.nan)
        self._end += 1

    def label(self, loudness: Loudness, segments_s: Vector) -> None:
        """What is heard with the pictures of which it is not known for good."""
        assert loudness.begin_s is not None
        rows = self._table[self._settled : self._end]
        rows[:, _LOUDNESS] = loudness.at(rows[:, _TIME])
        from_s, to_s = _rounded(segments_s, loudness.begin_s).T
        spoken = (rows[:, _UNTIL, None] > from_s + _SAME_S) & (rows[:, _TIME, None] <= to_s + _SAME_S)
        rows[:, _SPEECH] = np.where(np.isnan(rows[:, _LOUDNESS]), np.nan, spoken.any(axis=1))
        if not len(rows):
            return
        known_s = max(loudness.end_s - SETTLED_AFTER_S, rows[-1, _TIME] - _GIVEN_UP_S)
        self._settled += int(np.searchsorted(rows[:, _UNTIL], known_s))

    def settle(self) -> None:
        """What was heard with the pictures so far is known for good."""
        self._settled = self._end

    def forget_before(self, time_s: float) -> None:
        """Drop older pictures."""
        self._begin += int(np.searchsorted(self._table[self._begin : self._end, _TIME], time_s))
        self._settled = max(self._settled, self._begin)

    def figures(self, since_s: float) -> DialogueFigures:
        """Of the pictures since then."""
        rows = self._table[self._begin : self._end]
        rows = rows[np.searchsorted(rows[:, _TIME], since_s) :]
        if not len(rows) or rows[-1, _UNTIL] - rows[0, _TIME] < _LEAST_S:
            return DialogueFigures(None, None)
        return DialogueFigures(_silent_lip_stability(rows), _lip_sync(rows))

    def _make_room(self) -> None:
        rows = self._table[self._begin : self._end]
        self._table = _empty(max(1024, 2 * len(rows)))
        self._table[: len(rows)] = rows
        self._settled -= self._begin
        self._begin, self._end = 0, len(rows)


def _rounded(segments_s: Vector, begin_s: float) -> Vector:
    """From and to, to the tenth of a second after the sound begins; `(N, 2)`.

    THEval has silero give them so; before that, they are whole samples.
    """
    samples = np.round((segments_s - begin_s) * RATE_HZ)
    tenths = [[round(bound / RATE_HZ, 1) for bound in segment] for segment in samples.tolist()]
    return np.array(tenths, np.float64).reshape(-1, 2) + begin_s


def _empty(rows: int) -> Vector:
    return np.full((rows, 6), np.nan, order="F")  # it is read by columns


def _silent_lip_stability(rows: Vector) -> float | None:
    """Median distance of the openings from their mean, over all silences of 0.3 s and more."""
    silent = rows[_in_long_silence(rows), _OPENING]
    silent = silent[~np.isnan(silent)]
    if len(silent) < 2:
        return None
    return float(np.median(np.abs(silent - silent.mean())))


def _in_long_silence(rows: Vector) -> NDArray[np.bool_]:
    """Which pictures belong to a silence that is long enough; `(N,)`."""
    is_silent = rows[:, _SPEECH] == 0
    bounds = np.flatnonzero(np.diff(is_silent, prepend=False, append=False))
    starts, ends = bounds[::2], bounds[1::2]
    # a hundredth of a second for times that are rounded
    is_long = rows[ends - 1, _UNTIL] - rows[starts, _TIME] >= _LEAST_SILENCE_S - 0.01
    marks = np.zeros(len(rows) + 1, np.int64)
    np.add.at(marks, starts[is_long], 1)
    np.add.at(marks, ends[is_long], -1)
    return marks[:-1].cumsum() > 0


def _lip_sync(rows: Vector) -> float | None:
    """Mean distance of the gap from the loudness where there is speech, each of them between 0 and 1 there."""
    spoken = rows[:, _SPEECH] == 1
    if spoken.mean() < _LEAST_SPEECH:
        return None
    seen = rows[spoken & ~np.isnan(rows[:, _GAP])]
    if len(seen) < 2:
        return None
    return float(np.abs(_normalised(seen[:, _GAP]) - _normalised(seen[:, _LOUDNESS])).mean())


def _normalised(values: Vector) -> Vector:
    low, high = values.min(), values.max()
    return np.asarray((values - low) / (high - low + _TINY))
