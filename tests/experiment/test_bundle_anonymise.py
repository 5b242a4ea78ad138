"""An anonymous bundle: no byte of it says who measured where, or what was asked."""

from pathlib import Path
from typing import Any

import pytest

from tests.experiment.replay_support import MemoryStore, configuration, environment, rows, run
from trivet.catalog.code_version import CodeVersion
from trivet.catalog.conditions import Conditions
from trivet.catalog.records import Figure, Run
from trivet.experiment.replay import bundle
from trivet.experiment.replay.anonymise import REMOVED_DATA, scrubbed
from trivet.experiment.replay.archive import Archive
from trivet.experiment.replay.bundle import BundleError, _parquet
from trivet.spec.row import RowColumns

SECRETS = (
    "alice",
    "box-7",
    "10.1.2.3",
    "classified",
    "prayer-9",
    "key-77",
    "tenant-5",
    "minecraft",
    "diff --git",
)


def told_configuration(digest: str) -> dict[str, Any]:
    found = configuration(digest) | {"source": "/home/alice/prayer-9/service.yaml"}
    found["service"]["data"] = {"path": "/home/alice/prayer-9/data.csv", "columns": {"x": "f/1"}}
    return found


def telling(store: MemoryStore) -> Run:
    """A run with a secret in every place that can hold one."""
    digest = store.put(b"weights").removeprefix("sha256:")
    told = rows(num=20)
    told = RowColumns.of(
        told.header,
        20,
        intended_ns=told["intended_ns"],
        done_ns=told["done_ns"],
        key=["key-77"] * 20,
        tenant="tenant-5",
        answer=[b"classified"] * 20,
    )
    diff = store.put(b"diff --git of alice")
    return run(
        configuration=told_configuration(digest),
        workload={
            "arrivals": "trace:/home/alice/prayer-9/t.csv:users:2",
            "asking": {"inputs": "/home/alice/q.csv"},
        },
        dataset={"source": "/home/alice/data.csv", "digest": "f" * 64},
        environment=environment(
            host="box-7",
            code=CodeVersion(commit="c0ffee", dirty=True, diff=diff, problem="/home/alice: broken"),
            conditions=Conditions(elapsed_s=1, steal_share=0, busy_share=0, others={"minecraft": 0.5}),
        ),
        command=["trivet", "bench", "http://10.1.2.3:8000/classified"],
        tags={"who": "alice"},
        reason="box-7: http://10.1.2.3:8000 did not answer /home/alice/prayer-9/x",
        figures={
            "accuracy": Figure(estimate=1, unit="accuracy", verdict="of /home/alice/prayer-9/d.csv on box-7")
        },
        writer="box-7:1234",
        artifacts={
            "rows": store.put(_parquet(told)),
            "answers": store.put(b"0:y:ends classified"),
            "inputs": store.put(b"classified inputs"),
            "predictions": store.put(b"classified predictions"),
            "data": store.put(b"classified data"),
            "model:m.onnx": f"sha256:{digest}",
            "configuration": store.put(b"data: {path: /home/alice/data.csv}"),
        },
    )


def content(path: Path) -> dict[str, bytes]:
    with Archive(path) as archive:
        return {name: archive.read(name) for name in archive.names()}


def test_nothing_in_it_tells_who_where_or_what(tmp_path: Path) -> None:
    store = MemoryStore()
    path = tmp_path / "b.zip"
    made = bundle.export(store, [telling(store)], path, anonymise=True)
    for name, data in content(path).items():
        for secret in SECRETS:
            assert secret.encode() not in data, (secret, name)
    kept = made.rows(made.runs[0].artifacts["rows"])
    for secret in SECRETS:
        assert secret not in str(list(kept.rows()))
    assert REMOVED_DATA in made.manifest.removed


def test_what_the_figures_depend_on_stays(tmp_path: Path) -> None:
    store = MemoryStore()
    before = telling(store)
    (after,) = bundle.export(store, [before], tmp_path / "b.zip", anonymise=True).runs
    assert after.configuration_hash == before.configuration_hash
    assert after.configuration["files"] == before.configuration["files"]
    assert after.configuration["service"]["data"] == {"path": "data.csv", "columns": {"x": "f/1"}}
    assert after.environment.packages == before.environment.packages
    assert after.environment.processor == before.environment.processor
    assert after.environment.code == CodeVersion(commit="c0ffee", dirty=True)
    assert after.workload["arrivals"] == "trace:t.csv:users:2"
    assert after.figures["accuracy"].estimate == 1
    assert sorted(after.artifacts) == ["model:m.onnx", "rows"]


def test_times_and_outcomes_of_the_rows_stay(tmp_path: Path) -> None:
    store = MemoryStore()
    before = telling(store)
    made = bundle.export(store, [before], tmp_path / "b.zip", anonymise=True)
    found, expected = made.rows(made.runs[0].artifacts["rows"]), rows(num=20)
    assert found["done_ns"].tolist() == expected["done_ns"].tolist()


def test_data_may_be_kept(tmp_path: Path) -> None:
    store = MemoryStore()
    made = bundle.export(store, [telling(store)], tmp_path / "b.zip", anonymise=True, keep_data=True)
    assert {"data", "inputs", "answers", "predictions"} <= made.runs[0].artifacts.keys()
    assert REMOVED_DATA not in made.manifest.removed
    assert b"alice" not in content(tmp_path / "b.zip")["runs/r1.json"]


def test_what_was_taken_out_is_told_when_it_is_missed(tmp_path: Path) -> None:
    store = MemoryStore()
    before = telling(store)
    made = bundle.export(store, [before], tmp_path / "b.zip", anonymise=True)
    with pytest.raises(BundleError, match=r"taken out were .*data, inputs and labels"):
        made.get(before.artifacts["data"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/home/u/x.csv", "x.csv"),
        ("~/x.csv", "x.csv"),
        ("../models/x.csv: broken at 1/2", "x.csv: broken at 1/2"),
        ("trace:/a/b.csv:users:2", "trace:b.csv:users:2"),
        ("http://10.0.0.1:80/v2 failed", "http://host/v2 failed"),
        ("p99 in ms/request", "p99 in ms/request"),
        ("box is slow, boxes are not", "host is slow, boxes are not"),
    ],
)
def test_texts_lose_paths_addresses_and_the_host(text: str, expected: str) -> None:
    assert scrubbed({"a": [text]}, "box") == {"a": [expected]}
