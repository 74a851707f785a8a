"""report.html: what the run's folder says, as a page, once the folder is complete."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vision.record import Record
from vision.report import plotly
from vision.report.making import write_report
from vision.result import MetricInfo
from vision.sinks.base import Sink

__all__ = ["ReportSink"]


class ReportSink(Sink):
    """report.html in the run's folder, one file that opens offline; it is written when the run is over.

    It is made from the other files, so that `vision report` makes the same one again.
    """

    @classmethod
    def check(cls, options: Any, fields: Mapping[str, tuple[MetricInfo, ...]]) -> None:
        if not plotly.is_installed():
            raise ValueError(plotly.MISSING)

    def write(self, record: Record) -> None:
        """Nothing: the records are in frames.jsonl."""

    def conclude(self) -> None:
        write_report(self.folder)
