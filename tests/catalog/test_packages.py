"""What is installed: versions by name, and digests of what installers wrote down."""

import json
from pathlib import Path

import msgspec
import numpy as np

from trivet.catalog.environment import Environment, differences
from trivet.catalog.packages import installed

DIGEST = "sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"


def put(folder: Path, name: str, *files: str, editable: bool = False) -> None:
    """A package as an installer leaves it, with the lines of its RECORD."""
    metadata = folder / f"{name}-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    if files:
        (metadata / "RECORD").write_text("".join(f"{line}\n" for line in files))
    if editable:
        (metadata / "direct_url.json").write_text(
            json.dumps({"url": "file:///", "dir_info": {"editable": True}})
        )


def content(folder: Path, *files: str) -> str:
    put(folder, "thing", *files)
    return installed([str(folder)]).contents["thing"]


def test_this_python_has_versions_and_contents_by_normal_names() -> None:
    found = installed()
    assert found.versions["numpy"] == np.__version__
    assert found.versions["msgspec"] == msgspec.__version__
    assert found.contents["msgspec"].startswith("sha256:")
    assert found.contents.keys() <= found.versions.keys()
    assert all(name == name.lower() and "_" not in name and "." not in name for name in found.versions)
    assert list(found.versions) == sorted(found.versions)


def test_what_is_installed_counts_and_who_installed_it_where_does_not(tmp_path: Path) -> None:
    module = f"thing/a.py,{DIGEST},0"
    around = (
        f"../../bin/thing,{DIGEST},200",
        f"thing-1.0.dist-info/direct_url.json,{DIGEST},3",
        "thing/__pycache__/a.cpython-311.pyc,,",
        "thing-1.0.dist-info/RECORD,,",
    )
    bare = content(tmp_path / "1", module, f"thing/b.so,{DIGEST},7")
    assert content(tmp_path / "2", *around, f"thing/b.so,{DIGEST},7", module) == bare
    patched = DIGEST.replace("47DEQ", "57DEQ")
    assert content(tmp_path / "3", module, f"thing/b.so,{patched},7") != bare
    assert content(tmp_path / "4", module) != bare


def test_where_nothing_was_written_down_the_version_is_all_that_is_known(tmp_path: Path) -> None:
    put(tmp_path, "bare")
    put(tmp_path, "noted", "noted/a.py,,")
    put(tmp_path, "elsewhere", f"__editable__.elsewhere.pth,{DIGEST},9", editable=True)
    found = installed([str(tmp_path)])
    assert (found.versions, found.contents) == ({"bare": "1.0", "elsewhere": "1.0", "noted": "1.0"}, {})


def test_another_build_of_one_version_is_a_difference_where_builds_could_be_the_same() -> None:
    def built(digest: str, version: str = "2.0", **fields: str) -> Environment:
        named = {"python": "CPython 3.12.1", "architecture": "x86_64"} | fields
        return Environment(packages={"numpy": version}, contents={"numpy": digest}, **named)

    assert [str(d) for d in differences(built("a"), built("b"))] == ["contents.numpy: a -> b"]
    assert [d.field for d in differences(built("a"), built("b", version="2.1"))] == ["packages.numpy"]
    assert [d.field for d in differences(built("a"), built("b", architecture="aarch64"))] == ["architecture"]
    assert [d.field for d in differences(built("a"), built("b", python="CPython 3.13.1"))] == ["python"]
    earlier = Environment(packages={"numpy": "2.0"}, python="CPython 3.12.1", architecture="x86_64")
    assert differences(earlier, built("b")) == []
