"""Triton-style repository folders: what is read from them, and that nothing outside is."""

from pathlib import Path

import onnx
import pytest

from benchmarks import models
from trivet.errors import SpecError
from trivet.spec.configuration import configuration
from trivet.spec.levers import Levers, Priorities
from trivet.spec.model_config import VersionPolicy, parse_config
from trivet.spec.repository import model_names, read_model, read_repository
from trivet.spec.service import Model
from trivet.spec.service_file import load_configuration
from trivet.spec.signature import TensorSpec

CONFIG = """\
name: "encoder"
platform: "onnxruntime_onnx"
max_batch_size: 8
input [
  { name: "ids" data_type: TYPE_INT64 dims: [ -1 ] },
  { name: "text" data_type: TYPE_STRING dims: 1 reshape { shape: [ ] } }
]
output [ { name: "y" data_type: TYPE_FP32 dims: [ 384 ] label_filename: "l.txt" } ]
dynamic_batching {
  preferred_batch_size: [ 4, 8 ]
  max_queue_delay_microseconds: 100
  priority_levels: 2
  default_priority_level: 1
  default_queue_policy { timeout_action: REJECT default_timeout_microseconds: 5000 max_queue_size: 10 }
}
instance_group [ { count: 2 kind: KIND_CPU } ]
parameters { key: "intra_op_thread_count" value: { string_value: "3" } }
parameters { key: "other" value: { string_value: "x" } }
optimization { graph { level: 1 } }
version_policy: { latest { num_versions: 2 } }
max_batchsize: 4
"""


def repository(path: Path, versions: tuple[str, ...] = ("1",), config: str | None = None) -> Path:
    for version in versions:
        models.write(models.tiny(), path / "encoder" / version / "model.onnx")
    if config is not None:
        (path / "encoder" / "config.pbtxt").write_text(config)
    return path


def test_a_config_is_read_in_our_words() -> None:
    config = parse_config(CONFIG, "config.pbtxt")
    assert config.model == Model(
        file="model.onnx",
        engine="onnxruntime",
        levers=Levers(threads=3, instances=2, max_batch_size=8, deferral_ns=100_000, queue_ns=5_000_000),
        batching="auto",
        batch_axis=True,
    )
    assert Priorities(default=1, levels=2) == config.priorities
    assert VersionPolicy("latest", num_latest=2) == config.versions
    assert (TensorSpec("ids", "INT64", (-1, -1)), TensorSpec("text", "BYTES", (-1, 1))) == config.inputs
    assert (TensorSpec("y", "FP32", (-1, 384)),) == config.outputs


def test_what_is_not_taken_over_is_said() -> None:
    assert parse_config(CONFIG, "config.pbtxt").warnings == (
        "config.pbtxt:6: reshape of input 'text' is ignored",
        "config.pbtxt:8: label_filename of output 'y' is ignored",
        "config.pbtxt:10: preferred_batch_size of dynamic_batching is ignored",
        "config.pbtxt:14: max_queue_size of default_queue_policy is ignored",
        "config.pbtxt:18: parameter 'other' is ignored",
        "config.pbtxt:19: optimization is ignored",
        "config.pbtxt:21: unknown field 'max_batchsize' is ignored; did you mean 'max_batch_size'?",
    )


@pytest.mark.parametrize(
    ("text", "batching", "batch_axis", "max_batch_size"),
    [
        ("", "auto", "auto", "auto"),
        ("max_batch_size: 0", "off", False, "auto"),
        ("max_batch_size: 8", "off", True, 8),
        ("max_batch_size: 8 dynamic_batching { }", "auto", True, 8),
        ("max_batch_size: 1 dynamic_batching { }", "off", True, 1),
        ("dynamic_batching { }", "auto", "auto", "auto"),
    ],
)
def test_requests_share_a_batch_where_the_config_says_so(
    text: str, batching: str, batch_axis: object, max_batch_size: object
) -> None:
    model = parse_config(text, "config.pbtxt").model
    assert (batching, batch_axis, max_batch_size) == (
        model.batching,
        model.batch_axis,
        model.levers.max_batch_size,
    )


def test_a_gpu_group_asks_for_cuda_and_another_backend_for_its_engine() -> None:
    config = parse_config("instance_group { kind: KIND_GPU gpus: [ 0 ] }", "c")
    assert (config.model.providers, config.model.levers.instances) == (("cuda", "cpu"), 1)
    assert config.warnings == ("c:1: gpus of instance_group is ignored",)
    model = parse_config('backend: "openvino"', "c").model
    assert (model.engine, model.file) == ("openvino", "model.xml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('max_batch_size: "8"', "c:1: max_batch_size: expected a whole number, got '8'"),
        ("\nmax_batch_size: -1", "c:2: max_batch_size: expected at least 0, got -1"),
        ("name: m", "c:1: name: expected text in quotes, got m"),
        ('name: "a"\nname: "b"', "c:2: name is given twice; first on line 1"),
        (
            '\nplatform: "tensorflow_graphdef"',
            "c:2: platform 'tensorflow_graphdef' is not served; known: onnxruntime",
        ),
        ('backend: "python"', "c:1: backend 'python' is not served; known: onnxruntime, openvino"),
        ("ensemble_scheduling { }", "c:1: ensemble_scheduling is not served; serve its models one by one"),
        ("sequence_batching { }", "c:1: sequence_batching is not served"),
        ("input { data_type: TYPE_FP32 }", "c:1: this input has no name"),
        ('input {\nname: "x"\ndata_type: TYPE_FLOAT32 }', "c:3: input 'x': unknown data_type 'TYPE_FLOAT32'"),
        ('input { name: "x" data_type: "TYPE_FP32" }', "c:1: data_type: expected a word without quotes"),
        ('input { name: "x" data_type: TYPE_FP32 dims: 1.5 }', "c:1: dims: expected a whole number, got 1.5"),
        ("input: 3", "c:1: input: expected {…}, got 3"),
        (
            "instance_group { kind: KIND_MODEL }",
            "c:1: kind 'KIND_MODEL' is not served; known: KIND_AUTO, KIND_CPU",
        ),
        ("instance_group { count: 0 }", "c:1: count: expected at least 1, got 0"),
        ("version_policy { newest { } }", "c:1: version_policy: expected latest, all or specific"),
        ("version_policy { specific { versions: 0 } }", "c:1: versions: expected at least 1, got 0"),
        (
            'parameters { key: "intra_op_thread_count" value { string_value: "many" } }',
            "c:1: intra_op_thread_count: expected a whole number, got 'many'",
        ),
        (
            "dynamic_batching {\npriority_levels: 2\ndefault_priority_level: 3 }",
            "c:3: default_priority_level 3 is not one of the 2 levels",
        ),
        ("max_batch_size: {}", "c:1: max_batch_size: expected a whole number, got {…}"),
    ],
)
def test_a_config_that_cannot_be_served_is_told_with_its_line(text: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_config(text, "c")
    assert str(caught.value).startswith(message)


def test_a_folder_without_a_config_is_a_bare_model(tmp_path: Path) -> None:
    (model,) = read_repository(repository(tmp_path))
    assert ("encoder", "1", tmp_path / "encoder" / "1", ()) == (
        model.name,
        model.version,
        model.root,
        model.warnings,
    )
    models.write(models.tiny(), tmp_path / "elsewhere" / "tiny.onnx")
    bare = load_configuration(tmp_path / "elsewhere" / "tiny.onnx")
    assert bare.hash == configuration(model.service, model.root).hash


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("", ["12"]),
        ("version_policy { latest { num_versions: 2 } }", ["9", "12"]),
        ("version_policy { all { } }", ["2", "9", "12"]),
        ("version_policy { specific { versions: [ 9, 2 ] } }", ["2", "9"]),
        ("version_policy: { latest: { num_versions: 99 } }", ["2", "9", "12"]),
    ],
)
def test_the_policy_picks_versions_by_number(tmp_path: Path, policy: str, expected: list[str]) -> None:
    repository(tmp_path, ("9", "12", "2", "01", "draft"), policy)
    assert expected == [model.version for model in read_model(tmp_path, "encoder")]


def test_only_folders_that_are_not_hidden_are_models(tmp_path: Path) -> None:
    repository(tmp_path)
    (tmp_path / ".git").mkdir()
    (tmp_path / "README.md").touch()
    assert model_names(tmp_path) == ["encoder"]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ('name: "other"', "config.pbtxt: name 'other' differs from the folder 'encoder'"),
        ("version_policy { specific { versions: 7 } }", "version_policy names version 7; the folder has 1"),
        ('default_model_filename: "net.onnx"', "no model file 'net.onnx'; the folder holds model.onnx"),
        ('default_model_filename: "../1/model.onnx"', "must lie in the version folder"),
        ('default_model_filename: ".."', "must lie in the version folder"),
        ("name:", "config.pbtxt:1: expected a value"),
    ],
)
def test_a_model_that_cannot_be_served_is_named(tmp_path: Path, config: str, message: str) -> None:
    repository(tmp_path, config=config)
    with pytest.raises(SpecError) as caught:
        read_repository(tmp_path)
    assert message in str(caught.value)


def test_empty_folders_say_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="no models here; expected folders"):
        read_repository(tmp_path)
    (tmp_path / "m").mkdir()
    with pytest.raises(SpecError, match="no version folder; expected 1, 2"):
        read_repository(tmp_path)
    with pytest.raises(SpecError, match="not a folder that can be read"):
        read_repository(tmp_path / "none")


@pytest.mark.parametrize("name", ["", ".", "..", "../secret", "a/b", "a\\b", ".git", "a\0b", "none"])
def test_a_name_from_a_client_stays_in_the_repository(tmp_path: Path, name: str) -> None:
    inside = repository(tmp_path / "repository")
    repository(tmp_path / "secret")
    with pytest.raises(SpecError):
        read_model(inside, name)


@pytest.mark.parametrize("link", ["encoder", "encoder/1", "encoder/1/model.onnx", "encoder/config.pbtxt"])
def test_a_link_out_of_the_repository_is_refused(tmp_path: Path, link: str) -> None:
    secret = repository(tmp_path / "secret", config="max_batch_size: 4")
    inside = repository(tmp_path / "repository", config="max_batch_size: 4")
    moved = inside / link
    moved.rename(tmp_path / "moved")
    moved.symlink_to(secret / link)
    with pytest.raises(SpecError, match="leads out of the repository"):
        read_repository(inside)


def test_a_link_inside_the_repository_is_followed(tmp_path: Path) -> None:
    repository(tmp_path)
    (tmp_path / "encoder" / "2").symlink_to(tmp_path / "encoder" / "1")
    assert [model.version for model in read_repository(tmp_path)] == ["2"]


@pytest.mark.parametrize("link", ["encoder/1/model.onnx", "encoder/config.pbtxt"])
def test_a_link_to_nothing_is_refused(tmp_path: Path, link: str) -> None:
    repository(tmp_path)
    (tmp_path / link).unlink(missing_ok=True)
    (tmp_path / link).symlink_to(tmp_path / "nothing")
    with pytest.raises(SpecError, match=r"a link to nothing|no model file"):
        read_repository(tmp_path)


def test_a_model_whose_weights_lie_outside_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "repository" / "m" / "1"
    folder.mkdir(parents=True)
    onnx.save(
        models.matmul(), folder / "model.onnx", save_as_external_data=True, location="w", size_threshold=0
    )
    assert len(read_repository(tmp_path / "repository")) == 1
    (folder / "w").rename(tmp_path / "w")
    (folder / "w").symlink_to(tmp_path / "w")
    with pytest.raises(SpecError, match="leads out of the repository"):
        read_repository(tmp_path / "repository")
