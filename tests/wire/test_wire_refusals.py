"""What is wrong with a request is said with the field, the value and what was expected; nothing else is raised."""

import json
from typing import Any

import pytest

from tests.wire.wire_support import json_request, outcome, raw_request, signature, tensor_of, two_inputs
from trivet.errors import BadRequestError, RequestError, UnsupportedError
from trivet.wire.v2_request import RequestDecoder

TENSOR = {"name": "x", "shape": [1, 1], "datatype": "FP32"}


def body_of(value: Any) -> bytes:
    return json.dumps(value).encode()


def binary(size: Any, **changes: Any) -> bytes:
    return body_of({"inputs": [{**TENSOR, "parameters": {"binary_data_size": size}, **changes}]})


REFUSED_JSON: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "the body is not valid JSON"),
    "not UTF-8": (b"\xff\xfe", "the body is not valid JSON"),
    "a byte order mark": (b"\xef\xbb\xbf" + json_request([1, 2]), "the body is not valid JSON"),
    "cut off": (json_request([1, 2])[:-3], "the body is not valid JSON: Input data was truncated"),
    "two documents": (json_request([1, 2]) * 2, "trailing characters"),
    "garbage behind": (json_request([1, 2]) + b"x", "trailing characters"),
    "NaN": (raw_request("[NaN,1]"), "the body is not valid JSON"),
    "an array": (b"[]", "Expected `object`, got `array`"),
    "null": (b"null", "Expected `object`, got `null`"),
    "no inputs": (b"{}", "missing required field `inputs`"),
    "inputs not in an array": (b'{"inputs":{}}', "Expected `array`, got `object` - at `$.inputs`"),
    "empty inputs": (b'{"inputs":[]}', "input 'x' is missing; expected 'x'"),
    "an input without a name": (
        b'{"inputs":[{"shape":[1],"datatype":"FP32","data":[1]}]}',
        "missing required field `name` - at `$.inputs[0]`",
    ),
    "an input without a shape": (b'{"inputs":[{"name":"x","datatype":"FP32","data":[1]}]}', "`shape`"),
    "an input without a datatype": (b'{"inputs":[{"name":"x","shape":[1,1],"data":[1]}]}', "`datatype`"),
    "an input without data": (body_of({"inputs": [TENSOR]}), "input 'x': has neither data nor"),
    "an unknown input": (json_request([1, 2], name="xx"), "unknown input 'xx'; expected 'x'"),
    "an input twice": (
        body_of({"inputs": [{**TENSOR, "data": [1]}, {**TENSOR, "data": [1]}]}),
        "input 'x' stands twice",
    ),
    "another datatype": (json_request([1, 2], datatype="FP64"), "datatype is 'FP64'; expected 'FP32'"),
    "an unknown datatype": (json_request([1, 2], datatype="fp32"), "datatype is 'fp32'; expected 'FP32'"),
    "too few axes": (json_request([1, 2], [2]), "shape is [2]; expected [-1, -1]"),
    "too many axes": (json_request([1, 2], [1, 2, 1]), "shape is [1, 2, 1]; expected [-1, -1]"),
    "a negative size": (json_request([1, 2], [1, -2]), "shape is [1, -2]; expected [-1, -1]"),
    "the declaration's own -1": (json_request([1], [-1, -1]), "shape is [-1, -1]; expected [-1, -1]"),
    "two negative sizes": (json_request([1, 2], [-1, -2]), "shape is [-1, -2]"),
    "a size that is no integer": (json_request([1, 2], [1, 2.5]), "$.inputs[0].shape"),
    "a size that is a word": (json_request([1, 2], [1, "2"]), "$.inputs[0].shape"),
    "a size that is true": (json_request([1, 2], [True, 2]), "$.inputs[0].shape"),
    "a shape that is no array": (raw_request("[1,2]", "3"), "Expected `array`, got `int`"),
    "a huge size": (json_request([1, 2], [1, 2**62]), f"shape is [1, {2**62}]"),
    "a size past 64 bits": (json_request([1, 2], [1, 2**64]), f"shape is [1, {2**64}]"),
    "a size of thousands of digits": (raw_request("[1]", f"[1,{'9' * 4000}]"), "an integer of 13288 bits"),
    "a size past all digits": (raw_request("[1]", f"[1,{'9' * 5000}]"), "$.inputs[0].shape[1]"),
    "sizes that overflow together": (
        json_request([1, 2], [2**31, 2**31]),
        f"has {2**62} elements; at most {2**40} are possible",
    ),
    "an empty array past numpy's sizes": (json_request([], [0, 2**62]), f"shape is [0, {2**62}]"),
    "a thousand sizes": (json_request([1], [1] * 1000), "(1000 sizes)"),
    "too few values": (json_request([1], [1, 2]), "1 elements of data; shape [1, 2] needs 2"),
    "too many values": (json_request([1, 2, 3], [1, 2]), "3 elements of data; shape [1, 2] needs 2"),
    "no values": (json_request([], [1, 2]), "0 elements of data; shape [1, 2] needs 2"),
    "data that is no array": (json_request(7), "data is 7; expected an array"),
    "data that is an object": (json_request({"a": 1}), "data is an object of 1 fields; expected an array"),
    "null for a number": (json_request([None, 1]), "element 0 is null: expected a number for datatype FP32"),
    "a word for a number": (json_request([1, "1"]), "element 1 is '1': expected a number"),
    "true for a number": (json_request([True, 1]), "element 0 is true: expected a number"),
    "an object for a number": (json_request([1, {}]), "element 1 is an object of 0 fields"),
    "an array among numbers": (json_request([1, [2]]), "element 1 is an array of 1 elements"),
    "a number among arrays": (json_request([[1], 2], [2, 1]), "dimension 1 has 2"),
    "ragged rows": (json_request([[1, 2], [3]], [2, 2]), "dimension 1 has an array of 1 elements"),
    "too many rows": (json_request([[1, 2], [3, 4]], [1, 2]), "(dimension 0 is 1)"),
    "nested too deep": (json_request([[[1, 2]]], [1, 2]), "dimension 1 has an array of 1 elements"),
    "a number past float64": (raw_request("[1e400,1]"), "input 'x': data is not valid JSON"),
    "an integer past float64": (raw_request(f"[{'9' * 400},1]"), "element 0 is an integer of 1329 bits"),
    "an integer of 5000 digits": (raw_request(f"[{'9' * 5000},1]"), "input 'x': data is not valid JSON"),
    "id that is no string": (json_request([1, 2], id=7), "Expected `str`, got `int` - at `$.id`"),
    "parameters that are no object": (json_request([1, 2], parameters=[]), "`$.parameters`"),
    "outputs that are no array": (json_request([1, 2], outputs={}), "`$.outputs`"),
    "an output without a name": (json_request([1, 2], outputs=[{}]), "`name` - at `$.outputs[0]`"),
    "an unknown output": (json_request([1, 2], outputs=[{"name": "z"}]), "unknown output 'z'; expected 'y'"),
    "an output twice": (json_request([1, 2], outputs=[{"name": "y"}] * 2), "output 'y' is asked for twice"),
    "binary_data that is no flag": (
        json_request([1, 2], outputs=[{"name": "y", "parameters": {"binary_data": 1}}]),
        "output 'y': parameter binary_data is 1; expected true or false",
    ),
    "binary_data_output that is no flag": (
        json_request([1, 2], parameters={"binary_data_output": "yes"}),
        "parameter binary_data_output is 'yes'; expected true or false",
    ),
    "binary data in a JSON request": (binary(4), "binary_data_size is 4; 0 bytes of binary data are left"),
}


@pytest.mark.parametrize("case", REFUSED_JSON)
def test_a_wrong_json_request_is_told_what_is_wrong(case: str) -> None:
    body, expected = REFUSED_JSON[case]
    with pytest.raises(BadRequestError) as error:
        RequestDecoder(signature()).decode(body)
    assert expected.lower() in str(error.value).lower()
    assert len(str(error.value)) < 300


REFUSED_VALUES = [
    ("BOOL", "[1,0]", "element 0 is 1: expected true or false for datatype BOOL"),
    ("BOOL", '["a",true]', "element 0 is 'a': expected true or false"),
    ("INT8", "[128,0]", "element 0 is 128: expected -128 to 127 for datatype INT8"),
    ("UINT8", "[0,-1]", "element 1 is -1: expected 0 to 255 for datatype UINT8"),
    ("INT64", "[9223372036854775808,0]", "element 0 is 9223372036854775808: expected -9223372036854775808"),
    ("UINT64", "[18446744073709551616,0]", "element 0 is 18446744073709551616: expected 0 to 18446744073709551615"),
    ("INT32", "[1.0,0]", "element 0 is 1.0: expected an integer for datatype INT32"),
    ("INT32", "[1e2,0]", "element 0 is 100.0: expected an integer"),
    ("INT32", "[false,0]", "element 0 is false: expected an integer"),
    ("BYTES", '["a",1]', "element 1 is 1: expected a string for datatype BYTES"),
    ("BYTES", '["a",null]', "element 1 is null: expected a string"),
    ("BYTES", '["\\ud800","a"]', "the body is not valid JSON"),
    ("BYTES", '["\ud800","a"]', "not valid JSON"),
    ("FP16", "[1,2]", "FP16 cannot travel as JSON; send it as binary data"),
    ("BF16", "[1,2]", "BF16 cannot travel as JSON; send it as binary data"),
]  # fmt: skip


@pytest.mark.parametrize(("datatype", "data", "expected"), REFUSED_VALUES)
def test_a_wrong_value_is_named_with_its_place(datatype: str, data: str, expected: str) -> None:
    with pytest.raises(BadRequestError) as error:
        RequestDecoder(signature(datatype)).decode(raw_request(data, datatype=datatype))
    assert expected in str(error.value)


REFUSED_SIZES = [
    (binary(-4), b"\0" * 4, "binary_data_size is -4; expected a count of bytes"),
    (binary(4.0), b"\0" * 4, "binary_data_size is 4.0; expected a count"),
    (binary("4"), b"\0" * 4, "binary_data_size is '4'; expected a count"),
    (binary(True), b"\0", "binary_data_size is true; expected a count"),
    (binary([]), b"", "binary_data_size is an array of 0 elements; expected a count"),
    (binary(None), b"", "has neither data nor binary_data_size"),
    (binary(5), b"\0" * 4, "binary_data_size is 5; 4 bytes of binary data are left"),
    (binary(10**300), b"\0" * 4, "binary_data_size is an integer of 997 bits; 4 bytes"),
    (binary(3), b"\0" * 3, "3 bytes of binary data; its shape and datatype FP32 need 4"),
    (binary(8), b"\0" * 8, "8 bytes of binary data; its shape and datatype FP32 need 4"),
    (binary(0), b"", "0 bytes of binary data; its shape and datatype FP32 need 4"),
    (binary(4), b"\0" * 5, "1 bytes of binary data belong to no input"),
    (binary(4, data=[1]), b"\0" * 4, "has both data and binary_data_size"),
    (json_request([1, 2]), b"\0", "1 bytes of binary data belong to no input"),
    (binary(4, shape=[2**20, 2**20]), b"\0" * 4, f"need {2**42}"),
    (binary(4, shape=[2**40, 2**40]), b"\0" * 4, f"has {2**80} elements"),
    (binary(0, shape=[0, 2**40, 2**40]), b"", "shape is [0, "),
    (json_request([1, 2]) + b"x", b"", "trailing characters"),
    (binary(4, shape=[1, -1]), b"\0" * 4, "shape is [1, -1]"),
    (binary(0, shape=[2**20, 0]), b"", f"{2**20} rows and columns of nothing; at most 4096"),
]


@pytest.mark.parametrize(("head", "tail", "expected"), REFUSED_SIZES)
def test_a_lying_size_is_refused(head: bytes, tail: bytes, expected: str) -> None:
    with pytest.raises(BadRequestError) as error:
        RequestDecoder(signature()).decode(head + tail, len(head))
    assert expected in str(error.value)


@pytest.mark.parametrize("size", [-1, 3, 2**40])
def test_a_json_size_outside_the_body_is_refused(size: int) -> None:
    with pytest.raises(
        BadRequestError, match=f"Inference-Header-Content-Length is {size}; the body has 2 bytes"
    ):
        RequestDecoder(signature()).decode(b"{}", size)


STRINGS = [
    (b"", 1, "cannot hold 1 BYTES elements"),
    (b"\0\0\0", 1, "3 bytes of binary data cannot hold 1 BYTES elements"),
    (b"\1\0\0\0", 1, "BYTES element 0 claims 1 bytes; 0 are left"),
    (b"\xff\xff\xff\xff", 1, "BYTES element 0 claims 4294967295 bytes; 0 are left"),
    (b"\0\0\0\0\0", 1, "1 bytes are left after 1 BYTES elements"),
    (b"\2\0\0\0ab\0\0", 2, "binary data ends inside the length of BYTES element 1"),
    (b"\0\0\0\0", 2**40, f"4 bytes of binary data cannot hold {2**40} BYTES elements"),
]


@pytest.mark.parametrize(("data", "count", "expected"), STRINGS)
def test_a_lying_length_of_a_string_is_refused(data: bytes, count: int, expected: str) -> None:
    head = binary(len(data), shape=[1, count], datatype="BYTES")
    with pytest.raises(BadRequestError) as error:
        RequestDecoder(signature("BYTES")).decode(head + data, len(head))
    assert expected in str(error.value)


@pytest.mark.parametrize("value", [b"\2", b"\xff", b"\1\2"])
def test_a_bool_is_0_or_1(value: bytes) -> None:
    head = binary(len(value), shape=[1, len(value)], datatype="BOOL")
    with pytest.raises(BadRequestError, match="a BOOL is one byte, 0 or 1"):
        RequestDecoder(signature("BOOL")).decode(head + value, len(head))


def test_a_missing_input_is_named() -> None:
    tensor = {"name": "a", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}
    with pytest.raises(BadRequestError, match="input 'b' is missing; expected 'a', 'b'"):
        RequestDecoder(two_inputs()).decode(body_of({"inputs": [tensor]}))
    with pytest.raises(BadRequestError, match="input 'a' stands twice"):
        RequestDecoder(two_inputs()).decode(body_of({"inputs": [tensor, tensor]}))


def test_a_raw_body_has_no_place_for_two_inputs_or_two_free_sizes() -> None:
    with pytest.raises(BadRequestError, match="a model with one input; this one has 2"):
        RequestDecoder(two_inputs()).decode(b"\0\0\0\0", 0)
    with pytest.raises(BadRequestError, match="cannot tell the 2 free dimensions"):
        RequestDecoder(signature("FP32", (-1, -1, -1))).decode(b"\0\0\0\0", 0)
    with pytest.raises(BadRequestError, match="a raw body of 3 bytes does not fill"):
        RequestDecoder(signature()).decode(b"\0\0\0", 0)
    with pytest.raises(BadRequestError, match="a raw body is one BYTES element"):
        RequestDecoder(signature("BYTES", (-1, 2))).decode(b"ab", 0)


@pytest.mark.parametrize(
    ("place", "key", "value"),
    [
        ("request", "sequence_id", 1),
        ("request", "sequence_start", True),
        ("input", "shared_memory_region", "r"),
        ("output", "shared_memory_region", "r"),
        ("output", "classification", 3),
    ],
)
def test_features_that_are_not_there_are_named(place: str, key: str, value: Any) -> None:
    request: dict[str, Any] = {"inputs": [{**TENSOR, "data": [1]}], "outputs": [{"name": "y"}]}
    where = {"request": request, "input": request["inputs"][0], "output": request["outputs"][0]}[place]
    where["parameters"] = {key: value}
    with pytest.raises(UnsupportedError, match=f"parameter {key!r}: .* not supported") as error:
        RequestDecoder(signature()).decode(body_of(request))
    assert error.value.status == 501


@pytest.mark.parametrize("field", ["name", "datatype"])
def test_a_long_value_is_not_sent_back_in_full(field: str) -> None:
    body = body_of({"inputs": [{**TENSOR, "data": [1], field: "a" * 1_000_000}]})
    with pytest.raises(BadRequestError, match="1000000 characters") as error:
        RequestDecoder(signature()).decode(body)
    assert len(str(error.value)) < 200


@pytest.mark.parametrize("depth", [*range(960, 1010), 3_000, 200_000])
@pytest.mark.parametrize("place", ["data", "unknown", "parameters", "a parameter", "a tensor's parameter"])
def test_deep_nesting_is_refused_or_skipped_but_never_a_crash(place: str, depth: int) -> None:
    deep = "[" * depth + "]" * depth
    body = {
        "data": raw_request(deep),
        "unknown": raw_request("[1,2]", extra=f',"z":{deep}'),
        "parameters": raw_request("[1,2]", extra=f',"parameters":{deep}'),
        "a parameter": raw_request("[1,2]", extra=f',"parameters":{{"a":{deep}}}'),
        "a tensor's parameter": raw_request(f'[1,2],"parameters":{{"binary_data_size":{deep}}}'),
    }[place]
    found = outcome(RequestDecoder(signature()), "FP32", body)
    if depth > 1_000 or place in ("data", "parameters", "a tensor's parameter"):
        assert found == "refused"


def test_deep_nesting_is_told_from_a_cut_off_body() -> None:
    with pytest.raises(BadRequestError, match="recursion depth"):
        RequestDecoder(signature()).decode(raw_request("[" * 100_000 + "]" * 100_000))


def test_of_a_field_that_stands_twice_the_last_one_counts() -> None:
    body = raw_request("[9,9]", extra=',"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[1,2]}]')
    for given in (body, body[:-1] + b',"parameters":{"a":1},"parameters":{}}'):
        assert tensor_of(RequestDecoder(signature()).decode(given), "FP32").tolist() == [[1.0, 2.0]]


def test_every_error_here_is_a_request_error_of_the_client() -> None:
    for body, _ in REFUSED_JSON.values():
        with pytest.raises(RequestError) as error:
            RequestDecoder(signature()).decode(body)
        assert error.value.status == 400
