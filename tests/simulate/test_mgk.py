"""Queueing formulas against exact results and against slow simulations."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from benchmarks import _queues
from benchmarks._queues import BATCH_COST, BATCH_LIMIT, ROW_COST, constant, servers
from trivet.errors import UserError
from trivet.simulate.mgk import Wait, batched, erlang_c, latency_percentile, waiting


def erlang_by_sums(num_servers: int, load: Fraction) -> Fraction:
    """The textbook's sums, in exact arithmetic."""
    offered = num_servers * load
    term, below = Fraction(1), Fraction(0)
    for busy in range(num_servers):
        below += term
        term = term * offered / (busy + 1)
    full = term / (1 - load)
    return full / (below + full)


def constant_service_mean(num_servers: int, load: float) -> float:
    """The mean wait of M/D/k, in service times.   Source: Crommelin (1932)."""
    i = np.arange(1, 3000)
    at_least = special.gammainc(i * num_servers, i * num_servers * load)
    more = special.gammainc(i * num_servers + 1, i * num_servers * load)
    return float((at_least - more / load).sum())


@given(num_servers=st.integers(1, 40), percent=st.integers(1, 99))
def test_erlang_is_the_sum_of_the_textbook(num_servers: int, percent: int) -> None:
    exact = float(erlang_by_sums(num_servers, Fraction(percent, 100)))
    assert erlang_c(num_servers, percent / 100) == pytest.approx(exact, rel=1e-9)


@given(load=st.floats(0.01, 0.99), scv=st.floats(0, 20))
def test_one_server_is_exact(load: float, scv: float) -> None:
    """Pollaczek and Khinchine: rho / (1 - rho) (1 + scv) / 2 service times."""
    wait = waiting(load, 1.0, scv, 1)
    assert wait.mean == pytest.approx(load / (1 - load) * (1 + scv) / 2, rel=1e-9)
    assert wait.share == pytest.approx(load)


@pytest.mark.parametrize("num_servers", [2, 4, 16])
@pytest.mark.parametrize("load", [0.5, 0.8, 0.95])
def test_constant_service_is_within_two_percent(num_servers: int, load: float) -> None:
    exact = constant_service_mean(num_servers, load)
    assert waiting(num_servers * load, 1.0, 0.0, num_servers).mean == pytest.approx(exact, rel=0.02)


@given(num_servers=st.integers(1, 30), load=st.floats(0.05, 0.97), scv=st.floats(0, 1))
def test_between_constant_and_exponential_the_wait_is_between(
    num_servers: int, load: float, scv: float
) -> None:
    low, middle, high = (waiting(num_servers * load, 1.0, v, num_servers).mean for v in (0.0, scv, 1.0))
    assert low * (1 - 1e-9) <= middle <= high * (1 + 1e-9)


def test_exponential_service_is_exact_in_every_percentile() -> None:
    """M/M/3 at 0.8: P(W > t) = C exp(-(3 - 2.4) t)."""
    wait = waiting(2.4, 1.0, 1.0, 3)
    for p in (0.5, 0.9, 0.99):
        assert wait.percentile(p) == pytest.approx(max(0.0, math.log(wait.share / (1 - p)) / 0.6))
    assert float(wait.exceeds(np.array([-1.0, 2.0]))[1]) == pytest.approx(wait.share * math.exp(-1.2))
    assert float(wait.exceeds(np.array([-1.0, 2.0]))[0]) == 1.0


@pytest.mark.parametrize("load", [0.3, 0.9])
def test_the_latency_of_one_exponential_server_is_exponential(load: float) -> None:
    services = -np.log1p(-(np.arange(20_000) + 0.5) / 20_000)
    found = latency_percentile(waiting(load, 1.0, 1.0, 1), services, 0.99)
    assert found == pytest.approx(math.log(100) / (1 - load), rel=1e-3)


def test_p99_of_two_servers_with_constant_service_is_within_15_percent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_queues, "WARM_UP", 200)
    for load in (0.5, 0.8):
        _, latencies = servers(2, constant)(load, 200, 1_500, np.random.default_rng(5))
        found = latency_percentile(waiting(2 * load, 1.0, 0.0, 2), np.ones(1), 0.99)
        assert found == pytest.approx(float(np.quantile(latencies, 0.99)), rel=0.15)


@pytest.mark.parametrize(("load", "off"), [(0.3, 0.15), (0.5, 0.15), (0.7, 0.15)])
def test_a_batch_server_as_an_effective_one(load: float, off: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_queues, "WARM_UP", 500)
    times = BATCH_COST + ROW_COST * np.arange(1, BATCH_LIMIT + 1)
    rate = load * BATCH_LIMIT / times[-1]
    _, latencies = _queues.batches(load, 100, 2_000, np.random.default_rng(3))
    found = batched(rate, times)
    assert found.latency_percentile(0.99) == pytest.approx(float(np.quantile(latencies, 0.99)), rel=off)
    assert found.latency_percentile(0.5) == pytest.approx(float(np.quantile(latencies, 0.5)), rel=2 * off)


def test_a_batch_server_that_is_hardly_asked_takes_one_at_a_time() -> None:
    found = batched(1e-9, np.array([2.0, 3.0]))
    assert found.rows == 1.0
    assert found.latency_percentile(0.99) == pytest.approx(2.0)


def test_nobody_waits_where_nothing_is_offered() -> None:
    wait = waiting(0.0, 1.0, 1.0, 3)
    assert wait == Wait(0.0, 0.0)
    assert wait.percentile(0.99) == 0.0
    assert latency_percentile(wait, np.array([3.0, 1.0, 2.0]), 0.5) == 2.0
    assert wait.exceeds(np.array([0.0, -1.0])).tolist() == [0.0, 1.0]


def test_gaps_that_vary_more_make_requests_wait_longer() -> None:
    calm, bursty = (waiting(0.8, 1.0, 1.0, 1, gap_scv=scv).mean for scv in (1.0, 3.0))
    assert bursty == pytest.approx(2 * calm)


def test_more_than_the_servers_can_do_is_refused_with_the_number_that_could() -> None:
    with pytest.raises(UserError, match=r"at least 6 servers are needed"):
        waiting(5.0, 1.0, 1.0, 4)
    with pytest.raises(UserError, match="at least 1 is needed"):
        erlang_c(0, 0.5)
    with pytest.raises(UserError, match="profile the service first"):
        latency_percentile(Wait(0.5, 1.0), np.array([]), 0.99)
    with pytest.raises(ValueError, match="must be in"):
        Wait(0.5, 1.0).percentile(1.0)
