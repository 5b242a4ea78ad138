"""A user's function of `decode:` or `metric:`, from the file beside the service file. It runs in this process.

Only the service file can name it: never a request, never a bundle's data.
"""

import hashlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trivet.judge.errors import JudgeError
from trivet.spec.sources import resolve_target


def load_function(target: str, root: Path) -> Callable[..., Any]:
    """What `module:function` or `file.py:function` names, found as the server finds it.

    Raises: SpecError: no such file.  JudgeError: it cannot be imported, or there is nothing to call.
    """
    found = load_attribute(target, root)
    if not callable(found) or isinstance(found, type):
        raise JudgeError(f"{target} is no function")
    called: Callable[..., Any] = found
    return called


def load_attribute(target: str, root: Path) -> Any:
    """Whatever a target names. Raises: SpecError: no such file.  JudgeError: it cannot be imported, or has no such name."""
    path, attribute = resolve_target(target, root)
    found: Any = _imported(path.resolve(), root.resolve(), target)
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise JudgeError(f"{path} has no attribute {attribute!r}")
        found = getattr(found, part)
    return found


def called(target: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """What the function returns. Raises: JudgeError: it raised; names it, and what it raised."""
    try:
        return function(*arguments)
    except Exception as error:
        raise JudgeError(f"{target} raised {type(error).__name__}: {error}") from error


def _imported(path: Path, root: Path, target: str) -> Any:
    # A name of its own: two services may each have a steps.py, and neither may hide a library.
    name = f"_judged_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise JudgeError(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    # The file finds its neighbours while it is imported, as it does in the server; nobody else finds them after.
    before = list(sys.path)
    sys.path[:0] = dict.fromkeys([str(path.parent), str(root)])
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise JudgeError(f"{target} cannot be imported: {type(error).__name__}: {error}") from error
    finally:
        sys.path[:] = before
    return module
