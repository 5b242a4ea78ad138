"""What a request asks for, as one digest: the same for equal requests, whatever their encoding was.

Covered: the bytes and shapes of all inputs in the signature's order, and the parameters that may change an answer. Not
covered: the request's id, how its answer is to be encoded, which outputs of it are wanted, and how long it may take.
Tensors are compared bit by bit: 0.0 and -0.0 are two inputs.
"""

from collections.abc import Mapping
from functools import lru_cache
from hashlib import blake2b
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from trivet.wire.v2_request import InferMessage

DIGEST_BYTES = 24
# Parameters that say when and how to answer, not what.
_UNCHANGING = frozenset({"timeout", "priority", "binary_data_output"})

_encode = msgspec.json.Encoder(order="deterministic").encode


def scope(*words: str) -> bytes:
    """What digests are told apart by: a configuration, a tenant, a stage. Different words give different scopes."""
    hasher = blake2b(digest_size=DIGEST_BYTES)
    for word in words:
        raw = word.encode()
        hasher.update(len(raw).to_bytes(8, "little"))
        hasher.update(raw)
    return hasher.digest()


def message_digest(within: bytes, message: InferMessage) -> bytes:
    """Args: within: a scope; it covers the configuration, and with it the inputs' datatypes and their order."""
    parts: list[Any] = []
    for tensor in message.inputs:
        data = tensor.data
        if isinstance(data, np.ndarray) and data.dtype.hasobject:
            data = _strings(data)
        parts += (_shape(tensor.shape), data)  # which is as long as shape and datatype say, or says so itself
    if message.parameters is not None:
        changing = {name: value for name, value in message.parameters.items() if name not in _UNCHANGING}
        if changing:
            parts.append(_encode(changing))
    return blake2b(b"".join(parts), digest_size=DIGEST_BYTES, key=within).digest()


def tensors_digest(within: bytes, tensors: Mapping[str, NDArray[Any]]) -> bytes | None:
    """Of what a stage takes, by name. None: something that is neither numbers nor strings stands in it."""
    hasher = blake2b(digest_size=DIGEST_BYTES, key=within)
    for name in sorted(tensors):
        array = np.asarray(tensors[name])
        hasher.update(_encode((name, array.dtype.str, array.shape)))
        if not array.dtype.hasobject:
            raw: Any = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
            hasher.update(raw)
            continue
        if array.dtype != object or not all(isinstance(item, bytes | str) for item in array.flat):
            return None
        hasher.update(_strings(array))
    return hasher.digest()


@lru_cache(maxsize=4096)
def _shape(shape: tuple[int, ...]) -> bytes:
    return _encode(shape)


def _strings(array: NDArray[Any]) -> bytes:
    """Each with its length and kind before it: no two arrays of one shape give the same bytes."""
    parts = []
    for item in array.flat:
        is_text = isinstance(item, str)
        raw = item.encode() if is_text else item
        parts += [b"s" if is_text else b"b", len(raw).to_bytes(8, "little"), raw]
    return b"".join(parts)
