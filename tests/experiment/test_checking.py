"""How far a forecast was off, taken apart: what the machine changed, and what is the simulator's."""

import numpy as np
import pytest

from tests.simulate.simulated_support import constant, lone
from trivet.experiment.simulating.checking import Check, Replayed, as_fast_as, level_of
from trivet.simulate.forecast import forecast
from trivet.simulate.profile import HostCosts
from trivet.simulate.server import simulate_service

MS = 1_000_000
PROFILE = constant({1: 2 * MS, 4: 5 * MS}, HostCosts(per_request_ns=[50_000], hand_over_ns=[20_000]))
ARRIVALS = np.cumsum(np.random.default_rng(1).exponential(2 * MS, 3_000)).astype(np.int64)


@pytest.mark.parametrize("execution", ["inline", "thread"])
@pytest.mark.parametrize("slower", [0.8, 1.0, 1.3])
def test_the_level_is_how_much_slower_the_machine_was_whatever_batches_formed(
    execution: str, slower: float
) -> None:
    setup = lone(execution=execution, max_batch_size=4)
    live = simulate_service(
        constant({1: int(2 * MS * slower), 4: int(5 * MS * slower)}, PROFILE.host), setup, ARRIVALS, seed=2
    )
    given = Replayed(ARRIVALS, None, 0)
    assert level_of(live, PROFILE, setup, given, seed=3) == pytest.approx(slower, rel=0.02)


def test_a_profile_as_fast_as_a_run_was_forecasts_its_times() -> None:
    setup, apart = lone(max_batch_size=4), np.arange(50) * 100 * MS
    usual, slower = (
        forecast(one, setup, apart, replications=3, seed=2).figures["latency_p50_ms"].estimate
        for one in (PROFILE, as_fast_as(PROFILE, 1.3))
    )
    assert slower / usual == pytest.approx(1.3, rel=0.01)


def test_of_nothing_that_ran_here_no_level_is_known() -> None:
    setup = lone(max_batch_size=4)
    given = Replayed(ARRIVALS, None, 0)
    nothing = simulate_service(PROFILE, setup, ARRIVALS[:0], seed=1)
    assert level_of(nothing, PROFILE, setup, given, seed=1) is None


def check(level: float | None) -> Check:
    figures = {"latency_p99_ms": (13.0, 12.0, 14.0)}
    return Check(
        service="s",
        setup={},
        num_requests=5_000,
        rate_rps=10,
        live={"latency_p99_ms": 10.0},
        predicted=figures,
        level=level,
        at_level={} if level is None else {"latency_p99_ms": (10.2, 9.0, 11.0)},
    )


def test_an_error_at_the_level_is_told_where_the_level_is_known() -> None:
    assert check(0.8).error() == pytest.approx(0.3)
    assert check(0.8).error_at_level() == pytest.approx(0.02)
    assert check(None).error_at_level() is None
