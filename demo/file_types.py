"""Google's magika file-type model, of its package: where it lies, what it takes, what its answers mean."""

import importlib.metadata
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray


class _Config(msgspec.Struct):
    beg_size: int
    end_size: int
    padding_token: int
    block_size: int
    target_labels_space: list[str]


class FileTypes:
    """The model of the installed `magika` package: where it lies, what it takes, what its answers mean."""

    def __init__(self) -> None:
        files = importlib.metadata.files("magika") or []
        model = next(file for file in files if file.name == "model.onnx")
        self.path = Path(str(model.locate()))
        config = self.path.with_name("config.min.json")
        self._config = msgspec.json.decode(config.read_bytes(), type=_Config)

    def features(self, path: Path) -> NDArray[np.int32]:
        """The first and last bytes of a file without the white space around them, shape (2048,)."""
        config = self._config
        with path.open("rb") as file:
            head = file.read(config.block_size).lstrip()[: config.beg_size]
            file.seek(max(0, path.stat().st_size - config.block_size))
            tail = file.read(config.block_size).rstrip()[-config.end_size :]
        features = np.full(config.beg_size + config.end_size, config.padding_token, np.int32)
        features[: len(head)] = np.frombuffer(head, np.uint8)
        if tail:
            features[-len(tail) :] = np.frombuffer(tail, np.uint8)
        return features

    @property
    def labels(self) -> Sequence[str]:
        """By position in the answer."""
        return self._config.target_labels_space
