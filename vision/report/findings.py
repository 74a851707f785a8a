"""The verdict of a run and what went wrong in it, in plain words."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from vision.report.contents import Contents, Verdict
from vision.report.reading import Incident, figure, mapping
from vision.report.words import CAUSES, count_of, number, seconds, share, span, title, with_unit

__all__ = ["Finding", "Headline", "findings", "headline"]

Mood = Literal["bad", "warning", "good", "open"]
_LOST, _OUTPUT_FAILED, _INTERRUPTED = 3, 2, 130
_MOST_SPANS = 4


@dataclass(frozen=True, slots=True)
class Headline:
    """The verdict in a word, and the sentence that says why."""

    mood: Mood
    word: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that went wrong.

    :ivar anchor: id of the part of the page that shows more of it.
    """

    mood: Mood
    heading: str
    details: tuple[str, ...]
    anchor: str


def headline(contents: Contents) -> Headline:
    """The verdict: of the expectations where there are some, else of how the run ended and what was found."""
    bad = [verdict for verdict in contents.verdicts if verdict.is_bad and verdict.level == "error"]
    judged = [verdict for verdict in contents.verdicts if verdict.outcome != "skipped"]
    if not contents.is_whole:
        return Headline(
            "open", "Incomplete", "The run did not come to its end. This is what it had written until then."
        )
    if (trouble := _trouble(contents)) is not None:
        return trouble
    found = _found(contents)
    if bad:
        missing = sum(verdict.outcome == "not_measured" for verdict in bad)
        of_them = (
            f", {missing} of them because {'it was' if missing == 1 else 'they were'} not measured" if missing else ""
        )
        return Headline(
            "bad", "Failed", f"{len(bad)} of {count_of(len(judged), 'expectation')} not met{of_them}. {found}"
        )
    if judged:
        warned = sum(verdict.is_bad for verdict in judged)
        mood: Mood = "warning" if warned else "good"
        but = f", with {count_of(warned, 'warning')}" if warned else ""
        return Headline(mood, "Passed", f"{_met(len(judged) - warned, len(judged))}{but}. {found}")
    if contents.incidents:
        return Headline("warning", "Incidents found", f"{found} No expectations were set (`expect:` in the YAML).")
    return Headline("good", "No incidents", f"No expectations were set (`expect:` in the YAML).{_blind(contents)}")


def _met(met: int, of: int) -> str:
    return f"All {count_of(of, 'expectation')} met" if met == of else f"{met} of {count_of(of, 'expectation')} met"


def _blind(contents: Contents) -> str:
    never = sum(1 for _ in contents.never_measured())
    return f" {count_of(never, 'metric')} could not be measured." if never else ""


def _trouble(contents: Contents) -> Headline | None:
    """How the run ended, where it did not end well."""
    found = mapping(contents.totals.get("end"))
    error = f" {found['error']}" if found.get("error") else ""
    match found.get("exit_status"):
        case int(status) if status == _LOST:
            return Headline("bad", "Source lost", f"The stream ended before the run was over.{error}")
        case int(status) if status == _OUTPUT_FAILED:
            return Headline("bad", "Output failed", f"Something could not be written.{error}")
        case int(status) if status == _INTERRUPTED:
            return Headline("open", "Interrupted", f"The run was ended by hand. {_found(contents)}")
        case int(status) if status not in (0, 1):
            return Headline("bad", "Broken off", f"The run ended with an error of its own.{error}")
    return None


def _found(contents: Contents) -> str:
    kinds = Counter(incident.kind for incident in contents.incidents)
    if not kinds:
        return "No incidents."
    named = ", ".join(f"{count} × {title(kind).lower()}".replace(" ", "\u00a0") for kind, count in kinds.most_common())
    return f"{title(count_of(len(contents.incidents), 'incident'))}: {named}."


def findings(contents: Contents) -> Iterator[Finding]:
    """What went wrong: expectations first, then incidents by kind and cause, processors, what was not measured."""
    for verdict in contents.verdicts:
        if verdict.is_bad:
            yield _of_verdict(verdict)
    by_kind: dict[tuple[str, str], list[Incident]] = defaultdict(list)
    for incident in contents.incidents:
        by_kind[incident.kind, incident.cause].append(incident)
    order = sorted(by_kind, key=lambda key: not any(one.is_error for one in by_kind[key]))
    for kind, cause in order:
        yield _of_incidents(contents, kind, cause, by_kind[kind, cause])
    yield from _of_processors(contents)


def _of_verdict(verdict: Verdict) -> Finding:
    mood: Mood = "bad" if verdict.level == "error" else "warning"
    is_said = not verdict.window or verdict.window in verdict.that
    where = "" if is_said else f" ({verdict.window})"
    if verdict.outcome == "not_measured":
        said = f"Not measured, which is not passed{_because(verdict)}"
    elif verdict.value is None:
        said = f"Not met{_because(verdict)}"
    else:
        limit = f"; expected {verdict.limit}" if verdict.limit else ""
        said = f"It was {with_unit(verdict.value, verdict.unit)}{limit}"
    named = (verdict.that,) if verdict.name != verdict.that else ()
    return Finding(mood, f"{verdict.name}{where}", (f"{said}.", *named), "expectations")


def _because(verdict: Verdict) -> str:
    if verdict.reason:
        return f": {verdict.reason.rstrip('.')}"
    return f": measured in {share(verdict.coverage)} of the pictures" if verdict.coverage is not None else ""


def _of_incidents(contents: Contents, kind: str, cause: str, found: Sequence[Incident]) -> Finding:
    spans = ", ".join(span(one.start_s, one.end_s) for one in found[:_MOST_SPANS])
    more = f" and {len(found) - _MOST_SPANS} more" if len(found) > _MOST_SPANS else ""
    count = f"{len(found)} × " if len(found) > 1 else ""
    lasting_s = sum(one.lasting_s for one in found)
    in_all = f" ({seconds(lasting_s)} in all)" if lasting_s else ""
    whose = f"Cause: {cause}, {CAUSES[cause]}." if cause in CAUSES else f"Cause: {cause}."
    what = _meaning(contents, found[0])
    details = (f"{title(spans)}{more}{in_all}.", whose, *((what,) if what else ()))
    mood: Mood = "bad" if any(one.is_error for one in found) else "warning"
    return Finding(mood, f"{count}{title(kind)}", details, "incidents")


def _meaning(contents: Contents, incident: Incident) -> str:
    """The metric it was seen in, and the value that it should not have had."""
    metric = contents.metrics.get(str(incident.evidence.get("metric")))
    if metric is None:
        return ""
    value = incident.evidence.get("value")
    was = f" = {number(value)}" if isinstance(value, bool) else ""
    return f"Seen in {metric.name}{was}" + (f" ({metric.description})." if metric.description else ".")


def _of_processors(contents: Contents) -> Iterator[Finding]:
    for name, said in mapping(contents.totals.get("processors")).items():
        tally = mapping(said)
        if tally.get("quarantined"):
            details = (f"No longer called: {tally['quarantined']}.", "Its metrics are not measured from then on.")
            yield Finding("bad", f"{name} was given up", details, "processors")
        elif errors := figure(tally.get("errors")):
            count = count_of(int(errors), "picture")
            yield Finding("warning", f"{name} failed on {count}", (f"Last: {tally.get('last_error')}.",), "processors")
