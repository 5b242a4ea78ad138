"""The outputs of a model sorted: floats that a student learns, and labels that follow from them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trivet.variants.errors import VariantError
from trivet.variants.learned.targets import Arrays, Target, label_positions, target_of
from trivet.variants.source import Source


@dataclass(frozen=True, slots=True)
class Labels:
    """An output that names the largest of another one: `names[argmax(scores)]`, shape (rows, *inner), inner of size 1."""

    name: str
    scores: str
    names: NDArray[Any]
    inner: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Outputs:
    targets: tuple[Target, ...]
    labels: tuple[Labels, ...]


def outputs_of(source: Source, places: Sequence[int], answers: Sequence[Arrays]) -> Outputs:
    """Args: places: the rows of `source` that were answered; answers: of each, with a batch axis of 1.

    Raises: VariantError: an output that no student can give, by name.
    """
    labels = None if source.labels is None else [source.labels[place] for place in places]
    stacked = {spec.name: _stack(spec.name, answers) for spec in source.signature.outputs}
    targets = []
    for name, values in stacked.items():
        if values.dtype.kind != "f":
            continue
        decides, classes = label_positions(source.decode, answers[0], name, labels, len(answers))
        targets.append(target_of(name, values, decides=decides, classes=classes))
    if not targets:
        raise VariantError(
            "no output has floats; a student learns from scores, probabilities, vectors or numbers"
        )
    named = [
        _labels(name, values, targets, stacked)
        for name, values in stacked.items()
        if values.dtype.kind != "f"
    ]
    return Outputs(tuple(targets), tuple(named))


def _stack(name: str, answers: Sequence[Arrays]) -> NDArray[Any]:
    shapes = {answer[name].shape for answer in answers}
    if len(shapes) > 1 or next(iter(shapes))[:1] != (1,):
        shown = ", ".join(str(list(shape)) for shape in sorted(shapes)[:3])
        raise VariantError(
            f"output {name!r} has the shapes {shown} for one row each; a student gives one shape"
        )
    return np.concatenate([answer[name] for answer in answers])


def _labels(name: str, values: NDArray[Any], targets: Sequence[Target], stacked: Arrays) -> Labels:
    """Found where the largest score of some output tells the label of every row."""
    flat = values.reshape(len(values), -1)
    for target in targets:
        if flat.shape[1] != 1 or target.size < 2:
            continue
        largest = stacked[target.name].reshape(len(values), -1).argmax(axis=1)
        names = _names(largest, flat[:, 0], target.size)
        if names is not None:
            return Labels(name, target.name, names, values.shape[1:])
    raise VariantError(
        f"output {name!r} ({values.dtype.name}) does not follow from the scores of another output"
    )


def _names(largest: NDArray[np.intp], given: NDArray[Any], size: int) -> NDArray[Any] | None:
    """The label at each position; None where one position has several. Integers may be positions."""
    found: dict[int, Any] = {}
    for position, label in zip(largest.tolist(), given.tolist(), strict=True):
        if found.setdefault(position, label) != label:
            return None
    if given.dtype.kind in "iu" and all(position == label for position, label in found.items()):
        return np.arange(size, dtype=given.dtype)
    if len(found) < size:
        return None
    return np.array([found[position] for position in range(size)], given.dtype)
