"""From PyAV's frames to planes and samples: nothing moved, nothing rescaled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tests.connectors.recording import Video, picture, tone, write
from vision.connectors.decoding import picture_of, samples_of

FORMATS = ["yuv420p", "yuvj420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv444p10le", "nv12", "gray", "gray10le"]


def gray_frame(pixels: str, luma: int) -> av.VideoFrame:
    """A gray frame without a scaler's help, whose idea of the range of gray is its own."""
    frame = av.VideoFrame(638, 359, pixels)
    values = np.full(
        frame.planes[0].buffer_size // (1 if pixels == "gray" else 2), luma * (1 if pixels == "gray" else 4)
    )
    frame.planes[0].update(values.astype(np.uint8 if pixels == "gray" else np.uint16).tobytes())
    return frame


@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("pixels", FORMATS)
def test_luma_survives_every_format(pixels: str, full_range: bool) -> None:
    """A flat picture of luma 180 has luma 180 in 8-bit 4:2:0, at an odd size, and its range is told."""
    if pixels.startswith("gray"):
        frame = gray_frame(pixels, 180)
    else:
        frame = picture(Video(size=(638, 359), pixels=pixels, full_range=full_range), 180)
    frame.color_range = 2 if full_range else 1
    found = picture_of(frame)
    assert (found.width, found.height) == (638, 359)
    assert found.u.shape == found.v.shape == (180, 319)
    assert found.full_range == (full_range or pixels == "yuvj420p")
    assert abs(float(found.y.mean()) - 180) <= 1
    assert abs(float(found.u.mean()) - 128) <= 1


def test_planes_are_those_of_the_decoder() -> None:
    """8-bit 4:2:0 is looked at, not copied."""
    frame = picture(Video(), 50)
    found = picture_of(frame)
    frame.planes[0].update(bytes([77]) * frame.planes[0].buffer_size)
    assert found.y[0, 0] == 77


def test_a_plane_that_is_kept_stays_as_it_is(tmp_path: Path) -> None:
    """Whoever keeps a plane keeps its memory: the decoder, which uses memory again, leaves it alone."""
    path = write(tmp_path / "talk.mp4", Video(), None)
    kept: list[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]] = []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            y = picture_of(frame).y
            kept.append((y, y.copy()))
    assert len(kept) == 50
    assert all((plane == copy).all() for plane, copy in kept)


@pytest.mark.parametrize("layout", ["mono", "stereo"])
@pytest.mark.parametrize("form", ["u8", "s16", "s32", "flt", "dbl", "u8p", "s16p", "s32p", "fltp", "dblp"])
def test_every_sample_format_is_float_mono(form: str, layout: str) -> None:
    """A known tone comes out with its amplitude from every sample format, packed or planar, mono or stereo."""
    expected = tone(48_000, 100)
    channels = 1 if layout == "mono" else 2
    source = av.AudioFrame.from_ndarray(np.repeat(expected[None], channels, axis=0), "fltp", layout)
    source.sample_rate = 48_000
    (frame,) = av.AudioResampler(form, layout, 48_000).resample(source)
    found = samples_of(frame)
    assert found.dtype == np.float32
    assert found.shape == expected.shape
    tolerance = 0.01 if form.startswith("u8") else 1e-4
    np.testing.assert_allclose(found, expected, atol=tolerance)


def test_stereo_is_averaged() -> None:
    """Left and right of opposite sign cancel out."""
    left = tone(48_000, 20)
    frame = av.AudioFrame.from_ndarray(np.stack([left, -left]), "fltp", "stereo")
    assert np.abs(samples_of(frame)).max() < 1e-6


def test_no_number_stays_out() -> None:
    """Samples that are no numbers become silence, infinite ones full scale: what measures them may rely on it."""
    frame = av.AudioFrame.from_ndarray(np.array([[np.nan, np.inf, -np.inf, 0.25]], np.float32), "fltp", "mono")
    np.testing.assert_array_equal(samples_of(frame), np.array([0, 1, -1, 0.25], np.float32))
