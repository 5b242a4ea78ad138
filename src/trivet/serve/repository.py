"""What clients ask of the data plane and only the supervisor can answer: statistics, the index, load and unload."""

from collections.abc import Sequence
from typing import Any

import msgspec

from trivet.errors import NotFoundError, RequestError, UnsupportedError
from trivet.serve.messages import Forward
from trivet.serve.statistics import model_stats
from trivet.serve.supervisor import Supervisor
from trivet.wire.v2_response import error_body


async def answer_forwarded(supervisor: Supervisor, message: Forward) -> tuple[int, bytes]:
    """(status, body) for a forwarded request."""
    try:
        return 200, msgspec.json.encode(await _answer(supervisor, message.path))
    except RequestError as error:
        return error.status, error_body(str(error))


async def _answer(supervisor: Supervisor, path: Sequence[str]) -> Any:
    match list(path):
        case ["v2", "models", "stats"]:
            return model_stats(await supervisor.snapshots())
        case ["v2", "models", name, "stats"]:
            return await _stats(supervisor, name, None)
        case ["v2", "models", name, "versions", version, "stats"]:
            return await _stats(supervisor, name, version)
        case ["v2", "repository", "index"]:
            return [
                {"name": service.name, "version": service.version, "state": "READY", "reason": ""}
                for service in supervisor.services
            ]
        case _:
            raise UnsupportedError("loading and unloading models: not enabled on this server")


async def _stats(supervisor: Supervisor, name: str, version: str | None) -> dict[str, Any]:
    found = model_stats(await supervisor.snapshots(), name, version)
    if not found["model_stats"]:
        raise NotFoundError(f"unknown model {name!r}" + (f", version {version!r}" if version else ""))
    return found
