"""The search for the largest rate, and runs that end as soon as the SLO is lost."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.simulate.simulated_support import constant, lone, run
from trivet.simulate.hiccups import Hiccups
from trivet.simulate.profile import HostCosts
from trivet.simulate.rate_search import bracket, largest
from trivet.simulate.server import Slo

MS = 1_000_000


@given(st.floats(0.5, 2_000), st.floats(1.0, 1_000), st.sampled_from([1.06, 1.1, 2.0]))
def test_a_bracket_holds_the_largest_rate_and_the_search_closes_in_on_it(
    limit: float, first: float, growth: float
) -> None:
    asked: list[float] = []

    def holds(rate: float) -> bool:
        asked.append(rate)
        return rate <= limit

    low, high = bracket(holds, first, growth=growth, least=0.1, most=5_000.0)
    assert low <= limit < high or high == 5_000.0
    num = len(asked)
    low, high = largest(holds, first, growth=growth, least=0.1, most=5_000.0, precision=0.01)
    assert low <= limit < high == pytest.approx(low * 1.01)
    assert len(asked) - num < 60


def test_a_search_that_finds_nothing_ends_at_the_least_rate() -> None:
    asked: list[float] = []

    def never(rate: float) -> bool:
        asked.append(rate)
        return False

    assert bracket(never, 100.0, growth=2.0, least=1.0) == (0.0, 1.0)
    assert asked == [100.0, 50.0, 12.5, 1.0]
    assert bracket(lambda rate: True, 100.0, growth=2.0, least=1.0, most=150.0) == (100.0, 150.0)


@given(st.floats(1.0, 1_000), st.floats(1.0, 1_000), st.floats(1.0, 1_000))
def test_where_a_search_begins_does_not_matter(limit: float, first: float, other: float) -> None:
    found = {
        largest(lambda rate: rate <= limit, begin, growth=growth, least=0.01, most=1e6, precision=0.03)
        for begin, growth in ((first, 2.0), (other, 1.06))
    }
    assert len(found) == 1


@given(
    st.lists(st.integers(0, 3 * MS), min_size=1, max_size=300),
    st.sampled_from([1, 2]),
    st.sampled_from(["inline", "thread"]),
    st.integers(0, 9),
)
def test_a_run_that_ends_early_has_lost_the_slo_and_one_that_does_not_is_the_same(
    gaps: list[int], workers: int, execution: str, most_late: int
) -> None:
    """The oracle: the whole run, and a count of its late requests."""
    profile = constant(
        {1: 2 * MS, 2: 3 * MS}, HostCosts(travel_ns=1_000, per_request_ns=[9_000], hand_over_ns=[500])
    )
    setup = lone(cores=workers, execution=execution, max_batch_size=2, deadline_ns=20 * MS)
    arrivals = np.cumsum(gaps)
    first = len(gaps) // 10
    whole = run(profile, setup, arrivals)
    late = int((~(whole.is_ok() & (whole.latency_ns() <= 5 * MS)))[first:].sum())
    ended = run(profile, setup, arrivals, slo=Slo(5 * MS, most_late, first))
    counted = int((~(ended.is_ok() & (ended.latency_ns() <= 5 * MS)))[first:].sum())
    assert (counted > most_late) == (late > most_late)
    if late <= most_late:
        assert ended.done_ns.tolist() == whole.done_ns.tolist()


def test_a_run_that_is_lost_simulates_a_part_of_its_requests() -> None:
    arrivals = np.arange(10_000) * MS
    profile, setup = constant({1: 50 * MS}), lone(deadline_ns=10_000 * MS)
    ended = run(profile, setup, arrivals, slo=Slo(60 * MS, 20))
    assert int(ended.is_ok().sum()) < 1_000
    assert int(run(profile, setup, arrivals[:200]).is_ok().sum()) == 200


@given(
    st.lists(st.tuples(st.integers(1, 400), st.integers(1, 90)), min_size=1, max_size=12),
    st.lists(st.tuples(st.sampled_from(["skip_to", "pass_by", "hold"]), st.integers(0, 20_000)), max_size=30),
    st.integers(0, 5),
)
def test_hiccups_that_are_leapt_over_are_those_that_would_be_passed_one_by_one(
    gaps: list[tuple[int, int]], calls: list[tuple[str, int]], seed: int
) -> None:
    intervals, at = [], 0
    for gap, length in gaps:
        intervals.append((at + gap, length))
        at += gap + length

    def made() -> Hiccups:
        return Hiccups(intervals, at + 7, np.random.default_rng(seed))

    leaping, plain, now = made(), made(), 0
    for name, later in calls:
        now += later
        expected = _plainly(plain, name, now)
        assert getattr(leaping, name)(now) == expected
        assert (leaping.start_ns, leaping.length_ns) == (plain.start_ns, plain.length_ns)
        now = max(now, expected or 0)


def _plainly(hiccups: Hiccups, name: str, now: int) -> int | None:
    """Interval by interval."""
    if name == "pass_by":
        while hiccups.start_ns < now:
            hiccups.next()
        return None
    if name == "hold":
        while hiccups.start_ns < now:
            now += hiccups.length_ns
            hiccups.next()
        return now
    while hiccups.start_ns <= now:
        now = max(now, hiccups.start_ns + hiccups.length_ns)
        hiccups.next()
    return now


@pytest.mark.parametrize("travel_ns", [0, 4 * MS])
def test_the_way_there_and_back_counts_in_the_budget(travel_ns: int) -> None:
    profile = constant({1: 2 * MS}, HostCosts(travel_ns=travel_ns))
    arrivals = np.arange(200) * 10 * MS
    ended = run(profile, lone(), arrivals, slo=Slo(5 * MS, 0))
    assert bool(ended.is_ok().all()) == (travel_ns == 0)
