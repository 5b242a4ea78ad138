"""Whole studies on a simulated service in virtual time: what they find, keep, repeat and survive."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from benchmarks._simulated_bench import SimulatedBench
from tests.tune.tiny_study import MINUTE, S, bench_of, goal_for, studied
from trivet.catalog.study import Study, Trial
from trivet.errors import UserError
from trivet.tune import screen, sight
from trivet.tune.bench import BlockResult
from trivet.tune.choice import Choice
from trivet.tune.progress import Progress
from trivet.tune.recommending import conclude

LIVE = ("default", "verified", "failed")


def live(study: Study) -> list[Trial]:
    return [trial for trial in study.trials if trial.stage in LIVE and (trial.blocks or trial.reason)]


def tried(study: Study) -> list[dict[str, Any]]:
    return [trial.levers for trial in live(study)]


class Stopped(SimulatedBench):
    """Ctrl-C at a block."""

    at_block = 4

    def measure(
        self, choices: Sequence[Choice], rates_rps: Mapping[Choice, float], seconds: float, block: int
    ) -> dict[Choice, BlockResult]:
        if block >= self.at_block:
            raise KeyboardInterrupt
        return super().measure(choices, rates_rps, seconds, block)


class Dying(SimulatedBench):
    """Whatever has batches of 8 dies."""

    def measure(
        self, choices: Sequence[Choice], rates_rps: Mapping[Choice, float], seconds: float, block: int
    ) -> dict[Choice, BlockResult]:
        fine = [choice for choice in choices if choice["max_batch_size"] != 8]
        dead = {
            choice: BlockResult(rate_rps=rates_rps[choice], failure="killed by signal 9 (out of memory?)")
            for choice in choices
            if choice["max_batch_size"] == 8
        }
        return super().measure(fine, rates_rps, seconds, block) | dead


@pytest.fixture(autouse=True, scope="module")
def short_simulations() -> Iterator[None]:
    """What is tested here is the way of a study, not how well the simulator knows a tail."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(screen, "FIRST", 120)
        patch.setattr(screen, "SECOND", 240)
        patch.setattr(conclude, "NUM_REQUESTS", 60)
        patch.setattr(sight, "FIRST_REQUESTS", 120)
        patch.setattr(sight, "LONG_SLOS", 1)
        patch.setattr(sight, "LEAST_LONG", 240)
        yield


@pytest.fixture(scope="module")
def whole(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[SimulatedBench, Study, list[Study], list[Progress]]:
    """One study from end to end, what it saved on the way, and what it told."""
    bench = bench_of(tmp_path_factory.mktemp("service"))
    saved: list[Study] = []
    told: list[Progress] = []

    def save(study: Study) -> Study:
        saved.append(study)
        return msgspec.structs.replace(study, id="abc")

    return bench, studied(bench, save=save, on_progress=told.append, budget_ns=2 * MINUTE), saved, told


def test_the_best_of_all_is_found(whole: tuple[SimulatedBench, Study, Any, Any]) -> None:
    """Within 3 % of the best admissible configuration, by long simulations of the truth."""
    bench, study, _, _ = whole
    assert study.recommendation is not None
    assert study.recommendation.meets, study.recommendation.binding
    chosen = next(trial for trial in study.trials if trial.id == study.recommendation.trial)
    floor = study.goal.accuracy_floor or 0.0
    allowed = [choice for choice in bench.space.choices() if _low(bench, choice) >= floor]
    rates = {
        choice: bench.true_rate_rps(choice, num_requests=600, seed=1, replications=1) for choice in allowed
    }
    assert rates[Choice(chosen.levers)] >= 0.97 * max(rates.values())


def _low(bench: SimulatedBench, choice: Choice) -> float:
    accuracy = bench.accuracy(choice)
    return -1.0 if accuracy is None or accuracy.low is None else accuracy.low


def test_it_says_what_it_did(whole: tuple[SimulatedBench, Study, list[Study], list[Progress]]) -> None:
    _, study, saved, told = whole
    assert study.state == "complete"
    assert study.id == "abc"
    assert study.num_screened == 6
    assert 2 <= len(live(study)) <= 12
    assert study.front
    assert study.hypervolume is not None
    assert study.trials[0].stage == "default"
    assert study.trials[0].measured["max_rate_rps"].low is not None
    stages = list(dict.fromkeys(progress.stage for progress in told))
    assert stages == ["profile", "screen", "verify", "confirm", "finish"]
    assert any(progress.best for progress in told)
    assert len(saved) >= 2 + len(live(study)) - 1, "kept after every trial"
    assert sum(study.spent_ns.values()) <= 2 * MINUTE


def test_a_record_survives_its_json(whole: tuple[SimulatedBench, Study, Any, Any]) -> None:
    text = msgspec.json.encode(whole[1])
    assert msgspec.json.encode(msgspec.json.decode(text, type=Study)) == text


def test_the_same_seed_proposes_the_same_trials(
    whole: tuple[SimulatedBench, Study, Any, Any], tmp_path: Path
) -> None:
    again = studied(bench_of(tmp_path), budget_ns=2 * MINUTE)
    assert tried(again) == tried(whole[1])
    assert [trial.blocks for trial in live(again)] == [trial.blocks for trial in live(whole[1])]


def test_ctrl_c_keeps_everything_and_resume_goes_on(
    whole: tuple[SimulatedBench, Study, Any, Any], tmp_path: Path
) -> None:
    first = studied(bench_of(tmp_path, kind=Stopped), budget_ns=2 * MINUTE)
    assert (first.state, first.reason) == ("partial", "stopped with Ctrl-C")
    assert sum(len(trial.blocks) for trial in first.trials) == 8
    assert first.recommendation is not None, "a conclusion from what there is"
    kept = msgspec.json.decode(msgspec.json.encode(first), type=Study)
    kept.notes.append("screening ended with its time, after 7 configurations")
    second = studied(bench_of(tmp_path), resume=kept, budget_ns=MINUTE)
    assert second.state == "complete"
    for before, after in zip(live(first), live(second), strict=False):
        assert after.levers == before.levers
        assert after.blocks[: len(before.blocks)] == before.blocks
    assert {Choice(one) for one in tried(second)} >= {Choice(one) for one in tried(first)}
    assert not any("after 7 configurations" in note for note in second.notes), "this part screened anew"


def test_what_dies_is_a_result(tmp_path: Path) -> None:
    study = studied(bench_of(tmp_path, kind=Dying), budget_ns=MINUTE)
    assert study.state == "complete"
    failed = [trial for trial in study.trials if trial.stage == "failed"]
    assert failed
    for trial in failed:
        assert trial.levers["max_batch_size"] == 8
        assert "out of memory" in trial.reason
    assert study.recommendation is not None
    chosen = next(trial for trial in study.trials if trial.id == study.recommendation.trial)
    assert chosen.levers["max_batch_size"] == 1


def test_a_budget_for_nothing_live_is_told(tmp_path: Path) -> None:
    study = studied(bench_of(tmp_path), budget_ns=11 * S)
    assert study.state == "complete"
    assert not live(study)
    assert any("screened only, not verified" in note for note in study.notes)
    assert study.recommendation is not None
    assert not study.recommendation.meets


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"accuracy_floor": 0.9999}, "no configuration can keep it; set a floor within reach"),
        ({"slo_latency_ns": 1_000_000}, "the fastest variant alone takes"),
        ({"throughput_rps": 1e9}, "ask for less, or use more cores"),
    ],
)
def test_contradictions_are_told_before_anything_is_measured(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    bench = bench_of(tmp_path)
    with pytest.raises(UserError, match=message):
        studied(bench, goal=goal_for(bench, **changes))
    assert bench.now_ns() == 0


def test_the_latency_objective_is_measured_at_the_reference_rate(tmp_path: Path) -> None:
    bench = bench_of(tmp_path)
    study = studied(bench, goal=goal_for(bench, objective="latency"), budget_ns=MINUTE)
    kinds = [block.kind for block in study.trials[0].blocks]
    assert kinds.count("reference") >= kinds.count("limit")
    assert study.recommendation is not None


def test_an_only_configuration_is_measured_alone(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, max_batch_size=1)
    bench.space.variants = {
        model: {"original": found["original"]} for model, found in bench.space.variants.items()
    }
    bench.space.levers = ()
    study = studied(bench, budget_ns=2 * MINUTE)
    assert len(live(study)) == 1
    assert "there is no other configuration to try here" in study.notes
