"""`degrade:` of a service file: what it may say, what becomes of files, and the hash."""

from pathlib import Path

import pytest

from trivet.errors import SpecError
from trivet.spec.configuration import Configuration
from trivet.spec.service_file import load_configuration
from trivet.spec.yaml_text import service_yaml

SERVICE = """
models:
  full: {file: full.ort, levers: {max_batch_size: 8}}
  small: {file: small.ort}
pipeline: [{model: full}]
degrade:
  to:
    - {file: full-int8.ort, loss: 0.5 points}
    - {model: small, loss: 0.038, inputs: {x: text}}
  max_loss: 1 point
"""


def load(folder: Path, text: str) -> Configuration:
    for name in ("full.ort", "full-int8.ort", "small.ort"):
        (folder / name).write_bytes(name.encode())
    (folder / "service.yaml").write_text(text)
    return load_configuration(folder / "service.yaml")


def test_it_is_read_with_its_defaults_and_written_again(tmp_path: Path) -> None:
    service = load(tmp_path, SERVICE).service
    assert service.degrade is not None
    assert service.degrade.names == ("full-int8", "small")
    assert [rung.share for rung in service.degrade.to] == [0.005, 0.038]
    assert (service.degrade.budget, service.degrade.window) == (0.01, 1000)
    assert service.degrade.to[1].inputs == {"x": "text"}
    without = load(tmp_path, SERVICE.replace("pipeline: [{model: full}]\n", "")).service
    assert without == service
    again = load(tmp_path, service_yaml(service))
    assert again.service == service
    assert again.hash == load(tmp_path, SERVICE).hash


def test_a_file_is_otherwise_declared_as_the_last_model(tmp_path: Path) -> None:
    service = load(tmp_path, SERVICE).service
    assert service.models["full-int8"].file == "full-int8.ort"
    assert service.models["full-int8"].levers == service.models["full"].levers
    assert service.models["small"].levers != service.models["full"].levers


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("model: small,", "model: smal,", r"yaml:9: no model named 'smal' under models; did you mean 'small'"),
        ("model: small,", "model: full,", r"yaml:9: 'full' is a stage of the pipeline; to stand in it needs a name"),
        ("full-int8.ort, ", "full-int8.ort, model: small, ", r"yaml:8: .*either `model:` or `file:`"),
        ("0.5 points", "0.5", r"yaml:9: 'small' loses less than 'full-int8' before it"),
        ("0.5 points", "half a point", r"yaml:8: .*expected accuracy such as `0.5 points` or 0.005, got 'half a"),
        ("1 point\n", "1\n", r"yaml:10: max_loss: expected a loss from 0 to 0.5, got 1; 1 points are written `1 points`"),
        ("loss: 0.038", "loss: 0.001", r"yaml:9: 'small' loses less than 'full-int8' before it"),
        ("full-int8.ort", "small.ort", r"would be called 'small', and there is such a model"),
        ("  max_loss", "  window: -1\n  max_loss", r"window: expected at least 0, got -1"),
    ],
)  # fmt: skip
def test_mistakes_name_line_and_key(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        load(tmp_path, SERVICE.replace(old, new, 1))


def test_every_part_of_it_is_in_the_hash_and_without_it_nothing_changes(tmp_path: Path) -> None:
    changes = {
        "max_loss: 1 point": "max_loss: 2 points",
        "0.5 points": "0.6 points",
        "x: text": "x: words",
        "1 point\n": "1 point\n  window: 10\n",
    }
    hashes = {load(tmp_path, SERVICE.replace(old, new, 1)).hash for old, new in changes.items()}
    hashes.add(load(tmp_path, SERVICE).hash)
    assert len(hashes) == len(changes) + 1
    same = SERVICE.replace("max_loss: 1 point", "max_loss: 0.01").replace("0.5 points", "0.5%")
    assert load(tmp_path, same).hash == load(tmp_path, SERVICE).hash
    plain = load(tmp_path, "models: {full: {file: full.ort}}")
    assert plain.hash == "dbdb9bbce2851765df40eb12c36e5c3c42de6ea80ace09ad48397d8993a9b662"
