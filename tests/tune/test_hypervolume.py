"""Dominated volume against boxes that can be counted, Monte Carlo, and its own rules; its interval against known truths."""

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.tune.studies import figure, goal, share, trial
from trivet.catalog.records import Figure
from trivet.tune.recommending.hypervolume import dominated_volume, hypervolume

dimensions = st.sampled_from([2, 3])


@st.composite
def fronts(draw: st.DrawFn) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    d = draw(dimensions)
    corner = st.lists(st.integers(-6, 8), min_size=d, max_size=d)
    points = draw(st.lists(corner, min_size=0, max_size=7))
    return np.array(points, np.float64).reshape(-1, d), np.full(d, 5.0)


def by_inclusion_and_exclusion(points: NDArray[np.float64], reference: NDArray[np.float64]) -> float:
    """Boxes overlap in boxes: the sum over all sets of points, with alternating signs."""
    total = 0.0
    for size in range(1, len(points) + 1):
        for chosen in combinations(points, size):
            edges = np.clip(reference - np.max(chosen, axis=0), 0, None)
            total += (-1) ** (size + 1) * float(np.prod(edges))
    return total


@settings(max_examples=60, deadline=None)
@given(case=fronts())
def test_the_volume_is_that_of_the_boxes_together(
    case: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> None:
    points, reference = case
    assert dominated_volume(points, reference) == pytest.approx(by_inclusion_and_exclusion(points, reference))


@pytest.mark.parametrize("d", [2, 3])
def test_the_volume_is_what_random_points_find(d: int) -> None:
    rng = np.random.default_rng(7)
    points = rng.random((12, d))
    darts = rng.random((200_000, d))
    hit = (darts[:, None, :] >= points[None, :6]).all(axis=2).any(axis=1) | (
        (darts[:, None, :] >= points[None, 6:]).all(axis=2).any(axis=1)
    )
    share_hit = hit.mean()
    # Five standard errors of that share: with this seed it is a fact, not a chance.
    reach = 5 * math.sqrt(share_hit * (1 - share_hit) / len(darts))
    assert dominated_volume(points, np.ones(d)) == pytest.approx(share_hit, abs=reach)


@settings(max_examples=40, deadline=None)
@given(case=fronts())
def test_more_points_never_cover_less_and_beaten_ones_add_nothing(
    case: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> None:
    points, reference = case
    whole = dominated_volume(points, reference)
    for i in range(len(points)):
        assert dominated_volume(np.delete(points, i, axis=0), reference) <= whole + 1e-9
    if len(points):
        assert dominated_volume(np.vstack([points, points[0] + 1]), reference) == pytest.approx(whole)


def test_four_legs_are_refused() -> None:
    with pytest.raises(ValueError, match="4 legs"):
        dominated_volume(np.zeros((1, 4)), np.ones(4))


def test_the_default_alone_covers_the_box_to_its_reference() -> None:
    default = trial(0, 100, 20, share(0.9), stage="default")
    found = hypervolume([default], goal(), default)
    assert found is not None
    assert found.estimate == pytest.approx(math.log(1.5) ** 2 * (0.9 - 0.9 / 1.5))
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.estimate < found.high


def test_without_accuracy_two_legs_count() -> None:
    default = trial(0, 100, 20, stage="default")
    found = hypervolume([default, trial(1, 200, 20)], goal(), default)
    assert found is not None
    assert found.estimate == pytest.approx(math.log(1.5) * math.log(3))


def test_a_figure_without_an_interval_leaves_the_volume_without_one() -> None:
    default = trial(0, 100, 20, stage="default")
    found = hypervolume([default, trial(1, Figure(estimate=200.0, unit=""), 20)], goal(), default)
    assert found is not None
    assert found.low is None
    assert found.verdict == "no interval: a max_rate_rps of 200 has none"


def test_without_a_default_to_start_from_there_is_no_volume() -> None:
    failed = trial(0, stage="failed")
    assert hypervolume([trial(1, 100, 20)], goal(), failed) is None


def test_the_interval_covers_the_truth_of_noisy_trials() -> None:
    """Twelve alike trials: the best of their estimates looks better than all are. Counted on a fixed seed."""
    rng, sd, covered, naive = np.random.default_rng(3), 0.03, 0, 0
    default = trial(0, 100, 20, stage="default")
    truth = dominated_volume([[math.log(20), -math.log(150)]], [math.log(30), -math.log(100 / 1.5)])
    for _ in range(60):
        noise = np.exp(rng.normal(0, sd, (12, 2)))
        reach = math.expm1(1.96 * sd)
        trials = [
            trial(i + 1, figure(150 * one, reach), figure(20 * two, reach))
            for i, (one, two) in enumerate(noise)
        ]
        found = hypervolume(trials, goal(), default)
        assert found is not None
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= truth <= found.high
        naive += truth >= found.estimate
    assert naive < 30  # the estimate itself is too high more often than not
    assert covered >= 57
