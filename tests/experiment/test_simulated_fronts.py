"""Caches of a real service: measured, simulated, and beside a live server on the same requests."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks import models as build
from trivet.cli.main import cli
from trivet.errors import UserError
from trivet.experiment.placement import place
from trivet.experiment.precomputing.precompute import precompute
from trivet.experiment.simulating.checking import live_figures
from trivet.experiment.simulating.fronts import (
    fronts_setup,
    has_fronts,
    why_not_semantic,
    with_fronts,
    without_fronts,
)
from trivet.experiment.simulating.live_points import asked, served
from trivet.experiment.simulating.profiling import profile_service
from trivet.experiment.simulating.simulated import setup_of
from trivet.load.job import ClosedLoop, Job
from trivet.load.offer import offer
from trivet.simulate.asked import Asked
from trivet.simulate.profile import ServiceProfile, read_profile
from trivet.simulate.server import simulate_service
from trivet.simulate.setup import ExactSetup, FrontsSetup, SemanticSetup
from trivet.spec.cache import Cache, ExactCache
from trivet.spec.configuration import Configuration
from trivet.spec.row import RowColumns
from trivet.spec.service_file import load_configuration

NUM_INPUTS = 40
STEPS = """
import numpy as np

def score(inputs):
    scores = np.zeros((1, 5), np.float32)
    scores[0, "abcde".index(inputs["text"][0].decode()[-1])] = 1
    return {"x": scores}
"""
SERVICE = """
name: letters
inputs: [{name: text, datatype: BYTES, shape: [1]}]
models: {m: {file: identity.onnx, levers: {execution: inline, threads: 1}}}
pipeline: [{preprocess: steps.py:score, outputs: [{name: x, datatype: FP32, shape: [-1, 5]}]}, {model: m}]
decode: argmax
data: {path: rows.csv, columns: {text: text}}
slo: {latency: 50ms}
cache: {exact: {size: 1MiB, ttl: 10min}, stages: [steps.py:score]}
semantic_cache: {input: text, max_wrong: 5%}
precomputed: {table: answers.parquet}
"""
NUM_TABLED = 10  # the first of the inputs, so that the last, which is one of them, is there as well


@pytest.fixture(scope="module")
def letters(tmp_path_factory: pytest.TempPathFactory) -> Configuration:
    folder = tmp_path_factory.mktemp("letters")
    build.write(build.identity(), folder / "identity.onnx")
    (folder / "steps.py").write_text(STEPS)
    texts = [f"text number {row % (NUM_INPUTS - 1)} {'abcde'[row % 3]}" for row in range(NUM_INPUTS - 1)]
    texts.append(texts[4])
    (folder / "rows.csv").write_text("\n".join(["text", *texts]) + "\n")
    (folder / "service.yaml").write_text(SERVICE)
    configuration = load_configuration(folder / "service.yaml")
    (folder / "some.csv").write_text("\n".join(["text", *texts[:NUM_TABLED]]) + "\n")
    precompute(configuration, folder / "some.csv", folder / "answers.parquet")
    return configuration


@pytest.fixture(scope="module")
def profiled(
    letters: Configuration, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, ServiceProfile]]:
    folder = tmp_path_factory.mktemp("profile")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRIVET_CACHE", str(folder / "cache"))
        path = folder / "profile.json"
        yield path, profile_service([letters], place(), point_s=0.05, path=path)


def test_a_profile_knows_which_inputs_are_equal_and_what_they_mean(
    letters: Configuration, profiled: tuple[Path, ServiceProfile]
) -> None:
    path, profile = profiled
    table = profile.fronts
    assert table is not None
    assert table.keys == (*range(NUM_INPUTS - 1), 4)
    assert min(*table.hit_ns, *table.miss_ns, *table.semantic_ns) > 0
    assert table.semantic is not None
    assert table.semantic.texts[1] == "text number 1 b"
    assert table.semantic.meanings == (*(row % 3 for row in range(NUM_INPUTS - 1)), 1)
    np.testing.assert_allclose(np.diag(table.semantic.similarities()), 1, atol=2e-3)
    assert read_profile(path) == profile
    setup = setup_of(letters, profile, workers=1, num_cores=profile.cores)
    assert profile.covers(setup) == ""
    again = profile_service(
        [letters], place(), path=path, on_progress=lambda *_: pytest.fail("measured again")
    )
    assert again == profile


def test_a_setup_has_what_is_declared(letters: Configuration, profiled: tuple[Path, ServiceProfile]) -> None:
    minutes_ns = 600_000_000_000
    assert fronts_setup(letters, profiled[1]) == FrontsSetup(
        exact=ExactSetup(minutes_ns, single_flight=True),
        semantic=SemanticSetup(0.05, 0.03),
        stages=(0,),
        stage_ttl_ns=minutes_ns,
        size_bytes=2**20,
        tabled=(*(place < NUM_TABLED for place in range(NUM_INPUTS - 1)), True),
    )
    other = with_fronts(letters, precomputed=letters.service.precomputed)
    assert other.hash != letters.hash
    found = fronts_setup(other, profiled[1])
    assert found is not None
    assert found.tabled == ()  # a table is of one configuration
    bare = without_fronts(letters)
    assert not has_fronts(bare.service)
    assert fronts_setup(bare, profiled[1]) is None


@pytest.mark.parametrize("num_kept", [5, 1_000])
def test_a_live_server_hits_where_the_simulation_does(
    num_kept: int, letters: Configuration, profiled: tuple[Path, ServiceProfile]
) -> None:
    """One user, so that requests are in one order; entries of either kind of bound, the least recently used go first."""
    _, profile = profiled
    assert profile.fronts is not None
    size = num_kept * profile.fronts.entry_bytes
    configuration = with_fronts(letters, cache=Cache(exact=ExactCache(size_bytes=size)))
    with served(configuration, place(), asked()) as made:
        job = Job(
            target=made.target,
            requests=list(made.requests),
            load=ClosedLoop(num_users=1, duration_ns=1, min_requests=300, max_requests=300),
            seed=3,
            zipf=1.0,
        )
        rows = RowColumns.decode(offer(job).rows)
    setup = setup_of(configuration, profile, workers=1, num_cores=profile.cores)
    setup = replace(
        setup, deadline_ns=1 << 50
    )  # the machine's hiccups fail nobody, as they failed nobody live
    apart = np.arange(300) * 1_000_000_000
    found = simulate_service(profile, setup, apart, seed=0, asked=Asked(rows["item"]))
    live = rows.words["cache"].decode().tolist()
    assert found.words["cache"].decode().tolist() == live
    assert {"exact", "miss"} == set(live)
    assert live_figures(rows, None)["hit_share"] == live.count("exact") / 300
    assert (live.count("miss") == len(set(np.array(profile.fronts.keys)[rows["item"]]))) == (
        num_kept == 1_000
    )


def test_the_command_says_how_often_inputs_repeat(
    letters: Configuration, profiled: tuple[Path, ServiceProfile], tmp_path: Path
) -> None:
    command = ["simulate", letters.source, "--rate", "200", "--duration", "2s", "--replications", "2"]
    command += ["--profile", str(profiled[0]), "--catalog", str(tmp_path)]
    even = CliRunner().invoke(cli, command)
    assert even.exit_code == 0, even.output
    assert "40 inputs (39 different) asked for by even, from empty caches on; say how often" in even.stdout
    shares = []
    for popularity in ("zipf:0.5", "zipf:2"):
        found = CliRunner().invoke(cli, [*command, "--popularity", popularity, "--json"])
        assert found.exit_code == 0, found.output
        shares.append(json.loads(found.stdout)["figures"]["hit_share"]["estimate"])
    assert 0 < shares[0] < shares[1] < 1
    wrong = CliRunner().invoke(cli, [*command, "--popularity", "often"])
    assert isinstance(wrong.exception, UserError) or "expected even, or zipf:S" in wrong.output


def test_what_cannot_be_simulated_is_said(letters: Configuration) -> None:
    declared = letters.service.semantic_cache
    assert declared is not None
    assert why_not_semantic(letters) == ""
    other = msgspec.structs.replace(declared, encoder="steps.py:score")
    assert "beside the event loop" in why_not_semantic(with_fronts(letters, semantic_cache=other))
    service = msgspec.structs.replace(letters.service, data=None)
    assert "no data" in why_not_semantic(msgspec.structs.replace(letters, service=service))
