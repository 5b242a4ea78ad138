"""Drawing recorded times again: means between what was measured, blocks that stay together, hiccups from one place only."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivet.simulate.hiccups import NEVER, HeldUp, Hiccups, drawn_again
from trivet.simulate.host import Host
from trivet.simulate.profile import COOLING_NS, HostCosts, ModelTimes
from trivet.simulate.times import StageTimes, blocks, mean_ns, seeds, sizes_up_to

TIMES = ModelTimes(samples={16: {1: [100], 2: [150], 8: [450]}, 64: {1: [300], 2: [500], 8: [1_700]}})


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize(
    ("length", "rows", "expected"),
    [
        (16, 1, 100),
        (16, 4, 250),  # between 2 and 8 rows
        (40, 1, 200),  # between the lengths
        (40, 8, 1_075),
        (4, 2, 150),  # not below the shortest
        (128, 1, 600),  # beyond the longest in proportion
    ],
)
def test_means_are_on_lines_between_what_was_measured(length: int, rows: int, expected: float) -> None:
    assert StageTimes(TIMES, 8, rng()).bucket(length).medians[rows] == pytest.approx(expected)
    assert mean_ns(TIMES, rows, length) == pytest.approx(expected)


@given(num=st.integers(1, 50), wanted=st.integers(1, 200), block=st.integers(1, 16))
def test_blocks_are_runs_of_neighbours(num: int, wanted: int, block: int) -> None:
    places = blocks(num, wanted, block, rng())
    assert len(places) == wanted
    inside = np.arange(1, wanted) % block != 0
    assert bool((np.diff(places)[inside] % num == 1 % num).all())


def test_draws_are_recorded_times_and_nothing_else() -> None:
    recorded = [90, 100, 110, 95, 105] * 8
    times = StageTimes(ModelTimes(samples={0: {1: recorded}}), 1, rng()).bucket(0)
    assert {round(times.draw(1)) for _ in range(2_000)} == set(recorded)


def test_a_size_that_was_run_seldom_borrows_residuals_of_the_sizes_beside_it() -> None:
    recorded = {1: [100, 150], 2: [200] * 40 + [220] * 10, 4: [400]}
    bucket = StageTimes(ModelTimes(samples={0: recorded}), 4, rng()).bucket(0)
    assert {round(bucket.draw(2)) for _ in range(1_000)} == {200, 220}
    assert {round(bucket.draw(4)) for _ in range(1_000)} == {400, 440}
    assert mean_ns(ModelTimes(samples={0: recorded}), 1) == 125


def test_a_sample_drawn_again_has_another_mean() -> None:
    recorded = np.random.default_rng(1).integers(80, 120, 64).tolist()
    times = ModelTimes(samples={0: {1: recorded}})
    means = {
        StageTimes(times, 1, np.random.default_rng(seed), resample=True).bucket(0).medians[1]
        for seed in range(20)
    }
    assert len(means) > 5
    assert np.mean(list(means)) == pytest.approx(np.mean(recorded), rel=0.02)


def test_what_was_slow_with_the_machine_is_no_residual_of_the_engine() -> None:
    """Half of the runs were measured while everything took twice as long."""
    recorded = [100] * 40 + [200] * 40
    known = ModelTimes(samples={0: {1: recorded}}, paces={0: {1: [2 / 3] * 40 + [4 / 3] * 40}})
    bucket = StageTimes(known, 1, rng()).bucket(0)
    assert {round(bucket.draw(1)) for _ in range(1_000)} == {150}
    unknown = StageTimes(ModelTimes(samples={0: {1: recorded}}), 1, rng()).bucket(0)
    assert {round(unknown.draw(1)) for _ in range(1_000)} == {100, 200}


def test_the_pace_of_the_machine_is_in_every_cost_of_the_loop() -> None:
    costs = HostCosts(per_request_ns=[100], answer_share=0.3, per_batch_ns=[50], hand_back_ns=[10])
    host = Host(costs, rng())
    host.keep_pace(2.0)
    assert (host.read_ns, host.answer_ns, host.batch_ns, host.hand_back_ns) == (140, 60, 100, 20)
    host.keep_pace(1.0)
    assert (host.read_ns, host.answer_ns, host.batch_ns, host.hand_back_ns) == (70, 30, 50, 10)


def test_a_schedulers_seed_has_the_sizes_that_its_own_profile_would_have() -> None:
    found = seeds(TIMES, 6)
    assert found[16] == {1: [100] * 3, 2: [150] * 3, 4: [250] * 3, 6: [350] * 3}
    assert sizes_up_to(6) == [1, 2, 4, 6]
    assert sizes_up_to(1) == [1]
    assert list(seeds(ModelTimes(samples={0: {1: [5]}}), 1)) == [None]


def test_hiccups_hold_up_work_and_are_slept_through() -> None:
    found = Hiccups([(100, 10), (200, 50)], 1_000, rng())
    starts = []
    while len(starts) < 6:
        starts.append((found.start_ns, found.length_ns))
        found.next()
    gaps = np.diff([start for start, _ in starts]).tolist()
    assert set(gaps) == {100, 900}
    again = Hiccups([(100, 10), (200, 50)], 1_000, rng())
    start, length = starts[0]
    assert again.hold(start) == start  # it ends as the hiccup begins
    assert again.hold(start + 5) == start + 5 + length
    start, length = starts[1]
    assert again.skip_to(start + 1) == start + length
    assert again.skip_to(start + length) == start + length


def test_a_record_of_hiccups_drawn_again_has_as_many_on_average_and_varies_by_chance() -> None:
    second = 1_000_000_000
    rare = [(at, 3_000_000) for at in range(second // 3, 6 * second, second)]  # six in six seconds
    draws = [drawn_again(rare, 6 * second, np.random.default_rng(seed)) for seed in range(400)]
    nums = [len(drawn) for drawn in draws]
    assert 5.7 < np.mean(nums) < 6.3
    assert 1.4 < np.std(nums) < 2.0  # twelve pieces, six of which have one: the root of 3
    for drawn in draws:
        starts, ends = (np.array([at + of * length for at, length in drawn]) for of in (0, 1))
        assert (starts[1:] >= ends[:-1]).all()
        assert not drawn or ends[-1] <= 6 * second


def test_a_hiccup_that_its_piece_cuts_off_ends_before_the_next_begins() -> None:
    half = 500_000_000
    record = [(0, 20), (half - 10, 30), (half + 40, 20)]
    for seed in range(20):
        drawn = drawn_again(record, 2 * half, np.random.default_rng(seed))
        assert all(now[0] >= last[0] + last[1] for last, now in itertools.pairwise(drawn))
    assert drawn_again([], 0, rng()) == []


@given(
    gaps=st.lists(st.tuples(st.integers(1, 300), st.integers(1, 90)), min_size=1, max_size=6),
    rest=st.integers(0, 500),
    instants=st.lists(st.integers(100, 5_000), min_size=1, max_size=20),
    seed=st.integers(0, 50),
)
def test_who_is_held_up_goes_on_when_the_core_does(
    gaps: list[tuple[int, int]], rest: int, instants: list[int], seed: int
) -> None:
    record, at = [], 0
    for gap, length in gaps:
        record.append((at + gap, length))
        at += gap + length
    user = HeldUp(record, at + rest, np.random.default_rng(seed))
    core = Hiccups(record, at + rest, np.random.default_rng(seed))
    expected = []
    for instant in sorted(instants):
        # A core that was still held up at the instant before is free at the same one as then.
        expected.append(
            max(core.skip_to(instant), expected[-1] if expected and expected[-1] > instant else 0)
        )
    assert user.until(np.array(sorted(instants), np.int64)).tolist() == expected
    later = user.in_turn(np.array(sorted(instants), np.int64)) - expected
    assert ((later >= 0) & (later < len(instants))).all()
    assert (np.diff(later + expected) > 0).all()


def test_without_hiccups_nothing_is_held_up() -> None:
    assert HeldUp([], 0, rng()).until(np.array([3, 1])).tolist() == [3, 1]
    assert Hiccups([], 0, rng()).start_ns == NEVER
    assert Hiccups([], 0, rng()).hold(10) == 10
    assert Hiccups([], 0, rng()).skip_to(10) == 10


def test_waking_is_drawn_without_the_way_itself_and_by_the_length_of_the_pause() -> None:
    host = Host(HostCosts(per_wake_ns=[500], short_wake_ns=[100, 300], travel_ns=120), rng())
    assert {host.wake_ns(1_000) for _ in range(100)} == {0, 180}
    assert host.wake_ns(1_000_000_000) == 380
    # Half of it is cold after 0.7 times the cooling time: between 0 or 180 and 380.
    assert {host.wake_ns(round(COOLING_NS * math.log(2))) for _ in range(100)} == {190, 280}


def test_an_engine_that_rested_takes_longer_by_how_cold_it_is() -> None:
    host = Host(HostCosts(idle_factor=1.5, busy_factors={1: 1.1, 8: 1.0}), rng())
    assert host.cold_factor(0) == 0
    assert host.cold_factor(COOLING_NS) == pytest.approx(0.4 * (1 - math.exp(-1)))
    assert host.cold_factor(1_000 * COOLING_NS) == pytest.approx(0.4)
    assert host.hand_over_ns() == 0
    assert Host(HostCosts(interference={2: 1.3}), rng()).interference(5) == 1.3


def test_factors_of_a_busy_server_are_on_lines_between_the_measured_sizes() -> None:
    assert Host(HostCosts(busy_factors={2: 1.4, 4: 1.0}), rng()).busy_factors(5) == pytest.approx(
        [1.4, 1.4, 1.4, 1.2, 1.0, 1.0]
    )
    assert Host(HostCosts(), rng()).busy_factors(2) == [1.0, 1.0, 1.0]
