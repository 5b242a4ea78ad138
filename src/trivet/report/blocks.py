"""The pieces that pages are made of: pictures with their tables, sections, tiles, banners."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from trivet.catalog.environment import Environment
from trivet.catalog.records import STATES, Figure, RunState
from trivet.report.html import Child, Markup, joined, prose, slug, tag
from trivet.report.numbers import bounds, label, value
from trivet.report.pictures.plot import Cell, Missing, Shown, Table, inline_svg

STATE_KINDS: Mapping[RunState, str] = {
    "complete": "good",
    "running": "warn",
    "partial": "warn",
    "interrupted": "warn",
    "invalid": "bad",
    "failed": "bad",
}
# A tripod under a line: the mark of every page.
_MARK = (
    '<svg viewBox="0 0 16 16" aria-hidden="true"><path d="M2 4h12M5 4 3 14M8 4v10M11 4l2 10" fill="none" '
    'stroke="currentColor" stroke-width="1.6" stroke-linecap="round"/></svg>'
)
SHORT_CELL = 26  # letters: such a cell is not broken
_PACKAGES = ("onnxruntime", "openvino", "numpy", "trivet")


@dataclass(frozen=True, slots=True)
class Section:
    """A heading of the contents, and what stands under it."""

    title: str
    content: Sequence[Child]


def page_body(eyebrow: str, title: str, head: Child, sections: Sequence[Section], foot: Child) -> Markup:
    """Title and answer, contents, sections."""
    links = [tag("li", tag("a", section.title, href=f"#{slug(section.title)}")) for section in sections]
    return joined(
        tag(
            "header",
            tag("div", Markup(_MARK), tag("span", eyebrow), class_="eyebrow"),
            tag("h1", title),
            head,
            tag("nav", tag("ul", links), class_="contents", aria_label="Contents"),
        ),
        tag(
            "main",
            [
                tag("section", tag("h2", section.title, id=slug(section.title)), section.content)
                for section in sections
            ],
        ),
        tag("footer", foot),
    )


def picture(shown: Shown, *, heading: bool = True) -> Markup:
    """A plot, wide and narrow, with its caption and its numbers; or a sentence where nothing was measured."""
    title = tag("h3", shown.title) if heading else None
    if isinstance(shown, Missing):
        return joined(title, tag("p", prose(f"Not shown: {shown.why}"), class_="missing"))
    return joined(
        title,
        tag(
            "figure",
            inline_svg(shown, narrow=False),
            inline_svg(shown, narrow=True),
            tag("figcaption", prose(shown.caption)),
            tag("details", tag("summary", "The same as a table"), table(shown.table)),
        ),
    )


def table(
    content: Table, *, sortable: bool = False, chosen: Collection[int] = (), wide: Collection[str] = ()
) -> Markup:
    """A table in a box of its own to scroll in, so that the page never does; without columns that say nothing.

    Args: chosen: rows that stand out.  wide: columns of running text, by their heads.
    """
    content = _without_empty(content)
    numeric = {i for i in range(len(content.head)) if any(isinstance(row[i], tuple) for row in content.rows)}

    def cell(i: int, content_: Cell) -> Markup:
        class_ = "number" if i in numeric else "wide" if content.head[i] in wide else None
        if isinstance(content_, str):
            class_ = class_ or ("short" if len(content_) <= SHORT_CELL else None)
            if i == 0 and i not in numeric:
                return tag("th", content_, scope="row", class_=class_)
            return tag("td", prose(content_), class_=class_)
        text, key = content_
        return tag("td", _faint_interval(text), class_=class_, data_key="" if key is None else f"{key:.10g}")

    rows = [
        tag("tr", [cell(i, one) for i, one in enumerate(row)], class_="chosen" if number in chosen else None)
        for number, row in enumerate(content.rows)
    ]
    head = [
        tag("th", text, scope="col", class_="number" if i in numeric else None)
        for i, text in enumerate(content.head)
    ]
    made = tag(
        "table", tag("thead", tag("tr", head)), tag("tbody", rows), class_="sortable" if sortable else None
    )
    # What scrolls must be reachable by keyboard, and be called something.
    return tag(
        "div",
        made,
        class_="scroll",
        tabindex=0,
        role="region",
        aria_label=f"Table: {', '.join(content.head[:4])}",
    )


def named_values(values: Mapping[str, Any]) -> Markup:
    """A table of two columns."""
    rows = [[name, word(one)] for name, one in values.items()]
    made = [tag("tr", tag("th", name, scope="row"), tag("td", text)) for name, text in rows]
    return tag(
        "div",
        tag("table", tag("tbody", made)),
        class_="scroll",
        tabindex=0,
        role="region",
        aria_label="Values",
    )


def figure_table(figures: Mapping[str, Figure]) -> Table:
    """Every figure of a run: estimate, interval, and what is to be said of it."""
    return Table(
        ["figure", "estimate", "95 % interval", "remark"],
        [
            [label(name), (value(figure), figure.estimate), bounds(figure), figure.verdict]
            for name, figure in figures.items()
        ],
    )


def tile(name: str, shown: str, more: Sequence[str] = ()) -> Markup:
    """A figure in large letters; `more`: a line each."""
    return tag(
        "li",
        tag("span", name, class_="name"),
        tag("span", shown, class_="value"),
        [tag("span", line, class_="more") for line in more if line],
        class_="tile",
    )


def tiles(found: Iterable[Markup]) -> Markup:
    return tag("ul", list(found), class_="tiles")


def bullets(lines: Sequence[str], *, ordered: bool = False) -> Markup | None:
    return tag("ol" if ordered else "ul", [tag("li", prose(line)) for line in lines]) if lines else None


def state_chip(state: RunState) -> Markup:
    return tag("span", state, class_=f"state {STATE_KINDS[state]}", title=STATES[state])


def banner(state: RunState, reason: str) -> Markup | None:
    """What a reader must know before any figure: in large letters where figures mean nothing."""
    if state == "complete":
        return None
    is_bad = STATE_KINDS[state] == "bad"
    head = state.upper() if is_bad else f"{state.capitalize()}: {STATES[state]}"
    text = reason or (STATES[state] if is_bad else "")
    return tag(
        "div",
        tag("strong", head),
        tag("span", text),
        class_="banner" if is_bad else "banner warn",
        role="note",
    )


def environment_values(environment: Environment) -> dict[str, Any]:
    """What could make another run differ, without the lists that only a comparison reads (flags, all packages)."""
    values: dict[str, Any] = msgspec.to_builtins(environment)
    values.pop("contents", None)
    packages: dict[str, str] = values.pop("packages", {})
    values.get("processor", {}).pop("flags", None)
    found = flat(values)
    return found | {f"packages.{name}": packages[name] for name in _PACKAGES if name in packages}


def flat(values: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Nested values by their path with dots; what is empty is left out."""
    found: dict[str, Any] = {}
    for name, one in values.items():
        if isinstance(one, Mapping):
            found |= flat(one, f"{path}{name}.")
        elif one not in (None, "", [], ()):
            found[f"{path}{name}"] = one
    return found


def word(one: Any) -> str:
    return " ".join(map(word, one)) if isinstance(one, list | tuple) else str(one)


def _without_empty(content: Table) -> Table:
    """The columns in which any cell has text."""

    def says(one: Cell) -> bool:
        return bool(one if isinstance(one, str) else one[0])

    kept = [i for i in range(len(content.head)) if any(says(row[i]) for row in content.rows)]
    return Table([content.head[i] for i in kept], [[row[i] for i in kept] for row in content.rows])


def _faint_interval(text: str) -> Child:
    """An estimate and its interval in one cell: the interval stands back."""
    head, bracket, rest = text.partition(" [")
    return (head, " ", tag("span", f"[{rest}", class_="interval")) if bracket else text
