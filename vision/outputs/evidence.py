"""A still and a clip with sound of each incident, in the folder `evidence` of the run; written in a thread of its own.

The last seconds are kept in bounded memory: pictures reduced and coded as H264, sound as 16-bit samples. What may
become an incident is kept from its beginning on. A thread that cannot keep up leaves pictures out of clips, and counts
them; it never holds up a live run.
"""

from __future__ import annotations

import dataclasses
import logging
import math
import queue
import re
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import av
import cv2

from vision.config import EvidenceOptions
from vision.errors import OutputError, one_line
from vision.folder import cannot_write
from vision.frame import Frame, Picture, Sound
from vision.incidents import Incident, OpenStretch
from vision.outputs.clip import (
    CODEC,
    KEY_FRAME_EVERY_S,
    CodedPicture,
    HeardSound,
    PictureCoder,
    Recent,
    Span,
    write_clip,
)
from vision.record import Record

__all__ = ["Evidence"]

FOLDER = "evidence"
_log = logging.getLogger(__name__)
_MOST_WAITING = 16  # pictures; 22 MB at 720p
_MOST_MOMENTS = 1000  # whose sound waits, half a minute of it; behind a disk that hangs there would be no end of them
_PATIENCE_S = 10.0
_MARGIN_S = 6.0  # within which an incident is told that nothing said was open: by a report (RFC 3550, 6.2: 5 s) at most
_JPEG_QUALITY = 92
_MEGABYTE = 1_000_000


@dataclass(frozen=True, slots=True)
class _Moment:
    """:ivar open: where stretches begin that may become incidents."""

    time_s: float
    picture: Picture | None
    sound: Sound
    open: frozenset[float]


@dataclass(frozen=True, slots=True)
class _Order:
    """A still and a clip to be written, the clip once its last picture has come."""

    stem: str
    still: Picture | None
    span: Span


@dataclass(slots=True)
class _Counts:
    """As summary.json has them.

    :ivar left_out: incidents beyond the limits.
    :ivar pictures_dropped: for which the thread had no time; clips lack them.
    """

    stills: int = 0
    clips: int = 0
    bytes: int = 0
    left_out: int = 0
    pictures_dropped: int = 0


class Evidence:
    """Takes the records and incidents of a run; its methods are called one at a time, off the event loop.

    :param waits: nothing is dropped, for the source can wait (a recording).
    """

    def __init__(self, options: EvidenceOptions, folder: Path, *, waits: bool) -> None:
        self._options, self._folder, self._waits = options, folder, waits
        self._counts = _Counts()
        self._ordered = 0
        self._last: Picture | None = None
        self._stills: dict[tuple[str, float], Picture | None] = {}  # the worst picture of what is open
        self._room = threading.Semaphore(_MOST_WAITING)
        self._jobs: queue.SimpleQueue[_Moment | _Order | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="evidence", daemon=True)
        self._failure: OutputError | None = None

    def open(self) -> None:
        """Make the folder, and begin.

        :raises OutputError: when that cannot be done.
        """
        if self._options.clips and CODEC not in av.codecs_available:
            reason = f"clips are coded by {CODEC}, which this build of FFmpeg lacks; set run.evidence.clips to false"
            raise OutputError(f"run.evidence: {reason}")
        path = self._folder / FOLDER
        try:
            path.mkdir()
        except OSError as error:
            raise cannot_write(path, error) from error
        self._thread.start()

    def with_files(self, incident: Incident) -> Incident:
        """The incident with the names of the files that will show it; as it is, where the limits are reached."""
        options, counts = self._options, self._counts
        if self._ordered >= options.most or counts.bytes >= options.most_mb * _MEGABYTE or self._failure is not None:
            counts.left_out += 1
            return incident
        self._ordered += 1
        stem = f"{self._ordered:04}-{re.sub(r'[^A-Za-z0-9_-]', '-', incident.kind)}"
        still = self._stills.get((incident.kind, incident.start_s)) or self._last
        begin_s = incident.start_s - options.before_s
        end_s = min(incident.end_s + options.after_s, begin_s + options.longest_s)
        self._jobs.put(_Order(stem, still, Span(begin_s, end_s)))
        names = {"still": f"{FOLDER}/{stem}.jpg"} if still is not None else {}
        if options.clips:
            names["clip"] = f"{FOLDER}/{stem}.mp4"
        return dataclasses.replace(incident, evidence={**incident.evidence, **names})

    def add(self, record: Record, stretches: Iterable[OpenStretch]) -> None:
        """Take a record, and what is open with it."""
        frame, known = record.frame, {(stretch.kind, stretch.start_s): stretch for stretch in stretches}
        self._stills = {key: self._worst(key, stretch, frame) for key, stretch in known.items()}
        self._last = frame.maybe_picture or self._last
        if not self._options.clips:
            return
        picture = frame.maybe_picture
        stuck = self._jobs.qsize() >= _MOST_MOMENTS
        if picture is not None and (stuck or not self._room.acquire(timeout=_PATIENCE_S if self._waits else 0)):
            self._counts.pictures_dropped += 1
            picture = None
        if stuck:
            return
        self._jobs.put(_Moment(frame.time_s, picture, frame.sound, frozenset(start_s for _, start_s in known)))

    def close(self) -> None:
        """Write what was asked for; again is no harm.

        :raises OutputError: when something could not be written.
        """
        if self._thread.is_alive():
            self._jobs.put(None)
            self._thread.join(_PATIENCE_S)
        if self._failure is not None:
            raise self._failure

    def as_dict(self) -> Mapping[str, int]:
        """What was written, for summary.json."""
        return dataclasses.asdict(self._counts)

    def _worst(self, key: tuple[str, float], stretch: OpenStretch, frame: Frame) -> Picture | None:
        """The picture to show of a stretch: where it is worst, or the one before it, where it begins without any."""
        if key in self._stills and stretch.worst_s != frame.time_s:
            return self._stills[key]
        if key not in self._stills and stretch.start_s < frame.time_s - 1e-6:
            return self._last
        return frame.maybe_picture or self._stills.get(key) or self._last

    def _work(self) -> None:
        writer = _Writer(self._options, self._folder / FOLDER, self._counts)
        while (job := self._jobs.get()) is not None:
            self._carefully(writer, job)
        self._carefully(writer, None)

    def _carefully(self, writer: _Writer, job: _Moment | _Order | None) -> None:
        """Do a job; after the first one that failed, nothing is written any more."""
        try:
            if self._failure is None:
                writer.do(job)
        except OSError as error:
            self._failure = cannot_write(self._folder / FOLDER, error)
        except Exception as error:
            _log.debug("evidence", exc_info=error)
            self._failure = OutputError(f"run.evidence: failed: {one_line(error)}")
        finally:
            if isinstance(job, _Moment) and job.picture is not None:
                self._room.release()


class _Writer:
    """The thread's own: what is kept of the last seconds, and the files."""

    def __init__(self, options: EvidenceOptions, folder: Path, counts: _Counts) -> None:
        self._options, self._folder, self._counts = options, folder, counts
        self._coder = PictureCoder(options.height)
        recent_s = options.before_s + KEY_FRAME_EVERY_S + _MARGIN_S
        self._pictures: Recent[CodedPicture] = Recent(recent_s)
        self._sounds: Recent[HeardSound] = Recent(recent_s)
        self._orders: list[_Order] = []

    def do(self, job: _Moment | _Order | None) -> None:
        """Take a job; `None`: nothing more comes, and what was ordered is written as far as it came."""
        if isinstance(job, _Moment):
            self._take(job)
        elif isinstance(job, _Order):
            self._write_still(job)
            if self._options.clips:
                self._orders.append(job)
        else:
            self._write_clips(math.inf)
            self._coder.close()

    def _take(self, moment: _Moment) -> None:
        if moment.picture is not None:
            for coded in self._coder.code(moment.picture, moment.time_s):
                self._pictures.add(coded)
        if moment.sound.samples.size:
            self._sounds.add(HeardSound.of(moment.sound))
        self._write_clips(moment.time_s)
        wanted = {order.span for order in self._orders} | {self._span_from(start_s) for start_s in moment.open}
        spans = frozenset(Span(span.begin_s - KEY_FRAME_EVERY_S, span.end_s) for span in wanted)
        self._pictures.trim(moment.time_s, spans)
        self._sounds.trim(moment.time_s, spans)

    def _span_from(self, start_s: float) -> Span:
        begin_s = start_s - self._options.before_s
        return Span(begin_s, begin_s + self._options.longest_s)

    def _write_clips(self, now_s: float) -> None:
        due = [order for order in self._orders if order.span.end_s < now_s]
        self._orders = [order for order in self._orders if order.span.end_s >= now_s]
        for order in due:
            self._write_clip(order)

    def _write_clip(self, order: _Order) -> None:
        earlier = [coded.time_s for coded in self._pictures if coded.key_frame and coded.time_s <= order.span.begin_s]
        span = Span(max(earlier, default=order.span.begin_s), order.span.end_s)
        pictures = self._pictures.within(span)
        first = next((i for i, coded in enumerate(pictures) if coded.key_frame), len(pictures))
        path = self._folder / f"{order.stem}.mp4"
        if write_clip(path, self._coder.stream, pictures[first:], self._sounds.within(span)):
            self._counts.clips += 1
            self._counts.bytes += path.stat().st_size

    def _write_still(self, order: _Order) -> None:
        if order.still is None:
            return
        bgr = cv2.cvtColor(order.still.rgb, cv2.COLOR_RGB2BGR)
        coded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1].tobytes()
        (self._folder / f"{order.stem}.jpg").write_bytes(coded)
        self._counts.stills += 1
        self._counts.bytes += len(coded)
