"""Who is offered a request under load, and what the budget promises whatever happens to the requests."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivet.pipeline.degrading import EASE, UNIT, AccuracyBudget, Degrading

LOSSES = (0.0, 0.005, 0.027, 0.038)


def ladder(max_loss: float = 0.05, window: int = 100, latency_ns: int | None = None) -> Degrading:
    return Degrading(LOSSES, max_loss, window, latency_ns)


@pytest.mark.parametrize(
    ("easy", "expected"),
    [
        ({0, 1, 2, 3}, [0, 1, 2, 3]),
        ({1, 2, 3}, [1, 2, 3]),
        ({3}, [3]),
        ({0}, [0, 1, 2, 3]),  # cores of its own, or batches that the others do not have
        (set(), [3, 2, 1, 0]),
    ],
)
def test_the_most_accurate_with_ease_comes_first_and_the_cheapest_when_nobody_has(
    easy: set[int], expected: list[int]
) -> None:
    assert [*ladder().offers(1, easy.__contains__)] == expected


def test_who_is_over_the_budget_is_not_offered() -> None:
    at = ladder(max_loss=0.01, window=2)  # 2 points may be spent ahead
    assert [*at.offers(1, {3}.__contains__)] == [2, 1, 0]  # 3.8 - 1 points are not there, 2.7 - 1 are
    at.taken(2, 1)
    assert [*at.offers(1, {2, 3}.__contains__)] == [1, 0]
    assert [*at.again(0, 1)] == [1]
    at.lost(2, 1)
    assert [*at.again(0, 1)] == [1, 2]
    assert [*at.again(2, 1)] == []
    assert [*at.offers(2, {2}.__contains__)] == [1, 0]  # two rows at once


def test_ease_is_a_share_of_what_is_left_until_the_deadline_or_the_slos_latency() -> None:
    assert ladder().ease_ns(0, 1000, 200) == 200 + int(EASE * 800)
    assert ladder(latency_ns=600).ease_ns(0, 1000, 200) == 200 + int(EASE * 400)
    assert ladder(latency_ns=5000).ease_ns(0, 1000, 200) == 200 + int(EASE * 800)


EVENTS = st.lists(
    st.tuples(st.integers(0, 3), st.integers(1, 5), st.booleans(), st.integers(0, 8)), max_size=120
)


@given(EVENTS, st.sampled_from([0.0, 0.004, 0.01, 0.03, 0.05]), st.integers(0, 40))
def test_any_answers_in_a_row_cost_no_more_than_promised(
    events: list[tuple[int, int, bool, int]], max_loss: float, window: int
) -> None:
    """Each event: a rung, rows, whether it is answered, and how many others come before it is known. Every stretch of
    answers is looked at, in the order in which they came out."""
    at = ladder(max_loss, window)
    in_flight: list[tuple[int, int, int, bool]] = []
    sums = [0]  # of losses less the share of each row, after each answer

    def settle(until: int) -> None:
        for known, rung, rows, is_answered in sorted(in_flight):
            if known <= until:
                in_flight.remove((known, rung, rows, is_answered))
                if is_answered:
                    at.answered(rung, rows)
                    sums.append(sums[-1] + (at.losses[rung] - at.budget.max_loss) * rows)
                else:
                    at.lost(rung, rows)

    for now, (rung, rows, is_answered, later) in enumerate(events):
        settle(now)
        if rung in [*at.offers(rows, lambda _: True)]:
            at.taken(rung, rows)
            in_flight.append((now + later, rung, rows, is_answered))
    settle(1 << 30)
    allowed = round(max_loss * UNIT) * window
    lowest = sums[0]
    for total in sums:
        lowest = min(lowest, total)
        assert total - lowest <= allowed
    assert 0 <= at.budget.potential <= at.budget.cap == allowed


@given(EVENTS)
def test_what_is_taken_and_lost_leaves_no_trace(events: list[tuple[int, int, bool, int]]) -> None:
    at = ladder(0.01, 100)
    for rung, rows, _, _ in events:
        at.taken(rung, rows)
    for rung, rows, _, _ in reversed(events):
        at.lost(rung, rows)
    assert at.budget.potential == at.budget.cap
    assert at.budget.covers(at.budget.max_loss + at.budget.cap, 1)
    assert not at.budget.covers(at.budget.max_loss + at.budget.cap + 1, 1)


def test_rungs_within_the_budget_on_their_own_are_always_covered() -> None:
    budget = AccuracyBudget(0.01, 0)
    for loss in (0.0, 0.005, 0.01):
        assert budget.covers(round(loss * UNIT), 1000)
    assert not budget.covers(round(0.011 * UNIT), 1)
