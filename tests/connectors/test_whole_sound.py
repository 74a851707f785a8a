"""A minute of sound through real WebRTC: all that was sent, once, in its place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests import heard as kept
from tests.connectors.support import executed, run_clean
from vision.simulator.faults import FaultPlan
from vision.simulator.settings import SimulatorSettings
from vision.simulator.show import make_show
from vision.simulator.soundtrack import Soundtrack
from vision.simulator.turns import Turns

SECONDS, RATE_HZ = 60, 48_000
_LAG = 200  # samples, to either side; a block of Opus is 960


def _sent(settings: SimulatorSettings, first: int, count: int) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    show = make_show(settings, Turns())
    track = Soundtrack(show.sound, FaultPlan([]), settings.seed)
    end = first + count
    return np.concatenate([track.at(begin, min(RATE_HZ, end - begin)) for begin in range(first, end, RATE_HZ)])


@pytest.mark.slow
def test_a_minute_of_sound_is_whole(tmp_path: Path) -> None:
    """Second by second what came is what was sent, without a lag: no sample is missing, and none is there twice."""
    settings = SimulatorSettings(size=(64, 64), fps=10, bitrate_bps=50_000)
    kept.heard.clear()
    text = (
        "source: {use: simulator, size: [64, 64], fps: 10, bitrate_bps: 50000}\n"
        f"run: {{duration_s: {SECONDS}}}\n"
        "processors: [{use: 'tests.heard:HeardProcessor', name: heard}]\n"
    )
    outcome = run_clean(executed(tmp_path, text), SECONDS + 30)
    assert (outcome.exit_status, outcome.error) == (0, None)
    sounds = [sound for sound in kept.heard if sound.samples.size]
    assert not any(sound.missing for sound in sounds)
    came = np.concatenate([sound.samples for sound in sounds])
    assert came.size >= (SECONDS - 1) * RATE_HZ
    end = round((sounds[-1].start_s + sounds[-1].duration_s) * RATE_HZ)
    first = end - came.size
    assert abs(first) <= 0.02 * RATE_HZ  # a run begins with the picture that was sent first, and its sound
    sent = _sent(settings, max(first, 0), end - max(first, 0))
    came = came[max(-first, 0) :]
    lags = []
    for begin in range(_LAG, sent.size - RATE_HZ - _LAG, RATE_HZ):
        part = sent[begin : begin + RATE_HZ]
        if np.sqrt(np.mean(part**2)) < 0.01:
            continue  # a pause between two phrases
        around = came[begin - _LAG : begin + RATE_HZ + _LAG]
        likeness = np.correlate(around, part, "valid") / np.linalg.norm(part)
        lags.append(int(np.argmax(likeness)) - _LAG)
        heard = around[_LAG:-_LAG]
        assert np.corrcoef(heard, part)[0, 1] > 0.95, f"at {begin / RATE_HZ:.1f} s"
    assert len(lags) >= SECONDS * 2 // 3
    assert set(lags) == {lags[0]}, "samples are missing, or there twice"
    assert abs(lags[0]) <= 2
    speech = np.concatenate([sound.samples_16k for sound in sounds])
    assert abs(speech.size - came.size / 3 - max(-first, 0) / 3) <= 32
