"""A picture to draw on, as an encoder takes it: I420, without a conversion to RGB and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

from vision.frame import Picture, Plane

__all__ = ["Canvas", "Colour", "Points"]

Points = NDArray[np.floating]

_SUBPIXEL_BITS = 4  # of cv2's coordinates
_SHADE = 0.35  # of the luma that is left under text
_BLACK, _NEUTRAL = 16, 128
_VIDEO_LUMA = np.rint(16 + np.arange(256) * (219 / 255)).astype(np.uint8)  # ITU-R BT.601: from 0..255
_VIDEO_CHROMA = np.rint(128 + (np.arange(256) - 128.0) * (224 / 255)).astype(np.uint8)


@dataclass(frozen=True, slots=True)
class Colour:
    """A colour in video range."""

    y: int
    u: int = _NEUTRAL
    v: int = _NEUTRAL

    @classmethod
    def of_rgb(cls, red: int, green: int, blue: int) -> Self:
        """By BT.601, from 0..255."""
        pixel = np.full((2, 2, 3), (red, green, blue), np.uint8)
        i420 = np.asarray(cv2.cvtColor(pixel, cv2.COLOR_RGB2YUV_I420), np.uint8)
        return cls(int(i420[0, 0]), int(i420[2, 0]), int(i420[2, 1]))


class Canvas:
    """A picture of an even size.

    Coordinates are in px from the top left corner of the picture; a pixel's centre is at its half.

    :ivar i420: `(H * 3 / 2, W) uint8`, video range; drawn on in place.
    """

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.i420 = np.empty((height * 3 // 2, width), np.uint8)
        self._y: Plane = self.i420[:height]
        self._u, self._v = self.i420[height:].reshape(2, height // 2, width // 2)
        self._planes = (self._y, self._u, self._v)
        self._face = cv2.FontFace("sans")
        self.clear()

    def clear(self) -> None:
        """All of it black."""
        self._y[:], self._u[:], self._v[:] = _BLACK, _NEUTRAL, _NEUTRAL

    def show(self, picture: Picture) -> tuple[float, float, float]:
        """Put a picture in, scaled to fit, in the middle of black.

        :returns: scale, left and top: a point `xy_px` of the picture is at `scale * xy_px + (left, top)` here.
        """
        scale = min(self.width / picture.width, self.height / picture.height)
        if self.width <= picture.width <= self.width + 1 and self.height <= picture.height <= self.height + 1:
            scale = 1.0  # an odd column or row is left out, rather than all of it scaled
        width, height = (
            2 * min(round(scale * size / 2), most // 2)
            for size, most in ((picture.width, self.width), (picture.height, self.height))
        )
        left, top = (self.width - width) // 4 * 2, (self.height - height) // 4 * 2
        if (width, height) != (self.width, self.height):
            self.clear()
        planes = picture.planes if not picture.full_range else _in_video_range(picture)
        for plane, source, step in zip(self._planes, planes, (1, 2, 2), strict=True):
            into = plane[top // step : (top + height) // step, left // step : (left + width) // step]
            into[:] = source[: into.shape[0], : into.shape[1]] if scale == 1.0 else _scaled(source, into.shape)
        return scale, float(left), float(top)

    def shade(self, left: int, top: int, width: int, height: int) -> None:
        """Darken a rectangle, so that text on it can be read."""
        for plane, (rows, columns) in zip(self._planes, self._parts(left, top, width, height), strict=True):
            part = plane[rows, columns]
            part[:] = cv2.convertScaleAbs(part, alpha=_SHADE) if plane is self._y else _NEUTRAL

    def fill(self, left: int, top: int, width: int, height: int, colour: Colour) -> None:
        """Fill a rectangle."""
        values = (colour.y, colour.u, colour.v)
        parts = self._parts(left, top, width, height)
        for plane, (rows, columns), value in zip(self._planes, parts, values, strict=True):
            plane[rows, columns] = value

    def text(self, text: str, left: int, baseline: int, size: int, luma: int, *, bold: bool = False) -> None:
        """Write a line, in a shade of grey; the ground should be grey or filled."""
        weight = 600 if bold else 400
        cv2.putText(self._y, text, (left, baseline), (luma,), self._face, size, weight)

    def text_width(self, text: str, size: int, *, bold: bool = False) -> int:
        """How wide a line is."""
        weight = 600 if bold else 400
        x, _, width, _ = cv2.getTextSize((self.width, self.height), text, (0, 0), self._face, size, weight)
        return int(x + width)

    def lines(self, lines: Sequence[Points], colour: Colour, thickness: int, *, edge: bool) -> None:
        """Draw lines through points, each `(N, 2)`, with or without a dark edge; points not finite are left out."""
        sane = [line[np.isfinite(line).all(axis=1)] for line in lines]
        fine = [_fixed(line - 0.5) for line in sane]
        coarse = [_fixed(line / 2 - 0.5) for line in sane]
        if edge:
            self._polylines(self._y, fine, _BLACK, thickness + 2)
        for plane, points, value, wide in (
            (self._y, fine, colour.y, thickness),
            (self._u, coarse, colour.u, (thickness + 1) // 2),
            (self._v, coarse, colour.v, (thickness + 1) // 2),
        ):
            self._polylines(plane, points, value, wide)

    def _polylines(self, plane: Plane, lines: Sequence[NDArray[np.int32]], value: int, thickness: int) -> None:
        cv2.polylines(plane, list(lines), False, (value,), thickness, cv2.LINE_AA, _SUBPIXEL_BITS)

    def dots(self, points: Points, colour: Colour, radius: float) -> None:
        """Draw points, `(N, 2)`, on a dark edge; those that are not finite are left out."""
        sane = points[np.isfinite(points).all(axis=1)]
        for plane, at, value, size in (
            (self._y, sane - 0.5, _BLACK, radius + 1),
            (self._y, sane - 0.5, colour.y, radius),
            (self._u, sane / 2 - 0.5, colour.u, radius / 2),
            (self._v, sane / 2 - 0.5, colour.v, radius / 2),
        ):
            fixed = round(size * (1 << _SUBPIXEL_BITS))
            for x, y in _fixed(at).tolist():
                cv2.circle(plane, (x, y), fixed, (value,), -1, cv2.LINE_AA, _SUBPIXEL_BITS)

    def _parts(self, left: int, top: int, width: int, height: int) -> list[tuple[slice, slice]]:
        """The rows and columns of a rectangle in each plane; it is cut to what is there, and to whole chroma."""
        bounds = [
            (max(0, begin // 2), max(0, min((begin + length + 1) // 2, most // 2)))
            for begin, length, most in ((top, height, self.height), (left, width, self.width))
        ]
        (rows, columns) = (slice(*each) for each in bounds)
        (fine_rows, fine_columns) = (slice(2 * begin, 2 * end) for begin, end in bounds)
        return [(fine_rows, fine_columns), (rows, columns), (rows, columns)]


def _fixed(points: Points) -> NDArray[np.int32]:
    """As cv2 takes them; what is far outside stays outside."""
    return np.rint(np.clip(points, -1e5, 1e5) * (1 << _SUBPIXEL_BITS)).astype(np.int32)


def _scaled(plane: Plane, shape: tuple[int, ...]) -> Plane:
    smaller = shape[0] < plane.shape[0]
    how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(plane, (shape[1], shape[0]), interpolation=how), np.uint8)


def _in_video_range(picture: Picture) -> tuple[Plane, Plane, Plane]:
    tables = (_VIDEO_LUMA, _VIDEO_CHROMA, _VIDEO_CHROMA)
    y, u, v = (np.asarray(cv2.LUT(plane, table), np.uint8) for plane, table in zip(picture.planes, tables, strict=True))
    return y, u, v
