"""A run's folder in, report.html out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vision.report.comparison import Comparison
from vision.report.comparison_page import comparison_page
from vision.report.contents import contents_of
from vision.report.document import write_page
from vision.report.page import report_page

__all__ = ["FILE", "write_comparison", "write_report"]

FILE = "report.html"


def write_report(folder: Path, out: Path | None = None) -> Path:
    """Write the report of a run; returns where it is.

    :param folder: of the run, whole or left by one that was killed.
    :param out: the file to write; by default report.html in that folder.
    :raises ConfigError: when it is not the folder of a run.
    :raises OutputError: when plotly is not installed.
    :raises OSError: when the file cannot be written.
    """
    path = out or folder / FILE
    write_page(path, report_page(contents_of(folder), path))
    return path


def write_comparison(comparisons: Sequence[Comparison], out: Path) -> None:
    """Write runs side by side as a page.

    :raises OSError: when the file cannot be written.
    """
    write_page(out, comparison_page(comparisons))
