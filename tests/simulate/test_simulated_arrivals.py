"""Arrivals in virtual time: the rate that was asked for, the bursts that were recorded."""

import numpy as np
import pytest

from trivet.errors import UserError
from trivet.simulate.arrivals import bursty, poisson, replayed, spread

SECOND = 1_000_000_000


def test_poisson_keeps_its_rate_and_its_dispersion() -> None:
    instants = poisson(np.random.default_rng(1), 1e-6, 20 * SECOND)
    counts = np.bincount((instants // (SECOND // 10)).astype(int), minlength=200)
    assert len(instants) == pytest.approx(20_000, rel=0.03)
    assert counts.var() / counts.mean() == pytest.approx(1, abs=0.25)
    assert bool((np.diff(instants) >= 0).all())


def test_bursts_come_at_four_times_the_quiet_rate() -> None:
    instants = bursty(np.random.default_rng(2), 1e-6, 100 * SECOND, burst_ns=SECOND)
    assert len(instants) == pytest.approx(100_000, rel=0.02)
    counts = np.bincount((instants // (SECOND // 10)).astype(int), minlength=1_000)
    # Quiet 571, burst 2,286 a second: the two levels of the counts in tenths of a second.
    assert np.quantile(counts, 0.3) == pytest.approx(57, abs=6)
    assert np.quantile(counts, 0.95) == pytest.approx(229, abs=25)
    assert int(instants[0]) >= 0
    assert int(instants[-1]) < 100 * SECOND


def test_a_replayed_trace_keeps_its_gaps_but_for_one_factor() -> None:
    trace = np.array([0, 10, 11, 12, 40, 100], np.int64)
    replay = replayed(np.random.default_rng(3), trace, 5e-9, SECOND)
    gaps = np.diff(replay)
    ratios = sorted({round(float(gap) / float(gaps.min())) for gap in gaps})
    assert len(replay) == 5
    assert set(ratios) <= {1, 10, 20, 28, 60}


def test_a_trace_of_one_arrival_is_an_error() -> None:
    with pytest.raises(UserError, match="1 arrivals; a trace needs at least 2"):
        replayed(np.random.default_rng(0), np.array([5], np.int64), 1e-6, SECOND)


def test_clumps_of_a_rounded_trace_are_spread_up_to_the_next() -> None:
    stamps = np.array([0] * 50 + [3 * SECOND] * 50 + [6 * SECOND], np.int64)
    instants = spread(stamps, np.random.default_rng(0))
    assert len(instants) == 101
    assert len(set(instants.tolist())) == 101
    assert bool((np.diff(instants) >= 0).all())
    assert int(instants[-1]) < 9 * SECOND
