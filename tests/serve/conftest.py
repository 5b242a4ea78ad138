from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serve.openai_support import write_services
from tests.support.server import ServerProcess


@pytest.fixture(scope="session")
def server(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """One server with every small model, for tests that leave it as they found it."""
    paths = sorted(str(path) for path in models.glob("*.onnx"))
    with ServerProcess(paths, tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture(scope="session")
def openai_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("openai")
    write_services(folder)
    return folder


@pytest.fixture(scope="session")
def openai_server(openai_folder: Path) -> Iterator[ServerProcess]:
    """One server with the models of `openai_support`."""
    paths = sorted(str(path) for path in openai_folder.glob("*.yaml"))
    with ServerProcess(paths, openai_folder) as running:
        yield running
