"""Caches and tables in virtual time: exactly the hits that a plain model of them finds, and what follows from them."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.simulate.simulated_support import NO_COSTS, constant, lone, run
from trivet.errors import SpecError
from trivet.load.popularity import exponent_of, picks
from trivet.simulate.asked import Asked
from trivet.simulate.forecast import forecast
from trivet.simulate.front_table import FrontTable
from trivet.simulate.fronts import EXACT, MISS, PRECOMPUTED
from trivet.simulate.profile import HostCosts, ModelTimes, ServiceProfile
from trivet.simulate.record import DROPPED, FAILED, OK, Simulated
from trivet.simulate.server import NotProfiledError, simulate_service
from trivet.simulate.setup import ExactSetup, FrontsSetup, Setup, StageSetup

MS = 1_000_000
NUM_INPUTS = 12
FREE = FrontTable(keys=tuple(range(NUM_INPUTS)), entry_bytes=10, hit_ns=[0], miss_ns=[0])


def profile_with(table: FrontTable, times: dict[int, int], host: HostCosts = NO_COSTS) -> ServiceProfile:
    return msgspec.structs.replace(constant(times, host), fronts=table)


def cached(setup: Setup, **fronts: Any) -> Setup:
    given: dict[str, Any] = {"exact": ExactSetup(), "size_bytes": 1 << 30, **fronts}
    return replace(setup, fronts=FrontsSetup(**given))


def asked_for(
    table: FrontTable, setup: Setup, arrivals: Sequence[int], items: Sequence[int], service_ns: int
) -> Simulated:
    return run(
        profile_with(table, {1: service_ns}),
        setup,
        list(arrivals),
        asked=Asked(np.array(items, np.int64)),
    )


@given(
    asked=st.lists(st.tuples(st.integers(1, 40), st.integers(0, NUM_INPUTS - 1)), min_size=1, max_size=60),
    capacity=st.integers(0, NUM_INPUTS),
    ttl=st.one_of(st.none(), st.integers(1, 60)),
    execution=st.sampled_from(["inline", "thread"]),
)
@settings(max_examples=60, deadline=None)
def test_it_hits_where_a_plain_cache_does(
    asked: list[tuple[int, int]], capacity: int, ttl: int | None, execution: str
) -> None:
    """Nobody meets anybody: each request comes a second after the one before, so that time is when it is asked."""
    second, service = 1_000_000, 1_000
    arrivals = np.cumsum([gap * second for gap, _ in asked]).tolist()
    items = [item for _, item in asked]
    setup = cached(
        lone(execution=execution),
        exact=ExactSetup(None if ttl is None else ttl * second),
        size_bytes=capacity * FREE.entry_bytes,
    )
    found = asked_for(FREE, setup, arrivals, items, service)
    kept: OrderedDict[int, int] = OrderedDict()
    expected = []
    for at, item in zip(arrivals, items, strict=True):
        is_hit = item in kept and (ttl is None or at - kept[item] < ttl * second)
        if item in kept:
            kept.move_to_end(item)
        expected.append(EXACT if is_hit else MISS)
        if not is_hit and capacity:
            kept[item] = at + service
            kept.move_to_end(item)
            if len(kept) > capacity:
                kept.popitem(last=False)
    assert found.cache.tolist() == expected
    assert found.latency_ns().tolist() == [0 if one == EXACT else service for one in expected]


@given(
    asked=st.lists(st.tuples(st.integers(0, 30), st.integers(0, 3)), min_size=1, max_size=40),
    service=st.integers(1, 60),
)
@settings(max_examples=60, deadline=None)
def test_equal_requests_at_the_same_time_are_computed_once(
    asked: list[tuple[int, int]], service: int
) -> None:
    """With more engines than requests the first of each is computed, all later ones are answered with it or from it."""
    arrivals = np.cumsum([gap for gap, _ in asked]).tolist()
    items = [item for _, item in asked]
    setup = cached(lone(execution="inline"))
    found = asked_for(FREE, setup, arrivals, items, service)
    first = {item: items.index(item) for item in set(items)}
    expected = [MISS if first[item] == place else EXACT for place, item in enumerate(items)]
    assert found.cache.tolist() == expected
    assert found.is_ok().all()
    for place, item in enumerate(items):
        assert found.done_ns[place] >= max(arrivals[place], int(found.done_ns[first[item]]))


def test_without_single_flight_each_is_computed_until_an_answer_is_kept() -> None:
    setup = cached(lone(execution="thread"), exact=ExactSetup(single_flight=False))
    found = asked_for(FREE, setup, [0, 10, 20, 5_000], [1, 1, 1, 1], 1_000)
    assert found.cache.tolist() == [MISS, MISS, MISS, EXACT]


def test_who_waits_longer_than_its_deadline_is_told_so() -> None:
    setup = cached(lone(execution="thread", deadline_ns=2_500, queue_ns=None))
    profile = ServiceProfile(
        service="s",
        models={"m": ModelTimes(samples={0: {1: [1_000] * 40 + [9_000] * 40}})},
        host=NO_COSTS,
        fronts=FREE,
    )
    arrivals = [10_000 * place for place in range(60)]
    both = sorted([*arrivals, *(at + 1 for at in arrivals)])
    items = [place // 2 % NUM_INPUTS for place in range(len(both))]
    setup = replace(setup, fronts=FrontsSetup(exact=ExactSetup(ttl_ns=1), size_bytes=1 << 20))
    found = run(profile, setup, both, asked=Asked(np.array(items)))
    leaders, waiting = found.outcome[0::2], found.outcome[1::2]
    assert {OK, FAILED} <= set(leaders.tolist())
    assert (waiting[leaders == OK] == OK).all()
    assert (waiting[leaders == FAILED] == DROPPED).all()
    late = np.flatnonzero(leaders == FAILED)
    assert (found.latency_ns()[1::2][late] == 2_500).all()


def test_a_hit_costs_what_was_measured_and_no_engine() -> None:
    table = FrontTable(keys=(0,), entry_bytes=10, hit_ns=[70], miss_ns=[20])
    host = HostCosts(per_request_ns=[100], answer_share=0.4, per_batch_ns=[30])
    profile = profile_with(table, {1: 1_000}, host)
    setup = cached(lone())
    found = run(profile, setup, [0, 5_000, 5_001], asked=Asked(np.zeros(3, np.int64)))
    # Read (60), looked up and later kept (20), formed (30), computed, answered (40); then a hit, and one behind it.
    assert found.done_ns.tolist() == [1_150, 5_070, 5_140]
    assert found.batch_rows.tolist() == [1, -1, -1]
    assert found.busy_ns == 1_150 + 2 * 70


def test_what_a_table_has_is_asked_first() -> None:
    setup = cached(lone(), tabled=tuple(place % 2 == 0 for place in range(NUM_INPUTS)))
    found = asked_for(FREE, setup, [0, 10_000, 20_000, 30_000], [0, 1, 0, 1], 100)
    assert found.cache.tolist() == [PRECOMPUTED, MISS, PRECOMPUTED, EXACT]


def test_remembered_stages_are_passed_by() -> None:
    profile = ServiceProfile(
        service="s",
        models={
            "step": ModelTimes(samples={0: {1: [500] * 8}}),
            "m": ModelTimes(samples={0: {1: [1_000] * 8}}),
        },
        host=NO_COSTS,
        fronts=FREE,
    )
    stages = (StageSetup("step", "step"), StageSetup("m"))
    for remembered, expected in (((), 1_500), ((0,), 1_000), ((1,), 500), ((0, 1), 0)):
        setup = Setup("s", stages, 1, 1, 1 << 50, fronts=FrontsSetup(stages=remembered, size_bytes=1 << 20))
        found = run(profile, setup, [0, 10_000, 20_000], asked=Asked(np.array([3, 3, 4])))
        assert found.latency_ns().tolist() == [1_500, expected, 1_500]
        assert not found.cache.any()


def test_rows_and_figures_say_what_was_hit() -> None:
    profile = profile_with(FREE, {1: MS})
    setup = cached(lone(slo_ns=100 * MS))
    asked = Asked(np.array([1, 2, 1, 1, 2]))
    rows = simulate_service(profile, setup, np.arange(5) * 10 * MS, seed=1, asked=asked)
    assert rows.words["cache"].decode().tolist() == ["miss", "miss", "exact", "exact", "exact"]
    assert rows["batch_size"].tolist() == [1, 1, 0, 0, 0]
    found = forecast(profile, setup, np.arange(5) * 10 * MS, replications=2, asked=asked)
    assert found.figures["hit_share"].estimate == pytest.approx(0.6)
    without = replace(setup, fronts=None)
    assert "hit_share" not in forecast(profile, without, np.arange(5) * 10 * MS, replications=2).figures


def test_what_was_not_measured_is_refused() -> None:
    bare = constant({1: 100})
    with pytest.raises(NotProfiledError, match="what a cache costs"):
        run(bare, cached(lone()), [0])
    with pytest.raises(NotProfiledError, match="carry input 12, and 12 were profiled"):
        asked_for(FREE, cached(lone()), [0], [12], 100)


def test_popularity_follows_zipfs_law() -> None:
    drawn = picks(200_000, 50, 1.0, np.random.default_rng(3))
    counts = np.sort(np.bincount(drawn, minlength=50))[::-1]
    expected = 200_000 / np.arange(1, 51) / (1 / np.arange(1, 51)).sum()
    assert np.abs(counts - expected).max() < 4.5 * np.sqrt(expected).max()
    again = picks(200_000, 50, 1.0, np.random.default_rng(4))
    assert np.bincount(again).argmax() == np.bincount(drawn).argmax()
    even = np.random.default_rng(3).integers(0, 50, 100)
    assert picks(100, 50, 0.0, np.random.default_rng(3)).tolist() == even.tolist()


@pytest.mark.parametrize("words", ["zipf", "zipf:0", "zipf:x", "zipf:6", "pareto:1", ""])
def test_another_popularity_is_refused(words: str) -> None:
    with pytest.raises(SpecError, match="popularity"):
        exponent_of(words)
