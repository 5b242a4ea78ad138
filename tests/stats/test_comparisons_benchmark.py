"""The benchmark of comparisons on a part of its size; the whole is `python -m benchmarks comparisons`.

Seeds are fixed, so these are exact values with room for a change that is no loss, not chances.
"""

import argparse
import math

import numpy as np
import pytest

from benchmarks import _comparisons_page, _histories, _paired_queues, comparisons
from benchmarks._paired_queues import Pairs
from trivet.stats.sequential import PairedSequence

ALARMS = 16  # of 1,000: 1 % is 10, and 17 or more would be 1 in 37 for who errs that often


def test_alike_queues_are_rarely_called_better_or_worse_at_any_look() -> None:
    rng = np.random.default_rng(1)
    pool = Pairs(0.8, 0.1).log_ratios(rng, (1_000,))
    figures = comparisons.drawn(rng, pool, (1_000, comparisons.MAX_PAIRS))
    for differences in figures.values():
        assert comparisons.alarms(differences) <= ALARMS
    assert comparisons.family_alarms(figures) <= ALARMS


@pytest.mark.parametrize("name", ["student_t3", "skewed", "hiccups", "order_effect", "drift"])
def test_whatever_the_noise_is(name: str) -> None:
    draw = getattr(_paired_queues, name)
    differences = draw(np.random.default_rng(2), (1_000, comparisons.MAX_PAIRS))
    assert comparisons.alarms(differences) <= ALARMS
    row = comparisons._equivalence_row(name, differences)
    assert row["false"] <= 0.06 * 1_000


def test_the_fast_count_of_alarms_is_what_sequences_say() -> None:
    differences = _paired_queues.hiccups(np.random.default_rng(3), (150, 12)) + 0.004
    said = 0
    for row in differences:
        sequence = PairedSequence(1e-9)
        verdicts = set()
        for value in row:
            sequence.add(float(value))
            verdicts.add(sequence.verdict())
        said += bool(verdicts & {"better", "worse"})
    assert 0 < said == comparisons.alarms(differences)


@pytest.mark.parametrize("load", comparisons.LOADS)
def test_a_slowdown_of_2_percent_is_found_within_20_pairs_of_1000_requests(load: float) -> None:
    row = comparisons.slowdown(np.random.default_rng(4), Pairs(load, 0.1), 40)
    assert row["worse"] >= 36
    assert row["requests"] <= 20_000


def test_the_gate_finds_changes_and_confirms_nothing_else() -> None:
    rng = np.random.default_rng(5)
    assert sum(_histories.outcome(rng).regression for _ in range(60)) <= 1
    assert sum(_histories.outcome(rng, 1 + rng.uniform(0.05, 0.2)).regression for _ in range(60)) >= 57
    assert sum(_histories.outcome(rng, 1.05).regression for _ in range(60)) >= 55


def test_responses_follow_lindleys_recursion() -> None:
    rng = np.random.default_rng(6)
    gaps, service = rng.exponential(1, (3, 50)), rng.exponential(0.9, (3, 50))
    for row in range(3):
        waiting, expected = 0.0, []
        for i in range(50):
            waiting = max(0.0, waiting + service[row, i - 1] - gaps[row, i]) if i else 0.0
            expected.append(waiting + service[row, i])
        assert _paired_queues.responses(gaps, service)[row] == pytest.approx(expected)


def test_the_page_is_drawn_from_the_record() -> None:
    options = argparse.Namespace(comparisons=20, found=3, histories=3, seed=1)
    record = comparisons.measure(options, pool=50)
    text = _comparisons_page.page(record)
    for heading in ("False alarms", "A slowdown of 2 %", "Equivalent within 5 %", "A gate"):
        assert heading in text
    assert math.isfinite(record["gate"]["none"]["pairs"])
