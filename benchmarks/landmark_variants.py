"""The ways of finding landmarks that `benchmarks.landmarks` compares; one of them in this process, as it is told to.

`time` measures one on a file of raw pictures, `clips` finds the points of whole clips. Linux only: the worker process's
CPU time is read from its clock, and memory from /proc.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import pickle
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from vision import ClockQuality, Frame, Picture, StreamInfo

__all__ = ["FPS", "REFERENCES", "SIZE", "VARIANTS", "Clip", "Cost"]

SIZE = (1280, 720)
FPS = 30

_CLOCK = ClockQuality("file", 0.0)
_CPU_OF_PROCESS = (
    2  # CPUCLOCK_SCHED of linux/posix-timers.h; `~pid << 3` beside it is what clock_getcpuclockid(3) gives
)


@dataclass(frozen=True, slots=True)
class Cost:
    """What one variant took.

    :ivar cpu_ms: user and system, of a picture; all pictures but the first.
    :ivar rss_mb: resident memory of the process that holds the model, after the last picture.
    :ivar first_s: from nothing loaded to the first result.
    """

    cpu_ms: float
    rss_mb: float | None = None
    first_s: float | None = None


@dataclass(frozen=True, slots=True)
class Clip:
    """A clip's pictures, and the face in each.

    :ivar times_s: `(N,)`, on the container's clock.
    :ivar points_norm: `(N, 478, 3)`; NaN where there is no face.
    :ivar size: width and height, px.
    """

    times_s: NDArray[np.float64]
    points_norm: NDArray[np.float32]
    size: tuple[int, int]

    def save(self, path: Path) -> None:
        """Write it down."""
        np.savez(path, times_s=self.times_s, points_norm=self.points_norm, size=self.size)

    @classmethod
    def load(cls, path: Path) -> Clip:
        """Read what `save` wrote."""
        with np.load(path) as file:
            width, height = file["size"]
            return cls(file["times_s"], file["points_norm"], (int(width), int(height)))


class _Finder(Protocol):
    """Finds the points of a face, `(478, 3)` over the picture's size, in one picture after the other."""

    async def find(self, frame: Frame) -> NDArray[np.float32] | None: ...

    async def close(self) -> None: ...

    @property
    def model_pid(self) -> int | str:
        """The process that holds the model, as /proc has it."""
        ...


class _InPlace:
    """The processor `face_landmarks` in this process."""

    model_pid = "self"

    def __init__(self, **options: Any) -> None:
        from processors.face_landmarks import FaceLandmarksProcessor

        self._processor = FaceLandmarksProcessor(FaceLandmarksProcessor.Options(**options))
        self._processor.setup(StreamInfo(live=False))

    async def find(self, frame: Frame) -> NDArray[np.float32] | None:
        return self._processor.process(frame).points_norm

    async def close(self) -> None:
        self._processor.close()


class _InWorker:
    """The same in a process of its own, called as the walk calls it."""

    def __init__(self) -> None:
        from processors.face_landmarks import FaceLandmarksProcessor
        from vision.workers import worker_for

        self._worker = worker_for(FaceLandmarksProcessor, FaceLandmarksProcessor.Options(), "process", "face", 30)
        self._set_up = False

    async def find(self, frame: Frame) -> NDArray[np.float32] | None:
        if not self._set_up:
            await self._worker.setup(StreamInfo(live=False))
            self._set_up = True
        result: Any = await self._worker.process(frame, ())
        points: NDArray[np.float32] | None = result.points_norm
        return points

    async def close(self) -> None:
        await self._worker.close()

    @property
    def model_pid(self) -> int:
        (child,) = {
            pid for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()
        }
        return int(child)


class _AsDocumented:
    """MediaPipe's FaceLandmarker as its guide for Python has it."""

    model_pid = "self"

    def __init__(self, model: Path, *, video: bool) -> None:
        from processors.face_landmarks.telemetry import offline

        self._video = video
        self._media_pipe, self._task = offline(lambda: self._create(model))

    async def find(self, frame: Frame) -> NDArray[np.float32] | None:
        image = self._media_pipe.Image(self._media_pipe.ImageFormat.SRGB, frame.picture.rgb)
        if self._video:
            result = self._task.detect_for_video(image, round(1000 * frame.time_s))
        else:
            result = self._task.detect(image)
        if not result.face_landmarks:
            return None
        return np.array([(point.x, point.y, point.z) for point in result.face_landmarks[0]], np.float32)

    async def close(self) -> None:
        self._task.close()

    def _create(self, model: Path) -> tuple[Any, Any]:
        import mediapipe
        from mediapipe.tasks.python import BaseOptions, vision

        options = vision.FaceLandmarkerOptions(
            base_options=BaseOptions(model_asset_path=str(model)),
            running_mode=vision.RunningMode.VIDEO if self._video else vision.RunningMode.IMAGE,
            num_faces=1,
        )
        return mediapipe, vision.FaceLandmarker.create_from_options(options)


VARIANTS = {
    "attention": "(a) attention, mediapipe, in place",
    "official": "(b) official, mediapipe, as documented",
    "litert": "(c) official, litert, in place",
    "worker": "(d) (a) in the worker process",
}

REFERENCES = {
    "image": "the official bundle in IMAGE mode: not smoothed, the face detected anew in each picture",
    "tracked": "the official bundle as the processor calls it: not smoothed, and the face tracked",
}


def _finder(name: str, model: Path) -> _Finder:
    match name:
        case "attention":
            return _InPlace()
        case "litert":
            return _InPlace(model="official", engine="litert", model_path=model)
        case "tracked":
            return _InPlace(model="official", model_path=model)
        case "worker":
            return _InWorker()
    return _AsDocumented(model, video=name == "official")


class _Meter:
    """CPU time of this process and of the one that holds the model, but for what making the pictures took."""

    def __init__(self, model_pid: int | str) -> None:
        self._child = None if model_pid == "self" else (~int(model_pid) << 3) | _CPU_OF_PROCESS
        self._before_s = self._cpu_s()
        self.made_s = 0.0

    def _cpu_s(self) -> float:
        return time.process_time() + (time.clock_gettime(self._child) if self._child is not None else 0.0)

    def read_s(self) -> float:
        """What has been spent so far."""
        return self._cpu_s() - self._before_s - self.made_s


def _raw_frames(path: Path) -> Iterator[Frame]:
    """Pictures of `SIZE` at `FPS`, each in memory of its own."""
    width, height = SIZE
    with path.open("rb") as file:
        index = 0
        while (i420 := np.fromfile(file, np.uint8, width * height * 3 // 2)).size:
            yield _frame(i420.reshape(-1, width), index / FPS)
            index += 1


def _frame(i420: NDArray[np.uint8], time_s: float) -> Frame:
    height, width = i420.shape[0] * 2 // 3, i420.shape[1]
    u, v = i420[height:].reshape(2, height // 2, width // 2)
    return Frame(0, time_s, time_s, _CLOCK, maybe_picture=Picture(i420[:height], u, v))


async def _timed(name: str, model: Path, pictures: Path, target: Path) -> Cost:
    frames = _raw_frames(pictures)
    first = next(frames)
    began_s = time.monotonic()
    finder = _finder(name, model)
    found = [await finder.find(first)]
    first_s = time.monotonic() - began_s
    meter = _Meter(finder.model_pid)
    while True:
        making_s = time.thread_time()
        frame = next(frames, None)
        meter.made_s += time.thread_time() - making_s
        if frame is None:
            break
        found.append(await finder.find(frame))
    spent_s = meter.read_s()
    rss_mb = _rss_mb(finder.model_pid)
    await finder.close()
    Clip(np.arange(len(found)) / FPS, _with_gaps(found), SIZE).save(target)
    return Cost(1000 * spent_s / (len(found) - 1), rss_mb, first_s)


def _rss_mb(pid: int | str) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (kib,) = (int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))
    return kib / 1024


def _with_gaps(found: list[NDArray[np.float32] | None]) -> NDArray[np.float32]:
    nothing = np.full((478, 3), np.nan, np.float32)
    return np.stack([nothing if points is None else points for points in found])


def _decoded(packets: Path) -> Cost:
    """PyAV's decoder on one thread, as the receiver has it."""
    import av

    contents: list[bytes] = pickle.loads(packets.read_bytes())
    decoder = av.CodecContext.create("h264", "r")
    decoder.thread_count = 1
    pictures = len(decoder.decode(av.Packet(contents[0])))
    before_s = time.process_time()
    for content in contents[1:]:
        pictures += len(decoder.decode(av.Packet(content)))
    assert pictures == len(contents)
    return Cost(1000 * (time.process_time() - before_s) / (pictures - 1))


async def _find_all(name: str, model: Path, clips: list[Path], folder: Path) -> None:
    for clip in clips:
        finder = _finder(name, model)
        times_s, found, size = [], [], (0, 0)
        for frame in _clip_frames(clip):
            times_s.append(frame.time_s)
            found.append(await finder.find(frame))
            size = (frame.picture.width, frame.picture.height)
        await finder.close()
        Clip(np.array(times_s), _with_gaps(found), size).save(folder / f"{clip.name}.npz")


def _clip_frames(clip: Path) -> Iterator[Frame]:
    import av

    with av.open(str(clip)) as container:
        for picture in container.decode(video=0):
            yield _frame(np.asarray(picture.to_ndarray(format="yuv420p"), np.uint8), float(picture.time or 0))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.landmark_variants")
    parser.add_argument("what", choices=("time", "clips"))
    parser.add_argument("variant", choices=("decode", *VARIANTS, *REFERENCES))
    parser.add_argument("target", type=Path, help="file of the points (time), or folder (clips)")
    parser.add_argument("sources", type=Path, nargs="+", help="one file of raw pictures or packets (time), or clips")
    parser.add_argument("--model", type=Path, default=Path(), help="the official bundle")
    return parser.parse_args()


def main() -> int:
    """Carry one out; prints its cost as JSON, and `null` after `clips`."""
    cv2.setNumThreads(1)  # as a run has it
    arguments = _arguments()
    cost: Cost | None = None
    if arguments.variant == "decode":
        cost = _decoded(arguments.sources[0])
    elif arguments.what == "time":
        cost = asyncio.run(_timed(arguments.variant, arguments.model, arguments.sources[0], arguments.target))
    else:
        asyncio.run(_find_all(arguments.variant, arguments.model, arguments.sources, arguments.target))
    sys.stdout.write(json.dumps(cost and asdict(cost)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
