"""Early exits: which rows are sure enough, the share that goes on, and what that leaves of a request's time."""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from trivet.pipeline.chain import ANSWER, Chain, Run
from trivet.pipeline.exits import ExitPoint, confidences
from trivet.spec.exit import Confidence, Exit, ExitCalibration

KINDS = st.sampled_from(("top1", "margin", "entropy"))
LOGITS = st.integers(1, 6).flatmap(
    lambda classes: arrays.arrays(
        np.float32,
        st.tuples(st.integers(1, 7), st.just(classes)),
        elements=st.floats(-30, 30, width=32),
    )
)


def rule(kind: Confidence = "top1", at_least: float = 0.9, temperature: float = 1.0) -> Exit:
    return Exit(
        output="y",
        confidence=kind,
        at_least=at_least,
        calibration=ExitCalibration(temperature=temperature),
    )


def slow_confidence(kind: str, logits: list[float], temperature: float) -> float:
    """Straight from the words of spec/exit.py."""
    if len(logits) == 1:
        logits = [0.0, *logits]
    powers = [math.exp(x / temperature) for x in logits]
    shares = sorted((power / math.fsum(powers) for power in powers), reverse=True)
    if kind == "top1":
        return shares[0]
    if kind == "margin":
        return shares[0] - shares[1]
    entropy = -math.fsum(p * math.log(p) for p in shares if p > 0)
    return 1 - entropy / math.log(len(shares))


@given(scores=LOGITS, kind=KINDS, temperature=st.sampled_from((0.5, 1.0, 3.0)))
def test_confidences_follow_their_definitions(
    scores: NDArray[np.float32], kind: Confidence, temperature: float
) -> None:
    found = confidences(rule(kind, temperature=temperature), scores)
    expected = [slow_confidence(kind, [float(x) for x in row], temperature) for row in scores]
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


@given(scores=LOGITS, kind=KINDS)
def test_a_row_is_decided_alone_whatever_stands_beside_it(
    scores: NDArray[np.float32], kind: Confidence
) -> None:
    alone = [confidences(rule(kind), row[None])[0] for row in scores]
    assert alone == confidences(rule(kind), scores).tolist()


@given(scores=LOGITS, kind=KINDS, thresholds=st.tuples(st.floats(0, 1), st.floats(0, 1)))
def test_who_is_sure_enough_for_more_is_sure_enough_for_less(
    scores: NDArray[np.float32], kind: Confidence, thresholds: tuple[float, float]
) -> None:
    low, high = sorted(thresholds)
    more, less = (ExitPoint("m", rule(kind, at)).sure({"y": scores}) for at in (high, low))
    assert not (more & ~less).any()


@given(scores=LOGITS, kind=KINDS)
def test_probabilities_give_what_their_logits_give(scores: NDArray[np.float32], kind: Confidence) -> None:
    logits = scores.astype(np.float64)
    if logits.shape[1] == 1:
        shares = 1 / (1 + np.exp(-logits))
    else:
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares = powers / powers.sum(axis=1, keepdims=True)
    of_shares = Exit(output="y", scores="probabilities", confidence=kind, at_least=0.5)
    np.testing.assert_allclose(confidences(of_shares, shares), confidences(rule(kind), logits), atol=1e-4)


def test_certain_probabilities_are_certain() -> None:
    certain = Exit(output="y", scores="probabilities", at_least=1.0)
    assert confidences(certain, np.array([[0.0, 1.0], [1.0, 0.0]])).tolist() == [1.0, 1.0]
    assert confidences(certain, np.array([1.0, 0.0])).tolist() == [1.0, 1.0]


@pytest.mark.parametrize("kind", ["top1", "margin", "entropy"])
def test_scores_that_are_not_finite_are_never_sure(kind: Confidence) -> None:
    scores = np.array([[np.nan, 1.0, 50.0], [np.inf, 0.0, 0.0], [0.0, 50.0, 0.0]], np.float32)
    assert ExitPoint("m", rule(kind, 0.0)).sure({"y": scores}).tolist() == [False, False, True]


def test_of_several_positions_the_least_sure_one_counts() -> None:
    scores = np.array([[[9.0, 0.0], [0.0, 1.0]], [[9.0, 0.0], [0.0, 9.0]]])
    assert ExitPoint("m", rule()).sure({"y": scores}).tolist() == [False, True]


@given(seen=st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=12))
def test_the_share_that_goes_on_is_the_mean_of_what_was_seen(seen: list[tuple[int, int]]) -> None:
    """Exactly so while there are few rows, with the eight doubtful ones that all went on."""
    point = ExitPoint("m", rule())
    for num_left, num_on in seen:
        point.learn(num_left, num_on)
    left, on = (sum(column) for column in zip(*seen, strict=True)) if seen else (0, 0)
    assert (point.num_left, point.num_on) == (left, on)
    assert point.share_on == pytest.approx((8 + on) / (8 + left + on))


def test_the_share_follows_inputs_that_change() -> None:
    point = ExitPoint("m", rule())
    for _ in range(5000):
        point.learn(0, 1)
    for _ in range(5000):
        point.learn(1, 0)
    assert 0 <= point.share_on < 0.01
    point.learn(0, 10**6)
    assert point.share_on == pytest.approx(1.0)


class Fixed:
    def __init__(self, ns: int) -> None:
        self._ns = ns

    def expected_ns(self) -> int:
        return self._ns


def test_without_exits_all_later_stages_are_kept_for() -> None:
    chain = Chain([Fixed(5), Fixed(7), Fixed(11)])
    assert chain.start(100) == Run(0, 82)
    assert chain.stage_done(0, 100) == Run(1, 89)
    assert chain.stage_done(2, 100) is ANSWER


@given(
    times=st.lists(st.integers(0, 1000), min_size=2, max_size=6),
    shares=st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=5, max_size=5),
    last=st.integers(1, 5),
    places=st.sets(st.integers(0, 4)),
)
def test_later_stages_are_kept_for_by_the_share_that_gets_there(
    times: list[int], shares: list[tuple[int, int]], last: int, places: set[int]
) -> None:
    """Against the sum over every way that a row can take."""
    last = min(last, len(times) - 1)
    exits = {place: ExitPoint(str(place), rule()) for place in places if place < last}
    for place, point in exits.items():
        point.learn(*shares[place])
    chain = Chain([Fixed(ns) for ns in times], exits, last)
    for index in range(len(times)):
        ahead = [place for place in exits if place >= index]
        expected = 0.0
        for ways in product((True, False), repeat=len(ahead)):
            on = dict(zip(sorted(ahead), ways, strict=True))
            probability = math.prod(
                exits[place].share_on if goes else 1 - exits[place].share_on for place, goes in on.items()
            )
            left_at = min((place for place, goes in on.items() if not goes), default=len(times))
            expected += probability * sum(
                times[stage] for stage in range(index + 1, len(times)) if not left_at < stage <= last
            )
        assert chain.run(index, 10**6).deadline_ns == pytest.approx(10**6 - expected, abs=1)


def test_who_leaves_comes_out_behind_the_last_model() -> None:
    stages = [Fixed(1)] * 4
    with_step = Chain(stages, {0: ExitPoint("front", rule())}, last_model=2)
    assert with_step.left(100) == Run(3, 100)
    assert Chain(stages, {0: ExitPoint("front", rule())}, last_model=3).left(100) is ANSWER
