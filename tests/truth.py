"""Known truth through real WebRTC: flash and beep from the simulator, at planted offsets, over a bad network."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Literal

from pydantic import SecretStr

from tests.connectors.support import executed
from tests.offsets import Pair, Records, beeps_s, flashes_s, pairs, records_of
from tests.peers.impairment import ImpairedWhep, Impairment
from tests.peers.ledger import Kind
from vision.connectors.session_api import SessionApi
from vision.simulator.process import launched
from vision.simulator.settings import Fault, SimulatorSettings

__all__ = ["FIRST_S", "OFFSETS_MS", "Finding", "Setting", "found"]

OFFSETS_MS = (-200, -80, -40, 0, 40, 80, 200)
FIRST_S = 3.5
"""When the first offset begins: by then the reports of both tracks are in."""

_VISUAL_ID = "0123456789abcdef01234567"
_REPORTED = ("sender_report", "capture_time")


@dataclass(frozen=True, slots=True)
class Setting:
    """One run: what is sent, and what happens on the way.

    :ivar delay_of: network delay of one of the tracks alone, seconds.
    :ivar each_s: how long each offset lasts, whole seconds: so many flashes it has.
    """

    codec: Literal["h264", "vp8"] = "h264"
    loss: float = 0.0
    delay_of: Mapping[Kind, float] = field(default_factory=dict)
    each_s: int = 3
    size: tuple[int, int] = (320, 240)
    capture_time: bool = False

    @property
    def duration_s(self) -> float:
        """How long the run takes."""
        return FIRST_S + self.each_s * len(OFFSETS_MS)

    @property
    def skew_ms(self) -> float:
        """By how much the sound is later on the way."""
        return 1000 * (self.delay_of.get("audio", 0.0) - self.delay_of.get("video", 0.0))

    def faults(self) -> list[Fault]:
        """One offset after the other."""
        return [
            Fault(kind="offset", start_s=FIRST_S + number * self.each_s, duration_s=self.each_s, offset_ms=offset_ms)
            for number, offset_ms in enumerate(OFFSETS_MS)
            if offset_ms
        ]


@dataclass(frozen=True, slots=True)
class Finding:
    """What a run measured, from pictures and samples alone.

    :ivar by_offset: the pairs of flash and beep while each planted offset was in force.
    :ivar skew_ms: median of `stream.av_arrival_skew_ms`.
    :ivar median_stated_ms: of the bounds that were stated.
    :ivar kinds: how sound was related to pictures.
    """

    by_offset: Mapping[int, list[Pair]]
    skew_ms: float
    median_stated_ms: float
    kinds: frozenset[str]

    def errors_ms(self) -> dict[int, float]:
        """By planted offset, the median of what was measured, less the truth; of those that anything was seen of."""
        seen = {planted: [pair.offset_ms for pair in pairs] for planted, pairs in self.by_offset.items() if pairs}
        return {planted: median(offsets_ms) - planted for planted, offsets_ms in seen.items()}


async def found(folder: Path, name: str, setting: Setting) -> Finding:
    """Run it; takes `setting.duration_s` and the start.

    :raises AssertionError: when the run fails.
    """
    settings = SimulatorSettings(
        size=setting.size,
        codec=setting.codec,
        show="flash_and_beep",
        bitrate_bps=500_000,
        faults=setting.faults(),
        capture_time=setting.capture_time,
    )
    async with AsyncExitStack() as stack:
        service = await stack.enter_async_context(launched(settings, None))
        api = await stack.enter_async_context(SessionApi(service.url))
        created = await api.create(SecretStr(service.admin_ks), _VISUAL_ID)
        url = (await api.init_client(created.sessionId, created.token)).whepUrl
        down = Impairment(loss=setting.loss, delay_s=0.02, delay_of=setting.delay_of)
        front = await stack.enter_async_context(ImpairedWhep(url, down, Impairment(delay_s=0.02)))
        outcome = await executed(folder, _text(name, front.url, setting.duration_s), name)
    assert (outcome.exit_status, outcome.error) == (0, None)
    return _finding(records_of(folder / name), setting)


def _text(name: str, url: str, duration_s: float) -> str:
    return f"""
name: {name}
source: {{use: whep, url: "{url}"}}
run: {{duration_s: {duration_s}}}
processors:
  - {{use: "tests.marks:MarksProcessor", name: marks}}
  - {{use: stream}}
sinks: [{{use: jsonl}}]
"""


def _finding(records: Records, setting: Setting) -> Finding:
    reported = [record for record in records if record["clock"]["kind"] in _REPORTED]
    seen = pairs(flashes_s(records), beeps_s(records))
    by_offset = {
        offset_ms: [pair for pair in seen if 0 <= pair.flash_s - FIRST_S - number * setting.each_s < setting.each_s]
        for number, offset_ms in enumerate(OFFSETS_MS)
    }
    skews = [record["stream"]["av_arrival_skew_ms"] for record in reported]
    return Finding(
        by_offset,
        median(skews),
        median(record["clock"]["error_ms"] for record in reported if record["time_s"] >= FIRST_S),
        frozenset(record["clock"]["kind"] for record in records if record["time_s"] >= FIRST_S),
    )
