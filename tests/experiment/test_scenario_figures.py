"""Scenarios against a queue whose truth is known: one server, every answer takes a millisecond."""

import msgspec
import numpy as np
import pytest

from tests.experiment.measured_support import MS, S, generator
from trivet.experiment.scenario import OfScenario, run_scenario
from trivet.experiment.workload import Workload
from trivet.load.arrivals import Constant
from trivet.load.job import ClosedLoop, HttpRequest, Job, OpenLoop
from trivet.load.result import Result
from trivet.spec.row import RowColumns, RowsHeader

SERVICE_NS = MS
CAPACITY_RPS = 1000.0
BASE = Job(
    target="h:1",
    requests=[HttpRequest(path="/")],
    load=OpenLoop(arrivals=Constant(rate_rps=1, duration_ns=S)),
    seed=1,
    warmup_ns=100 * MS,
)


def offer(job: Job, invalid: str = "") -> Result:
    if isinstance(job.load, ClosedLoop):
        num = max(job.load.min_requests, job.load.duration_ns // SERVICE_NS)
        intended = np.arange(num) * SERVICE_NS
    else:
        intended = job.load.arrivals.instants_ns(np.random.default_rng(job.seed))
    done, free_ns = [], 0
    for instant in intended.tolist():
        free_ns = max(free_ns, instant) + SERVICE_NS
        done.append(free_ns)
    rows = RowColumns.of(
        RowsHeader(writer="load"),
        len(intended),
        intended_ns=intended,
        sent_ns=intended,
        done_ns=done,
        status=200,
    )
    return Result(
        rows=rows.encode(),
        generator=generator(len(intended), invalid),
        start_ns=0,
        measured_from_ns=job.warmup_ns,
        end_ns=max(done, default=0),
    )


def found(scenario: str, invalid: str = "", **settings: object) -> OfScenario:
    workload = Workload(scenario=scenario, slo_latency_ns=20 * MS, duration_ns=4 * S)
    workload = msgspec.structs.replace(workload, **settings)
    return run_scenario(workload, BASE, CAPACITY_RPS, lambda job: offer(job, invalid))


def test_the_knee_lies_below_the_capacity_within_its_interval() -> None:
    figures, invalid = found("ramp")
    knee = figures["knee_rps"]
    assert invalid == ""
    assert 700 < knee.estimate < CAPACITY_RPS
    assert knee.low is not None
    assert knee.high is not None
    assert knee.low < knee.estimate < knee.high
    assert "p99 within 20 ms" in knee.verdict


def test_overload_shows_the_goodput_at_each_multiple() -> None:
    figures, invalid = found("overload")
    assert invalid == ""
    # A queue that drops nothing: beyond its capacity soon nothing is in time.
    assert figures["goodput_rps at 3 times"].estimate < 0.2 * figures["goodput_rps at 1 times"].estimate
    assert figures["goodput_kept"].estimate < 0.2


def test_a_spike_is_recovered_from_when_the_queue_has_drained() -> None:
    """2 s at twice the capacity leave 2,000 requests; at half the capacity the queue drains 500 a second: 4 s."""
    figures, _ = found("spike")
    assert figures["recovery_ms"].estimate == pytest.approx(4000, abs=600)
    never, _ = found("spike", rate_rps=990.0)
    assert (never["recovery_ms"].low, never["recovery_ms"].high) == (10_000, None)


def test_a_soak_of_a_steady_queue_drifts_nowhere() -> None:
    figures, _ = found("soak", rate_rps=500.0)
    drift = figures["latency_drift"]
    assert drift.low is not None
    assert drift.high is not None
    assert drift.low < 1 < drift.high


def test_mlperf_says_valid_or_why_not() -> None:
    figures, invalid = found("mlperf-server", rate_rps=300.0)
    assert invalid == ""
    assert figures["mlperf_metric"].estimate == 300
    assert "Server VALID" in figures["mlperf_metric"].verdict
    assert figures["mlperf_p99_ms"].estimate < 20
    _, broken = found("mlperf-server", rate_rps=300.0, slo_latency_ns=MS // 2)
    assert broken.startswith("Server INVALID: ")
    single, _ = found("mlperf-singlestream", slo_latency_ns=None)
    assert single["mlperf_metric"].unit == "ms"
    assert single["mlperf_metric"].estimate == pytest.approx(1)


@pytest.mark.parametrize("scenario", ["overload", "spike", "mlperf-server"])
def test_a_generator_that_fell_behind_makes_a_scenario_invalid(scenario: str) -> None:
    _, invalid = found(scenario, invalid="the load generator fell behind", rate_rps=500.0)
    assert "the load generator fell behind" in invalid
