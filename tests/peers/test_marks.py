"""Flashes and beeps from real peers: they arrive, are found, and are apart as the peer's own clock says."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from statistics import median

import pytest

from tests.connectors.support import executed, run_clean
from tests.marks import write_clip
from tests.offsets import beeps_s, flashes_s, pairs, records_of
from tests.peers import chromium as browser
from tests.peers import janus as gateway
from tests.peers.reports import Followed, Recording, recorded
from vision.runner import Outcome

LOOK_AHEAD_MS = 1000 * 312 / 48_000  # what Opus' encoder delays; WebRTC's timestamps do not take it out


async def marked(folder: Path, url: str, token: str, seconds: float) -> Outcome:
    """A run that finds the marks."""
    return await executed(
        folder,
        f"source: {{use: whep, url: '{url}', token: {token}}}\n"
        f"run: {{duration_s: {seconds:g}}}\n"
        "processors: [{use: 'tests.marks:MarksProcessor', name: marks}]\n",
    )


def check_found(folder: Path, least: int) -> list[float]:
    """Enough flashes and beeps are in the records, and each flash has its beep; their offsets in ms."""
    records = records_of(folder / "out")
    flashes, beeps = flashes_s(records), beeps_s(records)
    assert min(len(flashes), len(beeps)) >= least
    found = pairs(flashes, beeps)
    assert len(found) >= least
    return [pair.offset_ms for pair in found]


@pytest.mark.slow
@pytest.mark.parametrize("delay_s", [0.0, -0.08])
def test_janus_sends_what_was_planted(tmp_path: Path, delay_s: float) -> None:
    """Flashes and beeps are apart as planted: roughly by Janus' own clock, exactly but for where it began to count.

    It counts the RTP timestamps of each stream from the first packet that it relays, so they are off by whole packets
    of sound and whole pictures: by multiples of 20 ms / 3.
    """
    with gateway.janus(tmp_path, size=(640, 360), marks=True, beep_delay_s=delay_s) as rig, recorded() as recording:
        outcome = run_clean(marked(tmp_path, rig.url, gateway.TOKEN, 10), 40)
    assert (outcome.exit_status, outcome.error) == (0, None)
    check_found(tmp_path, 6)
    planted_ms = 1000 * delay_s + LOOK_AHEAD_MS
    beeps = [beep.track_s for beep in recording.beeps]
    off_ms = [min((1000 * (beep_s - flash.track_s) for beep_s in beeps), key=abs) for flash in recording.flashes[:-1]]
    assert off_ms == pytest.approx([off_ms[0]] * len(off_ms), abs=0.1)
    begun = (off_ms[0] - planted_ms) / (20 / 3)
    assert begun == pytest.approx(round(begun), abs=0.03)
    for track in ("picture", "sound"):
        assert len(recording.relation(track).reports) >= 6
    records = [record for record in records_of(tmp_path / "out") if record["clock"]["kind"] == "sender_report"]
    assert len(records) > 150
    measured_ms = [pair.offset_ms for pair in pairs(flashes_s(records), beeps_s(records))]
    assert median(measured_ms) == pytest.approx(planted_ms, abs=20)


@pytest.mark.slow
def test_chromium_is_followed_where_its_sound_slips(tmp_path: Path) -> None:
    """32 s of a clip; the audio service halts for 0.15 s, and the track of the sound falls behind.

    After each report the relation is what all reports say afterwards, within 5 ms. What the truth is, only the browser
    could tell.
    """
    clip = write_clip(tmp_path / "clip.mp4", 40)

    async def scenario(rig: browser.Chromium) -> Outcome:
        running = asyncio.create_task(marked(tmp_path, rig.url, browser.TOKEN, 32))
        await asyncio.sleep(16)
        with rig.sound_halted():
            await asyncio.sleep(0.15)
        return await running

    with browser.chromium(tmp_path, codec="video/H264", clip=clip) as rig, recorded() as recording:
        outcome = run_clean(scenario(rig), 70)
    assert (outcome.exit_status, outcome.error) == (0, None)
    assert check_found(tmp_path, 25)
    assert len(recording.relation("sound").reports) >= 4
    assert len(recording.relation("picture").reports) >= 20
    slips_ms = {track: _slip_ms(recording, track) for track in ("picture", "sound")}
    assert slips_ms["sound"] > 50
    assert abs(slips_ms["picture"]) < 10

    # it also tells capture times, once a second, which the run prefers: the report on the slip may be sooner
    by_capture = [_apart_ms(recording, one) for one in recording.followed]
    assert sorted(by_capture)[-2] <= 5
    # by reports alone, that one is believed at once, or as soon as enough packets bear it out; until then it is in the
    # stated error
    by_reports = {one: _apart_ms(recording, one) for one in recording.replayed()}
    assert min(len(by_capture), len(by_reports)) >= 4
    assert sorted(by_reports.values())[-2] <= 5
    assert all(apart_ms <= max(5, one.error_ms) for one, apart_ms in by_reports.items())
    incidents = (tmp_path / "out" / "incidents.jsonl").read_text().splitlines()
    slipped = [each for each in map(json.loads, incidents) if each["kind"] == "clock_slip"]
    assert {each["cause"] for each in slipped} == {"sender"}
    # before the first report and behind the last one only capture times could tell of a slip; they come once a second,
    # so that one from before it may be told as much later
    reported_s = [report.arrival_s for report in recording.reports if report.track == "sound"]
    told_s = min(reported_s), max(reported_s) + 1
    moved_ms = sum(ms for arrival_s, ms in _steps(tmp_path) if told_s[0] <= arrival_s <= told_s[1])
    assert moved_ms == pytest.approx(slips_ms["sound"], abs=5)
    # the incident has the first word of it: what piled up while nothing was captured goes in blocks of 20 ms, and which
    # of them the capture time is of is known by the next one
    assert sum(each["evidence"]["value"] for each in slipped) == pytest.approx(slips_ms["sound"], abs=20 + 5)


def _steps(folder: Path) -> list[tuple[float, float]]:
    """When sound was related anew, and by how many ms."""
    records = records_of(folder / "out")
    return [(record["arrival_s"], record["clock"]["step_ms"]) for record in records if "step_ms" in record["clock"]]


def _apart_ms(recording: Recording, one: Followed) -> float:
    """How far a clock was after a report from what all of them say."""
    return 1000 * abs(one.skew_s - (recording.skew_s(one.arrival_s) or 0.0))


def _slip_ms(recording: Recording, track: str) -> float:
    offsets_s = [report.offset_s for report in recording.reports if report.track == track]
    return 1000 * (offsets_s[-1] - offsets_s[0])
