"""service.yaml as a user writes it: what it means, and what each mistake is told."""

from pathlib import Path

import pytest

from trivet.errors import SpecError
from trivet.spec.levers import Levers, Priorities, Slo
from trivet.spec.service import Cut, Data, Decode, Model, Ragged, Service, Stage
from trivet.spec.service_file import load_service, service_of_model
from trivet.spec.signature import TensorSpec

FULL = """\
name: intent
inputs:
  - {name: text, datatype: BYTES, shape: [-1, 1]}
outputs:
  - name: embedding
    datatype: FP32
    shape: [-1, 384]
models:
  encoder:
    file: encoder.onnx
    files: [vocab.txt]
    engine: onnxruntime
    providers: [cuda, cpu]
    levers:
      threads: 2
      instances: auto
      execution: thread
      max_batch_size: 16
      deferral: 500us
      graph_optimization: extended
      spinning: true
      queue: 40ms
    ragged:
      input_ids: {axis: 1, pad: 0}
      attention_mask: {axis: 1}
    cut:
      hidden: {axis: 1, like: input_ids}
    batching: on
    batch_axis: true
pipeline:
  - preprocess: steps.py:tokenize
    files: [tokenizer.json]
    execution: inline
  - model: encoder
  - postprocess: steps.py:pool
slo: {percentile: 99.9, latency: 50ms, deadline: 100ms, accuracy: 0.93, throughput: 200}
priorities: {default: 1, levels: 2, min_share: 0.1}
data:
  path: test.csv
  columns: {text: question}
  label: intent
  cohort: language
  split: part
decode: {by: argmax, labels: labels.txt}
metric: accuracy
"""


def written(folder: Path, text: str, name: str = "service.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def refused(folder: Path, text: str) -> str:
    with pytest.raises(SpecError) as caught:
        load_service(written(folder, text))
    return str(caught.value).removeprefix(f"{folder}/")


def test_every_key_is_understood(tmp_path: Path) -> None:
    assert load_service(written(tmp_path, FULL)) == Service(
        name="intent",
        inputs=(TensorSpec("text", "BYTES", (-1, 1)),),
        outputs=(TensorSpec("embedding", "FP32", (-1, 384)),),
        models={
            "encoder": Model(
                file="encoder.onnx",
                files=("vocab.txt",),
                engine="onnxruntime",
                providers=("cuda", "cpu"),
                levers=Levers(
                    threads=2,
                    execution="thread",
                    max_batch_size=16,
                    deferral_ns=500_000,
                    graph_optimization="extended",
                    spinning=True,
                    queue_ns=40_000_000,
                ),
                ragged={"input_ids": Ragged(axis=1), "attention_mask": Ragged(axis=1)},
                cut={"hidden": Cut(axis=1, like="input_ids")},
                batching="on",
                batch_axis=True,
            )
        },
        pipeline=(
            Stage(preprocess="steps.py:tokenize", files=("tokenizer.json",), execution="inline"),
            Stage(model="encoder"),
            Stage(postprocess="steps.py:pool"),
        ),
        slo=Slo(
            percentile=99.9, latency_ns=50_000_000, deadline_ns=100_000_000, accuracy=0.93, throughput=200.0
        ),
        priorities=Priorities(default=1, levels=2, min_share=0.1),
        data=Data(
            path="test.csv", columns={"text": "question"}, label="intent", cohort="language", split="part"
        ),
        decode=Decode(by="argmax", labels="labels.txt"),
        metric="accuracy",
    )


def test_what_is_not_said_has_its_default(tmp_path: Path) -> None:
    service = load_service(written(tmp_path, "models: {m: {file: m.onnx}}"))
    model = Model(file="m.onnx", engine="onnxruntime")
    assert Service(name=tmp_path.name, models={"m": model}, pipeline=(Stage(model="m"),)) == service
    assert load_service(written(tmp_path, "models: {m: {file: m.onnx}}", "intent.yaml")).name == "intent"
    assert load_service(written(tmp_path, "models: {m: {python: 'a:b'}}")).models["m"].engine == "python"


def test_a_lone_word_stands_for_a_decoder(tmp_path: Path) -> None:
    service = load_service(written(tmp_path, "models: {m: {file: m.onnx}}\ndecode: argmax"))
    assert Decode(by="argmax") == service.decode


MODEL = "models:\n  m:\n    file: m.onnx\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "models:\n  encoder:\n    file: e.onnx\n    levers:\n\n\n      max_batchsize: 4\n",
            "7: unknown key 'max_batchsize' in models.encoder.levers; did you mean 'max_batch_size'?",
        ),
        ("modles: {}\n", "service.yaml:1: unknown key 'modles'; did you mean 'models'?"),
        ("Name: x\n", "service.yaml:1: unknown key 'Name'; did you mean 'name'?"),
        ("name: x\n", "service.yaml:1: key 'models' is missing"),
        (
            MODEL + "zzz: 1\n",
            "service.yaml:4: unknown key 'zzz'; known: name, inputs, outputs, models",
        ),
        (
            MODEL + "data:\n  label: y\n",
            "service.yaml:4: key 'path' is missing in data",
        ),
        ("- a\n", "service.yaml:1: the file: expected a mapping with the keys name, inputs"),
        ("models: [m.onnx]\n", "service.yaml:1: models: expected a mapping, got a list"),
        ("models:\n  m: m.onnx\n", "service.yaml:2: models.m: expected a mapping with the keys file,"),
        (
            MODEL + "    files: vocab.txt\n",
            "models.m.files: expected a list, got 'vocab.txt'",
        ),
        (
            MODEL + "    files: [a, 1]\n",
            "models.m.files[1]: expected text, got 1; write it in quotes",
        ),
        (
            MODEL + "    engine: onnxrt\n",
            "expected onnxruntime or openvino or python or remote, got 'onnxrt'; did you mean",
        ),
        (
            MODEL + "    batching: true\n",
            "service.yaml:4: models.m.batching: expected auto or off or on, got true",
        ),
        (MODEL + "    batch_axis: yes\n", "models.m.batch_axis: expected auto or true or false, got 'yes'"),
        (
            MODEL + "    levers: {threads: 0}\n",
            "service.yaml:4: models.m.levers.threads: expected at least 1, got 0",
        ),
        (MODEL + "    levers: {threads: 1.5}\n", "levers.threads: expected auto or a whole number, got 1.5"),
        (
            MODEL + "    levers: {threads: aut}\n",
            "expected auto or a whole number, got 'aut'; did you mean 'auto'?",
        ),
        (MODEL + "    levers: {threads: }\n", "levers.threads: expected auto or a whole number, got nothing"),
        (MODEL + "    levers: {spinning: 1}\n", "levers.spinning: expected true or false, got 1"),
        (
            MODEL + "    levers: {deferral: 5}\n",
            "levers.deferral: expected a duration such as 50ms or 1.5s, got 5 with",
        ),
        (
            MODEL + "    levers: {queue: 5}\n",
            "levers.queue: expected a duration such as 50ms or 1.5s, got 5 without a",
        ),
        (MODEL + "    levers: {queue: 5m}\n", "levers.queue: unknown unit 'm' in '5m'; write ms or min"),
        (
            MODEL + "    levers: {queue: [1]}\n",
            "levers.queue: expected auto or a duration such as 50ms, got a list",
        ),
        (
            MODEL + "slo: {percentile: 100}\n",
            "service.yaml:4: slo.percentile: expected less than 100, got 100",
        ),
        (MODEL + "slo: {throughput: 0}\n", "service.yaml:4: slo.throughput: expected more than 0, got 0"),
        (
            MODEL + "slo: {latency: fast}\n",
            "slo.latency: expected a duration such as 50ms or 1.5s, got 'fast'",
        ),
        (MODEL + "priorities: {min_share: 2}\n", "priorities.min_share: expected at most 1, got 2"),
        (MODEL + "metric: ''\n", "service.yaml:4: metric: empty text; write a value or leave the key out"),
        (MODEL + "decode: {labels: [a]}\n", "service.yaml:4: key 'by' is missing in decode"),
        (
            MODEL + "decode: [argmax]\n",
            "decode: expected a mapping with the keys by, output, labels, threshold, got",
        ),
        (
            "models:\n  m: {}\n",
            "service.yaml:2: a model is `file:`, `python:` or `remote:`; give exactly one",
        ),
        (
            "models:\n  m: {file: a.onnx, python: 'a:b'}\n",
            "service.yaml:2: a model is `file:`, `python:` or `remote:`",
        ),
        (
            MODEL + "pipeline:\n  - model: m\n  - {}\n",
            "service.yaml:6: a stage is exactly one of preprocess, model",
        ),
        (
            MODEL + "pipeline:\n  - {model: m, preprocess: 'a:b'}\n",
            "service.yaml:5: a stage is exactly one of",
        ),
        ("models:\n  '': {file: a.onnx}\n", "service.yaml:2: an empty key in models; give it a name"),
        (
            "inputs:\n- {name: x, datatype: FLOAT, shape: [1]}\nmodels: {m: {python: 'a:b'}}\n",
            "service.yaml:2: tensor 'x': unknown datatype 'FLOAT'; known: BOOL, UINT8",
        ),
        (
            "inputs:\n- {name: x, datatype: FP32, shape: [-2]}\nmodels: {m: {python: 'a:b'}}\n",
            "service.yaml:2: tensor 'x': a dimension is -1 (the request chooses) or a size, got -2",
        ),
    ],
)
def test_a_mistake_is_told_with_file_line_key_and_what_fits(tmp_path: Path, text: str, message: str) -> None:
    assert message in refused(tmp_path, text)


def test_a_bare_model_is_a_service_named_after_its_file(tmp_path: Path) -> None:
    path = tmp_path / "iris.onnx"
    path.write_bytes(b"x")
    assert Service(name="iris", models={"iris": Model(file="iris.onnx")}) == service_of_model(path)
    assert service_of_model(path) == load_service(path)


@pytest.mark.parametrize("name", ["none.onnx", "model.pt"])
def test_what_is_no_model_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "model.pt").write_bytes(b"x")
    with pytest.raises(SpecError, match=name):
        load_service(tmp_path / name)
