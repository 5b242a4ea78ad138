"""Bundles: the same bytes for the same runs, whole or refused with the member's name."""

import contextlib
import zipfile
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.experiment.replay_support import MemoryStore, configuration, rows, run
from trivet.catalog.records import Run
from trivet.experiment.replay import bundle
from trivet.experiment.replay.archive import Archive, BundleError, digest_of, write_archive
from trivet.experiment.replay.bundle import _parquet

MODEL = b"weights " * 100


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def kept(store: MemoryStore, run_id: str = "r1") -> Run:
    """A run whose every artifact is in the store."""
    digest = store.put(MODEL).removeprefix("sha256:")
    artifacts = {
        "rows": store.put(_parquet(rows(num=50))),
        "answers": store.put(b"answers of " + run_id.encode()),
        "model:m.onnx": f"sha256:{digest}",
        "data": store.put(b"text,label\na,b\n"),
    }
    return run(run_id, configuration=configuration(digest), artifacts=artifacts)


def rewritten(path: Path, changed: dict[str, bytes | None], extra: dict[str, bytes] | None = None) -> Path:
    """The same archive with members replaced, left out (None) or added."""
    with Archive(path) as archive:
        members = {name: archive.read(name) for name in archive.names()}
    members |= {name: data for name, data in changed.items() if data is not None} | (extra or {})
    other = path.with_name("rewritten.zip")
    write_archive(
        other, [(name, data) for name, data in members.items() if changed.get(name, b"") is not None]
    )
    return other


def test_a_bundle_gives_back_the_runs_and_everything_they_name(store: MemoryStore, tmp_path: Path) -> None:
    runs = [kept(store, "r1"), kept(store, "r2")]
    made = bundle.export(store, runs, tmp_path / "b.zip")
    found = bundle.read(tmp_path / "b.zip")
    assert found.runs == tuple(runs)
    assert found.digest == made.digest
    for one in runs:
        for digest in one.artifacts.values():
            assert found.get(digest) == store.get(digest)
    assert found.rows(runs[0].artifacts["rows"]).num_rows == 50
    with Archive(tmp_path / "b.zip") as archive:
        assert archive.read("locks/r1.txt").decode().splitlines()[1:] == [
            "numpy==2.0.0",
            "onnxruntime==1.20.0",
        ]


def test_the_same_runs_give_the_same_bytes(store: MemoryStore, tmp_path: Path) -> None:
    for name in ("a.zip", "b.zip"):
        bundle.export(store, [kept(store)], tmp_path / name)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_what_runs_share_is_in_it_once(store: MemoryStore, tmp_path: Path) -> None:
    made = bundle.export(store, [kept(store, "r1"), kept(store, "r2")], tmp_path / "b.zip")
    names = [member.name for member in made.manifest.members]
    assert len(names) == len(set(names))
    assert sum(name.startswith("objects/") for name in names) == 5  # two of answers, one of each other


def test_a_model_that_is_not_kept_is_taken_from_its_place_or_missed(
    store: MemoryStore, tmp_path: Path
) -> None:
    one = kept(store)
    path = tmp_path / "m.onnx"
    path.write_bytes(MODEL)
    del store.objects[one.artifacts["model:m.onnx"]]
    source = {"source": str(tmp_path / "service.yaml")}
    one = msgspec.structs.replace(
        one,
        configuration=one.configuration | source,
        artifacts={name: digest for name, digest in one.artifacts.items() if name != "model:m.onnx"},
    )
    made = bundle.export(store, [one], tmp_path / "b.zip")
    assert made.get("sha256:" + one.configuration["files"][0]["digest"]) == MODEL
    path.write_bytes(b"another")
    with pytest.raises(BundleError, match=r"'m.onnx' .* is not that file any more"):
        bundle.export(store, [one], tmp_path / "c.zip")
    assert not (tmp_path / "c.zip").exists()


def test_an_absolute_name_means_nothing_elsewhere(store: MemoryStore, tmp_path: Path) -> None:
    one = kept(store)
    one.configuration["files"][0]["name"] = "/models/m.onnx"
    with pytest.raises(BundleError, match=r"/models/m.onnx"):
        bundle.export(store, [one], tmp_path / "b.zip")


def test_a_folder_that_is_not_there_is_named(store: MemoryStore, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"none/b.zip cannot be written: No such file"):
        bundle.export(store, [kept(store)], tmp_path / "none" / "b.zip")


def test_an_existing_file_stays_where_a_new_one_cannot_be_made(store: MemoryStore, tmp_path: Path) -> None:
    path = tmp_path / "b.zip"
    path.write_bytes(b"before")
    one = kept(store)
    store.objects.pop(one.artifacts["answers"])
    with pytest.raises(KeyError):
        bundle.export(store, [one], path)
    assert (path.read_bytes(), list(tmp_path.iterdir())) == (b"before", [path])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundle") / "b.zip"
    store = MemoryStore()
    bundle.export(store, [kept(store)], path)
    return path


@given(share=st.floats(0, 1, exclude_max=True))
def test_no_truncated_file_is_a_bundle(whole: Path, share: float) -> None:
    content = whole.read_bytes()
    cut = whole.with_name("cut.zip")
    cut.write_bytes(content[: int(share * len(content))])
    with pytest.raises(BundleError, match=r"cut.zip"):
        bundle.read(cut)


@given(place=st.integers(0), bit=st.integers(0, 7))
def test_a_changed_bit_is_found_or_changes_nothing_that_is_read(whole: Path, place: int, bit: int) -> None:
    content = bytearray(whole.read_bytes())
    content[place % len(content)] ^= 1 << bit
    changed = whole.with_name("changed.zip")
    changed.write_bytes(content)
    expected = bundle.read(whole)
    with contextlib.suppress(BundleError):  # as it should be, for nearly every bit; any other error fails
        found = bundle.read(changed)
        assert (found.digest, found.runs) == (expected.digest, expected.runs)


def member(whole: Path, start: str) -> str:
    with Archive(whole) as archive:
        return next(name for name in archive.names() if name.startswith(start))


@pytest.mark.parametrize("start", ["README.txt", "runs/", "locks/", "objects/"])
def test_a_changed_member_is_named(whole: Path, start: str) -> None:
    name = member(whole, start)
    with Archive(whole) as archive:
        size = archive.size(name)
    with pytest.raises(BundleError, match=rf"member {name} was changed"):
        bundle.read(rewritten(whole, {name: b"x" * size}))
    with pytest.raises(BundleError, match=rf"member {name} has 1 bytes instead of {size:,}"):
        bundle.read(rewritten(whole, {name: b"x"}))
    with pytest.raises(BundleError, match=rf"member {name} is missing"):
        bundle.read(rewritten(whole, {name: None}))


def test_an_object_under_another_digest_is_refused_though_the_manifest_agrees(whole: Path) -> None:
    name = member(whole, "objects/")
    found = bundle.read(whole)
    with Archive(whole) as archive:
        other = b"y" * archive.size(name)
    members = tuple(
        msgspec.structs.replace(entry, digest=digest_of(other)) if entry.name == name else entry
        for entry in found.manifest.members
    )
    manifest = msgspec.json.encode(msgspec.structs.replace(found.manifest, members=members))
    with pytest.raises(BundleError, match=rf"member {name} was changed"):
        bundle.read(rewritten(whole, {name: other, "manifest.json": manifest}))


def test_a_member_that_somebody_added_is_named(whole: Path) -> None:
    with pytest.raises(BundleError, match=r"member objects/extra is not in the manifest"):
        bundle.read(rewritten(whole, {}, {"objects/extra": b""}))


def test_a_newer_form_is_told_apart_from_a_broken_one(whole: Path) -> None:
    with pytest.raises(BundleError, match=r"is of form 2; this trivet .* reads up to 1: use a newer one"):
        bundle.read(rewritten(whole, {"manifest.json": b'{"format":2,"everything":"else"}'}))
    with pytest.raises(BundleError, match=r"manifest.json is not a manifest"):
        bundle.read(rewritten(whole, {"manifest.json": b'{"format":1}'}))
    with pytest.raises(BundleError, match=r"no member manifest.json"):
        bundle.read(rewritten(whole, {"manifest.json": None}))


def zipped(path: Path, name: str, data: bytes = b"x", **settings: int) -> Path:
    with zipfile.ZipFile(path, "w", **settings) as archive:  # type: ignore[arg-type]
        archive.writestr(name, data)
    return path


@pytest.mark.parametrize(
    "name", ["../up", "/root", "a/../../b", "C:\\x", ".hidden", "a//b", "a/", "a\nb", "a/.b"]
)
def test_a_name_that_could_lead_out_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(BundleError, match=r"could lead out of a folder"):
        bundle.read(zipped(tmp_path / "b.zip", name))


def test_compressed_members_are_refused_whatever_they_would_grow_to(tmp_path: Path) -> None:
    path = zipped(tmp_path / "b.zip", "manifest.json", bytes(10_000_000), compression=zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 20_000
    with pytest.raises(BundleError, match=r"'manifest.json' is compressed"):
        bundle.read(path)


def test_members_that_share_the_bytes_of_the_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "b.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a", b"x" * 1000)
        for i in range(50):  # further entries of the directory that point at the same member
            info = zipfile.ZipInfo(f"a{i}")
            first = archive.infolist()[0]
            info.file_size = info.compress_size = first.file_size
            info.CRC, info.header_offset = first.CRC, first.header_offset
            archive.filelist.append(info)
    with pytest.raises(BundleError, match=r"claims 1,000 bytes; the file has"):
        bundle.read(path)


def test_a_member_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "b.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("manifest.json", b"{}")
        with pytest.warns(UserWarning, match=r"Duplicate"):
            archive.writestr("manifest.json", b"[]")
    with pytest.raises(BundleError, match=r"'manifest.json' is there twice"):
        bundle.read(path)


@pytest.mark.parametrize("content", [b"", b"PK", b"not a zip file at all", b"PK\x05\x06" + bytes(18)])
def test_files_that_are_no_bundles(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "b.zip"
    path.write_bytes(content)
    with pytest.raises(BundleError, match=r"b.zip"):
        bundle.read(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"none.zip cannot be read: No such file"):
        bundle.read(tmp_path / "none.zip")


def test_what_is_not_in_a_bundle_is_named(whole: Path) -> None:
    with pytest.raises(BundleError, match=r"does not hold sha256:000000000000"):
        bundle.read(whole).get("sha256:" + "0" * 64)
