"""Presets: what they expect, where they do not apply, and how they are changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from vision import registry
from vision.config import load
from vision.errors import ConfigError
from vision.expectations.meaning import meaning_of
from vision.expectations.presets import PRESETS, PresetLine
from vision.expectations.syntax import parse
from vision.expectations.tree import text_of
from vision.expectations.verdict import Expectation
from vision.expectations.vocabulary import Producer, UnknownNameError, Vocabulary

ROOT = Path(__file__).parent.parent.parent
LINES = [(preset, line) for preset, lines in PRESETS.items() for line in lines]


@pytest.fixture(scope="module")
def everything() -> Vocabulary:
    """What a run with all built-in processors measures."""
    return Vocabulary(Producer.of(registry.processor(name), name) for name in registry.installed("processors"))


@pytest.mark.parametrize("line", [line for _, line in LINES], ids=[f"{preset}:{line.name}" for preset, line in LINES])
def test_every_line_is_of_what_a_built_in_processor_measures(line: PresetLine, everything: Vocabulary) -> None:
    """In its normal form, with a reason, and known to a run that has all processors."""
    assert text_of(parse(line.that)) == line.that
    assert line.why
    assert meaning_of(parse(line.that), everything).terms


def test_names_are_taken_once() -> None:
    """Within a preset, so that each can be changed."""
    for lines in PRESETS.values():
        assert len({line.name for line in lines}) == len(lines)


def test_every_line_is_in_the_document() -> None:
    """docs/expectations.md lists each with its level and its reason."""
    text = (ROOT / "docs" / "expectations.md").read_text()
    for preset, line in LINES:
        assert f"| `{line.name}` | `{line.that}` | {line.level} | {line.min_coverage:g} | {line.why} |" in text, preset


def _loaded(folder: Path, *items: str, processors: str = "[{use: frame_quality}]") -> dict[str, Expectation]:
    path = folder / "run.yaml"
    listed = "".join(f"  - {{{item}}}\n" for item in items)
    path.write_text(f"source: {{use: file, path: x.mp4}}\nprocessors: {processors}\nexpect:\n{listed}")
    return {expectation.name: expectation for expectation in load(path).expectations}


def test_what_a_run_does_not_measure_is_left_out(tmp_path: Path) -> None:
    """It says so, and is neither met nor failed."""
    found = _loaded(tmp_path, "preset: live-avatar")
    assert found["no-freeze"].meaning is not None
    assert found["face-there"].meaning is None
    assert found["face-there"].skipped == "this run has no metric 'face_landmarks.face_present'"
    assert found["one-face"].skipped == "this run knows no incident 'several_faces'"


def test_lines_are_changed_by_name(tmp_path: Path) -> None:
    """Level and coverage one by one; what is expected with them; and a line can be taken out."""
    found = _loaded(
        tmp_path,
        "preset: live-avatar",
        "name: no-freeze, level: warning",
        "name: no-black, that: incidents(black).share <= 1 %, min_coverage: 0.9",
        "name: pictures-come, level: ignore",
        "that: frame_quality.sharpness.p5 >= 10",
    )
    assert (found["no-freeze"].level, found["no-freeze"].that) == ("warning", "incidents(freeze).count == 0")
    assert (found["no-black"].that, found["no-black"].level) == ("incidents(black).share <= 1 %", "error")
    assert found["no-black"].min_coverage == 0.9
    assert "pictures-come" not in found
    assert found["frame_quality.sharpness.p5 >= 10"].preset is None


def test_lines_are_changed_by_what_they_expect(tmp_path: Path) -> None:
    """However it is written."""
    found = _loaded(tmp_path, "preset: broadcast", "that: incidents( freeze ).count==0, level: warning")
    assert found["no-freeze"].level == "warning"
    assert len(found) == len(PRESETS["broadcast"])


def test_a_level_for_all_of_a_preset(tmp_path: Path) -> None:
    """Warnings only, to begin with."""
    assert {e.level for e in _loaded(tmp_path, "preset: live-avatar, level: warning").values()} == {"warning"}


def test_two_presets_agree_on_names(tmp_path: Path) -> None:
    """Of lines with the same name, the later preset's counts."""
    found = _loaded(tmp_path, "preset: live-avatar", "preset: broadcast")
    assert found["lip-sync"].preset == "broadcast"
    assert found["pictures-come"].preset == "live-avatar"


def test_what_one_writes_oneself_is_not_left_out(tmp_path: Path) -> None:
    """Also where it takes the place of a preset's line."""
    with pytest.raises(ConfigError, match=r"this run has no metric 'face_landmark\.face_present'"):
        _loaded(tmp_path, "preset: live-avatar", "name: face-there, that: face_landmark.face_present.share > 0.5")
    with pytest.raises(UnknownNameError, match="lip_sync"):
        meaning_of(parse("lip_sync.offset_ms.p95 < 3"), Vocabulary([]))
