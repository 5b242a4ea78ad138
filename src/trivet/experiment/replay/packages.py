"""Which installed packages can change what a service answers and how fast: what its process imports, and no more."""

import importlib.metadata
import re
from collections.abc import Iterable, Mapping
from typing import Any

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_EXTRA = re.compile(r"""extra\s*==\s*['"]""")


def packages_that_matter(configuration: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Names of the server's own packages; None: any may matter, as the service runs Python code of its user.

    Args: configuration: of a run; without a service in it, the server ran already and any may matter.
    """
    service = configuration.get("service")
    if service is None:
        return None
    models, stages = service["models"].values(), service.get("pipeline", ())
    if any(model.get("python") for model in models) or any(not stage.get("model") for stage in stages):
        return None
    engines = {model.get("engine") for model in models}
    try:
        found = closure(["trivet", *(("openvino",) if "openvino" in engines else ())])
    except importlib.metadata.PackageNotFoundError:  # trivet runs from a working tree that is not installed
        return None
    return tuple(sorted(found))


def closure(names: Iterable[str]) -> set[str]:
    """The packages and all that they require, without extras, as far as they are installed; as PEP 503 writes them.

    Raises: PackageNotFoundError: one of `names` is not installed.
    """
    found: set[str] = set()
    waiting = [(name, True) for name in names]
    while waiting:
        name, is_root = waiting.pop()
        normal = re.sub(r"[-_.]+", "-", name).lower()
        if normal in found:
            continue
        try:
            required = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            if is_root:
                raise
            continue  # of another platform, or another Python
        found.add(normal)
        waiting += [
            (match[0], False) for text in required if not _EXTRA.search(text) and (match := _NAME.match(text))
        ]
    return found
