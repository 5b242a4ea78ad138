"""The demo's labelled files: near-duplicates once, no package in two parts, the same list for the same machine."""

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from demo.labelled_files import MAX_OF_PACKAGE, PARTS, labelled_files, parts_of
from demo.near_duplicates import first_of_each


def features(path: Path) -> NDArray[np.int32]:
    found = np.full(256, 256, np.int32)
    content = path.read_bytes()[:256]
    found[: len(content)] = np.frombuffer(content, np.uint8)
    return found


def rows(num: int, seed: int = 0) -> list[NDArray[np.int32]]:
    return list(np.random.default_rng(seed).integers(0, 256, (num, 512), dtype=np.int32))


def test_rows_that_differ_in_little_are_taken_once() -> None:
    original = rows(6)
    changed = [row.copy() for row in original]
    for row in changed:
        row[100:110] = 0  # 13 of 509 shingles: a similarity of 0.95
    assert first_of_each([*original, *changed]) == [0, 1, 2, 3, 4, 5]


def test_rows_that_share_half_are_different() -> None:
    original = rows(4)
    half = [np.concatenate([row[:256], other[256:]]) for row, other in zip(original, rows(4, 1), strict=True)]
    assert first_of_each([*original, *half]) == list(range(8))


def test_a_chain_of_likes_keeps_those_that_are_unlike_every_kept_one() -> None:
    start = rows(1)[0]
    chain = [start]
    for step in range(1, 6):
        following = chain[-1].copy()
        following[step * 60 : step * 60 + 40] = step
        chain.append(following)
    kept = first_of_each(chain)
    assert kept[0] == 0
    assert 1 not in kept  # 43 of 509 shingles away
    assert len(kept) >= 2  # the end of the chain is far from its beginning


@given(st.lists(st.sampled_from("abcdefghij"), min_size=1, max_size=200))
def test_all_rows_of_a_package_lie_in_one_part(packages: list[str]) -> None:
    parts = parts_of(packages)
    assert set(parts) <= set(PARTS)
    assert len({(package, part) for package, part in zip(packages, parts, strict=True)}) == len(set(packages))


def test_parts_have_their_shares_where_packages_are_small() -> None:
    parts = Counter(parts_of([f"p{number // 5}" for number in range(1000)]))
    assert {name: parts[name] / 1000 for name in PARTS} == pytest.approx(PARTS, abs=0.01)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Twelve packages with files of two extensions, some of them copies, and files that are none of ours."""
    rng = np.random.default_rng(3)
    for package in range(12):
        folder = tmp_path / "root" / f"package{package}" / "deep"
        folder.mkdir(parents=True)
        for number in range(4):
            (folder / f"{number}.py").write_bytes(rng.bytes(200))
            (folder / f"{number}.json").write_bytes(rng.bytes(200))
        (folder / "copy.py").write_bytes(b"x = 1\n" * 20)
        (folder / "small.py").write_bytes(b"#")
        (folder / "other.dat").write_bytes(rng.bytes(200))
    (tmp_path / "root" / "package0" / "link.py").symlink_to(tmp_path / "root" / "package1" / "deep" / "0.py")
    return tmp_path / "root"


def test_every_file_once_in_its_packages_part(tree: Path) -> None:
    found = labelled_files([tree], features)
    assert Counter(file.extension for file in found.files) == {".json": 48, ".py": 49}
    assert found.num_similar == 11  # eleven copies of one file
    assert {file.label for file in found.files} == {"json", "python"}
    part_of = {}
    for file, part in zip(found.files, found.parts, strict=True):
        assert part_of.setdefault(file.package, part) == part
    assert found.features.shape == (97, 256)
    assert "97 files of 2 extensions from 12 packages" in found.in_words()


def test_the_same_files_have_the_same_digest_and_one_changed_byte_another(tree: Path) -> None:
    first = labelled_files([tree], features)
    os.utime(tree / "package3" / "deep" / "0.py", ns=(1, 1))
    assert labelled_files([tree], features).digest == first.digest
    path = tree / "package3" / "deep" / "0.py"
    path.write_bytes(b"!" + path.read_bytes()[1:])
    assert labelled_files([tree], features).digest != first.digest


def test_no_extension_and_no_package_has_more_than_its_share(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    folder = tmp_path / "root" / "large"
    folder.mkdir(parents=True)
    for number in range(MAX_OF_PACKAGE + 20):
        (folder / f"{number}.py").write_bytes(rng.bytes(200))
    found = labelled_files([tmp_path / "root"], features, max_of_extension=1000)
    assert len(found.files) == MAX_OF_PACKAGE
    assert len(labelled_files([tmp_path / "root"], features, max_of_extension=7).files) == 7


def test_a_file_that_cannot_be_read_is_left_out(tree: Path) -> None:
    def refusing(path: Path) -> NDArray[np.int32]:
        if path.suffix == ".json":
            raise PermissionError(path)
        return features(path)

    assert {file.extension for file in labelled_files([tree], refusing).files} == {".py"}


def test_a_scan_meets_near_duplicates_and_nothing_that_was_fitted_to(tree: Path) -> None:
    found = labelled_files([tree], features)
    fitted = {file.package for file, part in zip(found.files, found.parts, strict=True) if part == "fit"}
    copies = [package for package in range(12) if f"root/package{package}" not in fitted]
    scanned = [row.tobytes() for row in found.scanned()]
    assert sum(part != "fit" for part in found.parts) + len(found.similar) == len(scanned)
    assert 0 < len(found.similar) <= len(copies)
    assert len(set(scanned)) < len(scanned)
    assert not {
        row.tobytes() for row, part in zip(found.features, found.parts, strict=True) if part == "fit"
    } & set(scanned) - {found.similar[0].tobytes()}
