"""Draws docs/demo.png from a run of configs/demo.yaml: python docs/picture.py RUN_FOLDER docs/demo.png."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from processors.face_landmarks import FaceLandmarksProcessor
from vision import Picture, StreamInfo
from vision.simulator.picture import Painter, Planes, likeness
from vision.simulator.portrait import Expression
from vision.testing import make_frame

INK, ACCENT, SOFT = "#1f2937", "#0f766e", "#94a3b8"
BANDS = {"freeze": "#f59e0b", "black": "#111827", "face_absent": "#dc2626"}
SHOWN_S = (3.0, 13.0)


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def _face(axes: Axes) -> None:
    """The simulated avatar with the points that were found on it."""
    i420 = Painter(likeness(1280, 720)).paint(Expression(0.45, 0.0), (0.0, 0.0))
    picture = Picture(*(np.array(plane) for plane in Planes.of(i420)))
    processor = FaceLandmarksProcessor()
    processor.setup(StreamInfo(live=False))
    for index in range(3):  # the tracker settles
        found = processor.process(make_frame(picture, index=index))
    processor.close()
    assert found.points_px is not None
    axes.imshow(picture.rgb)
    axes.scatter(*found.points_px.T, s=3, c="#ecfeff", linewidths=0)
    axes.set(xlim=(370, 910), ylim=(640, 60))
    axes.axis("off")


def _curve(axes: Axes, times: np.ndarray[Any, Any], values: np.ndarray[Any, Any], **style: Any) -> None:
    axes.plot(times, values, linewidth=1.3, **style)
    axes.set_xlim(*SHOWN_S)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=INK, labelsize=8)


def _column(records: list[dict[str, Any]], processor: str, metric: str) -> np.ndarray[Any, Any]:
    return np.array([np.nan if (v := record[processor][metric]) is None else v for record in records], float)


def main(folder: Path, target: Path) -> None:
    """Draw the picture of the run in `folder`."""
    records, truth = _lines(folder / "frames.jsonl"), _lines(folder / "truth.jsonl")
    times = np.array([record["time_s"] for record in records])
    figure = plt.figure(figsize=(13, 4.6), dpi=110, layout="constrained")
    grid = figure.add_gridspec(3, 2, width_ratios=(1, 2.2), height_ratios=(2, 1.2, 0.7))
    _face(figure.add_subplot(grid[:, 0]))
    mouth, sharp, bands = (figure.add_subplot(grid[row, 1]) for row in range(3))
    opening = _column(records, "face_landmarks", "mouth_opening")
    drawn = np.array([line["mouth_opening"] for line in truth])
    scale = np.nanmax(opening) / drawn.max()
    _curve(
        mouth, np.array([line["time_s"] for line in truth]), drawn * scale, color=SOFT, label="drawn (truth, scaled)"
    )
    _curve(mouth, times, opening, color=ACCENT, label="measured: face_landmarks.mouth_opening")
    mouth.legend(loc="upper right", fontsize=8, frameon=False, ncols=2)
    mouth.set_ylim(0, 1.35 * np.nanmax(opening))
    _curve(sharp, times, _column(records, "frame_quality", "luma_mean"), color=INK)
    sharp.set_ylabel("luma_mean", fontsize=8)
    _curve(bands, times, np.full(times.size, np.nan))
    for line in _lines(folder / "incidents.jsonl"):
        row = list(BANDS).index(line["kind"])
        bands.broken_barh(
            [(line["start_s"], line["end_s"] - line["start_s"])], (row + 0.1, 0.8), color=BANDS[line["kind"]]
        )
    bands.set(yticks=[0.5, 1.5, 2.5], yticklabels=list(BANDS), ylim=(3, 0))
    bands.set_xlabel("media time, s; found in the records, planted: freeze 5 to 7 s, black 10 to 11 s", fontsize=8)
    figure.savefig(target)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
