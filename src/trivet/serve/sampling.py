"""Which requests of a worker get a row: a share drawn at random, and every slow or failed one.

Each request costs a decrement and three comparisons. Whether a request is drawn does not depend on it: the gaps
between drawn ones are geometric, so each is drawn with the probability `share`, independently of all others.
"""

import math
import random
from collections.abc import Iterator
from typing import TYPE_CHECKING

from trivet.clock import MonotonicClock
from trivet.errors import RequestError
from trivet.serve.sampled_row import answered_row, cancelled_row, failed_row, outcome_of, unaccepted_row
from trivet.serve.samples import Outlet, Sample
from trivet.serve.traceparent import caller_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from trivet.runtime.request import Request
    from trivet.runtime.table import LiveTable

_NEVER = 1 << 62


class Sampler:
    """One for each worker. Its methods are called once for each request, when its outcome is known."""

    __slots__ = ("_gaps", "_now_ns", "_outlet", "_traces", "_until_next")

    def __init__(
        self,
        outlet: Outlet,
        *,
        share: float,
        seed: int,
        traces: bool,
        now_ns: "Callable[[], int]" = MonotonicClock.now_ns,
    ) -> None:
        """Args: traces: requests whose caller records a trace are kept too."""
        self._outlet = outlet
        self._gaps = gaps(share, seed)
        self._until_next = next(self._gaps)
        self._traces = traces
        self._now_ns = now_ns

    def answered(
        self, request: "Request", answer: bytes, encode_from_ns: int, done_ns: int, *, is_gone: bool
    ) -> None:
        """A result was encoded; `is_gone`: for a client that had left."""
        self._until_next -= 1
        is_slow = done_ns - request.received_ns > request.live.slow_ns or done_ns > request.end_by_ns
        if self._until_next and not is_slow and (request.options is None or not self._traces):
            return
        traceparent = self._traceparent(request)
        kept = self._kept("slow" if is_slow else "", traceparent)
        if kept and self._has_room():
            row = answered_row(request, answer, encode_from_ns, done_ns, kept, is_gone=is_gone)
            self._outlet.put(Sample(row, traceparent))

    def failed(self, request: "Request", error: RequestError, status: int) -> None:
        """A request that was accepted is answered with an error."""
        self._until_next -= 1
        is_failed = outcome_of(error, status) == "failed"  # a drop is one of them
        if self._until_next and not is_failed and not self._traces:
            return
        traceparent = self._traceparent(request)
        kept = self._kept("failed" if is_failed else "", traceparent)
        if kept and self._has_room():
            self._outlet.put(Sample(failed_row(request, error, status, self._now_ns(), kept), traceparent))

    def cancelled(self, request: "Request") -> None:
        """The client left while its request waited."""
        self._until_next -= 1
        if self._until_next and not self._traces:
            return
        traceparent = self._traceparent(request)
        kept = self._kept("", traceparent)
        if kept and self._has_room():
            self._outlet.put(Sample(cancelled_row(request, self._now_ns(), kept), traceparent))

    def unaccepted(
        self, table: "LiveTable", received_ns: int, error: RequestError, status: int, traceparent: bytes
    ) -> None:
        """A request for `table` is answered with an error before there was anything to schedule."""
        self._until_next -= 1
        is_failed = outcome_of(error, status) == "failed"
        if self._until_next and not is_failed and not self._traces:
            return
        caller = traceparent.decode("latin-1") if self._traces and len(traceparent) < 256 else ""
        kept = self._kept("failed" if is_failed else "", caller)
        if kept and self._has_room():
            service = table.entries[0].name if table.entries else ""
            configuration = "" if table.only is None else table.only.hash
            row = unaccepted_row(service, configuration, received_ns, error, status, self._now_ns(), kept)
            self._outlet.put(Sample(row, caller))

    def _kept(self, always: str, traceparent: str) -> str:
        """Why this request gets a row; empty: it gets none."""
        is_drawn = not self._until_next
        if is_drawn:
            self._until_next = next(self._gaps)
        if always:
            return always
        if is_drawn:
            return "share"
        caller = caller_of(traceparent) if traceparent else None
        return "trace" if caller is not None and caller.records else ""

    def _traceparent(self, request: "Request") -> str:
        if not self._traces or request.options is None:
            return ""
        return request.options.traceparent or ""

    def _has_room(self) -> bool:
        if self._outlet.is_full:
            self._outlet.drop()
            return False
        return True


def gaps(share: float, seed: int) -> Iterator[int]:
    """How many requests on the next drawn one is; without end. Geometric with mean 1 / `share`, 0 <= share <= 1."""
    rng = random.Random(seed)
    while True:
        if share >= 1.0:
            yield 1
        elif share <= 0.0:
            yield _NEVER
        else:
            yield 1 + int(min(_NEVER, math.log(1.0 - rng.random()) / math.log1p(-share)))
