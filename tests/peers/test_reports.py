"""What sender reports say, worked out from all of them: on reports whose truth is known, and on a real sender's."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median

import pytest

from tests.connectors.sender import Sender, pictures, sound
from tests.connectors.server import Server
from tests.connectors.support import executed, run_clean
from tests.marks import BRIGHT, DARK, RATE_HZ, beeps, is_lit
from tests.peers.impairment import ImpairedWhep, Impairment
from tests.peers.ledger import Kind
from tests.peers.reports import Arrival, Recording, Relation, TrackReport, recorded
from vision.clock import Track
from vision.intake import DecodedPicture, DecodedSound
from vision.testing import make_picture

NTP_S = 4_000_000_000.0
FPS, BLOCK = 30, 960
TRACKS: tuple[Track, ...] = ("picture", "sound")


def ntp(time_s: float) -> int:
    """NTP's 64 bits."""
    return round(time_s * (1 << 32))


def test_a_relation_is_that_of_the_last_report() -> None:
    """From when it came until the next one comes; none before the first one, nor without any."""
    made = [TrackReport("sound", track_s, track_s + offset, track_s) for track_s, offset in ((2.0, 7.0), (6.0, 7.25))]
    relation = Relation(reversed(made))
    times_s = (0.0, 1.999, 2.0, 5.999, 6.0, 1000.0)
    assert [relation.offset_s(at_s) for at_s in times_s] == [None, None, 7.0, 7.0, 7.25, 7.25]
    assert relation.sender_s(Arrival("sound", 9.0, 5.0)) == 16.0
    assert relation.sender_s(Arrival("sound", 9.0, 1.0)) is None
    assert Relation([]).offset_s(3.0) is None


def marked(recording: Recording, *, picture_from_s: float, sound_from_s: float, delay_s: float) -> None:
    """Six seconds of marks, whose tracks begin to count anywhere; all arrives at once."""
    for number in range(6 * FPS):
        at_s = number / FPS + 0.5
        luma = BRIGHT if is_lit(at_s) else DARK
        recording.note_unit(DecodedPicture(picture_from_s + at_s, at_s, make_picture(luma)))
    for block in range(6 * RATE_HZ // BLOCK):
        first = block * BLOCK + RATE_HZ // 2
        at_s, samples = first / RATE_HZ, beeps(first, BLOCK, delay_s)
        recording.note_unit(DecodedSound(sound_from_s + at_s, at_s, samples, RATE_HZ))


def test_offsets_by_the_senders_clock(tmp_path: Path) -> None:
    """Tracks that count from anywhere, and a slip of the sound by 110 ms: what the reports say is what comes out."""
    recording = Recording()
    picture_s, sound_s = (1 << 32) / 90_000 - 2, 20_000.0
    recording.note_report("sound", round(sound_s * RATE_HZ) % (1 << 32), ntp(NTP_S), 0.4)  # before any unit
    marked(recording, picture_from_s=picture_s, sound_from_s=sound_s, delay_s=0.04)
    for at_s in (0.6, 3.2):  # the picture's 32 bits have wrapped between them
        recording.note_report("picture", round((picture_s + at_s) * 90_000) % (1 << 32), ntp(NTP_S + at_s), at_s)
    slipped = round((sound_s + 4.5) * RATE_HZ) % (1 << 32)
    recording.note_report("sound", slipped, ntp(NTP_S + 4.5 + 0.11), 4.5)
    assert [report.track_s for report in recording.relation("picture").reports] == pytest.approx(
        [picture_s + 0.6, picture_s + 3.2]
    )
    found = recording.sent_offsets_ms()
    assert [flash.track_s for flash, _ in found] == pytest.approx([picture_s + second for second in range(1, 7)])
    assert [offset_ms for _, offset_ms in found] == pytest.approx([40, 40, 40, 40, 150, 150], abs=0.1)
    before_s, after_s = recording.skew_s(4.4), recording.skew_s(4.6)
    assert before_s is not None
    assert after_s is not None
    assert before_s - (picture_s - sound_s) == pytest.approx(0, abs=1e-5)
    assert after_s - before_s == pytest.approx(0.11, abs=1e-5)
    assert recording.skew_s(0.5) is None
    recording.write(tmp_path / "lines.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "lines.jsonl").read_text().splitlines()]
    assert [line["t"] for line in lines].count("report") == 4
    assert (lines[0]["t"], lines[0]["track"], lines[-1]["arrival_s"]) == ("report", "sound", 4.5)
    assert len(lines) == 4 + 6 * FPS + 6 * RATE_HZ // BLOCK


@pytest.mark.slow
@pytest.mark.parametrize(("later", "lead_s"), [("audio", -0.2), ("video", 0.2)])
def test_a_real_senders_reports(tmp_path: Path, later: Kind, lead_s: float) -> None:
    """They are as late as their stream is made, and the other's are not; what they say of the tracks stays the same."""

    async def scenario() -> None:
        async with (
            Server(Sender([pictures(6), sound(6)], closes_after=True)) as server,
            ImpairedWhep(f"{server.url}/whep/session/1", Impairment(delay_of={later: 0.2})) as front,
        ):
            await executed(tmp_path, f"source: {{use: whep, url: '{front.url}'}}\nrun: {{duration_s: 4.5}}\n")

    with recorded() as recording:
        run_clean(scenario())
    late_s = {}
    for track in TRACKS:
        # one that disagrees with those around it was paired on a busy machine, and says nothing
        assert len([report for report in recording.reports if report.track == track]) >= 3
        reports = recording.relation(track).reports
        offsets_s = [report.offset_s for report in reports]
        middle_s = median(offsets_s)  # aiortc pairs a time of sending; on a busy machine some are far off
        assert median(abs(offset_s - middle_s) for offset_s in offsets_s) < 0.02
        late_s[track] = min(report.arrival_s - report.sender_s for report in reports)
        # they are on the count of the units: each tells of one of them, of those that were still taken in
        units_s = [unit.track_s for unit in recording.units if unit.track == track]
        told_s = [report.track_s for report in reports if report.track_s <= units_s[-1]]
        assert len(told_s) >= 2
        assert [min(abs(unit_s - track_s) for unit_s in units_s) for track_s in told_s] == pytest.approx(
            [0] * len(told_s)
        )
    # aiortc's reports tell of its last packet, at most one picture ago
    assert late_s["picture"] - late_s["sound"] == pytest.approx(lead_s, abs=0.05)
