"""Short Python steps of a pipeline: from the words of a service file to something to call."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

from trivet.errors import SpecError
from trivet.runtime.live import Step
from trivet.spec.sources import resolve_target


def load_callable(target: str, root: Path) -> Step:
    """The Python callable that a service file names. Only the service file's own words decide what is imported.

    Raises: SpecError: no such file or attribute, not callable, or the code fails on import.
    """
    path, attribute = resolve_target(target, root)
    name = f"_trivet_step_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise SpecError(f"{path} is not Python code", where=target)
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(root))
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise SpecError(
            f"{path.name} fails on import: {type(error).__name__}: {error}", where=target
        ) from error
    finally:
        sys.path.remove(str(root))
    found: Any = module
    for part in attribute.split("."):
        found = getattr(found, part, None)
    if isinstance(found, type):
        found = found()
    if not callable(found):
        raise SpecError(f"{path.name} has no callable {attribute!r}", where=target)
    result: Step = found
    return result
