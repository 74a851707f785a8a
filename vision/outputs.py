"""What a run writes: records to the sinks, incidents, and the summary that adds them up."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from vision.config import SinkConfig
from vision.errors import OutputError, VisionError, one_line
from vision.folder import RunFolder, reason_of
from vision.gaps import PictureGaps
from vision.incidents import Incident, IncidentTracker, clock_slips
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

    def __init__(self, configs: Sequence[SinkConfig], folder: RunFolder, summary: Summary) -> None:
        self._configs, self._folder, self._summary = configs, folder, summary
        self._tracker = IncidentTracker(summary.metrics, summary.listeners)
        self._gaps = PictureGaps()
        self._sinks: list[tuple[str, Sink]] = []

    def open(self) -> None:
        """Make and open the sinks; those that are open already are closed when one fails."""
        try:
            for config in self._configs:
                sink = _guarded(config.use, partial(config.sink, config.options, self._folder.path))
                self._sinks.append((config.use, sink))
                _guarded(config.use, sink.open)
        except OutputError:
            self.close()
            raise

    def write(self, records: Iterable[Record]) -> None:
        """Take records, in order."""
        for record in records:
            frame = record.frame
            self._summary.add(record)
            self._note(itertools.chain(self._tracker.add(record), self._gaps.add(frame), clock_slips(frame)))
            for use, sink in self._sinks:
                _guarded(use, partial(sink.write, record))

    def close(self) -> VisionError | None:
        """Close all sinks, whatever one of them does; gives back what went wrong first."""
        errors = []
        while self._sinks:
            use, sink = self._sinks.pop()
            try:
                _guarded(use, sink.close)
            except OutputError as error:
                errors.append(error)
        return errors[0] if errors else None

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
        :param head: the first part of the summary, which depends on the errors so far.
        :param transport: what was counted of the network, if there was any.
        :returns: the summary.
        """

        def attempt(write: Callable[[], None]) -> None:
            try:
                write()
            except VisionError as error:
                errors.append(error)

        attempt(lambda: self._note(itertools.chain(self._tracker.end(), self._gaps.end())))
        self._summary.pictures_missing = round(self._gaps.missing)
        totals = self._summary.as_dict(queue) | {"transport": transport}
        attempt(self._folder.close)
        attempt(lambda: self._folder.write_run({**facts, **head()}))
        attempt(lambda: self._folder.write_summary({**head(), **totals}))
        return {**head(), **totals}

    def _note(self, incidents: Iterable[Incident]) -> None:
        for incident in incidents:
            self._summary.add_incident(incident)
            self._folder.add_incident(incident)


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
