"""`exit:` of a pipeline's stage: what a service file may say, and the hash."""

from pathlib import Path

import pytest

from trivet.errors import SpecError
from trivet.spec.configuration import Configuration
from trivet.spec.exit import Exit, check_exit
from trivet.spec.fields import FieldError
from trivet.spec.service_file import load_configuration
from trivet.spec.signature import Signature, TensorSpec
from trivet.spec.yaml_text import service_yaml

SERVICE = """
models: {front: {file: front.ort}, rest: {file: rest.ort}}
pipeline:
  - model: front
    exit: {output: y, at_least: 0.9}
  - model: rest
  - postprocess: steps.py:last
outputs: [{name: y, datatype: FP32, shape: [-1, 2]}]
"""


def load(folder: Path, text: str) -> Configuration:
    for name in ("front.ort", "rest.ort"):
        (folder / name).write_bytes(name.encode())
    (folder / "steps.py").write_text("def last(inputs): return inputs\n")
    (folder / "service.yaml").write_text(text)
    return load_configuration(folder / "service.yaml")


def test_an_exit_is_read_with_its_defaults_and_written_again(tmp_path: Path) -> None:
    service = load(tmp_path, SERVICE).service
    assert service.pipeline[0].exit == Exit(output="y", at_least=0.9)
    assert (service.pipeline[0].exit.confidence, service.last_model) == ("top1", 1)
    again = load(tmp_path, service_yaml(service))
    assert again.service == service


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("at_least: 0.9", "at_least: 1.2", r"yaml:5: .*expected at most 1, got 1.2"),
        ("output: y, ", "", r"yaml:5: key 'output' is missing in pipeline\[0\].exit"),
        ("at_least: 0.9", "atleast: 0.9", r"yaml:5: unknown key 'atleast'.* did you mean 'at_least'"),
        ("y, ", "y, confidence: top2, ", r"yaml:5: .*margin or top1, got 'top2'; did you mean 'top1'"),
        ("0.9}", "0.9, calibration: {temperature: 0.0}}", r"yaml:5: .*temperature: expected more than 0"),
        ("  - model: rest\n", "  - model: rest\n    exit: {output: y, at_least: 1}\n", r"no model follows 'rest'"),
        ("last\n", "last\n    exit: {output: y, at_least: 1}\n", r"yaml:8: an exit stands behind a model"),
    ],
)  # fmt: skip
def test_mistakes_name_line_and_key(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        load(tmp_path, SERVICE.replace(old, new))


def test_every_part_of_an_exit_is_in_the_hash(tmp_path: Path) -> None:
    changes = {
        "0.9}": ("0.91}", "0.9, calibration: {temperature: 2.0}}", "0.9, confidence: margin}"),
        "output: y, at": ("output: z, at", "output: y, scores: probabilities, at"),
        "    exit: {output: y, at_least: 0.9}\n": ("",),
    }
    texts = [SERVICE, *(SERVICE.replace(old, new) for old, news in changes.items() for new in news)]
    hashes = [load(tmp_path, text).hash for text in texts]
    assert len(set(hashes)) == len(texts)
    written_out = SERVICE.replace("0.9}", "0.9, confidence: top1, calibration: {temperature: 1}}")
    assert load(tmp_path, written_out).hash == hashes[0]


def test_pipelines_without_exits_keep_the_hash_that_they_always_had(tmp_path: Path) -> None:
    text = SERVICE.replace("    exit: {output: y, at_least: 0.9}\n", "")
    expected = "08d225fe800a48ebdb7628a8b6e96c31b90ceb2f6b503d00ac4e47d98cf41ef1"
    assert load(tmp_path, text).hash == expected


def spec(name: str, datatype: str = "FP32", shape: tuple[int, ...] = (-1, 2)) -> TensorSpec:
    return TensorSpec(name, datatype, shape)


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ((spec("h"),), r"'front' has no output 'y'; known: h"),
        ((spec("y", "INT64"),), r"scores are FP16, FP32, FP64; 'y' is INT64"),
        ((spec("y", shape=()),), r"'y' is a scalar"),
        ((spec("y", shape=(-1, 3)),), r"'rest' does, which gives 'y' FP32 \[-1, 2\]; 'front' gives FP32 \[-1, 3\]"),
        ((spec("y", "FP16"),), r"'front' gives FP16 \[-1, 2\]"),
        ((spec("y"),), r"gives 'label' INT64 \[-1\]; 'front' gives nothing of that name"),
    ],
)  # fmt: skip
def test_an_exit_must_answer_as_the_last_model_does(outputs: tuple[TensorSpec, ...], message: str) -> None:
    promised = [spec("y")] if "label" not in message else [spec("y"), spec("label", "INT64", (-1,))]
    rule = Exit(output="y", at_least=0.9)
    with pytest.raises(FieldError, match=message):
        check_exit(rule, ("x",), "front", Signature((), outputs), "rest", Signature((), tuple(promised)))


def test_sizes_that_a_request_chooses_fit_any(tmp_path: Path) -> None:
    rule = Exit(output="y", at_least=0.9)
    check_exit(
        rule,
        ("x",),
        "front",
        Signature((), (spec("y", shape=(-1, -1)), spec("h"))),
        "rest",
        Signature((), (spec("y"),)),
    )
