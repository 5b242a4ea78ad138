"""The ramp to the knee, against servers in virtual time whose knee is known."""

import math

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.load import simulated_target
from tests.load.simulated_target import EVEN, MS, SLO, SimulatedTarget, constant, exponential
from trivet.errors import SpecError
from trivet.load.arrivals import NS, Mmpp, Recorded
from trivet.load.job import Job
from trivet.load.knee import NoKneeError, Ramp, StoppedError, find_knee
from trivet.load.result import Result
from trivet.spec.levers import Slo

BASE = msgspec.structs.replace(simulated_target.BASE, warmup_ns=NS // 10)


@settings(max_examples=20, deadline=None)
@given(
    service_us=st.integers(1_000, 100_000),
    start=st.floats(0.02, 0.9),
    growth=st.floats(1.1, 4),
    precision=st.floats(0.005, 0.1),
)
def test_of_even_arrivals_and_equal_services_the_knee_is_found_as_closely_as_asked(
    service_us: int, start: float, growth: float, precision: float
) -> None:
    """Up to one request a service time nobody waits; 0.2 % above it, after 2,000 of them, the last waits for four."""
    bears_rps = 1e6 / service_us
    ramp = Ramp(
        min_rps=start * bears_rps,
        max_rps=100 * bears_rps,
        step_ns=2_000_000 * service_us,
        growth=growth,
        precision=precision,
        num_searches=1,
        arrivals=EVEN,
    )
    slo = Slo(percentile=99, latency_ns=3_000 * service_us)
    base = msgspec.structs.replace(BASE, warmup_ns=0)
    knee = find_knee(ramp, base, SimulatedTarget(constant(service_us * 1000)).offer, slo)
    assert bears_rps / (1 + precision) <= knee.rate_rps <= 1.002 * bears_rps * (1 + precision)
    assert (knee.low_rps, knee.invalid) == (None, "")


def test_of_poisson_arrivals_and_exponential_services_the_interval_holds_the_knee() -> None:
    """M/M/1: p99 of the time in the system is ln(100) / (mu - lambda)."""
    mu_rps, budget_s = 1000, 0.05
    truth_rps = mu_rps - math.log(100) / budget_s
    ramp = Ramp(min_rps=100, max_rps=10_000, step_ns=20 * NS, num_searches=4)
    knee = find_knee(ramp, BASE, SimulatedTarget(exponential(NS / mu_rps)).offer, SLO)
    assert knee.low_rps is not None
    assert knee.high_rps is not None
    assert knee.low_rps < truth_rps < knee.high_rps
    assert knee.rate_rps == pytest.approx(truth_rps, rel=0.05)
    assert knee.high_rps / knee.low_rps < 1.3


def test_searches_after_the_first_start_beside_what_it_found() -> None:
    ramp = Ramp(min_rps=1, max_rps=1e6, step_ns=10 * NS, num_searches=3, arrivals=EVEN)
    knee = find_knee(ramp, BASE, SimulatedTarget(constant(5 * MS)).offer, SLO)
    counts = [sum(step.search == search for step in knee.steps) for search in range(3)]
    assert counts[0] > 10
    assert counts[1:] == [3, 3] or max(counts[1:]) <= 5


def test_rates_of_one_search_share_their_seed_and_searches_do_not() -> None:
    target = SimulatedTarget(constant(5 * MS))
    ramp = Ramp(min_rps=50, max_rps=1000, num_searches=2, arrivals=Mmpp(rate_rps=1, duration_ns=NS))
    find_knee(ramp, BASE, target.offer, SLO)
    assert {job.seed for job in target.jobs} == {7, 8}
    rates = [job.load.arrivals.rate_rps for job in target.jobs]  # type: ignore[union-attr]
    assert len(set(rates)) == len(rates)
    assert all(job.load.arrivals.duration_ns == 2 * NS + NS // 10 for job in target.jobs)  # type: ignore[union-attr]


def test_refusals_break_the_slo_though_every_answer_is_fast() -> None:
    target = SimulatedTarget(constant(5 * MS), max_wait_ns=10 * MS)
    slo = Slo(percentile=50, latency_ns=50 * MS)
    ramp = Ramp(
        min_rps=20, max_rps=5000, step_ns=20 * NS, num_searches=1, arrivals=EVEN, max_error_share=0.05
    )
    knee = find_knee(ramp, BASE, target.offer, slo)
    assert knee.rate_rps == pytest.approx(200 / 0.95, rel=0.03)


def test_a_generator_that_gives_up_first_is_said() -> None:
    target = SimulatedTarget(constant(MS), invalid_from_rps=300)
    knee = find_knee(Ramp(min_rps=50, max_rps=5000, num_searches=1, arrivals=EVEN), BASE, target.offer, SLO)
    assert knee.rate_rps == pytest.approx(300, rel=0.03)
    assert knee.invalid == "the load generator fell behind"


def test_a_hiccup_of_the_generator_is_tried_again_and_does_not_count() -> None:
    target = SimulatedTarget(constant(5 * MS))
    calls = []

    def offer(job: Job) -> Result:
        """Every second one is invalid."""
        calls.append(job)
        result = target.offer(job)
        if len(calls) % 2:
            generator = msgspec.structs.replace(result.generator, invalid="a hiccup")
            return msgspec.structs.replace(result, generator=generator)
        return result

    ramp = Ramp(min_rps=20, max_rps=5000, step_ns=10 * NS, num_searches=1, arrivals=EVEN)
    knee = find_knee(ramp, BASE, offer, SLO)
    assert knee.rate_rps == pytest.approx(200, rel=0.03)
    assert knee.invalid == ""
    assert len(knee.steps) == len(calls)


def test_a_generator_that_is_never_a_judge_finds_no_knee() -> None:
    target = SimulatedTarget(constant(MS), invalid_from_rps=0)
    with pytest.raises(
        NoKneeError, match=r"nothing can be said of 50 requests.*: the load generator fell behind"
    ):
        find_knee(Ramp(min_rps=50, max_rps=500, arrivals=EVEN), BASE, target.offer, SLO)
    assert len(target.jobs) == 3


def test_a_stop_ends_the_search() -> None:
    target = SimulatedTarget(constant(MS))

    def offer(job: Job) -> Result:
        return msgspec.structs.replace(target.offer(job), partial=True)

    with pytest.raises(StoppedError, match="the ramp was stopped at 50 requests a second"):
        find_knee(Ramp(min_rps=50, max_rps=500, arrivals=EVEN), BASE, offer, SLO)
    assert len(target.jobs) == 1


def test_no_knee_is_an_error_that_says_where_to_look() -> None:
    target = SimulatedTarget(constant(MS))
    with pytest.raises(NoKneeError, match=r"holds at 500 requests a second, the most.*100.00%.*raise"):
        find_knee(Ramp(min_rps=10, max_rps=500, arrivals=EVEN), BASE, target.offer, SLO)
    slow = SimulatedTarget(constant(90 * MS))
    with pytest.raises(NoKneeError, match=r"does not hold at 2 requests a second, the least.*0.00%.*lower"):
        find_knee(Ramp(min_rps=2, max_rps=500, arrivals=EVEN), BASE, slow.offer, SLO)


def test_an_slo_without_a_latency_is_refused() -> None:
    with pytest.raises(SpecError, match="needs a latency to hold"):
        find_knee(Ramp(min_rps=2, max_rps=500), BASE, SimulatedTarget(constant(MS)).offer, Slo())


def test_a_trace_is_scaled_by_amplitude_on_the_way() -> None:
    trace = Recorded(at_ns=tuple(range(0, 10 * NS, NS // 20)))
    target = SimulatedTarget(constant(5 * MS))
    ramp = Ramp(min_rps=20, max_rps=1000, step_ns=9 * NS, num_searches=1, arrivals=trace)
    knee = find_knee(ramp, BASE, target.offer, SLO)
    assert 100 < knee.rate_rps <= 210
