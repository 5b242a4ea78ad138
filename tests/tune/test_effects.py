"""Effects of levers whose truth is known, measured and simulated."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.tune.studies import DEFAULTS, LEVERS, figure, trial
from trivet.catalog.study import LeverEffect, LeverRecord, Trial
from trivet.tune.recommending.contrasts import Choice, key_of, other_values, pair_contrasts, single_contrasts
from trivet.tune.recommending.effects import effects


def rate(choice: Choice) -> float:
    """int8 doubles; two threads alone do nothing, but with batches of 8 a half more; batches alone do nothing."""
    value = 100.0 * {"original": 1.0, "int8": 2.0, "student": 2.02}[choice["variant"]]
    return value * (1.5 if choice["threads"] == 2 and choice["max_batch_size"] == 8 else 1.0)


class Simulated:
    """Replications that share their noise, so that it cancels, and have some of their own."""

    def __init__(self, truth: Callable[[Choice], float] = rate, own_sd: float = 0.0, num: int = 8) -> None:
        self.truth, self.own_sd, self.num = truth, own_sd, num
        self.asked: list[Choice] = []

    def __call__(self, choices: Sequence[Choice]) -> NDArray[np.float64]:
        self.asked += choices
        rng = np.random.default_rng(4)
        common = rng.normal(0, 0.3, self.num)
        own = rng.normal(0, self.own_sd, (len(choices), self.num))
        return np.array([[self.truth(choice)] for choice in choices]) * np.exp(common + own)


def of(found: Sequence[LeverEffect], *levers: str) -> dict[tuple[Any, ...], LeverEffect]:
    """The effects of these levers, by where they go."""
    return {tuple(move[1] for move in one.from_to): one for one in found if set(one.levers) == set(levers)}


def around(**levers: Any) -> Trial:
    return trial(1, 100, 20, **levers)


def test_what_matters_alone_what_does_not_and_what_only_together() -> None:
    found = effects([], around(variant="int8", threads=2, max_batch_size=8), LEVERS, Simulated(own_sd=0.002))
    variant = of(found, "variant")
    assert variant["original",].effect.estimate == pytest.approx(0.5, rel=0.01)
    assert variant["original",].matters == "yes"
    assert variant["student",].matters == "no"
    together = of(found, "threads", "max_batch_size")["auto", 1]
    assert together.effect.estimate == pytest.approx(1.5, rel=0.01)
    assert together.matters == "yes"
    assert of(found, "variant", "threads")["original", "auto"].matters == "no"


def test_noise_that_choices_share_costs_nothing() -> None:
    """exp(0.3) of noise between replications, none between choices: effects are exact."""
    for one in effects([], around(), LEVERS, Simulated()):
        assert one.effect.low == pytest.approx(one.effect.high)
        assert one.effect.verdict == "simulated"
        assert one.matters in ("yes", "no")


def test_measured_trials_come_before_simulated_ones() -> None:
    base = around()
    measured = trial(2, 200, 20, variant="int8")
    simulated = Simulated()
    found = effects([base, measured], base, LEVERS, simulated)
    effect = of(found, "variant")["int8",].effect
    assert effect.verdict == "measured"
    assert effect.estimate == pytest.approx(2.0)
    reach = 2**0.5 * math.log(1.02)
    assert effect.high == pytest.approx(2 * math.exp(reach), rel=1e-6)
    assert of(found, "variant")["student",].effect.verdict == "simulated"


def test_an_interaction_is_measured_where_all_four_corners_are() -> None:
    corners = [
        trial(number, rate({**DEFAULTS, **levers}), 20, **levers)
        for number, levers in enumerate(
            [{}, {"threads": 2}, {"max_batch_size": 8}, {"threads": 2, "max_batch_size": 8}]
        )
    ]
    levers = [
        LeverRecord(name="threads", values=["auto", 2], default="auto", kind="serving"),
        LeverRecord(name="max_batch_size", values=[1, 8], default=1, kind="serving"),
    ]
    found = effects(corners, corners[3], levers)
    together = of(found, "threads", "max_batch_size")["auto", 1]
    assert together.effect.verdict == "measured"
    assert together.effect.estimate == pytest.approx(1.5)
    assert together.matters == "yes"


def test_screened_trials_are_compared_where_nothing_is_simulated_anew() -> None:
    base = trial(1, 100, 20, stage="screened")
    found = effects([base, trial(2, figure(104, 0.06), 20, stage="screened", threads=1)], base, LEVERS)
    assert [one.levers for one in found] == [("threads",)]
    assert found[0].effect.verdict == "simulated"
    assert found[0].matters == "cannot tell"


def test_what_is_not_covered_has_no_effect() -> None:
    def partly(choice: Choice) -> float:
        return math.nan if choice["threads"] == 2 else rate(choice)

    found = effects([], around(), LEVERS, Simulated(partly))
    assert (2,) not in of(found, "threads")
    assert (1,) in of(found, "threads")


def test_too_few_replications_are_refused() -> None:
    with pytest.raises(ValueError, match="2 replications have no spread; at least 3"):
        effects([], around(), LEVERS, Simulated(num=2))


def test_each_choice_is_simulated_once_for_all_questions_of_a_kind() -> None:
    simulated = Simulated()
    effects([], around(variant="int8", threads=2, max_batch_size=8), LEVERS, simulated)
    singles = [key_of(one) for one in simulated.asked[:6]]
    assert len(singles) == len(set(singles))


def test_alike_levers_are_hardly_ever_said_to_matter() -> None:
    """Nothing has any effect, forty families of about a dozen questions each: at most 5 % may find one; a fixed seed."""
    misled = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)

        def noise(choices: Sequence[Choice], rng: np.random.Generator = rng) -> NDArray[np.float64]:
            return np.exp(rng.normal(0, 0.3, (len(choices), 6)))

        misled += any(one.matters == "yes" for one in effects([], around(), LEVERS, noise))
    assert misled <= 4


@pytest.mark.parametrize(
    ("lever", "value", "expected"),
    [
        ("variant", "original", ["int8", "student"]),
        ("variant", "int8", ["original", "student"]),
        ("threads", "auto", [1, 2]),
        ("threads", 2, ["auto", 1]),
        ("max_batch_size", 1, [2]),
        ("max_batch_size", 2, [1, 4]),
        ("max_batch_size", 8, [1, 4]),
    ],
)
def test_a_lever_goes_to_its_default_and_its_neighbours(lever: str, value: Any, expected: list[Any]) -> None:
    record = next(one for one in LEVERS if one.name == lever)
    assert other_values(record, value) == expected


def test_durations_have_an_order_and_switches_have_none() -> None:
    deferral = LeverRecord(
        name="deferral", values=["0ms", "1ms", "2ms", "5ms"], default="0ms", kind="serving"
    )
    spinning = LeverRecord(name="spinning", values=[False, True], default=False, kind="serving")
    assert other_values(deferral, "2ms") == ["0ms", "1ms", "5ms"]
    assert other_values(spinning, True) == [False]


def test_contrasts_are_ratios_of_the_corners() -> None:
    base = dict(DEFAULTS)
    (pair,) = pair_contrasts(base, {"threads": 2, "max_batch_size": 8})
    assert pair.above == ({**base, "threads": 2, "max_batch_size": 8}, base)
    assert pair.below == ({**base, "threads": 2}, {**base, "max_batch_size": 8})
    assert all(len(one.above) == len(one.below) == 1 for one in single_contrasts(base, LEVERS))


def test_a_lever_that_the_trial_does_not_have_is_passed_over() -> None:
    other = LeverRecord(name="b.threads", values=[1, 2], default=1, kind="serving")
    assert effects([figure_trial()], figure_trial(), [other]) == []


def figure_trial() -> Trial:
    return trial(3, figure(10.0), 5)
