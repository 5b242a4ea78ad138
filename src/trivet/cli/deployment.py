"""A deployment from a file and the command line's options; the options win."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from trivet.errors import UserError
from trivet.spec.deployment import Deployment, load_deployment, validate_deployment

_HINT = re.compile(rb"^deployment\s*:", re.MULTILINE)


def deployment(services: Sequence[str], config: Path | None, options: Mapping[str, Any]) -> Deployment:
    """Args: options: by field name; None and False mean that the option was not given.

    Raises: UserError: nothing to serve, or settings that contradict each other.
    """
    given = {name: value for name, value in options.items() if value is not None and value is not False}
    if "workers" in given:
        given["workers"] = _workers(given["workers"])
    if services:
        given["services"] = tuple(services)
    if config is not None:
        result = msgspec.structs.replace(load_deployment(config), **given)
    elif services:
        result = Deployment(**given)
    else:
        raise UserError(
            "nothing to serve: name a service.yaml, a model file, a repository folder, or --config"
        )
    validate_deployment(result)
    hinted = _hinted_workers(result) if result.workers == "auto" else None
    return result if hinted is None else msgspec.structs.replace(result, workers=hinted)


def _hinted_workers(result: Deployment) -> int | None:
    """The workers that a service was measured with: the most that any of the services asks for; None: none asks.

    Only a file that has such a section is read here: what is read twice makes the start longer.
    """
    from trivet.spec.service_file import SERVICE_SUFFIXES, load_service

    paths = [Path(text) for text in result.services]
    files = [path for path in paths if path.suffix in SERVICE_SUFFIXES and path.is_file()]
    hints = [
        service.deployment.workers
        for path in files
        if _HINT.search(path.read_bytes()) and (service := load_service(path)).deployment is not None
    ]
    return max(hints, default=None)


def _workers(text: str) -> Any:
    if text == "auto":
        return "auto"
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise UserError(f"--workers {text}: expected a count, or auto")
