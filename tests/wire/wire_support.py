"""Signatures, arrays and requests for the tests of the codec; `tritonclient` is the other side."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from trivet.errors import RequestError
from trivet.spec.dtypes import NUMPY_OF_DATATYPE
from trivet.spec.signature import Signature, TensorSpec
from trivet.wire.tensor import as_array
from trivet.wire.v2_request import InferMessage, RequestDecoder

BINARY_ONLY = ("FP16", "BF16")
DATATYPES = tuple(NUMPY_OF_DATATYPE)
JSON_DATATYPES = tuple(datatype for datatype in DATATYPES if datatype not in BINARY_ONLY)
_LONGEST_MESSAGE = 1000


def signature(datatype: str = "FP32", shape: Sequence[int] = (-1, -1)) -> Signature:
    """x -> y of one datatype; free shapes."""
    return Signature(
        (TensorSpec("x", datatype, tuple(shape)),), (TensorSpec("y", datatype, tuple(shape)),), True
    )


def two_inputs(first: str = "FP32", second: str = "FP32") -> Signature:
    return Signature(
        (TensorSpec("a", first, (-1, 2)), TensorSpec("b", second, (-1, 2))),
        (TensorSpec("y", first, (-1, 2)), TensorSpec("z", second, (-1, 2))),
        True,
    )


@st.composite
def arrays(draw: st.DrawFn, datatype: str, *, text_only: bool = False) -> NDArray[Any]:
    """Any array of a datatype, sizes of 0 included. `text_only`: BYTES are UTF-8 and floats are numbers."""
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4))
    if datatype == "BYTES":
        item = st.text().map(str.encode) if text_only else st.binary()
        values = draw(st.lists(item, min_size=int(np.prod(shape)), max_size=int(np.prod(shape))))
        out = np.empty(len(values), object)
        out[:] = values
        return out.reshape(shape)
    dtype = np.dtype(NUMPY_OF_DATATYPE[datatype])
    special = {"allow_nan": False, "allow_infinity": False} if text_only and dtype.kind == "f" else {}
    return draw(hnp.arrays(dtype, shape, elements=hnp.from_dtype(dtype, **special)))


def free(array: NDArray[Any]) -> list[int]:
    """A declared shape with as many free axes as `array` has."""
    return [-1] * array.ndim


def same(left: NDArray[Any], right: NDArray[Any]) -> bool:
    """Equal shape and equal bits."""
    if left.shape != right.shape or left.dtype != right.dtype:
        return False
    return left.tolist() == right.tolist() if left.dtype == object else left.tobytes() == right.tobytes()


def json_request(
    data: Any, shape: Sequence[Any] = (1, 2), datatype: str = "FP32", name: str = "x", **extra: Any
) -> bytes:
    tensor = {"name": name, "shape": list(shape), "datatype": datatype, "data": data}
    return json.dumps({"inputs": [tensor], **extra}).encode()


def raw_request(data: str, shape: str = "[1,2]", datatype: str = "FP32", extra: str = "") -> bytes:
    """A request written by hand: what `json` would not write."""
    text = f'{{"inputs":[{{"name":"x","shape":{shape},"datatype":"{datatype}","data":{data}}}]{extra}}}'
    return text.encode("utf-8", "surrogatepass")


def carefully(body: bytes) -> bytes:
    """The same request in a form that only the careful reader takes: with a `parameters` object that is empty."""
    assert body.endswith(b"}")
    return body[:-1] + b',"parameters":{}}'


def tensor_of(message: InferMessage, datatype: str, index: int = 0) -> NDArray[Any]:
    tensor = message.inputs[index]
    return as_array(datatype, tensor.data, tensor.shape)


def outcome(decoder: RequestDecoder, datatype: str, body: bytes, json_size: int | None = None) -> Any:
    """What decoding gives, comparable: shape, bytes and id, or that it was refused.

    Asserts what holds for every body: refused means a client's error with a message that can be sent.
    """
    try:
        message = decoder.decode(body, json_size)
    except RequestError as error:
        _check_refusal(error)
        return "refused"
    array = tensor_of(message, datatype)
    data = array.tolist() if array.dtype == object else array.tobytes()
    return (array.shape, data, message.id, message.outputs, message.binary_outputs)


def _check_refusal(error: RequestError) -> None:
    text = str(error)
    assert error.status in (400, 501), error
    assert 10 < len(text) < _LONGEST_MESSAGE, f"{len(text)} characters"
    assert text.encode()  # no lone surrogates: the answer is UTF-8
