"""`trivet show`: one run as text."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from trivet.catalog.records import STATES, Figure, Run

_PACKAGES = ("onnxruntime", "openvino", "numpy", "trivet")


def as_text(run: Run) -> str:
    return "\n".join(line.rstrip() for line in _lines(run))


def _lines(run: Run) -> Iterator[str]:
    yield f"run            {run.id} ({run.kind} of {run.service})"
    yield f"state          {run.state}: {run.reason or STATES[run.state]}"
    yield f"begun          {run.begun}" + (f", ended {run.ended}" if run.ended else "")
    yield f"configuration  {run.configuration_hash}"
    yield f"command        {' '.join(run.command)}"
    if run.group:
        yield f"group          {run.group}"
    if run.tags:
        yield "tags           " + ", ".join(f"{name}={value}" for name, value in run.tags.items())
    if run.writer:
        yield f"measured by    {run.writer}"
    yield from _section("figures", _figures(run.figures))
    yield from _section("workload", flat(run.workload))
    yield from _section("seeds", flat(run.seeds))
    yield from _section("dataset", flat(run.dataset))
    yield from _section("environment", flat(_environment(run)))
    yield from _section("artifacts", run.artifacts)


def _section(title: str, values: Mapping[str, Any]) -> Iterator[str]:
    if values:
        width = max(map(len, values))
        yield ""
        yield title
        yield from (f"  {name.ljust(width)}  {_word(value)}" for name, value in values.items())


def _figures(figures: Mapping[str, Figure]) -> dict[str, str]:
    return {
        name: f"{figure}{f': {figure.verdict}' if figure.verdict else ''}" for name, figure in figures.items()
    }


def _environment(run: Run) -> dict[str, Any]:
    """Without what only a comparison wants to know: flags, and the packages that hardly any figure hangs on."""
    values: dict[str, Any] = msgspec.to_builtins(run.environment)
    packages = values.pop("packages", {})
    values["processor"].pop("flags", None)
    values.pop("contents", None)
    named = {name: packages[name] for name in _PACKAGES if name in packages}
    return values | {"packages": named | ({"(in all)": len(packages)} if packages else {})}


def flat(values: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Nested values by their path with dots; what is empty is left out."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{path}{name}.")
        elif value not in (None, "", [], ()):
            found[f"{path}{name}"] = value
    return found


def _word(value: Any) -> str:
    return " ".join(map(_word, value)) if isinstance(value, list | tuple) else str(value)
