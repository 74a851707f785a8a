"""lip_sync with `method: syncnet`: SyncNet's measures, held against its authors' formulas."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from processors.lip_sync import LipSyncOptions, LipSyncProcessor
from processors.lip_sync.syncnet import (
    FPS,
    RATE_HZ,
    SHIFT,
    Embedder,
    SyncNetTrack,
    cepstra,
    crop,
    distances_of,
    estimate_of,
)
from tests.processors.lipsyncing import drawn, measured, stream
from vision import ModelError, StreamInfo
from vision.testing import make_picture

Floats = NDArray[np.float32]

# python_speech_features 0.6 (as the original uses it), mfcc of `sweep()` by its defaults, at 30 and 120 ms
OF_SWEEP = {
    3: "18.0117 21.0350 2.3958 -15.7308 -29.1759 -33.3964 -25.7886 -11.7003 3.5131 13.3116 16.0347 11.3769 3.7460",
    12: "20.5598 9.2313 -25.0184 -35.1273 -10.9512 21.7580 29.0200 4.2313 -22.2115 -23.3454 -1.4179 15.7691 12.3367",
}


def sweep() -> Floats:
    """A quarter of a second that rises and swells, as a file of 16 bits holds it, a sample of silence before it."""
    t = np.arange(4000) / RATE_HZ
    samples = np.round(8000 * np.sin(2 * np.pi * (200 * t + 3000 * t * t)) * (0.3 + 0.7 * np.abs(np.sin(9 * t))))
    return np.concatenate([[0], samples / 32768]).astype(np.float32)


def test_cepstra_are_those_of_the_original() -> None:
    """To print precision."""
    found = cepstra(sweep())
    assert found.shape == (13, 23)
    for number, expected in OF_SWEEP.items():
        np.testing.assert_allclose(found[:, number], np.array(expected.split(), float), atol=1e-4)


def test_measures_by_formula() -> None:
    """LSE-D is the least mean distance, LSE-C what the median exceeds it by; a late sound has a positive offset."""
    distances = np.full((4, 2 * SHIFT + 1), 10.0, np.float32)
    distances[:, SHIFT + 3] = [5, 6, 7, 8]
    found = estimate_of(distances)
    # the original: offset = vshift - argmin = -3 pictures, which is a sound that is late by 120 ms
    assert (found.offset_ms, found.lse_d, found.lse_c) == (120.0, 6.5, 3.5)


def test_a_face_is_cropped_as_the_original_does() -> None:
    """Left and right by 1.4 half boxes, up by 1, down by 1.8; grey where the picture ends."""
    luma = np.full((200, 400), 16, np.uint8)
    luma[:, 200:] = 235
    found = crop(make_picture(luma), (180, 20, 220, 60))
    assert found.shape == (224, 224, 3)
    # x from 172 to 228: the edge at 200 is in the middle
    assert found[100, 105].tolist() == [0, 0, 0]
    assert found[100, 119].tolist() == [255, 255, 255]
    below = crop(make_picture(luma), (180, 150, 220, 190))  # from 150 to 206, and the picture ends at 200
    assert below[205:, :].mean() < 255
    assert (below[-1] == 110).all()
    assert (below[150, :100] == 0).all()


class Brightness:
    """Stands for the network: lips say how bright the first of the five pictures is, sounds how loud their second half
    of a picture is; both on the same scale, so that they agree where one belongs to the other."""

    def of_sound(self, cepstra: Floats) -> Floats:
        """The log energy of the first 40 ms."""
        return np.repeat(cepstra[:, :1, :2].mean(axis=(1, 2))[:, np.newaxis], 4, axis=1)

    def of_lips(self, pictures: NDArray[np.uint8]) -> Floats:
        """The same from the grey value that `played` draws for it."""
        return np.repeat(pictures[:, 0].mean(axis=(1, 2, 3))[:, np.newaxis] / 10, 4, axis=1).astype(np.float32)


def played(embedder: Embedder, seconds: float, late_ms: float, *, fps: float = FPS, stride: int = 5) -> SyncNetTrack:
    """A track that has seen grey pictures and heard noise, each 40 ms as loud as the picture is bright."""
    rng = np.random.default_rng(3)
    levels = rng.uniform(12, 24, math.ceil(seconds * FPS) + 1)
    noise = rng.choice([-1, 1], round(seconds * RATE_HZ)).astype(np.float32)
    # log energy of white noise at amplitude a, as cepstra have it
    unit = cepstra(noise / np.float32(32768))[0].mean()
    amplitude = np.exp((levels - unit) / 2).repeat(RATE_HZ // FPS)[: noise.size] / 32768
    samples = (noise * amplitude).astype(np.float32)
    track = SyncNetTrack(embedder, 3.0, stride)
    block = RATE_HZ // 50
    for first in range(0, samples.size, block):
        track.hear(samples[first : first + block], first / RATE_HZ + late_ms / 1000)
    for number in range(int(seconds * fps)):
        time_s = number / fps
        grey = _luma(10 * levels[round(time_s * FPS)])
        track.see(time_s, make_picture(np.full((60, 60), grey, np.uint8)), (20, 20, 40, 40))
    return track


def _luma(grey: float) -> int:
    return round(16 + grey * 219 / 255)


@pytest.mark.parametrize("late_ms", [-320, -40, 0, 120, 400])
@pytest.mark.parametrize("fps", [25, 50])
def test_a_late_sound_is_found(late_ms: float, fps: float) -> None:
    """Its offset is positive; pictures that come at another rate are put on the original's."""
    found = played(Brightness(), 6.0, late_ms, fps=fps).estimate()
    assert found is not None
    assert found.offset_ms == late_ms
    assert found.lse_d < 1
    assert found.lse_c > 3
    assert found.last_s - found.first_s == pytest.approx(3.0, abs=0.21)


def test_sound_that_belongs_later_is_compared_anew() -> None:
    """A shift of what was heard shifts the offset."""
    track = played(Brightness(), 9.0, 0)
    assert track.estimate() is not None
    track.shift(0.08)
    assert track.estimate() is None, "nothing of the new relation is known yet"


def test_what_nobody_asks_for_is_forgotten() -> None:
    """While no estimate is wanted, pictures and sound of the window are kept, and no more."""
    track = played(Brightness(), 30.0, 0)
    assert len(track._pictures._faces) <= 3 * FPS + 2 * SHIFT + 20
    assert track._samples._samples.size <= 6 * RATE_HZ
    found = track.estimate()
    assert found is not None
    assert found.offset_ms == 0


def test_nothing_is_said_without_a_face_or_sound() -> None:
    """Less than four fifths of the window."""
    track = SyncNetTrack(Brightness(), 3.0, 5)
    assert track.estimate() is None
    for number in range(150):
        track.see(number / FPS, make_picture(100), None)
    assert track.estimate() is None


def test_embeddings_and_distances_are_those_of_the_original() -> None:
    """With random weights: its graph has 13.6 million parameters, and a track gives what its formula does."""
    torch: Any = pytest.importorskip("torch", reason="the extra syncnet is not installed")
    from processors.lip_sync.syncnet_net import Network

    torch.manual_seed(1)
    network = Network()
    assert sum(each.numel() for each in network.towers.parameters()) == pytest.approx(13.63e6, rel=1e-3)
    rng = np.random.default_rng(2)
    lips = network.of_lips(rng.integers(0, 255, (3, 5, 224, 224, 3), np.uint8))
    sounds = network.of_sound(rng.normal(0, 10, (40, 13, 20)).astype(np.float32))
    assert lips.shape == (3, 1024)
    # calc_pdist of SyncNetInstance.py, for the pictures 15 to 17 of 40
    one, other = torch.from_numpy(lips), torch.from_numpy(sounds)
    expected = [
        torch.nn.functional.pairwise_distance(one[[i]].repeat(31, 1), other[i : i + 31]).numpy() for i in range(3)
    ]
    found = np.stack([distances_of(lips[i], sounds[i : i + 31]) for i in range(3)])
    np.testing.assert_allclose(found, np.stack(expected), rtol=1e-4)
    mean = torch.mean(torch.from_numpy(np.stack(expected, axis=1)), 1)
    least, at = torch.min(mean, 0)
    ours = estimate_of(found)
    assert ours.offset_ms == -40 * (15 - int(at))
    assert ours.lse_d == pytest.approx(float(least), rel=1e-4)
    assert ours.lse_c == pytest.approx(float(torch.median(mean) - least), rel=1e-2, abs=1e-4)


def test_weights_come_from_a_file(tmp_path: Path) -> None:
    """By the names of the original; what is no such file is one error."""
    torch: Any = pytest.importorskip("torch", reason="the extra syncnet is not installed")
    from processors.lip_sync.syncnet_net import Network

    network = Network()
    torch.save(network.towers.state_dict(), tmp_path / "syncnet_v2.model")
    again = Network(tmp_path / "syncnet_v2.model")
    cepstra_of_noise = np.random.default_rng(1).normal(0, 10, (2, 13, 20)).astype(np.float32)
    np.testing.assert_array_equal(network.of_sound(cepstra_of_noise), again.of_sound(cepstra_of_noise))


def test_without_torch_the_extra_is_named(tmp_path: Path) -> None:
    """One line; and the option that is missing is named before the run."""
    if importlib.util.find_spec("torch") is not None:
        pytest.skip("torch is installed")
    processor = LipSyncProcessor(LipSyncOptions(method="syncnet", syncnet_model=tmp_path / "syncnet_v2.model"))
    with pytest.raises(ModelError, match=r"pip install 'avatar-vision\[syncnet\]'$"):
        processor.setup(StreamInfo(live=False))
    with pytest.raises(ValidationError, match="needs `syncnet_model`"):
        LipSyncOptions(method="syncnet")


@pytest.mark.slow
@pytest.mark.parametrize("min_lse_c", [0.0, 3.0])
def test_in_the_processor(tmp_path: Path, attention_model: Path, min_lse_c: float) -> None:
    """Random weights: LSE-C is next to nothing, and the offset is told only where that is enough."""
    torch: Any = pytest.importorskip("torch", reason="the extra syncnet is not installed")
    from processors.lip_sync.syncnet_net import Network

    torch.manual_seed(1)
    torch.save(Network().towers.state_dict(), tmp_path / "random.model")
    seen = drawn()
    pictures = [item for item in seen.pictures if item[0].time_s < 10]
    model = tmp_path / "random.model"
    results = measured(
        stream(pictures, seen.samples), method="syncnet", syncnet_model=model, syncnet_stride=25, min_lse_c=min_lse_c
    )
    said = [result for result in results if result.lse_d is not None]
    assert said
    assert all(0 <= (result.lse_c or 0) < 3 for result in said)
    assert {result.offset_ms is None for result in said} == {min_lse_c > 0}
    assert all(result.confidence is None for result in results)
