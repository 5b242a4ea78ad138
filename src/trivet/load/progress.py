"""What a run looks like while it lasts. Costs nothing for an answer, and a glance at the record twice a second."""

import math
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import msgspec
import numpy as np

from trivet.host import cpu_ns
from trivet.load.record import Record
from trivet.spec.row import ABSENT

PERIOD_NS = 500_000_000
NS = 1_000_000_000
# So many latencies are sorted in less than half of the millisecond that a send may be late.
_MOST_SAMPLED: Final = 2048
_PLACES: Final = (
    np.arange(_MOST_SAMPLED) * ((5**0.5 - 1) / 2) % 1
)  # the golden section's: even, without a period


class Stop(Protocol):
    """Asks a run to end early; a `threading.Event` is one."""

    def is_set(self) -> bool: ...


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """Since the start: `elapsed_ns`, and requests `sent`, `done` and among these without a result, `errors`.

    `server_cpu_ns`: processor time of the server's processes at this moment, since they began; None: unknown processes.

    Since the last one: `rate_rps`, results a second, and percentiles of their latencies (of a sample where there
    are more than 2,048), ABSENT where there was none.
    """

    elapsed_ns: int
    sent: int
    done: int
    errors: int
    p50_ns: int
    p99_ns: int
    rate_rps: float
    server_cpu_ns: int | None = None

    def __str__(self) -> str:
        latencies = ", ".join(
            f"{name} {ns / 1e6:.3g} ms"
            for name, ns in (("p50", self.p50_ns), ("p99", self.p99_ns))
            if ns != ABSENT
        )
        return (
            f"{self.elapsed_ns / NS:6.1f} s  {self.rate_rps:,.0f}/s  {latencies or 'no answer yet'}  "
            f"{self.sent:,} sent  {self.errors:,} errors"
        )


OnProgress = Callable[[Progress], None]


class Monitor:
    """Tells `on_progress` about twice a second, when the client has a moment, what it reads from the record then.

    Invariant: nothing is done for a request that ends well, which is what keeps the generator's rate.
    """

    def __init__(self, on_progress: OnProgress, server_processes: Sequence[int] = ()) -> None:
        self.num_errors = 0  # requests that ended without a result; the client counts them
        self._on_progress, self._server_processes = on_progress, server_processes
        self._num_results = 0  # when it was told last
        self._first = 0  # no request before it was in flight then
        self._start_ns = self._told_ns = 0

    def start(self, now_ns: int) -> None:
        self._start_ns = self._told_ns = now_ns

    def is_due(self, now_ns: int) -> bool:
        return now_ns - self._told_ns >= PERIOD_NS

    def tell(self, now_ns: int, record: Record, *, num_sent: int, num_done: int, oldest: int) -> None:
        """Args: num_sent, num_done: requests.  oldest: no request before it is in flight."""
        num_results = num_done - self.num_errors
        latencies = self._latencies_ns(record, num_sent) if num_results > self._num_results else []
        progress = Progress(
            elapsed_ns=max(0, now_ns - self._start_ns),
            sent=num_sent,
            done=num_done,
            errors=self.num_errors,
            p50_ns=_percentile_ns(latencies, 0.5),
            p99_ns=_percentile_ns(latencies, 0.99),
            rate_rps=(num_results - self._num_results) / max(1, now_ns - self._told_ns) * NS,
            server_cpu_ns=sum(map(cpu_ns, self._server_processes)) if self._server_processes else None,
        )
        self._num_results, self._first, self._told_ns = num_results, oldest, now_ns
        self._on_progress(progress)

    def _latencies_ns(self, record: Record, num_sent: int) -> list[int]:
        """Of results since it was told last, ascending; of a sample where there are many."""
        done, status, intended, told = record.done_ns, record.status, record.intended_ns, self._told_ns
        found = [
            done[request] - intended[request]
            for request in _spread(self._first, num_sent)
            if done[request] > told and 200 <= status[request] < 300
        ]
        found.sort()
        return found


def _spread(first: int, stop: int) -> Sequence[int]:
    """All of [first, stop), or _MOST_SAMPLED of it, evenly but in no step: inputs that come in turn have one."""
    if stop - first <= _MOST_SAMPLED:
        return range(first, stop)
    found: list[int] = (first + (_PLACES * (stop - first)).astype(np.int64)).tolist()
    return found


def _percentile_ns(ascending: Sequence[int], share: float) -> int:
    return ascending[math.ceil(share * len(ascending)) - 1] if ascending else ABSENT
