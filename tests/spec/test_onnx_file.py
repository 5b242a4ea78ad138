"""External data of ONNX models, found without the onnx package; the onnx package writes the models."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from benchmarks import models
from trivet.errors import SpecError
from trivet.spec.onnx_file import external_files


def external(name: str, location: str) -> TensorProto:
    tensor = numpy_helper.from_array(np.arange(4, dtype=np.float32), name)
    raw = tensor.raw_data
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", str(len(raw)))):
        tensor.external_data.add(key=key, value=value)
    return tensor


def model_with(*initializers: TensorProto, nodes: list[onnx.NodeProto] | None = None) -> onnx.ModelProto:
    graph = helper.make_graph(nodes or [], "g", [], [], list(initializers))
    return helper.make_model(graph)


def test_a_model_that_holds_its_weights_names_no_files(tmp_path: Path) -> None:
    assert external_files(models.write(models.tiny(), tmp_path / "tiny.onnx")) == ()


def test_each_file_is_named_once_in_the_order_of_the_model(tmp_path: Path) -> None:
    tensors = [external("a", "w/two.bin"), external("b", "one.bin"), external("c", "w/two.bin")]
    assert external_files(models.write(model_with(*tensors), tmp_path / "m.onnx")) == ("w/two.bin", "one.bin")


def test_weights_saved_by_the_onnx_package_are_found(tmp_path: Path) -> None:
    onnx.save(
        models.matmul(), tmp_path / "m.onnx", save_as_external_data=True, location="weights", size_threshold=0
    )
    assert external_files(tmp_path / "m.onnx") == ("weights",)


def test_tensors_inside_attributes_subgraphs_and_functions_are_found(tmp_path: Path) -> None:
    inner = helper.make_graph(
        [helper.make_node("Constant", [], ["y"], value=external("v", "deep.bin"))], "i", [], []
    )
    branch = helper.make_node("If", ["c"], ["z"], then_branch=inner, else_branch=inner)
    model = model_with(external("a", "top.bin"), nodes=[branch])
    constant = helper.make_node("Constant", [], ["k"], value=external("f", "function.bin"))
    model.functions.append(
        helper.make_function("d", "F", [], ["k"], [constant], [helper.make_opsetid("", 21)])
    )
    sparse = onnx.SparseTensorProto(values=external("s", "values.bin"), indices=external("i", "indices.bin"))
    model.graph.sparse_initializer.append(sparse)
    path = models.write(model, tmp_path / "m.onnx")
    assert {"deep.bin", "top.bin", "function.bin", "values.bin", "indices.bin"} == set(external_files(path))


def test_a_location_that_is_not_in_use_does_not_count(tmp_path: Path) -> None:
    tensor = external("a", "unused.bin")
    tensor.data_location = TensorProto.DEFAULT
    assert external_files(models.write(model_with(tensor), tmp_path / "m.onnx")) == ()


@pytest.mark.parametrize("location", ["../secret", "/etc/passwd", "a/../../b", ""])
def test_weights_outside_the_models_folder_are_refused(tmp_path: Path, location: str) -> None:
    path = models.write(model_with(external("a", location)), tmp_path / "m.onnx")
    with pytest.raises(SpecError, match="lies outside the model's folder"):
        external_files(path)


def test_an_empty_file_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").touch()
    with pytest.raises(SpecError, match="the model file is empty"):
        external_files(tmp_path / "m.onnx")


def test_a_cut_off_model_is_refused(tmp_path: Path) -> None:
    whole = models.write(models.matmul(), tmp_path / "m.onnx").read_bytes()
    (tmp_path / "m.onnx").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SpecError, match="not a complete ONNX file"):
        external_files(tmp_path / "m.onnx")


@given(st.binary(min_size=1, max_size=200))
def test_any_bytes_bring_names_or_an_error_of_ours(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.onnx"
    path.write_bytes(data)
    try:
        names: tuple[str, ...] = external_files(path)
    except SpecError as error:
        names = (str(error.where),)
    assert all(isinstance(name, str) for name in names)
