"""The settings of the simulator: what is refused, and in which words."""

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from vision.simulator import Fault, SimulatorSettings
from vision.simulator.settings import AMOUNTS, FAULT_KINDS, FaultKind


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"sede": 1}, "sede"),
        ({"size": [1281, 720]}, "multiple of 2"),
        ({"size": [32, 720]}, "greater than or equal to 64"),
        ({"size": 720}, "expected [width, height]"),
        ({"fps": 0}, "greater than or equal to 1"),
        ({"codec": "av1"}, "'h264' or 'vp8'"),
        ({"faults": [{"kind": "frozen", "start_s": 0, "duration_s": 1}]}, "'freeze'"),
        ({"faults": [{"kind": "freeze", "start_s": -1, "duration_s": 1}]}, "start_s"),
        ({"faults": [{"kind": "freeze", "start_s": 0, "duration_s": 0}]}, "duration_s"),
        ({"faults": [{"kind": "offset", "start_s": 0, "duration_s": 1}]}, "needs `offset_ms`"),
        ({"faults": [{"kind": "drift", "start_s": 0, "duration_s": 1}]}, "needs `ms_per_minute`"),
        ({"faults": [{"kind": "freeze", "start_s": 0, "duration_s": 1, "offset_ms": 5}]}, "not to 'freeze'"),
        ({"faults": [{"kind": "no_reports", "start_s": 0, "duration_s": 1, "offset_ms": 5}]}, "not to 'no_reports'"),
        ({"faults": [{"kind": "send_time_reports", "start_s": 0, "duration_s": 1}]}, "needs `offset_ms`"),
        ({"faults": [{"kind": "report_jump", "start_s": 0, "duration_s": 1, "ms_per_minute": 5}]}, "needs `offset_ms`"),
        ({"faults": [{"kind": "report_drift", "start_s": 0, "duration_s": 1}]}, "needs `ms_per_minute`"),
        ({"faults": [{"kind": "offset", "start_s": 0, "duration_s": 1, "offset_ms": 5001}]}, "from -5000 to 5000"),
        ({"faults": [{"kind": "send_time_reports", "start_s": 0, "duration_s": 1, "offset_ms": -1}]}, "from 0 to 5000"),
        ({"faults": [{"kind": "report_jump", "start_s": 0, "duration_s": 1, "offset_ms": 9e7}]}, "86400000"),
        ({"show": "flash"}, "'flash_and_beep'"),
    ],
)
def test_wrong_settings_are_refused(given: dict[str, object], complaint: str) -> None:
    """A wrong setting is named in the message."""
    with pytest.raises(ValidationError, match=re.escape(complaint)):
        SimulatorSettings.model_validate(given)


@pytest.mark.parametrize("kind", FAULT_KINDS)
def test_every_kind_of_fault_can_be_planted(kind: FaultKind) -> None:
    """Each kind is accepted with the amount that it needs, and survives a round trip through JSON."""
    fault: dict[str, object] = {"kind": kind, "start_s": 1, "duration_s": 2}
    if kind in AMOUNTS:
        fault[AMOUNTS[kind].field] = AMOUNTS[kind].high
    settings = SimulatorSettings.model_validate({"faults": [fault]})
    assert SimulatorSettings.model_validate_json(settings.model_dump_json()) == settings


def test_every_setting_is_described() -> None:
    """`vision list` has words for every setting."""
    for model in (SimulatorSettings, Fault):
        assert all(field.description for field in model.model_fields.values())


def test_the_readme_names_every_kind_of_fault() -> None:
    """Nobody has to look into the code for what can be planted."""
    section = (Path(__file__).parents[2] / "README.md").read_text().split("### The simulator")[1].split("\n### ")[0]
    assert set(FAULT_KINDS) <= set(re.findall(r"[a-z_]+", section))
