"""Intervals with a simulator beside them, on queues of known truth; the page of the benchmark has the large version."""

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks._controlled_cells import Cell, cells, measured
from benchmarks._controlled_page import page_lines
from benchmarks._controlled_queues import JUDGED, UNSEEN, WARM_UP, Pair
from trivet.stats.control_variate import MIN_SAVING, Controlled, controlled_interval
from trivet.stats.errors import TooFewError
from trivet.stats.quantile_interval import quantile_interval

Times = NDArray[np.int64]
NUM = 6_000


def runs(pair: Pair, load: float, seed: int) -> tuple[Times, Times, Times]:
    """Live latencies, four simulations of their arrivals, and 15 of fresh ones."""
    rng = np.random.default_rng(seed)
    sent = pair.arrivals(load, (1, NUM + WARM_UP), rng)
    live = pair.live(sent, rng)[0]
    simulated = pair.simulated(np.repeat(sent, 4, axis=0), rng)
    fresh = pair.simulated(pair.arrivals(load, (15, NUM + WARM_UP), rng), rng)
    first, second, third = (
        (times[..., WARM_UP:] * 1e6).astype(np.int64) for times in (live, simulated, fresh)
    )
    return first, second, third


def controlled(pair: Pair, load: float, seed: int) -> Controlled:
    return controlled_interval(*runs(pair, load, seed), 0.99)


@pytest.mark.parametrize("pair", [JUDGED[3], JUDGED[5]], ids=lambda pair: f"{pair.bias:+}")
def test_intervals_cover_with_a_simulator_that_is_off_by_five_percent(pair: Pair) -> None:
    """Of 20 runs one may miss: 95 % of 20 is 19, and the seeds are fixed."""
    pooled = np.concatenate([runs(pair, 0.7, 9_000 + seed)[0] for seed in range(60)])
    truth = float(np.quantile(pooled, 0.99))
    found = [controlled(pair, 0.7, 500 + seed) for seed in range(20)]
    assert sum(one.interval.low <= truth <= one.interval.high for one in found) >= 18
    assert sum(one.is_used for one in found) >= 15
    plain = [quantile_interval(runs(pair, 0.7, 500 + seed)[0], 0.99) for seed in range(8)]
    narrow = np.median([one.interval.high - one.interval.low for one in found])
    assert narrow < 0.65 * np.median([one.high - one.low for one in plain])


def test_a_simulator_that_knows_nothing_of_the_run_leaves_the_plain_interval() -> None:
    live, simulated, fresh = runs(JUDGED[4], 0.5, 3)
    other = runs(JUDGED[4], 0.5, 4)[1]
    found = controlled_interval(live, other, fresh, 0.99)
    assert not found.is_used
    assert found.saving == 1.0
    assert "too little" in found.reason
    assert found.interval == quantile_interval(live, 0.99)
    assert controlled_interval(live, simulated, fresh, 0.99).saving > MIN_SAVING


def test_hiccups_that_the_simulator_does_not_know_leave_the_plain_interval() -> None:
    assert not any(controlled(UNSEEN[1], 0.5, seed).is_used for seed in range(4))


def test_a_busy_run_is_read_at_a_lower_latency() -> None:
    """The simulator took all for the run's arrivals that it took in fresh runs, times two: the run was a busy one."""
    live, simulated, fresh = runs(JUDGED[4], 0.5, 11)
    calm = controlled_interval(live, simulated, fresh, 0.99).interval.estimate
    busy = controlled_interval(live, simulated, fresh * 9 // 10, 0.99).interval.estimate
    assert busy < calm


def test_times_in_another_unit_give_the_same_interval_in_it() -> None:
    live, simulated, fresh = runs(JUDGED[4], 0.5, 12)
    once = controlled_interval(live, simulated, fresh, 0.95)
    thrice = controlled_interval(3 * live, 3 * simulated, 3 * fresh, 0.95)
    for name in ("estimate", "low", "high"):
        assert getattr(thrice.interval, name) == pytest.approx(3 * getattr(once.interval, name))
    assert once.interval.low <= once.interval.estimate <= once.interval.high


def test_the_simulators_own_unit_does_not_matter() -> None:
    """Only which of its requests are slow counts: a simulator that is twice as fast helps as much."""
    live, simulated, fresh = runs(JUDGED[4], 0.5, 13)
    assert controlled_interval(live, simulated, fresh, 0.99) == controlled_interval(
        live, 2 * simulated, 2 * fresh, 0.99
    )


def test_a_run_too_short_for_any_interval_is_refused() -> None:
    live, simulated, fresh = runs(JUDGED[4], 0.5, 14)
    with pytest.raises(TooFewError, match="too few for an interval"):
        controlled_interval(live[:100], simulated[:, :100], fresh, 0.99)


def test_what_does_not_belong_together_is_refused() -> None:
    live, simulated, fresh = np.arange(100), np.ones((2, 100), np.int64), np.ones((12, 50), np.int64)
    with pytest.raises(ValueError, match="holds every request once"):
        controlled_interval(live, simulated[:, 1:], fresh, 0.99)
    with pytest.raises(ValueError, match="at least 10 runs"):
        controlled_interval(live, simulated, fresh[:9], 0.99)
    with pytest.raises(ValueError, match=r"must be in \(0, 1\)"):
        controlled_interval(live, simulated, fresh, 1.0)


def test_the_benchmarks_cells_differ_and_its_page_shows_them() -> None:
    keys = [cell.key for cell in cells()]
    assert len(keys) == len(set(keys))
    cell = Cell("judged", JUDGED[4], 0.7)
    record = measured(cell, num_runs=2, num_truth=2)
    for name in ("controlled", "plain"):
        one = record[name]
        assert one["covered"] + one["above"] + one["below"] + one["refused"] == 2
    high = {**record, "load": 0.9, "key": Cell("judged", JUDGED[4], 0.9).key}
    page = "\n".join(page_lines({"machine": "here", "cells": [record, high]}))
    assert "| M/G/1, CV 20 %: covered, load 0.9 | at least 0.9 |" in page
    assert "| M/G/1, CV 20 % | +0% | 0.7 | 10,000 |" in page


@pytest.mark.parametrize("seed", [0, 9, 10])
def test_where_hardly_anything_is_slower_than_the_fastest_the_interval_reaches_down_to_it(seed: int) -> None:
    rng = np.random.default_rng(seed)
    num, fastest = 20_000, 1_000_000

    def clumps() -> Times:
        """About 1 % of requests slower than all others, in clumps of four."""
        times = np.full(num, fastest)
        for _ in range(rng.poisson(50)):
            begin = rng.integers(num - 8)
            times[begin : begin + 4] = fastest * (2 + rng.random(4) * 3)
        return times

    live = clumps()
    simulated = np.array(
        [np.where(live > fastest, live * (0.9 + 0.2 * rng.random(num)), live) for _ in range(4)]
    ).astype(np.int64)
    found = controlled_interval(live, simulated, np.array([clumps() for _ in range(20)]), 0.99)
    assert found.is_used
    assert fastest <= found.interval.low <= found.interval.estimate <= found.interval.high <= live.max()
