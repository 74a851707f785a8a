"""The stills and clips of incidents, within a budget: what does not fit into the page is a link."""

from __future__ import annotations

import base64
import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote
from zipfile import BadZipFile

import cv2
import numpy as np

from vision.report.reading import Folder, Incident, figure, mapping

__all__ = ["Exhibit", "exhibits"]

_BUDGET = 3_000_000  # bytes of stills and clips in the page
_STILL_WIDTH = 640
_QUALITY = 80
_NEAR_S = 0.02  # landmarks are those of the still's own picture
_MOST_POINTS = 600


@dataclass(frozen=True, slots=True)
class Exhibit:
    """What an incident looks like.

    :ivar still: a data URI; `None`: none was kept, or it does not fit.
    :ivar still_link: the file itself, relative to the page.
    :ivar size: of the still, width and height in px, in the terms of `points`.
    :ivar points: landmarks `(N, 2)` px on the still.
    :ivar clip: a data URI, if it fits.
    :ivar clip_link: the file itself, relative to the page.
    """

    still: str | None = None
    still_link: str | None = None
    size: tuple[int, int] = (0, 0)
    points: tuple[tuple[float, float], ...] = ()
    clip: str | None = None
    clip_link: str | None = None


def exhibits(folder: Folder, page: Path) -> list[Exhibit]:
    """One for each incident, in their order; errors come first where the budget does not do for all."""
    shown = [Exhibit() for _ in folder.incidents]
    left = _BUDGET
    order = sorted(range(len(shown)), key=lambda i: not folder.incidents[i].is_error)
    with contextlib.closing(_Landmarks(folder.path)) as points:
        for index in order:
            shown[index], left = _with_still(folder, page, folder.incidents[index], points, left)
    for index in order:
        shown[index], left = _with_clip(folder, page, folder.incidents[index], shown[index], left)
    return shown


def _with_still(folder: Folder, page: Path, incident: Incident, points: _Landmarks, left: int) -> tuple[Exhibit, int]:
    path = folder.file(incident.evidence.get("still"))
    if path is None:
        return Exhibit(), left
    image = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        return Exhibit(still_link=_link(path, page)), left
    height, width = image.shape[:2]
    data = _reduced(image)
    if len(data) > left:
        return Exhibit(still_link=_link(path, page)), left
    worst_s = figure(mapping(incident.evidence.get("worst")).get("time_s"))
    found = points.near(incident.start_s if worst_s is None else worst_s)
    return Exhibit(_uri("image/jpeg", data), _link(path, page), (width, height), found), left - len(data)


def _with_clip(folder: Folder, page: Path, incident: Incident, shown: Exhibit, left: int) -> tuple[Exhibit, int]:
    path = folder.file(incident.evidence.get("clip"))
    if path is None:
        return shown, left
    fits = path.stat().st_size <= left
    data = path.read_bytes() if fits else b""
    clip = _uri("video/mp4", data) if fits else None
    whole = Exhibit(shown.still, shown.still_link, shown.size, shown.points, clip, _link(path, page))
    return whole, left - len(data)


def _reduced(image: Any) -> bytes:
    height, width = image.shape[:2]
    if width > _STILL_WIDTH:
        size = _STILL_WIDTH, max(round(height * _STILL_WIDTH / width), 1)
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    coded: bytes = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()
    return coded


def _uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _link(path: Path, page: Path) -> str:
    return quote(Path(os.path.relpath(path, page.resolve().parent)).as_posix())


class _Landmarks:
    """The points of faces that the sink `arrays` has kept, if any; only what is asked for is unpacked."""

    def __init__(self, folder: Path) -> None:
        self._archive: Any = {}
        self._times: dict[str, Any] = {}
        with contextlib.suppress(OSError, ValueError, BadZipFile):
            self._archive = np.load(folder / "arrays.npz")
            self._times = {name: self._archive[name] for name in self._archive.files if "points_px.time_s/" in name}

    def close(self) -> None:
        """Close the file."""
        if self._archive:
            self._archive.close()

    def near(self, time_s: float) -> tuple[tuple[float, float], ...]:
        """Those of the picture at that time; none, where none was measured."""
        for name, times in self._times.items():
            index = int(np.argmin(np.abs(times - time_s))) if times.size else 0
            if times.size and abs(times[index] - time_s) <= _NEAR_S:
                rows = self._archive[name.replace(".time_s/", "/")]
                points = rows[index][:_MOST_POINTS] if rows.ndim == 3 and rows.shape[2] >= 2 else rows[:0]
                return tuple((round(float(x), 1), round(float(y), 1)) for x, y in points[:, :2] if x - x == y - y == 0)
        return ()
