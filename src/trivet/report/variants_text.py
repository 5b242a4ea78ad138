"""Variants as text for a terminal: a table with one line each, then what was found, then what could not be built."""

from collections.abc import Sequence

from trivet.catalog.records import Figure
from trivet.experiment.variants.judged_variants import JudgedVariant
from trivet.report.text import interval, number, table
from trivet.variants.variant import BuildFailure, Variant

_HEAD = (
    "",
    "size",
    "digest",
    "alone",
    "times",
    "at best batch",
    "times",
    "accuracy",
    "difference",
    "verdict",
)


def judged_text(judged: Sequence[JudgedVariant]) -> list[str]:
    """One table for each model."""
    lines = []
    for model in dict.fromkeys(one.variant.model for one in judged):
        group = [one for one in judged if one.variant.model == model]
        lines += [f"{model}:", *table([_HEAD, *(_row(one) for one in group)]), ""]
        lines += [f"  {one.variant.name}: {one.reason}" for one in group if one.reason]
        lines += [f"  {one.variant.name}: {note}" for one in group for note in one.variant.notes]
    return lines


def built_text(built: Sequence[Variant | BuildFailure]) -> list[str]:
    """What there is, where nothing was judged."""
    rows = [
        (one.model, one.name, size(one.size_bytes), one.short_digest)
        for one in built
        if isinstance(one, Variant)
    ]
    return table([("model", "variant", "size", "digest"), *rows]) if rows else []


def failures_text(built: Sequence[Variant | BuildFailure]) -> list[str]:
    failures = [one for one in built if isinstance(one, BuildFailure)]
    if not failures:
        return []
    return ["", "not built:", *(f"  {one.model} {one.name}: {_one_line(one.reason)}" for one in failures)]


def _row(one: JudgedVariant) -> tuple[str, ...]:
    variant = one.variant
    return (
        variant.name,
        size(variant.size_bytes),
        variant.short_digest,
        "" if one.one_ms is None else f"{number(one.one_ms)} ms",
        _ratio(one.speedup),
        "" if one.best_ms is None else f"{number(one.best_ms)} ms a row at {one.best_batch}",
        _ratio(one.speedup_best),
        _accuracy(one.accuracy),
        _difference(one.difference),
        one.verdict if one.in_search or one.verdict == "original" else f"{one.verdict}, left out",
    )


def _ratio(figure: Figure | None) -> str:
    return "" if figure is None else f"{figure.estimate:.2f} {interval(figure.low, figure.high)}".rstrip()


def _accuracy(figure: Figure | None) -> str:
    if figure is None:
        return "not judged"
    return f"{figure.estimate:.4f} {interval(figure.low, figure.high)}".rstrip()


def _difference(figure: Figure | None) -> str:
    if figure is None:
        return ""
    bounds = "" if figure.low is None or figure.high is None else f" [{figure.low:+.4f}, {figure.high:+.4f}]"
    return f"{figure.estimate:+.4f}{bounds}"


def size(num_bytes: int) -> str:
    """In the unit that people read: kB and MB of a thousand."""
    return f"{num_bytes / 1e6:,.1f} MB" if num_bytes >= 1e5 else f"{num_bytes / 1e3:,.1f} kB"


def _one_line(text: str) -> str:
    return " ".join(text.split())
