"""Movies: pictures at their times and sound with them, as somebody sees and hears them who plays the file."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.watched import watched
from vision.movie import MOVIE_HZ, Movie, SoundLine

ROOT = Path(__file__).parents[1]
SIZE = (160, 90)
BLOCK_S = 0.02
MS = 1e-3

Samples = NDArray[np.float32]


def grey(luma: int) -> NDArray[np.uint8]:
    """A grey picture, I420."""
    i420 = np.full((SIZE[1] * 3 // 2, SIZE[0]), 128, np.uint8)
    i420[: SIZE[1]] = luma
    return i420


def tone(times_s: NDArray[np.float64]) -> Samples:
    """A tone of 100 ms at each full second but the first, at the times (N,)."""
    since_s = times_s % 1
    sounding = (times_s >= 1 - 1e-9) & (since_s < 0.1)
    return np.where(sounding, 0.5 * np.sin(2 * np.pi * 1000 * since_s), 0).astype(np.float32)


def is_flash(time_s: float) -> bool:
    """Whether a picture is of a flash."""
    return time_s >= 1 - 1e-9 and (time_s + 1e-9) % 1 < 0.1


def blocks(until_s: float, rate_hz: int, said_s: Callable[[float], float]) -> Iterator[tuple[Samples, float]]:
    """The tone in blocks; `said_s` is where a moment is said to be of which the sound is."""
    size = round(BLOCK_S * rate_hz)
    for number in range(round(until_s / BLOCK_S)):
        begin_s, end_s = said_s(number * BLOCK_S), said_s((number + 1) * BLOCK_S)
        yield tone(np.linspace(begin_s, end_s, size, endpoint=False)), begin_s


def written(
    path: Path,
    *,
    until_s: float = 3.5,
    fps: float = 30,
    rate_hz: int = 48_000,
    said_s: Callable[[float], float] = lambda time_s: time_s,
) -> Path:
    """A movie of flashes and beeps."""
    movie = Movie(path, SIZE)
    sounds = blocks(until_s, rate_hz, said_s)
    heard_s = 0.0
    for index in range(round(until_s * fps)):
        time_s = index / fps
        while heard_s < time_s and (block := next(sounds, None)) is not None:
            movie.add_sound(block[0], rate_hz, block[1])
            heard_s += BLOCK_S
        movie.add_picture(grey(235 if is_flash(time_s) else 50), time_s)
    movie.close()
    return path


@pytest.mark.parametrize("rate_hz", [48_000, 44_100, 16_000, 8_000])
@pytest.mark.parametrize("fps", [30, 25, 7.3])
def test_flash_and_beep_are_played_where_they_are(tmp_path: Path, rate_hz: int, fps: float) -> None:
    """Pictures to a tick of their clock, sound to a millisecond, at whatever rates."""
    seen = watched(written(tmp_path / "a.mp4", rate_hz=rate_hz, fps=fps))
    assert seen.times_s == pytest.approx([index / fps for index in range(round(3.5 * fps))], abs=0.02 * MS)
    assert seen.beeps_s == pytest.approx([1, 2, 3], abs=1 * MS)
    assert seen.flashes_s == pytest.approx([np.ceil(s * fps - 1e-9) / fps for s in (1, 2, 3)], abs=0.02 * MS)


def test_a_drift_is_followed(tmp_path: Path) -> None:
    """Sound whose clock runs half a percent fast stays where it is said to be, to 2 ms, without a click."""
    seen = watched(written(tmp_path / "a.mp4", until_s=8, said_s=lambda time_s: time_s / 1.005))
    assert seen.beeps_s == pytest.approx(range(1, 8), abs=2 * MS)
    quiet = seen.sound[round(0.2 * MOVIE_HZ) : round(0.9 * MOVIE_HZ)]
    assert np.abs(quiet).max() < 0.01


@pytest.mark.parametrize("step_s", [0.08, -0.08, 0.4])
def test_a_step_is_taken_at_once(tmp_path: Path, step_s: float) -> None:
    """Sound that turns out to belong elsewhere is there from then on; silence, or a cut, is in between."""
    seen = watched(written(tmp_path / "a.mp4", said_s=lambda time_s: time_s + (step_s if time_s > 1.5 else 0)))
    assert seen.beeps_s == pytest.approx([1, 2, 3], abs=1 * MS)


def test_what_is_missing_is_silence(tmp_path: Path) -> None:
    """A hole of a second and a half, a late begin, and a rate that changes behind it move nothing."""
    movie = Movie(tmp_path / "a.mp4", SIZE)
    for begin, end, rate_hz in ((0.5, 1.25, 48_000), (2.75, 3.5, 22_050)):
        movie.add_sound(tone(np.arange(begin, end, 1 / rate_hz)), rate_hz, begin)
    movie.close()
    seen = watched(tmp_path / "a.mp4")
    assert seen.beeps_s == pytest.approx([1, 3], abs=1 * MS)
    assert np.abs(seen.sound[round(1.3 * MOVIE_HZ) : round(2.7 * MOVIE_HZ)]).max() < 0.001
    assert seen.sound.size / MOVIE_HZ == pytest.approx(3.5, abs=0.03)


def test_sound_before_the_beginning_is_cut(tmp_path: Path) -> None:
    """The file begins at zero."""
    movie = Movie(tmp_path / "a.mp4", SIZE)
    movie.add_sound(tone(np.arange(-0.7, 1.5, 1 / 48_000)), 48_000, -0.7)
    movie.add_picture(grey(50), 0.0)
    movie.close()
    assert watched(tmp_path / "a.mp4").beeps_s == pytest.approx([1], abs=1 * MS)


def test_sound_that_is_no_sound_is_silence(tmp_path: Path) -> None:
    """What is not finite is not played, and does not end the movie; what is too loud is cut."""
    movie = Movie(tmp_path / "a.mp4", SIZE)
    movie.add_picture(grey(50), 0.0)
    movie.add_sound(np.array([np.nan, np.inf, 9.0] * 16_000, np.float32), 48_000, 0.0)
    movie.close()
    assert watched(tmp_path / "a.mp4").sound.size > 47_000


def test_time_does_not_go_back(tmp_path: Path) -> None:
    """A picture whose time is not after the last one's, or is before zero, is refused."""
    movie = Movie(tmp_path / "a.mp4", SIZE)
    taken = [movie.add_picture(grey(50), time_s) for time_s in (-0.1, 0.0, 0.0, 0.2, 0.1, 0.3)]
    movie.close()
    assert taken == [False, True, False, True, False, True]
    assert watched(tmp_path / "a.mp4").times_s == pytest.approx([0, 0.2, 0.3], abs=0.02 * MS)


def test_key_frames_come_every_two_seconds(tmp_path: Path) -> None:
    """By time and not by number, so that seeking works at any picture rate."""
    path = written(tmp_path / "a.mp4", until_s=7, fps=5)
    with av.open(str(path)) as container:
        keys = [float(frame.time or 0) for frame in container.decode(video=0) if frame.key_frame]
    assert keys == pytest.approx([0, 2, 4, 6], abs=0.02 * MS)


def test_a_finished_file_is_an_ordinary_mp4(tmp_path: Path) -> None:
    """With one directory for all of it, its length, and the matrix of its colours; players seek in such files."""
    path = written(tmp_path / "a.mp4")
    with av.open(str(path)) as container:
        assert container.duration == pytest.approx(3.5e6, abs=0.05e6)
        assert container.streams.video[0].frames == 105
        assert container.streams.video[0].codec_context.colorspace == 6
    data = path.read_bytes()
    first = int.from_bytes(data[:4], "big")
    kinds = []
    at = 0
    while at < len(data):
        size, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        kinds.append(kind)
        at += size if size > 1 else int.from_bytes(data[at + 8 : at + 16], "big")
    assert first < 100
    assert b"moov" in kinds
    assert b"moof" not in kinds


KILLED = """
import os, signal, sys
from pathlib import Path
from tests.test_movie import MOVIE_HZ, blocks, grey, is_flash, SIZE
from vision.movie import Movie
movie = Movie(Path(sys.argv[1]), SIZE)
pictures, sounds = int(sys.argv[2]), blocks(60, 48_000, lambda s: s)
for index in range(pictures):
    if index % 3 == 0:
        for _ in range(5):
            movie.add_sound(*(lambda block: (block[0], 48_000, block[1]))(next(sounds)))
    movie.add_picture(grey(235 if is_flash(index / 30) else 50), index / 30)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("pictures", [45, 100, 133])
def test_a_killed_movie_lacks_its_last_second_at_most(tmp_path: Path, pictures: int) -> None:
    """After `kill -9` what was written before can be played, in sync."""
    path = tmp_path / "a.mp4"
    command = [sys.executable, "-c", KILLED, str(path), str(pictures)]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=False)
    assert done.returncode == -signal.SIGKILL
    seen = watched(path)
    assert pictures / 30 - 1 < seen.times_s[-1] < pictures / 30
    assert seen.times_s == pytest.approx([index / 30 for index in range(len(seen.times_s))], abs=0.02 * MS)
    both = min(len(seen.flashes_s), len(seen.beeps_s))
    assert both >= pictures // 30 - 1
    assert seen.flashes_s[:both] == pytest.approx(range(1, both + 1), abs=0.02 * MS)
    assert seen.beeps_s[:both] == pytest.approx(range(1, both + 1), abs=1 * MS)


def _fill(movie: Movie) -> None:
    """Pictures that cost bits."""
    random = np.random.default_rng(0)
    for index in range(600):
        movie.add_picture(random.integers(16, 235, (SIZE[1] * 3 // 2, SIZE[0]), np.uint8), index / 30)


def test_a_full_disk_leaves_what_was_written(tmp_path: Path) -> None:
    """When the system refuses to write on, that is told, and what is there can be played."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    movie = Movie(tmp_path / "a.mp4", SIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            _fill(movie)
        movie.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert len(watched(tmp_path / "a.mp4").times_s) >= 15


@pytest.mark.parametrize("lacking", [1, 500])
def test_a_disk_that_is_full_at_the_end_leaves_the_fragments(tmp_path: Path, lacking: int) -> None:
    """When only the directory of the whole does not fit, what is there can be played still."""
    size = written(tmp_path / "whole.mp4").stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size - lacking, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            written(tmp_path / "a.mp4")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert len(watched(tmp_path / "a.mp4").times_s) >= 90


def test_no_file_is_written_over(tmp_path: Path) -> None:
    """One that is there stays."""
    (tmp_path / "a.mp4").write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        Movie(tmp_path / "a.mp4", SIZE)
    assert (tmp_path / "a.mp4").read_bytes() == b"mine"


@pytest.mark.parametrize("size", [(161, 90), (160, 91), (0, 2)])
def test_odd_sizes_are_refused(tmp_path: Path, size: tuple[int, int]) -> None:
    """Before anything is written."""
    with pytest.raises(ValueError, match="must be even"):
        Movie(tmp_path / "a.mp4", size)
    assert not (tmp_path / "a.mp4").exists()


@given(
    st.lists(
        st.tuples(
            st.floats(-1, 1, allow_nan=False),
            st.integers(0, 2000),
            st.sampled_from([48_000, 44_100, 16_000, 8_000]),
        ),
        max_size=12,
    )
)
def test_the_line_is_never_behind_nor_ahead(gaps: list[tuple[float, int, int]]) -> None:
    """Whatever the blocks say: what is given out is whole, and goes to the end of the latest block, and no further."""
    line, at_s, latest_s, given_out = SoundLine(), 0.0, 0.0, 0
    for gap_s, size, rate_hz in gaps:
        at_s += gap_s
        given_out += sum(block.size for block in line.add(np.ones(size, np.float32), rate_hz, at_s))
        if size:
            latest_s = max(latest_s, at_s + size / rate_hz)
        at_s += size / rate_hz
        assert line.end == given_out
        assert line.end / MOVIE_HZ <= latest_s + 0.011
    given_out += sum(block.size for block in line.finish(0.0))
    assert line.end == given_out
    assert line.end / MOVIE_HZ == pytest.approx(latest_s, abs=0.011)


def test_a_block_is_where_it_is_said_to_be() -> None:
    """A click is at its time to a millisecond, whatever comes before it."""
    for rate_hz, earlier_s in ((48_000, 0.0), (16_000, 0.3), (44_100, -0.2)):
        line = SoundLine()
        out = [*line.add(np.zeros(4800, np.float32), 48_000, earlier_s)]
        click = np.zeros(rate_hz // 10, np.float32)
        click[rate_hz // 20] = 1
        out += [*line.add(click, rate_hz, 1.0), *line.finish(2.0)]
        heard = np.concatenate(out)
        assert heard.size == 2 * MOVIE_HZ
        assert np.argmax(heard) / MOVIE_HZ == pytest.approx(1.05, abs=1 * MS)


def test_a_long_silence_is_made_in_pieces() -> None:
    """An hour of it does not fill the memory."""
    sizes = [silence.size for silence in SoundLine().silence(3600)]
    assert sum(sizes) == 3600 * MOVIE_HZ
    assert max(sizes) == MOVIE_HZ
