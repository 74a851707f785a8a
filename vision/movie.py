"""An MP4 that grows: pictures at their own times, and sound that stays with them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from fractions import Fraction
from io import FileIO
from pathlib import Path
from typing import Any, Literal, get_args

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.frame import PictureType
from av.video.reformatter import ColorRange
from av.video.stream import VideoStream
from numpy.typing import NDArray

from vision.frame import Samples
from vision.resampling import Resampler

__all__ = ["MOVIE_HZ", "Movie", "Preset", "SoundLine"]

Preset = Literal["ultrafast", "superfast", "veryfast", "faster", "fast", "medium"]
"""x264's presets, from the cheapest on."""

MOVIE_HZ = 48_000
"""Sample rate of the sound in the file."""

_CLOCK_HZ = 90_000  # of the pictures' times, as MPEG and RTP have it
_KEY_FRAME_S = 2.0
_LONGEST_LAG_S = 2.0  # of sound behind the pictures; where it has not come by then, there is silence
_SOUND_BIT_RATE = 96_000
_BT_601 = 6  # SMPTE 170M in ISO/IEC 23091-2: as `Picture.rgb` reads the planes

_STEP_S = 0.010  # sound that is off by more is put where it belongs at once,
_STILL_S = 0.001  # by less than this is left where it is,
_SPEED = 0.01  # and in between is played faster or slower, which is not heard at this rate
_SILENCE = MOVIE_HZ  # samples of silence that are made at once

_CONTAINER = {
    # fragments while it grows, so that a file that was cut off can be played; at the end the directory of an ordinary
    # MP4, so that a finished one can be seeked in everywhere. A late first directory knows of AAC's delay.
    "movflags": "hybrid_fragmented+delay_moov",
    "frag_duration": "500000",
    "flush_packets": "1",
    "max_interleave_delta": "500000",  # so long pictures wait for sound that does not come
}


class Movie:
    """H264 and AAC in an MP4, on disk to within half a second of what was added; playable wherever it is cut off.

    Pictures have their own times (variable frame rate). The sound is continuous: what is missing is silence, and it
    follows its times, also where they drift or step. Times are in seconds from the beginning of the file. Use it from
    one thread at a time.

    :param size: width and height in px, both even.
    :raises FileExistsError: when there is such a file.
    :raises OSError: when it cannot be written, from any method; what was written before can be played.
    """

    def __init__(self, path: Path, size: tuple[int, int], *, preset: Preset = "ultrafast", crf: int = 23) -> None:
        if preset not in get_args(Preset):
            raise ValueError(f"preset '{preset}'; allowed: {', '.join(get_args(Preset))}")
        if size[0] % 2 or size[1] % 2 or min(size) < 2:
            raise ValueError(f"a movie of {size[0]}x{size[1]} px; width and height must be even")
        self.size = size
        self._file = _GrowingFile(path, "xb")
        self._container = av.open(self._file, "w", format="mp4", options=_CONTAINER)
        self._pictures = _picture_stream(self._container, size, preset, crf)
        self._sounds = _sound_stream(self._container)
        self._line = SoundLine()
        self._encoded = 0
        self._ticks = -1
        self._key_frame_s = float("-inf")
        self._failed = False
        self._whole = 0  # length of the file up to the last fragment

    @property
    def end_s(self) -> float:
        """Time of the last picture, or the end of the sound, whichever is later."""
        return max(self._ticks / _CLOCK_HZ, self._line.end / MOVIE_HZ)

    def add_picture(self, i420: NDArray[np.uint8], time_s: float) -> bool:
        """Show a picture from a time on.

        :param i420: `(H * 3 / 2, W) uint8`, video range, BT.601; it is copied.
        :returns: whether it was taken: not when its time is before zero, or not after the last one's.
        """
        ticks = round(time_s * _CLOCK_HZ)
        if ticks <= self._ticks:
            return False
        self._ticks = ticks
        frame = av.VideoFrame.from_ndarray(i420, format="yuv420p")
        frame.pts, frame.time_base = ticks, Fraction(1, _CLOCK_HZ)
        if time_s - self._key_frame_s >= _KEY_FRAME_S:
            self._key_frame_s = time_s
            frame.pict_type = PictureType.I
        with self._kept_whole():
            self._container.mux(self._pictures.encode(frame))
        self._add_samples(self._line.silence(time_s - _LONGEST_LAG_S))
        return True

    def add_sound(self, samples: Samples, rate_hz: int, start_s: float) -> None:
        """Play samples, `(N,) float32` mono in -1..1, from a time on; those that lie before what was added are cut."""
        self._add_samples(self._line.add(samples, rate_hz, start_s))

    def close(self) -> None:
        """Finish the file; after an error of another method, only let go of it."""
        try:
            if not self._file.closed and not self._failed:
                self._finish()
        finally:
            # a container whose file is closed is not written to any more
            self._file.close()
            with contextlib.suppress(Exception):
                self._container.close()

    def _finish(self) -> None:
        self._add_samples(self._line.finish(self.end_s))
        with self._kept_whole():
            if self._ticks >= 0:
                self._container.mux(self._pictures.encode(None))
            if self._line.end:
                self._container.mux(self._sounds.encode(None))
            self._container.close()

    def _add_samples(self, blocks: Iterator[Samples]) -> None:
        for samples in blocks:
            if samples.size:
                # AAC's encoder refuses what is not finite, and nobody can hear it
                sane = np.clip(np.nan_to_num(samples), -1, 1)
                block = av.AudioFrame.from_ndarray(sane[np.newaxis], format="fltp", layout="mono")
                block.sample_rate, block.time_base = MOVIE_HZ, Fraction(1, MOVIE_HZ)
                block.pts, self._encoded = self._encoded, self._encoded + samples.size
                with self._kept_whole():
                    self._container.mux(self._sounds.encode(block))

    @contextlib.contextmanager
    def _kept_whole(self) -> Iterator[None]:
        """What is written in here is whole, or is taken back."""
        try:
            yield
            if self._file.error is not None:
                raise self._file.error
            self._whole = self._file.tell()
        except BaseException:
            self._failed = True
            with contextlib.suppress(OSError):
                self._file.truncate(self._whole)
            raise


class _GrowingFile(FileIO):
    """After a write that failed, none is made any more: the muxer's last one would turn all fragments into one box.

    :ivar error: of that write; the muxer does not tell of all.
    """

    error: OSError | None = None

    def write(self, data: Any, /) -> int:
        if self.error is not None:
            raise self.error
        left = memoryview(data)
        try:
            while left:
                left = left[super().write(left) :]
        except OSError as error:
            self.error = error
            raise
        return len(data)


class SoundLine:
    """Samples at 48 kHz in a row from time zero on, out of blocks that say where they start.

    :ivar end: how many there are so far.
    """

    def __init__(self) -> None:
        self.end = 0
        self._next_s = 0.0  # where the next block should start
        self._rate_hz = 0
        self._resampler: Resampler | None = None

    def add(self, samples: Samples, rate_hz: int, start_s: float) -> Iterator[Samples]:
        """Take a block, `(N,) float32`; yields what goes on from `end`, `(M,) float32`."""
        if not samples.size:
            return
        off_s = start_s - self._next_s
        if rate_hz != self._rate_hz or abs(off_s) > _STEP_S:
            yield from self._begin(rate_hz, start_s)
            samples = samples[max(0, round((self._next_s - start_s) * rate_hz)) :]
            self._next_s += samples.size / rate_hz
        else:
            self._next_s += samples.size / rate_hz
            if abs(off_s) > _STILL_S:
                before = samples.size
                samples = _stretched(samples, round(off_s * rate_hz))
                self._next_s += (samples.size - before) / rate_hz
        if self._resampler is not None:
            samples = self._resampler.add(samples)
        yield self._counted(samples)

    def silence(self, until_s: float) -> Iterator[Samples]:
        """Where nothing has come for a time: silence up to it."""
        if self._next_s < until_s:
            yield from self._begin(0, until_s)

    def finish(self, until_s: float) -> Iterator[Samples]:
        """Nothing more will come: the rest, and silence up to a time."""
        yield from self._begin(0, until_s)

    def _begin(self, rate_hz: int, start_s: float) -> Iterator[Samples]:
        """Bring what is there to its end, and make silence up to where the next block starts."""
        if self._resampler is not None:
            yield self._counted(self._resampler.end())
        while (hole := round(start_s * MOVIE_HZ) - self.end) > 0:
            yield self._counted(np.zeros(min(hole, _SILENCE), np.float32))
        self._next_s, self._rate_hz = self.end / MOVIE_HZ, rate_hz
        self._resampler = Resampler(rate_hz, MOVIE_HZ) if rate_hz not in (0, MOVIE_HZ) else None

    def _counted(self, samples: Samples) -> Samples:
        self.end += samples.size
        return samples


def _stretched(samples: Samples, by: int) -> Samples:
    """A block made longer or shorter by so many samples, as far as that is not heard."""
    most = int(_SPEED * samples.size)
    size = samples.size + min(max(by, -most), most)
    at = np.linspace(0, samples.size - 1, size)
    return np.interp(at, np.arange(samples.size), samples).astype(np.float32)


def _picture_stream(container: OutputContainer, size: tuple[int, int], preset: Preset, crf: int) -> VideoStream:
    # without look-ahead and pictures that build on later ones: each picture is on its way at once, in one thread
    options = {"preset": preset, "crf": str(crf), "tune": "zerolatency", "forced-idr": "1"}
    stream = container.add_stream("libx264", rate=30, options=options)
    stream.width, stream.height = size
    stream.pix_fmt = "yuv420p"
    codec = stream.codec_context
    codec.time_base = Fraction(1, _CLOCK_HZ)
    codec.thread_count = 1
    codec.color_range = ColorRange.MPEG
    codec.colorspace = codec.color_primaries = codec.color_trc = _BT_601
    return stream


def _sound_stream(container: OutputContainer) -> AudioStream:
    # the other coder takes four times as long, which is as much as drawing does
    options = {"aac_coder": "fast"}
    return container.add_stream("aac", rate=MOVIE_HZ, layout="mono", bit_rate=_SOUND_BIT_RATE, options=options)
