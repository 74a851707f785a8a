"""What a run writes: records to the sinks, incidents, and the summary that adds them up."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from vision.config import SinkConfig
from vision.errors import OutputError, VisionError, one_line
from vision.expectations.judge import Judge
from vision.expectations.junit import junit
from vision.expectations.moments import Happening, Moment
from vision.folder import RunFolder, reason_of
from vision.gaps import PictureGaps
from vision.incidents import Incident, IncidentTracker, clock_slips
from vision.outputs.evidence import Evidence
from vision.record import Record
from vision.sinks.base import Sink
from vision.stream import StreamStatistics
from vision.summary import Summary

__all__ = ["Outputs"]

_log = logging.getLogger(__name__)


class Outputs:
    """The sinks and the run's own files; its methods block, and are called one at a time.

    Every failure is an `OutputError` that names the sink or the file.
    """

    def __init__(
        self,
        configs: Sequence[SinkConfig],
        folder: RunFolder,
        summary: Summary,
        judge: Judge,
        evidence: Evidence | None = None,
        *,
        waits: bool = False,
    ) -> None:
        self._configs, self._folder, self._summary = configs, folder, summary
        self._judge, self._evidence, self._waits = judge, evidence, waits
        self._tracker = IncidentTracker(summary.metrics, summary.listeners)
        self._gaps = PictureGaps()
        self._running: tuple[Incident, ...] = ()
        self._sinks: list[tuple[str, Sink]] = []
        self._closed: list[tuple[str, Sink]] = []
        self._facts: dict[str, dict[str, float | str]] = {}  # of the sinks that are closed
        self.is_unmet = False
        """At the end: an expectation of level `error` was not met."""

    def open(self) -> None:
        """Make and open the sinks; those that are open already are closed when one fails."""
        if self._evidence is not None:
            self._evidence.open()
        try:
            for config in self._configs:
                sink = _guarded(config.use, partial(config.sink, config.options, self._folder.path))
                sink.fields = self._summary.metrics
                self._sinks.append((config.use, sink))
                sink.waits = self._waits
                _guarded(config.use, sink.open)
        except OutputError:
            self._close_sinks([])
            raise

    def write(self, records: Iterable[Record]) -> None:
        """Take records, in order."""
        for record in records:
            frame = record.frame
            self._summary.add(record)
            self._judge.add(Moment.of(record))
            self._note(itertools.chain(self._tracker.add(record), self._gaps.add(frame), clock_slips(frame)))
            self._tell_running()
            if self._evidence is not None:
                self._evidence.add(record, itertools.chain(self._tracker.open, self._gaps.open))
            for use, sink in self._sinks:
                _guarded(use, partial(sink.write, record))

    def close(self) -> VisionError | None:
        """Tell what is still open, write all evidence, close all sinks, whatever one of them does.

        :returns: what went wrong first.
        """
        errors: list[VisionError] = []
        for incident in itertools.chain(self._tracker.end(), self._gaps.end()):
            _attempt(partial(self._note, [incident]), errors)
        if self._evidence is not None:
            _attempt(self._evidence.close, errors)
        self._close_sinks(errors)
        return errors[0] if errors else None

    def _close_sinks(self, errors: list[VisionError]) -> None:
        while self._sinks:
            use, sink = self._sinks.pop()
            self._closed.insert(0, (use, sink))
            _attempt(partial(_guarded, use, sink.close), errors)
            _attempt(partial(self._ask, use, sink), errors)

    def _ask(self, use: str, sink: Sink) -> None:
        if facts := _guarded(use, lambda: dict(sink.facts())):
            self._facts[use] = facts

    def finish(
        self,
        facts: Mapping[str, Any],
        errors: list[VisionError],
        head: Callable[[], Mapping[str, Any]],
        queue: StreamStatistics,
        transport: Mapping[str, Any] | None,
    ) -> Mapping[str, Any]:
        """Write what is known only at the end; each part is tried whatever becomes of the others.

        :param errors: what could not be written is added to it.
        :param head: the first part of the summary, which depends on the errors so far, and on the verdicts.
        :param transport: what was counted of the network, if there was any.
        :returns: the summary.
        """
        self._summary.pictures_missing = round(self._gaps.missing)
        verdicts = self._judge.verdicts(self._summary.troubles())
        self.is_unmet = any(verdict.level == "error" and not verdict.is_met for verdict in verdicts)
        judged = {"verdicts": [verdict.as_dict() for verdict in verdicts]}
        totals = self._summary.as_dict(queue) | {"transport": transport} | judged
        if self._evidence is not None:
            totals["evidence"] = self._evidence.as_dict()
        _attempt(self._folder.close, errors)
        _attempt(lambda: self._folder.write_run({**facts, **self._told(), **head()}), errors)
        _attempt(lambda: self._folder.write_summary({**head(), **totals}), errors)
        if verdicts:
            report = junit({**head(), **totals}, self._folder.started)
            _attempt(lambda: self._folder.write_text("junit.xml", report), errors)
        before = len(errors)
        for use, sink in self._closed:
            _attempt(partial(_guarded, use, sink.conclude), errors)
        if len(errors) > before:
            _attempt(lambda: self._folder.write_run({**facts, **self._told(), **head()}), errors)
            _attempt(lambda: self._folder.write_summary({**head(), **totals}), errors)
        return {**head(), **totals}

    def _told(self) -> dict[str, Any]:
        return {"sinks": self._facts} if self._facts else {}

    def _note(self, incidents: Iterable[Incident]) -> None:
        for incident in incidents:
            if self._evidence is not None:
                incident = self._evidence.with_files(incident)
            self._summary.add_incident(incident)
            self._folder.add_incident(incident)
            self._judge.add_incident(Happening.from_dict(incident.as_dict()))
            for use, sink in self._sinks:
                _guarded(use, partial(sink.add_incident, incident))

    def _tell_running(self) -> None:
        running = tuple(self._tracker.running())
        if running or self._running:
            for use, sink in self._sinks:
                _guarded(use, partial(sink.set_running, running))
        self._running = running


def _attempt(write: Callable[[], Any], errors: list[VisionError]) -> None:
    """Write something; what cannot be written is added to the errors."""
    try:
        write()
    except VisionError as error:
        errors.append(error)


def _guarded(use: str, function: Callable[[], Any]) -> Any:
    """Call a sink, which may be anybody's.

    :raises OutputError: whatever it raises.
    """
    try:
        return function()
    except OSError as error:
        raise OutputError(f"sink {use}: cannot be written: {reason_of(error)}") from error
    except BaseException as error:
        _log.debug("sink %s", use, exc_info=error)
        raise OutputError(f"sink {use}: failed: {one_line(error)}") from error
