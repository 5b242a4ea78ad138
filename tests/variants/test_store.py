"""Variants kept by content; failures kept, too."""

from pathlib import Path

import msgspec
import pytest

from trivet.variants.builder import Built
from trivet.variants.errors import StoreError
from trivet.variants.store import VariantStore, digest_of
from trivet.variants.variant import BuildFailure, Variant

ORIGIN = "0" * 64
RECORD = Variant(name="int8", model="m", digest="", files=("model.onnx",), size_bytes=0, built_from=ORIGIN)


def _put(store: VariantStore, content: bytes, key: str, record: Variant = RECORD) -> Variant:
    with store.draft() as folder:
        for file in record.files:
            (folder / file).write_bytes(content)
        (folder / "left over").write_bytes(b"of the build")
        return store.put(folder, key, Built(record.files), record)


def test_what_is_put_is_found_with_its_digest_and_size(tmp_path: Path) -> None:
    store = VariantStore(tmp_path / "store")
    kept = _put(store, b"abc", "k")
    assert store.find(ORIGIN, "k") == kept
    assert store.path(kept).read_bytes() == b"abc"
    assert kept.size_bytes == 3
    assert len(kept.digest) == 64
    assert store.path(kept).parent.name == kept.digest
    assert [path.name for path in store.path(kept).parent.iterdir()] == ["model.onnx"]
    assert list((tmp_path / "store" / "drafts").iterdir()) == []


def test_the_same_bytes_have_the_same_digest_and_one_place(tmp_path: Path) -> None:
    store = VariantStore(tmp_path)
    first, second = _put(store, b"abc", "k1"), _put(store, b"abc", "k2")
    assert first == second
    assert _put(store, b"abd", "k3").digest != first.digest
    assert len(list((tmp_path / "objects").iterdir())) == 2


def test_stages_are_part_of_the_digest(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    plain = digest_of(tmp_path, Built(("a",)))
    staged = digest_of(tmp_path, Built(("a",), stages=({"model": "a", "at_least": 0.9},)))
    assert plain != staged


def test_a_variant_whose_file_is_gone_is_not_found_and_can_be_put_again(tmp_path: Path) -> None:
    store = VariantStore(tmp_path)
    kept = _put(store, b"abc", "k")
    store.path(kept).unlink()
    assert store.find(ORIGIN, "k") is None
    assert store.all(ORIGIN) == []
    assert _put(store, b"abc", "k") == kept
    assert store.path(kept).read_bytes() == b"abc"


def test_of_each_name_the_newest_is_listed_with_failures(tmp_path: Path) -> None:
    import os

    store = VariantStore(tmp_path)
    _put(store, b"old", "k1")
    new = _put(store, b"new", "k2")
    failure = BuildFailure(name="bf16", model="m", reason="no flag", built_from=ORIGIN)
    store.put_failure("k3", failure)
    for age, key in enumerate(("k1", "k2", "k3"), start=1):
        os.utime(tmp_path / "records" / ORIGIN / f"{key}.json", ns=(age, age))
    assert store.all(ORIGIN) == [failure, new]
    assert store.find(ORIGIN, "k3") == failure
    assert store.all("1" * 64) == []


def test_a_record_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    store = VariantStore(tmp_path)
    _put(store, b"abc", "k")
    (tmp_path / "records" / ORIGIN / "k.json").write_bytes(b"{")
    assert store.find(ORIGIN, "k") is None


def test_several_files_keep_their_names(tmp_path: Path) -> None:
    store = VariantStore(tmp_path)
    record = msgspec.structs.replace(RECORD, files=("model.xml", "model.bin"), engine="openvino")
    kept = _put(store, b"abc", "k", record)
    assert store.path(kept).name == "model.xml"
    assert store.path(kept, "model.bin").read_bytes() == b"abc"
    assert kept.size_bytes == 6


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    store = VariantStore(tmp_path / "file" / "store")
    with pytest.raises(StoreError, match="variants cannot be kept in"):
        _put(store, b"abc", "k")
