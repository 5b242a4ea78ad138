"""What each stage of a cascade makes of labelled rows: the record that a certificate is made from.

Every row goes through every stage, as the server's runtime runs them, one row at a time.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trivet.errors import BadRequestError, EngineError, RequestError, UserError
from trivet.experiment.certifying.cascade_points import Recorded
from trivet.experiment.model_rows import Row, Way
from trivet.judge.accuracy import Judgement, judge
from trivet.pipeline.exits import confidences
from trivet.spec.data import LabelledRows

Outputs = Mapping[str, NDArray[Any]]
Say = Callable[[str], None]
OnProgress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class CascadeRows:
    """recorded: of the rows that every stage answered; `places` says which those are.  predictions: of each exit, and of
    the last model, for each of them."""

    recorded: Recorded
    places: list[int]
    predictions: list[list[Any]]


def record(
    way: Way,
    rows: LabelledRows,
    early: Sequence[int],
    say: Say,
    *,
    is_routed: bool = False,
    on_progress: OnProgress = lambda done, total: None,
) -> CascadeRows:
    """Run the rows through all stages of a service.

    Args: early: the places of the models that may answer before the last.  is_routed: the one of them, or the last one,
    answers a row, never both: the last one gets what the request brings.

    Raises: UserError: no row passes, or answers and labels do not go together.
    """
    service = way.configuration.service
    exits = list(early)
    times: list[NDArray[np.int64]] = []
    sure: list[list[float]] = []
    answers: list[list[Outputs]] = []
    places: list[int] = []
    for place, inputs in enumerate(rows.inputs):
        on_progress(place, len(rows.inputs))
        found = _one(way, way.begin(place, inputs), exits, times, inputs if is_routed else None)
        if found is not None:
            sure.append(found[0])
            answers.append(found[1])
            places.append(place)
    if len(places) < len(rows.inputs):
        say(f"{len(rows.inputs) - len(places)} of {len(rows.inputs)} rows are left out: a stage refuses them")
    if not places:
        raise UserError("no row of the data passes all stages: there is nothing to certify by")
    labels = [rows.labels[place] for place in places]
    judged = [
        judge(service, Path(way.configuration.root), labels, [], [one[number] for one in answers])
        for number in range(len(exits) + 1)
    ]
    # The median of a stage's times: a machine that is busy with other things stretches some of them tenfold.
    costs, full_cost = _costs(way, exits, np.median(times, axis=0))
    if is_routed:
        full_cost = float(costs[-1])
        costs = np.array([costs[0], full_cost - costs[0]])
    recorded = Recorded(
        np.array(sure, np.float64).T,
        np.array([_right(one) for one in judged]),
        np.array([_codes(one.predictions, judged[-1].predictions) for one in judged]),
        costs,
        full_cost,
    )
    return CascadeRows(recorded, places, [list(one.predictions) for one in judged])


def _one(
    way: Way, row: Row, exits: Sequence[int], times: list[NDArray[np.int64]], routed: Outputs | None
) -> tuple[list[float], list[Outputs]] | None:
    """How sure each exit is of one row, and the service's answer if it leaves there; last that of the last model.

    Args: times: of each stage, ns; one more is appended.  routed: what the stages behind the first place take instead of
    its outputs.
    Returns: None: a stage refuses the row.
    """
    pipeline = way.configuration.service.pipeline
    last = way.configuration.service.last_model
    promised = [spec.name for spec in way.signature_of(last).outputs]
    sure, answers, inputs = [], [], row.inputs
    spent = np.zeros(len(pipeline), np.int64)
    try:
        for index in range(last + 1):
            began = time.perf_counter_ns()
            outputs = _run(way, index, inputs)
            spent[index] = time.perf_counter_ns() - began
            rule = pipeline[index].exit
            if rule is not None:
                sure.append(float(confidences(rule, outputs[rule.output]).min()))
            elif index in exits:
                sure.append(0.0)  # a route has not been learned yet
            if index in exits or index == last:
                left = way.rest(last, row, {name: outputs[name] for name in promised})
                if left is None:
                    return None
                answers.append(left)
            if index < last:
                given = outputs if routed is None or index not in exits else routed
                inputs = way.wiring.hand_over(index, given, row.carried)
    except RequestError:
        return None
    times.append(spent)
    return sure, answers


def _run(way: Way, index: int, inputs: Outputs) -> Outputs:
    """One stage. Raises: RequestError: it refuses the row.  UserError: it runs on another server, which has failed."""
    try:
        return way.run(index, inputs)
    except BadRequestError:
        raise
    except EngineError as error:
        stage = way.configuration.service.pipeline[index]
        if stage.model is None or way.configuration.service.models[stage.model].remote is None:
            raise
        # Rows that are left out because of the weather would make the certificate one of the others.
        raise UserError(
            f"model {stage.model!r} has to answer every row that is certified on, and its server does not: {error}"
        ) from None


def _right(judgement: Judgement) -> NDArray[np.bool_]:
    values = judgement.values
    if values is None or not np.isin(values, (0.0, 1.0)).all():
        raise UserError(
            f"a cascade is certified on rows that are answered right or wrong; metric {judgement.metric} has other "
            "values: declare `metric: accuracy`, or a function that gives 0 or 1"
        )
    return np.asarray(values == 1.0, np.bool_)


def _codes(predictions: Sequence[Any], full: Sequence[Any]) -> NDArray[np.int64]:
    """1 where a prediction is another than the last model's, else 0: that is all that is asked of them."""
    return np.array(
        [not np.array_equal(one, other) for one, other in zip(predictions, full, strict=True)], np.int64
    )


def _costs(way: Way, exits: Sequence[int], spent: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Time from each exit to the next, the last model at the end; and of the stages that the last model needs."""
    last = way.configuration.service.last_model
    bounds = [0, *(index + 1 for index in exits), last + 1]
    costs = np.array([spent[a:b].sum() for a, b in pairwise(bounds)])
    return costs, float(sum(spent[index] for index in needed(way, last)))


def needed(way: Way, last: int) -> set[int]:
    """The stages without which the last model has not got its inputs."""
    takings = way.prepared.takings
    found, ahead = set(), [last]
    while ahead:
        index = ahead.pop()
        if index in found:
            continue
        found.add(index)
        takes = takings[index].takes
        if takes is None:
            ahead += [index - 1] if index else []
            continue
        for source in takes.values():
            givers = [place for place in range(index) if source in (takings[place].gives or ())]
            ahead += givers[-1:]
    return found
