"""Offsets that are known, through real WebRTC, measured on the media clock from pictures and samples alone."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.connectors.support import run_clean
from tests.truth import OFFSETS_MS, Finding, Setting, found

_SETTINGS = {
    "h264 with 3 % loss, pictures 150 ms later": Setting("h264", 0.03, {"video": 0.15}),
    "vp8, pictures 30 ms later": Setting("vp8", 0.0, {"video": 0.03}),
    "vp8 with 3 % loss, sound 80 ms later": Setting("vp8", 0.03, {"audio": 0.08}),
    "h264 by capture times, sound 150 ms later": Setting("h264", 0.0, {"audio": 0.15}, capture_time=True),
}


@pytest.mark.slow
@pytest.mark.parametrize("side_by_side", [list(_SETTINGS)[:2], list(_SETTINGS)[2:]], ids=["one", "other"])
def test_planted_offsets_are_found(tmp_path: Path, side_by_side: list[str]) -> None:
    """-200 to +200 ms within 5 ms, whatever network delay either track has: that is in the arrival skew only."""

    async def all_of_them() -> list[Finding]:
        runs = (found(tmp_path, f"run{number}", _SETTINGS[name]) for number, name in enumerate(side_by_side))
        return await asyncio.gather(*runs)

    for name, finding in zip(side_by_side, run_clean(all_of_them(), 90), strict=True):
        setting, errors_ms = _SETTINGS[name], finding.errors_ms()
        # a flash or a beep that was lost is not measured; on a busy machine, that may be some in a row
        assert len(errors_ms) >= (len(OFFSETS_MS) - 2 if setting.loss else len(OFFSETS_MS)), name
        assert max(abs(error_ms) for error_ms in errors_ms.values()) <= 5, f"{name}: {errors_ms}"
        assert finding.kinds == {"capture_time" if setting.capture_time else "sender_report"}
        assert finding.skew_ms == pytest.approx(setting.skew_ms, abs=10), name
