"""HTML as values: text is escaped, only what is Markup already is not. And the one page around everything."""

import html
import re
from collections.abc import Iterable
from functools import cache
from importlib import resources

from trivet.report.look import css_variables

_VOID = {"br", "hr", "img", "meta", "link"}


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


Child = str | Iterable["Child"] | None


def tag(name: str, /, *children: Child, **attributes: str | int | bool | None) -> Markup:
    """An element. Attributes: `class_` is class, `data_x` is data-x; True: without a value; None or False: left out."""
    words = [name]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        label = key.rstrip("_").replace("_", "-")
        words.append(label if value is True else f'{label}="{_quoted(str(value))}"')
    opened = f"<{' '.join(words)}>"
    return Markup(opened if name in _VOID else f"{opened}{joined(*children)}</{name}>")


def joined(*children: Child) -> Markup:
    """Children one after the other; None is nothing."""
    parts = []
    for child in children:
        if child is None:
            continue
        if isinstance(child, Markup):
            parts.append(str(child))
        elif isinstance(child, str):
            parts.append(html.escape(child, quote=False))
        else:
            parts.append(str(joined(*child)))
    return Markup("".join(parts))


def prose(text: str) -> Markup:
    """Text in which `this` is code; no line ends between a number and its unit."""
    parts = re.sub(r"(?<=\d) (?=%|ms\b|MiB\b)|(?<=×) (?=\d)", "\N{NO-BREAK SPACE}", text).split("`")
    return joined(*(tag("code", part) if i % 2 else part for i, part in enumerate(parts)))


def document(title: str, *body: Child) -> str:
    """A whole page in one file: style and script inside, nothing fetched from anywhere."""
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        # Where a page is shown by a web server, too: nothing from elsewhere, whatever a record's text says.
        tag(
            "meta",
            http_equiv="Content-Security-Policy",
            content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:",
        ),
        tag("link", rel="icon", href="data:,"),
        tag("title", title),
        tag("style", Markup(css_variables() + _resource("style.css"))),
    )
    script = tag("script", Markup(_resource("page.js")))
    return f'<!doctype html>\n<html lang="en">{head}{tag("body", *body, script)}</html>\n'


def slug(text: str) -> str:
    """A word for an id, of letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _quoted(text: str) -> str:
    return html.escape(text, quote=False).replace('"', "&quot;")


@cache
def _resource(name: str) -> str:
    return resources.files("trivet.report").joinpath(name).read_text(encoding="utf-8")
