"""Antialiased drawing of smooth shapes, in units that do not depend on the size of the picture.

A unit is 1/720 of the height of a landscape picture; the origin is the middle of the face, x to the right,
y down. Colours are RGB in 0..255.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]
Outline = NDArray[np.float64]
Colour = tuple[float, float, float]
Shader = Callable[[Image, Image], Image]
"""Colours (H, W, 3) at the positions x (H, W) and y (H, W), in units."""

_SUBPIXEL_BITS = 5


@dataclass(frozen=True, slots=True)
class Frame:
    """Where a canvas lies: pixels a unit, and the pixel position of the origin within it."""

    width: int
    height: int
    scale: float
    origin_px: tuple[float, float]

    def crop(self, left: int, top: int, width: int, height: int) -> "Frame":
        """The part of it whose top left corner is at the pixel (left, top)."""
        x, y = self.origin_px
        return Frame(width, height, self.scale, (x - left, y - top))


class Canvas:
    """A picture to draw on: `rgb` is (H, W, 3) float32 in 0..255."""

    def __init__(self, frame: Frame) -> None:
        self.frame = frame
        self.rgb: Image = np.zeros((frame.height, frame.width, 3), np.float32)

    def crop(self, left: int, top: int, width: int, height: int) -> "Canvas":
        """A copy of a part, to be drawn on by itself."""
        part = Canvas(self.frame.crop(left, top, width, height))
        part.rgb[:] = self.rgb[top : top + height, left : left + width]
        return part

    def shade(self, shader: Shader) -> None:
        """Paints all of it."""
        self.rgb[:] = shader(*self._positions(slice(0, self.frame.height), slice(0, self.frame.width)))

    def fill(self, outline: Outline, paint: Colour | Shader, alpha: float = 1.0, soft: float = 0.0) -> None:
        """Paints the inside of an outline (N, 2), in units; `soft` blurs its edge by so many units."""
        corners = outline * self.frame.scale + np.array(self.frame.origin_px)
        rows, columns = self._bounds(corners, 3 * soft * self.frame.scale + 2)
        if rows.start >= rows.stop or columns.start >= columns.stop:
            return
        mask = self._mask(corners, rows, columns, soft * self.frame.scale)[:, :, None] * alpha
        colour = paint(*self._positions(rows, columns)) if callable(paint) else np.array(paint, np.float32)
        region = self.rgb[rows, columns]
        region += (colour - region) * mask

    def _bounds(self, corners: Outline, margin: float) -> tuple[slice, slice]:
        left, top = np.floor(corners.min(axis=0) - margin).astype(int)
        right, bottom = np.ceil(corners.max(axis=0) + margin).astype(int)
        return (
            slice(max(top, 0), min(bottom, self.frame.height)),
            slice(max(left, 0), min(right, self.frame.width)),
        )

    @staticmethod
    def _mask(corners: Outline, rows: slice, columns: slice, blur_px: float) -> Image:
        """How much of each pixel the outline covers, 0..1; drawn with a border so that blurring has no seam."""
        pad = int(np.ceil(3 * blur_px)) + 1
        height, width = rows.stop - rows.start, columns.stop - columns.start
        mask = np.zeros((height + 2 * pad, width + 2 * pad), np.uint8)
        local = corners - np.array([columns.start - pad, rows.start - pad])
        fixed = np.rint((local - 0.5) * (1 << _SUBPIXEL_BITS)).astype(np.int32)
        cv2.fillPoly(mask, [fixed], 255, cv2.LINE_AA, _SUBPIXEL_BITS)
        cover = np.divide(mask, 255, dtype=np.float32)
        if blur_px > 0:
            cover = np.asarray(cv2.GaussianBlur(cover, (0, 0), blur_px), np.float32)
        return cover[pad : pad + height, pad : pad + width]

    def _positions(self, rows: slice, columns: slice) -> tuple[Image, Image]:
        x = (np.arange(columns.start, columns.stop) + 0.5 - self.frame.origin_px[0]) / self.frame.scale
        y = (np.arange(rows.start, rows.stop) + 0.5 - self.frame.origin_px[1]) / self.frame.scale
        across, down = np.meshgrid(x.astype(np.float32), y.astype(np.float32))
        return across, down


def ellipse(x: float, y: float, rx: float, ry: float, tilt_deg: float = 0.0) -> Outline:
    """Outline (64, 2) of an ellipse."""
    angle = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    points = np.stack([rx * np.cos(angle), ry * np.sin(angle)], axis=1)
    tilt = np.deg2rad(tilt_deg)
    turn = np.array([[np.cos(tilt), np.sin(tilt)], [-np.sin(tilt), np.cos(tilt)]])
    return np.asarray(points @ turn + np.array([x, y]))


def smooth(points: Sequence[tuple[float, float]], steps: int = 10) -> Outline:
    """A closed smooth outline (N * steps, 2) through the points (Catmull-Rom)."""
    corners, index = np.array(points, np.float64)[:, None, :], np.arange(len(points))
    a, b, c, d = (corners[(index + shift) % len(points)] for shift in (-1, 0, 1, 2))
    t = (np.arange(steps) / steps)[None, :, None]
    curve = b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
    return np.asarray(curve.reshape(-1, 2))


def mirrored(points: Sequence[tuple[float, float]], steps: int = 10) -> Outline:
    """A closed smooth outline that is symmetric about x = 0, from its right half, top to bottom."""
    left = [(-x, y) for x, y in reversed(points) if x > 0]
    return smooth([*points, *left], steps)


def stroke(points: Sequence[tuple[float, float]], width: float) -> Outline:
    """Outline of a brush stroke along an open smooth line: thickest in the middle, pointed at its ends."""
    line = smooth([*points, *reversed(points[1:-1])])[: 10 * (len(points) - 1) + 1]
    tangent = np.gradient(line, axis=0)
    normal = np.stack([-tangent[:, 1], tangent[:, 0]], axis=1)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    half = 0.5 * width * np.sin(np.linspace(0.08, np.pi - 0.08, len(line)))[:, None] ** 0.7
    return np.concatenate([line + half * normal, (line - half * normal)[::-1]])
