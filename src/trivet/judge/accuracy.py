"""The judge: answers of labelled rows against their labels, by the service's `decode:` and `metric:`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trivet.judge.calibration import (
    Calibration,
    calibration_error,
    top_confidences,
    yes_probabilities,
)
from trivet.judge.classes import code
from trivet.judge.decode import Decoder, Outputs, decoder
from trivet.judge.errors import JudgeError, RowError
from trivet.judge.metric import Rows, smaller_is_better
from trivet.spec.service import Service
from trivet.stats.errors import EmptySampleError, TooFewError
from trivet.stats.interval import Interval

Answers = Sequence[Outputs | None]  # None: the row got no answer


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the answers are worth.

    metric: as declared; `told` says what had to be chosen (`f1, macro over 77 classes`).
    overall, by_cohort: the metric with its interval; a cohort without one is in `no_figure`, with the reason.
    calibration: None where there are no probabilities or logits.
    num: rows that were judged.  failures: rows without an answer; they are in no figure.
    values: the value of each row (`measure`), NaN for failures; None where the metric has none.
    predictions: of each row; None for failures.
    """

    metric: str
    told: str
    smaller_is_better: bool
    overall: Interval
    by_cohort: Mapping[str, Interval]
    no_figure: Mapping[str, str]
    calibration: Calibration | None
    num: int
    failures: int
    values: NDArray[np.float64] | None
    predictions: Sequence[Any]

    @property
    def calibration_error(self) -> Interval | None:
        return None if self.calibration is None else self.calibration.error


@dataclass(frozen=True, slots=True)
class _Decoded:
    """Of the answered rows: their places, what decode gave, and all that it can give."""

    rows: list[int]
    predictions: list[Any]
    labels: list[Any]
    classes: Sequence[Any] | None


def judge(
    service: Service,
    root: Path,
    labels: Sequence[Any],
    cohorts: Sequence[str],
    outputs: Answers,
    *,
    confidence: float = 0.95,
    seed: int = 0,
) -> Judgement:
    """Judge the answers of labelled rows.

    Args: root: the service file's folder.  labels, cohorts: as `spec.data.labelled_rows` gives them; no cohorts: none.
    outputs: of each row, as a dialect reads them.  seed: of bootstraps.
    Raises: JudgeError: no metric is declared, no row was answered, or decode, metric, labels and answers do not go
    together (names the row), or there are too few rows for a figure.  SpecError: a file that `decode` or `metric` names.
    """
    metric = service.metric
    if metric is None:
        raise JudgeError(f"service {service.name!r} declares no metric; add `metric:` to the service file")
    if len(outputs) != len(labels) or (cohorts and len(cohorts) != len(labels)):
        raise JudgeError(f"{len(outputs)} answers and {len(cohorts)} cohorts for {len(labels)} labels")
    decode = decoder(service.decode, root)
    decoded = _decoded(decode, metric, labels, outputs)
    if not decoded.rows:
        raise JudgeError(f"none of {len(labels)} rows was answered, so there is nothing to judge")

    try:
        rows = Rows.of(metric, decoded.predictions, decoded.labels, root=root, classes=decoded.classes)
    except RowError as error:  # which counts the answered rows only
        raise RowError(decoded.rows[error.row - 1] + 1, error.problem) from None
    figure_of = partial(rows.figure, confidence=confidence, seed=seed)
    try:
        overall = figure_of(range(len(decoded.rows)))
    except (EmptySampleError, TooFewError) as error:
        raise JudgeError(f"{rows.told}: {error}") from None
    by_cohort, no_figure = _by_cohort([cohorts[row] for row in decoded.rows] if cohorts else [], figure_of)
    predictions: list[Any] = [None] * len(labels)
    for row, prediction in zip(decoded.rows, decoded.predictions, strict=True):
        predictions[row] = prediction
    return Judgement(
        metric=metric,
        told=rows.told,
        smaller_is_better=smaller_is_better(metric),
        overall=overall,
        by_cohort=by_cohort,
        no_figure=no_figure,
        calibration=_calibration(decode, metric, decoded, outputs, confidence),
        num=len(decoded.rows),
        failures=len(labels) - len(decoded.rows),
        values=None if rows.values is None else _spread(rows.values, decoded.rows, len(labels)),
        predictions=predictions,
    )


def _decoded(decode: Decoder, metric: str, labels: Sequence[Any], outputs: Answers) -> _Decoded:
    rows, predictions = [], []
    classes: Sequence[Any] | None = None
    for row, answer in enumerate(outputs):
        if answer is None:
            continue
        try:
            predictions.append(decode.score(answer) if metric == "auc" else decode(answer))
            classes = decode.classes(answer) if classes is None else classes
        except JudgeError as error:
            raise RowError(row + 1, str(error)) from error
        rows.append(row)
    return _Decoded(rows, predictions, [labels[row] for row in rows], classes)


def _by_cohort(
    cohorts: Sequence[str], figure_of: Callable[[Sequence[int]], Interval]
) -> tuple[dict[str, Interval], dict[str, str]]:
    """By the order of their first row."""
    figures: dict[str, Interval] = {}
    no_figure: dict[str, str] = {}
    for cohort in dict.fromkeys(cohorts):
        try:
            figures[cohort] = figure_of([i for i, name in enumerate(cohorts) if name == cohort])
        except (EmptySampleError, TooFewError) as error:
            no_figure[cohort] = str(error)
    return figures, no_figure


def _calibration(
    decode: Decoder, metric: str, decoded: _Decoded, outputs: Answers, confidence: float
) -> Calibration | None:
    """Only where the scores of classes are known: argmax and threshold, of numbers throughout."""
    if decode.by not in ("argmax", "threshold") or metric not in ("accuracy", "f1", "auc"):
        return None
    scores = [decode.scores(answer) for answer in outputs if answer is not None]
    if not all(np.isfinite(row).all() for row in scores) or len({len(row) for row in scores}) > 1:
        return None
    coded = code(
        [decode(answer) for answer in outputs if answer is not None], decoded.labels, decoded.classes
    )
    if decode.by == "argmax":
        claimed, assumed = top_confidences(scores)
        true = coded.predicted == coded.actual
    else:
        claimed, assumed = yes_probabilities(scores)
        true = coded.actual == 1
    error, num_bins = calibration_error(claimed, true, confidence)
    return Calibration(error, num_bins, assumed)


def _spread(values: NDArray[np.float64], rows: Sequence[int], num: int) -> NDArray[np.float64]:
    spread = np.full(num, np.nan)
    spread[list(rows)] = values
    return spread
