"""The rows of a service's data that tables of exits and routes are made of, and who is right on them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trivet.experiment.data_parts import data_parts, why_no_data
from trivet.judge.accuracy import judge
from trivet.runtime.preparing.preparing import Prepared, PreparedModel
from trivet.spec.configuration import Configuration
from trivet.spec.signature import Signature

MAX_ROWS = 1000
PARTS_SEED = 0  # as variants are judged (judged_variants.py): on rows that none of them was made with

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class TableRows:
    """Requests and their labels; no labels: empty."""

    signature: Signature
    inputs: Sequence[Arrays]
    labels: Sequence[Any]

    def walk(self, add: Callable[[int, Arrays], None], budget_ns: int, now_ns: Callable[[], int]) -> None:
        """Each row in its order, until the budget is spent; the first one in any case."""
        end_ns = now_ns() + budget_ns
        for place, request in enumerate(self.inputs):
            add(place, request)
            if now_ns() > end_ns:
                break


def table_rows(prepared: Prepared, configuration: Configuration) -> TableRows | None:
    """None: the service has no data.

    Raises: SpecError: the data does not fit.
    """
    if why_no_data(configuration):
        return None
    first, given = prepared.stages[0], configuration.service.inputs or ()
    signature = first.signature if isinstance(first, PreparedModel) else Signature(given, (), False)
    parts = data_parts(configuration, signature, PARTS_SEED)
    rows = parts.judged_rows(MAX_ROWS)
    return TableRows(signature, rows.inputs or parts.rows.inputs[:MAX_ROWS], rows.labels)


def right(
    configuration: Configuration, labels: Sequence[Any], answers: Mapping[int, Sequence[Arrays]]
) -> dict[int, list[float]]:
    """What the metric says of each row answered at each place; empty where it has no value of one row, or there is none.

    Raises: JudgeError: labels and answers do not go together.
    """
    service, root = configuration.service, Path(configuration.root)
    found: dict[int, list[float]] = {}
    for at, of_rows in answers.items() if service.metric is not None else ():
        values = judge(service, root, labels, [], of_rows).values
        if values is None:
            return {}
        found[at] = np.nan_to_num(values).tolist()
    return found
