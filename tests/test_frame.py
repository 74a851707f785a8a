"""Pictures and sound."""

from __future__ import annotations

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision.frame import Picture, Sound


def _picture(width: int, height: int, *, full_range: bool = False) -> Picture:
    rng = np.random.default_rng(width * height)
    chroma = ((height + 1) // 2, (width + 1) // 2)
    smooth = [rng.integers(60, 200, size, np.uint8) for size in ((height, width), chroma, chroma)]
    return Picture(*smooth, full_range=full_range)


@given(st.integers(2, 70), st.integers(2, 70), st.booleans())
def test_views_have_their_shapes(width: int, height: int, full_range: bool) -> None:
    """Any size, odd ones too: RGB is (H, W, 3), the half rounds up, the histogram counts every sample."""
    picture = _picture(width, height, full_range=full_range)
    assert picture.rgb.shape == (height, width, 3)
    assert picture.y_half.shape == ((height + 1) // 2, (width + 1) // 2)
    assert picture.histogram.sum() == width * height
    assert picture.rgb is picture.rgb


def _by_libav(picture: Picture) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    frame = av.VideoFrame.from_ndarray(
        np.concatenate([plane.reshape(-1) for plane in picture.planes]).reshape(-1, picture.width),
        format="yuvj420p" if picture.full_range else "yuv420p",
    )
    return np.asarray(frame.to_ndarray(format="rgb24"))


@pytest.mark.parametrize("full_range", [False, True])
def test_rgb_is_that_of_libav(full_range: bool) -> None:
    """BT.601, limited and full range: flat colours within two levels of libav's own conversion."""
    for y, u, v in [(81, 90, 240), (145, 54, 34), (41, 240, 110), (128, 128, 128), (235, 128, 128)]:
        planes = [np.full(size, value, np.uint8) for size, value in (((16, 16), y), ((8, 8), u), ((8, 8), v))]
        picture = Picture(*planes, full_range=full_range)
        difference = picture.rgb.astype(int) - _by_libav(picture).astype(int)
        assert np.abs(difference).max() <= 2


def test_planes_that_do_not_fit_are_refused() -> None:
    """Chroma must be half of luma, rounded up."""
    with pytest.raises(ValueError, match=r"are not 4:2:0"):
        Picture(np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.uint8), np.zeros((2, 2), np.uint8))


def test_sound_put_after_sound() -> None:
    """Samples follow each other and marks move along; another rate replaces what was there."""
    early = Sound(np.ones(4, np.float32), 8000, 1.0, ((1, 2),), lost=3)
    late = Sound(np.zeros(2, np.float32), 8000, 1.0005, ((0, 1),))
    both = late.after(early)
    assert both.samples.tolist() == [1, 1, 1, 1, 0, 0]
    assert both.missing == ((1, 2), (4, 1))
    assert (both.start_s, both.duration_s) == (1.0, 6 / 8000)
    assert both.lost == 3
    other = Sound(np.zeros(2, np.float32), 16000, 1.0)
    assert other.after(early) is other
    assert Sound(np.zeros(0, np.float32), 0, 0.0).after(early).samples.size == 4
