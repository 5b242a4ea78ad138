"""The protocol, as the client that users have speaks it: tritonclient.http against a real server."""

import asyncio
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from tests.support.server import ServerProcess

ARRAYS: dict[str, NDArray[Any]] = {
    "bool": np.array([[True, False, True]]),
    "uint8": np.array([[0, 255]], np.uint8),
    "int8": np.array([[-128, 127]], np.int8),
    "uint16": np.array([[0, 65535]], np.uint16),
    "int16": np.array([[-32768, 32767]], np.int16),
    "uint32": np.array([[0, 2**32 - 1]], np.uint32),
    "int32": np.array([[-(2**31), 2**31 - 1]], np.int32),
    "uint64": np.array([[0, 2**64 - 1]], np.uint64),
    "int64": np.array([[-(2**63), 2**63 - 1]], np.int64),
    "fp16": np.array([[0.5, -65504.0]], np.float16),
    "fp32": np.array([[1e-38, 3.4e38]], np.float32),
    "fp64": np.array([[1e-308, 1.7e308]], np.float64),
    "bytes": np.array([["ä", ""]], object),
}


@pytest.fixture(scope="module")
def client(server: ServerProcess) -> triton.InferenceServerClient:
    return triton.InferenceServerClient(server.address)


def _input(array: NDArray[Any], binary: bool = True, name: str = "x") -> triton.InferInput:
    tensor = triton.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
    tensor.set_data_from_numpy(array, binary_data=binary)
    return tensor


def test_health(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("tiny")
    assert client.is_model_ready("tiny", "1")
    assert not client.is_model_ready("nobody")


def test_metadata(client: triton.InferenceServerClient) -> None:
    assert client.get_server_metadata()["name"] == "trivet"
    metadata = client.get_model_metadata("tiny")
    assert metadata["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 30]}]
    assert metadata["outputs"] == [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}]
    assert metadata["versions"] == ["1"]
    assert client.get_model_config("tiny")["max_batch_size"] > 0


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
@pytest.mark.parametrize("datatype", sorted(ARRAYS))
def test_every_datatype_both_ways(
    client: triton.InferenceServerClient, datatype: str, binary_in: bool, binary_out: bool
) -> None:
    array = ARRAYS[datatype]
    binary_only = datatype == "fp16"  # JSON cannot carry it
    result = client.infer(
        datatype,
        [_input(array, binary_in or binary_only)],
        outputs=[triton.InferRequestedOutput("y", binary_data=binary_out or binary_only)],
    )
    answer = result.as_numpy("y")
    if datatype == "bytes":
        answer = np.array(
            [[item.decode() if isinstance(item, bytes) else item for item in answer[0]]], object
        )
    np.testing.assert_array_equal(array, answer)


def test_an_answer_carries_id_version_and_configuration(client: triton.InferenceServerClient) -> None:
    response = client.infer("tiny", [_input(np.zeros((1, 30), np.float32))], request_id="r-1").get_response()
    assert (response["id"], response["model_name"], response["model_version"]) == ("r-1", "tiny", "1")
    assert len(response["parameters"]["configuration"]) == 12


def test_rows_of_a_client_batch_stay_in_order(client: triton.InferenceServerClient) -> None:
    rows = np.arange(5 * 30, dtype=np.float32).reshape(5, 30) / 50
    together = client.infer("tiny", [_input(rows)]).as_numpy("y")
    alone = [client.infer("tiny", [_input(row[None])]).as_numpy("y")[0] for row in rows]
    np.testing.assert_allclose(together, alone, rtol=1e-6)


def test_several_inputs_and_a_choice_of_outputs(client: triton.InferenceServerClient) -> None:
    metadata = client.get_model_metadata("two")
    names = [tensor["name"] for tensor in metadata["inputs"]]
    outputs = [tensor["name"] for tensor in metadata["outputs"]]
    inputs = [_input(np.full((2, 3), i + 1, np.float32), i == 0, name) for i, name in enumerate(names)]
    whole = client.infer("two", inputs)
    one = client.infer("two", inputs, outputs=[triton.InferRequestedOutput(outputs[-1])])
    np.testing.assert_array_equal(whole.as_numpy(outputs[-1]), one.as_numpy(outputs[-1]))
    assert [outputs[-1]] == [output["name"] for output in one.get_response()["outputs"]]


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_compression_both_ways(client: triton.InferenceServerClient, algorithm: str) -> None:
    array = np.zeros((64, 1000), np.float32)
    result = client.infer(
        "fp32",
        [_input(array)],
        request_compression_algorithm=algorithm,
        response_compression_algorithm=algorithm,
    )
    np.testing.assert_array_equal(array, result.as_numpy("y"))


def test_errors_name_what_is_wrong(client: triton.InferenceServerClient) -> None:
    with pytest.raises(InferenceServerException, match=r"shape is \[1, 7\]; expected \[-1, 30\]"):
        client.infer("tiny", [_input(np.zeros((1, 7), np.float32))])
    with pytest.raises(InferenceServerException, match="unknown model 'nobody'; this server has"):
        client.infer("nobody", [_input(np.zeros((1, 30), np.float32))])
    with pytest.raises(InferenceServerException, match="logging settings: not supported"):
        client.get_log_settings()


def test_a_failing_batch_fails_alone(client: triton.InferenceServerClient) -> None:
    """An index that the model's table does not have: the engine's error, and the next request is answered."""
    metadata = client.get_model_metadata("gather")
    name = metadata["inputs"][0]["name"]
    bad, good = np.full((1, 1), 10_000, np.int64), np.zeros((1, 1), np.int64)
    shape = metadata["inputs"][0]["shape"]
    bad, good = (array.reshape([1] * len(shape)) for array in (bad, good))
    with pytest.raises(InferenceServerException, match="onnxruntime"):
        client.infer("gather", [_input(bad, name=name)])
    assert client.infer("gather", [_input(good, name=name)]).get_response()["model_name"] == "gather"


def test_statistics_count(client: triton.InferenceServerClient) -> None:
    def count() -> dict[str, Any]:
        stats: dict[str, Any] = client.get_inference_statistics("matmul")["model_stats"][0]
        return stats

    before = count()
    width = client.get_model_metadata("matmul")["inputs"][0]["shape"][1]
    client.infer("matmul", [_input(np.zeros((3, width), np.float32))])
    after = count()
    assert after["inference_count"] - before["inference_count"] == 3
    assert after["execution_count"] - before["execution_count"] == 1
    assert after["inference_stats"]["success"]["count"] - before["inference_stats"]["success"]["count"] == 1
    assert after["inference_stats"]["compute_infer"]["ns"] > before["inference_stats"]["compute_infer"]["ns"]
    assert "matmul" in {entry["name"] for entry in client.get_inference_statistics()["model_stats"]}


def test_repository_index(client: triton.InferenceServerClient) -> None:
    index = client.get_model_repository_index()
    assert {"name": "tiny", "version": "1", "state": "READY", "reason": ""} in index


def test_the_async_client(server: ServerProcess) -> None:
    async def infer() -> NDArray[Any]:
        async with triton_aio.InferenceServerClient(server.address) as client:
            results = await asyncio.gather(
                *(client.infer("tiny", [_input(np.full((1, 30), i, np.float32))]) for i in range(20))
            )
            return np.concatenate([result.as_numpy("y") for result in results])

    answers = asyncio.run(infer())
    assert answers.shape == (20, 2)
    np.testing.assert_allclose(1.0, answers.sum(axis=1), rtol=1e-5)
