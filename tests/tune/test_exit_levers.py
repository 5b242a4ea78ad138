"""Thresholds of exits as levers: measured with the rows, valued by the profile, and as accurate as a server says."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from onnx import helper

from benchmarks import models as build
from tests.support.exits import front, model
from trivet.clock import MonotonicClock
from trivet.engine.onnx import OnnxEngine
from trivet.errors import SpecError
from trivet.experiment.data_parts import data_parts
from trivet.experiment.placement import place
from trivet.experiment.simulating.exit_profile import exit_table
from trivet.experiment.simulating.simulated import setup_of, stage_key, table_key
from trivet.experiment.simulating.table_rows import PARTS_SEED
from trivet.experiment.variants.judged_answers import judged_answers
from trivet.experiment.variants.judged_variants import JudgedVariant
from trivet.pipeline.exits import confidences
from trivet.runtime.preparing.preparing import PreparedModel, prepare
from trivet.simulate.exit_table import ExitTable
from trivet.simulate.profile import ModelTimes, ServiceProfile
from trivet.spec.configuration import Configuration, with_service
from trivet.spec.convert import convert
from trivet.spec.exit import Exit
from trivet.spec.service_file import load_configuration
from trivet.spec.tuning import Tuning
from trivet.spec.yaml_text import service_yaml
from trivet.tune.choice import Choice
from trivet.tune.exit_figures import exit_accuracy, exit_difference
from trivet.tune.narrowing import LEAVING, narrowed
from trivet.tune.screen import answers_of
from trivet.tune.space import Space, space_of
from trivet.variants.variant import Variant

NUM_ROWS = 400
SERVICE = """
name: cascade
models:
  front: {file: front.onnx, levers: {execution: inline, threads: 1}}
  rest: {file: rest.onnx, levers: {execution: inline, threads: 1}}
pipeline:
  - model: front
    exit: {output: y, at_least: 0.9}
  - model: rest
slo: {latency: 50ms, accuracy_drop: 2 points}
data: {path: rows.npz, columns: {x: x}, label: label}
decode: argmax
metric: accuracy
"""


@pytest.fixture(scope="module")
def cascade(tmp_path_factory: pytest.TempPathFactory) -> Configuration:
    """The rest looks at what the front's answer leaves out: it turns rows around whose numbers are close."""
    folder = tmp_path_factory.mktemp("cascade")
    build.write(front(), folder / "front.onnx")
    turned = [
        helper.make_node("MatMul", ["h", "w"], ["y"]),
    ]
    weights = {"w": np.array([[1.0, 0.0], [0.6, 1.0]], np.float32)}
    build.write(model("h", ["y"], turned, weights), folder / "rest.onnx")
    rng = np.random.default_rng(5)
    x = rng.normal(size=(NUM_ROWS, 2)).astype(np.float32)
    label = (x @ weights["w"]).argmax(axis=1)
    label[::25] = 1 - label[::25]
    np.savez(folder / "rows.npz", x=x, label=label)
    (folder / "service.yaml").write_text(SERVICE)
    return load_configuration(folder / "service.yaml")


@pytest.fixture(scope="module")
def table(cascade: Configuration) -> ExitTable:
    now_ns = MonotonicClock().now_ns
    prepared = prepare(cascade, "1", now_ns, lambda text: None)
    try:
        found = exit_table(prepared, cascade, 60_000_000_000, now_ns)
    finally:
        for stage in prepared.stages:
            if isinstance(stage, PreparedModel):
                for engine in stage.engines:
                    engine.close()
    assert found is not None
    return found


@pytest.fixture
def profile(cascade: Configuration, table: ExitTable) -> ServiceProfile:
    models = {
        stage_key(cascade, index): ModelTimes(
            samples={0: {rows: [rows * ns] * 4 for rows in (1, 2, 4, 8, 16, 32, 64)}}
        )
        for index, ns in enumerate((100_000, 3_000_000))
    }
    return ServiceProfile(service="cascade", models=models, exits={table_key(cascade): table})


def space(base: Configuration, *variants: JudgedVariant, **rules: Any) -> Space:
    return space_of(base, variants, 1, convert({"levers": rules}, Tuning))


def unseen(cascade: Configuration) -> Any:
    engine = OnnxEngine(Path(cascade.root, "front.onnx"))
    rows = data_parts(cascade, engine.signature, PARTS_SEED).judged_rows(NUM_ROWS)
    engine.close()
    return rows


def test_the_table_holds_what_each_row_would_do(cascade: Configuration, table: ExitTable) -> None:
    rows = unseen(cascade)
    x = np.concatenate([row["x"] for row in rows.inputs])
    rule = Exit(output="y", at_least=0.0)
    np.testing.assert_array_equal(table.confidences[0], confidences(rule, x))
    labels = np.array(rows.labels)
    np.testing.assert_array_equal(table.right[0], x.argmax(axis=1) == labels)
    assert table.right[1] == [float(one) for one in (_rest(x) == labels)]
    assert (table.last, len(labels)) == (1, round(0.3 * NUM_ROWS))
    assert table.changed == {0: (x.argmax(axis=1) != _rest(x)).tolist()}
    leaves = table.exits({0: 0.8})
    np.testing.assert_array_equal(table.lost(leaves), (leaves == 0) & table.changed[0])


def _rest(x: Any) -> Any:
    return (x @ np.array([[1.0, 0.0], [0.6, 1.0]], np.float32)).argmax(axis=1)


def test_a_threshold_is_a_lever_that_changes_answers(cascade: Configuration) -> None:
    found = space(cascade)
    (lever,) = (one for one in found.levers if one.lever == "exit")
    assert (lever.name, lever.kind, lever.default) == ("front.exit", "answers", "declared")
    choice = Choice({**found.default, "front.exit": 0.7})
    configuration = found.configuration(choice)[0]
    exit_ = configuration.service.pipeline[0].exit
    assert exit_ is not None
    assert exit_.at_least == 0.7
    assert configuration.hash != cascade.hash == found.configuration(found.default)[0].hash
    assert answers_of(choice) != answers_of(found.default)
    assert found.changes_exit(choice)
    assert not found.changes_exit(found.default)
    assert "at_least: 0.7" in service_yaml(configuration.service)


def test_a_profile_gives_the_thresholds_at_which_shares_of_the_rows_leave(
    cascade: Configuration, profile: ServiceProfile, table: ExitTable
) -> None:
    found = space(cascade)

    def setup(choice: Choice) -> Any:
        return setup_of(found.configuration(choice)[0], profile, workers=1, num_cores=1)

    (lever,) = (one for one in narrowed(found, profile, setup).levers if one.lever == "exit")
    assert lever.values[0] == "declared"
    thresholds = [float(one) for one in lever.values[1:]]
    assert len(thresholds) == len(LEAVING)
    shares = [float((table.exits({0: one}) == 0).mean()) for one in thresholds]
    np.testing.assert_allclose(shares, sorted(LEAVING, reverse=True), atol=0.02)
    fixed = space(cascade, **{"front.exit": [0.8, 0.9]})
    (kept,) = (
        one for one in narrowed(_with_rules(fixed, cascade), profile, setup).levers if one.lever == "exit"
    )
    assert kept.values == (0.8, 0.9)
    nothing = msgspec.structs.replace(profile, exits={})
    left = narrowed(found, nothing, setup)
    assert "front.exit" in {one.name for one in left.left_out}


def _with_rules(found: Space, base: Configuration) -> Space:
    rules = convert({"levers": {"front.exit": [0.8, 0.9]}}, Tuning)
    return replace(found, base=with_service(base, msgspec.structs.replace(base.service, tune=rules)))


def test_a_stricter_exit_costs_more_in_simulation(cascade: Configuration, profile: ServiceProfile) -> None:
    found = space(cascade)
    exits = [
        setup_of(
            found.configuration(Choice({**found.default, "front.exit": at_least}))[0],
            profile,
            workers=1,
            num_cores=1,
        ).exits
        for at_least in (0.6, 0.95)
    ]
    assert exits[0].count(0) > exits[1].count(0) > 0
    assert len(exits[0]) == len(exits[1]) == round(0.3 * NUM_ROWS)


def test_the_profiles_accuracy_is_the_servers(cascade: Configuration, profile: ServiceProfile) -> None:
    """The same rows through a real server: the same share is right."""
    found = space(cascade)
    configuration = found.configuration(Choice({**found.default, "front.exit": 0.6}))[0]
    predicted = exit_accuracy(configuration, profile)
    served = judged_answers(configuration, unseen(cascade), place())
    assert predicted is not None
    assert predicted.estimate == served.figures["accuracy"].estimate
    difference = exit_difference(configuration, cascade, profile)
    assert difference is not None
    declared = exit_accuracy(cascade, profile)
    assert declared is not None
    assert difference.estimate == pytest.approx(predicted.estimate - declared.estimate)
    assert difference.low is not None
    assert difference.low <= difference.estimate


def test_an_exit_that_nothing_is_known_of_has_no_figures(cascade: Configuration) -> None:
    empty = ServiceProfile(service="cascade", models={})
    assert exit_accuracy(cascade, empty) is None
    assert exit_difference(cascade, cascade, empty) is None


@pytest.mark.parametrize("value", [1.5, "often", True])
def test_what_is_no_threshold_is_refused(cascade: Configuration, value: Any) -> None:
    with pytest.raises(SpecError, match="expected a confidence from 0 to 1"):
        space(cascade, **{"front.exit": [value]})


def test_the_exit_of_a_variant_means_something_only_with_it(models: Path, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes((models / "matmul.onnx").read_bytes())
    (tmp_path / "service.yaml").write_text("models: {m: {file: m.onnx}}\n")
    stages = [{"model": "front.onnx", "exit": {"output": "y", "at_least": 0.5}}, {"model": "rest.onnx"}]
    judged = [
        JudgedVariant(
            variant=Variant(
                name=name,
                model="m",
                digest=name,
                files=("m.onnx",),
                size_bytes=1,
                built_from="m",
                answers_change=name != "original",
                stages=None if name == "original" else stages,
            ),
            verdict="original" if name == "original" else "faster",
            reason="",
            in_search=True,
        )
        for name in ("original", "early-exit")
    ]
    found = space(load_configuration(tmp_path / "service.yaml"), *judged)
    assert "exit" in {one.name for one in found.levers}
    with_exit = Choice({**found.default, "variant": "early-exit", "exit": 0.7})
    assert found.means_something(with_exit)
    assert not found.means_something(Choice({**found.default, "exit": 0.7}))
