"""How far the sound was from the picture in a run, by the flashes and beeps that `tests.marks` found in it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from tests.marks import BRIGHT, DARK

__all__ = ["Pair", "beeps_s", "flashes_s", "pairs", "records_of"]

Records = Sequence[Mapping[str, Any]]
_LIT = (DARK + BRIGHT) / 2
_GAP = 1.6  # usual intervals between pictures; behind a longer one the first bright picture may be missing
_NEAR_S = 0.5


@dataclass(frozen=True, slots=True)
class Pair:
    """A flash and its beep, at their media times."""

    flash_s: float
    beep_s: float

    @property
    def offset_ms(self) -> float:
        """> 0: the sound is late."""
        return 1000 * (self.beep_s - self.flash_s)


def records_of(folder: Path) -> Records:
    """The records of a run, whose processor `tests.marks:MarksProcessor` is named `marks`."""
    return [json.loads(line) for line in (folder / "frames.jsonl").read_text().splitlines()]


def flashes_s(records: Records) -> list[float]:
    """The media times of the first bright pictures; not of those behind a damaged picture or a gap."""
    shown = [record for record in records if record["index"] is not None]
    intervals_s = [later["time_s"] - sooner["time_s"] for sooner, later in pairwise(shown)]
    longest_s = _GAP * median(intervals_s) if intervals_s else 0.0
    return [
        later["time_s"]
        for (sooner, later), interval_s in zip(pairwise(shown), intervals_s, strict=True)
        if _is_lit(sooner) is False and _is_lit(later) is True and interval_s <= longest_s
    ]


def _is_lit(record: Mapping[str, Any]) -> bool | None:
    """Whether its picture is bright; `None` where that cannot be told."""
    marks = record["marks"]
    if record["corrupt"] or marks is None or marks["luma"] is None:
        return None
    return bool(marks["luma"] > _LIT)


def beeps_s(records: Records) -> list[float]:
    """The media times at which beeps begin."""
    found = [record["marks"]["onset_s"] for record in records if record["marks"] is not None]
    return [onset_s for onset_s in found if onset_s is not None]


def pairs(flashes_s: Sequence[float], beeps_s: Sequence[float]) -> list[Pair]:
    """Each flash with the nearest beep, if there is one within 0.5 s."""
    found = [Pair(flash_s, min(beeps_s, key=lambda at_s: abs(at_s - flash_s))) for flash_s in flashes_s if beeps_s]
    return [pair for pair in found if abs(pair.beep_s - pair.flash_s) < _NEAR_S]
