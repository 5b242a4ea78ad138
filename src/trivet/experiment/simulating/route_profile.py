"""Rows of data through both models that a route chooses between: how easy each row is, and who is right.

What any setting of the route does follows from that table alone (simulate/route_table.py).
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from trivet.errors import RequestError
from trivet.experiment.simulating.stage_walk import StageWalk
from trivet.experiment.simulating.table_rows import Arrays, right, table_rows
from trivet.pipeline.routing import Routing, read_router
from trivet.pipeline.wiring import REQUEST
from trivet.runtime.preparing.preparing import Prepared
from trivet.simulate.route_table import RouteTable
from trivet.spec.configuration import Configuration
from trivet.spec.route import first_model
from trivet.spec.signature import Signature


def route_table(
    prepared: Prepared,
    configuration: Configuration,
    budget_ns: int,
    now_ns: Callable[[], int],
    *,
    asks_far: bool = False,
) -> RouteTable | None:
    """None: the service has no data to measure on.

    Args: asks_far: models elsewhere are asked, too, which may be paid by the call.

    Raises: SpecError: the data or the router does not fit.  JudgeError: labels and answers do not go together.
    """
    service = configuration.service
    rows = table_rows(prepared, configuration) if service.route is not None else None
    if rows is None:
        return None
    is_local = all(model.remote is None for model in service.models.values())
    walk = _Ways(
        prepared, configuration, rows.signature, now_ns, asks=(is_local or asks_far) and bool(rows.labels)
    )
    rows.walk(walk.add, budget_ns, now_ns)
    return walk.table(rows.labels)


class _Ways:
    """Args: asks: both models are run, to be judged."""

    def __init__(
        self,
        prepared: Prepared,
        configuration: Configuration,
        signature: Signature,
        now_ns: Callable[[], int],
        *,
        asks: bool,
    ) -> None:
        service, root = configuration.service, Path(configuration.root)
        route = service.route
        assert route is not None  # as `route_table`
        self._configuration, self._now_ns, self._asks = configuration, now_ns, asks
        self._first, self._last = first_model(service), service.last_model
        self._routing = Routing(read_router(root / route.router), route.input, self._first, 0.0)
        self._walk = StageWalk(prepared, self._last, signature)
        self._places: list[int] = []  # of the rows that came through
        self._ease: list[float] = []
        self._took_ns: list[int] = []
        self._answers: dict[int, list[Arrays]] = {self._first: [], self._last: []}

    def add(self, place: int, request: Arrays) -> None:
        """A row that a stage refuses is left out, as it would be for a client."""
        begun_ns = self._now_ns()
        ease = self._routing.ease(request)
        took_ns = self._now_ns() - begun_ns
        try:
            answers = {at: self._answer(at, request) for at in self._answers} if self._asks else {}
        except RequestError:
            return
        self._places.append(place)
        self._ease.append(ease)
        self._took_ns.append(took_ns)
        for at, answer in answers.items():
            self._answers[at].append(answer)

    def _answer(self, at: int, request: Arrays) -> Arrays:
        """What comes out where the model at `at` answers: a hard row passes the stages up to the first one by."""
        walk = self._walk
        carried: dict[str, NDArray[Any]] = {}
        start = REQUEST if at == self._first else self._first
        if start != REQUEST:
            walk.wiring.keep(REQUEST, request, carried)
        outputs = request
        for index in range(start, at):
            outputs = walk.run(index + 1, walk.wiring.hand_over(index, outputs, carried))
        return walk.left(at, outputs, carried) if at == self._first else walk.ended(outputs, carried)

    def table(self, labels: Sequence[Any]) -> RouteTable | None:
        """Args: labels: of the rows in the order given; empty: there are none."""
        if not self._places:
            return None
        of_rows = [labels[place] for place in self._places] if self._asks else []
        return RouteTable(
            ease=self._ease,
            right=right(self._configuration, of_rows, self._answers) if self._asks else {},
            first=self._first,
            last=self._last,
            decide_ns=self._took_ns,
        )
