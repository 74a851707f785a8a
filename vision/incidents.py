"""Intervals in which something was wrong, made from metrics as the records come."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from vision.frame import Cause, Frame, Losses, with_losses
from vision.record import Record
from vision.result import Hysteresis, IncidentRule, MetricInfo

__all__ = ["Incident", "IncidentTracker", "OpenStretch", "clock_slips", "losses_as_evidence"]

_ROUNDING_S = 1e-6  # times are floats: three pictures at 30 fps are a tenth of a second, and no less
_AROUND = 3  # values told from before a stretch, and from behind it
_MOST_WITHIN = 16  # and from within, evenly spread
_LEAST_SLIP_MS = 15.0  # ATSC IS-191: sound is at most 15 ms early; a smaller slip makes nothing wrong that was right
_CORRUPTION = IncidentRule("corruption", when=True, min_s=0.0, cause=None, join_s=1.0)
_TOLD_AS: dict[Cause, str] = {"network": "packets_lost", "receiver": "not_decoded", "overload": "dropped"}

Value = float | bool | None


@dataclass(frozen=True, slots=True)
class Incident:
    """A stretch of the run, `[start_s, end_s)` on the media clock.

    :ivar cause: whose fault it is.
    :ivar evidence: the metric it was seen in, on how many pictures, the worst value and when that was, values around
        it; where the run keeps them, the files of a still and a clip.
    """

    kind: str
    cause: Cause
    start_s: float
    end_s: float
    severity: str
    evidence: Mapping[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """As a line of incidents.jsonl."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class OpenStretch:
    """What may become an incident, or is about to be told.

    :ivar worst_s: when it was worst so far.
    """

    kind: str
    start_s: float
    worst_s: float


class IncidentTracker:
    """Follows the metrics that carry an `IncidentRule`, and the pictures that were damaged on the way (`corruption`).

    A stretch ends with the first picture that is measured to be well; one that was not measured, or was damaged on
    the way, neither ends it nor begins it. A stretch that is still open when the run ends, ends with its last picture.
    It is told once nothing can be joined to it, and the values behind it are there.

    :param listeners: names of the processors that measure sound only, which damaged pictures do not concern.
    """

    def __init__(self, metrics: Mapping[str, Iterable[MetricInfo]], listeners: Container[str] = ()) -> None:
        self._watches = [_Watch("corrupt", _CORRUPTION, _is_corrupt)]
        for processor, infos in metrics.items():
            by_name = {info.name: info for info in infos}
            self._watches += [
                _watch(processor, info, info.incident, by_name, hears=processor in listeners)
                for info in by_name.values()
                if info.incident is not None
            ]

    @property
    def open(self) -> Iterator[OpenStretch]:
        """The stretches that go on, or wait to be told."""
        for watch in self._watches:
            if watch.stretch is not None:
                yield OpenStretch(watch.rule.kind, watch.told_s(watch.stretch.start_s), watch.stretch.worst_s)

    def add(self, record: Record) -> Iterator[Incident]:
        """Take a record; yields the incidents that it ends."""
        for watch in self._watches:
            yield from watch.take(record)

    def running(self) -> Iterator[Incident]:
        """The stretches that go on and count already, as if they ended with their last picture."""
        for watch in self._watches:
            if watch.stretch is not None and watch.stretch.end_s is None:
                yield from watch.told_of(watch.stretch)

    def end(self) -> Iterator[Incident]:
        """The run is over; yields the incidents that are still open."""
        for watch in self._watches:
            yield from watch.finish()


class _Within:
    """Values of a stretch, evenly spread however long it is."""

    def __init__(self) -> None:
        self.values: list[tuple[float, float]] = []
        self._step = 1
        self._count = 0

    def add(self, time_s: float, value: float) -> None:
        """Take a value, or pass it over."""
        if self._count % self._step == 0:
            self.values.append((time_s, value))
        self._count += 1
        if len(self.values) > _MOST_WITHIN:
            self.values, self._step = self.values[::2], 2 * self._step


@dataclass(slots=True)
class _Stretch:
    """:ivar end_s: the first picture that was well since; `None` while it goes on."""

    start_s: float
    before: tuple[tuple[float, float], ...]
    last_s: float
    worst_s: float
    worst: float | None = None
    end_s: float | None = None
    pictures: int = 0
    within: _Within = field(default_factory=_Within)
    after: list[tuple[float, float]] = field(default_factory=list)


@dataclass(slots=True)
class _Watch:
    """One rule at work.

    :ivar name: of the metric that the rule is about.
    :ivar read: its value in a record; `None`: not measured, or of no account.
    :ivar told: the number that is told of, the way to its value, and whether high values are bad.
    :ivar lost_with: what a frame says of what is missing, as far as it concerns this rule.
    """

    name: str
    rule: IncidentRule
    read: Callable[[Record], Value]
    told: tuple[str, Callable[[Record], Value], bool] | None = None
    lost_with: Callable[[Frame], Losses] = lambda frame: frame.lost_before
    stretch: _Stretch | None = None
    before: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=_AROUND))
    lost: Losses = field(default_factory=dict)  # since the last value that was well, and all through a stretch

    def take(self, record: Record) -> Iterator[Incident]:
        """Take a record; yields what it ends."""
        time_s, value = record.frame.time_s, self.read(record)
        self.lost = with_losses(self.lost, self.lost_with(record.frame))
        if value is not None:
            if self._is_bad(value):
                yield from self._worsen(time_s, record)
            else:
                self._recover(time_s, record)
        if (stretch := self.stretch) is not None and self._is_over(stretch, time_s):
            yield from self.finish()
        if self.stretch is None and value is not None:
            self.lost = {}

    def told_s(self, time_s: float) -> float:
        """The time that a value of this time is about."""
        return round(max(time_s - self.rule.delay_s, 0.0), 6)

    def finish(self) -> Iterator[Incident]:
        """Tell the stretch that is there, if it counts."""
        stretch, self.stretch = self.stretch, None
        if stretch is None:
            return
        self.before.extend(stretch.after)
        yield from self.told_of(stretch)

    def told_of(self, stretch: _Stretch) -> Iterator[Incident]:
        """The incident that a stretch is, if it counts."""
        end_s = stretch.last_s if stretch.end_s is None else stretch.end_s
        if end_s - stretch.start_s >= self.rule.min_s - _ROUNDING_S:
            yield Incident(
                kind=self.rule.kind,
                cause=self.rule.cause or _cause_by(self.lost),
                start_s=self.told_s(stretch.start_s),
                end_s=self.told_s(end_s),
                severity=self.rule.severity,
                evidence=self._evidence(stretch),
            )

    def _is_bad(self, value: float | bool) -> bool:
        when = self.rule.when
        if isinstance(when, Hysteresis):
            already = self.stretch is not None and self.stretch.end_s is None
            return when.is_bad(value, already=already)
        return value == when

    def _worsen(self, time_s: float, record: Record) -> Iterator[Incident]:
        """A value that is bad."""
        stretch = self.stretch
        if (
            stretch is not None
            and stretch.end_s is not None
            and time_s - stretch.end_s > self.rule.join_s + _ROUNDING_S
        ):
            yield from self.finish()
            stretch, self.lost = None, self.lost_with(record.frame)
        if stretch is None:
            stretch = self.stretch = _Stretch(time_s, tuple(self.before), time_s, time_s)
        stretch.last_s, stretch.end_s = time_s, None
        stretch.pictures += 1
        for sample in stretch.after:
            stretch.within.add(*sample)
        stretch.after = []
        self._note_worst(stretch, time_s, record)

    def _note_worst(self, stretch: _Stretch, time_s: float, record: Record) -> None:
        if self.told is None or (value := self.told[1](record)) is None:
            return
        stretch.within.add(time_s, value)
        if stretch.worst is None or (value > stretch.worst if self.told[2] else value < stretch.worst):
            stretch.worst, stretch.worst_s = float(value), time_s

    def _recover(self, time_s: float, record: Record) -> None:
        """A value that is well."""
        stretch = self.stretch
        if stretch is not None and stretch.end_s is None:
            stretch.end_s = time_s
        if self.told is None or (value := self.told[1](record)) is None:
            return
        if stretch is None:
            self.before.append((time_s, value))
        else:
            stretch.after.append((time_s, value))

    def _is_over(self, stretch: _Stretch, time_s: float) -> bool:
        if stretch.end_s is None or time_s - stretch.end_s < self.rule.join_s - _ROUNDING_S:
            return False
        return self.told is None or len(stretch.after) >= _AROUND

    def _evidence(self, stretch: _Stretch) -> dict[str, Any]:
        when = self.rule.when
        known = {"limit": when.begin} if isinstance(when, Hysteresis) else {"value": when}
        evidence: dict[str, Any] = {"metric": self.name, **known, "pictures": stretch.pictures}
        if self.rule.cause is None:
            evidence |= losses_as_evidence(self.lost)
        if self.told is None or stretch.worst is None:
            return evidence
        worst = {"metric": self.told[0], "value": round(stretch.worst, 6), "time_s": round(stretch.worst_s, 6)}
        around = [*stretch.before, *stretch.within.values, *stretch.after[:_AROUND]]
        values = [[round(time_s, 6), round(value, 6)] for time_s, value in around]
        return evidence | {"worst": worst, "values": values}


def _watch(
    processor: str, info: MetricInfo, rule: IncidentRule, infos: Mapping[str, MetricInfo], *, hears: bool
) -> _Watch:
    """The watch of one metric; for those of pictures, what was damaged on the way says nothing of the avatar."""

    def reader(name: str) -> Callable[[Record], Value]:
        def read(record: Record) -> Value:
            return None if record.frame.corrupt and not hears else record.value(processor, name)

        return read

    named = rule.worst or (info.name if isinstance(rule.when, Hysteresis) else None)
    told = None
    if named is not None:
        own = rule.when.high_is_bad if isinstance(rule.when, Hysteresis) and named == info.name else None
        high_is_bad = infos[named].good == "low" if own is None else own
        told = (f"{processor}.{named}", reader(named), high_is_bad)
    return _Watch(f"{processor}.{info.name}", rule, reader(info.name), told, _lost_sound if hears else _lost_at_all)


def _is_corrupt(record: Record) -> bool | None:
    return record.frame.corrupt if record.frame.maybe_picture is not None else None


def _lost_sound(frame: Frame) -> Losses:
    """What a frame says of sound that is missing."""
    sound = frame.sound
    if not sound.missing:
        return {}
    return {"network": sound.lost} if sound.lost else {"sender": 0}


def _lost_at_all(frame: Frame) -> Losses:
    return with_losses(frame.lost_before, _lost_sound(frame))


def _cause_by(lost: Losses) -> Cause:
    """Whose fault it is where the frames have to say: what was lost on the way weighs more than what was not sent.

    A picture that the decoder found damaged, with no packet missing, was damaged on the way as well.
    """
    order: tuple[Cause, ...] = ("network", "receiver", "overload", "sender")
    return next((cause for cause in order if cause in lost), "network")


def losses_as_evidence(lost: Losses) -> dict[str, int]:
    """What was lost, by the names that evidence has for it."""
    return {_TOLD_AS[cause]: count for cause, count in lost.items() if cause in _TOLD_AS and count}


def clock_slips(frame: Frame) -> Iterator[Incident]:
    """Where the sender's relation between picture and sound has slipped by its own word, at the frame that tells of it.

    The incident is as long as it is uncertain when that was.
    """
    step = frame.clock_step
    if step is not None and step.by_sender and abs(step.ms) >= _LEAST_SLIP_MS:
        told_s = round(frame.time_s, 6)
        start_s, end_s = (round(time_s, 6) for time_s in step.between_s or (told_s, told_s))
        evidence = {"metric": "clock.step_ms", "value": round(step.ms, 1), "told_s": told_s}
        yield Incident("clock_slip", "sender", max(start_s, 0.0), max(end_s, 0.0), "warning", evidence)
