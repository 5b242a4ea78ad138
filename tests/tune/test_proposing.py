"""What a sampler proposes where a space is too large to simulate: seeded, in batches, each choice once."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from benchmarks._simulated_bench import SimulatedBench
from tests.tune.tiny_study import goal_for, slow_service
from trivet.simulate.profile import ServiceProfile
from trivet.spec.tuning import Tuning
from trivet.tune.choice import Choice
from trivet.tune.proposing import BATCH, everything, num_proposed, num_screened, proposals
from trivet.tune.screen import Screen, Screened

MOST = 40
FIXED = dict.fromkeys(("engine", "queue", "graph_optimization", "spinning", "workers"), "default")


class Known(Screen):
    """Says at once what a choice is worth, instead of simulating it."""

    def __init__(self, bench: SimulatedBench, best_batch: int) -> None:
        super().__init__(ServiceProfile(service="s", models={}), bench.setup, goal_for(bench), 0)
        self._bench, self._best_batch = bench, best_batch

    def of(self, choice: Choice) -> Screened:
        rate = 100.0 if choice["max_batch_size"] == self._best_batch else 10.0
        return Screened(choice, self._bench.setup(choice), {"max_rate_rps": rate})


def bench_of(folder: Path, **rules: Any) -> SimulatedBench:
    made = SimulatedBench(slow_service(), folder, 0, Tuning(levers=FIXED, **rules))
    made.profile([made.space.default], budget_ns=10**9)
    assert everything(made.space, MOST) is None, "small enough to be simulated whole"
    return made


def proposed(bench: SimulatedBench, seed: int, best_batch: int = 64) -> list[Choice]:
    looker = Known(bench, best_batch)
    return list(proposals(bench.space, looker, goal_for(bench), MOST, seed))


def test_the_same_seed_proposes_the_same_and_another_one_others(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, variants=("original",))
    found = proposed(bench, 3)
    assert proposed(bench, 3) == found
    assert proposed(bench, 4) != found


def test_each_is_proposed_once_means_something_and_variants_share_alike(tmp_path: Path) -> None:
    bench = bench_of(tmp_path)
    found = proposed(bench, 0)
    assert found[0] == found[1] == bench.space.default
    assert len(set(found[1:])) == len(found[1:])
    assert all(bench.space.means_something(choice) for choice in found[1:])
    by_variant = Counter(bench.space.variant_of(choice) for choice in found[1:])
    (variants,) = (lever.values for lever in bench.space.levers if lever.name == "variant")
    assert set(by_variant) == set(variants)
    assert max(by_variant.values()) - min(by_variant.values()) <= BATCH
    assert (
        len(found)
        <= num_proposed(bench.space, MOST)
        <= 1 + len(variants) * (1 + MOST // len(variants) + BATCH)
    )


def test_proposals_follow_what_was_found(tmp_path: Path) -> None:
    """The first ones are drawn blindly; later ones go where choices were worth more."""
    bench = bench_of(tmp_path, variants=("original",))
    small, large = proposed(bench, 0, best_batch=2), proposed(bench, 0, best_batch=64)
    assert small[: 2 + BATCH] == large[: 2 + BATCH]

    def num(found: list[Choice], batch: int) -> int:
        return sum(choice["max_batch_size"] == batch for choice in found)

    assert num(large, 64) > num(small, 64)
    assert num(small, 2) > num(large, 2)


@pytest.mark.parametrize(("seconds", "num"), [(60, 400), (30, 200), (0, 8)])
def test_how_many_are_proposed_follows_from_the_budget_alone(seconds: int, num: int) -> None:
    assert num_screened(seconds * 10**9) == num
