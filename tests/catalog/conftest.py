from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.catalog.catalog_contract import Place
from tests.support.postgres import Postgres


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with Postgres() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Where a catalog is, in a file and in a real server."""
    if request.param == "sqlite":
        url = str(tmp_path / "catalog")
    else:
        server: Postgres = request.getfixturevalue("postgres")
        url = server.new_database()
    return {"url": url, "artifacts": str(tmp_path / "artifacts")}
