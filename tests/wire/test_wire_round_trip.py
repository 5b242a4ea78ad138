"""Every datatype there and back, in JSON and binary, with tritonclient as the other side."""

import json
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import tritonclient.http as triton
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.wire.wire_support import (
    BINARY_ONLY,
    DATATYPES,
    JSON_DATATYPES,
    arrays,
    carefully,
    free,
    json_request,
    same,
    signature,
    tensor_of,
    two_inputs,
)
from trivet.errors import BadRequestError
from trivet.spec.signature import Signature, TensorSpec
from trivet.wire.v2_request import InferMessage, RequestDecoder
from trivet.wire.v2_response import ResponseEncoder, json_values

any_datatype = st.sampled_from(DATATYPES)
Client = triton.InferenceServerClient


def as_client(array: NDArray[Any], datatype: str) -> NDArray[Any]:
    """BF16 is raw bits in this codec and a type of `ml_dtypes` for the client."""
    return array.view(ml_dtypes.bfloat16) if datatype == "BF16" else array


def client_request(
    array: NDArray[Any], datatype: str, *, binary: bool, binary_out: bool = True
) -> tuple[bytes, int | None]:
    tensor = triton.InferInput("x", list(array.shape), datatype)
    tensor.set_data_from_numpy(as_client(array, datatype), binary_data=binary)
    output = triton.InferRequestedOutput("y", binary_data=binary_out)
    body, size = Client.generate_request_body([tensor], outputs=[output], request_id="r-1")
    return (body if isinstance(body, bytes) else body.encode()), size


def client_answer(array: NDArray[Any], message: InferMessage, of: Signature) -> triton.InferResult:
    encoder = ResponseEncoder("m", "1", of, "0123456789ab")
    parts, size = encoder.encode({"y": array}, message)
    return Client.parse_response_body(b"".join(parts), header_length=size)


@given(data=st.data(), datatype=any_datatype)
def test_binary_both_ways(data: st.DataObject, datatype: str) -> None:
    array = data.draw(arrays(datatype))
    of = signature(datatype, free(array))
    message = RequestDecoder(of).decode(*client_request(array, datatype, binary=True))
    assert same(array, tensor_of(message, datatype))
    assert message.id == "r-1"
    result = client_answer(array, message, of)
    assert {"id": "r-1", "model_name": "m"}.items() <= result.get_response().items()
    back = result.as_numpy("y")
    assert same(array, back.view(np.uint16) if datatype == "BF16" else back)


@given(data=st.data(), datatype=st.sampled_from(JSON_DATATYPES))
def test_json_both_ways(data: st.DataObject, datatype: str) -> None:
    array = data.draw(arrays(datatype, text_only=True))
    of = signature(datatype, free(array))
    text = np.vectorize(bytes.decode, otypes=[object])(array) if datatype == "BYTES" and array.size else array
    body, size = client_request(text, datatype, binary=False, binary_out=False)
    message = RequestDecoder(of).decode(body, size)
    assert same(array, tensor_of(message, datatype))
    result = client_answer(array, message, of)
    answer = result.get_output("y")
    assert list(array.shape) == answer["shape"]
    if datatype == "BYTES":
        assert array.reshape(-1).tolist() == [item.encode() for item in answer["data"]]
    else:
        assert same(array, result.as_numpy("y").astype(array.dtype))


@given(data=st.data(), datatype=any_datatype)
def test_a_raw_body_is_the_only_input(data: st.DataObject, datatype: str) -> None:
    if datatype == "BYTES":
        item = data.draw(st.binary())
        message = RequestDecoder(signature("BYTES")).decode(item, 0)
        assert message.inputs[0].shape == (1, 1)
        assert [item] == tensor_of(message, "BYTES").reshape(-1).tolist()
        return
    array = data.draw(arrays(datatype)).reshape(1, -1)
    message = RequestDecoder(signature(datatype)).decode(array.tobytes(), 0)
    assert same(array, tensor_of(message, datatype))
    assert message.binary_outputs is True


@given(data=st.data(), datatype=st.sampled_from(JSON_DATATYPES))
def test_nested_data_is_flat_data(data: st.DataObject, datatype: str) -> None:
    array = data.draw(arrays(datatype, text_only=True))
    values = (
        np.vectorize(bytes.decode, otypes=[object])(array) if datatype == "BYTES" and array.size else array
    )
    decoder = RequestDecoder(signature(datatype, free(array)))
    flat = decoder.decode(json_request(values.reshape(-1).tolist(), array.shape, datatype))
    nested = decoder.decode(json_request(values.tolist(), array.shape, datatype))
    assert same(array, tensor_of(flat, datatype))
    assert same(array, tensor_of(nested, datatype))


@given(values=st.lists(st.integers(-(2**70), 2**70), min_size=1), datatype=st.sampled_from(("FP32", "FP64")))
def test_integers_stand_for_floats(values: list[int], datatype: str) -> None:
    decoder = RequestDecoder(signature(datatype))
    message = decoder.decode(json_request(values, (1, len(values)), datatype))
    expected = np.array([[float(value) for value in values]]).astype(tensor_of(message, datatype).dtype)
    assert same(expected, tensor_of(message, datatype))


@pytest.mark.parametrize(
    ("value", "expected"),
    [("1e39", np.inf), ("-1e39", -np.inf), ("1" + 38 * "0", 1e38), ("1" + 40 * "0", np.inf)],
)
def test_a_number_beyond_float32_is_infinite(value: str, expected: float) -> None:
    body = b'{"inputs":[{"name":"x","shape":[1,1],"datatype":"FP32","data":[%b]}]}' % value.encode()
    for one in (body, carefully(body)):
        assert np.float32(expected) == tensor_of(RequestDecoder(signature()).decode(one), "FP32")[0, 0]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_json_cannot_say_is_null_in_json_and_itself_in_binary(value: float) -> None:
    of = signature()
    array = np.array([[value, 1.0]], np.float32)
    encoder = ResponseEncoder("m", "1", of, "0")
    in_json = RequestDecoder(of).decode(json_request([0.0, 0.0]))
    parts, size = encoder.encode({"y": array}, in_json)
    assert size is None
    assert json.loads(b"".join(parts))["outputs"][0]["data"] == [None, 1.0]
    assert encoder.json_row({"y": array.tolist()}, 0, "") is None  # the shape is free: the general way only
    in_binary = RequestDecoder(of).decode(json_request([0.0, 0.0], parameters={"binary_data_output": True}))
    parts, size = encoder.encode({"y": array}, in_binary)
    assert array.tobytes() == parts[1]


@given(data=st.data(), request_id=st.text())
def test_the_quick_answer_to_one_row_is_the_general_one(data: st.DataObject, request_id: str) -> None:
    rows = data.draw(st.lists(st.tuples(st.floats(width=32), st.floats(width=32)), min_size=1, max_size=4))
    array = np.array(rows, np.float32)
    of = signature("FP32", (-1, 2))
    encoder = ResponseEncoder("mödel", "3", of, "0123456789ab")
    index = data.draw(st.integers(0, len(rows) - 1))
    quick = encoder.json_row({"y": array.tolist()}, index, request_id)
    message = RequestDecoder(of).decode(json_request([0, 0], id=request_id))
    (general,), _ = encoder.encode({"y": array[index : index + 1]}, message)
    assert quick == general
    assert request_id == json.loads(general).get("id", "")


@pytest.mark.parametrize("datatype", BINARY_ONLY)
def test_a_half_float_asked_for_as_json_is_refused(datatype: str) -> None:
    of = signature(datatype)
    body = (
        b'{"inputs":[{"name":"x","shape":[1,1],"datatype":"%b","parameters":{"binary_data_size":2}}]}'
        % datatype.encode()
    )
    message = RequestDecoder(of).decode(body + b"\0\0", len(body))
    with pytest.raises(BadRequestError, match=f"output 'y' is {datatype}.*binary_data"):
        ResponseEncoder("m", "1", of, "0").encode({"y": np.zeros((1, 1), np.uint16)}, message)


def test_bytes_that_are_not_text_cannot_be_answered_as_json() -> None:
    array = np.array([[b"\xff"]], object)
    with pytest.raises(BadRequestError, match=r"output 'y'.*not UTF-8.*binary_data"):
        json_values(TensorSpec("y", "BYTES", (-1, -1)), array)


def test_inputs_stand_in_the_signatures_order_and_outputs_in_the_requests() -> None:
    of = two_inputs("FP32", "BYTES")
    tensors = [triton.InferInput("b", [1, 2], "BYTES"), triton.InferInput("a", [1, 2], "FP32")]
    tensors[0].set_data_from_numpy(np.array([["", "ä"]], object))
    tensors[1].set_data_from_numpy(np.array([[1, 2]], np.float32), binary_data=False)
    outputs = [
        triton.InferRequestedOutput("z", binary_data=True),
        triton.InferRequestedOutput("y", binary_data=False),
    ]
    message = RequestDecoder(of).decode(*Client.generate_request_body(tensors, outputs=outputs))
    assert tensor_of(message, "FP32", 0).reshape(-1).tolist() == [1.0, 2.0]
    assert [b"", "ä".encode()] == tensor_of(message, "BYTES", 1).reshape(-1).tolist()
    assert message.outputs == ("z", "y")
    answers = {"y": np.array([[3, 4]], np.float32), "z": np.array([[b"\xff", b""]], object)}
    parts, size = ResponseEncoder("m", "1", of, "0").encode(answers, message)
    result = Client.parse_response_body(b"".join(parts), header_length=size)
    assert [output["name"] for output in result.get_response()["outputs"]] == ["z", "y"]
    assert same(answers["y"], result.as_numpy("y").astype(np.float32))
    assert same(answers["z"], result.as_numpy("z"))
