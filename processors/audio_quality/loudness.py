"""Loudness by EBU R 128 and true peak by ITU-R BS.1770, from libavfilter and libswresample, as samples come."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from fractions import Fraction

import av
import numpy as np
from av.filter import Graph
from numpy.typing import NDArray

__all__ = ["FLOOR_LUFS", "LoudnessMeter", "TruePeak"]

Samples = NDArray[np.float32]

FLOOR_LUFS = -120.0
_BLOCK_S = Fraction(1, 10)  # EBU Tech 3341, 2.2: the meter is updated at 10 Hz or more often
_MOMENTARY_S, _SHORT_TERM_S = Fraction(2, 5), Fraction(3)
_GATE_LUFS = -70.0  # ITU-R BS.1770: the absolute gate; what never passed it has no loudness
_OVERSAMPLED_HZ = 192_000  # BS.1770, Annex 2: at least four times 48 kHz, and the rate of libavfilter's ebur128


class LoudnessMeter:
    """libavfilter's `ebur128` on mono sound that is played on both loudspeakers (`dualmono`, EBU R 128 s1).

    :ivar momentary_lufs: of the last 400 ms.
    :ivar short_term_lufs: of the last 3 s.
    :ivar integrated_lufs: of all sound since the beginning, gated.
    :ivar range_lu: the loudness range of it (EBU Tech 3342).
    """

    def __init__(self, rate_hz: int) -> None:
        self.momentary_lufs: float | None = None
        self.short_term_lufs: float | None = None
        self.integrated_lufs: float | None = None
        self.range_lu: float | None = None
        self._rate_hz = rate_hz
        self._graph = _graph(rate_hz)
        self._pushed = self._measured = 0  # samples
        self._block = int(rate_hz * _BLOCK_S)

    @property
    def heard_s(self) -> float:
        """How much sound it is about."""
        return self._measured / self._rate_hz

    def add(self, samples: Samples) -> None:
        """Take `(N,) float32` mono."""
        block = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples)[np.newaxis], "flt", "mono")
        block.sample_rate = self._rate_hz
        block.pts, block.time_base = self._pushed, Fraction(1, self._rate_hz)
        self._graph.push(block)
        self._pushed += samples.size
        if self._pushed - self._measured >= self._block:
            for measured in _pulled(self._graph):
                self._measured += measured.samples
                self._read({key.rpartition(".")[2]: float(value) for key, value in measured.metadata.items()})

    def _read(self, figures: dict[str, float]) -> None:
        if self._measured >= self._rate_hz * _MOMENTARY_S:
            self.momentary_lufs = max(figures["M"], FLOOR_LUFS)
        if self._measured >= self._rate_hz * _SHORT_TERM_S:
            self.short_term_lufs = max(figures["S"], FLOOR_LUFS)
        if figures["I"] > _GATE_LUFS:
            self.integrated_lufs = figures["I"]
            self.range_lu = None if self.short_term_lufs is None else figures["LRA"]


def _graph(rate_hz: int) -> Graph:
    graph = Graph()
    source = graph.add_abuffer(format="flt", sample_rate=rate_hz, layout="mono", time_base=Fraction(1, rate_hz))
    graph.link_nodes(
        source, graph.add("ebur128", "metadata=1:dualmono=true:framelog=quiet"), graph.add("abuffersink")
    ).configure()
    return graph


def _pulled(graph: Graph) -> Iterator[av.AudioFrame]:
    with contextlib.suppress(av.error.BlockingIOError):
        while True:
            yield graph.pull()  # type: ignore[misc]


class TruePeak:
    """The greatest magnitude between the samples as well: at 192 kHz, by libswresample, as `ebur128` has it."""

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._resampler = av.AudioResampler("flt", "mono", max(_OVERSAMPLED_HZ, rate_hz))

    def add(self, samples: Samples) -> float:
        """Take `(N,) float32` mono; returns the greatest magnitude in it, which may exceed 1."""
        block = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples)[np.newaxis], "flt", "mono")
        block.sample_rate = self._rate_hz
        between = [float(np.abs(out.to_ndarray()).max()) for out in self._resampler.resample(block) if out.samples]
        return max(between, default=0.0)
