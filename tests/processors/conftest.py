"""A drawn head, whose mouth and eyes are known, and the models and clips that the tests need."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from processors.face_landmarks import FaceLandmarksProcessor
from tests.clips import MEDIA
from vision import ClockQuality, Frame, Picture, models

Image = NDArray[np.uint8]


def _blob(image: Image, at: tuple[float, float], radii: tuple[float, float], bgr: tuple[int, int, int]) -> None:
    centre, axes = (round(at[0]), round(at[1])), (max(1, round(radii[0])), max(1, round(radii[1])))
    cv2.ellipse(image, centre, axes, 0, 0, 360, bgr, -1, cv2.LINE_AA)


@dataclass(frozen=True, slots=True)
class DrawnHead:
    """Draws a head good enough to be tracked."""

    width: int = 1280
    height: int = 720

    def image(self, mouth: float = 0.0, blink: float = 0.0, dx: float = 0.0) -> Image:
        """The head as I420, `(H * 3 / 2, W) uint8`; `mouth` and `blink` are 0..1, `dx` is in px."""
        s, x, y = self.height / 720, self.width / 2 + dx, self.height * 0.48
        image = np.full((self.height, self.width, 3), (150, 140, 130), np.uint8)
        _blob(image, (x, y + 430 * s), (330 * s, 180 * s), (90, 60, 40))
        _blob(image, (x, y - 40 * s), (190 * s, 230 * s), (30, 40, 60))
        _blob(image, (x, y + 12 * s), (150 * s, 217 * s), (140, 175, 225))
        _blob(image, (x, y - 190 * s), (140 * s, 55 * s), (30, 40, 60))
        for side in (-1, 1):
            self._eye(image, x + side * 62 * s, y - 30 * s, 1 - blink)
            _blob(image, (x + side * 13 * s, y + 68 * s), (6 * s, 4 * s), (60, 80, 120))
        _blob(image, (x, y + 40 * s), (14 * s, 32 * s), (165, 200, 245))
        self._mouth(image, x, y + 120 * s, mouth)
        return np.asarray(cv2.cvtColor(cv2.GaussianBlur(image, (0, 0), s), cv2.COLOR_BGR2YUV_I420), np.uint8)

    def _eye(self, image: Image, x: float, y: float, open_: float) -> None:
        s = self.height / 720
        _blob(image, (x, y), (40 * s, 26 * s), (120, 150, 195))
        _blob(image, (x, y), (32 * s, max(2.0, 18 * open_) * s), (40, 50, 70))
        _blob(image, (x, y + 2 * s), (30 * s, 14 * open_ * s), (245, 245, 245))
        _blob(image, (x, y + 2 * s), (min(12, 14 * open_) * s, min(12, 14 * open_) * s), (70, 50, 30))
        cv2.ellipse(image, (round(x), round(y - 36 * s)), (round(42 * s), round(14 * s)), 0, 195, 345, (30, 40, 60), 8)

    def _mouth(self, image: Image, x: float, y: float, opening: float) -> None:
        s, gap = self.height / 720, 34 * opening
        _blob(image, (x, y + gap * s * 0.3), (58 * s, (12 + gap) * s), (90, 90, 190))
        _blob(image, (x, y + gap * s * 0.3), (46 * s, max(1.0, gap) * s), (30, 20, 50))

    def frame(self, time_s: float, mouth: float = 0.0, blink: float = 0.0, dx: float = 0.0) -> Frame:
        """The head as a frame."""
        return frame_of(self.image(mouth, blink, dx), time_s)


def frame_of(i420: Image, time_s: float) -> Frame:
    """A frame that holds a picture given as `(H * 3 / 2, W)`."""
    h, w = i420.shape[0] * 2 // 3, i420.shape[1]
    u, v = i420[h:].reshape(2, h // 2, w // 2)
    clock = ClockQuality("file", 0.0)
    return Frame(0, time_s, time_s, clock, maybe_picture=Picture(i420[:h], u, v))


@pytest.fixture(scope="session")
def head() -> DrawnHead:
    """A head in 1280x720."""
    return DrawnHead()


@pytest.fixture(scope="session")
def official_model() -> Path:
    """MediaPipe's own bundle, from the folder beside the test clips or from the cache."""
    (model,) = FaceLandmarksProcessor.models(FaceLandmarksProcessor.Options(model="official"))
    path = MEDIA.parent / "models" / model.file_name
    if path.is_file():
        return path
    if not models.is_present(model):
        pytest.skip(f"no {model.file_name} in {path.parent} nor in the cache")
    return models.path_of(model)


@pytest.fixture(scope="session")
def frames_of_clip(media: Path) -> Callable[[str], Iterator[Frame]]:
    """Decodes one of the test clips."""

    def frames(name: str) -> Iterator[Frame]:
        with av.open(str(media / name)) as clip:
            for video in clip.decode(video=0):
                yield frame_of(np.asarray(video.to_ndarray(format="yuv420p"), np.uint8), float(video.time or 0))

    return frames
