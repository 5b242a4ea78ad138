"""A Triton-style repository folder, and clients that load and unload its models."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from benchmarks import models as build
from tests.support.server import ServerProcess


@pytest.fixture(scope="module")
def repository(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repository")
    for version, seed in (("1", 0), ("2", 1)):
        build.write(build.tiny(seed), folder / "trees" / version / "model.onnx")
    (folder / "trees" / "config.pbtxt").write_text(
        'name: "trees"\nmax_batch_size: 8\ndynamic_batching { }\nversion_policy { all { } }\n'
    )
    (folder / "identity" / "1").mkdir(parents=True)
    shutil.copy(models / "fp32.onnx", folder / "identity" / "1" / "model.onnx")
    return folder


@pytest.fixture(scope="module")
def client(
    repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[triton.InferenceServerClient]:
    with ServerProcess(
        [str(repository), "--enable-load-unload", "--workers", "2"], tmp_path_factory.mktemp("server")
    ) as server:
        yield triton.InferenceServerClient(server.address)


def infer(client: triton.InferenceServerClient, model: str, version: str = "") -> list[float]:
    tensor = triton.InferInput("x", [1, 30], "FP32")
    tensor.set_data_from_numpy(np.ones((1, 30), np.float32))
    answer: list[float] = client.infer(model, [tensor], model_version=version).as_numpy("y")[0].tolist()
    return answer


def test_versions_are_different_models_and_the_newest_is_the_default(
    client: triton.InferenceServerClient,
) -> None:
    assert client.get_model_metadata("trees")["versions"] == ["1", "2"]
    assert infer(client, "trees", "1") != infer(client, "trees", "2")
    assert infer(client, "trees") == infer(client, "trees", "2")
    assert client.get_model_config("trees")["max_batch_size"] == 8
    with pytest.raises(InferenceServerException, match="unknown version '3' of model 'trees'; it has 1, 2"):
        infer(client, "trees", "3")


def test_unload_and_load_reach_every_worker(client: triton.InferenceServerClient) -> None:
    client.unload_model("identity")
    for _ in range(8):  # some on each worker
        assert not client.is_model_ready("identity")
    assert ("identity", "UNAVAILABLE") in {
        (one["name"], one["state"]) for one in client.get_model_repository_index()
    }
    client.load_model("identity")
    for _ in range(8):
        assert client.is_model_ready("identity")
    with pytest.raises(InferenceServerException, match="no model 'nobody'"):
        client.load_model("nobody")
    with pytest.raises(InferenceServerException, match="no model 'nobody' is loaded"):
        client.unload_model("nobody")


@pytest.mark.parametrize("name", ["..", "%2e%2e", "..%2f..%2fetc", "trees%2f1", "%00"])
def test_loading_never_leaves_the_repository(client: triton.InferenceServerClient, name: str) -> None:
    answer = client._post(f"v2/repository/models/{name}/load", b"{}", {}, None)
    assert answer.status_code in (400, 404)


def test_loading_is_off_unless_enabled(server: ServerProcess) -> None:
    with pytest.raises(InferenceServerException, match="--enable-load-unload"):
        triton.InferenceServerClient(server.address).load_model("tiny")
