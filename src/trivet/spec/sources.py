"""Python code and files that a service names: from the words of the service file to paths."""

import re
from pathlib import Path

from trivet.errors import SpecError
from trivet.spec.fields import FieldError, FieldPath

_TARGET = re.compile(
    r"(?P<source>[^:]*[^:/]):(?P<attribute>[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*)"
)
_MODULE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")


def is_target(target: str) -> bool:
    """Whether a text has the form `module:attribute` or `file.py:attribute`."""
    match = _TARGET.fullmatch(target)
    return match is not None and (match["source"].endswith(".py") or bool(_MODULE.fullmatch(match["source"])))


def check_target(target: str, path: FieldPath) -> None:
    """Raises: FieldError: not a target; names its place."""
    if not is_target(target):
        raise FieldError(path, f"expected module:attribute or file.py:attribute, got {target!r}")


def attribute_of(target: str) -> str:
    """The attribute that a target names."""
    return target.rpartition(":")[2]


def resolve_target(target: str, root: Path) -> tuple[Path, str]:
    """The Python file of a target, beside the service file, and the attribute's name.

    `steps.py:f` and `steps:f` are the same file `steps.py`; `text.steps:f` is `text/steps.py`, and a module
    that is a folder is its `__init__.py`. Code that is installed elsewhere is not found: a service is whole
    in its folder.

    Raises: SpecError: not a target, or no such file.
    """
    match = _TARGET.fullmatch(target)
    if match is None or not is_target(target):
        raise SpecError(f"expected module:attribute or file.py:attribute, got {target!r}")
    source = match["source"]
    if source.endswith(".py"):
        return resolve_file(source, root), match["attribute"]
    folder = root.joinpath(*source.split("."))
    candidates = (folder.with_name(folder.name + ".py"), folder / "__init__.py")
    for path in candidates:
        if path.is_file():
            return path, match["attribute"]
    raise SpecError(
        f"no module {source!r} beside the service file: neither {candidates[0]} nor {candidates[1]}"
    )


def resolve_file(file: str, root: Path) -> Path:
    """A declared file, relative to the service file's folder.

    Raises: SpecError: it does not exist or is not a file.
    """
    path = root / file
    if path.is_dir():
        raise SpecError(f"{file!r} is a folder; name its files")
    if not path.is_file():
        raise SpecError(f"no file {file!r} in {root}")
    return path
