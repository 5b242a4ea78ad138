"""A whole tune against a hidden truth, on a small part of what `python -m benchmarks tune_promises` does."""

from pathlib import Path

import pytest

from benchmarks._simulated_bench import SMALL, SimulatedBench
from benchmarks._simulated_services import hidden
from benchmarks.tune_promises import judged, studied
from trivet.catalog.study import Study
from trivet.spec.tuning import Tuning
from trivet.tune.choice import Choice

FEW = Tuning(
    levers={
        **SMALL.levers,
        "max_batch_size": (1, 8),
        "threads": 1,
        "instances": 1,
        "deferral": "0ms",
        "workers": 1,
    },
    variants=("original", "int8-dynamic"),
)
SLOW = 5  # a service whose requests take milliseconds: few of them make a run


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> tuple[SimulatedBench, Study]:
    bench = SimulatedBench(hidden(SLOW), tmp_path_factory.mktemp("service"), 1, FEW)
    return bench, studied(bench, 60.0, 1)


def test_what_is_recommended_keeps_its_promise_on_the_truth(tuned: tuple[SimulatedBench, Study]) -> None:
    bench, study = tuned
    record = judged(bench, study, 3_000, 1)
    assert record["meets"]
    assert record["violated"] == []
    low, _, high = record["stated"]
    assert low * 0.95 <= record["true_rps"] <= high * 1.05


def test_it_is_the_best_of_the_few_or_nearly(tuned: tuple[SimulatedBench, Study]) -> None:
    bench, study = tuned
    assert study.recommendation is not None
    floor = study.goal.accuracy_floor
    assert floor is not None
    rates = {
        choice: bench.true_rate_rps(choice, num_requests=1_000, seed=5, replications=1)
        for choice in bench.space.choices()
        if (accuracy := bench.accuracy(choice)) is not None and (accuracy.low or 0) >= floor
    }
    chosen = next(trial for trial in study.trials if trial.id == study.recommendation.trial)
    assert rates[Choice(chosen.levers)] >= 0.9 * max(rates.values())


def test_the_recommendation_has_all_that_is_promised(tuned: tuple[SimulatedBench, Study]) -> None:
    _, study = tuned
    found = study.recommendation
    assert found is not None
    assert len(found.reasons) == 5
    assert found.uncertainty
    assert found.would_change
    assert found.not_tried
    assert study.hypervolume is not None
    assert found.trial in study.front
    assert {one.matters for one in study.effects} <= {"yes", "no", "cannot tell"}
    assert any(one.levers == ("max_batch_size",) for one in study.effects)


def test_hidden_services_are_the_same_every_time(tmp_path: Path) -> None:
    assert hidden(3) == hidden(3) != hidden(4)
    first, second = (SimulatedBench(hidden(3), tmp_path, 1, FEW) for _ in range(2))
    choice = first.space.default
    assert first.block_of(choice, 50.0, 2.0, (1, 2)) == second.block_of(choice, 50.0, 2.0, (1, 2))
    assert first.block_of(choice, 50.0, 2.0, (1, 3)) != second.block_of(choice, 50.0, 2.0, (1, 2))
