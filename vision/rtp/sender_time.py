"""From the RTP time of a source to its sender's own time, by what the sender says of both.

Sender reports pair an NTP time with an RTP timestamp (RFC 3550, 6.4.1), and so does the header extension
abs-capture-time. The fit over a window of twenty pairs, with outliers left out and a full reset after five of them in
a row, is that of LiveKit's `ntpestimator.go` (after libwebrtc's `RtpToNtpEstimator`), with one difference: real senders
slip. Where a sender's RTP clock falls behind all at once, an average would be wrong on both sides of the step, so a new
piece begins there. What tells a slip from a wrong report is that the packets come as much later as the report says.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

__all__ = ["IMPLAUSIBLE_S", "LEAST_SLIP_S", "NTP_TO_UNIX_S", "SenderTime", "Step", "Verdict", "ntp_seconds"]

IMPLAUSIBLE_S = 2.0
"""A relation that moves by more than this was not moved by a sender's pipeline, but by its wall clock."""
LEAST_SLIP_S = 0.01
"""What moves by no more has not slipped."""
NTP_TO_UNIX_S = 2_208_988_800  # RFC 868: from 1900 to 1970

Verdict = Literal["fits", "slipped", "apart", "reset"]
"""What a pair is found to be: in line with the ones before, or with the outlier before it; a slip, as the packets say
too; an outlier, kept in mind; the one from which all begins anew, after too many outliers."""

_WINDOW, _MOST_APART = 20, 5
_NEWS_S = 0.5
_FINE_S = 0.003  # less than this is never a slip
_SMALL_S, _HALF = 0.05, 0.5  # a step that is so small is followed at once where packets bear out half of it
_UNEXPLAINED, _UNEVEN_S = 0.3, 0.005  # of a slip, what packets need not explain
_NOISE_WINDOW, _NOISE_FROM = 12, 4
_SLOPE_FROM, _SLOPE_SPAN_S = 4, 8.0
_STEEPEST = 1000e-6
_UNPROVEN_S = 0.01  # what one report alone may be off: encoding and pacing between capture and report
_DRIFT_UNKNOWN, _DRIFT_KNOWN = 300e-6, 20e-6  # how much a clock may run differently from what is assumed


def ntp_seconds(ntp: int) -> float:
    """A 64-bit NTP timestamp (RFC 3550, 4) in seconds since 1970."""
    return (ntp >> 32) - NTP_TO_UNIX_S + (ntp & 0xFFFFFFFF) / (1 << 32)


@dataclass(frozen=True, slots=True)
class _Pair:
    """What a sender said: at `track_s` on the track its own time was `track_s + offset_s`.

    :ivar delay_s: arrival minus track time of the least delayed among the newest packets then.
    """

    track_s: float
    offset_s: float
    delay_s: float


@dataclass(frozen=True, slots=True)
class Step:
    """A new piece of the relation, other than the one before it; all in seconds.

    :ivar from_s: the track's time of the last pair that was in line with the piece before, and `until_s` that of the
        pair that tells of the new one.
    :ivar delay_s: arrival minus track time of the least delayed among the newest packets at the former.
    :ivar s: by how much the relation has moved.
    """

    from_s: float
    until_s: float
    delay_s: float
    s: float


class SenderTime:
    """One source of one track, all times in seconds.

    :ivar pairs: how many told anything new, outliers included.
    :ivar apart: how many of them were outliers.
    :ivar step: what the newest pair has begun; `None`: it was in line with the one before, an outlier, or the first
        one, or nothing is left of what was before it.
    """

    def __init__(self) -> None:
        self.pairs = self.apart = 0
        self.step: Step | None = None
        self._piece: deque[_Pair] = deque(maxlen=_WINDOW)
        self._outliers: list[_Pair] = []
        self._noise: deque[float] = deque(maxlen=_NOISE_WINDOW)
        self._newest_s = 0.0
        self._slope: float | None = None
        self._centre_s = self._mean_s = 0.0
        self._worst_s = 0.0

    @property
    def known(self) -> bool:
        """Whether anything was said yet."""
        return bool(self._piece)

    def restart(self) -> None:
        """The source counts anew, from anywhere: nothing that was said holds any more."""
        self._piece.clear()
        self._outliers.clear()
        self._noise.clear()
        self._slope = None

    @property
    def last_s(self) -> float:
        """The track's time of the newest pair that was no outlier; only where it is `known`."""
        return self._piece[-1].track_s

    def add(self, track_s: float, sender_s: float, delay_s: float) -> Verdict | None:
        """Take what the sender said: at `track_s` of the track its own time was `sender_s`.

        `None`: it is no news, for it is about the same half second as the one before; nothing has changed.

        :param delay_s: arrival minus track time of the least delayed among the newest packets.
        """
        if self._piece and abs(track_s - self._newest_s) < _NEWS_S:
            return None
        self._newest_s = track_s
        self.pairs += 1
        self.step = None
        pair = _Pair(track_s, sender_s - track_s, delay_s)
        if not self._piece:
            return self._begin([pair], "fits")
        residual_s = pair.offset_s - self.offset_s(track_s)
        fits = abs(residual_s) <= self._tolerance_s()
        if abs(residual_s) <= IMPLAUSIBLE_S:
            self._noise.append(min(abs(residual_s), abs(residual_s - self._later_s(delay_s))))
        if fits:
            return self._go_on(pair)
        if self._is_borne_out(residual_s, delay_s):
            return self._begin([pair], "slipped")
        if abs(residual_s) <= _SMALL_S and (self._is_new or self._later_s(delay_s) / residual_s > _HALF):
            return self._begin([pair], "fits")
        return self._set_aside(pair)

    def reconsider(self, delay_s: float) -> Verdict | None:
        """More packets have come: they may bear out what was set aside. `None`: nothing has changed.

        :param delay_s: as in `add`.
        """
        if not self._outliers:
            return None
        newest = self._outliers[-1]
        if not self._is_borne_out(newest.offset_s - self.offset_s(newest.track_s), delay_s):
            return None
        return self._begin([dataclasses.replace(newest, delay_s=delay_s)], "slipped")

    def sender_s(self, track_s: float) -> float:
        """The sender's time at `track_s`; only where it is `known`."""
        return track_s + self.offset_s(track_s)

    def track_s(self, sender_s: float) -> float:
        """The track's time at the sender's time; only where it is `known`."""
        slope = self._slope or 0.0
        return (sender_s - self._mean_s + slope * self._centre_s) / (1 + slope)

    def offset_s(self, track_s: float) -> float:
        """The sender's time minus the track's."""
        return self._mean_s + (self._slope or 0.0) * (track_s - self._centre_s)

    @property
    def slope(self) -> float | None:
        """How much faster than the track's the sender's time passes, as a ratio; `None` where it cannot be told."""
        return self._slope

    def error_s(self, track_s: float) -> float:
        """How far `sender_s(track_s)` may be from what the sender would say: how the pairs scatter, how few and how old
        they are, and what outliers say instead.
        """
        age_s = abs(track_s - self._piece[-1].track_s)
        drift = _DRIFT_UNKNOWN if self._slope is None else _DRIFT_KNOWN
        aside = [abs(pair.offset_s - self.offset_s(pair.track_s)) for pair in self._outliers]
        doubt_s = max((off_s for off_s in aside if off_s <= IMPLAUSIBLE_S), default=0.0)
        return self._worst_s + _UNPROVEN_S / len(self._piece) + drift * age_s + doubt_s

    @property
    def _is_new(self) -> bool:
        """Whether it is not known yet how good the pairs are."""
        return len(self._noise) < _NOISE_FROM

    def _tolerance_s(self) -> float:
        """Within which a pair is in line: what these pairs scatter, as far as the packets do not explain it."""
        if self._is_new:
            return _FINE_S
        return max(_FINE_S, 2 * float(np.median(self._noise)))

    def _later_s(self, delay_s: float) -> float:
        """How much later packets come than when the last pair was taken that was no outlier."""
        return delay_s - self._piece[-1].delay_s

    def _is_borne_out(self, residual_s: float, delay_s: float) -> bool:
        """Whether the packets come as much later as a pair says that the sender has slipped."""
        unexplained_s = abs(residual_s - self._later_s(delay_s))
        return abs(residual_s) > LEAST_SLIP_S and unexplained_s <= max(_UNEXPLAINED * abs(residual_s), _UNEVEN_S)

    def _set_aside(self, pair: _Pair) -> Verdict:
        self._outliers.append(pair)
        for one, other in pairwise(self._outliers[-2:]):
            if abs(one.offset_s - other.offset_s) <= self._tolerance_s():
                return self._begin([one, other], "fits")
        if len(self._outliers) >= _MOST_APART:
            self._noise.clear()
            return self._begin([pair], "reset")
        self.apart += 1
        return "apart"

    def _begin(self, pairs: list[_Pair], verdict: Verdict) -> Verdict:
        before_s, last = self.offset_s(pairs[-1].track_s), self._piece[-1] if self._piece else None
        self._piece.clear()
        self._piece.extend(pairs)
        self._outliers.clear()
        self._fit()
        if last is not None and verdict != "reset":
            step_s = self.offset_s(pairs[-1].track_s) - before_s
            self.step = Step(last.track_s, pairs[-1].track_s, last.delay_s, step_s)
        return verdict

    def _go_on(self, pair: _Pair) -> Verdict:
        self._piece.append(pair)
        self._outliers.clear()
        self._fit()
        return "fits"

    def _fit(self) -> None:
        """Least squares over the piece; a slope only where it stands out of the scatter."""
        tracks = np.array([pair.track_s for pair in self._piece])
        offsets = np.array([pair.offset_s for pair in self._piece])
        self._centre_s, self._mean_s = float(tracks.mean()), float(offsets.mean())
        apart, off = tracks - self._centre_s, offsets - self._mean_s
        if len(tracks) >= _SLOPE_FROM and tracks[-1] - tracks[0] >= _SLOPE_SPAN_S:
            self._slope = _slope(apart, off)
        residuals = off - (self._slope or 0.0) * apart
        self._worst_s = float(np.abs(residuals).max())


def _slope(apart: np.ndarray, off: np.ndarray) -> float | None:
    spread = float(apart @ apart)
    slope = float(apart @ off) / spread
    scatter = off - slope * apart
    uncertain = float(np.sqrt(scatter @ scatter / (len(off) - 2) / spread))
    if abs(slope) > _STEEPEST or 2 * uncertain > _DRIFT_KNOWN:
        return None
    return slope
