"""report.html of one run."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

from vision.report.contents import Contents, Metric, Verdict
from vision.report.document import document
from vision.report.evidence import Exhibit, exhibits
from vision.report.findings import Finding, Headline, findings, headline
from vision.report.markup import Child, Heading, Html, element, joined, json_script, table
from vision.report.reading import Incident, figure, mapping
from vision.report.timeline import bins_of, timeline
from vision.report.words import CAUSES, count_of, number, seconds, share, span, title, with_unit

__all__ = ["report_page"]

_MOST_INCIDENTS = 300  # rows of the table; further ones are in incidents.jsonl
_MOST_EXHIBITS = 50
_GOOD = {
    "high": "↑ high",
    "low": "↓ low",
    "zero": "→0 near zero",
    "true": "yes",
    "false": "no",
    "neither": "",
}
_OUTCOMES = {
    "passed": ("good", "passed"),
    "failed": ("bad", "failed"),
    "not_measured": ("bad", "not measured"),
    "skipped": ("open", "left out"),
}
_NUMBER = "number"


def report_page(contents: Contents, page: Path) -> str:
    """The page as text.

    :param page: where it will be written, which links to files are relative to.
    :raises OutputError: when plotly is not installed.
    """
    lead = headline(contents)
    sections = [
        _head(contents, lead),
        _what_went_wrong(list(findings(contents))),
        _expectations(contents.verdicts),
        _timeline(contents),
        _incidents(contents, exhibits(contents.folder, page)),
        _metrics(contents),
        _not_measured(contents),
        _processors(contents),
        _stream(contents),
        _setup(contents),
    ]
    data = json_script("timeline-data", timeline(contents))
    return document(f"{contents.folder.name}: {lead.word.lower()}", joined(*sections), data)


def _section(anchor: str, heading: str, *children: Child) -> Html:
    return element(
        "section",
        element("h2", heading, id=f"{anchor}-heading"),
        *children,
        id=anchor,
        aria_labelledby=f"{anchor}-heading",
    )


def _badge(mood: str, word: str) -> Html:
    """A word with a shape, so that colour is not needed."""
    return element("span", element("span", class_="shape", aria_hidden="true"), word, class_=f"badge {mood}")


def _head(contents: Contents, lead: Headline) -> Html:
    run, totals = contents.folder.run, contents.totals
    config = mapping(run.get("config"))
    source = str(mapping(config.get("source")).get("use", "")) or None
    started = str(run.get("started", "")).replace("T", " ").split(".")[0]
    said = [text for text in (source and f"source {source}", started and f"{started} UTC") if text]
    figures = [
        ("Length", seconds(contents.duration_s)),
        ("Pictures", number(figure(totals.get("pictures")), 9)),
        ("Missing", number(figure(totals.get("pictures_missing")), 9)),
        ("Damaged", number(figure(totals.get("pictures_corrupt")), 9)),
        ("Incidents", number(len(contents.incidents), 9)),
    ]
    return element(
        "header",
        element("p", " · ".join(said), class_="eyebrow"),
        element("h1", contents.folder.name),
        element("div", _badge(lead.mood, lead.word), element("p", _with_code(lead.sentence)), class_="verdict"),
        element(
            "dl",
            [element("div", element("dt", name), element("dd", value)) for name, value in figures],
            class_="figures",
        ),
        element("ul", [element("li", note) for note in contents.folder.notes], class_="notes")
        if contents.folder.notes
        else None,
    )


def _with_code(text: str) -> Html:
    """What is between backticks as code."""
    parts = text.split("`")
    return joined(*(element("code", part) if index % 2 else part for index, part in enumerate(parts)))


def _what_went_wrong(found: list[Finding]) -> Html:
    if not found:
        return _section("wrong", "What went wrong", element("p", "Nothing that was looked for."))
    items = [
        element(
            "li",
            element(
                "h3",
                element("span", class_="shape", aria_hidden="true"),
                element("a", one.heading, href=f"#{one.anchor}"),
            ),
            [element("p", detail) for detail in one.details],
            class_=one.mood,
        )
        for one in found
    ]
    return _section("wrong", "What went wrong", element("ul", items, class_="findings"))


def _expectations(verdicts: tuple[Verdict, ...]) -> Html | None:
    if not verdicts:
        return None
    headings = ("Verdict", "Expectation", ("Value", _NUMBER), ("Limit", _NUMBER), ("Covered", _NUMBER))
    return _section(
        "expectations", "Expectations", table("Expectations", headings, [_verdict(one) for one in verdicts])
    )


def _verdict(one: Verdict) -> Html:
    mood, word = _OUTCOMES.get(one.outcome, ("open", one.outcome))
    if one.is_bad and one.level == "warning":
        mood, word = "warning", f"warning: {word}"
    window = None if one.window and one.window in one.that else one.window
    about = [one.that if one.that != one.name else None, window, one.reason]
    return element(
        "tr",
        element("td", _badge(mood, word)),
        element("td", one.name, [element("small", text) for text in about if text]),
        element("td", with_unit(one.value, one.unit), class_=_NUMBER),
        element("td", one.limit or "–", class_=_NUMBER),
        element("td", share(one.coverage), class_=_NUMBER),
    )


def _timeline(contents: Contents) -> Html | None:
    if not contents.series:
        return None
    bin_s = bins_of(contents)
    honest = (
        f"Long runs are drawn in bins of at least {number(bin_s)} s: the line is their mean, and the band around it"
        " reaches from the least value to the greatest, so that nothing that stands out is lost."
        if bin_s
        else "Every value is drawn. Where a line is broken, nothing was measured."
    )
    choice = element(
        "label",
        "Add a metric ",
        element("select", element("option", "choose…", value=""), id="more", disabled=True),
        class_="no-print",
    )
    tools = element(
        "div",
        choice,
        element("button", "Whole run", type="button", id="whole", disabled=True, class_="no-print"),
        class_="tools",
    )
    plot = element(
        "div",
        element("p", "Plots need JavaScript.", class_="wait"),
        id="timeline-plot",
        role="img",
        aria_label="Timeline of the run: incidents and metrics over time. The tables below hold the same figures.",
    )
    hint = element("p", "Drag to zoom, double-click for the whole run; point at it for values.", class_="hint no-print")
    return _section("timeline", "Timeline", hint, tools, plot, element("p", honest, class_="hint"))


def _incidents(contents: Contents, shown: list[Exhibit]) -> Html | None:
    if not contents.incidents:
        return None
    pairs = list(zip(contents.incidents, shown, strict=True))
    cards = [
        _card(incident, exhibit)
        for incident, exhibit in pairs
        if exhibit.still or exhibit.clip or exhibit.still_link or exhibit.clip_link
    ]
    rows = [_incident(contents, incident) for incident, _ in pairs[:_MOST_INCIDENTS]]
    headings = (("From", _NUMBER), ("To", _NUMBER), ("Lasting", _NUMBER), "Incident", "Cause", "Seen in")
    more = len(pairs) - _MOST_INCIDENTS
    return _section(
        "incidents",
        "Incidents",
        table("Incidents", headings, rows),
        element("p", f"And {more} more, in incidents.jsonl.", class_="hint") if more > 0 else None,
        element("div", cards[:_MOST_EXHIBITS], class_="cards")
        if cards
        else element(
            "p",
            "No stills were kept: ",
            element("code", "run: {evidence: true}"),
            " keeps a still and a clip of each incident.",
            class_="hint",
        ),
    )


def _incident(contents: Contents, incident: Incident) -> Html:
    mood = "bad" if incident.is_error else "warning"
    ended, lasting = seconds(incident.end_s), seconds(incident.lasting_s or None)
    return element(
        "tr",
        [element("td", text, class_=_NUMBER) for text in (seconds(incident.start_s), ended, lasting)],
        element("td", _badge(mood, title(incident.kind)), element("small", incident.severity)),
        element("td", incident.cause, element("small", CAUSES.get(incident.cause, ""))),
        element("td", _seen_in(contents, incident.evidence)),
    )


def _seen_in(contents: Contents, evidence: Mapping[str, Any]) -> Html:
    told = [
        f"{title(key).lower()} {number(value)}"
        for key, found in evidence.items()
        if key not in ("metric", "value") and (value := figure(found)) is not None
    ]
    worst = mapping(evidence.get("worst"))
    if worst.get("metric"):
        metric = contents.metrics.get(str(worst["metric"]))
        at_worst = with_unit(figure(worst.get("value")), metric.unit if metric else "1")
        told.insert(0, f"{worst['metric']} at worst {at_worst}")
    return joined(element("code", str(evidence.get("metric", ""))), [element("small", text) for text in told])


def _card(incident: Incident, exhibit: Exhibit) -> Html:
    name, when = title(incident.kind), span(incident.start_s, incident.end_s)
    caption = element("figcaption", element("strong", name), f" {when}, {incident.cause}", _links(exhibit))
    return element("figure", _still(exhibit, f"{name}, {when}"), _clip(exhibit, name), caption)


def _still(exhibit: Exhibit, about: str) -> Html | None:
    if exhibit.still is None:
        return None
    width, height = exhibit.size
    picture = element("img", src=exhibit.still, alt=f"Still: {about}", width=width, height=height)
    if not exhibit.points:
        return element("div", picture, class_="still")
    radius = round(max(width, height) / 640, 2)
    dots = "".join(f"M{x:g} {y:g}h0" for x, y in exhibit.points)
    overlay = element(
        "svg", element("path", d=dots, stroke_width=2 * radius), viewBox=f"0 0 {width} {height}", aria_hidden="true"
    )
    return element("div", picture, overlay, class_="still")


def _clip(exhibit: Exhibit, name: str) -> Html | None:
    if exhibit.clip is None:
        return None
    video = element("video", src=exhibit.clip, controls=True, preload="metadata", aria_label=f"Clip: {name}")
    return element("details", element("summary", "Clip"), video, class_="no-print")


def _links(exhibit: Exhibit) -> Html:
    links = []
    if exhibit.still_link:
        links.append(element("a", "still", href=exhibit.still_link))
    if exhibit.clip_link:
        links.append(element("a", "clip", href=exhibit.clip_link))
    beside = (
        ""
        if exhibit.clip or not exhibit.clip_link
        else " (the clip lies beside the report: it was too large to be put in)"
    )
    return element("small", [joined(" · " if index else "", link) for index, link in enumerate(links)], beside)


def _metrics(contents: Contents) -> Html | None:
    measured = [metric for metric in contents.metrics.values() if metric.totals.get("count")]
    if not measured:
        return None
    groups = [_group(processor, list(found)) for processor, found in groupby(measured, lambda metric: metric.processor)]
    about = "Covered: the share of the pictures due in which it was measured. Of flags, the mean is the share of “yes”."
    return _section("metrics", "Metrics", element("p", about, class_="hint"), groups)


def _group(processor: str, found: list[Metric]) -> Html:
    numbers = [(heading, _NUMBER) for heading in ("Covered", "Mean", "5 %", "Median", "95 %", "Least", "Greatest")]
    rows = [_metric(metric) for metric in found]
    body = table(f"Metrics of {processor}", ("Metric", *numbers, "Unit", "Good"), rows, "metrics")
    return element(
        "details",
        element("summary", element("h3", processor), element("span", count_of(len(found), "metric"))),
        body,
        open=True,
    )


def _metric(metric: Metric) -> Html:
    totals = metric.totals
    keys = ("mean", "p5", "p50", "p95", "min", "max")
    figures = [share(totals.get("mean")), *[""] * 5] if metric.is_flag else [number(totals.get(key)) for key in keys]
    unit = "" if metric.unit in ("1", "bool") else metric.unit
    return element(
        "tr",
        element("th", metric.field, element("small", metric.description), scope="row"),
        element("td", _bar(metric.coverage), class_=_NUMBER),
        [element("td", figure, class_=_NUMBER) for figure in figures],
        element("td", unit),
        element("td", _GOOD.get(metric.good, metric.good), class_="quiet"),
    )


def _bar(coverage: float) -> Html:
    ratio = min(max(coverage, 0.0), 1.0)
    bar = element("span", element("span", style=f"width:{100 * ratio:.1f}%"), class_="bar", aria_hidden="true")
    return joined(share(coverage), bar)


def _not_measured(contents: Contents) -> Html | None:
    never, partly = list(contents.never_measured()), list(contents.partly_measured())
    if not never and not partly:
        return None
    rows = [
        element(
            "tr",
            element("th", metric.name, element("small", metric.description), scope="row"),
            element("td", share(metric.coverage), class_=_NUMBER),
            element("td", _why(contents, metric)),
        )
        for metric in (*never, *partly)
    ]
    about = "Never measured, or in less than half of the pictures. What was not measured has not passed."
    body = table("Not measured", ("Metric", ("Covered", _NUMBER), "Why"), rows)
    return _section("not-measured", "Not measured", element("p", about, class_="hint"), body)


def _why(contents: Contents, metric: Metric) -> str:
    tally = mapping(mapping(contents.totals.get("processors")).get(metric.processor))
    if tally.get("quarantined"):
        return f"{metric.processor} was given up: {tally['quarantined']}"
    if contents.errors.get(metric.processor):
        reasons = contents.errors[metric.processor]
        failed = count_of(sum(reasons.values()), "picture")
        return f"{metric.processor} failed on {failed}, mostly: {max(reasons, key=lambda reason: reasons[reason])}"
    others = [one for one in contents.metrics.values() if one.processor == metric.processor]
    if not any(one.totals.get("count") for one in others):
        return f"{metric.processor} measured nothing in this run"
    return f"{metric.processor} gave no value where there was nothing to measure it by"


def _processors(contents: Contents) -> Html | None:
    found = mapping(contents.totals.get("processors"))
    if not found:
        return None
    headings: tuple[Heading, ...] = (
        "Processor",
        *[(text, _NUMBER) for text in ("Called", "Skipped", "Errors", "ms, median", "ms, 95 %")],
        "Trouble",
    )
    rows = [_processor(name, mapping(tally)) for name, tally in found.items()]
    return _section("processors", "Processors and what they cost", table("Processors", headings, rows))


def _processor(name: str, tally: Mapping[str, Any]) -> Html:
    spent = mapping(tally.get("ms"))
    figures = [number(figure(tally.get(key)), 9) for key in ("frames", "skipped", "errors")]
    figures += [number(figure(spent.get(key)), 3) for key in ("p50", "p95")]
    trouble = tally.get("quarantined") or tally.get("last_error") or ""
    return element(
        "tr",
        element("th", name, scope="row"),
        [element("td", text, class_=_NUMBER) for text in figures],
        element("td", str(trouble)),
    )


def _stream(contents: Contents) -> Html | None:
    parts = [_clock(contents), _counts("Queue", mapping(contents.totals.get("queue")))]
    transport = mapping(contents.totals.get("transport"))
    parts += [_counts(f"Network: {kind}", mapping(found)) for kind, found in transport.items()]
    known = [part for part in parts if part is not None]
    return _section("stream", "Clock, queue and network", element("div", known, class_="columns")) if known else None


def _clock(contents: Contents) -> Html | None:
    kinds = mapping(mapping(contents.totals.get("clock")).get("kinds"))
    if not kinds:
        return None
    headings: tuple[Heading, ...] = (
        "Sound is related to pictures by",
        *[(text, _NUMBER) for text in ("Frames", "Error, median", "95 %", "Worst")],
    )
    rows = []
    for kind, found in kinds.items():
        errors = mapping(mapping(found).get("error_ms"))
        cells = [
            number(figure(mapping(found).get("frames")), 9),
            *(with_unit(figure(errors.get(key)), "ms", 3) for key in ("p50", "p95", "max")),
        ]
        rows.append(
            element(
                "tr", element("th", title(kind), scope="row"), [element("td", cell, class_=_NUMBER) for cell in cells]
            )
        )
    return element("div", element("h3", "Clock"), table("Clock", headings, rows))


def _counts(heading: str, found: Mapping[str, Any], named: Callable[[str], str] = title) -> Html | None:
    rows = [
        element(
            "tr",
            element("th", named(name), scope="row"),
            element("td", _told(value), class_=_NUMBER),
        )
        for name, value in found.items()
        if not isinstance(value, dict | list)
    ]
    return element("div", element("h3", heading), table(heading, ("", ("", _NUMBER)), rows, "plain")) if rows else None


def _told(value: Any) -> str:
    """A fact; an integer that is beyond all measure is not written out."""
    count = None if isinstance(value, bool) else figure(value)
    if count is not None:
        return number(count, 6)
    return "more" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _setup(contents: Contents) -> Html | None:
    run = contents.folder.run
    if not run:
        return None
    facts = [("Versions", run.get("versions")), ("Machine", run.get("machine"))]
    tables = [part for heading, found in facts if (part := _counts(heading, mapping(found), str)) is not None]
    texts = [("Configuration as run", run.get("config")), ("Source", run.get("source"))]
    documents = [_document(heading, found) for heading, found in texts if found]
    return _section("setup", "Configuration, versions, machine", element("div", tables, class_="columns"), documents)


def _document(heading: str, found: Any) -> Html:
    text = json.dumps(found, indent=2, ensure_ascii=False)
    body = element("pre", text, tabindex=0, role="region", aria_label=heading)
    return element("details", element("summary", element("h3", heading)), body)
