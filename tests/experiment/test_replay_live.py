"""Runs measured, exported and measured again with real servers, short. Times on a busy machine are not theirs to judge."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from click.testing import CliRunner

from trivet.catalog.catalog import Catalog
from trivet.catalog.records import Run, RunDraft, RunFilter
from trivet.cli.chosen import chosen_run
from trivet.cli.main import cli
from trivet.experiment.replay import bundle
from trivet.experiment.replay.again import measure_again, subject_of_run, workload_of
from trivet.experiment.replay.environments import BUILT, place_of
from trivet.experiment.replay.evidence import Evidence, evidence
from trivet.experiment.replay.replay import replay
from trivet.experiment.run import Settings, run
from trivet.experiment.target import subject_of
from trivet.experiment.workload import Workload

S = 1_000_000_000
WORKLOAD = Workload(rate_rps=500, duration_ns=S // 2, max_send_lag_ns=S, seed=3)
NUM_ALONE = 5
GATE_DOCS = (Path(__file__).parents[2] / "docs" / "gate.md").read_text()
SAME = dict.fromkeys(("configuration", "data", "environment", "answers", "decisions", "accuracy"), "same")


@dataclass(frozen=True)
class World:
    """A service that was measured once, and the catalog that knows it. Nobody changes either."""

    service: Path
    folder: Path  # of the catalog
    run: Run

    @property
    def catalog(self) -> Catalog:
        return Catalog.open(str(self.folder))

    def copy(self, folder: Path) -> "World":
        """The service for oneself, to change or to lose; with a record that says it was measured there."""
        service = Path(shutil.copytree(self.service.parent, folder / "service")) / "service.yaml"
        moved = self.run.configuration | {"source": str(service)}
        return World(service, self.folder, msgspec.structs.replace(self.run, configuration=moved))


@pytest.fixture(scope="module")
def world(service: Path, tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("world")
    here = Path(shutil.copytree(service.parent, folder / "here")) / "service.yaml"
    catalog = Catalog.open(str(folder / "catalog"))
    settings = Settings(measure_floor=False, num_alone=NUM_ALONE)
    (finished,) = run([subject_of(str(here))], WORKLOAD, catalog=catalog, settings=settings)
    assert (finished.state, finished.reason) == ("complete", "")
    return World(here, folder / "catalog", catalog.run(finished.run_id))


def statuses(checks: list[dict[str, str]]) -> dict[str, str]:
    return {check["name"]: check["status"] for check in checks if check["kind"] != "timing"}


def test_a_bundle_is_served_from_what_is_in_it_and_answers_as_it_did(world: World, tmp_path: Path) -> None:
    """Through the commands, in another catalog; what is timed on a busy machine may come out as anything."""
    path, elsewhere = tmp_path / "b.zip", ["--catalog", str(tmp_path / "other")]
    arguments = ["export", world.run.id, "-o", str(path), "--json", "--catalog", str(world.folder)]
    done = CliRunner().invoke(cli, arguments)
    assert (done.exit_code, json.loads(done.output)["digest"]) == (0, bundle.read(path).digest)
    done = CliRunner().invoke(cli, ["replay", str(path), "--json", *elsewhere])
    found = json.loads(done.stdout)
    assert done.exit_code == {"reproduced": 0, "differs": 1, "cannot tell": 2}[found["verdict"]]
    assert statuses(found["checks"]) == SAME
    timed = {check["name"] for check in found["checks"] if check["kind"] == "timing"}
    assert timed == {"engine time", "latency_p50_ms", "latency_p99_ms", "throughput_rps"}
    catalog = Catalog.open(str(tmp_path / "other"))
    kept = catalog.run(found["runs"][0])
    assert (kept.kind, kept.tags, kept.workload) == (
        "replay",
        {"replay_of": world.run.id},
        world.run.workload,
    )
    (entry,) = catalog.audit.entries(1)
    details = json.loads(entry.details)
    assert (entry.action, entry.subject, details["verdict"]) == ("replay", world.run.id, found["verdict"])


def test_a_run_beside_the_yardstick_is_replayed_beside_it(world: World, tmp_path: Path) -> None:
    """Through the commands; it is served from what was kept, as its folder was a temporary one."""
    kept = ["--catalog", str(tmp_path / "catalog"), "--json"]
    arguments = ["bench", str(world.service), "--rate", "200", "--duration", "1s", "--max-send-lag", "5s"]
    inputs = tmp_path / "inputs.npz"
    np.savez(inputs, x=np.zeros((5, 30), np.float32))
    arguments += ["--yardstick", "--blocks", "4", "--starts", "1", "--input", str(inputs)]
    done = CliRunner().invoke(cli, [*arguments, *kept])
    assert done.exit_code == 0, done.output
    recorded = json.loads(done.stdout)
    assert recorded["service"] == "tiny"
    assert Catalog.open(str(tmp_path / "catalog")).runs()[0].id == recorded["run"]  # what `last` is
    done = CliRunner().invoke(cli, ["replay", recorded["run"], *kept])
    found = json.loads(done.stdout)
    assert done.exit_code == {"reproduced": 0, "differs": 1, "cannot tell": 2}[found["verdict"]]
    stick = next(
        check["name"].removesuffix(": times")
        for check in found["checks"]
        if check["name"].endswith(": times")
    )
    assert re.fullmatch(r"trivet-yardstick \w+", stick)
    checks = {check["name"]: (check["status"], check["detail"]) for check in found["checks"]}
    assert checks[f"{stick}: times"] == ("not compared", "it is what the others' times are told by")
    assert checks[f"{stick}: configuration"][0] == checks[f"{stick}: answers"][0] == "same"
    assert "by the yardstick, 4 and " in checks[f"tiny {recorded['run']}: latency_p50_ms"][1]


def test_a_changed_weight_is_named_and_seen_in_the_answers(world: World, tmp_path: Path) -> None:
    here = world.copy(tmp_path)
    model = onnx.load(here.service.parent / "tiny.onnx")
    weights = next(one for one in model.graph.node[0].attribute if one.name == "class_weights")
    for leaf in range(8):  # of the first tree: every row ends in one of them
        weights.floats[leaf] += 0.5
    onnx.save(model, here.service.parent / "tiny.onnx")
    subject = subject_of_run(here.run, here.catalog, tmp_path / "restored", here=True)
    workload = workload_of(here.run, here.catalog, tmp_path)
    then = evidence(here.run, here.catalog)

    def again(index: int) -> list[Evidence]:
        runs = measure_again(
            [subject], [here.run], workload, here.catalog, num_alone=NUM_ALONE, max_labelled=100
        )
        return [evidence(one, here.catalog) for one in runs]

    result = replay([then], again)
    assert (result.verdict, len(result.runs)) == ("differs", 1)
    assert result.differs[0].what == "file tiny.onnx"
    assert "answers" in {change.what for change in result.differs}


def test_what_was_kept_is_served_where_the_service_file_has_changed(world: World, tmp_path: Path) -> None:
    here = world.copy(tmp_path)
    here.service.write_text(
        here.service.read_text().replace("{file: tiny.onnx}", "{file: tiny.onnx, batching: off}")
    )
    subjects = [
        subject_of_run(here.run, here.catalog, tmp_path / "restored", here=as_it_is)
        for as_it_is in (True, False)
    ]
    hashes = [one.configuration.hash for one in subjects if one.configuration is not None]
    assert hashes[0] != here.run.configuration_hash == hashes[1]


def test_an_anonymous_bundle_asks_for_its_data(world: World, tmp_path: Path) -> None:
    path, options = tmp_path / "b.zip", ["--catalog", str(world.folder)]
    done = CliRunner().invoke(cli, ["export", world.run.id, "-o", str(path), "--anonymise", *options])
    assert (done.exit_code, "taken out: data, inputs and labels" in done.output) == (0, True)
    assert str(world.folder.parent).encode() not in path.read_bytes()
    done = CliRunner().invoke(cli, ["replay", str(path), *options])
    assert (done.exit_code, "give it with --data" in done.output) == (2, True)
    done = CliRunner().invoke(cli, ["replay", str(path), "--data", str(world.service), *options])
    assert (done.exit_code, "is not the data of the run" in done.output) == (2, True)
    found, data = bundle.read(path), world.service.parent / "rows.csv"
    subject = subject_of_run(found.runs[0], found, tmp_path / "restored", here=False, data=data)
    assert subject.configuration is not None
    assert subject.configuration.hash == world.run.configuration_hash


@pytest.mark.parametrize(
    ("arguments", "exit_code", "said"),
    [
        (["replay", "zzz"], 2, "zzz"),
        (["export", "zzz", "-o", "b.zip"], 1, "zzz"),
        (["export", "last", "-o", "none/b.zip"], 1, "none/b.zip cannot be written"),
        (["export", "last", "-o", "b.zip", "--keep-data"], 1, "--keep-data goes with --anonymise"),
        (["replay", "broken.zip"], 2, "not a bundle"),
        (
            ["gate", "service.yaml", "--baseline", "last:none"],
            2,
            "no complete run of trivet bench of service none",
        ),
        (["gate", "none.yaml", "--baseline", "last"], 2, "none.yaml"),
        (["gate", "service.yaml", "--baseline", "broken.zip"], 2, "not a bundle"),
        (["gate", "service.yaml", "--baseline", "last", "--budget", "5"], 2, "--budget: expected a duration"),
        (["gate", "service.yaml", "--baseline", "last", "--margin", "p50=3"], 2, "no figure 'p50'"),
        (["gate", "service.yaml", "--baseline", "last", "--margin", "latency_p50_ms=x"], 2, "FIGURE=PERCENT"),
    ],
)
def test_what_cannot_be_begun_is_named(
    arguments: list[str],
    exit_code: int,
    said: str,
    world: World,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(world.copy(tmp_path).service.parent)
    Path("broken.zip").write_bytes(b"PK")
    done = CliRunner().invoke(cli, [*arguments, "--catalog", str(world.folder)])
    assert (done.exit_code, said in done.output) == (exit_code, True), done.output


def test_last_is_what_was_measured_on_purpose(world: World) -> None:
    fields = {name: getattr(world.run, name) for name in RunDraft.__struct_fields__}
    for kind in ("replay", "gate"):
        other = world.catalog.begin(RunDraft(**{**fields, "kind": kind}))
        world.catalog.finish(other, "complete", figures={})
    assert chosen_run(world.catalog, "last").id == world.run.id
    assert chosen_run(world.catalog, f"last:{world.run.service}").id == world.run.id
    assert chosen_run(world.catalog, other).id == other


def test_the_recorded_environment_runs_the_same_command(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIVET_CACHE", str(tmp_path / "cache"))
    place = place_of(world.run.environment, tmp_path / "cache" / "environments")
    (place / "bin").mkdir(parents=True)
    (place / BUILT).touch()
    python = place / "bin" / "python"  # says what it was asked, instead of measuring
    python.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\nexit 1\n')
    python.chmod(0o755)
    options = ["--recorded", "--json", "--catalog", str(world.folder)]
    done = CliRunner().invoke(cli, ["replay", world.run.id, "--env", *options])
    assert done.exit_code == 1
    asked = (tmp_path / "asked").read_text().split()
    assert asked == ["-m", "trivet.cli.main", "replay", world.run.id, *options]


def test_a_run_that_failed_is_no_baseline_and_cannot_be_replayed(world: World) -> None:
    fields = {name: getattr(world.run, name) for name in RunDraft.__struct_fields__}
    failed = world.catalog.begin(RunDraft(**fields))
    world.catalog.finish(failed, "failed", figures={}, reason="the server died")
    for arguments in (["replay", failed], ["gate", str(world.service), "--baseline", failed]):
        done = CliRunner().invoke(cli, [*arguments, "--catalog", str(world.folder)])
        assert (done.exit_code, f"run {failed} is failed (the server died)" in done.output) == (2, True)


def test_the_fixture_of_the_page_gates_a_service(world: World, tmp_path: Path) -> None:
    """One second decides nothing: the fixture fails the test with the findings, and all is recorded and archived."""
    bundle.export(world.catalog, [world.run], tmp_path / "baseline.zip")
    candidate = world.copy(tmp_path).service
    changed = candidate.read_text().replace("{file: tiny.onnx}", "{file: tiny.onnx, levers: {queue: 1s}}")
    candidate.write_text(changed)
    fixture, _ = re.findall(r"```python\n(.*?)```", GATE_DOCS, re.DOTALL)
    (tmp_path / "conftest.py").write_text(fixture)
    (tmp_path / "test_gate.py").write_text(
        "def test_it(gate):\n"
        "    gate('service/service.yaml', 'baseline.zip', '--budget', '1s', '--catalog', 'catalog',\n"
        "         '--junit', 'gate.xml', '--bundle', 'gate.zip')\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_gate.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "trivet gate: tiny: not enough data" in done.stdout
    assert b"<testsuites" in (tmp_path / "gate.xml").read_bytes()
    archived = bundle.read(tmp_path / "gate.zip")
    kept = {summary.id for summary in Catalog.open(str(tmp_path / "catalog")).runs(RunFilter(kind="gate"))}
    assert {run.id for run in archived.runs} == kept
    assert len(kept) >= 2
    assert {run.workload["rate_rps"] for run in archived.runs} == {500}
