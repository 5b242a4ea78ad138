"""Offer the load of one job and record what came back."""

import datetime
import time

import numpy as np
from numpy.typing import NDArray

from trivet.load.client import Client, Record
from trivet.load.connection import Target
from trivet.load.http import request_bytes
from trivet.load.job import Job, OpenLoop
from trivet.load.result import Result, generator_of, rows_of
from trivet.spec.row import RowsHeader

# A closed loop does not know its length beforehand: its choice of payloads repeats after so many requests.
NUM_CLOSED_PICKS = 65_536


def offer(job: Job) -> Result:
    """Offer the load of `job`, and wait for the last answer or timeout.

    Raises: SpecError: a job that makes no sense.  TargetError: nothing answers at the target.
    """
    date, origin_ns, origin_cpu_ns = (
        datetime.datetime.now(datetime.UTC),
        time.monotonic_ns(),
        time.process_time_ns(),
    )
    record, picks = _measure(job)
    cpu_share = (time.process_time_ns() - origin_cpu_ns) / (time.monotonic_ns() - origin_ns)
    header = RowsHeader(writer="load", date=date.isoformat(), origin_ns=origin_ns)
    measured_from_ns = record.start_ns + job.warmup_ns
    return Result(
        rows=rows_of(record, header, picks, job.deadline_ns).encode(),
        generator=generator_of(record, cpu_share, job.max_send_lag_ns, measured_from_ns),
        start_ns=record.start_ns,
        measured_from_ns=measured_from_ns,
        end_ns=record.end_ns,
    )


def _measure(job: Job) -> tuple[Record, NDArray[np.int64]]:
    """What happened, and which payload each request carried."""
    # One generator for each purpose: another arrival process draws the same payloads.
    arrivals_rng, picks_rng = (np.random.default_rng(s) for s in np.random.SeedSequence(job.seed).spawn(2))
    load = job.load
    if isinstance(load, OpenLoop):
        instants_ns = load.arrivals.instants_ns(arrivals_rng)
        picks = _picks(job, len(instants_ns), picks_rng)
        client = _client(job, picks, job.min_connections, job.max_connections)
        return client.run_open(instants_ns.tolist()), picks
    picks = _picks(job, NUM_CLOSED_PICKS, picks_rng)
    client = _client(job, picks, load.num_users, load.num_users)
    return client.run_closed(load.num_users, load.think_ns, load.duration_ns, load.max_requests), picks


def _picks(job: Job, num_requests: int, rng: np.random.Generator) -> NDArray[np.int64]:
    num_payloads = len(job.requests)
    if job.order == "sequence":
        return np.arange(num_payloads)
    return rng.integers(0, num_payloads, max(num_requests, 1))


def _client(job: Job, picks: NDArray[np.int64], min_connections: int, max_connections: int) -> Client:
    host = "localhost" if job.target.startswith("unix:") else job.target
    return Client(
        Target.parse(job.target),
        [request_bytes(r.method, r.path, host, r.headers, r.body) for r in job.requests],
        picks.tolist(),
        min_connections=min_connections,
        max_connections=max_connections,
        timeout_ns=job.timeout_ns,
        keep_answers=job.keep_answers,
    )
