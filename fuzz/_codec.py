"""What the two codec targets share: services of every kind, and what must hold for each of their answers."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trivet.errors import BadRequestError, RequestError
from trivet.runtime.batch import BatchBuilder
from trivet.spec.dtypes import NUMPY_OF_DATATYPE
from trivet.spec.signature import Signature, TensorSpec
from trivet.wire.v2_error import error_body
from trivet.wire.v2_request import InferMessage, RequestDecoder
from trivet.wire.v2_response import ResponseEncoder

_LONGEST_MESSAGE = 2000
_LARGEST_ECHO = 1 << 20


def _signature(*datatypes: str, shape: tuple[int, ...]) -> Signature:
    names = ("x", "z")
    specs = tuple(TensorSpec(name, datatype, shape) for name, datatype in zip(names, datatypes, strict=False))
    return Signature(specs, specs, batch_axis=bool(shape) and shape[0] == -1)


SIGNATURES = (
    *(_signature(datatype, shape=(-1, -1)) for datatype in NUMPY_OF_DATATYPE),
    _signature("FP32", shape=(-1, 2)),
    _signature("FP32", shape=(2, 3)),
    _signature("INT64", shape=()),
    _signature("FP64", shape=(-1, -1, -1)),
    _signature("FP32", "FP32", shape=(-1, 2)),
    _signature("BYTES", "BOOL", shape=(-1, -1)),
)
SERVICES = tuple(
    (signature, RequestDecoder(signature), BatchBuilder(signature), ResponseEncoder("m", "1", signature, "0"))
    for signature in SIGNATURES
)


def outcome(service: int, decode: Callable[[RequestDecoder], InferMessage], *, afresh: bool = False) -> Any:
    """What decoding and answering with the same tensors gives: comparable, or None where it was refused.

    `afresh`: with a decoder that remembers nothing of the requests before.
    """
    signature, decoder, builder, encoder = SERVICES[service % len(SERVICES)]
    if afresh:
        decoder = RequestDecoder(signature)
    try:
        message = decode(decoder)
    except RequestError as error:
        if error.status not in (400, 501) or not 0 < len(str(error)) < _LONGEST_MESSAGE:
            raise AssertionError(f"{error.status}, {len(str(error))} characters") from error
        error_body(str(error)).decode()
        return None
    arrays = builder.build([message.inputs], message.inputs[0].shape[0] if signature.batch_axis else 1)
    _check_arrays(signature, arrays)
    try:
        parts, json_size = encoder.encode(arrays, message)
    except BadRequestError:  # FP16 or BYTES that JSON cannot carry
        return (message.id, message.outputs, message.binary_outputs)
    return (b"".join(parts), json_size)


def _check_arrays(signature: Signature, arrays: dict[str, NDArray[Any]]) -> None:
    for spec in signature.inputs:
        array = arrays[spec.name]
        if array.dtype != np.dtype(NUMPY_OF_DATATYPE[spec.datatype]) or array.ndim != len(spec.shape):
            raise AssertionError(f"{spec} became {array.dtype} {array.shape}")
        if array.size > _LARGEST_ECHO:
            raise AssertionError(f"{array.size} elements from a few bytes")
