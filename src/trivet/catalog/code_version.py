"""Which code a folder holds, as git knows it: the commit, and what differs from it."""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import msgspec

_NO_REPOSITORY = "not a git repository"


class CodeVersion(msgspec.Struct, frozen=True, kw_only=True):
    """commit: empty where there is no git, no repository, or no commit yet; `problem` says what git complained of.
    dirty: something differs from the commit, or is not under version control.
    diff: digest ("sha256:...") of `git status` and `git diff HEAD`, where the code is dirty.
    """

    commit: str = ""
    dirty: bool = False
    diff: str = ""
    problem: str = ""


def code_version(folder: Path, keep: Callable[[bytes], str] | None = None) -> CodeVersion:
    """Args: keep: stores the diff and returns its digest (`Catalog.put`); without it only the digest is taken."""
    git = shutil.which("git")
    if git is None:
        return CodeVersion(problem="git is not installed")
    head = _run(git, folder, "rev-parse", "HEAD")
    if head.returncode:
        complaint = head.stderr.decode(errors="replace").partition("\n")[0]
        return CodeVersion(problem="" if _NO_REPOSITORY in complaint else complaint)
    commit = head.stdout.decode().strip()
    status = _run(git, folder, "status", "--porcelain").stdout
    if not status:
        return CodeVersion(commit=commit)
    # Without --binary: a changed model would be in the diff as a whole; the configuration's hash covers its bytes.
    diff = status + b"\n" + _run(git, folder, "diff", "HEAD").stdout
    digest = keep(diff) if keep is not None else "sha256:" + hashlib.sha256(diff).hexdigest()
    return CodeVersion(commit=commit, dirty=True, diff=digest)


def _run(git: str, folder: Path, *arguments: str) -> "subprocess.CompletedProcess[bytes]":
    command = [git, "--no-pager", "-C", str(folder), *arguments]
    env = {
        **os.environ,
        "GIT_OPTIONAL_LOCKS": "0",
        "LC_ALL": "C",
    }  # looks only; complaints that can be read here
    return subprocess.run(command, capture_output=True, check=False, env=env, stdin=subprocess.DEVNULL)
