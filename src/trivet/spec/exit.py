"""An early exit: a model in the middle of a pipeline answers by itself where it is sure.

What it is worth and what it may cost is certified by whoever builds it (variants/early_exit.py) or writes it, or by
`trivet certify` where it declares what it may lose; the server applies the rule row by row, so that a row's answer never
depends on what shares its request or its batch.
"""

import math
from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec

from trivet.spec.fields import FieldError, FieldPath, nearest
from trivet.spec.signature import VARIABLE, Signature, TensorSpec
from trivet.spec.units import Percent

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
    max_loss: instead of it: the accuracy that all exits of the service together may lose against the last model. The
        confidences that keep to it are in the service's certificate (spec/certified.py).
    """

    output: Annotated[str, msgspec.Meta(min_length=1)]
    scores: Literal["logits", "probabilities"] = "logits"
    confidence: Confidence = "top1"
    at_least: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    max_loss: Percent | None = None
    calibration: ExitCalibration = ExitCalibration()

    def __post_init__(self) -> None:
        if (self.at_least is None) == (self.max_loss is None):
            raise FieldError(
                (), "an exit has `at_least`, a confidence, or `max_loss`, what it may cost; give exactly one"
            )
        if self.max_loss is not None and not 0 < self.max_loss < 1:
            raise FieldError(("max_loss",), f"expected a share between 0% and 100%, got {self.max_loss:g}")

    @property
    def threshold(self) -> float:
        """The confidence as declared; infinite where a certificate has to say it."""
        return math.inf if self.at_least is None else self.at_least


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
    if rule.max_loss is not None and rule.output not in {spec.name for spec in promised.outputs}:
        raise FieldError(
            (*path, "output"),
            f"a certified exit is held against {last!r}, which gives no {rule.output!r}: name scores that both give",
        )
    check_answers(path, name, gives, last, promised)


def check_answers(
    path: FieldPath, name: str, gives: Signature, last: str, promised: Signature, who: str = "an exit"
) -> None:
    """Whether the answers of one model may stand for those of the last. Raises: FieldError: as `check_exit`."""
    outputs = {spec.name: spec for spec in gives.outputs}
    for spec in promised.outputs:
        found = outputs.get(spec.name)
        if found is None or found.datatype != spec.datatype or not _may_equal(found.shape, spec.shape):
            given = "nothing of that name" if found is None else _kind(found)
            raise FieldError(
                path,
                f"{who} answers as {last!r} does, which gives {spec.name!r} {_kind(spec)}; "
                f"{name!r} gives {given}",
            )


def _may_equal(shape: Sequence[int], other: Sequence[int]) -> bool:
    return len(shape) == len(other) and all(
        a == b or VARIABLE in (a, b) for a, b in zip(shape, other, strict=True)
    )


def _kind(spec: TensorSpec) -> str:
    return f"{spec.datatype} {list(spec.shape)}"
