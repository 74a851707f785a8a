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


def document(title: str, body: Html, data: Html) -> str:
    """The whole page; plots find their data in `data`.

    :raises OutputError: when plotly is not installed.
    """
    script = _asset("report.js")
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_policy(script)),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
        Html(f"<style>{_asset('report.css')}</style>"),
    )
    packed = Html(f'<script type="text/plain" id="plotly">{packed_plotly()}</script>')
    foot = element("footer", f"avatar-vision {vision.__version__}. This file needs no network.")
    page = element(
        "html",
        head,
        element("body", element("main", body), foot, data, packed, Html(f"<script>{script}</script>")),
        lang="en",
    )
    return f"<!doctype html>\n{joined(page)}\n"


def _policy(script: str) -> str:
    """Our two scripts and no other, whatever a file of the run may say; nothing from anywhere else."""
    scripts = " ".join(_hash(source) for source in (script, plotly_source()))
    return (
        f"default-src 'none'; script-src {scripts}; style-src 'unsafe-inline'; img-src data: blob:; media-src data:;"
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
