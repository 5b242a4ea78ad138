"""The metrics of a service: one figure over all rows with its interval, and the value of each row where there is one."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from trivet.judge import intervals
from trivet.judge.auc import auc
from trivet.judge.classes import Coded, code, plain
from trivet.judge.errors import JudgeError, RowError
from trivet.judge.f1 import f1, is_binary
from trivet.judge.user_code import called, load_function
from trivet.spec.fields import nearest
from trivet.spec.service import METRICS, SMALLER_IS_BETTER
from trivet.stats.interval import Interval
from trivet.stats.proportion import proportion_interval

Values = NDArray[np.float64]  # one value a row

_BOUNDS = {"mae": (0.0, np.inf), "rmse": (0.0, np.inf), "cosine": (-1.0, 1.0)}  # of means of rows' values


def smaller_is_better(metric: str) -> bool:
    return metric in SMALLER_IS_BETTER


def measure(
    metric: str,
    predictions: Sequence[Any],
    labels: Sequence[Any],
    *,
    root: Path,
    classes: Sequence[Any] | None = None,
) -> Values | None:
    """The value of each row; None for f1 and auc, which have none.

    accuracy: 1 where right, else 0.  mae: the absolute error, a mean over elements where a row has several.  rmse: the
    squared error (the figure is the root of the mean).  cosine: the cosine between prediction and label, 0 where one
    of them has no direction.  `module:function`: what it returns, called once with all predictions and all labels.

    Args: predictions: of a Decoder; for auc its scores.  labels: as the data has them.  classes: all that there can be,
    the positive second of two; None: those that are seen.
    Raises: JudgeError: predictions or labels that the metric has no value for; names the row (from 1).
    """
    if len(predictions) != len(labels):
        raise JudgeError(f"{len(predictions)} predictions for {len(labels)} labels")
    match metric:
        case "accuracy":
            coded = code(predictions, labels, classes)
            return np.asarray(coded.predicted == coded.actual, np.float64)
        case "mae":
            return np.array(
                [np.abs(p - t).mean() for p, t in _pairs(metric, predictions, labels)], np.float64
            )
        case "rmse":
            return np.array(
                [((p - t) ** 2).mean() for p, t in _pairs(metric, predictions, labels)], np.float64
            )
        case "cosine":
            return np.array([_cosine(p, t) for p, t in _pairs(metric, predictions, labels)], np.float64)
        case "f1" | "auc":
            return None
    return _user_values(metric, predictions, labels, root)


def figure(
    metric: str,
    predictions: Sequence[Any],
    labels: Sequence[Any],
    *,
    root: Path,
    classes: Sequence[Any] | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """The metric over all rows, with its interval; see `measure` for the arguments.

    accuracy and a function's values of 0 and 1: Clopper-Pearson.  f1 of the positive class where two are declared: exact.
    f1, macro; auc; mae, rmse, cosine, functions: by a bootstrap, whose seed is `seed`, never narrower than a bound that
    needs no resampling (see f1.py, auc.py, intervals.py).
    Raises: JudgeError: as `measure`.  EmptySampleError, TooFewError: too few rows, or a class without any.
    """
    rows = Rows.of(metric, predictions, labels, root=root, classes=classes)
    return rows.figure(range(len(labels)), confidence=confidence, seed=seed)


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows made ready for a metric: figures over any of them are of the same classes, and a user's function is called once.

    values: as `measure` gives them.  told: the metric with what had to be chosen: `f1 of 'spam'`.
    """

    metric: str
    values: Values | None
    told: str
    coded: Coded | None = None  # for f1
    scores: tuple[Values, NDArray[np.bool_]] | None = None  # for auc: scores, and which rows are positive

    @classmethod
    def of(
        cls,
        metric: str,
        predictions: Sequence[Any],
        labels: Sequence[Any],
        *,
        root: Path,
        classes: Sequence[Any] | None,
    ) -> Self:
        values = measure(metric, predictions, labels, root=root, classes=classes)
        if metric == "f1":
            coded = code(predictions, labels, classes)
            name = (
                f"f1 of {coded.classes[1]!r}"
                if is_binary(coded)
                else f"f1, macro over {len(coded.classes)} classes"
            )
            return cls(metric, values, name, coded=coded)
        if metric == "auc":
            two = classes if classes is not None and len(classes) == 2 else (False, True)
            ranked = [
                _vector(metric, "prediction", one, number) for number, one in enumerate(predictions, start=1)
            ]
            positive = code([], labels, two).actual == 1
            return cls(metric, values, f"auc of {two[1]!r}", scores=(np.array(ranked).reshape(-1), positive))
        return cls(metric, values, metric)

    def figure(self, places: Sequence[int], *, confidence: float, seed: int) -> Interval:
        """The metric over the rows at `places`. Raises: EmptySampleError, TooFewError."""
        chosen, rng = np.asarray(places, np.intp), np.random.default_rng(seed)
        if self.coded is not None:
            return f1(self.coded.select(chosen), confidence, rng)
        if self.scores is not None:
            return auc(self.scores[0][chosen], self.scores[1][chosen], confidence, rng)
        assert self.values is not None  # f1 and auc apart, every metric has them
        values = self.values[chosen]
        zero_or_one = ((self.values == 0) | (self.values == 1)).all()
        if zero_or_one and (self.metric == "accuracy" or self.metric not in METRICS):
            return proportion_interval(int(values.sum()), len(values), confidence)
        found = intervals.mean(values, confidence, rng, _BOUNDS.get(self.metric, (-np.inf, np.inf)))
        if self.metric == "rmse":
            return Interval(found.estimate**0.5, found.low**0.5, found.high**0.5)
        return found


def _pairs(metric: str, predictions: Sequence[Any], labels: Sequence[Any]) -> list[tuple[Values, Values]]:
    pairs = []
    for number, (prediction, label) in enumerate(zip(predictions, labels, strict=True), start=1):
        pair = _vector(metric, "prediction", prediction, number), _vector(metric, "label", label, number)
        if pair[0].shape != pair[1].shape:
            raise RowError(number, f"the prediction has {pair[0].size} elements, the label {pair[1].size}")
        pairs.append(pair)
    return pairs


def _vector(metric: str, what: str, value: Any, number: int) -> Values:
    """Finite numbers, flat; text is read as a number or as a JSON list of numbers."""
    value = plain(value)
    try:
        if isinstance(value, str):
            value = json.loads(value)
        array = np.asarray(value, np.float64).reshape(-1)
    except (ValueError, TypeError):
        raise RowError(number, f"the {what} is {value!r}; {metric} needs numbers") from None
    if not array.size or not np.isfinite(array).all():
        raise RowError(number, f"the {what} is {value!r}; {metric} needs finite numbers")
    return array


def _cosine(prediction: Values, label: Values) -> float:
    norms = float(np.linalg.norm(prediction) * np.linalg.norm(label))
    return float(np.clip(prediction @ label / norms, -1, 1)) if norms > 0 else 0.0


def _user_values(metric: str, predictions: Sequence[Any], labels: Sequence[Any], root: Path) -> Values:
    if ":" not in metric:
        raise JudgeError(f"unknown metric {metric!r}{nearest(metric, METRICS)}")
    returned = called(metric, load_function(metric, root), list(predictions), list(labels))
    try:
        values = np.asarray(returned, np.float64)
    except (ValueError, TypeError):
        raise JudgeError(
            f"{metric} returned {type(returned).__name__}; expected one number for each row"
        ) from None
    if values.shape != (len(labels),):
        raise JudgeError(
            f"{metric} returned values of the shape {list(values.shape)}; expected one for each of {len(labels)} rows"
        )
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values))[0])
        raise RowError(row + 1, f"{metric} returned {values[row]}; expected a finite number")
    return values
