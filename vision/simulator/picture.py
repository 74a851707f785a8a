"""Pictures of the portrait at video rate: plates drawn once, mouth and eyes pasted in, the whole swayed.

A picture is one contiguous I420 array (H * 3 / 2, W) uint8: the planes Y, U and V one after another.
"""

import logging
import math
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from vision.simulator.canvas import Canvas, Frame
from vision.simulator.portrait import Expression, draw_behind, draw_face

logger = logging.getLogger(__name__)

Plane = NDArray[np.uint8]

MOUTH_LEVELS = 48
BLINK_LEVELS = 8
SWAY = 0.017
"""Radius of the head's round, of the height of the picture."""

_TEXTURE_LEVEL = 4.0
_TEXTURE_GRAIN_PX = 1.8


class Planes(NamedTuple):
    """Y (H, W), U and V (H / 2, W / 2)."""

    y: Plane
    u: Plane
    v: Plane

    @classmethod
    def of(cls, i420: Plane) -> "Planes":
        """Views of the three planes of a contiguous I420 array."""
        height, width = i420.shape[0] * 2 // 3, i420.shape[1]
        luma, chroma = height * width, height * width // 4
        flat, half = i420.reshape(-1), (height // 2, width // 2)
        return cls(
            flat[:luma].reshape(height, width),
            flat[luma : luma + chroma].reshape(half),
            flat[luma + chroma :].reshape(half),
        )

    def paste(self, patch: "Planes", left: int, top: int) -> None:
        """Copies a patch over, its corner at the even pixel (left, top)."""
        for target, source, step in zip(self, patch, (1, 2, 2), strict=True):
            height, width = source.shape
            target[top // step : top // step + height, left // step : left // step + width] = source


@dataclass(frozen=True, slots=True)
class Patch:
    """Where a part of the face lies on the plate, pixels, all even."""

    left: int
    top: int
    width: int
    height: int


class Likeness:
    """The portrait at one size: a plate a little larger than the picture, and patches for mouth and eyes."""

    def __init__(self, width: int, height: int) -> None:
        started_s = time.monotonic()
        self.width, self.height = width, height
        self.sway_px = max(SWAY * height, 8.0)
        self.margin_px = 2 * math.ceil(self.sway_px / 2 + 1)
        plate_width, plate_height = width + 2 * self.margin_px, height + 2 * self.margin_px
        scale = min(height / 720, width / 640)
        frame = Frame(plate_width, plate_height, scale, (plate_width / 2, 0.465 * plate_height))
        self._behind = Canvas(frame)
        draw_behind(self._behind)
        self._texture = _texture(plate_height, plate_width)
        whole = Patch(0, 0, plate_width, plate_height)
        closed = self._draw(whole, Expression(0.0, 0.0))
        self._mouth = _changed(closed, self._draw(whole, Expression(1.0, 0.0)))
        self._eyes = _changed(closed, self._draw(whole, Expression(0.0, 1.0)))
        self.plate = self._finish(closed, whole)
        self._mouths = [self._patch(self._mouth, Expression(k / MOUTH_LEVELS, 0)) for k in range(MOUTH_LEVELS + 1)]
        self._lids = [self._patch(self._eyes, Expression(0, k / BLINK_LEVELS)) for k in range(BLINK_LEVELS + 1)]
        logger.debug("drew the portrait at %sx%s in %.1f s", width, height, time.monotonic() - started_s)

    def dress(self, plate: Planes, face: Expression) -> None:
        """Gives a copy of the plate an expression."""
        plate.paste(self._mouths[round(face.mouth_opening * MOUTH_LEVELS)], self._mouth.left, self._mouth.top)
        plate.paste(self._lids[round(face.blink * BLINK_LEVELS)], self._eyes.left, self._eyes.top)

    def _draw(self, part: Patch, face: Expression) -> Canvas:
        canvas = self._behind.crop(part.left, part.top, part.width, part.height)
        draw_face(canvas, face)
        return canvas

    def _patch(self, part: Patch, face: Expression) -> Planes:
        return self._finish(self._draw(part, face), part)

    def _finish(self, canvas: Canvas, part: Patch) -> Planes:
        texture = self._texture[part.top : part.top + part.height, part.left : part.left + part.width, None]
        rgb = np.clip(canvas.rgb + texture + 0.5, 0, 255).astype(np.uint8)
        return Planes.of(np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420), np.uint8))


def _changed(one: Canvas, other: Canvas) -> Patch:
    """The part of the plate in which two drawings differ, and a little more."""
    height, width = one.rgb.shape[:2]
    rows, columns = np.nonzero(abs(one.rgb - other.rgb).max(axis=2) > 0.5)
    left, right = max(int(columns.min()) - 4, 0) // 2 * 2, min(int(columns.max()) + 5, width)
    top, bottom = max(int(rows.min()) - 4, 0) // 2 * 2, min(int(rows.max()) + 5, height)
    return Patch(left, top, (right - left) // 2 * 2, (bottom - top) // 2 * 2)


def _texture(height: int, width: int) -> NDArray[np.float32]:
    """A faint static weave, so that the sway shows everywhere in the picture."""
    noise = np.random.default_rng(0).standard_normal((height, width)).astype(np.float32)
    weave = cv2.GaussianBlur(noise, (0, 0), _TEXTURE_GRAIN_PX)
    return np.asarray(weave * (_TEXTURE_LEVEL / weave.std()), np.float32)


@lru_cache(maxsize=2)
def likeness(width: int, height: int) -> Likeness:
    """The portrait at a size; drawn once, in about a second at 720p."""
    return Likeness(width, height)


def drawn(face: Expression) -> Expression:
    """The expression that is in fact drawn: the nearest of the prepared ones."""
    return Expression(
        round(face.mouth_opening * MOUTH_LEVELS) / MOUTH_LEVELS, round(face.blink * BLINK_LEVELS) / BLINK_LEVELS
    )


class Painter:
    """Paints the pictures of one viewer."""

    def __init__(self, portrait: Likeness) -> None:
        self._portrait = portrait
        self._plate = Planes(*(plane.copy() for plane in portrait.plate))
        self._i420 = np.empty((portrait.height * 3 // 2, portrait.width), np.uint8)

    def paint(self, face: Expression, sway: tuple[float, float]) -> Plane:
        """An I420 picture, good until the next call; `sway` (x, y) in -1..1."""
        portrait = self._portrait
        portrait.dress(self._plate, face)
        for source, target, step in zip(self._plate, Planes.of(self._i420), (1, 2, 2), strict=True):
            height, width = target.shape
            x, y = (portrait.margin_px + portrait.sway_px * way for way in sway)
            centre = (x / step + (width - 1) / 2, y / step + (height - 1) / 2)
            cv2.getRectSubPix(source, (width, height), centre, target)
        return self._i420
