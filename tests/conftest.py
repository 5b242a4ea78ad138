"""What all tests share: a cache folder of their own, so that nothing is read from or left on the machine."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.redis_server import redis_url  # noqa: F401  # a fixture for all


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    before = os.environ.get("TRIVET_CACHE")
    os.environ["TRIVET_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield
    if before is None:
        del os.environ["TRIVET_CACHE"]
    else:
        os.environ["TRIVET_CACHE"] = before


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c() -> Iterator[None]:
    """Who is started in the background by a shell without job control ignores it, with all children; tests send it."""
    before = signal.getsignal(signal.SIGINT)
    if before == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the small models that tests serve."""
    from benchmarks import models as build

    folder = tmp_path_factory.mktemp("models")
    build.write(build.tiny(), folder / "tiny.onnx")
    build.write(build.matmul(), folder / "matmul.onnx")
    build.write(build.centred(), folder / "centred.onnx")
    build.write(build.total(), folder / "total.onnx")
    build.write(build.two_inputs(), folder / "two.onnx")
    build.write(build.gather(), folder / "gather.onnx")
    for datatype in (
        "BOOL",
        "UINT8",
        "INT8",
        "INT16",
        "UINT16",
        "INT32",
        "UINT32",
        "INT64",
        "UINT64",
        "FP16",
        "FP32",
        "FP64",
        "BYTES",
    ):
        build.write(build.identity(datatype), folder / f"{datatype.lower()}.onnx")
    return folder
