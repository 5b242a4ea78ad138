"""How trials are drawn in two of their figures: marks, intervals, names, the edge of the front, and what colours mean."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from trivet.catalog.records import Figure
from trivet.report.look import LEVELS, LIGHT, MARKERS, levels
from trivet.report.numbers import label, number, value
from trivet.report.pictures.axes import percent_axis, scale, shortened
from trivet.report.study_view import ACCURACY, RATE, Point, StudyView

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

CHOSEN = ("recommended", "closest")  # roles of the one that the study ends with
_FAINT = 0.4
_AXIS_WORDS = {RATE: "largest rate within the SLO, requests/s"}


@dataclass(frozen=True, slots=True)
class Key:
    """Which colour and marker a point has. accuracy: bounds and words of each colour; variants: their markers."""

    edges: Sequence[float]
    colours: Sequence[str]
    words: Sequence[str]
    variants: Sequence[str]

    def colour(self, point: Point) -> str:
        accuracy = point.figures.get(ACCURACY)
        if accuracy is None:
            return LIGHT["muted"] if self.colours else LIGHT[LEVELS[-1]]
        return LIGHT[self.colours[int(np.searchsorted(self.edges, accuracy.estimate, side="right"))]]

    def marker(self, point: Point) -> str:
        return MARKERS[self.variants.index(point.trial.variant) % len(MARKERS)]


def key_of(points: Sequence[Point], view: StudyView) -> Key:
    """Exact accuracies where there are at most five, else as many ranges with equally many of them."""
    figures = [point.figures[ACCURACY] for point in points if ACCURACY in point.figures]
    variants = list(dict.fromkeys(trial.variant for trial in view.study.trials))
    unique = sorted({figure.estimate for figure in figures})
    if not unique:
        return Key((), (), (), variants)
    num = min(len(LEVELS), len(unique))
    groups = [list(part) for part in np.array_split(unique, num)]
    edges = [group[0] for group in groups[1:]]
    unit = figures[0].unit
    words = []
    for group in groups:
        ends = [value(Figure(estimate=float(end), unit=unit)) for end in (group[0], group[-1])]
        words.append(ends[0] if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}")
    colours = levels(num)
    return Key(edges, tuple(reversed(colours)) if view.smaller_is_better else colours, words, variants)


def scatter(axes: "Axes", view: StudyView, points: Sequence[Point], key: Key, x: str, y: str) -> None:
    """Filled: measured; hollow: only predicted; faint: not on the front; crossed: under the accuracy floor."""
    for point in points:
        if point.is_measured:
            _whiskers(axes, point, key.colour(point), x, y)
        if point.role in CHOSEN:
            axes.plot(
                *point.at(x, y), "o", markersize=17, markerfacecolor="none", markeredgecolor=LIGHT["ink"]
            )
    for look, alike in _by_look(points, key).items():
        _marks(axes, look, [point.at(x, y) for point in alike])
    crossed = [point.at(x, y) for point in points if view.under_floor(point.figures)]
    axes.plot(*_columns(crossed), "x", markersize=6, color=LIGHT["bad"], markeredgewidth=1.4, zorder=5)
    _curve(axes, view, points, x, y)
    axes.margins(x=0.06, y=0.12)  # names stand beside the outermost marks, too
    for direction, name in (("x", x), ("y", y)):
        ends = [end for point in points for end in _ends(point.figures[name])]
        if name == ACCURACY:
            if _is_share(points):
                percent_axis(axes, direction)
        else:
            has_slo = name == view.latency_name and direction == "y"
            scale(axes, direction, [*ends, view.slo_ms] if has_slo else ends)
    axes.set_xlabel(_axis_words(view, x))
    axes.set_ylabel(_axis_words(view, y))


class _Look(NamedTuple):
    """What makes marks look alike; in this order the later ones are drawn above the earlier."""

    is_clear: bool
    is_measured: bool
    is_large: bool
    colour: str
    marker: str


def _by_look(points: Sequence[Point], key: Key) -> dict[_Look, list[Point]]:
    """Points that look alike are one artist: thousands of them would take seconds."""
    found: dict[_Look, list[Point]] = {}
    for point in points:
        look = _Look(
            point.is_front or bool(point.role),
            point.is_measured,
            bool(point.role),
            key.colour(point),
            key.marker(point),
        )
        found.setdefault(look, []).append(point)
    return dict(sorted(found.items()))


def _marks(axes: "Axes", look: _Look, places: Sequence[tuple[float, float]]) -> None:
    axes.plot(
        *_columns(places),
        linestyle="none",
        marker=look.marker,
        markersize=9 if look.is_large else 7 if look.is_measured else 5,
        markerfacecolor=look.colour if look.is_measured else LIGHT["paper"],
        markeredgecolor=LIGHT["paper"] if look.is_measured else look.colour,
        markeredgewidth=0.8 if look.is_measured else 1.2,
        alpha=1.0 if look.is_clear else _FAINT,
        zorder=4,
    )


def _whiskers(axes: "Axes", point: Point, colour: str, x: str, y: str) -> None:
    at = point.at(x, y)
    alpha = 0.7 if point.is_front or point.role else 0.7 * _FAINT
    axes.hlines(at[1], *_ends(point.figures[x]), color=colour, alpha=alpha, linewidth=1.1, zorder=2)
    axes.vlines(at[0], *_ends(point.figures[y]), color=colour, alpha=alpha, linewidth=1.1, zorder=2)


def _columns(places: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in places], [y for _, y in places]


def name_roles(axes: "Axes", points: Sequence[Point], x: str, y: str, *, below: float = -14) -> None:
    """Names beside the points that matter, on the side where there is room. Args: below: points of distance."""
    ends = [point.figures[x].estimate for point in points]
    centre = math.sqrt(max(min(ends), 0) * max(ends))  # most axes are logarithmic
    for point in points:
        if point.role:
            at = point.at(x, y)
            is_right = at[0] > centre
            axes.annotate(
                point.role,
                at,
                xytext=(-13 if is_right else 13, below if point.role in CHOSEN else 10),
                textcoords="offset points",
                ha="right" if is_right else "left",
                va="center",
                fontweight="bold" if point.role in CHOSEN else "normal",
                bbox={"facecolor": LIGHT["paper"], "edgecolor": "none", "alpha": 0.75, "pad": 1},
                zorder=3,  # under the marks: none is hidden by words
            )


def _curve(axes: "Axes", view: StudyView, points: Sequence[Point], x: str, y: str) -> None:
    """The edge of what the front reaches in these two figures, as steps: between two configurations there is nothing."""
    places = edge(view, points, x, y)
    # A rate between two needs the one of the larger rate; a latency between two leaves the one of the lower latency.
    where: Literal["pre", "post"] = "pre" if _sign(view, x) > 0 else "post"
    axes.step(*_columns(places), where=where, color=LIGHT["muted"], linewidth=1, alpha=0.8, zorder=1)


def edge(view: StudyView, points: Sequence[Point], x: str, y: str) -> list[tuple[float, float]]:
    """Of the front that is accurate enough, where no other is better in both figures; none where it is a single point."""
    signs = [_sign(view, name) for name in (x, y)]
    reached = [point.at(x, y) for point in points if point.is_front and not view.under_floor(point.figures)]
    best = sorted(at for at in reached if not any(_beats(other, at, signs) for other in reached))
    return best if len(best) > 1 else []


def _sign(view: StudyView, name: str) -> int:
    """1: more is better."""
    if name == ACCURACY:
        return -1 if view.smaller_is_better else 1
    return 1 if name == RATE else -1


def _beats(a: tuple[float, float], b: tuple[float, float], signs: Sequence[int]) -> bool:
    gains = [sign * (ours - theirs) for sign, ours, theirs in zip(signs, a, b, strict=True)]
    return min(gains) >= 0 and max(gains) > 0


def legend(canvas: "Canvas", key: Key, points: Sequence[Point], view: StudyView, *, narrow: bool) -> None:
    from matplotlib.lines import Line2D

    def dot(text: str, colour: str, marker: str = "o", *, hollow: bool = False) -> Line2D:
        face = LIGHT["paper"] if hollow else colour
        return Line2D(
            [], [], linestyle="none", marker=marker, markersize=7, markerfacecolor=face, markeredgecolor=colour, label=text
        )  # fmt: skip

    entries = [
        dot(f"accuracy {word}", LIGHT[colour]) for word, colour in zip(key.words, key.colours, strict=True)
    ]
    present = {point.trial.variant for point in points}
    if len(present) > 1:
        entries += [
            dot(shortened(variant, 22), LIGHT["muted"], MARKERS[i % len(MARKERS)])
            for i, variant in enumerate(key.variants)
            if variant in present
        ]
    if any(not point.is_measured for point in points):
        entries.append(dot("predicted only", LIGHT["muted"], hollow=True))
    if any(view.under_floor(point.figures) for point in points):
        entries.append(dot("misses the accuracy floor", LIGHT["bad"], "x"))
    canvas.legend(
        handles=entries,
        loc="outside lower center",
        ncols=1 if narrow else 4,
        handletextpad=0.3,
        columnspacing=1.4,
    )


def _ends(figure: Figure) -> tuple[float, float]:
    low = figure.estimate if figure.low is None else figure.low
    return low, figure.estimate if figure.high is None else figure.high


def _is_share(points: Sequence[Point]) -> bool:
    return next((p.figures[ACCURACY].unit for p in points if ACCURACY in p.figures), "") in (
        "accuracy",
        "share",
    )


def _axis_words(view: StudyView, name: str) -> str:
    if name == ACCURACY:
        return view.study.goal.metric or "accuracy"
    if name == RATE:
        return _AXIS_WORDS[RATE]
    rate = view.study.reference_rate_rps
    at = f" at {number(rate)} requests/s" if rate else ""
    return f"{label(name)}{at}, ms"
