"""An early exit: a model in the middle of a pipeline answers by itself where it is sure.

What it is worth and what it may cost is certified by whoever builds it (variants/early_exit.py) or writes it; the server
applies the rule as declared, row by row, so that a row's answer never depends on what shares its request or its batch.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec

from trivet.spec.fields import FieldError, FieldPath, nearest
from trivet.spec.signature import VARIABLE, Signature, TensorSpec

Confidence = Literal["top1", "margin", "entropy"]
# Scores are read as floating point numbers; BF16 travels as raw 16 bits.
SCORES = ("FP16", "FP32", "FP64")


class ExitCalibration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What turns scores into probabilities that can be believed.

    temperature: logits are divided by it; above 1 the model was too sure of itself.
    """

    temperature: Annotated[float, msgspec.Meta(gt=0)] = 1.0


class Exit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Behind a model stage: rows of which it is sure enough are answered there, as the last model would.

    output: the scores that are read, classes on the last axis; with one class its odds against «no». Where a row has
        several positions, the least sure one decides.
    scores: what they are.
    confidence: top1, the highest probability; margin, the distance to the next; entropy, 1 - its share of the highest
        possible.
    at_least: the confidence from which a row is answered here.
    """

    output: Annotated[str, msgspec.Meta(min_length=1)]
    scores: Literal["logits", "probabilities"] = "logits"
    confidence: Confidence = "top1"
    at_least: Annotated[float, msgspec.Meta(ge=0, le=1)]
    calibration: ExitCalibration = ExitCalibration()


def check_exit(
    rule: Exit, path: FieldPath, name: str, gives: Signature, last: str, promised: Signature
) -> None:
    """Check an exit against the models on both of its ways.

    Args: path: of the exit.  name, gives: the model before it.  last, promised: the last model, whose answer it stands
        for.
    Raises: FieldError: no such scores, or answers that a client could tell from the last model's by their names,
        datatypes or shapes.
    """
    outputs = {spec.name: spec for spec in gives.outputs}
    scores = outputs.get(rule.output)
    if scores is None:
        raise FieldError(
            (*path, "output"), f"model {name!r} has no output {rule.output!r}{nearest(rule.output, outputs)}"
        )
    if scores.datatype not in SCORES:
        raise FieldError(
            (*path, "output"), f"scores are {', '.join(SCORES)}; {rule.output!r} is {scores.datatype}"
        )
    if not scores.shape:
        raise FieldError((*path, "output"), f"{rule.output!r} is a scalar: it has no axis of classes")
    for spec in promised.outputs:
        found = outputs.get(spec.name)
        if found is None or found.datatype != spec.datatype or not _may_equal(found.shape, spec.shape):
            given = "nothing of that name" if found is None else _kind(found)
            raise FieldError(
                path,
                f"an exit answers as {last!r} does, which gives {spec.name!r} {_kind(spec)}; {name!r} gives {given}",
            )


def _may_equal(shape: Sequence[int], other: Sequence[int]) -> bool:
    return len(shape) == len(other) and all(
        a == b or VARIABLE in (a, b) for a, b in zip(shape, other, strict=True)
    )


def _kind(spec: TensorSpec) -> str:
    return f"{spec.datatype} {list(spec.shape)}"
