"""What V2 servers of several makers say about a model, each with the quirks of its kind."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.load.dialects.speakers import reply, speaker
from tests.load.scripted_target import ok
from trivet.errors import SpecError
from trivet.load.connection import TargetError
from trivet.load.dialects.discover import UnknownModelError, discover
from trivet.load.dialects.v2 import V2Dialect
from trivet.load.job import ClosedLoop, Job
from trivet.load.offer import offer
from trivet.spec.row import RowColumns
from trivet.spec.signature import Signature, TensorSpec

X = {"name": "x", "datatype": "FP32", "shape": [-1, 2]}
Y = {"name": "y", "datatype": "FP32", "shape": [-1, 1]}
SIGNATURE = Signature((TensorSpec("x", "FP32", (-1, 2)),), (TensorSpec("y", "FP32", (-1, 1)),), True)

TRITON: dict[str, Any] = {
    "GET /v2": reply(
        {"name": "triton", "version": "2.50.0", "extensions": ["binary_tensor_data", "statistics"]}
    ),
    "GET /v2/health/live": reply(None),
    "GET /v2/models/m": reply(
        {"name": "m", "versions": ["1"], "platform": "onnx", "inputs": [X], "outputs": [Y]}
    ),
    "GET /v2/models/m/ready": reply(None),
    "GET /v2/models/n": reply({"error": "Request for unknown model: 'n' is not found"}, 400),
    "GET /v2/models/m/versions/9": reply({"error": "no version 9"}, 400),
    "POST /v2/repository/index": reply([{"name": "m", "version": "1", "state": "READY"}, {"name": "m"}]),
}
MLSERVER: dict[str, Any] = {
    "GET /v2": reply({"name": "mlserver", "version": "1.6", "extensions": []}),
    "GET /v2/models/m": reply(
        {
            "name": "m",
            "versions": [],
            "platform": "",
            "inputs": [X | {"parameters": {"content_type": "np"}}],
            "outputs": [Y | {"parameters": None}],
            "parameters": {},
        }
    ),
    "GET /v2/models/bare": reply({"name": "bare", "platform": "", "inputs": [], "outputs": []}),
    "GET /v2/models/n": reply({"error": "Model n not found"}, 404),
    "POST /v2/repository/index": reply([{"name": "bare"}, {"name": "m"}]),
}
KSERVE: dict[str, Any] = {
    "GET /v2": reply({"name": "kserve", "version": "0.15", "extensions": ["model_repository_extension"]}),
    "GET /v2/models/m": reply({"name": "m", "versions": None, "platform": "", "inputs": [X], "outputs": [Y]}),
    "GET /v2/models/m/ready": reply({"name": "m", "ready": True}),
    "GET /v2/models/n": reply({"error": "ModelNotFound: Model with name n does not exist."}, 404),
    "GET /v2/models": reply({"models": ["m"]}),
}


@pytest.mark.parametrize(("handlers", "binary"), [(TRITON, True), (MLSERVER, False), (KSERVE, False)])
def test_metadata_becomes_a_signature(handlers: dict[str, Any], binary: bool) -> None:
    with speaker(handlers) as server:
        found = discover(server.name, "m")
    assert (SIGNATURE, binary) == (found.signature, found.speaks_binary)
    assert found.server.split(" ")[0] in ("triton", "mlserver", "kserve")


@pytest.mark.parametrize("handlers", [TRITON, KSERVE])
def test_the_only_model_need_not_be_named(handlers: dict[str, Any]) -> None:
    with speaker(handlers) as server:
        assert discover(server.name).model == "m"


def test_of_several_models_one_must_be_named() -> None:
    with (
        speaker(MLSERVER) as server,
        pytest.raises(UnknownModelError, match="has 2 models; name one: bare, m"),
    ):
        discover(server.name)


def test_a_server_that_lists_nothing_must_be_told_the_model() -> None:
    with speaker({}) as server, pytest.raises(UnknownModelError, match="does not list its models: name one"):
        discover(server.name)


@pytest.mark.parametrize(
    ("handlers", "model", "message"),
    [
        (TRITON, "n", "has no model 'n'; known: m"),
        (KSERVE, "n", "has no model 'n'; known: m"),
        (MLSERVER, "ba", "has no model 'ba'; did you mean 'bare'?"),
        (
            {"GET /v2/health/live": reply({"live": True})},
            "n",
            r"has no model 'n' \(no such path\), and does not list those that it has",
        ),
    ],
)
def test_an_unknown_model_is_answered_with_those_there_are(
    handlers: dict[str, Any], model: str, message: str
) -> None:
    with speaker(handlers) as server, pytest.raises(UnknownModelError, match=message):
        discover(server.name, model)


def test_an_unknown_version_of_a_model_that_is_there() -> None:
    with speaker(TRITON) as server:
        with pytest.raises(UnknownModelError, match="has no model 'm' of version '9': no version 9"):
            discover(server.name, "m", "9")


@pytest.mark.parametrize(
    ("handlers", "error", "message"),
    [
        (MLSERVER, SpecError, "model 'bare' tells no inputs"),
        ({}, TargetError, "does not speak V2"),
        ({"GET /v2/models/bare": ok(b"<html>hello")}, TargetError, "is '<html>hello'; is it a V2 server"),
        ({"GET /v2/models/bare": reply([1])}, TargetError, "an array of 1 elements; is it a V2 server"),
        ({"GET /v2/models/bare": reply({"error": "starting"}, 503)}, TargetError, "status 503 .*: starting"),
        (
            {"GET /v2/models/bare": reply({"name": "bare", "inputs": [X | {"datatype": "FP31"}]})},
            SpecError,
            "unknown datatype 'FP31'",
        ),
        (
            {"GET /v2/models/bare": reply({"name": "bare", "inputs": [{"name": "x"}]})},
            SpecError,
            "inputs cannot be read: .*datatype",
        ),
    ],
)
def test_metadata_that_helps_nobody(handlers: dict[str, Any], error: type[Exception], message: str) -> None:
    with speaker(handlers) as server, pytest.raises(error, match=message):
        discover(server.name, "bare")


@pytest.mark.parametrize(
    ("ready", "message"),
    [
        (reply(None, 400), "model 'm' is not ready .status 400.; wait until it is loaded"),
        (reply({"error": "loading"}, 503), "model 'm' is not ready .status 503: loading."),
        (reply({"name": "m", "ready": False}), "model 'm' is not ready .status 200"),
    ],
)
def test_a_model_that_is_not_ready(ready: bytes, message: str) -> None:
    with speaker(KSERVE | {"GET /v2/models/m/ready": ready}) as server:
        with pytest.raises(TargetError, match=message):
            discover(server.name, "m")


def test_fixed_shapes_have_no_batch_axis() -> None:
    fixed = reply({"name": "m", "inputs": [X | {"shape": [2]}], "outputs": [Y]})
    with speaker({"GET /v2/models/m": fixed}) as server:
        assert not discover(server.name, "m").signature.batch_axis


def test_a_socket_of_the_file_system_is_asked_too(tmp_path: Path) -> None:
    with speaker(TRITON, uds=tmp_path / "s") as server:
        assert discover(server.name, "m").signature == SIGNATURE


def test_nothing_there() -> None:
    with speaker({}) as server:
        name = server.name
    with pytest.raises(TargetError, match=f"nothing answers at {name}"):
        discover(name, "m")


def test_something_that_is_not_http() -> None:
    with speaker({"GET /v2/models/m": b"hello there\r\n\r\n"}) as server:
        with pytest.raises(TargetError, match=r"nothing answers at .* BadStatusLine|hello there"):
            discover(server.name, "m")


def sum_as_json(body: bytes) -> bytes:
    """As MLServer: JSON although binary was asked, a new id, no version, numbers nested."""
    x = np.frombuffer(body[-8:], np.float32)
    tensor = {
        "name": "y",
        "shape": [1, 1],
        "datatype": "FP32",
        "parameters": None,
        "data": [[float(x.sum())]],
    }
    return reply({"model_name": "m", "id": "b6f3", "parameters": {}, "outputs": [tensor]})


def test_load_on_a_server_that_answers_json_to_binary() -> None:
    rows = [{"x": np.array([[i, 1]], np.float32)} for i in range(3)]
    dialect = V2Dialect(SIGNATURE, True, "m")
    with speaker({"POST /v2/models/m/infer": sum_as_json}) as server:
        result = offer(
            Job(
                target=server.name,
                requests=dialect.requests(rows),
                load=ClosedLoop(num_users=1, duration_ns=5_000_000_000, max_requests=3),
                seed=1,
                order="sequence",
                keep_answers=True,
                min_connections=1,
            )
        )
    answers = RowColumns.decode(result.rows).blobs["answer"]
    assert [dialect.outputs(200, {}, body)["y"][0].tolist() for body in answers] == [[1.0], [2.0], [3.0]]
