"""The openvino engine; collected where openvino is installed."""

from pathlib import Path

import numpy as np
import pytest
from contract_models import onnx_model
from engine_contract import EngineContract, Make

from benchmarks import models
from trivet.engine.openvino import OpenVinoEngine
from trivet.errors import EngineError, SpecError


class TestOpenVino(EngineContract):
    int64 = np.int32

    @pytest.fixture
    def make(self, tmp_path: Path) -> Make:
        return lambda name: OpenVinoEngine(onnx_model(name, tmp_path))


def test_bfloat16_keeps_its_bits(tmp_path: Path) -> None:
    engine = OpenVinoEngine(onnx_model("identity BF16", tmp_path))
    bits = np.array([[0x0000, 0x3F80, 0xBF80, 0x7F80]], np.uint16)
    y = engine.run({"x": bits})["y"]
    assert (y.dtype, y.tolist()) == (bits.dtype, bits.tolist())


def test_float32_is_computed_in_float32(tmp_path: Path) -> None:
    """Also on processors where OpenVINO would rather use bfloat16."""
    engine = OpenVinoEngine(models.write(models.matmul(64, 4), tmp_path / "m.onnx"))
    x = np.random.default_rng(1).normal(size=(5, 64)).astype(np.float32)
    weight = np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32)
    assert np.allclose(engine.run({"x": x})["y"], x @ weight, rtol=1e-4, atol=1e-5)


def test_int64_beyond_32_bits_is_refused(tmp_path: Path) -> None:
    engine = OpenVinoEngine(onnx_model("identity INT64", tmp_path))
    with pytest.raises(EngineError, match=r"it computes INT64 in 32 bits; 2147483648 does not fit"):
        engine.run({"x": np.array([[1 << 31]])})


def test_a_model_with_strings_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="'x' is of type string, which openvino cannot serve"):
        OpenVinoEngine(onnx_model("identity BYTES", tmp_path))


def test_a_scalar_output_has_no_batch_axis(tmp_path: Path) -> None:
    engine = OpenVinoEngine(models.write(models.total(), tmp_path / "total.onnx"))
    assert not engine.signature.batch_axis
    y = engine.run({"x": np.ones((2, 3), np.float32)})["y"]
    assert (y.shape, y.tolist()) == ((), 6.0)


def test_a_file_that_is_no_model_names_it(tmp_path: Path) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"nothing")
    with pytest.raises(SpecError, match=r"broken.onnx: openvino cannot load it"):
        OpenVinoEngine(path)
