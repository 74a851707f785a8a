"""The faults that benchmarks.fault_detection plants, what is expected of each, and the runs that they share."""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from processors.stream_health import StreamHealthOptions
from vision.simulator.effects import CLIPPING_GAIN
from vision.simulator.performance import Performance, Times
from vision.simulator.settings import AMOUNTS, FAULT_KINDS, Fault, FaultKind
from vision.simulator.voice import SAMPLE_RATE_HZ, Voice

__all__ = ["GROUPS", "KINDS", "LEAD_S", "Incident", "Kind", "Planted", "Session", "sessions"]

LEAD_S = 8.0
"""Nothing is planted in the first seconds, in which a run starts."""

_FPS = 25
_SESSION_S = 120.0
_AROUND_END_S = 0.2
_PARTED = 0.25  # of the widest opening: what is less, a picture of the drawn head hardly shows
_ALREADY_LATE_MS = 10.0  # what pictures are late by anyway, on a machine that does other things as well
_LIMITS_MS = (-45.0, 125.0)  # ITU-R BT.1359, detectability: what lip_sync.out_of_sync goes by

_SEEN = ({"use": "frame_quality"}, {"use": "stream_health"})
_HEARD = ({"use": "audio_quality"}, {"use": "stream_health"})
_LIPS = ({"use": "face_landmarks"}, {"use": "speech"}, {"use": "lip_sync"})
_PROCESSORS: Mapping[str, Sequence[Mapping[str, str]]] = {
    "picture": _SEEN,
    "sound": _HEARD,
    "lips": _LIPS,
    "reports": (*_SEEN, _HEARD[0]),
    "clean": (*_SEEN, _HEARD[0], *_LIPS, {"use": "face_dynamics"}),
}


@dataclass(frozen=True, slots=True)
class Kind:
    """What is expected of one kind of fault.

    :ivar incidents: kinds of incidents of which one must come, and `cause` its cause; none: no incident may come.
    :ivar follows: kinds that follow from it, rightly, where its amount is at least `follows_from`.
    :ivar steps: it changes something for as long as it lasts, which is told where it begins and where it ends.
    :ivar length_s: how long it lasts, from and to.
    :ivar rest_s: how long nothing is planted behind it.
    :ivar reach_s: how far an incident may be from the fault and still be of it.
    :ivar amounts: `offset_ms` or `ms_per_minute`, from and to, with either sign.
    :ivar voiced: it is to be heard: planted where the avatar speaks, before and behind each end.
    """

    group: str
    incidents: tuple[str, ...] = ()
    cause: str = "rendered"
    follows: tuple[str, ...] = ()
    follows_from: float = -math.inf
    steps: bool = False
    length_s: tuple[float, float] = (0.6, 2.0)
    rest_s: float = 4.0
    reach_s: float = 0.3
    amounts: tuple[float, float] | None = None
    voiced: bool = False


_OUT_OF_SYNC = Kind(
    "lips", ("out_of_sync",), follows=("unacceptable_sync", "sync_step"), rest_s=12.0, reach_s=4.0, voiced=True
)
KINDS: Mapping[FaultKind, Kind] = {
    "freeze": Kind("picture", ("freeze",), length_s=(0.8, 2.5)),
    "black": Kind("picture", ("black",), follows=("scene_cut", "flash"), length_s=(0.3, 2.0)),
    "blur": Kind("picture", ("blur",)),
    "noise": Kind("picture", ("noise",), follows=("scene_cut",)),
    "blockiness": Kind("picture", ("blockiness",)),
    "drop": Kind("picture", ("no_picture",), "sender", length_s=(0.4, 1.5)),
    "late": Kind("picture", ("late",), "sender"),
    "silence": Kind("sound", ("silence",), follows=("click",), length_s=(0.8, 2.5)),
    "clipping": Kind("sound", ("clipping",), follows=("click",), length_s=(0.8, 2.5), voiced=True),
    "audio_gap": Kind("sound", ("dropout",), "sender", follows=("click",), length_s=(0.2, 1.0)),
    "mouth_still": Kind("lips", ("voice_without_mouth",), length_s=(3.0, 5.0), rest_s=8.0, reach_s=2.0, voiced=True),
    "mouth_moving": Kind("lips", ("mouth_without_voice",), length_s=(3.0, 5.0), rest_s=8.0, reach_s=2.0),
    "offset": dataclasses.replace(_OUT_OF_SYNC, length_s=(12, 16), amounts=(200, 320)),
    "drift": dataclasses.replace(_OUT_OF_SYNC, length_s=(28, 32), amounts=(500, 700)),
    "send_time_reports": Kind(
        "reports",
        ("clock_slip",),
        "sender",
        follows=("late",),
        follows_from=StreamHealthOptions().late_ms - _ALREADY_LATE_MS,
        steps=True,
        length_s=(3, 5),
        rest_s=1.5,
        amounts=(50, 300),
    ),
    "no_reports": Kind("reports", length_s=(3, 6), rest_s=1.5),
    "report_jump": Kind("reports", length_s=(3, 5), rest_s=1.5, amounts=(1_000, 100_000)),
    "report_drift": Kind("reports", length_s=(3, 5), rest_s=1.5, amounts=(10, 60)),
}
GROUPS = tuple(_PROCESSORS)


@dataclass(frozen=True, slots=True)
class Planted:
    """One fault, and when it can be seen or heard."""

    fault: Fault
    start_s: float
    end_s: float

    @property
    def kind(self) -> Kind:
        """What is expected of it."""
        return KINDS[self.fault.kind]

    @property
    def parts(self) -> tuple[Planted, ...]:
        """What is to be found of it, each by itself: all of it, or its two ends."""
        if not self.kind.steps:
            return (self,)
        return tuple(Planted(self.fault, at_s, at_s) for at_s in (self.start_s, self.end_s))

    def overlaps(self, incident: Incident) -> bool:
        """Whether an incident is near enough to be of it."""
        reach_s = self.kind.reach_s
        return incident.start_s < self.end_s + reach_s and incident.end_s > self.start_s - reach_s

    def explains(self, incident: Incident) -> bool:
        """Whether it is expected to cause an incident, directly or not."""
        if incident.kind in self.kind.follows and self.fault.amount >= self.kind.follows_from:
            return self.overlaps(incident)
        return incident.kind in self.kind.incidents and any(part.overlaps(incident) for part in self.parts)


@dataclass(frozen=True, slots=True)
class Incident:
    """As a run wrote it."""

    kind: str
    cause: str
    start_s: float
    end_s: float
    evidence: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Session:
    """A run, and what is planted in it."""

    group: str
    seed: int
    duration_s: float
    planted: tuple[Planted, ...] = ()

    @property
    def parts(self) -> Iterator[Planted]:
        """All that is to be found."""
        return (part for one in self.planted for part in one.parts)

    def config(self) -> dict[str, Any]:
        """The run, as YAML has it; pictures are small where nobody looks at them."""
        size = (192, 108) if self.group in ("sound", "reports") else (640, 360)
        faults = [one.fault.model_dump(exclude_none=True) for one in self.planted]
        source = {"use": "simulator", "seed": self.seed, "size": list(size), "fps": _FPS, "faults": faults}
        return {
            "name": f"{self.group}-{self.seed}",
            "source": source,
            "run": {"duration_s": self.duration_s},
            "processors": [dict(each) for each in _PROCESSORS[self.group]],
        }


def sessions(groups: Sequence[str], trials: int, first_seed: int, clean_s: float) -> Iterator[Session]:
    """The runs in which each kind of these groups is planted so many times."""
    for number, group in enumerate(groups):
        if group == "clean":
            yield Session("clean", first_seed, clean_s)
            continue
        chance = random.Random(f"{group} {first_seed}")
        kinds = [kind for kind in FAULT_KINDS if KINDS[kind].group == group]
        left = [kind for kind in kinds for _ in range(trials)]
        chance.shuffle(left)
        seed = first_seed + 100 * number
        while left:
            session = _session(group, seed, left, chance)
            left, seed = left[len(session.planted) :], seed + 1
            yield session


def _session(group: str, seed: int, left: Sequence[FaultKind], chance: random.Random) -> Session:
    """As many of the faults that are left as fit into a run."""
    performance = Performance(seed)
    planted: list[Planted] = []
    at_s = LEAD_S
    for name in left:
        one = _planted(name, at_s + chance.uniform(0, 1), performance, chance)
        planted.append(one)
        at_s = one.fault.end_s + KINDS[name].rest_s
        if at_s >= _SESSION_S:
            break
    return Session(group, seed, round(at_s, 1), tuple(planted))


def _planted(name: FaultKind, from_s: float, performance: Performance, chance: random.Random) -> Planted:
    kind = KINDS[name]
    length_s = round(chance.uniform(*kind.length_s), 2)
    start_s = round(_voiced_from(performance, from_s, length_s) if kind.voiced else from_s, 2)
    amount: dict[str, float] = {}
    if kind.amounts is not None:
        given = AMOUNTS[name]
        sign = chance.choice((-1, 1)) if given.low < 0 else 1
        amount = {given.field: sign * round(chance.uniform(*kind.amounts), 1)}
    fault = Fault.model_validate({"kind": name, "start_s": start_s, "duration_s": length_s, **amount})
    return Planted(fault, *_perceptible(fault, performance))


def _perceptible(fault: Fault, performance: Performance) -> tuple[float, float]:
    """From when to when a fault can be seen or heard.

    One that grows, from its limit on; clipping, where it is loud; lips without a voice, from the first phrase that they
    mime to the last one; lips that stand still, until they part again or the voice pauses.
    """
    start_s, end_s = fault.start_s, fault.end_s
    if fault.kind == "drift":
        limit_ms = _LIMITS_MS[1] if fault.amount > 0 else _LIMITS_MS[0]
        return start_s + 60 * limit_ms / fault.amount, end_s
    if fault.kind == "clipping":
        times_s = np.arange(start_s, end_s, 1 / SAMPLE_RATE_HZ)
        loud = times_s[np.abs(Voice(performance).at(times_s)) * CLIPPING_GAIN >= 1]
        return (float(loud[0]), float(loud[-1])) if loud.size else (start_s, end_s)
    if fault.kind == "mouth_moving":
        times_s = _pictures_s(start_s, end_s)
        mimed = times_s[performance.speaking(times_s)]
        return (float(mimed[0]), min(float(mimed[-1]) + 1 / _FPS, end_s)) if mimed.size else (start_s, end_s)
    if fault.kind == "mouth_still":
        times_s = _pictures_s(end_s, end_s + 5)
        other = (performance.mouth_opening(times_s) > _PARTED) | ~performance.speaking(times_s)
        return start_s, float(times_s[other][0])
    return start_s, end_s


def _pictures_s(from_s: float, to_s: float) -> Times:
    """Times of the pictures between two moments."""
    return np.arange(math.ceil(from_s * _FPS), math.ceil(to_s * _FPS)) / _FPS


def _voiced_from(performance: Performance, from_s: float, length_s: float) -> float:
    """The first moment from which on, for so long, the avatar speaks: around both ends, and most of the time."""
    times_s = np.arange(from_s - _AROUND_END_S, from_s + 60, 0.02)
    speaking = performance.speaking(times_s)
    count, edge = round(length_s / 0.02), round(_AROUND_END_S / 0.02)
    for first in range(edge, len(times_s) - count - edge):
        ends = (speaking[at - edge : at + edge] for at in (first, first + count))
        if all(end.all() for end in ends) and speaking[first : first + count].mean() > 0.75:
            return float(times_s[first])
    raise ValueError(f"nobody speaks for {length_s} s within a minute after {from_s} s")
