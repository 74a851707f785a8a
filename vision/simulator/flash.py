"""Flash and beep: a known truth for picture against sound.

In every full second but the first the picture is bright for 100 ms, and a tone sounds for 100 ms from the time of the
first bright picture on, exact to the sample.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from vision.simulator.effects import Sound
from vision.simulator.performance import Times
from vision.simulator.picture import Plane, Planes
from vision.simulator.portrait import Expression
from vision.simulator.settings import SimulatorSettings

FLASH_S = 0.1
TONE_HZ = 1000.0
TONE_AMPLITUDE = 0.5
BRIGHT_LUMA = 235
DARK_LUMA = 50
"""Mean luma of the texture that is seen between the flashes."""

_EPSILON_S = 1e-6  # picture times are quotients: a flash must not begin or end a picture late for a rounding error
_GRAIN_PX = 2.5
_CONTRAST = 14.0  # standard deviation of a plate's luma
_ROUND_PX = 48
_ROUND_S = 2.0


class FlashAndBeep:
    """The show of a seed: the face is a mouth that is open (1.0) in bright pictures, with eyes that never blink."""

    def __init__(self, settings: SimulatorSettings) -> None:
        self._fps = settings.fps
        self._texture = _Texture(settings.size, settings.seed)

    def face(self, time_s: float) -> Expression:
        """Open in the pictures of a flash."""
        return Expression(float(self.speaking(np.array([time_s]))[0]), 0.0)

    def mime(self, time_s: float) -> Expression:
        """The same: flashes without a beep."""
        return self.face(time_s)

    def speaking(self, times_s: Times) -> NDArray[np.bool_]:
        """Whether the tone sounds at the media times (N,)."""
        return self._since_flash_s(times_s) < FLASH_S - _EPSILON_S

    def sound(self, times_s: Times) -> Sound:
        """The tone (N,) float32, where it sounds at the media times (N,); its phase is zero where it begins."""
        sound = np.zeros(len(times_s), np.float32)
        sounding = self.speaking(times_s)
        since_s = self._since_flash_s(times_s)[sounding]
        sound[sounding] = TONE_AMPLITUDE * np.sin(2 * np.pi * TONE_HZ * since_s)
        return sound

    def picture(self, face: Expression, time_s: float) -> Plane:
        """Bright for an open mouth, else the texture."""
        return self._texture.bright() if face.mouth_opening > 0 else self._texture.at(time_s)

    def _since_flash_s(self, times_s: Times) -> Times:
        """Time since the first picture of the latest flash (N,), s; infinite before the first flash.

        A flash begins with the first picture of a full second, whatever the frame rate.
        """
        picture = np.floor((times_s + _EPSILON_S) * self._fps)
        second = np.floor(picture / self._fps + _EPSILON_S)
        first_picture = np.ceil((second - _EPSILON_S) * self._fps)
        return np.where(second >= 1, times_s - first_picture / self._fps, np.inf)


class _Texture:
    """Two dark plates of grain that slide over each other, so that every picture costs bits and none repeats."""

    def __init__(self, size: tuple[int, int], seed: int) -> None:
        self._width, self._height = size
        shape = self._height + 2 * _ROUND_PX, self._width + 2 * _ROUND_PX
        random = np.random.default_rng((seed, 5))
        self._plates = [_plate(random, shape) for _ in range(2)]
        self._dark, self._bright = (np.full((self._height * 3 // 2, self._width), 128, np.uint8) for _ in range(2))
        Planes.of(self._bright).y[:] = BRIGHT_LUMA

    def bright(self) -> Plane:
        """All of it bright."""
        return self._bright

    def at(self, time_s: float) -> Plane:
        """The plates where they are at a media time: each on a round of its own, in opposite directions."""
        angle = 2 * np.pi * time_s / _ROUND_S
        one, other = (self._crop(plate, way) for plate, way in zip(self._plates, (angle, -angle), strict=True))
        cv2.addWeighted(one, 0.5, other, 0.5, 0.0, dst=Planes.of(self._dark).y)
        return self._dark

    def _crop(self, plate: Plane, angle: float) -> Plane:
        left, top = (round(_ROUND_PX * (1 + way(angle))) for way in (np.cos, np.sin))
        return plate[top : top + self._height, left : left + self._width]


def _plate(random: np.random.Generator, shape: tuple[int, int]) -> Plane:
    grain = cv2.GaussianBlur(random.standard_normal(shape, dtype=np.float32), (0, 0), _GRAIN_PX)
    return np.asarray(np.clip(DARK_LUMA + grain * (_CONTRAST / grain.std()) + 0.5, 16, 235), np.uint8)
