"""What a builder is given: a model, and what the service's data brings it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from trivet.spec.service import Model
from trivet.spec.signature import Signature

Arrays = Mapping[str, NDArray[Any]]
NONE = range(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One native model of a service.

    path: its file.  signature: with the batch axis as declared.
    rows: what the data brings this model, one request each, after the steps before it; may be empty.
    labels, cohorts: of the same rows; None: the data has none.
    decode: of the model's outputs, where the model is the last stage that decides; else None.
    calibration, certification: disjoint parts of the rows: for fitting, and for choosing with a certified bound. Variants
        are judged on other rows altogether.
    judge: the value in [0, 1] of each of some answers (1: right), given the places of their rows in `rows`; None: the
        service's metric has no such value, or the rows have no labels.
    options: what the service file says about each variant, by its name.
    """

    model: str
    path: Path
    signature: Signature
    declared: Model
    rows: Sequence[Arrays] = ()
    labels: Sequence[str | float] | None = None
    cohorts: Sequence[str] | None = None
    decode: Callable[[Arrays], Any] | None = None
    calibration: range = NONE
    certification: range = NONE
    seed: int = 0
    judge: Callable[[Sequence[Arrays], Sequence[int]], Sequence[float]] | None = None
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
