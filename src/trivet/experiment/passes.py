"""Passes over inputs that are judged and not timed: each input asked alone, and labelled data through the same server."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from trivet.catalog.records import Figure
from trivet.errors import UserError
from trivet.experiment.answers import write_tensors
from trivet.experiment.asking import Answer, NoAnswerError, ask_all
from trivet.experiment.making_figures import interval_figure
from trivet.experiment.side import Side
from trivet.judge.accuracy import Judgement, judge
from trivet.load.http import BadAnswerError
from trivet.load.job import HttpRequest
from trivet.spec.configuration import Configuration
from trivet.spec.data import LabelledRows, labelled_rows
from trivet.spec.fields import FieldError
from trivet.spec.service_file import located

NUM_IN_FLIGHT = 8  # of the labelled pass: batches form as they do under load


@dataclass(frozen=True, slots=True)
class AskedAlone:
    """What each of the first inputs was answered when nothing else was asked: both as files for a replay."""

    inputs: bytes
    answers: bytes
    num_rows: int
    mean_bytes: float  # of an answer's body


@dataclass(frozen=True, slots=True)
class Judged:
    """Answers to labelled data, judged; `predictions` (JSON) holds for each row what was decided, its label and cohort."""

    judgement: Judgement
    metric: str
    predictions: bytes


def ask_alone(side: Side, num_rows: int) -> AskedAlone:
    """One request at a time, so that none shares a batch: the answers that a replay must find again.

    Raises: UserError: the target gave no answer, or one that is not what was asked for.
    """
    rows = side.inputs[:num_rows]
    answers = _ask(side, side.requests[:num_rows], num_in_flight=1)
    outputs = [_outputs(side, i, answer) for i, answer in enumerate(answers)]
    mean_bytes = sum(len(answer.body) for answer in answers) / max(1, len(answers))
    return AskedAlone(write_tensors(rows), write_tensors(outputs), len(rows), mean_bytes)


def judge_labelled(side: Side, max_rows: int, split: str | None = None) -> Judged | None:
    """The service's labelled data through the server that is measured; None where there are no labels, or no metric.

    Raises: UserError: data, labels and answers do not fit each other.
    """
    configuration = side.configuration
    if configuration is None or side.signature is None:
        return None
    service, root = configuration.service, Path(configuration.root)
    if service.data is None or service.data.label is None or service.metric is None:
        return None
    try:
        rows = labelled_rows(service.data, root, side.signature, max_rows, split)
    except FieldError as error:
        raise located(configuration, error) from None
    return judge_rows(side, configuration, rows)


def judge_rows(side: Side, configuration: Configuration, rows: LabelledRows) -> Judged:
    """These rows through the server, judged by a service's metric. Raises: UserError: as `judge_labelled`."""
    service, (inputs, labels, cohorts) = configuration.service, rows
    answers = _ask(side, side.requests_for(inputs), num_in_flight=NUM_IN_FLIGHT)
    # A row that was refused has no answer to judge; it is counted.
    outputs = [_outputs(side, i, answer) if _is_result(answer) else None for i, answer in enumerate(answers)]
    judgement = judge(service, Path(configuration.root), labels, cohorts, outputs)
    return Judged(judgement, judgement.metric, _predictions(judgement, labels, cohorts))


def accuracy_figures(judged: Judged) -> dict[str, Figure]:
    """`accuracy` and `calibration_error`, and `accuracy[cohort]` for each cohort that has one."""
    judgement, unit = judged.judgement, judged.metric
    note = f"{judgement.told}, {judgement.num} rows"
    note += f"; {judgement.failures} more got no answer" if judgement.failures else ""
    found = {"accuracy": interval_figure(judgement.overall, unit, note)}
    for cohort, interval in judgement.by_cohort.items():
        found[f"accuracy[{cohort}]"] = interval_figure(interval, unit)
    if judgement.calibration_error is not None:
        found["calibration_error"] = interval_figure(judgement.calibration_error, "share")
    return found


def _ask(side: Side, requests: Sequence[HttpRequest], num_in_flight: int) -> list[Answer]:
    try:
        return ask_all(side.target, requests, num_connections=num_in_flight)
    except NoAnswerError as error:
        raise UserError(f"{side.label}: {side.started.end() or error}") from None


def _outputs(side: Side, i: int, answer: Answer) -> dict[str, NDArray[Any]]:
    try:
        return side.outputs(answer)
    except BadAnswerError as error:
        raise UserError(f"{side.label}: the answer to request {i + 1} cannot be used: {error}") from None


def _is_result(answer: Answer) -> bool:
    return 200 <= answer.status < 300


def _predictions(judgement: Judgement, labels: Sequence[Any], cohorts: Sequence[str]) -> bytes:
    """`values`: the metric's of each row, null where it has none, or the row no answer."""
    values = [] if judgement.values is None else judgement.values.tolist()
    return msgspec.json.encode(
        {
            "predictions": [_plain(prediction) for prediction in judgement.predictions],
            "labels": [_plain(label) for label in labels],
            "cohorts": list(cohorts),
            "values": [None if math.isnan(value) else value for value in values],
        }
    )


def _plain(value: Any) -> Any:
    """A decided value as JSON has it: numpy's scalars and arrays as Python's, bytes as text."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else value
