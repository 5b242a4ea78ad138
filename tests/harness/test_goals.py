import pytest

from benchmarks._tables import Goal, count_goal, goal_table
from trivet.stats.interval import Interval, Ratio


@pytest.mark.parametrize(
    ("bounds", "verdict"),
    [
        ({"at_least": 0.8}, "met"),
        ({"at_least": 0.9}, "met"),  # the lower end reaches it
        ({"at_least": 1.0}, "cannot tell"),
        ({"at_least": 1.1}, "cannot tell"),  # the upper end still may
        ({"at_least": 1.2}, "missed"),
        ({"at_most": 1.2}, "met"),
        ({"at_most": 1.1}, "met"),
        ({"at_most": 1.0}, "cannot tell"),
        ({"at_most": 0.8}, "missed"),
    ],
)
def test_a_goal_is_met_or_missed_where_the_whole_interval_says_so(
    bounds: dict[str, float], verdict: str
) -> None:
    assert Goal("a / b", Ratio(1.0, 0.9, 1.1, 10), **bounds).verdict() == verdict


def test_a_goal_without_a_figure_gives_the_reason() -> None:
    goal = Goal("a / b", None, at_least=1, reason="not measured: no peer")
    assert (goal.shown(), goal.verdict()) == ("–", "not measured: no peer")


def test_a_goal_without_a_bound_is_an_error() -> None:
    with pytest.raises(ValueError, match="bound"):
        Goal("a / b", Ratio(1, 1, 1, 2)).verdict()


def test_one_that_fails_in_any_block_breaks_the_promise_that_none_does() -> None:
    assert count_goal("failed", [0, 0, 0]).verdict() == "met"
    assert count_goal("failed", [0, 1, 0]).verdict() == "missed"


def test_the_table_shows_bound_figure_and_verdict() -> None:
    goals = [Goal("ready", Interval(0.5, 0.45, 0.55), at_most=0.6, unit="s"), count_goal("failed", [0])]
    assert goal_table(goals).splitlines()[2:] == [
        "| ready | at most 0.6 s | 0.5 [0.45, 0.55] s | **met** |",
        "| failed | at most 0 | 0 | **met** |",
    ]
