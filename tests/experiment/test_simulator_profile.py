"""From a service file to a profile, a setup and a forecast beside a live run: the real parts, for as short as it goes."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from trivet.cli.main import cli
from trivet.experiment.placement import place
from trivet.experiment.simulating.checking import Check
from trivet.experiment.simulating.hiccup_probe import Seen, watch
from trivet.experiment.simulating.live_points import NUM_USERS, absolute
from trivet.experiment.simulating.profiling import _many, distinct, profile_service
from trivet.experiment.simulating.simulated import one_alone, setup_of, stage_key
from trivet.experiment.simulating.simulator_errors import (
    UNCHECKED,
    Errors,
    errors_path,
    keep_checks,
    read_errors,
)
from trivet.simulate.profile import HostCosts, ModelTimes, ServiceProfile, write_profile
from trivet.spec.configuration import Configuration
from trivet.spec.service_file import load_configuration

MS = 1_000_000


@pytest.fixture
def no_kept_profile(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What the server has measured here before would decide, else."""
    monkeypatch.setenv("TRIVET_CACHE", str(tmp_path / "cache"))


def written(folder: Path, text: str, model: Path) -> Configuration:
    (folder / "tiny.onnx").write_bytes(model.read_bytes())
    path = folder / "service.yaml"
    path.write_text(f"name: tiny\nmodels: {{tiny: {{file: tiny.onnx, {text}}}}}\nslo: {{latency: 50ms}}\n")
    return load_configuration(path)


def profile_with(configuration: Configuration, one_ns: int, same: bool = True) -> ServiceProfile:
    samples = {0: {rows: [rows * one_ns] * 4 for rows in (1, 2, 4, 8, 16, 32, 64)}}
    return ServiceProfile(
        service="tiny", models={stage_key(configuration, 0): ModelTimes(samples=samples, same=same)}
    )


@pytest.mark.usefixtures("no_kept_profile")
@pytest.mark.parametrize(
    ("text", "one_ns", "cores", "expected"),
    [
        ("levers: {}", MS // 10, 1, ("inline", 1, 1, 8)),  # the largest batch within a millisecond
        ("levers: {}", 5 * MS, 1, ("thread", 1, 1, 64)),
        ("levers: {}", 5 * MS, 4, ("thread", 3, 1, 64)),
        ("levers: {threads: 2, max_batch_size: 4}", 5 * MS, 5, ("thread", 2, 2, 4)),
    ],
)
def test_auto_becomes_what_the_server_would_make_of_it(
    text: str, one_ns: int, cores: int, expected: Sequence[object], models: Path, tmp_path: Path
) -> None:
    configuration = written(tmp_path, text, models / "matmul.onnx")
    setup = setup_of(configuration, profile_with(configuration, one_ns), workers=1, num_cores=cores)
    (stage,) = setup.stages
    assert (stage.execution, stage.instances, stage.threads, stage.max_batch_size) == tuple(expected)
    assert setup.deadline_ns == 100 * MS
    assert setup.slo_latency_ns == 50 * MS


@pytest.mark.usefixtures("no_kept_profile")
def test_answers_that_differ_in_a_batch_keep_requests_apart(models: Path, tmp_path: Path) -> None:
    configuration = written(tmp_path, "levers: {}", models / "matmul.onnx")
    setup = setup_of(configuration, profile_with(configuration, MS, same=False), workers=1, num_cores=1)
    assert setup.stages[0].max_batch_size == 1


def test_levers_that_change_no_speed_share_a_profile(models: Path, tmp_path: Path) -> None:
    one = written(tmp_path, "levers: {max_batch_size: 4}", models / "matmul.onnx")
    two = written(tmp_path, "levers: {max_batch_size: 8, instances: 2}", models / "matmul.onnx")
    other = written(tmp_path, "levers: {threads: 2}", models / "matmul.onnx")
    assert stage_key(one, 0) == stage_key(two, 0) != stage_key(other, 0)


def test_the_largest_batches_stand_for_all_configurations_of_one_engine(models: Path, tmp_path: Path) -> None:
    made = [
        written(tmp_path, f"levers: {{{levers}}}", models / "matmul.onnx")
        for levers in (
            "max_batch_size: 4",
            "max_batch_size: 16",
            "threads: 2, max_batch_size: 2",
            "max_batch_size: 8",
        )
    ]
    assert [one.hash for one in distinct(made)] == [made[1].hash, made[2].hash]


def test_a_configuration_with_absolute_names_is_the_same_configuration(service: Path, tmp_path: Path) -> None:
    from trivet.spec.yaml_text import service_yaml

    before = load_configuration(service)
    path = tmp_path / "elsewhere.yaml"
    path.write_text(service_yaml(absolute(before).service))
    assert load_configuration(path).hash == before.hash


def test_the_probe_sees_what_lasts_longer_than_its_limit() -> None:
    instants = iter([0, 10, 60_020, 60_030, 200_000, 200_001])
    assert watch(200_000, lambda: next(instants)).hiccups == [(10, 60_010), (60_030, 139_970)]


def test_what_was_seen_at_several_times_is_one_record() -> None:
    first = Seen(hiccups=[(10, 5)], observed_ns=100)
    both = first.and_then(Seen(hiccups=[(0, 7), (30, 1)], observed_ns=50))
    assert both == Seen(hiccups=[(10, 5), (100, 7), (130, 1)], observed_ns=150)


def a_check(live: float, predicted: float, service: str = "tiny") -> Check:
    return Check(
        service=service,
        setup={},
        num_requests=1_000,
        rate_rps=10,
        live={"latency_p99_ms": live},
        predicted={"latency_p99_ms": (predicted, 0.9 * predicted, 1.1 * predicted)},
    )


def test_errors_are_kept_by_machine_and_told(tmp_path: Path) -> None:
    path = errors_path(str(tmp_path), "here")
    assert read_errors(path).words() == UNCHECKED
    keep_checks(path, [a_check(10, 11)])
    kept = keep_checks(path, [a_check(10, 13), msgspec.structs.replace(a_check(10, 99), invalid="late")])
    assert "off by 20.0% in the median and 30.0% at most in 2 checks; 1 lay in the interval" in kept.words(
        "tiny"
    )
    assert "of other services" in kept.words("another")
    assert kept.checks[0].date
    assert Errors(machine="here", checks=[a_check(10, 10)]).relative() == 0.0


@pytest.fixture(scope="module")
def profiled(
    service: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, ServiceProfile, list[str]]:
    path = tmp_path_factory.mktemp("profile") / "profile.json"
    told: list[str] = []
    found = profile_service(
        [load_configuration(service)],
        place(),
        point_s=0.08,
        path=path,
        on_progress=lambda what, done, of: told.append(f"{done}/{of} {what}"),
    )
    return path, found, told


def test_a_profile_covers_the_service_that_it_was_made_of(
    profiled: tuple[Path, ServiceProfile, list[str]], service: Path
) -> None:
    path, profile, told = profiled
    configuration = load_configuration(service)
    setup = setup_of(configuration, profile, workers=1, num_cores=profile.cores)
    assert profile.covers(setup) == ""
    times = profile.models[stage_key(configuration, 0)].samples[0]
    assert {1, 2, 4, 8} <= set(times)
    assert profile.host.per_request_ns[0] > 0
    assert profile.host.observed_ns > 0
    assert len(told) == 4
    assert told[-1].startswith("4/4")
    again = profile_service(
        [configuration], place(), path=path, on_progress=lambda *_: pytest.fail("measured again")
    )
    assert again == profile


def test_costs_that_an_earlier_version_measured_are_measured_anew(
    profiled: tuple[Path, ServiceProfile, list[str]], service: Path, tmp_path: Path
) -> None:
    class MeasuredError(Exception):
        pass

    def told(*_: object) -> None:
        raise MeasuredError

    path = tmp_path / "profile.json"
    write_profile(msgspec.structs.replace(profiled[1], version=0), path)
    with pytest.raises(MeasuredError):
        profile_service([load_configuration(service)], place(), point_s=0.08, path=path, on_progress=told)


def test_the_command_forecasts_and_checks(
    profiled: tuple[Path, ServiceProfile, list[str]], service: Path, tmp_path: Path
) -> None:
    path, _, _ = profiled
    os.environ["TRIVET_CATALOG"] = str(tmp_path)
    try:
        command = ["simulate", str(service), "--rate", "400", "--duration", "1s", "--replications", "3"]
        command += ["--profile", str(path), "--plot", str(tmp_path / "latency.svg")]
        plain = CliRunner().invoke(cli, command)
        assert plain.exit_code == 0, plain.output
        assert UNCHECKED in plain.stdout
        assert (tmp_path / "latency.svg").read_text().startswith("<?xml")
        checked = CliRunner().invoke(cli, [*command, "--check", "--json"])
        assert checked.exit_code == 0, checked.output
        value = json.loads(checked.stdout)
        assert value["check"]["live"]["latency_p99_ms"] > 0
        assert value["figures"]["latency_p99_ms"]["unit"] == "ms"
        assert len(read_errors(errors_path()).checks) == 1
    finally:
        del os.environ["TRIVET_CATALOG"]


def test_a_trace_is_simulated_whole(
    profiled: tuple[Path, ServiceProfile, list[str]], service: Path, tmp_path: Path
) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_text("time_s\n" + "\n".join(f"{2.5 * i:.1f}" for i in range(40)) + "\n")
    command = ["simulate", str(service), "--trace", f"{trace}:users:2", "--json", "--replications", "2"]
    command += ["--profile", str(profiled[0]), "--catalog", str(tmp_path / "catalog")]
    found = CliRunner().invoke(cli, command)
    assert found.exit_code == 0, found.output
    value = json.loads(found.stdout)
    assert value["workload"]["duration_ns"] > 95e9
    assert value["figures"]["throughput_rps"]["estimate"] == pytest.approx(80 / 97.5, rel=0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "what is offered? give --rate 200, or --trace FILE"),
        (["--rate", "10", "--workers", "64", "--cores", "1"], "64 workers on 1 core"),
        (["--rate", "10", "--duration", "5"], "5"),
    ],
)
def test_what_cannot_be_simulated_is_said(
    options: list[str], message: str, profiled: tuple[Path, ServiceProfile, list[str]], service: Path
) -> None:
    result = CliRunner().invoke(cli, ["simulate", str(service), "--profile", str(profiled[0]), *options])
    assert result.exit_code == 1
    assert message in result.output


TWO = """
name: two
models:
  first: {file: first.onnx, levers: {execution: inline, max_batch_size: 4}}
  second: {file: second.onnx, levers: {execution: thread, max_batch_size: 4}}
pipeline: [{model: first}, {model: second, inputs: {x: y}}]
slo: {deadline: 1s}
"""


def test_the_hosts_costs_are_those_of_requests_with_one_engine(models: Path, tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / f"{name}.onnx").write_bytes((models / "matmul.onnx").read_bytes())
    path = tmp_path / "service.yaml"
    path.write_text(TWO)
    both = load_configuration(path)
    times = ModelTimes(samples={0: {1: [MS] * 4, 4: [2 * MS] * 4}})
    known = ServiceProfile(service="two", models={stage_key(both, index): times for index in (0, 1)})
    alone = one_alone(both, setup_of(both, known, workers=1, num_cores=1))
    assert [stage.target for stage in alone.service.pipeline] == ["first"]
    assert alone.service.models["first"].levers.execution == "thread"  # what handing over costs is seen there
    assert stage_key(alone, 0) == stage_key(both, 0)
    assert one_alone(alone, setup_of(alone, known, workers=1, num_cores=1)) is alone
    path.write_text(TWO.replace("execution: thread", "execution: inline"))
    inline = load_configuration(path)
    alone = one_alone(inline, setup_of(inline, known, workers=1, num_cores=1))
    assert alone.service.models["first"].levers.execution == "inline"


def test_a_pipeline_of_two_models_is_profiled_whole(models: Path, tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / f"{name}.onnx").write_bytes((models / "matmul.onnx").read_bytes())
    (tmp_path / "service.yaml").write_text(TWO)
    both = load_configuration(tmp_path / "service.yaml")
    profile = profile_service([both], place(), point_s=0.08)
    setup = setup_of(both, profile, workers=1, num_cores=profile.cores)
    assert profile.covers(setup) == ""
    assert profile.host.hand_over_ns


def test_larger_batches_than_a_lever_let_be_measured_are_not_forecast(models: Path, tmp_path: Path) -> None:
    configuration = written(
        tmp_path, "levers: {max_batch_size: 8, execution: thread}", models / "matmul.onnx"
    )
    key = stage_key(configuration, 0)
    measured = ServiceProfile(
        service="tiny", models={key: ModelTimes(samples={0: {1: [MS] * 4}})}, host=HostCosts(hand_over_ns=[0])
    )
    setup = setup_of(configuration, measured, workers=1, num_cores=1)
    assert setup.stages[0].max_batch_size == 8
    assert "profiled up to 1 rows" in measured.covers(setup)


def test_many_users_are_answered_within_a_point_whatever_a_model_takes() -> None:
    assert _many(1_500 * MS, MS) == (NUM_USERS, 1_500 * MS)
    assert _many(1_200 * MS, 50 * MS) == (8, 1_200 * MS)
    assert _many(1_200 * MS, 500 * MS) == (4, 6_000 * MS)
    assert _many(1, 0) == (4, 1)
