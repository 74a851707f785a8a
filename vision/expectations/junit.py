"""junit.xml: the verdicts as CI servers read them.

Each expectation is a test case, and the run itself is one, which errs where the run did. What fails at level `error`
is a failure; what fails at level `warning` is skipped, since the format has no warnings and a build must not break by
them. The file keeps to the schemas of Ant (elements and attributes that must be there, and their order) and of Jenkins.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from xml.etree import ElementTree

__all__ = ["junit"]

_INVALID = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # what XML 1.0 cannot hold
_THE_RUN = "the run"


def junit(summary: Mapping[str, Any], started: datetime) -> str:
    """The text of junit.xml.

    :param summary: the content of summary.json.
    """
    name, verdicts = summary["name"], summary["verdicts"]
    suite = ElementTree.Element("testsuite")
    ElementTree.SubElement(suite, "properties")
    _the_run(suite, name, summary)
    for verdict in verdicts:
        _case(suite, name, verdict)
    ElementTree.SubElement(suite, "system-out").text = _closing(summary)
    ElementTree.SubElement(suite, "system-err").text = _clean(summary["end"]["error"] or "")
    counts = {
        "tests": len(suite.findall("testcase")),
        "failures": len(suite.findall("testcase/failure")),
        "errors": len(suite.findall("testcase/error")),
        "skipped": len(suite.findall("testcase/skipped")),
    }
    suite.attrib |= {
        "name": name,
        "package": "vision",
        "id": "0",
        "hostname": "localhost",
        "timestamp": started.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S"),
        "time": f"{summary['duration_s'] or 0:.3f}",
        **{key: str(count) for key, count in counts.items()},
    }
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _the_run(suite: ElementTree.Element, name: str, summary: Mapping[str, Any]) -> None:
    end = summary["end"]
    case = _testcase(suite, name, _THE_RUN, summary["duration_s"] or 0)
    if end["exit_status"] not in (0, 1):
        error = _clean(end["error"] or end["reason"])
        ElementTree.SubElement(case, "error", type=end["reason"], message=error).text = error


def _case(suite: ElementTree.Element, run: str, verdict: Mapping[str, Any]) -> None:
    case = _testcase(suite, run, verdict["name"], 0)
    reason = _clean(verdict["reason"] or "")
    if verdict["verdict"] == "skipped":
        ElementTree.SubElement(case, "skipped", message=reason)
    elif verdict["verdict"] != "passed":
        message = f"{_clean(verdict['that'])}: {reason}"
        if verdict["level"] == "warning":
            ElementTree.SubElement(case, "skipped", message=f"warning: {message}")
        else:
            ElementTree.SubElement(case, "failure", type=verdict["verdict"], message=message).text = message


def _testcase(suite: ElementTree.Element, run: str, name: str, seconds: float) -> ElementTree.Element:
    given = {"name": " ".join(_clean(name).split()), "classname": run, "time": f"{seconds:.3f}"}
    return ElementTree.SubElement(suite, "testcase", given)


def _closing(summary: Mapping[str, Any]) -> str:
    found = ", ".join(f"{count} {kind}" for kind, count in summary["incidents"].items()) or "none"
    return _clean(f"{summary['frames']} frames; incidents: {found}; ended: {summary['end']['reason']}")


def _clean(text: str) -> str:
    return _INVALID.sub("\ufffd", text)
