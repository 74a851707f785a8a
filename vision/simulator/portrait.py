"""The avatar's likeness: a friendly drawn head whose mouth and eyelids follow two numbers."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vision.simulator.canvas import Canvas, Colour, Image, Shader, ellipse, mirrored, smooth, stroke

SKIN: Colour = (236, 188, 158)
SKIN_SHADOW: Colour = (176, 112, 88)
SKIN_LIGHT: Colour = (255, 226, 204)
HAIR: Colour = (62, 40, 34)
HAIR_LIGHT: Colour = (128, 84, 62)
SHIRT: Colour = (38, 92, 108)
LIP: Colour = (196, 92, 92)
LIP_DARK: Colour = (150, 62, 66)
CAVITY: Colour = (66, 18, 24)
TEETH: Colour = (246, 242, 234)
TONGUE: Colour = (190, 86, 88)
IRIS: Colour = (72, 108, 92)
BROW: Colour = (70, 46, 38)

EYE_X, EYE_Y = 61.0, -28.0
MOUTH_Y = 106.0
GAP = 46.0
"""Distance of the inner lips at full opening, units."""
JAW_DROP = 24.0


@dataclass(frozen=True, slots=True)
class Expression:
    """A face: both numbers in 0..1."""

    mouth_opening: float
    blink: float


def draw_behind(canvas: Canvas) -> None:
    """Draws what no expression changes: the wall, the hair behind the head, neck and shirt."""
    canvas.shade(_backdrop)
    _back_hair(canvas)
    _bust(canvas)


def draw_face(canvas: Canvas, face: Expression) -> None:
    """Draws the head over it, back to front."""
    jaw = JAW_DROP * face.mouth_opening
    canvas.fill(ellipse(0, 184 + jaw, 52, 46), (122, 66, 52), alpha=0.55, soft=9)
    _head(canvas, jaw)
    for side in (-1.0, 1.0):
        _eye(canvas, side, face.blink)
        _brow(canvas, side)
    _nose(canvas)
    _mouth(canvas, face.mouth_opening)
    _fringe(canvas)


def _backdrop(x: Image, y: Image) -> Image:
    """A wall lit softly from the upper left."""
    glow = np.exp(-(((x + 170) / 520) ** 2 + ((y + 140) / 420) ** 2))[:, :, None]
    dark, bright = np.array([58, 82, 104], np.float32), np.array([186, 206, 212], np.float32)
    return (dark + (bright - dark) * glow).astype(np.float32)


def _ball(colour: Colour, shadow: Colour, x0: float, y0: float, rx: float, ry: float) -> Shader:
    """Shading of a round body lit from the upper left."""
    lit, dark = np.array(colour, np.float32), np.array(shadow, np.float32)

    def shader(x: Image, y: Image) -> Image:
        nx, ny = (x - x0) / rx, (y - y0) / ry
        nz = np.sqrt(np.clip(1.15 - nx**2 - ny**2, 0.05, None))
        light = np.clip(0.30 - 0.34 * nx - 0.30 * ny + 0.62 * nz, 0, 1.08)[:, :, None]
        return np.asarray(dark + (lit - dark) * light, np.float32)

    return shader


def _back_hair(canvas: Canvas) -> None:
    outline = mirrored(
        [(0, -234), (90, -220), (158, -160), (186, -60), (190, 50), (178, 140), (128, 182), (60, 170), (0, 160)]
    )
    canvas.fill(outline, (20, 24, 30), alpha=0.35, soft=16)
    canvas.fill(outline, _ball(HAIR_LIGHT, (26, 16, 16), -30, -60, 250, 320))
    for x, width in ((-172.0, 9.0), (-158.0, 6.0), (166.0, 7.0), (178.0, 5.0)):
        canvas.fill(stroke([(x * 0.86, -120), (x, -20), (x * 0.98, 120)], width), HAIR_LIGHT, alpha=0.3, soft=2)


def _bust(canvas: Canvas) -> None:
    neck = mirrored([(0, 100), (64, 110), (64, 190), (72, 236), (84, 262), (50, 320), (0, 330)])
    canvas.fill(neck, _ball(SKIN, SKIN_SHADOW, -10, 190, 130, 190))
    neckline = [(-64, 246), (-40, 290), (0, 306), (40, 290), (64, 246)]
    right_arm = [(120, 258), (230, 292), (300, 350), (330, 520), (0, 560)]
    left_arm = [(-330, 520), (-300, 350), (-230, 292), (-120, 258)]
    shirt = smooth([*neckline, *right_arm, *left_arm])
    canvas.fill(shirt, _ball(SHIRT, (12, 36, 48), -60, 330, 400, 260))
    collar = stroke([(-66, 244), (-42, 292), (0, 310), (42, 292), (66, 244)], 11)
    canvas.fill(collar, (88, 146, 158), alpha=0.9, soft=1)
    for side in (-1.0, 1.0):
        canvas.fill(stroke([(side * 196, 330), (side * 214, 420), (side * 206, 540)], 8), (10, 34, 46), 0.5, 4)


def _head(canvas: Canvas, jaw: float) -> None:
    for side in (-1.0, 1.0):
        canvas.fill(ellipse(side * 148, 4, 22, 40, side * 8), _ball(SKIN, SKIN_SHADOW, side * 140, 0, 40, 60))
        canvas.fill(ellipse(side * 150, 6, 11, 24, side * 8), SKIN_SHADOW, alpha=0.45, soft=4)
    skull = [(0, -196), (84, -180), (134, -112), (147, -20), (141, 60)]
    chin = [(118, 132 + 0.5 * jaw), (72, 184 + 0.9 * jaw), (26, 206 + jaw), (0, 209 + jaw)]
    canvas.fill(mirrored([*skull, *chin]), _ball(SKIN, SKIN_SHADOW, 0, 4, 158, 226))
    for side in (-1.0, 1.0):
        canvas.fill(ellipse(side * 84, 54, 36, 24), (232, 124, 108), alpha=0.30, soft=16)
    canvas.fill(ellipse(-20, -112, 70, 34), SKIN_LIGHT, alpha=0.35, soft=22)
    canvas.fill(ellipse(0, 172 + jaw, 34, 16), SKIN_LIGHT, alpha=0.30, soft=10)
    canvas.fill(stroke([(-26, 146 + 0.9 * jaw), (0, 151 + 0.9 * jaw), (26, 146 + 0.9 * jaw)], 9), SKIN_SHADOW, 0.45, 4)


def _eye(canvas: Canvas, side: float, blink: float) -> None:
    x = side * EYE_X
    canvas.fill(ellipse(x, EYE_Y - 6, 44, 27), SKIN_SHADOW, alpha=0.34, soft=9)
    top, bottom = EYE_Y - 15 + 23 * blink, EYE_Y + 11

    def place(dx: float, y: float) -> tuple[float, float]:
        """A point `dx` from the middle of the eye, away from the nose."""
        return x + side * dx, y

    inner, outer = place(-31, EYE_Y + 5), place(32, EYE_Y + 0.5)
    if bottom - top > 3:
        slit = [inner, place(-13, top + 2), place(13, top + 1), outer, place(12, bottom), place(-12, bottom)]
        canvas.fill(smooth(slit), _eyeball(x, top))
    if blink > 0:
        lid = [inner, place(-14, EYE_Y - 21), place(14, EYE_Y - 22), outer, place(13, top + 2), place(-13, top + 3)]
        canvas.fill(smooth(lid), _ball(SKIN, SKIN_SHADOW, x - 6, EYE_Y - 12, 60, 44), soft=0.6)
    lash = [place(-31, EYE_Y + 5), place(-13, top + 1), place(13, top), place(35, EYE_Y - 2.5)]
    canvas.fill(stroke(lash, 7), (44, 26, 24), soft=0.4)
    crease = [place(-28, EYE_Y - 14), place(0, EYE_Y - 26), place(30, EYE_Y - 15)]
    canvas.fill(stroke(crease, 3.5), SKIN_SHADOW, alpha=0.6, soft=1)
    canvas.fill(stroke([inner, place(0, bottom + 2), outer], 3), SKIN_SHADOW, alpha=0.7, soft=0.8)


def _eyeball(x: float, top: float) -> Shader:
    """The white, iris and pupil around x, in the shadow of the upper lid at y = `top`."""

    def shader(px: Image, py: Image) -> Image:
        radius = np.hypot(px - x, py - (EYE_Y - 2))
        shadow = np.clip((py - top) / 12, 0.55, 1)[:, :, None]
        colour = np.asarray(np.array((248.0, 246.0, 244.0)) * shadow, np.float32)
        iris = 0.75 + 0.6 * np.clip(radius / 14, 0, 1) * np.clip((py - EYE_Y + 4) / 8, 0, 1)
        colour = _over(colour, np.array(IRIS, np.float64) * iris[:, :, None], np.clip(15 - radius, 0, 1))
        colour = _over(colour, np.array((38.0, 52.0, 48.0)), 0.7 * np.clip(1 - abs(radius - 14), 0, 1))
        colour = _over(colour, np.array((16.0, 14.0, 16.0)), np.clip(7 - radius, 0, 1))
        return _over(colour, np.array((255.0, 255.0, 255.0)), np.clip(4.2 - np.hypot(px - x + 5, py - EYE_Y + 8), 0, 1))

    return shader


def _over(below: Image, colour: NDArray[np.float64], alpha: NDArray[np.floating]) -> Image:
    """A colour (3,) or (H, W, 3) laid over an image with the opacity (H, W)."""
    return np.asarray(below + (colour - below) * alpha[:, :, None], np.float32)


def _brow(canvas: Canvas, side: float) -> None:
    x = side * EYE_X
    line = [(x - side * 36, EYE_Y - 42), (x - side * 8, EYE_Y - 54), (x + side * 22, EYE_Y - 53)]
    line.append((x + side * 44, EYE_Y - 40))
    canvas.fill(stroke(line, 12), BROW, alpha=0.92, soft=1.2)


def _nose(canvas: Canvas) -> None:
    canvas.fill(stroke([(13, -22), (14, 20), (25, 52)], 14), SKIN_SHADOW, alpha=0.34, soft=6)
    canvas.fill(stroke([(-3, -40), (-4, 10), (-3, 46)], 15), SKIN_LIGHT, alpha=0.5, soft=5)
    canvas.fill(ellipse(0, 60, 27, 11), SKIN_SHADOW, alpha=0.38, soft=6)
    canvas.fill(ellipse(-3, 47, 13, 10), SKIN_LIGHT, alpha=0.55, soft=5)
    for side in (-1.0, 1.0):
        canvas.fill(stroke([(side * 27, 44), (side * 31, 56), (side * 22, 63)], 5), SKIN_SHADOW, 0.65, 1.5)
        canvas.fill(ellipse(side * 12, 62, 7, 3.6, side * 16), (92, 44, 38), alpha=0.85, soft=1.2)


def _mouth(canvas: Canvas, opening: float) -> None:
    """Lips, and between them the cavity with teeth and tongue; the gap grows in proportion to the opening."""
    half = 55 - 5 * opening
    corner_y = MOUTH_Y - 4 + 6 * opening
    upper, lower = MOUTH_Y - 6 * opening, MOUTH_Y + (GAP - 6) * opening
    outer_top, outer_bottom = upper - 13, lower + 18 - 2 * opening
    canvas.fill(ellipse(0, outer_bottom + 6, 40, 8), SKIN_SHADOW, alpha=0.42, soft=6)
    corner = (half, corner_y)
    above = (0.55 * half, upper + 0.25 * (corner_y - upper))
    below = (0.55 * half, lower - 0.25 * (lower - corner_y))
    bow = [(0, outer_top + 3), (13, outer_top - 1), (34, outer_top + 5)]
    upper_lip = mirrored([*bow, corner, above, (0, upper + 0.8)])
    lower_lip = mirrored([(0, lower - 0.8), below, corner, (0.62 * half, outer_bottom - 6), (0, outer_bottom)])
    if opening > 0:
        hole = mirrored([(0, upper), above, (half - 1, corner_y), below, (0, lower)])
        canvas.fill(hole, _cavity(upper, lower), soft=0.4)
    canvas.fill(lower_lip, _ball((222, 118, 114), LIP_DARK, -8, 0.5 * (lower + outer_bottom), 90, 26), soft=0.5)
    canvas.fill(upper_lip, _ball(LIP, (120, 46, 52), -8, outer_top - 2, 90, 30), soft=0.5)
    canvas.fill(ellipse(-8, lower + 8, 20, 3.2), (255, 206, 196), alpha=0.5, soft=2.5)
    for side in (-1.0, 1.0):
        canvas.fill(ellipse(side * (half + 1), corner_y, 6, 4), (112, 52, 48), alpha=0.5, soft=2.2)
    seam = [(-half, corner_y), (0, MOUTH_Y + 1), (half, corner_y)]
    canvas.fill(stroke(seam, 3.4), (104, 36, 42), alpha=max(0.0, 1 - 8 * opening), soft=0.5)


def _cavity(upper: float, lower: float) -> Shader:
    """The dark of the mouth with teeth and tongue, between the inner lips at y = `upper` and `lower`."""
    teeth_y, tongue_y = upper + min(11.0, 0.55 * (lower - upper)), lower - 0.30 * (lower - upper)

    def shader(x: Image, y: Image) -> Image:
        cavity = np.full((*x.shape, 3), CAVITY, np.float32)
        tongue = 1.5 - np.hypot(x / 30, (y - lower) / (lower - tongue_y + 1))
        colour = _over(cavity, np.array(TONGUE), 0.8 * np.clip(2 * tongue, 0, 1))
        shadow = (0.72 + 0.28 * np.clip((y - upper) / 8, 0, 1)) * (1 - 0.25 * (x / 42) ** 2)
        edge = np.clip(teeth_y - 3 * (x / 40) ** 2 - y, 0, 1) * np.clip(42 - abs(x), 0, 1)
        return _over(colour, np.array(TEETH) * shadow[:, :, None], edge)

    return shader


def _fringe(canvas: Canvas) -> None:
    """The hair in front of the forehead, parted on one side."""
    shade = [(-40, -190), (30, -150), (120, -100), (146, -10), (150, -120), (60, -210)]
    canvas.fill(smooth(shade), SKIN_SHADOW, alpha=0.5, soft=8)
    left_edge = [(46, -208), (-20, -232), (-110, -206), (-166, -130), (-164, -20)]
    left = smooth([*left_edge, (-146, 20), (-136, -60), (-96, -126), (-20, -158)])
    right = smooth([(20, -216), (96, -218), (158, -150), (172, -40), (150, 24), (140, -56), (112, -120), (62, -160)])
    for lock in (right, left):
        canvas.fill(lock, SKIN_SHADOW, alpha=0.35, soft=7)
        canvas.fill(lock, _ball(HAIR_LIGHT, (34, 20, 20), -70, -170, 230, 210), soft=0.7)
    for dx, alpha in ((0.0, 0.45), (16.0, 0.35), (-18.0, 0.3)):
        strand = [(30 + dx * 0.3, -200 + dx * 0.2), (-70, -188 + dx), (-138 + dx * 0.3, -110 + dx * 0.4)]
        canvas.fill(stroke(strand, 6), (176, 124, 92), alpha=alpha, soft=3)
