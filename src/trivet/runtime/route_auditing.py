"""Audits of a route: both of its models are asked some requests again, off the critical path, and a guard learns which
certified points would have let the first one give another answer than the last.

Only a request that the freest point calls easy is asked again: the others get the last model's answer at every point, and
count as same without a call. What two answers mean is told apart as by the certificate: by the service's `decode:`.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trivet.errors import RequestError
from trivet.judge.decode import Decoder
from trivet.judge.errors import JudgeError
from trivet.pipeline.certified import Guard
from trivet.pipeline.routing import Routing
from trivet.pipeline.wiring import REQUEST
from trivet.runtime.auditing import guard_of, is_stood_in_for
from trivet.runtime.guarding import AUDIT_PRIORITY, AUDIT_TIME_NS, LiveGuard
from trivet.runtime.live_route import LiveRoute
from trivet.runtime.request import Request
from trivet.runtime.results import Results
from trivet.spec.certified import Cascade, Certificate

if TYPE_CHECKING:
    from collections.abc import Callable

    from trivet.runtime.live import LiveModel, LiveService
    from trivet.runtime.runtime import Runtime

# Answers of two models that differ as often as that (texts written freely do) show nothing when they differ.
_TELLS_NOTHING = 0.95
_NEVER = float("inf")
_MOST_HARD = 2_000  # rows that are learned at once


def watch_route(
    live: "LiveService",
    certificate: Certificate,
    rules: Cascade,
    route: Routing,
    decoder: Decoder,
    say: "Callable[[str], None]",
) -> None:
    """Have a live service go by a route, from its certificate's freest point on, and have it audited."""
    live.routing = LiveRoute(route)
    if not rules.audit:
        return
    most = max(point.changed for point in certificate.points)
    if most >= _TELLS_NOTHING:
        say(
            f"service {live.name!r}: its two models' answers differ on up to {most:.0%} of the rows of the certificate: "
            "audits could show nothing, and none are made"
        )
        return
    live.routing.audits = RouteAudits(live, guard_of(certificate, rules), route, decoder, say)


class RouteAudits:
    """Of one live service in one worker. `runtime`: set when the service is put to work."""

    runtime: "Runtime"

    def __init__(
        self,
        live: "LiveService",
        guard: Guard,
        rule: Routing,
        decoder: Decoder,
        say: "Callable[[str], None]",
    ) -> None:
        assert live.exits is not None  # behind a route's first model stands one
        self.guard = guard
        self.decoder = decoder
        self.live = live
        self._rule = rule
        self._models = (live.models_by_place[rule.place], live.exits.last_model)
        self._eases = [point.thresholds[0] for point in guard.points]
        self._freest = min(self._eases)
        self._num_hard = 0  # rows since the latest audit that needs the models
        self.watched = LiveGuard(live, guard, self._apply, say)

    def wanted(self, request: Request) -> "Asked | None":
        """What an audit's own request is made for; None: it is a client's."""
        reply = request.reply
        return reply if type(reply) is Asked else None

    def look(self, request: Request, tensors: Mapping[str, NDArray[Any]], ease: float) -> None:
        """A client's request is routed: some are drawn. Args: tensors: the request's, by name."""
        runtime = self.runtime
        if not self.guard.audit(runtime.now_ns()):
            return
        # Asked before it is known whether the models are needed: under load easy and hard ones are left out alike.
        if not self.watched.has_room(runtime):
            return
        if ease < self._freest:
            # Learned with the next audit that needs the models, if that succeeds: were they learned while others fail, an
            # upstream that is gone would look like a stream without an error.
            rows = len(tensors[self._rule.input]) if self.live.signature.batch_axis else 1
            self._num_hard = min(_MOST_HARD, self._num_hard + rows)
            self.watched.needless()
            return
        self.watched.begin()
        pair = Pair(self, ease, self._num_hard)
        self._num_hard = 0
        for model, is_first in zip(self._models, (True, False), strict=True):
            self._ask(request, model, Asked(pair, is_first=is_first))

    def _ask(self, request: Request, model: "LiveModel", reply: "Asked") -> None:
        runtime, now_ns = self.runtime, self.runtime.now_ns()
        try:
            again = self.live.request(request.message, now_ns, now_ns, AUDIT_TIME_NS, AUDIT_PRIORITY, reply)
            if again.stage == REQUEST:  # no front is asked
                self.live.begin(again)
        except RequestError:
            reply.pair.give(None)
            return
        again.answers_after = model
        runtime.submit(again)

    def lost(self, ease: float, *, is_other: bool) -> list[bool]:
        """Of each point, whether it would have given a row another answer."""
        return [is_other and ease >= one for one in self._eases]

    def _apply(self, thresholds: tuple[float, ...] | None) -> None:
        self._rule.at_least = _NEVER if thresholds is None else thresholds[0]


class Pair:
    """One audit: what both models answer, row by row."""

    __slots__ = ("_audits", "_ease", "_found", "_num_hard")

    def __init__(self, audits: RouteAudits, ease: float, num_hard: int) -> None:
        self._audits = audits
        self._ease = ease
        self._num_hard = num_hard
        self._found: list[list[Any] | None] = []

    def give(self, predictions: list[Any] | None) -> None:
        """One of the two is over. Args: predictions: of its rows; None: it gave none."""
        self._found.append(predictions)
        if len(self._found) < 2:
            return
        one, other = self._found
        watched = self._audits.watched
        if one is None or other is None or len(one) != len(other):
            watched.failed()
            return
        lost = [
            self._audits.lost(self._ease, is_other=not np.array_equal(first, last))
            for first, last in zip(one, other, strict=True)
        ]
        watched.learned(lost, self._num_hard)

    def predictions(self, request: Request, results: Results, start: int) -> list[Any] | None:
        """What a model's answer means, once the steps behind the last model have run; None: nothing."""
        audits = self._audits
        live = audits.live
        assert live.exits is not None  # as in RouteAudits
        part = results.part(start, request.rows)
        live.wiring.keep(request.stage, part, request.carried)
        promised = {spec.name: part[spec.name] for spec in live.exits.last_model.signature.outputs}
        try:
            _, outputs = live.run_steps(live.exits.last, promised, request.carried, request.end_by_ns)
            return [audits.decoder(one) for one in _rows(outputs, request.rows)]
        except (RequestError, JudgeError):
            return None

    def paid(self, request: Request) -> None:
        self._audits.watched.paid(request)


class Asked:
    """The `reply` of one of an audit's two requests."""

    __slots__ = ("is_first", "pair")

    def __init__(self, pair: Pair, *, is_first: bool) -> None:
        self.pair = pair
        self.is_first = is_first

    def answer(self, request: Request, results: Results, start: int) -> None:
        self.pair.paid(request)
        found = None if is_stood_in_for(request) else self.pair.predictions(request, results, start)
        self.pair.give(found)

    def fail(self, request: Request, error: RequestError) -> None:
        self.pair.paid(request)
        self.pair.give(None)


def _rows(outputs: Mapping[str, NDArray[Any]], num: int) -> list[Mapping[str, NDArray[Any]]]:
    """Rows of a request as answers of their own, where all outputs have so many."""
    if num == 1 or any(not array.ndim or len(array) != num for array in outputs.values()):
        return [outputs]
    return [{name: array[i : i + 1] for name, array in outputs.items()} for i in range(num)]
