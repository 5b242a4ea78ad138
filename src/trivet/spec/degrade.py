"""`degrade:` of a service file: cheaper models that answer under load, inside a budget of accuracy.

    degrade:
      to:
        - {file: encoder-int8.onnx, loss: 0.5 points}
        - {model: bag-of-words, loss: 3.8 points}
      max_loss: 1 point

It changes answers, so all of it is part of the hash.
"""

import re
from collections.abc import Mapping
from typing import Annotated

import msgspec

from trivet.spec.fields import FieldError

POINTS_IN_ONE = 100  # an accuracy of 0.93 is 93 points
_POINTS = re.compile(r"([0-9]+(?:\.[0-9]+)?|\.[0-9]+) ?(?:%|points?)")
_MOST = 0.5  # beyond it `0.5` was meant as points

Text = Annotated[str, msgspec.Meta(min_length=1)]


class Rung(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One model that may stand in for the last model of the pipeline: `model` or `file`, one of the two.

    model: a name under `models`.
    file: the file of a variant: otherwise declared as the last model is.
    loss: how much less accurate it is than the last model, on the service's own data: `0.5 points` or 0.005; in the unit
        of another metric a plain number.
    inputs: its own input names -> the names that they were given under, where they differ.
    """

    model: Text | None = None
    file: Text | None = None
    loss: float | str
    inputs: Mapping[str, Text] = {}

    def __post_init__(self) -> None:
        if (self.model is None) == (self.file is None):
            raise FieldError((), "what stands in is either `model:` or `file:`; give exactly one")
        msgspec.structs.force_setattr(self, "loss", _loss(self.loss, "loss"))

    @property
    def share(self) -> float:
        """`loss` as a number: 0.005 is half a point."""
        return float(self.loss)


class Degrade(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Under load the most accurate model that is in time answers.

    to: what may stand in, the most accurate first.
    max_loss: of any n answers in a row, those of stand-ins cost together at most max_loss * (n + window) of accuracy.
    window: so many answers' worth of the budget may be spent ahead.
    """

    to: tuple[Rung, ...]
    max_loss: float | str
    window: Annotated[int, msgspec.Meta(ge=0)] = 1000

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "max_loss", _loss(self.max_loss, "max_loss"))
        if not self.to:
            raise FieldError(
                ("to",), "degrade names nobody who could stand in; name a model, or leave degrade out"
            )

    @property
    def budget(self) -> float:
        """`max_loss` as a number."""
        return float(self.max_loss)

    @property
    def names(self) -> tuple[str, ...]:
        """The models under `models` that stand in, the most accurate first."""
        return tuple(rung.model for rung in self.to if rung.model is not None)


def _loss(value: float | str, key: str) -> float:
    """Raises: FieldError: neither points nor a number, or too much to be meant."""
    if isinstance(value, str):
        match = _POINTS.fullmatch(value)
        if match is None:
            raise FieldError(
                (key,), f"{key}: expected accuracy such as `0.5 points` or 0.005, got {value[:40]!r}"
            )
        return float(match[1]) / POINTS_IN_ONE
    if not 0 <= value <= _MOST:
        hint = f"; {value:g} points are written `{value:g} points`" if 0 < value <= POINTS_IN_ONE else ""
        raise FieldError((key,), f"{key}: expected a loss from 0 to {_MOST:g}, got {value:g}{hint}")
    return value
