"""Data as one artifact, and back: a folder of labelled files as well as a file."""

import io
import tarfile
from pathlib import Path

import msgspec
import pytest

from tests.experiment.replay_support import MemoryStore, run
from trivet.errors import UserError
from trivet.experiment.data_files import FOLDER, content_of, describe, put_back, size_of
from trivet.experiment.replay.again import workload_of
from trivet.experiment.workload import Asking, Workload
from trivet.spec.data import read_columns


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    for label, name, content in (("a", "2", b"\0\1"), ("b", "x y", b""), ("a", "1", b"one")):
        (folder / label).mkdir(parents=True, exist_ok=True)
        (folder / label / name).write_bytes(content)
    return folder


def test_a_folder_comes_back_as_the_same_rows(labelled: Path, tmp_path: Path) -> None:
    put_back(tmp_path / "again", content_of(labelled), FOLDER)
    assert read_columns(tmp_path / "again", None, 10) == read_columns(labelled, None, 10)
    assert size_of(labelled) == 5


def test_the_same_files_have_the_same_digest_whenever_and_in_whatever_order_they_were_written(
    labelled: Path, tmp_path: Path
) -> None:
    put_back(tmp_path / "again", content_of(labelled), FOLDER)
    assert describe(tmp_path / "again") == describe(labelled)
    (tmp_path / "again" / "a" / "1").write_bytes(b"two")
    assert describe(tmp_path / "again") != describe(labelled)


def test_a_file_is_kept_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_bytes(b"x\n1\n")
    assert content_of(tmp_path / "d.csv") == b"x\n1\n"
    assert "form" not in describe(tmp_path / "d.csv")


@pytest.mark.parametrize("name", ["../escaped", "/escaped"])
def test_an_archive_writes_nothing_outside_of_its_folder(tmp_path: Path, name: str) -> None:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        member = tarfile.TarInfo(name)
        tar.addfile(member)
    if name.startswith("/"):  # the leading slash means nothing: the file lies inside
        put_back(tmp_path / "to", archive.getvalue(), FOLDER)
        assert (tmp_path / "to" / "escaped").is_file()
        return
    with pytest.raises(UserError, match="no archive of a folder"):
        put_back(tmp_path / "to", archive.getvalue(), FOLDER)
    assert not (tmp_path / "escaped").exists()


def test_a_kept_folder_is_asked_about_again_and_a_given_one_must_be_the_same(
    labelled: Path, tmp_path: Path
) -> None:
    store = MemoryStore()
    workload = Workload(rate_rps=1, asking=Asking(inputs="/gone/files"))
    kept = {"data": store.put(content_of(labelled))}
    one = run(workload=msgspec.to_builtins(workload), artifacts=kept, dataset=describe(labelled))
    found = Path(workload_of(one, store, tmp_path / "new").asking.inputs)
    assert read_columns(found, None, 10) == read_columns(labelled, None, 10)
    found = Path(workload_of(one, store, tmp_path / "given", labelled).asking.inputs)
    assert read_columns(found, None, 10) == read_columns(labelled, None, 10)
    (labelled / "b" / "more").write_bytes(b"?")
    with pytest.raises(UserError, match="is not the data of the run"):
        workload_of(one, store, tmp_path / "other", labelled)
