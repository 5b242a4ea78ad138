"""The recorded environment in a fresh virtual environment: its Python, its packages, its threads, its trivet.

Packages are installed at exactly the recorded versions and nothing is resolved (`--no-deps`), so what pip installs is
what was there. An environment is built once and kept under the digest of its lock.
"""

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import trivet
from trivet.catalog.code_version import code_version
from trivet.catalog.environment import Environment
from trivet.catalog.machine import THREAD_SETTINGS
from trivet.errors import UserError
from trivet.runtime.preparing.profile import cache_folder

BUILT = "built"  # a file in an environment that is whole
_SHOWN_LINES = 8


class BuildError(UserError):
    """The recorded environment cannot be built here; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class Built:
    """A Python to run, the variables to run it with, and what could not be made as it was."""

    python: Path
    variables: Mapping[str, str]
    notes: tuple[str, ...] = ()

    def command(self, arguments: Sequence[str]) -> list[str]:
        """`trivet` with these arguments, in this environment."""
        return [str(self.python), "-m", "trivet.cli.main", *arguments]


def build(recorded: Environment, folder: Path | None = None) -> Built:
    """Args: folder: where environments are kept; None: beside the profiles, in the user's cache.

    Raises: BuildError: no such Python, or pip cannot install a package; says which.
    """
    python = interpreter(recorded.python)
    place = place_of(recorded, folder or cache_folder() / "environments")
    if not (place / BUILT).exists():
        _build(place, python, requirements(recorded.packages))
    source, notes = trivet_source(recorded, place)
    variables = {name: value for name, value in os.environ.items() if name not in THREAD_SETTINGS}
    variables |= recorded.threads
    variables.pop("PYTHONHOME", None)
    if source is None:
        variables.pop("PYTHONPATH", None)
    else:
        variables["PYTHONPATH"] = str(source)
    return Built(place / "bin" / "python", variables, notes)


def place_of(recorded: Environment, folder: Path) -> Path:
    """Environments of one Python and one lock are one."""
    lock = f"{recorded.python}\n{requirements(recorded.packages)}"
    return folder / hashlib.sha256(lock.encode()).hexdigest()[:16]


def requirements(packages: Mapping[str, str]) -> str:
    """The recorded packages as pip takes them; trivet itself comes from its source, see `trivet_source`."""
    return "".join(
        f"{name}=={version}\n"
        for name, version in sorted(packages.items())
        if name != "trivet" or _is_released(version)
    )


def interpreter(recorded: str) -> str:
    """A Python of the recorded minor version, such as `CPython 3.12.4`.

    Raises: BuildError: there is none.
    """
    version = recorded.rpartition(" ")[2].split(".")
    minor = ".".join(version[:2])
    if minor == f"{sys.version_info.major}.{sys.version_info.minor}":
        return sys.executable
    found = shutil.which(f"python{minor}")
    if found is None:
        raise BuildError(
            f"the run was measured with {recorded or 'an unknown Python'}, and there is no python{minor} here: "
            "install it, or replay without --env"
        )
    return found


def trivet_source(recorded: Environment, place: Path) -> tuple[Path | None, tuple[str, ...]]:
    """The folder to import trivet from; None: it was installed with the packages.

    A run from a working tree names a commit: where this trivet's own repository has it, that is what runs.
    """
    here = Path(trivet.__file__).parent.parent
    commit = recorded.trivet_code.commit
    if not commit:
        if _is_released(recorded.trivet):
            return None, ()
        return here, (f"trivet {recorded.trivet} is no release and names no commit: the one here runs",)
    if code_version(here) == recorded.trivet_code:
        return here, ()
    notes = (
        ("trivet had changes beside its commit, which are not made again",)
        if recorded.trivet_code.dirty
        else ()
    )
    target = place / f"trivet-{commit[:12]}"
    if not (target / BUILT).exists() and not _check_out(here, commit, target):
        return here, (f"trivet's commit {commit[:12]} is not in {here.parent}: the one here runs",)
    return target / "src", notes


def _is_released(version: str) -> bool:
    return bool(version) and "dev" not in version and "+" not in version


def _check_out(here: Path, commit: str, target: Path) -> bool:
    """The commit's files, without touching the working tree; False where git does not know it."""
    git = shutil.which("git")
    if git is None:
        return False
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder, "trivet.tar")
        done = subprocess.run(
            [
                git,
                "-C",
                str(here.parent),
                "archive",
                "--format=tar",
                f"--output={archive}",
                commit,
                here.name,
            ],
            capture_output=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        if done.returncode:
            return False
        shutil.rmtree(target, ignore_errors=True)
        shutil.unpack_archive(archive, target, filter="data")
    (target / BUILT).touch()
    return True


def _build(place: Path, python: str, lock: str) -> None:
    """All of it, or nothing is left."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    try:
        _run([python, "-m", "venv", "--without-pip", str(place)], "a virtual environment cannot be made")
        (place / "lock.txt").write_text(lock)
        # The pip that runs here installs into the new environment: it needs none of its own for that.
        command = [sys.executable, "-m", "pip", "--python", str(place / "bin" / "python"), "install"]
        command += [
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
            "--no-input",
            "-r",
            str(place / "lock.txt"),
        ]
        _run(command, "the recorded packages cannot be installed")
        (place / BUILT).touch()
    except BaseException:
        with contextlib.suppress(OSError):
            shutil.rmtree(place)
        raise


def _run(command: Sequence[str], what: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        last = "\n".join((done.stderr or done.stdout).strip().splitlines()[-_SHOWN_LINES:])
        raise BuildError(f"{what}; {Path(command[0]).name} says:\n{last}")
