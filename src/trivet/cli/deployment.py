"""A deployment from a file and the command line's options; the options win."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from trivet.errors import UserError
from trivet.spec.deployment import Deployment, load_deployment, validate_deployment


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
    return result


def _workers(text: str) -> Any:
    if text == "auto":
        return "auto"
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise UserError(f"--workers {text}: expected a count, or auto")
