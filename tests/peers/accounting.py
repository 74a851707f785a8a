"""What a run wrote down of the frames it received, to be held against what a peer says it sent."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Account", "Picture", "account_of"]


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture in the records: the number it carries, its RTP timestamp (32 bits), and whether it came damaged."""

    number: int | None
    timestamp: int
    corrupt: bool


@dataclass(frozen=True, slots=True)
class Account:
    """One run of `NumberProcessor` as `numbers`.

    :ivar pictures: in the records, in order.
    :ivar video: what the receiver counted.
    :ivar audio: the same of sound.
    :ivar overload: pictures that the queue dropped, and that the records say were dropped.
    :ivar not_decoded: frames between the first and the last picture that the receiver did not decode.
    :ivar packets_lost: packets between the first and the last picture that the network lost.
    :ivar samples: of sound in all records; `missing_samples` of them never came.
    :ivar levels: of the sound of each frame.
    """

    pictures: list[Picture]
    video: dict[str, Any]
    audio: dict[str, Any]
    overload: int
    not_decoded: int
    packets_lost: int
    samples: int
    missing_samples: int
    levels: list[float]
    causes: set[str]

    def unaccounted(self, missing: Collection[int]) -> int:
        """How many of the missing pictures no cause is given for.

        A lost packet explains a picture, for no more than that many may be missing for want of it; what the decoder
        drops and what the queue drops is counted in pictures.
        """
        return max(len(missing) - self.overload - self.not_decoded - self.packets_lost, 0)


def account_of(folder: Path) -> Account:
    """Read it from the folder of a run."""
    run, summary = (json.loads((folder / name).read_text()) for name in ("run.json", "summary.json"))
    records, incidents = (_lines(folder / name) for name in ("frames.jsonl", "incidents.jsonl"))
    gaps = [incident for incident in incidents if incident["kind"] == "no_picture"]
    evidence = {
        name: sum(gap["evidence"].get(name, 0) for gap in gaps) for name in ("dropped", "not_decoded", "packets_lost")
    }
    assert evidence["dropped"] <= summary["queue"]["dropped"]
    measured = [record["numbers"] for record in records if record["numbers"] is not None]
    return Account(
        pictures=[
            Picture(
                number=record["numbers"] and record["numbers"]["number"],
                timestamp=record["transport"]["rtp_timestamp"],
                corrupt=record["corrupt"],
            )
            for record in records
            if record["index"] is not None
        ],
        video=run["source"]["video"],
        audio=run["source"]["audio"],
        overload=summary["queue"]["dropped"],
        not_decoded=evidence["not_decoded"],
        packets_lost=evidence["packets_lost"],
        samples=sum(one["samples"] for one in measured),
        missing_samples=sum(one["missing_samples"] for one in measured),
        levels=[one["level"] for one in measured if one["level"] is not None],
        causes={gap["cause"] for gap in gaps},
    )


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]
