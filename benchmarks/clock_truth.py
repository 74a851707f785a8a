"""How exactly known offsets between picture and sound are found, whatever the network does to one of the tracks.

    python -m benchmarks.clock_truth [--seconds 4] [--jobs 2] [--json FILE]

The simulator shows flash and beep at offsets from -200 to +200 ms; they are measured in whole runs of this package,
from pictures and samples alone, behind the impairment proxy. Exits with status 1 where a verdict is negative.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Literal

from tests.peers.ledger import Kind
from tests.truth import OFFSETS_MS, Finding, Setting, found

WITHIN_MS = 5.0
DELAYS_S = (0.03, 0.08, 0.15)
_KINDS: tuple[Kind, ...] = ("audio", "video")
_CODECS: tuple[Literal["h264", "vp8"], ...] = ("h264", "vp8")


def settings(each_s: int) -> Iterator[tuple[str, Setting]]:
    """Every codec, without and with loss, without and with each delay of either track."""
    late: list[dict[Kind, float]] = [{kind: delay_s} for kind in _KINDS for delay_s in DELAYS_S]
    for codec, loss, delay_of in product(_CODECS, (0.0, 0.03), [{}, *late]):
        name = ", ".join(
            [codec, f"{loss:.0%} loss", *(f"{kind} {1000 * s:.0f} ms later" for kind, s in delay_of.items())]
        )
        yield name, Setting(codec, loss, delay_of, each_s)


async def measured(named: Sequence[tuple[str, Setting]], jobs: int, folder: Path) -> list[tuple[str, Setting, Finding]]:
    """All settings, so many at once; a line for each as it is done."""
    turns = asyncio.Semaphore(jobs)

    async def one(number: int, name: str, setting: Setting) -> tuple[str, Setting, Finding]:
        async with turns:
            finding = await found(folder, f"run{number}", setting)
        sys.stdout.write(line(name, setting, finding) + "\n")
        sys.stdout.flush()
        return name, setting, finding

    return await asyncio.gather(*(one(number, *each) for number, each in enumerate(named)))


def holds(finding: Finding) -> bool:
    """Whether the median at every offset is within 5 ms of the truth."""
    errors_ms = finding.errors_ms()
    return set(errors_ms) == set(OFFSETS_MS) and max(map(abs, errors_ms.values())) <= WITHIN_MS


def line(name: str, setting: Setting, finding: Finding) -> str:
    """A run in a line."""
    errors_ms = finding.errors_ms()
    medians = " ".join(f"{errors_ms[offset]:7.2f}" if offset in errors_ms else "      -" for offset in OFFSETS_MS)
    flashes = sum(len(pairs) for pairs in finding.by_offset.values())
    return (
        f"{'yes' if holds(finding) else 'NO ':4}{name:38}{medians}   {flashes:3} flashes"
        f"   skew {finding.skew_ms:7.1f} (planted {setting.skew_ms:4.0f}) ms   stated {finding.median_stated_ms:.1f} ms"
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.clock_truth", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--seconds", type=int, default=4, help="of each offset, one flash each (default: 4)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="side by side (default: the cores)")
    parser.add_argument("--only", default="", metavar="TEXT", help="settings whose name has this in it")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every measurement there")
    arguments = parser.parse_args()
    if arguments.seconds < 2 or arguments.jobs < 1:
        parser.error("--seconds must be at least 2, --jobs at least 1")
    return arguments


def main() -> int:
    """Measure, print, judge."""
    arguments = _arguments()
    named = [each for each in settings(arguments.seconds) if arguments.only in each[0]]
    sys.stdout.write(f"median error in ms at {' '.join(f'{offset:+d}' for offset in OFFSETS_MS)} ms\n")
    with tempfile.TemporaryDirectory() as folder:
        results = asyncio.run(measured(named, arguments.jobs, Path(folder)))
    right = sum(holds(finding) for _, _, finding in results)
    worst_ms = max((abs(error) for _, _, finding in results for error in finding.errors_ms().values()), default=0.0)
    verdict = "yes" if right == len(results) else "NO "
    sys.stdout.write(
        f"\n{verdict} {right} of {len(results)} runs are within {WITHIN_MS:g} ms at all offsets;"
        f" the worst is off by {worst_ms:.2f} ms\n"
    )
    if arguments.json is not None:
        content = {name: finding.errors_ms() | {"skew_ms": finding.skew_ms} for name, _, finding in results}
        arguments.json.write_text(json.dumps(content, indent=1) + "\n")
    return 0 if right == len(results) else 1


if __name__ == "__main__":
    sys.exit(main())
