"""The store of artifacts by itself: in a folder, and at another place that fsspec knows."""

import hashlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trivet.catalog.artifacts import Artifacts
from trivet.catalog.errors import CatalogError, DamagedArtifactError
from trivet.catalog.writer import Writer


@pytest.fixture(params=["folder", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "folder":
        yield str(tmp_path / "artifacts")
        return
    url = f"memory://{uuid.uuid4()}"
    yield url
    files = Artifacts(url)._files
    files.rm(f"/{url.removeprefix('memory://')}", recursive=True)


def drafts(store: Artifacts) -> list[str]:
    folder = f"{store._root}/drafts"
    return list(store._files.ls(folder, detail=False)) if store._files.exists(folder) else []


def test_what_is_put_is_found_under_its_sha256(url: str) -> None:
    store = Artifacts(url)
    digest = store.put(b"data")
    assert digest == "sha256:" + hashlib.sha256(b"data").hexdigest()
    assert Artifacts(url).get(digest) == b"data"
    assert drafts(store) == []


def test_a_file_is_stored_and_fetched_piece_by_piece(url: str, tmp_path: Path) -> None:
    content = bytes(range(256)) * 10_000  # more than one piece
    (tmp_path / "model").write_bytes(content)
    store = Artifacts(url)
    digest = store.put(tmp_path / "model")
    store.fetch(digest, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == content == store.get(digest)


def test_an_artifact_of_another_size_is_mended_by_putting_it_again(url: str) -> None:
    store = Artifacts(url)
    digest = store.put(b"whole")
    store._files.pipe_file(store._path(digest.removeprefix("sha256:")), b"who")
    with pytest.raises(DamagedArtifactError, match="restore it"):
        store.get(digest)
    store.put(b"whole")
    assert store.get(digest) == b"whole"


def test_a_failed_write_leaves_nothing(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Artifacts(url)

    def fail(draft: str, path: str) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(store, "_move", fail)
    with pytest.raises(CatalogError, match="Input/output error"):
        store.put(b"data")
    assert drafts(store) == []
    assert not store.has("sha256:" + hashlib.sha256(b"data").hexdigest())


def test_drafts_of_the_dead_are_removed_and_those_of_the_living_kept(url: str) -> None:
    store = Artifacts(url)
    store.put(b"data")
    alive = Writer.current()
    dead = msgspec.structs.replace(alive, started=alive.started - 1)
    elsewhere = msgspec.structs.replace(alive, host="another", boot="another")
    names = [f"{store._root}/drafts/00.{writer.file_name()}" for writer in (dead, alive, elsewhere)]
    store._files.makedirs(f"{store._root}/drafts", exist_ok=True)
    for name in names:
        store._files.pipe_file(name, b"half")
    after = Artifacts(url)
    assert after.has(after.put(b"more"))
    assert sorted(drafts(after)) == sorted(names[1:])


def test_a_file_that_changes_while_it_is_stored_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model"
    path.write_bytes(b"before")
    store = Artifacts(str(tmp_path / "artifacts"))
    has = store._files.exists

    def change(name: Any) -> bool:
        path.write_bytes(b"after!")
        return bool(has(name))

    monkeypatch.setattr(store._files, "exists", change)
    with pytest.raises(CatalogError, match="model changed while it was being stored"):
        store.put(path)
    assert list((tmp_path / "artifacts").glob("sha256/*/*")) == []


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="nothing cannot be stored: No such file"):
        Artifacts(str(tmp_path)).put(tmp_path / "nothing")


@given(contents=st.lists(st.binary(max_size=20), max_size=8))
@settings(max_examples=25, deadline=None)
def test_equal_contents_are_kept_once(
    contents: list[bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("store")
    store = Artifacts(str(folder))
    digests = [store.put(content) for content in contents]
    assert [store.get(digest) for digest in digests] == contents
    assert len(list(folder.glob("sha256/*/*"))) == len(set(contents))


def test_a_file_and_its_name_are_on_disk_before_its_digest_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a power cut leaves cannot be tested; that the disk is waited for, in this order, can."""
    synced: list[str] = []

    def note(descriptor: int) -> None:
        synced.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).parent.name)

    monkeypatch.setattr("os.fsync", note)
    digest = Artifacts(str(tmp_path)).put(b"data").removeprefix("sha256:")
    assert synced == ["drafts", "sha256"]
    assert (tmp_path / "sha256" / digest[:2] / digest[2:]).is_file()


def test_a_folder_may_have_any_name(tmp_path: Path) -> None:
    store = Artifacts(str(tmp_path / "a [1-9]* %20 ü"))
    dead = msgspec.structs.replace(Writer.current(), started=0)
    drafts_folder = tmp_path / "a [1-9]* %20 ü" / "drafts"
    drafts_folder.mkdir(parents=True)
    (drafts_folder / f"00.{dead.file_name()}").write_bytes(b"half")
    assert store.get(store.put(b"data")) == b"data"
    assert list(drafts_folder.iterdir()) == []
