"""What clients ask of the data plane and only the supervisor can answer: statistics, the index, load and unload."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from trivet.errors import BadRequestError, NotFoundError, RequestError, SpecError, UnsupportedError, UserError
from trivet.serve.messages import Forward
from trivet.serve.services import repository_services
from trivet.serve.statistics import model_stats
from trivet.serve.supervisor import Supervisor
from trivet.spec.repository import model_names
from trivet.wire.v2_error import error_body


class Repository:
    """Answers forwarded requests.

    Args: folders: the repository folders that the server was started with.  may_change: whether clients may load
    and unload their models.
    """

    def __init__(self, folders: Sequence[Path], *, may_change: bool) -> None:
        self._folders = folders
        self._may_change = may_change

    async def answer(self, supervisor: Supervisor, message: Forward) -> tuple[int, bytes]:
        """(status, body) for a forwarded request."""
        try:
            return 200, msgspec.json.encode(await self._answer(supervisor, message))
        except RequestError as error:
            return error.status, error_body(str(error))
        except UserError as error:  # a model that a client named cannot be loaded: it is told why
            return 400, error_body(str(error))

    async def _answer(self, supervisor: Supervisor, message: Forward) -> Any:
        match list(message.path):
            case ["v2", "models", "stats"]:
                return model_stats(await supervisor.snapshots())
            case ["v2", "models", name, "stats"]:
                return await _stats(supervisor, name, None)
            case ["v2", "models", name, "versions", version, "stats"]:
                return await _stats(supervisor, name, version)
            case ["v2", "repository", "index"]:
                return self._index(supervisor, _options(message.body))
            case ["v2", "repository", "models", name, "load"]:
                return await self._load(supervisor, name, _options(message.body))
            case ["v2", "repository", "models", name, "unload"]:
                return await self._unload(supervisor, name)
            case path:
                raise NotFoundError(f"no such endpoint: /{'/'.join(path)}")

    def _index(self, supervisor: Supervisor, options: Mapping[str, Any]) -> list[dict[str, str]]:
        entries = [
            {"name": service.name, "version": service.version, "state": "READY", "reason": ""}
            for service in supervisor.services
        ]
        if options.get("ready") is True:
            return entries
        loaded = {service.name for service in supervisor.services}
        unloaded = [name for folder in self._folders for name in model_names(folder) if name not in loaded]
        return entries + [
            {"name": name, "version": "", "state": "UNAVAILABLE", "reason": "unloaded"} for name in unloaded
        ]

    async def _load(self, supervisor: Supervisor, name: str, options: Mapping[str, Any]) -> dict[str, Any]:
        self._check_may_change()
        if options.get("parameters"):
            raise UnsupportedError(
                "load: parameters are not supported; configuration and files come from the folder"
            )
        for service in self._find(name):
            await supervisor.set_live(service)
        return {}

    async def _unload(self, supervisor: Supervisor, name: str) -> dict[str, Any]:
        self._check_may_change()
        versions = [service.version for service in supervisor.services if service.name == name]
        if not versions:
            raise NotFoundError(f"no model {name!r} is loaded")
        for version in versions:
            await supervisor.remove(name, version)
        return {}

    def _find(self, name: str) -> Any:
        reasons = []
        for folder in self._folders:
            try:
                return repository_services(folder, name)
            except SpecError as error:
                reasons.append(str(error))
        raise BadRequestError(
            "; ".join(reasons) or f"cannot load {name!r}: the server serves no repository folder"
        )

    def _check_may_change(self) -> None:
        if not self._may_change:
            raise UnsupportedError(
                "loading and unloading models is off; start the server with --enable-load-unload"
            )


def _options(body: bytes) -> Mapping[str, Any]:
    if not body:
        return {}
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise BadRequestError(f"the body is not a JSON object: {error}") from None


async def _stats(supervisor: Supervisor, name: str, version: str | None) -> dict[str, Any]:
    found = model_stats(await supervisor.snapshots(), name, version)
    if not found["model_stats"]:
        raise NotFoundError(f"unknown model {name!r}" + (f", version {version!r}" if version else ""))
    return found
