"""One replica's share of a scaled trace against the whole trace, scaled and split."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivet.errors import UserError
from trivet.load.arrivals import NS, Curve
from trivet.simulate.deciding import deciding_windows
from trivet.simulate.windows import DAY_NS, Demand, How, demand, drawn_places

TRACE = np.unique(np.random.default_rng(4).integers(0, 40 * NS, 600))
TRACE -= TRACE[0]
END = int(TRACE[-1]) + 1


def rng(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


def everything(found: Demand, seed: int = 2) -> np.ndarray:
    return found.replica(0, found.duration_ns, 1, rng(seed))


@pytest.mark.parametrize("factor", [1, 2, 5])
def test_a_lone_replica_gets_every_request_of_every_copy(factor: int) -> None:
    shifts = rng().integers(END, size=factor + 1)[:factor]
    shifts[0] = 0
    expected = np.sort(((TRACE[:, np.newaxis] + shifts) % END).ravel())
    found = demand(TRACE, factor, "users", rng())
    assert np.array_equal(everything(found), expected)
    begin, length = 30 * NS, END - 30 * NS
    inside = expected[(expected >= begin) & (expected < begin + length)] - begin
    assert np.array_equal(found.replica(begin, length, 1, rng(2)), inside)


@given(
    factor=st.floats(0.1, 8),
    replicas=st.integers(1, 9),
    how=st.sampled_from(["users", "amplitude"]),
    seed=st.integers(0, 99),
)
def test_a_replica_gets_instants_of_the_window_in_order(
    factor: float, replicas: int, how: How, seed: int
) -> None:
    found = demand(TRACE, factor, how, rng(seed)).replica(7 * NS, 13 * NS, replicas, rng(seed))
    assert (np.diff(found) >= 0).all()
    assert not len(found) or (found[0] >= 0 and found[-1] < 13 * NS)


def test_replicas_of_users_share_the_requests_of_all() -> None:
    """Each is one of the requests that all together have, and on average there are 1 / N of them."""
    found = demand(TRACE, 3, "users", rng())
    whole = everything(found)
    parts = [found.replica(0, END, 4, rng(seed)) for seed in range(60)]
    assert all(np.isin(part, whole).all() for part in parts)
    mean, spread = len(whole) / 4, (len(whole) * 3 / 16) ** 0.5
    assert abs(np.mean([len(part) for part in parts]) - mean) < 4 * spread / 60**0.5


@pytest.mark.parametrize("factor", [1, 3])
def test_amplitude_keeps_the_count_of_every_ten_seconds(factor: int) -> None:
    found = everything(demand(TRACE, factor, "amplitude", rng()))
    assert np.array_equal(np.bincount(found // (10 * NS)), factor * np.bincount(TRACE // (10 * NS)))


@pytest.mark.parametrize("how", ["users", "amplitude"])
@pytest.mark.parametrize("factor", [0.5, 2.5])
def test_a_part_of_a_copy_is_a_share_of_its_requests(how: How, factor: float) -> None:
    numbers = [len(everything(demand(TRACE, factor, how, rng(seed)), seed)) for seed in range(40)]
    assert np.mean(numbers) == pytest.approx(factor * len(TRACE), abs=4 * (len(TRACE) / 4 / 40) ** 0.5)


@pytest.mark.parametrize("how", ["users", "amplitude"])
@pytest.mark.parametrize("factor", [0.5, 1, 1.5, 10, 2_000.25])
def test_counts_are_those_of_all_copies(how: How, factor: float) -> None:
    assert demand(TRACE, factor, how, rng()).counts(NS).sum() == pytest.approx(factor * len(TRACE))


def test_thousands_of_replicas_are_drawn_as_few_are() -> None:
    """A million requests a second: only one replica's part of them is drawn."""
    factor = 1_000_000 / (len(TRACE) / END * NS)
    found = demand(TRACE, factor, "users", rng()).replica(10 * NS, NS, 5_000, rng(3))
    assert len(found) == pytest.approx(200, abs=5 * 200**0.5)


def test_places_are_distinct_and_each_as_likely() -> None:
    drawn = [drawn_places(20, 4, rng(seed)) for seed in range(400)]
    assert all(len(set(places.tolist())) == len(places) for places in drawn)
    counts = np.bincount(np.concatenate(drawn), minlength=20)
    assert np.abs(counts - 100).max() < 5 * (400 * 3 / 16) ** 0.5
    assert drawn_places(3, 1, rng()).tolist() == [0, 1, 2]
    assert len(drawn_places(0, 5, rng())) == 0


def office_hours(days: int) -> Curve:
    """A request a second from 9 to 10 each day, more each day; else none."""
    at, rates = [], []
    for day in range(days):
        for begin, end, rate in ((0, 9, 0.0), (9, 10, 1.0 + day), (10, 24, 0.0)):
            at += [day * DAY_NS + begin * DAY_NS // 24, day * DAY_NS + end * DAY_NS // 24]
            rates += [rate, rate]
    return Curve(at_ns=tuple(at), rates_rps=tuple(rates))


def test_users_of_a_curve_keep_their_hours() -> None:
    found = demand(office_hours(4), 40.5, "users", rng())
    hours = found.counts(DAY_NS // 24).reshape(4, 24)
    assert hours.sum() == pytest.approx(40.5 * 3600 * (1 + 2 + 3 + 4))
    assert hours[:, 9].sum() == pytest.approx(hours.sum())
    # Copies that are moved make days more alike than the four times of the recorded ones.
    assert hours[:, 9].max() / hours[:, 9].min() < 2.5


def test_the_amplitude_of_a_curve_keeps_its_shape() -> None:
    curve = office_hours(3)
    hours = demand(curve, 7, "amplitude", rng()).counts(DAY_NS // 24)
    assert hours.max() == pytest.approx(7 * 3 * 3600)
    assert np.argmax(hours) == 2 * 24 + 9


def test_a_week_moves_by_weeks() -> None:
    found = demand(office_hours(15), 3, "users", rng())
    assert found.duration_ns == 14 * DAY_NS
    daily = found.counts(DAY_NS).reshape(2, 7)
    assert daily.sum() == pytest.approx(3 * 3600 * sum(range(1, 15)))
    assert (np.diff(daily, axis=1) > 0).all()  # Monday stays Monday


def test_a_replica_of_a_curve_gets_its_part_of_the_rate() -> None:
    found = demand(office_hours(1), 100, "amplitude", rng()).replica(9 * DAY_NS // 24, 600 * NS, 10, rng(5))
    assert len(found) == pytest.approx(6_000, abs=5 * 6_000**0.5)


def test_windows_are_the_busiest_and_the_most_uneven_that_do_not_overlap() -> None:
    calm = np.arange(0, 1_000 * NS, NS // 5)
    busy = np.arange(300 * NS, 360 * NS, NS // 5)
    clumps = np.repeat(np.arange(700 * NS, 760 * NS, 10 * NS), 40)
    trace = np.sort(np.concatenate([calm, busy, clumps]))
    first, second, third = deciding_windows(demand(trace, 2, "amplitude", rng()))
    assert first.begin_s == pytest.approx(300, abs=1)
    assert first.rate_rps == pytest.approx(20, rel=0.02)
    assert second.rate_rps < first.rate_rps
    assert {first.chosen_for, second.chosen_for, third.chosen_for} == {"rate", "dispersion"}
    # The clumps are as many requests as a rate of 4 a second more, but forty at once.
    uneven = max((first, second, third), key=lambda window: window.dispersion)
    assert 700 - 60 <= uneven.begin_s <= 760


@pytest.mark.parametrize("factor", [0.0, -1.0, float("inf"), float("nan")])
def test_a_factor_that_is_none_is_refused(factor: float) -> None:
    with pytest.raises(UserError, match="factor above 0"):
        demand(TRACE, factor, "users", rng())


def test_a_trace_with_nothing_in_it_is_refused() -> None:
    with pytest.raises(UserError, match="nothing to plan for"):
        demand(TRACE[:1], 1, "users", rng())
    with pytest.raises(UserError, match="nothing to plan for"):
        demand(Curve(at_ns=(0, NS), rates_rps=(0.0, 0.0)), 1, "users", rng())
