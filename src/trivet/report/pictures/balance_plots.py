"""The balance curve: latency, throughput and accuracy of every trial, two legs at a time."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from trivet.catalog.records import Figure
from trivet.report.look import LIGHT
from trivet.report.numbers import counted, number, short, value, whole
from trivet.report.pictures.balance_marks import edge, key_of, legend, name_roles, scatter
from trivet.report.pictures.plot import Cell, Missing, Plot, Shown, Table
from trivet.report.study_view import ACCURACY, RATE, Point, StudyView

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

MAX_FAINT = 400  # points that are only predicted and not on the front: the page stays small


def balance(view: StudyView) -> Shown:
    """Latency at the reference rate against the largest rate within the SLO: the picture that answers."""
    points = _shown(view, RATE, view.latency_name)
    if not points:
        return Missing("balance", "The balance curve", _nothing(view))
    key = key_of(points, view)

    def draw(canvas: "Canvas", narrow: bool) -> None:
        axes = canvas.subplots()
        scatter(axes, view, points, key, RATE, view.latency_name)
        axes.axhline(view.slo_ms, color=LIGHT["bad"], linestyle="--", linewidth=1.1, zorder=1)
        axes.annotate(
            f"SLO {number(view.slo_ms)} ms", (0.995, view.slo_ms), xycoords=("axes fraction", "data"),
            xytext=(0, 3), textcoords="offset points", ha="right", color=LIGHT["bad"],
        )  # fmt: skip
        name_roles(axes, points, RATE, view.latency_name)
        legend(canvas, key, points, view, narrow=narrow)

    return Plot(
        name="balance",
        title="The balance curve",
        caption=_caption(view, points),
        alt=_alt(view, points),
        draw=draw,
        table=_table(view, points),
        heights=(4.9, 5.2),
    )


def legs(view: StudyView) -> Shown:
    """Accuracy against rate and against latency, beside each other."""
    pairs = [(x, ACCURACY) for x in (RATE, view.latency_name) if _shown(view, x, ACCURACY)]
    if not pairs:
        return Missing(
            "accuracy-legs",
            "Accuracy against rate and latency",
            "no accuracy was measured. Give the service labelled data, `decode` and a `metric` (docs/service-yaml.md).",
        )
    points = [_shown(view, x, y) for x, y in pairs]
    key = key_of(_shown(view, *pairs[0]), view)

    def draw(canvas: "Canvas", narrow: bool) -> None:
        shape = (len(pairs), 1) if narrow else (1, len(pairs))
        all_axes = list(canvas.subplots(*shape, squeeze=False, sharey=True).flat)
        for axes, (x, y), shown in zip(all_axes, pairs, points, strict=True):
            scatter(axes, view, shown, key, x, y)
            if view.study.goal.accuracy_floor is not None:
                axes.axhline(
                    view.study.goal.accuracy_floor, color=LIGHT["bad"], linestyle="--", linewidth=1.1
                )
            named = [point for point in shown if point.role != "runner-up"]
            name_roles(axes, named, x, y, below=-24)
            if not narrow and axes is not all_axes[0]:
                axes.set_ylabel("")

    return Plot(
        name="accuracy-legs",
        title="Accuracy against rate and latency",
        caption="The same trials from the two other sides."
        + (f" The dashed line is the accuracy that is asked for: {view.floor}." if view.floor else ""),
        alt="Accuracy of each trial against its largest rate within the SLO, and against its latency",
        draw=draw,
        table=_table(view, points[0]),
        heights=(3.6, 6.0),
    )


def _shown(view: StudyView, x: str, y: str) -> list[Point]:
    """Points with both figures; of those that are faint anyway an even part, where there are too many."""
    both = [point for point in view.points if x in point.figures and y in point.figures]
    faint = [point for point in both if not (point.is_measured or point.is_front or point.role)]
    if len(faint) <= MAX_FAINT:
        return both
    kept = {faint[i].trial.id for i in np.linspace(0, len(faint) - 1, MAX_FAINT).astype(int)}
    dropped = {point.trial.id for point in faint} - kept
    return [point for point in both if point.trial.id not in dropped]


def _caption(view: StudyView, points: Sequence[Point]) -> str:
    front = sum(point.is_front for point in points)
    measured = sum(point.is_measured for point in points)
    shown = counted(len(points), "configuration")
    words = (
        f"Right and down is better. {measured} of the {shown} shown were measured under load, with 95 % intervals"
        if measured
        else f"Right and down is better. None of the {shown} shown was measured under load: all are predicted"
    )
    words += (
        f"; {front} {'is' if front == 1 else 'are'} on the front, where no other is better in latency, throughput and "
        "accuracy together. "
        "Those that are not are faint."
    )
    if edge(view, points, RATE, view.latency_name):
        words += " The line is the edge of what the front reaches with enough accuracy."
    if view.study.num_screened > len(points):
        words += f" {view.study.num_screened:,} were screened by simulation."
    return words


def _alt(view: StudyView, points: Sequence[Point]) -> str:
    named = [
        f"{point.role}: {value(point.figures[RATE])} at {value(point.figures[view.latency_name])}"
        for point in points
        if point.role
    ]
    return f"Latency against largest rate of {len(points)} configurations; " + "; ".join(named)


def _table(view: StudyView, points: Sequence[Point]) -> Table:
    names = [
        RATE,
        view.latency_name,
        *([ACCURACY] if any(ACCURACY in point.figures for point in points) else []),
    ]
    rows: list[list[Cell]] = [
        [
            (f"{point.trial.id} {point.role}".rstrip(), float(point.trial.id)),
            view.told(point.trial),
            "measured" if point.is_measured else "predicted",
            *(_cell(point.figures.get(name)) for name in names),
        ]
        for point in reversed(points)
    ]
    return Table(["trial", "configuration", "", *map(short, names)], rows)


def _cell(figure: Figure | None) -> Cell:
    return ("", None) if figure is None else (whole(figure), figure.estimate)


def _nothing(view: StudyView) -> str:
    if not view.study.trials:
        return "no configuration was tried: the study ended before that."
    return "no trial has both a rate and a latency."
