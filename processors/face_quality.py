"""`face_quality`: how good the picture of a face is (ISO/IEC 29794-5), and whether its mouth is blurred.

Raw values and quality components are those of OFIQ, the reference implementation of ISO/IEC 29794-5:2025
(BSI-OFIQ/OFIQ-Project, OFIQlib/modules/measures), taken on MediaPipe's points in place of its 98. Left out are the
measures that need its networks, and those that say nothing about a rendered face (background, head covering, colour).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from processors.face_landmarks import FaceLandmarks
from processors.face_landmarks.mesh import EYE_CORNERS_OUTER, INNER_LIP_LOWER, INNER_LIP_UPPER
from processors.face_landmarks.pose import angles_deg
from vision import Frame, Picture, Processor, Result, metric

__all__ = ["FaceQuality", "FaceQualityProcessor"]

Plane = NDArray[np.uint8]
Points = NDArray[np.float32]
Figures = dict[str, Any]

_CROP_PX = 256
_FACE_WIDTHS = 2.4  # distances between the outer eye corners that the crop is wide; holds a face with its jaw down
_LEAST_EYES_PX = 10.0  # between the outer eye corners; of a smaller face nothing is to be seen
_FEWEST = 100  # samples of a region, below which it says nothing
_KERNEL = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (9, 9))

_CHIN = 152
_RIGHT_EYE_CORNERS, _LEFT_EYE_CORNERS = (33, 133), (362, 263)
_RIGHT_LIDS, _LEFT_LIDS = ((160, 159, 158), (144, 145, 153)), ((385, 386, 387), (380, 374, 373))
# fmt: off
_UPPER_OVAL = (
    93, 234, 127, 162, 21, 54, 103, 67, 109, 10, 338, 297, 332, 284, 251, 389, 356, 454, 323,
)
_LOWER_OVAL = (361, 288, 397, 365, 379, 378, 400, 377, _CHIN, 148, 176, 149, 150, 136, 172, 58, 132)
_OUTER_LIPS = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 185, 40, 39, 37, 0, 267, 269, 270, 409)
# fmt: on
_NOSE_BASE = 2
_FACE = (*_UPPER_OVAL, *_LOWER_OVAL)
# Renderers that paint lips paint the mouth, or all that lies below the nose
_ABOVE_MOUTH = (*_UPPER_OVAL, _NOSE_BASE)

_BRIGHT, _DARK = 247, 25  # luminance, OverExposurePrevention.cpp and UnderExposurePrevention.cpp
_BEST_HEAD_SIZE = 0.45  # HeadSize.cpp


def _component(description: str) -> Any:
    return metric(f"{description} (OFIQ)", unit="1", range=(0, 100), good="high", default=None)


def _raw(description: str, unit: str = "1", low: float | None = 0, high: float | None = None) -> Any:
    return metric(description, unit=unit, range=(low, high), default=None)


@dataclass(frozen=True, slots=True)
class FaceQuality(Result):
    """Quality of one picture of a face; `*_quality` is the component, 0 (bad) to 100 (good), of the value before it.

    T is the distance from between the eyes to the chin. Luminance is linear, 0..255, as OFIQ has it, here of luma
    alone; it is taken inside the outline of the face. Sharpness and light are measured on a crop in which the outer
    eye corners are 107 px apart: the size of the picture makes little difference, unless they are closer in it.
    A figure is `None` where too little of what it is taken on lies inside the picture, or these corners are less than
    10 px apart in it.
    """

    single_face: bool | None = metric(
        "There is exactly one face (None: they were not counted)", unit="bool", good="true", default=None
    )
    eyes_open: float | None = _raw("Gap between the lids of the eye that is less open, over T")
    eyes_open_quality: float | None = _component("Eyes open")
    mouth_open: float | None = _raw("Greatest gap between the inner lips, over T")
    mouth_closed_quality: float | None = _component("Mouth closed; for silence only")
    yaw_deg: float | None = _raw("Turn of the head, > 0 to the subject's left", "deg", -180, 180)
    yaw_quality: float | None = _component("Head not turned")
    pitch_deg: float | None = _raw("Nod of the head, > 0 up", "deg", -180, 180)
    pitch_quality: float | None = _component("Head not nodded")
    roll_deg: float | None = _raw("Tilt of the head, > 0 counter-clockwise in the picture", "deg", -180, 180)
    roll_quality: float | None = _component("Head not tilted")
    dynamic_range: float | None = _raw("Entropy of luminance", "bit", 0, 8)
    dynamic_range_quality: float | None = _component("Dynamic range")
    over_exposed: float | None = _raw("Share of luminance of at least 247", high=1)
    over_exposure_quality: float | None = _component("Not over-exposed")
    under_exposed: float | None = _raw("Share of luminance of at most 25", high=1)
    under_exposure_quality: float | None = _component("Not under-exposed")
    head_size: float | None = _raw("T over the height of the picture; 0.45 is best for portraits")
    head_size_quality: float | None = _component("Head size")
    inter_eye_px: float | None = _raw("Distance between the middles of the eyes, over the cosine of yaw", "px")
    inter_eye_quality: float | None = _component("Distance between the eyes")
    face_inside: float | None = metric(
        "Share of the box around all points that lies inside the picture",
        unit="1",
        range=(0, 1),
        good="high",
        default=None,
    )
    margin_left: float | None = _raw(
        "From the picture's left edge to the eye next to it, over that between the eyes", low=None
    )
    margin_left_quality: float | None = _component("Not cropped on the left of the picture")
    margin_right: float | None = _raw("From the picture's right edge to the eye next to it, likewise", low=None)
    margin_right_quality: float | None = _component("Not cropped on the right of the picture")
    margin_top: float | None = _raw("From the top edge to between the eyes, over T", low=None)
    margin_top_quality: float | None = _component("Not cropped at the top")
    margin_bottom: float | None = _raw("From between the eyes to the bottom edge, over T", low=None)
    margin_bottom_quality: float | None = _component("Not cropped at the bottom")
    face_sharpness: float | None = metric(
        "Variance of the 3x3 Laplacian of luma inside the face, on the crop",
        unit="1",
        range=(0, None),
        good="high",
        default=None,
    )
    face_tenengrad: float | None = metric(
        "Mean squared gradient (3x3 Sobel) of luma inside the face, on the crop",
        unit="1",
        range=(0, None),
        good="high",
        default=None,
    )
    mouth_sharpness: float | None = metric(
        "Variance of the 3x3 Laplacian of luma on lips and mouth, on the crop",
        unit="1",
        range=(0, None),
        good="high",
        default=None,
    )
    mouth_sharpness_ratio: float | None = metric(
        "mouth_sharpness over that of the face above it", unit="1", range=(0, None), good="high", default=None
    )
    mouth_extra_blur_px: float | None = metric(
        "Gaussian blur, px of the crop, that edges of the mouth have beyond those above it; < 0: they are sharper",
        unit="px",
        good="low",
        default=None,
    )


class FaceQualityProcessor(Processor[FaceQuality]):
    """Quality of a face by ISO/IEC 29794-5 (OFIQ): eyes, pose, light, sharpness, framing; and a blurred mouth.

    Renderers that paint only the mouth, in few pixels, leave it more blurred than the rest. `mouth_sharpness_ratio`
    shows that, but also depends on what there is to see: teeth, a beard. `mouth_extra_blur_px` does so less, for it is
    how wide edges are, whatever their number and contrast. It is right up to 2 px, and too low beyond; natural talkers
    have 0.4 px (median), and 0.9 px at most in 99 of 100 pictures.
    """

    needs = (FaceLandmarks,)

    def process(self, frame: Frame, face: FaceLandmarks | None) -> FaceQuality | None:
        """Measure the face in the picture."""
        if face is None or face.points_px is None or face.points_norm is None:
            return None
        picture = frame.picture
        crop = _crop(picture, face.points_px, face.points_norm)
        return FaceQuality(
            single_face=None if face.faces is None else face.faces == 1,
            face_inside=_inside(face, picture),
            **_opening(face.points_px),
            **_pose(face),
            **_framing(face.points_px, picture),
            **({} if crop is None else _light(crop, picture.full_range) | _sharpness(crop)),
        )


@dataclass(frozen=True, slots=True)
class _Sigmoid:
    """`h (a + s / (1 + exp((x0 - x) / w)))`, rounded, in 0..100: Measure.h of OFIQ."""

    x0: float
    w: float
    h: float = 100
    a: float = 0
    s: float = 1

    def __call__(self, x: float) -> float:
        exponent = min((self.x0 - x) / self.w, 700)  # beyond, exp() overflows
        return _percent(self.h * (self.a + self.s / (1 + math.exp(exponent))))


_EYES_OPEN = _Sigmoid(x0=0.02, w=0.01)
_MOUTH_CLOSED = _Sigmoid(x0=0.2, w=0.06, a=1, s=-1)
_NOT_DARK = _Sigmoid(x0=0.92, w=0.05, h=120, a=0.832, s=-1)
_HEAD_SIZE = _Sigmoid(x0=0, w=0.05, h=200, a=1, s=-1)
_INTER_EYE = _Sigmoid(x0=70, w=20)
_MARGIN_SIDE = _Sigmoid(x0=0.9, w=0.1)
_MARGIN_TOP = _Sigmoid(x0=1.4, w=0.1)
_MARGIN_BOTTOM = _Sigmoid(x0=1.8, w=0.1)


def _percent(value: float) -> float:
    return float(min(max(math.floor(value + 0.5), 0), 100))


# --- points --------------------------------------------------------------------------------------------------------


def _eyes(points: Points) -> tuple[Points, Points]:
    """Middles of the subject's right and left eye, px."""
    return points[list(_RIGHT_EYE_CORNERS)].mean(axis=0), points[list(_LEFT_EYE_CORNERS)].mean(axis=0)


def _t(points: Points) -> float:
    right, left = _eyes(points)
    return float(np.linalg.norm(points[_CHIN] - (right + left) / 2))


def _greatest_gap(points: Points, upper: Sequence[int], lower: Sequence[int]) -> float:
    return float(np.linalg.norm(points[list(upper)] - points[list(lower)], axis=1).max())


def _opening(points: Points) -> Figures:
    t = _t(points)
    if t <= 0:
        return {}
    eyes = min(_greatest_gap(points, *_RIGHT_LIDS), _greatest_gap(points, *_LEFT_LIDS)) / t
    mouth = _greatest_gap(points, INNER_LIP_UPPER, INNER_LIP_LOWER) / t
    return {
        "eyes_open": eyes,
        "eyes_open_quality": _EYES_OPEN(eyes),
        "mouth_open": mouth,
        "mouth_closed_quality": _MOUTH_CLOSED(mouth),
    }


def _pose(face: FaceLandmarks) -> Figures:
    if face.pose_matrix is None or face.points_px is None:
        return {}
    angles = dict(zip(("yaw", "pitch", "roll"), angles_deg(face.pose_matrix), strict=True))
    squared = {name: math.cos(math.radians(angle)) ** 2 for name, angle in angles.items()}
    right, left = _eyes(face.points_px)
    distance = float(np.linalg.norm(left - right)) / max(math.sqrt(squared["yaw"]), 1e-3)
    return {
        **{f"{name}_deg": angle for name, angle in angles.items()},
        **{f"{name}_quality": _percent(100 * value) for name, value in squared.items()},
        "inter_eye_px": distance,
        "inter_eye_quality": _INTER_EYE(distance),
    }


def _framing(points: Points, picture: Picture) -> Figures:
    """HeadSize.cpp and CropOfTheFaceImage.cpp; as there, margins are along the picture's axes, tilted or not."""
    eyes, t = np.stack(_eyes(points)), _t(points)
    distance = float(np.linalg.norm(eyes[0] - eyes[1]))
    if t <= 0 or distance <= 0:
        return {}
    size, middle_y = t / picture.height, float(eyes[:, 1].mean())
    left, right = float(eyes[:, 0].min()) / distance, (picture.width - float(eyes[:, 0].max())) / distance
    top, bottom = middle_y / t, (picture.height - middle_y) / t
    return {
        "head_size": size,
        "head_size_quality": _HEAD_SIZE(abs(size - _BEST_HEAD_SIZE)),
        "margin_left": left,
        "margin_left_quality": _MARGIN_SIDE(left),
        "margin_right": right,
        "margin_right_quality": _MARGIN_SIDE(right),
        "margin_top": top,
        "margin_top_quality": _MARGIN_TOP(top),
        "margin_bottom": bottom,
        "margin_bottom_quality": _MARGIN_BOTTOM(bottom),
    }


def _inside(face: FaceLandmarks, picture: Picture) -> float | None:
    assert face.points_px is not None
    low, high = face.points_px.min(axis=0), face.points_px.max(axis=0)
    area = float(np.prod(high - low))
    if area <= 0:
        return None
    seen = np.minimum(high, (picture.width, picture.height)) - np.maximum(low, 0)
    return min(float(np.prod(np.maximum(seen, 0))) / area, 1.0)


# --- samples -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Crop:
    """The face at a fixed size.

    :ivar y: luma, about `(256, 256) uint8`; less where the face reaches out of the picture.
    :ivar points: `(478, 2)` px of it.
    """

    y: Plane
    points: Points

    def region(self, indices: Sequence[int]) -> Plane:
        """The convex hull of some points, 255 inside; like `y`."""
        mask = np.zeros(self.y.shape, np.uint8)
        hull = cv2.convexHull(np.rint(self.points[list(indices)]).astype(np.int32))
        return np.asarray(cv2.fillConvexPoly(mask, hull, 255), np.uint8)


def _crop(picture: Picture, points_px: Points, points_norm: Points) -> _Crop | None:
    """The face by area averaging, not turned: what is measured on it does not depend on direction.

    The scale is that of the outer eye corners in space, which a turn of the head or a jaw that drops leaves as it is.
    """
    right, left = points_norm[list(EYE_CORNERS_OUTER)] * (picture.width, picture.height, picture.width)
    distance = float(np.linalg.norm(right - left))
    if distance < _LEAST_EYES_PX:
        return None
    outline = points_px[list(_FACE)]
    middle, half = (outline.min(axis=0) + outline.max(axis=0)) / 2, distance * _FACE_WIDTHS / 2
    x0, y0 = np.floor(np.maximum(middle - half, 0)).astype(int)
    x1, y1 = np.ceil(np.minimum(middle + half, (picture.width, picture.height))).astype(int)
    if x1 <= x0 or y1 <= y0:
        return None
    scale = _CROP_PX / (2 * half)
    size = (max(1, round((x1 - x0) * scale)), max(1, round((y1 - y0) * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    y = np.asarray(cv2.resize(picture.y[y0:y1, x0:x1], size, interpolation=how), np.uint8)
    to_crop = np.array(size) / (x1 - x0, y1 - y0)
    return _Crop(y, ((points_px - (x0, y0)) * to_crop).astype(np.float32))


def _luminances() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Luminance 0..255 of luma that is video's, and of luma that is full range: image_utils.cpp of OFIQ, on greys.

    OFIQ's luminance is linear light (sRGB), of all three channels; that of the grey with the same luma is as much to
    within a few percent for skin.
    """
    codes = np.arange(256)
    video, full = np.clip(codes - 16, 0, 219) / 219, codes / 255
    return _linear(video), _linear(full)


def _linear(signal: NDArray[np.float64]) -> NDArray[np.int64]:
    linear = np.where(signal > 0.04045, ((signal + 0.055) / 1.055) ** 2.4, signal / 12.92)
    return np.floor(linear * 255 + 0.5).astype(np.int64)


_VIDEO_LUMINANCE, _FULL_LUMINANCE = _luminances()


def _light(crop: _Crop, full_range: bool) -> Figures:
    """DynamicRange.cpp, OverExposurePrevention.cpp, UnderExposurePrevention.cpp."""
    counts = cv2.calcHist([crop.y], [0], crop.region(_FACE), [256], [0, 256]).ravel()
    total = float(counts.sum())
    if total < _FEWEST:
        return {}
    luminance = _FULL_LUMINANCE if full_range else _VIDEO_LUMINANCE
    shares = np.bincount(luminance, counts, 256) / total
    seen = shares[shares > 0]
    entropy = max(float(-(seen * np.log2(seen)).sum()), 0.0)  # not -0.0, of one grey
    bright, dark = float(shares[_BRIGHT:].sum()), float(shares[: _DARK + 1].sum())
    return {
        "dynamic_range": entropy,
        "dynamic_range_quality": min(12.5 * entropy, 100.0),
        "over_exposed": bright,
        "over_exposure_quality": _percent(1 / (bright + 0.01)),
        "under_exposed": dark,
        "under_exposure_quality": _NOT_DARK(dark),
    }


def _sharpness(crop: _Crop) -> Figures:
    detail = _Detail.of(crop.y)
    face = crop.region(_FACE)
    mouth = np.asarray(cv2.dilate(crop.region(_OUTER_LIPS), _KERNEL), np.uint8)
    above = np.asarray(cv2.erode(crop.region(_ABOVE_MOUTH), _KERNEL), np.uint8)  # without the outline against the hair
    of_mouth, of_above = detail.variance(mouth), detail.variance(above)
    return {
        "face_sharpness": detail.variance(face),
        "face_tenengrad": detail.tenengrad(face),
        "mouth_sharpness": of_mouth,
        "mouth_sharpness_ratio": of_mouth / of_above if of_mouth is not None and of_above else None,
        "mouth_extra_blur_px": _extra(detail.width_squared(mouth), detail.width_squared(above)),
    }


def _extra(mouth: float | None, above: float | None) -> float | None:
    if mouth is None or above is None:
        return None
    return math.copysign(math.sqrt(abs(mouth - above)), mouth - above)


@dataclass(frozen=True, slots=True)
class _Detail:
    """Derivatives of luma, `(H, W)` each: the Laplacian, and the squares of the Sobel gradient and of the Laplacian."""

    laplacian: NDArray[np.int16]
    gradient_2: NDArray[np.float32]
    laplacian_2: NDArray[np.float32]

    @classmethod
    def of(cls, y: Plane) -> _Detail:
        """Those of a picture."""
        laplacian = np.asarray(cv2.Laplacian(y, cv2.CV_16S), np.int16)
        gx, gy = (plane.astype(np.float32) for plane in cv2.spatialGradient(y))
        return cls(laplacian, gx * gx + gy * gy, np.square(laplacian.astype(np.float32)))

    def variance(self, region: Plane) -> float | None:
        """Variance of the Laplacian."""
        if cv2.countNonZero(region) < _FEWEST:
            return None
        return float(cv2.meanStdDev(self.laplacian, mask=region)[1].item() ** 2)

    def tenengrad(self, region: Plane) -> float | None:
        """Mean squared gradient."""
        if cv2.countNonZero(region) < _FEWEST:
            return None
        return float(cv2.mean(self.gradient_2, mask=region)[0])

    def width_squared(self, region: Plane) -> float | None:
        """How wide edges are: square of the standard deviation of their Gaussian blur, px.

        Across an edge of width w the gradient g goes as exp(-x^2 / 2 w^2), and the Laplacian is its derivative, so that
        the mean of (g' / g)^2, weighted by g^4, is 1 / 4 w^2. The weight leaves the word to edges, and noise out of it.
        Blurs add by their squares, hence the square.
        """
        if cv2.countNonZero(region) < _FEWEST:
            return None
        gradient_4 = float(cv2.mean(self.gradient_2 * self.gradient_2, mask=region)[0]) / 64**2  # Sobel: 8 per px
        product = float(cv2.mean(self.laplacian_2 * self.gradient_2, mask=region)[0]) / 64
        return gradient_4 / (4 * product) if product > 0 else None
