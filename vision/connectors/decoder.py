"""Decodes video in a thread of its own, and knows of every frame what became of it."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import av

from vision.connectors.decoding import picture_of
from vision.frame import Cause, Losses, Picture, with_losses
from vision.rtp.pictures import EncodedFrame

__all__ = ["Decode", "Decoded", "VideoDecoder"]

_log = logging.getLogger(__name__)
_MOST_WAITING = 120  # frames; a decoder that is so far behind will not catch up
_MOST_HELD_BACK = 16  # frames that a decoder of H.264 holds back
_MOST_OPEN = 64

Decode = Callable[[bytes | None, int], Sequence[av.VideoFrame]]
"""From a coded frame and its timestamp to the pictures that are ready; from `None` to those that are left."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """A picture and the frame it was decoded from.

    :ivar damaged: it is not as it was sent: the decoder says so of it, or a frame before it was damaged or lost, and no
        key frame came since.
    :ivar lost_before: packets lost, and frames that could not be decoded, since the picture before.
    """

    picture: Picture
    frame: EncodedFrame
    key_frame: bool
    damaged: bool
    lost_before: Losses


class _Break(NamedTuple):
    """From where on, in the order of decoding, pictures build on what is not there, and whose doing that is."""

    number: int
    cause: Cause


@dataclass(frozen=True, slots=True)
class _Open:
    """A frame that was given to the decoder.

    :ivar number: its place in the order of decoding.
    :ivar epoch: how often the source has counted anew; timestamps are compared within one.
    :ivar lost: what is missing between the frame that was decoded before and this one.
    """

    frame: EncodedFrame
    number: int
    epoch: int
    lost: Losses
    broken: _Break | None


class VideoDecoder:
    """Frames in, pictures out, in the order they are shown in.

    `deliver` is called in the event loop with pictures, with how many frames were found not to become any, and with
    whether one failed to decode, or was found damaged.
    """

    def __init__(self, decode: Decode, deliver: Callable[[list[Decoded], int, bool], None]) -> None:
        self._decode, self._deliver = decode, deliver
        self._loop = asyncio.get_running_loop()
        self._frames: queue.SimpleQueue[tuple[EncodedFrame, Losses] | None] = queue.SimpleQueue()
        self._shed: Losses = {}
        self._shed_restarted = False
        self._open: dict[int, _Open] = {}  # by timestamp
        self._number = self._epoch = self._whole_from = 0
        self._torn_at = -1  # the newest frame that the decoder found damaged
        self._broken: _Break | None = None
        self._last_break: _Break | None = None  # also when a key frame has come since
        self._carried: Losses = {}  # of frames that failed, for the next one
        self._carried_restarted = self._begun = False
        self._thread = threading.Thread(target=self._work, name="video-decoder", daemon=True)
        self._thread.start()

    def put(self, frame: EncodedFrame) -> bool:
        """Have a frame decoded; `False` where so many wait already that it is thrown away."""
        if self._shed_restarted:
            frame = dataclasses.replace(frame, restarted=True)
        if self._frames.qsize() >= _MOST_WAITING:
            self._shed = with_losses(self._shed, with_losses({"receiver": 1}, _lost_before(frame)))
            self._shed_restarted = frame.restarted
            return False
        self._frames.put((frame, self._shed))
        self._shed, self._shed_restarted = {}, False
        return True

    async def close(self) -> None:
        """Decode what waits, deliver it, end the thread."""
        self._frames.put(None)
        await asyncio.to_thread(self._thread.join)

    def _work(self) -> None:
        while (job := self._frames.get()) is not None:
            try:
                self._take(*job)
            except Exception as error:  # a picture that cannot be taken over is no reason to take no more
                _log.debug("a picture was not taken over", exc_info=error)
                self._call(lambda: self._deliver([], 1, True))
        try:
            self._hand_over(self._decode(None, 0))
        except Exception as error:
            _log.debug("at the end of the stream", exc_info=error)
        if left := len(self._open):
            self._call(lambda: self._deliver([], left, False))

    def _take(self, frame: EncodedFrame, shed: Losses) -> None:
        """Decode a frame, before which others may have been thrown away."""
        entry = self._opened(frame, shed)
        try:
            pictures = self._decode(frame.data, frame.timestamp)
        except av.FFmpegError as error:
            _log.debug("a frame of %d bytes was not decoded: %s", len(frame.data), error)
            del self._open[frame.timestamp]
            self._carry([entry])
            if self._broken is None:
                self._broken = self._last_break = _Break(entry.number, "receiver")
            self._call(lambda: self._deliver([], 1, True))
            return
        self._hand_over(pictures)

    def _opened(self, frame: EncodedFrame, shed: Losses) -> _Open:
        self._number += 1
        lost = with_losses(shed, _lost_before(frame))
        if lost or frame.detached:
            cause: Cause = "receiver" if shed and not frame.lost_before else "network"
            self._broken = self._last_break = _Break(self._number, cause)
        if frame.key_frame:
            self._broken = None
        if frame.restarted or self._carried_restarted:
            self._epoch += 1
            frame = dataclasses.replace(frame, restarted=True)
        entry = _Open(frame, self._number, self._epoch, with_losses(self._carried, lost), self._broken)
        self._carried, self._carried_restarted = {}, False
        self._open[frame.timestamp] = entry
        return entry

    def _hand_over(self, pictures: Sequence[av.VideoFrame]) -> None:
        decoded: list[Decoded] = []
        undecoded = 0
        torn = any(picture.is_corrupt for picture in pictures)
        for picture in pictures:
            entry = self._open.pop(picture.pts or 0, None)
            if entry is None:
                continue
            before = (entry.epoch, entry.frame.timestamp)
            passed = [other for other in self._open.values() if (other.epoch, other.frame.timestamp) < before]
            undecoded += len(passed)
            decoded.append(self._finished(picture, entry, passed))
        if len(self._open) > _MOST_OPEN:
            undecoded += 1
            self._carry([self._open.pop(next(iter(self._open)))])
        if decoded or undecoded:
            self._call(lambda: self._deliver(decoded, undecoded, torn))

    def _finished(self, picture: av.VideoFrame, entry: _Open, passed: Sequence[_Open]) -> Decoded:
        """The picture of a frame; those that it passed over will not come out any more."""
        lost, frame = entry.lost, entry.frame
        for other in passed:
            del self._open[other.frame.timestamp]
            lost = with_losses(with_losses(lost, other.lost), self._reason(other))
            if other.frame.restarted:
                frame = dataclasses.replace(frame, restarted=True)
        key_frame = frame.key_frame or bool(picture.key_frame)
        if key_frame:
            self._whole_from = max(self._whole_from, entry.number)
        self._begun = True
        if picture.is_corrupt:
            self._torn_at = max(self._torn_at, entry.number)
        torn = self._whole_from <= self._torn_at <= entry.number
        damaged = self._is_broken(entry) or torn or bool(picture.is_corrupt)
        return Decoded(picture_of(picture), frame, key_frame, damaged, lost)

    def _is_broken(self, entry: _Open) -> bool:
        return entry.broken is not None and entry.broken.number > self._whole_from

    def _carry(self, entries: Sequence[_Open]) -> None:
        """Keep for the next frame what is to be known of those that did not become pictures."""
        for entry in entries:
            self._carried = with_losses(with_losses(self._carried, entry.lost), self._reason(entry))
            self._carried_restarted = self._carried_restarted or entry.frame.restarted

    def _reason(self, entry: _Open) -> Losses:
        """What cannot be decoded after a loss is the loss's doing; and before the first picture, nobody's.

        So is what was held back for its turn when the loss came, which may then never come.
        """
        if not self._begun:
            return {}
        if self._is_broken(entry):
            broken = entry.broken
        else:
            last = self._last_break
            broken = last if last is not None and 0 <= last.number - entry.number <= _MOST_HELD_BACK else None
        return {"network": 0} if broken is not None and broken.cause == "network" else {"receiver": 1}

    def _call(self, function: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(function)
        except RuntimeError:  # the loop has ended
            _log.debug("decoded too late")


def _lost_before(frame: EncodedFrame) -> Losses:
    return {"network": frame.lost_before} if frame.lost_before else {}
