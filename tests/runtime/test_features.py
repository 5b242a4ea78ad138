"""Features that join a request: what stands in the table arrives at the model, and what does not is done as declared."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.runtime import Served, prepared, serve
from trivet.errors import BadRequestError, RequestError, SpecError, UnavailableError
from trivet.runtime.counts import Counts
from trivet.runtime.features.file import FeatureFile
from trivet.runtime.features.joining import FeatureJoin
from trivet.spec.features import Features
from trivet.spec.service_file import load_configuration

DAY_S = 86_400.0
WRITTEN_S = 1_700_000_000.0
# The second step gives back what arrived behind the model: y is the profile, and `name` is carried past it.
STEPS = """
def all_of_it(tensors):
    return {"profile": tensors["y"], "name": tensors["name"], "doubled": tensors["x"]}
"""
SERVICE = """
inputs: [{name: user, datatype: INT64, shape: [-1]}, {name: x, datatype: FP32, shape: [-1]}]
outputs:
  - {name: profile, datatype: FP32, shape: [-1, 2]}
  - {name: name, datatype: BYTES, shape: [-1]}
  - {name: doubled, datatype: FP32, shape: [-1]}
models: {identity: {file: identity.onnx, levers: {execution: inline}}}
pipeline:
  - features:
      table: users.parquet
      key: user
      columns: {profile: [age, score], name: name}
      %s
  - {model: identity, inputs: {x: profile}}
  - {postprocess: "steps.py:all_of_it", inputs: {y: y, name: name, x: x}}
"""


def users(path: Path, **changes: Any) -> Path:
    columns: dict[str, Any] = {
        "user": [7, 8, 9],
        "age": [30, 40, None],
        "score": [0.5, 0.25, 1.0],
        "name": ["ann", "bob", "cyd"],
    }
    pq.write_table(pa.table(columns | changes), path)
    return path


@pytest.fixture
def folder(models: Path, tmp_path: Path) -> Path:
    (tmp_path / "identity.onnx").write_bytes((models / "fp32.onnx").read_bytes())
    users(tmp_path / "users.parquet")
    return tmp_path


def ask(folder: Path, more: str, entities: list[int]) -> dict[str, Any] | RequestError:
    found: list[Any] = []

    async def work(served: Served) -> None:
        inputs = {"user": np.array(entities), "x": np.arange(len(entities), dtype=np.float32)}
        try:
            outputs = await served.ask(inputs)
        except RequestError as error:
            found.append(error)
        else:
            found.append({name: array.tolist() for name, array in outputs.items()})

    serve(prepared(folder, SERVICE % more, STEPS), work)
    answer: dict[str, Any] | RequestError = found[0]
    return answer


def test_features_join_a_request_and_are_carried_to_later_stages(folder: Path) -> None:
    assert ask(folder, "on_missing: refuse", [8, 7, 8]) == {
        "profile": [[40, 0.25], [30, 0.5], [40, 0.25]],
        "name": [b"bob", b"ann", b"bob"],
        "doubled": [0, 1, 2],
    }


def test_an_entity_that_is_not_there_is_refused_with_its_name(folder: Path) -> None:
    error = ask(folder, "on_missing: refuse", [7, 1234])
    assert isinstance(error, BadRequestError)
    assert "users.parquet has no features of user '1234'" in str(error)


def test_a_default_stands_in_for_an_entity_that_is_not_there_or_lacks_a_value(folder: Path) -> None:
    assert ask(folder, "on_missing: default\n      default: {profile: -1, name: nobody}", [9, 7, 1234]) == {
        "profile": [[-1, -1], [30, 0.5], [-1, -1]],
        "name": [b"nobody", b"ann", b"nobody"],
        "doubled": [0, 1, 2],
    }


def join(path: Path, declared: Features, now_s: float = WRITTEN_S) -> tuple[FeatureJoin, Counts, list[str]]:
    said: list[str] = []
    source = FeatureFile(declared, path, said.append)
    source.load()
    counts, made = Counts(), FeatureJoin(declared, source, lambda: now_s)
    made.count(counts)
    return made, counts, said


def outcomes(counts: Counts) -> dict[str, Any]:
    return {
        labels["outcome"]: value
        for family, labels, value in counts.snapshot()
        if family == "trivet_feature_lookups_total" and value
    }


def declare(**changes: Any) -> Features:
    fields: dict[str, Any] = {"table": "users.parquet", "key": "user", "columns": ("score",)}
    return Features(**(fields | changes))


def test_each_entity_has_one_outcome(tmp_path: Path) -> None:
    path = users(tmp_path / "users.parquet", at=[WRITTEN_S, WRITTEN_S - 2 * DAY_S, WRITTEN_S])
    declared = declare(
        columns=("age", "score"),
        default={"age": 0.5, "score": 9},
        on_missing="default",
        on_stale="default",
        max_age_ns=int(DAY_S * 1e9),
        updated="at",
    )
    made, counts, _ = join(path, declared)
    found = made({"user": np.array([7, 8, 9, 1, 7])})
    assert found["score"].tolist() == [0.5, 9, 9, 9, 0.5]
    assert found["age"].tolist() == [30, 0.5, 0.5, 0.5, 30]
    assert outcomes(counts) == {"hit": 2, "stale": 1, "missing": 2}


@pytest.mark.parametrize("rule", ["serve", "refuse"])
def test_a_file_is_as_old_as_its_date(tmp_path: Path, rule: str) -> None:
    path = users(tmp_path / "users.parquet")
    os.utime(path, (WRITTEN_S, WRITTEN_S))
    declared = declare(max_age_ns=int(DAY_S * 1e9), on_stale=rule)
    fresh, _, _ = join(path, declared, WRITTEN_S + DAY_S - 1)
    assert fresh({"user": np.array([7])})["score"].tolist() == [0.5]
    stale, counts, _ = join(path, declared, WRITTEN_S + DAY_S + 1)
    if rule == "serve":
        assert stale({"user": np.array([7])})["score"].tolist() == [0.5]
    else:
        with pytest.raises(UnavailableError, match="the features of user '7' are older than 86400 s"):
            stale({"user": np.array([7])})
    assert outcomes(counts) == {"stale": 1}


FAULTS = {
    "missing": (None, "no such file"),
    "unreadable": (lambda path: path.write_bytes(path.read_bytes()[:-20]), "not a whole table"),
    "mismatch": (
        lambda path: users(path, scores=[1, 2, 3]) and drop(path, "score"),
        "no column 'score'; did you",
    ),
}


def drop(path: Path, column: str) -> None:
    pq.write_table(pq.read_table(path).drop([column]), path)


@pytest.mark.parametrize("reason", sorted(FAULTS))
def test_a_table_that_cannot_be_used_refuses_the_start_or_gives_defaults(tmp_path: Path, reason: str) -> None:
    path = tmp_path / "users.parquet"
    spoil, message = FAULTS[reason]
    if spoil is not None:
        spoil(users(path))
    with pytest.raises(SpecError, match=message) as caught:
        join(path, declare())
    assert "on_mismatch: default" in str(caught.value)
    made, counts, said = join(path, declare(on_mismatch="default", default={"score": 0.125}))
    found = made({"user": np.array([7, 8])})["score"]
    assert (found.tolist(), found.dtype) == ([0.125, 0.125], np.float32)
    assert outcomes(counts) == {"unavailable": 2}
    assert [line for line in said if message in line]


@pytest.mark.parametrize(
    ("key", "tensor"), [("user", [7]), ("name", [b"ann"]), ("name", "x")], ids=["numbers", "text", "unknown"]
)
def test_entities_have_numbers_or_text_for_names(tmp_path: Path, key: str, tensor: Any) -> None:
    made, _, _ = join(users(tmp_path / "users.parquet"), declare(key=key))
    if tensor == "x":
        with pytest.raises(BadRequestError, match="integers or text, not float32"):
            made({key: np.array([1.5], np.float32)})
        return
    array = np.array(tensor, object if key == "name" else np.int32)
    assert made({key: array})["score"].tolist() == [0.5]


def test_lists_are_the_last_axis(tmp_path: Path) -> None:
    path = users(tmp_path / "users.parquet", vector=[[1.0, 2.0], [3.0, 4.0], None])
    made, _, _ = join(path, declare(columns=("vector",), default={"vector": 0}, on_missing="default"))
    found = made({"user": np.array([8, 9])})["vector"]
    assert (found.tolist(), found.dtype) == ([[3, 4], [0, 0]], np.float32)


def test_of_an_entity_that_stands_twice_the_last_row_counts(tmp_path: Path) -> None:
    made, _, _ = join(users(tmp_path / "users.parquet", user=[7, 8, 7]), declare())
    assert made({"user": np.array([7, 8])})["score"].tolist() == [1.0, 0.25]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "{table: users.csv, key: user, columns: [a]}",
            "expected a .parquet file or redis:PREFIX, got 'users.csv'",
        ),
        ("{table: u.parquet, key: user, columns: []}", "columns is empty"),
        ("{table: u.parquet, key: user, columns: {a: []}}", "tensor 'a' is made of no columns"),
        (
            "{table: u.parquet, key: user, columns: [a], default: {b: 1}}",
            "no tensor 'b' stands under columns",
        ),
        ("{table: u.parquet, key: user, columns: [a], on_missing: default}", "there is no default for 'a'"),
        ("{table: 'redis:u', key: user, columns: [a], max_age: 1h}", "what is in Redis has no date"),
    ],
)
def test_a_stage_that_cannot_work_is_refused(folder: Path, text: str, message: str) -> None:
    service = "inputs: [{name: user, datatype: INT64, shape: [-1]}]\nmodels: {m: {file: identity.onnx}}\n"
    (folder / "bad.yaml").write_text(f"{service}pipeline: [{{features: {text}}}, {{model: m}}]\n")
    with pytest.raises(SpecError) as caught:
        load_configuration(folder / "bad.yaml")
    assert message in str(caught.value)


def test_what_is_declared_is_part_of_the_hash_and_the_tables_place_is_not(folder: Path) -> None:
    text = SERVICE % "on_missing: refuse"
    (folder / "steps.py").write_text(STEPS)
    hashes = []
    for changed in (text, text.replace("users.parquet", "there.parquet"), text.replace("score", "age")):
        (folder / "s.yaml").write_text(changed)
        hashes.append(load_configuration(folder / "s.yaml").hash)
    assert (hashes[0] == hashes[1], hashes[0] == hashes[2]) == (True, False)
