"""Two runs against each other: how their means differ, and how sure that is.

Frames that follow each other are alike, so that it is not frames that are resampled, but batches of some seconds: few,
and long enough to be nearly independent (batch means; Schmeiser, Operations Research 30, 1982). What they still have in
common is put back (as of a first-order autoregression), and Student's t accounts for their being few. The intervals
hold for all metrics at once: their width is taken from the largest deviation of any metric in each resample (max-T;
Westfall and Young, 1993), which takes into account that metrics move together.

A mean says little of what happened once. So what one run does for some seconds on end, far from all that the baseline
ever does, is told as well, however short it is.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vision.report.blocks import SecondsOfRun
from vision.report.contents import FPS, Metric

__all__ = ["Difference", "IncidentDifference", "Judged", "Stretch", "differences", "incident_differences"]

Judged = Literal["worse", "better", "changed", "same", "unsure"]
Floats = NDArray[np.float64]

_RESAMPLES = 2_000
_SEED = 1
_LEVEL = 0.95
_FEWEST, _MOST = 8, 30  # batches
_FEWEST_KNOWN = 6  # batches that hold values of a metric, below which nothing is told of it
_GROWTH = 2.5  # batches by the cube root of the seconds: of ten minutes 21, of 28 s each
_MOST_LIKE = 0.98
_STRETCH_S = 3  # that something must last to be told although it happened once

# the least differences that matter, by unit; 20 ms of sound against picture is half of what viewers notice
# (ITU-R BT.1359: 45 ms early), and 1 dB is what listeners just do
_LEAST: Mapping[str, float] = {
    "bool": 0.03, "ms": 20, "s": 0.5, "deg": 2, "px": 3, "dB": 1, "dBFS": 1, "LUFS": 1, "Hz": 1, "1/min": 2,
    "ppm": 50, "bit": 0.2, "ms/min": 10,
}  # fmt: skip
_LEAST_SHARE = 0.1  # of the baseline's mean
_LEAST_OF_RANGE = 0.03  # of the metric's range, where it has two ends
_LEAST_COVERAGE = 0.1
_LEAST_RATE = 0.5  # incidents a minute


@dataclass(frozen=True, slots=True)
class Stretch:
    """Seconds on end in which a metric was as it never was in the baseline.

    :ivar mean: of the metric, in them.
    """

    start_s: float
    end_s: float
    mean: float


@dataclass(frozen=True, slots=True)
class Difference:
    """How a metric, or its coverage, differs from the baseline.

    :ivar is_coverage: it is about how much was measured, as a share.
    :ivar before: the baseline's mean; `None`: not measured.
    :ivar low: end of the interval of `after - before` that holds for all metrics at once, in 95 of 100 comparisons.
    :ivar least: the least difference that matters.
    :ivar stretch: where the run was farthest from the baseline, if that is what the judgement is about.
    """

    metric: Metric
    is_coverage: bool
    before: float | None
    after: float | None
    low: float | None
    high: float | None
    least: float
    judged: Judged
    stretch: Stretch | None = None

    @property
    def by(self) -> float | None:
        """After less before."""
        return None if self.before is None or self.after is None else self.after - self.before

    @property
    def strength(self) -> float:
        """In least differences that matter; for ranking."""
        by = self.stretch.mean - self.before if self.stretch and self.before is not None else self.by
        return 0.0 if by is None else abs(by) / self.least


@dataclass(frozen=True, slots=True)
class IncidentDifference:
    """How often a kind of incident came, a minute.

    :ivar low: end of the interval of the difference of rates.
    """

    kind: str
    before: int
    after: int
    before_rate: float
    after_rate: float
    low: float
    high: float
    judged: Judged


@dataclass(frozen=True, slots=True)
class _Sample:
    """Sums and counts per block, `(N, M)`, of the quantities that are compared."""

    total: Floats
    count: Floats

    def mean(self) -> Floats:
        return np.asarray(self.total.sum(0) / np.maximum(self.count.sum(0), 1e-12))

    def variance(self) -> Floats:
        """Of the mean, as a ratio of sums, were the blocks independent."""
        blocks = np.maximum(self.known(), 1)
        residual = self.total - self.mean() * self.count
        spread = (residual**2).sum(0) / np.maximum(self.count.sum(0), 1e-12) ** 2
        return np.asarray(spread * blocks / np.maximum(blocks - 1, 1))

    def known(self) -> NDArray[np.int64]:
        """In how many blocks there is a value."""
        return np.asarray((self.count > 0).sum(0))


@np.errstate(over="ignore", invalid="ignore", divide="ignore")  # of values without measure nothing is told
def differences(before: SecondsOfRun, after: SecondsOfRun) -> list[Difference]:
    """Every metric that either run has, and its coverage; in the order of the runs' files."""
    names = [FPS, *[name for name in before.metrics if name != FPS]]
    names += [name for name in after.metrics if name not in names]
    metrics = {**after.metrics, **before.metrics, FPS: _FRAME_RATE}
    samples = [_sample(before, names), _sample(after, names)]
    about = [metrics[name] for name in names]
    kinds = [(metric, False) for metric in about] + [(metric, True) for metric in about]
    least = np.array(
        [
            _least(metric, is_coverage, mean)
            for (metric, is_coverage), mean in zip(kinds, samples[0].mean(), strict=True)
        ]
    )
    batches = [_batched(sample) for sample in samples]
    likeness = _likeness(samples)
    # a figure that never moved is not known with certainty
    variances = [
        batch.variance() * _understated(likeness, len(sample.total) / len(batch.total))
        + (least / 2) ** 2 / np.maximum(batch.known(), 1)
        for sample, batch in zip(samples, batches, strict=True)
    ]
    error = np.sqrt(variances[0] + variances[1])
    alike_s = (1 + likeness) / (1 - likeness)  # for how long each metric says the same
    known = np.logical_and.reduce(
        [
            np.minimum(batch.known(), sample.known() / alike_s) >= _FEWEST_KNOWN
            for sample, batch in zip(samples, batches, strict=True)
        ]
    )
    half = _student(_critical(batches, known), _freedom(batches, variances)) * error
    seconds = [_per_second(sample) for sample in samples]
    found = []
    for i, (metric, is_coverage) in enumerate(kinds):
        means = [float(sample.mean()[i]) if sample.count[:, i].any() else None for sample in samples]
        one = _difference(metric, is_coverage, means, float(half[i]) if known[i] else None, float(least[i]))
        usual, seen = (table[:, i] for table in seconds)
        found.append(_said_once(_with_stretch(one, usual, seen), usual, seen))
    return found


_FRAME_RATE = Metric(FPS, "Pictures that came, each second", "Hz", "high", is_flag=False, coverage=1.0, totals={})


def _sample(run: SecondsOfRun, names: Sequence[str]) -> _Sample:
    """The metrics, then their coverages, by seconds."""
    columns = [run.column(name) for name in names]
    nothing = np.zeros(len(run.total))

    def taken(table: Floats) -> list[Floats]:
        return [nothing if column is None else table[:, column] for column in columns]

    total = np.column_stack([*taken(run.total), *taken(np.minimum(run.count, run.due))])
    count = np.column_stack([*taken(run.count), *taken(run.due)])
    return _Sample(total, count)


def _batched(sample: _Sample) -> _Sample:
    seconds = len(sample.total)
    batches = int(np.clip(round(_GROWTH * seconds ** (1 / 3)), _FEWEST, _MOST))
    starts = np.unique(np.linspace(0, seconds, batches, endpoint=False).astype(int))
    return _Sample(np.add.reduceat(sample.total, starts), np.add.reduceat(sample.count, starts))


def _likeness(samples: Sequence[_Sample]) -> Floats:
    """The correlation of seconds that follow each other, of both runs together; never below 0.

    That of a short series is too small by (1 + 3 r) / N on average (Kendall, Biometrika 41, 1954).
    """
    products = power = pairs = np.zeros(samples[0].total.shape[1])
    for sample in samples:
        off = np.nan_to_num(_per_second(sample) - sample.mean())
        both = (sample.count[1:] > 0) & (sample.count[:-1] > 0)
        products = products + (off[1:] * off[:-1] * both).sum(0)
        power = power + ((off[1:] ** 2 + off[:-1] ** 2) / 2 * both).sum(0)
        pairs = pairs + both.sum(0) / len(samples)
    correlation = np.where(power > 0, products / np.maximum(power, 1e-300), 0.0)
    return np.asarray(np.clip(correlation + (1 + 3 * correlation) / np.maximum(pairs, 1), 0.0, _MOST_LIKE))


def _understated(likeness: Floats, length: float) -> Floats:
    """By how much the variance of batches of that many seconds is too small for what they have in common."""
    lags = np.arange(1, max(math.ceil(length), 2))[:, None]
    within = 1 + 2 * (np.maximum(1 - lags / length, 0) * likeness**lags).sum(0)
    return np.asarray((1 + likeness) / (1 - likeness) / within)


def _freedom(batches: Sequence[_Sample], variances: Sequence[Floats]) -> Floats:
    """Degrees of freedom of a difference of two means (Welch and Satterthwaite)."""
    parts = [v**2 / np.maximum(b.known() - 1, 1) for v, b in zip(variances, batches, strict=True)]
    return np.asarray((variances[0] + variances[1]) ** 2 / (parts[0] + parts[1]))


def _critical(batches: Sequence[_Sample], known: NDArray[np.bool_]) -> float:
    """How many standard errors the largest deviation of any metric stays below in 95 of 100 resamples."""
    if not known.any():
        return 0.0
    rng = np.random.default_rng(_SEED)
    error = np.sqrt(sum(batch.variance()[known] for batch in batches))
    deviation = np.zeros((_RESAMPLES, int(known.sum())))
    for batch in batches:
        size, mean = len(batch.total), batch.mean()[known]
        weights = rng.multinomial(size, np.full(size, 1 / size), _RESAMPLES).astype(float)
        count = weights @ batch.count[:, known]
        means = np.where(count > 0, weights @ batch.total[:, known] / np.maximum(count, 1e-12), mean)
        deviation += (means - mean) * math.sqrt(size / (size - 1)) * (1 if batch is batches[1] else -1)
    return float(np.quantile(np.abs(deviation / np.maximum(error, 1e-12)).max(1), _LEVEL))


def _student(normal: float, freedom: Floats) -> Floats:
    """The quantile of Student's t that is as rare as a normal one (Abramowitz and Stegun, 26.7.5)."""
    z = normal
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92_160,
    )
    freedom = np.maximum(freedom, _FEWEST_KNOWN - 1)
    return np.asarray(z + sum(term / freedom ** (power + 1) for power, term in enumerate(terms)))


def _least(metric: Metric, is_coverage: bool, before: float) -> float:
    if is_coverage:
        return _LEAST_COVERAGE
    least = _LEAST.get(metric.unit, 0.0)
    low, high = metric.range
    if low is not None and high is not None and not metric.is_flag:
        least = max(least, _LEAST_OF_RANGE * (high - low)) if metric.unit == "1" else least
    if not metric.is_flag and metric.good != "zero":
        least = max(least, _LEAST_SHARE * abs(before))
    return least or 1e-9


def _difference(
    metric: Metric, is_coverage: bool, means: Sequence[float | None], half: float | None, least: float
) -> Difference:
    before, after = means
    if before is None or after is None or half is None or not math.isfinite(half):
        return Difference(metric, is_coverage, before, after, None, None, least, "unsure")
    by = after - before
    low, high = by - half, by + half
    judged: Judged = "unsure"
    if abs(by) >= least and (low > 0 or high < 0):
        judged = (
            "worse" if is_coverage and by < 0 else "better" if is_coverage else _sense(metric, before, after, least)
        )
    elif -least < low and high < least:
        judged = "same"
    return Difference(metric, is_coverage, before, after, low, high, least, judged)


def _said_once(one: Difference, usual: Floats, seen: Floats) -> Difference:
    """What is one and the same figure all through each run, such as when it began, is one observation: no verdict."""
    if one.judged not in ("worse", "better") or one.metric.is_flag or one.is_coverage:
        return one
    constant = all(np.nanmax(each) - np.nanmin(each) <= 1e-9 * np.nanmax(np.abs(each)) for each in (usual, seen))
    return replace(one, judged="changed") if constant else one


def _with_stretch(one: Difference, usual: Floats, seen: Floats) -> Difference:
    """Judged by the longest stretch of seconds that are out of all that the baseline did, where there is one.

    Out of it is what exceeds the baseline's ends by as much as lies between them, and by twice what matters.
    A stretch also begins and ends at once: what wanders slowly has no ends to exceed in a short run.
    """
    is_open = one.judged in ("unsure", "same") and not one.is_coverage
    if not is_open or one.before is None or one.after is None or usual.size < _FEWEST:
        return one
    low, high = np.nanmin(usual), np.nanmax(usual)
    margin = max(high - low, 2 * one.least)
    best: Stretch | None = None
    for side in (-1, 1):
        beyond = side * seen > side * (low if side < 0 else high) + margin
        for start, end in _runs(beyond):
            mean = float(np.nanmean(seen[start:end]))
            longer = best is None or end - start > best.end_s - best.start_s
            if end - start >= _STRETCH_S and longer and _is_abrupt(seen, start, end, abs(mean - one.before)):
                best = Stretch(float(start), float(end), mean)
    if best is None:
        return one
    return replace(one, judged=_sense(one.metric, one.before, best.mean, one.least), stretch=best)


def _per_second(sample: _Sample) -> Floats:
    """Means, `(N, M)`, NaN where nothing was measured."""
    return np.asarray(np.where(sample.count > 0, sample.total / np.maximum(sample.count, 1e-12), np.nan))


def _runs(flags: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(int)))
    yield from ((int(start), int(end)) for start, end in edges.reshape(-1, 2))


def _is_abrupt(seen: Floats, start: int, end: int, distance: float) -> bool:
    """Whether half the distance is covered within two seconds, on the way there and on the way back."""
    ways = (((start, start - 2), (start + 1, start - 1)), ((end - 1, end + 1), (end - 2, end)))
    inside = range(len(seen))
    steps = [[abs(seen[to] - seen[off]) for to, off in way if off in inside] for way in ways]
    return all(not way or max(way) >= distance / 2 for way in steps)


def _sense(metric: Metric, before: float, after: float, least: float) -> Judged:
    """Whether a change that matters is for the better."""
    match metric.good:
        case "high" | "true":
            return "better" if after > before else "worse"
        case "low" | "false":
            return "better" if after < before else "worse"
        case "zero":
            farther = abs(after) - abs(before)
            return "worse" if farther >= least else "better" if farther <= -least else "changed"
    return "changed"


def incident_differences(before: SecondsOfRun, after: SecondsOfRun) -> list[IncidentDifference]:
    """Each kind of incident that either run has; rates as a Poisson process has them, with Jeffreys' prior."""
    kinds = list(dict.fromkeys([*before.incidents, *after.incidents]))
    tail = (1 - _LEVEL) / 2 / max(len(kinds), 1)
    rng = np.random.default_rng(_SEED)
    minutes = [max(run.duration_s, 1.0) / 60 for run in (before, after)]
    found = []
    for kind in kinds:
        counts = before.incidents[kind], after.incidents[kind]
        drawn = [rng.gamma(count + 0.5, 1 / length, 20_000) for count, length in zip(counts, minutes, strict=True)]
        low, high = np.quantile(drawn[1] - drawn[0], [tail, 1 - tail])
        rates = counts[0] / minutes[0], counts[1] / minutes[1]
        judged: Judged = "unsure"
        if low > 0 or high < 0:
            judged = "same" if abs(rates[1] - rates[0]) < _LEAST_RATE else "worse" if low > 0 else "better"
        found.append(IncidentDifference(kind, *counts, *rates, float(low), float(high), judged))
    return found
