"""Sound whose faults are known: the simulator's, through real Opus; and what libavfilter's filters say of sound."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.filter import Graph
from numpy.typing import NDArray

from vision import Frame, Sound
from vision.connectors.decoding import samples_of
from vision.frame import NO_SOUND
from vision.simulator.encoder import BLOCK_SAMPLES, OPUS_DELAY_SAMPLES, SoundEncoder
from vision.simulator.faults import FaultPlan
from vision.simulator.performance import Performance
from vision.simulator.settings import Fault
from vision.simulator.soundtrack import Soundtrack
from vision.simulator.voice import SAMPLE_RATE_HZ, Voice
from vision.testing import make_frame

__all__ = [
    "RATE_HZ",
    "clicked",
    "clip_sound",
    "framed",
    "gapped",
    "has_sound",
    "planted",
    "said_by",
    "sine",
    "through_opus",
]

RATE_HZ = SAMPLE_RATE_HZ
Samples = NDArray[np.float32]


def planted(seconds: float, faults: Sequence[Fault] = (), seed: int = 1, *, coded: bool = True) -> Samples:
    """What the simulator sends; as it comes out of Opus, or before that."""
    track = Soundtrack(Voice(Performance(seed)).at, FaultPlan(faults), seed)
    first = OPUS_DELAY_SAMPLES if coded else 0
    count = round(seconds * RATE_HZ) // BLOCK_SAMPLES * BLOCK_SAMPLES
    sound = np.concatenate([track.at(first + begin, BLOCK_SAMPLES) for begin in range(0, count, BLOCK_SAMPLES)])
    return through_opus(sound) if coded else sound


def through_opus(samples: Samples) -> Samples:
    """The same at 48 kHz, by the simulator's encoder and libopus."""
    encoder, decoder = SoundEncoder(), av.CodecContext.create("libopus", "r")
    heard: list[Samples] = []
    for begin in range(0, samples.size - BLOCK_SAMPLES + 1, BLOCK_SAMPLES):
        coded = av.Packet(bytes(encoder.encode(samples[begin : begin + BLOCK_SAMPLES], begin)))
        heard += [samples_of(block) for block in decoder.decode(coded)]
    return np.concatenate(heard)


def sine(level_dbfs: float, seconds: float, frequency_hz: float = 1000.0, phase_deg: float = 0.0) -> Samples:
    """A tone at 48 kHz whose greatest value is at a level."""
    cycles = frequency_hz * np.arange(round(seconds * RATE_HZ)) / RATE_HZ + phase_deg / 360
    return np.asarray(10 ** (level_dbfs / 20) * np.sin(2 * np.pi * cycles), np.float32)


def framed(samples: Samples, rate_hz: int = RATE_HZ, fps: float = 30.0) -> Iterator[Frame]:
    """Frames that carry it; the first one comes before any sound."""
    ends = np.arange(0, samples.size + rate_hz / fps, rate_hz / fps).round().astype(int)
    for index, end in enumerate(ends):
        begin = 0 if index == 0 else ends[index - 1]
        yield make_frame(index=index, fps=fps, samples=samples[begin:end], rate_hz=rate_hz)


def clicked(voice: Samples, at_s: Sequence[float], shape: Samples) -> Samples:
    """The voice with a click at some times."""
    spoilt = voice.copy()
    for time_s in at_s:
        first = round(time_s * RATE_HZ)
        spoilt[first : first + shape.size] += shape
    return np.asarray(np.clip(spoilt, -1, 1), np.float32)


def gapped(frames: Iterable[Frame], start_s: float, end_s: float) -> Iterator[Frame]:
    """The frames of a live stream whose sound does not come for a while: none has any beyond that, and what is missing
    is told with the sound that follows."""
    held = NO_SOUND
    for frame in frames:
        sound = _holed(frame.sound, start_s, end_s)
        if start_s <= frame.time_s < end_s:
            come = round((start_s - sound.start_s) * sound.rate_hz) if sound.start_s < start_s else 0
            held = _cut(sound, come, sound.samples.size).after(held)
            sound = _cut(sound, 0, come)
        else:
            sound, held = sound.after(held), NO_SOUND
        yield dataclasses.replace(frame, sound=sound)


def _holed(sound: Sound, start_s: float, end_s: float) -> Sound:
    first, last = (
        min(max(round((time_s - sound.start_s) * sound.rate_hz), 0), sound.samples.size) for time_s in (start_s, end_s)
    )
    if first == last:
        return sound
    samples = sound.samples.copy()
    samples[first:last] = 0.0
    return dataclasses.replace(sound, samples=samples, missing=((first, last - first),))


def _cut(sound: Sound, first: int, last: int) -> Sound:
    marks = ((max(at, first) - first, min(at + count, last) - first) for at, count in sound.missing)
    missing = tuple((begin, end - begin) for begin, end in marks if end > begin)
    start_s = sound.start_s + first / sound.rate_hz
    return dataclasses.replace(sound, samples=sound.samples[first:last], start_s=start_s, missing=missing)


def clip_sound(path: Path) -> tuple[Samples, int]:
    """The sound of a clip, and its rate in Hz."""
    with av.open(str(path)) as container:
        track = container.streams.audio[0]
        return np.concatenate([samples_of(block) for block in container.decode(track)]), track.rate


def has_sound(path: Path) -> bool:
    """Whether a clip has a track of sound."""
    with av.open(str(path)) as container:
        return bool(container.streams.audio)


def said_by(filters: str, samples: Samples, rate_hz: int = RATE_HZ, block: int = 1024) -> list[dict[str, float]]:
    """The metadata of each block that comes out of a chain such as `astats=metadata=1`, and its `time_s`."""
    graph = Graph()
    node: Any = graph.add_abuffer(format="flt", sample_rate=rate_hz, layout="mono", time_base=Fraction(1, rate_hz))
    for name, _, options in (each.partition("=") for each in filters.split(",")):
        following = graph.add(name, options or None)
        node.link_to(following)
        node = following
    node.link_to(graph.add("abuffersink"))
    graph.configure()
    said: list[dict[str, float]] = []
    for begin in range(0, samples.size, block):
        frame = av.AudioFrame.from_ndarray(samples[np.newaxis, begin : begin + block], "flt", "mono")
        frame.sample_rate, frame.pts, frame.time_base = rate_hz, begin, Fraction(1, rate_hz)
        graph.push(frame)
        said += _pulled(graph)
    graph.push(None)
    return said + list(_pulled(graph))


def _pulled(graph: Graph) -> Iterator[dict[str, float]]:
    with contextlib.suppress(av.error.BlockingIOError, av.error.EOFError):
        while True:
            frame: Any = graph.pull()
            yield {"time_s": frame.time, **{key: float(value) for key, value in frame.metadata.items()}}
