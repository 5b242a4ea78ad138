"""From the record of a run to a service that can be served again."""

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.experiment.replay_support import MemoryStore, run
from trivet.catalog.records import Run
from trivet.experiment.replay.archive import BundleError
from trivet.experiment.replay.service_folder import restore
from trivet.spec.service_file import load_configuration

SERVICE = """
models:
  m: {file: ../models/tiny.onnx, levers: {max_batch_size: 8, deferral: 2ms}}
pipeline:
  - {preprocess: "steps.py:f", outputs: [{name: x, datatype: FP32, shape: [-1, 30]}]}
  - model: m
inputs: [{name: text, datatype: BYTES, shape: [1]}]
data: {path: d.csv, columns: {text: t}}
"""


@pytest.fixture
def recorded(models: Path, tmp_path: Path) -> tuple[Run, MemoryStore]:
    """A run of a service with a file beside its folder, and a store with its files."""
    (tmp_path / "models").mkdir()
    (tmp_path / "there").mkdir()
    (tmp_path / "models" / "tiny.onnx").write_bytes((models / "tiny.onnx").read_bytes())
    (tmp_path / "there" / "steps.py").write_text("def f(inputs): return inputs\n")
    (tmp_path / "there" / "d.csv").write_text("t\na\n")
    (tmp_path / "there" / "service.yaml").write_text(SERVICE)
    found, store = load_configuration(tmp_path / "there" / "service.yaml"), MemoryStore()
    files = [
        {"name": file.name, "path": os.path.relpath(file.path, found.root), "digest": file.digest}
        for file in found.files
    ]
    for file in found.files:
        store.put(Path(file.path).read_bytes())
    described = {"service": msgspec.to_builtins(found.service), "files": files, "source": "gone/service.yaml"}
    return run(configuration=described, configuration_hash=found.hash), store


def test_data_from_an_absolute_place_lies_beside_the_service(
    recorded: tuple[Run, MemoryStore], tmp_path: Path
) -> None:
    one, store = recorded
    service = one.configuration["service"]
    moved = service | {"data": service["data"] | {"path": "/elsewhere/d.csv"}}
    one = msgspec.structs.replace(one, configuration=one.configuration | {"service": moved})
    path = restore(one, store, tmp_path / "new", data=b"t\nb\n")
    assert (path.parent / "data.csv").read_text() == "t\nb\n"
    assert load_configuration(path).hash == one.configuration_hash


def changed(recorded: Run, index: int, **fields: Any) -> Run:
    files = [dict(file) for file in recorded.configuration["files"]]
    files[index] |= fields
    return msgspec.structs.replace(recorded, configuration=recorded.configuration | {"files": files})


def test_the_restored_service_is_the_recorded_one(recorded: tuple[Run, MemoryStore], tmp_path: Path) -> None:
    one, store = recorded
    path = restore(one, store, tmp_path / "new", data=b"t\nb\n")
    found = load_configuration(path)
    assert found.hash == one.configuration_hash
    assert found.service.data is not None
    assert Path(found.root, found.service.data.path).read_text() == "t\nb\n"
    assert all(file.is_relative_to(tmp_path / "new") for file in (tmp_path / "new").rglob("*"))


@pytest.mark.parametrize(
    "path", ["../../../escaped.py", "/tmp/escaped.py", "service.yaml", "a/../../../../../x.py"]
)
def test_no_file_is_written_outside_of_the_folder_or_over_the_service_file(
    recorded: tuple[Run, MemoryStore], tmp_path: Path, path: str
) -> None:
    one, store = recorded
    target = tmp_path / "deep" / "new"
    target.mkdir(parents=True)
    with pytest.raises(BundleError):
        restore(changed(one, 1, path=path), store, target)
    assert [file.name for file in (tmp_path / "deep").iterdir()] == ["new"]
    assert not Path("/tmp/escaped.py").exists()


def test_a_file_that_is_kept_nowhere_is_named(recorded: tuple[Run, MemoryStore], tmp_path: Path) -> None:
    one, _ = recorded
    with pytest.raises(BundleError, match=r"'\.\./models/tiny\.onnx' .* cannot be put together again"):
        restore(one, MemoryStore(), tmp_path / "new")


def test_files_that_make_another_configuration_are_refused(
    recorded: tuple[Run, MemoryStore], tmp_path: Path
) -> None:
    one, store = recorded
    other = store.put(b"def f(inputs): return {}\n").removeprefix("sha256:")
    index = next(i for i, file in enumerate(one.configuration["files"]) if file["name"] == "steps.py:f")
    with pytest.raises(BundleError, match=r"make configuration .* was recorded"):
        restore(changed(one, index, digest=other), store, tmp_path / "new")


def test_a_service_that_cannot_be_read_is_refused(recorded: tuple[Run, MemoryStore], tmp_path: Path) -> None:
    one, store = recorded
    described = dict(one.configuration) | {"files": one.configuration["files"][:1]}
    with pytest.raises(BundleError, match=r"cannot be read again"):
        restore(msgspec.structs.replace(one, configuration=described), store, tmp_path / "new")
