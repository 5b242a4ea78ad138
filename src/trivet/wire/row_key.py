"""What identifies the inputs of one row, however the request that brought it was encoded."""

import struct
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trivet.spec.signature import Signature
from trivet.wire.v2_input import InferInput

KEY_BYTES = 16


class RowKeys:
    """Keys of a service's requests: one for each row where its inputs have a batch axis, else one for all of it.

    Equal keys mean equal datatypes, shapes and bytes (names and datatypes are the signature's: keys of two services say
    nothing of each other). Equal numbers of different bytes, as 0.0 and -0.0, have different keys.
    """

    __slots__ = ("_are_bytes", "_batch_axis")

    def __init__(self, signature: Signature) -> None:
        self._are_bytes = [spec.datatype == "BYTES" for spec in signature.inputs]
        self._batch_axis = signature.batch_axis

    def of(self, inputs: Sequence[InferInput]) -> list[bytes]:
        """Args: inputs: in the signature's order; where there is a batch axis they agree on its size."""
        num_keys = inputs[0].shape[0] if self._batch_axis else 1
        digests = [blake2b(digest_size=KEY_BYTES) for _ in range(num_keys)]
        for tensor, are_bytes in zip(inputs, self._are_bytes, strict=True):
            shape = tensor.shape[1:] if self._batch_axis else tensor.shape
            head = struct.pack(f"<{len(shape)}q", *shape)
            pieces = _strings(tensor, num_keys) if are_bytes else _numbers(tensor, num_keys)
            for digest, piece in zip(digests, pieces, strict=True):
                digest.update(head)  # as many sizes as the signature has: no end is needed
                digest.update(piece)
        return [digest.digest() for digest in digests]


def _numbers(tensor: InferInput, num_keys: int) -> list[Any]:
    data: Any = tensor.data
    if isinstance(data, np.ndarray):
        data = np.ascontiguousarray(data).reshape(-1).view(np.uint8)
    view = memoryview(data).cast("B")
    size = len(view) // num_keys if num_keys else 0
    return [view[i * size : (i + 1) * size] for i in range(num_keys)]


def _strings(tensor: InferInput, num_keys: int) -> list[bytes]:
    elements: NDArray[Any] = np.asarray(tensor.data).reshape(-1)
    size = len(elements) // num_keys if num_keys else 0
    return [
        b"".join(len(item).to_bytes(8, "little") + item for item in elements[i * size : (i + 1) * size])
        for i in range(num_keys)
    ]
