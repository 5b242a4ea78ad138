"""What every engine promises: run one batch on one variant, or stream one answer."""

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from trivet.spec.signature import Signature

Tensors = Mapping[str, NDArray[Any]]


class Engine(Protocol):
    """One executable model. Not thread-safe unless it says so: the runtime gives an instance one batch at a time."""

    @property
    def signature(self) -> Signature: ...

    def run(self, inputs: Tensors) -> dict[str, NDArray[Any]]:
        """All outputs of the signature, in its datatypes; inputs are not changed.

        Args: inputs: one array for each input of the signature, of its datatype (BYTES: object array of bytes).
        Raises: EngineError: the model failed on this batch; the engine itself can go on.
        """

    def close(self) -> None:
        """Free what the engine holds; later calls to `run` are an error of the caller."""


class StreamingEngine(Engine, Protocol):
    """An engine that can give one answer in chunks."""

    def stream(self, inputs: Tensors) -> Iterator[dict[str, NDArray[Any]]]:
        """Chunks of one request's answer as they come; closing the iterator cancels the work.

        Raises: EngineError: the model failed; chunks already given stand.
        """


def input_dtypes(signature: Signature) -> dict[str, np.dtype[Any]]:
    from trivet.spec.dtypes import NUMPY_OF_DATATYPE

    return {spec.name: np.dtype(NUMPY_OF_DATATYPE[spec.datatype]) for spec in signature.inputs}
