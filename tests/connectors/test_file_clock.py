"""The connector `file` on the container's time: what was written at the same time is found at the same time."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.connectors import edit_list
from tests.connectors.edit_list import EMPTY, Edit, Handler
from tests.connectors.planted import SLOT, Clip, beep_s, flashes_s, heard, missing_s, seams_s, write
from tests.connectors.support import frames_of, made, run_clean
from vision.connectors.file import FileConnector
from vision.frame import Frame

WRAP = Fraction(2**33, 90_000)
NO_REORDERING = {"g": "25", "bf": "0"}
LATE = tuple(range(500, 2500, 40))
UNEVEN = (0, 40, 60, 160, 170, 500, 533, 1000, 1100, 1999)

FLASH_AND_BEEP: dict[str, tuple[Clip, float]] = {
    "clip.mp4": (Clip(), 0.1),
    "no reordering.mp4": (Clip(video_options=NO_REORDERING), 0.1),
    "late sound.mp4": (Clip(sound_ms=(500, 2500)), 1),  # the edit list counts in ms
    "late picture.mp4": (Clip(pictures_ms=LATE, signal_ms=1300), 0.1),
    "uneven.mp4": (Clip(pictures_ms=UNEVEN), 0.1),
    "long sound.mp4": (Clip(sound_ms=(0, 3500)), 0.1),
    "short sound.mp4": (Clip(sound_ms=(0, 1200)), 0.1),
    "44100 Hz.mp4": (Clip(rate_hz=44_100, layout="stereo"), 0.1),
    "16000 Hz.mp4": (Clip(rate_hz=16_000), 0.1),
    "opus.mp4": (Clip(audio="libopus"), 0.1),
    "mp3.mp4": (Clip(audio="libmp3lame"), 0.1),
    "mpeg4.mov": (Clip(video="mpeg4"), 0.1),
    "pcm.mov": (Clip(audio="pcm_s16le"), 0.1),
    "fragments.mp4": (Clip(options={"movflags": "frag_keyframe+empty_moov"}), 0.1),
    "clip.mkv": (Clip(), 1),
    "late sound.mkv": (Clip(sound_ms=(500, 2500), audio="pcm_s16le"), 0.1),
    "late picture.mkv": (Clip(pictures_ms=LATE, signal_ms=1300, audio="flac"), 0.1),
    "uneven.mkv": (Clip(pictures_ms=UNEVEN, audio="flac"), 0.1),
    "44100 Hz.mkv": (Clip(rate_hz=44_100, audio="libmp3lame"), 1),
    "clip.webm": (Clip(video="libvpx", video_options={}, audio="libopus"), 1),
    "late sound.webm": (Clip(video="libvpx", video_options={}, audio="libopus", sound_ms=(500, 2500)), 1),
    "clip.ts": (Clip(), 0.1),
    "44100 Hz.ts": (Clip(rate_hz=44_100), 0.1),
    "far from zero.ts": (Clip(shift_s=Fraction(50_000)), 0.1),
    "around from near.ts": (Clip(shift_s=WRAP - 1, tick=Fraction(1, 90_000), options={"mpegts_copyts": "1"}), 0.1),
    "around from afar.ts": (
        Clip(
            pictures_ms=range(0, 64_000, 1000),
            sound_ms=(0, 64_000),
            signal_ms=63_000,
            rate_hz=16_000,
            shift_s=WRAP - 62,
            tick=Fraction(1, 90_000),
            options={"mpegts_copyts": "1"},
        ),
        0.1,
    ),
    "clip.flv": (Clip(), 1),
    "pcm.avi": (Clip(video="mpeg4", video_options={}, audio="pcm_s16le", tick=SLOT), 0.1),
    "encoder's delay.avi": (Clip(video="mpeg4", video_options={}, audio="mp2", tick=SLOT), 10.1),  # it is not said
}

LOSSLESS: dict[str, Clip] = {
    "pcm.mkv": Clip(audio="pcm_s16le"),
    "float.mkv": Clip(audio="pcm_f32le"),
    "44100 Hz.mkv": Clip(audio="pcm_s16le", rate_hz=44_100, layout="stereo"),
    "16000 Hz.mkv": Clip(audio="flac", rate_hz=16_000),
    "flac.mkv": Clip(audio="flac"),
    "late picture.mkv": Clip(audio="pcm_s16le", pictures_ms=LATE, signal_ms=1300),
    "late sound.mkv": Clip(audio="flac", sound_ms=(500, 2500), rate_hz=44_100),
    "uneven.mkv": Clip(audio="pcm_s16le", pictures_ms=UNEVEN),
    "long sound.mov": Clip(audio="pcm_s16le", sound_ms=(0, 3500)),
    "short sound.mov": Clip(audio="pcm_s16le", sound_ms=(0, 1200)),
    "flac.mp4": Clip(audio="flac", options={"strict": "-2"}),
    "pcm.avi": Clip(audio="pcm_s16le", video="mpeg4", video_options={}, tick=SLOT),
    "alone.wav": Clip(audio="pcm_s16le", pictures_ms=()),
    "alone.flac": Clip(audio="flac", pictures_ms=()),
}


def read(path: Path) -> list[Frame]:
    """The frames of a whole file."""
    frames, reason = run_clean(frames_of(made(FileConnector, path=path)))
    assert reason == "end of file"
    return frames


def pictures_ms(frames: list[Frame]) -> list[float]:
    """Media times of the pictures."""
    return [1000 * frame.time_s for frame in frames if frame.maybe_picture]


@pytest.mark.parametrize("name", FLASH_AND_BEEP)
def test_flash_and_beep_are_found_where_they_were_written(tmp_path: Path, name: str) -> None:
    """Every picture at its time, the beep at the flash, and no more apart than the clock says."""
    clip, tolerance_ms = FLASH_AND_BEEP[name]
    frames = read(write(tmp_path / name, clip))
    truth_ms = [time_ms - clip.zero_ms for time_ms in clip.pictures_ms]
    np.testing.assert_allclose(pictures_ms(frames), truth_ms, atol=0.001)
    (flash_s,) = flashes_s(frames)
    assert 1000 * flash_s == pytest.approx(clip.signal_ms - clip.zero_ms, abs=0.001)
    error_ms = abs(1000 * (beep_s(frames) - flash_s))
    assert error_ms <= tolerance_ms
    for frame in frames:
        assert frame.clock.kind == "file"
        assert frame.clock.error_ms is not None
        assert error_ms <= frame.clock.error_ms <= 50


@pytest.mark.parametrize("name", LOSSLESS)
def test_every_sample_comes_out_once(tmp_path: Path, name: str) -> None:
    """The samples of all frames are those that were written, and the frames' times of them run on without a seam."""
    clip = LOSSLESS[name]
    frames = read(write(tmp_path / name, clip))
    np.testing.assert_allclose(heard(frames), clip.samples(), atol=1e-6)
    assert not missing_s(frames)
    assert np.abs(seams_s(frames)).max() < 0.01 / clip.rate_hz
    first = next(frame.sound for frame in frames if frame.sound.samples.size)
    assert first.start_s == pytest.approx((clip.sound_ms[0] - clip.zero_ms) / 1000, abs=1e-6)


@pytest.mark.parametrize("name", ["aac.mp4", "aac.mkv", "aac.ts", "opus.webm", "mp3.mkv"])
def test_rounded_times_are_no_holes(tmp_path: Path, name: str) -> None:
    """Blocks whose length is no whole number of the container's ticks follow each other without a mark."""
    codec = {"aac": "aac", "opus": "libopus", "mp3": "libmp3lame"}[name.partition(".")[0]]
    video = "libvpx" if name.endswith("webm") else "libx264"
    clip = Clip(audio=codec, rate_hz=48_000 if codec == "libopus" else 44_100, video=video, video_options={})
    frames = read(write(tmp_path / name, clip))
    assert not missing_s(frames)
    assert np.abs(seams_s(frames)).max() < 0.01 / clip.rate_hz
    assert heard(frames).size == pytest.approx(clip.samples().size, abs=3000)  # the encoder's filling


@pytest.mark.parametrize("name", ["hole.mkv", "hole.ts"])
def test_a_hole_is_marked_where_it_is(tmp_path: Path, name: str) -> None:
    """Sound that the file does not hold is marked missing, for as long as it is; the rest stays in its place."""
    codec = "pcm_s16le" if name.endswith("mkv") else "mp2"
    clip = Clip(audio=codec, hole_ms=(1200, 1500), signal_ms=1600)
    frames = read(write(tmp_path / name, clip))
    ((begin_s, end_s),) = missing_s(frames)
    assert end_s - begin_s == pytest.approx(0.3, abs=0.001 if codec == "pcm_s16le" else 0.024)
    assert begin_s == pytest.approx(1.2, abs=0.001 if codec == "pcm_s16le" else 0.024)
    assert beep_s(frames) == pytest.approx(1.6, abs=0.001)
    np.testing.assert_allclose(seams_s(frames), 0, atol=1e-6)


def edited(path: Path, clip: Clip, picture: list[Edit] | None = None, sound: list[Edit] | None = None) -> Path:
    """A recording whose edits are given in ms of what is shown by its own list, in place of that."""
    write(path, clip)
    lists: tuple[tuple[Handler, list[Edit] | None], ...] = ((b"vide", picture), (b"soun", sound))
    for handler, edits in lists:
        if edits is None:
            continue
        (own,), scale = edit_list.read(path, handler)
        moved = [
            edit
            if edit.media_time == EMPTY
            else Edit(edit.duration_ms, own.media_time + edit.media_time * scale // 1000)
            for edit in edits
        ]
        edit_list.replace(path, handler, moved)
    return path


EDITED = Clip(pictures_ms=range(0, 3000, 40), sound_ms=(0, 3000))
CUT, BEGIN_LATER = [Edit(2600, 400)], [Edit(300, EMPTY), Edit(3000, 0)]
EDITS: dict[str, tuple[list[Edit] | None, list[Edit] | None, int, int, int]] = {
    # edits of the pictures and of the sound; when the flash and the beep are then; how many pictures are left
    "both cut": (CUT, CUT, 600, 600, 65),
    "sound cut": (None, CUT, 1000, 600, 75),
    "sound cut within a packet": (None, [Edit(2590, 410)], 1000, 590, 75),
    "picture cut": (CUT, None, 600, 1000, 65),
    "sound begins later": (None, BEGIN_LATER, 1000, 1300, 75),
    "picture begins later": (BEGIN_LATER, None, 1000, 700, 75),
    "both end early": ([Edit(2000, 0)], [Edit(2000, 0)], 1000, 1000, 50),
}


@pytest.mark.parametrize("codec", ["aac", "libopus", "pcm_s16le"])
@pytest.mark.parametrize("name", EDITS)
def test_edit_lists_are_followed(tmp_path: Path, name: str, codec: str) -> None:
    """What an edit list takes away is not there, what it moves is where it says, with pictures out of order too."""
    picture, sound, flash_ms, beep_ms, count = EDITS[name]
    clip = Clip(EDITED.pictures_ms, EDITED.sound_ms, audio=codec)
    suffix = "mov" if codec == "pcm_s16le" else "mp4"
    frames = read(edited(tmp_path / f"edited.{suffix}", clip, picture, sound))
    np.testing.assert_allclose(pictures_ms(frames), 40 * np.arange(count), atol=0.001)
    assert [1000 * time_s for time_s in flashes_s(frames)] == pytest.approx([flash_ms], abs=0.001)
    assert 1000 * beep_s(frames) == pytest.approx(beep_ms, abs=0.1)
    assert not missing_s(frames)
    assert all(frame.clock.error_ms is not None for frame in frames)


def test_a_cut_of_samples_is_exact(tmp_path: Path) -> None:
    """From samples that are not coded, an edit list takes just those before it."""
    clip = Clip(EDITED.pictures_ms, EDITED.sound_ms, audio="pcm_s16le")
    frames = read(edited(tmp_path / "cut.mov", clip, sound=[Edit(2590, 410)]))
    np.testing.assert_allclose(heard(frames), clip.samples()[410 * 48 :], atol=1e-6)


def test_several_edits_in_a_row_leave_the_error_unknown(tmp_path: Path) -> None:
    """Where a part is cut out of the middle, the libraries are not exact, and the clock does not say they are."""
    edits = [Edit(400, 0), Edit(1600, 800)]
    frames = read(edited(tmp_path / "two.mp4", EDITED, edits, edits))
    assert frames[0].clock.error_ms is not None
    assert frames[-1].clock.error_ms is None
    assert all(frame.clock.error_ms is None for frame in frames if frame.time_s > 0.5)


@pytest.mark.parametrize("suffix", ["avi", "asf"])
def test_pictures_out_of_order_have_even_times(tmp_path: Path, suffix: str) -> None:
    """A container that has only times of decoding gives pictures that are shown in order; how late, is not known."""
    clip = Clip(audio="pcm_s16le", tick=SLOT)
    frames = read(write(tmp_path / f"clip.{suffix}", clip))
    np.testing.assert_allclose(pictures_ms(frames), clip.pictures_ms, atol=0.001)
    assert [1000 * time_s for time_s in flashes_s(frames)] == pytest.approx([clip.signal_ms])
    assert all(frame.clock.error_ms is None for frame in frames)


def test_zero_is_the_first_picture_however_late(tmp_path: Path) -> None:
    """Sound of half a minute before the first picture is before zero, and is all there."""
    clip = Clip(range(30_000, 31_000, 40), (0, 31_000), signal_ms=30_400, audio="pcm_s16le")
    frames = read(write(tmp_path / "late.mkv", clip))
    np.testing.assert_allclose(pictures_ms(frames), 40 * np.arange(25), atol=0.001)
    assert beep_s(frames) == pytest.approx(0.4, abs=1e-4)
    np.testing.assert_allclose(heard(frames), clip.samples(), atol=1e-6)


def test_sound_before_a_long_hole_is_kept(tmp_path: Path) -> None:
    """The samples between the newest picture and a hole that is too long to be filled come out too."""
    clip = Clip(range(0, 12_000, 200), (0, 12_000), hole_ms=(2100, 9100), audio="pcm_s16le")
    frames = read(write(tmp_path / "long hole.mkv", clip))
    whole = clip.samples()
    kept = [whole[: 2100 * 48], whole[9100 * 48 :]]
    np.testing.assert_allclose(heard(frames), np.concatenate(kept), atol=1e-6)
