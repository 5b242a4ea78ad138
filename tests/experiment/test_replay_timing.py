"""Equivalence across time, on servers made of numbers: fixed seeds, known truth."""

import numpy as np
import pytest

from tests.experiment.replay_support import rows
from trivet.experiment.replay.check_timing import Speed, Timed, check_ratio, check_timing, slowest_phase
from trivet.experiment.replay.windows import ENGINE, P50, P99, QUANTITIES, THROUGHPUT, Quantity, window_values

STEADY = Speed(1.0, 1.0)
DRIFT = 0.008  # sd of the mood between runs, log scale


def moods(seed: int, num: int) -> list[float]:
    return [float(mood) for mood in np.exp(DRIFT * np.random.default_rng(seed).standard_normal(num))]


def statuses(quantity: Quantity, slower: float, num_histories: int = 40) -> list[str]:
    """The outcome of a recorded run and two repeats on a machine with moods, for so many seeds."""
    found = []
    for seed in range(num_histories):
        mood = moods(seed, 3)
        then = Timed(rows(seed=3 * seed, mood=mood[0]), STEADY)
        repeats = [Timed(rows(seed=3 * seed + i, mood=mood[i], engine_ms=slower), STEADY) for i in (1, 2)]
        found.append(check_timing(quantity, then, repeats).status)
    return found


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_an_unchanged_server_is_never_found_different_and_nearly_always_the_same(quantity: Quantity) -> None:
    found = statuses(quantity, slower=1.0)
    assert "differs" not in found
    assert found.count("same") >= 0.9 * len(found)


def test_an_engine_that_is_ten_per_cent_slower_is_found_and_never_the_same() -> None:
    found = statuses(ENGINE, slower=1.1)
    assert "same" not in found
    assert found.count("differs") >= 0.95 * len(found)


def test_a_slower_machine_is_not_taken_for_a_slower_server() -> None:
    then = Timed(rows(seed=1), Speed(10_000, 10_000))
    now = Timed(rows(seed=2, mood=1.4), Speed(10_000 / 1.4, 10_000 / 1.4))
    for quantity in (ENGINE, P50, P99):
        assert check_timing(quantity, then, [now]).status == "same"
        assert check_timing(quantity, Timed(then.rows), [Timed(now.rows)]).status == "differs"


@pytest.mark.parametrize("quantity", [ENGINE, P50, P99])
def test_hiccups_in_two_windows_of_twenty_decide_nothing(quantity: Quantity) -> None:
    then, now = rows(seed=1), rows(seed=2)
    held_up = np.isin(np.arange(now.num_rows) // 200, (3, 11)) * 5_000_000
    numbers = {
        name: values + held_up if name in ("done_ns", "compute_ns") else values
        for name, values in now.numbers.items()
    }
    disturbed = type(now)(now.header, now.num_rows, numbers, now.words, now.blobs)
    assert check_timing(quantity, Timed(then, STEADY), [Timed(disturbed, STEADY)]).status == "same"


def test_a_machine_whose_speed_changed_during_a_run_tells_nothing() -> None:
    then = Timed(rows(seed=1), STEADY)
    assert check_timing(P50, then, [Timed(rows(seed=2), Speed(1.0, 1.15))]).status == "cannot tell"


def test_both_repeats_must_say_that_it_differs() -> None:
    then = Timed(rows(seed=1), STEADY)
    slow, usual = Timed(rows(seed=2, mood=1.25), STEADY), Timed(rows(seed=3), STEADY)
    assert check_timing(ENGINE, then, [slow, slow]).status == "differs"
    assert check_timing(ENGINE, then, [slow, usual]).status == "cannot tell"


def test_the_change_says_by_how_much() -> None:
    check = check_timing(ENGINE, Timed(rows(seed=1), STEADY), [Timed(rows(seed=2, engine_ms=1.2), STEADY)])
    (change,) = check.changes
    assert (change.what, change.now[:4]) == ("engine time", "x1.2")


def test_a_server_that_does_not_tell_its_phases_has_no_engine_time() -> None:
    silent = Timed(rows(phases=False))
    assert check_timing(ENGINE, silent, [silent]).status == "not compared"


@pytest.mark.parametrize("quantity", [P50, P99, THROUGHPUT])
def test_too_few_requests_cannot_tell_and_say_how_many_would_do(quantity: Quantity) -> None:
    few = Timed(rows(num=5 * quantity.min_rows - 1))
    check = check_timing(quantity, few, [few])
    assert (check.status, f"{5 * quantity.min_rows:,}" in check.detail) == ("cannot tell", True)


def test_a_replay_that_answers_nothing_cannot_tell() -> None:
    whole = rows()
    nothing = Timed(whole.select(np.zeros(whole.num_rows, bool)))
    assert check_timing(P50, Timed(whole), [nothing]).status == "cannot tell"


def test_pauses_between_blocks_do_not_count_as_slow() -> None:
    whole = rows()
    late = np.where(np.arange(whole.num_rows) >= 2000, 30_000_000_000, 0)
    numbers = {
        name: values + late if name in ("intended_ns", "sent_ns", "done_ns") else values
        for name, values in whole.numbers.items()
    }
    paused = type(whole)(whole.header, whole.num_rows, numbers, whole.words, whole.blobs)
    assert check_timing(THROUGHPUT, Timed(whole), [Timed(paused)]).status == "same"


def test_windows_hold_the_same_requests_of_one_schedule_in_any_order_of_rows() -> None:
    whole = rows(num=400)
    shuffled = np.random.default_rng(0).permutation(400)
    numbers = {name: values[shuffled] for name, values in whole.numbers.items()}
    mixed = type(whole)(whole.header, 400, numbers, whole.words, whole.blobs)
    np.testing.assert_array_equal(window_values(P50, whole, 8, 1), window_values(P50, mixed, 8, 1))


def test_ratios_of_a_comparison_are_reproduced_on_a_machine_three_times_as_slow() -> None:
    then = Timed(rows(seed=1)), Timed(rows(seed=2, engine_ms=1.5))
    now = Timed(rows(seed=3, mood=3.0)), Timed(rows(seed=4, engine_ms=1.5, mood=3.0))
    assert check_ratio(P50, "b over a", then, [now]).status == "same"


def test_another_ratio_differs_and_is_named() -> None:
    then = Timed(rows(seed=1)), Timed(rows(seed=2, engine_ms=1.5))
    now = Timed(rows(seed=3, mood=3.0)), Timed(rows(seed=4, engine_ms=2.5, mood=3.0))
    check = check_ratio(P50, "b over a", then, [now])
    assert (check.status, check.name) == ("differs", "latency_p50_ms, b over a")
    assert (
        check_ratio(P50, "b over a", (Timed(rows(num=8)), Timed(rows(num=8))), [now]).status == "cannot tell"
    )


def test_the_phase_that_moved_most_is_named() -> None:
    change = slowest_phase(rows(seed=1), rows(seed=2, engine_ms=1.3))
    assert change is not None
    assert change.what == "time in compute"
    times = [float(text.removesuffix(" ms")) for text in (change.then, change.now)]
    assert times == pytest.approx([1.0, 1.3], rel=0.01)
    assert slowest_phase(rows(phases=False), rows()) is None
