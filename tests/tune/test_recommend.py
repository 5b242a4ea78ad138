"""Which trial is recommended, and what is said of it."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tune.studies import MS, figure, goal, share, study, trial
from trivet.catalog.records import Figure
from trivet.catalog.study import LeftOut, Recommendation, Study, Trial, TrialBlock
from trivet.tune.recommending.recommend import NothingToRecommendError, recommend
from trivet.tune.recommending.sensitivity import under_other_budgets

DEFAULT = trial(0, 100, 20, share(0.93), stage="default", cost=9)


def chosen(trials: list[Trial], **aim: Any) -> Recommendation:
    return recommend(study(trials, goal(**aim)))


def test_the_largest_rate_that_meets_all_wins() -> None:
    found = chosen(
        [
            DEFAULT,
            trial(1, 200, 20, share(0.93), threads=2),
            trial(2, 400, 20, share(0.92), variant="int8"),
            trial(3, 900, 20, share(0.80), variant="student"),
        ],
        accuracy_floor=0.9,
    )
    assert (found.trial, found.meets, found.binding, found.runner_up) == (2, True, "", 1)
    assert "the accuracy floor keeps out trial 3 (student)" in found.reasons[3]


@pytest.mark.parametrize(
    ("rate", "kept"),
    [
        ((101, 0.01), 0),  # hardly better, but its interval reaches less far down than the default's
        ((102.5, 0.02), 0),
        ((104, 0.05), 1),  # more likely than not worth it
        ((102.5, 0.001), 1),  # little, and known
    ],
)
def test_other_answers_for_nothing_are_not_recommended(rate: tuple[float, float], kept: int) -> None:
    other = trial(1, figure(*rate), 20, share(0.93), variant="int8")
    default = trial(0, figure(100, 0.02), 20, share(0.93), stage="default")
    found = chosen([default, other], accuracy_floor=0.9)
    assert (found.trial, found.meets, found.runner_up) == (kept, True, 1 - kept)
    assert ("cannot be told apart" in found.reasons[2]) == (rate[1] >= 0.01)


@pytest.mark.parametrize(("rate", "kept"), [((99.5, 0.001), 0), ((100.9, 0.02), 0), ((102, 0.02), 1)])
def test_a_lever_is_moved_for_something(rate: tuple[float, float], kept: int) -> None:
    default = trial(0, figure(100, 0.03), 20, stage="default")
    assert chosen([default, trial(1, figure(*rate), 20, threads=2)]).trial == kept


@pytest.mark.parametrize(("latency", "kept"), [((19.9, 0.001), 0), ((15, 0.02), 1)])
def test_where_less_is_better_a_lever_is_moved_for_less(latency: tuple[float, float], kept: int) -> None:
    default = trial(0, 100, figure(20, 0.03), stage="default")
    found = chosen([default, trial(1, 100, figure(*latency), threads=2)], objective="latency")
    assert found.trial == kept


def test_of_the_same_answers_the_best_is_taken_in_place_of_others_for_nothing() -> None:
    trials = [
        trial(0, 100, 20, share(0.93), stage="default"),
        trial(1, 200, 20, share(0.93), threads=2),
        trial(2, 201, 20, share(0.93), variant="int8"),
    ]
    assert chosen(trials, accuracy_floor=0.9).trial == 1


def test_the_five_lines_say_what_gain_next_limit_and_proof() -> None:
    blocks = [
        TrialBlock(block=i, rate_rps=380 + i, values={}, invalid="late" if i == 3 else "") for i in range(4)
    ]
    best = trial(2, 400, 20, share(0.92), variant="int8", max_batch_size=8)
    import msgspec

    best = msgspec.structs.replace(best, blocks=blocks)
    found = chosen([DEFAULT, trial(1, 200, 20, share(0.93), threads=2), best], accuracy_floor=0.9)
    assert found.reasons == [
        "Serve trial 2 (int8, max_batch_size 8): 352.9 requests/s with p99 within 50 ms, 10% kept free.",
        "Its largest rate is 4 [3.89, 4.11] times the default's; answers change: accuracy 0.92 [0.91, 0.93] against "
        "0.93 [0.92, 0.94], -0.006 [-0.011, -0.001] apart on the same rows.",
        "Next is trial 1 (threads 2): its largest rate is 0.5 [0.486, 0.514] times this one's.",
        "The budget, p99 within 50 ms, limits the rate; max_batch_size at the largest that was searched, 8.",
        "Proven on 3 live blocks at 380 to 382/s, in turn with the others, on this machine; 2,000 labelled rows.",
    ]


@settings(max_examples=60, deadline=None)
@given(
    rates=st.lists(st.tuples(st.floats(1, 100), st.floats(0, 0.5)), min_size=1, max_size=6),
    rights=st.lists(st.tuples(st.floats(0.6, 1), st.floats(0, 0.2)), min_size=6, max_size=6),
    floor=st.floats(0.6, 0.95),
    needed=st.floats(1, 100),
)
def test_nothing_is_said_to_meet_what_the_worse_ends_do_not(
    rates: list[tuple[float, float]], rights: list[tuple[float, float]], floor: float, needed: float
) -> None:
    trials = [
        trial(i, figure(*one), 20, share(*right), variant="int8")
        for i, (one, right) in enumerate(zip(rates, rights, strict=False))
    ]
    found = chosen(trials, accuracy_floor=floor, throughput_rps=needed)
    best = trials[found.trial].measured
    low, accurate = best["max_rate_rps"].low, best["accuracy"].low
    assert low is not None
    assert accurate is not None
    if found.meets:
        assert accurate >= floor
        assert low * 0.9 >= needed
    else:
        assert all(
            one.measured["accuracy"].low < floor or one.measured["max_rate_rps"].low * 0.9 < needed  # type: ignore[operator]
            for one in trials
        )
        assert found.binding
    assert len(found.reasons) == 5
    assert all("\n" not in line for line in found.reasons)


def test_a_floor_that_lies_within_the_interval_is_not_crossed_and_says_how_many_rows_decide() -> None:
    unsure = trial(1, 400, 20, share(0.91, 0.02), variant="int8")
    found = recommend(study([unsure], goal(accuracy_floor=0.9)))
    assert not found.meets
    assert "cannot tell whether it reaches 0.9" in found.binding
    assert "rows at the same 0.91 would decide, there are 2,000" in found.binding
    assert recommend(study([unsure], goal(accuracy_floor=0.9)), trust_accuracy_estimates=True).meets
    below = trial(1, 400, 20, share(0.89, 0.02), variant="int8")
    assert not recommend(study([below], goal(accuracy_floor=0.9)), trust_accuracy_estimates=True).meets


def test_without_a_floor_answers_stay_as_they_are_and_the_gain_of_one_is_told() -> None:
    found = chosen(
        [DEFAULT, trial(1, 120, 20, share(0.93), threads=2), trial(2, 400, 20, share(0.92), variant="int8")]
    )
    assert found.trial == 1
    assert "answers stay the same" in found.reasons[1]
    assert any(
        "with a floor of at most 0.91 (declared: none): trial 2 (int8)" in line for line in found.would_change
    )


def test_a_variant_with_the_same_answers_needs_no_floor() -> None:
    assert chosen([DEFAULT, trial(1, 300, 20, share(0.93), variant="optimized")]).trial == 1


def test_an_accuracy_that_was_not_measured_clears_no_floor() -> None:
    found = chosen([trial(0, 100, 20, stage="default")], accuracy_floor=0.9)
    assert not found.meets
    assert "its accuracy was not measured" in found.binding


def test_where_nothing_meets_the_closest_is_named_with_what_binds() -> None:
    found = chosen([DEFAULT, trial(1, 190, 20, share(0.93), threads=2)], throughput_rps=250)
    assert (found.trial, found.meets) == (1, False)
    assert (
        found.binding
        == "throughput: 167.6 requests/s are promised, 250 are asked for; all of the trials compared fail it"
    )
    assert found.reasons[0].startswith("Closest is trial 1 (threads 2)")


def test_latency_and_cost_count_their_upper_ends() -> None:
    slow_and_sure = trial(1, 100, figure(21, 0.01), share(0.93), cost=5, threads=2)
    fast_and_unsure = trial(2, 100, figure(20, 0.5), share(0.93), cost=8, threads=1)
    assert chosen([DEFAULT, slow_and_sure, fast_and_unsure], objective="latency").trial == 0
    assert chosen([slow_and_sure, fast_and_unsure], objective="latency").trial == 1
    assert chosen([DEFAULT, slow_and_sure, fast_and_unsure], objective="cost").trial == 1


def test_latency_with_its_margin_must_stay_within_the_slo() -> None:
    found = chosen([trial(1, 100, figure(46, 0.01), share(0.9))], objective="latency")
    assert not found.meets
    assert "46.46 ms, 51.11 ms with the safety margin: over 50 ms" in found.binding


def test_p99_stands_in_for_a_lower_percentile() -> None:
    assert chosen([DEFAULT], objective="latency", slo_percentile=95).meets
    assert not chosen([DEFAULT], objective="latency", slo_percentile=99.9).meets


def test_predictions_alone_are_never_said_to_meet_the_goal() -> None:
    found = chosen([trial(1, 100, 20, stage="screened")])
    assert not found.meets
    assert found.binding.startswith("nothing was measured")
    assert "240 configurations were simulated, none was measured" in found.reasons[4]


def test_the_default_may_win() -> None:
    found = chosen([DEFAULT, trial(1, 50, 40, share(0.93), threads=2)])
    assert found.trial == 0
    assert (
        found.reasons[1] == "It is the default configuration: nothing that was tried is known to be better."
    )


def test_a_default_that_failed_is_no_measure() -> None:
    found = chosen([trial(0, stage="failed", reason="out of memory"), trial(1, 50, 40, threads=2)])
    assert found.trial == 1
    assert found.reasons[1] == "The default has no figures to compare with: it failed, or was not measured."


def test_what_cannot_be_told_apart_is_said() -> None:
    found = chosen([DEFAULT, trial(1, 101, 20, share(0.93), threads=2)])
    assert "cannot be told apart" in found.reasons[2]
    assert "cannot be told from trial 0 (all defaults)" in found.uncertainty


def test_what_would_change_the_choice() -> None:
    trials = [
        DEFAULT,
        trial(1, 200, 5, share(0.93), threads=2),
        trial(2, 400, 20, share(0.92), variant="int8", cost=2),
        trial(3, 900, 20, share(0.80), variant="student", cost=1),
    ]
    made = study(trials, goal(accuracy_floor=0.9))
    found = recommend(made, other_slo={10.0: {1: figure(180), 2: figure(90)}})
    assert found.trial == 2
    lines = "\n".join(found.would_change)
    assert "with a floor over 0.91: trial 1 (threads 2)" in lines
    assert "with a floor of at most 0.79 (declared: 0.9): trial 3 (student)" in lines
    assert "with 10 ms instead of 50 ms: trial 1 (threads 2)" in lines
    assert "for the lowest latency instead: trial 1 (threads 2)" in lines
    assert "processor time" not in lines  # the choice has the least of those that clear the floor


def test_rates_under_other_budgets_are_measured_ones_times_what_the_simulator_says() -> None:
    made = study([DEFAULT, trial(1, 200, 20, share(0.93)), trial(2, 999, 20, stage="screened")])
    simulated = {0: {25: 0.0, 50: 80.0, 100: 120.0}, 1: {25: 90.0, 50: 180.0, 100: 180.0}}
    found = under_other_budgets(made, lambda one, budget_ns: simulated[one.id][budget_ns // MS])
    assert {budget: sorted(rates) for budget, rates in found.items()} == {25.0: [1], 100.0: [0, 1]}
    assert found[25.0][1].estimate == pytest.approx(100)
    assert found[100.0][0].low == pytest.approx(150 / 1.02)


def test_a_trial_whose_rate_under_another_budget_is_not_known_is_not_chosen_for_it() -> None:
    made = study([DEFAULT, trial(1, 200, 20, share(0.93), threads=2)])
    found = recommend(made, other_slo={25.0: {0: figure(60)}})
    assert any(line.startswith("with 25 ms instead of 50 ms: trial 0") for line in found.would_change)


def test_a_lone_trial_is_changed_by_nothing_and_says_that_it_is_alone() -> None:
    found = chosen([DEFAULT])
    assert found.would_change == [
        "no other accuracy floor, SLO or objective that was looked at would choose another trial"
    ]
    assert found.reasons[2] == "Nothing else was compared."
    assert "in turn with the others" not in found.reasons[4]


def test_what_was_not_tried() -> None:
    made = study(
        [DEFAULT, trial(1, stage="failed", reason="out of memory", variant="int8")],
        left_out=[LeftOut(name="instances", why="the server has one core here")],
    )
    assert recommend(made).not_tried == [
        "239 of 240 configurations were simulated, never measured",
        "1 trials failed: out of memory",
        "instances: the server has one core here",
    ]


def test_a_variant_that_accuracy_keeps_out_is_named_with_its_reason() -> None:
    screened = [
        trial(1, 900, 20, share(0.80), stage="screened", variant="student"),
        trial(2, 950, 20, share(0.80), stage="screened", variant="student", threads=2),
        trial(3, 400, 20, share(0.92), stage="screened", variant="int8"),
        trial(4, 500, 20, share(0.5), variant="optimized"),
        trial(5, 500, 20, share(0.5), stage="screened", variant="optimized", threads=2),
    ]
    found = recommend(study([DEFAULT, *screened], goal(accuracy_floor=0.9), num_screened=0))
    assert found.not_tried == ["variant student: accuracy of 0.8 [0.79, 0.81] does not reach 0.9"]


def test_a_trial_without_an_interval_promises_nothing() -> None:
    found = chosen([trial(0, Figure(estimate=100.0, unit=""), 20, stage="default")])
    assert not found.meets
    assert found.binding.startswith("latency: no rate was found at which p99 stays within 50 ms")


def test_nothing_at_all_is_an_error_with_the_next_step() -> None:
    with pytest.raises(
        NothingToRecommendError, match=r"none of 1 trials has a largest rate.*raise the budget"
    ):
        recommend(study([trial(0, stage="failed", reason="x")]))


def test_the_text_of_the_chosen_trial_is_carried() -> None:
    found = recommend(study([DEFAULT]), yaml_of=lambda one: f"trial: {one.id}\n")
    assert found.yaml == "trial: 0\n"


def test_ties_go_to_the_earlier_trial_whatever_their_order() -> None:
    trials = [trial(i, 100, 20, share(0.93), threads=i) for i in (1, 2)]
    assert chosen(trials).trial == chosen(trials[::-1]).trial == 1


def test_the_slo_is_in_words() -> None:
    made: Study = study([DEFAULT], goal(slo_latency_ns=2_500 * MS // 1000, slo_percentile=99.9))
    assert "p99.9 within 2.5 ms" in recommend(made).reasons[0]
