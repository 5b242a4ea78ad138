"""A service written out is read back as the same service."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import models
from trivet.spec.levers import Levers, Priorities, Slo
from trivet.spec.service import Cut, Data, Decode, Model, Ragged, Service, Stage
from trivet.spec.service_file import load_configuration, load_service
from trivet.spec.signature import TensorSpec
from trivet.spec.yaml_text import configuration_text, quoted, service_yaml
from trivet.spec.yaml_tree import parse_text

FULL = Service(
    name="intent: 1",
    inputs=(TensorSpec("text", "BYTES", (-1, 1)),),
    models={
        "on": Model(file="e n.onnx", files=("vocab.txt", "12"), ragged={"ids": Ragged(axis=1, pad=-1.5)}, cut={
            "y": Cut(axis=1, like="ids")}, batch_axis=True, levers=Levers(deferral_ns=1_500_000, queue_ns=90_000_000)),
        "code": Model(python="a.py:f", batching="off"),
    },
    pipeline=(
        Stage(preprocess="s.py:f", outputs=(TensorSpec("ids", "INT64", (-1, -1)),), execution="inline"),
        Stage(model="on"),
        Stage(model="code"),
    ),
    slo=Slo(percentile=99.9, latency_ns=1, deadline_ns=100_000_000, throughput=1e9),
    priorities=Priorities(default=1, levels=2, min_share=0.0),
    data=Data(path="d.csv", columns={"text": ("a", "b")}, label="~"),
    decode=Decode(by="threshold", labels=("no", "true"), threshold=1e-7),
    metric="judge.py:score",
)  # fmt: skip


@pytest.mark.parametrize(
    "service",
    [
        FULL,
        Service(name="m", models={"m": Model(file="m.onnx")}),
        Service(name="m", models={"m": Model(python="a:b")}),
    ],
)
def test_a_service_is_read_back_as_it_was(tmp_path: Path, service: Service) -> None:
    path = tmp_path / "service.yaml"
    path.write_text(service_yaml(service))
    assert service == load_service(path)


def test_a_service_travels_between_processes_as_it_is() -> None:
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(FULL), type=Service) == FULL
    assert msgspec.json.decode(msgspec.json.encode(FULL), type=Service) == FULL


def test_every_default_is_written_out() -> None:
    text = service_yaml(Service(name="m", models={"m": Model(file="m.onnx")}))
    for line in (
        "engine: onnxruntime",
        "deferral: 0ms",
        "deadline: auto",
        "percentile: 99.0",
        "spinning: false",
    ):
        assert line in text


def test_a_configuration_shows_its_hash_and_files_and_is_a_service_file(tmp_path: Path) -> None:
    model = models.write(models.tiny(), tmp_path / "m.onnx")
    configured = load_configuration(model)
    text = configuration_text(configured)
    assert text.startswith(
        f"# configuration {configured.hash}\n#   {configured.files[0].digest[:12]}  {model}\n"
    )
    (tmp_path / "copy.yaml").write_text(text)
    assert configured.hash == load_configuration(tmp_path / "copy.yaml").hash


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
def test_any_text_is_read_back_as_value_and_as_key(text: str) -> None:
    assert parse_text(f"{quoted(text)}: {quoted(text)}", "s.yaml").tree == {text: text}
    assert parse_text(f"a: [{quoted(text)}, {{b: {quoted(text)}}}]", "s.yaml").tree == {
        "a": [text, {"b": text}]
    }
