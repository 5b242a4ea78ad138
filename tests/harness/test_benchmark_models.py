"""The models that tests and benchmarks share do what they say, in onnxruntime."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from benchmarks import models


def session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def run(model: onnx.ModelProto, **inputs: Any) -> list[Any]:
    return session(model).run(None, {name: np.asarray(value) for name, value in inputs.items()})


def normal(*shape: int) -> "np.typing.NDArray[np.float32]":
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize(
    "build", [models.tiny, models.encoder, models.matmul, lambda seed: models.busy(2, 8, seed)]
)
def test_a_seed_decides_every_byte(build: Callable[..., onnx.ModelProto]) -> None:
    first, again, other = (build(seed=seed).SerializeToString(deterministic=True) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_tiny_gives_the_probabilities_of_its_trees() -> None:
    x = normal(50, 30)
    (y,) = run(models.tiny(), x=x)
    np.testing.assert_allclose(y, models.Trees(0).predict(x), atol=1e-6)
    np.testing.assert_allclose(y.sum(axis=1), 1, atol=1e-6)
    assert 0.1 < y[:, 1].std() < 0.4  # neither constant nor saturated


@pytest.mark.parametrize("pooled", [True, False])
def test_padding_changes_no_real_token_of_the_encoder(pooled: bool) -> None:
    engine = session(models.encoder(pooled=pooled))
    tokens = np.random.default_rng(1).integers(0, 1000, (3, 7))
    mask = np.ones_like(tokens)
    (plain,) = engine.run(None, {"input_ids": tokens, "attention_mask": mask})
    wide = ((0, 0), (0, 9))
    padded_inputs = {"input_ids": np.pad(tokens, wide), "attention_mask": np.pad(mask, wide)}
    (padded,) = engine.run(None, padded_inputs)
    np.testing.assert_allclose(padded if pooled else padded[:, :7], plain, atol=1e-6)


@pytest.mark.slow  # draws 22 million weights
def test_text_has_the_shapes_of_minilm() -> None:
    model = models.text()
    (y,) = run(model, x=np.random.default_rng(1).integers(1000, 30_000, (2, 5)))
    assert y.shape == (2, 384)
    np.testing.assert_allclose(np.linalg.norm(y, axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("datatype", sorted(models.ONNX_OF_DATATYPE.keys() - {"BF16"}))
def test_identity_gives_back_what_it_takes(datatype: str) -> None:
    dtype = onnx.helper.tensor_dtype_to_np_dtype(models.ONNX_OF_DATATYPE[datatype])
    x = np.array([["a", "ä"]], object) if datatype == "BYTES" else np.array([[0, 1]]).astype(dtype)
    (y,) = run(models.identity(datatype), x=x)
    assert y.tolist() == x.tolist()


def test_identity_takes_bfloat16() -> None:
    (x,) = session(models.identity("BF16")).get_inputs()
    assert x.type == "tensor(bfloat16)"


def test_the_small_ones_compute_what_they_say() -> None:
    x = normal(3, 8)
    weight = onnx.numpy_helper.to_array(models.matmul().graph.initializer[0])
    np.testing.assert_allclose(run(models.matmul(), x=x)[0], x @ weight, rtol=1e-4, atol=1e-5)
    both = run(models.two_inputs(), a=x, b=2 * x)
    np.testing.assert_allclose(both, [3 * x, -x], rtol=1e-6)
    np.testing.assert_allclose(run(models.centred(), x=x)[0], x - x.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(run(models.total(), x=x)[0], x.sum(), rtol=1e-4)
    assert run(models.gather(), x=[3, 9])[0].tolist() == [[3, 9], [9, 81]]
    assert run(models.busy(2, 8), x=x)[0].shape == (3, 8)


def test_gather_fails_on_an_index_out_of_range() -> None:
    with pytest.raises(
        onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument, match="out of data bounds"
    ):
        run(models.gather(10), x=[1, 10])


def test_a_model_is_written_with_its_folders(tmp_path: Path) -> None:
    path = models.write(models.matmul(), tmp_path / "repository" / "m" / "1" / "model.onnx")
    assert path.read_bytes() == models.matmul().SerializeToString(deterministic=True)
