"""A fitted model of a Python library as an ONNX file, checked against the original on rows.

The model comes from Python code that the user names. A pickle is never read here: whoever opens one runs what is in it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trivet.engine.onnx import OnnxEngine
from trivet.judge.user_code import called, load_attribute
from trivet.spec.data import read_columns
from trivet.variants._converters import Original, original_of
from trivet.variants._models import write_model
from trivet.variants.errors import VariantError

NUM_RANDOM = 100
MAX_ROWS = 1000
# Relative: thresholds and sums in fp32 instead of fp64 differ by less, unless a value lies on a threshold.
TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True)
class Difference:
    """Of one output: the largest difference, and the share of rows beyond 1e-3 (of the larger of 1 and the original's)."""

    output: str
    largest: float
    share_beyond: float


@dataclass(frozen=True, slots=True)
class Converted:
    """library: that the model is of.  rows: what it was checked on, in words."""

    path: Path
    library: str
    rows: str
    differences: tuple[Difference, ...]

    @property
    def is_same(self) -> bool:
        return all(difference.share_beyond == 0 for difference in self.differences)


def convert_model(
    target: str,
    output: Path,
    *,
    root: Path,
    data: Path | None = None,
    columns: Sequence[str] = (),
    label: str | None = None,
    shape: Sequence[int] = (),
    seed: int = 0,
) -> Converted:
    """Write the fitted model that `target` is, or returns when it is called, to `output`.

    Args: root: the folder that the target's file is named from.  data: rows to check on.  columns: of the data that feed
    the model, in its order; by default those that the model names, else all but the label.  shape: of one row, where there
    is no data and the model does not say.
    Raises: VariantError: it is of no library that is known, does not convert, or the rows do not fit; says what to do.
    SpecError, JudgeError: the target.  ExtraMissingError: a package is missing.
    """
    original = original_of(_model(target, root))
    if data is not None:
        rows = original.rows_of(_columns(original, data, columns, label))
        told = f"{len(rows)} rows of {data.name}"
    else:
        rows = original.random_rows(NUM_RANDOM, tuple(shape), np.random.default_rng(seed))
        told = f"{len(rows)} random rows"
    model = original.converted(rows)
    output.parent.mkdir(parents=True, exist_ok=True)
    write_model(model, output)
    return Converted(output, original.library, told, tuple(_differences(original, output, rows)))


def _model(target: str, root: Path) -> Any:
    found = load_attribute(target, root)
    is_model = hasattr(found, "predict") or hasattr(found, "transform") or hasattr(found, "state_dict")
    if isinstance(found, type) or (is_model and not isinstance(found, type)) or not callable(found):
        if isinstance(found, type):
            raise VariantError(f"{target} is a class; name a fitted model, or a function that returns one")
        return found
    return called(target, found)


def _columns(
    original: Original, data: Path, columns: Sequence[str], label: str | None
) -> Mapping[str, Sequence[Any]]:
    """The columns that feed the model, in its order."""
    whole = read_columns(data, None, MAX_ROWS)
    named = tuple(columns) or original.feature_names or tuple(name for name in whole if name != label)
    missing = [name for name in named if name not in whole]
    if missing:
        raise VariantError(
            f"{data} has no column {missing[0]!r}; it has {', '.join(whole)}: name others with --columns"
        )
    chosen = {name: whole[name] for name in named}
    if not chosen or not len(next(iter(chosen.values()))):
        raise VariantError(f"{data} has no rows to check the converted model on")
    return chosen


def _differences(original: Original, path: Path, rows: NDArray[Any]) -> list[Difference]:
    engine = OnnxEngine(path)
    try:
        (spec,) = engine.signature.inputs
        answers = engine.run({spec.name: rows})
    finally:
        engine.close()
    expected = original.answers(rows)
    found = []
    for name, answer in zip(expected, _in_order(answers, expected), strict=True):
        found.append(_difference(name, answer, expected[name]))
    return found


def _in_order(answers: Mapping[str, NDArray[Any]], expected: Mapping[str, Any]) -> list[NDArray[Any]]:
    """Labels first, then scores: the order that all converters keep."""
    if len(answers) < len(expected):
        raise VariantError(f"the converted model gives {[*answers]}, the original {[*expected]}")
    return list(answers.values())[: len(expected)]


def _difference(name: str, answer: NDArray[Any], expected: NDArray[Any]) -> Difference:
    answer = answer.reshape(expected.shape) if answer.size == expected.size else answer
    if answer.shape != expected.shape:
        raise VariantError(
            f"output {name!r} has the shape {list(answer.shape)}, the original's {list(expected.shape)}"
        )
    if expected.dtype.kind not in "fiub":
        as_text = [[_text(value) for value in side.reshape(-1)] for side in (answer, expected)]
        differs = np.array([one != other for one, other in zip(*as_text, strict=True)])
        return Difference(name, float(differs.any()), float(differs.mean()))
    gap = np.abs(answer.astype(np.float64) - expected.astype(np.float64)).reshape(len(expected), -1)
    size = np.maximum(1.0, np.abs(expected.astype(np.float64))).reshape(len(expected), -1)
    return Difference(name, float(gap.max()), float((gap > TOLERANCE * size).any(axis=1).mean()))


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
