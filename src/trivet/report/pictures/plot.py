"""A picture: drawn once in the colours of paper, as SVG that a page can show in light and dark, and as SVG and PNG files.

A page shows a wide drawing, and a narrow one on a phone: text that shrinks with its picture cannot be read.
"""

import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trivet.errors import ExtraMissingError
from trivet.report.html import Markup, tag
from trivet.report.look import LIGHT

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDE_INCHES, NARROW_INCHES = 9.2, 3.45  # 883 and 331 pixels of CSS: text keeps its size on both screens
PNG_DPI = 144
FORMATS = ("svg", "png")
_FONT_POINTS = 9
_RC: Mapping[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib: the same layout on every machine
    "font.size": _FONT_POINTS,
    "axes.titlesize": _FONT_POINTS,
    "axes.titlelocation": "left",
    "axes.labelcolor": LIGHT["muted"],
    "axes.edgecolor": LIGHT["line"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.facecolor": "none",
    "grid.color": LIGHT["line"],
    "grid.linewidth": 0.6,
    "xtick.color": LIGHT["line"],
    "ytick.color": LIGHT["line"],
    "xtick.labelcolor": LIGHT["muted"],
    "ytick.labelcolor": LIGHT["muted"],
    "xtick.labelsize": _FONT_POINTS - 0.5,
    "ytick.labelsize": _FONT_POINTS - 0.5,
    "text.color": LIGHT["ink"],
    "legend.frameon": False,
    "legend.fontsize": _FONT_POINTS - 0.5,
    "svg.fonttype": "none",
    "figure.facecolor": LIGHT["paper"],
    "path.simplify": True,
}


@dataclass(frozen=True, slots=True)
class Table:
    """Figures as text. rows: a cell is text, or text and the number that it is sorted by."""

    head: Sequence[str]
    rows: Sequence[Sequence["Cell"]]


Cell = str | tuple[str, float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """What is drawn, said and listed of one question.

    name: of its files.  caption: what to see in it.  alt: what is drawn, for who cannot see it.
    draw: onto an empty figure; is told whether it is narrow.  table: the same as numbers.
    heights: of the wide and the narrow drawing, in inches.
    """

    name: str
    title: str
    caption: str
    alt: str
    draw: Callable[["Figure", bool], None]
    table: Table
    heights: tuple[float, float] = (4.0, 3.4)


@dataclass(frozen=True, slots=True)
class Missing:
    """A question that nothing was measured for: it is said, not drawn empty. why: with the next step."""

    name: str
    title: str
    why: str


Shown = Plot | Missing


def inline_svg(plot: Plot, *, narrow: bool) -> Markup:
    """An <svg> element whose colours are the page's names.

    Raises: ExtraMissingError: matplotlib is not installed.
    """
    text = _drawn(plot, "svg", narrow=narrow).decode()
    return Markup(_for_page(text, plot, "narrow" if narrow else "wide-plot"))


def write_pictures(plots: Sequence[Plot], folder: Path) -> list[Path]:
    """NAME.svg and NAME.png of each, in the colours of paper; the same plots give the same bytes.

    Raises: OSError: the folder cannot be written.  ExtraMissingError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for plot in plots:
        for kind in FORMATS:
            path = folder / f"{plot.name}.{kind}"
            path.write_bytes(_drawn(plot, kind, narrow=False))
            paths.append(path)
    return paths


def _drawn(plot: Plot, kind: str, *, narrow: bool) -> bytes:
    with _style(plot.name + ("-narrow" if narrow else "")):
        from matplotlib.figure import Figure

        width = NARROW_INCHES if narrow else WIDE_INCHES
        figure = Figure(figsize=(width, plot.heights[narrow]), layout="constrained")
        plot.draw(figure, narrow)
        buffer = io.BytesIO()
        metadata = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
        figure.savefig(buffer, format=kind, dpi=PNG_DPI, metadata=metadata)
    return buffer.getvalue()


@contextmanager
def _style(salt: str) -> Iterator[None]:
    """Ids in an SVG come from its salt: equal runs give equal bytes, and two pictures of one page no equal ids."""
    try:
        import matplotlib as mpl
    except ImportError:
        raise ExtraMissingError("a picture", "bench") from None
    settings: Any = {**_RC, "svg.hashsalt": salt}  # its keys are known to matplotlib one by one
    with mpl.rc_context(settings):
        yield


def _for_page(svg: str, plot: Plot, class_: str) -> str:
    """Without what only a file needs, and with names in place of colours and fonts."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r" xmlns(:\w+)?=\"[^\"]*\"", "", svg).replace("xlink:href", "href")
    used = set(re.findall(r"(?:href=\"#|url\(#)([^\")]+)", svg))
    svg = re.sub(r' id="([^"]*)"', lambda found: found[0] if found[1] in used else "", svg)
    svg = re.sub(r"font-family: [^;\"]*; ", "", svg)  # the page's
    names = {value: f"var(--{name})" for name, value in LIGHT.items()}
    svg = re.sub("|".join(names), lambda found: names[found[0]], svg)
    svg = re.sub(r'<svg [^>]*viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1">', svg, count=1)
    # As an element of the page: attributes are escaped where all others are.
    opening = tag("svg", class_=class_, role="img", aria_label=plot.alt).removesuffix("></svg>")
    return re.sub(r"\s*\n\s*", "\n", svg).strip().replace("<svg", opening, 1)
