"""How a student reads a model's inputs: one sequence of ids, perhaps with a mask, and any numbers beside it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trivet.spec.dtypes import NUMPY_OF_DATATYPE
from trivet.spec.signature import VARIABLE, Signature, TensorSpec
from trivet.variants.errors import VariantError

Arrays = Mapping[str, NDArray[Any]]

INTEGERS = frozenset({"UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64"})
FLOATS = frozenset({"FP16", "FP32", "FP64"})
_MOST_NUMBERS = 8192
_FEWEST_IDS = 32  # fewer integers of a fixed number are a table's columns


@dataclass(frozen=True, slots=True)
class Ids:
    """A sequence of ids: bytes, tokens.  width: positions of a row; None: each request chooses."""

    name: str
    dtype: str
    width: int | None
    mask: str | None = None
    mask_dtype: str = ""


@dataclass(frozen=True, slots=True)
class Reading:
    """ids: the sequence; None: there is none.  numbers: inputs whose values are features.  ignored: never change."""

    ids: Ids | None
    numbers: tuple[TensorSpec, ...]
    ignored: tuple[str, ...]


def why_unreadable(signature: Signature) -> str:
    """Empty, or why no student can take this model's place."""
    if not signature.batch_axis:
        return "the model has no batch axis, so a student cannot learn from its answers row by row"
    for spec in signature.inputs:
        if spec.datatype == "BYTES":
            return f"the model takes text ({spec.name!r}): its own reading of text would be most of a student's work"
        if spec.datatype not in INTEGERS | FLOATS | {"BOOL"}:
            return f"input {spec.name!r} is {spec.datatype}: a student reads integers and floats"
        if not _is_ids(spec) and VARIABLE in spec.shape[1:] and not _is_mask(spec):
            return f"input {spec.name!r} has a free size beside the batch axis, and its values are no ids"
    numbers = [spec for spec in signature.inputs if not _is_ids(spec) and not _is_mask(spec)]
    num_numbers = sum(num_features(spec) for spec in numbers)
    if num_numbers > _MOST_NUMBERS:
        return f"the model takes {num_numbers} numbers a row: a layer over so many would not be small"
    for spec in signature.outputs:
        if VARIABLE in spec.shape[1:] and spec.datatype != "BYTES":
            return f"output {spec.name!r} has a free size beside the batch axis: a student answers once for each row"
    return ""


def reading_of(signature: Signature, rows: Sequence[Arrays]) -> Reading:
    """What each input is, from its name, its shape and the values that the rows have.

    Raises: VariantError: more than one sequence, or nothing that changes.
    """
    sequences = [spec for spec in signature.inputs if _is_ids(spec)]
    masks = [spec for spec in signature.inputs if _is_mask(spec)]
    others = [spec for spec in sequences if spec not in masks]
    ignored = [spec for spec in others if len(others) > 1 and _is_aside(spec, rows)]
    found = [spec for spec in others if spec not in ignored]
    if len(found) > 1 or len(masks) > 1:
        names = ", ".join(spec.name for spec in [*found, *masks])
        raise VariantError(f"several sequences ({names}): a student reads one, with one mask")
    numbers = [spec for spec in signature.inputs if spec not in sequences and spec not in masks]
    if not found and not numbers:
        raise VariantError("the inputs are the same in all rows: there is nothing to learn from")
    mask = masks[0] if masks and found else None
    ids = _ids(found[0], mask) if found else None
    return Reading(ids, tuple(numbers), tuple(spec.name for spec in [*ignored, *masks[bool(mask) :]]))


def features_of(reading: Reading, rows: Sequence[Arrays]) -> NDArray[np.float32]:
    """All numbers of each row side by side, shape (rows, features); no features: shape (rows, 0)."""
    if not reading.numbers:
        return np.zeros((len(rows), 0), np.float32)
    names = [spec.name for spec in reading.numbers]
    return np.array(
        [np.concatenate([row[name].reshape(-1).astype(np.float32) for name in names]) for row in rows]
    )


def num_features(spec: TensorSpec) -> int:
    return math.prod(spec.shape[1:])


def _ids(spec: TensorSpec, mask: TensorSpec | None) -> Ids:
    width = None if spec.shape[1] == VARIABLE else spec.shape[1]
    dtype = np.dtype(NUMPY_OF_DATATYPE[spec.datatype]).name
    if mask is None:
        return Ids(spec.name, dtype, width)
    return Ids(spec.name, dtype, width, mask.name, np.dtype(NUMPY_OF_DATATYPE[mask.datatype]).name)


def _is_ids(spec: TensorSpec) -> bool:
    """Integers in one free or long axis beside the batch's."""
    if spec.datatype not in INTEGERS or len(spec.shape) != 2:
        return False
    return spec.shape[1] == VARIABLE or spec.shape[1] >= _FEWEST_IDS


def _is_mask(spec: TensorSpec) -> bool:
    return (
        "mask" in spec.name.lower() and len(spec.shape) == 2 and spec.datatype in INTEGERS | FLOATS | {"BOOL"}
    )


def _is_aside(spec: TensorSpec, rows: Sequence[Arrays]) -> bool:
    """Segments and positions: the same in all rows as far as they reach."""
    longest = max((row[spec.name].reshape(-1) for row in rows), key=len)
    return all((row[spec.name].reshape(-1) == longest[: row[spec.name].size]).all() for row in rows)
