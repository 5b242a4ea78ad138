from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.server import ServerProcess


@pytest.fixture(scope="session")
def server(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """One server with every small model, for tests that leave it as they found it."""
    paths = sorted(str(path) for path in models.glob("*.onnx"))
    with ServerProcess(paths, tmp_path_factory.mktemp("server")) as running:
        yield running
