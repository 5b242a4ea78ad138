"""Contradictions between settings: each is refused at the place to change."""

from pathlib import Path

import pytest

from trivet.errors import SpecError
from trivet.spec.fields import FieldError
from trivet.spec.service import Cut, Model, Ragged
from trivet.spec.service_file import load_service
from trivet.spec.signature import Signature, TensorSpec
from trivet.spec.validation import check_signature

MODEL = "models:\n  m:\n    file: m.onnx\n"
CODE = "models:\n  m:\n    python: steps.py:f\n"
TENSORS = "[{name: x, datatype: FP32, shape: [-1, 2]}]"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("models: {}\n", "1: a service needs at least one model"),
        ("name: a/b\n" + MODEL, "1: 'a/b' cannot be a name"),
        ("name: .hidden\n" + MODEL, "1: '.hidden' cannot be a name"),
        ("models:\n  ../m: {file: m.onnx}\n", "2: '../m' cannot be a name"),
        (
            "models:\n  m: {file: m.onnx, engine: python}\n",
            "2: engine python runs `python: file.py:attribute`",
        ),
        ("models:\n  m: {python: 'a:b', engine: openvino}\n", "2: engine openvino runs a model `file:`"),
        ("models:\n  m: {file: m.pt}\n", "2: engine onnxruntime runs .onnx or .ort files, got 'm.pt'"),
        (
            "models:\n  m: {python: steps.py}\n",
            "2: expected module:attribute or file.py:attribute, got 'steps.py'",
        ),
        ("models:\n  m: {python: 'a b:f'}\n", "2: expected module:attribute"),
        (CODE + "    providers: [cuda]\n", "4: providers belong to engine onnxruntime, not to python"),
        (MODEL + "    providers: [cpu, cpu]\n", "4: name each provider once"),
        (MODEL + "    providers: []\n", "4: name each provider once, and at least one"),
        (MODEL + "    levers:\n      execution: process\n", "5: a process of its own is for Python code"),
        (CODE + "    levers:\n      execution: thread\n", "5: Python code holds the GIL in a thread"),
        (
            CODE + "    levers:\n      spinning: true\n",
            "5: spinning belongs to engine onnxruntime, not to python",
        ),
        (
            CODE + "    levers:\n      graph_optimization: off\n",
            "5: graph_optimization belongs to engine onnxruntime",
        ),
        (
            MODEL + "    levers: {execution: inline, instances: 2}\n",
            "4: inline runs one batch at a time: one instance",
        ),
        (MODEL + "    batching: on\n    batch_axis: false\n", "4: batching is on, but `batch_axis: false`"),
        (
            MODEL + "    batching: on\n    levers: {max_batch_size: 1}\n",
            "4: batching is on, but max_batch_size is 1",
        ),
        (
            MODEL + "    batching: off\n    levers: {deferral: 1ms}\n",
            "5: batching is off: there is nothing to wait for",
        ),
        (
            MODEL + "    batch_axis: false\n    ragged: {x: {axis: 1}}\n",
            "5: there is no batch axis: nothing is ever",
        ),
        (
            MODEL + "    ragged: {ids: {axis: 1}}\n    cut: {y: {axis: 1, like: idz}}\n",
            "5: 'idz' is not declared under",
        ),
        (MODEL + "pipeline:\n- model: n\n", "5: no model named 'n' under models; known: m"),
        (
            "models: {enc: {file: a.onnx}, b: {file: b.onnx}}\n",
            "1: with several models (enc, b), the pipeline says",
        ),
        (
            "models:\n  a: {file: a.onnx}\n  b: {file: b.onnx}\npipeline:\n- model: a\n",
            "3: no stage of the pipeline uses the model 'b'",
        ),
        (
            MODEL + "pipeline:\n- preprocess: f\n- model: m\n",
            "5: expected module:attribute or file.py:attribute",
        ),
        (MODEL + "pipeline:\n- {model: m, files: [a]}\n", "5: files of a model stand under models.m.files"),
        (
            MODEL + "pipeline:\n- {model: m, execution: inline}\n",
            "5: this lever stands under models.m.levers.execution",
        ),
        (MODEL + "pipeline:\n- model: m\n- preprocess: a:b\n", "6: a preprocess stage stands before a model"),
        (
            MODEL + "pipeline:\n- postprocess: a:b\n- model: m\n",
            "5: a postprocess stage stands after a model",
        ),
        (
            MODEL + "pipeline:\n- model: m\n- postprocess: a:b\n- preprocess: a:b\n- model: m\n",
            "7: a preprocess stage stands before a model, not after postprocess",
        ),
        (f"inputs: {TENSORS}\n" + MODEL, "1: the model file of 'm' has its own inputs; leave them out"),
        (f"outputs: {TENSORS}\n" + MODEL, "1: the model file of 'm' has its own outputs; leave them out"),
        (
            CODE + f"pipeline:\n- {{model: m, inputs: {TENSORS}}}\n",
            "5: the first stage's inputs stand at the top",
        ),
        (
            CODE + f"pipeline:\n- {{model: m, outputs: {TENSORS}}}\n",
            "5: the last stage's outputs stand at the top",
        ),
        (
            MODEL + f"pipeline:\n- preprocess: a:b\n- {{model: m, inputs: {TENSORS}}}\n",
            "6: the model file of 'm' has its own inputs",
        ),
        ("inputs: []\n" + CODE, "1: inputs is empty"),
        (f"inputs: {TENSORS[:-1]}, {TENSORS[1:]}\n" + CODE, "1: tensor 'x' is declared twice"),
        (
            CODE + "pipeline:\n- model: m\n- {postprocess: a:b, inputs: {}}\n",
            "6: inputs is empty; leave it out or name the tensors",
        ),
        (
            f"inputs: {TENSORS}\n"
            + MODEL
            + "pipeline:\n- {preprocess: a:b, outputs: [{name: ids, datatype: INT64, shape: [-1]}]}\n- model: m\n"
            "  inputs: {x: idz}\n",
            "8: no earlier stage gives 'idz', nor does the request; did you mean 'ids'?",
        ),
        (
            f"inputs: {TENSORS}\n"
            + MODEL
            + f"pipeline:\n- {{preprocess: a:b, outputs: {TENSORS}}}\n- preprocess: a:c\n  inputs:\n"
            "  - {name: question, datatype: FP32, shape: [-1]}\n- model: m\n",
            "9: no earlier stage gives 'question', nor does the request; given are x",
        ),
        (MODEL + "slo: {latency: 0ms}\n", "4: no request is answered in 0 ms"),
        (
            MODEL + "slo:\n  latency: 50ms\n  deadline: 20ms\n",
            "6: the deadline 20ms is shorter than the latency 50ms",
        ),
        (
            MODEL + "    levers: {deferral: 20ms}\nslo: {deadline: 20ms}\n",
            "4: deferral 20ms leaves nothing of the",
        ),
        (
            MODEL + "    levers: {queue: 30ms}\nslo: {deadline: 20ms}\n",
            "4: queue 30ms leaves nothing of the deadline",
        ),
        (MODEL + "priorities: {default: 4}\n", "4: default 4 is not one of the 3 levels"),
        (
            MODEL + "priorities: {levels: 30}\n",
            "4: 30 classes cannot each keep a share of 0.05; at most 0.5 together",
        ),
        (
            MODEL + "metric: accurcy\n",
            "4: metric 'accurcy' is neither accuracy, f1, auc, mae, rmse, cosine nor module:function; did "
            "you mean 'accuracy'?",
        ),
        (
            MODEL + "decode: softmax\n",
            "4: decode 'softmax' is neither argmax, threshold, identity nor module:function",
        ),
        (
            MODEL + "decode: {by: argmax, threshold: 0.9}\n",
            "4: a threshold belongs to `by: threshold`, not to argmax",
        ),
        (
            MODEL + "slo: {accuracy: 0.9}\n",
            "4: an accuracy can be held only where it is measured; add `data:`",
        ),
        (
            MODEL + "slo: {accuracy: 0.9}\ndata: {path: d.csv}\n",
            "4: an accuracy can be held only where it is measured; add `metric:`",
        ),
        (
            MODEL + "slo: {accuracy: 93}\ndata: {path: d.csv}\nmetric: f1\n",
            "4: f1 lies between 0 and 1, got 93",
        ),
        (
            MODEL + "data:\n  path: d.csv\n  columns: {x: [a, b]}\n  label: b\n",
            "6: column 'b' is the label and cannot also feed the input 'x'",
        ),
        (
            f"inputs: {TENSORS}\n" + CODE + "data: {path: d.csv, columns: {y: a}}\n",
            "5: the service has no input 'y'; known: x",
        ),
    ],
)
def test_a_contradiction_is_refused_at_its_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "service.yaml"
    path.write_text(text)
    with pytest.raises(SpecError) as caught:
        load_service(path)
    assert f"service.yaml:{message}" in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        MODEL + "metric: judge.py:score\ndecode: my.decoders:top3\n",
        MODEL + "slo: {accuracy: 2.5}\nmetric: rmse\ndata: {path: d.csv}\n",
        MODEL + "pipeline:\n- model: m\n- preprocess: a:b\n- model: m\n",
        f"inputs: {TENSORS}\noutputs: {TENSORS}\n" + CODE,
        f"inputs: {TENSORS}\n"
        + MODEL
        + f"pipeline: [preprocess: a:b, model: m, {{postprocess: a:c, outputs: {TENSORS}}}, model: m]",
        MODEL + "    batching: off\n    levers: {max_batch_size: 8}\n",
        MODEL
        + "pipeline:\n- preprocess: a:b\n- {model: m, inputs: {x: ids}}\n- {postprocess: a:c, inputs: {y: ids}}\n",
        "name: my model ü\n" + MODEL,
    ],
)
def test_what_does_not_contradict_itself_is_accepted(tmp_path: Path, text: str) -> None:
    path = tmp_path / "service.yaml"
    path.write_text(text)
    assert load_service(path).models


SIGNATURE = Signature(
    inputs=(TensorSpec("ids", "INT64", (-1, -1)), TensorSpec("kind", "INT64", (-1, 4))),
    outputs=(TensorSpec("hidden", "FP32", (-1, -1, 8)),),
    batch_axis=True,
)


def test_ragged_declarations_that_fit_the_model_are_accepted() -> None:
    model = Model(file="m.onnx", ragged={"ids": Ragged(axis=1)}, cut={"hidden": Cut(axis=1, like="ids")})
    check_signature("m", model, SIGNATURE)
    assert {"ids"} == set(model.ragged)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            Model(file="m.onnx", ragged={"idz": Ragged(axis=1)}),
            "models.m.ragged.idz: the model has no input 'idz'; did you mean 'ids'?",
        ),
        (
            Model(file="m.onnx", ragged={"ids": Ragged(axis=2)}),
            "models.m.ragged.ids: input 'ids' has 2 axes (shape [-1, -1]): no axis 2",
        ),
        (
            Model(file="m.onnx", ragged={"kind": Ragged(axis=1)}),
            "models.m.ragged.kind: axis 1 of input 'kind' is always 4 long: nothing to pad or cut",
        ),
        (
            Model(file="m.onnx", ragged={"ids": Ragged(axis=1)}, cut={"hiden": Cut(axis=1, like="ids")}),
            "models.m.cut.hiden: the model has no output 'hiden'; did you mean 'hidden'?",
        ),
    ],
)
def test_a_declaration_that_does_not_fit_the_model_is_refused(model: Model, message: str) -> None:
    with pytest.raises(FieldError) as caught:
        check_signature("m", model, SIGNATURE)
    assert message == str(caught.value)


def test_batching_needs_a_batch_axis() -> None:
    signature = Signature(inputs=SIGNATURE.inputs, outputs=SIGNATURE.outputs, batch_axis=False)
    with pytest.raises(FieldError, match="declare `batch_axis: true`"):
        check_signature("m", Model(file="m.onnx", batching="on"), signature)
    check_signature("m", Model(file="m.onnx", batching="on", batch_axis=True), signature)
