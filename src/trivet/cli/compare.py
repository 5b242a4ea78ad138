"""`trivet compare`: two runs of the catalog beside each other, as text, JSON and a picture."""

from pathlib import Path
from typing import Any

import msgspec

from trivet.catalog.catalog import Catalog
from trivet.errors import UserError
from trivet.experiment.compare import Comparison, compare
from trivet.report.pictures.distributions import draw
from trivet.report.text import comparison_text


def compare_runs(
    first: str, second: str, *, margin: float | None, plot: Path | None, url: str | None, as_json: bool
) -> str:
    """Raises: UserError: no such run; one run twice; a picture of another kind."""
    catalog = Catalog.open(url, create=False)
    a, b = catalog.run(first), catalog.run(second)
    if a.id == b.id:
        raise UserError(f"{first} and {second} are both run {a.id}: name two runs (`trivet runs` lists them)")
    comparison = compare(catalog, a, b, margin=margin)
    if plot is not None:
        draw(comparison, plot)
    if as_json:
        return msgspec.json.format(msgspec.json.encode(as_values(comparison))).decode()
    lines = comparison_text(comparison)
    return "\n".join([*lines, f"drawn: {plot}"] if plot is not None else lines)


def as_values(comparison: Comparison) -> dict[str, Any]:
    """The comparison as plain values; infinite bounds are null."""
    return {
        "a": comparison.a.id,
        "b": comparison.b.id,
        "paired": comparison.paired,
        "num_pairs": comparison.num_pairs,
        "num_starts": comparison.num_starts,
        "notes": list(comparison.notes),
        "figures": {
            figure.name: {
                "a": msgspec.to_builtins(figure.a),
                "b": msgspec.to_builtins(figure.b),
                "ratio": None if figure.effect is None else msgspec.to_builtins(figure.effect.ratio),
                "margin": None if figure.effect is None else figure.effect.margin,
                "verdict": "cannot tell" if figure.effect is None else figure.effect.verdict,
                "note": figure.note,
            }
            for figure in comparison.figures
        },
        "environment": msgspec.to_builtins(comparison.differences),
        "shifts": msgspec.to_builtins(comparison.shifts),
    }
