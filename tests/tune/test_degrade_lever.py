"""Degradation's budget as a lever: what it makes of a service, what it costs, and what is recommended for a floor."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog

from benchmarks import models as build
from tests.tune.virtual_bench import VirtualBench
from trivet.catalog.records import Figure
from trivet.catalog.study import Study, Trial
from trivet.errors import SpecError
from trivet.experiment.certifying.kept_losses import keep_losses, kept_losses, losses_path
from trivet.experiment.certifying.ladder_losses import RungLoss
from trivet.experiment.simulating.simulated import rung_configurations, stage_key
from trivet.simulate.profile import HostCosts, ModelTimes, ServiceProfile
from trivet.spec.configuration import Configuration, with_service
from trivet.spec.convert import convert
from trivet.spec.service_file import load_configuration
from trivet.spec.tuning import Tuning
from trivet.tune import screen, sight
from trivet.tune.choice import Choice
from trivet.tune.degrade_lever import most_paid, paid, shares_of_answers, shares_of_rows
from trivet.tune.goals import goal_of
from trivet.tune.recommending import conclude
from trivet.tune.recommending.written import configuration_yaml
from trivet.tune.screen import answers_of
from trivet.tune.space import Space, space_of
from trivet.tune.study import tune

MS = 1_000_000
LIVE_NS, SCREENED_NS = 90_000_000_000, 20_000_000_000  # budgets with room for live trials, and without
SERVICE = """
name: ladder
models:
  full: {file: full.onnx, levers: {max_batch_size: 1, execution: inline, threads: 1}}
  small: {file: small.onnx, levers: {max_batch_size: 1, execution: inline, threads: 1}}
degrade: {to: [{model: small, loss: 4 points}], max_loss: 2 points, window: 20}
slo: {latency: 50ms, deadline: 60ms}
metric: accuracy
"""
KEPT: dict[str, Any] = dict.fromkeys(
    ("engine", "threads", "instances", "execution", "max_batch_size", "deferral", "queue"), "default"
) | {"graph_optimization": "default", "spinning": "default", "workers": 1}
ACCURACY = Figure(estimate=0.95, low=0.95, high=0.95, unit="accuracy", verdict="of 100 rows")


@pytest.fixture(autouse=True, scope="module")
def short_simulations() -> Iterator[None]:
    """Enough to tell two milliseconds from ten."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(screen, "FIRST", 150)
        patch.setattr(screen, "SECOND", 400)
        patch.setattr(conclude, "NUM_REQUESTS", 60)
        patch.setattr(sight, "FIRST_REQUESTS", 120)
        patch.setattr(sight, "LONG_SLOS", 1)
        patch.setattr(sight, "LEAST_LONG", 240)
        yield


@pytest.fixture(scope="module")
def ladder(tmp_path_factory: pytest.TempPathFactory) -> Configuration:
    folder = tmp_path_factory.mktemp("ladder")
    build.write(build.matmul(), folder / "full.onnx")
    build.write(build.tiny(), folder / "small.onnx")
    (folder / "service.yaml").write_text(SERVICE)
    return load_configuration(folder / "service.yaml")


def space(base: Configuration, **rules: Any) -> Space:
    return space_of(base, (), 1, convert({"levers": {**KEPT, **rules}}, Tuning))


def profile_of(base: Configuration) -> ServiceProfile:
    keys = [stage_key(one, 0) for one in (base, *rung_configurations(base))]
    models = {
        key: ModelTimes(samples={0: {1: [ns] * 8}}) for key, ns in zip(keys, (10 * MS, 2 * MS), strict=True)
    }
    return ServiceProfile(service="ladder", models=models, host=HostCosts(per_request_ns=[20_000]))


def test_the_lever_has_no_more_than_is_declared(ladder: Configuration) -> None:
    found = space(ladder)
    (lever,) = found.levers
    assert (lever.name, lever.values, lever.kind) == ("degrade", ("declared", "off", "half"), "answers")
    made = {
        value: found.configuration(Choice({**found.default, "degrade": value}))[0] for value in lever.values
    }
    assert made["declared"].hash == ladder.hash
    assert len({one.hash for one in made.values()}) == 3
    half, off = made["half"].service, made["off"].service
    assert half.degrade is not None
    assert half.degrade.budget == 0.01
    assert (off.degrade, list(off.models)) == (None, ["full"])
    assert found.changes_degrade(Choice({**found.default, "degrade": "off"}))
    assert not found.changes_degrade(found.default)
    assert answers_of(found.default) != answers_of(Choice({**found.default, "degrade": "off"}))


@pytest.mark.parametrize("value", ["declared", "off", "half"])
def test_it_is_written_as_it_was_measured(ladder: Configuration, value: str) -> None:
    chosen = space(ladder).configuration(Choice({**space(ladder).default, "degrade": value}))[0]
    root = Path(ladder.root)
    (root / f"{value}.yaml").write_text(configuration_yaml(chosen, root, workers=1).text)
    assert load_configuration(root / f"{value}.yaml").hash == chosen.hash


def test_levers_of_who_never_stands_in_mean_nothing(ladder: Configuration) -> None:
    found = space(ladder, queue=["auto", "20ms"])
    moved = Choice({**found.default, "small.queue": "20ms"})
    assert found.means_something(moved)
    assert not found.means_something(Choice({**moved, "degrade": "off"}))
    assert found.means_something(Choice({**found.default, "full.queue": "20ms", "degrade": "off"}))


def test_a_service_without_a_ladder_has_no_such_lever(ladder: Configuration) -> None:
    (rung,) = rung_configurations(ladder)
    plain = space_of(rung, (), 1, convert({"levers": KEPT}, Tuning))
    assert "degrade" not in plain.default
    with pytest.raises(SpecError, match="no lever 'degrade'"):
        space(rung, degrade="off")


@pytest.mark.parametrize("value", ["twice", 0.5, True])
def test_what_is_no_value_is_refused(ladder: Configuration, value: Any) -> None:
    with pytest.raises(SpecError, match="degrade: expected one of declared, off, half"):
        space(ladder, degrade=[value])


@given(
    rungs=st.lists(st.tuples(st.integers(0, 50), st.integers(0, 80)), min_size=1, max_size=4),
    budget=st.integers(0, 60),
)
def test_the_most_that_can_be_paid_is_the_linear_programmes(
    rungs: list[tuple[int, int]], budget: int
) -> None:
    declared, worst = ([one[place] / 1000 for one in rungs] for place in (0, 1))
    solved = linprog(
        [-cost for cost in worst],
        A_ub=[[1.0] * len(rungs), declared],
        b_ub=[1.0, budget / 1000],
        bounds=(0, None),
    )
    assert most_paid(declared, worst, budget / 1000) == pytest.approx(-solved.fun, abs=1e-9)


def test_what_is_paid_is_taken_off_and_the_worst_end_is_the_budget(ladder: Configuration) -> None:
    degrade = ladder.service.degrade
    assert degrade is not None
    judged = Figure(estimate=0.95, low=0.93, high=0.97, unit="accuracy")
    found = paid(judged, degrade, [0.25], {}, 1)
    assert found.estimate == pytest.approx(0.94)
    assert (found.low, found.high) == (pytest.approx(0.91), 0.97)
    assert "at most 0.02, by their declared losses" in found.verdict
    measured = {"small": Figure(estimate=0.02, low=0.0, high=0.06, unit="accuracy")}
    found = paid(judged, degrade, [0.25], measured, 1)
    assert found.estimate == pytest.approx(0.945)
    assert found.low == pytest.approx(0.93 - 0.03)  # half of the answers, at 6 points each
    error = paid(Figure(estimate=3.0, low=2.5, high=3.5, unit="mae"), degrade, [0.25], {}, -1)
    assert (error.estimate, error.low, error.high) == (pytest.approx(3.01), 2.5, pytest.approx(3.52))
    assert paid(judged, degrade, None, {}, 1).estimate == 0.95


def test_shares_are_counted_from_rows() -> None:
    said = ["", "degraded:small", "", "fallback:answer"]
    assert shares_of_rows(said, ["small", "other"]) == {"degraded:small": 0.25, "degraded:other": 0.0}


def test_measured_losses_are_kept_for_these_models_alone(ladder: Configuration, tmp_path: Path) -> None:
    path = losses_path(ladder, str(tmp_path))
    assert kept_losses(path) == {}
    loss = Figure(estimate=0.03, low=0.01, high=0.05, unit="accuracy")
    keep_losses(path, [RungLoss(model="small", declared=0.04, loss=loss, num_rows=100)])
    assert kept_losses(path) == {"small": loss}
    models = {**ladder.service.models, "small": ladder.service.models["full"]}
    other = with_service(ladder, msgspec.structs.replace(ladder.service, models=models))
    assert losses_path(other, str(tmp_path)) != path
    path.write_text("{}")
    with pytest.raises(SpecError, match="not a record of measured losses"):
        kept_losses(path)


def studied(
    ladder: Configuration,
    losses: dict[str, Figure] | None = None,
    *,
    budget_ns: int = SCREENED_NS,
    **slo: Any,
) -> Study:
    service = msgspec.structs.replace(ladder.service, slo=msgspec.structs.replace(ladder.service.slo, **slo))
    base = with_service(ladder, service)
    bench = VirtualBench(space(base), profile_of(base), ACCURACY)
    goal = goal_of(base.service, "rate", 50 * MS)
    return tune(bench, bench.space, goal, budget_ns, 0, losses=losses)


def by_value(study: Study) -> dict[str, Trial]:
    return {str(trial.levers["degrade"]): trial for trial in study.trials}


@pytest.fixture(scope="module")
def study(ladder: Configuration) -> Study:
    return studied(ladder, budget_ns=LIVE_NS, accuracy=0.935)


def test_a_study_shows_what_a_larger_budget_buys_and_costs(study: Study) -> None:
    """Shares of the answers, and with them what is paid, follow from the budget: half of it is 1 of 4 points, declared 2."""
    trials = by_value(study)
    rates = {value: trial.measured["max_rate_rps"].estimate for value, trial in trials.items()}
    assert rates["off"] < rates["half"] < rates["declared"]
    figures = {value: trial.measured["accuracy"] for value, trial in trials.items()}
    assert figures["off"] == ACCURACY
    assert 0.939 < figures["half"].estimate < 0.95
    assert 0.93 <= figures["declared"].estimate < figures["half"].estimate
    assert figures["half"].low == pytest.approx(0.94)
    assert figures["declared"].low == pytest.approx(0.93)
    assert {trial.id for trial in trials.values()} == set(study.front)


def test_the_floor_decides_how_much_may_be_paid(ladder: Configuration, study: Study) -> None:
    assert study.recommendation is not None
    chosen = {trial.id: trial for trial in study.trials}[study.recommendation.trial]
    assert (chosen.levers["degrade"], study.recommendation.meets) == ("half", True)


def test_measured_losses_replace_the_declared_ones(ladder: Configuration) -> None:
    measured = {"small": Figure(estimate=0.08, low=0.06, high=0.1, unit="accuracy")}
    found = studied(ladder, measured, accuracy=0.935)
    figure = by_value(found)["half"].predicted["accuracy"]
    assert figure.low == pytest.approx(0.95 - 0.25 * 0.1)
    assert 0.95 - 0.25 * 0.08 <= figure.estimate < 0.94


def test_an_accuracy_that_may_drop_by_less_than_the_budget_leaves_the_default_alone(
    ladder: Configuration,
) -> None:
    found = studied(ladder, accuracy_drop=0.015)
    differences = {
        value: trial.predicted.get("accuracy_difference") for value, trial in by_value(found).items()
    }
    assert differences["declared"] is None
    assert differences["off"] == Figure(estimate=0.0, low=0.0, high=0.0, unit="accuracy")
    half = differences["half"]
    assert half is not None
    assert -0.01 <= half.estimate <= 0
    assert half.low == pytest.approx(-0.01)


def test_shares_of_a_simulation_are_those_of_its_answers() -> None:
    ran = np.array([0, 1, 1, 2], np.uint8)
    assert shares_of_answers(ran, ["a", "b", "c"]) == {
        "degraded:a": 0.5,
        "degraded:b": 0.25,
        "degraded:c": 0.0,
    }
