"""Rows of data carried through a pipeline with early exits, past every exit: how sure each is, and who is right.

What thresholds do follows from that table alone, whatever they are (simulate/exit_table.py).
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trivet.errors import RequestError
from trivet.experiment.simulating.stage_walk import StageWalk
from trivet.experiment.simulating.table_rows import Arrays, right, table_rows
from trivet.pipeline.exits import confidences, decisions
from trivet.pipeline.wiring import REQUEST
from trivet.runtime.preparing.preparing import Prepared
from trivet.simulate.exit_table import NEVER_SURE, ExitTable
from trivet.spec.configuration import Configuration
from trivet.spec.signature import Signature


def exit_table(
    prepared: Prepared,
    configuration: Configuration,
    budget_ns: int,
    now_ns: Callable[[], int],
    *,
    asks_far: bool = False,
) -> ExitTable | None:
    """None: the service has no data to measure on.

    Args: asks_far: a last model elsewhere is asked, too: one call for each row.

    Raises: SpecError: the data does not fit.  JudgeError: labels and answers do not go together.
    """
    rows = table_rows(prepared, configuration)
    if rows is None:
        return None
    walk = _Walk(prepared, configuration, rows.signature, asks_far=asks_far)
    rows.walk(walk.add, budget_ns, now_ns)
    return walk.table(rows.labels)


class _Walk:
    """One request after the other through all stages, and what each exit would have answered."""

    def __init__(
        self, prepared: Prepared, configuration: Configuration, signature: Signature, *, asks_far: bool
    ) -> None:
        service = configuration.service
        self._configuration = configuration
        self._rules = {i: stage.exit for i, stage in enumerate(service.pipeline) if stage.exit is not None}
        self._last = service.last_model
        # What another server answers may be paid by the call: how sure exits are is known without it.
        is_local = all(model.remote is None for model in service.models.values())
        self._end = self._last if is_local or asks_far else max(self._rules)
        self._walk = StageWalk(prepared, self._last, signature)
        self._places: list[int] = []  # of the rows that came through
        self._confidences: dict[int, list[float]] = {place: [] for place in self._rules}
        self._said: dict[int, list[NDArray[np.int64]]] = {place: [] for place in (*self._rules, self._last)}
        self._answers: dict[int, list[Arrays]] = {place: [] for place in (*self._rules, self._end)}

    def add(self, place: int, request: Arrays) -> None:
        """A row that a stage refuses is left out, as it would be for a client."""
        try:
            sure, answers, said = self._walked(request)
        except RequestError:
            return
        self._places.append(place)
        for at, confidence in sure.items():
            self._confidences[at].append(confidence)
        for at, answer in answers.items():
            self._answers[at].append(answer)
        for at, classes in said.items():
            self._said[at].append(classes)

    def _walked(
        self, request: Arrays
    ) -> tuple[dict[int, float], dict[int, Arrays], dict[int, NDArray[np.int64]]]:
        carried: dict[str, NDArray[Any]] = {}
        wiring = self._walk.wiring
        inputs = wiring.hand_over(REQUEST, request, carried)
        sure: dict[int, float] = {}
        answers: dict[int, Arrays] = {}
        said: dict[int, NDArray[np.int64]] = {}
        for index in range(self._end + 1):
            outputs = self._walk.run(index, inputs)
            if index in self._rules:
                rule = self._rules[index]
                least = float(np.min(confidences(rule, outputs[rule.output])))
                sure[index] = least if np.isfinite(least) else NEVER_SURE
                said[index] = decisions(rule, outputs)
                answers[index] = self._walk.left(index, outputs, carried)
            if index == self._end < self._last:
                break
            if index == self._last:
                said[index] = decisions(self._rules[max(self._rules)], outputs)
                answers[index] = self._walk.ended(outputs, carried)
            else:
                inputs = wiring.hand_over(index, outputs, carried)
        return sure, answers, said

    def table(self, labels: Sequence[Any]) -> ExitTable | None:
        """Args: labels: of the rows in the order given; empty: there are none."""
        if not self._places:
            return None
        known: dict[int, list[float]] = {}
        if labels and self._end == self._last:
            known = right(self._configuration, [labels[place] for place in self._places], self._answers)
        return ExitTable(confidences=self._confidences, right=known, last=self._last, changed=self._changed())

    def _changed(self) -> dict[int, list[bool]]:
        """Whether each exit would have given each row another answer than the last model; nothing where nobody asked it."""
        if not self._said[self._last]:
            return {}
        return {
            at: [
                mine.shape != last.shape or bool((mine != last).any())
                for mine, last in zip(self._said[at], self._said[self._last], strict=True)
            ]
            for at in self._rules
        }
