"""What planted faults do to a picture (I420, (H * 3 / 2, W) uint8) and to a block of sound (float32 mono)."""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from vision.simulator.picture import Plane, Planes
from vision.simulator.settings import FaultKind

Sound = NDArray[np.float32]

NOISE_SIGMA = 20.0
BLOCK_PX = 8
CLIPPING_GAIN = 12.0


def black(i420: Plane) -> Plane:
    """Black in limited range."""
    result = np.full_like(i420, 128)
    Planes.of(result).y[:] = 16
    return result


def blur(i420: Plane) -> Plane:
    """A blur in which no detail of the face survives."""
    result = np.empty_like(i420)
    for source, target in zip(Planes.of(i420), Planes.of(result), strict=True):
        target[:] = cv2.GaussianBlur(source, (0, 0), max(source.shape[0] / 90, 1.0))
    return result


def noise(i420: Plane, random: np.random.Generator) -> Plane:
    """Gaussian noise on the luma."""
    result = i420.copy()
    luma = Planes.of(result).y
    grain = random.standard_normal(luma.shape, dtype=np.float32) * NOISE_SIGMA
    luma[:] = np.clip(luma + grain + 0.5, 0, 255).astype(np.uint8)
    return result


def blockiness(i420: Plane) -> Plane:
    """Each block of 8 x 8 pixels becomes its mean."""
    result = np.empty_like(i420)
    blocks = (BLOCK_PX, BLOCK_PX // 2, BLOCK_PX // 2)
    for source, target, block in zip(Planes.of(i420), Planes.of(result), blocks, strict=True):
        target[:] = _block_means(source, block)
    return result


def _block_means(plane: Plane, block: int) -> Plane:
    height, width = plane.shape
    down, across = -height % block, -width % block
    padded = cv2.copyMakeBorder(plane, 0, down, 0, across, cv2.BORDER_REPLICATE)
    size = ((width + across) // block, (height + down) // block)
    means = cv2.resize(padded, size, interpolation=cv2.INTER_AREA)
    blocks = np.repeat(np.repeat(means, block, axis=0), block, axis=1)
    return np.asarray(blocks[:height, :width], np.uint8)


PICTURE_EFFECTS: dict[FaultKind, Callable[[Plane, np.random.Generator], Plane]] = {
    "blur": lambda i420, random: blur(i420),
    "noise": noise,
    "blockiness": lambda i420, random: blockiness(i420),
    "black": lambda i420, random: black(i420),
}
"""By kind of fault, in the order in which they are applied."""


def clipped(sound: Sound) -> Sound:
    """So loud that most of it hits full scale."""
    return np.asarray(np.clip(sound * CLIPPING_GAIN, -1.0, 1.0), np.float32)
