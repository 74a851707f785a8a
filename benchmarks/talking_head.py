"""How near `talking_head` comes to THEval: the run's figures beside those of its own scripts, clip by clip.

    python -m benchmarks.talking_head [--reference FILE] [--model official] [--legacy PYTHON] [--json FILE]

The clips are the test media. Each goes through a whole run: connector `file`, `face_landmarks`, `speech`,
`talking_head`. Beside the run's figures are those with, one after the other, what THEval's scripts do otherwise; what
is left of the difference then says what each of them costs:

segments  speech is where its version of silero (5.1.2) found it
times     pictures come evenly, and begin with the sound
square    landmarks are those of the picture made 256 x 256 (lip dynamics and silent lip stability)
legacy    landmarks are those of mediapipe 0.10.21's FaceMesh as its scripts call it (with --legacy)

Exits with status 1 where a measure of the run has a rank correlation below 0.9 or a median difference above 10 %.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.theval import MEASURES, Figures, Reference, carried_out, explained, of_legacy, references
from tests.clips import MEDIA

LEAST_RANK = 0.9
MOST_DIFFERENCE = 0.1


@dataclass(frozen=True, slots=True)
class Agreement:
    """How near figures are to THEval's.

    :ivar clips: of which both give a figure.
    :ivar one_sided: of which only one does.
    :ivar rank: Spearman's correlation.
    :ivar difference: median of the differences, over THEval's figure.
    """

    clips: int
    one_sided: int
    rank: float
    difference: float

    @property
    def holds(self) -> bool:
        """Near enough."""
        return self.rank >= LEAST_RANK and self.difference <= MOST_DIFFERENCE


def agreement(theirs: Sequence[float | None], ours: Sequence[float | None]) -> Agreement:
    """Of one measure over all clips."""
    both = [(one, other) for one, other in zip(theirs, ours, strict=True) if one is not None and other is not None]
    one_sided = sum((one is None) != (other is None) for one, other in zip(theirs, ours, strict=True))
    if len(both) < 3:
        return Agreement(len(both), one_sided, float("nan"), float("nan"))
    first, second = np.array(both).T
    rank = float(np.corrcoef(_ranks(first), _ranks(second))[0, 1])
    return Agreement(len(both), one_sided, rank, float(np.median(np.abs(second / first - 1))))


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """From 0; figures of this many digits are never the same twice."""
    return values.argsort().argsort().astype(np.float64)


def table(name: str, lines: Sequence[tuple[Reference, Mapping[str, Figures]]]) -> str:
    """A measure: THEval's figure, the run's, and how far each variant is from THEval's, clip by clip."""
    kinds = list(lines[0][1])
    out = [f"{name:38}{'THEval':>10}{'run':>10}" + "".join(f"{kind:>10}" for kind in kinds)]
    for reference, variants in lines:
        theirs = reference.figures[name]
        differences = (_difference(theirs, variants[kind][name]) for kind in kinds)
        figures = (_number(theirs), _number(variants["run"][name]))
        out.append(f"{reference.name:38}" + "".join(f"{cell:>10}" for cell in (*figures, *differences)))
    theirs_all = [reference.figures[name] for reference, _ in lines]
    found = [agreement(theirs_all, [variants[kind][name] for _, variants in lines]) for kind in kinds]
    for label, cells in (
        ("Spearman", [f"{each.rank:.3f}" for each in found]),
        ("median difference", [f"{100 * each.difference:.1f} %" for each in found]),
        ("clips / figure on one side only", [f"{each.clips} / {each.one_sided}" for each in found]),
    ):
        out.append(f"{label:58}" + "".join(f"{cell:>10}" for cell in cells))
    return "\n".join(out)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.5f}"


def _difference(theirs: float | None, ours: float | None) -> str:
    return "-" if theirs is None or ours is None else f"{100 * (ours / theirs - 1):+.1f} %"


def _arguments() -> argparse.Namespace:
    description = (__doc__ or "").split("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.talking_head", description=description)
    parser.add_argument("--media", type=Path, default=MEDIA, help="folder of the clips")
    parser.add_argument(
        "--reference", type=Path, help="THEval's figures (default: reference/theval.csv beside the folder of the clips)"
    )
    parser.add_argument("--clips", nargs="+", metavar="NAME", help="these only")
    parser.add_argument("--model", choices=("attention", "official"), default="attention", help="of face_landmarks")
    parser.add_argument("--model-path", type=Path, metavar="FILE", help="that model's bundle, where it is at hand")
    parser.add_argument("--speech-model", type=Path, metavar="FILE", help="model_path of speech")
    parser.add_argument("--legacy", type=Path, metavar="PYTHON", help="of an environment with mediapipe==0.10.21")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there")
    arguments = parser.parse_args()
    arguments.reference = arguments.reference or arguments.media.parent / "reference" / "theval.csv"
    if not arguments.reference.is_file():
        parser.error(f"no file {arguments.reference} (--reference)")
    return arguments


def _options(arguments: argparse.Namespace) -> tuple[dict[str, Any], dict[str, Any]]:
    """Of `face_landmarks` and of `speech`."""
    face: dict[str, Any] = {"model": arguments.model}
    if arguments.model_path:
        face["model_path"] = str(arguments.model_path.resolve())
    return face, {"model_path": str(arguments.speech_model.resolve())} if arguments.speech_model else {}


def _measured(reference: Reference, arguments: argparse.Namespace) -> dict[str, Figures]:
    face, speech = _options(arguments)
    clip = carried_out(reference, arguments.media, face, speech)
    variants = {"run": clip.figures, **explained(clip, face)}
    if arguments.legacy:
        variants["legacy"] = of_legacy(clip, arguments.media, arguments.legacy)
    return variants


def main() -> int:
    """Measure, print, judge."""
    arguments = _arguments()
    lines = []
    for reference in references(arguments.reference):
        if not arguments.clips or reference.name in arguments.clips:
            sys.stderr.write(f"{reference.name} ...\n")
            lines.append((reference, _measured(reference, arguments)))
    sys.stdout.write("\n\n".join(table(name, lines) for name in MEASURES) + "\n\n")
    holds = True
    for name in MEASURES:
        theirs, ours = zip(*((each.figures[name], variants["run"][name]) for each, variants in lines), strict=True)
        found = agreement(theirs, ours)
        holds &= found.holds
        figures = f"Spearman {found.rank:.3f} (at least {LEAST_RANK}), median difference {100 * found.difference:.1f} %"
        sys.stdout.write(
            f"{'yes' if found.holds else 'NO ':4} {name}: {figures} (at most {100 * MOST_DIFFERENCE:.0f} %)\n"
        )
    if arguments.json is not None:
        content = {each.name: {"theval": dict(each.figures), **variants} for each, variants in lines}
        arguments.json.write_text(json.dumps(content, indent=1) + "\n")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
