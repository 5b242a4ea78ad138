"""Rows as V2 requests, and answers as outputs, without a server."""

import json

import numpy as np
import pytest

from trivet.errors import SpecError
from trivet.load.dialects.v2 import JSON_SIZE, V2Dialect
from trivet.load.http import BadAnswerError
from trivet.spec.signature import Signature, TensorSpec
from trivet.wire.v2_client import encode_infer

SIGNATURE = Signature(
    (TensorSpec("x", "FP32", (-1, 2)), TensorSpec("t", "BYTES", (-1, 1))),
    (TensorSpec("y", "FP32", (-1, 2)), TensorSpec("z", "INT64", (-1,))),
    True,
)
ROW = {"x": np.zeros((1, 2), np.float32), "t": np.array([[b"hi"]], object)}


def test_a_request_names_model_and_version() -> None:
    (request,) = V2Dialect(SIGNATURE, False, "a b/c", "2", prefix="/gateway/").requests([ROW])
    assert (request.method, request.path) == ("POST", "/gateway/v2/models/a%20b%2Fc/versions/2/infer")
    assert request.headers == {"Content-Type": "application/json"}
    assert json.loads(request.body)["inputs"][1] == {
        "name": "t",
        "shape": [1, 1],
        "datatype": "BYTES",
        "data": ["hi"],
    }


def test_a_binary_request_tells_where_its_json_ends() -> None:
    headers = {"Authorization": "Bearer k"}
    (request,) = V2Dialect(SIGNATURE, True, "m", headers=headers).requests([ROW])
    head = json.loads(request.body[: int(request.headers[JSON_SIZE])])
    assert head["parameters"] == {"binary_data_output": True}
    assert (request.path, request.headers["Authorization"]) == ("/v2/models/m/infer", "Bearer k")
    assert request.body.endswith(b"\0" * 8 + b"\x02\0\0\0hi")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (ROW | {"w": ROW["x"]}, "row 1: the model has no input 'w'; known: x, t"),
        ({"x": ROW["x"]}, "row 1: no input 't'; it has x"),
        (
            ROW | {"x": np.zeros((1, 3), np.float32)},
            r"row 1: input 'x' has the shape \[1, 3\]; expected \[-1, 2\]",
        ),
        (ROW | {"x": np.zeros((1, 2))}, "row 1: input 'x' is float64; FP32 is float32"),
        (ROW | {"x": np.full((1, 2), np.inf, np.float32)}, "row 1: .* not finite.*send binary tensors"),
    ],
)
def test_a_row_that_cannot_be_sent_is_named(row: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        V2Dialect(SIGNATURE, False, "m").requests([row])


def test_a_model_that_json_cannot_speak_to() -> None:
    half = Signature((TensorSpec("x", "FP16", (1,)),), ())
    with pytest.raises(SpecError, match="input 'x' is FP16, which JSON cannot carry; use binary tensors"):
        V2Dialect(half, False, "m")
    with pytest.raises(SpecError, match="model 'm': no inputs are known"):
        V2Dialect(Signature((), ()), True, "m")


def outputs_of(*tensors: tuple[TensorSpec, np.ndarray], binary: bool) -> tuple[bytes, int | None]:
    """A request's inputs and an answer's outputs have one form; only the word differs."""
    body, size = encode_infer(tensors, binary=binary)
    return body.replace(b'"inputs"', b'"outputs"', 1), None if size is None else size + 1


@pytest.mark.parametrize("binary", [True, False])
def test_outputs_come_in_the_signatures_order_whatever_was_asked(binary: bool) -> None:
    tensors = [
        (TensorSpec("extra", "INT8", (1,)), np.array([5], np.int8)),
        (TensorSpec("z", "INT64", (1,)), np.array([7], np.int64)),
        (TensorSpec("y", "FP32", (1, 2)), np.array([[1, 2]], np.float32)),
    ]
    body, size = outputs_of(*tensors, binary=binary)
    headers = {} if size is None else {JSON_SIZE.lower(): str(size)}
    found = V2Dialect(SIGNATURE, True, "m").outputs(200, headers, body)
    assert [(name, array.tolist()) for name, array in found.items()] == [
        ("y", [[1, 2]]),
        ("z", [7]),
        ("extra", [5]),
    ]


def test_bfloat16_comes_as_the_floats_it_is() -> None:
    spec = TensorSpec("y", "BF16", (-1, 1))
    body, _ = outputs_of((spec, np.array([[0x3FC0]], np.uint16)), binary=True)
    dialect = V2Dialect(Signature(SIGNATURE.inputs, (spec,), True), True, "m")
    found = dialect.outputs(200, {}, body)["y"]
    assert ([[1.5]], np.float32) == (found.tolist(), found.dtype)


@pytest.mark.parametrize(
    ("status", "headers", "body", "message"),
    [
        (400, {}, b'{"error":"bad shape"}', "status 400: bad shape"),
        (200, {}, b"nonsense", "not JSON"),
        (200, {JSON_SIZE: "x"}, b"{}", "Inference-Header-Content-Length is 'x'"),
        (
            200,
            {},
            b'{"outputs":[{"name":"q","datatype":"INT8","shape":[0],"data":[]}]}',
            "lacks the output 'y'; it has q",
        ),
    ],
)
def test_an_answer_that_is_no_result(status: int, headers: dict[str, str], body: bytes, message: str) -> None:
    with pytest.raises(BadAnswerError, match=message):
        V2Dialect(SIGNATURE, True, "m").outputs(status, headers, body)
