"""Audits of a certified cascade: some requests are answered a second time by the last model, off the critical path, and a
guard learns what each certified point would have answered in its stead.

An audit is a request of the lowest priority with much time, made while the worker has little to do. It passes every exit,
which notes how sure it would have been; where it comes out of the last model it is over, and nobody else sees it.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trivet.errors import RequestError
from trivet.pipeline.certified import Guard
from trivet.pipeline.exits import ExitPoint, confidences, decisions
from trivet.pipeline.wiring import REQUEST
from trivet.runtime.guarding import AUDIT_PRIORITY, AUDIT_TIME_NS, LiveGuard
from trivet.runtime.request import Request
from trivet.runtime.results import Results
from trivet.spec.certified import Cascade, Certificate

if TYPE_CHECKING:
    from collections.abc import Callable

    from trivet.runtime.live import LiveService
    from trivet.runtime.runtime import Runtime

_NEVER = float("inf")


def watch(
    live: "LiveService", certificate: Certificate, rules: Cascade, say: "Callable[[str], None]"
) -> None:
    """Set the exits of a live service to its certificate's cheapest point, and have them audited."""
    assert live.exits is not None  # a certificate speaks of exits
    live.exits.audits = Audits(live, guard_of(certificate, rules), say)


def guard_of(certificate: Certificate, rules: Cascade) -> Guard:
    return Guard(
        certificate.points, certificate.max_loss, 1 - certificate.confidence, rules.audit, rules.seed
    )


class Audits:
    """Of one live service in one worker."""

    def __init__(self, live: "LiveService", guard: Guard, say: "Callable[[str], None]") -> None:
        assert live.exits is not None  # as `watch`
        self.guard = guard
        self._live = live
        self._places = sorted(live.exits.points)
        self._points = [live.exits.points[place] for place in self._places]
        self._last_model = live.exits.last_model
        self._watched = LiveGuard(live, guard, self._apply, say)

    def passes(self, runtime: "Runtime", request: Request, results: Results, start: int) -> bool:
        """A request has come to an exit: whether it is an audit's own, which goes on in any case.

        Others may be drawn here, at their first exit.
        """
        reply = request.reply
        if type(reply) is Audit:
            reply.note(request, results, start)
            return True
        if request.stage == self._places[0] and self.guard.audit(runtime.now_ns()):
            self._begin(runtime, request)
        return False

    def _begin(self, runtime: "Runtime", request: Request) -> None:
        if not self._watched.has_room(runtime):
            return
        self._watched.begin()
        now_ns = runtime.now_ns()
        audit = Audit(self)
        try:
            again = self._live.request(request.message, now_ns, now_ns, AUDIT_TIME_NS, AUDIT_PRIORITY, audit)
            if again.stage == REQUEST:  # no front is asked
                self._live.begin(again)
        except RequestError:
            self._watched.failed()
            return
        again.answers_after = self._last_model
        runtime.submit(again)

    def over(self, audit: "Audit", request: Request, answers: NDArray[np.int64] | None) -> None:
        """Args: answers: of the last model, shape (rows, positions); None: it gave none."""
        self._watched.paid(request)
        if answers is None or len(audit.noted) < len(self._points):
            self._watched.failed()
        else:
            self._watched.learned(self._lost(audit, answers).T.tolist())

    def _lost(self, audit: "Audit", answers: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether each point (axis 0) would have given each row (axis 1) another answer."""
        lost = np.zeros((len(self.guard.points), len(answers)), np.bool_)
        for number, one in enumerate(self.guard.points):
            on = np.ones(len(answers), np.bool_)
            for (sure, said), threshold in zip(audit.noted, one.thresholds, strict=True):
                leaves = on & (sure >= threshold)
                lost[number] |= leaves & (said != answers).any(axis=1)
                on &= ~leaves
        return lost

    def _apply(self, thresholds: tuple[float, ...] | None) -> None:
        for point, threshold in zip(self._points, thresholds or (_NEVER,) * len(self._points), strict=True):
            point.at_least = threshold

    def rule_of(self, place: int) -> ExitPoint:
        return self._points[self._places.index(place)]

    def answers_of(self, request: Request, results: Results, start: int) -> NDArray[np.int64]:
        return decisions(self._points[-1].rule, _rows_of(request, results, start))


class Audit:
    """One request answered again; its own `reply`.

    noted: at each exit, how sure it was of each row, and what it would have answered.
    """

    __slots__ = ("_audits", "noted")

    def __init__(self, audits: Audits) -> None:
        self._audits = audits
        self.noted: list[tuple[NDArray[np.float64], NDArray[np.int64]]] = []

    def note(self, request: Request, results: Results, start: int) -> None:
        rule = self._audits.rule_of(request.stage).rule
        outputs = _rows_of(request, results, start)
        self.noted.append((confidences(rule, outputs[rule.output]), decisions(rule, outputs)))

    def answer(self, request: Request, results: Results, start: int) -> None:
        if is_stood_in_for(request):
            self._audits.over(self, request, None)
        else:
            self._audits.over(self, request, self._audits.answers_of(request, results, start))

    def fail(self, request: Request, error: RequestError) -> None:
        self._audits.over(self, request, None)


def is_stood_in_for(request: Request) -> bool:
    """Something else than the model that was asked has answered, such as the very front that is audited: no evidence."""
    return request.notes is not None and bool(request.notes.instead)


def _rows_of(request: Request, results: Results, start: int) -> dict[str, NDArray[Any]]:
    return dict(results.part(start, request.rows))
