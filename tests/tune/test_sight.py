"""What short blocks see at the largest rate, and that they say the right one by it: on M/D/1, whose truth is a formula."""

import math

import numpy as np
import pytest

from tests.simulate.simulated_support import constant, lone, run
from trivet.catalog.study import TrialBlock
from trivet.load.arrivals import Poisson
from trivet.stats.percentile import percentile_ns
from trivet.tune.beliefs import limit_sample, telling
from trivet.tune.screen import DEFAULT_SLOPE, SLOPES
from trivet.tune.sight import Sight, Sights
from trivet.tune.simulated_load import SimulatedLoad

SERVICE_NS, SLO_NS, SECONDS = 1_000_000, 46_000_000, 1.0
PROFILE = constant({1: SERVICE_NS})
SETUP = lone(max_batch_size=1, slo_ns=SLO_NS)


def p99_ms(rate_rps: float) -> float:
    """Of the time in an M/D/1 system, by its exponential tail: C exp(-theta t), exact but for what is nothing at 1 %.

    Source: Tijms, A First Course in Stochastic Models (2003), chapter 9.
    """
    load = rate_rps * SERVICE_NS / 1e9
    low, high = 1e-9, 5.0
    for _ in range(100):  # the positive root of load * (exp(theta) - 1) = theta, in services
        theta = (low + high) / 2
        low, high = (theta, high) if load * math.expm1(theta) < theta else (low, theta)
    share = (1 - load) / (load * math.exp(theta) - 1)
    return (1 + math.log(share / 0.01) / theta) * SERVICE_NS / 1e6


def largest_rps() -> float:
    low, high = 500.0, 999.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if p99_ms(middle) < SLO_NS / 1e6 else (low, middle)
    return low


TRUE_RPS = largest_rps()


@pytest.fixture(scope="module")
def sights() -> Sights:
    return Sights(PROFILE, SLO_NS, seed=7)


def seen_ms(block: int) -> float:
    """By a live block at the true limit, at the SLO's percentile."""
    instants = Poisson(rate_rps=TRUE_RPS, duration_ns=int(SECONDS * 1e9)).instants_ns(
        np.random.default_rng((1, block))
    )
    return percentile_ns(run(PROFILE, SETUP, instants, seed=block).latency_ns(), 0.99) / 1e6


def test_blocks_at_the_true_limit_say_that_limit(sights: Sights) -> None:
    """Within 2 %; held against the SLO the same ones say a rate that is too high by more than 4 %."""
    sight = sights.of(SETUP, TRUE_RPS, SECONDS)
    assert sight is not None
    latencies = [seen_ms(block) for block in range(60)]

    def said(at_limit_ms: float | None) -> float:
        blocks = [
            TrialBlock(
                block=0,
                rate_rps=TRUE_RPS,
                values={"slo_latency_ms": latency},
                at_limit_ms=at_limit_ms,
                slope=sight.slope,
            )
            for latency in latencies
        ]
        near = telling(blocks, DEFAULT_SLOPE, SLO_NS)
        samples = [limit_sample(block, DEFAULT_SLOPE, SLO_NS).value for block in near]
        return float(np.mean(samples)) - math.log(TRUE_RPS)

    assert sight.at_limit_ms < SLO_NS / 1e6
    assert SLOPES[0] <= sight.slope <= SLOPES[1]
    assert 0 < sight.error < 0.02
    assert abs(said(sight.at_limit_ms)) < 0.02
    assert said(None) > 0.04


def test_the_simulator_is_asked_once_for_lengths_that_are_alike(sights: Sights) -> None:
    first = sights.of(SETUP, TRUE_RPS, 1.0)
    assert sights.of(SETUP, 2 * TRUE_RPS, 1.2) is first


def test_what_keeps_the_slo_at_no_rate_has_no_sight() -> None:
    assert Sights(PROFILE, SERVICE_NS // 2, seed=7).of(SETUP, TRUE_RPS, SECONDS) is None


def test_a_sight_has_the_slope_of_a_long_run_where_none_is_known() -> None:
    assert Sight(3.0).slope == DEFAULT_SLOPE


def test_parts_of_a_load_begin_anew() -> None:
    """Far beyond the limit the queue of the whole goes on growing."""
    load = SimulatedLoad(PROFILE, 600, seed=1)
    whole = load.at(SETUP, 3 * TRUE_RPS).slo_ms
    assert [part.at(SETUP, 3 * TRUE_RPS).slo_ms < whole for part in load.parts(3)] == [True] * 3
