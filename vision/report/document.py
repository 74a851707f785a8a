"""One HTML file with everything in it: style, script, plotly; and a policy under which nothing else is ever loaded."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files
from pathlib import Path

import vision
from vision.report.markup import Html, element, joined
from vision.report.plotly import packed_plotly, plotly_source

__all__ = ["document", "write_page"]


def document(title: str, body: Html, timeline: Html | None = None) -> str:
    """The whole page.

    :param timeline: the data of its plots; a page without any has no scripts.
    :raises OutputError: when it has plots, and plotly is not installed.
    """
    scripts = _scripts(timeline) if timeline is not None else None
    policy = _policy(*([_asset("report.js"), plotly_source()] if timeline is not None else []))
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
        Html(f"<style>{_asset('report.css')}</style>"),
    )
    foot = element("footer", f"avatar-vision {vision.__version__}. This file needs no network.")
    page = element("html", head, element("body", element("main", body), foot, scripts), lang="en")
    return f"<!doctype html>\n{page}\n"


def _scripts(timeline: Html) -> Html:
    packed = Html(f'<script type="text/plain" id="plotly">{packed_plotly()}</script>')
    return joined(timeline, packed, Html(f"<script>{_asset('report.js')}</script>"))


def _policy(*scripts: str) -> str:
    """Our own scripts and no other, whatever a file of the run may say; nothing from anywhere else."""
    allowed = " ".join(_hash(script) for script in scripts) or "'none'"
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; media-src data:;"
        " base-uri 'none'; form-action 'none'"
    )


def _hash(source: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"


@cache
def _asset(name: str) -> str:
    return files("vision.report").joinpath("assets", name).read_text(encoding="utf-8")


def write_page(path: Path, text: str) -> None:
    """Write it as a whole, or not at all.

    :raises OSError: when it cannot be written.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
