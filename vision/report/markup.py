"""HTML that is made of elements, so that no text of a file is ever taken for markup."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable
from typing import Any, TypeAlias

__all__ = ["Child", "Heading", "Html", "element", "joined", "json_script", "table"]


class Html(str):
    """Markup; any other text is escaped where it is put into an element."""

    __slots__ = ()


Child: TypeAlias = "str | Iterable[Child] | None"
Heading: TypeAlias = "str | tuple[str, str]"
_VOID = frozenset(["br", "col", "img", "input", "meta"])


def joined(*children: Child) -> Html:
    """Children one after the other; `None` is nothing."""
    return Html("".join(_markup(child) for child in children))


def _markup(child: Child) -> str:
    if child is None:
        return ""
    if isinstance(child, Html):
        return child
    if isinstance(child, str):
        return html.escape(child)
    return "".join(_markup(each) for each in child)


def element(tag: str, /, *children: Child, **attributes: str | int | float | bool | None) -> Html:
    """`element("td", "5 < 6", class_="number")`; an attribute that is `None` or false is left out."""
    given = "".join(
        _attribute(key, value) for key, value in attributes.items() if value is not None and value is not False
    )
    opened = f"<{tag}{given}>"
    return Html(opened if tag in _VOID else f"{opened}{joined(*children)}</{tag}>")


def _attribute(key: str, value: str | int | float | bool) -> str:
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{html.escape(str(value))}"'


def table(caption: str, headings: Iterable[Heading], rows: Iterable[Child], class_: str = "") -> Html:
    """A table that can be scrolled, also by keyboard.

    :param caption: its name, for those who hear the page.
    :param headings: text, or text and class.
    :param rows: `tr` elements.
    """
    cells = [(heading, "") if isinstance(heading, str) else heading for heading in headings]
    head = element("tr", [element("th", text, scope="col", class_=kind or None) for text, kind in cells])
    body = element("table", element("thead", head), element("tbody", rows), class_=class_ or None, aria_label=caption)
    return element("div", body, class_="scroll", tabindex=0, role="region", aria_label=caption)


def json_script(name: str, data: Any) -> Html:
    """Data for scripts: no text in it can end the element."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return Html(f'<script type="application/json" id="{name}">{text}</script>')
