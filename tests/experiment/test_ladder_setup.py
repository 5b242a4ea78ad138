"""A declared ladder as the simulator and the profile have it, and the losses of its models measured through servers."""

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks import models as build
from tests.support.exits import model
from trivet.catalog.records import Figure
from trivet.cli.main import cli
from trivet.errors import UserError
from trivet.experiment.certifying.kept_losses import kept_losses, losses_path
from trivet.experiment.certifying.ladder_losses import RungLoss, declared_lines, measured_losses
from trivet.experiment.placement import place
from trivet.experiment.simulating.simulated import rung_configurations, setup_of, stage_key
from trivet.simulate.profile import ModelTimes, ServiceProfile
from trivet.simulate.server import simulated
from trivet.spec.configuration import Configuration
from trivet.spec.service_file import load_configuration

SERVICE = """
name: signs
models:
  full: {file: full.onnx, levers: {max_batch_size: 4, execution: inline}}
  first: {file: first.onnx, levers: {max_batch_size: 4, execution: inline}}
  second: {file: second.onnx, levers: {max_batch_size: 4, execution: inline}}
degrade:
  to: [{model: first, loss: 0.1}, {model: second, loss: 0.2}]
  max_loss: 2 points
  window: 50
slo: {latency: 40ms, deadline: 50ms}
data: {path: rows.npz, columns: {h: h}, label: label}
decode: argmax
metric: accuracy
"""
_SECOND = "  second: {file: second.onnx, levers: {max_batch_size: 4, execution: inline}}\n"
NUM, WRONG = 40, {"full": 0, "first": 6, "second": 10}


@pytest.fixture(scope="module")
def configuration(tmp_path_factory: pytest.TempPathFactory) -> Configuration:
    """Each model says 0, whatever it is given, where its own column of `h` is 0, and that is wrong in so many rows."""
    from onnx import helper

    folder = tmp_path_factory.mktemp("signs")
    values = np.zeros((NUM, 2), np.float32)
    values[:, 1] = np.arange(NUM)  # a row's number
    for name, wrong in WRONG.items():
        # [0, number - wrong + 0.5]: the second class, which is right, for rows from `wrong` on.
        nodes = [helper.make_node("Add", ["h", "moved"], ["y"])]
        moved = {"moved": np.array([0.0, 0.5 - wrong], np.float32)}
        build.write(model("h", ["y"], nodes, moved), folder / f"{name}.onnx")
    np.savez(folder / "rows.npz", h=values, label=np.ones(NUM, np.int64))
    (folder / "service.yaml").write_text(SERVICE)
    return load_configuration(folder / "service.yaml")


def test_the_simulator_has_the_ladder_as_declared(configuration: Configuration) -> None:
    keys = [stage_key(one, 0) for one in (configuration, *rung_configurations(configuration))]
    assert len(set(keys)) == 3
    times = {
        key: ModelTimes(samples={0: {1: [ns] * 4, 4: [4 * ns] * 4}})
        for key, ns in zip(keys, (8, 4, 1), strict=True)
    }
    profile = ServiceProfile(service="signs", models=times)
    setup = setup_of(configuration, profile, workers=1, num_cores=1)
    assert setup.ladder is not None
    assert [(rung.name, rung.stage.key, rung.loss) for rung in setup.ladder.rungs] == [
        ("first", keys[1], 0.1),
        ("second", keys[2], 0.2),
    ]
    assert (setup.ladder.place, setup.ladder.max_loss, setup.ladder.window) == (0, 0.02, 50)
    assert setup.ladder.latency_ns == 40_000_000
    arrivals = np.arange(20, dtype=np.int64) * 1000
    assert simulated(profile, setup, arrivals, rng=np.random.default_rng(0)).is_ok().all()
    without = ServiceProfile(service="signs", models={keys[0]: times[keys[0]]})
    assert "was not profiled" in without.covers(setup_of(configuration, without, workers=1, num_cores=1))


def test_the_command_measures_through_servers_what_the_rows_say(
    configuration: Configuration, tmp_path: Path
) -> None:
    path = Path(configuration.root) / "one.yaml"
    path.write_text(SERVICE.replace(", {model: second, loss: 0.2}", "").replace(_SECOND, ""))
    found = CliRunner().invoke(cli, ["losses", str(path), "--json", "--catalog", str(tmp_path)])
    assert found.exit_code == 0, found.output
    [told] = json.loads(found.stdout)
    assert (told["model"], told["declared"], told["num_rows"]) == ("first", 0.1, NUM)
    assert told["loss"]["estimate"] == pytest.approx(WRONG["first"] / NUM)
    assert 0 < told["loss"]["low"] < told["loss"]["estimate"] < told["loss"]["high"]
    kept = kept_losses(losses_path(load_configuration(path), str(tmp_path)))
    assert kept["first"] == msgspec.convert(told["loss"], Figure)


def test_what_is_to_be_declared_goes_down_the_ladder() -> None:
    losses = [
        RungLoss(model=name, declared=0.1, loss=Figure(estimate=value, unit="accuracy"), num_rows=40)
        for name, value in (("better", -0.01), ("first", 0.02), ("lucky", 0.01), ("last", 0.03))
    ]
    assert declared_lines(losses) == [
        "- {model: better, loss: 0.00000}",
        "- {model: first, loss: 0.02000}",
        "- {model: lucky, loss: 0.02000}",
        "- {model: last, loss: 0.03000}",
    ]


def test_without_a_ladder_or_labels_it_says_what_is_missing(
    configuration: Configuration, tmp_path: Path
) -> None:
    rung, _ = rung_configurations(configuration)
    with pytest.raises(UserError, match="declares no `degrade:`"):
        measured_losses(rung, place(), NUM)
    text = SERVICE.partition("data:")[0]
    root = Path(configuration.root)
    (root / "unlabelled.yaml").write_text(text)
    with pytest.raises(UserError, match="add `data:` with a label"):
        measured_losses(load_configuration(root / "unlabelled.yaml"), place(), NUM)
