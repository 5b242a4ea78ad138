"""What is declared about variants, and what is kept of them."""

from pathlib import Path

import msgspec
import pytest

from trivet.experiment.variants.judged_variants import JudgedVariant
from trivet.spec.convert import convert
from trivet.spec.fields import FieldError
from trivet.spec.service import Service
from trivet.spec.service_file import load_service
from trivet.spec.validation import validate
from trivet.spec.variants import excluded, options_of
from trivet.spec.yaml_text import service_yaml
from trivet.variants.variant import BuildFailure, Variant

VARIANT = Variant(
    name="int8-static", model="m", digest="ab" * 32, files=("model.onnx",), size_bytes=7, built_from="cd" * 32
)


def _service(variants: object) -> Service:
    return convert({"name": "a", "models": {"m": {"file": "m.onnx"}}, "variants": variants}, Service)


def test_options_and_exclusions_are_declared_by_name() -> None:
    service = _service({"exclude": ["fp16"], "int8-static": {"calibration_rows": 300, "method": "entropy"}})
    validate(service)
    assert excluded(service.variants) == ("fp16",)
    assert options_of(service.variants) == {"int8-static": {"calibration_rows": 300, "method": "entropy"}}


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ({"exclude": {"fp16": 1}}, "variants.exclude: expected a list of names"),
        ({"int8-static": ["calibration_rows"]}, "variants.int8-static: expected a mapping of its options"),
    ],
)
def test_lists_and_mappings_are_told_apart(declared: object, expected: str) -> None:
    with pytest.raises(FieldError) as error:
        validate(_service(declared))
    assert expected in str(error.value)


def test_a_service_without_variants_excludes_none() -> None:
    service = convert({"name": "a", "models": {"m": {"file": "m.onnx"}}}, Service)
    assert excluded(service.variants) == ()
    assert options_of(service.variants) == {}


def test_what_is_declared_is_written_and_read_again(tmp_path: Path) -> None:
    declared = {
        "exclude": ["fp16"],
        "optimized": {},
        "int8-static": {"percentile": 99.5, "per_channel": False},
    }
    service = _service(declared)
    (tmp_path / "service.yaml").write_text(service_yaml(service))
    assert load_service(tmp_path / "service.yaml") == service


def test_a_judgement_of_a_newer_version_is_read() -> None:
    judged = JudgedVariant(
        variant=VARIANT,
        verdict="faster",
        reason="2.1 times as fast",
        in_search=True,
        times_ns={0: {1: [5, 6]}},
    )
    tree = msgspec.json.decode(msgspec.json.encode(judged))
    assert msgspec.convert(tree | {"from_the_future": 1}, JudgedVariant, strict=False) == judged


def test_a_failure_has_a_reason_and_a_variant_a_short_digest() -> None:
    failure = BuildFailure(name="bf16", model="m", reason="no avx512_bf16")
    assert msgspec.json.decode(msgspec.json.encode(failure), type=BuildFailure) == failure
    assert VARIANT.short_digest == "abababababab"
