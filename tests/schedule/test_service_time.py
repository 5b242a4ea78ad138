"""Predicted service times: exact where the curve is exact, and following where the machine changes."""

import numpy as np
import pytest

from trivet.schedule import ServiceTime
from trivet.schedule.service_time import knots_of


def seeded(max_rows: int = 32, fixed: int = 4_000, per_row: int = 250) -> ServiceTime:
    times = ServiceTime(max_rows)
    times.seed(None, {rows: [fixed + rows * per_row] * 10 for rows in knots_of(max_rows)})
    return times


@pytest.mark.parametrize(
    ("most", "knots"), [(1, [1]), (2, [1, 2]), (8, [1, 2, 4, 8]), (39, [1, 2, 4, 8, 16, 32, 39])]
)
def test_knots_are_the_powers_of_two_and_the_largest(most: int, knots: list[int]) -> None:
    assert knots_of(most) == knots


def test_a_straight_line_is_predicted_exactly_between_the_knots() -> None:
    times = seeded()
    assert [times.mean_ns(rows) for rows in range(1, 33)] == [4_000 + 250 * rows for rows in range(1, 33)]
    # Ten equal samples: nothing but the resolution of the prediction is added.
    assert 12_000 < times.upper_ns(32) <= 12_012


def test_one_profiled_size_is_extended_through_zero() -> None:
    times = ServiceTime(4)
    times.seed("x", {2: [100]})
    assert [times.mean_ns(rows, "x") for rows in (1, 2, 3, 4)] == [50, 100, 150, 200]


def test_a_hiccup_in_the_profile_does_not_count_in_the_mean() -> None:
    times = ServiceTime(1)
    times.seed(None, {1: [100] * 9 + [5_000]})
    assert times.mean_ns(1) == 100


def test_the_upper_quantile_covers_what_it_promises() -> None:
    rng = np.random.default_rng(1)
    times = ServiceTime(1, quantile=0.95)
    times.seed(None, {1: (1_000_000 * np.exp(rng.normal(0, 0.1, 10))).astype(int).tolist()})
    draws = (1_000_000 * np.exp(rng.normal(0, 0.1, 4_000))).astype(int).tolist()
    covered = 0
    for ns in draws:
        covered += ns <= times.upper_ns(1)
        times.observe(1, None, ns)
    assert 0.93 < covered / len(draws) < 0.985


def test_a_machine_that_becomes_slower_is_followed_within_three_batches() -> None:
    times = seeded()
    for _ in range(3):
        times.observe(8, None, 7_800)  # 6,000 before: 30 % slower
    assert times.mean_ns(8) == pytest.approx(7_800, rel=0.02)
    assert times.mean_ns(32) == pytest.approx(15_600, rel=0.02)  # sizes that were not seen, too


def test_one_hiccup_teaches_little() -> None:
    times = seeded()
    times.observe(8, None, 30_000)
    assert times.mean_ns(8) <= 6_000 * 1.06


def test_an_unknown_bucket_starts_at_one_row_and_doubles_with_its_traffic() -> None:
    times = ServiceTime(8)
    limits = [times.limit("new")]
    for rows in (1, 1, 2, 4, 8):
        times.observe(rows, "new", 1_000 + rows)
        limits.append(times.limit("new"))
    assert limits == [1, 2, 2, 4, 8, 8]
    assert times.limit("other") == 1
    # Rows seem to be paid one by one until larger batches show otherwise; then the curve flattens.
    for _ in range(200):
        times.observe(8, "new", 1_008)
    assert times.mean_ns(8, "new") == pytest.approx(1_008, rel=0.05)


def test_sizes_that_are_slower_than_smaller_ones_are_not_chosen() -> None:
    times = ServiceTime(8)
    # 1 row/µs alone, 2 in 1.5 µs are better, from 3 on padding eats the gain.
    times.seed(None, {1: [1_000], 2: [1_500], 4: [4_000], 8: [16_000]})
    assert [times.best_rows(waiting) for waiting in range(1, 9)] == [1, 2, 2, 2, 2, 2, 2, 2]


def test_upper_and_mean_never_decrease_with_the_rows() -> None:
    times = ServiceTime(8)
    times.seed(None, {1: [1_000], 2: [900], 4: [950], 8: [2_000]})
    means = [times.mean_ns(rows) for rows in range(1, 9)]
    assert means == sorted(means)


@pytest.mark.parametrize(("rows", "quantile"), [(0, 0.9), (4, 1.0), (4, 0.2)])
def test_impossible_settings_are_refused(rows: int, quantile: float) -> None:
    with pytest.raises(ValueError, match=r"max_batch_size|quantile"):
        ServiceTime(rows, quantile=quantile)


def test_a_length_that_was_not_profiled_starts_from_its_neighbours() -> None:
    times = ServiceTime(8)
    times.seed(16, {1: [100_000], 8: [450_000]})
    times.seed(64, {1: [400_000], 8: [1_850_000]})
    between = times.curve(32)
    assert (between.mean[1], round(between.mean[8], -3)) == (200_000, 917_000)
    assert between.limit == 1
    assert times.curve(8).mean[1] == times.curve(16).mean[1]
    assert 2 * times.curve(64).mean[8] == times.curve(128).mean[8]
    for rows in (1, 2, 4):
        assert rows == between.limit
        between.observe(rows, between.mean[rows])
    assert between.limit == 8


@pytest.mark.parametrize("wrong", [0.5, 2.0])
def test_a_guess_that_is_wrong_by_two_is_right_after_one_batch(wrong: float) -> None:
    times = ServiceTime(32)
    truth = seeded().curve()
    curve = times.curve("guessed")
    curve.expect([wrong * value for value in truth.values()])
    curve.observe(1, truth.mean[1])
    assert [curve.mean[rows] / truth.mean[rows] for rows in range(1, 33)] == pytest.approx([1] * 32, rel=0.01)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("wrong", [0.5, 2.0])
def test_a_guess_becomes_right_within_few_noisy_batches_and_stays_so(wrong: float, seed: int) -> None:
    """A flat guess for a steep curve: wrong by 2 at one end, and by more at the other. Noise of 10 %."""
    rng = np.random.default_rng(seed)
    curve = ServiceTime(8).curve("guessed")
    curve.expect([wrong * 1_000_000] * 4)
    truth = {rows: 1_000_000 * rows for rows in (1, 2, 4, 8)}
    ratios = []
    for number in range(200):
        rows = (1, 2, 4, 8)[number % 4] if number > 4 else min(8, curve.limit)
        curve.observe(rows, int(truth[rows] * rng.lognormal(0, 0.1)))
        ratios.append([curve.mean[rows] / truth[rows] for rows in truth])
    assert ratios[12] == pytest.approx([1] * 4, rel=0.25)
    assert ratios[40] == pytest.approx([1] * 4, rel=0.15)
    later = np.abs(np.array(ratios[60:]) - 1)
    assert later.mean() < 0.05
    assert (
        np.quantile(later, 0.95) < 0.15
    )  # a row of slow batches by chance passes for a slower machine, and is made up


def test_the_slow_first_run_of_a_shape_is_forgotten_at_the_second() -> None:
    curve = ServiceTime(4).curve("new")
    for ns in (5_000, 1_000):
        curve.observe(1, ns)
    assert curve.mean[1] == pytest.approx(1_000, rel=0.05)


def test_what_was_only_guessed_is_doubted_while_it_keeps_jobs_out() -> None:
    times = seeded()
    guessed = times.curve("guessed")
    guessed.expect([1_000_000.0] * len(knots_of(32)))
    before = (times.curve().mean[1], guessed.mean[1])
    for curve in (times.curve(), guessed):
        for _ in range(7):
            curve.doubt()
    assert (times.curve().mean[1], guessed.mean[1]) == (
        before[0],
        pytest.approx(before[1] * 0.9**7, rel=0.01),
    )


def test_a_size_that_was_guessed_bad_is_tried() -> None:
    """Between two profiled lengths a guess may say that batches do not pay; it must not stand for ever."""
    service_time = ServiceTime(8)
    for length in (16, 64):  # profiled so that two rows take more than twice the time of one
        service_time.seed(
            length, {rows: [length * 100_000 * rows * (9 + rows)] * 10 for rows in (1, 2, 4, 8)}
        )
    curve = service_time.curve(32)
    sizes = []
    for _ in range(40):
        rows = service_time.best_rows(8, 32)
        sizes.append(rows)
        curve.observe(rows, 2_000_000 + 8_000_000 * rows)
    assert sizes[0] == 1
    assert sizes[-1] == 8, "in truth the largest batches are the fastest"
    assert service_time.mean_ns(8, 32) == pytest.approx(66_000_000, rel=0.05)


def test_a_size_that_does_not_pay_is_left_after_some_tries() -> None:
    service_time = ServiceTime(8)
    for length in (16, 64):
        service_time.seed(length, {rows: [length * 100_000 * rows] * 10 for rows in (1, 2, 4, 8)})
    curve = service_time.curve(32)
    sizes = []
    for _ in range(40):
        rows = service_time.best_rows(8, 32)
        sizes.append(rows)
        curve.observe(rows, 3_000_000 * rows + (1_000_000 * rows * rows))
    assert set(sizes[20:]) == {1}


def test_a_slow_first_run_does_not_keep_larger_batches_from_being_tried() -> None:
    service_time = ServiceTime(8)
    for length in (16, 64):
        service_time.seed(length, {rows: [length * 300_000 * rows] * 10 for rows in (1, 2, 4, 8)})
    curve = service_time.curve(32)
    curve.observe(1, 75_000_000)  # memory is allocated for a new shape
    for _ in range(3):
        curve.observe(1, 10_000_000)
    assert service_time.mean_ns(1, 32) == pytest.approx(10_000_000, rel=0.2)
    assert service_time.mean_ns(2, 32) == pytest.approx(20_000_000, rel=0.2)
    assert service_time.mean_ns(8, 32) == pytest.approx(80_000_000, rel=0.2)
