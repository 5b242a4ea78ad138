"""The encoder with given weights: what another file's names hold comes out as our own."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from benchmarks import models
from benchmarks._minilm import encoder_weights, read_safetensors

SHAPE = {"num_layers": 2, "hidden": 8, "num_heads": 2, "vocabulary": 20}
THEIRS = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "project": "attention.output.dense",
    "widen": "intermediate.dense",
    "narrow": "output.dense",
    "norm1": "attention.output.LayerNorm",
    "norm2": "output.LayerNorm",
}


def as_safetensors(model: onnx.ModelProto, path: Path) -> None:
    """The weights of one of our encoders under the names of a BERT file; token types are all zeros but one row."""
    ours = {weight.name: numpy_helper.to_array(weight) for weight in model.graph.initializer}
    gain, offset = ours["norm.gain"], ours["norm.offset"]
    theirs = {
        "embeddings.word_embeddings.weight": ours["words"],
        "embeddings.position_embeddings.weight": ours["positions"] - np.float32(1),
        "embeddings.token_type_embeddings.weight": np.ones((2, SHAPE["hidden"]), np.float32),
        "embeddings.position_ids": np.arange(4),
        "embeddings.LayerNorm.weight": gain,
        "embeddings.LayerNorm.bias": offset,
    }
    for layer in range(SHAPE["num_layers"]):
        for name, other in THEIRS.items():
            place = f"encoder.layer.{layer}.{other}"
            if name.startswith("norm"):
                theirs |= {f"{place}.weight": gain, f"{place}.bias": offset}
            else:
                theirs[f"{place}.weight"] = ours[f"layer{layer}.{name}.weight"].T
                theirs[f"{place}.bias"] = ours[f"layer{layer}.{name}.bias"]
    head, data = {"__metadata__": {"format": "pt"}}, b""
    for name, values in theirs.items():
        raw = np.ascontiguousarray(values).tobytes()
        dtype = {"float32": "F32", "int64": "I64"}[str(values.dtype)]
        head[name] = {
            "dtype": dtype,
            "shape": list(values.shape),
            "data_offsets": [len(data), len(data) + len(raw)],
        }
        data += raw
    encoded = json.dumps(head).encode()
    path.write_bytes(len(encoded).to_bytes(8, "little") + encoded + data)


def answers(model: onnx.ModelProto) -> "np.typing.NDArray[np.float32]":
    import onnxruntime

    engine = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    tokens = np.random.default_rng(3).integers(0, SHAPE["vocabulary"], (2, 5))
    found: np.typing.NDArray[np.float32] = engine.run(
        None, {"input_ids": tokens, "attention_mask": np.ones_like(tokens)}
    )[0]
    return found


def test_an_encoder_of_read_weights_answers_as_the_one_they_came_from(tmp_path: Path) -> None:
    drawn = models.encoder(**SHAPE)
    as_safetensors(drawn, tmp_path / "model.safetensors")
    assert read_safetensors(tmp_path / "model.safetensors")["embeddings.position_ids"].tolist() == [
        0,
        1,
        2,
        3,
    ]
    given = models.encoder(**SHAPE, given=encoder_weights(tmp_path / "model.safetensors"))
    np.testing.assert_allclose(answers(given), answers(drawn), atol=1e-6)


def test_a_weight_of_another_shape_is_named(tmp_path: Path) -> None:
    as_safetensors(models.encoder(**SHAPE), tmp_path / "model.safetensors")
    given = encoder_weights(tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="weight words has shape"):
        models.encoder(**{**SHAPE, "vocabulary": 21}, given=given)
