import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.experiment.measured_support import MS, block
from trivet.catalog.catalog import Catalog
from trivet.catalog.environment import Environment
from trivet.catalog.noise import Noise
from trivet.catalog.records import Figure, Run, RunDraft, RunState
from trivet.experiment.compare import compare
from trivet.experiment.figures import figures
from trivet.experiment.measured import Measured, pack

NUM_BLOCKS = 16


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return Catalog.open(str(tmp_path / "catalog"))


def noise(piece_us: float) -> Noise:
    return Noise(core=0, piece_us=piece_us, jitter=0.1, longest_us=200.0, steal_share=0.0)


def recorded(
    catalog: Catalog,
    blocks: Sequence[Measured],
    *,
    group: str = "g",
    state: RunState = "complete",
    piece_us: float = 100.0,
    extra: dict[str, Figure] | None = None,
    predictions: dict[str, Any] | None = None,
    **changed: Any,
) -> Run:
    draft = RunDraft(
        kind="bench",
        service="m",
        configuration_hash=changed.pop("configuration_hash", "c" * 64),
        configuration={},
        workload={"rate_rps": 100, **changed},
        seeds={"workload": 0},
        dataset={},
        environment=Environment(noise_before=noise(piece_us)),
        command=["trivet"],
        group=group,
    )
    run_id = catalog.begin(draft)
    rows, records = pack(blocks)
    artifacts = {"rows": catalog.put_rows(rows), "blocks": catalog.put(records)}
    if predictions is not None:
        artifacts["predictions"] = catalog.put(json.dumps(predictions).encode())
    catalog.finish(run_id, state, figures={**figures(blocks), **(extra or {})}, artifacts=artifacts)
    return catalog.run(run_id)


def noisy(factor: float, seed: int, num_blocks: int = NUM_BLOCKS, mood_seed: int = 9) -> list[Measured]:
    """Blocks whose machine has a mood of ±10 % that all sides of a block share."""
    rng, moods = np.random.default_rng(seed), np.random.default_rng(mood_seed)
    return [
        block(
            factor * np.exp(moods.normal(0, 0.1)) * (1 + rng.exponential(1, 200)),
            number=number,
            cpu_ns=int(factor * 200 * MS * np.exp(rng.normal(0, 0.002))),
            pss_bytes=(80 << 20) + int(rng.integers(1000)),
        )
        for number in range(num_blocks)
    ]


def test_a_slower_side_of_interleaved_blocks_is_worse(catalog: Catalog) -> None:
    a, b = recorded(catalog, noisy(1, 1)), recorded(catalog, noisy(1.3, 1))
    found = compare(catalog, a, b)
    assert (found.paired, found.num_pairs) == (True, NUM_BLOCKS)
    assert found.verdicts["latency_p50_ms"] == found.verdicts["latency_p99_ms"] == "worse"
    assert found.verdicts["cpu_ms_per_request"] == "worse"
    assert found.verdicts["memory_mib"] == "equivalent"
    p50 = next(figure for figure in found.figures if figure.name == "latency_p50_ms")
    assert p50.effect is not None
    assert p50.effect.ratio.low < 1.3 < p50.effect.ratio.high or p50.effect.ratio.estimate == pytest.approx(
        1.3
    )
    assert len(found.shifts) > 5
    assert all(shift.difference.low > 0 for shift in found.shifts)
    other_way = compare(catalog, b, a)
    assert other_way.verdicts["latency_p50_ms"] == "better"


def test_the_same_side_twice_is_never_better_or_worse(catalog: Catalog) -> None:
    a, b = recorded(catalog, noisy(1, 1)), recorded(catalog, noisy(1, 2))
    found = set(compare(catalog, a, b).verdicts.values())
    assert found <= {"equivalent", "cannot tell"}


def test_runs_that_were_not_interleaved_are_told_so_and_as_wide_as_both(catalog: Catalog) -> None:
    a = recorded(catalog, noisy(1, 1), group="")
    b = recorded(catalog, noisy(1.02, 1), group="")
    found = compare(catalog, a, b)
    assert not found.paired
    assert found.shifts == ()
    assert "not interleaved" in found.notes[0]
    assert found.verdicts["latency_p50_ms"] == "cannot tell"
    (p50,) = (figure for figure in found.figures if figure.name == "latency_p50_ms")
    assert p50.effect is not None
    assert p50.a.low is not None
    assert p50.b.high is not None
    assert p50.effect.ratio.high == pytest.approx(p50.b.high / p50.a.low)


def test_a_machine_that_was_slower_widens_what_is_said_of_runs_at_different_times(catalog: Catalog) -> None:
    a = recorded(catalog, noisy(1, 1), group="")
    calm = compare(catalog, a, recorded(catalog, noisy(1.5, 1), group=""))
    moved = compare(catalog, a, recorded(catalog, noisy(1.5, 1), group="", piece_us=200.0))
    (before,), (after,) = (
        [figure.effect for figure in one.figures if figure.name == "latency_p50_ms"] for one in (calm, moved)
    )
    assert before is not None
    assert after is not None
    assert before.verdict == "worse"
    assert after.verdict == "cannot tell"
    assert after.ratio.high == pytest.approx(2 * before.ratio.high)


def test_figures_without_an_interval_have_no_effect(catalog: Catalog) -> None:
    few = [block(np.linspace(1, 2, 12))]
    found = compare(catalog, recorded(catalog, few, group=""), recorded(catalog, few, group=""))
    (p999,) = (figure for figure in found.figures if figure.name == "latency_p999_ms")
    assert p999.effect is None
    assert "no interval" in p999.note


@pytest.mark.parametrize("state", ["invalid", "failed"])
def test_nothing_is_claimed_of_runs_that_mean_nothing(catalog: Catalog, state: RunState) -> None:
    a, b = recorded(catalog, noisy(1, 1)), recorded(catalog, noisy(2, 1), state=state)
    found = compare(catalog, a, b)
    assert found.verdicts == {}
    assert any(f"is {state}" in note for note in found.notes)


def test_accuracy_is_compared_row_by_row(catalog: Catalog) -> None:
    labels = [i % 2 for i in range(400)]
    wrong = [1 - label if i < 80 else label for i, label in enumerate(labels)]

    def run(predictions: list[int], estimate: float) -> Run:
        figure = Figure(
            estimate=estimate, low=estimate - 0.05, high=min(1.0, estimate + 0.05), unit="accuracy"
        )
        values = [float(one == label) for one, label in zip(predictions, labels, strict=True)]
        kept = {"predictions": predictions, "labels": labels, "cohorts": [], "values": values}
        return recorded(catalog, noisy(1, 1), extra={"accuracy": figure}, predictions=kept)

    found = compare(catalog, run(labels, 1.0), run(wrong, 0.8))
    assert found.verdicts["accuracy"] == "worse"
    (accuracy,) = (figure for figure in found.figures if figure.name == "accuracy")
    assert accuracy.effect is not None
    assert accuracy.effect.ratio.estimate == pytest.approx(0.8)
    assert compare(catalog, run(labels, 1.0), run(labels, 1.0)).verdicts["accuracy"] != "worse"


def test_errors_are_better_when_they_are_smaller(catalog: Catalog) -> None:
    def run(estimate: float) -> Run:
        figure = Figure(estimate=estimate, low=estimate - 0.1, high=estimate + 0.1, unit="mae")
        return recorded(catalog, noisy(1, 1), extra={"accuracy": figure})

    assert compare(catalog, run(3.0), run(1.0)).verdicts["accuracy"] == "better"


def test_other_workloads_and_the_same_configuration_are_noted(catalog: Catalog) -> None:
    a = recorded(catalog, noisy(1, 1))
    b = recorded(catalog, noisy(1, 2), arrivals="constant", configuration_hash="d" * 64)
    notes = compare(catalog, a, b).notes
    assert any("workloads differ in arrivals" in note for note in notes)
    assert any("same configuration" in note for note in compare(catalog, a, a).notes)


def test_fewer_than_two_pairs_are_no_pairs(catalog: Catalog) -> None:
    a, b = (recorded(catalog, noisy(1, seed, num_blocks=1)) for seed in (1, 2))
    assert not compare(catalog, a, b).paired
