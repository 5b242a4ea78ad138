"""Offer the load of one job, or of several in turns, and record what came back."""

import datetime
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trivet.errors import SpecError
from trivet.load.client import Client, run_together
from trivet.load.connection import Target
from trivet.load.http import request_bytes
from trivet.load.job import ClosedLoop, Job, OpenLoop
from trivet.load.popularity import picks
from trivet.load.progress import OnProgress, Stop
from trivet.load.record import Record
from trivet.load.result import Result, generator_of, rows_of
from trivet.load.seeds import generator
from trivet.spec.row import RowsHeader

# A closed loop does not know its length beforehand: its choice of payloads repeats after so many requests.
NUM_CLOSED_PICKS = 65_536


def offer(job: Job, on_progress: OnProgress | None = None, stop: Stop | None = None) -> Result:
    """Offer the load of `job`, and wait for the last answer or timeout.

    Args: on_progress: called about twice a second, and at the end, between sends: it must take microseconds.
    stop: once it is set (a signal's handler does that) nothing more is sent, answers under way have a second, and
    the result is partial.
    Raises: SpecError: a job that makes no sense.  TargetError: nothing answers at the target.
    """
    return offer_together([job], [on_progress], stop)[0]


def offer_together(
    jobs: Sequence[Job], on_progress: Sequence[OnProgress | None], stop: Stop | None = None
) -> list[Result]:
    """The same of several jobs from one start, each in its turns; all are open loops.

    Raises: SpecError: also several jobs that have no turns.  Others as `offer`.
    """
    if len(jobs) > 1 and any(job.turns is None for job in jobs):
        raise SpecError("jobs that are offered together need turns")
    date, origin_ns, origin_cpu_ns = (
        datetime.datetime.now(datetime.UTC),
        time.monotonic_ns(),
        time.process_time_ns(),
    )
    plans = [_plan(job) for job in jobs]
    clients = [_client(plan, told, stop) for plan, told in zip(plans, on_progress, strict=True)]
    if isinstance(jobs[0].load, ClosedLoop):
        records = [_run_closed(clients[0], jobs[0].load)]
    else:
        records = run_together(clients, [plan.instants_ns.tolist() for plan in plans])
    cpu_share = (time.process_time_ns() - origin_cpu_ns) / (time.monotonic_ns() - origin_ns)
    header = RowsHeader(writer="load", date=date.isoformat(), origin_ns=origin_ns)
    return [_result(plan, record, header, cpu_share) for plan, record in zip(plans, records, strict=True)]


@dataclass(frozen=True, slots=True)
class _Plan:
    """What a job comes to: when its requests leave, ns from the start, how much of that are others' turns, and payloads."""

    job: Job
    instants_ns: NDArray[np.int64]
    gaps_ns: NDArray[np.int64] | None
    picked: NDArray[np.int64]


def _plan(job: Job) -> _Plan:
    items = generator(job.seed, "items", job.seeds)
    if not isinstance(job.load, OpenLoop):
        return _Plan(job, np.empty(0, np.int64), None, _picks(job, NUM_CLOSED_PICKS, items))
    instants_ns = job.load.arrivals.instants_ns(generator(job.seed, "arrivals", job.seeds))
    picked = _picks(job, len(instants_ns), items)
    if job.turns is None:
        return _Plan(job, instants_ns, None, picked)
    gaps_ns = job.turns.gaps_ns(instants_ns)
    return _Plan(job, instants_ns + gaps_ns, gaps_ns, picked)


def _run_closed(client: Client, load: ClosedLoop) -> Record:
    return client.run_closed(
        load.num_users,
        load.think_ns,
        load.duration_ns,
        load.max_requests,
        min_requests=load.min_requests,
        group=load.group,
    )


def _result(plan: _Plan, record: Record, header: RowsHeader, cpu_share: float) -> Result:
    job = plan.job
    if plan.gaps_ns is not None:
        record.bring_forward(plan.gaps_ns.tolist())
    measured_from_ns = record.start_ns + job.warmup_ns
    return Result(
        rows=rows_of(record, header, plan.picked, job.deadline_ns).encode(),
        generator=generator_of(
            record,
            cpu_share,
            job.max_send_lag_ns,
            measured_from_ns,
            cores=os.sched_getaffinity(0),
            server_cores=job.server_cores,
        ),
        start_ns=record.start_ns,
        measured_from_ns=measured_from_ns,
        end_ns=record.end_ns,
        chunks=record.chunks,
        partial=record.is_partial,
    )


def _picks(job: Job, num_requests: int, rng: np.random.Generator) -> NDArray[np.int64]:
    num_payloads = len(job.requests)
    if job.order == "sequence":
        return np.arange(num_payloads)
    return picks(max(num_requests, 1), num_payloads, job.zipf, rng)


def _client(plan: _Plan, on_progress: OnProgress | None, stop: Stop | None) -> Client:
    job = plan.job
    host = "localhost" if job.target.startswith("unix:") else job.target
    users = None if isinstance(job.load, OpenLoop) else job.load.num_users * job.load.group
    return Client(
        Target.parse(job.target),
        [request_bytes(r.method, r.path, host, r.headers, r.body) for r in job.requests],
        plan.picked.tolist(),
        min_connections=users or job.min_connections,
        max_connections=users or job.max_connections,
        timeout_ns=job.timeout_ns,
        keep_answers=job.keep_answers,
        keep_chunks=job.keep_chunks,
        on_progress=on_progress,
        server_processes=job.server_processes,
        stop=stop,
    )
