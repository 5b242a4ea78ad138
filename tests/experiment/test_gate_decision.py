"""What a gate concludes, on simulated pairs of blocks: known truth, fixed seeds."""

import numpy as np
import pytest

from trivet.experiment.gate.decision import (
    MARGINS,
    Decision,
    Finding,
    Outcome,
    accuracy_finding,
    outcome_of,
)
from trivet.stats.interval import Interval

MAX_PAIRS = 60
START = 0.02  # how far starts of one program differ, of the logarithm: docs/benchmarks/measuring.md


def block(rng: np.random.Generator, mood: float, slower: float) -> dict[str, float]:
    """Figures of one block: medians within 1 %, tails within 6 %, throughput as offered."""
    return {
        "latency_p50_ms": 2 * mood * slower * np.exp(0.01 * rng.standard_normal()),
        "latency_p99_ms": 5 * mood * slower * np.exp(0.06 * rng.standard_normal()),
        "throughput_rps": 400 * np.exp(0.001 * rng.standard_normal()),
    }


def gated(seed: int, slower: float) -> tuple[Outcome, int]:
    """The outcome on a machine whose mood wanders, and after how many starts, each of which has a speed of its own."""
    rng = np.random.default_rng(seed)
    decision = Decision()
    while decision.num_pairs < MAX_PAIRS and not decision.is_decided():
        starts = np.exp(START * rng.standard_normal(2))
        mood = float(np.exp(0.05 * rng.standard_normal()))
        decision.add(block(rng, mood * starts[0], 1.0), block(rng, mood * starts[1], slower))
    return outcome_of(decision.findings()), decision.num_pairs


def test_alike_sides_never_regress_and_mostly_pass() -> None:
    found = [gated(seed, 1.0)[0] for seed in range(20)]
    assert "regression" not in found
    assert found.count("pass") >= 18


@pytest.mark.parametrize("slower", [1.05, 1.2])
def test_a_shift_of_five_per_cent_and_more_is_found(slower: float) -> None:
    found = [gated(seed, slower) for seed in range(20)]
    assert [outcome for outcome, _ in found].count("regression") >= 19
    assert np.median([num for _, num in found]) <= 20


def test_a_faster_candidate_passes() -> None:
    assert gated(1, 0.9)[0] == "pass"


def test_lower_throughput_is_worse_and_higher_is_not() -> None:
    for ratio, expected in ((0.9, "regression"), (1.1, "pass")):
        decision = Decision({"throughput_rps": 0.03})
        for i in range(40):
            decision.add({"throughput_rps": 400.0 + i % 3}, {"throughput_rps": (400.0 + i % 5) * ratio})
        assert [finding.outcome for finding in decision.findings()] == [expected]


def test_without_pairs_there_is_not_enough_data() -> None:
    assert {finding.outcome for finding in Decision().findings()} == {"not enough data"}


def test_a_pair_that_lacks_a_figure_counts_for_nobody() -> None:
    decision, whole = Decision(), dict.fromkeys(MARGINS, 1.0)
    decision.add(whole, {})
    decision.add({**whole, "latency_p99_ms": 0.0}, whole)
    assert (decision.num_pairs, decision.num_unusable) == (0, 2)


def test_identical_sides_pass() -> None:
    decision, same = Decision(), dict.fromkeys(MARGINS, 2.0)
    for _ in range(40):
        decision.add(same, same)
    assert decision.is_decided()
    finding = decision.findings()[0]
    assert (finding.outcome, finding.baseline, finding.candidate) == (
        "pass",
        pytest.approx(2),
        pytest.approx(2),
    )


@pytest.mark.parametrize(
    ("baseline", "candidate", "difference", "outcome"),
    [
        (0.9, 0.9, Interval(0.0, -0.01, 0.01), "pass"),
        (0.9, 0.92, Interval(0.02, -0.01, 0.05), "pass"),
        (0.9, 0.85, Interval(-0.05, -0.08, -0.02), "regression"),
        (0.9, 0.88, Interval(-0.02, -0.05, 0.01), "not enough data"),
        (0.9, 0.898, Interval(-0.002, -0.004, -0.001), "pass"),
        (0.9, 0.88, None, "regression"),
        (0.9, 0.897, None, "pass"),
    ],
)
def test_accuracy(baseline: float, candidate: float, difference: Interval | None, outcome: str) -> None:
    assert accuracy_finding("accuracy", baseline, candidate, difference, False).outcome == outcome


def test_an_error_is_worse_where_it_is_larger() -> None:
    assert accuracy_finding("mae", 10.0, 10.04, None, True).outcome == "pass"
    assert accuracy_finding("mae", 10.0, 10.06, None, True).outcome == "regression"
    assert accuracy_finding("mae", 10.0, 9.0, None, True).outcome == "pass"


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        (("pass", "pass"), "pass"),
        (("pass", "not enough data"), "not enough data"),
        (("not enough data", "regression"), "regression"),
        ((), "not enough data"),
    ],
)
def test_one_regression_fails_and_only_all_pass(outcomes: tuple[Outcome, ...], expected: Outcome) -> None:
    assert outcome_of([Finding("f", outcome, "") for outcome in outcomes]) == expected
