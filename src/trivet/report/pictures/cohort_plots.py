"""Accuracy by cohort, of a run or of a study's variants: who pays for speed."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from trivet.catalog.records import Figure
from trivet.experiment.variants.judged_variants import JudgedVariant
from trivet.report.look import CATEGORIES, LIGHT, MARKERS
from trivet.report.numbers import whole
from trivet.report.pictures.axes import dots, percent_axis, shortened
from trivet.report.pictures.plot import Cell, Missing, Plot, Shown, Table
from trivet.spec.service import SMALLER_IS_BETTER

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

MAX_COHORTS = 18  # drawn; the table has all
MAX_VARIANTS = len(CATEGORIES)
ALL = "all rows"
_NO_LABELS = (
    "no accuracy was measured. Give the service labelled data, `decode` and a `metric` (docs/service-yaml.md); "
    "a column named as `cohort` splits it."
)

Series = tuple[str, Figure | None, Mapping[str, Figure]]  # label, all rows, by cohort


def of_run(figures: Mapping[str, Figure]) -> Shown:
    """Figures `accuracy` and `accuracy[COHORT]` of a run."""
    if "accuracy" not in figures:
        return Missing("accuracy", "Accuracy by cohort", _NO_LABELS)
    cohorts = {
        name.removeprefix("accuracy[").removesuffix("]"): figure
        for name, figure in figures.items()
        if name.startswith("accuracy[")
    }
    return _plot([("this run", figures["accuracy"], cohorts)], figures["accuracy"].unit, dropped=0)


def of_variants(variants: Sequence[JudgedVariant]) -> Shown:
    """Of the variants in the search, the original first; then of those on record, as far as colours reach."""
    judged = [one for one in variants if one.accuracy is not None]
    if not judged:
        return Missing("accuracy", "Accuracy by cohort", _NO_LABELS)
    ordered = sorted(judged, key=lambda one: (one.verdict != "original", not one.in_search))
    series = [(one.variant.name, one.accuracy, one.cohorts) for one in ordered[:MAX_VARIANTS]]
    unit = next(one.accuracy.unit for one in judged if one.accuracy is not None)
    return _plot(series, unit, dropped=len(ordered) - len(series))


def _plot(series: Sequence[Series], unit: str, dropped: int) -> Plot:
    names = _ordered(series, unit)
    shown = [ALL, *names[:MAX_COHORTS]]

    def of(one: Series, name: str) -> Figure | None:
        return one[1] if name == ALL else one[2].get(name)

    def draw(canvas: "Canvas", narrow: bool) -> None:
        axes = canvas.subplots()
        drawn = [
            (shortened(one[0], 24), LIGHT[colour], marker, [of(one, name) for name in shown])
            for one, colour, marker in zip(series, CATEGORIES, MARKERS, strict=False)
        ]
        dots(axes, [shortened(name, 16 if narrow else 32) for name in shown], drawn)
        if unit in ("accuracy", "share"):
            percent_axis(axes, "x")
        axes.set_xlabel(unit)
        if len(series) > 1:
            canvas.legend(
                *axes.get_legend_handles_labels(), loc="outside lower center", ncols=2 if narrow else 4
            )

    rows: list[list[Cell]] = [[name, *(_cell(of(one, name)) for one in series)] for name in (ALL, *names)]
    left_out = len(names) - len(shown) + 1
    caption = "Dots with 95 % intervals; cohorts with the worst value of any first."
    caption += f" {left_out} more cohorts are in the table." if left_out > 0 else ""
    caption += f" {dropped} more variants are in the table of variants." if dropped else ""
    height = 1.1 + len(shown) * (0.28 if len(series) == 1 else 0.2 + 0.09 * len(series))
    return Plot(
        name="accuracy",
        title="Accuracy by cohort",
        caption=caption,
        alt=f"{unit} by cohort: "
        + "; ".join(f"{label_} {whole(overall)}" for label_, overall, _ in series if overall is not None),
        draw=draw,
        table=Table(["cohort", *(one[0] for one in series)], rows),
        heights=(height, height + 0.1 * len(series)),
    )


def _ordered(series: Sequence[Series], unit: str) -> list[str]:
    """Cohorts, the worst first: by the worst value of any series."""
    names = dict.fromkeys(name for _, _, cohorts in series for name in cohorts)
    sign = -1 if unit in SMALLER_IS_BETTER else 1

    def worst(name: str) -> float:
        return min(sign * cohorts[name].estimate for _, _, cohorts in series if name in cohorts)

    return sorted(names, key=lambda name: (worst(name), name))


def _cell(figure: Figure | None) -> Cell:
    return ("", None) if figure is None else (whole(figure), figure.estimate)
