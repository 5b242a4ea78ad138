"""The first service.yaml: it parses, validates and says what the signature and the data say."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivet.spec.init import guess_data, service_text
from trivet.spec.service import Data, Decode, Model, Service
from trivet.spec.service_file import load_service
from trivet.spec.signature import Signature, TensorSpec

ENCODER = Signature(
    inputs=(TensorSpec("input_ids", "INT64", (-1, -1)), TensorSpec("attention_mask", "INT64", (-1, -1))),
    outputs=(TensorSpec("logits", "FP32", (-1, 77)),),
    batch_axis=True,
)
TABLE = Signature(
    inputs=(TensorSpec("x", "FP32", (-1, 3)),),
    outputs=(TensorSpec("label", "INT64", (-1,)), TensorSpec("scores", "FP32", (-1, 2))),
    batch_axis=True,
)
PRICE = Signature(inputs=TABLE.inputs, outputs=(TensorSpec("price", "FP32", (-1, 1)),), batch_axis=True)
TEXT = Signature(inputs=(TensorSpec("text", "BYTES", (-1, 1)),), outputs=ENCODER.outputs, batch_axis=True)


def read_back(folder: Path, text: str) -> Service:
    path = folder / "service.yaml"
    path.write_text(text)
    return load_service(path)


@pytest.mark.parametrize("signature", [ENCODER, TABLE, PRICE, TEXT, Signature(inputs=(), outputs=())])
def test_without_data_it_is_the_bare_model(tmp_path: Path, signature: Signature) -> None:
    service = read_back(tmp_path, service_text("intent", "m.onnx", signature))
    assert service == Service(name="intent", models={"model": Model(file="m.onnx")})


@pytest.mark.parametrize(
    ("signature", "columns", "expected"),
    [
        (TABLE, ["a", "b", "c", "label"], Data(path="d.csv", columns={"x": ("a", "b", "c")}, label="label")),
        (TABLE, ["a", "b", "c", "price"], Data(path="d.csv", columns={"x": ("a", "b", "c")}, label="price")),
        (TABLE, ["x", "Target"], Data(path="d.csv", columns={"x": "x"}, label="Target")),
        (TABLE, ["a", "b"], Data(path="d.csv")),
        (
            TEXT,
            ["question", "intent", "split", "language"],
            Data(
                path="d.csv", columns={"text": "question"}, label="intent", split="split", cohort="language"
            ),
        ),
        (TEXT, ["query", "answer"], Data(path="d.csv", columns={"text": "query"}, label="answer")),
        (
            ENCODER,
            ["Input_IDs", "attention_mask", "y"],
            Data(
                path="d.csv",
                columns={"input_ids": "Input_IDs", "attention_mask": "attention_mask"},
                label="y",
            ),
        ),
        (ENCODER, ["text", "label"], Data(path="d.csv", label="label")),
        (ENCODER, [], Data(path="d.csv")),
    ],
)
def test_columns_are_guessed_by_their_names(signature: Signature, columns: list[str], expected: Data) -> None:
    assert expected == guess_data("d.csv", columns, signature)


def test_guesses_stand_in_the_text(tmp_path: Path) -> None:
    data = guess_data("d.csv", ["a", "b", "c", "label"], TABLE)
    assert read_back(tmp_path, service_text("iris", "iris.onnx", TABLE, data)) == Service(
        name="iris",
        models={"model": Model(file="iris.onnx")},
        data=data,
        decode=Decode(by="argmax", output="scores"),
        metric="accuracy",
    )


def test_one_score_is_a_number_to_come_close_to(tmp_path: Path) -> None:
    data = guess_data("d.csv", ["a", "b", "c", "truth"], PRICE)
    service = read_back(tmp_path, service_text("price", "m.onnx", PRICE, data))
    assert (service.decode.by if service.decode else None, service.metric) == ("identity", "mae")


def test_without_a_label_nothing_is_measured(tmp_path: Path) -> None:
    service = read_back(tmp_path, service_text("m", "m.onnx", ENCODER, Data(path="d.csv")))
    assert (service.decode, service.metric) == (None, None)


def test_padding_is_proposed_and_not_declared(tmp_path: Path) -> None:
    text = service_text("m", "m.onnx", ENCODER)
    assert "    #   input_ids: {axis: 1, pad: 0}" in text
    assert read_back(tmp_path, text).models["model"].ragged == {}
    assert "ragged" not in service_text("m", "m.onnx", TABLE)


def uncommented(text: str) -> str:
    """The proposals in comments, taken at their word."""
    lines = []
    for line in text.split("\n"):
        body = line.lstrip().removeprefix("# ")
        is_proposal = (
            line.lstrip().startswith("# ") and ":" in body and body.split(":")[0].strip().isidentifier()
        )
        lines.append(line.replace("# ", "", 1) if is_proposal else line)
    return "\n".join(lines)


def test_every_proposal_in_the_comments_is_valid(tmp_path: Path) -> None:
    text = service_text("intent", "m.onnx", ENCODER)
    service = read_back(tmp_path, uncommented(text))
    assert {"input_ids", "attention_mask"} == set(service.models["model"].ragged)
    assert (service.slo.latency_ns, service.slo.accuracy, service.slo.throughput) == (50_000_000, 0.9, 200.0)
    assert (service.metric, service.data.path if service.data else None) == ("accuracy", "test.csv")


names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)


@given(model=names, column=names, tensor=names, label=names)
def test_any_name_is_read_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, model: str, column: str, tensor: str, label: str
) -> None:
    signature = Signature(
        inputs=(TensorSpec(tensor, "FP32", (-1, -1)),), outputs=TABLE.outputs, batch_axis=True
    )
    data = Data(path=model, columns={tensor: column}, label=label + column)
    service = read_back(tmp_path_factory.getbasetemp(), service_text("m", model + ".onnx", signature, data))
    assert data == service.data
    assert model + ".onnx" == service.models["model"].file
