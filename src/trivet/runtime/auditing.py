"""Audits of a certified cascade: some requests are answered a second time by the last model, off the critical path, and a
guard learns what each certified point would have answered in its stead.

An audit is a request of the lowest priority with much time, made while the worker has little to do. It passes every exit,
which notes how sure it would have been; where it comes out of the last model it is over, and nobody else sees it.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trivet.errors import RequestError
from trivet.pipeline.certified import NOTHING_LEAVES, Guard
from trivet.pipeline.exits import ExitPoint, confidences, decisions
from trivet.pipeline.wiring import REQUEST
from trivet.runtime.request import Request
from trivet.runtime.results import Results
from trivet.spec.certified import Cascade, Certificate

if TYPE_CHECKING:
    from collections.abc import Callable

    from trivet.runtime.live import LiveService
    from trivet.runtime.runtime import Runtime

# Audits must not take time from requests: so many at once at most, none while so many requests wait, and each with so much
# time that everything else is more urgent.
_MOST_AT_ONCE = 4
_MOST_WAITING = 4
_TIME_NS = 30_000_000_000
_NEVER = float("inf")


def watch(
    live: "LiveService", certificate: Certificate, rules: Cascade, say: "Callable[[str], None]"
) -> None:
    """Set the exits of a live service to its certificate's cheapest point, and have them audited."""
    assert live.exits is not None  # a certificate speaks of exits
    guard = Guard(
        certificate.points, certificate.max_loss, 1 - certificate.confidence, rules.audit, rules.seed
    )
    live.exits.audits = Audits(live, guard, say)


class Audits:
    """Of one live service in one worker.

    Invariant: every audit is counted once: same, changed, failed, or left out because the worker had better things to do.
    """

    def __init__(self, live: "LiveService", guard: Guard, say: "Callable[[str], None]") -> None:
        assert live.exits is not None  # as `watch`
        self.guard = guard
        self._live = live
        self._say = say
        self._places = sorted(live.exits.points)
        self._points = [live.exits.points[place] for place in self._places]
        self._last_model = live.exits.last_model
        self._num_running = 0
        self._apply()

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
        if self._num_running >= _MOST_AT_ONCE or runtime.scheduler.num_waiting > _MOST_WAITING:
            self._count("left out")
            return
        now_ns = runtime.now_ns()
        self._num_running += 1
        audit = Audit(self)
        try:
            again = self._live.request(request.message, now_ns, now_ns, _TIME_NS, 100, audit)
            if again.stage == REQUEST:  # no front is asked
                self._live.begin(again)
        except RequestError as error:
            audit.fail(request, error)
            return
        again.answers_after = self._last_model
        runtime.submit(again)

    def over(self, audit: "Audit", answers: NDArray[np.int64] | None) -> None:
        """Args: answers: of the last model, shape (rows, positions); None: it gave none."""
        self._num_running -= 1
        if answers is None or len(audit.noted) < len(self._points):
            self._count("failed")
            return
        point = self.guard.point
        is_changed = False
        for lost in self._lost(audit, answers).T.tolist():
            is_changed |= point != NOTHING_LEAVES and lost[point]
            self.guard.learn_each(lost)
        self._count("changed" if is_changed else "same")
        if self.guard.point != point:
            self._moved(point)

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

    def _moved(self, before: int) -> None:
        self._apply()
        guard = self.guard
        way = "back" if guard.point < before else "on"
        self._live.counts.add("trivet_cascade_steps_total", abs(guard.point - before), way=way)
        withdrawn = len(guard.points) - 1 - guard.point
        self._live.counts.set("trivet_cascade_withdrawn_points", withdrawn)
        now = "nothing leaves early" if guard.thresholds is None else f"thresholds {list(guard.thresholds)}"
        self._say(
            f"service {self._live.name!r}: after {guard.num_audited} audits the cascade went {way} to certified point "
            f"{guard.point + 1} of {len(guard.points)}: {now}"
        )

    def _apply(self) -> None:
        thresholds = self.guard.thresholds or (_NEVER,) * len(self._points)
        for point, threshold in zip(self._points, thresholds, strict=True):
            point.at_least = threshold

    def _count(self, outcome: str) -> None:
        self._live.counts.add("trivet_cascade_audits_total", outcome=outcome)

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
        self._audits.over(self, self._audits.answers_of(request, results, start))

    def fail(self, request: Request, error: RequestError) -> None:
        self._audits.over(self, None)


def _rows_of(request: Request, results: Results, start: int) -> dict[str, NDArray[Any]]:
    return dict(results.part(start, request.rows))
