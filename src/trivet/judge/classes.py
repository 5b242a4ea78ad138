"""Predicted and true classes brought together: what a file calls `3`, '3' or 'true' against what decode gives."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trivet.judge.decode import NOTHING
from trivet.judge.errors import JudgeError

UNKNOWN = -1  # the code of a prediction that is no class
_MAX_SHOWN = 8
_BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


@dataclass(frozen=True, slots=True)
class Coded:
    """Rows by codes into `classes`; a prediction may be UNKNOWN. Where two classes are declared the second is positive.

    declared: the classes are those that decode can give, not only those that were seen.
    """

    predicted: NDArray[np.int64]
    actual: NDArray[np.int64]
    classes: tuple[Any, ...]
    declared: bool

    def select(self, places: NDArray[np.intp]) -> "Coded":
        """The rows at `places`, by the same codes."""
        return Coded(self.predicted[places], self.actual[places], self.classes, self.declared)


def code(predictions: Sequence[Any], labels: Sequence[Any], classes: Sequence[Any] | None = None) -> Coded:
    """Args: classes: all that decode can give; None: not known.

    Raises: JudgeError: predictions that are no classes, or labels that are none of them; names both sets.
    """
    given = [value for value in predictions if value is not NOTHING]
    labels = [plain(label) for label in labels]
    as_class = _READERS[_kind([*given, *(classes or ())])]
    predicted = [value if value is NOTHING else as_class(value) for value in predictions]
    actual = [as_class(label) for label in labels]
    possible = {as_class(value): None for value in (given if classes is None else classes)}
    strange = [label for label, found in zip(labels, actual, strict=True) if found not in possible]
    if classes is None and len(strange) < len(labels):
        # Only what was seen is known: a class that is never predicted is no mistake of the declaration.
        strange = [label for label, found in zip(labels, actual, strict=True) if found is None]
    if strange:
        raise JudgeError(
            f"labels {_shown(strange)} are not among what decode gives, {_shown(list(possible))}: "
            "give `decode.labels` the names of the classes by position, as the data has them"
        )
    known = list(possible if classes is not None else sorted({*possible, *actual}))
    codes = {value: i for i, value in enumerate(known)}
    return Coded(
        np.array([codes.get(value, UNKNOWN) for value in predicted], np.int64),
        np.array([codes[value] for value in actual], np.int64),
        tuple(known),
        classes is not None,
    )


def _kind(values: Sequence[Any]) -> type:
    """What the classes are: bool, int or str. Raises: JudgeError: something else, or several kinds."""
    kinds = set()
    for value in values:
        if isinstance(value, np.ndarray | list | tuple):
            shape = list(np.shape(value))
            raise JudgeError(
                f"decode gives an array of shape {shape}, which is no class: declare `decode: argmax`"
            )
        if isinstance(value, float) and not value.is_integer():
            raise JudgeError(f"decode gives {value:g}, which is no class: declare `decode: threshold`")
        kinds.add(int if isinstance(value, float) else type(value))
    if not kinds:
        return str
    if len(kinds) > 1 or (kind := kinds.pop()) not in _READERS:
        names = sorted({type(value).__name__ for value in values})
        raise JudgeError(
            f"decode gives {', '.join(names)}; classes are all text, all integers or all true and false"
        )
    return kind


def plain(label: Any) -> Any:
    """A label as Python has it: no numpy scalars, text for bytes."""
    if isinstance(label, np.ndarray) and label.size == 1:
        label = label.reshape(-1)[0]
    if isinstance(label, np.generic):
        label = label.item()
    return label.decode(errors="replace") if isinstance(label, bytes) else label


def _as_bool(value: Any) -> bool | None:
    if isinstance(value, str):
        return _BOOLEANS.get(value.strip().lower())
    return bool(value) if value in (0, 1) else None


def _as_int(value: Any) -> int | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return int(number) if number.is_integer() else None


def _as_str(value: Any) -> str:
    return str(int(value) if isinstance(value, float) and value.is_integer() else value).strip()


_READERS: dict[type, Callable[[Any], Any]] = {bool: _as_bool, int: _as_int, str: _as_str}


def _shown(values: Sequence[Any]) -> str:
    different = list(dict.fromkeys(map(repr, values)))
    rest = f" and {len(different) - _MAX_SHOWN} more" if len(different) > _MAX_SHOWN else ""
    return ", ".join(different[:_MAX_SHOWN]) + rest
