"""Offer the load of one job and record what came back."""

import datetime
import os
import time

import numpy as np
from numpy.typing import NDArray

from trivet.load.client import Client
from trivet.load.connection import Target
from trivet.load.http import request_bytes
from trivet.load.job import Job, OpenLoop
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
    date, origin_ns, origin_cpu_ns = (
        datetime.datetime.now(datetime.UTC),
        time.monotonic_ns(),
        time.process_time_ns(),
    )
    record, picked = _measure(job, on_progress, stop)
    cpu_share = (time.process_time_ns() - origin_cpu_ns) / (time.monotonic_ns() - origin_ns)
    header = RowsHeader(writer="load", date=date.isoformat(), origin_ns=origin_ns)
    measured_from_ns = record.start_ns + job.warmup_ns
    return Result(
        rows=rows_of(record, header, picked, job.deadline_ns).encode(),
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


def _measure(job: Job, on_progress: OnProgress | None, stop: Stop | None) -> tuple[Record, NDArray[np.int64]]:
    """What happened, and which payload each request carried."""
    items = generator(job.seed, "items", job.seeds)
    load = job.load
    if isinstance(load, OpenLoop):
        instants_ns = load.arrivals.instants_ns(generator(job.seed, "arrivals", job.seeds))
        picked = _picks(job, len(instants_ns), items)
        client = _client(job, picked, job.min_connections, job.max_connections, on_progress, stop)
        return client.run_open(instants_ns.tolist()), picked
    picked = _picks(job, NUM_CLOSED_PICKS, items)
    num_connections = load.num_users * load.group
    client = _client(job, picked, num_connections, num_connections, on_progress, stop)
    record = client.run_closed(
        load.num_users,
        load.think_ns,
        load.duration_ns,
        load.max_requests,
        min_requests=load.min_requests,
        group=load.group,
    )
    return record, picked


def _picks(job: Job, num_requests: int, rng: np.random.Generator) -> NDArray[np.int64]:
    num_payloads = len(job.requests)
    if job.order == "sequence":
        return np.arange(num_payloads)
    return picks(max(num_requests, 1), num_payloads, job.zipf, rng)


def _client(
    job: Job,
    picked: NDArray[np.int64],
    min_connections: int,
    max_connections: int,
    on_progress: OnProgress | None,
    stop: Stop | None,
) -> Client:
    host = "localhost" if job.target.startswith("unix:") else job.target
    return Client(
        Target.parse(job.target),
        [request_bytes(r.method, r.path, host, r.headers, r.body) for r in job.requests],
        picked.tolist(),
        min_connections=min_connections,
        max_connections=max_connections,
        timeout_ns=job.timeout_ns,
        keep_answers=job.keep_answers,
        keep_chunks=job.keep_chunks,
        on_progress=on_progress,
        stop=stop,
    )
