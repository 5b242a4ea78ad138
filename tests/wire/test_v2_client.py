"""The client's side of V2: the server's own reader and writer are the other side, then what other servers send."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.wire_support import BINARY_ONLY, DATATYPES, arrays, free, same, signature
from trivet.spec.signature import TensorSpec
from trivet.wire.tensor import as_array
from trivet.wire.v2_client import BadResponseError, UnsendableError, decode_infer, encode_infer, error_text
from trivet.wire.v2_request import InferMessage, RequestDecoder
from trivet.wire.v2_response import ResponseEncoder


@given(st.data(), st.sampled_from(DATATYPES), st.booleans())
def test_the_server_reads_what_the_client_writes(data: st.DataObject, datatype: str, binary: bool) -> None:
    binary = binary or datatype in BINARY_ONLY
    array = data.draw(arrays(datatype, text_only=not binary))
    shape = free(array)
    body, json_size = encode_infer([(TensorSpec("x", datatype, tuple(shape)), array)], binary=binary)
    message = RequestDecoder(signature(datatype, shape)).decode(body, json_size)
    found = as_array(datatype, message.inputs[0].data, message.inputs[0].shape)
    assert same(array, found)
    assert binary == message.binary_outputs


@given(st.data(), st.sampled_from(DATATYPES), st.booleans(), st.booleans())
def test_the_client_reads_what_the_server_writes(
    data: st.DataObject, datatype: str, binary: bool, header_lost: bool
) -> None:
    binary = binary or datatype in BINARY_ONLY
    array = data.draw(arrays(datatype, text_only=not binary))
    encoder = ResponseEncoder("m", "3", signature(datatype, free(array)), "abc")
    parts, json_size = encoder.encode({"y": array}, InferMessage([], "id-1", None, None, binary))
    response = decode_infer(b"".join(map(bytes, parts)), None if header_lost else json_size)
    assert same(array, response.outputs["y"])
    assert {"y": datatype} == response.datatypes
    assert (response.model_version, response.parameters) == ("3", {"configuration": "abc"})


def test_wishes_travel_with_the_request() -> None:
    spec, array = TensorSpec("x", "FP32", (-1,)), np.zeros(1, np.float32)
    body, _ = encode_infer([(spec, array)], binary=False, outputs=["z"], parameters={"timeout": 5})
    message = json.loads(body)
    assert (message["outputs"], message["parameters"]) == ([{"name": "z"}], {"timeout": 5})


@pytest.mark.parametrize(
    ("datatype", "array", "message"),
    [
        ("FP16", np.zeros(1, np.float16), "'x' is FP16, which cannot travel as JSON"),
        ("FP32", np.array([np.nan], np.float32), "a value that is not finite"),
        ("BYTES", np.array([b"\xff"], object), "bytes that are not UTF-8"),
    ],
)
def test_json_has_no_form_for_some_values(datatype: str, array: Any, message: str) -> None:
    with pytest.raises(UnsendableError, match=message):
        encode_infer([(TensorSpec("x", datatype, (1,)), array)], binary=False)


def answer(**tensor: Any) -> bytes:
    return json.dumps({"model_name": "m", "outputs": [{"name": "y", **tensor}]}).encode()


@pytest.mark.parametrize(
    ("tensor", "expected"),
    [
        ({"datatype": "FP32", "shape": [2, 2], "data": [[1, 2], [3, 4]]}, [[1.0, 2.0], [3.0, 4.0]]),
        ({"datatype": "FP32", "shape": [1, 2, 1], "data": [[[1], [2]]]}, [[[1.0], [2.0]]]),
        ({"datatype": "INT64", "shape": [1], "data": 7}, [7]),
        ({"datatype": "INT64", "shape": [2], "data": [1.0, 2**62]}, [1, 2**62]),
        ({"datatype": "UINT64", "shape": [1], "data": [2**64 - 1]}, [2**64 - 1]),
        ({"datatype": "FP16", "shape": [1], "data": [0.5]}, [0.5]),
        ({"datatype": "FP64", "shape": [1], "data": [float("-inf")]}, [float("-inf")]),
        ({"datatype": "BOOL", "shape": [2], "data": [True, 0]}, [True, False]),
        ({"datatype": "BYTES", "shape": [1], "data": ["ä"], "parameters": None}, ["ä".encode()]),
        ({"datatype": "FP32", "shape": [0], "data": []}, []),
    ],
)
def test_what_other_servers_write_is_read(tensor: dict[str, Any], expected: list[Any]) -> None:
    response = decode_infer(answer(**tensor) + b"\n")
    assert expected == response.outputs["y"].tolist()
    assert response.model_version == ""


@pytest.mark.parametrize("nan", ["NaN", "null"])
def test_nan_in_either_spelling(nan: str) -> None:
    body = b'{"outputs":[{"name":"y","datatype":"FP32","shape":[2],"data":[%b,1]}]}' % nan.encode()
    np.testing.assert_array_equal([np.nan, 1], decode_infer(body).outputs["y"])


def test_json_and_binary_outputs_in_one_answer() -> None:
    head = json.dumps(
        {
            "outputs": [
                {"name": "a", "datatype": "INT8", "shape": [1], "data": [3]},
                {"name": "b", "datatype": "INT16", "shape": [1], "parameters": {"binary_data_size": 2}},
            ]
        }
    ).encode()
    outputs = decode_infer(head + b"\x20\x0a").outputs  # binary data that looks like spaces is not stripped
    assert {name: array.tolist() for name, array in outputs.items()} == {"a": [3], "b": [0x0A20]}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "not JSON"),
        (b"<html>", "not JSON .*<html>"),
        (b"[1]", "an array of 1 elements; expected an object"),
        (b"{}", "no list of outputs"),
        (b'{"outputs":[3]}', r"outputs\[0\] is 3"),
        (answer(datatype="FP31", shape=[1], data=[1]), "'y': unknown datatype 'FP31'"),
        (answer(datatype="FP32", shape=[-1], data=[1]), "'y': shape is an array"),
        (answer(datatype="FP32", shape=[3], data=[1]), "1 elements of data; shape .3. needs 3"),
        (answer(datatype="FP32", shape=[1]), "neither data nor binary_data_size"),
        (answer(datatype="FP32", shape=[1], data=["1"]), "element 0 is '1'; expected FP32"),
        (answer(datatype="INT8", shape=[1], data=[300]), "element 0 is 300, which INT8 does not hold"),
        (answer(datatype="INT8", shape=[1], data=[1.5]), "element 0 is 1.5, which INT8 does not hold"),
        (answer(datatype="BOOL", shape=[1], data=[2]), "element 0 is 2, which BOOL does not hold"),
        (answer(datatype="INT8", shape=[1], data=[float("inf")]), "out of the range of INT8"),
        (answer(datatype="BYTES", shape=[1], data=[1]), "expected a string"),
        (answer(datatype="BF16", shape=[1], data=[1]), "no form for it"),
        (answer(datatype="FP32", shape=[1], parameters={"binary_data_size": -1}), "binary_data_size is -1"),
        (
            answer(datatype="FP32", shape=[1], parameters={"binary_data_size": 4}) + b"xyz",
            "output 'y': 3 bytes",
        ),
        (
            answer(datatype="FP32", shape=[1], parameters={"binary_data_size": 4}) + b"12345",
            "belong to no output",
        ),
        (
            answer(datatype="BYTES", shape=[1], parameters={"binary_data_size": 5}) + b"\x09\0\0\0x",
            "claims 9 bytes",
        ),
        (answer(datatype="FP32", shape=[2**40], parameters={"binary_data_size": 0}), "output 'y': 0 bytes"),
        (b"[" * 100_000, "not JSON"),
        (
            b'{"outputs":[%b,%b]}' % ((b'{"name":"y","datatype":"INT8","shape":[0],"data":[]}',) * 2),
            "'y' is there twice",
        ),
    ],
)
def test_garbage_is_told_as_what_it_is(body: bytes, message: str) -> None:
    with pytest.raises(BadResponseError, match=message):
        decode_infer(body)


def test_a_header_that_lies_about_the_json_part() -> None:
    with pytest.raises(BadResponseError, match="the JSON part has 99 bytes, the body 2"):
        decode_infer(b"{}", 99)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"error":"no such model"}', "no such model"),
        (b'{"detail":"Not Found"}', "Not Found"),
        (b'{"error":{"message":"bad key","code":1}}', "bad key"),
        (b"Bad Gateway", "'Bad Gateway'"),
        (b"[1]", "'[1]'"),
        (b"x" * 999, "'" + "x" * 200 + "'..."),
    ],
)
def test_what_an_error_answer_says(body: bytes, text: str) -> None:
    assert text == error_text(body)
