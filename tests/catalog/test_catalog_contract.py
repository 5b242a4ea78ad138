"""The catalog's promises, kept by SQLite and by a real PostgreSQL server."""

from pathlib import Path

import pytest

from tests.catalog.catalog_contract import CatalogContract, Place
from tests.catalog.catalog_support import DRAFT
from tests.support.postgres import Postgres
from trivet.catalog.catalog import Catalog
from trivet.catalog.errors import CatalogError, NoCatalogError


class TestSqlite(CatalogContract):
    @pytest.fixture
    def place(self, tmp_path: Path) -> Place:
        return {"url": str(tmp_path / "catalog"), "artifacts": str(tmp_path / "artifacts")}


class TestPostgres(CatalogContract):
    @pytest.fixture
    def place(self, postgres: Postgres, tmp_path: Path) -> Place:
        return {"url": postgres.new_database(), "artifacts": str(tmp_path / "artifacts")}


def test_a_server_has_to_be_told_once_where_artifacts_are(postgres: Postgres) -> None:
    with pytest.raises(CatalogError, match=r"no place for artifacts yet.*TRIVET_ARTIFACTS"):
        Catalog.open(postgres.new_database())


def test_a_server_that_cannot_be_reached_is_told_without_the_password(tmp_path: Path) -> None:
    url = f"postgresql://ann:secret@/runs?host={tmp_path}"
    with pytest.raises(CatalogError, match="postgresql:///runs cannot be reached") as raised:
        Catalog.open(url, artifacts=str(tmp_path))
    assert "secret" not in str(raised.value)


def test_the_default_folder_keeps_itself_out_of_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TRIVET_CATALOG", raising=False)
    with pytest.raises(NoCatalogError, match=r"/\.trivet/catalog\.db; a run makes one"):
        Catalog.open(create=False)
    assert list(tmp_path.iterdir()) == []
    catalog = Catalog.open()
    catalog.put(b"x")
    assert catalog.runs() == []
    assert (tmp_path / ".trivet" / ".gitignore").read_text() == "*\n"
    assert sorted(path.name for path in (tmp_path / ".trivet").iterdir() if path.is_dir()) == ["artifacts"]
    monkeypatch.setenv("TRIVET_CATALOG", str(tmp_path / "elsewhere"))
    Catalog.open().begin(DRAFT)
    assert (tmp_path / "elsewhere" / "catalog.db").is_file()


def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    (tmp_path / "catalog.db").write_text("just a text, and long enough to be looked at as a header")
    with pytest.raises(CatalogError, match=r"catalog\.db: file is not a database: .*move it away"):
        Catalog.open(str(tmp_path))


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CatalogError, match=r"cannot be made: .*TRIVET_CATALOG"):
        Catalog.open(str(tmp_path / "file" / "catalog"))


@pytest.mark.parametrize("url", ["mysql://x/y", "sqlite://", "postgresql://x:port/", "s3://bucket"])
def test_a_url_of_another_kind_is_told(url: str, tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="postgresql://USER@HOST/DATABASE"):
        Catalog.open(url, artifacts=str(tmp_path))


def test_a_sqlite_url_names_the_file(tmp_path: Path) -> None:
    Catalog.open(f"sqlite:///{tmp_path}/my.db").begin(DRAFT)
    assert (tmp_path / "my.db").is_file()
