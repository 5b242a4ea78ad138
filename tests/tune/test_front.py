"""The front against a slow look at every pair, and in the cases that intervals and answers make."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tune.studies import figure, goal, share, trial
from trivet.catalog.records import Figure
from trivet.catalog.study import Trial
from trivet.tune.recommending.front import front, standings

sizes = st.floats(1, 100)
reaches = st.floats(0, 0.5)


@st.composite
def trials(draw: Any) -> list[Trial]:
    return [
        trial(
            number,
            figure(draw(sizes), draw(reaches)),
            figure(draw(sizes), draw(reaches)),
            share(draw(st.sampled_from([0.7, 0.8, 0.9])), draw(st.sampled_from([0.01, 0.06]))),
        )
        for number in range(draw(st.integers(1, 7)))
    ]


def surely_beats(a: Trial, b: Trial) -> bool:
    """Straight from the definition."""
    mine, other = a.measured, b.measured
    faster = mine["latency_p99_ms"].high < other["latency_p99_ms"].low  # type: ignore[operator]
    more = mine["max_rate_rps"].low > other["max_rate_rps"].high  # type: ignore[operator]
    same = mine["accuracy"] == other["accuracy"]
    return faster and more and (same or mine["accuracy"].low > other["accuracy"].high)  # type: ignore[operator]


@settings(max_examples=60, deadline=None)
@given(found=trials())
def test_off_the_front_is_what_another_beats_beyond_the_intervals_on_every_leg(found: list[Trial]) -> None:
    beaten = {one.id for one in found if any(surely_beats(other, one) for other in found)}
    assert {
        number for number, standing in standings(found, goal()).items() if standing.status == "off"
    } == beaten
    assert set(front(found, goal())) == {one.id for one in found} - beaten


@settings(max_examples=60, deadline=None)
@given(found=trials())
def test_on_the_front_is_what_no_estimate_beats(found: list[Trial]) -> None:
    def point(one: Trial) -> tuple[float, float, float]:
        known = one.measured
        return (
            known["latency_p99_ms"].estimate,
            -known["max_rate_rps"].estimate,
            -known["accuracy"].estimate,
        )

    points = {one.id: point(one) for one in found}
    for number, standing in standings(found, goal()).items():
        beaters = [
            other
            for other, theirs in points.items()
            if theirs != points[number] and all(a <= b for a, b in zip(theirs, points[number], strict=True))
        ]
        assert (standing.status == "on") == (not beaters)


def test_the_front_is_never_empty_and_starts_with_the_highest_rate() -> None:
    found = [trial(0, 100, 20, share(0.9)), trial(1, 300, 30, share(0.9)), trial(2, 200, 10, share(0.9))]
    assert front(found, goal()) == [1, 2]


def test_close_figures_may_be_on_the_front_and_name_what_beats_their_estimates() -> None:
    found = [trial(0, 100, 20.0, share(0.9)), trial(1, 101, 19.9, share(0.9))]
    assert standings(found, goal())[0].status == "may be"
    assert standings(found, goal())[0].beaten_by == 1
    assert front(found, goal()) == [1, 0]


def test_better_accuracy_keeps_a_slow_trial_on_the_front() -> None:
    found = [trial(0, 100, 20, share(0.93)), trial(1, 300, 5, share(0.91), variant="int8")]
    assert front(found, goal()) == [1, 0]


def test_without_an_interval_nothing_is_certain() -> None:
    bare = Figure(estimate=10.0, unit="")
    found = [trial(0, bare, 20, share(0.9)), trial(1, 300, 5, share(0.9))]
    assert standings(found, goal())[0].status == "may be"


def test_cost_is_a_leg_only_where_it_is_the_goal() -> None:
    found = [trial(0, 100, 20, cost=1.0), trial(1, 300, 5, cost=9.0)]
    assert front(found, goal()) == [1]
    assert front(found, goal(objective="cost")) == [1, 0]


def test_a_ceiling_of_errors_counts_the_other_way_round() -> None:
    found = [trial(0, 100, 20, share(0.5)), trial(1, 300, 5, share(0.2))]
    assert front(found, goal(metric="mae")) == [1]
    assert front(found, goal(metric="accuracy")) == [1, 0]


@pytest.mark.parametrize("has_measured", [True, False])
def test_predictions_stand_on_the_front_only_where_nothing_was_measured(has_measured: bool) -> None:
    found = [
        trial(0, 100, 20, stage="default" if has_measured else "screened"),
        trial(1, 900, 1, stage="screened"),
        trial(2, stage="failed", reason="out of memory"),
    ]
    assert front(found, goal()) == ([0] if has_measured else [1])


def test_no_trials_have_no_front() -> None:
    assert front([], goal()) == []
