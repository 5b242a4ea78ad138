"""The recorded environment in a fresh virtual environment: real ones, with packages from a folder instead of an index."""

import base64
import hashlib
import platform
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import trivet
from tests.experiment.replay_support import environment, run
from trivet.catalog.code_version import CodeVersion, code_version
from trivet.catalog.environment import Environment
from trivet.experiment.replay.environments import (
    BUILT,
    BuildError,
    Built,
    build,
    interpreter,
    place_of,
    requirements,
    trivet_source,
)
from trivet.experiment.replay.packages import closure, packages_that_matter

PYTHON = f"CPython {platform.python_version()}"
HERE = Path(trivet.__file__).parent.parent


def wheel(folder: Path, name: str, version: str) -> None:
    """A package with one module that tells its version."""
    files = {
        f"{name}.py": f"VERSION = {version!r}\n",
        f"{name}-{version}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{name}-{version}.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = ""
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        record += f"{path},sha256={digest},{len(text)}\n"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
        archive.writestr(f"{name}-{version}.dist-info/RECORD", record)


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip installs from, and from nowhere else."""
    folder = tmp_path / "index"
    folder.mkdir()
    for version in ("1.0", "2.0"):
        wheel(folder, "thing", version)
    for name, value in {
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(folder),
        "PIP_CONFIG_FILE": "/dev/null",
    }.items():
        monkeypatch.setenv(name, value)
    return folder


def recorded(version: str, **packages: str) -> Environment:
    return environment(python=PYTHON, packages=packages, threads={"OMP_NUM_THREADS": "3"}, trivet=version)


def said(built: Built, code: str) -> list[str]:
    command = [str(built.python), "-c", code]
    return subprocess.run(
        command, env=dict(built.variables), capture_output=True, text=True, check=True
    ).stdout.split()


def test_exactly_the_recorded_versions_are_installed_once_and_nothing_here_shadows_them(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    wheel(index, "trivet", "1.0")
    wanted, folder = recorded("1.0", thing="1.0", trivet="1.0"), tmp_path / "environments"
    half_built = place_of(wanted, folder)
    half_built.mkdir(parents=True)
    (half_built / "half").touch()
    built = build(wanted, folder)
    assert not (half_built / "half").exists()
    code = "import os, thing, trivet; print(thing.VERSION, os.environ['OMP_NUM_THREADS'], trivet.VERSION)"
    assert said(built, code) == ["1.0", "3", "1.0"]
    (index / "thing-1.0-py3-none-any.whl").unlink()
    assert build(wanted, folder) == built
    assert built.command(["replay"])[1:] == ["-m", "trivet.cli.main", "replay"]


def test_a_trivet_that_was_never_released_is_imported_from_its_source(tmp_path: Path) -> None:
    wanted = recorded(trivet.__version__, trivet=trivet.__version__)
    place = place_of(wanted, tmp_path)
    place.mkdir()
    (place / BUILT).touch()  # it is there already: nothing is installed
    assert build(wanted, tmp_path).variables["PYTHONPATH"] == str(HERE)


def test_a_package_that_cannot_be_had_is_named_and_nothing_is_left(index: Path, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"(?s)cannot be installed; .*thing==3\.0"):
        build(recorded("1.0", thing="3.0"), tmp_path / "environments")
    assert list((tmp_path / "environments").iterdir()) == []


def test_a_python_that_is_not_here_is_named() -> None:
    with pytest.raises(BuildError, match=r"CPython 3\.2\.1, and there is no python3\.2 here"):
        interpreter("CPython 3.2.1")
    assert interpreter(PYTHON) == sys.executable


def test_trivet_itself_is_required_only_where_it_was_released() -> None:
    assert requirements({"trivet": "0.1.0.dev0", "numpy": "2.0.0"}) == "numpy==2.0.0\n"
    assert requirements({"trivet": "1.2.0"}) == "trivet==1.2.0\n"


def test_trivet_comes_from_the_recorded_commit_where_it_is_known(tmp_path: Path) -> None:
    here = code_version(HERE)
    assert trivet_source(environment(trivet_code=here), tmp_path) == (HERE, ())
    source, notes = trivet_source(
        environment(trivet_code=CodeVersion(commit=here.commit, dirty=True, diff="x")), tmp_path
    )
    assert source is not None
    assert (source / "trivet" / "errors.py").exists()
    assert source.is_relative_to(tmp_path)
    assert notes == ("trivet had changes beside its commit, which are not made again",)


def test_where_the_commit_is_not_known_the_trivet_here_runs_and_that_is_told(tmp_path: Path) -> None:
    source, notes = trivet_source(environment(trivet_code=CodeVersion(commit="0" * 40)), tmp_path)
    assert (source, "the one here runs" in notes[0]) == (HERE, True)
    source, notes = trivet_source(environment(trivet="0.1.0.dev0"), tmp_path)
    assert (source, "the one here runs" in notes[0]) == (HERE, True)
    assert trivet_source(environment(trivet="1.0"), tmp_path) == (None, ())


def test_the_packages_of_a_native_service_are_the_servers_own() -> None:
    found = packages_that_matter(run().configuration)
    assert found is not None
    assert {"numpy", "onnxruntime", "uvloop"} <= set(found)
    assert not {"pytest", "sqlalchemy", "matplotlib"} & set(found)


def test_any_package_may_matter_to_python_code_or_an_unknown_server() -> None:
    assert packages_that_matter({"target": "http://x"}) is None
    assert packages_that_matter({"service": {"models": {"m": {"python": "m:f"}}}}) is None
    stage = {"preprocess": "steps.py:f"}
    assert (
        packages_that_matter({"service": {"models": {"m": {"file": "m.onnx"}}, "pipeline": [stage]}}) is None
    )


def test_a_closure_leaves_out_what_only_an_extra_needs() -> None:
    found = closure(["hypothesis"])
    assert "sortedcontainers" in found
    assert "pytest" not in found
