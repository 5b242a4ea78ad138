"""Load offered in virtual time to a server that takes one request after the other: an exact `offer`."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from trivet.load.arrivals import NS, Constant
from trivet.load.job import ClosedLoop, HttpRequest, Job
from trivet.load.result import Generator, Result
from trivet.load.seeds import generator
from trivet.spec.levers import Slo
from trivet.spec.row import RowColumns, RowsHeader, Words

MS = 1_000_000
EVEN = Constant(rate_rps=1, duration_ns=NS)
SLO = Slo(percentile=99, latency_ns=50 * MS)
BASE = Job(
    target="h:1",
    requests=[HttpRequest(path="/")],
    load=ClosedLoop(num_users=1, duration_ns=1),
    seed=7,
    warmup_ns=NS,
)
START_NS = 1_000
QUIET = Generator(
    num_sent=0,
    num_waited=0,
    send_lag_p50_ns=0,
    send_lag_p99_ns=0,
    send_lag_max_ns=0,
    busy_share=0,
    cpu_share=1,
)
# Service times of n requests in the order of their arrival.
Services = Callable[[Job, int], NDArray[np.int64]]


def constant(service_ns: int) -> Services:
    return lambda job, num: np.full(num, service_ns, np.int64)


def exponential(mean_ns: float) -> Services:
    return lambda job, num: generator(job.seed, "order").exponential(mean_ns, num).astype(np.int64)


class SimulatedTarget:
    """First come, first served; a request that would wait longer than `max_wait_ns` is refused at once."""

    def __init__(
        self, services: Services, *, max_wait_ns: int | None = None, invalid_from_rps: float = np.inf
    ):
        self._services, self._max_wait_ns, self._invalid_from = services, max_wait_ns, invalid_from_rps
        self.jobs: list[Job] = []

    def offer(self, job: Job) -> Result:
        self.jobs.append(job)
        if isinstance(job.load, ClosedLoop):
            arrivals, done = self._closed(job, job.load)
            refused = np.zeros(len(done), np.bool_)
            rate_rps = 0.0
        else:
            arrivals = job.load.arrivals.instants_ns(generator(job.seed, "arrivals", job.seeds))
            done, refused = self._open(arrivals, self._services(job, len(arrivals)))
            rate_rps = len(arrivals) / job.load.arrivals.duration_ns * 1e9
        invalid = "the load generator fell behind" if rate_rps >= self._invalid_from else ""
        return result_of(job, arrivals, done, refused, invalid)

    def _open(
        self, arrivals: NDArray[np.int64], services: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        if self._max_wait_ns is None:
            # Lindley's recursion in one go: whoever is done at n began a busy period at some j <= n.
            work = np.cumsum(services)
            done_at = work + np.maximum.accumulate(arrivals - (work - services)) if len(work) else work
            return done_at, np.zeros(len(work), np.bool_)
        free_ns, done, refused = 0, [], []
        for arrival, service in zip(arrivals.tolist(), services.tolist(), strict=True):
            wait_ns = max(0, free_ns - arrival)
            is_refused = wait_ns > self._max_wait_ns
            if not is_refused:
                free_ns = arrival + wait_ns + service
            done.append(arrival if is_refused else free_ns)
            refused.append(is_refused)
        return np.array(done, np.int64), np.array(refused, np.bool_)

    def _closed(self, job: Job, load: ClosedLoop) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """One user, or one at a time; a group leaves together."""
        now_ns, arrivals, done = 0, [], []
        services = iter(self._services(job, min(load.max_requests, 100_000)).tolist())
        while len(arrivals) < load.max_requests and (
            now_ns < load.duration_ns or len(arrivals) < load.min_requests
        ):
            free_ns = now_ns
            for _ in range(load.group):
                free_ns += next(services)
                arrivals.append(now_ns)
                done.append(free_ns)
            now_ns = free_ns + load.think_ns
        return np.array(arrivals, np.int64), np.array(done, np.int64)


def result_of(
    job: Job,
    arrivals: NDArray[np.int64],
    done: NDArray[np.int64],
    refused: NDArray[np.bool_],
    invalid: str = "",
) -> Result:
    num = len(arrivals)
    rows = RowColumns.of(
        RowsHeader(writer="simulated", clock="virtual"),
        num,
        intended_ns=START_NS + arrivals,
        sent_ns=START_NS + arrivals,
        first_byte_ns=START_NS + done,
        done_ns=START_NS + done,
        status=np.where(refused, 429, 200),
        outcome=Words(refused.astype(np.int32), ("ok", "refused")),
    )
    return Result(
        rows=rows.encode(),
        generator=QUIET if not invalid else Generator(**{**_fields(QUIET), "invalid": invalid}),
        start_ns=START_NS,
        measured_from_ns=START_NS + job.warmup_ns,
        end_ns=START_NS + int(done.max(initial=0)),
    )


def _fields(value: Generator) -> dict[str, object]:
    return {name: getattr(value, name) for name in value.__struct_fields__}
