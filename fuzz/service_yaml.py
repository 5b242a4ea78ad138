"""service.yaml and the deployment file: UTF-8 text, read strictly."""

from trivet.errors import SpecError
from trivet.spec.convert import convert
from trivet.spec.deployment import Deployment, validate_deployment
from trivet.spec.fields import FieldError
from trivet.spec.service import Service
from trivet.spec.validation import validate
from trivet.spec.yaml_tree import Document, parse_text

_LONGEST_MESSAGE = 4000

SEEDS = {
    "small": b"name: a\nmodels:\n  m: {file: m.onnx}\n",
    "full": b"""\
name: intent
inputs: [{name: text, datatype: BYTES, shape: [-1, 1]}]
outputs:
  - {name: embedding, datatype: FP32, shape: [-1, 384]}
models:
  encoder:
    file: encoder.onnx
    files: [vocab.txt]
    providers: [cuda, cpu]
    levers: {threads: 2, instances: auto, execution: thread, max_batch_size: 16, deferral: 500us, queue: 40ms}
    ragged: {input_ids: {axis: 1, pad: 0}}
    batching: on
pipeline:
  - preprocess: steps.py:tokenize
  - model: encoder
  - postprocess: steps.py:pool
slo: {percentile: 99.9, latency: 50ms, deadline: 100ms, accuracy: 0.93, throughput: 200}
priorities: {default: 1, levels: 2, min_share: 0.1}
data: {path: test.csv, columns: {text: question}, label: intent}
decode: {by: argmax, labels: labels.txt}
metric: accuracy
""",
    "alias": b"name: a\nmodels:\n  m: &m {file: m.onnx}\n  n: *m\npipeline: [{model: m}, {model: n}]\n",
    "deployment": b"services: [a.yaml]\nport: 8000\nlimits: {max_body: 2MiB, header_timeout: 1s}\nworkers: auto\n",
}
TOKENS = [
    b"models:", b"pipeline:", b"levers:", b"slo:", b"data:", b"decode:", b"file:", b"python:", b"auto",
    b"null", b"~", b"on", b"&a ", b"*a", b"<<: ", b"!!python/object:os.system ", b"!!binary ", b"---\n",
    b"...\n", b"? ", b": ", b"- ", b"|\n", b">-\n", b"%YAML 1.2\n", b"\t", b"50ms", b"2MiB", b"1e400",
    b".inf", b".nan", b"0x1F", b"0o17", b"1_000", b"2024-01-01", b"[", b"]", b"{", b"}", b"\xef\xbb\xbf",
]  # fmt: skip


def check(data: bytes) -> None:
    """A service or an error that names the place; never anything else."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return
    try:
        document = parse_text(text, "service.yaml")
    except SpecError as error:
        _check_message(str(error))
        return
    _check(document, Service)
    _check(document, Deployment)


def _check(document: Document, cls: type[Service] | type[Deployment]) -> None:
    try:
        value = convert(document.tree, cls)
        if isinstance(value, Service):
            validate(value)
        else:
            validate_deployment(value)
    except FieldError as error:
        _check_message(str(document.located(error)))


def _check_message(text: str) -> None:
    if not text.startswith("service.yaml") or len(text) > _LONGEST_MESSAGE:
        raise AssertionError(f"{len(text)} characters: {text[:200]!r}")
