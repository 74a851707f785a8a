"""Runs side by side, as a page."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from vision.report.comparison import Comparison, Group, labels
from vision.report.comparison_table import difference_in_words, interval_in_words
from vision.report.differences import Difference, IncidentDifference, Judged
from vision.report.document import document
from vision.report.markup import Heading, Html, element, joined, table
from vision.report.words import count_of, number, seconds, title

__all__ = ["comparison_page"]

_NUMBER = "number"
_MOODS: dict[Judged, tuple[str, str]] = {
    "worse": ("bad", "Worse"),
    "better": ("good", "Better"),
    "changed": ("warning", "Changed"),
    "same": ("good", "Same"),
    "unsure": ("open", "Cannot tell"),
}
_HOW = (
    "Means are compared. The intervals hold for all metrics at once in 95 of 100 comparisons: seconds are resampled"
    " in batches, widened by how alike the seconds that follow each other are. “Worse” and “better” are differences"
    " whose interval leaves out zero, and that are large enough to matter; “same” are those whose whole interval is"
    " smaller than that; of all others these runs cannot tell. What happened once is told by when it was: some"
    " seconds on end, far from all that the baseline ever does."
)


def comparison_page(comparisons: Sequence[Comparison]) -> str:
    """The page as text."""
    names = labels([comparisons[0].before, *(one.after for one in comparisons)])
    heading = f"{', '.join(names[1:])} against {names[0]}"
    sections = [_run(one, name, names[0]) for one, name in zip(comparisons, names[1:], strict=True)]
    head = element(
        "header", element("p", "Comparison", class_="eyebrow"), element("h1", heading), _runs(comparisons, names)
    )
    how = element("section", element("h2", "How to read this"), element("p", _HOW, class_="hint"))
    return document(heading, joined(head, sections, how))


def _runs(comparisons: Sequence[Comparison], names: Sequence[str]) -> Html:
    rows = []
    for run, name in zip([comparisons[0].before, *(one.after for one in comparisons)], names, strict=True):
        started = str(run.folder.run.get("started", "")).replace("T", " ").split(".")[0]
        version = run.folder.run.get("versions")
        cells = [
            element("th", name, element("small", str(run.folder.path)), scope="row"),
            element("td", started or number(None)),
            element("td", seconds(run.duration_s), class_=_NUMBER),
            element("td", str(version.get("avatar-vision", "")) if isinstance(version, dict) else "", class_=_NUMBER),
        ]
        rows.append(element("tr", cells))
    return table(
        "Runs", ("Run (the first is the baseline)", "Started, UTC", ("Length", _NUMBER), ("Measured by", _NUMBER)), rows
    )


def _badge(judged: Judged) -> Html:
    mood, word = _MOODS[judged]
    return element("span", element("span", class_="shape", aria_hidden="true"), word, class_=f"badge {mood}")


def _run(comparison: Comparison, name: str, baseline: str) -> Html:
    verdict = element("div", _badge(comparison.judged), element("p", comparison.sentence()), class_="verdict")
    groups = list(comparison.groups())
    return element(
        "section",
        element("h2", f"{name} against {baseline}"),
        verdict,
        element("ul", [_finding(group) for group in groups], class_="findings") if groups else None,
        _incidents(comparison.incidents),
        element("h3", "All metrics"),
        [_metrics(processor, list(found)) for processor, found in _by_processor(comparison.differences)],
    )


def _finding(group: Group) -> Html:
    mood, word = _MOODS[group.judged]
    before, after, by = difference_in_words(group.lead)
    told = f"{_name(group.lead)}: {before} before, {after} after ({by}; {interval_in_words(group.lead)})."
    more = [f"{_name(one)} {difference_in_words(one)[2]}" for one in group.others]
    heading = element("h3", element("span", class_="shape", aria_hidden="true"), f"{group.processor}: {word.lower()}")
    also = element("p", f"Also: {', '.join(more)}.") if more else None
    about = element("p", f"{group.lead.metric.description}.") if group.lead.metric.description else None
    return element("li", heading, element("p", told), about, also, class_=mood)


def _name(one: Difference) -> str:
    name = one.metric.field or one.metric.name
    return f"coverage of {name}" if one.is_coverage else name


def _incidents(incidents: Sequence[IncidentDifference]) -> Html | None:
    if not incidents:
        return None
    headings: tuple[Heading, ...] = (
        "Incident",
        "",
        *[(text, _NUMBER) for text in ("Before", "After", "A minute before", "After", "Difference, interval")],
    )
    rows = []
    for one in incidents:
        interval = f"{number(one.low, 2)} to {number(one.high, 2)}"
        cells = (str(one.before), str(one.after), number(one.before_rate, 2), number(one.after_rate, 2), interval)
        rows.append(
            element(
                "tr",
                element("th", title(one.kind), scope="row"),
                element("td", _badge(one.judged)),
                [element("td", cell, class_=_NUMBER) for cell in cells],
            )
        )
    return joined(element("h3", "Incidents"), table("Incidents", headings, rows))


def _by_processor(found: Sequence[Difference]) -> list[tuple[str, list[Difference]]]:
    ordered = sorted(
        (one for one in found if one.before is not None or one.after is not None), key=lambda one: one.metric.processor
    )
    return [(processor, list(group)) for processor, group in groupby(ordered, lambda one: one.metric.processor)]


def _metrics(processor: str, found: list[Difference]) -> Html:
    headings: tuple[Heading, ...] = (
        "Metric",
        "",
        *[(text, _NUMBER) for text in ("Before", "After", "Difference", "Interval", "Matters from")],
    )
    told = [one for one in found if one.judged not in ("same", "unsure")]
    shown = [one for one in found if not one.is_coverage or one.judged in ("worse", "better")]
    body = table(f"Metrics of {processor}", headings, [_metric(one) for one in shown])
    count = f"{count_of(len(told), 'difference')} that matter" if told else "no difference that matters"
    return element(
        "details", element("summary", element("h3", processor), element("span", count)), body, open=bool(told)
    )


def _metric(one: Difference) -> Html:
    cells = (*difference_in_words(one), interval_in_words(one), number(one.least, 2))
    return element(
        "tr",
        element("th", _name(one), scope="row"),
        element("td", _badge(one.judged)),
        [element("td", cell, class_=_NUMBER) for cell in cells],
    )
