"""video.mp4: what the run saw and heard, with what was measured drawn over it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import av
from pydantic import Field

from vision.errors import did_you_mean
from vision.incidents import Incident
from vision.movie import Movie, Preset
from vision.processor import Options
from vision.record import Record
from vision.result import MetricInfo
from vision.sinks.base import Sink
from vision.sinks.video.backlog import Backlog, Shot
from vision.sinks.video.overlays import names_of
from vision.sinks.video.recorder import Recorder

__all__ = ["VideoOptions", "VideoSink"]

_log = logging.getLogger(__name__)
_LINGER_S = 1.0  # an incident stays for so long once it is over, or is told


class VideoOptions(Options):
    """Options of `video`."""

    file: str = Field(
        "video.mp4", pattern=r"^[\w-][\w.-]*\.mp4$", description="Name of the file in the run's folder; ends in .mp4."
    )
    height: int | None = Field(
        None, ge=64, le=4320, description="Height of the video in px; without it, that of the first picture."
    )
    preset: Preset = Field(
        "ultrafast", description="x264's preset: the slower ones make smaller files, at two to five times the CPU."
    )
    crf: int = Field(23, ge=0, le=51, description="x264's constant rate factor: quality, 0 best, 51 worst.")
    overlays: list[str] | None = Field(
        None,
        description="What to draw: incidents, time, and what the run's processors offer, such as landmarks, mouth, "
        "offset, state; without it, all there is.",
    )


class VideoSink(Sink):
    """What the run saw and heard as an MP4, with landmarks, values, incidents and the time drawn over the pictures.

    It is drawn and encoded in a thread of its own. Where that is too slow for a live source, pictures are left out of
    the video, and counted; a recording waits instead.
    """

    Options = VideoOptions

    def __init__(self, options: Any, folder: Path) -> None:
        super().__init__(options, folder)
        self._backlog = Backlog()
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._running: tuple[Incident, ...] = ()
        self._over: list[tuple[Incident, float]] = []  # and until when they are shown
        self._time_s = 0.0
        make = partial(Movie, folder / options.file, preset=options.preset, crf=options.crf)
        self._recorder = Recorder(make, options.height, options.overlays)

    @classmethod
    def check(cls, options: Any, fields: Mapping[str, tuple[MetricInfo, ...]]) -> None:
        lacking = {"libx264", "aac"} - av.codecs_available
        if lacking:
            raise ValueError(f"PyAV's FFmpeg lacks {' and '.join(sorted(lacking))}; pip's own wheel of av has both")
        known = names_of(fields)
        for name in options.overlays or ():
            if name not in known:
                near = did_you_mean(name, known) or ";"
                raise ValueError(f"overlays: this run has no overlay '{name}'{near} it has: {', '.join(known)}")

    def open(self) -> None:
        self._thread = threading.Thread(target=self._record, name="sink-video", daemon=True)
        self._thread.start()

    def write(self, record: Record) -> None:
        """Hand a record on; it waits for the encoder only where the source waits too."""
        if self._error is not None:
            raise self._error
        self._time_s = record.frame.time_s
        shot = Shot(record.frame, record.outputs, tuple(self._shown()))
        self._backlog.put(shot, wait=self.waits)

    def add_incident(self, incident: Incident) -> None:
        self._over.append((incident, max(incident.end_s, self._time_s) + _LINGER_S))

    def set_running(self, incidents: tuple[Incident, ...]) -> None:
        self._running = incidents

    def close(self) -> None:
        """Wait for what is in hand, and finish the file."""
        self._backlog.close()
        if self._thread is not None:
            self._thread.join()
        self._warn(self._backlog.left_out, "encoding could not keep up; a smaller height is cheaper")
        self._warn(self._recorder.left_out, "their times were not after that of the picture before")
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def facts(self) -> Mapping[str, float | str]:
        """The file, and how many pictures it has and lacks; nothing where there is no file."""
        if not self._recorder.pictures:
            return {}
        return {"file": self.options.file, "pictures": self._recorder.pictures, "left_out": self._left_out()}

    def _warn(self, left_out: int, why: str) -> None:
        if left_out:
            total = self._left_out() + self._recorder.pictures
            _log.warning("%s: %d of %d pictures are left out: %s", self.options.file, left_out, total, why)

    def _left_out(self) -> int:
        return self._backlog.left_out + self._recorder.left_out

    def _shown(self) -> list[Incident]:
        self._over = [(incident, until_s) for incident, until_s in self._over if until_s > self._time_s]
        running = {incident.kind for incident in self._running}
        return [*self._running, *(incident for incident, _ in self._over if incident.kind not in running)]

    def _record(self) -> None:
        """The thread: everything that is written is written here."""
        try:
            while (shot := self._backlog.take()) is not None:
                self._recorder.add(shot)
        except BaseException as error:
            self._error = error
        finally:
            self._backlog.close()
            self._finish()

    def _finish(self) -> None:
        try:
            self._recorder.close()
        except BaseException as error:
            self._error = self._error or error
