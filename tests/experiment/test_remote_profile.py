"""A service whose model another server runs, from its service file to a forecast; the upstream is a real server."""

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from benchmarks import models as build
from tests.support.server import ServerProcess
from trivet.cli.main import cli
from trivet.experiment.placement import place
from trivet.experiment.simulating.live_points import LivePoint
from trivet.experiment.simulating.profiling import profile_service
from trivet.experiment.simulating.remote_points import (
    MAX_CALLS,
    USERS,
    failing_share,
    past_everything,
    remote_times,
    upstream_names,
)
from trivet.experiment.simulating.simulated import local_alone, remote_keys, setup_of
from trivet.simulate.profile import ServiceProfile, read_profile
from trivet.simulate.server import simulate_service
from trivet.spec.configuration import Configuration
from trivet.spec.row import RowColumns, RowsHeader
from trivet.spec.service_file import load_configuration

MS = 1_000_000
SERVICE = """
name: far
models:
  far:
    remote: {{protocol: v2, model: m, upstreams: ["{url}"]}}
pipeline: [{{model: far, failures: {{retry: {{budget: 10%}}, fallback: [{ways}]}}}}]
slo: {{latency: 500ms, deadline: 2s}}
"""


HYBRID = """
name: hybrid
models:
  near: {file: near.onnx}
  far:
    remote:
      protocol: v2
      model: m
      upstreams: ["http://127.0.0.1:9"]
      inputs: [{name: x, datatype: FP32, shape: [-1, 64]}]
      outputs: [{name: y, datatype: FP32, shape: [-1, 64]}]
pipeline:
  - {model: near, exit: {output: y, at_least: 0.9}}
  - {model: far, inputs: {x: x}, failures: {retry: {}, fallback: [{model: near}]}}
"""

CHAIN = """
name: chain
models:
  one: {{remote: {{protocol: v2, model: square, upstreams: ["{url}"]}}}}
  two: {{remote: {{protocol: v2, model: square, upstreams: ["{url}"]}}}}
pipeline: [{{model: one, failures: {{retry: {{}}}}}}, {{model: two, inputs: {{x: y}}}}]
slo: {{latency: 500ms, deadline: 2s}}
"""


@pytest.fixture(scope="module")
def upstream(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("upstream")
    (folder / "m.onnx").write_bytes((models / "matmul.onnx").read_bytes())
    build.write(build.matmul(4, 4), folder / "square.onnx")
    server = ServerProcess([str(folder / "m.onnx"), str(folder / "square.onnx")], folder)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def configuration(upstream: ServerProcess, tmp_path_factory: pytest.TempPathFactory) -> Configuration:
    path = tmp_path_factory.mktemp("far") / "service.yaml"
    path.write_text(SERVICE.format(url=f"http://{upstream.address}", ways="{upstream: 'http://127.0.0.1:9'}"))
    found = load_configuration(path)
    assert upstream_names(past_everything(found, 0)) == [upstream.address, "127.0.0.1:9"]
    path.write_text(SERVICE.format(url=f"http://{upstream.address}", ways="{stale: true}"))
    return load_configuration(path)


@pytest.fixture(scope="module")
def profiled(
    configuration: Configuration, tmp_path_factory: pytest.TempPathFactory
) -> tuple[ServiceProfile, Path]:
    path = tmp_path_factory.mktemp("profile") / "far.json"
    return profile_service([configuration], place(), point_s=0.1, path=path), path


@pytest.mark.slow
def test_tries_are_recorded_by_how_many_were_on_their_way(
    configuration: Configuration, profiled: tuple[ServiceProfile, Path], upstream: ServerProcess
) -> None:
    profile, path = profiled
    times = profile.remotes[remote_keys(configuration)[0]]
    (by_level,) = times.tries.values()
    assert list(times.tries) == [upstream.address]
    assert 1 in by_level
    assert max(by_level) > 1
    assert 0 < sum(len(one.good_ns) + len(one.failed) for one in by_level.values()) <= MAX_CALLS * len(USERS)
    assert min(by_level[1].good_ns) > 10_000
    assert profile.host.per_request_ns
    again = profile_service([configuration], place(), point_s=0.1, path=path)
    assert again == read_profile(path) == profile  # nothing is asked twice


@pytest.mark.slow
def test_the_command_forecasts_it_and_refuses_what_was_not_profiled(
    configuration: Configuration, profiled: tuple[ServiceProfile, Path]
) -> None:
    service, profile = str(configuration.source), str(profiled[1])
    Path(service).write_text(Path(service).read_text().replace("{stale: true}", ""))
    options = ["--profile", profile, "--duration", "3s", "--replications", "3", "--json"]
    found = CliRunner().invoke(cli, ["simulate", service, "--rate", "20", *options])
    assert found.exit_code == 0, found.output
    told = json.loads(found.stdout)["figures"]
    assert 0 < told["latency_p50_ms"]["estimate"] < 500
    assert told["slo_attainment"]["estimate"] == 1.0
    refused = CliRunner().invoke(cli, ["simulate", service, "--rate", "1e6", *options])
    assert refused.exit_code == 1
    assert "at once: profiled up to" in refused.output


@pytest.mark.slow
def test_a_stale_answer_is_not_simulated(
    configuration: Configuration, profiled: tuple[ServiceProfile, Path]
) -> None:
    setup = setup_of(configuration, profiled[0], workers=1, num_cores=1)
    (stage,) = setup.stages
    assert (stage.kind, stage.execution, stage.instances, stage.max_batch_size) == (
        "remote",
        "remote",
        128,
        1,
    )
    assert "the fallback to stale" in profiled[0].covers(setup)
    assert setup.deadline_ns == 2000 * MS


def test_a_service_of_which_nothing_runs_here_has_no_local_part(configuration: Configuration) -> None:
    assert local_alone(configuration) is None
    alone = past_everything(configuration, 0).service
    assert [stage.failures for stage in alone.pipeline] == [None]


def test_of_a_hybrid_the_local_part_is_measured_alone(models: Path, tmp_path: Path) -> None:
    (tmp_path / "near.onnx").write_bytes((models / "matmul.onnx").read_bytes())
    (tmp_path / "service.yaml").write_text(HYBRID)
    hybrid = load_configuration(tmp_path / "service.yaml")
    local = local_alone(hybrid)
    assert local is not None
    assert [(stage.target, stage.exit) for stage in local.service.pipeline] == [("near", None)]
    assert list(local.service.models) == ["near"]
    past = past_everything(hybrid, 1).service
    assert [(stage.target, stage.exit, stage.failures) for stage in past.pipeline] == [
        ("near", None, None),
        ("far", None, None),
    ]
    setup = setup_of(hybrid, ServiceProfile(service="hybrid", models={}), workers=1, num_cores=1)
    assert [stage.kind for stage in setup.stages] == ["model", "remote"]
    remote = setup.stages[1].remote
    assert remote is not None
    assert (remote.instead, remote.unknown, remote.last) == ("near", "", ())  # it has answered already
    assert remote.rules.fallback == ()
    assert remote.rules.retry is not None


def told(sent_ns: NDArray[np.int64], took_ms: int, statuses: list[int], upstreams: list[str]) -> RowColumns:
    """Rows whose engine took 5 ms; the first ones, of good status, were answered by these upstreams."""
    num = len(sent_ns)
    return RowColumns.of(
        RowsHeader(writer="test", clock="virtual"),
        num,
        intended_ns=sent_ns,
        sent_ns=sent_ns,
        first_byte_ns=sent_ns + took_ms * MS,
        done_ns=sent_ns + took_ms * MS,
        compute_ns=5 * MS,
        status=np.array(statuses),
        outcome=["ok" if status == 200 else "failed" for status in statuses],
        upstream=upstreams + [""] * (num - len(upstreams)),
        batch_size=1,
    )


def test_the_load_of_an_upstream_is_its_own_tries_over_the_time() -> None:
    """Ten rows of 5 ms one after the other, each of them beside another one: two at once."""
    sent = np.repeat(np.arange(10) * 5 * MS, 2)
    rows = told(sent, 5, statuses=[200] * 18 + [502, 504], upstreams=["a", "b"] * 9)
    times = remote_times([LivePoint(rows, 18, 0, 0)], ["a", "b"], 7)
    assert times.call_ns == 7
    assert {
        name: {level: len(one.good_ns) for level, one in by.items()} for name, by in times.tries.items()
    } == {
        "a": {1: 9},
        "b": {1: 9},
    }
    assert times.tries["a"][1].failed == [(5 * MS, "status")]
    assert times.tries["b"][1].failed == [(5 * MS, "timeout")]
    assert msgspec.json.decode(msgspec.json.encode(times), type=type(times)) == times


@pytest.mark.slow
def test_two_remote_models_of_one_pipeline_are_asked_and_simulated_as_a_server_asks_them(
    upstream: ServerProcess, tmp_path: Path
) -> None:
    path = tmp_path / "service.yaml"
    path.write_text(CHAIN.format(url=f"http://{upstream.address}"))
    chain = load_configuration(path)
    profile = profile_service([chain], place(), point_s=0.1, path=tmp_path / "chain.json")
    keys = remote_keys(chain)
    assert set(profile.remotes) == set(keys.values())
    assert len(set(keys.values())) == 2  # the same name at the same address, and two models of the service
    setup = setup_of(chain, profile, workers=1, num_cores=1)
    assert profile.covers(setup) == ""
    rows = simulate_service(profile, setup, np.arange(20) * 100 * MS, seed=1)
    with ServerProcess([str(path)], tmp_path) as server:
        body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [0.5] * 4}]}
        asked = urllib.request.Request(
            f"http://{server.address}/v2/models/chain/infer", json.dumps(body).encode()
        )
        with urllib.request.urlopen(asked) as answer:
            told = json.load(answer)["parameters"]
    assert set(rows["attempts"]) == {told["attempts"]} == {2}
    assert set(rows.words["upstream"].decode()) == {told["upstream"]} == {upstream.address}
    both = sum(min(profile.remotes[key].tries[upstream.address][1].good_ns) for key in keys.values())
    assert (rows["done_ns"] - rows["sent_ns"]).min() >= both


def test_each_remote_model_is_asked_where_its_requests_end(models: Path, tmp_path: Path) -> None:
    (tmp_path / "near.onnx").write_bytes((models / "matmul.onnx").read_bytes())
    text = HYBRID.replace("pipeline:", "  last: {file: near.onnx}\npipeline:")
    (tmp_path / "service.yaml").write_text(text + "  - {model: last, inputs: {x: y}}\n")
    service = load_configuration(tmp_path / "service.yaml")
    past = past_everything(service, 1).service
    # A row tells of the last stage.
    assert [stage.target for stage in past.pipeline] == ["near", "far"]
    assert list(past.models) == ["near", "far"]
    (tmp_path / "plain.yaml").write_text(HYBRID.replace(", exit: {output: y, at_least: 0.9}", ""))
    local = local_alone(load_configuration(tmp_path / "plain.yaml"))
    assert local is not None
    assert [stage.target for stage in local.service.pipeline] == ["near"]


def test_failures_of_a_model_before_are_not_the_later_ones() -> None:
    """Of 100 requests 30 fail; the model before fails 20 of 100 by itself."""
    sent = np.arange(100) * 10 * MS
    rows = told(sent, 9, statuses=[200] * 70 + [502] * 30, upstreams=["a"] * 70)
    point = LivePoint(rows, 70, 0, 0)
    times = remote_times([point], ["a"], 0, 0.2)
    assert times.tries["a"][1].failed == [(5 * MS, "status")] * 10  # 4 ms of the 9 were before
    assert failing_share(times) == 10 / 80
    assert failing_share(remote_times([point], ["a"], 0, 0.9)) == 0
