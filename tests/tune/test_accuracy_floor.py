"""How many rows a floor needs: against trying every number of rows, and in words."""

import math

import pytest

from trivet.catalog.records import Figure
from trivet.stats.proportion import proportion_interval
from trivet.tune.accuracy_floor import clears, rows_in_words, rows_to_clear


@pytest.mark.parametrize(("right", "floor"), [(0.95, 0.9), (0.99, 0.97), (0.8, 0.7), (1.0, 0.99)])
def test_so_many_rows_clear_the_floor_and_one_less_does_not(right: float, floor: float) -> None:
    needed = rows_to_clear(right, floor)
    assert needed is not None

    def low(num: int) -> float:
        return proportion_interval(math.floor(right * num), num).low

    assert low(needed) >= floor
    assert low(needed - 1) < floor


def test_no_wrong_answer_at_all_needs_as_many_rows_as_the_rule_of_three_says() -> None:
    assert rows_to_clear(1.0, 0.99) == math.ceil(math.log(0.025) / math.log(0.99))


@pytest.mark.parametrize(("right", "floor"), [(0.9, 0.9), (0.85, 0.9), (0.9, 0.9 - 1e-7)])
def test_no_number_of_rows_is_told_as_none(right: float, floor: float) -> None:
    assert rows_to_clear(right, floor) is None


@pytest.mark.parametrize(
    ("low", "high", "larger", "expected"),
    [
        (0.91, 0.95, True, True),
        (0.90, 0.95, True, True),
        (0.85, 0.89, True, False),
        (0.88, 0.93, True, None),
        (None, 0.93, True, None),
        (0.85, 0.89, False, True),
        (0.91, 0.95, False, False),
    ],
)
def test_a_floor_is_cleared_by_the_whole_interval(
    low: float | None, high: float, larger: bool, expected: bool | None
) -> None:
    figure = Figure(estimate=0.9, low=low, high=high, unit="")
    assert clears(figure, 0.9, larger_is_better=larger) is expected


def test_a_share_counts_rows_exactly_and_other_metrics_by_their_spread() -> None:
    accuracy = Figure(estimate=0.95, low=0.89, high=0.98, unit="")
    words = rows_in_words(accuracy, 0.9, num_rows=100, is_share=True, larger_is_better=True)
    assert words == f"about {rows_to_clear(0.95, 0.9):,} rows at the same 0.95 would decide, there are 100"
    error = Figure(estimate=2.0, low=1.6, high=2.4, unit="")
    words = rows_in_words(error, 2.2, num_rows=100, is_share=False, larger_is_better=False)
    assert words == "about 400 rows at the same 2 would decide, there are 100"


def test_an_estimate_on_the_wrong_side_is_told() -> None:
    accuracy = Figure(estimate=0.89, low=0.85, high=0.93, unit="")
    words = rows_in_words(accuracy, 0.9, num_rows=None, is_share=True, larger_is_better=True)
    assert words == "0.89 itself is not on the right side of 0.9: more rows hardly help"
