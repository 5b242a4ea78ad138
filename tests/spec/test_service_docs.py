"""The page on service.yaml: its example is a valid service, and its tables name every key and default."""

import re
from pathlib import Path

import msgspec
import pytest

from trivet.spec.levers import Levers, Priorities, Slo
from trivet.spec.service import Data, Decode, Model, Ragged, Service
from trivet.spec.service_file import load_service
from trivet.spec.tuning import DeploymentHint, Tuning
from trivet.spec.yaml_text import service_yaml

PAGE = (Path(__file__).parents[2] / "docs" / "service-yaml.md").read_text()


def test_the_example_is_a_valid_service(tmp_path: Path) -> None:
    example = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[0]
    (tmp_path / "service.yaml").write_text(example)
    service = load_service(tmp_path / "service.yaml")
    assert (service.name, len(service.pipeline), len(service.models)) == ("intent", 3, 2)
    assert {"input_ids": Ragged(axis=1), "attention_mask": Ragged(axis=1)} == service.models["encoder"].ragged


@pytest.mark.parametrize(
    "struct", [Service, Model, Levers, Slo, Priorities, Data, Decode, Tuning, DeploymentHint]
)
def test_every_key_is_on_the_page(struct: type[msgspec.Struct]) -> None:
    keys = [field.encode_name for field in msgspec.structs.fields(struct)]
    assert [key for key in keys if not re.search(rf"\b{key}\b", PAGE)] == []


def test_the_defaults_of_the_levers_are_the_ones_on_the_page() -> None:
    section = PAGE.split("## levers")[1].split("\n## ")[0]
    table = dict(re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", section, re.MULTILINE))
    written = service_yaml(Service(name="m", models={"m": Model(file="m.onnx")}))
    assert table == dict(re.findall(r"^      (\w+): (.+)$", written, re.MULTILINE))
